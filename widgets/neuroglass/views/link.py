"""``ng.link``: views that follow each other.

A change of a linked trait, from the browser or from Python, flows to the other views once and
never comes back. Where no kernel is left (exported pages), the views do the same in the page:
what was linked is written in each one's state.
"""

from __future__ import annotations

from typing import Any

import traitlets as t

from neuroglass.model.errors import InputError, NeuroglassError, nearest
from neuroglass.views.base import View, ref

DEFAULT = ("token",)


class Link:
    """Traits of views that are kept equal, until ``unlink()``.

    Attributes:
        views: the linked views.
        names: the linked traits.
    """

    def __init__(self, views: tuple[View, ...], names: tuple[str, ...]) -> None:
        self.views = views
        self.names = names
        self._passing: set[str] = set()
        self._on = True
        first, *others = views
        for view in others:
            for name in names:
                setattr(view, name, getattr(first, name))
        for view in views:
            view.observe(self._follow, names=list(names))
            view._links = [*view._links, *self._written(view)]

    def unlink(self) -> None:
        """Let the views go their own ways; again is no error."""
        if not self._on:
            return
        self._on = False
        for view in self.views:
            view.unobserve(self._follow, names=list(self.names))
            left = list(view._links)
            for one in self._written(view):
                left.remove(one)
            view._links = left

    def __repr__(self) -> str:
        return f"Link({len(self.views)} views: {', '.join(self.names)})"

    def _written(self, view: View) -> list[dict[str, Any]]:
        """The link as this view's state has it; what stays in Python (edits) is not in there."""
        refs = [ref(other) for other in self.views if other is not view]
        synced = [name for name in self.names if view.trait_metadata(name, "sync")]
        return [{"name": name, "refs": refs} for name in synced]

    def _follow(self, change: Any) -> None:
        name = change["name"]
        with View._lock:
            if name in self._passing:  # what a view makes of it does not go back
                return
            self._passing.add(name)
            try:
                for view in self.views:
                    if view is not change["owner"]:
                        self._pass_on(view, name, change["new"])
            finally:
                self._passing.discard(name)

    def _pass_on(self, view: View, name: str, value: Any) -> None:
        try:
            setattr(view, name, value)
        except (NeuroglassError, t.TraitError) as error:
            view._show_error(error)  # told where it can't be followed; the others go on


def link(*views_and_names: View | str) -> Link:
    """Let views follow each other: ``ng.link(a, b)``, ``ng.link(a, b, c, "text", "token")``.

    Args:
        *views_and_names: two views or more, then names of traits that all of them have: ``token``
            (the position that is selected), ``text`` and ``edits`` (live views: each runs its
            model once per change), ``feature``, ``selected`` (row and position), ``theme``, …
            No name means ``token``: it is the one that every view of a text has. At first
            the others take what the first view has.

    Returns:
        One object; ``.unlink()`` ends it.

    Raises:
        InputError: fewer than two views, or one of them lacks a trait.
    """
    views = tuple(v for v in views_and_names if not isinstance(v, str))
    names = tuple(n for n in views_and_names if isinstance(n, str)) or DEFAULT
    for view in views:
        if not isinstance(view, View):
            raise InputError(
                f"A {type(view).__name__} is no view of neuroglass.",
                "For other widgets there is ipywidgets.link((a, 'text'), (b, 'value')).",
            )
    if len({id(view) for view in views}) < 2:
        raise InputError("A link needs two views or more.", "For example ng.link(a, b, 'text').")
    for view in views:
        valid = view.class_own_trait_names()
        for name in names:
            if name not in valid:
                raise InputError(
                    f"A {type(view).__name__} has no trait {name!r} to link.", nearest(name, valid)
                )
    return Link(views, tuple(dict.fromkeys(names)))
