"""A run as the browser reads it: the token sequence with what the model made of each token."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from neuroglass.model.run import Run
from neuroglass.views.codec import pack
from neuroglass.views.frame import sequence

TOP = 5  # predictions per token


def sequence_of(run: Run, *, top: int = TOP) -> dict[str, Any]:
    """The run's first text, as a frame's sequence; `top` predictions per token, 0: none."""
    pieces, kinds = run.pieces()
    return sequence(
        pieces,
        kinds,
        ids=run.tokens[0].tolist(),
        masked=mask_bits(run),
        logprobs=run.logprobs[0].numpy(),
        entropy=run.entropy[0].numpy(),
        top=_top(run, top) if top else None,
    )


def mask_bits(run: Run) -> npt.NDArray[np.uint8]:
    """Why a token of the first text is not counted: 1 BOS, 2 special, 4 massive; 0: it is."""
    bits = sum(
        run.masks[name][0].to(torch.uint8) * bit
        for name, bit in (("bos", 1), ("special", 2), ("massive", 4))
    )
    assert isinstance(bits, torch.Tensor)
    return np.asarray(bits.cpu().numpy())


def _top(run: Run, k: int) -> dict[str, Any]:
    ids, logprobs = run.top(k)
    known = {int(i): run.piece(int(i)) for i in np.unique(ids.cpu().numpy())}
    return {
        "ids": pack(ids[0].cpu().numpy(), "i32"),
        "logprobs": pack(logprobs[0].cpu().numpy()),
        "pieces": {str(i): piece for i, piece in known.items()},
    }
