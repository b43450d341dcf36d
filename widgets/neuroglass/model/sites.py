"""Sites: the named places in a forward pass.

A site is written ``name.layer`` (``resid_post.5``) or, where there is only one in the model, just
``name`` (``embed``, ``logits``). TransformerLens hook names and Hugging Face module paths are
accepted wherever a site is, and come out as ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# name -> what the vector at this site is
SITES = {
    "embed": "token embeddings, before the first layer",
    "resid_pre": "residual stream entering the layer",
    "attn_out": "what attention adds to the residual stream",
    "resid_mid": "residual stream between attention and MLP",
    "mlp_in": "what the MLP reads, after its norm",
    "neurons": "MLP neurons: the input of the MLP's output matrix (gated: act(gate)·up)",
    "mlp_out": "what the MLP adds to the residual stream",
    "resid_post": "residual stream leaving the layer",
    "attn_proj": "output of the attention's output matrix, before any post-norm",
    "mlp_proj": "output of the MLP's output matrix, before any post-norm",
    "head_out": "each attention head's output (z), before the output matrix",
    "logits": "next-token logits",
}
WHOLE_MODEL = frozenset({"embed", "logits"})  # sites without a layer

_TRANSFORMER_LENS = {
    "hook_resid_pre": "resid_pre",
    "hook_resid_mid": "resid_mid",
    "hook_resid_post": "resid_post",
    "hook_attn_out": "attn_out",
    "hook_mlp_out": "mlp_out",
    "mlp.hook_post": "neurons",
    "attn.hook_z": "head_out",
    "ln2.hook_normalized": "mlp_in",
}
_TL_PATTERN = re.compile(r"blocks\.(\d+)\.(.+)")


@dataclass(frozen=True, slots=True)
class Site:
    """A named place in the forward pass: `name`, a key of ``SITES``, and `layer` or None."""

    name: str
    layer: int | None = None

    def __str__(self) -> str:
        return self.name if self.layer is None else f"{self.name}.{self.layer}"


def from_transformer_lens(text: str) -> str | None:
    """Our spelling of a TransformerLens hook name, or None if it is not one that we know."""
    if text == "hook_embed":
        return "embed"
    match = _TL_PATTERN.fullmatch(text)
    if match and (name := _TRANSFORMER_LENS.get(match[2])):
        return f"{name}.{match[1]}"
    return None
