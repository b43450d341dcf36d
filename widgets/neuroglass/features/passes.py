"""The passes of a harvest: batches of windows → the model → sketches → a shard on disk."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neuroglass.features.corpus import Corpus
from neuroglass.features.entries import entries, vectors
from neuroglass.features.exact import I64
from neuroglass.features.heads import HeadSketch
from neuroglass.features.plan import HEADS, Plan, Task, n_neurons, neuron_site, shard_folder
from neuroglass.features.shards import REASONS, write_shard
from neuroglass.features.sketch import Batch, Sketch, token_hash
from neuroglass.model.worker import Priority

if TYPE_CHECKING:
    from neuroglass.model.run import Run
    from neuroglass.model.worker import Job

_NEURONS = 512  # multiplied with all features at a time


class ShardWorker:
    """Makes shards, one after another; limits found in one speed up the next.

    Args:
        task: what.
        seen: is told how many tokens of text were read, after each batch.
    """

    def __init__(self, task: Task, seen: Callable[[int], object] = lambda n: None) -> None:
        self._task = task
        self._seen = seen
        plan, corpus = task.plan, task.corpus
        random = corpus.sample(plan.keep.random, plan.keep.seed)
        self._sketches = {
            b.name: Sketch(
                b.n_features,
                task.model.vocabulary,
                plan.keep,
                random,
                n_neurons(task.model, b) if plan.neurons else 0,
            )
            for b in task.bases
        }
        self._left_out = np.zeros(len(REASONS), np.int64)
        self._heads = HeadSketch(task.heads, plan.keep) if task.heads else None
        sites = [str(b.read_site) for b in task.bases]
        self._entries: dict[str, list[tuple[I64, I64, Any]]] = {b.name: [] for b in task.bases}
        self._neurons: dict[str, list[torch.Tensor]] = {}
        if plan.neurons:
            own = [s for b in task.bases if (s := neuron_site(task.model, b))]
            self._neurons = {s: [] for s in own}
            sites += own
        for head in task.heads:
            sites += [f"pattern.{head.layer}", f"v.{head.layer}"]
        self._sites = [task.model.site(s) for s in dict.fromkeys(sites)]

    def make(self, shard: int) -> None:
        """Make one shard, unless it is there."""
        task = self._task
        folder = shard_folder(task.folder, shard)
        if folder.is_dir():
            return
        first, end = task.plan.groups(shard)
        for group in range(first, min(end, task.corpus.n_groups)):
            for windows in task.corpus.batches(group):
                self._batch(windows)
            self._correlate()
        found: dict[str, Any] = {}
        for name, sketch in self._sketches.items():
            found |= {f"{name}.{k}": v for k, v in sketch.drain().items()}
            found[f"{name}.left_out"] = self._left_out.copy()
        self._left_out[:] = 0
        if self._heads is not None:
            found |= {f"{HEADS}.{k}": v for k, v in self._heads.drain().items()}
        write_shard(folder, found, task.mark)

    def _batch(self, windows: I64) -> None:
        task = self._task
        run = self._pass(task.corpus.rows(windows))
        keep, left_out = kept_tokens(run, task.plan)
        self._left_out += left_out
        batch = make_batch(run, keep, windows, task.corpus, task.plan.keep.seed)
        for basis in task.bases:
            sketch = self._sketches[basis.name]
            x = vectors(run, basis, keep)
            token, index, value = entries(basis, x)
            sketch.add(batch, token, index, value)
            if sketch.n_neurons:
                self._entries[basis.name].append((token, index, value))
        for site, parts in self._neurons.items():
            parts.append(run[site][keep].cpu())
        if self._heads is not None:
            self._heads.add(run, keep, batch)
        self._seen(int(task.corpus.place(windows)[2].sum()))

    def _correlate(self) -> None:
        """Products with neurons, a group at a time: every feature meets every neuron in them."""
        n_tokens = {s: [len(y) for y in parts] for s, parts in self._neurons.items()}
        ys = {s: torch.cat(parts) for s, parts in self._neurons.items()}
        for basis in self._task.bases:
            held = self._entries[basis.name]
            if held:
                site = neuron_site(self._task.model, basis)
                first = np.cumsum([0, *n_tokens[site]])
                token = np.concatenate([t + a for (t, _, _), a in zip(held, first, strict=False)])
                index, value = (np.concatenate([h[i] for h in held]) for i in (1, 2))
                sketch = self._sketches[basis.name]
                for part, *sums in _products(token, index, value, ys[site], basis.n_features):
                    sketch.add_neurons(part, *sums)
                held.clear()
        for parts in self._neurons.values():
            parts.clear()

    def _pass(self, rows: list[list[int]]) -> Run:
        model, bf16 = self._task.model, self._task.plan.precision == "bf16"

        def job(job: Job[Any]) -> Generator[None, None, Run]:
            steps = model.steps(rows, self._sites, job, logits=False)
            while True:
                try:
                    # the context must not be left open while other jobs run
                    with torch.autocast("cpu", torch.bfloat16, bf16):
                        next(steps)
                except StopIteration as stop:
                    run: Run = stop.value
                    return run
                yield

        model.give_way()
        found: Run = model.work(job, priority=Priority.BACKGROUND).result()
        return found


def kept_tokens(run: Run, plan: Plan) -> tuple[torch.Tensor, I64]:
    """The tokens of a run that count, and how many are left out for which of ``REASONS``.

    Returns:
        bool [windows, tokens]; int64 [reasons]. A token with several reasons counts as the first.
    """
    early = torch.zeros_like(run.mask)
    early[:, : plan.skip_positions] = True
    asked = {"special": plan.skip_special, "massive": plan.skip_massive}
    keep = run.mask.clone()
    counts = []
    for reason in REASONS:
        out = run.masks[reason] if reason in asked else early
        if not asked.get(reason, True):
            out = torch.zeros_like(out)
        counts.append(int((keep & out).sum()))
        keep &= ~out
    return keep, np.array(counts)


def make_batch(run: Run, keep: torch.Tensor, windows: I64, corpus: Corpus, seed: int) -> Batch:
    """The tokens of a run that count, in the order of ``run[site][keep]``."""
    local, offset = (a.cpu().numpy() for a in keep.nonzero(as_tuple=True))
    document, start, _ = corpus.place(windows)
    return Batch(
        run.tokens[keep].cpu().numpy(),
        windows[local],
        local,
        offset.astype(np.int32),
        windows,
        token_hash(seed, document[local], start[local], offset),
    )


def _products(
    token: I64, index: I64, value: Any, y: torch.Tensor, n_features: int
) -> Iterator[tuple[slice, Any, Any, Any]]:
    """Σ feature·neuron [features, neurons], Σ neuron, Σ neuron²: some neurons at a time."""
    value = np.where(np.isfinite(value), value, 0)
    f = torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([index, token])),
        torch.from_numpy(value.astype(np.float64)),
        (n_features, len(y)),
        check_invariants=False,
    )
    for a in range(0, y.shape[1], _NEURONS):
        part = slice(a, min(a + _NEURONS, y.shape[1]))
        some = y[:, part].double()
        products = torch.sparse.mm(f, some).numpy()
        yield part, products, some.sum(0).numpy(), some.square().sum(0).numpy()
