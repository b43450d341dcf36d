"""OpenAI's autoencoders of GPT-2 small: ``<layer>.pt``, a state dict that says its activation.

Forward (sparse_autoencoder/model.py): latents = activation(W_enc (x - pre_bias) + latent_bias);
output = W_dec latents + pre_bias. With TopK the input is first layer-normed token by token, and the
output un-normalised (nothing in the file says so but the activation's name). A file without
``activation`` is a ReLU.
"""

from __future__ import annotations

from typing import Any

import torch

from neuroglass.model.errors import InputError
from neuroglass.sae.formats.files import Files
from neuroglass.sae.spec import Spec, Weights

LOOKS = "a .pt of tensors pre_bias, latent_bias, encoder.weight and decoder.weight"
_TENSORS = ("pre_bias", "latent_bias", "encoder.weight", "decoder.weight")
_REST = (
    "stats_last_nonzero",
    "latents_activation_frequency",
    "latents_mean_square",
    "activation",
    "activation_state_dict",
    # the same once more: PyTorch asks the submodule too
    "activation.k",
    "activation.postact_fn",
)
# their folders (sparse_autoencoder/paths.py) -> our words
_LOCATIONS = {
    "mlp_post_act": "neurons",
    "resid_delta_attn": "attn_out",
    "resid_delta_mlp": "mlp_out",
    "resid_post_attn": "resid_mid",
    "resid_post_mlp": "resid_post",
}


def recognises(files: Files) -> bool:
    """By its tensors' names."""
    return files.has("pre_bias", "latent_bias")


def read(files: Files) -> tuple[Spec, Weights]:
    """The dictionary in it."""
    files.only((*_TENSORS, *_REST))
    pre_bias, latent_bias, encoder, decoder = (files.tensor(name) for name in _TENSORS)
    kind = files.tensors.get("activation", "ReLU")
    if kind not in {"ReLU", "TopK"}:
        raise InputError(f"Its activation is {kind!r}.", "ReLU and TopK are known.")
    top = kind == "TopK"
    site = _site(files)
    spec = Spec(
        architecture="topk" if top else "relu",
        d_in=pre_bias.numel(),
        n_latents=latent_bias.numel(),
        d_out=pre_bias.numel(),
        k=_k(files.tensors.get("activation_state_dict")) if top else None,
        input_norm="layer_norm" if top else "none",
        read_site=site,
        write_site=site,
        model="gpt2" if site else None,
    )
    return spec, Weights(W_enc=encoder.T, b_enc=latent_bias, W_dec=decoder.T, b_dec=pre_bias)


def _k(state: Any) -> int:
    state = state if isinstance(state, dict) else {}
    if state.get("postact_fn", "ReLU") != "ReLU":
        raise InputError(
            f"Its 'postact_fn' is {state['postact_fn']!r}: its latents may be negative.",
            "Only ReLU is known.",
        )
    k = state.get("k")
    if not isinstance(k, int | torch.Tensor):
        raise InputError("It is a TopK, and its 'activation_state_dict' does not say 'k'.")
    return int(k)


def _site(files: Files) -> str | None:
    """Only the folders that they lie in say it: ``<location>_v5_32k/autoencoders/<layer>.pt``."""
    where = files.path.absolute().parts[-3:]
    layer = files.path.stem
    for theirs, ours in _LOCATIONS.items():
        if layer.isdecimal() and any(p == theirs or p.startswith(f"{theirs}_v") for p in where):
            return f"{ours}.{layer}"
    return None
