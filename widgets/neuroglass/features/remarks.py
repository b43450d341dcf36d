"""The rows of annotations: which fields each kind has, checked when written and when read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["explanations", "scores", "ratings", "notes", "lists"]

_ALL: dict[str, type | tuple[type, ...]] = {
    "id": str, "feature": int, "author": str, "created": str,
}  # fmt: skip
_FIELDS: dict[Kind, dict[str, type | tuple[type, ...]]] = {
    "explanations": {"text": str, "parent": str},
    "scores": {"explanation": str, "name": str, "value": (int, float, type(None))},
    "ratings": {"value": (int, type(None))},
    "notes": {"text": str},
    "lists": {"name": str, "on": bool},
}


def checked(kind: Kind, row: Any) -> dict[str, Any]:
    """A row that has what its kind needs.

    Raises:
        ValueError: it lacks a field, or has one of another type.
    """
    if not isinstance(row, Mapping):
        raise ValueError("it is no object")
    for name, types in (_ALL | _FIELDS[kind]).items():
        if not isinstance(row.get(name), types):
            raise ValueError(f"it has no usable {name!r}")
    if isinstance(row.get("value"), float) and not math.isfinite(row["value"]):
        raise ValueError("a score that is no number is None")
    if row["feature"] < 0:
        raise ValueError("it is of a feature below 0")
    return dict(row)


def number(value: Any) -> float | None:
    """A finite number as JSON has it; None for what is none."""
    try:
        made = float(value)
    except (TypeError, ValueError):
        return None
    return made if math.isfinite(made) else None
