"""Rows of the table of examples → excerpts of the corpus, token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neuroglass.model.errors import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store

_COLUMNS = ("group", "rank", "value", "token", "at", "tokens", "ids", "values", "document",
            "position", "lead")  # fmt: skip


def examples_of(store: Store, index: int, group: str | None, context: int | None) -> pd.DataFrame:
    """See ``Store.examples``."""
    import pandas as pd

    intervals = (f"interval {i}" for i in range(int(store.meta["keep"]["intervals"])))
    known = {"top", "firing", "random", *intervals}
    if group is not None and group not in known:
        raise InputError(f"There is no group {group!r} of examples.", nearest(group, known))
    rows = store.example_rows(index)
    chosen = [i for i, g in enumerate(rows.get("group", [])) if group in {None, g}]
    found = [_excerpt(store, rows, i, context) for i in chosen]
    if group in {None, "random"}:
        found += _silent(store, rows, context)
    return pd.DataFrame(found, columns=list(_COLUMNS))


def _excerpt(store: Store, rows: dict[str, Any], i: int, context: int | None) -> dict[str, Any]:
    start, length, position = rows["start"][i], rows["length"][i], rows["position"][i]
    lead = len(store.corpus.lead)
    values = np.zeros(lead + length, np.float32)
    values[np.asarray(rows["at"][i], np.int64) + lead] = np.asarray(rows["values"][i], np.float32)
    document = rows["document"][i]
    if position < start:
        shown = _led(store, document, start, values, position, context)
    else:
        shown = _shown(store, document, start, values[lead:], position, context)
    return shown | {
        "group": rows["group"][i],
        "rank": rows["rank"][i],
        "value": rows["value"][i],
    }


def _led(
    store: Store,
    document: int,
    start: int,
    values: npt.NDArray[Any],
    position: int,
    context: int | None,
) -> dict[str, Any]:
    """A window with the tokens that lead it, for an example that is one of those (BOS)."""
    lead = np.array(store.corpus.lead, np.int64)
    begin = int(store.corpus.starts[document]) + start
    ids = np.r_[lead, store.corpus.ids[begin : begin + len(values) - len(lead)].astype(np.int64)]
    at = len(lead) + position - start
    last = len(ids) if context is None else max(context, at + 1)
    pieces = store.pieces(ids)
    return {
        "token": pieces[at],
        "at": at,
        "tokens": pieces[:last],
        "ids": ids[:last],
        "values": values[:last],
        "document": document,
        "position": position,
        "lead": len(lead),
    }


def _shown(
    store: Store,
    document: int,
    start: int,
    values: npt.NDArray[Any],
    position: int,
    context: int | None,
) -> dict[str, Any]:
    """A stretch of a document with the values of a window that lies in it."""
    first, last = start, start + len(values)
    if context is not None:
        size = int(store.corpus.starts[document + 1] - store.corpus.starts[document])
        first = max(0, min(position - context // 2, size - context))
        last = min(size, first + max(1, context))
        wide = np.full(last - first, np.nan, np.float32)
        a, b = max(first, start), min(last, start + len(values))
        wide[a - first : b - first] = values[a - start : b - start]
        values = wide
    begin = int(store.corpus.starts[document])
    ids = store.corpus.ids[begin + first : begin + last].astype(np.int64)
    token = store.pieces(ids[[position - first]])[0]
    return {
        "token": token,
        "at": position - first,
        "tokens": store.pieces(ids),
        "ids": ids,
        "values": values,
        "document": document,
        "position": position,
        "lead": 0,
    }


def _silent(store: Store, rows: dict[str, Any], context: int | None) -> list[dict[str, Any]]:
    """The random windows where the feature is silent."""
    windows = np.array(store.meta["random"], np.int64)
    document, start, length = store.corpus.place(windows)
    found = {
        (d, s)
        for d, s, g in zip(
            rows.get("document", []), rows.get("start", []), rows.get("group", []), strict=True
        )
        if g == "random"
    }
    rank = len(found)
    out = []
    for d, s, n in zip(document.tolist(), start.tolist(), length.tolist(), strict=True):
        if (d, s) not in found:
            shown = _shown(store, d, s, np.zeros(n, np.float32), s, context)
            out.append(shown | {"group": "random", "rank": rank, "value": 0.0})
            rank += 1
    return out
