"""The windows of a feature, cut into those that explain and those that test: by document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neuroglass.explanation.records import Split, Window
from neuroglass.features.entries import entries, vectors
from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from neuroglass.features.store import Store
    from neuroglass.features.stored_feature import StoredFeature

LEAST = 20  # tokens where a feature must be on (*Towards Monosemanticity* drops those with fewer)


class RandomWindows:
    """Windows at random out of a store's corpus, with the values of every feature there.

    Read by the live model once, for as many features as are scored; without a model they are the
    random windows that the store keeps, of one feature at a time.

    Args:
        store: whose corpus.
        n: how many windows.
        seed: which.
    """

    def __init__(self, store: Store, n: int = 40, seed: int = 0) -> None:
        self.store, self.n, self.seed = store, n, seed
        self._rows: list[tuple[int, int, tuple[int, ...]]] = []
        self._values: list[tuple[Any, Any, Any]] = []
        if store.has_basis:
            self._read()

    def _read(self) -> None:
        store, corpus = self.store, self.store.corpus
        chosen = corpus.sample(self.n, self.seed + 1)
        lead = len(corpus.lead)
        for at in range(0, len(chosen), 32):
            some = chosen[at : at + 32]
            rows = corpus.rows(some)
            run = store.model.run(rows, sites=[store.basis.read_site], logits=False)
            document, start, _ = corpus.place(some)
            for row, ids in enumerate(rows):
                keep = run.mask.clone()
                keep[:] = False
                keep[row, lead : len(ids)] = True
                self._values.append(entries(store.basis, vectors(run, store.basis, keep)))
                self._rows.append((int(document[row]), int(start[row]), tuple(ids[lead:])))

    def of(self, feature: StoredFeature, without: Iterable[int]) -> list[Window]:
        """The windows with this feature's values, without those of some documents."""
        out = set(without)
        if not self._rows:
            return [w for w in stored(feature, ("random",)) if w.document not in out]
        found = []
        for (document, start, ids), (token, index, value) in zip(
            self._rows, self._values, strict=True
        ):
            if document in out:
                continue
            values = np.zeros(len(ids))
            mine = index == feature.index
            values[token[mine]] = value[mine]
            found.append(_window(self.store, document, start, ids, values, "random"))
        return found


def stored(feature: StoredFeature, groups: Sequence[str] | None = None) -> list[Window]:
    """The windows that the store keeps of a feature, each once, in the order of its groups."""
    found: dict[tuple[int, int], Window] = {}
    for e in feature.examples(None).to_dict("records"):
        wanted = e["group"] != "random" if groups is None else e["group"] in groups
        if not wanted or e["lead"]:
            continue
        start = int(e["position"]) - int(e["at"])
        key = (int(e["document"]), start)
        if key not in found:
            found[key] = _window(
                feature.store, *key, tuple(map(int, e["ids"])), np.asarray(e["values"]), e["group"]
            )
    return list(found.values())


def split_of(
    feature: StoredFeature,
    *,
    train: int = 10,
    test: int = 10,
    seed: int = 0,
    random: RandomWindows | None = None,
) -> Split:
    """Cut a feature's windows by document.

    The documents in which the feature is strongest go to one side and the other in turn, so that
    both have strong windows.

    Args:
        feature: of a store.
        train, test: windows of each side at most.
        seed: 1 begins with the other side.
        random: windows shared with other features; None: those of the store.

    Raises:
        InputError: the feature is on at too few tokens, or in one document only.
    """
    on = int(feature.row["count"])
    if on < LEAST:
        raise InputError(
            f"{feature.id} is on at {on} tokens; {LEAST} are needed.",
            "Harvest more text, or choose another feature.",
        )
    windows = sorted(stored(feature), key=lambda w: -float(w.values.max()))
    documents = list(dict.fromkeys(w.document for w in windows))
    sides: tuple[set[int], set[int]] = (set(documents[seed % 2 :: 2]), set())
    sides = sides[0], set(documents) - sides[0]
    made = [[w for w in windows if w.document in side] for side in sides]
    if not made[0] or not made[1]:
        raise InputError(
            f"All examples of {feature.id} are from one document: none is left to test on.",
            "Harvest more text.",
        )
    others = random if random is not None else RandomWindows(feature.store)
    return Split(
        train=tuple(made[0][:train]),
        test=tuple(made[1][:test]),
        random=tuple(others.of(feature, sides[0])),
        largest=float(feature.row["max"]),
        seed=seed,
    )


def of_text(feature: StoredFeature, text: str, group: str = "counterexample") -> Window:
    """A text of one's own as a window, with the values that the live model gives.

    Raises:
        InputError: the store has no model; the text is empty or too long.
    """
    store = feature.store
    run = store.model.run(text, sites=[store.basis.read_site], logits=False)
    values = feature.feature.activations(vectors(run, store.basis, run.mask)).double()
    ids = run.tokens[0].tolist()
    return Window(
        -1, 0, tuple(ids), tuple(run.pieces()[0]), np.asarray(values.cpu().numpy()), group
    )


def _window(
    store: Store, document: int, start: int, ids: tuple[int, ...], values: Any, group: str
) -> Window:
    pieces = tuple(store.pieces(list(ids)))
    return Window(document, start, ids, pieces, values.astype(np.float64), group)
