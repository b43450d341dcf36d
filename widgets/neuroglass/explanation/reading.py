"""Prompts read in pieces, on the model's thread: for judges, which must never be in the way.

A piece is one forward pass of a bounded number of tokens, read on from a KV cache. If more urgent
work comes, a piece stops between two layers and is done again later. No edit is applied: a judge is
not what is studied.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from neuroglass.model.worker import Preempted

if TYPE_CHECKING:
    from neuroglass.model.live import LiveModel
    from neuroglass.model.worker import Job

PIECE = 2048  # tokens of one forward pass, rows together


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
    piece: int = PIECE,
) -> Generator[None, None, tuple[torch.Tensor, Any]]:
    """Read rows of ids on from `cache`, in passes of at most `piece` tokens.

    Rows are padded on the right with their own last token: what is causal does not see what comes
    later, so that no mask is needed. The new cache then holds the padding too.

    Args:
        rows: of one or of different lengths.
        cache: has been read by as many rows; it stays as it is.
        check: called at each piece; may raise to end the job.
        at: rows and columns of the logits that are wanted, as two lists of one length; columns
            count from the beginning of `rows`.
        keep: what to keep of logits, [places, vocabulary] -> [places, anything]; None: all.
        piece: tokens of one pass, rows together.

    Returns:
        What was kept of the logits in the order of `at`, on the processor (empty without `at`), and
        the cache after these rows.
    """
    width = max(map(len, rows))
    whole = torch.tensor([[*r, *[r[-1] if r else 0] * (width - len(r))] for r in rows])
    step = max(1, piece // len(rows))
    wanted = torch.tensor(at if at is not None else ([], []), dtype=torch.int64).view(2, -1)
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    start = 0
    while start < width:
        yield
        job.check()
        check()
        part = whole[:, start : start + step].to(model.hf.device)
        here = ((wanted[1] >= start) & (wanted[1] < start + step)).nonzero()[:, 0]
        places = wanted[:, here] - torch.tensor([[0], [start]])
        grown = deepcopy(cache)
        try:
            with torch.no_grad(), _watched(model, job), _logits_at(model, places) as picked:
                out = model.hf(input_ids=part, past_key_values=grown, use_cache=True)
                if len(here):
                    logits = picked(out.logits)
                    found.append((here, (keep(logits) if keep is not None else logits).cpu()))
        except Preempted:
            continue
        cache, start = grown, start + step
    if not found:
        return torch.zeros(0, 0), cache
    order = torch.cat([here for here, _ in found]).argsort()
    return torch.cat([values for _, values in found])[order], cache


@contextmanager
def _watched(model: LiveModel, job: Job[Any]) -> Iterator[None]:
    """While a pass runs, it stops at a layer if it was cancelled or is in the way."""
    look = partial(job.check, preempt=True)
    with ExitStack() as scope:
        for block in model.hf.get_submodule(model.family.blocks).children():
            scope.callback(block.register_forward_pre_hook(lambda *_: look()).remove)
        yield


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
