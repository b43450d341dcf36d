"""Features by what they do: on at a token, in a text, as often as asked; rules and how they fit."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neuroglass.features.rules import Fit, Rule, fit
from neuroglass.model.errors import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store


def find_in(
    store: Store,
    token: str | int | None,
    text: str | None,
    density: tuple[float, float] | None,
    sort: str | None,
    descending: bool,
    limit: int | None,
) -> pd.DataFrame:
    """See ``Store.find``."""
    where, joins = ["TRUE"], []
    values: list[float] = []
    extra: dict[str, str] = {}
    if density is not None:
        low, high = density
        if not low <= high:
            raise InputError(f"density={density!r} is no range: from, to.")
        where.append("f.density BETWEEN ? AND ?")
        values = [float(low), float(high)]
    default = "density"
    tables: dict[str, pd.DataFrame] = {}
    if token is not None:
        wanted = token_id(store, token)
        total = max(1, int(store.vocabulary[2][wanted]))
        joins.append(f"JOIN token_stats t ON t.feature = f.feature AND t.token = {wanted}")
        extra |= {"share": "t.count / f.count", "on": f"t.count / {total}"}
        default = "share"
    if text is not None:
        tables["on_text"] = on_text(store, text)
        joins.append("JOIN on_text o ON o.feature = f.feature")
        extra["examples"] = "o.examples"
        default = "examples"
    columns = ", ".join(["f.*", *(f'{what} AS "{name}"' for name, what in extra.items())])
    order = sort or default
    known = [*store.columns, *extra]
    if order not in known:
        raise InputError(f"There is no column {order!r} here.", nearest(order, known))
    query = (
        f"SELECT {columns} FROM feature f {' '.join(joins)} WHERE {' AND '.join(where)} "  # noqa: S608
        f'ORDER BY "{order}" {"DESC" if descending else "ASC"} NULLS LAST, f.feature'
    )
    if limit is not None:
        query += f" LIMIT {int(limit)}"
    return store.sql(query, *values, **tables).set_index("feature")


def token_id(store: Store, token: str | int) -> int:
    """The id of a token that is given by its piece or id.

    Raises:
        InputError: there is none; the nearest are named.
    """
    pieces = store.vocabulary[0]
    if isinstance(token, int | np.integer):
        if not 0 <= token < len(pieces):
            raise InputError(f"There is no token {token}.", f"Ids go to {len(pieces) - 1}.")
        return int(token)
    found = np.flatnonzero(pieces == token)
    if not len(found):  # as views write it: ·the, ⏎
        shown = token.replace("·", " ").replace("⏎", "\n").replace("⇥", "\t")
        found = np.flatnonzero(pieces == shown)
    if not len(found):
        raise InputError(f"{token!r} is no single token.", _near(pieces, token))
    counts = store.vocabulary[2][found]
    return int(found[counts.argmax()])


def _near(pieces: npt.NDArray[Any], token: str) -> str:
    """Tokens that look most like this one."""
    bare = token.strip().casefold()
    folded = [(piece, piece.strip().casefold()) for piece in pieces]
    near = [piece for piece, one in folded if one == bare and bare]
    near = near or [piece for piece, one in folded if one[:2] == bare[:2] and bare]
    return nearest(token, near) if near else "Spaces count: ' the' is not 'the'."


def on_text(store: Store, text: str) -> pd.DataFrame:
    """Features that are on within this text, in their own examples: feature, examples.

    Raises:
        InputError: the text is empty.
    """
    import pandas as pd

    if not text:
        raise InputError("The text to find is empty.")
    pattern = re.compile(re.escape(text), re.IGNORECASE)
    spans: list[tuple[int, int, int]] = []
    pieces = store.vocabulary[0]
    for document in range(store.corpus.n_documents):
        a, b = store.corpus.starts[document], store.corpus.starts[document + 1]
        parts = pieces[store.corpus.ids[a:b]]
        whole = "".join(parts)
        if not pattern.search(whole):
            continue
        ends = np.cumsum([len(p) for p in parts])
        for match in pattern.finditer(whole):
            if match.end() > match.start():
                first = np.searchsorted(ends, match.start(), side="right")
                last = np.searchsorted(ends, match.end() - 1, side="right")
                spans.append((document, int(first), int(last)))
    found = np.array(spans, np.int64).reshape(-1, 3)
    frame = pd.DataFrame({"document": found[:, 0], "first": found[:, 1], "last": found[:, 2]})
    return store.sql(
        "SELECT e.feature, count(DISTINCT (e.document, e.start)) AS examples FROM examples e "
        "JOIN spans s ON s.document = e.document AND s.first < e.start + e.length "
        "AND s.last >= e.start WHERE len(list_filter(e.at, "
        "lambda i : i + e.start BETWEEN s.first AND s.last)) > 0 GROUP BY e.feature",
        spans=frame,
    )


def predicate_of(store: Store, index: int, rule: Rule) -> Fit:
    """See ``Store.predicate``."""
    firing = store.examples(index, "firing")
    random = store.examples(index, "random")
    hits = [rule.over(store, ids)[at] for ids, at in zip(firing["ids"], firing["at"], strict=True)]
    said = [rule.over(store, ids) for ids in random["ids"]]
    r = np.concatenate([np.zeros(0, np.float32), *said])
    v = np.concatenate([np.zeros(0, np.float32), *random["values"]])
    found = fit(r, np.arange(len(v)), v)
    both = int((np.array(hits) > 0).sum())
    specificity = both / len(hits) if hits else float("nan")
    return replace(found, specificity=specificity, on=len(hits), both=both)
