"""What a state of the gallery is, and which of them every exported view must have.

A view and what is peculiar about it flow in; the list of what is missing flows out. Dark is no
state: each is drawn in both themes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import neuroglass as ng
from neuroglass.views.base import View
from neuroglass.views.live import LiveView

Kind = Literal[
    "normal", "empty", "error", "long", "right to left", "narrow", "kernel gone", "another"
]
# ready: answers; running: acknowledges and never ends; waiting: acknowledges late; failing: answers
# a run with an error; gone: refuses what it is sent
Kernel = Literal["ready", "running", "waiting", "failing", "gone"]


@dataclass(frozen=True)
class State:
    """One view in one state.

    Attributes:
        title: what is to be seen, in words.
        view: the view; a live one is asked, while its model is there, what the page may ask later.
        changes: what the browser gets instead of the view's own traits.
        kind: which of the required states this is; "another" is one of the view's own.
        width: of the cell, in pixels; None: as wide as there is room.
        kernel: how the kernel behind the page behaves.
        asks: requests that the page will make and that the view answers beforehand.
        refused: requests likewise that the view answers with an error.
        act: JavaScript ``(root) => …`` that a person's hand stands behind: typing, pointing, keys.
            It can be done again without making a difference.
        room: pixels below the view for what hangs over its edge.
        readme: name of the README's picture that this state is; "" for none.
    """

    title: str
    view: View
    changes: dict[str, Any] = field(default_factory=dict)
    kind: Kind = "another"
    width: int | None = None
    kernel: Kernel = "ready"
    asks: tuple[dict[str, Any], ...] = ()
    refused: tuple[dict[str, Any], ...] = ()
    act: str = ""
    room: int = 0
    readme: str = ""

    @property
    def of(self) -> str:
        return type(self.view).__name__

    @property
    def name(self) -> str:
        """The name of its pictures."""
        words = self.title if self.kind in {"another", self.title} else f"{self.kind} {self.title}"
        return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")

    @property
    def status(self) -> str:
        """What the view must say of itself (``data-status``)."""
        if "_version" in self.changes:
            return "stale"
        if not self.changes.get("live", self.view.live):
            return "static"
        if self.changes.get("error") or self.kernel == "failing":
            return "failed"
        return "dead" if self.kernel == "gone" else self.kernel


def required(view: type[View]) -> set[Kind]:
    """The kinds of state that the gallery must show of a class of views."""
    kinds: set[Kind] = set(get_args(Kind)) - {"another"}
    return kinds if issubclass(view, LiveView) else kinds - {"kernel gone"}


def exported_views() -> set[type[View]]:
    """The classes of views that the public names are, or return."""
    public = [getattr(ng, name) for name in ng.__all__]
    known: dict[str, type[View]] = {}
    for cls in _below(View):  # anywidget makes each instance a class of its own, of the same name
        known.setdefault(cls.__name__, cls)
    found = {o for o in public if inspect.isclass(o) and issubclass(o, View)}
    for call in filter(inspect.isfunction, public):
        answer = str(inspect.signature(call).return_annotation)
        found |= {known[word] for word in re.findall(r"\w+", answer) if word in known}
    return found - {View, LiveView}


def missing(states: Iterable[State]) -> list[str]:
    """What the gallery does not show: ``"LogitLens: empty"``."""
    shown = {(state.of, state.kind) for state in states}
    return sorted(
        f"{view.__name__}: {kind}"
        for view in exported_views()
        for kind in required(view)
        if (view.__name__, kind) not in shown
    )


def _below(cls: type[View]) -> Iterator[type[View]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _below(sub)
