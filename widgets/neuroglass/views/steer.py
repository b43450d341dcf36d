"""``ng.Steer``: sliders on a running model, and two texts that are written side by side.

A prompt and sliders flow in, from the browser or from Python. Each change ends the texts that are
being written within a token and begins new ones; every token of them goes to the page that asked,
with the number of its request; the finished texts become the trait ``frame``, once.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets as t

from neuroglass.model.errors import InputError
from neuroglass.model.worker import Cancelled, Job
from neuroglass.steering.dose import DoseResponse, Sweep
from neuroglass.steering.session import Event, Session, Steered
from neuroglass.steering.setting import Setting
from neuroglass.steering.strength import id_of
from neuroglass.views.base import bundle
from neuroglass.views.live import Draw, Origin, Picture
from neuroglass.views.protocol import Request, reply
from neuroglass.views.sliders import SliderSettings, SliderView
from neuroglass.views.steered import doses, event_json, sweep_json

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store
    from neuroglass.model.basis import Basis
    from neuroglass.model.edits import Edit
    from neuroglass.model.live import LiveModel

MOST = 64  # samples
_OPTIONS = ("n", "max_new_tokens", "temperature", "top_p", "seed", "stop", "tokens")
# a sweep needs texts that differ: of a greedy one there would be one for each strength
_WARM = 0.8
_REACH = {"raw": 10.0, "max": 3.0, "std": 20.0, "norm": 1.5}  # where a sweep ends by default


@dataclass(frozen=True)
class _Settings(SliderSettings):
    """See the traits."""

    n: int = 1
    max_new_tokens: int = 50
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Run:
    """A pair of texts under way."""

    settings: _Settings
    origin: Origin
    steered: Steered


class Steer(SliderView):
    """Sliders on features of a running model; what it writes as it is and steered, side by side.

    Args:
        model: from ``ng.load``.
        features: what the sliders are on: features, heads, ids, ``ng.Setting``s, a contrast.
        prompt: what is continued: a text, or chat messages of which the last is the user's.
        bases: dictionaries whose features can be added by number.
        store: of one of them: gives the units × max and × std, and searches.
        texts: what the calibration button reads; none: a sample of ``ng.zoo_texts()``.
        n: samples: so many pairs of texts.
        max_new_tokens, temperature, top_p, seed, stop: as in ``model.generate``.
        tokens: tokens whose log-probability and rank are followed, as text (``" happy"``).
        edits: changes that belong to the model: both texts are written with them.
        **traits: ``readout``, ``theme``, ``title``.

    Traits, beside those of ``SliderView`` and one for each argument above:
        readout: what colours the tokens: ``"kl"``, ``"logprob"``, ``"change:<site>"``,
            ``"active:<feature id>"``, ``"none"``.
        frame: the finished texts. sweep: the last dose–response.

    Raises:
        InputError: an empty prompt, no room for the text, a feature of another model, settings
            that contradict each other, a strength that is huge or no number.
    """

    _made_of = _Settings
    _esm = bundle("steer", "js")
    _css = bundle("steer", "css")
    _handlers: ClassVar[dict[str, str]] = {**SliderView._handlers, "dose": "_on_dose"}
    _cheap: ClassVar[Mapping[str, Any]] = {"max_new_tokens": 1}
    _kept: ClassVar[Sequence[str]] = ("readout", "sweep", "theme")

    n = t.Int(1).tag(sync=True)
    max_new_tokens = t.Int(50).tag(sync=True)
    temperature = t.Float(0.0).tag(sync=True)
    top_p = t.Float(1.0).tag(sync=True)
    seed = t.Int(0).tag(sync=True)
    stop = t.List(t.Unicode()).tag(sync=True)
    tokens = t.List(t.Unicode()).tag(sync=True)
    readout = t.Unicode("kl").tag(sync=True)
    sweep = t.Dict().tag(sync=True)

    def __init__(
        self,
        model: LiveModel,
        features: Sequence[Any] = (),
        *,
        prompt: str | Sequence[Mapping[str, str]],
        bases: Sequence[Basis] = (),
        store: Store | None = None,
        texts: Sequence[str] = (),
        n: int = 1,
        max_new_tokens: int = 50,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: str | Sequence[str] = (),
        tokens: Sequence[str] = (),
        edits: Sequence[Edit] = (),
        **traits: Any,
    ) -> None:
        settings = _Settings(
            **self._open(model, features, prompt, bases, store, texts),
            edits=tuple(edits),
            n=n,
            max_new_tokens=max_new_tokens,
            temperature=float(temperature),
            top_p=float(top_p),
            seed=seed,
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            tokens=(tokens,) if isinstance(tokens, str) else tuple(tokens),
        )
        self._runs: dict[str, _Run] = {}  # asker -> its newest
        self._shown: Steered | None = None
        self._dose: DoseResponse | None = None
        self._begin(model, settings, choices=self._rack.choices(), **traits)
        self._show_known()

    # -- settings ----------------------------------------------------------------------------

    @t.validate(*_OPTIONS)
    def _check_option(self, proposal: Any) -> Any:
        return self._checked(proposal)

    def _check(self, settings: Any) -> None:
        if settings.n > MOST:
            raise InputError(f"n is {settings.n}.", f"Give 1 to {MOST}.")
        super()._check(settings)

    def _hold(self, settings: _Settings) -> Session:
        key = replace(settings, sliders=(), edits=())
        if self._prompted is None or self._prompted[0] != key:
            session = Session(
                self.model,
                settings.prompt,
                n=settings.n,
                max_new_tokens=settings.max_new_tokens,
                temperature=settings.temperature,
                top_p=settings.top_p,
                seed=settings.seed,
                stop=settings.stop,
                scales=self._rack.scales,
                chosen=[self._one_token(text) for text in settings.tokens],
            )
            self._prompted = key, session
        held = self._prompted[1]
        assert isinstance(held, Session)
        return held

    def _one_token(self, text: str) -> int:
        [ids] = self.model.prompts.plain([text])
        if len(ids) != 1:
            raise InputError(
                f"{text!r} is {len(ids)} tokens for {self.model.name}.",
                "Follow one token; most begin with a space.",
            )
        return ids[0]

    def _read(self, request: Request) -> _Settings:
        number = (int, float)
        return _Settings(
            **self._read_sliders(request),
            n=request.get("n", int),
            max_new_tokens=request.get("max_new_tokens", int),
            temperature=float(request.get("temperature", number)),
            top_p=float(request.get("top_p", number)),
            seed=request.get("seed", int),
            stop=tuple(request.strings("stop")),
            tokens=tuple(request.strings("tokens")),
        )

    # -- running -----------------------------------------------------------------------------

    def _start_run(self, settings: _Settings, origin: Origin, key: Any) -> _Run:
        session = self._hold(settings)

        def listen(event: Event) -> None:
            if origin[0]:
                body: dict[str, Any] = {"event": event_json(event)}
                if event.index == 0:
                    body["prompt"] = _prompt_of(session)
                self.send(reply(*origin, event.index + 1, done=False, **body))

        steered = session.start(
            self._settings_in(settings.sliders), edits=settings.edits, listen=listen, key=key
        )
        return _Run(settings, origin, steered)

    def _first(self, settings: _Settings) -> Picture:
        run = self._start_run(settings, ("", 0), None)
        run.steered.job.result()
        return self._picture_of(run)

    def _submit(self, settings: _Settings, origin: Origin, asker: str) -> tuple[Job[Any], Draw]:
        run = self._start_run(settings, origin, (self.model_id, asker, "run"))
        self._runs[asker] = run
        return run.steered.job, lambda _: self._draw(self._picture_of(run))

    def _fail(self, request: Request, error: BaseException) -> None:
        run = self._runs.get(request.view)
        if request.kind == "run" and not isinstance(error, Cancelled) and run is not None:
            # what it was to take the place of would be drawn over the error
            del self._runs[request.view]
            run.steered.cancel()
        if (
            isinstance(error, Cancelled)
            and not error.superseded
            and run is not None
            and run.origin == (request.view, request.id)
        ):
            self._draw(self._picture_of(run, stopped=True))  # what was written stays
        super()._fail(request, error)

    def end(self) -> None:
        """End the texts that are being written; what there is of them stays."""
        for run in list(self._runs.values()):
            run.steered.cancel()

    def close(self) -> None:
        """End what is being written, and close the widget."""
        if hasattr(self, "_runs"):
            self.end()
        super().close()

    def _picture_of(self, run: _Run, *, stopped: bool = False) -> Picture:
        steered, settings = run.steered.finish(), run.settings
        session = steered.session
        self._shown = steered
        frame = {
            "view": run.origin[0],
            "id": run.origin[1],
            "prompt": _prompt_of(session),
            "n": session.n,
            "tokens": list(settings.tokens),
            "events": [event_json(e) for e in steered.steps],
            "stopped": stopped,
        }
        arguments = f"prompt={list(settings.prompt) if settings.chat else settings.text!r}"
        arguments += self._changed_from_default(settings, _Settings, _OPTIONS)
        return Picture(settings, frame, self._call(settings, "ng.Steer(model, ", f", {arguments}"))

    # -- dose–response -----------------------------------------------------------------------

    def _sweep(self, slider: int, values: Sequence[float], n: int) -> tuple[Sweep, Setting, Any]:
        if not 0 <= slider < len(self.sliders):
            raise InputError(f"There is no slider {slider}.", "They are counted from 0.")
        [setting] = self._settings_in([{**self.sliders[slider], "on": True}])
        prompt = SliderSettings(self.text, chat=self.chat, messages=tuple(self.messages)).prompt
        sweep = Sweep(
            self.model,
            prompt,
            n=n,
            max_new_tokens=min(self.max_new_tokens, 60),
            temperature=self.temperature or _WARM,
            top_p=self.top_p,
            seed=self.seed,
            stop=self.stop,
            scales=self._rack.scales,
        )
        if not values:
            neutral = 1.0 if setting.mode in {"scale", "orthogonal"} else 0.0
            largest = _REACH[setting.unit] if neutral == 0 else 4.0
            if setting.unit == "raw" and neutral == 0:
                known = self._rack.scales.get(id_of(setting.feature))
                one = known.one("norm") if known is not None else None
                largest = _REACH["norm"] * one if one else largest
            values = doses(
                -largest if setting.value < neutral and neutral == 0 else largest, neutral
            )
        return sweep, setting, list(values)

    def _keep_sweep(self, sweep: Sweep, found: DoseResponse) -> None:
        self._dose = found
        label = self._rack.label(found.setting.feature)
        with self._writing():
            temperature = sweep.settings.temperature
            self.sweep = sweep_json(found, label, self.text, temperature)

    def dose_response(
        self, slider: int = 0, values: Sequence[float] = (), *, n: int = 3
    ) -> DoseResponse:
        """Sweep one slider's strength on the present prompt, and show it.

        Args:
            slider: which, counted from 0. The others are left out.
            values: strengths in its unit; none: eight up to what a slider spans.
            n: texts for each.

        Raises:
            InputError: a head, a mode without a strength, a strength that is refused.
        """
        sweep, setting, plan = self._sweep(slider, values, n)
        found = sweep.start(setting, plan).result()
        self._keep_sweep(sweep, found)
        return found

    @property
    def dose(self) -> DoseResponse | None:
        """The last dose–response: ``.to_frame()``, ``.plot()``, ``.knee()``."""
        return self._dose

    def _on_dose(self, request: Request) -> None:
        values = request.get("values", list)
        if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
            raise InputError("The strengths must be numbers, such as 0.5, 1, 2.")
        sweep, setting, plan = self._sweep(
            request.get("slider", int), values, request.get("n", int)
        )
        where = request.view, request.id
        told = [0]

        def tell(done: int, total: int) -> None:
            told[0] += 1
            self.send(reply(*where, told[0], done=False, progress=[done, total]))

        job = sweep.start(setting, plan, progress=tell, key=(self.model_id, request.view, "dose"))

        def use(found: DoseResponse) -> dict[str, Any]:
            self._keep_sweep(sweep, found)
            return {}

        self._answer_with(request, job, use)

    # -- results -----------------------------------------------------------------------------

    @property
    def result(self) -> Steered:
        """The texts shown: ``.texts``, ``.summary()``, ``.steps``."""
        assert self._shown is not None
        return self._shown

    def to_frame(self, sample: int = 0) -> pd.DataFrame:
        """One row per token of the texts shown; see ``Steered.to_frame``."""
        return self.result.to_frame(sample)

    def fallback_html(self) -> str:
        """Both texts, for pages without scripts."""

        def text(side: str) -> str:
            pieces = "".join(e[side]["pieces"][0] for e in self.frame.get("events", []))
            return f"<p><b>{side}</b> <code>{html.escape(pieces)}</code></p>"

        return text("base") + text("steered")

    def __repr__(self) -> str:
        count = len(self.sliders)
        return f"Steer({count} slider{'s' * (count != 1)} on {self.title.split(' · ')[0]})"


def _prompt_of(session: Session) -> dict[str, Any]:
    pieces, kinds = session.pieces
    return {"pieces": pieces, "kinds": kinds}
