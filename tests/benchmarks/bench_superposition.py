"""How many true features each recipe finds in the toy model of superposition.

    python -m tests.benchmarks.bench_superposition [--tokens 800_000] [--seeds 1]

256 features in 64 dimensions, each on with p = 0.02 (5.1 a token), 512 latents, one budget for all.
*found* is the share of true directions that a decoder row has at cosine 0.95 or more. λ and α were
chosen on this world, so this shows what a recipe can do here, not what its defaults do elsewhere.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import torch

from neuroglass.sae.recipes import BatchTopK, JumpReLU, Recipe, TopK, TowardsMonosemanticity
from tests.benchmarks.common import emit
from tests.superposition import found, learner, matches, train, world

LATENTS, BATCH, RATE = 512, 512, 2e-3
RECIPES: dict[str, Recipe] = {
    "TopK": TopK(n_latents=LATENTS, k=5),
    "BatchTopK": BatchTopK(n_latents=LATENTS, k=5, aux=1 / 4),
    "BatchTopK, the paper's α": BatchTopK(n_latents=LATENTS, k=5),
    "JumpReLU": JumpReLU(n_latents=LATENTS, l0=0.02),
    "JumpReLU, the paper's bandwidth": JumpReLU(
        n_latents=LATENTS, l0=0.02, bandwidth=0.008, threshold=0.008
    ),
    "TowardsMonosemanticity": TowardsMonosemanticity(n_latents=LATENTS, l1=0.03),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=800_000)
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(given.seeds):
        rows, draw = world()
        start = learner(RECIPES["TopK"], draw)
        emit(recipe="random rows", seed=seed, found=found(rows, start))
        for name, chosen in RECIPES.items():
            rows, draw = world()
            recipe = replace(chosen, tokens=given.tokens, batch=BATCH, lr=RATE, seed=seed)
            made = learner(recipe, draw)
            began = time.process_time()
            last = train(made, draw)
            emit(
                recipe=name,
                seed=seed,
                found=round(found(rows, made), 3),
                mean_cosine=round(float(matches(rows, made).mean()), 3),
                cpu_seconds=round(time.process_time() - began, 1),
                **{figure: round(last[figure], 3) for figure in ("l0", "fvu", "dead")},
            )


if __name__ == "__main__":
    main()
