"""``ng.link``: two views that follow each other."""

from __future__ import annotations

import traitlets as t

from neuroglass.model.errors import InputError
from neuroglass.views.base import View


def link(a: View, b: View, *names: str) -> list[t.link]:
    """Keep traits of two views equal, both ways; `names` default to ``selected``.

    Returns:
        One link per trait; ``.unlink()`` ends it.

    Raises:
        InputError: a view lacks the trait.
    """
    wanted = names or ("selected",)
    for view in (a, b):
        for name in wanted:
            if not view.has_trait(name):
                raise InputError(f"A {type(view).__name__} has no trait {name!r} to link.")
    return [t.link((a, name), (b, name)) for name in wanted]
