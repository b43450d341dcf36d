"""Events of a steering session, and sweeps, as plain JSON: what streams to the browser.

A frame is its events in a list, so a text that streams in and one that was saved are drawn alike.
Numbers keep five digits; what is missing is null.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from neuroglass.steering.setting import MODES
from neuroglass.steering.strength import UNITS

if TYPE_CHECKING:
    from neuroglass.steering.dose import DoseResponse
    from neuroglass.steering.session import Event, Side


def number(value: float) -> float | None:
    """Five digits; null for what is no number: JSON has none."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def numbers(values: torch.Tensor) -> list[Any]:
    """Nested lists of ``number``."""
    if values.ndim > 1:
        return [numbers(v) for v in values]
    return [number(v) for v in values.tolist()]


def event_json(event: Event) -> dict[str, Any]:
    """One token of both texts; the names are those of ``WireEvent`` in steer/wire.ts."""
    return {
        "i": event.index,
        "base": _side(event.base),
        "steered": _side(event.steered),
        "kl": numbers(event.kl),
        "plain": numbers(event.base_logprobs),
        "ranks": [event.base_ranks.tolist(), event.ranks.tolist()],
        "perplexity": numbers(event.perplexity),
        "divergence": event.divergence,
        "change": {site: numbers(v) for site, v in event.change.items()},
        "active": {name: numbers(v) for name, v in event.activations.items()},
        "chosen": numbers(event.chosen) if event.chosen.numel() else [],
        "chosen_ranks": event.chosen_ranks.tolist() if event.chosen.numel() else [],
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "ids": side.tokens.tolist(),
        "pieces": side.pieces,
        "logprobs": numbers(side.logprobs),
        "ended": side.ended.tolist(),
    }


def sweep_json(
    response: DoseResponse, label: str, prompt: str, temperature: float
) -> dict[str, Any]:
    """A dose–response for the chart in the page, with every text in it."""

    def point(value: float | None) -> dict[str, Any]:
        return {
            "value": value,
            "concept": number(response._median("concept", value)),
            "perplexity": number(math.exp(response._median("surprisal", value))),
            "distinct": number(response._median("distinct", value)),
            "fluent": value is None or response.fluent(value),
            "texts": [t.text for t in response.texts if t.value == value],
        }

    setting = response.setting
    return {
        "label": label,
        "mode": setting.mode,
        "formula": MODES[setting.mode],
        "unit": setting.unit,
        "unit_name": UNITS[setting.unit],
        "prompt": prompt,
        "temperature": temperature,
        "concept": f"mean activation of {label} in the text",
        "base": point(None),
        "points": [point(v) for v in response.values],
        "knees": [k for k in (response.knee(negative=True), response.knee()) if k is not None],
    }


def doses(largest: float, neutral: float = 0.0) -> list[float]:
    """Strengths for a sweep where none are named: eight up to `largest`, closer near `neutral`."""
    steps: Sequence[float] = (1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 1)
    return [float(f"{neutral + (largest - neutral) * s:.4g}") for s in steps]
