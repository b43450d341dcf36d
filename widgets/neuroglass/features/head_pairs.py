"""What a store knows of one attention head: its pairs in their texts, how far they reach, in sums.

The harvested (query, key) pairs flow in; plain lists and numbers for a page flow out. No model is
needed. Values are ‖A·v·W_O‖ as in ``features/heads.py``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store

AROUND = 6  # tokens shown on either side of the query and of the key
GROUPS = ("top", "random")
Address = tuple[int, int]  # layer, head


def harvested(store: Store) -> list[Address]:
    """The heads of a store, in order.

    Raises:
        InputError: none were harvested.
    """
    if not store.has("heads"):
        raise InputError(
            f"The store of {store.name} has no attention heads.",
            "Harvest with them: ng.harvest(model, basis, texts, heads=[(layer, head)]).",
        )
    found = store.sql("SELECT DISTINCT layer, head FROM heads ORDER BY layer, head")
    return [(int(a), int(b)) for a, b in found.itertuples(index=False)]


def pairs_of(store: Store, head: Address) -> pd.DataFrame:
    """The pairs of one head, as in ``Store.heads``, with ``distance`` query − key.

    Raises:
        InputError: it was not harvested.
    """
    have = harvested(store)
    if head not in have:
        raise InputError(
            f"Head {head} was not harvested.",
            f"The store has {', '.join(map(str, have[:12]))}{' …' if len(have) > 12 else ''}.",
        )
    found = store.sql(
        'SELECT * FROM heads WHERE layer = ? AND head = ? ORDER BY "group" DESC, rank', *head
    )
    found["distance"] = found["query"] - found["key"]
    return found


def excerpt(store: Store, row: Any) -> dict[str, Any]:
    """One pair in its text: the tokens around both, and what lies between them if it is short.

    Returns:
        ``pieces``, ``kinds``, ``query`` and ``key``: places in them; ``gap``: how many tokens are
        left out before the place ``cut`` (0: none), ``document``, ``value``, ``distance``.
    """
    lead = list(store.corpus.lead)
    begin = int(store.corpus.starts[row.document]) + int(row.start)
    own = store.corpus.ids[begin : begin + int(row.length) - len(lead)]
    ids = np.r_[np.array(lead, np.int64), own.astype(np.int64)]
    query, key = (int(v) - int(row.start) + len(lead) for v in (row.query, row.key))
    places = list(range(max(0, key - AROUND), min(len(ids), query + AROUND + 1)))
    left_out = [p for p in places if key + AROUND < p < query - AROUND]
    gap = len(left_out) if len(left_out) > 2 else 0  # two are sooner read than left out
    if gap:
        places = [p for p in places if p <= key + AROUND or p >= query - AROUND]
    pieces, kinds, _ = store.vocabulary
    shown = ids[places]
    return {
        "pieces": [str(pieces[i]) for i in shown],
        "kinds": [int(kinds[i]) for i in shown],
        "query": places.index(query),
        "key": places.index(key),
        "gap": gap,
        "cut": places.index(query - AROUND) if gap else 0,
        "document": int(row.document),
        "value": float(row.value),
        "distance": int(row.distance),
    }


def reach(distances: np.ndarray[Any, Any], most: int) -> list[int]:
    """How many pairs reach 0, 1, 2, 3–4, 5–8, … tokens back, up to the bin that has `most`."""
    counts = [int((distances == d).sum()) for d in (0, 1, 2)]
    low = 3
    while low <= most:
        high = 2 * low - 2
        counts.append(int(((distances >= low) & (distances <= high)).sum()))
        low = high + 1
    return counts


def labels_of(n: int) -> list[str]:
    """What the bins of ``reach`` are called."""
    names, low = ["0 (itself)", "1", "2"], 3
    while len(names) < n:
        names.append(f"{low}–{2 * low - 2}")
        low = 2 * low - 1
    return names


def summary(store: Store, pairs: pd.DataFrame) -> dict[str, Any]:
    """A head in numbers; see the titles in ``js/src/views/head_dashboard/words.ts``."""
    top, random = (pairs[pairs["group"] == g] for g in GROUPS)
    most = int(pairs["distance"].max()) if len(pairs) else 0
    first = top["key"] - top["start"] + len(store.corpus.lead) == 0
    corpus = store.corpus

    def commonest(name: str) -> list[Any]:
        own = top[top[name] >= top["start"]]  # not one that leads the window
        places = corpus.starts[own["document"].to_numpy()] + own[name].to_numpy()
        ids = corpus.ids[places].tolist()
        found = Counter(ids).most_common(5)
        pieces = store.pieces([i for i, _ in found])
        return [[p, n] for p, (_, n) in zip(pieces, found, strict=True)]

    n = len(random)
    spread = float(random["value"].std(ddof=1)) / n**0.5 if n > 1 else float("nan")
    return {
        "top": len(top),
        "random": n,
        "max": float(top["value"].max()) if len(top) else float("nan"),
        "mean": float(random["value"].mean()) if n else float("nan"),
        "mean_error": 2 * spread,
        "distance": float(top["distance"].median()) if len(top) else float("nan"),
        "itself": float((top["distance"] == 0).mean()) if len(top) else float("nan"),
        "previous": float((top["distance"] == 1).mean()) if len(top) else float("nan"),
        "first": float(first.mean()) if len(top) else float("nan"),
        "keys": commonest("key"),
        "queries": commonest("query"),
        "reach": {
            "labels": labels_of(len(reach(np.zeros(0), most))),
            **{
                name: reach(part["distance"].to_numpy(), most)
                for name, part in (("top", top), ("random", random))
            },
        },
    }
