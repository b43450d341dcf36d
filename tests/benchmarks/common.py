"""What the benchmarks share: real text, interleaved pairs, a bootstrap interval, peak memory."""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import statistics
import sysconfig
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def english(characters: int) -> str:
    """Real English prose: docstrings of the standard library."""
    parts: list[str] = []
    size = 0
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                text = ast.get_docstring(node) or ""
                if len(text) > 120:
                    parts.append(text)
                    size += len(text)
        if size > characters:
            break
    return "\n\n".join(parts)[:characters]


def prompt(model: Any, rows: int, context: int) -> Any:
    """Token ids [rows, context] of real text."""
    import torch

    ids = model.tokenizer(english(rows * context * 8), verbose=False)["input_ids"]
    return torch.tensor(ids[: rows * context]).view(rows, context)


Seconds = list[tuple[float, float]]  # (baseline, ours) per pair


def pairs(
    base: Callable[[], Any], ours: Callable[[], Any], n: int, warm: int = 2
) -> dict[str, Seconds]:
    """Wall and CPU seconds of `n` interleaved pairs; who goes first alternates.

    CPU time is the steadier of the two on a shared machine: waiting for a core is not in it.
    """
    for _ in range(warm):
        base()
        ours()
    taken: dict[str, Seconds] = {"wall": [], "cpu": []}
    for i in range(n):
        wall, cpu = [0.0, 0.0], [0.0, 0.0]
        for which in (0, 1) if i % 2 else (1, 0):
            start = time.perf_counter(), time.process_time()
            (base, ours)[which]()
            wall[which] = time.perf_counter() - start[0]
            cpu[which] = time.process_time() - start[1]
        taken["wall"].append((wall[0], wall[1]))
        taken["cpu"].append((cpu[0], cpu[1]))
    return taken


def ratio(taken: Sequence[tuple[float, float]], draws: int = 10_000) -> dict[str, float]:
    """Median of ours/base over pairs, with a 95 % bootstrap interval (pairs resampled)."""
    each = [ours / base for base, ours in taken]
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(each, k=len(each))) for _ in range(draws))
    return {
        "ratio": round(statistics.median(each), 4),
        "low95": round(medians[int(draws * 0.025)], 4),
        "high95": round(medians[int(draws * 0.975)], 4),
        "pairs": len(each),
    }


def peak_bytes() -> int:
    """Peak resident memory since the last ``reset_peak``."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def reset_peak() -> None:
    """Forget the peak so far (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def emit(**row: Any) -> None:
    """Print one JSON line, with the machine's load beside it."""
    print(json.dumps({**row, "load": round(os.getloadavg()[0], 1)}), flush=True)


def arguments(**defaults: int) -> argparse.Namespace:
    """Command-line options with integer defaults."""
    parser = argparse.ArgumentParser()
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    return parser.parse_args()
