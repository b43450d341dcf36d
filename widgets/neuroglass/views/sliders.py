"""What the views with sliders share: a prompt, sliders on features, and ways of adding features.

A slider is a ``Setting`` as JSON with ``on`` beside it, in the trait ``sliders``; ``known`` says
how large each feature is. The browser writes neither: it asks for a run with other sliders, and
what was run becomes the trait.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import traitlets as t

from neuroglass.model.basis import Feature
from neuroglass.model.errors import InputError, nearest
from neuroglass.model.live import LiveModel
from neuroglass.model.tokens import whole_characters
from neuroglass.model.worker import Priority
from neuroglass.steering.setting import Setting, edits_of
from neuroglass.steering.strength import calibration, id_of
from neuroglass.views import settings as reader
from neuroglass.views.live import LiveView, Settings
from neuroglass.views.protocol import Request, reply
from neuroglass.views.rack import Rack

if TYPE_CHECKING:
    from neuroglass.features.store import Store
    from neuroglass.model.basis import Basis
    from neuroglass.steering.prompted import Prompted


@dataclass(frozen=True)
class SliderSettings(Settings):
    """See the traits."""

    chat: bool = False
    messages: tuple[Mapping[str, str], ...] = ()
    sliders: tuple[Mapping[str, Any], ...] = ()

    @property
    def prompt(self) -> Any:
        """What the model is asked to continue."""
        if not self.chat:
            return self.text
        return [*self.messages, {"role": "user", "content": self.text}]


class SliderView(LiveView):
    """Base of the views with sliders.

    Traits:
        text: the prompt. Settable, like all that follow; ``wait()`` waits for the result.
        chat: read the prompt as a user's message, through the chat template.
        messages: what was said before it, ``[{"role": ..., "content": ...}]``.
        sliders: the settings as JSON, each with ``on``; see ``settings``.
        feature: the id of a feature; setting it adds its slider. Link it to another view's.
        known: feature id -> what is known of it.
    """

    _made_of = SliderSettings
    _handlers: ClassVar[dict[str, str]] = {
        **LiveView._handlers,
        "search": "_on_search",
        "contrast": "_on_contrast",
        "calibrate": "_on_calibrate",
        "settings": "_on_settings",
    }
    # for `from_state`: arguments that make the first picture cheap, and traits that are no settings
    _cheap: ClassVar[Mapping[str, Any]] = {}
    _kept: ClassVar[Sequence[str]] = ("theme",)

    chat = t.Bool(False).tag(sync=True)
    messages: t.List[Any] = t.List(t.Dict()).tag(sync=True)
    sliders: t.List[Any] = t.List(t.Dict()).tag(sync=True)
    known = t.Dict().tag(sync=True)
    choices = t.Dict().tag(sync=True)
    feature = t.Unicode("").tag(sync=True)

    def _open(
        self,
        model: LiveModel,
        features: Sequence[Any],
        prompt: Any,
        bases: Sequence[Basis],
        store: Store | None,
        texts: Sequence[str],
    ) -> dict[str, Any]:
        """The settings that the arguments of a constructor stand for."""
        if not isinstance(model, LiveModel):
            raise InputError(
                f"A {type(self).__name__} needs a live model, not {type(model).__name__}.",
                "Make one: model = ng.load().",
            )
        if isinstance(features, str) or not isinstance(features, Sequence):
            features = [features]
        self._rack = Rack(model, bases, store, texts)
        self.model = model
        self._prompted: tuple[Any, Prompted] | None = None
        settings = [s for given in features for s in self._rack.take(given)]
        made: dict[str, Any] = {"sliders": tuple(s.to_json() | {"on": True} for s in settings)}
        if isinstance(prompt, str):
            return made | {"text": whole_characters(prompt)}
        said = list(prompt) if isinstance(prompt, Sequence) else []
        if not said or not all(isinstance(m, Mapping) and "content" in m for m in said):
            raise InputError("The prompt is a text, or chat messages.", "Such as prompt='Once'.")
        if said[-1].get("role") != "user":
            raise InputError(
                "The last message must be the user's.", "Its answer is what is steered."
            )
        return made | {"text": said[-1]["content"], "chat": True, "messages": tuple(said[:-1])}

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], model: LiveModel | None = None, **options: Any
    ) -> Self:
        """What `state` describes: live with a `model`, else a picture.

        Args:
            state: from ``.state``.
            model: the model that it was made with.
            options: ``bases=``, ``store=``, ``texts=`` and ``edits=``, as in the constructor.

        Raises:
            InputError: the state of another kind of view; a feature that is not here.
        """
        if model is None:
            return super().from_state(state)
        cls._own(state)
        make: Any = cls
        view: Self = make(model, prompt=state["text"] or " ", **cls._cheap, **options)
        try:
            view.settings = {n: state[n] for n in view.settings if n in state}
            view.wait()
        except Exception:
            view.close()
            raise
        for name in cls._kept:
            if name in state:
                view.set_trait(name, state[name])
        return view

    # -- settings ----------------------------------------------------------------------------

    def _settings_in(self, sliders: Sequence[Mapping[str, Any]]) -> list[Setting]:
        """The settings of the sliders that are on; all are checked.

        Raises:
            InputError: a slider that is none; a feature that is not here.
        """
        return [one for one, on in map(self._read_slider, sliders) if on]

    def _read_slider(self, slider: Mapping[str, Any]) -> tuple[Setting, bool]:
        """A slider's setting, and whether it is on."""
        plain = {k: v for k, v in slider.items() if k != "on"}
        on = slider.get("on", True)
        if not isinstance(on, bool):
            raise InputError(f"'on' of a slider is {on!r}.", "It must be true or false.")
        return Setting.from_json(plain, self.model, list(self._rack.bases.values())), on

    def _changed(self, settings: Any, name: str) -> Any:
        if name != "sliders":
            return settings
        read = map(self._read_slider, settings.sliders)  # what was left out gets its default
        return replace(settings, sliders=tuple(one.to_json() | {"on": on} for one, on in read))

    def _check(self, settings: SliderSettings) -> None:
        for message in settings.messages:
            if not all(isinstance(message.get(k), str) for k in ("role", "content")):
                raise InputError("A message needs a role and a content, both texts.")
        made = self._settings_in(settings.sliders)
        held = self._hold(settings)
        for one in made:
            if isinstance(one.feature, Feature):
                self._rack.known(one.feature)
        held.scales.update({k: v for k, v in self._rack.scales.items() if k not in held.scales})
        for one in made:
            if isinstance(one.feature, Feature):
                held.known(one.feature)  # with ‖h‖, so that a huge strength is refused
        self._rack.learn(held.scales)
        edits_of(made, self.model, held.scales)

    def _hold(self, settings: Any) -> Any:
        """The session or peek of these settings, kept while they stay the same."""
        raise NotImplementedError

    @t.validate("chat", "messages", "sliders")
    def _check_slider_settings(self, proposal: Any) -> Any:
        return self._checked(proposal)

    def _before_drawing(self, picture: Any) -> None:
        self._show_known(picture.settings.sliders)

    def _show_known(self, sliders: Sequence[Mapping[str, Any]] | None = None) -> None:
        self.known = self._about(self.sliders if sliders is None else sliders)

    def _about(self, sliders: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {s["feature"]: self._rack.about(self._rack.find(s["feature"])) for s in sliders}

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that is asked for, as plain JSON; assign it to go back there."""
        return self._plain(self)

    @settings.setter
    def settings(self, given: Mapping[str, Any] | str) -> None:
        made = self._asked_for(given)
        self._start(made)

    @classmethod
    def _plain(cls, settings: Any) -> dict[str, Any]:
        made = {n: getattr(settings, n) for n in cls._setting_names() if n != "edits"}
        out: dict[str, Any] = json.loads(json.dumps(made))
        return out

    def _asked_for(self, given: Mapping[str, Any] | str) -> Any:
        """The present settings with those that are given in their place, checked.

        Raises:
            InputError: no JSON, an unknown key, a value that is refused.
        """
        data = reader.read(given, [n for n in self._setting_names() if n != "edits"])
        data = {n: reader.value_of(self, n, v) for n, v in data.items()}
        now = {n: getattr(self, n) for n in self._setting_names()} | data
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in now.items()}
        plain["text"] = whole_characters(plain["text"])
        made = self._changed(self._made_of(**plain), "sliders")
        self._check(made)
        return made

    def _on_settings(self, request: Request) -> None:
        """Settings that were pasted: read and checked here; the page then asks to run them."""
        made = self._asked_for(request.get("settings", str))
        self._answer(request, settings=self._plain(made), known=self._about(made.sliders))

    def _read_sliders(self, request: Request) -> dict[str, Any]:
        """What every run of these views asks for."""
        sliders = request.get("sliders", list)
        messages = request.optional("messages", list, self.messages)
        for name, given in (("sliders", sliders), ("messages", messages)):
            if not all(isinstance(one, Mapping) for one in given):
                raise InputError(f"The request 'run' came without usable {name!r}.")
        return {
            "text": whole_characters(request.get("text", str)),
            "chat": request.optional("chat", bool, False),
            "messages": tuple(messages),
            "sliders": tuple(sliders),
        }

    # -- adding features ---------------------------------------------------------------------

    def add(self, *features: Any) -> Self:
        """Add sliders: features, heads, settings, ids or ``ng.contrast(...)``."""
        new = [s.to_json() | {"on": True} for given in features for s in self._rack.take(given)]
        self.sliders = [*self.sliders, *new]
        return self

    @t.observe("feature")
    def _on_feature(self, change: Any) -> None:
        name = change["new"]
        if (
            not self.live
            or self._ours
            or not name
            or any(s["feature"] == name for s in self.sliders)
        ):
            return
        try:
            self.add(self._rack.find(name))
        except InputError as error:
            self._show_error(error)  # it came through a link: the cell says so

    def _found(self, features: Sequence[tuple[Any, str]]) -> list[dict[str, Any]]:
        return [
            self._rack.about(f)
            | {"why": why, "slider": self._rack.idle(f).to_json() | {"on": True}}
            for f, why in features
        ]

    def _on_search(self, request: Request) -> None:
        how, query = request.get("how", str), request.get("query", str)
        if how == "id":
            found = [(self._rack.find(query), "")]
        elif how == "now":
            position = request.optional("position", int, -1)
            now = SliderSettings(self.text, chat=self.chat, messages=tuple(self.messages)).prompt
            found = self._rack.strongest(now, query, position if position >= 0 else None)
        elif how in {"token", "text"}:
            found = self._rack.stored(how, query)
        else:
            raise InputError(f"There is no search {how!r}.", nearest(how, ["id", "now", "token"]))
        self._answer(request, found=self._found(found))

    def _on_contrast(self, request: Request) -> None:
        made = self._rack.contrast(
            request.get("positive", str),
            request.get("negative", str),
            request.get("site", str),
            request.get("method", str),
        )
        feature = made[0].feature
        assert isinstance(feature, Feature)
        basis: Any = feature.basis
        found = [
            self._rack.about(s.feature) | {"why": "", "slider": s.to_json() | {"on": True}}
            for s in made
        ]
        apart = None if basis.method == "actadd" else basis.separation
        self._answer(request, found=found, separation=apart)

    def _on_calibrate(self, request: Request) -> None:
        wanted = request.strings("features")
        found = [self._rack.find(name) for name in wanted]
        features = [f for f in found if isinstance(f, Feature)]
        where = request.view, request.id

        def tell(done: int, total: int) -> None:
            self.send(reply(*where, done, done=False, progress=[done, total]))

        job = self.model.work(
            lambda job: calibration(self.model, features, self._rack.texts, job, tell),
            priority=Priority.GENERATION,
            key=(self.model_id, request.view, "calibrate"),
        )

        def use(found: Any) -> dict[str, Any]:
            for name, new in found.scales.items():
                self._rack.scales[name] = new
            self._prompted = None  # sessions keep the scales they began with
            about = {id_of(f): self._rack.about(f) for f in features}
            self.known = {**self.known, **about}
            return {"known": about}

        self._answer_with(request, job, use)

    def _call(self, made: SliderSettings, before: str, after: str) -> str:
        """Python that makes the view again: a call with the settings between `before`, `after`."""
        lines, listed, more = self._rack.code(self._settings_in(made.sliders))
        return self._code(lines, f"{before}{listed}{after}{more})", made.edits)

    @staticmethod
    def _changed_from_default(made: Any, kind: type, names: Sequence[str]) -> str:
        """Arguments that differ from the defaults of a settings class."""
        default = {f.name: f.default for f in fields(kind)}
        parts = []
        for name in names:
            value = getattr(made, name)
            if value != default[name]:
                parts.append(f", {name}={list(value) if isinstance(value, tuple) else value!r}")
        return "".join(parts)
