"""Gradients against autograd through forwards written out, finite differences, and by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from neuroglass import InputError, LiveModel, Run, load
from neuroglass.model.edits import Ablate, Add, Clamp, Edit, Scale
from neuroglass.model.gradients import Logit, LogitDifference
from neuroglass.model.sites import SITES, Site
from tests.unit.conftest import tiny
from tests.unit.test_edits import Bad, change, hooks_of, plain, put, vector
from tests.unit.written_out import Change, Pass, forward, rms

IDS, SHORT = [3, 14, 15, 92, 65, 35, 89], [2, 71, 82, 81]
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}  # float32: other sums of numbers of size 1
# transformers normalises and rotates in float32 also in a float64 model; GPT-2 does not
EXACT: dict[str, dict[str, Any]] = {
    "gpt2": {"rtol": 1e-8, "atol": 1e-10},
    "llama": {"rtol": 1e-3, "atol": 1e-5},
    "qwen3": {"rtol": 1e-3, "atol": 1e-5},
}
Load = Callable[..., LiveModel]
Models = dict[str, LiveModel]


@pytest.fixture(scope="module")
def models() -> Iterator[Models]:
    """Models in float64, in which rounding hides no mistake."""
    made = {kind: load(tiny(kind).double()) for kind in EXACT}
    yield made
    for model in made.values():
        model.close()


@pytest.fixture
def load_double() -> Iterator[Load]:
    made: list[LiveModel] = []

    def make(kind: str) -> LiveModel:
        made.append(load(tiny(kind).double()))
        return made[-1]

    yield make
    for model in made:
        model.close()


def objective(run: Run) -> torch.Tensor:
    """A number that listens to every token of a single row, in the run's own precision."""
    assert run.logits is not None
    return number(run.logits[0])


def number(logits: torch.Tensor) -> torch.Tensor:
    weight = torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view(logits.shape)
    value: torch.Tensor = (logits * weight).sin().sum()
    return value


def by_autograd(
    model: LiveModel,
    site: str,
    of: Callable[[Pass], torch.Tensor],
    changes: dict[str, Change] | None = None,
    ids: list[int] = IDS,
    **options: Any,
) -> torch.Tensor:
    """Total derivative of a number by a site's value (after its change), by the oracle."""
    leaf: list[torch.Tensor] = []
    changes = dict(changes or {})
    own = changes.get(site)

    def tap(x: torch.Tensor) -> torch.Tensor:
        x = x if own is None else own(x)
        leaf.append(x.detach().requires_grad_())
        return leaf[0]

    with torch.enable_grad():
        value = of(forward(model.hf, ids, {**changes, site: tap}, **options))
        if not value.requires_grad:
            return torch.zeros_like(leaf[0])
        found = torch.autograd.grad(value, leaf[0], allow_unused=True)[0]
        return torch.zeros_like(leaf[0]) if found is None else found


def all_sites() -> list[str]:
    return ["embed", *(f"{n}.1" for n in SITES if n not in {"embed", "logits"}), "logits"]


@pytest.mark.parametrize("kind", list(EXACT))
def test_gradients_at_every_site_equal_autograd_through_a_forward_written_out(
    kind: str, models: Models
) -> None:
    model = models[kind]
    grads = model.grad(objective, IDS, sites=all_sites())  # all at once: each is still total
    for site in all_sites():
        want = by_autograd(model, site, lambda p: number(p.logits))
        assert want.abs().max() > 1e-4  # and so far above the tolerance
        torch.testing.assert_close(grads[site][0], want, **EXACT[kind])
        assert grads[site].shape == grads.run[site].shape
        alone = model.grad(objective, IDS, sites=[site])[site]
        torch.testing.assert_close(alone, grads[site], **EXACT[kind])
    assert grads.value == pytest.approx(float(objective(model.run(IDS))), rel=1e-5)


def slope(model: LiveModel, edit: Callable[[float], Edit], eps: float) -> float:
    """Four-point central difference of the objective: off by eps⁴ times the fifth derivative."""
    f = {i: float(objective(model.run(IDS, edits=[edit(i * eps)]))) for i in (-2, -1, 1, 2)}
    return (8 * (f[1] - f[-1]) - (f[2] - f[-2])) / (12 * eps)


def scaled_pair(site: str) -> Callable[[float], Edit]:
    return lambda e: Scale(site, 1 + e, heads=[1], pairs=[(4, 2)])


def shifted_token(site: str, v: torch.Tensor) -> Callable[[float], Edit]:
    return lambda e: Add(site, v, e, positions=3)


@pytest.mark.parametrize("kind", [*EXACT, "opt", "gemma2", "phi3", "olmo2", "gpt_neox"])
def test_gradients_equal_finite_differences_made_with_edits(kind: str, load_double: Load) -> None:
    model = load_double(kind)
    sites = [s for s in all_sites() if s.split(".")[0] not in model.family.absent]
    exact = kind in {"gpt2", "opt"}
    eps = 1e-3 if exact else 1e-2  # the other norms and rotations round to 1e-7 inside
    grads = model.grad(objective, IDS, sites=sites)
    for site in sites:
        if site.startswith("pattern"):
            make = scaled_pair(site)
            want = float(grads[site][0, 1, 4, 2] * grads.run[site][0, 1, 4, 2])
        else:
            g = grads[site][0, 3].flatten()
            v = vector(len(g), 7).double()
            v = v / v.norm() + g / g.norm()  # not only along the gradient, but along it too
            make = shifted_token(site, v)
            want = float(g @ v)
        assert abs(want) > 1e-3, site
        # rounding over eps
        rel, off = (1e-5, 1e-7) if exact else (1e-3, 2e-4)
        assert slope(model, make, eps) == pytest.approx(want, rel=rel, abs=off), site
        alone = model.grad(objective, IDS, sites=[site])[site]  # the graph begins here
        torch.testing.assert_close(alone, grads[site], rtol=1e-4, atol=1e-6)  # eager or fused


def test_a_pattern_before_other_sites_has_its_gradient(load_tiny: Load) -> None:
    model = load_tiny()
    want = by_autograd(model, "pattern.1", lambda p: p.logits[-1, 5])
    assert want.abs().max() > 1e-3
    for sites in (["pattern.1"], ["pattern.1", "resid_post.2"], ["embed", "pattern.1"]):
        got = model.grad(Logit(5), IDS, sites=sites)["pattern.1"][0]
        torch.testing.assert_close(got, want, **CLOSE)


@pytest.mark.parametrize("kind", list(EXACT))
def test_gradients_at_embed_and_stream_equal_autograd_on_the_bare_model(
    kind: str, models: Models
) -> None:
    model = models[kind]
    hf: Any = model.hf
    with torch.enable_grad():
        embeds = hf.get_input_embeddings()(torch.tensor([IDS])).detach().requires_grad_()
        out = hf(inputs_embeds=embeds, use_cache=False, output_hidden_states=True)
        states = out.hidden_states[:-1]
        want = torch.autograd.grad(number(out.logits[0]), [embeds, *states])
    sites = ["embed", *(f"resid_pre.{i}" for i in range(3))]
    grads = model.grad(objective, IDS, sites=sites)
    assert torch.equal(grads.run["logits"], out.logits.detach())
    for site, g in zip(sites, want, strict=True):
        torch.testing.assert_close(grads[site], g, rtol=1e-12, atol=1e-12)  # the same operations


def test_gradients_in_float32_and_in_a_padded_batch_equal_each_row_alone(load_tiny: Load) -> None:
    for kind in ("llama", "gpt2", "mistral"):
        model = load_tiny(kind)
        grads = model.grad(Logit(5), [IDS, SHORT], sites=["embed", "neurons.1", "k.1", "q.2"])
        for row, ids in enumerate([IDS, SHORT]):
            for site in grads.sites:
                want = by_autograd(model, site, lambda p: p.logits[-1, 5], ids=ids)
                torch.testing.assert_close(grads[site][row, : len(ids)], want, **CLOSE)
                assert not grads[site][row, len(ids) :].any()  # nothing depends on padding


# -- objectives ------------------------------------------------------------------------------------


def test_logit_and_difference_are_what_they_say(load_tiny: Load) -> None:
    model = load_tiny("gpt2")
    logits = plain(model.hf, IDS)[0]
    short = plain(model.hf, SHORT)[0]
    cases: list[tuple[Any, torch.Tensor]] = [
        (Logit(5), logits[-1, 5]),
        (Logit(5, position=2), logits[2, 5]),
        (Logit(5, -3), logits[-3, 5]),
        (LogitDifference(5, 9), logits[-1, 5] - logits[-1, 9]),
        (LogitDifference(5, 9, position=0), logits[0, 5] - logits[0, 9]),
    ]
    for of, want in cases:
        got = model.grad(of, IDS, sites=["embed"])
        assert got.value == pytest.approx(float(want), rel=1e-5, abs=1e-6)  # float32
    both = model.grad(LogitDifference(5, 9), [IDS, SHORT], sites=["embed"])
    want = logits[-1, 5] - logits[-1, 9] + short[-1, 5] - short[-1, 9]
    assert both.value == pytest.approx(float(want), rel=1e-5, abs=1e-6)
    swapped = model.grad(LogitDifference(9, 5), IDS, sites=["embed"])
    once = model.grad(LogitDifference(5, 9), IDS, sites=["embed"])
    torch.testing.assert_close(swapped["embed"], -once["embed"])


def test_an_objective_may_be_made_of_sites(models: Models) -> None:
    model = models["llama"]

    def of(run: Run) -> torch.Tensor:
        return (run["resid_post.1"] ** 2).sum() + run["neurons.2"][0, 4, 7] * 3

    grads = model.grad(of, IDS, sites=["resid_post.1", "neurons.2", "embed", "resid_post.2"])
    run = grads.run
    site = by_autograd(model, "resid_post.1", lambda p: (p.sites["resid_post.1"] ** 2).sum() + p.sites["neurons.2"][4, 7] * 3)  # fmt: skip # noqa: E501
    torch.testing.assert_close(grads["resid_post.1"][0], site, **EXACT["llama"])
    assert not torch.allclose(site, 2 * run["resid_post.1"][0], atol=1e-4)  # it is total
    want = torch.zeros_like(run["neurons.2"])
    want[0, 4, 7] = 3
    assert torch.equal(grads["neurons.2"], want)
    assert not grads["resid_post.2"].any()  # after what the objective looks at


@pytest.mark.model
def test_gradients_of_the_real_model_equal_autograd_through_a_forward_written_out(
    smollm2: LiveModel,
) -> None:
    text = "The capital of France is"
    of = LogitDifference(" Paris", " London")
    sites = ["embed", "resid_mid.20", "neurons.25", "head_out.15", "v.10", "pattern.12"]
    grads = smollm2.grad(of, text, sites=sites)
    tokenizer: Any = smollm2.tokenizer
    a, b = (tokenizer(w)["input_ids"][0] for w in (" Paris", " London"))
    ids = grads.run.tokens[0].tolist()
    assert grads.value == pytest.approx(
        float(grads.run["logits"][0, -1, a] - grads.run["logits"][0, -1, b])
    )
    assert grads.value > 1
    for site in sites:
        want = by_autograd(smollm2, site, lambda p: p.logits[-1, a] - p.logits[-1, b], ids=ids)
        # float32 through 30 layers with activations of size 1e4
        assert (grads[site][0] - want).norm() < 1e-3 * want.norm(), site


@pytest.mark.model
def test_tokens_of_an_objective_are_read_as_text(smollm2: LiveModel) -> None:
    text = "The capital of France is"
    with pytest.raises(InputError) as caught:
        smollm2.grad(Logit(" Paris is nice"), text, sites=["embed"])
    for part in ("' Paris is nice'", "3 tokens", "leading space"):
        assert part in str(caught.value)
    with pytest.raises(InputError, match="0 tokens|not one"):
        smollm2.grad(Logit(""), text, sites=["embed"])
    tokenizer: Any = smollm2.tokenizer
    paris = tokenizer(" Paris")["input_ids"][0]
    one, two = (smollm2.grad(Logit(t), text, sites=["resid_post.29"]) for t in (" Paris", paris))
    assert torch.equal(one["resid_post.29"], two["resid_post.29"])


# -- the final norm --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_frozen_norm_equals_a_forward_with_its_scale_as_a_constant(
    kind: str, models: Models
) -> None:
    model = models[kind]
    last = forward(model.hf, IDS).sites["resid_post.2"].detach()
    hf: Any = model.hf
    if kind == "gpt2":
        scale = rms(last - last.mean(-1, keepdim=True), hf.transformer.ln_f.eps)
    else:
        scale = rms(last, hf.config.rms_norm_eps)
    sites = ["embed", "resid_post.2", "neurons.1", "logits"]
    frozen = model.grad(objective, IDS, sites=sites, freeze_norm=True)
    free = model.grad(objective, IDS, sites=sites)
    for site in sites:
        want = by_autograd(model, site, lambda p: number(p.logits), norm_scale=scale)
        # the frozen norm is worked out in float32
        torch.testing.assert_close(frozen[site][0], want, rtol=1e-4, atol=1e-5)
        if site != "logits":
            assert (frozen[site] - free[site]).abs().max() > 1e-3
    assert frozen.value == pytest.approx(free.value, rel=1e-6)
    # the values are the model's own, to the bit
    assert torch.equal(frozen.run["logits"], free.run["logits"])


def test_with_a_frozen_norm_the_effect_of_the_stream_is_linear(load_tiny: Load) -> None:
    """The sum that direct effects rest on: gradient · stream = logit difference (no bias, RMS)."""
    model = load_tiny()
    grads = model.grad(LogitDifference(5, 9), IDS, sites=["resid_post.2"], freeze_norm=True)
    total = (grads["resid_post.2"] * grads.run["resid_post.2"]).sum()
    assert float(total) == pytest.approx(grads.value, rel=1e-4)  # float32
    free = model.grad(LogitDifference(5, 9), IDS, sites=["resid_post.2"])
    # the norm is scale-free: along the stream nothing changes (but for its epsilon)
    assert abs(float((free["resid_post.2"] * free.run["resid_post.2"]).sum())) < 1e-4


# -- through edits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_gradients_go_through_edits(kind: str, models: Models) -> None:
    model, v = models[kind], vector(32).double()
    cases: list[tuple[Edit, dict[str, Change]]] = [
        (Scale("resid_mid.1", 3.0), {"resid_mid.1": lambda x: 3 * x}),
        (Add("resid_mid.1", v), {"resid_mid.1": lambda x: x + v}),
        (
            Ablate("resid_post.1", positions=[1, 2]),
            {"resid_post.1": change("", lambda x, _: 0 * x, [1, 2], 7)},
        ),
        (
            Ablate("pattern.1", heads=[1]),
            {"pattern.1": lambda x: torch.stack([x[0], 0 * x[1], *x[2:]])},
        ),
        (
            Clamp("neurons.1", 2.0, features=[3]),
            {"neurons.1": change("", put(3, lambda *_: 2.0), "all", 7)},
        ),
        (Scale("logits", 2.0), {"logits": lambda x: 2 * x}),
    ]
    sites = ["embed", "q.1", "resid_mid.1", "resid_post.1", "neurons.1", "resid_post.2"]
    for edit, changes in cases:
        grads = model.grad(objective, IDS, sites=sites, edits=[edit])
        for site in sites:
            want = by_autograd(model, site, lambda p: number(p.logits), changes)
            torch.testing.assert_close(grads[site][0], want, **EXACT[kind])
    with pytest.raises(InputError, match="does not depend"):
        model.grad(objective, IDS, sites=["resid_post.0"], edits=[Ablate("resid_post.1")])
    with model.edit(cases[0][0]):
        inside = model.grad(objective, IDS, sites=["embed"])
    assert torch.equal(
        inside["embed"], model.grad(objective, IDS, sites=["embed"], edits=[cases[0][0]])["embed"]
    )


@dataclass
class Splice:
    """A toy autoencoder put into the stream, its error a constant: a custom edit."""

    encoder: torch.Tensor  # [width of reads, latents]
    decoder: torch.Tensor  # [latents, width of writes]
    reads: Site
    writes: Site
    squared: bool = False

    def bind(self, model: LiveModel, extent: Any) -> list[Splice]:
        assert extent.limit
        return [self]

    def read(self, x: torch.Tensor) -> torch.Tensor:
        latents = (x @ self.encoder).relu()
        return latents.square() + x[..., : latents.shape[-1]].square() if self.squared else latents

    def write(self, x: torch.Tensor, values: torch.Tensor, at: Any) -> torch.Tensor:
        made = values @ self.decoder
        return made + (x - made).detach()


def splice(reads: str, writes: str, *, squared: bool = False) -> Splice:
    g = torch.Generator().manual_seed(3)
    encoder, decoder = (torch.randn(s, generator=g).double() * 0.3 for s in ((32, 24), (24, 32)))
    (a, i), (b, j) = reads.split("."), writes.split(".")
    return Splice(encoder, decoder, Site(a, int(i)), Site(b, int(j)), squared)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize(
    ("reads", "writes"),
    [
        ("resid_post.1", "resid_post.1"),
        ("resid_mid.1", "resid_mid.1"),  # whose edit is made in place
        ("mlp_in.1", "mlp_out.1"),  # a transcoder
        ("resid_pre.0", "resid_mid.1"),
        ("attn_out.1", "attn_out.1"),
    ],
)
def test_gradients_go_through_the_encoder_of_a_spliced_autoencoder(
    reads: str, writes: str, kind: str, squared: bool, models: Models
) -> None:
    model, edit = models[kind], splice(reads, writes, squared=squared)
    kept: list[torch.Tensor] = []

    def note(x: torch.Tensor) -> torch.Tensor:
        kept.append(edit.read(x))
        return x

    def write(x: torch.Tensor) -> torch.Tensor:
        return edit.write(x, edit.read(x) if reads == writes else kept[-1], None)

    changes: dict[str, Change] = {reads: note, writes: write}
    sites = ["embed", "resid_pre.1", "resid_post.0", "q.0", writes]
    grads = model.grad(objective, IDS, sites=sites, edits=[edit])
    free = model.grad(objective, IDS, sites=sites)
    assert grads.value == pytest.approx(free.value, rel=1e-6)  # error included: the same values
    moved = []
    for site in sites:
        want = by_autograd(model, site, lambda p: number(p.logits), changes)
        torch.testing.assert_close(grads[site][0], want, **EXACT[kind])
        torch.testing.assert_close(grads.run[site], free.run[site], rtol=1e-5, atol=1e-5)
        moved.append(float((grads[site] - free[site]).abs().max()))
    assert max(moved) > 1e-3  # the detached error does cut gradient


def test_an_edit_may_learn(models: Models) -> None:
    """A vector that wants a gradient may be edited in; the run's tensors stay free of graphs."""
    model = models["llama"]
    v = vector(32).double().requires_grad_()
    run = model.run(IDS, edits=[Add("resid_mid.1", v)], sites=["resid_mid.1"])
    assert not run["resid_mid.1"].requires_grad
    assert not run["logits"].requires_grad
    grads = model.grad(objective, IDS, sites=["resid_mid.1"], edits=[Add("resid_mid.1", v)])
    want = by_autograd(
        model, "resid_mid.1", lambda p: number(p.logits), {"resid_mid.1": lambda x: x + v}
    )
    torch.testing.assert_close(grads["resid_mid.1"][0], want, **EXACT["llama"])
    assert v.grad is None


# -- life and errors -------------------------------------------------------------------------------


def test_parameters_are_as_before_and_carry_no_gradient(load_tiny: Load) -> None:
    model = load_tiny()
    hf: Any = model.hf
    some = [p for i, p in enumerate(hf.parameters()) if i % 3 == 0]
    for p in some:
        p.requires_grad_(False)
    flags = [p.requires_grad for p in hf.parameters()]
    assert True in flags
    assert False in flags
    before = plain(hf, IDS)

    def fails(run: Run) -> torch.Tensor:
        assert not any(p.requires_grad for p in hf.parameters())  # frozen meanwhile
        raise ZeroDivisionError

    calls: list[tuple[Callable[[], Any], type[BaseException] | None]] = [
        (lambda: model.grad(Logit(5), IDS, sites=["embed", "k.1"], freeze_norm=True), None),
        (lambda: model.grad(fails, IDS, sites=["embed"]), ZeroDivisionError),
        (lambda: model.grad(Logit(500), IDS, sites=["embed"]), InputError),
        (
            lambda: model.grad(
                Logit(5), IDS, sites=["q.1"], edits=[Bad(model, "write", KeyboardInterrupt())]
            ),
            KeyboardInterrupt,
        ),
    ]
    for call, error in calls:
        if error is None:
            call()
        else:
            with pytest.raises(error):
                call()
        assert [p.requires_grad for p in hf.parameters()] == flags
        assert all(p.grad is None for p in hf.parameters())
        assert hooks_of(hf) == 0
        assert hf.config._attn_implementation == "sdpa"
        assert torch.equal(model.run(IDS)["logits"], before)


def test_what_comes_back_has_no_graph(load_tiny: Load) -> None:
    grads = load_tiny().grad(Logit(5), IDS, sites=["embed", "pattern.1", "resid_post.2", "logits"])
    assert isinstance(grads.value, float)
    run = grads.run
    for x in (*grads.sites.values(), *run.sites.values(), run["logits"]):
        assert not x.requires_grad
        assert x.grad_fn is None
    assert grads["blocks.2.hook_resid_post"] is grads["resid_post.2"]
    with pytest.raises(InputError, match="resid_post.2"):
        grads["resid_post.1"]


def test_gradients_work_under_the_callers_no_grad(load_tiny: Load) -> None:
    model = load_tiny()
    want = model.grad(Logit(5), IDS, sites=["embed"])["embed"]
    with torch.no_grad():
        assert torch.equal(model.grad(Logit(5), IDS, sites=["embed"])["embed"], want)
    assert not torch.is_inference_mode_enabled()


def test_a_run_inside_an_objective_is_possible(load_tiny: Load) -> None:
    model = load_tiny()
    target = model.run(SHORT + SHORT[:3], sites=["q.1", "pattern.0"])["logits"]

    def of(run: Run) -> torch.Tensor:
        other = model.run(SHORT + SHORT[:3], sites=["q.1", "pattern.0"])
        assert run.logits is not None
        assert torch.equal(other["logits"], target)
        return (run.logits - other["logits"]).square().sum()

    grads = model.grad(of, IDS, sites=["embed", "pattern.1"])
    want = by_autograd(model, "embed", lambda p: (p.logits - target[0]).square().sum())
    torch.testing.assert_close(grads["embed"][0], want, **CLOSE)
    assert hooks_of(model.hf) == 0


@pytest.mark.parametrize(
    ("of", "parts"),
    [
        (lambda run: run.logits, ["one number"]),
        (lambda run: run.logits[0, -1, :2], ["one number"]),
        (lambda run: 1.0, ["one number", "tensor"]),
        (lambda run: None, ["one number"]),
        (lambda run: run.logits.sum().item(), ["one number", "tensor"]),
        (lambda run: run.logits.detach().sum(), ["does not depend"]),
        (lambda run: torch.tensor(1.0), ["does not depend"]),
        (lambda run: run.logits.argmax().float(), ["does not depend"]),
        (lambda run: run.logits.sum() * float("nan"), ["nan"]),
        (lambda run: run.logits.sum() * float("inf"), ["inf"]),
        (lambda run: run["neurons.2"].sum(), ["neurons.2", "not captured"]),
        (Logit(101), ["101", "0 to 100"]),
        (Logit(-1), ["-1"]),
        (Logit(True), ["True"]),
        (Logit("x"), ["without a tokenizer"]),
        (Logit(1.5), ["1.5"]),  # type: ignore[arg-type]
        (Logit(5, position=7), ["Position 7", "7 tokens"]),
        (Logit(5, position=-8), ["Position -8"]),
        (LogitDifference(5, 101), ["101"]),
        ("logit", ["objective"]),
        (None, ["objective"]),
    ],
)
def test_a_bad_objective_is_refused(of: Any, parts: list[str], load_tiny: Load) -> None:
    model = load_tiny()
    with pytest.raises(InputError) as caught:
        model.grad(of, IDS, sites=["embed"])
    for part in parts:
        assert part in str(caught.value)
    assert hooks_of(model.hf) == 0


def test_bad_sites_of_a_gradient_are_refused(load_tiny: Load) -> None:
    model = load_tiny()
    for sites, part in (
        ([], "No site"),
        (["resid_pots.1"], "resid_post.1"),
        (["embed.1"], "layers"),
    ):
        with pytest.raises(InputError, match=part):
            model.grad(Logit(5), IDS, sites=sites)
    twice = model.grad(Logit(5), IDS, sites=["embed", "hook_embed"])
    assert list(twice.sites) == ["embed"]


def test_a_gradient_does_not_change_the_run_it_comes_with(load_tiny: Load) -> None:
    model = load_tiny()
    sites = ["resid_mid.1", "q.1", "pattern.1", "logits"]
    want = model.run(IDS, sites=sites)
    for freeze in (False, True):
        got = model.grad(Logit(5), IDS, sites=sites, freeze_norm=freeze).run
        for field in dataclasses.fields(got):
            assert getattr(got, field.name) is not None
        for site in sites:
            torch.testing.assert_close(got[site], want[site], rtol=0, atol=0)  # to the bit
