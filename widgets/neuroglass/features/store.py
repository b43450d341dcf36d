"""The store: what a harvest kept, opened at once and read piece by piece, without a model.

Parquet files sorted by feature, beside the tokenised corpus that their examples point into. With a
live model attached, a store also answers for texts that it has not seen.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neuroglass import zoo
from neuroglass.features.annotations import Annotations, home
from neuroglass.features.corpus import Corpus, need_store
from neuroglass.features.exact import F64, I64
from neuroglass.features.excerpts import examples_of
from neuroglass.features.lookup import find_in, predicate_of
from neuroglass.features.rules import Fit, Predicate, Rule, bytes_of
from neuroglass.features.sketch import bin_edges
from neuroglass.features.stored_feature import StoredFeature
from neuroglass.model.errors import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.live import Live
    from neuroglass.model.basis import Basis
    from neuroglass.model.live import LiveModel

__all__ = ["SCHEMA", "Store", "StoredFeature", "open_store"]

SCHEMA = 1
_TABLES = ("features", "hist", "examples", "token_stats", "pairs", "neurons", "heads")


def open_store(
    path: str | Path,
    model: LiveModel | None = None,
    basis: Basis | None = None,
    *,
    annotations: str | Path | None = None,
) -> Store:
    """Open a store; nothing is read but its description, and torch is not needed.

    Args:
        path: the folder that ``harvest`` filled, or one of the zoo's: ``"zoo/A-8x"``.
        model: a live model to attach; see ``Store.attach``.
        basis: the dictionary of the store's features, for what needs it.
        annotations: folder for what people say of its features; by default the store's own, or
            one in the user's data folder where the store can't be written (the zoo's).

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
    if annotations is not None:
        store.annotations = Annotations(Path(annotations), store.n_features)
    return store if model is None else store.attach(model, basis)


@dataclass(eq=False)
class Store:
    """What is known of every feature of one basis.

    Attributes:
        folder: where it is.
        meta: what it is of: schema, model, fingerprint, basis, corpus, settings; ``left_out``: how
            many tokens the masks kept out of all figures, by reason.
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
        made = Store(self.folder, self.meta, model, found, self._lock, self._files)
        made.annotations = self.annotations
        return made

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

    @cached_property
    def annotations(self) -> Annotations:
        """Explanations, scores, ratings, notes and lists of its features, kept with it."""
        return Annotations(home(self), self.n_features)

    # ------------------------------------------------------------------ tables

    @cached_property
    def corpus(self) -> Corpus:
        """The tokenised corpus."""
        return Corpus.open(self.folder / self.meta["tokens"])

    @cached_property
    def vocabulary(self) -> tuple[npt.NDArray[Any], I64, I64]:
        """Display piece, kind and corpus count of each id."""
        parquet = need_store("pyarrow.parquet")
        with self._whole():
            table = parquet.read_table(self.corpus.folder / "vocabulary.parquet")
        pieces = np.array(table["piece"].to_pylist(), object)
        return pieces, table["kind"].to_numpy(), table["count"].to_numpy()

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """The bytes of each id's text; none of special tokens."""
        pieces, kinds, _ = self.vocabulary
        return [bytes_of(p, int(k)) for p, k in zip(pieces, kinds, strict=True)]

    def texts(self) -> Iterator[str]:
        """The documents of the corpus, put together from the bytes of their tokens.

        For harvesting the same texts with another model; bytes that are no whole character (at the
        end of a document that was cut) become U+FFFD.
        """
        corpus = self.corpus
        for a, b in zip(corpus.starts, corpus.starts[1:], strict=False):
            raw = b"".join(self.token_bytes[i] for i in corpus.ids[a:b])
            yield raw.decode("utf-8", "replace")

    def pieces(self, ids: Sequence[int] | I64) -> list[str]:
        """Display pieces of token ids."""
        return list(self.vocabulary[0][np.asarray(ids, np.int64)])

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

    def sql(self, query: str, *values: Any, **tables: pd.DataFrame) -> pd.DataFrame:
        """Any DuckDB query over features, hist, examples, token_stats, pairs, neurons, heads.

        Args:
            query: in DuckDB's SQL.
            values: stand for its question marks.
            tables: frames of yours that it may read, by name.

        Raises:
            InputError: a file of the store is damaged.
        """
        with self._lock, self._whole():
            for name, frame in tables.items():
                self._connection.register(name, frame)
            found: pd.DataFrame = self._connection.execute(query, list(values)).df()
        return found

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """What reads a file that is cut off, says so."""
        duckdb, pa = need_store("duckdb"), need_store("pyarrow")
        try:
            yield
        except (duckdb.IOException, duckdb.InvalidInputException, pa.ArrowException, OSError,
                ValueError) as error:  # fmt: skip
            raise InputError(
                f"The store {str(self.folder)!r} is damaged: {str(error).splitlines()[0]}",
                "A file of it is cut off or missing: copy or harvest it again.",
            ) from error

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

    @cached_property
    def _counts(self) -> I64:
        """How often each feature is on."""
        counts: I64 = self.sql("SELECT count FROM feature ORDER BY feature")["count"].to_numpy()
        return counts

    def histogram(self, feature: int | str, *, log: bool = False) -> pd.DataFrame:
        """How many tokens have which value: columns low, high, count; zeros are not counted.

        Linear bins are equally wide, log ones a quarter of an octave.
        """
        return self.histograms(feature)[log]

    def histograms(self, feature: int | str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Both histograms of a feature, linear and log; see ``histogram``."""
        row = self._rows("hist", self.index(feature)).iloc[0]
        linear, log = np.asarray(row["linear"]), np.asarray(row["log"])
        edges = np.arange(len(linear) + 1) * row["width"], bin_edges()
        return (
            _frame(low=edges[0][:-1], high=edges[0][1:], count=linear),
            _frame(low=edges[1][:-1], high=edges[1][1:], count=log),
        )

    def tokens(self, feature: int | str) -> pd.DataFrame:
        """The tokens that a feature is on at, most often first.

        Columns: token, id, ``count``, ``share`` of the feature's tokens, ``on`` the share of this
        token's occurrences in the corpus where the feature is on, ``mean`` value there. Where only
        the commonest were kept, ``left_out`` is the largest count of those that were not.
        """
        index = self.index(feature)
        found = self._rows("token_stats", index)
        ids = found["token"].to_numpy()
        total = self.vocabulary[2][ids]
        found.insert(0, "id", ids)
        found["token"] = self.pieces(ids)
        found["share"] = found["count"] / int(self._counts[index])
        found["on"] = found["count"] / total
        return found

    def coactive(self, feature: int | str) -> pd.DataFrame:
        """The features that are on at the same tokens, most often first.

        Columns: other, ``count`` of common tokens, ``error`` (0 where all tokens count; above
        8,192 features one in 16 is: then two standard deviations of such a count),
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
            int(self._counts[index]),
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
        with self._whole():
            a, b = (int(i) for i in self._example_starts[[feature, feature + 1]])
            file, groups = self._file("examples")
        parts = []
        with self._lock, self._whole():  # one reader has one position
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
            document (before the window's first token for one that leads it, as BOS); ``lead``: how
            many of the tokens are leading ones.

        Raises:
            InputError: no such feature or group.
        """
        return examples_of(self, self.index(feature), group, context)

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
        return find_in(self, token, text, density, sort, descending, limit)

    @cached_property
    def columns(self) -> list[str]:
        """The columns of the table of features."""
        with self._whole():
            file, _ = self._file("features")
        return list(file.schema_arrow.names)

    def search(
        self,
        prompt: str,
        tokens: Sequence[int] | None = None,
        *,
        limit: int | None = 20,
        by: str = "max",
        bos: bool | None = None,
    ) -> pd.DataFrame:
        """The features that are strongest on a text of yours (inference search); needs the model.

        Args:
            prompt: the text.
            tokens: which tokens of it count (positions as in ``model.run``); by default all that
                are not special or massive.
            limit: rows; None gives all features that are on.
            by: "max": the value is the largest over these tokens; "sum": the sum of all above zero.
            bos: whether a BOS token counts; by default one that is among `tokens` does.

        Returns:
            Largest value first: ``value``; ``share``: the largest over these tokens as a share of
            the feature's largest in the corpus, the ``position`` and ``token`` where it is; the
            ``density``.

        Raises:
            InputError: no model, no such token.
        """
        return self.live.search(prompt, tokens, limit, by, bos)

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

    def to_site(
        self,
        path: str | Path,
        features: Iterable[int | str] | None = None,
        *,
        title: str = "",
        progress: bool = True,
    ) -> Path:
        """Write a static site: the table of features and a page for each, without a server.

        Args:
            path: a new folder. Its ``index.html`` opens from the disk; the folder can be put on any
                server as it is.
            features: which; all by default.
            title: of the page.
            progress: show a bar, of many features.

        Returns:
            The path of ``index.html``. With a model attached, pages have neuron alignment, nearest
            directions and logit histograms too.

        Raises:
            InputError: the folder is not empty; no such feature.
        """
        # the one call from a store up to the views, which is why it is no import statement
        site = import_module("neuroglass.views.site")
        written: Path = site.write_site(self, path, features, title=title, progress=progress)
        return written

    def predicate(self, feature: int | str, rule: str | Predicate | Rule) -> Fit:
        """How well a rule predicts a feature, estimated from the samples that the store keeps.

        ``store.rules`` looks at every token of the corpus; it needs the model.

        Args:
            feature: index, id or handle.
            rule: a regular expression or a function; see ``Rule.of``.

        Returns:
            ``specificity`` from the group "firing" (tokens at random among those where the feature
            is on: ``on`` of them), ``sensitivity`` and ``pearson`` from the random windows (of
            ``tokens`` tokens). NaN where nothing is on, or the rule never holds.

        Raises:
            InputError: no regular expression; the function fails.
        """
        return predicate_of(self, self.index(feature), Rule.of(rule))

    def rules(
        self, rules: Mapping[str, str | Predicate | Rule], *, tokens: int | None = None
    ) -> pd.DataFrame:
        """How well rules predict each feature, over the corpus; see ``Live.rules``."""
        return self.live.rules(rules, tokens=tokens)


def _frame(**columns: F64 | I64 | npt.NDArray[Any]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(columns)
