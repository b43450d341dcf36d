"""What a browser of features draws: its columns, windows of rows on the wire, words, the fallback.

Features in order flow in (``FeatureTable.find``); packed rows, sentences and a small HTML table
flow out.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroglass.views.browser_columns import COLUMNS, DEFAULT, EXTRA, NUMBERS
from neuroglass.views.codec import pack
from neuroglass.views.remarking import remarks

if TYPE_CHECKING:
    from neuroglass.features.browse import FeatureTable, Found
    from neuroglass.features.query import Query
    from neuroglass.features.store import Store

FIRST = 500  # rows in the frame: what a page without a kernel has
WINDOW = 1000  # rows that may be asked for at once
_TOKENS = 5  # promoted and suppressed tokens that are shown
_FALLBACK = 40  # rows


def default_columns(store: Store) -> tuple[str, ...]:
    """Those that are shown at first: of explanations only where there are any."""
    explained = not store.annotations.frame("explanations").empty
    return tuple(n for n in DEFAULT if explained or n not in {"explanation", "score"})


def choices(table: FeatureTable) -> dict[str, Any]:
    """What the page offers, and what its bars are drawn against."""
    store = table.store
    known = {*table.columns, *EXTRA}
    return {
        "columns": [
            {"name": n, "label": label, "kind": kind, "what": what, "extra": n in EXTRA}
            for n, (label, kind, what) in COLUMNS.items()
            if n in known
        ],
        "tokens": store.n_tokens,
        "features": store.n_features,
        "largest": table.largest(["max"])["max"],
    }


def window(table: FeatureTable, found: Found, start: int, stop: int) -> dict[str, Any]:
    """Rows `start` to `stop` of a result, packed."""
    features = found.features[start:stop]
    rows = table.rows(features, said=False)
    numbers = {n: pack(rows[n].to_numpy(np.float64, na_value=np.nan)) for n in NUMBERS if n in rows}
    top = rows["top_token"].to_numpy()
    tokens = {"top_token": pack(top, "i32")}
    used = [top[top >= 0]]
    for name in ("promoted", "suppressed"):
        if name in rows:
            ids = np.array([v[:_TOKENS] for v in rows[name]], np.int64)  # [rows, tokens]
            by = np.array([v[:_TOKENS] for v in rows[f"{name}_by"]], np.float64)
            tokens[name], numbers[f"{name}_by"] = pack(ids, "i32"), pack(by)
            used.append(ids.ravel().astype(np.int64))
    for name, values in found.extra.items():
        part = values[start:stop]
        if name != "at":
            numbers[name] = pack(np.asarray(part, np.float64))
    ids = np.unique(np.concatenate(used)).astype(np.int64)
    made = {
        "from": start,
        "features": pack(features, "i32"),
        "numbers": numbers,
        "tokens": tokens,
        "pieces": dict(zip(map(str, ids), table.store.pieces(ids), strict=True)),
        "said": remarks(table.store, features.tolist()),
    }
    if "at" in found.extra:
        made["at"] = [str(piece) for piece in found.extra["at"][start:stop]]
    return made


def in_words(query: Query) -> list[str]:
    """The conditions of a query, each as words."""
    said: dict[str, Callable[[Any], str]] = {
        "explanation": lambda v: f"explained with “{v}”",
        "token": lambda v: f"on at “{v}”",
        "logit": lambda v: f"raises or lowers “{v}”",
        "text": lambda v: f"on within “{v}”",
        "density": lambda v: f"density {v[0]:g} to {v[1]:g}",
        "flags": " and ".join,
        "without": lambda v: f"not {' or '.join(v)}",
        "list": lambda v: f"on the list “{v}”",
        "rating": lambda v: f"rated {v[0]}" if v[0] == v[1] else f"rated {v[0]} to {v[1]}",
        "prompt": lambda v: f"on at {'the chosen tokens' if query.tokens else 'the prompt'}",
    }
    return [said[name](value) for name, value in query.wire.items() if name in said]


def nothing(query: Query, subset: int) -> str:
    """Why a result is empty, and what to do."""
    words = in_words(query) + ([f"among the {subset} chosen features"] if subset else [])
    if list(query.wire) == ["prompt"] or set(query.wire) == {"prompt", "tokens"}:
        return f"Nothing fires {words[0].removeprefix('on ')}. Choose other tokens of it."
    if len(words) == 1:
        return f"No feature is {words[0]}. " + _ADVICE.get(next(iter(query.wire), ""), "")
    return f"No feature fits all of: {'; '.join(words)}. Take one of these away."


_ADVICE = {
    "token": "A token with a space before it is another one.",
    "explanation": "Words are looked for as they stand; try a shorter one.",
    "text": "It is looked for as it stands, in the examples that were kept; try a shorter one.",
    "logit": "Only the tokens that a feature raises or lowers most are kept.",
    "density": "Widen the range.",
}


def fallback(store: Store, found: Found, table: FeatureTable) -> str:
    """The first rows as a plain table; says what it leaves out."""
    shown = table.frame(_head(found, _FALLBACK))
    columns = [n for n in (*found.extra, "explanation", "density", "max", "top_token", "promoted")
               if n in shown and n != "position"]  # fmt: skip
    head = "".join(f"<th>{html.escape(COLUMNS[n][0])}</th>" for n in ("feature", *columns))
    body = []
    for feature, row in shown.iterrows():
        cells = "".join(f"<td>{html.escape(_cell(row[n]))}</td>" for n in columns)
        body.append(f"<tr><td>{feature}</td>{cells}</tr>")
    left = len(found) - len(shown)
    notice = f"<p><small>{left:,} more rows are not shown.</small></p>" if left > 0 else ""
    words = "; ".join(in_words(found.query))
    caption = f"{len(found):,} of {store.n_features:,} features" + (f": {words}" if words else "")
    order = f", by {COLUMNS[found.sort][0]}, {'largest' if found.descending else 'smallest'} first"
    return (
        f"<table><caption>{html.escape(caption + order)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>{notice}"
    )


def _head(found: Found, n: int) -> Found:
    extra = {name: values[:n] for name, values in found.extra.items()}
    return replace(found, features=found.features[:n], extra=extra)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(f"“{v[:24]}”" for v in value[:_TOKENS])
    if isinstance(value, str):
        return value[:80] + ("…" if len(value) > 80 else "")
    if isinstance(value, float | np.floating):
        return "no value" if np.isnan(value) else f"{value:.3g}"
    return "" if value is None else str(value)


def settings_of(values: Mapping[str, Any]) -> str:
    """Keyword arguments as they are written in a call; those that say nothing are left out."""
    return "".join(f", {name}={value!r}" for name, value in values.items())
