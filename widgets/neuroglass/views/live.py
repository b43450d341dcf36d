"""What all live views share: settings go to the model's thread, one picture comes back.

A view's settings are a frozen dataclass whose fields are traits of the same names. A change of
them, from the browser (a ``run`` request) or from Python, becomes a job; only the newest one of an
asker is drawn, as one message to the browser.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import traitlets as t

from neuroglass.model.edits import Edit
from neuroglass.model.errors import InputError
from neuroglass.model.live import LiveModel
from neuroglass.model.tokens import whole_characters
from neuroglass.model.worker import Cancelled, Job, Priority
from neuroglass.views.base import View, Waitable
from neuroglass.views.protocol import Request

Draw = Callable[[Any], Mapping[str, Any]]
Origin = tuple[str, int]  # the (view, id) that asked; ("", 0) is Python


@dataclass(frozen=True)
class Settings:
    """What one picture is made of.

    Attributes:
        text: what the model reads.
        edits: changes made to the model while it reads.
    """

    text: str
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A finished run, ready to draw.

    Attributes:
        settings: what it was made of, with all that was chosen on the way.
        frame: what the browser draws; has ``view`` and ``id`` of its request.
        code: Python that makes it again.
    """

    settings: Settings
    frame: dict[str, Any]
    code: str

    def traits(self) -> dict[str, Any]:
        """The traits that show it."""
        made = {f.name: getattr(self.settings, f.name) for f in fields(self.settings)}
        lists = {k: list(v) if isinstance(v, tuple) else v for k, v in made.items()}
        return {**lists, "frame": self.frame, "code": self.code}


class LiveView(Waitable):
    """Base of the views that have a live model behind them.

    A class says what its settings are (``_made_of``), refuses bad ones (``_check``), reads them
    from a request (``_read``) and makes the picture as steps of a job (``_steps``).

    Traits, beside those of every view:
        text: what the model reads. Settable; ``wait()`` waits for the picture.
        edits: changes made to the model while it reads, as in ``model.run(edits=...)``. Settable.
    """

    _made_of: ClassVar[type[Settings]] = Settings
    _handlers: ClassVar[dict[str, str]] = {**View._handlers, "run": "_on_run"}

    text = t.Unicode("").tag(sync=True)
    edits: t.List[Any] = t.List()  # stays in Python
    frame = t.Dict().tag(sync=True)

    def _begin(self, model: LiveModel, settings: Settings, **traits: Any) -> None:
        """Make the first picture and become live; in place of ``View.__init__``.

        Waits, so that the view is complete before it is first shown (or saved).
        """
        self.model = model
        self._drawing = 0  # the thread that sets the traits of a finished run, 0: none
        self._picture: Picture | None = None
        self._asked = 0  # counts what was asked for
        self._assigned = 0  # the newest of it that came from Python or a link
        self._check(settings)
        picture = self._first(settings)
        self._picture = picture
        title = f"{model.name} · {model.dtype} · {model.hf.device}"
        View.__init__(self, title=title, **picture.traits(), **traits)
        self.set_trait("live", True)
        self.observe(self._on_setting, names=self._setting_names())

    def _first(self, settings: Any) -> Picture:
        """The first picture, waited for."""
        made: Picture = self.model.work(
            lambda job: self._steps(job, settings, ("", 0)), priority=Priority.INTERACTIVE
        ).result()
        return made

    # -- what a class of views says ----------------------------------------------------------

    def _check(self, settings: Any) -> None:
        """Refuse settings that the model does not have, before anything runs.

        Raises:
            InputError: says which.
        """
        raise NotImplementedError

    def _read(self, request: Request) -> Any:
        """The settings that a request asks for.

        Raises:
            InputError: something is missing or of the wrong type.
        """
        raise NotImplementedError

    def _steps(
        self, job: Job[Any], settings: Any, origin: Origin
    ) -> Generator[None, None, Picture]:
        """The job: run the model, then make the frame."""
        raise NotImplementedError

    def _changed(self, settings: Any, name: str) -> Any:
        """The settings after a change of `name`, with what can't stay put right."""
        return settings

    # -- settings ----------------------------------------------------------------------------

    @classmethod
    def _setting_names(cls) -> list[str]:
        return [f.name for f in fields(cls._made_of)]

    @property
    def _ours(self) -> bool:
        """This thread is setting the traits of a finished run."""
        return self._drawing == threading.get_ident()

    def _with(self, name: str, value: Any) -> Any:
        """The present settings with one of them changed."""
        now = {n: getattr(self, n) for n in self._setting_names()} | {name: value}
        made: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in now.items()}
        return self._changed(self._made_of(**made), name)

    @t.validate("text")
    def _check_text(self, proposal: Any) -> Any:
        return self._checked(proposal)

    def _checked(self, proposal: Any) -> Any:
        """For a class's ``@validate`` of its settings: refuse what can't be, keep the rest."""
        name, value = proposal["trait"].name, proposal["value"]
        if not self.live or self._ours:
            return value
        self._check(self._with(name, value))
        return whole_characters(value) if name == "text" else value

    @t.validate("edits")
    def _check_edits(self, proposal: Any) -> Any:
        for edit in proposal["value"]:
            if not hasattr(edit, "bind"):
                raise InputError(
                    f"{type(edit).__name__} is no edit.", "Give ng.Add, ng.Clamp, ng.Ablate …"
                )
        return self._checked(proposal)

    def _on_setting(self, change: Any) -> None:
        """A setting changed from Python or a link: run, without waiting."""
        if self._ours:
            return
        # the value assigned, not the trait: a run that ended meanwhile may have set it back
        self._start(self._with(change["name"], change["new"]))

    def _start(self, settings: Any) -> None:
        """Run from Python, without waiting."""
        with self._lock:
            number = self._assigned = self._number()
        job, draw = self._submit(settings, ("", 0), "python")

        def finish(ended: Job[Any]) -> None:
            self._finish_own(ended, lambda made: self._draw_newest(draw, made, number))

        self._pending = job, self._when_done(job, finish)

    def _finish_own(self, job: Job[Any], draw: Callable[[Any], Any]) -> None:
        try:
            draw(job.result(0))
        except Cancelled:
            pass  # a newer assignment took its place, and draws
        except Exception as error:
            self._show_error(error)

    # -- running -----------------------------------------------------------------------------

    def _on_run(self, request: Request) -> None:
        try:
            # edits are Python's: what the browser asks for is read with those of now
            settings = replace(self._read(request), edits=tuple(self.edits))
            self._check(settings)
        except InputError as error:
            self._show_error(error)
            raise
        number = self._number()
        job, draw = self._submit(settings, (request.view, request.id), request.view)
        finish = self._answer_with(request, job, lambda m: self._draw_newest(draw, m, number))
        self._pending = job, finish

    def _number(self) -> int:
        with self._lock:
            self._asked += 1
            return self._asked

    def _draw_newest(self, draw: Draw, made: Any, number: int) -> Mapping[str, Any]:
        """Draw, unless Python or a link has assigned something newer meanwhile.

        An older text set back would go over a link to another view, which would set it back here.
        """
        if number < self._assigned:
            raise Cancelled(superseded=True)
        return draw(made)

    def _fail(self, request: Request, error: BaseException) -> None:
        if request.kind == "run" and not isinstance(error, Cancelled):
            self._show_error(error)  # a trait, so that it survives a reload
        super()._fail(request, error)

    def _submit(self, settings: Any, origin: Origin, asker: str) -> tuple[Job[Any], Draw]:
        """The job of a run, and what draws its value."""
        job = self.model.work(
            lambda job: self._steps(job, settings, origin),
            priority=Priority.INTERACTIVE,
            key=(self.model_id, asker, "run"),
        )
        return job, self._draw

    def _draw(self, picture: Any) -> Mapping[str, Any]:
        """Set everything that shows at once, as one message to the browser."""
        with self._writing():
            self._drawing = threading.get_ident()
            try:
                self._before_drawing(picture)
                for name, value in picture.traits().items():
                    setattr(self, name, value)
                self.set_trait("error", None)
                self._picture = picture
            finally:
                self._drawing = 0
        return {}

    def _before_drawing(self, picture: Any) -> None:
        """Let go of what the new picture does not have (a selection, say)."""

    def _code(self, lines: Sequence[str], call: str, edits: Sequence[Edit]) -> str:
        """Python that makes the view again: imports, model, `lines`, and the call."""
        made = ["import neuroglass as ng", "", f"model = {self.model.code}", *lines]
        if not edits:
            return "\n".join([*made, call])
        whole = ", ".join(type(e).__name__ for e in edits)
        return "\n".join([*made, f"edits = ...  # {whole}", f"{call[:-1]}, edits=edits)"])
