"""All residual sites captured, against the bare Hugging Face forward: time, values, memory.

    python -m tests.benchmarks.bench_capture [--batch 8 --context 128 --pairs 15 --threads 2]

Baseline: the same model called with nothing attached, in the same process, in interleaved pairs.
"""

from __future__ import annotations

import os
import subprocess
import sys

import torch

import neuroglass as ng
from tests.benchmarks.common import arguments, emit, pairs, peak_bytes, prompt, ratio, reset_peak


def residual_sites(model: ng.LiveModel) -> list[str]:
    names = [f"{name}.{i}" for i in range(model.n_layers) for name in ("resid_pre", "resid_mid")]
    return [*names, f"resid_post.{model.n_layers - 1}"]


def bytes_of(run: ng.Run) -> int:
    return sum({t.data_ptr(): t.nbytes for t in run.sites.values()}.values())


def memory(kind: str, batch: int, context: int) -> None:
    """Print the peak of one pass; run in a process of its own."""
    model = ng.load("smollm2")
    ids = prompt(model, batch, context)
    sites = residual_sites(model)

    def bare(_: object) -> object:
        with torch.no_grad():
            return model.hf(input_ids=ids, use_cache=False)

    def once() -> object:
        # on the same thread: allocators are per thread
        return model.work(bare).result() if kind == "bare" else model.run(ids, sites=sites)

    once()
    reset_peak()
    kept = once()
    print(peak_bytes(), bytes_of(kept) if isinstance(kept, ng.Run) else 0)


def main() -> None:
    given = arguments(batch=8, context=128, pairs=15, threads=2)
    torch.set_num_threads(given.threads)  # before the model's thread starts, which inherits it
    model = ng.load("smollm2")
    ids = prompt(model, given.batch, given.context)
    sites = residual_sites(model)

    def bare() -> object:
        with torch.no_grad():
            return model.hf(input_ids=ids, use_cache=False)

    def ours() -> object:
        return model.run(ids, sites=sites)

    # on the same thread, since allocators and thread pools are per thread
    taken = pairs(lambda: model.work(lambda _: bare()).result(), ours, given.pairs)
    run = model.run(ids, sites=sites)
    with torch.no_grad():
        want = model.hf(input_ids=ids, use_cache=False, output_hidden_states=True)
    identical = torch.equal(run["logits"], want.logits) and all(
        torch.equal(run[f"resid_pre.{i}"], want.hidden_states[i]) for i in range(model.n_layers)
    )
    for clock in ("cpu", "wall"):
        emit(
            what=f"all residual sites / bare forward, {clock} time",
            shape=[given.batch, given.context],
            threads=given.threads,
            sites=len(sites),
            **ratio(taken[clock]),
            bit_identical=identical,
        )
    # every tensor in its own mapping, so that resident memory counts tensors and nothing else
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    peaks = {}
    for kind in ("bare", "capture"):
        code = (
            "from tests.benchmarks.bench_capture import memory;"
            f"memory({kind!r}, {given.batch}, {given.context})"
        )
        out = subprocess.run(
            [sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True
        ).stdout.split()
        peaks[kind] = int(out[-2]), int(out[-1])
    extra = peaks["capture"][0] - peaks["bare"][0]
    emit(
        what="extra peak memory / captured bytes",
        captured_mb=round(peaks["capture"][1] / 1e6, 1),
        extra_mb=round(extra / 1e6, 1),
        ratio=round(extra / peaks["capture"][1], 4),
    )


if __name__ == "__main__":
    main()
