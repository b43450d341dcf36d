"""Model families as a table: where each site lives in an unmodified Hugging Face model.

A row says, for every site, which module to listen to and at which end. Nothing else in the package
knows a module name. ``verify`` checks a loaded model against the sums of the residual stream, so a
wrong row is an error at load and never a wrong picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from neuroglass.model.errors import ModelLoadError

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Tap:
    """One end of a module: `path` inside a block ("" = the block itself), its input or output."""

    path: str
    at: Literal["input", "output"]


@dataclass(frozen=True, slots=True)
class Family:
    """Where the sites of one kind of decoder are.

    `blocks`, `embed`: module paths from the model's root. `taps`: site name -> tap in a block.
    `attn_matrix`, `mlp_matrix`: the output matrices W_O and W_out in a block.
    """

    name: str
    model_types: tuple[str, ...]
    blocks: str
    embed: str
    taps: Mapping[str, Tap]
    attn_matrix: str
    mlp_matrix: str


def _sequential(attn: str, mlp: str, attn_out: str, mlp_out: str, ln2: str) -> dict[str, Tap]:
    """Taps of a pre-norm block in which attention comes first and the MLP second."""
    return {
        "resid_pre": Tap("", "input"),
        "attn_out": Tap(attn, "output"),
        "attn_proj": Tap(f"{attn}.{attn_out}", "output"),
        "head_out": Tap(f"{attn}.{attn_out}", "input"),
        "resid_mid": Tap(ln2, "input"),
        "mlp_in": Tap(mlp, "input"),
        "neurons": Tap(f"{mlp}.{mlp_out}", "input"),
        "mlp_proj": Tap(f"{mlp}.{mlp_out}", "output"),
        "mlp_out": Tap(mlp, "output"),
        "resid_post": Tap("", "output"),
    }


FAMILIES = (
    Family(
        name="Llama",
        model_types=("llama", "mistral", "qwen2", "qwen3"),
        blocks="model.layers",
        embed="model.embed_tokens",
        taps=_sequential("self_attn", "mlp", "o_proj", "down_proj", "post_attention_layernorm"),
        attn_matrix="self_attn.o_proj",
        mlp_matrix="mlp.down_proj",
    ),
    Family(
        name="GPT-2",
        model_types=("gpt2",),
        blocks="transformer.h",
        embed="transformer.wte",
        taps=_sequential("attn", "mlp", "c_proj", "c_proj", "ln_2"),
        attn_matrix="attn.c_proj",
        mlp_matrix="mlp.c_proj",
    ),
)


def family_of(model_type: str) -> Family:
    """The row for a config's `model_type`.

    Raises:
        ModelLoadError: no row covers it; the message lists those that exist.
    """
    for family in FAMILIES:
        if model_type in family.model_types:
            return family
    known = ", ".join(t for f in FAMILIES for t in f.model_types)
    raise ModelLoadError(
        f"neuroglass does not know where the sites of a {model_type!r} model are.",
        f"Known model types: {known}.",
    )


def project(matrix: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """`x·W + b` written out, for nn.Linear ([out, in]) and GPT-2's Conv1D ([in, out])."""
    weight = cast("torch.Tensor", matrix.weight).float()
    if type(matrix).__name__ != "Conv1D":
        weight = weight.T
    out = x.float() @ weight
    bias: torch.Tensor | None = getattr(matrix, "bias", None)
    return out if bias is None else out + bias.float()


def verify(
    hf: PreTrainedModel, family: Family, sites: Mapping[str, torch.Tensor], n_layers: int
) -> None:
    """Check captured sites against the residual sums, in every layer.

    neurons·W_out + b = mlp_proj; head_out·W_O + b = attn_proj;
    resid_post = resid_pre + attn_out + mlp_out. The bound is relative to the norm of the right-hand
    side: 1e-4 in float32 (rounding is about 1e-6), 5e-2 in 16-bit types (rounding is about 1e-2).

    Raises:
        ModelLoadError: names the sum and the layer that fail.
    """
    blocks = hf.get_submodule(family.blocks)
    bound = 1e-4 if hf.dtype.itemsize >= 4 else 5e-2
    for layer in range(n_layers):
        at = {name: sites[f"{name}.{layer}"] for name in family.taps}
        block = blocks.get_submodule(str(layer))
        sums = {
            "mlp_proj = neurons·W_out + b": (
                at["mlp_proj"],
                project(block.get_submodule(family.mlp_matrix), at["neurons"]),
            ),
            "attn_proj = head_out·W_O + b": (
                at["attn_proj"],
                project(block.get_submodule(family.attn_matrix), at["head_out"].flatten(-2)),
            ),
            "resid_post = resid_pre + attn_out + mlp_out": (
                at["resid_post"],
                at["resid_pre"].float() + at["attn_out"].float() + at["mlp_out"].float(),
            ),
        }
        for text, (have, want) in sums.items():
            error = (have.float() - want).norm() / want.norm().clamp_min(1e-9)
            if not error <= bound:  # a NaN fails too
                raise ModelLoadError(
                    f"This {hf.config.model_type} model does not obey {text} in layer {layer} "
                    f"(relative error {error:.2g}, allowed {bound:g}).",
                    "Its architecture differs from the family's table: sites would be wrong, "
                    "so it is not opened.",
                )
