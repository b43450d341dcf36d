"""Training a small GPT-2 on a corpus: fast on a CPU, resumable to the bit, logged line by line.

A recipe and a corpus flow in; a folder flows out: ``log.jsonl``, a checkpoint that is replaced
every few minutes, and the trained model in memory. Whatever a step uses (its batch, its learning
rate) follows from recipe and step number, so a killed run resumes on the same curve.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neuroglass.model.errors import InputError, NeuroglassError
from neuroglass.recipes.data import Tokens, held_out_streams, times
from neuroglass.recipes.loss import linear_cross_entropy
from neuroglass.sae.checkpoint import cut_log, write_checkpoint

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel


@dataclass(frozen=True)
class Recipe:
    """All that decides a trained model, beside corpus and tokenizer.

    The learning rate rises over `warmup` of the steps, stays, and falls linearly to 0 over the
    last `decay` of them (Hu et al. 2024, *MiniCPM*, section 4: warm-up, stable, decay).
    """

    activation: str = "relu"
    seed: int = 0
    tokens: int = 120_000_000
    context: int = 256
    rows: int = 16  # windows in a batch
    heads: int = 4
    d_model: int = 128
    d_mlp: int = 512
    lr: float = 2e-3
    warmup: float = 0.005
    decay: float = 0.25
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    dtype: str = "bfloat16"  # of matrix products; weights, sums and the optimiser are float32
    # rare categories are read more often in an epoch
    repeated: dict[str, int] = field(
        default_factory=lambda: {"citations": 3, "nutrition": 2, "korean": 2, "dna": 2, "http": 2}
    )

    @property
    def steps(self) -> int:
        return max(1, self.tokens // (self.rows * self.context))

    def rate(self, step: int) -> float:
        """Learning rate of a step (from 0)."""
        done = (step + 1) / self.steps
        return self.lr * min(
            1.0, done / self.warmup, max(0.0, (1 - step / self.steps) / self.decay)
        )


class TrainingStopped(NeuroglassError):
    """A loss that is not a number; the last good checkpoint is kept."""


def build(recipe: Recipe, vocabulary: int) -> GPT2LMHeadModel:
    """The untrained model: random weights that follow from the seed."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(recipe.seed)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary,
            n_positions=recipe.context,
            n_layer=1,
            n_embd=recipe.d_model,
            n_head=recipe.heads,
            n_inner=recipe.d_mlp,
            activation_function=recipe.activation,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            tie_word_embeddings=False,
            bos_token_id=0,
            eos_token_id=0,
            use_cache=True,
        )
    )


def trained(recipe: Recipe, corpus: Tokens, vocabulary: int, out: Path) -> GPT2LMHeadModel:
    """The model that `train` left in `out`.

    Raises:
        InputError: the folder holds no finished run of this recipe.
    """
    hf = build(recipe, vocabulary)
    done = _resume(out / CHECKPOINT, hf, optimiser(hf, recipe), _mark(recipe, vocabulary, corpus))
    if done < recipe.steps:
        raise InputError(
            f"{str(out)!r} is trained for {done:,} of {recipe.steps:,} steps.", "Train on, first."
        )
    return hf


def _mark(recipe: Recipe, vocabulary: int, corpus: Tokens) -> str:
    """What a checkpoint must agree with to be gone on with."""
    return json.dumps({**asdict(recipe), "vocabulary": vocabulary, "corpus": corpus.mark})


def loss_of(hf: GPT2LMHeadModel, windows: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Mean loss in nats/token over windows [rows, context + 1]."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
        x = hf.transformer(input_ids=windows[:, :-1], use_cache=False).last_hidden_state
    return linear_cross_entropy(
        x.float().flatten(0, 1), hf.lm_head.weight, windows[:, 1:].flatten(), dtype=dtype
    )


def optimiser(hf: GPT2LMHeadModel, recipe: Recipe) -> torch.optim.AdamW:
    """Fused AdamW; weight decay on matrices only (not embeddings, biases, norms)."""
    plain = {"wte", "wpe"}
    matrices: list[torch.Tensor] = []
    others: list[torch.Tensor] = []
    for name, p in hf.named_parameters():
        kept = p.ndim < 2 or plain & set(name.split("."))
        (others if kept else matrices).append(p)
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, fused=True)


CHECKPOINT = "checkpoint.safetensors"
LOG = "log.jsonl"
CHECK_EVERY = 16  # steps between looks at the loss: a look waits for nothing, a NaN is caught early


def train(
    recipe: Recipe,
    corpus: Tokens,
    vocabulary: int,
    out: Path,
    *,
    report: Callable[[dict[str, Any]], None] = lambda row: None,
    save_every: float = 120.0,
    evaluate_every: int = 5_000_000,
    stop: Callable[[], bool] = lambda: False,
) -> GPT2LMHeadModel:
    """Train, or go on where an earlier call in `out` was interrupted.

    Args:
        recipe: what to train; a checkpoint of another recipe or vocabulary is refused.
        corpus: its tokens; held-out documents are only evaluated.
        vocabulary: entries of the tokenizer.
        out: folder for ``log.jsonl`` and the checkpoint.
        report: is given every row of the log.
        save_every: seconds between checkpoints.
        evaluate_every: tokens between evaluations on held-out documents.
        stop: asked after each step; True saves and returns the model as it is.

    Raises:
        InputError: the folder holds a run of another recipe.
        TrainingStopped: the loss is not a number.
        OSError: no space for a checkpoint; the one before is kept.
    """
    out.mkdir(parents=True, exist_ok=True)
    hf = build(recipe, vocabulary)
    adam = optimiser(hf, recipe)
    mark = _mark(recipe, vocabulary, corpus)
    done = _resume(out / CHECKPOINT, hf, adam, mark)
    cut_log(out / LOG, lambda row: bool(row["step"] <= done))
    dtype: torch.dtype = getattr(torch, recipe.dtype)
    repeats = times(corpus.categories, recipe.repeated)
    per_step = recipe.rows * recipe.context
    saved = began = time.monotonic()
    here = done
    losses: list[torch.Tensor] = []

    def log(**row: Any) -> None:
        row = {"step": done, "tokens": done * per_step, **row}
        with (out / LOG).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")
        report(row)

    def look() -> None:
        """Log the mean loss since the last look; a NaN stops before anything is saved."""
        if not losses:
            return
        mean = float(torch.stack(losses).mean())
        losses.clear()
        if not math.isfinite(mean):
            raise TrainingStopped(
                f"The loss became {mean} by step {done}.",
                f"The checkpoint in {out.name} is older and good; lower the learning rate "
                f"(it is {recipe.lr}) and train again.",
            )
        speed = (done - here) * per_step / (time.monotonic() - began)
        log(loss=round(mean, 5), lr=recipe.rate(done - 1), tokens_per_second=round(speed))

    for step in range(done, recipe.steps):
        stopped = stop()
        if stopped or time.monotonic() - saved > save_every:
            look()
            _save(out / CHECKPOINT, hf, adam, done, mark)
            saved = time.monotonic()
            if stopped:
                return hf
        windows = corpus.batch(
            step, rows=recipe.rows, context=recipe.context, seed=recipe.seed, times=repeats
        )
        for group in adam.param_groups:
            group["lr"] = recipe.rate(step)
        loss = loss_of(hf, torch.from_numpy(windows.astype(np.int64)), dtype)
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(hf.parameters(), recipe.clip)
        adam.step()
        losses.append(loss.detach())
        done = step + 1
        if done % CHECK_EVERY == 0 or done == recipe.steps:
            look()
        if done * per_step // evaluate_every != step * per_step // evaluate_every:
            log(held_out=evaluate(hf, corpus, every=16))
    _save(out / CHECKPOINT, hf, adam, done, mark)
    return hf


def evaluate(hf: GPT2LMHeadModel, corpus: Tokens, *, every: int = 1) -> dict[str, float]:
    """Loss in nats/token on each category's held-out documents, and over all of them (``all``).

    Documents stand one after another, as in training, in windows of the model's context; `every`
    n-th window is read. Everything is float32. A category with less than a window is left out.
    """
    context = hf.config.n_positions
    sums: dict[str, tuple[float, int]] = {}
    for name, ids in held_out_streams(corpus).items():
        if len(ids) <= context:
            continue  # a toy corpus: not one window
        at = np.arange(0, len(ids) - context, context * every)[:, None] + np.arange(context + 1)
        windows = torch.from_numpy(ids[at].astype(np.int64))
        with torch.no_grad():
            total = sum(float(loss_of(hf, w, torch.float32)) * len(w) for w in windows.split(32))
        sums[name] = total, len(windows)
    totals, windows_read = (sum(column) for column in zip(*sums.values(), strict=True))
    sums["all"] = totals, windows_read
    return {category: round(total / n, 5) for category, (total, n) in sums.items()}


def _save(file: Path, hf: GPT2LMHeadModel, adam: torch.optim.AdamW, done: int, mark: str) -> None:
    """Weights, both moments and the step, whole or not at all."""
    tensors = {f"weights.{n}": p.detach() for n, p in hf.named_parameters()}
    for n, p in hf.named_parameters():
        tensors |= {f"{key}.{n}": value for key, value in adam.state[p].items()}
    write_checkpoint(file, tensors, {"run": json.dumps([mark, done])})


def _resume(file: Path, hf: GPT2LMHeadModel, adam: torch.optim.AdamW, mark: str) -> int:
    """Fill model and optimiser from a checkpoint; the number of steps done (0 without one)."""
    from safetensors import safe_open

    if not file.is_file():
        return 0
    with safe_open(file, "pt") as kept, torch.no_grad():
        recipe, done = json.loads(kept.metadata()["run"])
        if recipe != mark:
            have, want = json.loads(recipe), json.loads(mark)
            other = [k for k in want if have.get(k) != want[k]]
            raise InputError(
                f"{str(file)!r} is a run with another {', '.join(other)}.",
                "Choose another folder, or remove this one to begin anew.",
            )
        for n, p in hf.named_parameters():
            p.copy_(kept.get_tensor(f"weights.{n}"))
            adam.state[p] = {
                key: kept.get_tensor(f"{key}.{n}") for key in ("step", "exp_avg", "exp_avg_sq")
            }
    return int(done)
