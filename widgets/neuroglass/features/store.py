"""The store: what a harvest kept, opened at once and read piece by piece, without a model.

Parquet files sorted by feature, beside the tokenised corpus that their examples point into. With a
live model attached, a store also answers for texts that it has not seen.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neuroglass import zoo
from neuroglass.features.corpus import Corpus, need_store
from neuroglass.features.exact import F64, I64
from neuroglass.features.sketch import bin_edges
from neuroglass.model.errors import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.exchange.records import FeatureRecord
    from neuroglass.features.live import Live
    from neuroglass.model.basis import Basis, Feature
    from neuroglass.model.live import LiveModel

SCHEMA = 1
_TABLES = ("features", "hist", "examples", "token_stats", "pairs", "neurons", "heads")


def open_store(
    path: str | Path, model: LiveModel | None = None, basis: Basis | None = None
) -> Store:
    """Open a store; nothing is read but its description, and torch is not needed.

    Args:
        path: the folder that ``harvest`` filled, or one of the zoo's: ``"zoo/A-8x"``.
        model: a live model to attach; see ``Store.attach``.
        basis: the dictionary of the store's features, for what needs it.

    Raises:
        InputError: no store there, one of another version, or of another model than `model`.
        MissingExtraError: the extra ``store`` is not installed.
    """
    need_store("pyarrow")
    need_store("duckdb")
    folder = Path(path)
    if str(path).startswith("zoo/"):
        entry = str(path).removeprefix("zoo/")
        if entry not in zoo.stores():
            have = [f"zoo/{s}" for s in zoo.stores()]
            raise InputError(f"The zoo has no store {entry!r}.", nearest(str(path), have))
        folder = zoo.path("stores") / entry
    file = folder / "meta.json"
    if not file.is_file():
        unfinished = (folder / "settings.json").is_file()
        raise InputError(
            f"{str(folder)!r} holds {'an unfinished harvest' if unfinished else 'no store'}.",
            "Call ng.harvest again with the same settings to finish it."
            if unfinished
            else "ng.harvest(model, basis, texts, out=...) makes one.",
        )
    try:
        meta = json.loads(file.read_text("utf-8"))
        version = meta["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{str(file)!r} is damaged.", "Harvest again.") from error
    if version != SCHEMA:
        raise InputError(
            f"{str(folder)!r} has schema version {version}; this neuroglass reads {SCHEMA}.",
            "Harvest again, or use the version of neuroglass that made it.",
        )
    store = Store(folder, meta)
    return store if model is None else store.attach(model, basis)


@dataclass(eq=False)
class Store:
    """What is known of every feature of one basis.

    Attributes:
        folder: where it is.
        meta: what it is of: schema, model, fingerprint, basis, corpus, masks, settings.
    """

    folder: Path
    meta: dict[str, Any] = field(repr=False)
    _model: LiveModel | None = field(default=None, repr=False)
    _basis: Basis | None = field(default=None, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _files: dict[str, tuple[Any, I64]] = field(default_factory=dict, repr=False)

    # ------------------------------------------------------------------ what it is of

    @property
    def name(self) -> str:
        """The basis' name."""
        return str(self.meta["basis"]["name"])

    @property
    def n_features(self) -> int:
        return int(self.meta["n_features"])

    @property
    def n_tokens(self) -> int:
        """Tokens that were measured; those left out by the masks are not counted."""
        return int(self.meta["n_tokens"])

    def id(self, feature: int) -> str:
        """``model/site/basis/index``."""
        basis = self.meta["basis"]
        return f"{self.meta['model']}/{basis['read_site']}/{basis['name']}/{feature}"

    def __len__(self) -> int:
        return self.n_features

    def __iter__(self) -> Iterator[StoredFeature]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, feature: int | str) -> StoredFeature:
        return StoredFeature(self, self.index(feature))

    def index(self, feature: Any) -> int:
        """The index that a number, an id, or a handle of a feature stands for.

        Raises:
            InputError: no such feature here.
        """
        given = feature
        if not isinstance(feature, str | int | np.integer) and hasattr(feature, "id"):
            feature = feature.id
        if isinstance(feature, str):
            head, _, tail = feature.rpartition("/")
            if f"{head}/" != self.id(0)[:-1] or not tail.isdecimal():
                raise InputError(
                    f"{feature!r} is no feature of this store.",
                    f"Its ids look like {self.id(0)!r}.",
                )
            feature = int(tail)
        whole = isinstance(feature, int | np.integer) and not isinstance(feature, bool)
        if not whole or not 0 <= feature < self.n_features:
            raise InputError(
                f"The store of {self.name} has no feature {given!r}.",
                f"Features go from 0 to {self.n_features - 1}.",
            )
        return int(feature)

    def __repr__(self) -> str:
        return (
            f"Store({self.name} of {self.meta['model']} at {self.meta['basis']['read_site']}: "
            f"{self.n_features:,} features over {self.n_tokens:,} tokens"
            f"{', attached' if self._model is not None else ''})"
        )

    # ------------------------------------------------------------------ with a model

    def attach(self, model: LiveModel, basis: Basis | None = None) -> Store:
        """The same store with a live model, for search in new texts and for causal effects.

        Args:
            model: the model that was harvested (by the hash of its weights).
            basis: the dictionary. Neurons and dictionaries of the zoo are found without it.

        Raises:
            InputError: another model, another basis.
        """
        if model.fingerprint != self.meta["fingerprint"]:
            raise InputError(
                f"This store is of {self.meta['model']} ({self.meta['fingerprint']}), not of "
                f"{model.name} ({model.fingerprint}).",
                "Open it with the model that was harvested.",
            )
        from neuroglass.features.live import basis_of

        found = basis_of(self.meta["basis"], model, basis)
        return Store(self.folder, self.meta, model, found, self._lock, self._files)

    @property
    def model(self) -> LiveModel:
        """The live model.

        Raises:
            InputError: none is attached.
        """
        if self._model is None:
            raise InputError(
                "The store has no live model.", "store = store.attach(ng.load(...)) gives it one."
            )
        return self._model

    @property
    def basis(self) -> Basis:
        """The basis on the live model.

        Raises:
            InputError: none is attached.
        """
        if self.model is not None and self._basis is None:
            raise InputError(
                f"The store does not have the dictionary {self.name!r} itself.",
                "store.attach(model, ng.SAE.load(...)) gives it.",
            )
        assert self._basis is not None
        return self._basis

    @property
    def has_basis(self) -> bool:
        """Whether a model and its dictionary are attached."""
        return self._basis is not None

    @cached_property
    def live(self) -> Live:
        """What needs the model: effects, neighbours, edges to other stores; see ``Live``."""
        from neuroglass.features.live import Live

        return Live(self)

    # ------------------------------------------------------------------ tables

    @cached_property
    def corpus(self) -> Corpus:
        """The tokenised corpus."""
        return Corpus.open(self.folder / self.meta["tokens"])

    @cached_property
    def _vocabulary(self) -> tuple[npt.NDArray[Any], I64, I64]:
        """Display piece, kind and corpus count of each id."""
        parquet = need_store("pyarrow.parquet")
        table = parquet.read_table(self.corpus.folder / "vocabulary.parquet")
        pieces = np.array(table["piece"].to_pylist(), object)
        return pieces, table["kind"].to_numpy(), table["count"].to_numpy()

    def pieces(self, ids: Sequence[int] | I64) -> list[str]:
        """Display pieces of token ids."""
        return list(self._vocabulary[0][np.asarray(ids, np.int64)])

    @cached_property
    def _connection(self) -> Any:
        duckdb = need_store("duckdb")
        con = duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
            },
        )
        for name in _TABLES:
            if self.has(name):
                path = str(self.folder / f"{name}.parquet").replace("'", "''")
                con.sql(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{path}')")  # noqa: S608
        con.sql("CREATE TABLE feature AS SELECT * FROM features")  # small, sorted again and again
        return con

    def sql(self, query: str, *values: Any) -> pd.DataFrame:
        """Any DuckDB query over features, hist, examples, token_stats, pairs, neurons, heads."""
        with self._lock:
            found: pd.DataFrame = self._connection.execute(query, list(values)).df()
        return found

    def _rows(self, table: str, feature: int) -> pd.DataFrame:
        found = self.sql(f"SELECT * FROM {table} WHERE feature = ?", feature)  # noqa: S608
        return found.drop(columns="feature")

    def to_frame(self) -> pd.DataFrame:
        """One row for each feature.

        Columns: ``count`` tokens where it is on (value > 0), ``density`` their share of all that
        were measured; ``max``, ``min``; ``mean``, ``mean_square``, ``skew`` E[a³]/E[a²]^1.5 and
        ``kurtosis`` E[a⁴]/E[a²]² over all measured tokens, about zero (Gao et al. 2024, their
        viewer); ``not_finite`` tokens where it is NaN or infinite, which count nowhere else;
        ``single_token_share`` of its commonest token ``top_token``; ``promoted`` and ``suppressed``
        token ids with logits per unit of the feature at final-norm scale 1; ``norm`` of its
        direction.
        """
        return self.sql("SELECT * FROM feature ORDER BY feature").set_index("feature")

    def histogram(self, feature: int | str, *, log: bool = False) -> pd.DataFrame:
        """How many tokens have which value: columns low, high, count; zeros are not counted.

        Linear bins are equally wide, log ones a quarter of an octave.
        """
        row = self._rows("hist", self.index(feature)).iloc[0]
        counts = np.asarray(row["log" if log else "linear"])
        edges = bin_edges() if log else np.arange(len(counts) + 1) * row["width"]
        return _frame(low=edges[:-1], high=edges[1:], count=counts)

    def tokens(self, feature: int | str) -> pd.DataFrame:
        """The tokens that a feature is on at, most often first.

        Columns: token, id, ``count``, ``share`` of the feature's tokens, ``on`` the share of this
        token's occurrences in the corpus where the feature is on, ``mean`` value there. Where only
        the commonest were kept, ``left_out`` is the largest count of those that were not.
        """
        index = self.index(feature)
        found = self._rows("token_stats", index)
        ids = found["token"].to_numpy()
        total = self._vocabulary[2][ids]
        found.insert(0, "id", ids)
        found["token"] = self.pieces(ids)
        found["share"] = found["count"] / int(self[index].row["count"])
        found["on"] = found["count"] / total
        return found

    def coactive(self, feature: int | str) -> pd.DataFrame:
        """The features that are on at the same tokens, most often first.

        Columns: other, ``count`` of common tokens (± ``error`` where counted on a sample),
        ``share`` of this feature's tokens, ``jaccard``, and ``phi``: the Pearson correlation of
        being on. ``left_out``: the largest count that was not kept.
        """
        index = self.index(feature)
        found = self.sql(
            "SELECT p.other, p.count, p.error, p.left_out, f.count AS own FROM pairs p "
            "JOIN feature f ON f.feature = p.other WHERE p.feature = ? "
            "ORDER BY p.count DESC, other",
            index,
        )
        n, a, b, both = (
            self.n_tokens,
            int(self[index].row["count"]),
            found.pop("own"),
            found["count"],
        )
        found["share"] = both / a
        found["jaccard"] = both / (a + b - both)
        found["phi"] = (both / n - a / n * b / n) / np.sqrt(
            a / n * (1 - a / n) * b / n * (1 - b / n)
        )
        return found

    def has(self, table: str) -> bool:
        """Whether the harvest kept this table: neurons, heads, …"""
        return (self.folder / f"{table}.parquet").is_file()

    def neurons(self, feature: int | str) -> pd.DataFrame:
        """The neurons of the same layer that go with a feature: Pearson and cosine over tokens."""
        if not self.has("neurons"):
            raise InputError("This harvest did not correlate with neurons.", "neurons=True does.")
        return self._rows("neurons", self.index(feature))

    def heads(self) -> pd.DataFrame:
        """(query, key) pairs of the harvested heads, by ‖A·v·W_O‖; positions in the document."""
        if not self.has("heads"):
            raise InputError("No heads were harvested.", "ng.harvest(..., heads=[(layer, head)])")
        found = self.sql('SELECT * FROM heads ORDER BY layer, head, "group" DESC, rank')
        first = self.corpus.starts[found["document"].to_numpy()]
        for name in ("query", "key"):
            ids = self.corpus.ids[first + found[name].to_numpy()]
            found[f"{name}_token"] = self.pieces(ids)
        return found

    # ------------------------------------------------------------------ examples

    def _file(self, table: str) -> tuple[Any, I64]:
        """A Parquet file, and where its row groups start."""
        with self._lock:
            if table not in self._files:
                parquet = need_store("pyarrow.parquet")
                file = parquet.ParquetFile(self.folder / f"{table}.parquet", memory_map=True)
                sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
                self._files[table] = file, np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
            return self._files[table]

    @cached_property
    def _example_starts(self) -> I64:
        file = self.folder / "examples.starts.npy"
        starts: I64 = np.load(file, mmap_mode="r", allow_pickle=False)
        return starts

    def example_rows(self, feature: int) -> dict[str, Any]:
        """The rows of a feature in the table of examples: a list for each column."""
        a, b = (int(i) for i in self._example_starts[[feature, feature + 1]])
        file, groups = self._file("examples")
        parts = []
        with self._lock:  # one reader has one position
            for g in range(*np.searchsorted(groups, [a, b], side="right") - [1, 0]):
                if g < len(groups) - 1 and groups[g] < b:
                    whole = file.read_row_group(g, use_threads=False)
                    first = max(a - int(groups[g]), 0)
                    parts.append(
                        whole.slice(first, min(b, int(groups[g + 1])) - int(groups[g]) - first)
                    )
        columns: dict[str, Any] = {}
        for part in parts:
            for name, values in part.to_pydict().items():
                columns.setdefault(name, []).extend(values)
        return columns

    def examples(
        self, feature: int | str, group: str | None = "top", *, context: int | None = None
    ) -> pd.DataFrame:
        """Excerpts with a feature's values, token by token.

        Args:
            feature: index, id or handle.
            group: "top" (windows with the largest values, one each), "firing" (tokens at random
                among those where it is on), "interval 0" … (tokens at random in equal-width
                intervals between 0 and the largest value), "random" (windows at random, the same
                ones for all features, most without the feature), or None for all.
            context: how many tokens to show around the one that counts; by default the window.

        Returns:
            Columns: ``group``, ``rank``, ``value`` and ``token`` of the token that counts, ``at``
            its place in ``tokens`` (display pieces), ``ids``, ``values`` (float32; NaN where a
            token is outside of the window that was measured), ``document``, ``position`` in the
            document.

        Raises:
            InputError: no such feature or group.
        """
        index = self.index(feature)
        rows = self.example_rows(index)
        names = list(dict.fromkeys(rows.get("group", [])))
        chosen = [i for i, g in enumerate(rows.get("group", [])) if group in {None, g}]
        known = {"top", "firing", "random", *(f"interval {i}" for i in range(self._intervals))}
        if group is not None and group not in known:
            raise InputError(f"There is no group {group!r} of examples.", nearest(group, known))
        shown = [self._excerpt(rows, i, context) for i in chosen]
        if group == "random" or (group is None and "random" in [*names, "random"]):
            shown += self._silent(rows, context)
        columns = ["group", "rank", "value", "token", "at", "tokens", "ids", "values"]
        return _frame_of(shown, [*columns, "document", "position"])

    @property
    def _intervals(self) -> int:
        return int(self.meta["keep"]["intervals"])

    def _excerpt(self, rows: dict[str, Any], i: int, context: int | None) -> dict[str, Any]:
        start, length = rows["start"][i], rows["length"][i]
        values = np.zeros(length, np.float32)
        at, given = np.asarray(rows["at"][i], np.int64), np.asarray(rows["values"][i], np.float32)
        values[at[at >= 0]] = given[at >= 0]
        return self._shown(rows["document"][i], start, values, rows["position"][i], context) | {
            "group": rows["group"][i],
            "rank": rows["rank"][i],
            "value": rows["value"][i],
        }

    def _shown(
        self,
        document: int,
        start: int,
        values: npt.NDArray[Any],
        position: int,
        context: int | None,
    ) -> dict[str, Any]:
        """A stretch of a document with the values of a window that lies in it."""
        first, last = start, start + len(values)
        if context is not None:
            size = int(self.corpus.starts[document + 1] - self.corpus.starts[document])
            first = max(0, min(position - context // 2, size - context))
            last = min(size, first + max(1, context))
            wide = np.full(last - first, np.nan, np.float32)
            a, b = max(first, start), min(last, start + len(values))
            wide[a - first : b - first] = values[a - start : b - start]
            values = wide
        begin = int(self.corpus.starts[document])
        ids = self.corpus.ids[begin + first : begin + last].astype(np.int64)
        token = self.pieces(ids[[position - first]])[0]
        return {
            "token": token,
            "at": position - first,
            "tokens": self.pieces(ids),
            "ids": ids,
            "values": values,
            "document": document,
            "position": position,
        }

    def _silent(self, rows: dict[str, Any], context: int | None) -> list[dict[str, Any]]:
        """The random windows where the feature is silent."""
        windows = np.array(self.meta["random"], np.int64)
        document, start, length = self.corpus.place(windows)
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
                shown = self._shown(d, s, np.zeros(n, np.float32), s, context)
                out.append(shown | {"group": "random", "rank": rank, "value": 0.0})
                rank += 1
        return out

    # ------------------------------------------------------------------ search

    def find(
        self,
        *,
        token: str | int | None = None,
        text: str | None = None,
        density: tuple[float, float] | None = None,
        sort: str | None = None,
        descending: bool = True,
        limit: int | None = 100,
    ) -> pd.DataFrame:
        """Features by what they are on at, and how often.

        Args:
            token: a token's piece (" the") or id: features that are on at it; columns ``share`` of
                the feature's tokens and ``on``, the share of the token's occurrences.
            text: features that are on somewhere in this text in one of their examples; column
                ``examples`` counts them. Case is ignored.
            density: from and to.
            sort: a column; by default what was asked for, or else the density.
            descending: largest first.
            limit: rows; None gives all.

        Raises:
            InputError: no such token or column, a range that is none.
        """
        where, values, joins, extra = ["TRUE"], [], [], []
        if density is not None:
            low, high = density
            if not low <= high:
                raise InputError(f"density={density!r} is no range: from, to.")
            where.append("f.density BETWEEN ? AND ?")
            values = [float(low), float(high)]
        default = "density"
        with self._lock:
            if token is not None:
                wanted = self._token_id(token)
                total = max(1, int(self._vocabulary[2][wanted]))
                joins.append(f"JOIN token_stats t ON t.feature = f.feature AND t.token = {wanted}")
                extra += ["t.count / f.count AS share", f't.count / {total} AS "on"']
                default = "share"
            if text is not None:
                found = self._on_text(text)
                self._connection.register("on_text", found)
                joins.append("JOIN on_text o ON o.feature = f.feature")
                extra.append("o.examples AS examples")
                default = "examples"
            columns = ", ".join(["f.*", *extra])
            order = sort or default
            known = [*self.columns, "share", "on", "examples"]
            if order not in known:
                raise InputError(f"There is no column {order!r}.", nearest(order, known))
            query = (
                f"SELECT {columns} FROM feature f {' '.join(joins)} WHERE {' AND '.join(where)} "  # noqa: S608
                f'ORDER BY "{order}" {"DESC" if descending else "ASC"} NULLS LAST, f.feature'
            )
            if limit is not None:
                query += f" LIMIT {int(limit)}"
            return self.sql(query, *values).set_index("feature")

    @cached_property
    def columns(self) -> list[str]:
        """The columns of the table of features."""
        file, _ = self._file("features")
        return list(file.schema_arrow.names)

    def _token_id(self, token: str | int) -> int:
        pieces = self._vocabulary[0]
        if isinstance(token, int | np.integer):
            if not 0 <= token < len(pieces):
                raise InputError(f"There is no token {token}.", f"Ids go to {len(pieces) - 1}.")
            return int(token)
        found = np.flatnonzero(pieces == token)
        if not len(found):
            near = [p for p in pieces if p.strip() == token.strip()] or pieces[:0].tolist()
            hint = nearest(token, near) if near else "Spaces count: ' the' is not 'the'."
            raise InputError(f"{token!r} is no single token.", hint)
        counts = self._vocabulary[2][found]
        return int(found[counts.argmax()])

    def _on_text(self, text: str) -> pd.DataFrame:
        """Features that are on within this text, in their own examples."""
        if not text:
            raise InputError("The text to find is empty.")
        pattern = re.compile(re.escape(text), re.IGNORECASE)
        spans: list[tuple[int, int, int]] = []
        pieces = self._vocabulary[0]
        for document in range(self.corpus.n_documents):
            a, b = self.corpus.starts[document], self.corpus.starts[document + 1]
            parts = pieces[self.corpus.ids[a:b]]
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
        self._connection.register(
            "spans", _frame(document=found[:, 0], first=found[:, 1], last=found[:, 2])
        )
        return self.sql(
            "SELECT e.feature, count(DISTINCT (e.document, e.start)) AS examples FROM examples e "
            "JOIN spans s ON s.document = e.document AND s.first < e.start + e.length "
            "AND s.last >= e.start WHERE len(list_filter(e.at, "
            "lambda i : i + e.start BETWEEN s.first AND s.last)) > 0 GROUP BY e.feature"
        )

    def search(
        self, prompt: str, tokens: Sequence[int] | None = None, *, limit: int = 20
    ) -> pd.DataFrame:
        """The features that are strongest on a text of yours (inference search); needs the model.

        Args:
            prompt: the text.
            tokens: which tokens of it count (positions as in ``model.run``); by default all that
                are not special or massive.
            limit: rows.

        Returns:
            Strongest first: ``value``, ``share`` of the feature's largest value in the corpus, the
            ``position`` and ``token`` where, the ``density``.

        Raises:
            InputError: no model, no such token.
        """
        return self.live.search(prompt, tokens, limit)

    def correlated(self, other: Store, **options: Any) -> pd.DataFrame:
        """Each feature's nearest in another store (universality); see ``Live.correlated``."""
        return self.live.correlated(other, **options)

    def splitting(self, other: Store, **options: Any) -> pd.DataFrame:
        """Edges to a store of another width (splitting); see ``Live.splitting``."""
        return self.live.splitting(other, **options)

    def to_neuronpedia(
        self, folder: str | Path, features: Iterable[int | str] | None = None
    ) -> list[Path]:
        """Write features as SAEDashboard's ``batch-N.json``, which Neuronpedia takes in.

        Args:
            folder: has no such files yet.
            features: which; all by default.

        Returns:
            The files. With a model attached they have directions and neuron alignment, too.
            Correlated features are left out: this store knows how often two are on together, not
            the Pearson correlation of their values. What an interval contains is counted by the
            histogram; a bin that its bounds cut counts by its part.

        Raises:
            InputError: the folder has such files.
        """
        from neuroglass.features.exchange.neuronpedia import write_neuronpedia

        return write_neuronpedia(self, folder, features)

    def predicate(
        self, feature: int | str, fn: Callable[[list[str], int], bool]
    ) -> dict[str, float]:
        """How well a rule predicts a feature (*Towards Monosemanticity*, four case studies).

        Args:
            feature: index, id or handle.
            fn: is given the display pieces of a window and the place of a token in it, and says
                whether the rule holds there.

        Returns:
            ``specificity``: the share of tokens where the rule holds among those where the feature
            is on (of the group "firing", drawn at random from them); ``sensitivity``: the share of
            tokens where it is on among those where the rule holds, and ``pearson``: correlation of
            value and rule, both over the random windows; ``firing`` and ``tokens``: how many tokens
            these rest on. NaN where nothing is on, or the rule never holds.

        Raises:
            InputError: the rule fails.
        """
        index = self.index(feature)

        def holds(pieces: list[str], i: int) -> bool:
            try:
                return bool(fn(pieces, i))
            except Exception as error:
                raise InputError(
                    f"The rule failed at {pieces[i]!r}: {type(error).__name__}: {error}.",
                    "It is called as fn(tokens, i) and returns True or False.",
                ) from error

        firing = self.examples(index, "firing")
        random = self.examples(index, "random")
        hits = [holds(t, i) for t, i in zip(firing["tokens"], firing["at"], strict=True)]
        rule, value = [], []
        for pieces, values in zip(random["tokens"], random["values"], strict=True):
            rule += [holds(pieces, i) for i in range(len(pieces))]
            value.append(values)
        r = np.array(rule, np.float64)
        v = np.concatenate(value) if value else np.zeros(0)
        varied = len(r) > 1 and bool(r.std() > 0) and bool(v.std() > 0)
        return {
            "specificity": float(np.mean(hits)) if hits else float("nan"),
            "sensitivity": float((v[r > 0] > 0).mean()) if r.any() else float("nan"),
            "pearson": float(np.corrcoef(r, v)[0, 1]) if varied else float("nan"),
            "firing": len(hits),
            "tokens": len(r),
        }


@dataclass(frozen=True)
class StoredFeature:
    """One feature of a store; with a model attached, ``feature`` is the live handle."""

    store: Store = field(repr=False)
    index: int

    @property
    def id(self) -> str:
        """``model/site/basis/index``."""
        return self.store.id(self.index)

    @cached_property
    def row(self) -> dict[str, Any]:
        """Its row of ``Store.to_frame``."""
        found = self.store.sql("SELECT * FROM feature WHERE feature = ?", self.index)
        return {str(k): v for k, v in found.iloc[0].items()}

    @property
    def feature(self) -> Feature:
        """The live feature.

        Raises:
            InputError: the store has no model.
        """
        from neuroglass.model.basis import feature_of

        return feature_of(self.store.basis, self.index)

    def examples(self, group: str | None = "top", *, context: int | None = None) -> pd.DataFrame:
        """See ``Store.examples``."""
        return self.store.examples(self.index, group, context=context)

    def record(self) -> FeatureRecord:
        """All that the store knows of it, in the form that other people's features are read in."""
        from neuroglass.features.exchange.neuronpedia import record_of

        return record_of(self.store, self.index)

    def ablation(self, prompt: Any, at: int | Sequence[int] | None = None) -> pd.DataFrame:
        """What each later token loses without it; see ``Live.ablation``."""
        return self.store.live.ablation(self.index, prompt, at)

    def direct_effect(self, prompt: Any) -> pd.DataFrame:
        """What it adds to the logits along the direct path; see ``Live.direct_effect``."""
        return self.store.live.direct_effect(self.index, prompt)

    def alignment(self, k: int = 10) -> pd.DataFrame:
        """Its direction's largest coordinates; see ``Live.alignment``."""
        return self.store.live.alignment(self.index, k)

    def neighbours(self, *, by: str = "decoder", k: int = 10) -> pd.DataFrame:
        """The nearest features of its basis; see ``Live.neighbours``."""
        return self.store.live.neighbours(self.index, by=by, k=k)

    def transitions(self, *, k: int = 10) -> pd.DataFrame:
        """What it makes likely, and what is on there next; see ``Live.transitions``."""
        return self.store.live.transitions(self.index, k=k)

    def promoted(self, *, lowest: bool = False) -> list[tuple[str, float]]:
        """Tokens whose logits it raises most (or lowers most), with logits per unit.

        Raises:
            InputError: the site that the basis writes to does not add to the residual stream.
        """
        name = "suppressed" if lowest else "promoted"
        if name not in self.row:
            raise InputError(
                f"{self.store.meta['basis']['write_site']} has no direct path to the logits.",
                "store.live.ablation measures what a feature does through the rest of the model.",
            )
        pieces = self.store.pieces(self.row[name])
        return list(zip(pieces, map(float, self.row[f"{name}_by"]), strict=True))

    def __repr__(self) -> str:
        row = self.row
        up = " ".join(repr(p) for p, _ in self.promoted()[:4]) if "promoted" in row else ""
        return f"StoredFeature({self.id}: on at {row['density']:.3%} of tokens; raises {up})"


def _frame(**columns: F64 | I64 | npt.NDArray[Any]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(columns)


def _frame_of(rows: list[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=columns)
