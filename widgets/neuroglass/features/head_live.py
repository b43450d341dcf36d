"""One attention head on a text of one's own: who reads whom, how much is written, and what it says.

A text flows in; attention, value norms and the head's value vectors flow out. They are what the
model computes on that text; nothing is estimated.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from neuroglass.features.heads import written_norms
from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    from neuroglass.model.basis import Head
    from neuroglass.model.directions import LogitEffect
    from neuroglass.model.worker import Job


@dataclass(frozen=True)
class Reading:
    """A head on one text.

    Attributes:
        ids: int64 [tokens].
        pattern: float32 [query, key]: attention after softmax.
        written: float32 [query, key]: ‖A·v·W_O‖, what the key's token writes at the query's.
        values: float32 [tokens, d_head]: v, the bias of the value matrix in it.
        scale: float32 [tokens]: that of the final norm at each token; ones without a final norm.
        total: how many tokens the text has; the rest are left out.
    """

    head: Head
    ids: list[int]
    pattern: torch.Tensor = field(repr=False)
    written: torch.Tensor = field(repr=False)
    values: torch.Tensor = field(repr=False)
    scale: torch.Tensor = field(repr=False)
    total: int

    def says(self, key: int) -> LogitEffect:
        """What a token adds to the logits where this head attends to it, and to nothing else.

        v·W_O (after any post-norm at scale 1) through the final norm with the scale that it has at
        this token, times W_U: the direct path, norms frozen, as for features; layers after the
        head's are passed by. With attention A, A times that (and the querying token's scale).

        Raises:
            InputError: no such token.
        """
        if not 0 <= key < len(self.ids):
            raise InputError(f"The text has no token {key}.", f"They end at {len(self.ids) - 1}.")
        direction = self.head.to_residual(self.values[key]) * self.scale[key]
        return self.head.model.unembed(direction)


def read(head: Head, text: str, job: Job[Any], most: int) -> Generator[None, None, Reading]:
    """Steps of a job that reads a text; the first `most` tokens are kept."""
    model, layer = head.model, head.layer
    last = f"resid_post.{model.n_layers - 1}"
    sites = [f"pattern.{layer}", f"v.{layer}", last]
    run = yield from model.steps(text, sites, job, logits=False)
    n = min(most, run.tokens.shape[1])
    scale = torch.ones(n)
    if model.final_norm is not None:
        scale = model.final_norm.scale(run[last][0, :n])[:, 0].float().cpu()
    return Reading(
        head,
        run.tokens[0, :n].tolist(),
        run[f"pattern.{layer}"][0, head.index, :n, :n].float().cpu(),
        written_norms(run, head)[0, :n, :n].cpu(),
        run[f"v.{layer}"][0, :n, head.kv_head].float(),
        scale,
        run.tokens.shape[1],
    )
