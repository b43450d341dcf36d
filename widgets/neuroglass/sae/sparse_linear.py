"""The TopK autoencoder's forward and backward, once plainly and once touching only what is chosen.

Both give the reconstruction without bias, and the chosen latents. The fast one: a bfloat16 product
proposes candidates, float32 dot products decide among them; the decoder is a sum of rows; gradients
of the latents are dot products at the chosen places only, and those of the two matrices are sparse
products. Where numba is installed, ``kernels`` does the same in fewer passes over memory.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Literal, cast

import torch

with warnings.catch_warnings():
    # torch says once per process that sparse CSR is beta; it is asked here, where nobody listens
    warnings.simplefilter("ignore")
    torch.eye(1).to_sparse_csr()

Fast = bool | Literal["torch", "numba"]

# candidates beyond k: what a bfloat16 product ranks too low by a few places is still found
_SPARE = 8


def top_k_autoencoder(
    z: torch.Tensor,
    encoder: torch.Tensor,
    bias: torch.Tensor,
    decoder: torch.Tensor,
    k: int,
    *,
    fast: Fast,
    center: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Σ relu(h_i)·decoder_i over the k largest h of each token, h = z·encoderᵀ + bias.

    Args:
        z: [tokens, d_in].
        encoder, bias: [n_latents, d_in], [n_latents].
        decoder: [n_latents, d_out].
        k: latents per token.
        fast: the sparse way; its gradients are those of the plain way, except that a latent which
            bfloat16 ranks far too low is missed (by more than eight places; with numba, by more
            than two of its steps below the k-th). "torch" and "numba" say which code does it;
            True takes numba where it is installed and the tensors are float32 on the CPU.
        center: [d_in], subtracted from z first. Its gradient is cheaper than that of z, of which it
            would be the sum outside.

    Returns:
        The sum [tokens, d_out]; indices int64 and values [tokens, k] of the chosen latents, without
        graph. A value of zero is a latent that is off.
    """
    if fast:
        suits = all(t.dtype == torch.float32 and t.is_cpu for t in (z, encoder, bias, decoder))
        compiled = fast != "torch" and suits and _kernels() is not None
        if fast == "numba" and not compiled:
            raise ValueError("numba is not installed, or a tensor is not float32 on the CPU")
        way = _Compiled if compiled else _Sparse
        found = way.apply(z, center, encoder, bias, decoder, k)  # type: ignore[no-untyped-call]
        return cast("tuple[torch.Tensor, torch.Tensor, torch.Tensor]", found)
    z = z if center is None else z - center
    h = torch.addmm(bias, z, encoder.T)
    top = h.topk(k, dim=1)
    values = top.values.relu()
    f = torch.zeros_like(h).scatter(1, top.indices, values)
    return f @ decoder, top.indices, values.detach()


class _Sparse(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        z: torch.Tensor,
        center: torch.Tensor | None,
        encoder: torch.Tensor,
        bias: torch.Tensor,
        decoder: torch.Tensor,
        k: int,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        z = z if center is None else z - center
        low = torch.bfloat16
        proposed = torch.addmm(bias.to(low), z.to(low), encoder.to(low).T)
        some = proposed.topk(min(k + _SPARE, len(encoder)), dim=1, sorted=False).indices
        exact = dots(some, z, encoder) + bias[some]
        best = exact.topk(k, dim=1, sorted=False)
        indices, values = some.gather(1, best.indices), best.values.relu()
        made = torch.nn.functional.embedding_bag(
            indices, decoder, mode="sum", per_sample_weights=values
        )
        ctx.save_for_backward(z, encoder, decoder, indices, values)
        ctx.mark_non_differentiable(indices, values)
        return made, indices, values

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        z, encoder, decoder, indices, values = ctx.saved_tensors
        to_values = dots(indices, grads[0], decoder) * (values > 0)
        order = indices.flatten().argsort(stable=True)
        counts = torch.bincount(indices.flatten(), minlength=len(encoder))
        starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        tokens = order // indices.shape[1]

        def by_latent(weights: torch.Tensor) -> torch.Tensor:
            """[n_latents, tokens], sparse."""
            return torch.sparse_csr_tensor(
                starts,
                tokens,
                weights.flatten()[order],
                (len(encoder), len(z)),
                check_invariants=False,
            )

        to_decoder = by_latent(values) @ grads[0]
        to_encoder = by_latent(to_values) @ z
        to_bias = _sums(indices, to_values, len(encoder))
        to_z = None
        if ctx.needs_input_grad[0]:
            to_z = torch.nn.functional.embedding_bag(
                indices, encoder, mode="sum", per_sample_weights=to_values
            )
        to_center = -(to_bias @ encoder) if ctx.needs_input_grad[1] else None
        return to_z, to_center, to_encoder, to_bias, to_decoder, None


class _Compiled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        z: torch.Tensor,
        center: torch.Tensor | None,
        encoder: torch.Tensor,
        bias: torch.Tensor,
        decoder: torch.Tensor,
        k: int,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        z = z if center is None else z - center
        z, encoder, bias, decoder = (t.contiguous() for t in (z, encoder, bias, decoder))
        made, indices, values = cast("Any", _kernels()).forward(z, encoder, bias, decoder, k)
        ctx.save_for_backward(z, encoder, bias, decoder, indices, values)
        ctx.mark_non_differentiable(indices, values)
        return made, indices, values

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        kernels = cast("Any", _kernels())
        z, encoder, bias, decoder, indices, values = ctx.saved_tensors
        grad = grads[0].contiguous()
        to_values, to_z = kernels.values_backward(
            grad, encoder, decoder, indices, values, to_inputs=ctx.needs_input_grad[0]
        )
        to_center = None
        if ctx.needs_input_grad[1]:
            to_center = -(_sums(indices, to_values, len(encoder)) @ encoder)
        factors = Factors(z, grad, indices, values, to_values)
        waiting: Postponed | None = getattr(_here, "waiting", None)
        if waiting is not None and waiting.takes(factors, encoder, bias, decoder):
            return to_z, to_center, None, None, None, None
        return to_z, to_center, *kernels.multiply(factors, len(encoder)), None


# ------------------------------------------------------------------ gradients as factors


@dataclass(frozen=True, eq=False)
class Factors:
    """Gradients of the encoder (Sᵀz), the bias (Sᵀ1) and the decoder (Vᵀg), not multiplied out.

    Attributes:
        z: [tokens, d_in].
        grad: g, of the sum [tokens, d_out].
        indices: where S and V have entries [tokens, k].
        values, to_values: the entries of V and of S [tokens, k].
    """

    z: torch.Tensor
    grad: torch.Tensor
    indices: torch.Tensor
    values: torch.Tensor
    to_values: torch.Tensor


class Postponed:
    """What ``postponed`` gives: `factors` are those of the three parameters, if there are any."""

    def __init__(self, *parameters: torch.Tensor) -> None:
        self._parameters = parameters
        self.factors: Factors | None = None

    def takes(self, factors: Factors, *parameters: torch.Tensor) -> bool:
        """Keep them if they belong to these parameters, and are the first."""
        own = zip(parameters, self._parameters, strict=True)
        if self.factors is not None or any(p.data_ptr() != q.data_ptr() for p, q in own):
            return False
        self.factors = factors
        return True


_here = threading.local()  # a backward pass on the CPU runs in the thread that asks for it


@contextmanager
def postponed(
    encoder: torch.Tensor, bias: torch.Tensor, decoder: torch.Tensor
) -> Iterator[Postponed]:
    """Within it, a backward pass of the compiled way leaves the gradients of these as factors.

    An optimiser that visits row by row then needs no matrix of gradients in memory.
    """
    _here.waiting = waiting = Postponed(encoder, bias, decoder)
    try:
        yield waiting
    finally:
        _here.waiting = None


@cache
def _kernels() -> ModuleType | None:
    """The compiled loops, if numba is here (and suits this numpy)."""
    try:
        from neuroglass.sae import kernels
    except ImportError:
        return None
    return kernels


def _sums(indices: torch.Tensor, weights: torch.Tensor, n: int) -> torch.Tensor:
    """Sum of the weights at each index: [n]."""
    return weights.new_zeros(n).index_add_(0, indices.flatten(), weights.flatten())


def dots(indices: torch.Tensor, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """x[t] · rows[indices[t, j]]: [tokens, j]."""
    n, k = indices.shape
    pattern = torch.sparse_csr_tensor(
        torch.arange(0, n * k + 1, k),
        indices.flatten(),
        x.new_zeros(n * k),
        (n, len(rows)),
        check_invariants=False,
    )
    found: torch.Tensor = torch.sparse.sampled_addmm(pattern, x, rows.T, beta=0.0)
    return found.values().view(n, k)
