"""Where a checkpoint was trained, in our words: sites out of module names and hook names."""

from __future__ import annotations

import re

from neuroglass.model.sites import TransformerLens

# end of a module's path in a block -> (site it reads, site it writes)
_MODULES = {
    "": ("resid_pre", "resid_post"),
    "mlp": ("mlp_in", "mlp_proj"),
    "feed_forward": ("mlp_in", "mlp_proj"),
    "self_attn": (None, "attn_proj"),
    "attention": (None, "attn_proj"),
    "attn": (None, "attn_proj"),
    "self_attn.o_proj": ("head_out", "attn_proj"),
    "attention.dense": ("head_out", "attn_proj"),
    "mlp.down_proj": ("neurons", "mlp_proj"),
    "pre_feedforward_layernorm": ("resid_mid", "mlp_in"),
    "post_feedforward_layernorm": ("mlp_proj", "mlp_out"),
}
_EMBED = re.compile(r"(?:.*\.)?(?:embed_tokens|embed_in|wte)")
_BLOCK = re.compile(r"(?:.*\.)?(?:layers|h|blocks)\.(\d+)\.?(.*)")


def site_of_module(path: str, end: str) -> str | None:
    """Our word for a module's ``input`` or ``output``; None if we have none."""
    if _EMBED.fullmatch(path):
        return "embed" if end == "output" else None
    match = _BLOCK.fullmatch(path)
    name = _MODULES.get(match[2], (None, None))[end == "output"] if match else None
    return f"{name}.{match[1]}" if match and name else None


def hook_name(site: str | None) -> str | None:
    """TransformerLens' name of a site, as SAELens wants it; other words stay what they are."""
    if site is None:
        return None
    match = re.fullmatch(r"[a-z_]+\.(\d+)", site)
    names = TransformerLens(int(match[1]) + 1 if match else 0, rotary=False, different={}).names()
    theirs = {str(ours): name for name, ours in reversed(names.items())}  # the first one wins
    return theirs.get(site, site)
