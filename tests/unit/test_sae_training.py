"""Training dictionaries: recipes against known truth, the fast step, resuming, the report."""

from __future__ import annotations

import errno
import json
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import neuroglass as ng
from neuroglass.model.live import LiveModel
from neuroglass.model.worker import Priority
from neuroglass.recipes.data import Document
from neuroglass.recipes.tokenizer import train_tokenizer
from neuroglass.sae import training
from neuroglass.sae.activations import Kept, Streamed, keep_activations
from neuroglass.sae.checkpoint import cut_log
from neuroglass.sae.learner import Learner
from neuroglass.sae.recipes import (
    BatchTopK,
    JumpReLU,
    Recipe,
    TopK,
    TowardsMonosemanticity,
    geometric_median,
)
from neuroglass.sae.sparse_linear import top_k_autoencoder
from neuroglass.sae.training import Training, TrainingStopped, train_sae
from tests.superposition import found, learner, train, world

SITE = "resid_post.1"
FAST: dict[str, Any] = {"k": 4, "tokens": 2_048, "batch": 64, "lr": 2e-3}


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [text for some in ng.zoo_texts().values() for text in some]


@pytest.fixture
def model(load_tiny: Callable[..., LiveModel], texts: list[str]) -> LiveModel:
    """A tiny model that reads text."""
    from transformers import PreTrainedTokenizerFast

    made = train_tokenizer((Document(t, "c", "s") for t in texts), 300)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    )
    return load_tiny("llama", tokenizer, vocab_size=300)


# ------------------------------------------------------------------ known truth


def test_true_features_are_found() -> None:
    """At a budget that a test can have; bench_superposition has all recipes."""
    rows, draw = world()
    recipe = TopK(n_latents=512, k=5, tokens=800_000, batch=512, lr=2e-3)
    made = learner(recipe, draw)
    assert found(rows, made) < 0.02  # random directions
    train(made, draw)
    assert found(rows, made) >= 0.9


@pytest.mark.parametrize(
    "recipe",
    [
        TopK(n_latents=96, k=4, tokens=30_000, batch=256),
        # a short run: the threshold must not look back over all of it
        BatchTopK(n_latents=96, k=4, tokens=30_000, batch=256, momentum=0.8),
        JumpReLU(n_latents=96, tokens=30_000, batch=256),
        TowardsMonosemanticity(n_latents=96, tokens=30_000, batch=256, l1=0.01),
    ],
    ids=lambda r: type(r).__name__,
)
def test_every_recipe_explains_more_than_it_did(recipe: Recipe) -> None:
    _, draw = world(48, 24)
    made = learner(recipe, draw)
    rows = []
    for _ in range(recipe.steps):
        batch = draw(recipe.batch)
        rows.append(made.step(batch, batch))
        norms = made.parameters["W_dec"].detach().norm(dim=1)
        torch.testing.assert_close(norms, torch.ones_like(norms))
    assert rows[-1]["fvu"] < 0.8 * rows[0]["fvu"]
    assert rows[-1]["fvu"] < 0.6
    # what is exported is what was trained
    sae = made.dictionary("sae", {})
    x = draw(2000)
    error = (sae.reconstruct(x) - x).square().sum() / (x - x.mean(0)).square().sum()
    assert abs(float(error) - rows[-1]["fvu"]) < 0.1
    l0 = len(sae.encode(x)) / len(x)
    assert l0 == pytest.approx(rows[-1]["l0"], rel=0.25)


# ------------------------------------------------------------------ the fast step


@pytest.mark.model
def test_the_fast_step_has_the_gradients_of_the_plain_one(smollm2: LiveModel) -> None:
    """On real residuals. Sums in another order differ by float32 rounding."""
    x = smollm2.run(ng.zoo_texts("english_prose")[0], sites=["resid_post.10"])["resid_post.10"][
        0, 4:
    ]
    x = (x * (576 / x.square().sum(1).mean()) ** 0.5).contiguous()
    chance = torch.Generator().manual_seed(0)
    encoder = torch.randn(2048, 576, generator=chance) / 24
    decoder = torch.randn(2048, 576, generator=chance) / 24
    bias = torch.randn(2048, generator=chance) / 24
    made = {}
    for fast in (False, True):
        given = [t.clone().requires_grad_() for t in (x, encoder, bias, decoder)]
        z, w_enc, b_enc, w_dec = given
        out, indices, values = top_k_autoencoder(z, w_enc, b_enc, w_dec, 32, fast=fast)
        grads = torch.autograd.grad((out - x).square().mean(), given)
        made[fast] = indices.sort(1).values, values.sort(1).values, out.detach(), grads
    assert torch.equal(made[False][0], made[True][0])
    torch.testing.assert_close(made[True][1:], made[False][1:], rtol=1e-4, atol=1e-6)


def test_what_bfloat16_ranks_wrongly_is_put_right() -> None:
    """Pre-activations that bfloat16 can't tell apart: the exact ones decide."""
    z = torch.ones(1, 8)
    encoder = torch.full((20, 8), 0.125)
    encoder[:, 0] += torch.linspace(0, 1e-4, 20)  # 20 values within one step of bfloat16
    zero = torch.zeros(20)
    plain = top_k_autoencoder(z, encoder, zero, encoder, 12, fast=False)
    fast = top_k_autoencoder(z, encoder, zero, encoder, 12, fast=True)
    assert set(plain[1][0].tolist()) == set(fast[1][0].tolist()) == set(range(8, 20))


def test_a_trajectory_is_the_same_fast_or_plain() -> None:
    _, draw = world(48, 24)
    recipe = TopK(n_latents=96, k=4, tokens=5_120, batch=256)
    x = draw(4096)
    batches = [draw(256) for _ in range(recipe.steps)]
    ends = []
    for fast in (True, False):
        made = Learner(recipe, x, x, more=lambda n: (x[:n], x[:n]), fast=fast)
        ends.append([made.step(b, b)["fvu"] for b in batches])
    assert ends[0] == pytest.approx(ends[1], rel=1e-3)  # twenty steps of rounding


# ------------------------------------------------------------------ parts of recipes


def test_the_geometric_median_has_the_least_distances() -> None:
    chance = torch.Generator().manual_seed(0)
    x = torch.randn(200, 5, generator=chance)
    x[:60] += 20  # the mean is pulled away, the median little
    at = geometric_median(x)
    least = (x - at).norm(dim=1).sum()
    for _ in range(200):
        near = at + 0.05 * torch.randn(5, generator=chance)
        assert (x - near).norm(dim=1).sum() >= least - 1e-3
    assert at.norm() < x.mean(0).norm() / 2


def test_resampling_gives_dead_latents_the_worst_explained_inputs() -> None:
    _, draw = world(48, 24)
    recipe = TowardsMonosemanticity(n_latents=64, tokens=64 * 100, batch=64, resample_at=(0.5,))
    made = learner(recipe, draw)
    with torch.no_grad():
        made.parameters["b_enc"][:10] = -100  # never on
    row: dict[str, float] = {}
    for _ in range(50):
        before = {n: p.detach().clone() for n, p in made.parameters.items()}
        batch = draw(64)
        row = made.step(batch, batch)
    assert row["resampled"] >= 10
    p = made.parameters
    alive = before["W_enc"][10:].norm(dim=1).mean()
    size = p["W_enc"].detach()[:10].norm(dim=1)
    assert torch.allclose(size, 0.2 * alive.expand(10), rtol=0.05)
    assert bool((p["b_enc"][:10] == 0).all())
    for name in ("W_enc", "W_dec", "b_enc"):
        assert bool((made.adam.state[p[name]]["exp_avg"][:10] == 0).all())
    cosine = torch.nn.functional.cosine_similarity(p["W_enc"][:10], p["W_dec"][:10])
    assert bool((cosine > 0.999).all())
    assert bool((made.silent[:10] == 0).all())


def test_the_auxiliary_loss_is_the_formula() -> None:
    """The dead latents' own best reconstruct what the others leave (Gao et al. 2024, A.2)."""
    _, draw = world(48, 24)
    recipe = TopK(n_latents=40, k=4, tokens=6_400, batch=64, k_aux=3, aux=0.5)
    made = learner(recipe, draw)
    made.silent[10:20] = recipe.tokens
    x = draw(64) * made.scale_in
    p = {n: t.detach() for n, t in made.parameters.items()}
    loss = 0.0
    left, wanted = [], []
    for row in x:
        h = p["W_enc"] @ (row - p["b_dec"]) + p["b_enc"]
        top = h.topk(4).indices
        error = row - p["b_dec"] - h[top].clamp_min(0) @ p["W_dec"][top]
        dead = 10 + h[10:20].topk(3).indices
        left.append(error - h[dead].clamp_min(0) @ p["W_dec"][dead])
        wanted.append(error)
        loss += float(error.square().mean()) / made.variance / 64
    residual = torch.stack(wanted)
    aux = torch.stack(left).square().mean() / (residual - residual.mean(0)).square().mean()
    found = recipe.objective(made, x, x)
    assert found.parts["aux"] == pytest.approx(float(aux), rel=1e-4)
    assert float(found.loss.detach()) == pytest.approx(loss + 0.5 * float(aux), rel=1e-4)
    found.loss.backward()
    gradient = made.parameters["W_enc"].grad
    assert gradient is not None
    assert bool((gradient[10:20].norm(dim=1) > 0).any())
    made.silent.zero_()
    assert recipe.objective(made, x, x).parts == {}


def test_the_decoder_moves_only_across_its_rows() -> None:
    """The gradient's part along a row is gone before Adam sees it."""
    _, draw = world(48, 24)
    made = learner(TopK(n_latents=96, k=4, tokens=1024, batch=256), draw)
    batch = draw(256)
    before = made.parameters["W_dec"].detach().clone()
    made.step(batch, batch)
    gradient = made.parameters["W_dec"].grad
    assert gradient is not None
    along = (gradient * before).sum(1).abs()
    assert float(along.max()) < 1e-6 * max(1.0, float(gradient.norm(dim=1).max()))
    assert float(gradient.abs().max()) > 0


def test_jump_relu_gradients_are_the_kernel_estimates() -> None:
    from neuroglass.sae.recipes import _Jump

    h = torch.tensor([[0.2, 0.45, 0.55, 2.0]], requires_grad=True)
    threshold = torch.full((4,), 0.5, requires_grad=True)
    f, on = _Jump.apply(h, threshold, 0.2)  # type: ignore[no-untyped-call]
    assert f.tolist() == [[0, 0, pytest.approx(0.55), 2.0]]
    assert on.tolist() == [[0, 0, 1, 1]]
    (f * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward(retain_graph=True)
    assert h.grad is not None
    assert threshold.grad is not None
    assert h.grad.tolist() == [[0, 0, 3, 4]]
    # within half a bandwidth of the threshold: -(θ/ε)·gradient
    assert threshold.grad.tolist() == pytest.approx([0, -2.5 * 2, -2.5 * 3, 0])
    threshold.grad = None
    on.sum().backward()
    assert threshold.grad is not None
    assert threshold.grad.tolist() == pytest.approx([0, -5, -5, 0])  # -(1/ε)


def test_windows_are_scaled_and_stand_beside_the_papers() -> None:
    windows = TowardsMonosemanticity(n_latents=8, tokens=4_000_000).windows()
    assert windows[0][:2] == ("resampling 1", 100_000)
    assert "205 M" in windows[0][2]
    assert windows[-1][1] == 50_000
    assert TopK(n_latents=64, tokens=1_000_000).windows()[0][1:] == (50_000, "10 M")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: TopK(n_latents=8, k=9), "k is 9"),
        (lambda: TopK(n_latents=0), "n_latents is 0"),
        (lambda: TopK(n_latents=64, lr=0.0), "learns nothing"),
        (lambda: TopK(n_latents=64, tokens=10), "less than one batch"),
    ],
)
def test_a_recipe_that_can_do_nothing_is_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ng.InputError, match=said):
        make()


# ------------------------------------------------------------------ where vectors come from


def same_rows(have: torch.Tensor, want: torch.Tensor, bound: float = 1e-3) -> None:
    """The same rows in any order, up to rounding: each has its like on the other side."""
    assert have.shape == want.shape
    apart = torch.cdist(have, want, compute_mode="donot_use_mm_for_euclid_dist")
    assert float(apart.min(0).values.max()) < bound
    assert float(apart.min(1).values.max()) < bound


def test_blocks_hold_every_token_that_counts_once(model: LiveModel, texts: list[str]) -> None:
    source = Streamed(model, [SITE, "mlp_in.1"], texts[:2], context=16, block_tokens=200)
    windows = len(source._starts) - 1
    rows: list[torch.Tensor] = []
    mlp: list[torch.Tensor] = []
    i = 0
    while sum(len(r) for r in rows) < source.n_tokens - sum(source.left_out.values()):
        block = source.block(i)
        rows.append(block[SITE])
        mlp.append(block["mlp_in.1"])
        i += 1
        assert i <= windows
    have = torch.cat(rows)
    want, beside = [], []
    for at in range(windows):
        ids = source._ids[source._starts[at] : source._starts[at + 1]].tolist()
        run = model.run(ids, sites=[SITE, "mlp_in.1"])
        want.append(run[SITE][0])
        beside.append(run["mlp_in.1"][0])
    whole, other = torch.cat(want), torch.cat(beside)
    same_rows(have, whole)
    # both sites are of the same tokens
    same_rows(torch.cat([have, torch.cat(mlp)], 1), torch.cat([whole, other], 1))
    again = Streamed(model, [SITE, "mlp_in.1"], texts[:2], context=16, block_tokens=200)
    assert torch.equal(again.block(2)[SITE], rows[2])
    assert again.mark == source.mark
    assert Streamed(model, [SITE], texts[:1], context=16).mark != source.mark


def test_special_and_massive_tokens_are_left_out_and_counted(
    model: LiveModel, texts: list[str]
) -> None:
    source = Streamed(model, [SITE], texts[:3], context=16, prepend_bos=True)
    n = len(source.block(0)[SITE])
    assert source.left_out["special"] == len(source._starts) - 1  # the BOS of each window
    assert n == source.n_tokens - sum(source.left_out.values())
    assert source.about["prepend_bos"] is True


def test_kept_activations_are_the_streamed_ones(
    model: LiveModel, texts: list[str], tmp_path: Path
) -> None:
    kept = keep_activations(model, SITE, texts[:2], tmp_path / "kept", context=16)
    source = Streamed(model, [SITE], texts[:2], context=16)
    have, want = kept.block(0)[SITE], source.block(0)[SITE]
    same_rows(have, want, bound=1e-2)  # half precision: 11 bits of numbers of size 4
    sae = train_sae(None, SITE, kept, TopK(n_latents=64, **FAST), progress=False)
    assert sae.spec.fingerprint == model.fingerprint
    assert sae.attach(model)[3].read_site == model.site(SITE)
    with pytest.raises(ng.InputError, match="is not empty"):
        keep_activations(model, SITE, texts[:6], tmp_path / "kept")
    with pytest.raises(ng.InputError, match="holds no kept activations"):
        Kept(tmp_path)


# ------------------------------------------------------------------ training


def test_a_dictionary_is_trained_in_a_cell_and_attached(
    model: LiveModel, texts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    sae = train_sae(model, SITE, texts, TopK(n_latents=128, **FAST), context=32)
    assert "tokens" in capsys.readouterr().err  # the bar
    assert sae.model is model
    assert sae[5].id.endswith("resid_post.1-topk-128/5")
    report = sae.report(texts[:10], context=32)
    assert report["fvu"] < 0.6
    assert report["l0"] <= 4


def test_the_bar_is_made_in_the_cells_own_thread_and_counts_every_token(
    model: LiveModel, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import tqdm.auto

    made: list[tuple[Any, threading.Thread]] = []

    class Bar(tqdm.auto.tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append((self, threading.current_thread()))

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    recipe = TopK(n_latents=16, k=2, tokens=640, batch=64)
    running = train_sae(model, SITE, texts, recipe, context=32, progress=True, wait=False)
    [(bar, thread)] = made
    assert isinstance(running, Training)
    running.result()
    assert thread is threading.current_thread()
    assert bar.n == bar.total == 640


def test_several_in_one_pass_are_those_of_separate_ones(model: LiveModel, texts: list[str]) -> None:
    recipes = [TopK(n_latents=64, **FAST), JumpReLU(n_latents=32, tokens=2048, batch=64)]
    both = train_sae(
        model, [SITE, "neurons.0"], texts, recipes, context=32, progress=False, block_tokens=500
    )
    assert isinstance(both, list)
    assert [s.spec.read_site for s in both] == [SITE, SITE, "neurons.0", "neurons.0"]
    for sae, (site, recipe) in zip(
        both, [(s, r) for s in (SITE, "neurons.0") for r in recipes], strict=True
    ):
        alone = train_sae(model, site, texts, recipe, context=32, progress=False, block_tokens=500)
        torch.testing.assert_close(sae.weights.W_dec, alone.weights.W_dec, rtol=1e-3, atol=1e-4)


def test_a_transcoder_is_trained_between_two_sites(model: LiveModel, texts: list[str]) -> None:
    sae = train_sae(
        model,
        "mlp_in.1",
        texts,
        TopK(n_latents=128, k=16, tokens=20_480, batch=64, lr=3e-3),
        write_site="mlp_out.1",
        context=32,
        progress=False,
    )
    assert isinstance(sae, ng.Transcoder)
    run = model.run(texts[0][:24], sites=["mlp_in.1", "mlp_out.1"])
    x, y = run["mlp_in.1"][0], run["mlp_out.1"][0]
    made = sae.reconstruct(x)
    assert float((made - y).square().sum() / (y - y.mean(0)).square().sum()) < 0.7


@pytest.mark.parametrize("at", [3, 7, 20])
def test_a_stopped_run_goes_on_with_the_same_numbers(
    at: int, model: LiveModel, texts: list[str], tmp_path: Path
) -> None:
    def go(out: Path, steps: int | None = None) -> Any:
        run = train_sae(
            model,
            SITE,
            texts,
            [
                TopK(n_latents=64, **FAST),
                TowardsMonosemanticity(n_latents=64, tokens=2048, batch=64),
            ],
            context=32,
            block_tokens=300,
            out=out,
            wait=False,
            progress=False,
        )
        assert isinstance(run, Training)
        return run.result()

    whole = go(tmp_path / "whole")
    real = Learner.step
    left = [at]

    def counted(self: Learner, x: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(self, x, y)

    # an end in the middle, as by stop(): with a checkpoint
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "step", counted)
        patch.setattr(
            Training, "_note", lambda self, run, row: self.stop() if left[0] == 0 else None
        )
        go(tmp_path / "parts")
    again = go(tmp_path / "parts")
    for one, other in zip(whole, again, strict=True):
        assert torch.equal(one.weights.W_dec, other.weights.W_dec)
        assert torch.equal(one.weights.b_enc, other.weights.b_enc)
    rows = [
        json.loads(line) for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()
    ]
    assert {row["step"] for row in rows if row["name"].endswith("topk-64")} >= {30, 32}


@pytest.mark.parametrize("how", ["killed", "not a number"])
def test_a_run_that_breaks_off_goes_on_from_its_checkpoint_to_the_same_bytes(
    how: str, model: LiveModel, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps and rows after the checkpoint are lost, and made again."""
    monkeypatch.setattr(training, "_LOG_EVERY", 1)

    def go(out: Path) -> Any:
        recipe = TopK(n_latents=64, **FAST)
        return train_sae(
            model, SITE, texts, recipe, context=32, block_tokens=300, out=out, progress=False
        )

    whole = go(tmp_path / "whole")
    step, note = Learner.step, Training._note

    def breaking(self: Learner, x: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        if self.done == 12 and how == "killed":
            raise MemoryError
        row = step(self, x, y)
        return row | {"loss": math.nan} if self.done == 13 else row

    def saving(self: Training, run: Any, row: dict[str, float]) -> None:
        note(self, run, row)
        if run.learner.done == 7:
            self._save()

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", breaking)
        patch.setattr(Training, "_note", saving)
        with pytest.raises(MemoryError if how == "killed" else TrainingStopped):
            go(tmp_path / "parts")
    assert len((tmp_path / "parts" / "log.jsonl").read_text().splitlines()) == 12
    again = go(tmp_path / "parts")
    assert torch.equal(whole.weights.W_dec, again.weights.W_dec)
    assert torch.equal(whole.weights.b_enc, again.weights.b_enc)
    for name in ("log.jsonl", "checkpoint.safetensors"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_log_is_cut_to_the_checkpoint(tmp_path: Path) -> None:
    """What an end in the middle of a line leaves goes too, wherever in the line it was."""
    log = tmp_path / "log.jsonl"
    assert cut_log(log, lambda row: True) == []
    assert not log.exists()
    lines = ['{"step": 1,  "loss": 0.5}', '{"step": 2, "held_out": {"all": 1.0}}', '{"step": 3}']
    last = '{"step": 2, "held_out": {"all": 1.0}'
    for torn in (last, last[:-1], "{", ""):
        log.write_text("\n".join([*lines, torn]))
        rows = cut_log(log, lambda row: bool(row["step"] <= 2))
        assert rows == [{"step": 1, "loss": 0.5}, {"step": 2, "held_out": {"all": 1.0}}]
        assert log.read_text() == "".join(f"{line}\n" for line in lines[:2])  # not a byte else
    assert list(tmp_path.iterdir()) == [log]


def test_a_folder_of_another_training_is_refused(
    model: LiveModel, texts: list[str], tmp_path: Path
) -> None:
    recipe = TopK(n_latents=64, **FAST)
    train_sae(model, SITE, texts, recipe, context=32, out=tmp_path, progress=False)
    with pytest.raises(ng.InputError, match="of other recipes, sites or texts"):
        train_sae(
            model, SITE, texts, replace(recipe, k=5), context=32, out=tmp_path, progress=False
        )
    with pytest.raises(ng.InputError, match="of other recipes, sites or texts"):
        train_sae(model, SITE, texts[1:], recipe, context=32, out=tmp_path, progress=False)


def test_a_rate_that_breaks_it_stops_and_keeps_what_was_good(
    model: LiveModel, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = TopK(n_latents=64, **{**FAST, "lr": 1e38})
    monkeypatch.setattr(training, "_LOG_EVERY", 1)
    with pytest.raises(TrainingStopped, match="Lower the learning rate"):
        train_sae(model, SITE, texts, recipe, context=32, out=tmp_path, progress=False)
    assert not (tmp_path / "checkpoint.safetensors").exists()
    rows = (tmp_path / "log.jsonl").read_text().splitlines()
    assert all(math.isfinite(json.loads(row)["loss"]) for row in rows)


def test_a_full_disk_keeps_the_checkpoint_before(
    model: LiveModel, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = TopK(n_latents=64, **FAST)
    run = train_sae(
        model, SITE, texts, recipe, context=32, out=tmp_path, progress=False, wait=False
    )
    assert isinstance(run, Training)
    run.stop()
    run.result()
    good = (tmp_path / "checkpoint.safetensors").read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        train_sae(model, SITE, texts, recipe, context=32, out=tmp_path, progress=False)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == good
    assert list(tmp_path.glob("*.part")) == []


def test_steps_wait_for_what_is_more_urgent(model: LiveModel) -> None:
    model.give_way()  # nothing to do: at once
    began = time.monotonic()
    job = model.work(lambda _: time.sleep(0.4), priority=Priority.INTERACTIVE)
    model.give_way()
    assert time.monotonic() - began > 0.35
    assert job.done
    slow = model.work(lambda _: time.sleep(0.4), priority=Priority.BACKGROUND)
    began = time.monotonic()
    model.give_way()  # its equals are not waited for
    assert time.monotonic() - began < 0.2
    slow.result()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"texts": []}, "no window"),
        ({"texts": ["a"]}, "no window"),
        ({"texts": [3]}, "is int, not a string"),
        ({"texts": ["word " * 5]}, "less than one batch"),
        ({"site": "resid_post.9"}, "no layer 9"),
        ({"name": ["a", "b"]}, "1 dictionaries need 1"),
        ({"site": ["resid_post.0", "resid_post.1"], "write_site": "mlp_out.1"}, "one by one"),
    ],
)
def test_bad_input_is_named(
    change: dict[str, Any], said: str, model: LiveModel, texts: list[str]
) -> None:
    given: dict[str, Any] = {"site": SITE, "texts": texts, "name": None, "write_site": None}
    given |= change
    with pytest.raises(ng.InputError, match=said):
        train_sae(
            model,
            given["site"],
            given["texts"],
            TopK(n_latents=64, **FAST),
            name=given["name"],
            write_site=given["write_site"],
            context=32,
            progress=False,
        )


# ------------------------------------------------------------------ the report


def test_a_report_is_what_its_words_say(model: LiveModel, texts: list[str]) -> None:
    """Each figure again, with whole tensors."""
    sae = train_sae(model, SITE, texts, TopK(n_latents=128, **FAST), context=32, progress=False)
    some = [t[:80] for t in texts[:9]]
    have = sae.report(some, context=32)
    rows = [r for t in some for r in model.prompts.windows(t, 32) if len(r) > 1]
    clean: list[torch.Tensor] = []
    parts: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {
        n: [] for n in ("spliced", "zero", "mean")
    }
    runs = [model.run(row, sites=[SITE]) for row in rows]
    keep = [~(r.masks["special"] | r.masks["massive"])[0] for r in runs]
    x = torch.cat([r[SITE][0][k] for r, k in zip(runs, keep, strict=True)])
    f = sae.encode_dense(x)
    out = sae.decode(f, x)
    centre = x.mean(0)
    assert have["tokens"] == len(x)
    want = {
        "l0": float((f > 0).sum(1).float().mean()),
        "mse": float((out - x).square().mean()),
        "fvu": float((out - x).square().sum() / (x - centre).square().sum()),
        "cosine": float(torch.nn.functional.cosine_similarity(out, x).mean()),
        "l2_ratio": float((out.norm(dim=1) / x.norm(dim=1)).mean()),
        "reconstruction_bias": float(out.square().sum() / (out * x).sum()),
        "dead": float((~(f > 0).any(0)).float().mean()),
        "dense": float(((f > 0).float().mean(0) > 0.1).float().mean()),
    }
    for row, run, kept in zip(rows, runs, keep, strict=True):
        for name, to in (("spliced", None), ("zero", 0.0), ("mean", centre)):

            def change(x: torch.Tensor, to: Any = to, kept: torch.Tensor = kept) -> torch.Tensor:
                new = sae.reconstruct(x) if to is None else torch.zeros_like(x) + to
                return torch.where(kept[:, None], new, x)

            hook = model.hf.get_submodule("model.layers.1").register_forward_hook(
                lambda _, __, out, change=change: change(out)
            )
            try:
                edited = model.run(row)
            finally:
                hook.remove()
            log_q, log_p = (z["logits"][0, :-1].log_softmax(-1) for z in (edited, run))
            after = torch.tensor(row[1:])[:, None]
            parts[name].append((-log_q.gather(1, after), (log_p.exp() * (log_p - log_q)).sum(-1)))
        clean.append(-log_p.gather(1, after))
    ce = torch.cat(clean).mean()
    want["ce"] = float(ce)
    for name, rows_of in parts.items():
        want[f"ce_{name}"] = float(torch.cat([a for a, _ in rows_of]).mean())
        want[f"kl_{name}"] = float(torch.cat([b for _, b in rows_of]).mean())
    for name in ("zero", "mean"):
        gap = want[f"ce_{name}"] - want["ce"]
        want[f"recovered_{name}"] = (want[f"ce_{name}"] - want["ce_spliced"]) / gap
    for name, value in want.items():
        assert have[name] == pytest.approx(value, rel=2e-3, abs=2e-5), name
    frame = have.to_frame()
    assert set(frame.index) == set(have.values)
    assert all(frame["definition"].str.len() > 10)
    figure = have.plot()
    assert sum(len(t.x) for t in figure.data) == int((have.density > 0).sum())
    assert f"1 / {len(x):,} tokens" in str(figure.layout.annotations)
    with pytest.raises(ng.InputError, match="no text to measure"):
        sae.report([""])
