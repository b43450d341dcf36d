"""``ng.beside``: views side by side, as one view.

Views flow in; their names flow to the page, whose host draws each in a slot. Where a host can't
place one widget inside another, an ipywidgets box shows the same.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Self

import ipywidgets
import traitlets as t

from neuroglass.model.errors import InputError
from neuroglass.views.base import FALLBACK, View, bundle, ref
from neuroglass.views.link import Link


class Beside(View):
    """Views side by side where there is room, below each other where there is none.

    Args:
        *views: any views, also other ``Beside``.

    Traits:
        views: settable.

    Raises:
        InputError: something is no view, or stands in it twice.
    """

    _esm = bundle("beside", "js")
    _css = bundle("beside", "css")

    views: t.List[Any] = t.List(t.Instance(View)).tag(
        sync=True,
        to_json=lambda views, _: [ref(view) for view in views],
        from_json=lambda _, beside: beside.views,  # the page can't make views
    )

    def __init__(self, *views: View, **traits: Any) -> None:
        super().__init__(views=_checked(traits.pop("views", views)), **traits)

    @t.validate("views")
    def _check_views(self, proposal: Any) -> list[View]:
        return _checked(proposal["value"])

    def hosted(self) -> Sequence[View]:
        """The views that stand in it."""
        return tuple(self.views)

    def as_box(self) -> ipywidgets.HBox:
        """The same as an ipywidgets box, for hosts that can't place a widget inside another."""
        children = [v.as_box() if isinstance(v, Beside) else v for v in self.views]
        return ipywidgets.HBox(children, layout=ipywidgets.Layout(flex_flow="row wrap"))

    @property
    def state(self) -> dict[str, Any]:
        """As of every view: with the states of all views in it, and the links among them."""
        places = {ref(view): i for i, view in enumerate(self.views)}
        linked: dict[tuple[str, tuple[int, ...]], None] = {}  # in order, each once
        for view in self.views:
            for one in view._links:
                refs = [r for r in (ref(view), *one["refs"]) if r in places]
                if len(refs) > 1:
                    linked[one["name"], tuple(sorted(places[r] for r in refs))] = None
        return super().state | {
            "views": [{"kind": _kind(view), "state": view.state} for view in self.views],
            "links": [{"name": name, "views": list(among)} for name, among in linked],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], model: Any = None, bases: Any = ()) -> Self:
        """The views that `state` describes, linked as they were; live with a `model`."""
        rest = {k: v for k, v in state.items() if k not in {"views", "links"}}
        made = super().from_state(rest)
        views = []
        for one in state["views"]:
            kind = _class_of(one["kind"])
            takes = inspect.signature(kind.from_state).parameters
            more = {k: v for k, v in (("model", model), ("bases", bases)) if k in takes}
            views.append(kind.from_state(one["state"], **more))
        made.views = views
        for name, among in _together(state.get("links", [])).items():
            Link(tuple(views[i] for i in name), tuple(among))
        return made

    def __repr__(self) -> str:
        return f"Beside({', '.join(repr(view) for view in self.views)})"

    def fallback_html(self) -> str:
        """The pictures of the views, as many as there is room for; says what it leaves out."""
        parts: list[str] = []
        room = FALLBACK - 200
        for view in self.views:
            part = view.fallback_html()
            if (room := room - len(part.encode())) < 0:
                parts.append(f"<p>{len(self.views) - len(parts)} more views are not shown.</p>")
                break
            parts.append(part)
        return "".join(parts)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_(**kwargs)
        if not can_host():
            self._box = self.as_box()  # kept, or its model would go away
            boxed = self._box._repr_mimebundle_(**kwargs)
            data |= {k: v for k, v in boxed.items() if k not in data or k.startswith("application")}
        return data, metadata


def beside(*views: View, **traits: Any) -> Beside:
    """Put views side by side: ``ng.beside(a, b)``; ``.to_html(path)`` writes them as one page.

    Args:
        *views: any views, also other ``beside``.
        **traits: ``theme``.

    Raises:
        InputError: something is no view, or stands in it twice.
    """
    return Beside(*views, **traits)


def can_host() -> bool:
    """The front end can place a widget inside another, as far as Python can know.

    Colab shows every output in a frame of its own, and VS Code loads whatever version of
    anywidget's front end it finds: both get a box.
    """
    if "marimo" in sys.modules:
        return True  # it hosts widgets, and has no boxes
    if "google.colab" in sys.modules or "VSCODE_PID" in os.environ:
        return False
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return "__vsc_ipynb_file__" not in getattr(shell, "user_ns", {})


def _checked(views: Sequence[Any]) -> list[View]:
    for view in views:
        if not isinstance(view, View):
            raise InputError(
                f"A {type(view).__name__} is no view of neuroglass.",
                "Other widgets stand beside a view in an ipywidgets.HBox.",
            )
    if len({id(view) for view in views}) < len(views):
        raise InputError("The same view stands there twice.", "Make a second one.")
    return list(views)


def _kind(view: View) -> str:
    """Names a view's class in a state: its module in ``views`` and its name."""
    kind = type(view)
    return f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"


def _class_of(kind: str) -> type[View]:
    """The class of a name out of a file: only ever a view of ours."""
    if re.fullmatch(r"[a-z_]+\.[A-Za-z]+", kind):
        module, name = kind.split(".")
        try:
            found = getattr(importlib.import_module(f"neuroglass.views.{module}"), name, None)
        except ModuleNotFoundError:
            found = None
        if isinstance(found, type) and issubclass(found, View):
            return found
    raise InputError(f"This is no state of views: there is no view {kind!r}.")


def _together(links: Sequence[Mapping[str, Any]]) -> dict[tuple[int, ...], list[str]]:
    made: dict[tuple[int, ...], list[str]] = {}
    for one in links:
        made.setdefault(tuple(one["views"]), []).append(one["name"])
    return made
