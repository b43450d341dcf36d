"""Llama Scope: ``hyperparams.json`` and ``checkpoints/final.safetensors``, or the later R1 files.

Forward (Language-Model-SAEs at the time of the release, commit 1e710367, sae.py): inputs are
multiplied by c_in = √d / (mean ‖x‖), outputs divided by c_out, which for a transcoder is another
number. Then both are folded into the weights, decoder rows are brought to norm 1, and the one
``jump_relu_threshold`` is compared: it is in the output's own units. We keep the weights as they
are (latents in normalised units, as in SAELens), so h · ‖W_dec‖ > threshold · c_out.
In the later files (``log_jumprelu_threshold``) the threshold was learned in normalised units.
"""

from __future__ import annotations

import math
import re

import torch

from neuroglass.model.errors import InputError
from neuroglass.sae.formats.files import Config, Files
from neuroglass.sae.spec import Architecture, InputNorm, Spec, Weights

LOOKS = "a config with hook_point_in and d_model; tensors encoder.weight and decoder.weight"
_TENSORS = ("encoder.weight", "encoder.bias", "decoder.weight")
_LEARNED = "log_jumprelu_threshold"
_NORM = "dataset_average_activation_norm"
_KINDS: dict[str, Architecture] = {"relu": "relu", "topk": "topk", "jumprelu": "jumprelu"}


def recognises(files: Files) -> bool:
    """By nn.Linear's names in a safetensors file, or by the config."""
    linear = files.has("encoder.weight", "decoder.weight")
    return linear and (files.path.suffix == ".safetensors" or _config(files) is not None)


def _config(files: Files) -> Config | None:
    return files.config("hook_point_in", "d_model")


def read(files: Files) -> tuple[Spec, Weights]:
    """The dictionary in it."""
    config = _config(files)
    if config is None:
        raise InputError(
            "No config with 'hook_point_in' and 'd_model' lies beside it.",
            "Llama Scope's hyperparams.json or config.json.",
        )
    config.refuse("use_glu_encoder", None, False, why="an encoder with a gate is not known")
    bias = config.get("use_decoder_bias", bool, True)
    names = (*_TENSORS, *(["decoder.bias"] if bias else []))
    places = [config.get("hook_point_in", str), config.get("hook_point_out", str)]
    norms = [f"{_NORM}.{place}" for place in places]
    files.only((*names, _LEARNED, *norms))
    w_enc, b_enc, w_dec, *b_dec = (files.tensor(name) for name in names)
    kind = config.get("act_fn", str).lower()
    fixed = config.get("jump_relu_threshold", float, 0.0)
    if kind == "topk" and fixed > 0:  # the release's own code opens it so
        kind = "jumprelu"
    if kind not in _KINDS:
        raise InputError(f"'act_fn' in {config.name} is {kind!r}.", f"Known: {', '.join(_KINDS)}.")
    d = config.get("d_model", int)
    n = config.get("d_sae", int, 0)
    by_norm = config.get("sparsity_include_decoder_norm", bool)
    scheme, c_in, c_out = _scales(files, config, norms, d)
    threshold = None
    if kind == "jumprelu":
        if _LEARNED in files.tensors:
            threshold = files.tensor(_LEARNED).float().exp()
        else:
            fixed = config.get("jump_relu_threshold", float)
            threshold = torch.tensor(fixed * (c_out if by_norm else c_in))
    spec = Spec(
        architecture=_KINDS[kind],
        d_in=d,
        n_latents=n or int(d * config.get("expansion_factor", float)),
        d_out=d,
        k=config.get("top_k", int) if kind == "topk" else None,
        input_norm=scheme,
        input_scale=c_in,
        output_scale=None if c_in == c_out else c_out,
        subtract_b_dec=bias and config.get("apply_decoder_bias_to_pre_encoder", bool, False),
        unit_decoder=by_norm,
        read_site=places[0],
        write_site=places[1],
        model=config.get("model_name", str, _model(str(files.path.absolute()))),
    )
    return spec, Weights(
        W_enc=w_enc.T,
        b_enc=b_enc,
        W_dec=w_dec.T,
        b_dec=b_dec[0] if b_dec else w_dec.new_zeros(d),
        threshold=threshold,
    )


def _scales(
    files: Files, config: Config, norms: list[str], d: int
) -> tuple[InputNorm, float, float]:
    """How inputs are normalised, c_in and c_out."""
    scheme = config.get("norm_activation", str)
    if scheme == "inference":  # already in the weights
        return "none", 1.0, 1.0
    if scheme == "token-wise" and norms[0] == norms[1]:
        return "constant_norm", 1.0, 1.0
    if scheme != "dataset-wise":
        raise InputError(
            f"'norm_activation' in {config.name} is {scheme!r}.",
            "Its scale depends on what else is in the batch, or on an output nobody has yet.",
        )
    if files.has(*norms):
        c_in, c_out = (math.sqrt(d) / files.number(name) for name in norms)
    elif _NORM in config.values:
        means = config.part(_NORM)
        c_in, c_out = (math.sqrt(d) / means.get(end, float) for end in ("in", "out"))
    elif files.input_scale is not None and norms[0] == norms[1]:
        c_in = c_out = files.input_scale
    else:
        raise InputError(
            f"'norm_activation' in {config.name} is 'dataset-wise', and nothing says by how much.",
            "Give it: SAE.load(path, input_scale=√d / mean ‖x‖).",
        )
    return "constant", c_in, c_out


def _model(path: str) -> str | None:
    return "meta-llama/Llama-3.1-8B" if re.search("Llama3_1-8B-Base-L", path) else None
