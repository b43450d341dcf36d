"""The toy model of superposition, whose true features are known: for tests and for a benchmark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from neuroglass.sae.learner import Learner
from neuroglass.sae.recipes import Recipe

Draw = Callable[[int], torch.Tensor]
P = 0.02  # chance that a feature is on


def world(features: int = 256, width: int = 64) -> tuple[torch.Tensor, Draw]:
    """True directions [features, width] of norm 1, and ``draw(n)``: sparse sums of them [n, width].

    A feature that is on counts with a weight that is uniform in [0, 1].
    """
    chance = torch.Generator().manual_seed(77)
    rows = torch.randn(features, width, generator=chance)
    rows /= rows.norm(dim=1, keepdim=True)

    def draw(n: int) -> torch.Tensor:
        on = torch.rand(n, features, generator=chance) < P
        return (on * torch.rand(n, features, generator=chance)) @ rows

    return rows, draw


def learner(recipe: Recipe, draw: Draw, **options: Any) -> Learner:
    """A recipe at its start on such a world."""
    x = draw(4096)

    def more(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        some = draw(n)
        return some, some

    return Learner(recipe, x, x, more=more, **options)


def train(made: Learner, draw: Draw) -> dict[str, float]:
    """All steps of its recipe; gives the last row of the log."""
    row: dict[str, float] = {}
    for _ in range(made.recipe.steps):
        batch = draw(made.recipe.batch)
        row = made.step(batch, batch)
    return row


def matches(rows: torch.Tensor, made: Learner) -> torch.Tensor:
    """For each true direction, the cosine of the decoder row that is nearest: [features]."""
    decoder = made.parameters["W_dec"].detach()
    decoder = decoder / decoder.norm(dim=1, keepdim=True)
    nearest: torch.Tensor = (rows @ decoder.T).max(1).values
    return nearest


def found(rows: torch.Tensor, made: Learner) -> float:
    """Share of true directions that a decoder row has at cosine 0.95 or more."""
    return float((matches(rows, made) >= 0.95).float().mean())
