"""SAELens: ``cfg.json`` and ``sae_weights.safetensors``, of 6.x and before; the format we write.

Forwards: sae_lens/saes/*.py (6.18 and 6.54); what configs before 6.0 mean:
``handle_pre_6_0_config`` in sae_lens/loading/pretrained_sae_loaders.py. Checkpoints out of a
running training (log_threshold, topk_threshold) are opened too. W_skip is stored [d_out, d_in].
"""

from __future__ import annotations

import re
from dataclasses import asdict, fields
from itertools import pairwise
from typing import Any

import torch

from neuroglass.model.errors import InputError, nearest
from neuroglass.sae.formats.files import Config, Files
from neuroglass.sae.spec import Architecture, InputNorm, Spec, Weights

LOOKS = "a config with d_in and d_sae; tensors W_enc and W_dec"
OURS = "neuroglass"  # our part of their metadata, and the first word of architectures of our own
ARCHITECTURES: dict[str, Architecture] = {
    "standard": "relu",
    "transcoder": "relu",
    "skip_transcoder": "relu",
    "topk": "topk",
    "jumprelu": "jumprelu",
    "batchtopk": "jumprelu",
    "matryoshka_batchtopk": "jumprelu",
    "jumprelu_transcoder": "jumprelu",
    "jumprelu_skip_transcoder": "jumprelu",
    "gated": "gated",
}
# what TransformerLens' centring of writing weights changes
CENTRED = re.compile(r".*hook_(resid_pre|resid_mid|resid_post|attn_out|mlp_out|embed)")
_TENSORS = ("W_enc", "W_dec", "b_enc", "b_dec", "b_in", "threshold", "b_gate", "b_mag", "r_mag")
# in training checkpoints and old files, with another meaning than a tensor of ours
_OTHER = (
    "W_skip",
    "log_threshold",
    "topk_threshold",
    "scaling_factor",
    "finetuning_scaling_factor",
)


def recognises(files: Files) -> bool:
    """By its tensors' names, and a config that gives both widths."""
    named = files.has("W_enc", "W_dec") and files.path.suffix == ".safetensors"
    return named or (files.has("W_dec") and files.config("d_in", "d_sae") is not None)


def read(files: Files) -> tuple[Spec, Weights]:
    """The dictionary in it."""
    config = files.config("d_in", "d_sae")
    if config is None:
        broken = f" ({', '.join(files.broken)} is no JSON)" if files.broken else ""
        raise InputError(
            f"No config with 'd_in' and 'd_sae' lies beside it{broken}.", "SAELens' cfg.json."
        )
    modern = isinstance(config.values.get("metadata"), dict)
    if not modern:
        config = Config(config.name, _modern(config))
    about = config.part("metadata")
    name = config.get("architecture", str)
    own = name.startswith(f"{OURS}_")
    if name not in ARCHITECTURES and not own:
        raise InputError(f"The architecture {name!r} is not known.", nearest(name, ARCHITECTURES))
    said = None if own else _spec(files, config, about, name)
    if OURS in about.values:
        spec = _ours(about.part(OURS).part("spec"))
        _agree(config, spec, said)
    elif said is None:
        raise InputError(f"{config.name} does not say its settings under metadata.{OURS}.")
    else:
        spec = said
    return spec, _weights(files, spec, shared=about.part(OURS).get("shared_threshold", bool, False))


def _modern(config: Config) -> dict[str, Any]:
    """A config from before 6.0 in today's words."""
    old = {"hook_point": "hook_name", "hook_point_head_index": "hook_head_index"}
    values = {old.get(k, k): v for k, v in config.values.items()}
    activation = values.get("activation_fn") or values.get("activation_fn_str") or "relu"
    values.setdefault("architecture", "standard")
    if activation == "topk":
        values["architecture"] = "topk"
        values["k"] = Config(config.name, values).part("activation_fn_kwargs").get("k", int)
    elif activation != "relu":
        raise InputError(f"The activation function {activation!r} is not known.", "relu or topk.")
    values.setdefault("apply_b_dec_to_input", True)
    if isinstance(values.get("normalize_activations"), bool):
        on = values["normalize_activations"]
        values["normalize_activations"] = "expected_average_only_in" if on else "none"
    hook = str(values.get("hook_name", ""))
    values.setdefault("reshape_activations", "hook_z" if "hook_z" in hook else "none")
    values.setdefault("prepend_bos", True)
    return values | {"metadata": dict(values)}


def _spec(files: Files, config: Config, about: Config, name: str) -> Spec:
    """The settings as SAELens states them."""
    transcodes = "transcoder" in name
    d_in = config.get("d_in", int)
    subtract = config.get("apply_b_dec_to_input", bool, not transcodes)
    if transcodes and subtract:
        raise InputError(f"{config.name} says apply_b_dec_to_input of a transcoder.")
    read = about.get("hook_name", str, None)
    write = about.get("hook_name_out", str, None) if transcodes else read
    if transcodes and write in {None, read}:
        raise InputError(f"{config.name} does not say where the transcoder writes (hook_name_out).")
    about.refuse("hook_head_index", None, why="a dictionary of one head is not known")
    _same_layer(about, read)
    kind = config.get("reshape_activations", str, "none")
    if kind not in {"none", "hook_z"} or (kind == "hook_z" and not (read or "_z").endswith("_z")):
        raise InputError(f"'reshape_activations' is {kind!r} in {config.name}, at {read}.")
    norm, scale = _norm(files, config, about, read)
    if transcodes and norm not in {"none", "constant"}:
        raise InputError(
            f"A transcoder with normalize_activations {norm!r}: SAELens does not undo it.",
            "Its output would be in no unit that the model has.",
        )
    n = config.get("d_sae", int)
    return Spec(
        architecture=ARCHITECTURES[name],
        d_in=d_in,
        n_latents=n,
        d_out=config.get("d_out", int) if transcodes else d_in,
        k=config.get("k", int) if name == "topk" else None,
        input_norm=norm,
        input_scale=scale,
        subtract_b_dec=subtract,
        # only until a training ends: then the norms are put into the weights
        unit_decoder=config.get("rescale_acts_by_decoder_norm", bool, False),
        groups=_groups(config.get("matryoshka_widths", list, []), n),
        read_site=read,
        write_site=write,
        model=about.get("model_name", str, None),
        prepend_bos=about.get("prepend_bos", bool, None),
        context=about.get("context_size", int, None),
    )


def _norm(files: Files, config: Config, about: Config, read: str | None) -> tuple[InputNorm, float]:
    """What is done to the input, and by how much."""
    kind = config.get("normalize_activations", str, "none")
    centred = about.part("model_from_pretrained_kwargs").get("center_writing_weights", bool, False)
    centred = centred and CENTRED.fullmatch(read or "") is not None
    match kind:
        case "none":
            return ("center" if centred else "none"), 1.0
        case "layer_norm":  # takes the mean away anyhow
            return "layer_norm", 1.0
        case _ if centred:
            raise InputError(f"normalize_activations {kind!r} of a centred model is not known.")
        case "constant_norm_rescale":
            return "constant_norm", 1.0
        case "constant_scalar_rescale":
            return "constant", config.get("activation_normalization_factor", float)
        case "expected_average_only_in":
            beside = files.config("scaling_factor")
            found = beside.get("scaling_factor", float, None) if beside else None
            scale = found or files.input_scale
            if scale is None:
                raise InputError(
                    "normalize_activations is 'expected_average_only_in', and the scale was not "
                    "saved: no activation_scaler.json with 'scaling_factor' lies beside it.",
                    "Give it: SAE.load(path, input_scale=√d_in / mean ‖x‖).",
                )
            return "constant", float(scale)
    raise InputError(f"normalize_activations {kind!r} is not known.")


def _groups(widths: list[Any], n: int) -> tuple[int, ...]:
    """Prefix widths as group sizes; the whole is the last prefix."""
    if not widths:
        return ()
    ends = [0, *widths, *([] if widths[-1] == n else [n])]
    return tuple(b - a for a, b in pairwise(ends))


def _same_layer(about: Config, hook: str | None) -> None:
    layer = about.get("hook_layer", int, about.get("hook_point_layer", int, None))
    match = re.match(r"blocks\.(\d+)\.", hook or "")
    if layer is not None and match and int(match[1]) != layer:
        raise InputError(f"{about.name} says layer {layer} and {hook!r}.")


def _ours(config: Config) -> Spec:
    known = {f.name for f in fields(Spec)}
    if others := sorted(set(config.values) - known):
        raise InputError(
            f"{config.name} has {', '.join(map(repr, others))}.", "A later neuroglass wrote it."
        )
    values = dict(config.values)
    values["groups"] = tuple(values.get("groups", ()))
    try:
        return Spec(**values)
    except TypeError as error:  # a field without a default is missing
        raise InputError(f"{config.name} is not complete: {error}.") from error


def _agree(config: Config, ours: Spec, theirs: Spec | None) -> None:
    """What both parts of the config state must be the same."""
    pairs: dict[str, tuple[Any, Any]] = {
        "d_in": (ours.d_in, config.get("d_in", int)),
        "d_sae": (ours.n_latents, config.get("d_sae", int)),
    }
    if theirs is not None:
        same = ("architecture", "d_out", "input_norm", "subtract_b_dec")
        pairs |= {name: (getattr(ours, name), getattr(theirs, name)) for name in same}
        if theirs.k is not None:
            pairs["k"] = (ours.k, theirs.k)
    for name, (a, b) in pairs.items():
        if a != b:
            raise InputError(
                f"{config.name} says {name} {b!r}, and {a!r} under metadata.{OURS}.",
                "One of the two was changed afterwards.",
            )


def _weights(files: Files, spec: Spec, *, shared: bool) -> Weights:
    files.only((*_TENSORS, *_OTHER))
    found = {name: files.tensor(name) for name in _TENSORS if name in files.tensors}
    for name in ("scaling_factor", "finetuning_scaling_factor"):
        if name in files.tensors and not bool((files.tensor(name) == 1).all()):
            raise InputError(f"It holds a {name} that is not all ones: fine-tuned latents.")
    if "log_threshold" in files.tensors:
        found["threshold"] = files.tensor("log_threshold").float().exp()
    elif "topk_threshold" in files.tensors:
        found["threshold"] = files.tensor("topk_threshold").float()
    elif shared and "threshold" in found:
        found["threshold"] = _one(found["threshold"])
    if "W_skip" in files.tensors:
        found["W_skip"] = files.tensor("W_skip").T
    for name in ("W_enc", "W_dec", "b_dec"):
        files.tensor(name)  # says which one is missing
    return Weights(**found)


def _one(threshold: torch.Tensor) -> torch.Tensor:
    if not bool((threshold == threshold[:1]).all()):
        raise InputError("Its config says that all latents share one threshold, and they do not.")
    return threshold[0]


def settings(spec: Spec) -> dict[str, Any]:
    """The settings as JSON, for metadata."""
    return asdict(spec) | {"groups": list(spec.groups)}
