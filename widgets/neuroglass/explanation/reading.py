"""Prompts read in pieces, on the model's thread: for judges, which must never be in the way.

A piece is one forward pass of a bounded number of tokens into a KV cache. Between pieces a more
urgent job goes first, and a piece is short. No edit is applied: a judge is not what is studied.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from neuroglass.model.live import LiveModel
    from neuroglass.model.worker import Job

PIECE = 256  # tokens of one forward pass, rows together, on a processor; about half a second
PIECE_GPU = 8192


def opened(model: LiveModel) -> Any:
    """An empty KV cache for `model`."""
    from transformers import DynamicCache

    return DynamicCache(config=model.hf.config)


def read(
    model: LiveModel,
    rows: Sequence[Sequence[int]],
    cache: Any,
    job: Job[Any],
    check: Callable[[], None] = lambda: None,
    *,
    at: tuple[Sequence[int], Sequence[int]] | None = None,
    keep: Callable[[torch.Tensor], torch.Tensor] | None = None,
    piece: int | None = None,
) -> Generator[None, None, torch.Tensor]:
    """Read rows of ids on from `cache`, in passes of at most `piece` tokens.

    Rows are padded on the right with their own last token: what is causal does not see what comes
    later, so that no mask is needed. The cache then holds the padding too.

    Args:
        rows: of one or of different lengths.
        cache: has been read by as many rows, and is read on.
        check: called at each piece; may raise to end the job.
        at: rows and columns of the logits that are wanted, as two lists of one length; columns
            count from the beginning of `rows`.
        keep: what to keep of logits, [places, vocabulary] -> [places, anything]; None: all.
        piece: tokens of one pass, rows together; None: as fits the device.

    Returns:
        What was kept of the logits in the order of `at`, on the processor; empty without `at`.
    """
    if piece is None:
        piece = PIECE if model.hf.device.type == "cpu" else PIECE_GPU
    width = max(map(len, rows))
    if not width:
        return torch.zeros(0, 0)
    whole = torch.tensor([[*r, *[r[-1] if r else 0] * (width - len(r))] for r in rows])
    step = max(1, piece // len(rows))
    wanted = torch.tensor(at if at is not None else ([], []), dtype=torch.int64).view(2, -1)
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    for start in range(0, width, step):
        yield
        job.check()
        check()
        part = whole[:, start : start + step].to(model.hf.device)
        here = ((wanted[1] >= start) & (wanted[1] < start + step)).nonzero()[:, 0]
        places = wanted[:, here] - torch.tensor([[0], [start]])
        with torch.no_grad(), _logits_at(model, places) as picked:
            out = model.hf(input_ids=part, past_key_values=cache, use_cache=True)
            if len(here):
                logits = picked(out.logits)
                found.append((here, (keep(logits) if keep is not None else logits).cpu()))
    if not found:
        return torch.zeros(0, 0)
    order = torch.cat([here for here, _ in found]).argsort()
    return torch.cat([values for _, values in found])[order]


@contextmanager
def _logits_at(
    model: LiveModel, places: torch.Tensor
) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
    """While a pass runs, the output matrix sees only some places: logits are most of the memory.

    All that is done to logits is done to each alone (scale, soft-cap), so that those that are left
    are what they would be.
    """
    head = model.hf.get_output_embeddings()
    row, column = (p.to(model.hf.device) for p in places)

    def picked(x: torch.Tensor) -> torch.Tensor:
        # without any place, one all the same: no module needs to bear an empty tensor
        return x[row, column][None] if len(row) else x[:1, -1:]

    if head is None:
        yield lambda logits: logits[row, column]
        return
    handle = head.register_forward_pre_hook(lambda _, args: (picked(args[0]), *args[1:]))
    try:
        yield lambda logits: logits[0]
    finally:
        handle.remove()
