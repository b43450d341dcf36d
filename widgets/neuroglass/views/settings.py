"""Settings as JSON: what a person pastes or a cell assigns, read with words for what is wrong.

Text or a mapping flows in; checked values of a view's traits flow out. One reader serves
``view.settings = ...`` and the panel in the page.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import traitlets as t

from neuroglass.model.errors import InputError, nearest

_DIGITS = 300  # of a whole number: more are no float
_COPIED = "Paste settings as they were copied."
_KINDS: tuple[tuple[type[t.TraitType[Any, Any]], str], ...] = (
    (t.Bool, "true or false"),
    (t.Int, "a whole number"),
    (t.Float, "a number"),
    (t.Unicode, "a text"),
)
_LISTS = {
    "sliders": "a list of sliders, each an object",
    "messages": "a list of messages, each an object with role and content",
}


def read(given: Mapping[str, Any] | str, known: Collection[str]) -> dict[str, Any]:
    """The JSON object that a text (or a mapping) is.

    Raises:
        InputError: no JSON, no object, a key that is not `known`.
    """
    data: Any = given
    if isinstance(given, str):
        try:
            data = json.loads(given, parse_int=_whole)
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            raise InputError(f"This is no JSON: {error.msg}, {where}.", _COPIED) from None
        except (ValueError, RecursionError) as error:
            raise InputError(f"This JSON can't be read: {error}.", _COPIED) from None
    if not isinstance(data, Mapping):
        raise InputError('Settings are a JSON object, {"name": value, …}.', _COPIED)
    for name in data:
        if name not in known:
            raise InputError(f"There is no setting {name!r}.", nearest(name, known))
    return dict(data)


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def value_of(owner: t.HasTraits, name: str, value: Any) -> Any:
    """A value for a trait, of the trait's own type.

    Raises:
        InputError: it is of another type.
    """
    trait: Any = owner.traits()[name]
    try:
        if isinstance(value, bool) and not isinstance(trait, t.Bool):
            raise t.TraitError  # Python counts true as 1
        return trait.validate(owner, value)
    except t.TraitError:
        kind = next((words for kind, words in _KINDS if isinstance(trait, kind)), None)
        kind = kind or _LISTS.get(name, "a list of texts")
        shown = json.dumps(value, ensure_ascii=False, default=repr)
        shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
        raise InputError(f"The setting {name!r} is {shown}.", f"It must be {kind}.") from None
