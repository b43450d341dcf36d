"""One dictionary while it is trained: parameters, optimiser, counters, one step at a time.

Vectors of a site flow in, batch after batch; a log row for each step comes out; ``dictionary()`` is
the SAE as it stands. All that a step depends on is in ``state()``, so a run can be taken up again
on the same trajectory.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import torch

from neuroglass.sae.dictionary import SAE, Transcoder
from neuroglass.sae.recipes import Recipe
from neuroglass.sae.sparse_linear import Factors, Fast, postponed
from neuroglass.sae.spec import Spec, Weights

# what says itself where a dictionary comes from, filled in by the trainer
About = dict[str, Any]
# entries of a matrix from which gradients cost more to write and read again than to make by rows
_LARGE = 1 << 18
_OF_LATENTS = ("W_enc", "b_enc", "W_dec")  # parameters with a row for each latent


class Learner:
    """A dictionary in training.

    Args:
        recipe: how.
        x, y: some inputs [n, d_in] and targets [n, d_out] (the same for an SAE) to start from.
        more: ``more(n)`` gives n further pairs of inputs and targets, for recipes that resample.
        fast: False computes everything densely and by autograd: the reference. True takes the
            fastest way that is installed; for the others see ``top_k_autoencoder``.

    Attributes:
        parameters: name -> tensor, in normalised units.
        scale_in, scale_out: what inputs and targets are multiplied by, so that their mean ‖x‖² is
            their width.
        variance: mean squared deviation of a normalised target's entries from their mean.
        done: steps done.
        silent: int64 [n_latents]: tokens since each latent was on.
        chance: the recipe's own draws.
    """

    def __init__(
        self,
        recipe: Recipe,
        x: torch.Tensor,
        y: torch.Tensor,
        *,
        more: Callable[[int], tuple[torch.Tensor, torch.Tensor]],
        fast: Fast = True,
    ) -> None:
        self.recipe = recipe
        self.fast = fast
        self.chance = torch.Generator().manual_seed(recipe.seed)
        self._more = more
        x, y = x.float(), y.float()
        self.scale_in, self.scale_out = _scale(x), _scale(y)
        x, y = x * self.scale_in, y * self.scale_out
        self.variance = float((y - y.mean(0)).square().mean())
        self.parameters = recipe.start(x, y, self.chance)
        self.silent = torch.zeros(recipe.n_latents, dtype=torch.int64)
        self.done = 0
        learned = [p for n, p in self.parameters.items() if n != "threshold"]
        for p in learned:
            p.requires_grad_()
        self.adam = torch.optim.Adam(learned, lr=recipe.lr, betas=recipe.betas, fused=True)

    def step(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        """One step on a batch x [batch, d_in], y [batch, d_out], as captured.

        Returns:
            Figures for the log; ``fvu`` is the share of the targets' variance in this batch that
            is not explained, before the step.
        """
        recipe = self.recipe
        one = x is y and self.scale_in == self.scale_out
        x = x.float() * self.scale_in
        y = x if one else y.float() * self.scale_out
        for group in self.adam.param_groups:
            group["lr"] = recipe.rate(self.done)
        found = recipe.objective(self, x, y)
        self.adam.zero_grad()
        factors = self._backward(found.loss)
        if factors is not None:
            self._move_latents(factors)
            self.adam.step()
        else:
            self._move_all()
        self.silent += len(x)
        self.silent[found.fired] = 0
        self.done += 1
        spread = float(torch.linalg.vector_norm(y - y.mean(0))) ** 2
        row = {
            "loss": float(found.loss.detach()),
            "fvu": float(torch.linalg.vector_norm(found.residual)) ** 2 / spread,
            "l0": found.l0,
            "dead": float((self.silent > recipe.tokens / 20).float().mean()),
            **found.parts,
        }
        return row | recipe.between(self, x, y)

    def _backward(self, loss: torch.Tensor) -> Factors | None:
        """Gradients; those of large matrices as factors, where that can be had."""
        if self.parameters["W_enc"].numel() < _LARGE:
            loss.backward()
            return None
        with postponed(*(self.parameters[n] for n in _OF_LATENTS)) as waiting:
            loss.backward()
        return waiting.factors

    def _move_all(self) -> None:
        """Adam, on gradients that exist."""
        decoder = self.parameters["W_dec"]
        with torch.no_grad():
            if self.recipe.unit_norm and decoder.grad is not None:
                along = (decoder.grad * decoder).sum(1, keepdim=True)
                decoder.grad.addcmul_(along, decoder, value=-1)
            self.adam.step()
            if self.recipe.unit_norm:
                decoder.div_(decoder.norm(dim=1, keepdim=True).clamp_min(1e-12))

    def _move_latents(self, factors: Factors) -> None:
        """The same for what belongs to latents, row by row; other gradients are left."""
        from neuroglass.sae import kernels

        moved, step = [], torch.tensor(0.0)
        for name in _OF_LATENTS:
            p = self.parameters[name]
            state = self.adam.state[p]
            if not state:  # as Adam begins
                state["step"] = torch.tensor(0.0)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
            step = state["step"]
            step += 1
            moved.append(kernels.Moved(p, state["exp_avg"], state["exp_avg_sq"], p.grad))
            p.grad = None
        group = self.adam.param_groups[0]
        kernels.adam(
            factors,
            *moved,
            lr=group["lr"],
            betas=group["betas"],
            eps=group["eps"],
            step=int(step),
            unit_norm=self.recipe.unit_norm,
        )

    def more(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Some n pairs of inputs and targets, normalised."""
        x, y = self._more(n)
        return x.float() * self.scale_in, y.float() * self.scale_out

    def forget(self, latents: torch.Tensor) -> None:
        """Adam's memory of some latents (a mask [n_latents]) is cleared; they count as fresh."""
        for name in ("W_enc", "W_dec", "b_enc"):
            state = self.adam.state[self.parameters[name]]
            for key in ("exp_avg", "exp_avg_sq"):
                state[key][latents] = 0
        self.silent[latents] = 0

    def dictionary(self, name: str, about: About) -> SAE:
        """The dictionary as it stands; `about` are fields of ``Spec`` on where it belongs."""
        p = {n: t.detach().clone() for n, t in self.parameters.items()}
        own = self.recipe.architecture(self)
        threshold = cast("torch.Tensor | None", own.pop("threshold", None))
        d_in, d_out = p["W_enc"].shape[1], p["W_dec"].shape[1]
        one_site = d_in == d_out and self.scale_in == self.scale_out
        if not one_site:  # two scales: they go into the weights
            p["W_dec"] /= self.scale_out
            p["b_dec"] /= self.scale_out
            p["W_enc"] *= self.scale_in
        fields: dict[str, Any] = {
            **about,
            **own,
            "input_norm": "constant" if one_site else "none",
            "input_scale": self.scale_in if one_site else 1.0,
            "subtract_b_dec": d_in == d_out,
        }
        spec = Spec(d_in=d_in, d_out=d_out, n_latents=self.recipe.n_latents, **fields)
        b_in = self.parameters["b_dec"].detach() / self.scale_in if d_in == d_out else None
        weights = Weights(
            W_enc=p["W_enc"].T,
            b_enc=p["b_enc"],
            W_dec=p["W_dec"],
            b_dec=p["b_dec"],
            b_in=None if one_site else b_in,
            threshold=threshold,
        )
        return (Transcoder if spec.transcodes else SAE)(spec, weights, name=name)

    # ------------------------------------------------------------------ to be taken up again

    def state(self) -> tuple[dict[str, torch.Tensor], str]:
        """Tensors and JSON from which ``restore`` makes the same learner."""
        tensors = {f"parameters.{n}": p.detach() for n, p in self.parameters.items()}
        for n, p in self.parameters.items():
            for key, value in self.adam.state.get(p, {}).items():
                tensors[f"adam.{key}.{n}"] = value
        tensors["silent"] = self.silent
        tensors["chance"] = self.chance.get_state()
        scales = [self.scale_in, self.scale_out, self.variance]
        return tensors, json.dumps([self.done, *scales])

    def restore(self, tensors: dict[str, torch.Tensor], numbers: str) -> None:
        """Go back to where ``state`` was taken."""
        self.done, self.scale_in, self.scale_out, self.variance = json.loads(numbers)
        self.silent = tensors["silent"]
        self.chance.set_state(tensors["chance"])
        with torch.no_grad():
            for n, p in self.parameters.items():
                p.copy_(tensors[f"parameters.{n}"])
                kept = {
                    key: tensors[f"adam.{key}.{n}"]
                    for key in ("step", "exp_avg", "exp_avg_sq")
                    if f"adam.{key}.{n}" in tensors
                }
                if kept:
                    self.adam.state[p] = kept


def _scale(x: torch.Tensor) -> float:
    """What makes the mean ‖x‖² the width of x."""
    size = float(x.square().sum(1).mean())
    return float((x.shape[1] / size) ** 0.5) if size > 0 else 1.0
