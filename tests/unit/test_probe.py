"""Decoders that are not in the table: what the probe finds, and what it says about the rest."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import transformers

from neuroglass import (
    Ablate,
    InputError,
    LiveModel,
    ModelLoadError,
    Scale,
    UnlistedArchitectureWarning,
    load,
)
from tests.families import cached_equals_uncached, gradient, pattern, sums
from tests.unit.conftest import SIZES

ATTENTION = {"q", "k", "v", "pattern"}
MLP = {"mlp_in", "neurons", "mlp_proj"}
GPT = {"n_layer": 3, "n_head": 4, "vocab_size": 101}
MOE = SIZES | {"num_local_experts": 4}
# class prefix, config, sites that are absent; they differ in order, norms, biases and caching
UNLISTED: list[tuple[str, dict[str, Any], set[str]]] = [
    ("StableLm", SIZES, set()),
    ("Starcoder2", SIZES, set()),
    ("Gemma", SIZES, set()),
    ("Glm4", SIZES, set()),
    ("Olmo3", SIZES, set()),
    ("Cohere", SIZES, {"resid_mid"}),
    ("Phi", SIZES, {"resid_mid"}),
    ("GPTJ", GPT | {"n_embd": 32, "n_positions": 64, "rotary_dim": 4}, {"resid_mid", *ATTENTION}),
    ("Bloom", GPT | {"hidden_size": 32}, ATTENTION),
    ("Mixtral", MOE, MLP),
    ("Granite", SIZES | {"residual_multiplier": 0.5}, {"attn_out", "resid_mid", "mlp_out"}),
]


def unlisted(name: str, config: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    hf = getattr(transformers, f"{name}ForCausalLM")(
        getattr(transformers, f"{name}Config")(**config)
    )
    with torch.no_grad():
        for p in hf.parameters():
            p.add_(torch.randn_like(p) * 0.05)
    return hf.eval()


def opened(name: str, config: dict[str, Any]) -> tuple[LiveModel, str]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model = load(unlisted(name, config))
    (message,) = [str(w.message) for w in said if w.category is UnlistedArchitectureWarning]
    return model, message


@pytest.mark.parametrize(("name", "config", "absent"), UNLISTED, ids=[u[0] for u in UNLISTED])
def test_a_probe_finds_the_sites_and_names_those_it_does_not(
    name: str, config: dict[str, Any], absent: set[str]
) -> None:
    model, message = opened(name, config)
    assert model.absent.keys() == absent
    found, _, missing = message.partition(" No ")
    assert model.hf.config.model_type in found
    for site in model.names:
        assert site in found
    for site in absent:
        assert site in missing
        with pytest.raises(InputError, match=f"has no {site}: "):
            model.site(f"{site}.0")
    model.close()


# gradients are checked on the exact copy that is opened once more
@pytest.mark.filterwarnings("ignore::neuroglass.UnlistedArchitectureWarning")
@pytest.mark.parametrize("name", ["StableLm", "Glm4"])
def test_a_probed_family_does_what_a_listed_one_does(name: str) -> None:
    model, _ = opened(name, SIZES)
    for check in (sums, pattern, gradient):
        check(model)
    cached_equals_uncached(model, [Scale("resid_mid.1", 2.0), Ablate(model.head(1, 2))])
    model.close()


def test_a_token_whose_embedding_is_zero_is_no_reason_to_refuse() -> None:
    torch.manual_seed(0)
    config: dict[str, Any] = SIZES
    fresh = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config))
    assert not fresh.model.embed_tokens.weight[SIZES["pad_token_id"]].any()
    load(fresh).close()


def test_a_model_without_attention_is_refused_and_says_what_opens() -> None:
    config = transformers.MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=101)
    with pytest.raises(ModelLoadError, match=r"'mamba'.*no attention heads.*Llama.*GPT-2"):
        load(transformers.MambaForCausalLM(config))
