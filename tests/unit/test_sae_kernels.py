"""The fast ways of the TopK autoencoder beside the plain one: the same numbers, in every corner."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from neuroglass.sae import learner as learning
from neuroglass.sae import sparse_linear
from neuroglass.sae.learner import Learner
from neuroglass.sae.recipes import TopK
from neuroglass.sae.sparse_linear import Factors, postponed, top_k_autoencoder

needs_numba = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="the extra `fast` is not installed"
)
WAYS = ["torch", pytest.param("numba", marks=needs_numba)]

# tokens, n_latents, d_in, d_out, k
SHAPES = [
    (1, 37, 16, 16, 1),
    (1, 300, 24, 24, 5),
    (65, 301, 48, 40, 7),
    (130, 1031, 33, 70, 1),
    (33, 129, 64, 64, 129),  # all of them
    (600, 700, 20, 20, 32),  # more than one chunk of tokens
    (70, 4096, 32, 36, 32),
]

# Float32 sums in another order: each of at most some hundred roundings of 6e-8, partly cancelling,
# measured up to 4e-7 of the largest entry. A latent that is chosen wrongly is seen at 1e-3.
TOLERANCE = 1e-5

Given = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
Fast = Any


def drawn(tokens: int, n: int, d_in: int, d_out: int, seed: int = 0) -> Given:
    """z, encoder, bias, decoder."""
    chance = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=chance)

    return normal(tokens, d_in), normal(n, d_in) / d_in**0.5, normal(n) / 10, normal(n, d_out)


def ran(given: Given, k: int, fast: Fast) -> dict[str, torch.Tensor]:
    """The sum, the latents as a matrix, and all gradients of a loss that is not symmetric."""
    leaves = [t.clone().requires_grad_() for t in given]
    z, encoder, bias, decoder = leaves
    made, indices, values = top_k_autoencoder(z, encoder, bias, decoder, k, fast=fast)
    assert indices.dtype == torch.int64
    assert indices.shape == values.shape == (len(z), k)
    assert not indices.requires_grad
    assert not values.requires_grad
    assert all(len(set(row)) == k for row in indices.tolist())
    grads = torch.autograd.grad((made - 1).square().sum(), leaves)
    latents = torch.zeros(len(z), len(encoder)).scatter(1, indices, values)
    names = ("to_z", "to_encoder", "to_bias", "to_decoder")
    return {"made": made.detach(), "latents": latents, **dict(zip(names, grads, strict=True))}


def assert_same(have: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> None:
    for name, right in want.items():
        size = max(float(right.abs().max()), 1e-6)
        off = float((have[name] - right).abs().max()) / size
        assert off < TOLERANCE, f"{name}: {off}"


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


# ------------------------------------------------------------------ outputs and gradients


@pytest.mark.parametrize("fast", WAYS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_outputs_and_gradients_are_those_of_the_plain_way(
    shape: tuple[int, int, int, int, int], fast: Fast
) -> None:
    *sizes, k = shape
    given = drawn(*sizes)
    assert_same(ran(given, k, fast), ran(given, k, False))


@pytest.mark.parametrize("fast", WAYS)
def test_fewer_positive_ones_than_k(fast: Fast) -> None:
    """Three latents can be on; one is just above zero, where bfloat16 may see it below."""
    z, encoder, bias, decoder = drawn(40, 400, 32, 32)
    bias = bias - 100
    bias[[7, 150, 399]] = torch.tensor([20.0, 15.0, 0.001])
    encoder[399] *= 1e-3
    given = (z, encoder, bias, decoder)
    have, want = ran(given, 16, fast), ran(given, 16, False)
    assert 2 < float((want["latents"] > 0).sum(1).float().mean()) < 3
    assert_same(have, want)


@pytest.mark.parametrize("fast", WAYS)
def test_nothing_is_on_where_all_is_zero(fast: Fast) -> None:
    z, encoder, bias, decoder = drawn(9, 100, 16, 16)
    have = ran((z * 0, encoder, bias * 0, decoder), 8, fast)
    for name in ("made", "latents", "to_z", "to_encoder", "to_bias", "to_decoder"):
        assert not bool(have[name].any()), name


@pytest.mark.parametrize("fast", WAYS)
def test_among_equals_any_k_are_right(fast: Fast) -> None:
    z, encoder, _, decoder = drawn(5, 2000, 16, 24)
    given = [z, torch.zeros_like(encoder), torch.full((2000,), 0.7), decoder]
    z, encoder, bias, decoder = (t.requires_grad_() for t in given)
    made, indices, values = top_k_autoencoder(z, encoder, bias, decoder, 12, fast=fast)
    assert all(len(set(row)) == 12 for row in indices.tolist())
    assert bool((values == bias[0]).all())
    wanted = decoder[indices].sum(1) * 0.7
    torch.testing.assert_close(made, wanted)
    made.sum().backward()
    assert bias.grad is not None
    on = torch.bincount(indices.flatten(), minlength=2000)
    torch.testing.assert_close(bias.grad, on * decoder.detach().sum(1))


@pytest.mark.parametrize("fast", WAYS)
@pytest.mark.parametrize("needed", range(4))
def test_one_gradient_alone_is_the_same(fast: Fast, needed: int) -> None:
    given = drawn(20, 90, 16, 24)
    every = ran(given, 4, False)
    leaves = [t.clone().requires_grad_(i == needed) for i, t in enumerate(given)]
    z, encoder, bias, decoder = leaves
    made = top_k_autoencoder(z, encoder, bias, decoder, 4, fast=fast)[0]
    (made - 1).square().sum().backward()
    assert [t.grad is not None for t in leaves] == [i == needed for i in range(4)]
    name = ("to_z", "to_encoder", "to_bias", "to_decoder")[needed]
    found = leaves[needed].grad
    assert found is not None
    assert_same({name: found}, {name: every[name]})


@pytest.mark.parametrize("fast", WAYS)
def test_a_center_is_as_if_subtracted_outside(fast: Fast) -> None:
    """All its gradient is rounded at once: it is the sum of those of the tokens."""
    z, encoder, bias, decoder = drawn(200, 301, 24, 20)
    center = torch.linspace(-1, 1, 24)
    found = []
    for inside in (True, False):
        leaves = [t.clone().requires_grad_() for t in (z, center, encoder, bias, decoder)]
        x, c, e, b, d = leaves
        if inside:
            made = top_k_autoencoder(x, e, b, d, 5, fast=fast, center=c)[0]
        else:
            made = top_k_autoencoder(x - c, e, b, d, 5, fast=False)[0]
        grads = torch.autograd.grad((made - 1).square().sum(), leaves)
        found.append({str(i): t for i, t in enumerate((made.detach(), *grads))})
    assert_same(*found)


@pytest.mark.parametrize("fast", WAYS)
def test_tensors_may_lie_anyhow_in_memory(fast: Fast) -> None:
    given = drawn(20, 90, 16, 24)
    want = ran(given, 4, False)
    leaves = [t.clone().requires_grad_() for t in given]
    z, encoder, bias, decoder = leaves
    spread = torch.stack([z, z], 2)[:, :, 0]
    made = top_k_autoencoder(
        spread, encoder.T.contiguous().T, torch.stack([bias, bias], 1)[:, 0], decoder, 4, fast=fast
    )[0]
    grads = torch.autograd.grad((made - 1).square().sum(), leaves)
    names = ("to_z", "to_encoder", "to_bias", "to_decoder")
    assert_same(dict(zip(names, grads, strict=True)), {n: want[n] for n in names})


@pytest.mark.parametrize("fast", WAYS)
def test_what_is_not_a_number_stays_so(fast: Fast) -> None:
    z, encoder, bias, decoder = drawn(4, 50, 16, 16)
    decoder[:, 3] = torch.nan
    made = top_k_autoencoder(z, encoder, bias, decoder, 4, fast=fast)[0]
    assert bool(made[:, 3].isnan().all())
    assert not bool(made[:, 4:].isnan().any())


# ------------------------------------------------------------------ which way


def test_without_numba_torch_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given = drawn(20, 90, 16, 24)
    monkeypatch.setattr(sparse_linear, "_kernels", lambda: None)
    assert_same(ran(given, 4, True), ran(given, 4, "torch"))
    with pytest.raises(ValueError, match="numba is not installed"):
        ran(given, 4, "numba")


@needs_numba
def test_double_precision_is_left_to_torch() -> None:
    z, encoder, bias, decoder = (t.double() for t in drawn(20, 90, 16, 24))
    made = top_k_autoencoder(z, encoder, bias, decoder, 4, fast=True)[0]
    assert made.dtype == torch.float64
    with pytest.raises(ValueError, match="not float32"):
        top_k_autoencoder(z, encoder, bias, decoder, 4, fast="numba")


@needs_numba
def test_shapes_that_do_not_fit_are_refused() -> None:
    z, encoder, bias, decoder = drawn(20, 90, 16, 24)
    for k, rows in ((91, decoder), (0, decoder), (4, decoder[:50])):
        with pytest.raises(ValueError, match="latents"):
            top_k_autoencoder(z, encoder, bias, rows, k, fast="numba")


# ------------------------------------------------------------------ threads


@needs_numba
def test_the_number_of_threads_changes_no_bit(threads: Callable[[int], None]) -> None:
    given = drawn(600, 700, 40, 40)
    made = []
    for n in (1, 2, 3):
        threads(n)
        made.append(ran(given, 8, "numba"))
    for other in made[1:]:
        assert all(torch.equal(other[name], made[0][name]) for name in made[0])


@needs_numba
def test_two_trainings_at_once_do_not_disturb_each_other(threads: Callable[[int], None]) -> None:
    threads(2)
    inputs = [drawn(600, 300, 32, 32, seed) for seed in range(2)]
    alone = [ran(given, 8, "numba") for given in inputs]
    together: dict[tuple[int, int], dict[str, torch.Tensor]] = {}

    def work(i: int) -> None:
        torch.set_num_threads(2)
        for turn in range(5):
            together[i, turn] = ran(inputs[i], 8, "numba")

    workers = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(together) == 10
    for (i, _), found in together.items():
        assert all(torch.equal(found[name], alone[i][name]) for name in found)


# ------------------------------------------------------------------ the step by rows


@needs_numba
@pytest.mark.parametrize("unit_norm", [True, False])
@pytest.mark.parametrize("more", [True, False], ids=["more", "alone"])
def test_adam_by_rows_is_adam(unit_norm: bool, more: bool) -> None:
    """Three steps on the same gradients.

    A step of Adam divides the gradient by its size, so an entry which the projection leaves near
    zero shows the rounding of the others: 1e-5 beside steps of 1e-2.
    """
    from neuroglass.sae import kernels

    z, encoder, bias, decoder = drawn(200, 150, 24, 20)
    decoder /= decoder.norm(dim=1, keepdim=True)
    bias[3] = -50  # never on: Adam moves it by what it remembers
    want = [t.clone().requires_grad_() for t in (encoder, bias, decoder)]
    have = [t.clone() for t in (encoder, bias, decoder)]
    moments = [(torch.zeros_like(t), torch.zeros_like(t)) for t in have]
    optimiser = torch.optim.Adam(want, lr=1e-2)
    for step in range(1, 4):
        _, indices, values = top_k_autoencoder(z, *drawn(200, 150, 24, 20)[1:], 5, fast=False)
        chance = torch.Generator().manual_seed(step)
        grad = torch.randn(200, 20, generator=chance)
        to_values = torch.randn(200, 5, generator=chance)
        factors = Factors(z, grad, indices, values, to_values)
        extra = [torch.randn(t.shape, generator=chance) if more else None for t in have]
        grads = kernels.multiply(factors, 150)
        for p, g, e in zip(want, grads, extra, strict=True):
            p.grad = g if e is None else g + e
        w = want[2]
        if unit_norm and w.grad is not None:
            w.grad -= (w.grad * w.detach()).sum(1, keepdim=True) * w.detach()
        optimiser.step()
        if unit_norm:
            w.data /= w.data.norm(dim=1, keepdim=True)
        moved = [kernels.Moved(p, *m, e) for p, m, e in zip(have, moments, extra, strict=True)]
        kernels.adam(
            factors, *moved, lr=1e-2, betas=(0.9, 0.999), eps=1e-8, step=step, unit_norm=unit_norm
        )
        z = z.roll(1, 0)
    for p, q, (mean, square) in zip(want, have, moments, strict=True):
        torch.testing.assert_close(q, p.detach(), rtol=1e-5, atol=1e-5)
        state = optimiser.state[p]
        torch.testing.assert_close(mean, state["exp_avg"], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(square, state["exp_avg_sq"], rtol=1e-4, atol=1e-6)


RECIPE = TopK(n_latents=96, k=4, tokens=5_120, batch=256, lr=2e-3)


def data() -> torch.Tensor:
    """[tokens, 24]: sparse sums of 48 directions."""
    chance = torch.Generator().manual_seed(5)
    rows = torch.randn(48, 24, generator=chance)
    on = torch.rand(4096, 48, generator=chance) < 0.05
    return (on * torch.rand(4096, 48, generator=chance)) @ rows


def steps(made: Learner, x: torch.Tensor, n: int) -> list[float]:
    return [made.step(b, b)["fvu"] for b in x.split(256)[made.done : made.done + n]]


def learner(x: torch.Tensor, fast: Fast, recipe: TopK = RECIPE) -> Learner:
    return Learner(recipe, x, x, more=lambda n: (x[:n], x[:n]), fast=fast)


@needs_numba
@pytest.mark.parametrize("dead", [False, True])
def test_a_learner_by_rows_learns_the_same(monkeypatch: pytest.MonkeyPatch, dead: bool) -> None:
    """Also with the auxiliary loss, whose gradients come on top. Twelve steps of rounding."""
    x = data()
    taken: list[int] = []
    monkeypatch.setattr(learning, "_LARGE", 0)
    move = Learner._move_latents

    def noted(self: Learner, factors: Factors) -> None:
        taken.append(1)
        move(self, factors)

    monkeypatch.setattr(Learner, "_move_latents", noted)
    recipe = replace(RECIPE, dead_after=0.0 if dead else 0.05, tokens=51_200)
    found = {}
    for fast in ("numba", False):
        made = learner(x, fast, recipe)
        if dead:
            made.parameters["b_enc"].data[:10] = -5
        found[fast] = steps(made, x, 12)
        norms = made.parameters["W_dec"].detach().norm(dim=1)
        torch.testing.assert_close(norms, torch.ones_like(norms))
    assert len(taken) == 12
    assert found["numba"] == pytest.approx(found[False], rel=1e-3)
    assert found["numba"][-1] < 0.9 * found["numba"][0]


@needs_numba
@pytest.mark.parametrize(("first", "then"), [("numba", "torch"), ("torch", "numba")])
def test_a_checkpoint_goes_on_in_the_other_way(
    monkeypatch: pytest.MonkeyPatch, first: Fast, then: Fast
) -> None:
    monkeypatch.setattr(learning, "_LARGE", 0)
    x = data()
    whole = learner(x, first)
    want = steps(whole, x, 6)
    half = learner(x, first)
    steps(half, x, 3)
    tensors, numbers = half.state()
    rest = learner(x, then)
    rest.restore({name: t.clone() for name, t in tensors.items()}, numbers)
    assert steps(rest, x, 3) == pytest.approx(want[3:], rel=1e-4)
    assert rest.state()[0].keys() == whole.state()[0].keys()


@needs_numba
def test_only_gradients_of_the_parameters_themselves_are_postponed() -> None:
    """What is computed from parameters gets its gradient as ever, and so does a second use."""
    z, encoder, bias, decoder = drawn(20, 90, 16, 24)
    leaves = [t.requires_grad_() for t in (encoder, bias, decoder)]

    def loss(scale: float) -> torch.Tensor:
        made = top_k_autoencoder(z, encoder * scale, bias, decoder, 4, fast="numba")[0]
        return made.square().sum()

    want = torch.autograd.grad(loss(2.0), leaves)
    with postponed(encoder, bias, decoder) as waiting:
        loss(2.0).backward()
    assert waiting.factors is None
    for t, right in zip(leaves, want, strict=True):
        assert t.grad is not None
        assert torch.equal(t.grad, right)
        t.grad = None
    with postponed(encoder, bias, decoder) as waiting:
        for _ in range(2):
            made = top_k_autoencoder(z, encoder, bias, decoder, 4, fast="numba")[0]
            made.square().sum().backward()
    assert waiting.factors is not None
    assert encoder.grad is not None
