"""All features of a store as a table: filtered and sorted where they lie, read piece by piece.

A ``Query`` flows in; out come the features that fit, in order, as an array of indices with what the
query itself says of each (its value on a prompt, say). The rows of any of them are read when they
are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neuroglass.features.exact import I64
from neuroglass.features.lookup import on_text, token_id
from neuroglass.features.query import Query
from neuroglass.model.errors import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store

ULTRALOW = 1e-6  # density below which a feature counts as that, dead ones too
# a feature that was never seen above zero, but as NaN or infinite: nothing is known of it
_UNKNOWN = "(f.count = 0 AND f.not_finite > 0)"
_FLAGS = {
    "dead": "f.count = 0 AND f.not_finite = 0",
    "ultralow": f"f.density < {ULTRALOW} AND NOT {_UNKNOWN}",
    "not finite": "f.not_finite > 0",
}
_WEIGHED = " + ".join(
    f"(CASE WHEN {sql} THEN {2**i} ELSE 0 END)" for i, sql in enumerate(_FLAGS.values())
)
_MEASURED = ("count", "density", "max", "min", "mean", "mean_square", "skew", "kurtosis",
             "single_token_share")  # fmt: skip
_SAID = ("explanation", "score", "rating", "note", "lists")
_CACHED = 8  # texts whose features are remembered


@dataclass(frozen=True)
class Found:
    """The features that fit a query, in order.

    Attributes:
        query: what was asked.
        sort, descending: how they are sorted; those without a value come last.
        features: their indices.
        extra: what the query says of each: ``value``, ``of_max``, ``position``, ``at`` (on a
            prompt), ``share``, ``on`` (at a token), ``logit``, ``examples`` (within a text).
        left_out: what the store does not know and therefore may be missing, in words.
    """

    query: Query
    sort: str
    descending: bool
    features: I64
    extra: dict[str, npt.NDArray[Any]]
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.features)


@dataclass
class FeatureTable:
    """The features of a store as rows; ``find`` says which, ``rows`` reads them."""

    store: Store
    _texts: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)

    # ------------------------------------------------------------------ which

    @cached_property
    def columns(self) -> list[str]:
        """What features can always be sorted by."""
        known = {*self.store.columns} - {"promoted_by", "suppressed_by"}
        return [n for n in self._sorts if n in known or n in _SAID or n == "flags"]

    @cached_property
    def _sorts(self) -> dict[str, str]:
        measured = {name: f"f.{name}" for name in _MEASURED}
        return {
            "feature": "f.feature",
            **{n: f"CASE WHEN {_UNKNOWN} THEN NULL ELSE {c} END" for n, c in measured.items()},
            "norm": "f.norm",
            "not_finite": "f.not_finite",
            "flags": _WEIGHED,
            "top_token": "v.piece",
            "promoted": "f.promoted_by[1]",
            "suppressed": "f.suppressed_by[1]",
            "explanation": "lower(a.explanation)",
            **{name: f"a.{name}" for name in _SAID[1:]},
        }

    def check(self, query: Query) -> None:
        """Refuse a query that no feature of this store can answer.

        Raises:
            InputError: no such token, no logits, no model for a prompt.
        """
        if query.token != "":
            token_id(self.store, query.token)
        if query.logit != "" and self._need("promoted"):
            token_id(self.store, query.logit)
        if query.prompt and not self.store.has_basis:
            raise InputError(
                "A search by a prompt needs the live model.",
                "Attach it: store = store.attach(model).",
            )

    def takes_long(self, query: Query) -> bool:
        """The query has a text that must first be looked for in the whole corpus."""
        return bool(query.text) and query.text not in self._texts

    def find(
        self,
        query: Query,
        sort: str | None = None,
        descending: bool = True,
        subset: Sequence[int] | I64 = (),
        on_prompt: pd.DataFrame | None = None,
    ) -> Found:
        """The features that fit, in order.

        Args:
            query: all that must hold.
            sort: a column; None: what the query is about, or else the density. Features without a
                value come last either way, equal ones by index.
            descending: largest first.
            subset: only these; empty: all.
            on_prompt: what ``Store.search`` says of the query's prompt, without a limit.

        Raises:
            InputError: no such column, token, or list; a store without what is asked for.
        """
        import pandas as pd

        where, joins = ["TRUE"], list[str]()
        values: list[Any] = []
        extra: dict[str, str] = {}
        left_out: list[str] = []
        tables: dict[str, pd.DataFrame] = {}
        about = ["density"]
        if query.prompt:
            if on_prompt is None:
                raise ValueError("a query with a prompt needs its values")
            tables["on_prompt"] = on_prompt.reset_index().rename(
                columns={"share": "of_max", "token": "at"}
            )
            joins.append("JOIN on_prompt p ON p.feature = f.feature")
            extra |= {name: f"p.{name}" for name in ("value", "of_max", "position", "at")}
            about.append("value")
        if query.text:
            tables["within"] = self._within(query.text)
            joins.append("JOIN within w ON w.feature = f.feature")
            extra["examples"] = "w.examples"
            left_out.append("Texts are looked for in the examples that each feature kept.")
            about.append("examples")
        if query.logit != "":
            token = self._need("promoted") and token_id(self.store, query.logit)
            up, down = (f"list_position(f.{c}, {token})" for c in ("promoted", "suppressed"))
            where.append(f"({up} > 0 OR {down} > 0)")
            extra["logit"] = f"coalesce(f.promoted_by[{up}], f.suppressed_by[{down}])"
            left_out.append(
                f"A token is looked for among the {self._kept} that each feature raises most "
                f"and the {self._kept} that it lowers most."
            )
            about.append("logit")
        if query.token != "":
            token = token_id(self.store, query.token)
            total = max(1, int(self.store.vocabulary[2][token]))
            joins.append(f"JOIN token_stats t ON t.feature = f.feature AND t.token = {token}")
            extra |= {"share": "t.count / f.count", "on": f"t.count / {total}"}
            if self._tokens_cut:
                left_out.append(
                    "Of each feature the commonest tokens were kept: one that is on at this token "
                    "more rarely is not found."
                )
            about.append("share")
        if len(subset):
            tables["asked_for"] = pd.DataFrame({"feature": np.unique(np.asarray(subset, np.int64))})
            joins.append("SEMI JOIN asked_for o ON o.feature = f.feature")
        if query.list:
            members = self.store.annotations.lists()[query.list]
            tables["listed"] = pd.DataFrame({"feature": np.array(members, np.int64)})
            joins.append("SEMI JOIN listed l ON l.feature = f.feature")
        if query.density is not None:
            where.append(f"{self._sorts['density']} BETWEEN ? AND ?")
            values += query.density
        where += [f"({_FLAGS[flag]})" for flag in query.flags]
        where += [f"NOT ({_FLAGS[flag]})" for flag in query.without]
        for word in query.explanation.split():
            where.append("contains(lower(a.explanation), lower(?))")
            values.append(word)
        if query.rating is not None:
            where.append("a.rating BETWEEN ? AND ?")
            values += query.rating
        order = sort or about[-1]
        known = {n: self._sorts[n] for n in self.columns} | extra
        if order not in known:
            raise InputError(f"There is no column {order!r} here.", nearest(order, known))
        key = known[order]
        if "a." in " ".join([key, *where]):
            tables["said"] = self.store.annotations.table()
            joins.append("LEFT JOIN said a ON a.feature = f.feature")
        if "v.piece" in key:
            tables["words"] = self._words
            joins.append("LEFT JOIN words v ON v.token = f.top_token")
        chosen = ", ".join(["f.feature", *(f'{what} AS "{name}"' for name, what in extra.items())])
        sql = (
            f"SELECT {chosen} FROM feature f {' '.join(joins)} WHERE {' AND '.join(where)} "  # noqa: S608
            f"ORDER BY {_no_nan(key)} {'DESC' if descending else 'ASC'} NULLS LAST, f.feature"
        )
        made = self.store.sql(sql, *values, **tables)
        columns = {name: made[name].to_numpy() for name in extra}
        features = made["feature"].to_numpy().astype(np.int64)
        return Found(query, order, descending, features, columns, tuple(left_out))

    def _need(self, column: str) -> bool:
        if column not in self.store.columns:
            site = self.store.meta["basis"]["write_site"]
            raise InputError(
                f"{site} has no direct path to the logits: no tokens are raised or lowered.",
                "Ask for tokens at which a feature is on.",
            )
        return True

    def _within(self, text: str) -> pd.DataFrame:
        if text not in self._texts:
            while len(self._texts) >= _CACHED:
                self._texts.pop(next(iter(self._texts)))
            self._texts[text] = on_text(self.store, text)
        return self._texts[text]

    @cached_property
    def _words(self) -> pd.DataFrame:
        import pandas as pd

        pieces = self.store.vocabulary[0]
        return pd.DataFrame({"token": np.arange(len(pieces)), "piece": pieces})

    @cached_property
    def _kept(self) -> int:
        return int(self.store.sql("SELECT max(len(promoted)) AS n FROM feature").n[0])

    @cached_property
    def _tokens_cut(self) -> bool:
        found = self.store.sql("SELECT max(left_out) AS n FROM token_stats")
        return bool((found.n.fillna(0) > 0).any())

    # ------------------------------------------------------------------ their rows

    def rows(self, features: Sequence[int] | I64, *, said: bool = True) -> pd.DataFrame:
        """What the store and (``said``) its annotations say of features, in the order given.

        Columns as in ``Store.to_frame``, but NaN where a feature had no number but only NaN or
        infinite values; ``dead``, ``ultralow``, ``finite``; ``explanation``, ``score``, ``rating``,
        ``note``, ``lists`` (None or NaN where nothing was said).
        """
        wanted = np.asarray(features, np.int64)
        unknown = ", ".join(
            f"CASE WHEN {_UNKNOWN} THEN NULL ELSE f.{c} END AS {c}" for c in _MEASURED
        )
        sql = (
            f"SELECT f.* REPLACE ({unknown}), {_FLAGS['dead']} AS dead, "  # noqa: S608
            f"{_FLAGS['ultralow']} AS ultralow, f.not_finite = 0 AS finite FROM feature f"
        )
        if len(wanted) < self.store.n_features // 2:
            sql += " SEMI JOIN (SELECT unnest(?::INTEGER[]) AS feature) w ON w.feature = f.feature"
            made = self.store.sql(sql, wanted.tolist())
        else:
            made = self.store.sql(sql)
        made = made.set_index("feature").loc[wanted]
        if said:
            annotations = self.store.annotations.table().set_index("feature").reindex(wanted)
            for name in _SAID:
                made[name] = annotations[name]
        return made

    def frame(self, found: Found) -> pd.DataFrame:
        """All rows of a query, for a person: tokens as pieces, what the query says beside them."""
        made = self.rows(found.features)
        for name, values in found.extra.items():
            made[name] = values
        pieces = self.store.vocabulary[0]
        known = made["top_token"].to_numpy()
        made["top_token"] = [pieces[i] if i >= 0 else None for i in known]
        for name in ("promoted", "suppressed"):
            if name in made:
                made[name] = [list(pieces[ids]) for ids in made[name]]
        return made.drop(columns="finite")

    def largest(self, columns: Iterable[str]) -> dict[str, float]:
        """The largest finite value of columns over all features; what their bars end at."""
        parts = ", ".join(f"max(CASE WHEN isfinite(f.{c}) THEN f.{c} END) AS {c}" for c in columns)
        row = self.store.sql(f"SELECT {parts} FROM feature f").iloc[0]  # noqa: S608
        return {str(name): 0.0 if np.isnan(value) else float(value) for name, value in row.items()}


def _no_nan(key: str) -> str:
    """NaN has no place in an order."""
    return f"CASE WHEN isnan(try_cast({key} AS DOUBLE)) THEN NULL ELSE {key} END"
