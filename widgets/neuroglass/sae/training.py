"""``train_sae``: dictionaries trained in a cell, while widgets go on answering.

Blocks of vectors flow in (``activations``), one or more learners step through them on a thread of
their own that gives way to widgets; rows of a log flow out, checkpoints every few minutes, and at
the end one dictionary for each learner. A run that was killed goes on with the same numbers.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import torch

from neuroglass.model.errors import InputError, NeuroglassError
from neuroglass.sae.activations import Activations, Streamed
from neuroglass.sae.checkpoint import cut_log, write_checkpoint
from neuroglass.sae.learner import Learner
from neuroglass.sae.recipes import Recipe

if TYPE_CHECKING:
    from neuroglass.model.live import LiveModel
    from neuroglass.sae.dictionary import SAE

CHECKPOINT, LOG = "checkpoint.safetensors", "log.jsonl"
_LOG_EVERY = 10  # steps
_START_ON = (
    32_768  # vectors that parameters start from (Gao et al. 2024, code: the median's sample)
)
_WAIT = 0.05  # seconds: a waiting cell wakes this often, so that an interrupt gets through


class TrainingStopped(NeuroglassError):
    """The loss is not a number. The last good checkpoint is kept."""


class Training:
    """A training that runs; made by ``train_sae(..., wait=False)``.

    Attributes:
        log: rows so far, one for every tenth step of each learner and every resampling.
    """

    def __init__(
        self,
        learners: dict[str, _Run],
        source: Activations,
        model: LiveModel | None,
        out: Path | None,
        save_every: float,
        progress: bool,
    ) -> None:
        self.log: list[dict[str, Any]] = []
        self._runs = learners
        self._source = source
        self._model = model
        self._out = out
        self._save_every = save_every
        self._show = progress
        self._stop = threading.Event()
        self._done = threading.Event()
        self._error: BaseException | None = None
        self._block = 0

    # ------------------------------------------------------------------ for the user

    @property
    def done(self) -> bool:
        return self._done.is_set()

    @property
    def progress(self) -> float:
        """Share of all steps that are done."""
        steps = [(r.learner.done, r.recipe.steps) for r in self._runs.values()]
        return sum(d for d, _ in steps) / sum(n for _, n in steps)

    def stop(self) -> None:
        """End after the step that runs, with a checkpoint; ``result`` gives what there is."""
        self._stop.set()

    def result(self) -> SAE | list[SAE]:
        """Wait for the end, and give the dictionary, or the dictionaries in the order asked for.

        An interrupt of the cell stops the training, with a checkpoint.

        Raises:
            TrainingStopped: the loss is not a number.
            OSError: no space for log or checkpoint.
        """
        try:
            while not self._done.wait(_WAIT):
                pass
        except KeyboardInterrupt:
            self.stop()
            self._done.wait()
            raise
        if self._error is not None:
            raise self._error
        made = [run.dictionary(self._source.about, self._model) for run in self._runs.values()]
        return made[0] if len(made) == 1 else made

    def __repr__(self) -> str:
        state = "done" if self.done else "stopping" if self._stop.is_set() else "running"
        last = self.log[-1] if self.log else {}
        figures = ", ".join(f"{k} {last[k]:.3g}" for k in ("fvu", "l0", "dead") if k in last)
        return f"Training({state}, {self.progress:.0%}{', ' if figures else ''}{figures})"

    # ------------------------------------------------------------------ the thread

    def _start(self) -> None:
        # made here: one made in the thread would be shown in whatever cell runs then, or in none
        bar = _Bar(self, self._show)
        threading.Thread(
            target=self._loop, args=(bar,), name="neuroglass-train", daemon=True
        ).start()

    def _loop(self, bar: _Bar) -> None:
        try:
            with bar:
                self._train(bar)
        except BaseException as error:  # it reaches the user in `result`
            self._error = error
        finally:
            self._done.set()

    def _train(self, bar: _Bar) -> None:
        saved = time.monotonic()
        while not self._stop.is_set() and self.progress < 1:
            block = self._source.block(self._block)
            for run in self._runs.values():
                for x, y in run.batches(block):
                    if self._stop.is_set():
                        break
                    self._source.pace()
                    self._note(run, run.learner.step(x, y))
                    bar.show()
                    if time.monotonic() - saved > self._save_every:
                        self._save()
                        saved = time.monotonic()
            if not self._stop.is_set():
                self._block += 1
                for run in self._runs.values():
                    run.begun = run.learner.done
        self._save()

    def _note(self, run: _Run, row: dict[str, float]) -> None:
        if not math.isfinite(row["loss"]):
            kept = "" if self._out is None else f" The checkpoint in {self._out} is older and good."
            raise TrainingStopped(
                f"The loss of {run.name} became {row['loss']} at step {run.learner.done}.{kept}",
                f"Lower the learning rate (it is {run.recipe.lr}).",
            )
        last = run.learner.done == run.recipe.steps
        if run.learner.done % _LOG_EVERY and not last and "resampled" not in row:
            return
        line = {
            "name": run.name,
            "step": run.learner.done,
            "tokens": run.learner.done * run.recipe.batch,
            "lr": run.recipe.rate(run.learner.done - 1),
            **row,
        }
        self.log.append(line)
        if self._out is not None:
            with (self._out / LOG).open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(line) + "\n")

    def _mark(self) -> str:
        recipes = {n: [type(r.recipe).__name__, asdict(r.recipe)] for n, r in self._runs.items()}
        return json.dumps([recipes, self._source.mark])

    def _save(self) -> None:
        """All learners and the block to go on with, whole or not at all."""
        if self._out is None:
            return
        tensors: dict[str, torch.Tensor] = {}
        numbers: dict[str, str] = {}
        begun = {name: run.begun for name, run in self._runs.items()}
        for name, run in self._runs.items():
            own, numbers[name] = run.learner.state()
            tensors |= {f"{name}|{key}": value.contiguous() for key, value in own.items()}
        about = json.dumps(
            {"mark": self._mark(), "block": self._block, "begun": begun, "numbers": numbers}
        )
        write_checkpoint(self._out / CHECKPOINT, tensors, {"run": about})

    def _resume(self) -> None:
        """Take up the run whose checkpoint is in the folder, if there is one."""
        if self._out is None:
            return
        self._out.mkdir(parents=True, exist_ok=True)
        file = self._out / CHECKPOINT
        if file.is_file():
            from safetensors import safe_open

            with safe_open(file, "pt") as kept:
                about = json.loads(kept.metadata()["run"])
                if about["mark"] != self._mark():
                    raise InputError(
                        f"{str(self._out)!r} holds a training of other recipes, sites or texts.",
                        "Choose another folder, or remove this one to begin anew.",
                    )
                for name, run in self._runs.items():
                    own = {
                        key.split("|", 1)[1]: kept.get_tensor(key)
                        for key in kept.keys()  # noqa: SIM118 - not a dict
                        if key.startswith(f"{name}|")
                    }
                    run.learner.restore(own, about["numbers"][name])
                    run.begun = about["begun"][name]
            self._block = about["block"]
        done = {name: run.learner.done for name, run in self._runs.items()}
        self.log = cut_log(self._out / LOG, lambda row: row["step"] <= done.get(row["name"], 0))


class _Run:
    """One learner and where its vectors are in a block."""

    def __init__(
        self, name: str, recipe: Recipe, read: str, write: str, source: Activations, fast: bool
    ) -> None:
        self.name, self.recipe, self.read, self.write = name, recipe, read, write
        first = source.block(0)
        if len(first[read]) < recipe.batch:
            raise InputError(
                f"There are {len(first[read])} vectors, less than one batch of {recipe.batch}.",
                "Give more text, or a recipe with a smaller batch.",
            )
        self.learner = Learner(
            recipe,
            first[read][:_START_ON],
            first[write][:_START_ON],
            more=self._more,
            fast=fast,
        )
        self._source = source
        self.begun = 0  # steps that were done when the block began

    def batches(
        self, block: dict[str, torch.Tensor]
    ) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
        """The whole batches of a block that are to be done, up to the end of the recipe."""
        x, y, size = block[self.read], block[self.write], self.recipe.batch
        first = (self.learner.done - self.begun) * size  # where an interrupted run was
        for at in range(first, len(x) - size + 1, size):
            if self.learner.done < self.recipe.steps:
                yield x[at : at + size], y[at : at + size]

    def _more(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Vectors from blocks that follow from the step alone."""
        xs: list[torch.Tensor] = []
        ys: list[torch.Tensor] = []
        n, i = min(n, self.recipe.tokens), self.learner.done
        while sum(map(len, xs)) < n:
            block = self._source.block(i)
            xs.append(block[self.read])
            ys.append(block[self.write])
            i += 1
        return torch.cat(xs)[:n], torch.cat(ys)[:n]

    def dictionary(self, about: dict[str, Any], model: LiveModel | None) -> SAE:
        made = self.learner.dictionary(
            self.name, {**about, "read_site": self.read, "write_site": self.write}
        )
        return made if model is None else made.attach(model)


class _Bar:
    """A progress bar in the cell, if one is wanted."""

    def __init__(self, training: Training, show: bool) -> None:
        from tqdm.auto import tqdm

        self._training = training
        runs = training._runs.values()
        self._bar = tqdm(
            total=sum(r.recipe.tokens for r in runs),
            unit=" tokens",
            unit_scale=True,
            disable=not show,
        )

        if show:
            for run in runs:
                for what, here, paper in run.recipe.windows():
                    self._bar.write(f"{run.name}: {what} {here:,} tokens (in the paper {paper})")
        self.show()

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self) -> None:
        runs = self._training._runs.values()
        self._bar.update(sum(r.learner.done * r.recipe.batch for r in runs) - self._bar.n)
        if self._training.log:
            last = self._training.log[-1]
            self._bar.set_postfix(
                {k: f"{last[k]:.3g}" for k in ("fvu", "l0", "dead")}, refresh=False
            )


@overload
def train_sae(
    model: LiveModel | None,
    site: str,
    data: Iterable[str] | Activations,
    recipe: Recipe,
    **options: Any,
) -> SAE: ...
@overload
def train_sae(
    model: LiveModel | None,
    site: str | Sequence[str],
    data: Iterable[str] | Activations,
    recipe: Recipe | Sequence[Recipe],
    **options: Any,
) -> SAE | list[SAE] | Training: ...
def train_sae(
    model: LiveModel | None,
    site: str | Sequence[str],
    data: Iterable[str] | Activations,
    recipe: Recipe | Sequence[Recipe],
    *,
    write_site: str | None = None,
    name: str | Sequence[str] | None = None,
    out: str | Path | None = None,
    wait: bool = True,
    fast: bool = True,
    progress: bool = True,
    save_every: float = 300.0,
    **source: Any,
) -> SAE | list[SAE] | Training:
    """Train a sparse dictionary, or several in one pass over the same vectors.

    Args:
        model: the live model; None with kept activations.
        site: where the dictionary reads; several sites train one dictionary each (for each recipe).
        data: texts, or ``keep_activations(...)``.
        recipe: ``TopK``, ``BatchTopK``, ``JumpReLU`` or ``TowardsMonosemanticity``; several train
            one dictionary each.
        write_site: trains a transcoder from `site` to this one.
        name: short names, one for each dictionary (site by site, recipe by recipe).
        out: a folder for ``log.jsonl`` and the checkpoint; a run that was interrupted goes on
            there. None keeps nothing.
        wait: False returns a ``Training`` at once; the cell goes on, and so do widgets.
        fast: False computes densely, by autograd: the reference, several times slower.
        progress: whether to show a bar.
        save_every: seconds between checkpoints (they are made between blocks of vectors).
        source: of texts: context, block_tokens, seed, precision, prepend_bos (see ``Streamed``).

    Returns:
        The dictionary, attached to the model; a list where several are trained; or a ``Training``.

    Raises:
        InputError: unknown site, no text, names or folder that do not fit.
        TrainingStopped: the loss is not a number.
        OSError: no space for log or checkpoint; what was there before is kept.
    """
    sites = [site] if isinstance(site, str) else list(site)
    recipes = [recipe] if isinstance(recipe, Recipe) else list(recipe)
    if write_site is not None and len(sites) != 1:
        raise InputError("write_site goes with one site.", "Train transcoders one by one.")
    if isinstance(data, str | list | tuple) or not hasattr(data, "block"):
        if model is None:
            raise InputError("Texts need a model to read them.", "ng.train_sae(model, ...)")
        wanted = [*sites, *([write_site] if write_site else [])]
        texts = cast("Iterable[str]", data)
        activations: Activations = Streamed(model, wanted, texts, **source)
    else:
        activations = cast("Activations", data)
        if source:
            raise InputError(f"{', '.join(source)} belongs to texts, not to kept activations.")
    places = [_canonical(s, model, activations) for s in sites]
    writes = _canonical(write_site, model, activations) if write_site else None
    names = _names(name, places, recipes)
    pairs = [(p, r) for p in places for r in recipes]
    runs = {
        n: _Run(n, r, p, writes or p, activations, fast)
        for n, (p, r) in zip(names, pairs, strict=True)
    }
    folder = None if out is None else Path(out)
    training = Training(runs, activations, model, folder, save_every, progress)
    training._resume()
    training._start()
    return training.result() if wait else training


def _canonical(site: str, model: LiveModel | None, source: Activations) -> str:
    name = str(model.site(site)) if model is not None else site
    if name not in source.sites:
        raise InputError(
            f"The activations have no site {site!r}.", f"They have {', '.join(source.sites)}."
        )
    return name


def _names(
    given: str | Sequence[str] | None, places: Sequence[str], recipes: Sequence[Recipe]
) -> list[str]:
    n = len(places) * len(recipes)
    if given is not None:
        names = [given] if isinstance(given, str) else list(given)
        if len(names) != n or len(set(names)) != n:
            raise InputError(f"{n} dictionaries need {n} different names, not {names}.")
        return names
    names = [
        f"{place}-{type(r).__name__.lower()}-{r.n_latents}" for place in places for r in recipes
    ]
    return [f"{n}-{i}" if names.count(n) > 1 else n for i, n in enumerate(names)]
