"""Shards on a local Ray cluster: the same store, more processes, and one of them may die."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from neuroglass.model.basis import Directions, NeuronBasis
from neuroglass.model.errors import InputError, MissingExtraError
from neuroglass.sae.dictionary import SAE

if TYPE_CHECKING:
    from neuroglass.features.plan import Task
    from neuroglass.model.basis import Basis
    from neuroglass.model.live import LiveModel

# read when Ray is imported: nothing is reported to anyone, and a cluster of this machine alone
# listens on the loopback interface alone
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", _LOOPBACK: "0"}
_STORE = 200 * 2**20  # bytes for objects that processes share: a model


def run_on_ray(
    task: Task, shards: Sequence[int], *, workers: int, seen: Callable[[int], object]
) -> None:
    """Make shards in several processes.

    Args:
        task: what to harvest.
        shards: which of its shards.
        workers: processes.
        seen: is told of each shard that is done.

    A cluster that is connected already is used; otherwise one is started on this machine, and
    stopped at the end. It listens on the loopback interface only, unless Ray was imported before
    with other settings: a warning says so. A process that dies is started again, up to twice, and
    loses at most the shard it was at.

    Raises:
        MissingExtraError: the extra ``ray`` is not installed.
        InputError: a basis that can't be sent to another process.
    """
    late = "ray" in sys.modules and _LOOPBACK not in os.environ
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "engine='ray' needs Ray.", "pip install 'neuroglass[ray]'"
        ) from error
    ours = not ray.is_initialized()
    if ours:
        if late:
            warnings.warn(
                "Ray was imported before this harvest, so its cluster listens on all network "
                f"interfaces of this machine. Set {_LOOPBACK}=0 in the environment before "
                "`import ray`, or let ng.harvest import it.",
                stacklevel=4,
            )
        ray.init(
            num_cpus=workers,
            include_dashboard=False,
            object_store_memory=_STORE + _size(task.model),
            log_to_driver=False,
        )
    try:
        remote: Any = ray.remote(num_cpus=1, max_restarts=2, max_task_retries=2)(_Worker)
        carried = ray.put(_carried(task))
        idle: list[Any] = [remote.remote(carried) for _ in range(min(workers, max(1, len(shards))))]
        waiting = list(shards)
        busy: dict[Any, tuple[Any, int]] = {}
        while waiting or busy:
            while waiting and idle:
                actor, shard = idle.pop(), waiting.pop(0)
                busy[actor.make.remote(shard)] = (actor, shard)
            done, _ = ray.wait(list(busy), num_returns=1)
            for found in done:
                actor, shard = busy.pop(found)
                ray.get(found)  # raises what went wrong there
                idle.append(actor)
                seen(shard)
    finally:
        if ours:
            ray.shutdown()


class _Worker:
    """One process: its own copy of the model."""

    def __init__(self, carried: dict[str, Any]) -> None:
        from neuroglass.features.corpus import Corpus
        from neuroglass.features.passes import ShardWorker
        from neuroglass.features.plan import Task
        from neuroglass.model.load import load

        # sums of a matrix product may depend on how many threads share it
        torch.set_num_threads(carried["threads"])
        model = load(carried["hf"], carried["tokenizer"])
        bases = [_put_on(model, b) for b in carried["bases"]]
        heads = [model.head(*h) for h in carried["heads"]]
        corpus = Corpus.open(Path(carried["corpus"]))
        folder = Path(carried["folder"])
        task = Task(model, bases, heads, carried["plan"], corpus, folder, carried["mark"])
        self._worker = ShardWorker(task)

    def make(self, shard: int) -> None:
        self._worker.make(shard)


def _carried(task: Task) -> dict[str, Any]:
    """All of a task that another process needs."""
    return {
        "hf": task.model.hf,
        "tokenizer": task.model.tokenizer,
        "bases": [_take_off(b) for b in task.bases],
        "heads": [(h.layer, h.index) for h in task.heads],
        "corpus": str(task.corpus.folder.resolve()),
        "folder": str(task.folder.resolve()),
        "plan": task.plan,
        "mark": task.mark,
        "threads": torch.get_num_threads(),
    }


def _take_off(basis: Basis) -> Any:
    """A basis without its model."""
    if isinstance(basis, SAE):
        return type(basis)(basis.spec, basis.weights, name=basis.name)
    if type(basis) is NeuronBasis:
        return basis.layer, basis.name
    if type(basis) is Directions:
        return str(basis.site), basis.vectors, basis.name
    raise InputError(
        f"{type(basis).__name__} can't be sent to another process.", "Use engine='local'."
    )


def _put_on(model: LiveModel, basis: Any) -> Basis:
    if isinstance(basis, SAE):
        return basis.attach(model, any_model=True)
    if len(basis) == 2:
        return NeuronBasis(model, *basis)
    return Directions(model, *basis)


def _size(model: LiveModel) -> int:
    return sum(p.numel() * p.element_size() for p in model.hf.parameters())
