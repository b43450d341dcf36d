"""Generation against Hugging Face's own, edited caches against uncached forwards, and sampling."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from neuroglass import InputError, LiveModel, load
from neuroglass.model.edits import Ablate, Add, Edit, Scale
from neuroglass.model.generate import Generation
from neuroglass.model.sites import SITES
from tests.unit.conftest import tiny
from tests.unit.test_edits import (
    REFERENCE,
    REFERRED,
    Token,
    change,
    hooks_of,
    plain,
    special_cases,
    vector,
)
from tests.unit.written_out import forward

# of different length: the second is padded on the left; with 4 new tokens 9 and 7
PROMPTS = [[3, 14, 15, 92, 65], [2, 71, 82]]
NEW = 4
KINDS = ["llama", "gpt2", "mistral"]  # mistral's window is 4 tokens: shorter than every text
POSITIONS: list[Any] = ["all", "prompt", "generated", 1, -1, [1, 5], [-2, 6]]
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}  # float32: other sums of numbers of size 1
FELT = 1e-3
Load = Callable[..., LiveModel]
Models = dict[str, LiveModel]


@pytest.fixture(scope="module")
def models() -> Iterator[Models]:
    """Models that never end a text."""
    made = {kind: load(tiny(kind, eos_token_id=None)) for kind in [*KINDS, "qwen3"]}
    assert not any(model.end_tokens for model in made.values())
    yield made
    for model in made.values():
        model.close()


# -- against Hugging Face --------------------------------------------------------------------------


def theirs(model: LiveModel, rows: list[list[int]], new: int) -> list[list[int]]:
    """Greedy tokens of Hugging Face's generate for left-padded rows, cut after the end token."""
    hf: Any = model.hf
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(r)) + r for r in rows])
    mask = torch.tensor([[0] * (longest - len(r)) + [1] * len(r) for r in rows])
    with torch.no_grad():
        out = hf.generate(ids, attention_mask=mask, max_new_tokens=new, do_sample=False)
    found = []
    for row in out[:, longest:].tolist():
        ends = [i for i, t in enumerate(row) if t in model.end_tokens]
        found.append(row[: ends[0] + 1] if ends else row)
    return found


@pytest.mark.model
def test_greedy_equals_hugging_face_token_for_token(smollm2: LiveModel) -> None:
    texts = ["The capital of France is", "def fibonacci(n):\n", "Once upon a time, there was a"]
    alone = smollm2.generate(texts[0], max_new_tokens=10).finish()
    assert alone.tokens == theirs(smollm2, alone.prompt, 10)
    together = smollm2.generate(texts, max_new_tokens=10).finish()
    assert len({len(p) for p in together.prompt}) > 1  # padding is there
    assert together.tokens == theirs(smollm2, together.prompt, 10)
    assert together.tokens[0] == alone.tokens[0]


@pytest.mark.model
def test_a_chat_equals_hugging_face_up_to_its_end_token_and_shows_the_template(
    smollm2: LiveModel,
) -> None:
    tokenizer: Any = smollm2.tokenizer
    messages = [{"role": "user", "content": "Answer with one word: what colour is the sky?"}]
    generation = smollm2.generate(messages, max_new_tokens=40).finish()
    encoded = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True)
    ids = encoded if isinstance(encoded, list) else encoded["input_ids"]
    assert generation.prompt == [ids]
    assert generation.tokens == theirs(smollm2, [ids], 40)
    assert generation.tokens[0][-1] in smollm2.end_tokens  # it did end, and the token is there
    assert len(generation.tokens[0]) < 40
    assert generation.steps[-1].ended.tolist() == [True]
    pieces, kinds = generation.pieces()
    assert "<|im_start|>" in pieces
    assert pieces[: len(ids)].count("<|im_start|>") == ids.count(tokenizer.bos_token_id)
    assert len(pieces) == len(ids) + len(generation.tokens[0]) == len(kinds)
    assert "<|im_end|>" not in generation.texts[0]


@pytest.mark.model
def test_rows_that_end_early_wait_quietly_for_the_others(smollm2: LiveModel) -> None:
    chat = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    texts = [chat.format("Say only: yes"), "The capital of France is"]
    generation = smollm2.generate(texts, max_new_tokens=10).finish()
    assert generation.tokens == theirs(smollm2, generation.prompt, 10)
    short = len(generation.tokens[0])
    assert short < 10 == len(generation.steps)
    for i, step in enumerate(generation.steps):
        over = i >= short
        assert (step.tokens[0] == -1) == over
        assert (step.pieces[0] == "") == over
        assert bool(step.logprobs[0].isnan()) == over
        assert bool(step.entropy[0].isnan()) == over
        assert bool(step.ended[0]) == (i >= short - 1)
        assert not step.logprobs[1].isnan()


def test_several_end_tokens_end_a_text(load_tiny: Load) -> None:
    model = load_tiny()
    free = model.generate(PROMPTS[0], max_new_tokens=8).finish().tokens[0]
    ends = load_tiny(eos_token_id=[77, free[3]])
    cut = free.index(free[3]) + 1
    assert ends.generate(PROMPTS[0], max_new_tokens=8).finish().tokens == [free[:cut]]


@pytest.mark.parametrize("kind", [*KINDS, "qwen3", "gemma2", "gemma3", "opt", "phi3", "gpt_neox"])
def test_greedy_of_every_family_equals_uncached_forwards(kind: str, load_tiny: Load) -> None:
    model = load_tiny(kind, eos_token_id=None)
    generation = model.generate(PROMPTS, max_new_tokens=8, sites=["logits"]).finish()
    for row, ids in enumerate(PROMPTS):
        got = torch.stack([s.sites["logits"][row, -1] for s in generation.steps])
        want = plain(model.hf, generation.sequences[row])[0, len(ids) - 1 : -1]
        torch.testing.assert_close(got, want, **CLOSE)
        assert generation.tokens[row] == want.argmax(-1).tolist()


# -- edits and sites -------------------------------------------------------------------------------


def check(
    model: LiveModel, site: str, edit: Edit, token: Token, positions: Any, **kwargs: Any
) -> float:
    """Cached, left-padded, edited: equals an uncached forward of each row; how far it moved."""
    generation = model.generate(
        PROMPTS, edits=[edit], sites=["logits"], max_new_tokens=NEW, **kwargs
    ).finish()
    moved = 0.0
    for row, ids in enumerate(PROMPTS):
        whole = generation.sequences[row]
        with torch.no_grad():
            changes = {site: change(site, token, positions, len(ids))}
            want = forward(model.hf, whole, changes).logits
            moved = max(moved, float((want - forward(model.hf, whole).logits).abs().max()))
        got = [s.sites["logits"][row] for s in generation.steps]
        torch.testing.assert_close(got[0][-len(ids) :], want[: len(ids)], **CLOSE)
        torch.testing.assert_close(
            torch.stack([g[-1] for g in got]), want[len(ids) - 1 : -1], **CLOSE
        )
    return moved


def shifted(v: torch.Tensor) -> Token:
    return lambda x, _: x + v.view_as(x)


@pytest.mark.parametrize("kind", KINDS)
def test_edits_of_whole_sites_in_cached_decoding_equal_full_forwards(
    kind: str, models: Models
) -> None:
    model = models[kind]
    wrong = []
    for number, name in enumerate(SITES):
        site = name if name in {"embed", "logits"} else f"{name}.1"
        # over the kinds of model, each site comes by all positions
        for i in range(3):
            positions = POSITIONS[(number + 3 * KINDS.index(kind) + i) % 7]
            cases: list[tuple[Edit, Token]] = [
                (Scale(site, -3.0, positions=positions), lambda x, _: -3 * x),
                (Ablate(site, positions=positions), lambda x, _: torch.zeros_like(x)),
            ]
            if name != "pattern":
                v = vector(model.width(site), size=2.0)
                cases.append((Add(site, v, positions=positions), shifted(v)))
            edit, token = cases[(number + i) % len(cases)]
            try:
                moved = check(model, site, edit, token, positions)
                constant_keys = name == "k" and isinstance(edit, Add) and positions == "all"
                assert moved > FELT or constant_keys
            except Exception as error:
                wrong.append(f"{edit}: {str(error).splitlines()[:4]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_heads_features_and_references_in_cached_decoding_equal_full_forwards(
    kind: str, models: Models
) -> None:
    model = models[kind]
    reference = model.run(REFERENCE, sites=REFERRED)
    wrong = []
    for number, (name, case) in enumerate(special_cases(model, reference).items()):
        two = (POSITIONS[number % 7], POSITIONS[(number + 3) % 7])
        for positions in two if kind == "mistral" else two[:1]:
            try:
                edit = case.edit(positions=positions)
                assert check(model, case.site, edit, case.token, positions) > FELT
            except Exception as error:
                wrong.append(f"{name} at {positions!r}: {str(error).splitlines()[:4]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_of_a_pattern_in_cached_decoding_equal_full_forwards(
    kind: str, models: Models
) -> None:
    model = models[kind]
    pairs = [(6, 4), (5, 5), (-1, -1), (1, 0), (6, 3)]
    edit = Scale("pattern.1", -2.0, heads=[0, 3], pairs=pairs)
    generation = model.generate(
        PROMPTS, edits=[edit], sites=["logits"], max_new_tokens=NEW
    ).finish()
    for row, ids in enumerate(PROMPTS):
        n = len(ids)

        def changed(x: torch.Tensor, n: int = n) -> torch.Tensor:
            x = x.clone()
            for s, t in {(s % n if s < 0 else s, t % n if t < 0 else t) for s, t in pairs}:
                if s < x.shape[1]:
                    x[[0, 3], s, t] *= -2
            return x

        whole = generation.sequences[row]
        with torch.no_grad():
            want = forward(model.hf, whole, {"pattern.1": changed}).logits
            assert (want - forward(model.hf, whole).logits).abs().max() > FELT
        got = torch.stack([s.sites["logits"][row, -1] for s in generation.steps])
        torch.testing.assert_close(got, want[n - 1 : -1], **CLOSE)


def test_a_generation_equals_a_run_of_its_tokens_with_the_same_edits(models: Models) -> None:
    model, v = models["llama"], vector(32)
    reference = model.run(REFERENCE, sites=["resid_post.0", "v.2"])
    edits: list[Edit] = [
        Add("resid_mid.1", v, positions="generated"),
        Scale("resid_mid.1", 2.0, positions="prompt"),
        Ablate("pattern.2", heads=[1], positions=-1),
        Ablate("resid_post.0", "resample", reference, seed=5, positions=[1, 2, 6]),
        Ablate("v.2", "resample", reference, seed=5, heads=[1]),
    ]
    sites = ["logits", "resid_post.2", "head_out.2", "pattern.2", "v.2"]
    generation = model.generate(PROMPTS[0], edits=edits, sites=sites, max_new_tokens=NEW).finish()
    run = model.run(generation.sequences[0], edits=edits, n_prompt=5, sites=sites)
    assert (run["logits"] - plain(model.hf, generation.sequences[0])).abs().max() > FELT
    for i, step in enumerate(generation.steps):
        for site in ("logits", "resid_post.2", "head_out.2", "v.2"):
            want = run[site][:, :5] if i == 0 else run[site][:, 4 + i : 5 + i]
            torch.testing.assert_close(step.sites[site], want, **CLOSE)
        want = run["pattern.2"][:, :, 4 + i, : 5 + i]
        torch.testing.assert_close(step.sites["pattern.2"][:, :, -1], want, **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_sites_of_each_step_equal_those_of_a_full_run(kind: str, models: Models) -> None:
    model = models[kind]
    sites = [f"{n}.1" for n in SITES if n not in {"embed", "logits", "pattern"}] + [
        "embed",
        "logits",
    ]
    generation = model.generate(PROMPTS, sites=sites, max_new_tokens=NEW).finish()
    for row, ids in enumerate(PROMPTS):
        with torch.no_grad():
            want = forward(model.hf, generation.sequences[row]).sites
        for site in sites:
            got = [s.sites[site][row] for s in generation.steps]
            whole = torch.cat([got[0][-len(ids) :], *got[1:]])
            torch.testing.assert_close(whole, want[site][:-1], **CLOSE)


def test_one_reference_row_per_continuation_patches_each_its_own(models: Models) -> None:
    model = models["llama"]
    reference = model.run([REFERENCE[0][:5], REFERENCE[1][:5]], sites=["resid_post.1"])
    edit = Ablate("resid_post.1", "patch", reference, positions=[1, -1])
    generation = model.generate(
        PROMPTS[0], n=2, edits=[edit], sites=["resid_post.1"], max_new_tokens=1
    ).finish()
    got = generation.steps[0].sites["resid_post.1"]
    assert torch.equal(got[:, [1, 4]], reference["resid_post.1"][:, [1, 4]])


@pytest.mark.model
def test_steered_generation_of_the_real_model_equals_full_forwards(smollm2: LiveModel) -> None:
    v = vector(576, 3)
    prompts = ["The capital of France is", "I think that the best way to spend a day is"]
    edit = Add("resid_post.12", v, 2.5, positions="generated")
    generation = smollm2.generate(
        prompts, edits=[edit], sites=["logits"], max_new_tokens=6, temperature=0.8, seed=1
    ).finish()
    for row, ids in enumerate(generation.prompt):
        n, whole = len(ids), generation.sequences[row]
        with torch.no_grad():
            changes = {"resid_post.12": change("", lambda x, _: x + 2.5 * v, "generated", n)}
            want = forward(smollm2.hf, whole, changes).logits[n - 1 : n + 5]
            unedited = forward(smollm2.hf, whole).logits[n - 1 : n + 5]
        got = torch.stack([s.sites["logits"][row, -1] for s in generation.steps])
        # float32 through 30 layers with activations of size 1e4; logits are about 20
        torch.testing.assert_close(got, want, rtol=1e-3, atol=5e-3)
        assert (unedited - want)[1:].abs().max() > 0.5


# -- choosing tokens -------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_logprob_and_entropy_are_of_the_models_own_edited_distribution(
    temperature: float, models: Models
) -> None:
    model = models["gpt2"]
    edits = [Scale("logits", 6.0)]  # sharper, so that log-probabilities differ
    generation = model.generate(
        PROMPTS, edits=edits, sites=["logits"], temperature=temperature, top_p=0.5, seed=1
    ).finish()
    assert len(generation.steps) == 50
    for i, step in enumerate(generation.steps):
        assert step.index == i
        log_p = step.sites["logits"][:, -1].double().log_softmax(-1)
        want = log_p.gather(1, step.tokens[:, None])[:, 0]
        torch.testing.assert_close(step.logprobs, want.float())
        torch.testing.assert_close(step.entropy, -(log_p.exp() * log_p).sum(-1).float())


def sampled(model: LiveModel, **kwargs: Any) -> list[list[int]]:
    options = {"max_new_tokens": 8, "temperature": 1.0, "seed": 0} | kwargs
    return model.generate(PROMPTS[0], **options).finish().tokens


def test_a_seed_fixes_the_tokens_and_another_one_changes_them(models: Models) -> None:
    model = models["llama"]
    assert sampled(model) == sampled(model)
    assert len({tuple(sampled(model, seed=s)[0]) for s in range(6)}) == 6
    torch.manual_seed(0)
    one = sampled(model, seed=None)
    torch.manual_seed(0)
    two = sampled(model, seed=None)
    assert one != two  # None draws a fresh one, whatever torch's own state is


def test_sampling_leaves_torchs_own_random_state_alone(models: Models) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    sampled(models["llama"])
    sampled(models["llama"], seed=None)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_rows_chance_does_not_depend_on_how_many_rows_there_are(models: Models) -> None:
    model = models["llama"]
    one, four = sampled(model, n=1), sampled(model, n=4)
    assert four[:1] == one
    assert len({tuple(r) for r in four}) == 4
    # nor on what the other rows are
    both = model.generate(PROMPTS, max_new_tokens=8, temperature=1.0, seed=0).finish().tokens
    assert both[:1] == one


def test_neighbouring_seeds_share_no_row(models: Models) -> None:
    model = models["llama"]
    rows = [tuple(r) for seed in range(4) for r in sampled(model, n=4, seed=seed)]
    assert len(set(rows)) == 16


@pytest.mark.parametrize(
    "options", [{"top_p": 1e-9}, {"temperature": 1e-6}, {"temperature": 1e-40}]
)
def test_the_limits_of_sampling_are_greedy(options: dict[str, float], models: Models) -> None:
    model = models["llama"]
    for seed in range(3):
        assert sampled(model, seed=seed, **options) == sampled(model, temperature=0.0)


def test_a_huge_temperature_is_uniform_and_does_not_fail(models: Models) -> None:
    rows = sampled(models["llama"], n=400, max_new_tokens=1, temperature=1e30)
    assert len({r[0] for r in rows}) > 90  # of 101 tokens; 400 draws leave about 2 out


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.6)])
def test_sampled_frequencies_are_those_of_the_softmax(
    temperature: float, top_p: float, load_tiny: Load
) -> None:
    model = load_tiny(vocab_size=11, eos_token_id=None)
    n = 4000
    generation = model.generate(
        [3, 1, 4],
        n=n,
        max_new_tokens=1,
        temperature=temperature,
        top_p=top_p,
        seed=0,
        edits=[Scale("logits", 8.0)],
    ).finish()
    p = (plain(model.hf, [3, 1, 4])[0, -1].double() * 8 / temperature).softmax(-1)
    order = p.argsort(descending=True)
    kept, mass = [], 0.0
    for token in order.tolist():  # the fewest tokens that together reach top_p
        kept.append(token)
        mass += float(p[token])
        if mass >= top_p:
            break
    assert (len(kept) < 9) == (top_p < 1)
    want = torch.zeros(11, dtype=torch.float64)
    want[kept] = p[kept] / p[kept].sum() * n
    seen = torch.tensor([t[0] for t in generation.tokens]).bincount(minlength=11)
    assert int(seen[want == 0].sum()) == 0
    used = want > 0
    chi = ((seen[used] - want[used]).square() / want[used]).sum()
    # mean df and variance 2·df under the hypothesis: 5 deviations, and the seed is fixed
    df = max(1, int(used.sum()) - 1)
    assert chi < df + 5 * (2 * df) ** 0.5


def test_a_seeds_steps_are_independent_of_each_other(load_tiny: Load) -> None:
    model = load_tiny(vocab_size=11, eos_token_id=None)
    rows = model.generate(
        [3, 1, 4], n=2000, max_new_tokens=2, temperature=1.0, seed=0, edits=[Ablate("logits")]
    ).finish()
    table = torch.zeros(11, 11)
    for first, second in rows.tokens:  # uniform, since all logits are zero
        table[first, second] += 1
    expected = 2000 / 121
    chi = float((table - expected).square().sum() / expected)
    assert chi < 120 + 5 * (2 * 120) ** 0.5  # 120 degrees of freedom, 5 deviations


@pytest.mark.model
def test_a_stop_text_ends_its_row_and_stays(smollm2: LiveModel) -> None:
    prompts = ["1, 2, 3, 4, 5,", "The capital of France is"]
    free = smollm2.generate(prompts, max_new_tokens=10).finish()
    assert " 7" in free.texts[0]
    stopped = smollm2.generate(prompts, max_new_tokens=10, stop=[" 7", "no such text"]).finish()
    assert stopped.texts[0].endswith(" 7")
    assert free.texts[0].startswith(stopped.texts[0])
    assert stopped.texts[1] == free.texts[1]
    spanning = smollm2.generate(prompts[0], max_new_tokens=10, stop=" 6, 7").finish()
    assert spanning.texts[0].endswith(" 6, 7")  # over several tokens
    inside = smollm2.generate(prompts[1], max_new_tokens=10, stop="ari").finish()
    assert inside.texts == [" Paris"]  # in the middle of a token: the token is whole
    in_prompt = smollm2.generate(prompts[0], max_new_tokens=3, stop="4, 5,").finish()
    assert len(in_prompt.tokens[0]) == 3  # what the prompt says ends nothing


def test_a_stop_text_needs_a_tokenizer(models: Models) -> None:
    with pytest.raises(InputError, match="without a tokenizer"):
        models["llama"].generate(PROMPTS[0], stop="x")


# -- life ------------------------------------------------------------------------------------------


def slowly(model: LiveModel, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.02) -> None:
    norm: Any = model.hf.get_submodule("model.norm")
    inner = norm.forward

    def forward(x: Any) -> Any:
        time.sleep(seconds)
        return inner(x)

    monkeypatch.setattr(norm, "forward", forward)


def test_steps_come_while_the_model_is_writing(
    load_tiny: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_tiny(eos_token_id=None)
    slowly(model, monkeypatch)
    generation = model.generate(PROMPTS[0], max_new_tokens=30)
    first = next(iter(generation))
    assert first.index == 0
    assert not generation.job.done
    assert "writing" in repr(generation)
    # a run goes first
    model.run(PROMPTS[0])
    assert not generation.job.done
    generation.cancel()


def test_a_cancel_keeps_the_steps_and_ends_the_writing(
    load_tiny: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_tiny(eos_token_id=None)
    whole = model.generate(PROMPTS[0], max_new_tokens=50).finish()
    assert not whole.cancelled
    slowly(model, monkeypatch)
    generation = model.generate(PROMPTS[0], max_new_tokens=50, edits=[Scale("q.1", 1.0)])
    for step in generation:
        if step.index == 4:
            generation.cancel()
    assert generation.cancelled
    assert "cancelled" in repr(generation)
    count = len(generation.steps)
    assert 5 <= count <= 8  # it stops at the token it is at, or the next
    assert generation.tokens[0] == whole.tokens[0][:count]
    assert generation.finish() is generation
    assert len(generation.steps) == count
    assert hooks_of(model.hf) == 0


def test_a_cancel_before_the_first_token_gives_no_steps(load_tiny: Load) -> None:
    model = load_tiny()
    gate, entered = threading.Event(), threading.Event()

    def hold(_: Any) -> None:
        entered.set()
        gate.wait(5)

    model.work(hold)
    assert entered.wait(5)
    generation = model.generate(PROMPTS[0])
    generation.cancel()
    assert generation.finish().tokens == [[]]
    assert generation.cancelled
    assert generation.sequences == [PROMPTS[0]]
    gate.set()


def test_an_interrupt_in_the_loop_ends_the_writing_and_keeps_the_steps(
    load_tiny: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_tiny(eos_token_id=None)
    slowly(model, monkeypatch, 0.05)
    generation = model.generate(PROMPTS[0], max_new_tokens=50)
    seen: list[Any] = []

    def loop() -> None:
        for step in generation:
            seen.append(step)
            if step.index == 2:
                threading.Timer(0.02, _thread.interrupt_main).start()

    with pytest.raises(KeyboardInterrupt):
        loop()
    steps = generation.finish().steps
    assert 3 <= len(seen) <= len(steps) <= 6
    assert generation.cancelled


def test_iterating_again_gives_the_same_steps(models: Models) -> None:
    generation = models["llama"].generate(PROMPTS, max_new_tokens=5, temperature=1.0, seed=1)
    first = iter(generation)
    head = [next(first), next(first)]
    again = list(generation)  # a second reader, while the first is in the middle
    rest = list(first)
    assert [id(s) for s in head + rest] == [id(s) for s in again] == [id(s) for s in generation]
    assert [s.index for s in again] == list(range(5))


def test_an_error_in_the_model_reaches_the_reader_every_time(
    load_tiny: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_tiny(eos_token_id=None)
    norm: Any = model.hf.get_submodule("model.norm")
    inner, calls = norm.forward, [0]

    def forward(x: Any) -> Any:
        calls[0] += 1
        if calls[0] == 3:
            raise ZeroDivisionError("third token")
        return inner(x)

    monkeypatch.setattr(norm, "forward", forward)
    generation = model.generate(PROMPTS[0])
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            generation.finish()
    assert len(generation.steps) == 2
    assert not generation.cancelled
    assert hooks_of(model.hf) == 0


def test_two_generations_and_runs_between_them_do_not_mix(models: Models) -> None:
    model = models["llama"]
    edit = Add("resid_mid.1", vector(32), 3.0)
    want = [
        model.generate(PROMPTS, edits=e, max_new_tokens=12).finish().tokens for e in ([], [edit])
    ]
    assert want[0] != want[1]
    before = plain(model.hf, PROMPTS[0])
    a, b = (model.generate(PROMPTS, edits=e, max_new_tokens=12) for e in ([], [edit]))
    for _ in zip(a, b, strict=True):
        assert torch.equal(model.run(PROMPTS[0])["logits"], before)
    assert [a.tokens, b.tokens] == want


def test_a_closed_model_ends_its_generations(
    load_tiny: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_tiny(eos_token_id=None)
    slowly(model, monkeypatch)
    generation = model.generate(PROMPTS[0])
    next(iter(generation))
    model.close()
    assert generation.finish().cancelled


# -- bad settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"max_new_tokens": 0}, ["max_new_tokens", "0", "1 or more"]),
        ({"max_new_tokens": -3}, ["max_new_tokens", "-3"]),
        ({"max_new_tokens": 2.5}, ["max_new_tokens", "2.5"]),
        ({"max_new_tokens": "5"}, ["max_new_tokens", "5"]),
        ({"max_new_tokens": None}, ["max_new_tokens", "None"]),
        ({"max_new_tokens": True}, ["max_new_tokens", "True"]),
        ({"temperature": -0.1}, ["temperature", "-0.1"]),
        ({"temperature": float("nan")}, ["temperature", "nan"]),
        ({"temperature": float("inf")}, ["temperature", "inf"]),
        ({"temperature": "hot"}, ["temperature", "hot"]),
        ({"temperature": None}, ["temperature", "None"]),
        ({"top_p": 0.0}, ["top_p", "0.0"]),
        ({"top_p": 1.01}, ["top_p", "1.01"]),
        ({"top_p": float("nan")}, ["top_p", "nan"]),
        ({"top_p": "most"}, ["top_p", "most"]),
        ({"n": 0}, ["n", "0", "1 or more"]),
        ({"n": 1.5}, ["n", "1.5"]),
        ({"n": "2"}, ["n", "2"]),
        ({"seed": 1.5, "temperature": 1.0}, ["seed", "1.5"]),
        ({"seed": "lucky", "temperature": 1.0}, ["seed", "lucky"]),
        ({"seed": -1, "temperature": 1.0}, ["seed", "-1"]),
        ({"seed": 2**70, "temperature": 1.0}, ["seed", str(2**70)]),
        ({"stop": ""}, ["stop", "empty"]),
        ({"stop": ["x", 5]}, ["stop"]),
        ({"stop": 5}, ["stop"]),
        ({"max_new_tokens": 60}, ["5 tokens of prompt", "60 new", "64", "at most 59"]),
        ({"sites": ["resid_pots.1"]}, ["resid_pots.1", "resid_post.1"]),
        ({"sites": "resid_post.1"}, ["sites"]),
        (
            {"edits": [Scale("q.1", 2.0, positions=9)], "max_new_tokens": 4},
            ["Position 9", "9 tokens"],
        ),
    ],
)
def test_a_bad_setting_is_refused_at_once(
    options: dict[str, Any], parts: list[str], models: Models
) -> None:
    with pytest.raises(InputError) as caught:
        models["llama"].generate(PROMPTS[0], **options)
    for part in parts:
        assert part in str(caught.value)


def test_a_text_may_fill_the_context_to_its_end(models: Models) -> None:
    for kind in KINDS:
        generation = models[kind].generate(PROMPTS[0], max_new_tokens=59).finish()
        assert len(generation.sequences[0]) == 64
    with pytest.raises(InputError, match="Shorten the prompt"):
        models["llama"].generate(list(range(64)), max_new_tokens=1)


def test_rows_of_n_are_prompt_by_prompt(models: Models) -> None:
    generation = models["llama"].generate(PROMPTS, n=2, max_new_tokens=2).finish()
    assert isinstance(generation, Generation)
    assert generation.prompt == [PROMPTS[0], PROMPTS[0], PROMPTS[1], PROMPTS[1]]
    assert generation.tokens[0] == generation.tokens[1]
    assert [len(t) for t in generation.tokens] == [2] * 4
    with pytest.raises(InputError, match="without a tokenizer"):
        _ = generation.texts
    assert generation.pieces(2)[0][:3] == ["2 ", "71 ", "82 "]
