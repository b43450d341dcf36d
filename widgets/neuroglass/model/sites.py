"""Sites: the named places in a forward pass.

A site is written ``name.layer`` (``resid_post.5``) or, where there is only one in the model, just
``name`` (``embed``, ``logits``). TransformerLens hook names and Hugging Face module paths are
accepted wherever a site is, and come out as ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from neuroglass.model.errors import InputError

# name -> what is at this site, in the order in which a forward pass comes by
SITES = {
    "embed": "token embeddings, before the first layer",
    "resid_pre": "residual stream entering the layer",
    "q": "queries of each head, as attention uses them (after rotary embedding)",
    "k": "keys of each key-value head, as attention uses them (after rotary embedding)",
    "v": "values of each key-value head",
    "pattern": "attention of each head from each token to each token, after softmax",
    "head_out": "each attention head's output (z), before the output matrix",
    "attn_proj": "output of the attention's output matrix, before any post-norm",
    "attn_out": "what attention adds to the residual stream",
    "resid_mid": "residual stream between attention and MLP",
    "mlp_in": "what the MLP reads, after its norm",
    "neurons": "MLP neurons: the input of the MLP's output matrix (gated: act(gate)·up)",
    "mlp_proj": "output of the MLP's output matrix, before any post-norm",
    "mlp_out": "what the MLP adds to the residual stream",
    "resid_post": "residual stream leaving the layer",
    "logits": "next-token logits",
}
ORDER = {name: i for i, name in enumerate(SITES)}
WHOLE_MODEL = frozenset({"embed", "logits"})  # sites without a layer
ATTENTION = frozenset({"q", "k", "v", "pattern"})  # seen by the attention function, not by a module
PER_HEAD = frozenset({"q", "k", "v", "head_out"})  # [batch, tokens, heads, d_head]
RESIDUAL = frozenset({"embed", "resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post"})

# checked against TransformerLens' bridge by tests/interop
_TRANSFORMER_LENS = {
    "hook_resid_pre": "resid_pre",
    "hook_resid_mid": "resid_mid",
    "hook_resid_post": "resid_post",
    "hook_attn_out": "attn_out",
    "hook_mlp_out": "mlp_out",
    "mlp.hook_post": "neurons",
    "mlp.hook_in": "mlp_in",
    "mlp.out.hook_in": "neurons",
    "mlp.out.hook_out": "mlp_proj",
    "attn.hook_z": "head_out",
    "attn.hook_v": "v",
    "attn.hook_pattern": "pattern",
    "attn.o.hook_in": "head_out",
    "attn.o.hook_out": "attn_proj",
}
_WHOLE_TL = {"hook_embed": "embed", "embed.hook_out": "embed", "unembed.hook_out": "logits"}
_NORMALIZED = re.compile(r"blocks\.(\d+)\.ln(1|2)\.hook_normalized")
# with rotary embedding TransformerLens' hook_q and hook_k are the vectors before it
_ROTARY = {"attn.hook_rot_q": "q", "attn.hook_rot_k": "k"}
_PLAIN = {"attn.hook_q": "q", "attn.hook_k": "k"}
_TL_PATTERN = re.compile(r"blocks\.(\d+)\.(.+)")


@dataclass(frozen=True, slots=True)
class Site:
    """A named place in the forward pass: `name`, a key of ``SITES``, and `layer` or None."""

    name: str
    layer: int | None = None

    def __str__(self) -> str:
        return self.name if self.layer is None else f"{self.name}.{self.layer}"

    @property
    def order(self) -> tuple[float, int]:
        """Sorts sites in the order in which a forward pass comes by."""
        whole = {"embed": -1.0, "logits": float("inf")}
        return whole.get(self.name, float(self.layer or 0)), ORDER[self.name]


def transformer_lens_names(layers: int, *, rotary: bool) -> dict[str, Site]:
    """Every TransformerLens hook name that means a site, for a model of so many layers."""
    inside = {**_TRANSFORMER_LENS, **(_ROTARY if rotary else _PLAIN)}
    return {theirs: Site(ours) for theirs, ours in _WHOLE_TL.items()} | {
        f"blocks.{layer}.{theirs}": Site(ours, layer)
        for layer in range(layers)
        for theirs, ours in inside.items()
    }


def from_transformer_lens(text: str, *, rotary: bool) -> str | None:
    """Our spelling of a TransformerLens hook name, or None if it is not one that we know.

    Raises:
        InputError: the name means something else than our site of that name.
    """
    if text in _WHOLE_TL:
        return _WHOLE_TL[text]
    if match := _NORMALIZED.fullmatch(text):
        raise InputError(
            f"{text!r} is the vector before the norm's weight, which is no site here.",
            f"What the MLP reads, the weight applied, is mlp_in.{match[1]}."
            if match[2] == "2"
            else "",
        )
    match = _TL_PATTERN.fullmatch(text)
    if match is None:
        return None
    if rotary and match[2] in _PLAIN:
        raise InputError(
            f"{text!r} is the vector before rotary embedding, which is no site here.",
            f"After it: {_PLAIN[match[2]]}.{match[1]}, in TransformerLens' words "
            f"blocks.{match[1]}.attn.hook_rot_{_PLAIN[match[2]]}.",
        )
    name = {**_TRANSFORMER_LENS, **(_ROTARY if rotary else _PLAIN)}.get(match[2])
    return f"{name}.{match[1]}" if name else None
