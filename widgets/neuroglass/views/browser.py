"""``ng.FeatureBrowser``: all features of a store as a table: searched, rated, put on lists.

What is asked for becomes a ``Query``; the order of all features that fit stays in the kernel, and
the page asks for the rows that it shows. What is said of a feature goes to the store's annotations.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import traitlets as t

from neuroglass.features.browse import Found
from neuroglass.features.query import Query
from neuroglass.model.errors import InputError, nearest
from neuroglass.model.worker import Cancelled, Job
from neuroglass.views import browser_rows as drawn
from neuroglass.views.base import View, Waitable, bundle, ref
from neuroglass.views.beside import can_host
from neuroglass.views.browser_columns import COLUMNS, DEFAULT, EXTRA
from neuroglass.views.browser_search import Search, Wish
from neuroglass.views.codec import pack
from neuroglass.views.dashboard import FeatureDashboard
from neuroglass.views.link import link
from neuroglass.views.protocol import Request
from neuroglass.views.remarking import Remarking

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store

_SETTINGS = ("query", "sort", "descending", "subset")


class FeatureBrowser(Remarking, Waitable):
    """All features of a store as a table.

    Args:
        store: with its live model attached, it is searched by a prompt, too.
        sort: a column, as in ``to_frame``; None: what the query is about, or else the density.
        descending: largest first; features without a value come last either way.
        columns: which are shown; None: a choice of the commonest.
        subset: only these features; empty: all.
        opens: a selected feature's page opens below the table, where the notebook can place a view
            inside another.
        query: conditions, all of which must hold; see ``neuroglass.features.query.Query``:
            explanation, token, logit, text, density, flags, without, list, rating, prompt, tokens,
            by, bos.
        **traits: ``feature``, ``chosen``, ``opens``, ``title``, ``theme``.

    Traits:
        query, sort, descending, subset: as above. Settable; ``wait()`` waits for a prompt's or a
            text's answer.
        columns: as above. Settable.
        chosen: features that are ticked, to be put on a list. Settable.
        dashboard: the page that is open, or None.
        frame: what is drawn: the first rows.

    Raises:
        InputError: an unknown column, condition, list or token; a prompt without a model.
    """

    _esm = bundle("browser", "js")
    _css = bundle("browser", "css")
    _handlers: ClassVar[dict[str, str]] = {
        **Remarking._handlers,
        "run": "_on_run",
        "rows": "_on_rows",
        "place": "_on_place",
        "choose": "_on_choose",
        "indices": "_on_indices",
        "tokenise": "_on_tokenise",
    }

    query = t.Dict().tag(sync=True)
    sort = t.Unicode("").tag(sync=True)
    descending = t.Bool(True).tag(sync=True)
    columns: t.List[str] = t.List(t.Unicode(), default_value=list(DEFAULT)).tag(sync=True)
    subset: t.List[int] = t.List(t.Int()).tag(sync=True)
    chosen: t.List[int] = t.List(t.Int()).tag(sync=True)
    opens = t.Bool(True).tag(sync=True)
    dashboard = t.Instance(View, allow_none=True).tag(
        sync=True,
        to_json=lambda view, _: view and ref(view),
        from_json=lambda _, browser: browser.dashboard,  # the page can't make views
    )
    choices = t.Dict().tag(sync=True)
    frame = t.Dict().tag(sync=True)

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
        self._search = Search(store)
        self._drawing = 0  # the thread that sets the traits of a result, 0: none
        self._asked = 0  # counts what was asked for
        self._result = 0  # counts what was found, so that rows are known to belong to it
        self.store = store
        wish = Wish(
            Query.of(query, store), sort or "", bool(descending), tuple(map(store.index, subset))
        )
        found = self._search.now(wish)
        self._default = drawn.default_columns(store)
        traits["columns"] = list(self._default if columns is None else columns)
        if "chosen" in traits:
            traits["chosen"] = [store.index(i) for i in traits["chosen"]]
        self._begin(store, choices=drawn.choices(self._search.table), **traits)
        self._draw(wish, found, ("", 0))
        self.observe(self._on_setting, names=list(_SETTINGS))
        self._open()

    # -- settings ----------------------------------------------------------------------------

    @t.validate("query")
    def _check_query(self, proposal: Any) -> Any:
        if not self._checks:
            return proposal["value"]
        query = Query.of(proposal["value"], self.store)
        self._search.table.check(query)
        return query.wire

    @t.validate("sort")
    def _check_sort(self, proposal: Any) -> Any:
        value = proposal["value"]
        known = [*self._search.table.columns, *self._found.extra] if self._checks else [value]
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
    def _wish(self) -> Wish:
        query = Query.of(self.query, self.store)
        return Wish(query, self.sort, self.descending, tuple(self.subset))

    def _on_setting(self, change: Any) -> None:
        """A setting changed from Python or a link."""
        if self._drawing == threading.get_ident():
            return
        wish = self._wish
        if change["name"] == "query" and self.sort in EXTRA:
            wish = Wish(wish.query, "", wish.descending, wish.subset)  # its column may be gone
        number = self._number()
        if not self._search.takes_long(wish):
            self._draw(wish, self._search.now(wish), ("", 0))
            return
        job = self._search.job(wish, (self.model_id, "python", "run"))

        def finish(ended: Job[Any]) -> None:
            try:
                self._draw_newest(wish, ended.result(0), ("", 0), number)
            except Cancelled:
                return  # a newer one took its place, and draws
            except Exception as error:
                self._show_error(error)

        self._pending = job, self._when_done(job, finish)

    @t.observe("feature", "opens")
    def _open(self, _: Any = None) -> None:
        """The page of the selected feature opens; from then on the two follow each other."""
        if not self.live:
            return
        if not self.opens:
            self._close()
        elif self.feature and self.dashboard is None and can_host():
            self.dashboard = FeatureDashboard(self.store, self.feature, theme=self.theme)
            self._follows = link(self, self.dashboard, "feature", "theme")

    def _close(self) -> None:
        if self.dashboard is not None:
            self._follows.unlink()
            self.dashboard = None

    def hosted(self) -> Sequence[View]:
        """The page of the selected feature, if it is open."""
        return () if self.dashboard is None else (self.dashboard,)

    @property
    def state(self) -> dict[str, Any]:
        """As of every view; the page of the selected feature is not in it."""
        return super().state | {"dashboard": None}

    def attach(self, store: Store) -> None:
        """Go on with the same store and its live model: ``view.attach(store.attach(model))``.

        Raises:
            InputError: it is another store.
        """
        super().attach(store)
        if self.dashboard is not None and self.feature:
            self.dashboard.attach(store)
        else:
            self._close()  # the next one has the model
        self._search.table.store = store
        self.code = self._code(self._wish)

    # -- finding -----------------------------------------------------------------------------

    def _number(self) -> int:
        with self._lock:
            self._asked += 1
            return self._asked

    def _draw_newest(
        self, wish: Wish, found: Found, origin: tuple[str, int], number: int
    ) -> Mapping[str, Any]:
        if number < self._asked:
            raise Cancelled(superseded=True)
        return self._draw(wish, found, origin)

    def _draw(self, wish: Wish, found: Found, origin: tuple[str, int]) -> Mapping[str, Any]:
        """Set all that shows a result, as one message to the browser."""
        rows = drawn.window(self._search.table, found, 0, drawn.FIRST)
        empty = drawn.nothing(found.query, len(wish.subset)) if not len(found) else None
        self._found = found
        self._result += 1
        with self._writing(), self._ours():
            self.query, self.sort = found.query.wire, wish.sort
            self.descending, self.subset = wish.descending, list(wish.subset)
            self.frame = {
                "view": origin[0],
                "id": origin[1],
                "result": self._result,
                "total": len(found),
                "sort": found.sort,
                "descending": found.descending,
                "extra": [n for n in EXTRA if n in found.extra],
                "rows": {k: v for k, v in rows.items() if k != "said"},
                "empty": empty,
                "notice": " ".join(found.left_out),
                "prompt": self._pieces(found.query.prompt) if found.query.prompt else None,
            }
            self._remark(rows["said"])
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
        if sort in EXTRA and "query" in request.body:
            sort = ""
        subset = tuple(request.integers("subset")) if "subset" in request.body else now.subset
        wish = Wish(query, sort, request.optional("descending", bool, now.descending), subset)
        number, origin = self._number(), (request.view, request.id)
        if not self._search.takes_long(wish):
            self._draw(wish, self._search.now(wish), origin)
            self._answer(request)
            return
        job = self._search.job(wish, (self.model_id, request.view, "run"))
        self._pending = (
            job,
            self._answer_with(
                request, job, lambda found: self._draw_newest(wish, found, origin, number)
            ),
        )

    def _on_rows(self, request: Request) -> None:
        start, stop = request.get("from", int), request.get("to", int)
        if not 0 <= start <= stop <= start + drawn.WINDOW:
            raise InputError(f"Rows {start} to {stop} can't be read at once.")
        rows = drawn.window(self._search.table, self._found, start, stop)
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

    def _pieces(self, prompt: str) -> dict[str, Any]:
        model = self._need_model()
        if not prompt:
            return {"pieces": [], "kinds": [], "bos": False}
        [ids] = model.prompts.rows(prompt)
        pieces, kinds = model.pieces.many(ids)
        bos = model.tokenizer is not None and ids[0] == model.tokenizer.bos_token_id
        return {"pieces": pieces, "kinds": list(map(int, kinds)), "bos": bool(bos)}

    def _rows_drawn(self) -> list[int]:
        first: list[int] = self._found.features[: drawn.FIRST].tolist()
        return first

    @staticmethod
    def column_names() -> list[str]:
        """The names that ``columns`` may have."""
        return [n for n in COLUMNS if n not in {"feature", *EXTRA}]

    # -- results -----------------------------------------------------------------------------

    def to_frame(self) -> pd.DataFrame:
        """All features that fit, in their order: columns as in ``Store.to_frame`` and more.

        Tokens are pieces; ``dead``, ``ultralow``; ``explanation``, ``score``, ``rating``, ``note``,
        ``lists``; what the query says: ``value``, ``of_max``, ``position``, ``at`` on a prompt,
        ``share``, ``on`` at a token, ``logit``, ``examples``. NaN where nothing is known.

        Raises:
            InputError: this is a picture from a state, without a store.
        """
        found = self._need_found()
        return self._search.table.frame(found)

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
            return super().from_state({**state, "dashboard": None})
        kept = ("query", "sort", "descending", "columns", "subset", "chosen", "opens", "feature",
                "theme", "title")  # fmt: skip
        settings = {name: state[name] for name in kept if name in state}
        if settings.get("query", {}).get("prompt") and not store.has_basis:
            settings["query"] = {}  # its values can't be computed without the model
        return cls(store, **settings)

    def _code(self, wish: Wish) -> str:
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
        return f"{self._store_code()}\nng.FeatureBrowser(store{drawn.settings_of(given)})"

    @t.observe("columns")
    def _recode(self, _: Any) -> None:
        if self.live:
            self.code = self._code(self._wish)

    def fallback_html(self) -> str:
        """The first rows as a plain table."""
        return drawn.fallback(self.store, self._found, self._search.table) if self.live else ""

    def __repr__(self) -> str:
        if not self.live:
            return "FeatureBrowser(saved)"
        return f"FeatureBrowser({self.store.name}: {len(self._found):,} of {len(self.store):,})"
