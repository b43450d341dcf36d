"""Compiled loops of the TopK autoencoder, where numba is installed; ``sparse_linear`` calls them.

Pre-activations in bfloat16 and the exact float32 tensors flow in; chosen latents, their sum and the
gradients flow out. Plain threads share the rows of each loop; every latent and every token is
summed in a fixed order by one of them, so the result does not depend on how many there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from neuroglass.sae import loops
from neuroglass.sae.loops import Array

if TYPE_CHECKING:
    from neuroglass.sae.sparse_linear import Factors

# tokens whose proposals are held at a time: they stay in cache, and the buffer is used again
_TOKENS = 512


def forward(
    z: torch.Tensor, encoder: torch.Tensor, bias: torch.Tensor, decoder: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``top_k_autoencoder`` without graph; contiguous float32 tensors.

    Args:
        z: [tokens, d_in].
        encoder, bias: [n_latents, d_in], [n_latents].
        decoder: [n_latents, d_out].
        k: latents per token.

    Returns:
        The sum [tokens, d_out], indices int64 and values [tokens, k].
    """
    n, low = len(z), torch.bfloat16
    if not 0 < k <= len(encoder) == len(bias) == len(decoder):  # the loops check no index
        raise ValueError(f"k {k} with {len(encoder)}, {len(bias)} and {len(decoder)} latents")
    made = z.new_empty(n, decoder.shape[1])
    indices = torch.empty(n, k, dtype=torch.int64)
    values = z.new_empty(n, k)
    rows, columns = z.to(low), encoder.to(low).T
    buffer = torch.empty(min(n, _TOKENS), len(encoder), dtype=low)
    arrays = [_array(t) for t in (z, encoder, bias, decoder, indices, values, made)]
    for at in range(0, n, _TOKENS):
        end = min(at + _TOKENS, n)
        proposed = buffer[: end - at]
        torch.mm(rows[at:end], columns, out=proposed)
        _share(end - at, loops.choose, proposed.view(torch.int16).numpy(), at, *arrays)
    return made, indices, values


def values_backward(
    grad: torch.Tensor,
    encoder: torch.Tensor,
    decoder: torch.Tensor,
    indices: torch.Tensor,
    values: torch.Tensor,
    *,
    to_inputs: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Gradients of the pre-activations that were chosen [tokens, k], and of z if `to_inputs`.

    Args:
        grad: of the sum [tokens, d_out].
        encoder, decoder, indices, values: as in ``forward``.
        to_inputs: whether z needs one.
    """
    to_values = torch.empty_like(values)
    to_z = encoder.new_empty(len(grad) if to_inputs else 0, encoder.shape[1])
    arrays = [_array(t) for t in (grad, encoder, decoder, indices, values, to_values, to_z)]
    _share(len(grad), loops.values_backward, *arrays)
    return to_values, to_z if to_inputs else None


def multiply(factors: Factors, n_latents: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of encoder, bias and decoder."""
    to_encoder = factors.z.new_empty(n_latents, factors.z.shape[1])
    to_decoder = factors.z.new_empty(n_latents, factors.grad.shape[1])
    to_bias = factors.z.new_empty(n_latents)
    arrays = [_array(t) for t in (to_encoder, to_bias, to_decoder)]
    _share(n_latents, loops.multiply, *_by_latent(factors, n_latents), *arrays)
    return to_encoder, to_bias, to_decoder


@dataclass(frozen=True)
class Moved:
    """A parameter and what Adam knows of it.

    Attributes:
        parameter: [n_latents, ...].
        mean, square: running means of its gradient and of the square.
        more: a gradient that comes on top of the factors, or None.
    """

    parameter: torch.Tensor
    mean: torch.Tensor
    square: torch.Tensor
    more: torch.Tensor | None

    def arrays(self) -> tuple[Array, Array, Array, Array]:
        """For the loops; no gradient is one without rows."""
        more = self.parameter.new_empty(0, *self.parameter.shape[1:])
        more = more if self.more is None else self.more.contiguous()
        own = (self.parameter, self.mean, self.square, more)
        return cast("tuple[Array, Array, Array, Array]", tuple(map(_array, own)))


def adam(
    factors: Factors,
    encoder: Moved,
    bias: Moved,
    decoder: Moved,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    step: int,
    unit_norm: bool,
) -> None:
    """A step of Adam on all three, latent by latent: gradients never exist as matrices.

    Args:
        factors: the gradients.
        encoder, bias, decoder: what is moved, in place.
        lr, betas, eps: Adam's.
        step: which it is, from 1.
        unit_norm: keep decoder rows at norm 1: the gradient's part along a row is removed before.
    """
    n = len(encoder.parameter)
    first, second = betas
    numbers = np.array(
        [lr / (1 - first**step), first, second, (1 - second**step) ** -0.5, eps], np.float32
    )
    arrays = (*encoder.arrays(), *bias.arrays(), *decoder.arrays())
    _share(n, loops.adam, *_by_latent(factors, n), numbers, unit_norm, *arrays)


def _by_latent(factors: Factors, n_latents: int) -> tuple[Array, ...]:
    """Where each latent's entries are (see ``loops.sort``), and the factors as arrays."""
    indices = _array(factors.indices)
    starts, places = np.zeros(n_latents + 1, np.int64), np.empty(indices.size, np.int64)
    loops.sort(indices, starts, places)
    own = (factors.grad, factors.z, factors.values, factors.to_values)
    return starts, places, *map(_array, own)


# ------------------------------------------------------------------ threads


def _array(tensor: torch.Tensor) -> Array:
    return tensor.detach().numpy()


def _share(n: int, loop: Callable[..., None], *given: object) -> None:
    """loop(first, last, *given) over all of n, in as many threads as torch has."""
    threads = min(torch.get_num_threads(), n)
    if threads <= 1:
        loop(0, n, *given)
        return
    # more parts than threads: latents differ in how often they are on
    parts = min(n, 4 * threads)
    edges = [n * i // parts for i in range(parts + 1)]
    jobs = [_pool(threads).submit(loop, a, b, *given) for a, b in pairwise(edges)]
    for job in jobs:
        job.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="neuroglass-kernels")


if hasattr(os, "register_at_fork"):  # a forked process has none of the threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
