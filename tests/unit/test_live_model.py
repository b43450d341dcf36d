"""Runs, sites, masks and numbers, against Hugging Face's own outputs and by hand."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from neuroglass import Cancelled, InputError, LiveModel, ModelLoadError, Priority, load
from neuroglass.model.sites import Site
from tests.unit.conftest import TINY, tiny

KINDS = list(TINY)
IDS = [[3, 14, 15, 92, 65, 35, 89], [2, 71, 82, 81, 82, 84, 59]]
Load = Callable[..., LiveModel]


def hooks_of(hf: torch.nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in hf.modules())


def reference(hf: Any, ids: list[list[int]]) -> Any:
    with torch.no_grad():
        return hf(torch.tensor(ids), use_cache=False, output_hidden_states=True)


@pytest.mark.parametrize("kind", KINDS)
def test_residuals_and_logits_are_bit_identical_to_hugging_face(kind: str, load_tiny: Load) -> None:
    model = load_tiny(kind)
    sites = [f"resid_pre.{i}" for i in range(3)] + ["logits"]
    run = model.run(IDS, sites=sites)
    want = reference(model.hf, IDS)
    for i in range(3):
        assert torch.equal(run[f"resid_pre.{i}"], want.hidden_states[i])
    assert torch.equal(run["logits"], want.logits)


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3", "olmo2", "gpt2"])
def test_neurons_equal_a_forward_written_out(kind: str, load_tiny: Load) -> None:
    model = load_tiny(kind)
    run = model.run(IDS, sites=["mlp_in.1", "neurons.1"])
    x = run["mlp_in.1"]
    if kind == "gpt2":
        mlp = model.hf.transformer.h[1].mlp
        want = torch.nn.functional.gelu(x @ mlp.c_fc.weight + mlp.c_fc.bias, approximate="tanh")
    else:
        mlp = model.hf.model.layers[1].mlp
        want = torch.nn.functional.silu(x @ mlp.gate_proj.weight.T) * (x @ mlp.up_proj.weight.T)
    # the same sums in another order: float32 rounding of numbers of size 1
    torch.testing.assert_close(run["neurons.1"], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_early_stop_gives_the_same_values_and_no_logits(kind: str, load_tiny: Load) -> None:
    model = load_tiny(kind)
    sites = ["neurons.1", "resid_post.0", "attn_out.1", "v.1"]
    full, early = model.run(IDS, sites=sites), model.run(IDS, sites=sites, logits=False)
    assert early.logits is None
    for site in sites:
        assert torch.equal(full[site], early[site])


def test_early_stop_really_leaves_the_rest_of_the_model_out(load_tiny: Load) -> None:
    model = load_tiny()
    reached: list[int] = []
    handles = [
        layer.register_forward_pre_hook(lambda *_, i=i: reached.append(i))
        for i, layer in enumerate(model.hf.model.layers)
    ]
    model.run(IDS, sites=["mlp_out.1"], logits=False)
    assert reached == [0, 1]
    for handle in handles:
        handle.remove()


def test_a_family_row_that_is_wrong_is_refused_and_names_the_sum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hf = tiny("llama")
    block = hf.model.layers[1]
    block_forward = block.forward
    monkeypatch.setattr(block, "forward", lambda *a, **k: block_forward(*a, **k) * 1.01)
    with pytest.raises(ModelLoadError, match=r"resid_post = resid_pre .* layer 1"):
        load(hf)
    assert hooks_of(hf) == 0


def test_padding_does_not_change_what_a_text_computes(load_tiny: Load) -> None:
    model = load_tiny()
    short = IDS[1][:4]
    together = model.run([IDS[0], short], sites=["resid_post.2"])
    alone = model.run(short, sites=["resid_post.2"])
    # another kernel runs for masked attention: float32 rounding
    torch.testing.assert_close(
        together["resid_post.2"][1, :4], alone["resid_post.2"][0], rtol=1e-5, atol=1e-5
    )
    assert together.mask.tolist() == [[True] * 7, [True] * 4 + [False] * 3]
    assert together.logprobs[1, 4:].isnan().all()


def test_logprobs_entropy_and_top_equal_a_plain_log_softmax(
    load_tiny: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuroglass.model.run._CHUNK", 3)  # chunk borders inside the text
    run = load_tiny().run(IDS)
    log_p = reference(run_model := load_tiny().hf, IDS).logits.log_softmax(-1)
    assert run_model is not None
    want = log_p[:, :-1].gather(-1, torch.tensor(IDS)[:, 1:, None]).squeeze(-1)
    assert run.logprobs[:, 0].isnan().all()
    torch.testing.assert_close(run.logprobs[:, 1:], want)
    torch.testing.assert_close(run.entropy, -(log_p.exp() * log_p).sum(-1))
    ids, values = run.top(4)
    torch.testing.assert_close(values, log_p.topk(4).values)
    assert torch.equal(log_p.gather(-1, ids).argsort(-1, descending=True)[..., 0], ids[..., 0] * 0)


def test_site_spellings_of_other_libraries_mean_the_same(load_tiny: Load) -> None:
    model = load_tiny()
    same = {
        "resid_post.1": ["blocks.1.hook_resid_post", "model.layers.1"],
        "attn_out.1": ["blocks.1.hook_attn_out", "model.layers.1.self_attn"],
        "mlp_out.2": ["blocks.2.hook_mlp_out", "model.layers.2.mlp"],
        "neurons.0": ["blocks.0.mlp.hook_post"],
        "head_out.0": ["blocks.0.attn.hook_z"],
        "embed": ["hook_embed", "model.embed_tokens"],
    }
    for ours, others in same.items():
        for other in others:
            assert str(model.site(other)) == ours
    run = model.run(IDS, sites=["blocks.1.hook_resid_post"])
    assert torch.equal(run["model.layers.1"], run["resid_post.1"])
    assert run["resid_post.1"].shape == (2, 7, 32)
    assert model.run(IDS, sites=["head_out.0"])["head_out.0"].shape == (2, 7, 4, 8)


@pytest.mark.parametrize(
    ("site", "message"),
    [
        ("resid_pots.1", "Did you mean 'resid_post.1'"),
        ("resid_post.3", "Layers go from 0 to 2"),
        ("resid_post", "needs a layer"),
        ("resid_post.-1", "no site"),
        ("embed.0", "has no layers"),
        ("", "no site"),
        ("model.layers.1.nothing", "no site"),
    ],
)
def test_an_unknown_site_is_refused_with_the_nearest_names(
    site: str, message: str, load_tiny: Load
) -> None:
    with pytest.raises(InputError, match=message):
        load_tiny().run(IDS, sites=[site])


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("text", "without a tokenizer"),
        ([], "empty"),
        ([[]], "empty"),
        (list(range(65)), "65 tokens; .* reads at most 64.* Shorten it by 1 "),
        ([5, 101], "Token id 101 .* 0 to 100"),
        ([5, -1], "Token id -1"),
        ([1.5, 2.5], "can't be run"),
    ],
)
def test_bad_prompts_say_what_is_wrong(prompt: Any, message: str, load_tiny: Load) -> None:
    with pytest.raises(InputError, match=message):
        load_tiny().run(prompt)


def test_token_ids_run_without_a_tokenizer(load_tiny: Load) -> None:
    model = load_tiny()
    by_list, by_tensor = model.run(IDS[0]), model.run(torch.tensor(IDS[0]))
    assert torch.equal(by_list["logits"], by_tensor["logits"])
    assert by_list.pieces()[0] == [f"{i} " for i in IDS[0]]


def test_reading_a_site_that_was_not_captured_names_those_that_were(load_tiny: Load) -> None:
    run = load_tiny().run(IDS, sites=["neurons.1"])
    with pytest.raises(InputError, match="Did you mean 'neurons.1'"):
        run["neurons.2"]


def test_massive_tokens_are_those_over_ten_median_norms(load_tiny: Load) -> None:
    model = load_tiny()
    with torch.no_grad():
        model.hf.model.embed_tokens.weight[92] *= 1e4
    run = model.run(IDS)
    norms = reference(model.hf, IDS).hidden_states[1].norm(dim=-1)
    assert torch.equal(run.masks["massive"], norms > 10 * norms.median())
    assert run.masks["massive"].nonzero().tolist() == [[0, 3]]
    assert run.massive_site == "resid_pre.1"


@pytest.mark.parametrize("how", ["error", "early stop", "cancel", "done"])
def test_no_hook_outlives_a_run(how: str, load_tiny: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_tiny()
    if how == "error":
        monkeypatch.setattr(
            model.hf.model.layers[1].mlp, "forward", lambda *_: torch.zeros(1) @ torch.zeros(2)
        )
        with pytest.raises(RuntimeError):
            model.run(IDS, sites=["neurons.0", "resid_post.2"])
    elif how == "early stop":
        model.run(IDS, sites=["neurons.0"], logits=False)
    elif how == "cancel":
        entered = threading.Event()
        plain = model.hf.model.layers[0].mlp.forward

        def slow(x: Any) -> Any:
            entered.set()
            time.sleep(0.1)
            return plain(x)

        monkeypatch.setattr(model.hf.model.layers[0].mlp, "forward", slow)
        job = model.submit(IDS, sites=["resid_post.2"])
        assert entered.wait(5)
        job.cancel()
        with pytest.raises(Cancelled):
            job.result(5)
    else:
        model.run(IDS, sites=["resid_post.2"])
    assert hooks_of(model.hf) == 0
    monkeypatch.undo()
    assert torch.equal(model.run(IDS)["logits"], reference(model.hf, IDS).logits)


def test_a_cancelled_pass_stops_at_the_next_layer(
    load_tiny: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_tiny()
    reached: list[int] = []
    jobs: list[Any] = []
    for i, layer in enumerate(model.hf.model.layers):
        plain = layer.mlp.forward

        def forward(x: Any, i: int = i, plain: Any = plain) -> Any:
            reached.append(i)
            jobs[0].cancel()
            return plain(x)

        monkeypatch.setattr(layer.mlp, "forward", forward)
    gate = threading.Event()
    model.work(lambda _: gate.wait(5), priority=Priority.INTERACTIVE)
    jobs.append(model.submit(IDS))
    gate.set()
    with pytest.raises(Cancelled):
        jobs[0].result(5)
    assert reached == [0]


def test_captured_tensors_can_train_a_probe(load_tiny: Load) -> None:
    x = load_tiny().run(IDS, sites=["resid_post.1"])["resid_post.1"]
    probe = torch.nn.Linear(32, 1)
    probe(x).sum().backward()
    assert probe.weight.grad is not None
    assert not x.requires_grad


def test_runs_of_many_threads_do_not_mix(load_tiny: Load) -> None:
    model = load_tiny()
    want = [reference(model.hf, [[i, i + 1, i + 2]]).logits for i in range(50)]
    wrong: list[int] = []

    def cell(start: int) -> None:
        for i in range(start, 50, 2):
            got = model.run([[i, i + 1, i + 2]], sites=["resid_post.2"])
            if not torch.equal(got["logits"], want[i]):
                wrong.append(i)

    threads = [threading.Thread(target=cell, args=(s,)) for s in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_a_forgotten_model_is_freed_with_its_thread() -> None:
    import weakref

    model = load(tiny())
    model.run(IDS, sites=["resid_post.1"])
    ref, thread = weakref.ref(model), model._worker._queue.thread
    del model
    gc.collect()
    assert ref() is None
    assert thread is not None
    thread.join(5)
    assert not thread.is_alive()


def test_the_fingerprint_follows_the_weights_and_nothing_else() -> None:
    a, b, c = load(tiny()), load(tiny()), load(tiny())
    with torch.no_grad():
        c.hf.model.layers[2].mlp.down_proj.weight[0, 0] += 1e-3
    assert a.fingerprint == b.fingerprint != c.fingerprint
    for model in (a, b, c):
        model.close()


def test_repr_says_what_it_is(load_tiny: Load) -> None:
    model = load_tiny()
    for part in ("Llama", "3 layers", "fp32", "cpu", "a model in memory", model.fingerprint):
        assert part in repr(model)


def test_a_closed_model_says_so(load_tiny: Load) -> None:
    model = load_tiny()
    model.close()
    with pytest.raises(Exception, match="closed"):
        model.run(IDS)


def test_sites_are_values() -> None:
    assert Site("neurons", 3) == Site("neurons", 3)
    assert str(Site("embed")) == "embed"


def test_a_long_text_becomes_windows_that_are_led_as_the_tokenizer_leads(
    smollm2: LiveModel,
) -> None:
    prompts = smollm2.prompts
    text = "The quick brown fox jumps over the lazy dog. " * 20
    ids = smollm2.tokenize(text)[0][0].tolist()
    rows = prompts.windows(text, 16)
    assert [t for row in rows for t in row] == ids
    assert {len(row) for row in rows[:-1]} == {16}
    bos = smollm2.tokenizer.bos_token_id  # type: ignore[union-attr]
    led = prompts.windows(text, 16, prepend_bos=True)
    assert all(row[0] == bos and len(row) <= 16 for row in led)
    assert [t for row in led for t in row[1:]] == ids
    assert prompts.windows("", 16) == []
    with pytest.raises(InputError, match="no room for text"):
        prompts.windows(text, 1, prepend_bos=True)


def test_what_a_tokenizer_puts_first_leads_every_window(
    load_tiny: Callable[..., LiveModel],
) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({"<s>": 0, "a": 1, "b": 2}, "b"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    model = load_tiny("llama", PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>"))
    assert model.prompts.windows("a b b a b", 3) == [[0, 1, 2], [0, 2, 1], [0, 2]]
    assert model.prompts.windows("a b b", 3, prepend_bos=False) == [[1, 2, 2]]
