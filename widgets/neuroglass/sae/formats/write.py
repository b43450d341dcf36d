"""Writing a dictionary in the format of SAELens: ``cfg.json`` and ``sae_weights.safetensors``.

Constant scales and decoder norms go into the weights, since SAELens has no other place that it
applies by itself. What it has no words for is written under an architecture of our own, so that
SAELens refuses it instead of computing something else; all our settings stand in ``metadata``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from neuroglass.sae.formats.saelens import CENTRED, OURS, settings
from neuroglass.sae.formats.words import hook_name
from neuroglass.sae.spec import Spec, Weights, folding

if TYPE_CHECKING:
    from neuroglass.sae.dictionary import SAE

# a config that states no version is read as one from before 6.0
_VERSION = "6.0.0"
_STANDARD = {"relu": "standard", "topk": "topk", "jumprelu": "jumprelu", "gated": "gated"}
_TRANSCODERS = {
    ("relu", False): "transcoder",
    ("relu", True): "skip_transcoder",
    ("jumprelu", False): "jumprelu_transcoder",
    ("jumprelu", True): "jumprelu_skip_transcoder",
}
_NORMS = {"constant_norm": "constant_norm_rescale", "layer_norm": "layer_norm"}


def write(sae: SAE, folder: Path) -> Path:
    """Write both files; an older pair is replaced when the new one is complete."""
    spec, factors = folding(sae.spec, sae.weights)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = _tensors(sae.weights, factors, spec)
    config = _config(sae, spec, str(tensors["W_dec"].dtype).removeprefix("torch."))
    # beside, then over: the old file may be mapped by the very dictionary that is written
    parts = {"sae_weights.safetensors": folder / ".weights.part", "cfg.json": folder / ".cfg.part"}
    save_file(tensors, parts["sae_weights.safetensors"])
    parts["cfg.json"].write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    for name, part in parts.items():
        part.replace(folder / name)
    return folder


def _tensors(
    weights: Weights, factors: dict[str, torch.Tensor], spec: Spec
) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for name in weights.__dataclass_fields__:
        tensor: torch.Tensor | None = getattr(weights, name)
        if tensor is None:
            continue
        tensor = tensor.detach().cpu()
        if name in factors:
            tensor = tensor.float() * factors[name].cpu()
        if name == "threshold":
            tensor = tensor.expand(spec.n_latents)
        found[name] = (tensor.T if name == "W_skip" else tensor).clone(
            memory_format=torch.contiguous_format
        )
    return found


def _config(sae: SAE, spec: Spec, dtype: str) -> dict[str, Any]:
    read, write = hook_name(spec.read_site), hook_name(spec.write_site)
    architecture = _architecture(spec, sae.weights, read)
    own = architecture.startswith(OURS)
    threshold = sae.weights.threshold
    made: dict[str, Any] = {
        "architecture": architecture,
        "d_in": spec.d_in,
        "d_sae": spec.n_latents,
        "dtype": dtype,
        "device": "cpu",
        "apply_b_dec_to_input": spec.subtract_b_dec,
        "normalize_activations": _NORMS.get(spec.input_norm, "none"),
        "reshape_activations": "hook_z" if (read or "").endswith("hook_z") else "none",
        "metadata": {
            "sae_lens_version": _VERSION,
            "model_name": spec.model,
            "hook_name": read,
            "hook_head_index": None,
            "prepend_bos": spec.prepend_bos,
            "context_size": spec.context,
            OURS: {
                "name": sae.name,
                "shared_threshold": threshold is not None and not threshold.ndim,
                "spec": settings(spec),
            },
        },
    }
    if spec.input_norm == "center" and not own:
        made["metadata"]["model_from_pretrained_kwargs"] = {"center_writing_weights": True}
    if architecture == "topk":
        made |= {"k": spec.k, "rescale_acts_by_decoder_norm": False}
    if spec.transcodes:
        made["d_out"] = spec.d_out
        made["metadata"] |= {"hook_name_out": write, "hook_head_index_out": None}
    return made


def _architecture(spec: Spec, weights: Weights, read: str | None) -> str:
    """SAELens' word where it computes the same, else one of ours."""
    skip = weights.W_skip is not None
    name: str | None
    if spec.transcodes:
        name = _TRANSCODERS.get((spec.architecture, skip))
        if spec.input_norm != "none" or spec.subtract_b_dec:
            name = None
        if spec.write_site in {None, spec.read_site}:  # then only the widths differ
            name = None
    else:
        name = None if skip else _STANDARD.get(spec.architecture)
    if spec.input_norm == "center" and not CENTRED.fullmatch(read or ""):
        name = None
    unfolded = spec.input_norm == "constant" or spec.unit_decoder
    if name is None or weights.b_in is not None or unfolded:
        return f"{OURS}_{spec.architecture}"
    return name
