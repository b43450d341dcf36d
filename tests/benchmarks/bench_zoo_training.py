"""What each trick of the zoo's training buys, in tokens per second against the naive loop.

    python -m tests.benchmarks.bench_zoo_training [--pairs 8 --threads 1]

Baseline: the same model and batch in float32 with ``torch.nn.functional.cross_entropy`` over all
logits at once and PyTorch's default AdamW. Rows add one trick after another; ``speed`` is tokens
per second, with / without, in interleaved pairs of one optimiser step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from neuroglass.recipes.language_model import build, optimiser
from neuroglass.recipes.loss import linear_cross_entropy
from neuroglass.recipes.zoo import MODELS, VOCABULARY
from tests.benchmarks.common import arguments, emit, pairs, ratio

RECIPE = MODELS["A"]


def stepper(*, fused: bool, low_trunk: bool, loss: str) -> Callable[[], object]:
    """One training step; `loss` is "whole", "float32" or "bfloat16" (chunked)."""
    hf = build(replace(RECIPE), VOCABULARY)
    adam = optimiser(hf, RECIPE) if fused else torch.optim.AdamW(hf.parameters(), lr=RECIPE.lr)
    chance = torch.Generator().manual_seed(0)

    def step() -> None:
        windows = torch.randint(VOCABULARY, (RECIPE.rows, RECIPE.context + 1), generator=chance)
        wanted = windows[:, 1:].flatten()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low_trunk):
            x = hf.transformer(input_ids=windows[:, :-1], use_cache=False).last_hidden_state
        x = x.float().flatten(0, 1)
        if loss == "whole":
            found = torch.nn.functional.cross_entropy(hf.lm_head(x), wanted)
        else:
            found = linear_cross_entropy(x, hf.lm_head.weight, wanted, dtype=getattr(torch, loss))
        adam.zero_grad()
        found.backward()
        torch.nn.utils.clip_grad_norm_(hf.parameters(), RECIPE.clip)
        adam.step()

    return step


def main() -> None:
    given = arguments(pairs=8, threads=1)
    torch.set_num_threads(given.threads)
    naive = stepper(fused=False, low_trunk=False, loss="whole")
    cases = {
        "fused AdamW": stepper(fused=True, low_trunk=False, loss="whole"),
        "+ loss in chunks": stepper(fused=True, low_trunk=False, loss="float32"),
        "+ logits and their gradients in bfloat16": stepper(
            fused=True, low_trunk=False, loss="bfloat16"
        ),
        "+ the rest under bfloat16 autocast": stepper(fused=True, low_trunk=True, loss="bfloat16"),
    }
    size = RECIPE.rows * RECIPE.context
    for what, step in cases.items():
        taken = pairs(naive, step, given.pairs)
        for clock in ("cpu", "wall"):
            found = ratio([(ours, base) for base, ours in taken[clock]])
            emit(
                what=f"{what} / naive, {clock} time",
                threads=given.threads,
                speed=found["ratio"],
                speed_low95=found["low95"],
                speed_high95=found["high95"],
                pairs=found["pairs"],
                tokens_per_second=round(size / min(ours for _, ours in taken[clock])),
                naive_tokens_per_second=round(size / min(base for base, _ in taken[clock])),
            )


if __name__ == "__main__":
    main()
