"""How dictionaries are trained: a dataclass for each published recipe, settings and maths together.

A recipe says how a dictionary starts, what it minimises on a batch, what happens between steps, and
what the trained parameters mean. ``neuroglass.sae.learner`` does the steps. Everything here is in
normalised units: inputs are multiplied by one constant so that their mean ‖x‖² is d_in (the
published values of λ and of learning rates then mean the same at every site).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from neuroglass.model.errors import InputError
from neuroglass.sae.sparse_linear import top_k_autoencoder

if TYPE_CHECKING:
    from neuroglass.sae.learner import Learner

Parameters = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Objective:
    """What a recipe made of a batch.

    Attributes:
        loss: what is minimised.
        residual: reconstruction - target [batch, d_out], without graph.
        fired: bool [n_latents]: on for some token of the batch.
        l0: mean number of latents that are on.
        parts: other terms worth a line in the log.
    """

    loss: torch.Tensor
    residual: torch.Tensor
    fired: torch.Tensor
    l0: float
    parts: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """What all recipes have.

    Attributes:
        n_latents: how many latents.
        tokens: vectors to train on (a vector is a token's).
        batch: vectors in a step.
        lr: Adam's learning rate, after warm-up and before decay.
        betas: Adam's.
        warmup: share of the run over which the rate rises linearly.
        decay: share of the run, its last, over which the rate falls linearly to zero.
        seed: of weights, order of the data and draws.
        unit_norm: whether decoder rows are kept at norm 1 (the gradient's part along a row is
            removed before each step).
    """

    n_latents: int
    tokens: int = 4_000_000
    batch: int = 4096
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: float = 0.02
    decay: float = 0.2
    seed: int = 0
    unit_norm: bool = True

    source: ClassVar[str]

    def __post_init__(self) -> None:
        for name in ("n_latents", "tokens", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if not self.lr > 0:
            raise InputError(f"A learning rate of {self.lr} learns nothing.")
        if self.tokens < self.batch:
            raise InputError(
                f"{self.tokens} tokens are less than one batch of {self.batch}.",
                "Choose more tokens or a smaller batch.",
            )

    @property
    def steps(self) -> int:
        return self.tokens // self.batch

    def rate(self, step: int) -> float:
        """Learning rate of a step (from 0)."""
        up = (step + 1) / self.steps / self.warmup if self.warmup else 1.0
        down = (1 - step / self.steps) / self.decay if self.decay else 1.0
        return self.lr * min(1.0, up, down)

    def windows(self) -> list[tuple[str, int, str]]:
        """Spans that are measured in tokens: what for, how many here, what the paper had."""
        return []

    def start(self, x: torch.Tensor, y: torch.Tensor, chance: torch.Generator) -> Parameters:
        """Parameters before the first step.

        Decoder rows are random and of norm 1, the encoder is their transpose (Gao et al. 2024,
        section 2: fewer dead latents) over √3, biases are zero but for b_dec: the geometric median
        of `y` (Bricken et al. 2023).

        Args:
            x, y: some inputs [n, d_in] and targets [n, d_out].
            chance: for the draws.
        """
        rows = torch.randn(self.n_latents, y.shape[1], generator=chance)
        rows /= rows.norm(dim=1, keepdim=True)
        if x.shape[1] == y.shape[1]:
            encoder = rows.clone()
        else:
            encoder = torch.randn(self.n_latents, x.shape[1], generator=chance)
            encoder /= encoder.norm(dim=1, keepdim=True)
        # over √3, the size of torch.nn.Linear's uniform start: at norm 1 the first reconstructions
        # overshoot, and a short run does not make up for it
        encoder *= 3**-0.5
        return {
            "W_enc": encoder,  # [n_latents, d_in]
            "b_enc": torch.zeros(self.n_latents),
            "W_dec": rows,  # [n_latents, d_out]
            "b_dec": geometric_median(y),
        }

    @abstractmethod
    def objective(self, learner: Learner, x: torch.Tensor, y: torch.Tensor) -> Objective:
        """What is minimised on a batch: x [batch, d_in], y [batch, d_out], normalised."""

    def between(self, learner: Learner, x: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        """After a step; what it returns goes to the log."""
        return {}

    @abstractmethod
    def architecture(self, learner: Learner) -> dict[str, object]:
        """What of ``Spec`` and ``Weights`` is this recipe's: architecture, k, threshold."""


def _centres(p: Parameters, x: torch.Tensor) -> bool:
    """Whether b_dec is subtracted from the input (a transcoder's input is another site)."""
    return x.shape[1] == len(p["b_dec"])


def centred(p: Parameters, x: torch.Tensor) -> torch.Tensor:
    """Input minus b_dec, where that is done."""
    return x - p["b_dec"] if _centres(p, x) else x


@dataclass(frozen=True, kw_only=True)
class TowardsMonosemanticity(Recipe):
    """ReLU and an L1 penalty, with resampling of dead latents.

    Attributes:
        l1: λ of the loss, mean over tokens of [mean over elements of (x̂ - x)² + λ·Σ|f|], in
            normalised units.
        resample_at: shares of the run at which dead latents are resampled.
        silent_for: share of the run without firing that makes a latent dead.
        resample_on: vectors whose loss the replacements are drawn by (at most a tenth of the run).
    """

    batch: int = 8192
    l1: float = 0.004
    warmup: float = 0.0
    decay: float = 0.0
    resample_at: tuple[float, ...] = (0.025, 0.05, 0.075, 0.1)
    silent_for: float = 0.0125
    resample_on: int = 819_200

    source: ClassVar[str] = "Bricken et al. 2023, Towards Monosemanticity, appendix"

    def windows(self) -> list[tuple[str, int, str]]:
        """See ``Recipe``."""
        paper = "of 8.2 G (1 M steps of 8,192)"
        return [
            *(
                (f"resampling {i + 1}", round(at * self.tokens), f"{at * 8192:,.0f} M {paper}")
                for i, at in enumerate(self.resample_at)
            ),
            ("dead when silent for", round(self.silent_for * self.tokens), f"102 M {paper}"),
        ]

    def start(self, x: torch.Tensor, y: torch.Tensor, chance: torch.Generator) -> Parameters:
        """Kaiming-uniform encoder and decoder, not tied; decoder rows of norm 1."""
        p = super().start(x, y, chance)
        for name in ("W_enc", "W_dec"):
            bound = p[name].shape[1] ** -0.5
            p[name] = (torch.rand(p[name].shape, generator=chance) * 2 - 1) * bound
        p["W_dec"] /= p["W_dec"].norm(dim=1, keepdim=True)
        return p

    def objective(self, learner: Learner, x: torch.Tensor, y: torch.Tensor) -> Objective:
        """See ``Recipe``."""
        p = learner.parameters
        f = torch.relu(centred(p, x) @ p["W_enc"].T + p["b_enc"])
        residual = f @ p["W_dec"] + p["b_dec"] - y
        mse, l1 = residual.square().mean(), f.sum(1).mean()
        on = f.detach() > 0
        return Objective(
            mse + self.l1 * l1,
            residual.detach(),
            on.any(0),
            float(on.sum(1).float().mean()),
            {"l1": float(l1.detach())},
        )

    def between(self, learner: Learner, x: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        """Resample dead latents where the run says so.

        Inputs are drawn by the square of their loss; decoder rows become those inputs (centred, of
        norm 1), encoder rows the same at 0.2 times the mean norm of the living, biases 0, and
        Adam forgets them.
        """
        at = {round(share * self.steps) for share in self.resample_at}
        if learner.done not in at:
            return {}
        dead = learner.silent > self.silent_for * self.tokens
        if not bool(dead.any()):
            return {"resampled": 0}
        p = learner.parameters
        xs, ys = learner.more(min(self.resample_on, self.tokens // 10))
        losses = []
        with torch.no_grad():
            for part, want in zip(xs.split(8192), ys.split(8192), strict=True):
                f = torch.relu(centred(p, part) @ p["W_enc"].T + p["b_enc"])
                error = (f @ p["W_dec"] + p["b_dec"] - want).square().mean(1)
                losses.append(error + self.l1 * f.sum(1))
            chance = torch.cat(losses).double().square()
            n = int(dead.sum())
            drawn = torch.multinomial(chance, n, n > len(chance), generator=learner.chance)
            rows = ys[drawn] - p["b_dec"]
            rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
            into = centred(p, xs[drawn])
            into = into / into.norm(dim=1, keepdim=True).clamp_min(1e-12)
            alive = p["W_enc"][~dead].norm(dim=1)
            size = float(alive.mean()) if len(alive) else 1.0
            p["W_dec"][dead] = rows
            p["W_enc"][dead] = into * 0.2 * size
            p["b_enc"][dead] = 0
        learner.forget(dead)
        return {"resampled": n}

    def architecture(self, learner: Learner) -> dict[str, object]:
        """See ``Recipe``."""
        return {"architecture": "relu"}


@dataclass(frozen=True, kw_only=True)
class _WithAuxiliary(Recipe):
    """Revives dead latents with an auxiliary loss: they reconstruct what the others leave.

    Attributes:
        k: latents that are on for a token (on average, for BatchTopK).
        k_aux: how many dead latents take part for a token; None: half of d_out.
        aux: weight α of the auxiliary loss, the normalised squared error of the residual.
        dead_after: share of the run without firing that makes a latent dead.
    """

    k: int = 32
    k_aux: int | None = None
    aux: float = 1 / 32
    dead_after: float = 0.05
    paper_dead: ClassVar[str] = "10 M"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.k <= self.n_latents:
            raise InputError(f"k is {self.k}; it must be from 1 to {self.n_latents}.")

    def windows(self) -> list[tuple[str, int, str]]:
        """See ``Recipe``."""
        return [("dead when silent for", round(self.dead_after * self.tokens), self.paper_dead)]

    def auxiliary(
        self, learner: Learner, x: torch.Tensor, residual: torch.Tensor
    ) -> torch.Tensor | None:
        """Error of the dead latents' reconstruction of the residual, over its variance."""
        dead = (learner.silent > self.dead_after * self.tokens).nonzero()[:, 0]
        if not self.aux or not len(dead):
            return None
        p = learner.parameters
        h = centred(p, x) @ p["W_enc"][dead].T + p["b_enc"][dead]
        top = h.topk(min(self.k_aux or residual.shape[1] // 2, len(dead)), dim=1)
        f = torch.zeros_like(h).scatter(1, top.indices, top.values.relu())
        wanted = -residual.detach()
        error = (f @ p["W_dec"][dead] - wanted).square().mean()
        return error / (wanted - wanted.mean(0)).square().mean().clamp_min(1e-12)


@dataclass(frozen=True, kw_only=True)
class TopK(_WithAuxiliary):
    """The k largest pre-activations of each token, and AuxK."""

    source: ClassVar[str] = "Gao et al. 2024, Scaling and evaluating sparse autoencoders"

    def objective(self, learner: Learner, x: torch.Tensor, y: torch.Tensor) -> Objective:
        """Squared error over the variance of y, plus α times the auxiliary error."""
        p = learner.parameters
        made, indices, values = top_k_autoencoder(
            x,
            p["W_enc"],
            p["b_enc"],
            p["W_dec"],
            self.k,
            center=p["b_dec"] if _centres(p, x) else None,
            fast=learner.fast,
        )
        residual = made + p["b_dec"] - y
        loss = residual.square().mean() / learner.variance
        on = values > 0
        fired = torch.zeros(self.n_latents, dtype=torch.bool)
        fired[indices[on]] = True
        parts = {}
        if (aux := self.auxiliary(learner, x, residual)) is not None:
            loss = loss + self.aux * aux
            parts["aux"] = float(aux.detach())
        return Objective(loss, residual.detach(), fired, float(on.sum(1).float().mean()), parts)

    def architecture(self, learner: Learner) -> dict[str, object]:
        """See ``Recipe``."""
        return {"architecture": "topk", "k": self.k}


@dataclass(frozen=True, kw_only=True)
class BatchTopK(_WithAuxiliary):
    """The k·batch largest pre-activations of a batch; a threshold takes their place afterwards.

    Attributes:
        momentum: of the mean, over batches, of the smallest value that was kept.
    """

    momentum: float = 0.99

    source: ClassVar[str] = "Bussmann et al. 2024, BatchTopK sparse autoencoders"

    def start(self, x: torch.Tensor, y: torch.Tensor, chance: torch.Generator) -> Parameters:
        """See ``Recipe``; `threshold` is negative until the first batch."""
        return {**super().start(x, y, chance), "threshold": torch.tensor(-1.0)}

    def objective(self, learner: Learner, x: torch.Tensor, y: torch.Tensor) -> Objective:
        """See ``TopK``."""
        p = learner.parameters
        f = torch.relu(centred(p, x) @ p["W_enc"].T + p["b_enc"])
        with torch.no_grad():
            kept = f.flatten().topk(min(self.k * len(x), f.numel()), sorted=False)
            mask = torch.zeros_like(f, dtype=torch.bool).view(-1)
            mask[kept.indices[kept.values > 0]] = True
            mask = mask.view_as(f)
            if bool(mask.any()):
                least = f[mask].min()
                first = float(p["threshold"]) < 0
                rest = 0.0 if first else self.momentum
                p["threshold"].mul_(rest).add_(least * (1 - rest))
        f = f * mask
        residual = f @ p["W_dec"] + p["b_dec"] - y
        loss = residual.square().mean() / learner.variance
        parts = {"threshold": float(p["threshold"])}
        if (aux := self.auxiliary(learner, x, residual)) is not None:
            loss = loss + self.aux * aux
            parts["aux"] = float(aux.detach())
        return Objective(
            loss, residual.detach(), mask.any(0), float(mask.sum(1).float().mean()), parts
        )

    def architecture(self, learner: Learner) -> dict[str, object]:
        """See ``Recipe``."""
        # the smallest kept value is on: strictly greater than a little less
        threshold = learner.parameters["threshold"].detach().clamp_min(0) * (1 - 1e-6)
        return {"architecture": "jumprelu", "threshold": threshold}


class _Jump(torch.autograd.Function):
    """h·1[h > θ] and 1[h > θ], with the pseudo-derivatives of the paper for θ (its appendix J)."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        h: torch.Tensor,
        threshold: torch.Tensor,
        bandwidth: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        on = h > threshold
        ctx.save_for_backward(h, threshold, on)
        ctx.bandwidth = bandwidth  # type: ignore[attr-defined]
        return h * on, on.to(h.dtype)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *grads: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        h, threshold, on = ctx.saved_tensors  # type: ignore[attr-defined]
        width = ctx.bandwidth  # type: ignore[attr-defined]
        near = ((h - threshold).abs() < width / 2) / width  # rectangle kernel
        to_threshold = -(near * (threshold * grads[0] + grads[1])).sum(0)
        return grads[0] * on, to_threshold, None


@dataclass(frozen=True, kw_only=True)
class JumpReLU(Recipe):
    """A learned threshold per latent, and an L0 penalty through straight-through estimates.

    Attributes:
        l0: λ of the loss, mean over tokens of [‖x̂ - x‖²/d + λ·‖f‖₀], in normalised units; it rises
            linearly over `l0_warmup` of the run.
        bandwidth: ε of the kernel.
        threshold: where all thresholds start. Both are 0.001·√d in the paper, for runs of a
            thousand times as many tokens; in short ones too few values come that near to a
            threshold to move it (bench_superposition).
    """

    l0: float = 1e-3
    l0_warmup: float = 0.25
    bandwidth: float = 0.5
    threshold: float = 0.5
    betas: tuple[float, float] = (0.0, 0.999)

    source: ClassVar[str] = "Rajamanoharan et al. 2024, Jumping ahead: JumpReLU sparse autoencoders"

    def windows(self) -> list[tuple[str, int, str]]:
        """See ``Recipe``."""
        here = round(self.l0_warmup * self.tokens)
        return [("sparsity warm-up", here, "41 M (10,000 steps of 4,096)")]

    def start(self, x: torch.Tensor, y: torch.Tensor, chance: torch.Generator) -> Parameters:
        """See ``Recipe``; thresholds are learned as logarithms, which keeps them positive."""
        start = torch.full((self.n_latents,), self.threshold).log()
        return {**super().start(x, y, chance), "log_threshold": start}

    def objective(self, learner: Learner, x: torch.Tensor, y: torch.Tensor) -> Objective:
        """See ``Recipe``."""
        p = learner.parameters
        h = torch.relu(centred(p, x) @ p["W_enc"].T + p["b_enc"])
        f, on = _Jump.apply(h, p["log_threshold"].exp(), self.bandwidth)  # type: ignore[no-untyped-call]
        residual = f @ p["W_dec"] + p["b_dec"] - y
        rising = min(1.0, (learner.done + 1) / max(1.0, self.l0_warmup * self.steps))
        l0 = on.sum(1).mean()
        return Objective(
            residual.square().mean() + self.l0 * rising * l0,
            residual.detach(),
            on.detach().bool().any(0),
            float(l0.detach()),
            {},
        )

    def architecture(self, learner: Learner) -> dict[str, object]:
        """See ``Recipe``."""
        threshold = learner.parameters["log_threshold"].detach().exp()
        return {"architecture": "jumprelu", "threshold": threshold}


def geometric_median(x: torch.Tensor, iterations: int = 100) -> torch.Tensor:
    """The point with the least sum of distances to the rows of x [n, d]: [d] (Weiszfeld's way)."""
    at = x.mean(0)
    for _ in range(iterations):
        near = (x - at).norm(dim=1).clamp_min(1e-8).reciprocal()
        new: torch.Tensor = (x * near[:, None]).sum(0) / near.sum()
        if float((new - at).norm()) <= 1e-6 * float(at.norm()):
            return new
        at = new
    return at
