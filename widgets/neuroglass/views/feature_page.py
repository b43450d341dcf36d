"""A feature's page as plain data: what ``ng.FeatureDashboard`` and a store's static site draw.

A store and an index flow in; a dict of words and numbers flows out, small enough for a page of
thousands of features: of an example only the tokens where the feature is on have a value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroglass.features.browse import ULTRALOW
from neuroglass.features.exact import I64
from neuroglass.features.exchange.neuronpedia import within
from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store

FIRST = {"top": 10, "firing": 4, "random": 4}  # examples on a new page; of an interval:
PER_INTERVAL = 3
RELATED = 8  # rows in each list of related things
LOGIT_BINS = 50


def number(value: Any, digits: int = 5) -> float | None:
    """A number for JSON, to so many significant digits; None where there is none."""
    value = float(value)
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def page_of(store: Store, index: int, words: Pieces | None = None) -> dict[str, Any]:
    """All that is known of a feature, as JSON.

    Args:
        store: whose feature.
        index: which.
        words: pieces that several pages share; None: the page has its own, ``pieces`` and
            ``kinds``.

    With the store's model, the page has its geometry too: ``logits`` (histogram of its effect on
    every token's logit), ``alignment`` and ``neighbours``; they are None without.
    """
    feature = store[index]
    row = feature.row
    own, words = words is None, words or Pieces(store)
    promoted = {
        name: [[p, number(v)] for p, v in feature.promoted(lowest=name == "suppressed")]
        if name in row
        else None
        for name in ("promoted", "suppressed")
    }
    count = int(row["count"])
    linear, log = store.histograms(index)
    page: dict[str, Any] = {
        "feature": index,
        "name": feature.id,
        "n_features": store.n_features,
        "n_tokens": store.n_tokens,
        "stats": {
            name: number(row[name])
            for name in (
                "count",
                "density",
                "max",
                "min",
                "mean",
                "mean_square",
                "skew",
                "kurtosis",
                "not_finite",
                "single_token_share",
                "norm",
            )
        },
        "top_token": store.pieces([int(row["top_token"])])[0] if row["top_token"] >= 0 else None,
        "flags": flags_of(row),
        "histogram": _histogram(linear, log),
        **promoted,
        "tokens": [
            [
                t["token"],
                t["count"],
                number(t["share"], 3),
                number(t["on"], 3),
                number(t["mean"], 4),
            ]
            for t in store.tokens(index).head(RELATED).to_dict("records")
        ]
        if count
        else [],
        "coactive": [
            [c["other"], number(c["share"], 3), number(c["phi"], 3), c["count"]]
            for c in store.coactive(index).head(RELATED).to_dict("records")
        ]
        if count
        else [],
        "neurons": _triples(store.neurons(index), "neuron", "pearson", "cosine")
        if store.has("neurons")
        else None,
        "said": store.annotations.of(index),
        "groups": groups_of(store, index, float(row["max"]), linear),
        "examples": first_examples(store, index, words),
        **_geometry(store, index),
    }
    if own:
        page["pieces"], page["kinds"] = words.pieces, words.kinds
    return page


def flags_of(row: Mapping[str, Any]) -> list[str]:
    """What is unusual about a feature, by its row of the table of features."""
    found = []
    if row["not_finite"]:
        found.append("not finite")
    if not row["count"]:
        found.append("silent" if row["min"] < 0 else "dead")
    elif row["density"] < ULTRALOW:
        found.append("ultralow")
    elif row["density"] >= 1 - 1e-9:
        found.append("always on")
    return found


class Pieces:
    """The display pieces that a page needs, each once: examples hold places in this list."""

    def __init__(self, store: Store) -> None:
        self._pieces, self._kinds, _ = store.vocabulary
        self._place: dict[int, int] = {}
        self.pieces: list[str] = []
        self.kinds: list[int] = []

    def places(self, ids: Iterable[int]) -> list[int]:
        """Where the pieces of ids are in the list; new ones are added."""
        out = []
        for i in ids:
            place = self._place.get(int(i))
            if place is None:
                place = self._place[int(i)] = len(self.pieces)
                self.pieces.append(str(self._pieces[i]))
                self.kinds.append(int(self._kinds[i]))
            out.append(place)
        return out


# ---------------------------------------------------------------------- examples


def first_examples(store: Store, index: int, words: Pieces) -> list[dict[str, Any]]:
    """Those that a new page shows: a few of each group."""
    found = store.examples(index, None)
    most = found["group"].map(lambda g: FIRST.get(g, PER_INTERVAL))
    return [excerpt(words, e) for e in found[found["rank"] < most].to_dict("records")]


def excerpt(words: Pieces, e: Mapping[Any, Any]) -> dict[str, Any]:
    """A row of ``Store.examples`` as the page has it.

    ``g`` group, ``r`` rank, ``v`` value, ``at`` the place of the token that counts, ``d`` document,
    ``s`` where the excerpt starts in it, ``lead`` how many of its tokens are leading ones; ``t``
    tokens as places in the page's pieces; ``i``, ``x``: which tokens have a value, and it; ``m``:
    from and to of the tokens that were measured, where not all were.
    """
    values = np.asarray(e["values"], np.float64)
    there = np.flatnonzero(~np.isnan(values))
    on = np.flatnonzero(np.nan_to_num(values))
    lead, at = int(e["lead"]), int(e["at"])
    made = {
        "g": e["group"],
        "r": int(e["rank"]),
        "v": number(e["value"]),
        "at": at,
        "d": int(e["document"]),
        "s": int(e["position"]) - at if lead == 0 else int(e["position"]) - at + lead,
        "lead": lead,
        "t": words.places(e["ids"]),
        "i": on.tolist(),
        "x": [number(values[k]) for k in on],
    }
    if len(there) < len(values):
        made["m"] = [int(there[0]), int(there[-1]) + 1] if len(there) else [0, 0]
    return made


def groups_of(
    store: Store, index: int, largest: float, histogram: pd.DataFrame
) -> list[dict[str, Any]]:
    """The groups of examples that there are: name, how many are kept, bounds, share of tokens.

    ``share``: of the tokens where the feature is on, as the histogram counts them.
    """
    rows = store.example_rows(index).get("group", [])
    largest = max(0.0, largest)
    n = int(store.meta["keep"]["intervals"])
    bins = [(float(a), float(b), float(c)) for a, b, c in histogram.itertuples(index=False) if c]
    total = sum(c for *_, c in bins) or 1.0
    out = []
    for name in ["top", *(f"interval {i}" for i in reversed(range(n))), "firing", "random"]:
        kept = len(store.meta["random"]) if name == "random" else rows.count(name)
        if not kept:
            continue
        low, high, share = None, None, None
        if name.startswith("interval"):
            i = int(name.split()[1])
            low, high = largest * i / n, largest * (i + 1) / n
            share = within(bins, low, high) / total
        out.append(
            {
                "name": name,
                "kept": kept,
                "low": None if low is None else number(low),
                "high": None if high is None else number(high),
                "share": None if share is None else number(share, 3),
            }
        )
    return out


# ---------------------------------------------------------------------- numbers


def _histogram(linear: pd.DataFrame, log: pd.DataFrame) -> dict[str, Any]:
    """Linear and logarithmic, without the empty bins at the ends of the latter."""
    there = np.flatnonzero(log["count"].to_numpy())
    part = log.iloc[there[0] : there[-1] + 1] if len(there) else log.iloc[:0]
    return {
        "linear": {"low": 0.0, "width": number(linear["high"].iloc[0]),
                   "counts": linear["count"].astype(int).tolist()},
        "log": {
            "edges": [number(v, 6) for v in [*part["low"], *part["high"].tail(1)]],
            "counts": part["count"].astype(int).tolist(),
        },
    }  # fmt: skip


def _triples(frame: Any, *names: str) -> list[list[Any]]:
    rows = frame[list(names)].head(RELATED).itertuples(index=False)
    return [[int(i), *(number(v, 3) for v in rest)] for i, *rest in rows]


def _geometry(store: Store, index: int) -> dict[str, Any]:
    nothing = {"logits": None, "alignment": None, "neighbours": None}
    if not store.has_basis:
        return nothing
    feature = store[index]
    try:
        effect = store.model.unembed(feature.feature, rare=False)
    except InputError:  # its write site does not add to the residual stream
        histogram = None
    else:
        kept = effect.values[effect.kept].numpy()
        counts, edges = np.histogram(kept, LOGIT_BINS)
        histogram = {
            "low": number(edges[0]),
            "width": number(edges[1] - edges[0]),
            "counts": counts.tolist(),
        }
    return {
        "logits": histogram,
        "alignment": _triples(feature.alignment(RELATED), "coordinate", "value", "share"),
        "neighbours": [
            [n["feature"], number(n["cosine"], 3)]
            for n in feature.neighbours(k=RELATED).to_dict("records")
        ],
    }


# ---------------------------------------------------------------------- texts


def stretch(store: Store, document: int, start: int, n: int) -> list[int]:
    """The ids of `n` tokens of a document from `start`, led as its windows are.

    Raises:
        InputError: the corpus has no such tokens.
    """
    corpus = store.corpus
    inside = 0 <= document < corpus.n_documents and start >= 0 and n > 0
    if not inside or start + n > corpus.starts[document + 1] - corpus.starts[document]:
        raise InputError("The corpus has no such stretch of tokens.")
    a = int(corpus.starts[document]) + start
    return [*corpus.lead, *corpus.ids[a : a + n].tolist()]


def excerpts_at(
    store: Store,
    words: Pieces,
    places: I64,
    values: Mapping[int, float],
    group: str,
    context: int,
) -> list[dict[str, Any]]:
    """Excerpts around places of the corpus, with the values that are known there.

    Args:
        store: whose corpus.
        words: of the page.
        places: in ``corpus.ids``.
        values: place -> value of the feature; it is zero elsewhere in the tokens' windows.
        group: what they are called.
        context: tokens of the window around each that are shown.
    """
    corpus = store.corpus
    out = []
    for rank, place in enumerate(places.tolist()):
        d = int(np.searchsorted(corpus.starts, place, side="right")) - 1
        at = place - int(corpus.starts[d])
        start = at // corpus.room * corpus.room
        end = min(start + corpus.room, int(corpus.starts[d + 1] - corpus.starts[d]))
        first = max(start, min(at - context // 2, end - context))
        last = min(end, first + context)
        a = int(corpus.starts[d])
        here = np.array([values.get(a + i, 0.0) for i in range(first, last)], np.float32)
        e = {"group": group, "rank": rank, "value": values[place], "at": at - first, "document": d,
             "position": at, "lead": 0, "ids": corpus.ids[a + first : a + last],
             "values": here}  # fmt: skip
        out.append(excerpt(words, e))
    return out


def rounded(values: Sequence[float]) -> list[float | None]:
    """Numbers for JSON."""
    return [number(v) for v in values]
