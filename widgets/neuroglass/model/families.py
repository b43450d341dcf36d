"""Model families as a table: where each site lives in an unmodified Hugging Face model.

A row says, for every site, which module to listen to and at which end. Nothing else in the package
knows a module name. ``verify`` checks a loaded model against the sums of the residual stream, so a
wrong row is an error at load and never a wrong picture. What attention computes inside (``q``,
``k``, ``v``, ``pattern``) needs no row: see ``attention``. A decoder that is not in the table is
looked at by ``probe``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from neuroglass.model.errors import ModelLoadError

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

    from neuroglass.model.norms import Norm


@dataclass(frozen=True, slots=True)
class Tap:
    """One end of a module: `path` inside a block ("" = the block itself), its input or output."""

    path: str
    at: Literal["input", "output"]


@dataclass(frozen=True, slots=True)
class Family:
    """Where the sites of one kind of decoder are.

    `blocks`, `embed`, `norm` (the final one): module paths from the model's root. `taps`: site name
    -> tap in a block. `attn`: the module in a block that calls the attention function.
    `attn_matrix`, `mlp_matrix`: the output matrices W_O and W_out in a block, None where there is
    none. `attn_norm`, `mlp_norm`: norms between those and the residual stream. `absent`: site name
    -> why the family does not have it. `when`: the row holds only for configs for which this is
    true. `transformer_lens`: its names that mean something else in this family -> what.
    """

    name: str
    model_types: tuple[str, ...]
    blocks: str
    embed: str
    norm: str | None
    taps: Mapping[str, Tap]
    attn: str | None
    attn_matrix: str | None
    mlp_matrix: str | None
    attn_norm: str | None = None
    mlp_norm: str | None = None
    absent: Mapping[str, str] = field(default_factory=dict)
    transformer_lens: Mapping[str, str] = field(default_factory=dict)
    when: Callable[[Any], bool] = field(default=lambda _: True, repr=False)

    def block(self, hf: PreTrainedModel, layer: int, path: str | None = "") -> nn.Module:
        """A module in a block (the block itself for "")."""
        return hf.get_submodule(".".join(p for p in (self.blocks, str(layer), path) if p))


def _taps(
    attn: str,
    attn_matrix: str,
    mlp_matrix: str,
    *,
    attn_out: str | None = None,
    resid_mid: Tap | None,
    mlp_in: Tap,
    mlp_out: str,
) -> dict[str, Tap]:
    """Taps of a block; `attn_out` and `mlp_out` are the last modules before the residual stream."""
    return {
        "resid_pre": Tap("", "input"),
        "head_out": Tap(attn_matrix, "input"),
        "attn_proj": Tap(attn_matrix, "output"),
        "attn_out": Tap(attn_out or attn, "output"),
        **({"resid_mid": resid_mid} if resid_mid else {}),
        "mlp_in": mlp_in,
        "neurons": Tap(mlp_matrix, "input"),
        "mlp_proj": Tap(mlp_matrix, "output"),
        "mlp_out": Tap(mlp_out, "output"),
        "resid_post": Tap("", "output"),
    }


_LLAMA = Family(
    name="Llama",
    model_types=("llama", "mistral", "qwen2", "qwen3"),
    blocks="model.layers",
    embed="model.embed_tokens",
    norm="model.norm",
    taps=_taps(
        "self_attn",
        "self_attn.o_proj",
        "mlp.down_proj",
        resid_mid=Tap("post_attention_layernorm", "input"),
        mlp_in=Tap("mlp", "input"),
        mlp_out="mlp",
    ),
    attn="self_attn",
    attn_matrix="self_attn.o_proj",
    mlp_matrix="mlp.down_proj",
)
_GEMMA = replace(
    _LLAMA,
    name="Gemma 2 and 3",
    model_types=("gemma2", "gemma3_text"),
    taps=_taps(
        "self_attn",
        "self_attn.o_proj",
        "mlp.down_proj",
        attn_out="post_attention_layernorm",
        resid_mid=Tap("pre_feedforward_layernorm", "input"),
        mlp_in=Tap("mlp", "input"),
        mlp_out="post_feedforward_layernorm",
    ),
    attn_norm="post_attention_layernorm",
    mlp_norm="post_feedforward_layernorm",
)
_NEOX = Family(
    name="GPT-NeoX",
    model_types=("gpt_neox",),
    when=lambda config: not config.use_parallel_residual,
    blocks="gpt_neox.layers",
    embed="gpt_neox.embed_in",
    norm="gpt_neox.final_layer_norm",
    taps=_taps(
        "attention",
        "attention.dense",
        "mlp.dense_4h_to_h",
        resid_mid=Tap("post_attention_layernorm", "input"),
        mlp_in=Tap("mlp", "input"),
        mlp_out="mlp",
    ),
    attn="attention",
    attn_matrix="attention.dense",
    mlp_matrix="mlp.dense_4h_to_h",
)
PARALLEL = (
    "attention and MLP read the same residual stream and are added together, so that there is no "
    "stream between them"
)

FAMILIES = (
    _LLAMA,
    _GEMMA,
    replace(
        _GEMMA,
        name="Gemma 3, multimodal",
        model_types=("gemma3",),
        blocks="model.language_model.layers",
        embed="model.language_model.embed_tokens",
        norm="model.language_model.norm",
    ),
    replace(
        _GEMMA,
        name="OLMo 2",
        model_types=("olmo2",),
        taps={**_GEMMA.taps, "resid_mid": Tap("mlp", "input")},
    ),
    replace(_LLAMA, name="Phi-3", model_types=("phi3",)),
    _NEOX,
    replace(
        _NEOX,
        name="GPT-NeoX, parallel residual",
        when=lambda config: bool(config.use_parallel_residual),
        taps={name: tap for name, tap in _NEOX.taps.items() if name != "resid_mid"},
        absent={"resid_mid": PARALLEL},
    ),
    Family(
        name="GPT-2",
        model_types=("gpt2",),
        blocks="transformer.h",
        embed="transformer.wte",
        norm="transformer.ln_f",
        taps=_taps(
            "attn",
            "attn.c_proj",
            "mlp.c_proj",
            resid_mid=Tap("ln_2", "input"),
            mlp_in=Tap("mlp", "input"),
            mlp_out="mlp",
        ),
        attn="attn",
        attn_matrix="attn.c_proj",
        mlp_matrix="mlp.c_proj",
    ),
    Family(
        name="OPT",
        model_types=("opt",),
        # opt-350m normalises the residual stream itself: the sums do not hold there
        when=lambda config: bool(config.do_layer_norm_before),
        blocks="model.decoder.layers",
        embed="model.decoder.embed_tokens",
        norm="model.decoder.final_layer_norm",
        taps=_taps(
            "self_attn",
            "self_attn.out_proj",
            "fc2",
            resid_mid=Tap("final_layer_norm", "input"),
            mlp_in=Tap("fc1", "input"),
            mlp_out="fc2",
        ),
        attn="self_attn",
        attn_matrix="self_attn.out_proj",
        mlp_matrix="fc2",
        transformer_lens={"attn.hook_q": "the query before OPT scales it by 1/√d_head"},
    ),
)


def family_of(config: Any) -> Family | None:
    """The row that holds for a config, or None."""
    for family in FAMILIES:
        if config.model_type in family.model_types and family.when(config):
            return family
    return None


def matrix(module: nn.Module) -> torch.Tensor:
    """W as [in, out], for nn.Linear (stored [out, in]) and GPT-2's Conv1D (stored [in, out])."""
    weight = cast("torch.Tensor", module.weight)
    stored = getattr(module, "original_component", module)  # TransformerLens wraps modules
    return weight if type(stored).__name__ == "Conv1D" else weight.T


def project(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """`x·W + b` written out in float32."""
    out = x.float() @ matrix(module).float()
    bias: torch.Tensor | None = getattr(module, "bias", None)
    return out if bias is None else out + bias.float()


def verify(
    hf: PreTrainedModel, family: Family, sites: Mapping[str, torch.Tensor], norm: Norm | None
) -> None:
    """Check captured sites against the sums of DESIGN §8, in every layer.

    neurons·W_out + b = mlp_proj; head_out·W_O + b = attn_proj; pattern·v = head_out;
    resid_post = resid_pre + attn_out + mlp_out; logits = W_U·norm(resid_post). A sum is checked
    when the family has its sites. The bound is relative to the norm of the right-hand side: 1e-4 in
    float32 (rounding is about 1e-6), 5e-2 in 16-bit types (rounding is about 1e-2).

    Raises:
        ModelLoadError: names the sum and the layer that fail.
    """
    bound = 1e-4 if hf.dtype.itemsize >= 4 else 5e-2

    def check(text: str, where: str, have: torch.Tensor, want: torch.Tensor) -> None:
        error = (have.float() - want).norm() / want.norm().clamp_min(1e-9)
        if not error <= bound:  # a NaN fails too
            raise ModelLoadError(
                f"This {hf.config.model_type} model does not obey {text}{where} "
                f"(relative error {error:.2g}, allowed {bound:g}).",
                "Its sites are not where they were looked for: they would be wrong, so it is "
                "not opened.",
            )

    layers = len(list(hf.get_submodule(family.blocks).children()))
    for layer in range(layers):
        at = {n: sites[f"{n}.{layer}"].float() for n in _VERIFIED if f"{n}.{layer}" in sites}
        where = f" in layer {layer}"
        if family.mlp_matrix and {"neurons", "mlp_proj"} <= at.keys():
            want = project(family.block(hf, layer, family.mlp_matrix), at["neurons"])
            check("mlp_proj = neurons·W_out + b", where, at["mlp_proj"], want)
        if family.attn_matrix and {"head_out", "attn_proj"} <= at.keys():
            want = project(family.block(hf, layer, family.attn_matrix), at["head_out"].flatten(-2))
            check("attn_proj = head_out·W_O + b", where, at["attn_proj"], want)
        if {"pattern", "v", "head_out"} <= at.keys():
            group = at["pattern"].shape[1] // at["v"].shape[2]
            value = at["v"].repeat_interleave(group, dim=2)
            want = (at["pattern"] @ value.transpose(1, 2)).transpose(1, 2)
            check("head_out = pattern·v", where, at["head_out"], want)
        if {"attn_out", "mlp_out"} <= at.keys():
            want = at["resid_pre"] + at["attn_out"] + at["mlp_out"]
            check("resid_post = resid_pre + attn_out + mlp_out", where, at["resid_post"], want)
    if norm is not None:
        some = slice(0, 512)  # of the vocabulary: a whole W_U in float32 may be gigabytes
        want = unembedded(hf, norm(sites[f"resid_post.{layers - 1}"].float()), some)
        check("logits = W_U·norm(resid_post)", "", sites["logits"][..., some], want)


_VERIFIED = (
    *("resid_pre", "pattern", "v", "head_out", "attn_proj", "attn_out"),
    *("neurons", "mlp_proj", "mlp_out", "resid_post"),
)


def unembedded(hf: PreTrainedModel, x: torch.Tensor, tokens: slice) -> torch.Tensor:
    """Logits of some tokens, as the head makes them of a normalised residual [..., d_model]."""
    head: Any = hf.get_output_embeddings()
    logits = x.float() @ matrix(head)[:, tokens].float()
    if getattr(head, "bias", None) is not None:
        logits = logits + head.bias[tokens].float()
    return scaled(hf, logits)


def scaled(hf: PreTrainedModel, logits: torch.Tensor) -> torch.Tensor:
    """What comes between the head's matrix and the logits: scales and the soft-cap."""
    config = hf.config.get_text_config(decoder=True)
    # Cohere and Granite
    logits = logits * (getattr(config, "logit_scale", None) or 1.0)
    logits = logits / (getattr(config, "logits_scaling", None) or 1.0)
    cap = getattr(config, "final_logit_softcapping", None)
    return logits if cap is None else cap * (logits / cap).tanh()
