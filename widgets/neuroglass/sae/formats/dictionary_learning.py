"""dictionary_learning: ``ae.pt`` and ``config.json``, whose ``trainer.dict_class`` names the class.

The forwards are those of dictionary_learning/dictionary.py and trainers/*.py. Biases are saved for
inputs as they are, so ``norm_factor`` is not applied again. ``load_dictionary`` there rescales an
``AutoEncoder`` to unit decoder norm, and ``AutoEncoderNew`` multiplies its features by it: both are
latents in units of the decoder's norm. BatchTopK and Matryoshka use their threshold after training,
TopK uses k.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from neuroglass.model.errors import InputError, nearest
from neuroglass.sae.formats.files import Config, Files
from neuroglass.sae.spec import Architecture, Spec, Weights

LOOKS = "a .pt of tensors encoder.weight and decoder.weight, or W_enc and W_dec; trainer.dict_class"


@dataclass(frozen=True)
class _Class:
    """`names`: our tensor -> theirs; `extra`: what else may be in the file."""

    architecture: Architecture
    names: dict[str, str]
    turned: bool = True  # nn.Linear holds [out, in]
    extra: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


_LINEAR = {"W_enc": "encoder.weight", "W_dec": "decoder.weight", "b_enc": "encoder.bias"}
_PLAIN = {n: n for n in ("W_enc", "W_dec", "b_enc", "b_dec")}
_THRESHOLD = {"threshold": "threshold"}
CLASSES = {
    "AutoEncoder": _Class("relu", _LINEAR | {"b_dec": "bias"}, settings={"unit_decoder": True}),
    "AutoEncoderNew": _Class(
        "relu",
        _LINEAR | {"b_dec": "decoder.bias"},
        settings={"unit_decoder": True, "subtract_b_dec": False},
    ),
    "GatedAutoEncoder": _Class(
        "gated",
        {
            "W_enc": "encoder.weight",
            "W_dec": "decoder.weight",
            "b_dec": "decoder_bias",
            "r_mag": "r_mag",
            "b_gate": "gate_bias",
            "b_mag": "mag_bias",
        },
    ),
    "AutoEncoderTopK": _Class("topk", _LINEAR | {"b_dec": "b_dec"}, extra=("k", "threshold")),
    "BatchTopKSAE": _Class("jumprelu", _LINEAR | {"b_dec": "b_dec"} | _THRESHOLD, extra=("k",)),
    "MatryoshkaBatchTopKSAE": _Class(
        "jumprelu", _PLAIN | _THRESHOLD, turned=False, extra=("k", "group_sizes")
    ),
    "JumpReluAutoEncoder": _Class(
        "jumprelu", _PLAIN | _THRESHOLD, turned=False, settings={"subtract_b_dec": False}
    ),
}


def recognises(files: Files) -> bool:
    """By the tensors of one of its classes, in a ``.pt``."""
    if files.path.suffix not in {".pt", ".pth"}:
        return False
    backup = "ae" in files.tensors and "optimizer" in files.tensors
    linear = files.has("encoder.weight", "decoder.weight") and not files.has("pre_bias")
    return backup or linear or files.has("W_enc", "W_dec")


def read(files: Files) -> tuple[Spec, Weights]:
    """The dictionary in it."""
    if "optimizer" in files.tensors:
        raise InputError(
            "It is a backup for going on with a training: its biases are not yet multiplied by "
            "the norm factor.",
            "Open the ae.pt that the finished run wrote, or one in its checkpoints/.",
        )
    config = files.config("trainer")
    if config is None:
        broken = f" ({', '.join(files.broken)} is no JSON)" if files.broken else ""
        raise InputError(
            f"No config with 'trainer.dict_class' lies beside it{broken}.",
            "TopK and BatchTopK, for one, look the same without.",
        )
    trainer = Config(f"{config.name}: trainer", config.get("trainer", dict))
    chosen = trainer.get("dict_class", str)
    if chosen not in CLASSES:
        raise InputError(f"There is no reader for {chosen!r}.", nearest(chosen, CLASSES))
    kind = CLASSES[chosen]
    found = {ours: files.tensor(theirs) for ours, theirs in kind.names.items()}
    files.only({*kind.names.values(), *kind.extra})
    if kind.turned:
        found |= {name: found[name].T for name in ("W_enc", "W_dec")}
    width = trainer.get("activation_dim", int)
    read_site = _site(trainer, config)
    spec = Spec(
        architecture=kind.architecture,
        d_in=width,
        n_latents=trainer.get("dict_size", int),
        d_out=width,
        k=_k(files, trainer) if "k" in kind.extra else None,
        groups=_groups(files) if "group_sizes" in kind.extra else (),
        read_site=read_site,
        write_site=read_site,
        model=trainer.get("lm_name", str, None),
        context=config.part("buffer").get("ctx_len", int, None),
        **kind.settings,
    )
    return spec, Weights(**found)


def _k(files: Files, trainer: Config) -> int:
    """From both places, which must agree."""
    said = trainer.get("k", int, None)
    stored = int(files.number("k")) if "k" in files.tensors else None
    if said is not None and stored is not None and said != stored:
        raise InputError(f"k is {stored} in the file and {said} in {trainer.name}.")
    return trainer.get("k", int) if stored is None else stored


def _groups(files: Files) -> tuple[int, ...]:
    return tuple(int(size) for size in files.tensor("group_sizes").flatten().tolist())


def _site(trainer: Config, config: Config) -> str | None:
    """``submodule_name`` is a word of the training script; `layer` alone names no site."""
    name = trainer.get("submodule_name", str, None)
    match = re.fullmatch(r"(resid_post|mlp_out|attention_out)_layer_(\d+)", name or "")
    if match is None or config.part("buffer").get("io", str, "out") != "out":
        return None
    layer = trainer.get("layer", int, int(match[2]))
    if layer != int(match[2]):
        raise InputError(f"{trainer.name} says layer {layer} and submodule_name {name!r}.")
    # mlp_out and attention_out are outputs of modules there, so before a post-norm
    word = {"mlp_out": "mlp_proj", "attention_out": "attn_proj"}.get(match[1], match[1])
    return f"{word}.{layer}"
