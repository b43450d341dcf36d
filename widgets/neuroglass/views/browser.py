"""``ng.FeatureBrowser``: all features of a store as a table, to be searched, rated and put on lists.

What is asked for becomes a ``Query``; the order of all features that fit stays in the kernel, and
the page asks for the rows that it shows. What is said of a feature goes to the store's annotations.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import traitlets as t

from neuroglass import zoo
from neuroglass.features.browse import FeatureTable, Found
from neuroglass.features.query import Query
from neuroglass.model.errors import InputError, nearest
from neuroglass.model.worker import Cancelled, Job, Priority, Worker
from neuroglass.views import browser_rows as drawn
from neuroglass.views.base import View, bundle
from neuroglass.views.codec import pack
from neuroglass.views.protocol import Request
from neuroglass.views.stored import StoreView

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store

_PROMPTS = 4  # whose values are remembered
_SETTINGS = ("query", "sort", "descending", "subset")


@dataclass(frozen=True)
class _Wish:
    query: Query
    sort: str  # "": what the query is about
    descending: bool
    subset: tuple[int, ...]


@dataclass
class _Memory:
    """What need not be computed again: values on prompts, and what a page was told of a prompt."""

    prompts: dict[tuple[Any, ...], pd.DataFrame] = field(default_factory=dict)

    @staticmethod
    def key(query: Query) -> tuple[Any, ...]:
        return query.prompt, query.tokens, query.by, query.bos

    def keep(self, query: Query, values: pd.DataFrame) -> None:
        while len(self.prompts) >= _PROMPTS:
            self.prompts.pop(next(iter(self.prompts)))
        self.prompts[self.key(query)] = values


class FeatureBrowser(StoreView):
    """All features of a store as a table.

    Args:
        store: with its live model attached, it is searched by a prompt, too.
        sort: a column, as in ``to_frame``; None: what the query is about, or else the density.
        descending: largest first; features without a value come last either way.
        columns: which are shown; None: a choice of the commonest.
        subset: only these features; empty: all.
        query: conditions, all of which must hold; see ``neuroglass.features.query.Query``:
            explanation, token, logit, text, density, flags, without, list, rating, prompt, tokens,
            by, bos.
        **traits: ``feature``, ``chosen``, ``title``, ``theme``.

    Traits:
        query, sort, descending, subset: as above. Settable; ``wait()`` waits for a prompt's or a
            text's answer.
        columns: as above. Settable.
        chosen: features that are ticked, to be put on a list. Settable.
        frame: what is drawn: the first rows.
        remarks: what was said of features: ratings, notes, lists.

    Raises:
        InputError: an unknown column, condition, list or token; a prompt without a model.
    """

    _esm = bundle("browser", "js")
    _css = bundle("browser", "css")
    _handlers: ClassVar[dict[str, str]] = {
        **View._handlers,
        "run": "_on_run",
        "rows": "_on_rows",
        "place": "_on_place",
        "choose": "_on_choose",
        "indices": "_on_indices",
        "tokenise": "_on_tokenise",
        "rate": "_on_rate",
        "note": "_on_note",
        "put": "_on_put",
        "drop": "_on_drop",
    }
    _files: ClassVar[Worker] = Worker("neuroglass-files")  # reads corpora for texts

    query = t.Dict().tag(sync=True)
    sort = t.Unicode("").tag(sync=True)
    descending = t.Bool(True).tag(sync=True)
    columns: t.List[str] = t.List(t.Unicode(), default_value=list(drawn.DEFAULT)).tag(sync=True)
    subset: t.List[int] = t.List(t.Int()).tag(sync=True)
    chosen: t.List[int] = t.List(t.Int()).tag(sync=True)
    choices = t.Dict().tag(sync=True)
    frame = t.Dict().tag(sync=True)
    remarks = t.Dict().tag(sync=True)

    def __init__(
        self,
        store: Store,
        *,
        sort: str | None = None,
        descending: bool = True,
        columns: Sequence[str] | None = None,
        subset: Sequence[int] = (),
        query: Mapping[str, Any] | Query = {},  # noqa: B006 - never changed
        **traits: Any,
    ) -> None:
        from neuroglass.features.store import Store as StoreType

        if not isinstance(store, StoreType):
            raise InputError(
                f"A FeatureBrowser needs a store, not {type(store).__name__}.",
                "ng.open_store('zoo/A-8x') opens one.",
            )
        self._table = FeatureTable(store)
        self._memory = _Memory()
        self._drawing = 0  # the thread that sets the traits of a result, 0: none
        self._asked = 0  # counts what was asked for
        self._result = 0  # counts what was found, so that rows are known to belong to it
        self._pending: tuple[Job[Any], Any] | None = None
        self.store = store
        wish = _Wish(
            Query.of(query, store), sort or "", bool(descending), tuple(map(store.index, subset))
        )
        found = self._now(wish)
        self._default = drawn.default_columns(store)
        traits["columns"] = list(self._default if columns is None else columns)
        if "chosen" in traits:
            traits["chosen"] = [store.index(i) for i in traits["chosen"]]
        self._begin(store, choices=drawn.choices(self._table), **traits)
        self._draw(wish, found, ("", 0))
        store.annotations.listen(self._heard)
        self.observe(self._on_setting, names=list(_SETTINGS))

    # -- settings ----------------------------------------------------------------------------

    @t.validate("query")
    def _check_query(self, proposal: Any) -> Any:
        if not self._checks:
            return proposal["value"]
        query = Query.of(proposal["value"], self.store)
        self._table.check(query)
        return query.wire

    @t.validate("sort")
    def _check_sort(self, proposal: Any) -> Any:
        value = proposal["value"]
        known = [*self._table.columns, *self._found.extra] if self._checks else [value]
        if value and value not in known:
            raise InputError(f"There is no column {value!r} here.", nearest(value, known))
        return value

    @t.validate("columns")
    def _check_columns(self, proposal: Any) -> Any:
        value = list(dict.fromkeys(proposal["value"]))
        for name in value:
            if name not in (known := self.column_names()):
                raise InputError(f"There is no column {name!r} here.", nearest(name, known))
        return value

    @t.validate("subset", "chosen")
    def _check_features(self, proposal: Any) -> Any:
        value = list(dict.fromkeys(proposal["value"]))
        return [self.store.index(i) for i in value] if self._checks else value

    @property
    def _checks(self) -> bool:
        """Values come from outside, and there is a store to check them against."""
        return self.live and self._drawing != threading.get_ident()

    @property
    def _wish(self) -> _Wish:
        query = Query.of(self.query, self.store)
        return _Wish(query, self.sort, self.descending, tuple(self.subset))

    def _on_setting(self, change: Any) -> None:
        """A setting changed from Python or a link."""
        if self._drawing == threading.get_ident():
            return
        wish = self._wish
        if change["name"] == "query" and self.sort in drawn.EXTRA:
            wish = _Wish(wish.query, "", wish.descending, wish.subset)  # its column may be gone
        number = self._number()
        if not self._long(wish):
            self._draw(wish, self._now(wish), ("", 0))
            return
        job = self._job(wish, "python")

        def finish(ended: Job[Any]) -> None:
            try:
                self._draw_newest(wish, ended.result(0), ("", 0), number)
            except Cancelled:
                return  # a newer one took its place, and draws
            except Exception as error:
                self._show_error(error)

        self._pending = job, self._when_done(job, finish)

    def wait(self, timeout: float = 60.0) -> None:
        """Wait until the last change of a setting has been drawn.

        Raises:
            TimeoutError: it took longer than `timeout` seconds.
            InputError: it failed; the same error is shown in the cell.
        """
        if self._pending is None:
            return
        job, settle = self._pending
        try:
            job.result(timeout)
        finally:
            if job.done:
                settle()

    def attach(self, store: Store) -> None:
        """Go on with the same store and its live model: ``view.attach(store.attach(model))``.

        Raises:
            InputError: it is another store.
        """
        super().attach(store)
        self._table.store = store
        self.code = self._code(self._wish)

    # -- finding -----------------------------------------------------------------------------

    def _long(self, wish: _Wish) -> bool:
        """It must not be answered on the thread that asks."""
        unknown = self._memory.key(wish.query) not in self._memory.prompts
        return bool(wish.query.prompt) and unknown or self._table.takes_long(wish.query)

    def _steps(self, wish: _Wish) -> Generator[None, None, Found]:
        query, values = wish.query, None
        if query.prompt:
            values = self._memory.prompts.get(self._memory.key(query))
            if values is None:
                yield
                tokens = query.tokens or None
                search = self.store.search
                values = search(query.prompt, tokens, limit=None, by=query.by, bos=query.bos)
                self._memory.keep(query, values)
        yield
        return self._table.find(query, wish.sort or None, wish.descending, wish.subset, values)

    def _job(self, wish: _Wish, asker: str) -> Job[Found]:
        self._table.check(wish.query)
        submit = self.store.model.work if wish.query.prompt else self._files.submit
        job: Job[Found] = submit(
            lambda _: self._steps(wish),
            priority=Priority.INTERACTIVE,
            key=(self.model_id, asker, "run"),
        )
        return job

    def _now(self, wish: _Wish) -> Found:
        """The result; waited for where it takes long."""
        self._table.check(wish.query)
        if self._long(wish):
            submit = self.store.model.work if wish.query.prompt else self._files.submit
            job: Job[Found] = submit(lambda _: self._steps(wish), priority=Priority.INTERACTIVE)
            return job.result()
        steps = self._steps(wish)
        try:
            while True:
                next(steps)
        except StopIteration as ended:
            found: Found = ended.value
        return found

    def _number(self) -> int:
        with self._lock:
            self._asked += 1
            return self._asked

    def _draw_newest(
        self, wish: _Wish, found: Found, origin: tuple[str, int], number: int
    ) -> Mapping[str, Any]:
        if number < self._asked:
            raise Cancelled(superseded=True)
        return self._draw(wish, found, origin)

    def _draw(self, wish: _Wish, found: Found, origin: tuple[str, int]) -> Mapping[str, Any]:
        """Set all that shows a result, as one message to the browser."""
        store = self.store
        rows = drawn.window(self._table, found, 0, drawn.FIRST)
        empty = drawn.nothing(found.query, len(wish.subset)) if not len(found) else None
        self._found = found
        self._result += 1
        with self._writing(), self._ours():
            self.query, self.sort = found.query.wire, wish.sort
            self.descending, self.subset = wish.descending, list(wish.subset)
            self.frame = {
                "view": origin[0], "id": origin[1], "result": self._result, "total": len(found), "sort": found.sort,
                "descending": found.descending, "extra": [n for n in drawn.EXTRA if n in found.extra],
                "rows": {k: v for k, v in rows.items() if k != "said"}, "empty": empty,
                "notice": " ".join(found.left_out), "prompt": self._told(found.query),
            }  # fmt: skip
            self.remarks = {"of": rows["said"], "lists": drawn.lists(store), "fresh": 0}
            self.code = self._code(wish)
            self.set_trait("error", None)
        return {}

    @contextmanager
    def _ours(self) -> Iterator[None]:
        before, self._drawing = self._drawing, threading.get_ident()
        try:
            yield
        finally:
            self._drawing = before

    # -- requests ----------------------------------------------------------------------------

    def _on_run(self, request: Request) -> None:
        now = self._wish
        sort = request.optional("sort", str, now.sort)
        query = Query.of(request.optional("query", dict, now.query.wire), self.store)
        if sort in drawn.EXTRA and "query" in request.body:
            sort = ""
        subset = tuple(request.integers("subset")) if "subset" in request.body else now.subset
        wish = _Wish(query, sort, request.optional("descending", bool, now.descending), subset)
        number, origin = self._number(), (request.view, request.id)
        if not self._long(wish):
            self._draw(wish, self._now(wish), origin)
            self._answer(request)
            return
        job = self._job(wish, request.view)
        self._pending = job, self._answer_with(
            request, job, lambda found: self._draw_newest(wish, found, origin, number)
        )

    def _on_rows(self, request: Request) -> None:
        start, stop = request.get("from", int), request.get("to", int)
        if not 0 <= start <= stop <= start + drawn.WINDOW:
            raise InputError(f"Rows {start} to {stop} can't be read at once.")
        rows = drawn.window(self._table, self._found, start, stop)
        self._answer(request, result=self._result, **rows)

    def _on_place(self, request: Request) -> None:
        """The row of a feature; null where it does not fit the query."""
        at = np.flatnonzero(self._found.features == request.get("feature", int))
        self._answer(request, row=int(at[0]) if len(at) else None)

    def _on_choose(self, request: Request) -> None:
        """Tick all rows of a stretch."""
        start, stop = sorted((request.get("from", int), request.get("to", int)))
        more = self._found.features[max(0, start) : stop].tolist()
        self.chosen = [*self.chosen, *more]
        self._answer(request)

    def _on_indices(self, request: Request) -> None:
        self._answer(request, features=pack(self._found.features, "i32"))

    def _on_tokenise(self, request: Request) -> None:
        self._answer(request, **self._pieces(request.get("prompt", str)))

    def _told(self, query: Query) -> dict[str, Any] | None:
        """What the page shows of the query's prompt; None: there is none."""
        return self._pieces(query.prompt) if query.prompt else None

    def _pieces(self, prompt: str) -> dict[str, Any]:
        model = self._need_model()
        if not prompt:
            return {"pieces": [], "kinds": [], "bos": False}
        [ids] = model.prompts.rows(prompt)
        pieces, kinds = model.pieces.many(ids)
        bos = model.tokenizer is not None and ids[0] == model.tokenizer.bos_token_id
        return {"pieces": pieces, "kinds": list(map(int, kinds)), "bos": bool(bos)}

    def _on_rate(self, request: Request) -> None:
        value = request.get("value", (int, type(None)))
        for feature in request.integers("features"):
            self.store.annotations.rate(feature, value)
        self._answer(request)

    def _on_note(self, request: Request) -> None:
        self.store.annotations.note(request.get("feature", int), request.get("text", str))
        self._answer(request)

    def _on_put(self, request: Request) -> None:
        self.store.annotations.put(request.get("name", str), *request.integers("features"))
        self._answer(request)

    def _on_drop(self, request: Request) -> None:
        self.store.annotations.drop(request.get("name", str), *request.integers("features"))
        self._answer(request)

    def _heard(self, features: Sequence[int]) -> None:
        """Something was said of features, here or elsewhere in this kernel: every page sees it."""
        with self._lock:
            before = self.remarks
            if len(features) > drawn.WINDOW:  # the page asks again for what it shows
                first = self._found.features[: drawn.FIRST].tolist()
                of, fresh = drawn.remarks(self.store, first), before["fresh"] + 1
            else:
                new = drawn.remarks(self.store, features, all_=True)
                of, fresh = {**before["of"], **new}, before["fresh"]
            self.remarks = {"of": of, "lists": drawn.lists(self.store), "fresh": fresh}

    @staticmethod
    def column_names() -> list[str]:
        """The names that ``columns`` may have."""
        return [n for n in drawn.COLUMNS if n not in {"feature", *drawn.EXTRA}]

    # -- results -----------------------------------------------------------------------------

    def to_frame(self) -> pd.DataFrame:
        """All features that fit, in their order: columns as in ``Store.to_frame`` and more.

        Tokens are pieces; ``dead``, ``ultralow``; ``explanation``, ``score``, ``rating``, ``note``,
        ``lists``; what the query says: ``value``, ``of_max``, ``position``, ``at`` on a prompt,
        ``share``, ``on`` at a token, ``logit``, ``examples``. NaN where nothing is known.

        Raises:
            InputError: this is a picture from a state, without a store.
        """
        return self._table.frame(self._need_found())

    def _need_found(self) -> Found:
        if not self.live:
            raise InputError(
                "This is a picture of a browser, without its store.",
                "FeatureBrowser.from_state(state, store) has all rows.",
            )
        return self._found

    @classmethod
    def from_state(cls, state: Mapping[str, Any], store: Store | None = None) -> Self:
        """The browser that `state` describes: live with its `store`, else a picture."""
        if store is None:
            return super().from_state(state)
        kept = ("query", "sort", "descending", "columns", "subset", "chosen", "feature", "theme",
                "title")  # fmt: skip
        settings = {name: state[name] for name in kept if name in state}
        if settings.get("query", {}).get("prompt") and not store.has_basis:
            settings["query"] = {}  # its values can't be computed without the model
        return cls(store, **settings)

    def _code(self, wish: _Wish) -> str:
        folder = self.store.folder.resolve()
        stores = zoo.path("stores").resolve()
        name = f"zoo/{folder.name}" if folder.parent == stores else str(folder)
        lines = ["import neuroglass as ng", "", f"store = ng.open_store({name!r})"]
        if self.store.has_basis:
            lines.append(f"store = store.attach({self.store.model.code})")
        given: dict[str, Any] = {}
        if wish.sort:
            given["sort"] = wish.sort
        if not wish.descending:
            given["descending"] = False
        if tuple(self.columns) != self._default:
            given["columns"] = list(self.columns)
        if wish.subset:
            given["subset"] = list(wish.subset)
        if wish.query.wire:
            given["query"] = wish.query.wire
        return "\n".join([*lines, f"ng.FeatureBrowser(store{drawn.settings_of(given)})"])

    @t.observe("columns")
    def _recode(self, _: Any) -> None:
        if self.live:
            self.code = self._code(self._wish)

    def fallback_html(self) -> str:
        """The first rows as a plain table."""
        return drawn.fallback(self.store, self._found, self._table) if self.live else ""

    def __repr__(self) -> str:
        if not self.live:
            return "FeatureBrowser(saved)"
        return f"FeatureBrowser({self.store.name}: {len(self._found):,} of {len(self.store):,})"

