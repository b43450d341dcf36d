"""Sparse latents: which features are on at which tokens, and how much."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class Latents:
    """The latents of some tokens that are not zero, in the order of the tokens.

    Attributes:
        token: int64 [n]: which token, counted over all leading dimensions of what was encoded.
        index: int64 [n]: which latent; ascending within a token.
        value: float [n]: how much; never zero.
        shape: of the dense tensor: (leading dimensions of x, n_latents).
    """

    token: torch.Tensor
    index: torch.Tensor
    value: torch.Tensor
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.value)

    @property
    def n_tokens(self) -> int:
        return int(torch.tensor(self.shape[:-1]).prod()) if len(self.shape) > 1 else 1

    def dense(self) -> torch.Tensor:
        """All latents, zeros too: `shape`. Gradients flow into `value`."""
        flat = self.value.new_zeros(self.n_tokens, self.shape[-1])
        return flat.index_put((self.token, self.index), self.value).view(self.shape)

    def of(self, index: int) -> torch.Tensor:
        """One latent at every token: the leading dimensions."""
        here = self.index == index
        flat = self.value.new_zeros(self.n_tokens)
        return flat.index_put((self.token[here],), self.value[here]).view(self.shape[:-1])

    @classmethod
    def from_dense(cls, f: torch.Tensor) -> Latents:
        """Of a dense tensor [..., n_latents]; gradients flow back into it."""
        flat = f.reshape(-1, f.shape[-1])
        token, index = flat.detach().nonzero(as_tuple=True)
        return cls(token, index, flat[token, index], tuple(f.shape))
