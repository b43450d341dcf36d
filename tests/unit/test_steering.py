"""Sessions, readouts, peeks, sweeps, watches and contrast vectors against brute force."""

from __future__ import annotations

import _thread
import math
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch

import neuroglass as ng
from neuroglass import InputError, LiveModel, load
from neuroglass.model.basis import Directions, Feature
from neuroglass.model.edits import Ablate, Add, Scale, bind
from neuroglass.model.positions import Extent
from neuroglass.steering import readouts
from neuroglass.steering.contrast import contrast
from neuroglass.steering.dose import Dosed, DoseResponse, Sweep, dose_response
from neuroglass.steering.peek import Peek
from neuroglass.steering.resume import TOLERANCE, Prefix
from neuroglass.steering.session import Event, Session
from neuroglass.steering.setting import Setting
from neuroglass.steering.strength import Scales
from neuroglass.steering.watch import Firing, Watch
from tests.unit.conftest import TINY, tiny
from tests.unit.test_edits import hooks_of, plain, vector
from tests.unit.written_out import forward

IDS = [3, 14, 15, 92, 65]
SITE = "resid_post.1"
V = vector(32, 4, 1.5)
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 2e-5}
Models = dict[str, LiveModel]
Load = Callable[..., LiveModel]


@pytest.fixture(scope="module")
def models() -> Iterator[Models]:
    made = {kind: load(tiny(kind, eos_token_id=None)) for kind in ("llama", "gpt2", "mistral")}
    yield made
    for model in made.values():
        model.close()


@pytest.fixture(scope="module")
def zoo() -> Iterator[LiveModel]:
    model = load("zoo/A")
    yield model
    model.close()


@pytest.fixture(autouse=True)
def intact(models: Models) -> Iterator[None]:
    """After every test the models' logits are what they were, to the bit."""
    before = {kind: plain(m.hf, IDS) for kind, m in models.items()}
    yield
    for kind, model in models.items():
        assert hooks_of(model.hf) == 0
        assert torch.equal(plain(model.hf, IDS), before[kind])


def direction(model: LiveModel, v: torch.Tensor = V, site: str = SITE) -> Feature:
    return Directions(model, site, v[None], "d")[0]


def coordinate(x: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
    return x @ d / (d @ d)


# -- a session -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral"])
@pytest.mark.parametrize("positions", ["all", "prompt", "generated", slice(3, None), [-1, 6]])
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_readouts_equal_brute_force(
    kind: str, positions: Any, temperature: float, models: Models
) -> None:
    model, new, n = models[kind], 10, 2
    feature, strength = direction(model), 4.0
    session = Session(
        model, IDS, n=n, max_new_tokens=new, temperature=temperature, top_p=0.9, seed=3
    )
    steered = session.start([Setting(feature, "add", strength, positions=positions)]).finish()
    base_ids, steered_ids = steered.tokens
    size = len(IDS)
    places = list(range(3, size + new)) if isinstance(positions, slice) else [size - 1, 6]
    if isinstance(positions, str):
        spans = {"all": (0, size + new), "prompt": (0, size), "generated": (size, size + new)}
        places = list(range(*spans[positions]))

    def change(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        for t in places:
            if t < len(x):
                x[t] += strength * V
        return x

    different = 0
    for i in range(n):
        with torch.no_grad():
            on_base = forward(model.hf, IDS + base_ids[i])
            reader = forward(model.hf, IDS + steered_ids[i])
            edited = forward(model.hf, IDS + steered_ids[i], {SITE: change})
        p = reader.logits.log_softmax(-1)[size - 1 : -1]
        q = edited.logits.log_softmax(-1)[size - 1 : -1]
        tokens = torch.tensor(steered_ids[i])
        frame = steered.to_frame(i)
        kl = (p.exp() * (p - q)).sum(-1)
        close: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-4}
        torch.testing.assert_close(torch.tensor(frame["kl"]).float(), kl, **close)
        at = torch.arange(new)
        for name, want in {
            "steered_logprob": q[at, tokens],
            "steered_logprob_in_base": p[at, tokens],
            "delta_logprob": (q - p)[at, tokens],
            "base_logprob": on_base.logits.log_softmax(-1)[size - 1 : -1][
                at, torch.tensor(base_ids[i])
            ],
        }.items():
            torch.testing.assert_close(torch.tensor(frame[name]).float(), want, **close)
        for name, log_p in (("rank", q), ("rank_in_base", p)):
            order = log_p.argsort(-1, descending=True)
            want_rank = [int((order[j] == tokens[j]).nonzero()) + 1 for j in range(new)]
            assert frame[name].tolist() == want_rank
        nll = -p[at, tokens]
        so_far = (nll.cumsum(0) / (at + 1)).exp()
        torch.testing.assert_close(
            torch.tensor(frame["perplexity_so_far"]).float(), so_far, **close
        )
        summary = steered.summary(i)
        assert summary["perplexity"] == pytest.approx(float(nll.mean().exp()), rel=1e-3)
        assert summary["mean_kl"] == pytest.approx(float(kl.mean()), rel=1e-3, abs=1e-4)
        split = [j for j in range(new) if base_ids[i][j] != steered_ids[i][j]]
        assert summary["divergence"] == (split[0] if split else None)
        assert steered.steps[-1].divergence[i] == summary["divergence"]
        for what, a, b, c, d in steered.diff(i):
            assert (base_ids[i][a:b] == steered_ids[i][c:d]) == (what == "equal")
        different += bool(split)
        # what was changed, and the feature, at the generated tokens (the last one is not read)
        before = (
            edited.sites[SITE]
            - torch.tensor([[strength if t in places else 0.0] for t in range(size + new)]) * V
        )
        share = torch.tensor(
            [
                float(strength * V.norm() / before[t].norm()) if t in places else 0.0
                for t in range(size, size + new)
            ]
        )
        got = torch.tensor(frame[f"change:{SITE}"])
        torch.testing.assert_close(got[:-1].float(), share[:-1], **close)
        assert math.isnan(got[-1])
        for where, x in (
            ("base", on_base.sites[SITE]),
            ("steered", before),
            ("reader", reader.sites[SITE]),
        ):
            got = torch.tensor(frame[f"{feature.id}:{where}"])[:-1].float()
            torch.testing.assert_close(got, coordinate(x, V)[size : size + new - 1], **close)
    assert different or positions not in ("all", "generated")
    # the tokens are those of a generation with the same seed, alone
    alone = model.generate(
        IDS, n=n, max_new_tokens=new, temperature=temperature, top_p=0.9, seed=3
    ).finish()
    assert alone.tokens == base_ids


def test_common_random_numbers_give_equal_texts_where_nothing_is_changed(models: Models) -> None:
    model = models["llama"]
    feature = direction(model)
    session = Session(model, IDS, n=3, max_new_tokens=20, temperature=1.0, seed=7)
    for settings in ([], [Setting(feature, "add", 0.0)], [Setting(feature, "scale", 1.0)]):
        steered = session.start(settings).finish()
        base, other = steered.tokens
        assert base == other
        assert len({tuple(t) for t in base}) == 3  # samples have their own chance
        assert steered.steps[-1].divergence == [None] * 3
        assert max(float(e.kl.max()) for e in steered.steps) < 1e-6


def test_near_distributions_mostly_give_the_same_token(models: Models) -> None:
    """Gumbel coupling: they differ in at most 2d/(1+d) of the draws, d the total variation."""
    from neuroglass.model.generate import _chooser, settings_of

    logits = vector(101, 1).expand(2, -1).clone()
    logits[1] += vector(101, 2, 0.2)
    p, q = logits.softmax(-1)
    d = float((p - q).abs().sum() / 2)
    choose = _chooser(settings_of(1, 1.0, 1.0, 0, ()), [0, 0])
    draws = torch.stack([choose(logits) for _ in range(4000)])
    differ = float((draws[:, 0] != draws[:, 1]).float().mean())
    assert 0.03 < d < 0.2
    assert d * 0.8 < differ < 2 * d / (1 + d) + 0.02
    counts = torch.bincount(draws[:, 0], minlength=101) / 4000
    assert (counts - p).abs().max() < 0.02


def test_a_fraction_of_the_norm_is_that_fraction_at_every_token(models: Models) -> None:
    session = Session(models["llama"], IDS, max_new_tokens=6)
    steered = session.start([Setting(direction(models["llama"]), "add", 0.3, "norm")]).finish()
    for event in steered.steps[1:]:
        assert float(event.change[SITE][0]) == pytest.approx(0.3, rel=1e-4)


def _read(model: LiveModel, ids: list[int], _: Any) -> Prefix:
    return Prefix(model, ids)


def test_resumed_prompts_give_what_whole_ones_give(load_tiny: Load) -> None:
    ids = [3, 14, 15, 92, 65, 35, 89]
    sites = ["embed", "q.1", "v.2", "pattern.2", "head_out.1", "resid_mid.1", "neurons.2"]
    sites += ["mlp_out.0", "resid_post.1", "resid_pre.2", "logits"]
    for kind in TINY:
        model = load_tiny(kind)
        prefix: Prefix = model.work(partial(_read, model, ids)).result()
        assert prefix.resumable, kind
        cache = [layer.keys.clone() for layer in prefix.cache.layers]
        for site in sites:
            if site.split(".")[0] in model.absent:
                continue
            for rows in (1, 2):
                bound = bind([Scale(site, 2.0)], model, Extent([7] * rows, [9] * rows))
                make = lambda _, p=prefix, b=bound, r=rows: p.run(b, rows=r, cached=r == 1)  # noqa: E731
                last, kept, _ = model.work(make).result()
                want = model.run(ids, edits=[Scale(site, 2.0)])["logits"][0, -1]
                assert (last - want).abs().max() <= TOLERANCE * want.abs().max(), (kind, site)
                if rows == 1:
                    assert all(len(layer.keys) == 1 for layer in kept.layers)
                    assert [x.keys.shape for x in kept.layers] == [c.shape for c in cache]
        assert all(torch.equal(a, b.keys) for a, b in zip(cache, prefix.cache.layers, strict=True))


@pytest.mark.parametrize("kind", ["gemma2", "qwen3", "opt", "gpt_neox", "phi3"])
def test_steered_texts_of_other_families_equal_their_runs(kind: str, load_tiny: Load) -> None:
    model = load_tiny(kind, eos_token_id=None)
    setting = Setting(direction(model), "add", 3.0)
    steered = Session(model, IDS, max_new_tokens=8).start([setting]).finish()
    base, other = steered.tokens
    run = model.run([IDS + base[0]])["logits"][0, len(IDS) - 1 : -1]
    assert run.argmax(-1).tolist() == base[0]
    edited = model.run([IDS + other[0]], edits=setting.edits())["logits"][0, len(IDS) - 1 : -1]
    assert edited.argmax(-1).tolist() == other[0]


def test_a_family_that_can_not_be_resumed_is_run_as_a_whole(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models["llama"]
    setting = Setting(direction(model), "add", 3.0)
    want = Session(model, IDS, max_new_tokens=6).start([setting]).finish().tokens
    peeked = Peek(model, IDS)([setting])
    monkeypatch.setattr(Prefix, "_checked", lambda *_: False)
    assert Session(model, IDS, max_new_tokens=6).start([setting]).finish().tokens == want
    whole = Peek(model, IDS)([setting])
    assert peeked.resumed
    assert not whole.resumed
    torch.testing.assert_close(whole.steered, peeked.steered, **CLOSE)


def test_edits_of_an_open_block_are_in_both_texts(models: Models) -> None:
    model = models["gpt2"]
    block = Scale("resid_mid.0", 2.0)
    setting = Setting(direction(model), "add", 2.0)
    with model.edit(block):
        steered = Session(model, IDS, max_new_tokens=6).start([setting]).finish()
        peek = Peek(model, IDS)([setting])
    base, other = steered.tokens
    run = model.run([IDS + base[0]], edits=[block])["logits"][0, len(IDS) - 1 : -1]
    assert run.argmax(-1).tolist() == base[0]
    edits = [block, *setting.edits()]
    edited = model.run([IDS + other[0]], edits=edits)["logits"][0, len(IDS) - 1 : -1]
    assert edited.argmax(-1).tolist() == other[0]
    torch.testing.assert_close(peek.steered, edited[0].log_softmax(-1), **CLOSE)
    torch.testing.assert_close(peek.base, run[0].log_softmax(-1), **CLOSE)


def test_forty_moves_and_the_last_wins(models: Models) -> None:
    model = models["llama"]
    session = Session(model, IDS, max_new_tokens=50)
    feature = direction(model)
    heard: list[tuple[int, int]] = []
    runs = []
    for move in range(40):
        listen = lambda e, move=move: heard.append((move, e.index))  # noqa: E731
        runs.append(session.start([Setting(feature, "add", move / 10)], listen=listen))
        time.sleep(0.004)
    last = runs[-1].finish()
    assert len(last.steps) == 50
    assert not last.cancelled
    assert all(r.finish().cancelled for r in runs[:-1])
    moves = [m for m, _ in heard]
    assert moves == sorted(moves)  # nothing of an older one after a newer one has begun
    assert [i for m, i in heard if m == 39] == list(range(50))
    alone = Session(model, IDS, max_new_tokens=50).start([Setting(feature, "add", 3.9)]).finish()
    assert alone.tokens == last.tokens


def test_a_cancel_and_an_interrupt_end_within_one_token(models: Models) -> None:
    model = models["llama"]
    session = Session(model, IDS, max_new_tokens=50)
    setting = Setting(direction(model), "add", 1.0)
    seen: list[int] = []

    def slowly(event: Event) -> None:
        seen.append(event.index)
        time.sleep(0.01)

    run = session.start([setting], listen=slowly)
    next(iter(run))
    run.cancel()
    at = len(seen)
    assert run.finish().cancelled
    assert len(seen) <= at + 2
    slow = session.start([setting], listen=lambda _: time.sleep(0.05))
    threading.Timer(0.2, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        for _ in slow:
            pass
    assert slow.job.done


def test_an_error_in_a_listener_ends_the_session_and_leaves_nothing(models: Models) -> None:
    def broken(_: Any) -> None:
        raise RuntimeError("boom")

    session = Session(models["llama"], IDS)
    run = session.start([Setting(direction(models["llama"]), "add", 1.0)], listen=broken)
    with pytest.raises(RuntimeError, match="boom"):
        run.finish()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"prompt": []}, "empty"),
        ({"prompt": [IDS, IDS]}, "One prompt is steered, not 2"),
        ({"max_new_tokens": 60}, "59 new tokens"),
        ({"n": 0}, "n is 0"),
        ({"temperature": math.nan}, "temperature"),
        ({"seed": None}, "seed"),
    ],
)
def test_bad_sessions_are_refused(options: dict[str, Any], part: str, models: Models) -> None:
    with pytest.raises(InputError, match=part):
        Session(models["llama"], **{"prompt": IDS, **options})


def test_bad_settings_of_a_session_say_how_large_they_are(models: Models) -> None:
    model = models["llama"]
    session = Session(model, IDS)
    with pytest.raises(InputError, match=r"times its own norm.*Give at most"):
        session.start([Setting(direction(model), "add", 1e6)])
    with pytest.raises(InputError, match="belongs to"):
        session.start([Setting(direction(models["gpt2"]), "add", 1.0)])
    with pytest.raises(InputError, match="Two settings"):
        session.start([Setting(model.neuron(1, 2), "clamp", float(i)) for i in range(2)])
    with pytest.raises(InputError, match="not known yet"):
        session.start([Setting(model.neuron(1, 2), "clamp", 1.0, "max")])
    with pytest.raises(InputError, match="out of range"):
        session.start([Setting(model.neuron(1, 2), "clamp", 1.0, positions=99)])


def test_rows_that_end_have_no_numbers_after_their_end(load_tiny: Load) -> None:
    free = load_tiny(eos_token_id=None)
    setting = Setting(direction(free), "add", 20.0, "norm")
    for seed in range(20):
        options: dict[str, Any] = {"max_new_tokens": 12, "temperature": 1.0, "seed": seed}
        base, other = Session(free, IDS, **options).start([setting]).finish().tokens
        ends = [i for i in range(2, 10) if base[0][i] not in base[0][:i] + other[0]]
        if ends:
            break
    end = ends[0] + 1
    model = load_tiny(eos_token_id=base[0][end - 1])
    setting = Setting(direction(model), "add", 20.0, "norm")
    run = Session(model, IDS, **options).start([setting]).finish()
    assert run.tokens == ([base[0][:end]], [other[0]])
    frame = run.to_frame()
    assert frame["base_id"].tolist() == base[0][:end] + [-1] * (12 - end)
    assert frame["base_logprob"].isna().tolist() == [False] * end + [True] * (12 - end)
    name = f"{direction(model).id}:base"
    assert frame[name].isna().tolist() == [False] * end + [True] * (12 - end)
    assert not frame["kl"].isna().any()
    assert run.summary()["divergence"] == readouts.first_divergence(base[0][:end], other[0])


def test_a_chat_shows_its_template(smollm2_chat: Session) -> None:
    pieces, _ = smollm2_chat.pieces
    assert "<|im_start|>" in pieces
    assert len(pieces) == len(smollm2_chat.prompt)


@pytest.fixture
def smollm2_chat(smollm2: LiveModel) -> Session:
    return Session(smollm2, [{"role": "user", "content": "Hello"}], max_new_tokens=2)


# -- peeks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral"])
def test_a_peek_equals_the_edited_run(kind: str, models: Models) -> None:
    model = models[kind]
    peek = Peek(model, IDS)
    base = model.run(IDS)["logits"][0, -1].log_softmax(-1)
    settings = [
        Setting(direction(model), "add", 2.0),
        Setting(model.neuron(2, 3), "clamp", 5.0, positions=-1),
        Setting(model.head(1, 2), "ablate"),
    ]
    for some in ([], settings[:1], settings[1:], settings):
        found = peek(some)
        edits = [e for s in some for e in s.edits()]
        want = model.run(IDS, edits=edits)["logits"][0, -1].log_softmax(-1)
        assert (found.steered - want).abs().max() <= TOLERANCE * 10
        torch.testing.assert_close(found.base, base, **CLOSE)
        assert found.kl == pytest.approx(float((base.exp() * (base - want)).sum()), abs=1e-4)
        assert found.resumed
    frame = peek(settings).top(5)
    assert frame["rank"].tolist()[:1] == [1]
    assert set(range(1, 6)) <= set(frame["rank"]) & set(range(1, 6))
    assert set(range(1, 6)) <= set(frame["rank_in_base"])
    assert frame["steered"].is_monotonic_decreasing


def test_the_newest_peek_wins(models: Models) -> None:
    model = models["llama"]
    peek = Peek(model, IDS)
    feature = direction(model)
    jobs = [peek.start([Setting(feature, "add", i / 5)]) for i in range(30)]
    last = jobs[-1].result()
    want = model.run(IDS, edits=[Add(feature, strength=29 / 5)])["logits"][0, -1]
    torch.testing.assert_close(last.steered, want.log_softmax(-1), **CLOSE)
    assert sum(job.superseded for job in jobs) > 0


# -- dose and response -----------------------------------------------------------------------------


def test_a_sweeps_texts_and_numbers_equal_those_of_single_runs(zoo: LiveModel) -> None:
    sae = ng.SAE.load("zoo/A-8x", zoo)
    setting = Setting(sae[93], "clamp", 0.0, "max")
    known = {sae[93].id: Scales(float(sae[93].direction.norm()), max=20.0, norm=4.0)}
    done: list[tuple[int, int]] = []
    values = [0.5, 1.0]
    found = dose_response(
        zoo, "The King of", setting, values, n=2, max_new_tokens=12, seed=5, scales=known,
        progress=lambda a, b: done.append((a, b)),
    )  # fmt: skip
    assert done[-1] == (72, 72)
    assert found.values == values
    ids = zoo.tokenize("The King of")[0][0].tolist()
    for value in (None, *values):
        edits = [] if value is None else setting.with_value(value).edits(known[sae[93].id])
        alone = zoo.generate(ids, edits=edits, n=2, max_new_tokens=12, temperature=0.8, seed=5)
        texts = [t for t in found.texts if t.value == value]
        assert [t.ids for t in texts] == alone.finish().tokens
        for text in texts:
            run = zoo.run([ids + text.ids], sites=["neurons.0"])
            own = slice(len(ids), None)
            assert text.surprisal == pytest.approx(-float(run.logprobs[0, own].mean()), rel=1e-4)
            acts = sae[93].activations(run["neurons.0"])[0, own]
            assert text.concept == pytest.approx(float(acts.mean()), abs=1e-4)
            assert text.distinct == readouts.distinct(text.ids, 2)
    frame = found.to_frame()
    assert len(frame) == 6
    assert len(found.plot().data) == 6


def response(numbers: dict[float | None, tuple[float, float]], mode: Any = "add") -> DoseResponse:
    setting = Setting.__new__(Setting)
    object.__setattr__(setting, "mode", mode)
    texts = [Dosed(v, 0, [1], "", s, d, 0.0) for v, (s, d) in numbers.items()]
    return DoseResponse(setting, texts, "concept")


def test_the_knee_is_the_strongest_value_before_the_first_that_breaks() -> None:
    one = math.log(10)
    found = response(
        {
            None: (one, 0.9),
            -2.0: (one, 0.4),
            -1.0: (one, 0.5),
            1.0: (one + 0.69, 0.9),
            2.0: (one + 0.70, 0.9),
            3.0: (one, 0.9),
        }
    )
    assert found.knee() == 1.0
    assert found.knee(negative=True) == -1.0
    assert response({None: (one, 0.9), 1.0: (one + 1, 0.9)}).knee() is None
    factors = response({None: (one, 0.9), 0.5: (one, 0.9), 2.0: (one, 0.2)}, "scale")
    assert factors.knee() is None
    assert factors.knee(negative=True) == 0.5


def test_a_sweep_is_refused_or_cancelled(zoo: LiveModel) -> None:
    sweep = Sweep(zoo, "The King of", max_new_tokens=100)
    setting = Setting(zoo.neuron(0, 3), "add", 0.0)
    with pytest.raises(InputError, match="no strengths"):
        sweep.start(setting, [])
    with pytest.raises(InputError, match="finite"):
        sweep.start(setting, [1.0, math.nan])
    with pytest.raises(InputError, match="needs a feature"):
        sweep.start(Setting(zoo.head(0, 1), "scale", 1.0), [1.0])
    job = sweep.start(setting, [1.0, 2.0])
    job.cancel()
    with pytest.raises(ng.Cancelled):
        job.result()


# -- watches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_watch_sees_every_token_above_the_threshold(kind: str, models: Models) -> None:
    model = models[kind]
    prompts = [IDS, [2, 71, 82]]
    features = [model.neuron(1, 7), direction(model), model.neuron(1, 9)]
    heard: list[Firing] = []
    limits = [0.05, 0.0, 0.1]
    watch = Watch(model, features, limits, listen=heard.append)
    generation = watch.generate(prompts, max_new_tokens=6).finish()
    assert generation.tokens == model.generate(prompts, max_new_tokens=6).finish().tokens
    want = set()
    for row, ids in enumerate(generation.sequences):
        with torch.no_grad():
            sites = forward(model.hf, ids).sites
        for feature, limit in zip(features, limits, strict=True):
            x = feature.activations(sites[str(feature.read_site)])
            for t in range(len(ids) - 1):  # the last token is not read
                if x[t] > limit:
                    want.add((row, t, ids[t], feature.id))
    got = {(f.row, f.position, f.token, f.feature) for f in watch.firings}
    assert got == want
    assert heard == watch.firings
    frame = watch.to_frame()
    assert len(frame) == len(watch.firings) > 3
    assert (frame["value"] > frame["threshold"]).all()
    watch.clear()
    with model.edit(watch):
        model.run(prompts)
    assert {f.text for f in watch.firings} == {1}


def test_a_watch_ends_the_text_after_the_token_that_fires(models: Models) -> None:
    model = models["llama"]
    feature = direction(model)
    free = model.generate(IDS, max_new_tokens=12).finish()
    with torch.no_grad():
        x = coordinate(forward(model.hf, free.sequences[0]).sites[SITE], V)[len(IDS) :]
    limit = float(x[:11].sort().values[-3:-1].mean())
    first = int((x > limit).nonzero()[0])
    watch = Watch(model, [feature], limit, action="stop", positions="generated")
    generation = watch.generate(IDS, max_new_tokens=12).finish()
    assert generation.tokens[0] == free.tokens[0][: first + 1]
    assert [f.position for f in watch.firings] == [len(IDS) + first]


def test_a_watch_clamps_where_it_fires(models: Models) -> None:
    model = models["gpt2"]
    neuron = model.neuron(1, 7)
    x = model.run(IDS, sites=["neurons.1"])["neurons.1"][0, :, 7]
    limit = float(x.median())
    watch = Watch(model, [neuron], limit, action="clamp", value=-2.0)
    after = model.run(IDS, edits=[watch], sites=["neurons.1"])["neurons.1"][0, :, 7]
    assert torch.equal(after, torch.where(x > limit, -2.0, x))
    assert [f.value for f in watch.firings] == pytest.approx(x[x > limit].tolist())


def test_bad_watches_are_refused(models: Models) -> None:
    model = models["llama"]
    bad: dict[str, Any] = {"action": "halt"}
    for make, part in (
        (lambda: Watch(model, []), "needs features"),
        (lambda: Watch(model, [model.neuron(0, 1)], [1.0, 2.0]), "2 thresholds"),
        (lambda: Watch(model, [model.neuron(0, 1)], math.nan), "nan"),
        (lambda: Watch(model, [model.neuron(0, 1)], 1.0, unit="max"), "not known yet"),
        (lambda: Watch(model, [model.neuron(0, 1)], **bad), "halt"),
        (lambda: Watch(model, [models["gpt2"].neuron(0, 1)]), "belongs to"),
    ):
        with pytest.raises(InputError, match=part):
            make()  # type: ignore[no-untyped-call]


# -- contrast --------------------------------------------------------------------------------------

HAPPY = ["I am happy today", "What a joy it was", "She smiled and laughed", "A merry feast"]
SAD = ["I am sad today", "What a grief it was", "She wept and cried aloud", "A bitter funeral"]


def test_contrast_vectors_equal_their_formulas(zoo: LiveModel) -> None:
    site = "resid_post.0"
    last = [
        torch.stack([zoo.run(t, sites=[site])[site][0, -1] for t in texts])
        for texts in (HAPPY, SAD)
    ]
    mean = contrast(zoo, HAPPY, SAD, site)
    torch.testing.assert_close(mean.vectors[0], last[0].mean(0) - last[1].mean(0), **CLOSE)
    differences = last[0] - last[1]
    # repeng: first component of PCA of the differences, turned towards the positive ones
    covariance = torch.cov(differences.T.double())
    want = torch.linalg.eigh(covariance).eigenvectors[:, -1].float()
    further = ((last[0] @ want) > (last[1] @ want)).float().mean()
    if further < 0.5 or (further == 0.5 and (differences @ want).mean() < 0):
        want = -want
    pca = contrast(zoo, HAPPY, SAD, site, method="pca", name="mood")
    torch.testing.assert_close(pca.vectors[0], want, rtol=1e-3, atol=1e-3)
    assert float(pca.vectors[0].norm()) == pytest.approx(1, abs=1e-4)
    assert pca.name == "mood"
    assert isinstance(pca, Directions)
    whole = contrast(zoo, HAPPY[:1], SAD[0], site, tokens="mean")
    means = [zoo.run(t[0], sites=[site])[site][0].mean(0) for t in (HAPPY, SAD)]
    torch.testing.assert_close(whole.vectors[0], means[0] - means[1], **CLOSE)


def test_activation_addition_adds_a_vector_per_position(zoo: LiveModel) -> None:
    site = "resid_pre.0"
    added = contrast(zoo, "Love and joy", "Hate", site, method="actadd")
    rows = zoo.prompts.rows(["Love and joy", "Hate"])
    space = zoo.prompts.plain([" "])[0]
    rows = [r + space * (max(map(len, rows)) - len(r)) for r in rows]
    x = [zoo.run([r], sites=[site])[site][0] for r in rows]
    change = x[0] - x[1]
    assert added.at == tuple(i for i in range(len(change)) if change[i].norm() > 0)
    ids = zoo.tokenize("I think that you are a very")[0]
    before = zoo.run(ids, sites=[site])[site][0]
    edits = [e for s in added.settings(3.0) for e in s.edits()]
    after = zoo.run(ids, sites=[site], edits=edits)[site][0]
    want = before.clone()
    want[: len(change)] += 3.0 * change
    torch.testing.assert_close(after, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"method": "svd"}, "svd"),
        ({"positive": []}, "positive and negative"),
        ({"method": "pca", "positive": HAPPY[:2]}, "pairs"),
        ({"method": "actadd"}, "one pair"),
        ({"positive": SAD}, "do not differ"),
        ({"tokens": "first"}, "first"),
        ({"site": "pattern.0"}, "pattern"),
    ],
)
def test_bad_contrasts_are_refused(options: dict[str, Any], part: str, zoo: LiveModel) -> None:
    given = {"positive": HAPPY, "negative": SAD, "site": "resid_post.0", **options}
    with pytest.raises(InputError, match=part):
        contrast(zoo, **given)


def test_pinning_a_script_makes_the_model_write_it(zoo: LiveModel) -> None:
    """As the pinned samples of *Towards Monosemanticity*: share of Hebrew characters."""
    sae = ng.SAE.load("zoo/A-8x", zoo)
    text = ng.zoo_texts("hebrew")[0][:200]
    x = zoo.run(text, sites=["neurons.0"])["neurons.0"]
    feature = sae[int(sae.encode_dense(x)[0].mean(0).argmax())]
    session = Session(zoo, "The King of England ", n=4, max_new_tokens=40, temperature=0.8)
    session.know(feature, ng.open_store("zoo/A-8x")[feature.index])
    base, pinned = session.start([Setting(feature, "clamp", 1.0, "max")]).finish().texts

    def share(texts: list[str]) -> float:
        letters = [c for t in texts for c in t if c.isalpha()]
        return sum("\u0590" <= c <= "\u05ff" for c in letters) / len(letters)

    assert share(base) < 0.05
    assert share(pinned) > 0.6


def test_small_formulas() -> None:
    assert readouts.distinct([1, 2, 1, 2, 1], 2) == 0.5
    assert math.isnan(readouts.distinct([1], 2))
    assert readouts.first_divergence([1, 2], [1, 2]) is None
    assert readouts.first_divergence([1, 2], [1, 2, 3]) == 2
    p = torch.tensor([[0.0, -torch.inf]])
    assert float(readouts.kl(p, torch.tensor([[0.5, 0.5]]).log())[0]) == pytest.approx(math.log(2))
    assert math.isnan(readouts.perplexity(torch.tensor([math.nan])))


def test_ablating_two_ways_is_the_same(models: Models) -> None:
    model = models["llama"]
    feature = direction(model)
    one = model.run(IDS, edits=Setting(feature, "ablate").edits())["logits"]
    other = model.run(IDS, edits=[Ablate(feature)])["logits"]
    assert torch.equal(one, other)


@pytest.mark.model
def test_the_real_models_readouts_equal_its_runs(smollm2: LiveModel) -> None:
    v = vector(576, 3)
    feature = Directions(smollm2, "resid_post.15", v[None], "random")[0]
    setting = Setting(feature, "add", 0.4, "norm")
    prompt = "The capital of France is"
    session = Session(smollm2, prompt, max_new_tokens=6, temperature=0.8, seed=1)
    steered = session.start([setting]).finish()
    [ids] = steered.tokens[1]
    whole, n = [session.prompt + ids], len(session.prompt)
    at, tokens = torch.arange(6), torch.tensor(ids)
    p = smollm2.run(whole)["logits"][0, n - 1 : -1].log_softmax(-1)
    edits = setting.edits()
    q = smollm2.run(whole, edits=edits, n_prompt=n)["logits"][0, n - 1 : -1].log_softmax(-1)
    frame = steered.to_frame()
    # float32 through 30 layers with activations of size 1e4; logits are about 20
    close: dict[str, Any] = {"rtol": 5e-3, "atol": 1e-2}
    for name, want in {
        "kl": (p.exp() * (p - q)).sum(-1),
        "steered_logprob": q[at, tokens],
        "steered_logprob_in_base": p[at, tokens],
    }.items():
        torch.testing.assert_close(torch.tensor(frame[name]).float(), want, **close)
    assert frame["kl"].min() > 0.01
    peek = Peek(smollm2, prompt)([setting])
    assert peek.resumed
    want = smollm2.run(prompt, edits=edits)["logits"][0, -1]
    assert (peek.steered - want.log_softmax(-1)).abs().max() <= 2 * TOLERANCE * want.abs().max()
