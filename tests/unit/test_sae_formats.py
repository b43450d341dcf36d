"""Checkpoint formats: tiny files of each, written by its definition, against its forward.

The forwards are written out here from the libraries' sources, in plain torch, each by itself: what
``neuroglass.sae`` computes is not used to check itself.
"""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import neuroglass as ng
from neuroglass.model.errors import InputError, ModelLoadError
from neuroglass.model.live import LiveModel
from neuroglass.sae.dictionary import SAE, Transcoder
from neuroglass.sae.formats import FORMATS, load, save
from neuroglass.sae.spec import Spec, Weights

D, N, OUT, K = 6, 12, 5, 3
Tensors = dict[str, torch.Tensor]


def normal(*shape: int, seed: int = 0, size: float = 1.0) -> torch.Tensor:
    made = torch.Generator().manual_seed(1000 * seed + 7 * len(shape) + sum(shape))
    return torch.randn(*shape, generator=made) * size


X = normal(9, D, seed=5) + 0.7  # with a mean, so that what takes it away matters


def top(h: torch.Tensor, k: int = K) -> torch.Tensor:
    """The k largest of each row, after ReLU."""
    found = h.relu().topk(k, dim=-1)
    return torch.zeros_like(h).scatter(-1, found.indices, found.values)


def close(have: torch.Tensor, want: torch.Tensor, bound: float = 2e-5) -> None:
    torch.testing.assert_close(have, want, rtol=bound, atol=bound)


def matches(sae: SAE, f: torch.Tensor, out: torch.Tensor, x: torch.Tensor = X) -> None:
    """Latents and output as the format's own forward has them, by every way of asking."""
    assert f.count_nonzero(), "a forward without latents shows nothing"
    assert (f == 0).any()
    close(sae.encode_dense(x), f)
    close(sae.encode(x).dense(), f)
    close(sae.encode_dense(x, [7, 0, 3]), f[:, [7, 0, 3]])
    close(sae.reconstruct(x), out)


def put_json(folder: Path, name: str, values: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(values))


# ---------------------------------------------------------------------- SAELens

META = {
    "sae_lens_version": "6.18.0",
    "model_name": "gpt2-small",
    "hook_name": "blocks.1.hook_resid_post",
    "hook_head_index": None,
    "prepend_bos": True,
    "context_size": 128,
}


def plain(d_out: int = D) -> Tensors:
    return {
        "W_enc": normal(D, N, seed=1),
        "b_enc": normal(N, seed=2, size=0.3),
        "W_dec": normal(N, d_out, seed=3),
        "b_dec": normal(d_out, seed=4),
    }


def saelens(
    folder: Path,
    tensors: Tensors,
    architecture: str,
    meta: dict[str, Any] | None = None,
    **cfg: Any,
) -> Path:
    """As ``SAE.save_model`` of SAELens 6 writes it."""
    values = {
        "architecture": architecture,
        "d_in": D,
        "d_sae": N,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": "transcoder" not in architecture,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": META | (meta or {}),
    }
    put_json(folder, "cfg.json", values | cfg)
    save_file(tensors, folder / "sae_weights.safetensors")
    save_file({"sparsity": normal(N)}, folder / "sparsity.safetensors")
    return folder


@pytest.mark.parametrize("subtract", [True, False])
def test_saelens_standard(tmp_path: Path, subtract: bool) -> None:
    t = plain()
    sae = load(saelens(tmp_path / "a", t, "standard", apply_b_dec_to_input=subtract))
    f = ((X - t["b_dec"] * subtract) @ t["W_enc"] + t["b_enc"]).relu()
    matches(sae, f, f @ t["W_dec"] + t["b_dec"])
    assert type(sae) is SAE
    assert sae.name == "a"
    assert sae.spec.read_site == "blocks.1.hook_resid_post"
    assert (sae.spec.model, sae.spec.prepend_bos, sae.spec.context) == ("gpt2-small", True, 128)


@pytest.mark.parametrize("rescale", [True, False])
def test_saelens_topk_ranks_by_decoder_norm_if_it_says_so(tmp_path: Path, rescale: bool) -> None:
    t = plain()
    t["W_dec"] *= torch.linspace(0.2, 4, N)[:, None]
    sae = load(saelens(tmp_path, t, "topk", k=K, rescale_acts_by_decoder_norm=rescale))
    norm = t["W_dec"].norm(dim=-1) if rescale else torch.ones(N)
    f = top(((X - t["b_dec"]) @ t["W_enc"] + t["b_enc"]) * norm)
    matches(sae, f, (f / norm) @ t["W_dec"] + t["b_dec"])


def test_saelens_jumprelu(tmp_path: Path) -> None:
    t = plain() | {"threshold": normal(N, seed=6).abs()}
    sae = load(saelens(tmp_path, t, "jumprelu"))
    h = (X - t["b_dec"]) @ t["W_enc"] + t["b_enc"]
    f = h.relu() * (h > t["threshold"])
    matches(sae, f, f @ t["W_dec"] + t["b_dec"])


def test_saelens_gated(tmp_path: Path) -> None:
    t = plain()
    del t["b_enc"]
    t |= {n: normal(N, seed=i, size=0.5) for i, n in enumerate(("b_gate", "b_mag", "r_mag"), 7)}
    sae = load(saelens(tmp_path, t, "gated"))
    z = X - t["b_dec"]
    gate = z @ t["W_enc"] + t["b_gate"] > 0
    f = gate * (z @ (t["W_enc"] * t["r_mag"].exp()) + t["b_mag"]).relu()
    matches(sae, f, f @ t["W_dec"] + t["b_dec"])


TO_MLP = {"hook_name": "blocks.1.mlp.hook_in", "hook_name_out": "blocks.1.hook_mlp_out"}


@pytest.mark.parametrize("kind", ["transcoder", "jumprelu_transcoder"])
@pytest.mark.parametrize("skip", [True, False])
def test_saelens_transcoders(tmp_path: Path, kind: str, skip: bool) -> None:
    t = plain(OUT)
    jump = kind.startswith("jumprelu")
    t |= {"threshold": normal(N, seed=6).abs()} if jump else {}
    t |= {"W_skip": normal(OUT, D, seed=8)} if skip else {}
    name = kind.replace("transcoder", "skip_transcoder") if skip else kind
    sae = load(saelens(tmp_path, t, name, TO_MLP, d_out=OUT))
    h = X @ t["W_enc"] + t["b_enc"]  # b_dec has another width: it is not subtracted
    f = h.relu() * (h > t["threshold"]) if jump else h.relu()
    out = f @ t["W_dec"] + t["b_dec"] + (X @ t["W_skip"].T if skip else 0)
    matches(sae, f, out)
    assert type(sae) is Transcoder
    assert (sae.spec.read_site, sae.spec.write_site) == tuple(TO_MLP.values())


def test_saelens_layer_norm(tmp_path: Path) -> None:
    t = plain()
    sae = load(saelens(tmp_path, t, "standard", normalize_activations="layer_norm"))
    x = X * torch.linspace(1e-4, 9, 9)[:, None]  # the eps counts in the first
    centred = x - x.mean(-1, keepdim=True)
    std = centred.std(-1, keepdim=True)
    f = ((centred / (std + 1e-5) - t["b_dec"]) @ t["W_enc"] + t["b_enc"]).relu()
    matches(sae, f, (f @ t["W_dec"] + t["b_dec"]) * std + x.mean(-1, keepdim=True), x)


def test_saelens_constant_norm(tmp_path: Path) -> None:
    t = plain()
    sae = load(saelens(tmp_path, t, "standard", normalize_activations="constant_norm_rescale"))
    c = math.sqrt(D) / X.norm(dim=-1, keepdim=True)
    f = ((X * c - t["b_dec"]) @ t["W_enc"] + t["b_enc"]).relu()
    matches(sae, f, (f @ t["W_dec"] + t["b_dec"]) / c)


def folded(t: Tensors, c: float) -> tuple[torch.Tensor, torch.Tensor]:
    """``fold_activation_norm_scaling_factor``, then the forward of a standard SAE."""
    w_enc, w_dec, b_dec = t["W_enc"] * c, t["W_dec"] / c, t["b_dec"] / c
    f = ((X - b_dec) @ w_enc + t["b_enc"]).relu()
    return f, f @ w_dec + b_dec


def test_saelens_expected_average_takes_the_scale_from_its_file(tmp_path: Path) -> None:
    t = plain()
    saelens(tmp_path, t, "standard", normalize_activations="expected_average_only_in")
    put_json(tmp_path, "activation_scaler.json", {"scaling_factor": 0.4})
    matches(load(tmp_path), *folded(t, 0.4))


def test_saelens_expected_average_without_the_scale_is_refused(tmp_path: Path) -> None:
    t = plain()
    saelens(tmp_path, t, "standard", normalize_activations="expected_average_only_in")
    with pytest.raises(InputError, match="scale was not saved.*input_scale"):
        load(tmp_path)
    put_json(tmp_path, "activation_scaler.json", {"scaling_factor": None})
    with pytest.raises(InputError, match="scale was not saved"):
        load(tmp_path)
    matches(load(tmp_path, input_scale=0.4), *folded(t, 0.4))


def test_an_input_scale_against_the_files_is_refused(tmp_path: Path) -> None:
    saelens(tmp_path, plain(), "standard", normalize_activations="layer_norm")
    with pytest.raises(InputError, match="the files say layer_norm"):
        load(tmp_path, input_scale=0.4)


def test_saelens_of_a_model_with_centred_writing_weights(tmp_path: Path) -> None:
    """Such a model's residual stream is the usual one without its mean."""
    t = plain()
    meta = {"model_from_pretrained_kwargs": {"center_writing_weights": True}}
    mean = X.mean(-1, keepdim=True)
    f = ((X - mean - t["b_dec"]) @ t["W_enc"] + t["b_enc"]).relu()
    sae = load(saelens(tmp_path / "a", t, "standard", meta))
    matches(sae, f, f @ t["W_dec"] + t["b_dec"] + mean)
    # the heads' z is what it is
    f = ((X - t["b_dec"]) @ t["W_enc"] + t["b_enc"]).relu()
    z = {"hook_name": "blocks.1.attn.hook_z"}
    sae = load(saelens(tmp_path / "b", t, "standard", meta | z, reshape_activations="hook_z"))
    matches(sae, f, f @ t["W_dec"] + t["b_dec"])


OLD = {
    "model_name": "gpt2-small",
    "hook_point": "blocks.1.hook_resid_pre",
    "hook_point_layer": 1,
    "hook_point_head_index": None,
    "d_in": D,
    "d_sae": N,
    "dtype": "torch.float32",
    "device": "cuda",
    "context_size": 64,
}


@pytest.mark.parametrize("kind", ["standard", "topk"])
def test_saelens_before_6(tmp_path: Path, kind: str) -> None:
    t = plain()
    extra: dict[str, Any] = {"normalize_activations": False}
    if kind == "topk":
        extra |= {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}}
    put_json(tmp_path, "cfg.json", OLD | extra)
    save_file(t | {"scaling_factor": torch.ones(N)}, tmp_path / "sae_weights.safetensors")
    sae = load(tmp_path)
    h = (X - t["b_dec"]) @ t["W_enc"] + t["b_enc"]  # apply_b_dec_to_input was always on
    f = top(h) if kind == "topk" else h.relu()
    matches(sae, f, f @ t["W_dec"] + t["b_dec"])
    assert sae.spec.read_site == "blocks.1.hook_resid_pre"
    assert sae.spec.prepend_bos is True


def test_saelens_before_6_normalisation_was_a_bool(tmp_path: Path) -> None:
    put_json(tmp_path, "cfg.json", OLD | {"normalize_activations": True})
    save_file(plain(), tmp_path / "sae_weights.safetensors")
    with pytest.raises(InputError, match="expected_average_only_in"):
        load(tmp_path)


def test_saelens_fine_tuned_latents_are_refused(tmp_path: Path) -> None:
    put_json(tmp_path, "cfg.json", OLD)
    t = plain() | {"scaling_factor": torch.full((N,), 1.1)}
    save_file(t, tmp_path / "sae_weights.safetensors")
    with pytest.raises(InputError, match="not all ones"):
        load(tmp_path)


def test_saelens_matryoshka_batchtopk_in_training(tmp_path: Path) -> None:
    t = plain() | {"topk_threshold": torch.tensor(0.6, dtype=torch.double)}
    cfg: dict[str, Any] = {
        "k": 2.5,
        "rescale_acts_by_decoder_norm": True,
        "matryoshka_widths": [4, 7],
    }
    sae = load(saelens(tmp_path, t, "matryoshka_batchtopk", **cfg))
    norm = t["W_dec"].norm(dim=-1)
    h = ((X - t["b_dec"]) @ t["W_enc"] + t["b_enc"]) * norm
    f = h.relu() * (h > 0.6)  # the threshold was learned on rescaled activations
    matches(sae, f, (f / norm) @ t["W_dec"] + t["b_dec"])
    assert sae.spec.groups == (4, 3, 5)


def test_saelens_jumprelu_in_training(tmp_path: Path) -> None:
    t = plain() | {"log_threshold": normal(N, seed=6) - 1}
    sae = load(saelens(tmp_path, t, "jumprelu"))
    h = (X - t["b_dec"]) @ t["W_enc"] + t["b_enc"]
    f = h.relu() * (h > t["log_threshold"].exp())
    matches(sae, f, f @ t["W_dec"] + t["b_dec"])


@pytest.mark.parametrize(
    ("name", "meta", "cfg", "says"),
    [
        ("standard", {}, {"d_sae": N + 1}, "W_enc has shape"),
        ("standard", {}, {"d_in": D - 1}, "W_enc has shape"),
        ("standard", {}, {"d_in": None}, "does not say 'd_in'"),
        ("standard", {}, {"d_in": "6"}, "'d_in'.*is '6'"),
        ("topk", {}, {}, "does not say 'k'"),
        ("topk", {}, {"k": N + 1}, "needs k from 1 to 12"),
        ("jumprelu", {}, {}, "needs threshold"),
        ("abstopk", {}, {"k": 2}, "'abstopk' is not known.*'topk'"),
        ("standard", {"hook_head_index": 3}, {}, "one head"),
        ("standard", {"hook_layer": 2}, {}, "says layer 2 and 'blocks.1"),
        ("standard", {}, {"reshape_activations": "hook_z"}, "hook_z.*hook_resid_post"),
        ("standard", {}, {"normalize_activations": "batch"}, "'batch' is not known"),
        ("transcoder", {}, {"d_out": D}, "where the transcoder writes"),
        ("transcoder", TO_MLP, {"d_out": D, "apply_b_dec_to_input": True}, "of a transcoder"),
        ("transcoder", TO_MLP, {"d_out": D, "normalize_activations": "layer_norm"}, "undo"),
    ],
)
def test_saelens_that_disagrees_with_itself(
    tmp_path: Path, name: str, meta: dict[str, Any], cfg: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        load(saelens(tmp_path, plain(), name, meta, **cfg))


def test_a_transposed_decoder_is_named(tmp_path: Path) -> None:
    t = plain()
    t["W_dec"] = t["W_dec"].T.contiguous()
    with pytest.raises(InputError, match=r"W_dec has shape \[6, 12\].*looks transposed"):
        load(saelens(tmp_path, t, "standard"))


def test_tensors_that_would_be_left_out_are_refused(tmp_path: Path) -> None:
    t = plain()
    with pytest.raises(InputError, match="threshold has no meaning in a relu"):
        load(saelens(tmp_path / "a", t | {"threshold": normal(N)}, "standard"))
    with pytest.raises(InputError, match="It holds 'W_lora'"):
        load(saelens(tmp_path / "b", t | {"W_lora": normal(N)}, "standard"))
    with pytest.raises(InputError, match="no tensor 'W_enc'"):
        load(saelens(tmp_path / "c", {n: v for n, v in t.items() if n != "W_enc"}, "standard"))


# ---------------------------------------------------------------------- sparsify


def sparsify(folder: Path, tensors: Tensors, **cfg: Any) -> Path:
    """As ``SparseCoder.save_to_disk`` writes it."""
    values = {
        "activation": "topk",
        "expansion_factor": N // D,
        "normalize_decoder": True,
        "num_latents": 0,
        "k": K,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": D,
    }
    put_json(folder, "cfg.json", values | cfg)
    save_file(tensors, folder / "sae.safetensors")
    return folder


def coder(dtype: torch.dtype = torch.float32) -> Tensors:
    made = {
        "encoder.weight": normal(N, D, seed=1),
        "encoder.bias": normal(N, seed=2, size=0.3),
        "W_dec": normal(N, D, seed=3),
        "b_dec": normal(D, seed=4),
    }
    return {name: tensor.to(dtype) for name, tensor in made.items()}


@pytest.mark.parametrize("normalize", [True, False])
def test_sparsify_subtracts_b_dec_whatever_normalize_decoder_says(
    tmp_path: Path, normalize: bool
) -> None:
    t = coder()
    put_json(tmp_path, "config.json", {"model": "EleutherAI/pythia-70m", "ctx_len": 256})
    sae = load(sparsify(tmp_path / "layers.3", t, normalize_decoder=normalize))
    f = top((X - t["b_dec"]) @ t["encoder.weight"].T + t["encoder.bias"])
    matches(sae, f, f @ t["W_dec"] + t["b_dec"])
    s = sae.spec
    assert (s.read_site, s.model, s.context) == ("resid_post.3", "EleutherAI/pythia-70m", 256)


def test_sparsify_groupmax(tmp_path: Path) -> None:
    t = coder()
    sae = load(sparsify(tmp_path, t, activation="groupmax", num_latents=N, expansion_factor=99))
    h = ((X - t["b_dec"]) @ t["encoder.weight"].T + t["encoder.bias"]).relu()
    f = torch.zeros_like(h)
    for row in range(len(h)):  # k groups of neighbours; the largest of each
        for start in range(0, N, N // K):
            best = start + int(h[row, start : start + N // K].argmax())
            f[row, best] = h[row, best]
    matches(sae, f, f @ t["W_dec"] + t["b_dec"])


@pytest.mark.parametrize("skip", [True, False])
def test_sparsify_transcoders_do_not_subtract_b_dec(tmp_path: Path, skip: bool) -> None:
    t = coder() | ({"W_skip": normal(D, D, seed=8)} if skip else {})
    sae = load(sparsify(tmp_path / "layers.1.mlp", t, transcode=True, skip_connection=skip))
    f = top(X @ t["encoder.weight"].T + t["encoder.bias"])
    matches(sae, f, f @ t["W_dec"] + t["b_dec"] + (X @ t["W_skip"].T if skip else 0))
    assert isinstance(sae, Transcoder)
    assert (sae.spec.read_site, sae.spec.write_site) == ("mlp_in.1", "mlp_proj.1")


def test_sparsify_in_bfloat16_is_computed_in_float32(tmp_path: Path) -> None:
    t = coder(torch.bfloat16)
    sae = load(sparsify(tmp_path, t))
    assert sae.weights.W_dec.dtype == torch.bfloat16
    wide = {name: tensor.float() for name, tensor in t.items()}
    f = top((X - wide["b_dec"]) @ wide["encoder.weight"].T + wide["encoder.bias"])
    matches(sae, f, f @ wide["W_dec"] + wide["b_dec"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"signed": True}, "'signed'.*negative"),
        ({"activation": "relu"}, "'activation' is 'relu'"),
        ({"num_latents": N + 1}, "W_enc has shape"),
        ({"skip_connection": True}, "no tensor 'W_skip'"),
        ({"k": None}, "does not say 'k'"),
        ({"activation": "groupmax", "k": 5}, "do not make 5 groups"),
    ],
)
def test_sparsify_that_disagrees_with_itself(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        load(sparsify(tmp_path, coder(), **change))


def test_sparsify_decoder_is_stored_like_the_encoder(tmp_path: Path) -> None:
    t = coder()
    t["W_dec"] = t["W_dec"].T.contiguous()
    with pytest.raises(InputError, match="looks transposed"):
        load(sparsify(tmp_path, t))


def test_sparsify_transcoder_of_an_unknown_module_asks(
    tmp_path: Path, load_tiny: Callable[..., LiveModel]
) -> None:
    sae = load(sparsify(tmp_path / "somewhere", coder(), transcode=True))
    with pytest.raises(InputError, match="the input of somewhere"):
        sae.attach(load_tiny("llama"))


# ---------------------------------------------------------------------- dictionary_learning


def learned(folder: Path, tensors: dict[str, Any], dict_class: str | None, **trainer: Any) -> Path:
    """As ``trainSAE`` writes it."""
    said = {
        "dict_class": dict_class,
        "trainer_class": "Trainer",
        "activation_dim": D,
        "dict_size": N,
        "layer": 2,
        "lm_name": "EleutherAI/pythia-70m-deduped",
        "submodule_name": "resid_post_layer_2",
        "norm_factor": 17.5,  # the biases are saved rescaled: it is not applied again
    }
    put_json(folder, "config.json", {"trainer": said | trainer, "buffer": {"ctx_len": 128}})
    torch.save(tensors, folder / "ae.pt")
    return folder


def linear() -> Tensors:
    return {
        "encoder.weight": normal(N, D, seed=1),
        "encoder.bias": normal(N, seed=2, size=0.3),
        "decoder.weight": normal(D, N, seed=3),
    }


def test_dictionary_learning_autoencoder_counts_in_decoder_norms(tmp_path: Path) -> None:
    """``load_dictionary`` brings the decoder to unit norm; StandardTrainerAprilUpdate needs it."""
    t = linear() | {"bias": normal(D, seed=4)}
    sae = load(learned(tmp_path, t, "AutoEncoder", trainer_class="StandardTrainerAprilUpdate"))
    norms = t["decoder.weight"].norm(dim=0)
    encoder, b_enc = t["encoder.weight"] * norms[:, None], t["encoder.bias"] * norms
    f = ((X - t["bias"]) @ encoder.T + b_enc).relu()
    matches(sae, f, f @ (t["decoder.weight"] / norms).T + t["bias"])
    s = sae.spec
    assert (s.read_site, s.model, s.context) == (
        "resid_post.2",
        "EleutherAI/pythia-70m-deduped",
        128,
    )


def test_dictionary_learning_autoencoder_new(tmp_path: Path) -> None:
    t = linear() | {"decoder.bias": normal(D, seed=4)}
    sae = load(learned(tmp_path, t, "AutoEncoderNew"))
    f = (X @ t["encoder.weight"].T + t["encoder.bias"]).relu()
    out = f @ t["decoder.weight"].T + t["decoder.bias"]
    matches(sae, f * t["decoder.weight"].norm(dim=0), out)


def test_dictionary_learning_gated(tmp_path: Path) -> None:
    t = linear() | {"decoder_bias": normal(D, seed=4)}
    del t["encoder.bias"]
    t |= {n: normal(N, seed=i, size=0.5) for i, n in enumerate(("r_mag", "gate_bias", "mag_bias"))}
    sae = load(learned(tmp_path, t, "GatedAutoEncoder"))
    h = (X - t["decoder_bias"]) @ t["encoder.weight"].T
    f = (h + t["gate_bias"] > 0) * (t["r_mag"].exp() * h + t["mag_bias"]).relu()
    matches(sae, f, f @ t["decoder.weight"].T + t["decoder_bias"])


def batched() -> Tensors:
    return linear() | {
        "b_dec": normal(D, seed=4),
        "k": torch.tensor(K, dtype=torch.int),
        "threshold": torch.tensor(0.8),
    }


def test_dictionary_learning_topk_uses_k_and_not_its_threshold(tmp_path: Path) -> None:
    t = batched()
    sae = load(learned(tmp_path, t, "AutoEncoderTopK", k=K))
    f = top((X - t["b_dec"]) @ t["encoder.weight"].T + t["encoder.bias"])
    matches(sae, f, f @ t["decoder.weight"].T + t["b_dec"])


def test_dictionary_learning_batch_topk_uses_its_threshold(tmp_path: Path) -> None:
    """The same tensors, and only ``dict_class`` tells them apart."""
    t = batched()
    sae = load(learned(tmp_path, t, "BatchTopKSAE", k=K))
    h = ((X - t["b_dec"]) @ t["encoder.weight"].T + t["encoder.bias"]).relu()
    f = h * (h > 0.8)
    matches(sae, f, f @ t["decoder.weight"].T + t["b_dec"])
    assert f.count_nonzero(-1).unique().numel() > 1


def test_dictionary_learning_matryoshka(tmp_path: Path) -> None:
    t = plain() | {
        "k": torch.tensor(K, dtype=torch.int),
        "threshold": torch.tensor(0.8),
        "group_sizes": torch.tensor([2, 4, 6]),
    }
    sae = load(learned(tmp_path, t, "MatryoshkaBatchTopKSAE", k=K))
    h = ((X - t["b_dec"]) @ t["W_enc"] + t["b_enc"]).relu()
    f = h * (h > 0.8)
    matches(sae, f, f @ t["W_dec"] + t["b_dec"])
    prefix = f * (torch.arange(N) < 6)  # active_groups = 2
    close(sae.prefix(6).reconstruct(X), prefix @ t["W_dec"] + t["b_dec"])


def test_dictionary_learning_jumprelu_does_not_subtract_b_dec(tmp_path: Path) -> None:
    t = plain() | {"threshold": normal(N, seed=6).abs()}
    sae = load(learned(tmp_path, t, "JumpReluAutoEncoder"))
    h = X @ t["W_enc"] + t["b_enc"]
    f = (h * (h > t["threshold"])).relu()
    matches(sae, f, f @ t["W_dec"] + t["b_dec"])


def test_dictionary_learning_old_files_without_the_archive(tmp_path: Path) -> None:
    t = batched()
    learned(tmp_path, t, "AutoEncoderTopK", k=K)
    torch.save(t, tmp_path / "ae.pt", _use_new_zipfile_serialization=False)
    f = top((X - t["b_dec"]) @ t["encoder.weight"].T + t["encoder.bias"])
    matches(load(tmp_path), f, f @ t["decoder.weight"].T + t["b_dec"])


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("AutoEncoderTopK", {"k": K + 1}, "k is 3 in the file and 4 in config.json"),
        ("AutoEncoder", {}, "no tensor 'bias'"),
        ("GatedAutoEncoder", {}, "no tensor 'decoder_bias'"),
        ("JumpReluAutoEncoder", {}, "no tensor 'W_enc'"),
        ("IdentityDict", {}, "no reader for 'IdentityDict'"),
        ("BatchTopKSAE", {"activation_dim": N, "dict_size": D}, "W_enc has shape.*transposed"),
        (None, {}, "does not say 'dict_class'"),
        ("BatchTopKSAE", {"dict_size": None}, "does not say 'dict_size'"),
        ("BatchTopKSAE", {"layer": 5}, "says layer 5 and submodule_name 'resid_post_layer_2'"),
    ],
)
def test_dictionary_learning_that_disagrees_with_itself(
    tmp_path: Path, name: str | None, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        load(learned(tmp_path, batched(), name, **change))


def test_dictionary_learning_without_its_threshold_is_refused(tmp_path: Path) -> None:
    t = batched()
    del t["threshold"]
    with pytest.raises(InputError, match="no tensor 'threshold'"):
        load(learned(tmp_path, t, "BatchTopKSAE", k=K))


def test_dictionary_learning_without_config_is_refused(tmp_path: Path) -> None:
    torch.save(batched(), tmp_path / "ae.pt")
    with pytest.raises(InputError, match=r"trainer\.dict_class.*TopK and BatchTopK"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"trainer": {"dict_cl')
    with pytest.raises(InputError, match=r"config\.json is no JSON"):
        load(tmp_path)


def test_dictionary_learning_backup_is_refused(tmp_path: Path) -> None:
    backup = {"step": 3, "ae": batched(), "optimizer": {"state": {}}, "norm_factor": 2.0}
    with pytest.raises(InputError, match="biases are not yet multiplied"):
        load(learned(tmp_path, backup, "BatchTopKSAE"))


def test_dictionary_learning_site_is_not_guessed_from_the_layer(tmp_path: Path) -> None:
    assert (
        load(learned(tmp_path, batched(), "BatchTopKSAE", submodule_name=None)).spec.read_site
        is None
    )


# ---------------------------------------------------------------------- OpenAI


def openai(activation: str | None = "TopK", **state: Any) -> dict[str, Any]:
    """A state dict as ``Autoencoder.state_dict`` makes it."""
    made: dict[str, Any] = {
        "pre_bias": normal(D, seed=4),
        "latent_bias": normal(N, seed=2, size=0.3),
        "stats_last_nonzero": torch.zeros(N, dtype=torch.long),
        "latents_activation_frequency": torch.ones(N),
        "latents_mean_square": torch.zeros(N),
        "encoder.weight": normal(N, D, seed=1),
        "decoder.weight": normal(D, N, seed=3),
    }
    if activation is not None:
        made["activation"] = activation
    if activation == "TopK":
        made["activation_state_dict"] = {"k": K, "postact_fn": "ReLU"} | state
        made |= {"activation.k": K, "activation.postact_fn": "ReLU"}
    return made


def test_openai_topk_layer_norms_its_input(tmp_path: Path) -> None:
    folder = tmp_path / "resid_post_mlp_v5_32k" / "autoencoders"
    folder.mkdir(parents=True)
    t = openai()
    torch.save(t, folder / "6.pt")
    x = X * torch.linspace(1e-4, 9, 9)[:, None]
    mean = x.mean(-1, keepdim=True)
    std = (x - mean).std(-1, keepdim=True)
    z = (x - mean) / (std + 1e-5)
    f = top((z - t["pre_bias"]) @ t["encoder.weight"].T + t["latent_bias"])
    sae = load(folder / "6.pt")
    matches(sae, f, (f @ t["decoder.weight"].T + t["pre_bias"]) * std + mean, x)
    assert (sae.spec.read_site, sae.spec.model, sae.name) == ("resid_post.6", "gpt2", "6")


@pytest.mark.parametrize("activation", ["ReLU", None])
def test_openai_relu_does_not(tmp_path: Path, activation: str | None) -> None:
    t = openai(activation)
    torch.save(t, tmp_path / "0.pt")
    f = ((X - t["pre_bias"]) @ t["encoder.weight"].T + t["latent_bias"]).relu()
    sae = load(tmp_path)
    matches(sae, f, f @ t["decoder.weight"].T + t["pre_bias"])
    assert sae.spec.read_site is None  # the folder's name does not say it


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (openai(postact_fn="Identity"), "'Identity'.*negative"),
        (openai(k=None), "does not say 'k'"),
        (openai("Identity"), "activation is 'Identity'"),
        (
            {n: t for n, t in openai().items() if n != "decoder.weight"},
            "no tensor 'decoder.weight'",
        ),
        (openai() | {"decoder.weight": normal(N, D)}, "looks transposed"),
    ],
)
def test_openai_that_disagrees_with_itself(
    tmp_path: Path, state: dict[str, Any], says: str
) -> None:
    torch.save(state, tmp_path / "0.pt")
    with pytest.raises(InputError, match=says):
        load(tmp_path)


# ---------------------------------------------------------------------- Gemma Scope


def gemma(folder: Path, *, compress: bool = False, **change: torch.Tensor) -> Path:
    t = plain() | {"threshold": normal(N, seed=6).abs()} | change
    folder.mkdir(parents=True)
    write: Callable[..., None] = np.savez_compressed if compress else np.savez
    write(folder / "params.npz", **{name: tensor.numpy() for name, tensor in t.items()})
    return folder


@pytest.mark.parametrize("compress", [True, False])
def test_gemma_scope_does_not_subtract_b_dec(tmp_path: Path, compress: bool) -> None:
    t = plain() | {"threshold": normal(N, seed=6).abs()}
    where = tmp_path / "gemma-scope-2b-pt-res" / "layer_7" / "width_16k" / "average_l0_71"
    sae = load(gemma(where, compress=compress))
    h = X @ t["W_enc"] + t["b_enc"]
    f = h.relu() * (h > t["threshold"])
    matches(sae, f, f @ t["W_dec"] + t["b_dec"])
    assert (sae.spec.read_site, sae.spec.model) == ("resid_post.7", "gemma-2-2b")


def test_gemma_scope_threshold_is_strict(tmp_path: Path) -> None:
    level = plain()["b_enc"].abs()  # of x = 0, h is b_enc
    at = load(gemma(tmp_path / "a", b_enc=level, threshold=level))
    assert not at.encode_dense(torch.zeros(1, D)).any()
    under = torch.nextafter(level, torch.zeros(N))
    over = load(gemma(tmp_path / "b", b_enc=level, threshold=under))
    close(over.encode_dense(torch.zeros(1, D))[0], level)


@pytest.mark.parametrize(
    ("release", "read", "write"),
    [
        ("9b-it-mlp", "mlp_out.3", "mlp_out.3"),
        ("2b-pt-att", "head_out.3", "head_out.3"),
        ("2b-pt-transcoders", "mlp_in.3", "mlp_out.3"),
    ],
)
def test_gemma_scope_sites(tmp_path: Path, release: str, read: str, write: str) -> None:
    folder = tmp_path / f"models--google--gemma-scope-{release}" / "snapshots" / "layer_3" / "a"
    spec = load(gemma(folder)).spec
    assert (spec.read_site, spec.write_site) == (read, write)
    assert spec.model == ("gemma-2-9b-it" if "9b" in release else "gemma-2-2b")


def test_gemma_scope_embeddings_were_not_multiplied_by_root_d(tmp_path: Path) -> None:
    t = plain() | {"threshold": normal(N, seed=6).abs()}
    sae = load(
        gemma(tmp_path / "gemma-scope-2b-pt-res" / "embedding" / "width_4k" / "average_l0_6")
    )
    raw = X / math.sqrt(D)  # X: what the model passes on
    h = raw @ t["W_enc"] + t["b_enc"]
    f = h.relu() * (h > t["threshold"])
    matches(sae, f, (f @ t["W_dec"] + t["b_dec"]) * math.sqrt(D))
    assert sae.spec.read_site == "embed"


def test_gemma_scope_site_is_not_guessed(
    tmp_path: Path, load_tiny: Callable[..., LiveModel]
) -> None:
    with pytest.raises(InputError, match="does not say at which site it reads"):
        load(gemma(tmp_path / "a"), load_tiny("gemma2"))


def test_gemma_scope_transposed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="W_dec has shape.*looks transposed"):
        load(gemma(tmp_path / "a", W_dec=normal(D, N)))
    with pytest.raises(InputError, match="W_enc has shape.*looks transposed"):
        load(gemma(tmp_path / "b", W_enc=normal(N, D)))


def gemma_2(folder: Path, change: Tensors | None = None, **cfg: Any) -> Path:
    t = {name.lower(): tensor for name, tensor in plain().items()}
    t |= {"threshold": normal(N, seed=6).abs()} | (change or {})
    values = {
        "architecture": "jump_relu",
        "model_name": "google/gemma-v3-1b-pt",
        "hf_hook_point_in": "model.layers.7.output",
        "hf_hook_point_out": "model.layers.7.output",
        "width": N,
        "l0": 20,
        "affine_connection": False,
        "type": "sae",
    }
    put_json(folder, "config.json", values | cfg)
    save_file(t, folder / "params.safetensors")
    save_file({"tokens": torch.zeros(3, dtype=torch.int32)}, folder / "examples.safetensors")
    return folder


NORMS = {
    "hf_hook_point_in": "model.layers.7.pre_feedforward_layernorm.output",
    "hf_hook_point_out": "model.layers.7.post_feedforward_layernorm.output",
}


@pytest.mark.parametrize("affine", [True, False])
def test_gemma_scope_2_skip_is_not_transposed(tmp_path: Path, affine: bool) -> None:
    skip = {"affine_skip_connection": normal(D, D, seed=8)} if affine else {}
    sae = load(gemma_2(tmp_path, skip, affine_connection=affine, **NORMS))
    t = plain() | {"threshold": normal(N, seed=6).abs()} | skip
    h = X @ t["W_enc"] + t["b_enc"]
    f = h.relu() * (h > t["threshold"])
    out = f @ t["W_dec"] + t["b_dec"] + (X @ skip["affine_skip_connection"] if affine else 0)
    matches(sae, f, out)
    assert isinstance(sae, Transcoder)
    assert (sae.spec.read_site, sae.spec.write_site) == ("mlp_in.7", "mlp_out.7")
    assert sae.spec.model == "google/gemma-3-1b-pt"


@pytest.mark.parametrize(
    ("hook", "site"),
    [
        ("model.layers.3.output", "resid_post.3"),
        ("model.layers.3.self_attn.o_proj.input", "head_out.3"),
        ("model.layers.3.post_feedforward_layernorm.output", "mlp_out.3"),
        ("model.layers.3.something.output", "model.layers.3.something.output"),
    ],
)
def test_gemma_scope_2_sites(tmp_path: Path, hook: str, site: str) -> None:
    spec = load(gemma_2(tmp_path, hf_hook_point_in=hook, hf_hook_point_out=None)).spec
    assert (spec.read_site, spec.transcodes) == (site, False)


@pytest.mark.parametrize(
    ("change", "cfg", "says"),
    [
        ({}, {"affine_connection": True}, "has affine|has an? affine|says that it has"),
        ({"affine_skip_connection": normal(D, D)}, {}, "has no affine"),
        ({}, {"width": 2 * N}, "has shape"),
        ({}, {"architecture": "topk"}, "'architecture'.*'topk'"),
        ({"w_dec": normal(N, 3, D)}, {}, "several layers"),
        ({"w_dec": normal(D, N)}, {}, "looks transposed"),
        ({"extra": normal(1)}, {}, "It holds 'extra'"),
    ],
)
def test_gemma_scope_2_that_disagrees_with_itself(
    tmp_path: Path, change: Tensors, cfg: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        load(gemma_2(tmp_path, change, **cfg))


# ---------------------------------------------------------------------- Llama Scope

PARAMS = {
    "d_model": D,
    "d_sae": N,
    "expansion_factor": 2,
    "hook_point_in": "blocks.1.hook_resid_post",
    "hook_point_out": "blocks.1.hook_resid_post",
    "act_fn": "jumprelu",
    "jump_relu_threshold": 0.25,
    "norm_activation": "dataset-wise",
    "dataset_average_activation_norm": {"in": 5.0, "out": 5.0},
    "use_decoder_bias": True,
    "apply_decoder_bias_to_pre_encoder": False,
    "sparsity_include_decoder_norm": True,
    "top_k": 50,
}


def llama(folder: Path, **cfg: Any) -> Path:
    put_json(folder, "hyperparams.json", PARAMS | cfg)
    (folder / "checkpoints").mkdir()
    save_file(
        linear() | {"decoder.bias": normal(D, seed=4)}, folder / "checkpoints/final.safetensors"
    )
    return folder


def llama_by_definition(mean_in: float, mean_out: float) -> tuple[torch.Tensor, torch.Tensor]:
    """``SparseAutoEncoder.from_config`` of the release: fold the norms, unit decoder, JumpReLU."""
    t = linear() | {"decoder.bias": normal(D, seed=4)}
    c_in, c_out = math.sqrt(D) / mean_in, math.sqrt(D) / mean_out
    t["encoder.bias"] = t["encoder.bias"] / c_in
    t["decoder.bias"] = t["decoder.bias"] / c_out
    t["decoder.weight"] = t["decoder.weight"] * c_in / c_out
    norm = t["decoder.weight"].norm(dim=0)
    t["decoder.weight"] = t["decoder.weight"] / norm
    t["encoder.weight"] = t["encoder.weight"] * norm[:, None]
    t["encoder.bias"] = t["encoder.bias"] * norm
    h = X @ t["encoder.weight"].T + t["encoder.bias"]
    f = h.where(h > 0.25, 0)
    return f, f @ t["decoder.weight"].T + t["decoder.bias"]


@pytest.mark.parametrize("kind", ["jumprelu", "topk"])
def test_llama_scope(tmp_path: Path, kind: str) -> None:
    """Latents in normalised units: c_out times those of the definition, which folds."""
    sae = load(llama(tmp_path / "Llama3_1-8B-Base-L1R-8x", act_fn=kind))
    f, out = llama_by_definition(5.0, 5.0)
    matches(sae, f * math.sqrt(D) / 5, out)
    assert sae.name == "Llama3_1-8B-Base-L1R-8x"
    assert sae.spec.model == "meta-llama/Llama-3.1-8B"


def test_llama_scope_transcoders_have_two_scales(tmp_path: Path) -> None:
    cfg = {
        "hook_point_in": "blocks.1.ln2.hook_normalized",
        "hook_point_out": "blocks.1.hook_mlp_out",
        "dataset_average_activation_norm": {"in": 3.0, "out": 0.7},
    }
    sae = load(llama(tmp_path, **cfg))
    f, out = llama_by_definition(3.0, 0.7)
    matches(sae, f * math.sqrt(D) / 0.7, out)
    close(sae.scale(X), torch.full((9,), 0.7 / math.sqrt(D)))
    assert isinstance(sae, Transcoder)


def test_llama_scope_with_learned_thresholds(tmp_path: Path) -> None:
    """The R1 files: thresholds and norms are tensors, the threshold in normalised units."""
    t = linear() | {"decoder.bias": normal(D, seed=4)}
    mean = {f"dataset_average_activation_norm.{PARAMS['hook_point_in']}": torch.tensor(5.0)}
    learned_log = {"log_jumprelu_threshold": normal(N, seed=6, size=0.2) - 0.5}
    cfg = {n: v for n, v in PARAMS.items() if n in {"d_model", "hook_point_in", "hook_point_out"}}
    cfg |= {"norm_activation": "dataset-wise", "act_fn": "jumprelu", "expansion_factor": 2}
    put_json(tmp_path, "config.json", cfg | {"sparsity_include_decoder_norm": False})
    save_file(t | mean | learned_log, tmp_path / "sae_weights.safetensors")
    c = math.sqrt(D) / 5
    h = X * c @ t["encoder.weight"].T + t["encoder.bias"]
    f = h.where(h > learned_log["log_jumprelu_threshold"].exp(), 0)
    matches(load(tmp_path), f, (f @ t["decoder.weight"].T + t["decoder.bias"]) / c)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"dataset_average_activation_norm": None}, "does not say 'in'|nothing says by how much"),
        ({"dataset_average_activation_norm": {"in": 5.0}}, "does not say 'out'"),
        ({"norm_activation": "batch-wise"}, "'batch-wise'"),
        ({"norm_activation": None}, "does not say 'norm_activation'"),
        ({"jump_relu_threshold": None}, "does not say 'jump_relu_threshold'"),
        ({"act_fn": "gelu"}, "'act_fn'.*'gelu'"),
        ({"use_glu_encoder": True}, "use_glu_encoder"),
        ({"d_sae": 2 * N}, "has shape"),
    ],
)
def test_llama_scope_that_disagrees_with_itself(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        load(llama(tmp_path, **change))


# ---------------------------------------------------------------------- writing

BASE: dict[str, Any] = {
    "d_in": D,
    "n_latents": N,
    "d_out": D,
    "read_site": "resid_post.1",
    "write_site": "resid_post.1",
    "model": "tiny",
    "fingerprint": "0123456789abcdef",
    "prepend_bos": False,
    "context": 64,
}
ACROSS: dict[str, Any] = {
    "read_site": "mlp_in.1",
    "write_site": "mlp_out.1",
    "d_out": OUT,
    "subtract_b_dec": False,
}
LEVEL = {"threshold": normal(N, seed=6).abs()}
GATE = {n: normal(N, seed=i, size=0.5) for i, n in enumerate(("b_gate", "b_mag", "r_mag"), 7)}
# what -> (architecture, other settings, tensors besides, what SAELens calls it)
WRITTEN: dict[str, tuple[str, dict[str, Any], Tensors, str]] = {
    "relu": ("relu", {}, {}, "standard"),
    "topk": ("topk", {"k": K}, {}, "topk"),
    "topk in norms": ("topk", {"k": K, "unit_decoder": True}, {}, "topk"),
    "jumprelu": ("jumprelu", {"subtract_b_dec": False}, LEVEL, "jumprelu"),
    "batch topk, scaled": (
        "jumprelu",
        {"k": K, "groups": (2, 10), "input_norm": "constant", "input_scale": 0.3},
        {"threshold": torch.tensor(0.4)},
        "jumprelu",
    ),
    "jumprelu in norms": ("jumprelu", {"unit_decoder": True}, LEVEL, "jumprelu"),
    "gated in norms": ("gated", {"unit_decoder": True}, GATE, "gated"),
    "layer norm": ("relu", {"input_norm": "layer_norm"}, {}, "standard"),
    "constant norm": ("relu", {"input_norm": "constant_norm"}, {}, "standard"),
    "centred": ("relu", {"input_norm": "center"}, {}, "standard"),
    "transcoder": ("relu", ACROSS, {}, "transcoder"),
    "skip": ("jumprelu", ACROSS, LEVEL | {"W_skip": normal(D, OUT)}, "jumprelu_skip_transcoder"),
    "two scales": (
        "jumprelu",
        ACROSS | {"input_norm": "constant", "input_scale": 0.3, "output_scale": 2.0},
        LEVEL,
        "jumprelu_transcoder",
    ),
    "groupmax": ("groupmax", {"k": K}, {}, "neuroglass_groupmax"),
    "own input bias": ("relu", {}, {"b_in": normal(D, seed=9)}, "neuroglass_relu"),
    "topk transcoder": ("topk", ACROSS | {"k": K}, {}, "neuroglass_topk"),
    "skip in place": ("relu", {}, {"W_skip": normal(D, D)}, "neuroglass_relu"),
    "centred neurons": (
        "relu",
        {"input_norm": "center", "read_site": "neurons.1", "write_site": "neurons.1"},
        {},
        "neuroglass_relu",
    ),
}


def written(what: str) -> SAE:
    architecture, settings, extra, _ = WRITTEN[what]
    spec = Spec(architecture=architecture, **(BASE | settings))  # type: ignore[arg-type]
    t = plain(spec.d_out) | extra
    if architecture == "gated":
        del t["b_enc"]
    made = Transcoder if spec.transcodes else SAE
    return made(spec, Weights(**t), name="mine")


@pytest.mark.parametrize("what", WRITTEN)
def test_written_and_opened_again_it_is_the_same(tmp_path: Path, what: str) -> None:
    sae = written(what)
    assert save(sae, tmp_path / "x") == tmp_path / "x"
    again = SAE.load(tmp_path / "x")
    assert again.fingerprint == sae.fingerprint
    assert type(again) is type(sae)
    assert again.name == "mine"
    for field in ("read_site", "write_site", "model", "fingerprint", "k", "groups", "context"):
        assert getattr(again.spec, field) == getattr(sae.spec, field)
    matches(again, sae.encode_dense(X), sae.reconstruct(X))
    assert sae.save(tmp_path / "x") == tmp_path / "x"  # over the file that `again` has mapped
    assert again.fingerprint == sae.fingerprint


def saelens_by_definition(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """SAELens 6's forward, out of nothing but what it reads of the two files."""
    cfg = json.loads((folder / "cfg.json").read_text())
    t = load_file(folder / "sae_weights.safetensors")
    kind, norm = cfg["architecture"], cfg["normalize_activations"]
    x, mean, size = X, torch.zeros(9, 1), torch.ones(9, 1)
    if cfg["metadata"].get("model_from_pretrained_kwargs", {}).get("center_writing_weights"):
        x = X - X.mean(-1, keepdim=True)  # what its user's model has there
    z = x
    if norm == "layer_norm":
        mean, size = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
        z = (x - mean) / (size + 1e-5)
    elif norm == "constant_norm_rescale":
        size = x.norm(dim=-1, keepdim=True) / math.sqrt(D)
        z = x / size
    z = z - t["b_dec"] if cfg["apply_b_dec_to_input"] else z
    if kind == "gated":
        gate = z @ t["W_enc"] + t["b_gate"] > 0
        f = gate * (z @ (t["W_enc"] * t["r_mag"].exp()) + t["b_mag"]).relu()
    else:
        h = z @ t["W_enc"] + t["b_enc"]
        f = top(h, cfg["k"]) if kind == "topk" else h.relu()
        if kind.startswith("jumprelu"):
            assert t["threshold"].shape == (N,)
            f = f * (h > t["threshold"])
    out = (f @ t["W_dec"] + t["b_dec"]) * size + mean
    if "skip" in kind:
        out = out + x @ t["W_skip"].T
    return f, out if "transcoder" in kind else out + (X - x)


@pytest.mark.parametrize("what", WRITTEN)
def test_saelens_computes_the_same_or_refuses(tmp_path: Path, what: str) -> None:
    sae, name = written(what), WRITTEN[what][3]
    cfg = json.loads((save(sae, tmp_path) / "cfg.json").read_text())
    assert cfg["architecture"] == name
    if name.startswith("neuroglass"):
        return  # not in SAELens' registry
    f, out = saelens_by_definition(tmp_path)
    close(sae.encode_dense(X), f)
    close(sae.reconstruct(X), out)
    meta = cfg["metadata"]
    assert meta["sae_lens_version"] >= "6"  # else it is read as an older config
    assert (meta["model_name"], meta["context_size"], meta["prepend_bos"]) == ("tiny", 64, False)
    hooks = ("blocks.1.mlp.hook_in", "blocks.1.hook_mlp_out")
    if sae.spec.transcodes:
        assert (meta["hook_name"], meta["hook_name_out"], cfg["d_out"]) == (*hooks, OUT)
    else:
        assert meta["hook_name"] == "blocks.1.hook_resid_post"
        assert "d_out" not in cfg


def test_a_config_changed_afterwards_is_refused(tmp_path: Path) -> None:
    save(written("topk"), tmp_path)
    before = json.loads((tmp_path / "cfg.json").read_text())
    for change, says in (
        ({"k": K + 1}, "says k 4, and 3 under metadata.neuroglass"),
        ({"apply_b_dec_to_input": False}, "says subtract_b_dec False, and True"),
        ({"normalize_activations": "layer_norm"}, "says input_norm 'layer_norm'"),
        ({"d_sae": N + 1}, "says d_sae 13, and 12"),
    ):
        put_json(tmp_path, "cfg.json", before | change)
        with pytest.raises(InputError, match=says):
            load(tmp_path)


def test_latents_that_share_a_threshold_must(tmp_path: Path) -> None:
    save(written("batch topk, scaled"), tmp_path)
    t = load_file(tmp_path / "sae_weights.safetensors")
    t["threshold"][3] += 1
    save_file(t, tmp_path / "sae_weights.safetensors")
    with pytest.raises(InputError, match="share one threshold"):
        load(tmp_path)


# ---------------------------------------------------------------------- large files

MANY, THIN = 1 << 20, 16


def sparse_file(path: Path, shapes: dict[str, tuple[int, ...]], ones: dict[str, int]) -> None:
    """A safetensors file of zeros that takes no room, but for one number of some tensors."""
    header: dict[str, Any] = {}
    at = 0
    for name, shape in shapes.items():
        end = at + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)
        for name, index in ones.items():
            file.seek(8 + len(text) + header[name]["data_offsets"][0] + 4 * index)
            file.write(struct.pack("<f", 1.0))


def resident() -> int:
    """Bytes of memory in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("turned", [True, False])
def test_a_million_latents_open_at_once_and_only_rows_asked_for_are_read(
    tmp_path: Path, turned: bool
) -> None:
    name = ("encoder.weight", "encoder.bias") if turned else ("W_enc", "b_enc")
    shapes = {
        name[0]: (MANY, THIN) if turned else (THIN, MANY),
        name[1]: (MANY,),
        "W_dec": (MANY, THIN),
        "b_dec": (THIN,),
    }
    latent = 777_777
    first = latent * THIN if turned else latent  # W_enc[0, latent]
    path = tmp_path / "x.safetensors"
    sparse_file(path, shapes, {name[0]: first, "W_dec": latent * THIN})
    cfg: dict[str, Any] = {"d_in": THIN}
    if turned:  # groupmax: only the groups of the two are computed
        cfg |= {"num_latents": MANY, "activation": "groupmax", "k": MANY // 8, "transcode": True}
    else:
        cfg |= {"d_sae": MANY, "architecture": "standard", "metadata": META}
    put_json(tmp_path, "cfg.json", cfg)
    before, start = resident(), time.perf_counter()
    sae = load(tmp_path)
    f = sae.encode_dense(torch.eye(THIN)[:2], [5, latent])
    row = sae.direction(latent)
    took, used = time.perf_counter() - start, resident() - before
    assert f.tolist() == [[0, 1], [0, 0]]
    assert row.tolist() == [1.0] + [0.0] * (THIN - 1)
    assert took < 1
    whole = path.stat().st_size
    assert used < whole / 4, f"{used:,} of {whole:,} bytes"


@pytest.mark.parametrize("kind", ["npz", "pt"])
def test_arrays_and_pickled_tensors_are_mapped_too(tmp_path: Path, kind: str) -> None:
    """What is changed in the file afterwards shows: nothing was copied."""
    if kind == "npz":
        file = gemma(tmp_path / "a") / "params.npz"
    else:
        file = learned(tmp_path / "a", batched(), "BatchTopKSAE") / "ae.pt"
    sae = load(file)
    ours = sae.weights.W_dec if kind == "npz" else sae.weights.W_dec.T
    assert ours[0, 0] != 42
    at = file.read_bytes().index(ours[0].numpy().tobytes())
    with file.open("r+b") as raw:
        raw.seek(at)
        raw.write(struct.pack("<f", 42.0))
    assert ours[0, 0] == 42


# ---------------------------------------------------------------------- bad input


class Hostile:
    """Runs code where a pickle is opened without care."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("how", ["archive", "old", "bare", "npz"])
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path: Path, how: str) -> None:
    mark = tmp_path / "it ran"
    folder = learned(tmp_path / "a", batched(), "BatchTopKSAE")
    bad: dict[str, Any] = batched() | {"bad": Hostile(mark)}
    if how == "npz":
        (folder / "ae.pt").unlink()
        np.savez(folder / "params.npz", W_enc=np.array([Hostile(mark)]), W_dec=np.zeros(3))
    elif how == "bare":
        (folder / "ae.pt").write_bytes(pickle.dumps(bad))
    else:
        torch.save(bad, folder / "ae.pt", _use_new_zipfile_serialization=how == "archive")
    with pytest.raises(ModelLoadError, match="unpickling|run code"):
        load(folder)
    assert not mark.exists()
    torch.load(io.BytesIO(_saved(bad)), weights_only=False)  # it would have
    assert mark.exists()


def _saved(values: Any) -> bytes:
    into = io.BytesIO()
    torch.save(values, into)
    return into.getvalue()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("kind", ["safetensors", "npz", "pt"])
def test_a_truncated_file_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    folder = {
        "safetensors": lambda: saelens(tmp_path / "a", plain(), "standard"),
        "npz": lambda: gemma(tmp_path / "a"),
        "pt": lambda: learned(tmp_path / "a", batched(), "BatchTopKSAE"),
    }[kind]()
    (file,) = (f for f in folder.glob(f"*.{kind}") if "sparsity" not in f.name)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelLoadError, match="can't be read|is damaged") as error:
        load(folder)
    assert file.name in str(error.value)


def test_a_pickle_that_is_no_state_dict(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "x.pt")
    with pytest.raises(ModelLoadError, match="holds a list"):
        load(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing at"):
        load(tmp_path / "missing")
    with pytest.raises(InputError, match=r"no dictionary.*no file ending in .safetensors") as error:
        load(tmp_path)
    for known in FORMATS:  # it says what was looked for
        assert known.name in str(error.value)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="no file of weights"):
        load(tmp_path / "notes.txt")


def test_other_tensors_and_folders_of_dictionaries_are_named(tmp_path: Path) -> None:
    save_file({"lm_head.weight": normal(2, 3)}, tmp_path / "model.safetensors")
    sparsify(tmp_path / "layers.1", coder())
    with pytest.raises(InputError, match="lm_head.weight.*Folders with weights in it: layers.1"):
        load(tmp_path)


def test_several_dictionaries_in_a_folder(tmp_path: Path) -> None:
    learned(tmp_path, batched(), "BatchTopKSAE")
    torch.save(batched(), tmp_path / "ae_2.pt")
    with pytest.raises(InputError, match=r"several dictionaries.*ae\.pt, ae_2\.pt"):
        load(tmp_path)
    assert load(tmp_path / "ae_2.pt").spec.k == K


def test_a_dictionary_of_its_checkpoints_is_not_confused_with_them(tmp_path: Path) -> None:
    learned(tmp_path, batched(), "BatchTopKSAE")
    (tmp_path / "checkpoints").mkdir()
    torch.save(batched() | {"b_dec": torch.zeros(D)}, tmp_path / "checkpoints" / "ae_10.pt")
    assert load(tmp_path).weights.b_dec.any()
    assert not load(tmp_path / "checkpoints" / "ae_10.pt").weights.b_dec.any()


@pytest.mark.parametrize("name", ["cfg.json", "config.json", "settings.json"])
def test_the_contents_count_and_not_the_names(tmp_path: Path, name: str) -> None:
    t = plain()
    saelens(tmp_path, t, "standard")
    (tmp_path / "cfg.json").rename(tmp_path / name)
    (tmp_path / "sae_weights.safetensors").rename(tmp_path / "whatever.safetensors")
    f = ((X - t["b_dec"]) @ t["W_enc"] + t["b_enc"]).relu()
    matches(load(tmp_path), f, f @ t["W_dec"] + t["b_dec"])


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    for folder in (
        saelens(tmp_path / "a", plain(), "standard"),
        sparsify(tmp_path / "b", coder()),
        gemma_2(tmp_path / "c"),
        llama(tmp_path / "d"),
    ):
        for file in folder.glob("*.json"):
            file.unlink()
        with pytest.raises(InputError, match="No config with"):
            load(folder)


# ---------------------------------------------------------------------- with a model

WIDE = 32  # of the tiny models


def fitting(folder: Path, width: int = WIDE, **meta: Any) -> Path:
    t = {
        "W_enc": normal(width, N, seed=1),
        "b_enc": normal(N, seed=2),
        "W_dec": normal(N, width, seed=3),
        "b_dec": normal(width, seed=4),
    }
    return saelens(folder, t, "standard", meta, d_in=width)


def test_loaded_onto_a_model_it_is_a_basis(
    tmp_path: Path, load_tiny: Callable[..., LiveModel]
) -> None:
    model = load_tiny("llama")
    sae = ng.SAE.load(fitting(tmp_path, model_name=model.name), model)
    assert str(sae.read_site) == "resid_post.1"
    close(sae[3].direction.cpu(), normal(N, WIDE, seed=3)[3])


def test_a_dictionary_of_another_model_is_refused(
    tmp_path: Path, load_tiny: Callable[..., LiveModel]
) -> None:
    model = load_tiny("llama")
    fitting(tmp_path, model_name="google/gemma-2-2b")
    with pytest.raises(InputError, match=r"trained on google/gemma-2-2b.*any_model=True"):
        load(tmp_path, model)
    assert load(tmp_path, model, any_model=True).model is model


def test_a_dictionary_of_other_weights_is_refused(
    tmp_path: Path, load_tiny: Callable[..., LiveModel]
) -> None:
    model = load_tiny("llama")
    save(written("relu"), tmp_path)
    with pytest.raises(InputError, match="other weights"):
        load(tmp_path, model)


def test_a_dictionary_of_another_width_or_site_is_refused(
    tmp_path: Path, load_tiny: Callable[..., LiveModel]
) -> None:
    model = load_tiny("llama")
    fitting(tmp_path / "a", 20, model_name=model.name)
    with pytest.raises(InputError, match="reads vectors of 20 numbers; resid_post.1"):
        load(tmp_path / "a", model)
    fitting(tmp_path / "b", model_name=model.name, hook_name="blocks.9.hook_resid_post")
    with pytest.raises(InputError, match="no layer 9"):
        load(tmp_path / "b", model)
    fitting(tmp_path / "c", model_name=model.name, hook_name="blocks.1.mlp.hook_post")
    with pytest.raises(InputError, match="It belongs to another site"):
        load(tmp_path / "c", model)
    fitting(tmp_path / "d", model_name=model.name, hook_name="blocks.1.ln2.hook_normalized")
    with pytest.raises(InputError, match="before the norm's weight"):
        load(tmp_path / "d", model)
    assert str(load(tmp_path / "d", model, site="mlp_in.1").read_site) == "mlp_in.1"


def test_a_site_can_be_given_without_a_model(tmp_path: Path) -> None:
    sae = load(learned(tmp_path, batched(), "BatchTopKSAE", submodule_name=None), site="embed")
    assert (sae.spec.read_site, sae.spec.write_site) == ("embed", "embed")
