"""A checkpoint on disk, whole or not at all: what every training here writes."""

from __future__ import annotations

import os
from pathlib import Path

import torch


def write_checkpoint(
    file: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]
) -> None:
    """Write a safetensors file beside `file`, then put it in its place.

    Raises:
        OSError: no space, no permission (safetensors may say it in words of its own); what was at
            `file` before is still there.
    """
    from safetensors.torch import save_file

    scratch = file.with_suffix(".part")
    try:
        save_file(tensors, scratch, metadata=metadata)
        with scratch.open("rb") as written:
            os.fsync(written.fileno())
    except Exception:
        scratch.unlink(missing_ok=True)  # the space is better used than by half a file
        raise
    scratch.replace(file)
