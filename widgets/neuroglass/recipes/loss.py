"""The output matrix and its cross-entropy in one go, a few hundred tokens at a time.

For a one-layer model most of the work is here: logits [tokens, vocabulary] are far larger than
anything else, so they are made in chunks that stay in the cache, in bfloat16, and their gradients
are made in the forward pass, while they are there.
"""

from __future__ import annotations

from typing import Any

import torch


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        targets: torch.Tensor,
        dtype: torch.dtype,
        chunk: int,
    ) -> torch.Tensor:
        n = len(x)
        x_low, w_low = x.to(dtype), weight.to(dtype)
        x_grad, w_grad = torch.empty_like(x), torch.zeros_like(weight)
        loss = torch.zeros((), dtype=torch.float64)
        for start in range(0, n, chunk):
            rows = x_low[start : start + chunk]
            wanted = targets[start : start + chunk, None]
            p = torch.softmax(rows @ w_low.t(), -1)  # [chunk, vocabulary]; sums are in float32
            loss -= p.gather(1, wanted).float().clamp_min(1e-30).log().sum()
            p.scatter_add_(1, wanted, torch.full_like(wanted, -1, dtype=dtype))
            x_grad[start : start + chunk] = p @ w_low
            w_grad += p.t() @ rows
        ctx.save_for_backward(x_grad.div_(n), w_grad.div_(n))
        return (loss / n).float()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        x_grad, w_grad = ctx.saved_tensors
        return x_grad * grads[0], w_grad * grads[0], None, None, None


def linear_cross_entropy(
    x: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    *,
    dtype: torch.dtype = torch.bfloat16,
    chunk: int = 512,
) -> torch.Tensor:
    """Mean cross-entropy of ``x @ weight.T`` against `targets`, in nats.

    Args:
        x: what the output matrix reads, [tokens, d_model], float32.
        weight: the output matrix, [vocabulary, d_model], float32.
        targets: token ids, [tokens].
        dtype: of logits, probabilities and their products; sums over the vocabulary and over
            chunks are float32. With float32 this is ``torch.nn.functional.cross_entropy``.
        chunk: tokens at a time; it changes speed and memory, not the result.
    """
    found: torch.Tensor = _LinearCrossEntropy.apply(x, weight, targets, dtype, chunk)  # type: ignore[no-untyped-call]
    return found
