"""Sites: the named places in a forward pass.

A site is written ``name.layer`` (``resid_post.5``) or, where there is only one in the model, just
``name`` (``embed``, ``logits``). TransformerLens hook names and Hugging Face module paths are
accepted wherever a site is, and come out as ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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


class TransformerLens:
    """TransformerLens' hook names for one model.

    Args:
        layers: how many there are.
        rotary: True where queries and keys are rotated: then hook_q and hook_k are not our q and k.
        different: names (in a block, or of the whole model) that mean something else in this
            family, and what.
    """

    def __init__(self, layers: int, *, rotary: bool, different: Mapping[str, str]) -> None:
        self._layers = layers
        self._inside = {**_TRANSFORMER_LENS, **(_ROTARY if rotary else _PLAIN)}
        before = "the vector before rotary embedding; after it there is attn.hook_rot_{}"
        weight = "the vector before the norm's weight"
        self._different = {
            "ln1.hook_normalized": weight,
            "ln2.hook_normalized": f"{weight}; what the MLP reads is mlp.hook_in",
            **({f"attn.hook_{n}": before.format(n) for n in "qk"} if rotary else {}),
            **different,
        }

    def read(self, text: str) -> str | None:
        """Our spelling of a hook name, or None if it is not one that we know.

        Raises:
            InputError: it is the name of something that is no site of ours.
        """
        match = _TL_PATTERN.fullmatch(text)
        inner = match[2] if match else text
        if inner in self._different:
            raise InputError(
                f"In TransformerLens {text!r} is {self._different[inner]}: it is no site here."
            )
        if match is None:
            return _WHOLE_TL.get(text)
        name = self._inside.get(inner)
        return f"{name}.{match[1]}" if name else None

    def names(self) -> dict[str, Site]:
        """Every hook name that means a site."""
        whole = {theirs: Site(ours) for theirs, ours in _WHOLE_TL.items()}
        return {n: site for n, site in whole.items() if n not in self._different} | {
            f"blocks.{layer}.{theirs}": Site(ours, layer)
            for layer in range(self._layers)
            for theirs, ours in self._inside.items()
            if theirs not in self._different
        }
