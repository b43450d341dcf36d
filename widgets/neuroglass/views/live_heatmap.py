"""``ng.heatmap``: the token heatmap with a live model behind it.

Text, site and features flow in, from the browser or from Python; the model runs on its own thread;
one frame flows out. Only the newest request of a view is ever drawn.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import traitlets as t

from neuroglass.model.anatomy import check_features
from neuroglass.model.errors import InputError, nearest
from neuroglass.model.live import LiveModel
from neuroglass.model.run import Run
from neuroglass.model.sites import SITES, WHOLE_MODEL, Site
from neuroglass.model.tokens import whole_characters
from neuroglass.model.worker import Cancelled, Job, Priority
from neuroglass.views import frame as frames
from neuroglass.views.base import View
from neuroglass.views.codec import pack
from neuroglass.views.heatmap import TokenHeatmap
from neuroglass.views.protocol import Request

TOP = 5  # predictions per token
AUTO_ROWS = 3  # features chosen when none are named
STRONGEST = 8  # features named for a selected token
_SETTINGS = ["text", "site", "layer", "features"]


@dataclass(frozen=True, slots=True)
class _Settings:
    """What one picture is made of; `features` empty: the strongest ones are chosen."""

    text: str
    site: str
    layer: int
    features: tuple[int, ...]

    def place(self) -> Site:
        return Site(self.site, None if self.site in WHOLE_MODEL else self.layer)


@dataclass(frozen=True, slots=True)
class _Picture:
    """A finished run, ready to draw: the frame, and the site's values for later questions."""

    settings: _Settings
    frame: dict[str, Any]
    values: torch.Tensor | None  # [tokens, width]
    code: str

    def traits(self) -> dict[str, Any]:
        """The traits that show it."""
        made = self.settings
        return {
            "text": made.text,
            "site": made.site,
            "layer": made.layer,
            "features": list(made.features),
            "frame": self.frame,
            "code": self.code,
        }


class LiveTokenHeatmap(TokenHeatmap):
    """Text that the reader edits, coloured by what the model does with it. See ``heatmap``.

    Traits, all readable and settable: ``text``, ``site``, ``layer``, ``features`` (an assignment
    runs the model; ``wait()`` waits for it), ``selected``, ``scale``, ``theme``.
    """

    _handlers: ClassVar[dict[str, str]] = {**TokenHeatmap._handlers, "run": "_on_run"}

    def __init__(
        self,
        model: LiveModel,
        text: str,
        *,
        site: str | Site | None = None,
        features: Sequence[int] = (),
        **traits: Any,
    ) -> None:
        if not isinstance(model, LiveModel):
            raise InputError(
                f"A live heatmap needs a live model, not {type(model).__name__}.",
                "Make one: model = ng.load().",
            )
        if not isinstance(text, str):
            raise InputError(f"The text must be a string, not {type(text).__name__}.")
        place = model.site(f"neurons.{model.n_layers // 2}" if site is None else site)
        settings = _Settings(whole_characters(text), place.name, place.layer or 0, tuple(features))
        self.model = model
        self._drawing = 0  # the thread that sets the traits of a finished run, 0: none
        self._values: torch.Tensor | None = None
        self._pending: tuple[Job[_Picture], Callable[[], None]] | None = None
        self._check(settings)
        traits.setdefault("scale", "row")
        # waits here, so that the view is complete before it is first shown (or saved)
        picture = model.work(
            lambda job: self._steps(job, settings, ("", 0)), priority=Priority.INTERACTIVE
        ).result()
        title = f"{model.name} · {model.dtype} · {model.hf.device}"
        View.__init__(self, title=title, choices=_choices(model), **picture.traits(), **traits)
        self._values = picture.values
        self.set_trait("live", True)
        self.observe(self._on_setting, names=_SETTINGS)

    @classmethod
    def from_state(cls, state: Mapping[str, Any], model: LiveModel | None = None) -> TokenHeatmap:
        """The view that `state` describes: live with a `model`, else a static picture."""
        if model is None:
            return TokenHeatmap.from_state(state)
        keep = {k: state[k] for k in ("scale", "theme", "selected") if k in state}
        place = Site(state["site"], None if state["site"] in WHOLE_MODEL else state["layer"])
        return cls(model, state["text"], site=place, features=state["features"], **keep)

    # -- settings ----------------------------------------------------------------------------

    def _check(self, settings: _Settings) -> None:
        """Refuse settings that the model does not have, before anything runs."""
        names = [s["name"] for s in _choices(self.model)["sites"]]
        if settings.site not in names:
            raise InputError(
                f"A heatmap can't show the site {settings.site!r}.", nearest(settings.site, names)
            )
        check_features(self.model, self.model.site(settings.place()), settings.features)

    @t.validate("site", "layer", "features", "text")
    def _check_setting(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if self._drawing == threading.get_ident() or not self.live:
            return value
        self._check(self._with(name, value))
        return whole_characters(value) if name == "text" else value

    def _with(self, name: str, value: Any) -> _Settings:
        """The present settings with one of them changed."""
        new = {n: getattr(self, n) for n in _SETTINGS} | {name: value}
        if name == "site":
            new["features"] = []  # another site has other features
        return _Settings(**{**new, "features": tuple(new["features"])})

    def _on_setting(self, change: Any) -> None:
        """A setting changed from Python or a link: run, without waiting."""
        if self._drawing == threading.get_ident():
            return
        # the value assigned, not the trait: a run that ended meanwhile may have set it back
        settings = self._with(change["name"], change["new"])
        job = self._submit(settings, ("", 0), "python")
        self._pending = job, self._when_done(job, self._finish_own)

    def _finish_own(self, job: Job[_Picture]) -> None:
        try:
            self._draw(job.result(0))
        except Cancelled:
            pass  # a newer assignment took its place, and draws
        except Exception as error:
            self._show_error(error)

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
                settle()  # here, if the delivery thread has not come to it yet

    # -- running -----------------------------------------------------------------------------

    def _on_run(self, request: Request) -> None:
        settings = _Settings(
            whole_characters(request.get("text", str)),
            request.get("site", str),
            request.get("layer", int),
            tuple(request.integers("features")),
        )
        try:
            self._check(settings)
        except InputError as error:
            self._show_error(error)
            raise
        job = self._submit(settings, (request.view, request.id), request.view)
        self._pending = job, self._answer_with(request, job, self._draw)

    def _fail(self, request: Request, error: BaseException) -> None:
        if request.kind == "run" and not isinstance(error, Cancelled):
            self._show_error(error)  # a trait, so that it survives a reload
        super()._fail(request, error)

    def _submit(self, settings: _Settings, origin: tuple[str, int], asker: str) -> Job[_Picture]:
        return self.model.work(
            lambda job: self._steps(job, settings, origin),
            priority=Priority.INTERACTIVE,
            key=(self.model_id, asker, "run"),
        )

    def _draw(self, picture: _Picture) -> Mapping[str, Any]:
        """Set everything that shows at once, as one message to the browser."""
        with self._writing():
            self._drawing = threading.get_ident()
            try:
                if self.selected is not None and not _has(picture.frame, self.selected):
                    self.set_trait("selected", None)
                for name, value in picture.traits().items():
                    setattr(self, name, value)
                self.set_trait("error", None)
                self._values = picture.values
            finally:
                self._drawing = 0
        return {}

    def _steps(
        self, job: Job[Any], settings: _Settings, origin: tuple[str, int]
    ) -> Generator[None, None, _Picture]:
        """The job: run the model, then make the frame."""
        site = settings.place()
        common: dict[str, Any] = {
            "request": origin,
            "text": settings.text,
            "site": settings.site,
            "layer": settings.layer,
        }
        if not settings.text:
            empty = frames.frame([], [], features=settings.features, **common)
            return _Picture(settings, empty, None, _code(self.model, settings))
        run = yield from self.model.steps(settings.text, [site], job)
        yield
        values = run[site][0].flatten(1).float().cpu()  # [tokens, width]
        masked = _mask_bits(run)
        features = settings.features or _strongest_rows(values, masked)
        settings = _Settings(settings.text, settings.site, settings.layer, features)
        pieces, kinds = run.pieces()
        seq = frames.sequence(
            pieces,
            kinds,
            ids=run.tokens[0].tolist(),
            masked=masked,
            logprobs=run.logprobs[0].numpy(),
            entropy=run.entropy[0].numpy(),
            top=_top(run),
        )
        exact = len(features) * len(pieces) <= frames.EXACT
        rows = [
            frames.row(
                f"{site} / {i}",
                values[:, i].numpy(),
                feature=i,
                masked=masked,
                signed=not self.model.positive(site),
                exact=exact,
            )
            for i in features
        ]
        made = frames.frame([seq], rows, features=features, **common)
        return _Picture(settings, made, values, _code(self.model, settings))

    def _on_detail(self, request: Request) -> None:
        row, position = request.get("row", int), request.get("position", int)
        self._check_selected({"value": (row, position)})
        strongest: list[dict[str, float | int]] = []
        value = frames.value_at(self.frame, row, position)
        if self._values is not None:
            here = self._values[position]
            value = float(here[self.frame["rows"][row]["feature"]])
            best = here.abs().topk(min(STRONGEST, here.numel())).indices.tolist()
            strongest = [{"feature": i, "value": float(here[i])} for i in best]
        self._answer(request, value=value, strongest=strongest)


def heatmap(
    model: LiveModel,
    text: str,
    *,
    site: str | Site | None = None,
    features: Sequence[int] = (),
    **traits: Any,
) -> LiveTokenHeatmap:
    """Show a text coloured by features of a live model; edit it in the widget, or from Python.

    Args:
        model: from ``ng.load``.
        text: the first text; may be empty.
        site: e.g. ``"neurons.10"``; None: the MLP neurons of the middle layer.
        features: indices at that site, one row each; none: the three strongest on this text.
        **traits: ``scale``, ``theme``, ``selected``, as in ``TokenHeatmap``.

    Raises:
        InputError: unknown site or feature, text longer than the context, no tokenizer.
    """
    return LiveTokenHeatmap(model, text, site=site, features=features, **traits)


def _choices(model: LiveModel) -> dict[str, Any]:
    sites = [
        {
            "name": name,
            "layers": 1 if name in WHOLE_MODEL else model.n_layers,
            "width": model.widths[name],
            "what": what,
        }
        for name, what in SITES.items()
        if name in model.widths and name != "logits"
    ]
    return {"sites": sites, "context": model.context}


def _mask_bits(run: Run) -> Any:
    bits = sum(
        run.masks[name][0].to(torch.uint8) * bit
        for name, bit in (("bos", 1), ("special", 2), ("massive", 4))
    )
    assert isinstance(bits, torch.Tensor)
    return bits.cpu().numpy()


def _strongest_rows(values: torch.Tensor, masked: Any) -> tuple[int, ...]:
    """The features with the largest magnitude on any counted token."""
    counted = values[torch.from_numpy(masked == 0)]
    counted = counted if len(counted) else values
    peaks = counted.abs().amax(0)
    return tuple(peaks.topk(min(AUTO_ROWS, peaks.numel())).indices.tolist())


def _top(run: Run) -> dict[str, Any]:
    ids, logprobs = run.top(TOP)
    known = {int(i): run.piece(int(i)) for i in np.unique(ids.cpu().numpy())}
    return {
        "ids": pack(ids[0].cpu().numpy(), "i32"),
        "logprobs": pack(logprobs[0].cpu().numpy()),
        "pieces": {str(i): piece for i, piece in known.items()},
    }


def _has(frame: Mapping[str, Any], selected: tuple[int, int]) -> bool:
    row, position = selected
    rows, seqs = frame["rows"], frame["seqs"]
    return row < len(rows) and position < len(seqs[rows[row]["seq"]]["pieces"])


def _code(model: LiveModel, made: _Settings) -> str:
    return (
        f"import neuroglass as ng\n\nmodel = {model.code}\n"
        f"ng.heatmap(model, {made.text!r}, site={str(made.place())!r}, "
        f"features={list(made.features)})"
    )
