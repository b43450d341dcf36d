"""``ng.HeadDashboard``: the page of one attention head, from a store and live.

A store with harvested heads flows in; the head's strongest pairs in their texts, how far they reach
and its numbers flow to the page. With a live model, a text of one's own: who reads whom, and what
attending to a token says.
"""

from __future__ import annotations

import html
import math
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets as t

from neuroglass.features import head_live, head_pairs
from neuroglass.features.head_live import Reading
from neuroglass.features.head_pairs import Address
from neuroglass.features.store import Store
from neuroglass.model.basis import Head
from neuroglass.model.errors import InputError
from neuroglass.model.tokens import whole_characters
from neuroglass.model.worker import Cancelled, Job, Priority
from neuroglass.views.base import Waitable, bundle
from neuroglass.views.codec import pack, pack_q8, unpack
from neuroglass.views.protocol import Request
from neuroglass.views.stored import StoreView

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

TOKENS = 512  # of a text
_EXACT = 128  # tokens; of more, the matrices go in 8 bits
_SHOWN = 20  # pairs of each group that the page has
_LOGITS = 10
ATTACH = "attach a model: store.attach(model)"


class HeadDashboard(StoreView, Waitable):
    """One attention head.

    Its value for a (query, key) pair is ‖A·v·W_O‖, the size of what the key's token writes at the
    query's through this head: large attention to a vector that is nearly zero does nothing.

    Args:
        store: harvested with heads: ``ng.harvest(model, basis, texts, heads=[(0, 1)])``.
        head: (layer, head), or a head of the model; by default the first one.
        text: of your own, read live; needs the model.
        by: what tokens are coloured by: ``"written"`` (‖A·v·W_O‖) or ``"pattern"`` (A).
        **traits: ``token``, ``title``, ``theme``.

    Traits:
        head, text, by: as above. Settable; ``wait()`` waits for the text to be read.
        token: the selected token of the text, or None; other views of it can be linked.
        attention: what the text looks like to the head: packed matrices.
        frame: what the store knows of the head.

    Raises:
        InputError: a store without heads, a head that was not harvested, a text without a model.
        TypeError: an unknown keyword.
    """

    _esm = bundle("head_dashboard", "js")
    _css = bundle("head_dashboard", "css")
    _handlers: ClassVar[dict[str, str]] = {
        **StoreView._handlers,
        "read": "_on_read",
        "ov": "_on_ov",
    }

    head: Any = t.Tuple(t.Int(), t.Int(), default_value=(0, 0)).tag(sync=True)
    text = t.Unicode("").tag(sync=True)
    by = t.Enum(["written", "pattern"], default_value="written").tag(sync=True)
    token = t.Int(allow_none=True, default_value=None).tag(sync=True)
    attention = t.Dict().tag(sync=True)
    frame = t.Dict().tag(sync=True)
    _reading: Reading | None = None
    _ours = False

    def __init__(
        self,
        store: Store,
        head: Any = None,
        *,
        text: str = "",
        by: str = "written",
        **traits: Any,
    ) -> None:
        if not isinstance(store, Store):
            raise InputError(f"A head's page is of a store, not of {type(store).__name__}.")
        have = head_pairs.harvested(store)
        chosen = have[0] if head is None else _address(head)
        if text and not store.has_basis:
            raise InputError("To read a text, a model is needed.", f"So {ATTACH}.")
        title = traits.pop("title", f"heads · {store.meta['model']}")
        self._begin(store, title=title, head=chosen, by=by, frame=_frame(store, chosen), **traits)
        self._write_code()
        self.observe(self._on_head, names=["head"])
        self.observe(self._on_text, names=["text"])
        self.observe(lambda _: self._on_attached(), names=["attached"])
        self.observe(lambda _: self._write_code(), names=["head", "text", "by"])
        if text:
            self.text = text
            self.wait()

    @classmethod
    def from_state(cls, state: Mapping[str, Any], store: Store | None = None) -> HeadDashboard:
        """The view that `state` describes: with a `store` one that goes on, else a picture."""
        if store is None:
            return super().from_state(state)
        names = ["by", "theme", "title", "token"]
        if store.has_basis:
            names.append("text")
        return cls(store, state["head"], **{k: state[k] for k in names if k in state})

    # -- what changes ------------------------------------------------------------------------

    @t.validate("head")
    def _check_head(self, proposal: Any) -> Any:
        value = tuple(proposal["value"])
        if self.live:
            head_pairs.pairs_of(self.store, value)  # refuses what was not harvested
        return value

    def _on_head(self, change: Any) -> None:
        with self._writing():
            self.frame = _frame(self.store, change["new"])
            self.attention = {}
            self._reading = None
        self._start()

    def _on_text(self, _: Any) -> None:
        if not self._ours:
            self._start()

    def _on_attached(self) -> None:
        self.frame = _frame(self.store, self.head)
        self._start()

    def _start(self) -> None:
        """Read the text again, from Python: without waiting."""
        if not (self.attached and self.text):
            with self._writing():
                self.attention = {}
                self._reading = None
            return
        made = self._model_head()
        text = whole_characters(self.text)
        job = made.model.work(
            lambda job: head_live.read(made, text, job, TOKENS),
            priority=Priority.INTERACTIVE,
            key=(self.model_id, "python", "read"),
        )

        def finish(ended: Job[Any]) -> None:
            try:
                self._draw(text, ended.result(0))
            except Cancelled:
                pass  # a newer text took its place
            except Exception as error:
                self._show_error(error)

        self._pending = job, self._when_done(job, finish)

    def _model_head(self) -> Head:
        return self._need_model().head(*self.head)  # type: ignore[no-any-return]

    def _draw(self, text: str, reading: Reading) -> Mapping[str, Any]:
        """Show a reading, unless the page has gone on to another head."""
        if (reading.head.layer, reading.head.index) != self.head:
            raise Cancelled(superseded=True)
        with self._writing():
            self._ours = True
            try:
                self.text = text
            finally:
                self._ours = False
            self._reading = reading
            if self.token is not None and self.token >= len(reading.ids):
                self.token = None
            self.attention = _attention(text, reading)
            self.set_trait("error", None)
        return {}

    def _write_code(self) -> None:
        store = self.store
        call = f"ng.HeadDashboard(store, {self.head!r}"
        call += f", text={self.text!r}" if self.text and store.has_basis else ""
        call += f", by={self.by!r})" if self.by != "written" else ")"
        self.code = f"{self._store_code()}\n{call}"

    # -- requests ----------------------------------------------------------------------------

    def _on_read(self, request: Request) -> None:
        text = whole_characters(request.get("text", str))
        if not text:
            with self._writing():
                self._ours = True
                try:
                    self.text = ""
                finally:
                    self._ours = False
                self.attention = {}
                self._reading = None
                self.set_trait("error", None)
            self._answer(request)
            return
        made = self._model_head() if self.store.has_basis else self._need_model()
        job = made.model.work(
            lambda job: head_live.read(made, text, job, TOKENS),
            priority=Priority.INTERACTIVE,
            key=(self.model_id, request.view, "read"),
        )
        self._pending = job, self._answer_with(request, job, lambda r: self._draw(text, r))

    def _fail(self, request: Request, error: BaseException) -> None:
        if request.kind == "read" and not isinstance(error, Cancelled):
            self._show_error(error)  # a trait, so that it survives a reload
        super()._fail(request, error)

    def _on_ov(self, request: Request) -> None:
        position, reading = request.get("position", int), self._reading
        if reading is None:
            self._need_model()
            raise InputError("No text is read.", "Type one.")

        def steps(_: Any) -> Generator[None, None, dict[str, Any]]:
            yield
            effect = reading.says(position)
            return {
                "promoted": effect.top(_LOGITS),
                "suppressed": effect.top(_LOGITS, lowest=True),
            }

        self._ask_model(request, steps)

    # -- the same elsewhere --------------------------------------------------------------------

    def to_frame(self) -> pd.DataFrame:
        """The head's harvested pairs, as ``store.heads()`` has them, and their distance."""
        if not self.live:
            raise InputError("This is a picture.", "HeadDashboard.from_state(state, store)")
        found = head_pairs.pairs_of(self.store, self.head)
        whole = self.store.heads()
        own = whole[(whole["layer"] == self.head[0]) & (whole["head"] == self.head[1])]
        for name in ("query_token", "key_token"):
            found[name] = own[name].to_numpy()
        return found

    def plot(self) -> go.Figure:
        """As a plotly figure: who reads whom in the text; without one, how far the pairs reach."""
        import plotly.graph_objects as go

        where = f"head {self.head[1]} of layer {self.head[0]}"
        if self.attention:
            # a token may come twice: positions, with their names beside them
            pieces = [html.escape(p, quote=False) for p in self.attention["pieces"]]
            values = unpack(self.attention[self.by])
            unit = "‖A·v·W_O‖" if self.by == "written" else "A"
            made = go.Figure(
                go.Heatmap(z=values, colorscale="Oranges", colorbar={"title": {"text": unit}})
            )
            ticks = {"tickvals": list(range(len(pieces))), "ticktext": pieces}
            made.update_layout(
                title=where,
                xaxis={"title": {"text": "key"}, **ticks},
                yaxis={"title": {"text": "query"}, **ticks, "autorange": "reversed"},
            )
            return made
        reach = self.frame["summary"]["reach"]
        made = go.Figure()
        for group in head_pairs.GROUPS:
            total = max(1, sum(reach[group]))
            made.add_bar(x=reach["labels"], y=[n / total for n in reach[group]], name=group)
        made.update_layout(
            title=where,
            xaxis={"title": {"text": "query − key, tokens"}, "type": "category"},
            yaxis={"title": {"text": "share of pairs"}},
        )
        return made

    def __repr__(self) -> str:
        layer, head = self.head
        pieces = self.attention.get("pieces", [])
        tokens = f"; {len(pieces)} tokens" if pieces else ""
        return f"HeadDashboard(head {head} of layer {layer}{tokens})"

    def fallback_html(self) -> str:
        """The strongest pairs as a table."""
        pairs = self.frame.get("pairs", {}).get("top", [])[:10]
        if not pairs:
            return ""

        def token(piece: str) -> str:
            return f"<code>{html.escape(piece.strip() or '·')}</code>"

        rows = "".join(
            f"<tr><td>{token(p['pieces'][p['query']])}</td><td>{token(p['pieces'][p['key']])}</td>"
            f"<td>{p['distance']}</td><td>{p['value']:.3g}</td></tr>"
            for p in pairs
        )
        layer, head = self.head
        return (
            f"<table><caption>head {head} of layer {layer}: its {len(pairs)} strongest pairs of "
            f"{self.frame['summary']['top']}</caption><tr><th>query</th><th>key</th>"
            f"<th>tokens back</th><th>‖A·v·W_O‖</th></tr>{rows}</table>"
        )


def _address(head: Any) -> Address:
    if isinstance(head, Head):
        return head.layer, head.index
    try:
        layer, index = head
    except (TypeError, ValueError):
        layer = index = None
    if not (type(layer) is int and type(index) is int):
        raise InputError(f"{head!r} is no head.", "Give (layer, head), or model.head(layer, head).")
    return layer, index


def _frame(store: Store, head: Address) -> dict[str, Any]:
    """What the store knows of a head, and which others there are."""
    pairs = head_pairs.pairs_of(store, head)
    largest = store.sql("SELECT layer, head, max(value) AS value FROM heads GROUP BY ALL")
    found = {(int(a), int(b)): float(v) for a, b, v in largest.to_numpy().tolist()}
    have = head_pairs.harvested(store)
    size = None
    if store.has_basis:
        size = [store.model.n_layers, store.model.n_heads]
    shown = {
        group: [
            head_pairs.excerpt(store, row)
            for row in pairs[pairs["group"] == group].head(_SHOWN).itertuples()
        ]
        for group in head_pairs.GROUPS
    }
    return {
        "head": list(head),
        "heads": [[*one, _finite(found[one])] for one in have],
        "size": size,
        "summary": _plain(head_pairs.summary(store, pairs)),
        "pairs": shown,
        "tokens": store.n_tokens,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, float):
        return _finite(value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value


def _attention(text: str, reading: Reading) -> dict[str, Any]:
    n = len(reading.ids)
    packed = pack if n <= _EXACT else pack_q8
    pieces, kinds = reading.head.model.pieces.many(reading.ids)
    notice = ""
    if reading.total > n:
        notice = f"The first {n:,} of {reading.total:,} tokens are shown."
    return {
        "text": text,
        "pieces": pieces,
        "kinds": [int(k) for k in kinds],
        "pattern": packed(reading.pattern.numpy()),
        "written": packed(reading.written.numpy()),
        "notice": notice,
    }
