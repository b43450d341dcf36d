"""Values of features over the whole corpus of a store, read by its live model bit by bit.

The store keeps samples; what is asked of every token (does this rule hold where the feature is on?
which tokens have a value between these two?) is read from the model. Windows are read in an order
that is scattered over the corpus, so that what has been read so far is a fair sample at any time.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from neuroglass.features.entries import entries, vectors
from neuroglass.features.exact import F64, I64, hash_of
from neuroglass.features.rules import F32, Rule, Verdicts

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store


def read_corpus(
    store: Store, first: int = 0, tokens: int | None = None
) -> Generator[tuple[I64, I64, torch.Tensor], None, None]:
    """The corpus as its basis reads it, batch by batch of scattered windows.

    Args:
        store: with its model.
        first: how many batches are left out at the start.
        tokens: how many at least are in all batches together; None: all of the corpus.

    Yields:
        Windows; places in ``corpus.ids`` of their tokens that count (as in the harvest, those that
        are not special, massive or at masked positions), and their vectors, float32 [tokens,
        width].
    """
    corpus, meta, basis = store.corpus, store.meta, store.basis
    lead = len(corpus.lead)
    for number, windows in enumerate(corpus.scattered(tokens or corpus.n_tokens)):
        if number < first:
            continue
        run = store.model.run(corpus.rows(windows), sites=[basis.read_site], logits=False)
        document, start, length = corpus.place(windows)
        keep = run.mask.clone()
        keep[:, :lead] = False
        for name, on in (("special", meta["skip_special"]), ("massive", meta["skip_massive"])):
            if on:
                keep &= ~run.masks[name]
        keep[:, : lead + int(meta["skip_positions"])] = False
        place = np.zeros(keep.shape, np.int64)
        for row, (a, n) in enumerate(zip(corpus.starts[document] + start, length, strict=True)):
            place[row, lead : lead + n] = np.arange(a, a + n)
        yield windows, place[keep.cpu().numpy()], vectors(run, basis, keep)


class Trace:
    """One feature's values over the corpus, as far as they have been read.

    Args:
        store: with its model.
        feature: index.

    Attributes:
        done: the whole corpus has been read.
        tokens, batches: how many tokens, and batches of scattered windows, have been read.
    """

    def __init__(self, store: Store, feature: int) -> None:
        self.feature = feature
        self.done = False
        self._store = store
        self.batches = 0
        self._read: list[I64] = []
        self._at: list[I64] = []
        self._value: list[F32] = []
        self.tokens = 0

    def more(self) -> Generator[None, None, None]:
        """Read on; each step is a batch. May be left at any step and begun again."""
        if self.done:
            return
        chosen = self._store[self.feature].feature
        for _, place, x in read_corpus(self._store, self.batches):
            value = chosen.activations(x).float().cpu().numpy()
            on = np.flatnonzero(value)
            self._read.append(place)
            self._at.append(on + self.tokens)
            self._value.append(value[on])
            self.tokens += len(place)
            self.batches += 1
            yield
        self.done = True

    @property
    def read(self) -> I64:
        """Places in ``corpus.ids`` of the tokens that were read: [tokens]."""
        self._read = [np.concatenate([np.zeros(0, np.int64), *self._read])]
        return self._read[0]

    @property
    def at(self) -> I64:
        """Which of those have a value that is not zero."""
        self._at = [np.concatenate([np.zeros(0, np.int64), *self._at])]
        return self._at[0]

    @property
    def value(self) -> F32:
        """The values there."""
        self._value = [np.concatenate([np.zeros(0, np.float32), *self._value])]
        return self._value[0]

    def between(self, low: float, high: float) -> tuple[I64, F32]:
        """The tokens with a value in [low, high], in an order that is random but always the same.

        Returns:
            Places in ``corpus.ids``, values.
        """
        inside = (self.value >= low) & (self.value <= high)
        place, value = self.read[self.at[inside]], self.value[inside]
        order = np.argsort(hash_of(self.feature, place, 2), kind="stable")
        return place[order], value[order]

    def stacked(self, rule: F32, edges: npt.NDArray[Any]) -> tuple[I64, I64]:
        """Tokens in each bin of values, and those of them where the rule holds.

        Args:
            rule: of every token of the corpus.
            edges: [bins + 1]; the last bin has its upper edge in it.
        """
        holds = rule[self.read[self.at]] > 0
        all_, _ = np.histogram(self.value, edges)
        some, _ = np.histogram(self.value[holds], edges)
        return all_.astype(np.int64), some.astype(np.int64)


def fit_all(
    store: Store, rules: Mapping[str, Rule], tokens: int | None
) -> Generator[int, None, pd.DataFrame]:
    """How each rule fits each feature; see ``Live.rules``. Yields how many tokens were read."""
    import pandas as pd

    said = {name: Verdicts(store, rule) for name, rule in rules.items()}
    n, features = 0, store.n_features
    total = np.zeros((3, features))  # Σ f, Σ f², how often on
    product = {name: np.zeros((2, features)) for name in rules}  # Σ r f, on and holds
    whole = {name: np.zeros(3) for name in rules}  # Σ r, Σ r², how often it holds
    for windows, place, x in read_corpus(store, tokens=tokens):
        token, index, value = entries(store.basis, x)
        on = value > 0
        n += len(place)
        v = value.astype(np.float64)
        for row, weights in enumerate((v, v * v, on)):
            total[row] += np.bincount(index, weights, features)
        for name, verdicts in said.items():
            verdicts.of(windows)
            here = verdicts.values[place].astype(np.float64)
            whole[name] += here.sum(), here @ here, (here > 0).sum()
            product[name][0] += np.bincount(index, v * here[token], features)
            product[name][1] += np.bincount(index, on & (here[token] > 0), features)
        yield n
    parts = []
    for name in rules:
        frame = pd.DataFrame(_fits(n, total, product[name], whole[name]))
        frame.insert(0, "rule", name)
        frame.insert(1, "feature", np.arange(features))
        parts.append(frame.sort_values("pearson", ascending=False, kind="stable"))
    return pd.concat(parts, ignore_index=True)


def _fits(n: int, total: F64, product: F64, whole: F64) -> dict[str, Any]:
    n = max(n, 1)
    (sum_v, square_v, on), (rv, both), (sum_r, square_r, holds) = total, product, whole
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.maximum(square_v / n - (sum_v / n) ** 2, 0) * max(
            square_r / n - (sum_r / n) ** 2, 0.0
        )
        pearson = (rv / n - sum_v / n * sum_r / n) / np.sqrt(spread)
        return {
            "specificity": both / on,
            "sensitivity": both / holds if holds else np.full(len(both), np.nan),
            "pearson": np.where(spread > 0, pearson, np.nan),
            "tokens": n,
            "on": on.astype(np.int64),
            "holds": int(holds),
            "both": both.astype(np.int64),
        }
