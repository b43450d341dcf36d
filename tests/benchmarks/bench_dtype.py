"""bf16 against fp32 on SmolLM2: tokens per second, and what it costs in accuracy.

    python -m tests.benchmarks.bench_dtype [--batch 8 --context 128 --pairs 5 --layer 13]

Baseline: the same text through the fp32 model, in interleaved pairs. Error: distance of the
residual after `layer` layers, relative to its norm, massive-activation tokens left out.
"""

from __future__ import annotations

import neuroglass as ng
from tests.benchmarks.common import arguments, emit, pairs, prompt, ratio


def main() -> None:
    given = arguments(batch=8, context=128, pairs=5, layer=13)
    exact, half = ng.load("smollm2"), ng.load("smollm2", dtype="bf16")
    ids = prompt(exact, given.batch, given.context)
    site = f"resid_pre.{given.layer}"
    taken = pairs(lambda: half.run(ids, sites=[site], logits=False),
                  lambda: exact.run(ids, sites=[site], logits=False), given.pairs)  # fmt: skip
    full = pairs(lambda: half.run(ids), lambda: exact.run(ids), given.pairs)
    a = exact.run(ids, sites=[site], logits=False)
    keep = ~a.masks["massive"]
    b = half.run(ids, sites=[site], logits=False)[site].float()
    error = ((b - a[site]).norm(dim=-1) / a[site].norm(dim=-1))[keep]
    emit(what="bf16 speed-up, whole forward", **ratio(full["wall"]))
    emit(what=f"bf16 speed-up, stopped at {site}", **ratio(taken["wall"]))
    emit(
        what=f"relative error of {site} in bf16",
        median=round(float(error.median()), 4),
        p99=round(float(error.quantile(0.99)), 4),
        massive_left_out=int((~keep).sum()),
    )


if __name__ == "__main__":
    main()
