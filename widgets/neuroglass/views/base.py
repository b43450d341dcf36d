"""What all views share: traits and their one lock, requests and answers, errors in the cell, state.

A view is a Python class with traits (selections, settings and the frame to draw) and a bundle of
the same name in ``static``. Messages come in on whichever thread the kernel likes; every trait
write and every message takes one lock, so two threads never interleave in a view. All views share
the lock: a link sets a trait of one view while it holds another, and with a lock each, two threads
that come from opposite ends would wait for each other for ever.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Self

import anywidget
import traitlets as t

from neuroglass.model.errors import InputError, describe, nearest
from neuroglass.model.worker import Cancelled, Job
from neuroglass.views import protocol
from neuroglass.views.protocol import Request, reply

VERSION = version("neuroglass")
FALLBACK = 50_000  # bytes that the picture without scripts may have
STATIC = Path(__file__).parent.parent / "static"


def bundle(name: str, suffix: str) -> Path:
    """A built file of the front end.

    Raises:
        RuntimeError: it has not been built (a source tree without ``npm run build``).
    """
    path = STATIC / f"{name}.{suffix}"
    if not path.exists():
        raise RuntimeError(
            f"The front end is not built: {path.name} is missing. Run 'python hatch_build.py'."
        )
    return path


class View(anywidget.AnyWidget):
    """Base of every widget.

    Traits that all views have:
        theme: ``"auto"`` (follow the page), ``"light"`` or ``"dark"``.
        error: what went wrong last, ``{type, message, hint}``, or None; shown in the cell.
        code: Python that makes this view again.

    Raises:
        TypeError: an unknown keyword, naming the nearest valid one.
    """

    _lock = threading.RLock()
    _version = t.Unicode(VERSION).tag(sync=True)
    # what ng.link linked, for pages without a kernel: [{name, refs of the other views}]
    _links: t.List[Any] = t.List().tag(sync=True)
    live = t.Bool(False, read_only=True).tag(sync=True)
    title = t.Unicode("").tag(sync=True)
    theme = t.Enum(["auto", "light", "dark"], default_value="auto").tag(sync=True)
    error = t.Dict(allow_none=True, default_value=None).tag(sync=True)
    code = t.Unicode("").tag(sync=True)

    # kind of request -> name of the method that answers it
    _handlers: ClassVar[dict[str, str]] = {"hello": "_on_hello", "cancel": "_on_cancel"}

    def __init__(self, **traits: Any) -> None:
        self._jobs: dict[tuple[str, int], Job[Any]] = {}
        for name in traits:
            if name not in self.trait_names() or name.startswith("_"):
                hint = nearest(name, self.class_own_trait_names())
                raise TypeError(f"{type(self).__name__} has no keyword {name!r}. {hint}")
        super().__init__(**traits)
        self.on_msg(self._on_message)

    @classmethod
    def class_own_trait_names(cls) -> list[str]:
        """Names of the public traits that are ours, not ipywidgets'."""
        theirs = set(anywidget.AnyWidget.class_trait_names())
        return sorted(n for n in set(cls.class_trait_names()) - theirs if not n.startswith("_"))

    # -- one lock ----------------------------------------------------------------------------

    def _handle_msg(self, msg: dict[str, Any]) -> None:
        with self._lock:
            super()._handle_msg(msg)

    def notify_change(self, change: Any) -> None:
        """Send a changed trait to the browser, in one message with those that follow from it.

        Two messages for one click would let the browser answer the first before it has the second.
        """
        with self._writing():
            super().notify_change(change)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Set several traits as one message, from any thread."""
        with self._lock, self.hold_sync():
            yield

    # -- requests ----------------------------------------------------------------------------

    def _on_message(self, _: Any, content: Any, __: list[memoryview]) -> None:
        try:
            request = protocol.read(content)
        except Exception as error:
            if isinstance(content, Mapping):
                view, number = str(content.get("view")), content.get("id", 0)
                self.send(reply(view, number, 0, done=True, error=error))
            return
        try:
            method = self._handlers.get(request.kind)
            if method is None:
                raise InputError(
                    f"A {type(self).__name__} can't answer {request.kind!r}.",
                    nearest(request.kind, self._handlers),
                )
            if request.kind != "cancel":
                self.send(reply(request.view, request.id, 0, done=False))
            getattr(self, method)(request)
        except Exception as error:
            self._fail(request, error)

    def _answer(self, request: Request, **body: Any) -> None:
        self.send(reply(request.view, request.id, 1, done=True, **body))

    def _fail(self, request: Request, error: BaseException) -> None:
        if isinstance(error, Cancelled):
            how = "superseded" if error.superseded else "cancelled"
            self._answer(request, **{how: True})
        else:
            self.send(reply(request.view, request.id, 1, done=True, error=error))

    def _answer_with(
        self, request: Request, job: Job[Any], use: Callable[[Any], Mapping[str, Any]]
    ) -> Callable[[], None]:
        """Answer when the job has ended; `use(value)` sets traits and returns the answer's body.

        Returns:
            See ``_when_done``.
        """
        self._jobs[request.view, request.id] = job

        def finish(ended: Job[Any]) -> None:
            self._jobs.pop((request.view, request.id), None)
            try:
                body = use(ended.result(0))
            except Exception as error:
                self._fail(request, error)
            else:
                self._answer(request, **body)

        return self._when_done(job, finish)

    def _when_done(self, job: Job[Any], call: Callable[[Job[Any]], None]) -> Callable[[], None]:
        """Call `call(job)` once, under the lock, when the job is done.

        That happens on the delivery thread, or earlier: by whoever waits for the job and then runs
        the function returned here.
        """
        left = [call]

        def settle(_: Job[Any] = job) -> None:
            with self._lock:
                if left:
                    left.pop()(job)

        job.on_done(settle)
        return settle

    def _on_hello(self, request: Request) -> None:
        self._answer(request, version=VERSION)

    def _on_cancel(self, request: Request) -> None:
        job = self._jobs.get((request.view, request.get("target", int)))
        if job is not None:
            job.cancel()

    def _show_error(self, error: BaseException) -> None:
        self.error = describe(error)

    # -- state, export -----------------------------------------------------------------------

    @property
    def state(self) -> dict[str, Any]:
        """Everything the view shows, as JSON (buffers in base64); see ``from_state``."""
        synced = [n for n in self.class_own_trait_names() if self.trait_metadata(n, "sync")]
        own = self.get_state([*synced, "_version"])
        return {k: _to_json(v) for k, v in own.items()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """A static view that shows what `state` (from ``.state``) says.

        Raises:
            InputError: the state belongs to another kind of view.
        """
        known = cls._own(state)
        view = cls.__new__(cls)
        View.__init__(view)
        with view.hold_trait_notifications():
            for name in known & set(state):
                view.set_trait(name, _from_json(state[name]))
        return view

    @classmethod
    def _own(cls, state: Mapping[str, Any]) -> set[str]:
        """The traits that a state can have.

        Raises:
            InputError: it belongs to another kind of view.
        """
        known = set(cls.class_own_trait_names()) - {"live"}
        if extra := sorted(set(state) - known - {"live", "_version"}):
            raise InputError(f"This is no state of a {cls.__name__}: it has {', '.join(extra)}.")
        return known

    def hosted(self) -> Sequence[View]:
        """The views that this one has in it; it names them in its state as ``ref(view)``."""
        return ()

    def to_html(self, path: str | Path) -> Path:
        """Write one self-contained HTML file that draws this view offline; returns its path."""
        from neuroglass.views.export import save_html

        return save_html(path, self)

    def fallback_html(self) -> str:
        """A small picture without scripts, for pages that show no widgets."""
        return ""

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        made = super()._repr_mimebundle_(**kwargs)
        data, metadata = made if made is not None else ({}, {})
        data["text/plain"] = repr(self)
        html = self.fallback_html()
        if html and len(html.encode()) <= FALLBACK:
            data["text/html"] = html
        return data, metadata


class Waitable(View):
    """Base of views that draw what Python assigns in the background."""

    # what an assignment of Python's started: its job, and what settles it (see ``_when_done``)
    _pending: tuple[Job[Any], Callable[[], None]] | None = None

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


def ref(view: View) -> str:
    """How a view is named in the state of another one."""
    return f"anywidget:{view.model_id}"


def _to_json(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {k: _to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(v) for v in value]
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {"base64"}:
            return base64.b64decode(value["base64"], validate=True)
        return {k: _from_json(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_from_json(v) for v in value]
    return value
