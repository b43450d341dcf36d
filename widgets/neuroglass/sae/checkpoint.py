"""What every training here keeps on disk: a checkpoint, whole or not at all, and its log."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def cut_log(file: Path, keep: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """Take out of a log what was written after the checkpoint: those steps are done again.

    Args:
        file: a JSON object a line; there may be none yet. A line that was cut short goes too.
        keep: whether a row stays.

    Returns:
        The rows that stay.
    """
    if not file.is_file():
        return []
    kept = [
        (line, row)
        for line in file.read_text("utf-8").splitlines()
        if (row := _row(line)) is not None and keep(row)
    ]
    scratch = file.with_suffix(".part")
    scratch.write_text("".join(f"{line}\n" for line, _ in kept), "utf-8")
    scratch.replace(file)
    return [row for _, row in kept]


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
