"""Norms, measured: what a model's own LayerNorm or RMSNorm does, whatever its class is called.

A norm is y = gain ⊙ c(x)·s + bias, where c takes the mean away (LayerNorm) or not (RMSNorm) and s,
one number per token, is the reciprocal of the standard deviation or root mean square. Gain and bias
are read off the module's answers to known vectors, since the families store them differently
(Gemma keeps gain − 1). With s frozen the norm is linear: that is how a direction is carried through
it and how its gradient is cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from neuroglass.model.errors import ModelLoadError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Norm:
    """A measured norm.

    Attributes:
        gain: float32 [width].
        bias: float32 [width].
        centred: True if the mean is taken away (LayerNorm).
    """

    module: nn.Module
    gain: torch.Tensor
    bias: torch.Tensor
    centred: bool

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The norm's answer in float32, written out with the scale that the module uses."""
        return self.linear(x, self.scale(x)) + self.bias

    def centre(self, x: torch.Tensor) -> torch.Tensor:
        """c(x)."""
        return x - x.mean(-1, keepdim=True) if self.centred else x

    def scale(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        """The scale s of each vector x [..., width]: [..., 1]; the module's epsilon is in it.

        `y` is the module's answer to x; None asks it.
        """
        with torch.no_grad():
            if y is None:
                y = self.module(x.to(next(self.module.parameters(), self.gain).dtype))
            base = self.gain * self.centre(x.float())
            told = ((y.float() - self.bias) * base).sum(-1, keepdim=True)
            # a zero vector (a padding token's embedding) tells nothing, and needs no scale
            s: torch.Tensor = told / base.square().sum(-1, keepdim=True).clamp_min(1e-30)
            return s

    def linear(self, x: torch.Tensor, scale: torch.Tensor | float = 1.0) -> torch.Tensor:
        """What a direction x becomes when the scale is frozen: gain ⊙ c(x)·scale."""
        return self.gain * self.centre(x) * scale


def measure(module: nn.Module, width: int) -> Norm:
    """Read a norm off a module that maps [..., width] to [..., width].

    Raises:
        ModelLoadError: the module does not act like a LayerNorm or an RMSNorm.
    """
    parameter = next(module.parameters(), None)
    like = torch.zeros(0) if parameter is None else parameter
    # ±1000: mean 0 and root mean square 1000, against which no epsilon counts
    wave = 1000.0 * torch.tensor([1.0, -1.0]).repeat(width)[:width]
    if width % 2:
        wave[-1] = 0.0
    rms = wave.square().mean().sqrt()
    probes = torch.stack([torch.zeros(width), wave, wave.roll(1), wave + 500.0])
    with torch.no_grad():
        zero, up, rolled, shifted = module(probes.to(like)).float()
    sign = wave / rms
    gain = torch.where(sign != 0, (up - zero) / torch.where(sign != 0, sign, 1.0), 0.0)
    if width % 2:
        gain[-1] = (rolled - zero)[-1] / (wave.roll(1)[-1] / rms)
    norm = Norm(module, gain, zero, bool(torch.allclose(shifted, up, rtol=2e-2, atol=1e-3)))
    test = torch.randn(3, width, generator=torch.Generator().manual_seed(0)).to(gain.device)
    with torch.no_grad():
        want = module(test.to(like)).float()
    centred = norm.centre(test)
    made = norm.linear(test, 1 / centred.square().mean(-1, keepdim=True).sqrt()) + norm.bias
    # epsilons are at most 1e-5 of a unit variance; 16-bit types round at 1e-2
    bound = 1e-3 if parameter is None or parameter.dtype.itemsize >= 4 else 3e-2
    if not (made - want).norm() <= bound * want.norm().clamp_min(1e-9):
        raise ModelLoadError(f"{type(module).__name__} is neither a LayerNorm nor an RMSNorm.")
    return norm
