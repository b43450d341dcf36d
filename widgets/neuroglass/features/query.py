"""What is asked of a store's features: each condition, refused with words where it can't be met."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self

from neuroglass.features.annotations import RATINGS
from neuroglass.model.errors import InputError, nearest

if TYPE_CHECKING:
    from neuroglass.features.store import Store

FLAGS = ("dead", "ultralow", "not finite")
BY = ("max", "sum")


@dataclass(frozen=True)
class Query:
    """Conditions on features; all of them must hold. What is left empty does not matter.

    Attributes:
        explanation: words that the best explanation has, in any order; case does not matter.
        token: on at this token (its piece, as " the", or its id).
        logit: this token is among those whose logits the feature raises or lowers most.
        text: on within this text in one of its examples; case does not matter.
        density: from and to, both included.
        flags: has all of these: "dead", "ultralow", "not finite".
        without: has none of these.
        list: stands on this list.
        rating: from and to, both included; features without a rating do not fit.
        prompt: on at this text; needs the live model.
        tokens: which tokens of the prompt count, by position; empty: all that are not special or
            massive.
        by: the value on a prompt is the "max" or the "sum" over its tokens.
        bos: whether a BOS token counts.
    """

    explanation: str = ""
    token: str | int = ""
    logit: str | int = ""
    text: str = ""
    density: tuple[float, float] | None = None
    flags: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    list: str = ""
    rating: tuple[int, int] | None = None
    prompt: str = ""
    tokens: tuple[int, ...] = ()
    by: str = "max"
    bos: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any] | Query, store: Store) -> Self:
        """A query out of a dict, as a person or a page wrote it.

        Raises:
            InputError: a condition that there is not, or whose value says nothing.
        """
        if isinstance(given, Query):
            given = given.wire
        if not isinstance(given, Mapping):
            raise InputError(
                f"A query is a dict of conditions, not {given!r}.", "{'token': ' the'}, say."
            )
        known = {f.name: f.default for f in fields(cls)}
        made: dict[str, Any] = {}
        for name, value in given.items():
            if name not in known:
                raise InputError(f"There is no condition {name!r}.", nearest(name, known))
            if value is None or value == known[name] or value in ([], ""):
                continue
            made[name] = _READ[name](name, value)
        query = cls(**made)
        if query.list and query.list not in (lists := store.annotations.lists()):
            hint = nearest(query.list, lists) if lists else "store.annotations.put makes one."
            raise InputError(f"There is no list {query.list!r}.", hint)
        return query

    @property
    def wire(self) -> dict[str, Any]:
        """The conditions that were given, as JSON."""
        found: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if f.default is not MISSING and value != f.default:
                found[f.name] = list(value) if isinstance(value, tuple) else value
        return found


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"{name}={value!r} is no text.")
    return value


def _token(name: str, value: Any) -> str | int:
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return _text(name, value)


def _range(name: str, value: Any) -> tuple[float, float]:
    given = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    if len(given) == 2 and all(isinstance(v, Real) for v in given):
        low, high = map(float, given)
        if low <= high and not math.isnan(low + high):
            return low, high
    raise InputError(f"{name}={value!r} is no range: from, to.", "density=(1e-5, 0.01), say.")


def _density(name: str, value: Any) -> tuple[float, float]:
    low, high = _range(name, value)
    if low > 1 or high < 0:
        raise InputError(f"{name}={value!r}: a density is a share, 0 to 1.")
    return low, high


def _rating(name: str, value: Any) -> tuple[int, int]:
    low, high = _range(name, value)
    if low != int(low) or high != int(high) or low > RATINGS[1] or high < RATINGS[0]:
        raise InputError(f"{name}={value!r}: ratings go from 1 to 5.", "rating=(4, 5), say.")
    return int(low), int(high)


def _flags(name: str, value: Any) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else list(value)
    for one in given:
        if one not in FLAGS:
            raise InputError(f"There is no flag {one!r}.", nearest(one, FLAGS))
    return tuple(given)


def _positions(name: str, value: Any) -> tuple[int, ...]:
    whole = isinstance(value, Sequence) and not isinstance(value, str)
    if not whole or not all(isinstance(v, Integral) and int(v) >= 0 for v in value):
        raise InputError(f"{name}={value!r} are no positions of tokens.", "tokens=(3, 4), say.")
    return tuple(map(int, value))


def _by(_: str, value: Any) -> str:
    if value not in BY:
        raise InputError(f"by={value!r} is not known.", nearest(value, BY))
    return str(value)


def _bool(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{name}={value!r} is neither True nor False.")
    return value


_READ = {
    "explanation": _text, "token": _token, "logit": _token, "text": _text, "density": _density,
    "flags": _flags, "without": _flags, "list": _text, "rating": _rating, "prompt": _text,
    "tokens": _positions, "by": _by, "bos": _bool,
}  # fmt: skip
