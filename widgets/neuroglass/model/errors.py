"""Errors that say what was wrong and what to do about it.

Every error that a user can cause is one of these: ``message`` says what was wrong, ``hint`` what to
do. Both halves travel to the browser unchanged, so a widget shows the same words as a cell.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NeuroglassError(Exception):
    """Base of our errors: ``message`` (what was wrong) and ``hint`` (what to do, may be empty)."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InputError(NeuroglassError, ValueError):
    """A value given by the user can't be used."""


class ModelLoadError(NeuroglassError, RuntimeError):
    """A model can't be loaded, or is not what its config says."""


class MissingExtraError(NeuroglassError, ImportError):
    """An optional dependency is missing; the hint names the extra."""


def nearest(name: object, valid: Iterable[object], n: int = 3) -> str:
    """Name the entries of `valid` that look most like `name`, for the end of an error message."""
    options = [str(v) for v in valid]
    close = difflib.get_close_matches(str(name), options, n=n, cutoff=0.4)
    if close:
        return "Did you mean " + " or ".join(repr(c) for c in close) + "?"
    shown = ", ".join(repr(o) for o in options[:12])
    more = f" and {len(options) - 12} more" if len(options) > 12 else ""
    return f"Valid: {shown}{more}."


def describe(error: BaseException) -> dict[str, str]:
    """Turn any error into ``{type, message, hint}``, the form that goes to the browser."""
    if isinstance(error, NeuroglassError):
        return {"type": type(error).__name__, "message": error.message, "hint": error.hint}
    return {"type": type(error).__name__, "message": str(error) or repr(error), "hint": ""}
