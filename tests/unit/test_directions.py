"""Directions, heads, neurons and logit effects, against what the model itself does with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from neuroglass import InputError, LiveModel
from neuroglass.model.basis import Directions, Feature
from neuroglass.model.edits import Add
from tests.unit.conftest import TINY
from tests.unit.test_edits import hooks_of, vector
from tests.unit.written_out import forward, rms

IDS = [3, 14, 15, 92, 65, 35, 89]
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}  # float32: other sums of numbers of size 1
POST_NORM = ["gemma2", "gemma3", "olmo2"]  # a norm between the output matrices and the stream
PLAIN = ["llama", "gpt2", "qwen2", "phi3", "opt", "gpt_neox"]
Load = Callable[..., LiveModel]


# -- to the residual stream ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize(
    ("site", "out"),
    [("neurons.1", "mlp_out.1"), ("head_out.1", "attn_out.1"), ("attn_proj.1", "attn_out.1"),
     ("mlp_proj.1", "mlp_out.1")],
)  # fmt: skip
def test_a_direction_carried_on_is_what_adding_it_does_to_the_stream(
    site: str, out: str, kind: str, load_tiny: Load
) -> None:
    model = load_tiny(kind)
    v = vector(model.width(site), 3)
    before, after = (model.run(IDS, sites=[out], edits=e)[out] for e in ([], [Add(site, v)]))
    made = model.to_residual(site, v)
    assert made.shape == (32,)
    assert made.norm() > 0.1
    torch.testing.assert_close(made.expand(1, 7, 32), after - before, **CLOSE)
    many = model.to_residual(site, torch.stack([v, -2 * v])[None])
    torch.testing.assert_close(many, torch.stack([made, -2 * made])[None], **CLOSE)


@pytest.mark.parametrize("kind", POST_NORM)
@pytest.mark.parametrize(
    ("site", "proj", "out"),
    [("neurons.1", "mlp_proj.1", "mlp_out.1"), ("head_out.1", "attn_proj.1", "attn_out.1"),
     ("attn_proj.1", "attn_proj.1", "attn_out.1"), ("mlp_proj.1", "mlp_proj.1", "mlp_out.1")],
)  # fmt: skip
def test_through_a_post_norm_a_direction_is_carried_with_the_norms_scale_frozen(
    site: str, proj: str, out: str, kind: str, load_tiny: Load
) -> None:
    model = load_tiny(kind)
    hf: Any = model.hf
    run = model.run(IDS, sites=[site, proj, out])
    x, y = run[proj][0], run[out][0]
    block = hf.model.layers[1]
    norm = block.post_attention_layernorm if "attn" in out else block.post_feedforward_layernorm
    gain = norm.weight.detach() + (kind != "olmo2")  # Gemma stores gain - 1
    eps = getattr(norm, "eps", getattr(norm, "variance_epsilon", 0.0))
    scale = rms(x, eps)
    torch.testing.assert_close(gain * x * scale, y, **CLOSE)  # so that what follows is right
    v = vector(model.width(site), 3)
    matrix = {"neurons.1": block.mlp.down_proj, "head_out.1": block.self_attn.o_proj}.get(site)
    carried = v if matrix is None else v @ matrix.weight.detach().T
    made = model.to_residual(site, v.expand(7, -1), at=x)
    torch.testing.assert_close(made, gain * carried * scale, **CLOSE)
    torch.testing.assert_close(model.to_residual(site, v), gain * carried, **CLOSE)
    # the whole write, taken apart with the frozen scale, adds up (no family here has a bias)
    parts = run[site][0].flatten(1)
    torch.testing.assert_close(model.to_residual(site, parts, at=x), y, **CLOSE)


def test_a_direction_in_the_stream_is_already_there(load_tiny: Load) -> None:
    model, v = load_tiny(), vector(32)
    for site in ("embed", "resid_pre.0", "resid_mid.1", "resid_post.2", "attn_out.1", "mlp_out.1"):
        assert torch.equal(model.to_residual(site, v), v)


def test_what_does_not_write_to_the_stream_is_refused(load_tiny: Load) -> None:
    model = load_tiny()
    cases: list[tuple[Callable[[], Any], list[str]]] = [
        (lambda: model.to_residual("q.1", torch.ones(32)), ["q.1", "neurons", "head_out"]),
        (lambda: model.to_residual("mlp_in.1", torch.ones(32)), ["mlp_in.1"]),
        (lambda: model.to_residual("logits", torch.ones(101)), ["logits"]),
        (lambda: model.to_residual("pattern.1", torch.ones(7)), ["pattern"]),
        (lambda: model.to_residual("neurons.1", torch.ones(32)), ["32", "56"]),
        (lambda: model.to_residual("resid_post.1", torch.ones(56)), ["32", "56"]),
        (lambda: model.to_residual("neurons.9", torch.ones(56)), ["layer 9"]),
        (lambda: model.to_residual("attn_proj.1", torch.ones(32), at=torch.ones(32)), ["no norm"]),
        (lambda: model.to_residual("neurons.1", torch.tensor(1.0)), ["56"]),
    ]
    for call, parts in cases:
        with pytest.raises(InputError) as caught:
            call()
        for part in parts:
            assert part in str(caught.value)


def test_scales_for_a_post_norm_of_another_width_are_refused(load_tiny: Load) -> None:
    with pytest.raises(InputError, match="32"):
        load_tiny("gemma2").to_residual("neurons.1", torch.ones(56), at=torch.ones(56))


# -- heads and neurons -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt", "qwen3"])
def test_a_heads_output_through_its_matrix_is_its_part_of_the_attention(
    kind: str, load_tiny: Load
) -> None:
    model = load_tiny(kind)
    run = model.run(IDS, sites=["head_out.1", "attn_proj.1"])
    heads = [model.head(1, i) for i in range(4)]
    written = [run["head_out.1"][0, :, h.index] @ h.w_out for h in heads]
    for head, part in zip(heads, written, strict=True):
        assert head.w_out.shape == (8, 32)
        torch.testing.assert_close(
            head.to_residual(run["head_out.1"][0, :, head.index]), part, **CLOSE
        )
    matrix: Any = model.family.block(model.hf, 1, model.family.attn_matrix)
    bias = 0 if getattr(matrix, "bias", None) is None else matrix.bias.detach()
    torch.testing.assert_close(torch.stack(written).sum(0) + bias, run["attn_proj.1"][0], **CLOSE)
    assert not heads[0].w_out.requires_grad


def test_query_heads_know_the_key_value_head_that_they_read(load_tiny: Load) -> None:
    llama, gpt2 = load_tiny(), load_tiny("gpt2")
    assert [llama.head(0, i).kv_head for i in range(4)] == [0, 0, 1, 1]
    assert [gpt2.head(0, i).kv_head for i in range(4)] == [0, 1, 2, 3]
    # as the model does: without the value head 1 only the heads that read it are silent
    from neuroglass.model.edits import Ablate

    z = llama.run(IDS, sites=["head_out.0"], edits=[Ablate("v.0", heads=[1])])["head_out.0"]
    silent = [i for i in range(4) if not z[0, :, i].any()]
    assert silent == [i for i in range(4) if llama.head(0, i).kv_head == 1]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_neurons_handle_reads_and_writes_its_own_coordinate(kind: str, load_tiny: Load) -> None:
    model = load_tiny(kind)
    neuron = model.neuron(1, 7)
    x = model.run(IDS, sites=["neurons.1"])["neurons.1"]
    assert torch.equal(neuron.activations(x), x[..., 7])
    assert neuron.activations(x[0, 3]).shape == ()
    want = torch.zeros(model.width("neurons.1"))
    want[7] = 1
    assert torch.equal(neuron.direction, want)
    mlp: Any = model.family.block(model.hf, 1, model.family.mlp_matrix)
    row = mlp.weight[7] if kind == "gpt2" else mlp.weight[:, 7]
    torch.testing.assert_close(neuron.to_residual(), row.detach(), rtol=0, atol=0)  # 1 · row + 0s
    assert str(neuron.read_site) == str(neuron.write_site) == "neurons.1"


def test_ids_lead_back_to_their_features(load_tiny: Load) -> None:
    model = load_tiny()
    for layer, index in ((0, 0), (2, 55)):
        feature = model.neuron(layer, index)
        assert feature.id == f"{model.name}/neurons.{layer}/neurons/{index}"
        assert model.feature(feature.id) == feature
        assert model.feature(feature.id).id == feature.id
        assert feature.id in repr(feature)
    assert isinstance(model.feature(model.neuron(1, 1).id), Feature)


@pytest.mark.parametrize(
    ("wrong", "parts"),
    [
        ("{}/neurons.1/neurons", ["model/site/basis/index"]),
        ("{}/neurons.1/neurons/7/7", ["model/site/basis/index"]),
        ("{}/neurons.1/neurons/-7", ["model/site/basis/index"]),
        ("{}/neurons.1/neurons/seven", ["model/site/basis/index"]),
        ("", ["model/site/basis/index"]),
        ("{}/neurons.1/neurons/56", ["56", "0 to 55"]),
        ("{}/neurons.3/neurons/1", ["no layer 3", "0 to 2"]),
        ("{}/neurns.1/neurons/1", ["neurns.1", "'neurons.1'"]),
        ("{}/neurons/neurons/1", ["needs a layer"]),
        ("{}/resid_post.1/neurons/1", ["neurons"]),
        ("{}/resid_post.1/sae/1", ["'sae'", "dictionary"]),
        ("Other/neurons.1/neurons/1", ["Other", "LlamaForCausalLM"]),
    ],
)
def test_a_wrong_id_is_refused(wrong: str, parts: list[str], load_tiny: Load) -> None:
    model = load_tiny()
    with pytest.raises(InputError) as caught:
        model.feature(wrong.format(model.name))
    for part in parts:
        assert part in str(caught.value)


def test_heads_neurons_and_layers_out_of_range_are_refused(load_tiny: Load) -> None:
    model = load_tiny()
    cases: list[tuple[Callable[[], Any], list[str]]] = [
        (lambda: model.neuron(1, 56), ["56", "0 to 55"]),
        (lambda: model.neuron(1, -1), ["-1", "0 to 55"]),
        (lambda: model.neuron(3, 0), ["layer 3", "0 to 2"]),
        (lambda: model.neuron(-1, 0), ["-1"]),
        (lambda: model.neuron(1, True), ["True"]),
        (lambda: model.neuron(1, 2.0), ["2.0"]),  # type: ignore[arg-type]
        (lambda: model.neuron(1, "2"), ["'2'"]),  # type: ignore[arg-type]
        (lambda: model.head(1, 4), ["head 4", "layer 1", "0 to 3"]),
        (lambda: model.head(1, -1), ["head -1"]),
        (lambda: model.head(3, 0), ["layer 3"]),
        (lambda: model.head(1, True), ["True"]),
        (lambda: model.head(1, "2"), ["'2'"]),  # type: ignore[arg-type]
    ]
    for call, parts in cases:
        with pytest.raises(InputError) as caught:
            call()
        for part in parts:
            assert part in str(caught.value)


# -- chosen directions -----------------------------------------------------------------------------


def test_a_direction_reads_its_coordinate_in_whole_vectors(load_tiny: Load) -> None:
    model = load_tiny()
    vectors = torch.stack([vector(32, 1, 5.0), vector(32, 2, 0.1)])
    basis = Directions(model, "blocks.1.hook_resid_post", vectors, name="mine")
    x = model.run(IDS, sites=["resid_post.1"])["resid_post.1"]
    want = torch.stack([(x @ v) / (v @ v) for v in vectors], -1)
    torch.testing.assert_close(basis.activations(x, [0, 1]), want, **CLOSE)
    torch.testing.assert_close(basis[1].activations(x), want[..., 1], **CLOSE)
    one = basis[0].activations(3 * vectors[0])
    assert float(one) == pytest.approx(3, rel=1e-5)  # float32
    assert basis.n_features == 2
    assert basis[1].id == f"{model.name}/resid_post.1/mine/1"
    assert torch.equal(basis[1].to_residual(), vectors[1])


@pytest.mark.parametrize(
    ("site", "vectors", "parts"),
    [
        ("resid_post.1", torch.ones(2, 31), ["31", "32"]),
        ("resid_post.1", torch.ones(32), ["32", "[features, 32]"]),
        ("neurons.1", torch.ones(2, 32), ["32", "56"]),
        ("resid_post.1", torch.zeros(1, 32), ["zero"]),
        ("resid_post.1", torch.tensor([[1.0] * 31 + [float("nan")]]), ["not finite"]),
        ("resid_post.1", torch.tensor([[1.0] * 31 + [float("inf")]]), ["not finite"]),
        ("resid_post.1", torch.ones(0, 32), ["0"]),
        ("resid_pots.1", torch.ones(1, 32), ["resid_post.1"]),
        ("pattern.1", torch.ones(1, 7), ["pattern"]),
        ("resid_post.1", [[1.0] * 32], ["tensor"]),
    ],
)
def test_bad_directions_are_refused(
    site: str, vectors: Any, parts: list[str], load_tiny: Load
) -> None:
    model = load_tiny()
    with pytest.raises(InputError) as caught:
        Directions(model, site, vectors)
    for part in parts:
        assert part in str(caught.value)


def test_a_directions_name_may_not_break_its_ids(load_tiny: Load) -> None:
    with pytest.raises(InputError, match="'a/b'"):
        Directions(load_tiny(), "resid_post.1", torch.ones(1, 32), name="a/b")


@pytest.mark.parametrize("index", [2, -1, True, "0", 0.0])
def test_a_direction_that_is_not_there_is_refused(index: Any, load_tiny: Load) -> None:
    basis = Directions(load_tiny(), "resid_post.1", torch.eye(32)[:2])
    with pytest.raises(InputError, match="0 to 1"):
        basis[index]


def test_a_loop_over_directions_ends(load_tiny: Load) -> None:
    basis: Any = Directions(load_tiny(), "resid_post.1", torch.eye(32)[:2])
    assert [f.index for f in basis] == [0, 1]


# -- logit effects ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen3"])
def test_a_logit_effect_is_the_change_of_the_logits_at_the_norms_frozen_scale(
    kind: str, load_tiny: Load
) -> None:
    model = load_tiny(kind)
    hf: Any = model.hf
    d = vector(32, 4)
    with torch.no_grad():
        clean = forward(hf, IDS)
        x = clean.sites["resid_post.2"]
        if kind == "gpt2":
            scale = rms(x - x.mean(-1, keepdim=True), hf.transformer.ln_f.eps)
        else:
            scale = rms(x, hf.config.rms_norm_eps)
        moved = forward(hf, IDS, {"resid_post.2": lambda x: x + d}, norm_scale=scale)
    effect = model.unembed(d)
    want = moved.logits - clean.logits
    assert want.abs().max() > 0.1
    torch.testing.assert_close(effect.values * scale, want, **CLOSE)


@pytest.mark.parametrize("kind", [k for k in TINY if k != "llama3"])
def test_a_logit_effect_agrees_with_the_gradient_of_a_logit_with_a_frozen_norm(
    kind: str, load_tiny: Load
) -> None:
    model = load_tiny(kind, **({"final_logit_softcapping": None} if kind == "gemma2" else {}))
    d = vector(32, 4)
    effect = model.unembed(d).values
    from neuroglass.model.gradients import Logit

    slopes = []
    for token in (5, 17, 60):
        grads = model.grad(Logit(token), IDS, sites=["resid_post.2"], freeze_norm=True)
        slopes.append(float(grads["resid_post.2"][0, -1] @ d))
    ratios = torch.tensor(slopes) / effect[[5, 17, 60]]
    assert ratios[0] > 0  # the scale of the last token's norm, one for all
    torch.testing.assert_close(ratios, ratios[:1].expand(3), rtol=1e-3, atol=1e-5)
    assert hooks_of(model.hf) == 0


def test_without_the_norm_a_logit_effect_is_the_plain_product(load_tiny: Load) -> None:
    for kind in ("llama", "gpt2"):
        model = load_tiny(kind)
        hf: Any = model.hf
        d = vector(32, 4)
        plain = d @ hf.lm_head.weight.detach().T
        torch.testing.assert_close(model.unembed(d, fold_norm=False).values, plain, **CLOSE)
        assert (model.unembed(d).values - plain).abs().max() > 1e-3


def test_a_features_logit_effect_is_that_of_its_row_of_the_matrix(load_tiny: Load) -> None:
    model = load_tiny()
    neuron = model.neuron(1, 7)
    assert torch.equal(model.unembed(neuron).values, model.unembed(neuron.to_residual()).values)
    basis = Directions(model, "q.1", torch.eye(32)[:1])
    with pytest.raises(InputError, match="q.1 does not write"):
        model.unembed(basis[0])


def test_top_tokens_and_the_table_are_the_sorted_values(load_tiny: Load) -> None:
    effect = load_tiny().unembed(vector(32, 4))
    order = effect.values.argsort(descending=True).tolist()
    assert [i for _, i, _ in effect.top(6)] == order[:6]
    assert [i for _, i, _ in effect.top(6, lowest=True)] == order[::-1][:6]
    for piece, i, value in (*effect.top(3), *effect.top(3, lowest=True)):
        assert piece == f"{i} "
        assert value == pytest.approx(float(effect.values[i]))
    assert len(effect.top(1000)) == 101
    table = effect.to_frame()
    assert table["id"].tolist() == order
    assert list(table.columns) == ["token", "id", "logit"]
    assert table["logit"].is_monotonic_decreasing
    assert repr(effect.top(1)[0][0]) in repr(effect)


@pytest.mark.parametrize(
    ("direction", "parts"),
    [
        (torch.ones(31), ["31", "32"]),
        (torch.ones(1, 32), ["[1, 32]"]),
        (torch.full((32,), float("nan")), ["NaN"]),
        (torch.full((32,), float("inf")), ["infinite"]),
        ([1.0] * 32, ["tensor"]),
        ("LlamaForCausalLM/neurons.1/neurons/7", []),
    ],
)
def test_a_bad_direction_has_no_logit_effect(
    direction: Any, parts: list[str], load_tiny: Load
) -> None:
    model = load_tiny()
    if isinstance(direction, str):  # DESIGN §2: every function that takes a feature takes its id
        assert torch.equal(
            model.unembed(direction).values, model.unembed(model.neuron(1, 7)).values
        )
        return
    with pytest.raises(InputError) as caught:
        model.unembed(direction)
    for part in parts:
        assert part in str(caught.value)


def test_a_feature_of_another_model_is_refused(load_tiny: Load) -> None:
    model, other = load_tiny(), load_tiny("qwen3")
    with pytest.raises(InputError, match="Qwen3"):
        model.unembed(other.neuron(1, 7))


@pytest.mark.model
def test_rare_tokens_of_the_real_model_are_left_out_of_the_lists_only(smollm2: LiveModel) -> None:
    tokenizer: Any = smollm2.tokenizer
    special = set(tokenizer.all_special_ids)
    head: Any = smollm2.hf.get_output_embeddings()
    # the direction whose logits come nearest to 1 at <|im_end|> and 0 elsewhere
    matrix = head.weight.detach().double() * smollm2.hf.get_submodule("model.norm").weight.detach()
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    toward = torch.linalg.solve(matrix.T @ matrix, matrix[end]).float()
    every, common = (smollm2.unembed(toward, rare=r) for r in (True, False))
    assert {i for _, i, _ in every.top(5)} & special
    for lowest in (False, True):
        assert not {i for _, i, _ in common.top(200, lowest=lowest)} & special
    assert torch.equal(every.values, common.values)
    assert not set(common.to_frame()["id"]) & special
    assert bool(every.kept.all())
    # words stay: a rule that throws common tokens away would be no help
    words = [tokenizer(" " + w)["input_ids"] for w in ("the", "Paris", "and", "dog", "because")]
    assert all(len(w) == 1 for w in words)
    assert bool(common.kept[[w[0] for w in words]].all())
    assert 0.9 < float(common.kept.float().mean()) < 1


@pytest.mark.model
def test_a_logit_effect_of_the_real_model_names_what_it_points_at(smollm2: LiveModel) -> None:
    """The stream before the unembedding points at what the model predicts."""
    run = smollm2.run("The capital of France is", sites=["resid_post.29"])
    x = run["resid_post.29"][0, -1]
    effect = smollm2.unembed(x)
    assert effect.top(1)[0][0] == " Paris"
    scale = rms(x, smollm2.hf.config.rms_norm_eps)
    # float32 sums of 576 products
    torch.testing.assert_close(effect.values * scale, run["logits"][0, -1], rtol=1e-3, atol=1e-3)


@pytest.mark.model
def test_directions_of_the_real_model_are_what_adding_them_does(smollm2: LiveModel) -> None:
    text = "The capital of France is"
    neuron = smollm2.neuron(20, 1000)
    head = smollm2.head(15, 3)
    z = vector(64, 1)
    cases: list[tuple[Any, str, torch.Tensor]] = [
        (Add(neuron, strength=10.0), "mlp_out.20", 10 * neuron.to_residual()),
        (Add(head, z), "attn_out.15", head.to_residual(z)),
    ]
    for edit, site, want in cases:
        before, after = (smollm2.run(text, sites=[site], edits=e)[site] for e in ([], [edit]))
        change = (after - before)[0, 1:]  # the first token's activations are massive
        # float32 differences of numbers of size 10
        torch.testing.assert_close(change, want.expand_as(change), rtol=1e-3, atol=1e-4)
        assert want.norm() > 0.5
