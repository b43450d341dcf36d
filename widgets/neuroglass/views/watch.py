"""``ng.Watch``: marks the tokens at which features fire, in whatever the model does meanwhile.

A watch is an edit: give it to a generation, a run, or ``with model.edit(watch):``. What passes
through the model and every firing flow in; the texts with their marks flow out to the page, at most
ten times a second, and as a table.
"""

from __future__ import annotations

import html
import threading
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
import traitlets as t

from neuroglass.model.basis import Feature
from neuroglass.model.edits import BoundEdit
from neuroglass.model.errors import InputError
from neuroglass.model.live import LiveModel
from neuroglass.model.positions import At, Extent, Positions
from neuroglass.model.sites import Site
from neuroglass.steering import watch as watching
from neuroglass.steering.readouts import Meter
from neuroglass.steering.setting import positions_from_json, positions_json
from neuroglass.steering.watch import Action, Firing
from neuroglass.views import settings as reader
from neuroglass.views.base import View, bundle
from neuroglass.views.protocol import Request
from neuroglass.views.rack import Rack
from neuroglass.views.steered import number

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store
    from neuroglass.model.basis import Basis
    from neuroglass.model.generate import Generation
    from neuroglass.model.prompts import Prompt
    from neuroglass.steering.strength import Scales, Unit

_EVERY = 0.1  # seconds between pictures
TEXTS = 6  # rows drawn, newest first
_TOKENS = 2_000  # of each
_FIRINGS = 300


def _all(given: Any, kind: type | types.UnionType) -> bool:
    """A list of `kind`; true and false are no numbers."""
    return isinstance(given, list) and all(
        isinstance(x, kind) and not isinstance(x, bool) for x in given
    )


def _numbers(given: Any) -> bool:
    return _all(given, int | float) or _all([given], int | float)


@dataclass(eq=False)
class _Reader(Meter):
    """A meter: the ids that pass through, by row; it changes nothing."""

    site: Site
    seen: Callable[[At], None]

    @property
    def reads(self) -> Site:
        return self.site

    def write(self, x: torch.Tensor, values: torch.Tensor, at: At) -> torch.Tensor:
        self.seen(at)
        return x


class Watch(View):
    """Features that are watched while the model runs; see the module.

    Args:
        model: the live model.
        features: what is watched: features or their ids.
        thresholds: a number for all, or one per feature: it fires where it is larger than this.
        unit: of the thresholds: ``"raw"``, ``"max"`` or ``"std"``.
        action: ``"mark"``; ``"stop"`` ends the row after the token that fired; ``"clamp"`` sets the
            feature to `value` where it fires.
        value: for ``"clamp"``, in the feature's own units.
        positions: as in ``ng.Add``: where it looks.
        skip_special: leave special tokens out.
        bases, store: where ids are looked up; the store also gives the unit × max.
        scales: feature id -> scales, for units (``ng.calibrate(...).scales``).
        listen: called with every firing, on the model's thread; must be quick.
        **traits: ``theme``, ``title``.

    Traits:
        frame: the newest texts and their firings, and the settings.

    Raises:
        InputError: no feature, another model's, a threshold that is no number, an unknown action.
    """

    _esm = bundle("watch", "js")
    _css = bundle("watch", "css")
    _handlers: ClassVar[dict[str, str]] = {**View._handlers, "settings": "_on_settings"}

    frame = t.Dict().tag(sync=True)

    def __init__(
        self,
        model: LiveModel,
        features: Sequence[Feature | str],
        thresholds: float | Sequence[float] = 0.0,
        *,
        unit: Unit = "raw",
        action: Action = "mark",
        value: float = 0.0,
        positions: Positions = "all",
        skip_special: bool = True,
        bases: Sequence[Basis] = (),
        store: Store | None = None,
        scales: Mapping[str, Scales] | None = None,
        listen: Callable[[Firing], None] | None = None,
        **traits: Any,
    ) -> None:
        if not isinstance(model, LiveModel):
            raise InputError(
                f"A Watch needs a live model, not {type(model).__name__}.",
                "Make one: model = ng.load().",
            )
        self.model = model
        self._rack = Rack(model, bases, store)
        self._scales = dict(scales or {})
        self._listen = listen
        self._texts: dict[tuple[int, int], list[int]] = {}  # (text, row) -> ids, in order
        self._dirty = threading.Event()
        self._lock_texts = threading.Lock()
        self._inner = self._make(
            [features] if isinstance(features, str) else features,
            thresholds,
            unit=unit,
            action=action,
            value=value,
            positions=positions,
            skip_special=skip_special,
        )
        self._count = 0
        self._seen = 0  # texts, also those that are not drawn any more
        self._named = "title" in traits
        super().__init__(**traits)
        self.set_trait("live", True)
        self._tell()

    def _make(
        self,
        features: Sequence[Feature | str],
        thresholds: float | Sequence[float],
        *,
        unit: Unit,
        **options: Any,
    ) -> watching.Watch:
        found: list[Any] = [self._rack.find(f) if isinstance(f, str) else f for f in features]
        known: dict[str, Scales] = {}
        for feature in found:
            if isinstance(feature, Feature):
                self._rack.own(feature)
                known[feature.id] = self._rack.known(feature)
        return watching.Watch(
            self.model,
            found,
            thresholds,
            unit=unit,
            scales={**known, **self._scales},
            listen=self._fired,
            **options,
        )

    def _tell(self) -> None:
        """Show what is watched: title, code, frame."""
        inner = self._inner
        lines, handles = self._rack.handles(inner.features)
        more = "" if inner.action == "mark" else f", action={inner.action!r}"
        more += f", value={inner.value!r}" if inner.action == "clamp" else ""
        more += "" if inner.positions == "all" else f", positions={inner.positions!r}"
        more += "" if inner.skip_special else ", skip_special=False"
        call = f"ng.Watch(model, [{', '.join(handles)}], {list(inner.limits)}{more})"
        made = ["import neuroglass as ng", "", f"model = {self.model.code}", *lines, call]
        with self._writing():
            if not self._named:
                self.title = f"watching {self.model.name} · {inner.action}"
            self.code = "\n".join(made)
            self.set_trait("frame", self._drawn())

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], model: LiveModel | None = None, **options: Any
    ) -> Self:
        """What `state` describes: a picture, or with a `model` a watch of the same features.

        Texts and firings of a live one begin anew: those of the state are in its picture.

        Args:
            state: from ``.state``.
            model: the model that it was made with.
            options: ``bases=``, ``store=``, ``scales=`` and ``listen=``, as in the constructor.

        Raises:
            InputError: the state of another kind of view; a feature that is not here.
        """
        if model is None:
            return super().from_state(state)
        cls._own(state)
        asked = state["frame"]["settings"]
        positions = positions_from_json(asked["positions"])
        view = cls(model, **{**asked, "positions": positions}, **options)
        view.theme = state["theme"]
        return view

    # -- settings ----------------------------------------------------------------------------

    @property
    def settings(self) -> dict[str, Any]:
        """What is watched, as plain JSON; assign it to go back there.

        What the model does from then on is watched so; texts and firings so far stay.
        """
        inner = self._inner
        return {
            "features": [f.id for f in inner.features],
            "thresholds": list(inner.limits),
            "unit": "raw",
            "action": inner.action,
            "value": inner.value,
            "positions": positions_json(inner.positions),
            "skip_special": inner.skip_special,
        }

    @settings.setter
    def settings(self, given: Mapping[str, Any] | str) -> None:
        now = self.settings
        made = now | reader.read(given, now)
        for name, good, kind in (
            ("features", _all(made["features"], str), "a list of features, each by its id"),
            ("thresholds", _numbers(made["thresholds"]), "a number, or one for each feature"),
            ("unit", isinstance(made["unit"], str), "a text"),
            ("action", isinstance(made["action"], str), "a text"),
            ("value", _all([made["value"]], int | float), "a number"),
            ("skip_special", isinstance(made["skip_special"], bool), "true or false"),
        ):
            if not good:
                raise InputError(f"The setting {name!r} is {made[name]!r}.", f"It must be {kind}.")
        made["positions"] = positions_from_json(made["positions"])
        inner = self._make(**made)
        with self._lock:
            self._inner = inner.follow(self._inner)
            self._tell()

    def _on_settings(self, request: Request) -> None:
        self.settings = request.get("settings", str)
        self._answer(request, settings=self.settings)

    # -- as an edit --------------------------------------------------------------------------

    def bind(self, model: LiveModel, extent: Extent) -> Sequence[BoundEdit]:
        """See ``Edit``: called for every run and generation that is watched."""
        made = self._inner.bind(model, extent)
        with self._lock_texts:
            text = self._count
            self._count += 1
            for old in [k for k in self._texts if k[0] <= text - TEXTS]:
                del self._texts[old]
        return [_Reader(made[0].reads, lambda at: self._passed(text, at)), *made]

    def generate(self, prompt: Prompt, **options: Any) -> Generation:
        """``model.generate`` with this watch as its last edit."""
        edits = [*options.pop("edits", ()), self]
        return self.model.generate(prompt, edits=edits, **options)

    def _passed(self, text: int, at: At) -> None:
        if at.ids is None:
            return
        positions = at.last(at.ids.shape[1]).tolist()
        with self._lock_texts:
            for row, (where, ids) in enumerate(zip(positions, at.ids.tolist(), strict=True)):
                self._seen += (text, row) not in self._texts
                kept = self._texts.setdefault((text, row), [])
                for position, token in zip(where, ids, strict=True):
                    if position < 0:
                        continue
                    del kept[position:]  # a pass that was begun again
                    kept.append(token)
        self._soon()

    def _fired(self, firing: Firing) -> None:
        if self._listen is not None:
            self._listen(firing)
        self._soon()

    # -- drawing -----------------------------------------------------------------------------

    def _soon(self) -> None:
        """Draw within a moment, not with every token: the model does not wait for the page."""
        if self._dirty.is_set():
            return
        self._dirty.set()
        timer = threading.Timer(_EVERY, self._show)
        timer.daemon = True
        timer.start()

    def _show(self) -> None:
        self._dirty.clear()  # before looking: what comes now is drawn again
        with self._lock:
            self.set_trait("frame", self._drawn())

    def refresh(self) -> None:
        """Draw what there is now."""
        self._show()

    def _drawn(self) -> dict[str, Any]:
        with self._lock_texts:
            texts = sorted(self._texts.items(), reverse=True)[:TEXTS]
            texts = [(key, list(ids)) for key, ids in texts]
        firings = list(self._inner.firings)
        watched = self._inner
        inside = {key for key, _ in texts}
        drawn = []
        for (text, row), ids in texts:
            pieces, kinds = self.model.pieces.many(ids[:_TOKENS])
            drawn.append(
                {
                    "text": text,
                    "row": row,
                    "pieces": pieces,
                    "kinds": kinds,
                    "left_out": max(0, len(ids) - _TOKENS),
                }
            )
        return {
            "features": [
                {"id": f.id, "label": self._rack.label(f), "limit": number(limit)}
                for f, limit in zip(watched.features, watched.limits, strict=True)
            ],
            "action": watched.action,
            "value": number(watched.value),
            "texts": drawn,
            "firings": [
                [f.text, f.row, f.position, f.feature, number(f.value)]
                for f in firings[-_FIRINGS:]
                if (f.text, f.row) in inside
            ],
            "older": self._seen - len(texts),
            "total": len(firings),
            "runs": self._count,
            "settings": self.settings,
        }

    # -- results -----------------------------------------------------------------------------

    @property
    def firings(self) -> list[Firing]:
        """All firings so far."""
        return self._inner.firings

    def to_frame(self) -> pd.DataFrame:
        """Firings as rows: text, row, position, token, id, feature, value, threshold, action."""
        return self._inner.to_frame()

    def clear(self) -> None:
        """Forget the texts and firings so far."""
        self._inner.clear()
        with self._lock_texts:
            self._texts.clear()
            self._seen = 0
        self._show()

    def fallback_html(self) -> str:
        """How often each feature fired, for pages without scripts."""
        counts = dict.fromkeys((f.id for f in self._inner.features), 0) if self.live else {}
        for firing in self.firings if self.live else []:
            counts[firing.feature] += 1
        rows = "".join(f"<li><code>{html.escape(k)}</code> {v}</li>" for k, v in counts.items())
        return f"<ul>{rows}</ul>"

    def __repr__(self) -> str:
        if not self.live:
            return "Watch(saved)"
        return f"Watch({len(self._inner.features)} features, {len(self.firings)} firings)"
