"""Attention heads over a corpus: which (query, key) pairs move the most, by ‖A·v·W_O‖.

The norm of what a key's token writes through a head is what the Transformer Debugger calls
attention by value norm: large attention to a vector that is nearly zero does nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neuroglass.features.exact import hash_of, mix
from neuroglass.features.reservoir import Examples, Reservoir
from neuroglass.features.sketch import Batch, Keep, top_order

if TYPE_CHECKING:
    from neuroglass.model.basis import Head
    from neuroglass.model.run import Run


def written_norms(run: Run, head: Head) -> torch.Tensor:
    """‖A[t, s]·v_s·W_O‖ of one head: float32 [windows, to, from], zeros above the diagonal."""
    pattern = run[f"pattern.{head.layer}"][:, head.index].float()
    v = run[f"v.{head.layer}"][:, :, head.kv_head].float()
    written: torch.Tensor = (v @ head.w_out.float()).norm(dim=-1)
    return pattern * written[:, None, :]


class HeadSketch:
    """The top and random pairs of some heads; an example's one value stands at its key.

    The top has one pair of each window; pairs are drawn at random from all whose two tokens count.
    """

    def __init__(self, heads: list[Head], keep: Keep) -> None:
        self._heads = heads
        self._top = Reservoir(len(heads), keep.top)
        self._random = Reservoir(len(heads), keep.firing)

    def add(self, run: Run, keep: torch.Tensor, batch: Batch) -> None:
        """Take in a batch."""
        hashes = torch.zeros(keep.shape, dtype=torch.int64)
        hashes[keep.cpu()] = torch.from_numpy(batch.hash.view(np.int64))
        pairs = keep[:, :, None] & keep[:, None, :]
        pairs = pairs.tril().cpu()
        row, query, key = (a.numpy() for a in pairs.nonzero(as_tuple=True))
        of_query = hashes.numpy().view(np.uint64)[row, query]
        for group, head in enumerate(self._heads):
            value = written_norms(run, head)[pairs].cpu().numpy()
            value = np.where(np.isfinite(value), value, 0).astype(np.float32)
            window = batch.windows[row]
            order = top_order(value, window)
            best = np.flatnonzero(order < self._top.limit[group])
            best = best[np.lexsort((key[best], query[best], order[best], row[best]))]
            best = best[np.r_[True, row[best][1:] != row[best][:-1]][: len(best)]]
            drawn = mix(of_query ^ hash_of(head.layer, head.index, key))
            chance = np.flatnonzero(drawn < self._random.limit[group])
            self._top.offer(_pairs(group, order, window, query, key, value, best))
            self._random.offer(_pairs(group, drawn, window, query, key, value, chance))

    def drain(self) -> dict[str, np.ndarray[Any, Any]]:
        """All that was seen since the last time, as arrays by name; start anew."""
        kept = {"top": self._top.drain(), "random": self._random.drain()}
        return {f"{g}.{name}": a for g, e in kept.items() for name, a in vars(e).items()}


def _pairs(
    group: int, order: Any, window: Any, query: Any, key: Any, value: Any, chosen: Any
) -> Examples:
    return Examples(
        np.full(len(chosen), group),
        order[chosen],
        window[chosen],
        query[chosen].astype(np.int32),
        value[chosen],
        np.ones(len(chosen), np.int32),
        key[chosen].astype(np.uint16),
        value[chosen],
    )
