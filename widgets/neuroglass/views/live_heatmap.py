"""``ng.heatmap``: the token heatmap with a live model behind it.

Text, site and features flow in, from the browser or from Python; the model runs on its own thread;
one frame flows out. Only the newest request of a view is ever drawn.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
import traitlets as t

from neuroglass.model.errors import InputError
from neuroglass.model.live import LiveModel
from neuroglass.model.run import Run
from neuroglass.model.sites import SITES, WHOLE_MODEL, Site
from neuroglass.model.tokens import whole_characters
from neuroglass.model.worker import Cancelled, Job, Priority
from neuroglass.views import frame as frames
from neuroglass.views.base import View
from neuroglass.views.codec import pack
from neuroglass.views.frame import Floats
from neuroglass.views.heatmap import TokenHeatmap
from neuroglass.views.protocol import Request
from neuroglass.views.sources import Sources, Values, key_of

if TYPE_CHECKING:
    from neuroglass.model.basis import Basis

TOP = 5  # predictions per token
AUTO_ROWS = 3  # features chosen when none are named
STRONGEST = 8  # features named for a selected token
_SETTINGS = ["text", "site", "layer", "features", "locked"]


@dataclass(frozen=True, slots=True)
class _Settings:
    """What one picture is made of; `features` empty: the strongest ones are chosen."""

    text: str
    site: str
    layer: int
    features: tuple[int, ...]
    locked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Picture:
    """A finished run, ready to draw: the frame, and all values for later questions."""

    settings: _Settings
    frame: dict[str, Any]
    values: Values | None  # of all features of the site
    rows: tuple[Floats, ...]  # exact
    code: str

    def traits(self) -> dict[str, Any]:
        """The traits that show it."""
        made = self.settings
        return {
            "text": made.text,
            "site": made.site,
            "layer": made.layer,
            "features": list(made.features),
            "locked": list(made.locked),
            "frame": self.frame,
            "code": self.code,
        }


class LiveTokenHeatmap(TokenHeatmap):
    """Text that the reader edits, coloured by what the model does with it. See ``heatmap``.

    Traits, all readable and settable: ``text``, ``site``, ``layer``, ``features`` (an assignment
    runs the model; ``wait()`` waits for it), ``locked``: rows that stay when the site changes, by
    key (``"neurons.0/12"``, ``"A-8x/77"``, ``"surprise"``, ``"entropy"``, ``"rank"``),
    ``selected``, ``scale``, ``theme``.
    """

    _handlers: ClassVar[dict[str, str]] = {**TokenHeatmap._handlers, "run": "_on_run"}

    def __init__(
        self,
        model: LiveModel,
        text: str,
        *,
        site: str | Site | Basis | None = None,
        features: Sequence[int] = (),
        bases: Sequence[Basis] = (),
        locked: Sequence[str] = (),
        **traits: Any,
    ) -> None:
        if not isinstance(model, LiveModel):
            raise InputError(
                f"A live heatmap needs a live model, not {type(model).__name__}.",
                "Make one: model = ng.load().",
            )
        if not isinstance(text, str):
            raise InputError(f"The text must be a string, not {type(text).__name__}.")
        name, layer = "neurons", model.n_layers // 2
        if site is not None and not isinstance(site, str | Site):
            bases = [*bases, *([] if any(b is site for b in bases) else [site])]
            site = getattr(site, "name", None)
        self._sources = Sources(model, bases)
        if isinstance(site, str) and site in self._sources.bases:
            name, layer = site, 0
        elif site is not None:
            place = model.site(site)
            name, layer = place.name, place.layer or 0
        settings = _Settings(whole_characters(text), name, layer, tuple(features), tuple(locked))
        self.model = model
        self._drawing = 0  # the thread that sets the traits of a finished run, 0: none
        self._values: Values | None = None
        self._rows: tuple[Floats, ...] = ()
        self._pending: tuple[Job[_Picture], Callable[[], None]] | None = None
        self._check(settings)
        traits.setdefault("scale", "row")
        # waits here, so that the view is complete before it is first shown (or saved)
        picture = model.work(
            lambda job: self._steps(job, settings, ("", 0)), priority=Priority.INTERACTIVE
        ).result()
        title = f"{model.name} · {model.dtype} · {model.hf.device}"
        View.__init__(
            self, title=title, choices=self._sources.choices(), **picture.traits(), **traits
        )
        self._values, self._rows = picture.values, picture.rows
        self.set_trait("live", True)
        self.observe(self._on_setting, names=_SETTINGS)

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], model: LiveModel | None = None, bases: Sequence[Basis] = ()
    ) -> TokenHeatmap:
        """The view that `state` describes: live with a `model` (and its bases), else a picture."""
        if model is None:
            return TokenHeatmap.from_state(state)
        keep = {k: state[k] for k in ("scale", "theme", "selected", "locked") if k in state}
        name = state["site"]
        in_layer = name not in WHOLE_MODEL and name in SITES
        site = f"{name}.{state['layer']}" if in_layer else name
        return cls(model, state["text"], site=site, features=state["features"], bases=bases, **keep)

    # -- settings ----------------------------------------------------------------------------

    def _check(self, settings: _Settings) -> None:
        """Refuse settings that the model does not have, before anything runs."""
        self._sources.find(settings.site, settings.layer).check(settings.features)
        for key in settings.locked:
            self._sources.row(key)
        if len(set(settings.locked)) < len(settings.locked):
            raise InputError(f"A row is locked twice: {', '.join(settings.locked)}.")

    @t.validate("site", "layer", "features", "locked", "text")
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
        lists = {n: tuple(new[n]) for n in ("features", "locked")}
        return _Settings(**{**new, **lists})

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
            tuple(request.strings("locked")),
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
                self._values, self._rows = picture.values, picture.rows
            finally:
                self._drawing = 0
        return {}

    def _steps(
        self, job: Job[Any], settings: _Settings, origin: tuple[str, int]
    ) -> Generator[None, None, _Picture]:
        """The job: run the model, then make the frame."""
        source = self._sources.find(settings.site, settings.layer)
        common: dict[str, Any] = {
            "request": origin,
            "text": settings.text,
            "site": settings.site,
            "layer": settings.layer,
            "locked": settings.locked,
        }
        if not settings.text:
            empty = frames.frame([], [], features=settings.features, **common)
            return _Picture(settings, empty, None, (), self._code_of(settings))
        kept = [self._sources.row(key) for key in settings.locked]
        sites = [source.site, *(r[0].site for r in kept if isinstance(r, tuple))]
        run = yield from self.model.steps(settings.text, list(dict.fromkeys(sites)), job)
        yield
        read = {source.name: source.read(run)}
        masked = _mask_bits(run)
        n_auto = AUTO_ROWS + len(kept)  # some of them may be locked
        own = [r[1] for r in kept if isinstance(r, tuple) and r[0].name == source.name]
        features = settings.features or tuple(
            i for i in read[source.name].largest(masked == 0, n_auto) if i not in own
        )[:AUTO_ROWS]  # fmt: skip
        settings = replace(settings, features=features)
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
        wanted = [*kept, *((source, i) for i in features)]
        exact = len(wanted) * len(pieces) <= frames.EXACT
        rows, columns = [], []
        for k, one in enumerate(wanted):
            locked = k < len(kept)
            about: dict[str, Any]
            if isinstance(one, tuple):
                owner, i = one
                if owner.name not in read:
                    read[owner.name] = owner.read(run)
                column = read[owner.name].column(i)
                about = {"label": f"{owner.name} / {i}", "feature": i, "key": key_of(owner, i)}
                signed = not owner.positive
            else:
                column = one.of(run)[0].numpy()
                about = {"label": one.label, "key": settings.locked[k]}
                signed = False
            rows.append(
                frames.row(
                    values=column, masked=masked, signed=signed, exact=exact, locked=locked, **about
                )
            )
            columns.append(column)
            yield
        made = frames.frame([seq], rows, features=features, **common)
        code = self._code_of(settings)
        return _Picture(settings, made, read[source.name], tuple(columns), code)

    def _on_detail(self, request: Request) -> None:
        row, position = request.get("row", int), request.get("position", int)
        self._check_selected({"value": (row, position)})
        strongest: list[dict[str, float | int]] = []
        value = frames.value_at(self.frame, row, position)
        if self._values is not None:
            value = float(self._rows[row][position])
            value = None if math.isnan(value) else value
            best = self._values.at(position, STRONGEST)
            strongest = [{"feature": i, "value": v} for i, v in best]
        self._answer(request, value=value, strongest=strongest)

    def _code_of(self, made: _Settings) -> str:
        """Python that makes this picture again."""
        basis = self._sources.code.get(made.site)
        lines = ["import neuroglass as ng", "", f"model = {self.model.code}"]
        if basis is None:
            name = made.site if made.site in WHOLE_MODEL else f"{made.site}.{made.layer}"
            site = repr(name)
        else:
            site = "basis"
            lines.append(f"basis = {basis}")
        arguments = f"{made.text!r}, site={site}, features={list(made.features)}"
        if made.locked:
            arguments += f", locked={list(made.locked)}"
        others = {k.rpartition("/")[0] for k in made.locked} - {made.site}
        if more := sorted(others & set(self._sources.bases)):
            lines += [f"basis_{i} = {self._sources.code[name]}" for i, name in enumerate(more)]
            arguments += f", bases=[{', '.join(f'basis_{i}' for i in range(len(more)))}]"
        return "\n".join([*lines, f"ng.heatmap(model, {arguments})"])


def heatmap(
    model: LiveModel,
    text: str,
    *,
    site: str | Site | Basis | None = None,
    features: Sequence[int] = (),
    bases: Sequence[Basis] = (),
    locked: Sequence[str] = (),
    **traits: Any,
) -> LiveTokenHeatmap:
    """Show a text coloured by features of a live model; edit it in the widget, or from Python.

    Args:
        model: from ``ng.load``.
        text: the first text; may be empty.
        site: e.g. ``"neurons.10"``, or a dictionary; None: the MLP neurons of the middle layer.
        features: indices at that site, one row each; none: the three strongest on this text.
        bases: dictionaries and directions that can be chosen beside the sites.
        locked: rows above those, which stay when the site changes, by key: ``"surprise"``,
            ``"entropy"``, ``"rank"``, or features of any site and basis, as ``"neurons.10/659"``.
        **traits: ``scale``, ``theme``, ``selected``, as in ``TokenHeatmap``.

    Raises:
        InputError: unknown site, basis or feature, text longer than the context, no tokenizer.
    """
    return LiveTokenHeatmap(
        model, text, site=site, features=features, bases=bases, locked=locked, **traits
    )


def _mask_bits(run: Run) -> Any:
    bits = sum(
        run.masks[name][0].to(torch.uint8) * bit
        for name, bit in (("bos", 1), ("special", 2), ("massive", 4))
    )
    assert isinstance(bits, torch.Tensor)
    return bits.cpu().numpy()


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
