"""Llama-like and GPT-2 forwards written out in plain torch, one row at a time: the oracle.

Nothing of neuroglass and no module of transformers is called: only weights and sizes are read. A
row is alone, uncached and unpadded, so whatever batching, caching or hooks do elsewhere has to come
out the same as this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import gelu, silu

Change = Callable[[torch.Tensor], torch.Tensor]  # a site's value in one row -> what goes on


@dataclass
class Pass:
    """What one row's forward left: `logits` [tokens, vocabulary]; `sites` as in Run, no batch."""

    logits: torch.Tensor
    sites: dict[str, torch.Tensor] = field(repr=False)


def forward(
    hf: Any,
    ids: Sequence[int],
    changes: Mapping[str, Change] | None = None,
    *,
    norm_scale: torch.Tensor | None = None,
) -> Pass:
    """Run one row; `changes` are made at their sites. `norm_scale`: the final norm's, frozen."""
    sites: dict[str, torch.Tensor] = {}

    def at(site: str, x: torch.Tensor) -> torch.Tensor:
        change = (changes or {}).get(site)
        sites[site] = x if change is None else change(x)
        return sites[site]

    run = _gpt2 if hf.config.model_type == "gpt2" else _llama
    logits = run(hf, torch.tensor(ids), at, norm_scale)
    return Pass(logits, sites)


_At = Callable[[str, torch.Tensor], torch.Tensor]


def _attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, layer: int, at: _At, window: int | None
) -> torch.Tensor:
    """q, k, v: [tokens, heads, d_head] -> z, [tokens, heads·d_head]."""
    q, k, v = at(f"q.{layer}", q), at(f"k.{layer}", k), at(f"v.{layer}", v)
    n, heads, d = q.shape
    shared = heads // k.shape[1]  # query head h reads key-value head h // shared
    far = torch.ones(n, n, dtype=torch.bool).triu(1)
    if window is not None:
        far |= torch.ones(n, n, dtype=torch.bool).tril(-window)
    kv = [h // shared for h in range(heads)]
    scores = torch.einsum("shd,thd->hst", q, k[:, kv]) / d**0.5
    pattern = at(f"pattern.{layer}", scores.masked_fill(far, -torch.inf).softmax(-1))
    z = torch.einsum("hst,thd->shd", pattern, v[:, kv])
    return at(f"head_out.{layer}", z).flatten(1)


def rms(x: torch.Tensor, eps: float) -> torch.Tensor:
    return (x.square().mean(-1, keepdim=True) + eps).rsqrt()


def _llama(hf: Any, ids: torch.Tensor, at: _At, norm_scale: torch.Tensor | None) -> torch.Tensor:
    c = hf.config
    n, d = len(ids), c.head_dim or c.hidden_size // c.num_attention_heads
    eps, window = c.rms_norm_eps, getattr(c, "sliding_window", None)

    def linear(module: Any, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x @ module.weight.T
        return out if module.bias is None else out + module.bias

    def norm(module: Any, x: torch.Tensor) -> torch.Tensor:
        weight: torch.Tensor = module.weight
        return weight * x * rms(x, eps)

    frequency = c.rope_parameters["rope_theta"] ** -(torch.arange(0, d, 2).double() / d)
    angle = (torch.arange(n).double()[:, None] * frequency).repeat(1, 2)[:, None]

    def rotate(x: torch.Tensor) -> torch.Tensor:
        half = torch.cat([-x[..., d // 2 :], x[..., : d // 2]], -1)
        cos, sin = angle.cos().to(x), angle.sin().to(x)
        out: torch.Tensor = x * cos + half * sin
        return out

    x = at("embed", hf.model.embed_tokens.weight[ids])
    for i, block in enumerate(hf.model.layers):
        x = at(f"resid_pre.{i}", x)
        a = block.self_attn
        h = norm(block.input_layernorm, x)
        q, k, v = (linear(p, h).view(n, -1, d) for p in (a.q_proj, a.k_proj, a.v_proj))
        if hasattr(a, "q_norm"):
            q, k = norm(a.q_norm, q), norm(a.k_norm, k)
        z = _attend(rotate(q), rotate(k), v, i, at, window)
        x = x + at(f"attn_out.{i}", at(f"attn_proj.{i}", linear(a.o_proj, z)))
        x = at(f"resid_mid.{i}", x)
        m = block.mlp
        h = at(f"mlp_in.{i}", norm(block.post_attention_layernorm, x))
        neurons = at(f"neurons.{i}", silu(linear(m.gate_proj, h)) * linear(m.up_proj, h))
        x = x + at(f"mlp_out.{i}", at(f"mlp_proj.{i}", linear(m.down_proj, neurons)))
        x = at(f"resid_post.{i}", x)
    scale = rms(x, eps) if norm_scale is None else norm_scale
    return at("logits", hf.model.norm.weight * x * scale @ hf.lm_head.weight.T)


def _gpt2(hf: Any, ids: torch.Tensor, at: _At, norm_scale: torch.Tensor | None) -> torch.Tensor:
    g, n, heads = hf.transformer, len(ids), hf.config.n_head

    def linear(module: Any, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x @ module.weight + module.bias
        return out

    def norm(module: Any, x: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scale = rms(centred, module.eps) if scale is None else scale
        out: torch.Tensor = module.weight * centred * scale + module.bias
        return out

    x = at("embed", g.wte.weight[ids]) + g.wpe.weight[:n]
    for i, block in enumerate(g.h):
        x = at(f"resid_pre.{i}", x)
        qkv = linear(block.attn.c_attn, norm(block.ln_1, x)).view(n, 3, heads, -1)
        z = _attend(qkv[:, 0], qkv[:, 1], qkv[:, 2], i, at, None)
        x = x + at(f"attn_out.{i}", at(f"attn_proj.{i}", linear(block.attn.c_proj, z)))
        x = at(f"resid_mid.{i}", x)
        h = at(f"mlp_in.{i}", norm(block.ln_2, x))
        neurons = at(f"neurons.{i}", gelu(linear(block.mlp.c_fc, h), approximate="tanh"))
        x = x + at(f"mlp_out.{i}", at(f"mlp_proj.{i}", linear(block.mlp.c_proj, neurons)))
        x = at(f"resid_post.{i}", x)
    return at("logits", norm(g.ln_f, x, norm_scale) @ hf.lm_head.weight.T)
