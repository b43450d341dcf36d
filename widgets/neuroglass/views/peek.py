"""``ng.LogitPeek``: a prompt, sliders, and what comes next, as fast as the sliders move.

A prompt and sliders flow in; the likeliest next tokens flow out, as the model has them and with the
sliders' settings. Only the layers from the first edited one on are run for a move.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import traitlets as t

from neuroglass.model.errors import InputError
from neuroglass.model.worker import Job
from neuroglass.steering.peek import Next, Peek
from neuroglass.views.base import bundle
from neuroglass.views.live import Draw, Origin, Picture
from neuroglass.views.protocol import Request
from neuroglass.views.sliders import SliderSettings, SliderView
from neuroglass.views.steered import number

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store
    from neuroglass.model.basis import Basis
    from neuroglass.model.edits import Edit
    from neuroglass.model.live import LiveModel

MOST = 50  # tokens shown at most


@dataclass(frozen=True)
class _Settings(SliderSettings):
    """See the traits."""

    k: int = 10


class LogitPeek(SliderView):
    """Next-token probabilities of a running model, as it is and steered, while sliders move.

    Args:
        model: from ``ng.load``.
        prompt: what is read: a text, or chat messages of which the last is the user's.
        features: what the sliders are on: features, heads, ids, ``ng.Setting``s, a contrast.
        k: the likeliest tokens of each of the two that are shown.
        bases, store, texts, edits: as in ``ng.Steer``.
        **traits: ``theme``, ``title``.

    Traits, beside those of ``SliderView``:
        k: see above. Settable.
        frame: what is drawn.

    Raises:
        InputError: as ``ng.Steer``.
    """

    _made_of = _Settings
    _esm = bundle("peek", "js")
    _css = bundle("peek", "css")

    k = t.Int(10).tag(sync=True)

    def __init__(
        self,
        model: LiveModel,
        prompt: str | Sequence[Mapping[str, str]],
        features: Sequence[Any] = (),
        *,
        k: int = 10,
        bases: Sequence[Basis] = (),
        store: Store | None = None,
        texts: Sequence[str] = (),
        edits: Sequence[Edit] = (),
        **traits: Any,
    ) -> None:
        settings = _Settings(
            **self._open(model, features, prompt, bases, store, texts), edits=tuple(edits), k=k
        )
        self._next: Next | None = None
        self._begin(model, settings, choices=self._rack.choices(), **traits)
        self._show_known()

    @t.validate("k")
    def _check_k(self, proposal: Any) -> Any:
        return self._checked(proposal)

    def _check(self, settings: Any) -> None:
        if not 1 <= settings.k <= MOST:
            raise InputError(f"k is {settings.k}.", f"Give 1 to {MOST}.")
        super()._check(settings)

    def _hold(self, settings: _Settings) -> Peek:
        key = replace(settings, sliders=(), edits=(), k=1)
        if self._prompted is None or self._prompted[0] != key:
            self._prompted = key, Peek(self.model, settings.prompt, scales=self._rack.scales)
        held = self._prompted[1]
        assert isinstance(held, Peek)
        return held

    def _read(self, request: Request) -> _Settings:
        return _Settings(**self._read_sliders(request), k=request.get("k", int))

    def _start_peek(self, settings: _Settings, key: Any) -> tuple[Peek, Job[Next]]:
        peek = self._hold(settings)
        made = self._settings_in(settings.sliders)
        return peek, peek.start(made, edits=settings.edits, key=key)

    def _first(self, settings: _Settings) -> Picture:
        peek, job = self._start_peek(settings, None)
        return self._picture_of(settings, ("", 0), peek, job.result())

    def _submit(self, settings: _Settings, origin: Origin, asker: str) -> tuple[Job[Any], Draw]:
        peek, job = self._start_peek(settings, (self.model_id, asker, "run"))
        return job, lambda found: self._draw(self._picture_of(settings, origin, peek, found))

    def _picture_of(self, settings: _Settings, origin: Origin, peek: Peek, found: Next) -> Picture:
        self._next = found
        pieces, kinds = peek.pieces
        top = found.top(settings.k)
        rows = [
            {**row, **{c: number(row[c]) for c in ("base", "steered", "delta")}}
            for row in top.to_dict("records")
        ]
        shown = [sum(r[c] or 0.0 for r in rows) for c in ("base", "steered")]
        frame = {
            "view": origin[0],
            "id": origin[1],
            "prompt": {"pieces": pieces, "kinds": kinds},
            "rows": rows,
            "rest": [number(1 - share) for share in shown],
            "kl": number(found.kl),
            "change": {site: number(v) for site, v in found.change.items()},
            "active": {name: number(v) for name, v in found.activations.items()},
            "resumed": found.resumed,
        }
        prompt = repr(list(settings.prompt) if settings.chat else settings.text)
        more = self._changed_from_default(settings, _Settings, ["k"])
        code = self._call(settings, f"ng.LogitPeek(model, {prompt}, ", more)
        return Picture(settings, frame, code)

    @property
    def result(self) -> Next:
        """What is shown: log-probabilities ``.base`` and ``.steered``, ``.top(k)``."""
        assert self._next is not None
        return self._next

    def to_frame(self) -> pd.DataFrame:
        """The tokens shown; see ``Next.top``."""
        return self.result.top(self.k)

    def fallback_html(self) -> str:
        """The likeliest tokens, for pages without scripts."""
        rows = "".join(
            f"<tr><td><code>{html.escape(r['token'])}</code></td>"
            f"<td>{r['base'] or 0:.1%}</td><td>{r['steered'] or 0:.1%}</td></tr>"
            for r in self.frame.get("rows", [])
        )
        return f"<table><tr><th>next</th><th>as it is</th><th>steered</th></tr>{rows}</table>"

    def __repr__(self) -> str:
        count = len(self.sliders)
        return f"LogitPeek({count} slider{'s' * (count != 1)} on {self.title.split(' · ')[0]})"
