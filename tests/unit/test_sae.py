"""Dictionaries as maths, as bases and in a running model, against forwards written out by hand.

What is written out takes one token at a time and only reads settings and weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

import neuroglass as ng
from neuroglass import SAE, Directions, InputError, Latents, LiveModel, Transcoder, load
from neuroglass.sae import dictionary
from neuroglass.sae.spec import InputNorm, Spec, Weights, folding
from tests.unit.conftest import tiny

D, N, WIDE = 6, 12, 32  # WIDE: of the tiny models
IDS, SHORT = [3, 14, 15, 92, 65, 35, 89], [2, 71, 82, 81]
# float32: sums of some tens of numbers of size 1 in another order
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}
# float64: the same sums, with a margin of a thousand
EXACT: dict[str, Any] = {"rtol": 1e-11, "atol": 1e-12}
FELT = 1e-2  # what is to be seen moves the logits by more than this
Load = Callable[..., LiveModel]
Models = dict[str, LiveModel]

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "relu": {},
    "topk": {"k": 3},
    "jumprelu": {"threshold": "each"},
    "batch topk": {"architecture": "jumprelu", "k": 3, "threshold": "one"},
    "gated": {},
    "groupmax": {"k": 4},
}
NORMS: dict[InputNorm, dict[str, Any]] = {
    "none": {},
    "center": {},
    "layer_norm": {},
    "constant_norm": {},
    "constant": {"input_scale": 0.4},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "decoder norms": {"unit_decoder": True},
    "own input bias": {"b_in": True},
    "two scales, skip": {"subtract_b_dec": False, "output_scale": 2.5, "skip": True},
    "another width": {"subtract_b_dec": False, "d_out": 5, "skip": True},
}


def normal(*shape: int, seed: int = 0, size: float = 1.0) -> torch.Tensor:
    made = torch.Generator().manual_seed(1000 * seed + 7 * len(shape) + sum(shape))
    return torch.randn(*shape, generator=made) * size


X = (normal(8, D, seed=5) + 0.7) * torch.tensor([1e-4, 1, 1, 1, 2, 1, 9, 1])[:, None]


def made(
    kind: str = "relu",
    d_in: int = D,
    *,
    d_out: int | None = None,
    n: int = N,
    size: float = 1.0,
    b_in: bool = False,
    skip: bool = False,
    name: str = "mine",
    **settings: Any,
) -> SAE:
    """A random dictionary for vectors of numbers of about `size`."""
    given = {"architecture": kind, **ARCHITECTURES[kind], **settings}
    threshold = given.pop("threshold", None)
    out = d_in if d_out is None else d_out
    spec = Spec(d_in=d_in, n_latents=n, d_out=out, **given)
    t: dict[str, torch.Tensor] = {
        "W_enc": normal(d_in, n, seed=1) / d_in**0.5 / size,
        "W_dec": normal(n, out, seed=3) * torch.linspace(0.2, 2, n)[:, None] * size,
        "b_dec": normal(out, seed=4, size=0.3 * size),
    }
    biases = ("b_gate", "b_mag", "r_mag") if spec.architecture == "gated" else ("b_enc",)
    t |= {b: normal(n, seed=10 + i, size=0.3) for i, b in enumerate(biases)}
    if threshold is not None:
        t["threshold"] = normal(n, seed=6).abs() * 0.5 if threshold == "each" else torch.tensor(0.3)
    if b_in:
        t["b_in"] = normal(d_in, seed=9, size=0.3 * size)
    if skip:
        t["W_skip"] = normal(d_in, out, seed=8) / d_in**0.5
    return (Transcoder if spec.transcodes else SAE)(spec, Weights(**t), name=name)


# ------------------------------------------------------------------ one token, written out


def normed(spec: Spec, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A token as the encoder sees it; what its output is multiplied by; what is added to that."""
    mean = x.sum() / len(x)
    one, zero = x.new_ones(()), x.new_zeros(())
    if spec.input_norm == "center":
        return x - mean, one, mean
    if spec.input_norm == "layer_norm":
        std = ((x - mean) ** 2).sum().div(len(x) - 1).sqrt()
        return (x - mean) / (std + 1e-5), std, mean
    if spec.input_norm == "constant_norm":
        length = (x**2).sum().sqrt() / math.sqrt(len(x))
        return x / length, length, zero
    if spec.input_norm == "constant":
        return x * spec.input_scale, one / (spec.output_scale or spec.input_scale), zero
    return x, one, zero


def encoded(sae: SAE, x: torch.Tensor) -> torch.Tensor:
    """Latents of one token."""
    spec, w = sae.spec, sae.weights.map(lambda t: t.to(x))
    z = normed(spec, x)[0]
    if w.b_in is not None:
        z = z - w.b_in
    elif spec.subtract_b_dec:
        z = z - w.b_dec
    unit = w.W_dec.norm(dim=1) if spec.unit_decoder else torch.ones(spec.n_latents).to(x)
    if w.b_gate is not None and w.b_mag is not None and w.r_mag is not None:
        h = (z @ (w.W_enc * w.r_mag.exp()) + w.b_mag) * unit
        on = z @ w.W_enc + w.b_gate > 0
    else:
        assert w.b_enc is not None
        h = (z @ w.W_enc + w.b_enc) * unit
        on = h > (0.0 if w.threshold is None else w.threshold)
    f = torch.where(on & (h > 0), h, 0.0)
    ranked = f.tolist()
    if spec.architecture == "topk":
        kept = sorted(range(len(f)), key=lambda i: -ranked[i])[: spec.k]
    elif spec.architecture == "groupmax":
        size = len(f) // int(spec.k or 1)
        groups = [range(i, i + size) for i in range(0, len(f), size)]
        kept = [max(group, key=lambda i: ranked[i]) for group in groups]
    else:
        kept = list(range(len(f)))
    mask = torch.zeros(len(f), dtype=torch.bool)
    mask[kept] = True
    return torch.where(mask, f, 0.0)


def decoded(sae: SAE, f: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """What the latents of one token write, x being what was encoded."""
    spec, w = sae.spec, sae.weights.map(lambda t: t.to(x))
    unit = w.W_dec.norm(dim=1) if spec.unit_decoder else torch.ones(spec.n_latents).to(x)
    out = (f / unit) @ w.W_dec + w.b_dec
    _, times, plus = normed(spec, x)
    out = out * times + plus
    return out if w.W_skip is None else out + x @ w.W_skip


def each(token: Callable[..., torch.Tensor], sae: SAE, *xs: torch.Tensor) -> torch.Tensor:
    """A function of one token, at every token of [..., width]."""
    flat = [x.reshape(-1, x.shape[-1]) for x in xs]
    rows = [token(sae, *tokens) for tokens in zip(*flat, strict=True)]
    return torch.stack(rows).view(*xs[0].shape[:-1], -1)


def rebuilt(sae: SAE, x: torch.Tensor) -> torch.Tensor:
    return each(decoded, sae, each(encoded, sae, x), x)


# ------------------------------------------------------------------ maths


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_latents_and_reconstruction_equal_a_forward_written_out(
    kind: str, norm: InputNorm, variant: str
) -> None:
    sae = made(kind, input_norm=norm, **(NORMS[norm] | VARIANTS[variant]))
    f64 = each(encoded, sae, X.double())
    out64 = each(decoded, sae, f64, X.double())
    assert 0.1 < float((f64 > 0).double().mean()) < 0.9
    for dtype, bound in ((torch.float32, CLOSE), (torch.float64, EXACT)):
        x, f, out = X.to(dtype), f64.to(dtype), out64.to(dtype)
        torch.testing.assert_close(sae.encode_dense(x), f, **bound)
        torch.testing.assert_close(sae.encode(x).dense(), f, **bound)
        torch.testing.assert_close(sae.encode_dense(x, [7, 0, 3]), f[:, [7, 0, 3]], **bound)
        torch.testing.assert_close(sae.decode(f, x), out, **bound)
        torch.testing.assert_close(sae.decode(Latents.from_dense(f), x), out, **bound)
        torch.testing.assert_close(sae.reconstruct(x), out, **bound)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_leading_dimensions_stay_and_may_be_empty(kind: str) -> None:
    sae = made(kind, d_out=5, subtract_b_dec=False, skip=True, unit_decoder=True)
    flat, few = sae.encode_dense(X), [5, 1]
    for lead in ((8,), (2, 4), (2, 1, 4), (0,), (2, 0), ()):
        x = X[0] if not lead else X[: math.prod(lead)].view(*lead, D)
        want = flat[: math.prod(lead)].view(*lead, N)
        sparse = sae.encode(x)
        assert sparse.shape == (*lead, N)
        assert sparse.n_tokens == math.prod(lead)
        torch.testing.assert_close(sae.encode_dense(x), want, **CLOSE)
        torch.testing.assert_close(sparse.dense(), want, **CLOSE)
        torch.testing.assert_close(sparse.of(5), want[..., 5], **CLOSE)
        torch.testing.assert_close(sae.activations(x, few), want[..., few], **CLOSE)
        assert sae.encode_dense(x, []).shape == (*lead, 0)
        out = sae.reconstruct(X)[: math.prod(lead)].view(*lead, 5)
        torch.testing.assert_close(sae.reconstruct(x), out, **CLOSE)
        torch.testing.assert_close(sae.decode(want, x), out, **CLOSE)
        assert sae.scale(x).shape == lead


def test_latents_are_in_the_order_of_tokens_and_never_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sae = made("topk")
    whole = sae.encode(X)
    assert len(whole) == int((sae.encode_dense(X) != 0).sum())
    assert whole.value.all()
    place = whole.token * N + whole.index
    assert (place.diff() > 0).all()
    # a text too long for one piece is encoded in several
    monkeypatch.setattr(dictionary, "_CHUNK", 3 * N)
    parts = sae.encode(X)
    assert torch.equal(parts.token, whole.token)
    assert torch.equal(parts.index, whole.index)
    torch.testing.assert_close(parts.value, whole.value, **CLOSE)
    torch.testing.assert_close(sae.encode_dense(X), whole.dense(), **CLOSE)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_where_nothing_is_on_only_the_bias_is_written(kind: str) -> None:
    sae = made(kind)
    low = {
        b: torch.full((N,), -99.0)
        for b in ("b_enc", "b_gate")
        if getattr(sae.weights, b, None) is not None
    }
    off = SAE(sae.spec, replace(sae.weights, **low))
    assert not len(off.encode(X))  # topk has fewer than k where fewer are positive
    assert torch.equal(off.reconstruct(X), sae.weights.b_dec.expand(8, D))


class Products(TorchFunctionMode):
    """Notes how many columns each matrix had that something was multiplied by."""

    def __init__(self) -> None:
        super().__init__()
        self.columns: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.__name__ in {"matmul", "__matmul__", "mm", "addmm", "linear", "einsum"}:
            self.columns.append(args[1].shape[-1])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_few_latents_are_computed_without_the_others(kind: str) -> None:
    sae = made(kind, unit_decoder=True)
    # in topk all compete, in groupmax those of a group: 4, 5 and 10 are in two groups of three
    needed = {"topk": N, "groupmax": 6}.get(kind, 3)
    with Products() as seen:
        sae.activations(X, [10, 4, 5])
    assert seen.columns == [needed]


def test_16_bits_are_computed_in_32() -> None:
    sae = made("jumprelu", input_norm="layer_norm")
    half = SAE(sae.spec, sae.weights.map(lambda t: t.bfloat16()))
    wide = SAE(sae.spec, half.weights.map(lambda t: t.float()))
    x = X.bfloat16()
    assert half.encode(x).value.dtype == half.reconstruct(x).dtype == torch.float32
    assert torch.equal(half.reconstruct(x), wide.reconstruct(x.float()))
    few = half.encode_dense(x, [1, 2])
    torch.testing.assert_close(few, wide.encode_dense(x.float())[:, [1, 2]], **CLOSE)
    assert half[3].direction.dtype == torch.float32


@pytest.mark.parametrize(
    ("kind", "norm"),
    [*((kind, "layer_norm") for kind in ARCHITECTURES), *(("relu", norm) for norm in NORMS)],
)
def test_gradients_are_finite_differences(kind: str, norm: InputNorm) -> None:
    """By gradcheck, in float64 and away from thresholds."""
    sae = made(kind, input_norm=norm, unit_decoder=kind == "topk", skip=True, **NORMS[norm])
    x = X[1:3].double().requires_grad_()

    def ways(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return sae.reconstruct(x), sae.decode(sae.encode_dense(x), x), sae.encode(x).of(5)

    assert torch.autograd.gradcheck(ways, x)


@pytest.mark.parametrize("norm", NORMS)
def test_vectors_and_rows_of_zeros_give_numbers(norm: InputNorm) -> None:
    sae = made("topk", input_norm=norm, unit_decoder=True, **NORMS[norm])
    sae.weights.W_dec[3] = 0
    x = torch.zeros(2, D, requires_grad=True)
    out = sae.reconstruct(x)
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert out.isfinite().all()
    assert grad.isfinite().all()
    assert not sae.direction(3).any()


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_one_unit_of_a_latent_writes_its_direction_times_the_scale(
    norm: InputNorm, unit: bool
) -> None:
    # two scales, of which the output's counts
    options = NORMS[norm] | {"output_scale": 2.5, "subtract_b_dec": False}
    sae = made(input_norm=norm, unit_decoder=unit, **options)
    x, row = X.double(), sae.weights.W_dec[7]
    f = sae.encode_dense(x)
    more = f + torch.eye(N)[7]
    wrote = sae.decode(more, x) - sae.decode(f, x)
    torch.testing.assert_close(sae.direction(7), row / row.norm() if unit else row, **CLOSE)
    want = sae.scale(x)[:, None] * sae.direction(7).double()
    torch.testing.assert_close(wrote, want, **CLOSE)  # the direction is in float32


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_folding_scales_and_norms_into_the_weights_changes_nothing(
    kind: str, norm: InputNorm
) -> None:
    for variant in ("plain", "decoder norms", "own input bias"):
        sae = made(kind, input_norm=norm, **(NORMS[norm] | VARIANTS[variant]))
        spec, factors = folding(sae.spec, sae.weights)
        assert bool(factors) == (norm == "constant" or variant == "decoder norms")
        tensors = {n: getattr(sae.weights, n) * factor for n, factor in factors.items()}
        folded = SAE(spec, replace(sae.weights, **tensors))
        assert not folding(folded.spec, folded.weights)[1]
        torch.testing.assert_close(folded.encode_dense(X), sae.encode_dense(X), **CLOSE)
        torch.testing.assert_close(folded.reconstruct(X), sae.reconstruct(X), **CLOSE)
        assert folded.fingerprint == sae.fingerprint
        other = replace(folded.weights, b_dec=folded.weights.b_dec + 1)
        assert SAE(spec, other).fingerprint != sae.fingerprint


@pytest.mark.parametrize("kind", ["relu", "jumprelu", "batch topk", "gated", "groupmax"])
def test_a_prefix_has_the_first_latents_and_their_values(kind: str) -> None:
    sae = made(kind, groups=(3, 3, 6), unit_decoder=True)
    f = sae.encode_dense(X)
    for n, groups in ((3, (3,)), (6, (3, 3)), (12, (3, 3, 6))):
        part = sae.prefix(n)
        assert part.spec.groups == groups
        torch.testing.assert_close(part.encode_dense(X), f[:, :n], **CLOSE)
        alone = torch.where(torch.arange(N) < n, f, 0)
        torch.testing.assert_close(part.reconstruct(X), sae.decode(alone), **CLOSE)


# ------------------------------------------------------------------ as a basis


@pytest.fixture(scope="module")
def models() -> Iterator[Models]:
    kinds = ("llama", "gpt2", "gemma2", "opt", "gpt_neox")
    found = {kind: load(tiny(kind)) for kind in kinds}
    yield found
    for model in found.values():
        model.close()


def on(
    model: LiveModel,
    kind: str = "relu",
    read: str = "resid_post.1",
    write: str | None = None,
    **options: Any,
) -> SAE:
    """A random dictionary that fits a site of the model."""
    size = float(model.run(IDS, sites=[read])[read].std())
    if write is not None:
        options |= {"d_out": model.width(write), "write_site": write}
    sae = made(kind, model.width(read), n=24, size=size, read_site=read, **options)
    return sae.attach(model)


@pytest.mark.parametrize("site", ["resid_post.1", "head_out.1", "neurons.0", "embed"])
def test_a_feature_is_a_column_of_the_latents_of_its_site(site: str, models: Models) -> None:
    model = models["llama"]
    sae = on(model, "topk", site, input_norm="layer_norm")
    x = model.run([IDS, SHORT], sites=[site])[site]
    x = x.flatten(2) if site == "head_out.1" else x
    f = each(encoded, sae, x)
    i = int(f.sum((0, 1)).argmax())  # one that is on
    feature = sae[i]
    torch.testing.assert_close(feature.activations(x), f[..., i], **CLOSE)
    torch.testing.assert_close(sae.encode_dense(x), f, **CLOSE)
    assert feature.id == f"{model.name}/{site}/mine/{i}"
    assert str(feature.read_site) == str(feature.write_site) == site
    assert feature == sae[i]
    assert feature.model is model
    assert torch.equal(feature.direction, sae.weights.W_dec[i])


def test_a_dictionary_is_its_features_in_order(models: Models) -> None:
    sae = on(models["llama"])
    assert len(sae) == len(list(sae)) == sae.n_features == 24
    assert [f.index for f in sae][:3] == [0, 1, 2]
    assert list(sae)[5] == sae[5]


def test_a_direction_is_carried_to_the_residual_stream(models: Models) -> None:
    model = models["llama"]
    sae = on(model, read="neurons.1")
    matrix: Any = model.hf.get_submodule("model.layers.1.mlp.down_proj")
    want = matrix.weight.detach() @ sae.weights.W_dec[7]
    torch.testing.assert_close(sae[7].to_residual(), want, **CLOSE)


def test_attaching_leaves_the_dictionary_as_it_was(models: Models) -> None:
    sae = made(d_in=WIDE, read_site="blocks.1.hook_resid_post")
    there = sae.attach(models["llama"])
    assert str(there.read_site) == str(there.write_site) == "resid_post.1"
    assert str(sae.attach(models["llama"], site="resid_mid.0").write_site) == "resid_mid.0"
    assert sae.spec.read_site == "blocks.1.hook_resid_post"
    with pytest.raises(InputError, match="not attached"):
        _ = sae.model


# ------------------------------------------------------------------ in the running model

BLOCKS = {
    "llama": "model.layers",
    "gemma2": "model.layers",
    "gpt2": "transformer.h",
    "opt": "model.decoder.layers",
    "gpt_neox": "gpt_neox.layers",
}
Hook = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@contextmanager
def hooked(hf: Any, hooks: dict[str, Hook]) -> Iterator[None]:
    """Plain torch hooks: module -> (input, output) -> new output."""

    def hook(change: Hook) -> Any:
        def after(_: Any, args: Any, kwargs: Any, out: Any) -> Any:
            read = args[0] if args else kwargs["hidden_states"]
            if isinstance(out, tuple):
                return (change(read, out[0]), *out[1:])
            return change(read, out)

        return after

    handles = [
        hf.get_submodule(path).register_forward_hook(hook(change), with_kwargs=True)
        for path, change in hooks.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def by_hook(model: LiveModel, path: str, change: Hook, ids: Sequence[int] = IDS) -> torch.Tensor:
    with hooked(model.hf, {path: change}), torch.no_grad():
        logits: torch.Tensor = model.hf(input_ids=torch.tensor([ids]), use_cache=False).logits
    return logits


def logits(model: LiveModel, *edits: Any, ids: Any = IDS) -> torch.Tensor:
    found = model.run(ids, edits=edits).logits
    assert found is not None
    return found


def far(a: torch.Tensor, b: torch.Tensor) -> bool:
    return float((a - b).abs().max()) > FELT


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_splice_that_keeps_its_error_leaves_the_logits(kind: str, models: Models) -> None:
    """Up to the rounding of one sum and one difference in float32."""
    model = models[kind]
    torch.testing.assert_close(logits(model, on(model).splice()), logits(model), **CLOSE)


@pytest.mark.parametrize("kind", BLOCKS)
def test_without_its_error_a_splice_is_a_hook_that_writes_the_reconstruction(
    kind: str, models: Models
) -> None:
    model = models[kind]
    sae = on(model, "topk")
    have = logits(model, sae.splice(keep_error=False))
    want = by_hook(model, f"{BLOCKS[kind]}.1", lambda _, x: rebuilt(sae, x))
    torch.testing.assert_close(have, want, **CLOSE)
    assert far(have, logits(model))


SPLICED: dict[str, dict[str, Any]] = {
    "topk in layer norm": {"kind": "topk", "input_norm": "layer_norm"},
    "jumprelu in decoder norms": {"kind": "jumprelu", "unit_decoder": True},
    "gated, centred": {"kind": "gated", "input_norm": "center"},
    "groupmax at unit length": {"kind": "groupmax", "input_norm": "constant_norm"},
    "batch topk, scaled": {"kind": "batch topk", "input_norm": "constant", "input_scale": 0.5},
    "relu with a skip": {"kind": "relu", "skip": True},
}


@pytest.mark.parametrize("what", SPLICED)
def test_every_kind_of_dictionary_splices(what: str, models: Models) -> None:
    model = models["llama"]
    sae = on(model, **SPLICED[what])
    have = logits(model, sae.splice(keep_error=False))
    want = by_hook(model, "model.layers.1", lambda _, x: rebuilt(sae, x))
    torch.testing.assert_close(have, want, **CLOSE)
    assert far(have, logits(model))
    torch.testing.assert_close(logits(model, sae.splice()), logits(model), **CLOSE)


def test_heads_side_by_side_splice(models: Models) -> None:
    model = models["llama"]
    sae = on(model, read="head_out.1")
    out: Any = model.hf.get_submodule("model.layers.1.self_attn.o_proj")
    have = logits(model, sae.splice(keep_error=False))
    want = by_hook(
        model, "model.layers.1.self_attn.o_proj", lambda z, _: rebuilt(sae, z) @ out.weight.T
    )
    torch.testing.assert_close(have, want, **CLOSE)
    torch.testing.assert_close(logits(model, sae.splice()), logits(model), **CLOSE)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("skip", [True, False])
def test_a_transcoder_takes_the_place_of_the_mlp(skip: bool, kind: str, models: Models) -> None:
    model = models[kind]
    sae = on(model, "batch topk", "mlp_in.1", "mlp_out.1", skip=skip, subtract_b_dec=False)
    assert isinstance(sae, Transcoder)
    path = f"{BLOCKS[kind]}.1.mlp"
    have = logits(model, sae.splice(keep_error=False))
    torch.testing.assert_close(have, by_hook(model, path, lambda x, _: rebuilt(sae, x)), **CLOSE)
    assert far(have, logits(model))
    torch.testing.assert_close(logits(model, sae.splice()), logits(model), **CLOSE)
    # a feature reads before the MLP and writes after it
    have = logits(model, ng.Clamp(sae[5], 4.0))
    want = by_hook(
        model,
        path,
        lambda x, y: y + (4 - each(encoded, sae, x)[..., 5:6]) * sae.weights.W_dec[5],
    )
    torch.testing.assert_close(have, want, **CLOSE)
    assert far(have, logits(model))


@pytest.mark.parametrize("keep_error", [True, False])
def test_latents_changed_in_a_splice_move_the_site_along_their_rows(
    keep_error: bool, models: Models
) -> None:
    model = models["llama"]
    sae = on(model)

    def change(f: torch.Tensor) -> torch.Tensor:
        assert f.shape == (1, 7, 24)
        f = f.clone()
        f[..., 3] = 5.0
        f[:, 2:, 4] = 0.0
        return f

    def hook(_: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        f, rows = each(encoded, sae, x), sae.weights.W_dec
        assert f[:, 2:, 4].any()
        start = x if keep_error else each(decoded, sae, f, x)
        late = (torch.arange(7) >= 2)[None, :, None]
        return start + (5 - f[..., 3:4]) * rows[3] - late * f[..., 4:5] * rows[4]

    have = logits(model, sae.splice(keep_error=keep_error, change=change))
    torch.testing.assert_close(have, by_hook(model, "model.layers.1", hook), **CLOSE)
    assert far(have, logits(model, sae.splice(keep_error=keep_error)))


@pytest.mark.parametrize("what", SPLICED)
def test_an_edit_of_a_feature_adds_the_difference_times_its_row(what: str, models: Models) -> None:
    """The rest of the site stays, and what a normalisation divided by is multiplied back."""
    model = models["llama"]
    sae = on(model, **SPLICED[what])
    other = model.run(IDS[::-1], sites=["resid_post.1"])
    theirs = each(encoded, sae, other["resid_post.1"])
    found = each(encoded, sae, model.run(IDS, sites=["resid_post.1"])["resid_post.1"])
    i = int((found.count_nonzero(1) + theirs.count_nonzero(1)).argmax())  # often on
    cases: list[tuple[Any, Callable[[torch.Tensor], Any]]] = [
        (ng.Clamp(sae[i], 4.0), lambda _: 4.0),
        (ng.Ablate(sae[i]), lambda _: 0.0),
        (ng.Scale(sae[i], -3.0), lambda f: -3 * f),
        (ng.Add(sae[i], 2.0, strength=1.5), lambda f: f + 3),
        (ng.Ablate(sae[i], "mean", other), lambda _: theirs[..., i : i + 1].mean()),
        (ng.Ablate(sae[i], "patch", other), lambda _: theirs[..., i : i + 1]),
    ]
    row = sae.weights.W_dec[i]
    row = row / row.norm() if sae.spec.unit_decoder else row
    for edit, new in cases:

        def hook(
            _: torch.Tensor, x: torch.Tensor, new: Callable[[torch.Tensor], Any] = new
        ) -> torch.Tensor:
            f = each(encoded, sae, x)[..., i : i + 1]
            size = torch.stack([normed(sae.spec, token)[1] for token in x[0]])
            moved: torch.Tensor = x + (new(f) - f) * size[None, :, None] * row
            return moved

        have = logits(model, edit)
        torch.testing.assert_close(have, by_hook(model, "model.layers.1", hook), **CLOSE)
        assert far(have, logits(model))


def test_clamps_of_one_dictionary_come_from_one_encoding(models: Models) -> None:
    model = models["gpt2"]
    sae = on(model)

    def hook(_: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        f, rows = each(encoded, sae, x), sae.weights.W_dec
        return x + (4 - f[..., 2:3]) * rows[2] + (3 - f[..., 9:10]) * rows[9]

    edits = [ng.Clamp(sae[2], 4.0), ng.Clamp(sae[9], 3.0)]
    want = by_hook(model, "transformer.h.1", hook)
    for order in (edits, edits[::-1]):
        torch.testing.assert_close(logits(model, *order), want, **CLOSE)
    # one after the other would be something else
    x = model.run(IDS, sites=["resid_post.1"])["resid_post.1"]
    moved = x + (4 - sae[2].activations(x)[..., None]) * sae[2].direction
    assert far(sae[9].activations(moved), sae[9].activations(x))


def test_an_edit_after_a_splice_reads_what_the_splice_wrote(models: Models) -> None:
    model = models["llama"]
    sae = on(model)

    def hook(_: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        x = rebuilt(sae, x)
        return x + (4 - each(encoded, sae, x)[..., 3:4]) * sae.weights.W_dec[3]

    have = logits(model, sae.splice(keep_error=False), ng.Clamp(sae[3], 4.0))
    torch.testing.assert_close(have, by_hook(model, "model.layers.1", hook), **CLOSE)


def test_a_row_is_spliced_alike_alone_and_beside_a_longer_one(models: Models) -> None:
    model = models["llama"]
    edit = on(model, "topk", input_norm="layer_norm").splice(keep_error=False)
    both = logits(model, edit, ids=[IDS, SHORT])
    torch.testing.assert_close(both[0], logits(model, edit)[0], **CLOSE)
    torch.testing.assert_close(both[1, :4], logits(model, edit, ids=SHORT)[0], **CLOSE)


def test_a_spliced_model_writes_what_whole_passes_predict(load_tiny: Load) -> None:
    model = load_tiny("llama", eos_token_id=None)
    edit = on(model, "topk").splice(keep_error=False)
    (written,) = model.generate(IDS, edits=[edit], max_new_tokens=5).finish().tokens
    for i, token in enumerate(written):
        assert int(logits(model, edit, ids=IDS + written[:i])[0, -1].argmax()) == token
    assert [written] != model.generate(IDS, max_new_tokens=5).finish().tokens


def test_in_16_bits_a_splice_that_keeps_its_error_changes_no_bit() -> None:
    """Its sums are in float32, whose rounding bfloat16 does not see."""
    model = load(tiny("llama").bfloat16())
    try:
        assert torch.equal(logits(model, on(model).splice()), logits(model))
    finally:
        model.close()


@pytest.mark.model
def test_the_real_model_spliced_equals_a_plain_hook(smollm2: LiveModel) -> None:
    """In float32, over twenty layers, to logits of size 30: about 4e-5 apart."""
    ids = smollm2.tokenize("The capital of France is Paris.")[0][0].tolist()
    sae = made("topk", 576, n=64, read_site="resid_post.10", input_norm="layer_norm")
    sae = sae.attach(smollm2)
    plain = logits(smollm2, ids=ids)
    bound: dict[str, Any] = {"rtol": 1e-5, "atol": 3e-4}
    torch.testing.assert_close(logits(smollm2, sae.splice(), ids=ids), plain, **bound)
    have = logits(smollm2, sae.splice(keep_error=False), ids=ids)
    want = by_hook(smollm2, "model.layers.10", lambda _, x: rebuilt(sae, x), ids)
    torch.testing.assert_close(have, want, **bound)
    assert far(have, plain)


# ------------------------------------------------------------------ gradients


@pytest.fixture(scope="module")
def double() -> Iterator[LiveModel]:
    """GPT-2 in float64 (it alone computes nothing in float32), where rounding hides no mistake."""
    model = load(tiny("gpt2").double())
    yield model
    model.close()


def number(logits: torch.Tensor) -> torch.Tensor:
    """Something that listens to every logit."""
    weight = torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view(logits.shape)
    value: torch.Tensor = (logits * weight).sin().sum()
    return value


def objective(run: ng.Run) -> torch.Tensor:
    assert run.logits is not None
    return number(run.logits)


def gradient_by_hook(model: LiveModel, path: str, change: Hook) -> torch.Tensor:
    """Of ``number`` by resid_post.0, with a later module's output changed."""
    leaf: list[torch.Tensor] = []

    def tap(_: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        leaf.append(x.detach().requires_grad_())
        return leaf[0]

    with hooked(model.hf, {"transformer.h.0": tap, path: change}), torch.enable_grad():
        value = number(model.hf(input_ids=torch.tensor([IDS]), use_cache=False).logits)
    return torch.autograd.grad(value, leaf[0])[0]


GRADIENTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{what: ("transformer.h.1", options) for what, options in SPLICED.items()},
    "transcoder": (
        "transformer.h.1.mlp",
        {"kind": "jumprelu", "read": "mlp_in.1", "write": "mlp_out.1", "subtract_b_dec": False},
    ),
    "transcoder with a skip": (
        "transformer.h.1.mlp",
        {"read": "mlp_in.1", "write": "mlp_out.1", "subtract_b_dec": False, "skip": True},
    ),
}


@pytest.mark.parametrize("keep_error", [True, False])
@pytest.mark.parametrize("what", GRADIENTS)
def test_gradients_go_through_encoder_and_decoder_and_not_the_error(
    what: str, keep_error: bool, double: LiveModel
) -> None:
    path, options = GRADIENTS[what]
    sae = on(double, **options)

    def change(read: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        out = rebuilt(sae, x if path == "transformer.h.1" else read)
        return out + (x - out).detach() if keep_error else out

    grads = double.grad(
        objective, IDS, sites=["resid_post.0"], edits=[sae.splice(keep_error=keep_error)]
    )
    want = gradient_by_hook(double, path, change)
    torch.testing.assert_close(grads["resid_post.0"], want, rtol=1e-8, atol=1e-10)
    free = double.grad(objective, IDS, sites=["resid_post.0"])
    assert far(grads["resid_post.0"], free["resid_post.0"])
    if keep_error:
        assert grads.value == pytest.approx(free.value, rel=1e-10)


def test_a_gradient_through_a_splice_is_a_finite_difference(double: LiveModel) -> None:
    """Central: off by eps² times the third derivative."""
    edit = on(double, "gated", input_norm="layer_norm").splice(keep_error=False)
    grads = double.grad(objective, IDS, sites=["resid_post.0"], edits=[edit])
    v, eps = normal(WIDE).double() / 10, 1e-5
    up, down = (
        float(number(logits(double, ng.Add("resid_post.0", s * eps * v), edit))) for s in (1, -1)
    )
    slope = float((grads["resid_post.0"] * v).sum())
    assert abs(slope) > FELT
    assert (up - down) / (2 * eps) == pytest.approx(slope, rel=1e-5)


def test_gradients_go_through_what_a_splice_changes(double: LiveModel) -> None:
    """A latent that is set passes no gradient on; a scaled one passes it scaled."""
    sae = on(double)
    scale = torch.linspace(0, 2, 24, dtype=torch.float64)

    def change(_: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        f = each(encoded, sae, x)
        error = (x - each(decoded, sae, f, x)).detach()
        return each(decoded, sae, f * scale, x) + error

    edit = sae.splice(change=lambda f: f * scale)
    grads = double.grad(objective, IDS, sites=["resid_post.0"], edits=[edit])
    want = gradient_by_hook(double, "transformer.h.1", change)
    torch.testing.assert_close(grads["resid_post.0"], want, rtol=1e-8, atol=1e-10)
    fixed = sae.splice(change=torch.ones_like)
    with pytest.raises(InputError, match="does not depend"):
        double.grad(objective, IDS, sites=["resid_post.0"], edits=[fixed])


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda s: s.encode(torch.ones(2, 5)), "mine reads vectors of 6 numbers, not 5"),
        (lambda s: s.encode_dense(torch.ones(2, 5)), "of 6 numbers, not 5"),
        (lambda s: s.decode(torch.ones(2, 11)), "mine has 12 latents, not 11"),
        (lambda s: s.decode(torch.ones(2, 12), torch.ones(2, 5)), "of 6 numbers, not 5"),
        (lambda s: s.encode_dense(X, [3, 12]), "no latent 12. They go from 0 to 11"),
        (lambda s: s.encode_dense(X, [-1]), "no latent -1"),
        (lambda s: s.encode_dense(X, [1.5]), "no latent 1.5"),
        (lambda s: s.prefix(0), "no prefix of 0 latents"),
        (lambda s: s.prefix(13), "no prefix of 13 latents"),
        (lambda s: s.prefix(5), r"no prefix of 5 latents. Prefixes end at \[4, 12\]"),
        (lambda s: s.read_site, r"mine is not attached to a model. sae = sae.attach\(model\)"),
        (lambda s: s[3].id, "not attached"),
        (lambda s: s[3].to_residual(), "not attached"),
        (lambda s: SAE(s.spec, s.weights, name="a/b"), "'a/b' has a slash in it"),
    ],
)
def test_what_does_not_fit_a_dictionary_is_refused(call: Callable[[SAE], Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        call(made(groups=(4, 8)))


def test_a_groupmax_prefix_that_would_cut_a_group_is_refused() -> None:
    with pytest.raises(InputError, match="groups of 3"):
        made("groupmax").prefix(8)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"input_norm": "center"}, "normalised per token"),
        ({"input_norm": "layer_norm"}, "normalised per token"),
        ({"input_norm": "constant_norm"}, "normalised per token"),
        ({"skip": True}, "has a skip"),
    ],
)
def test_decoding_asks_for_the_input_where_it_needs_it(options: dict[str, Any], says: str) -> None:
    sae = made(**options)
    with pytest.raises(InputError, match=f"{says}.*decode\\(latents, x\\)"):
        sae.decode(sae.encode(X))


@pytest.mark.parametrize("index", [24, -1, True, 1.0, "3", slice(2), None])
def test_a_feature_that_is_not_there_is_refused(index: Any, models: Models) -> None:
    sae = on(models["llama"])
    with pytest.raises(InputError, match="mine at resid_post.1 has no feature.*from 0 to 23"):
        sae[index]


@pytest.mark.parametrize("index", [24, -1])
def test_the_direction_of_a_feature_that_is_not_there_is_refused(
    index: int, models: Models
) -> None:
    with pytest.raises(InputError, match=f"has no latent {index}.*from 0 to 23"):
        on(models["llama"]).direction(index)
    model = models["llama"]
    rows = Directions(model, "resid_post.1", torch.eye(32)[:24])
    for basis in (rows, model.neuron(1, 0).basis):
        with pytest.raises(InputError, match=f"has no feature {index if index < 0 else 56}"):
            basis.direction(index if index < 0 else 56)


@pytest.mark.parametrize(
    ("options", "site", "says"),
    [
        ({}, None, r"does not say at which site it reads.*site='resid_post\.5'"),
        ({"d_out": 56, "read_site": "mlp_in.1"}, None, "at which site it writes"),
        ({"read_site": "resid_post.7"}, None, "no layer 7"),
        ({}, "residpost.1", "residpost.1.*resid_post.1"),
        ({}, "pattern.1", "pattern"),
        ({}, "neurons.1", "mine reads vectors of 32 numbers; neurons.1 of LlamaForCausalLM has 56"),
        (
            {"d_out": 56, "read_site": "mlp_in.1", "write_site": "mlp_out.1"},
            None,
            "mine writes vectors of 56 numbers; mlp_out.1 of LlamaForCausalLM has 32",
        ),
        ({"model": "gpt2"}, "embed", "was trained on gpt2, and this is LlamaForCausalLM"),
        ({"fingerprint": "00ff"}, "embed", "other weights.*fingerprint 00ff.*any_model=True"),
    ],
)
def test_attaching_where_it_does_not_belong_is_refused(
    options: dict[str, Any], site: str | None, says: str, models: Models
) -> None:
    sae = made(d_in=WIDE, subtract_b_dec=False, **options)
    with pytest.raises(InputError, match=says):
        sae.attach(models["llama"], site=site)


def test_a_dictionary_goes_to_its_own_model_however_that_is_spelt(models: Models) -> None:
    model = models["llama"]
    for said, fingerprint in (
        ("someone/llama_for-causalLM", None),
        ("another", model.fingerprint),  # the weights count
    ):
        sae = made(d_in=WIDE, model=said, fingerprint=fingerprint)
        assert sae.attach(model, site="embed").model is model
    stranger = made(d_in=WIDE, model="gpt2", fingerprint="00ff")
    assert stranger.attach(model, site="embed", any_model=True).model is model


def test_a_splice_that_does_not_fit_the_model_is_refused(models: Models) -> None:
    model = models["llama"]
    sae = on(model)
    back = made(
        d_in=WIDE, read_site="mlp_out.1", write_site="mlp_in.1", subtract_b_dec=False
    ).attach(model)
    cases: list[tuple[Any, str]] = [
        (made(d_in=WIDE).splice(), "not attached"),
        (on(models["gpt2"]).splice(), "belongs to GPT2LMHeadModel.*not to LlamaForCausalLM"),
        (ng.Clamp(on(models["gpt2"])[3], 1.0), "belongs to GPT2LMHeadModel"),
        (back.splice(), "reads mlp_out.1 to write mlp_in.1"),
        (sae.splice(change=lambda f: f[..., :5]), "mine has 24 latents, not 5"),
    ]
    for edit, says in cases:
        with pytest.raises(InputError, match=says):
            logits(model, edit)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"architecture": "top-k"}, "no architecture 'top-k'.*'topk'"),
        ({"input_norm": "layernorm"}, "no input_norm 'layernorm'.*'layer_norm'"),
        ({"architecture": "topk"}, "topk needs k from 1 to 12, not None"),
        ({"architecture": "topk", "k": 13}, "not 13"),
        ({"architecture": "groupmax", "k": 0}, "groupmax needs k from 1 to 12, not 0"),
        ({"architecture": "groupmax", "k": 5}, "12 latents do not make 5 groups"),
        ({"groups": (4, 4)}, r"groups \[4, 4\] sum to 8, not to 12"),
    ],
)
def test_settings_that_make_no_dictionary_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Spec(**{"architecture": "relu", "d_in": D, "n_latents": N, "d_out": D, **settings})


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        ("relu", {"b_enc": None}, "relu dictionary needs b_enc"),
        ("gated", {"r_mag": None}, "gated dictionary needs r_mag"),
        ("gated", {"b_enc": torch.ones(N)}, "b_enc has no meaning in a gated"),
        ("topk", {"threshold": torch.ones(N)}, "threshold has no meaning in a topk"),
        ("jumprelu", {"threshold": torch.ones(1)}, r"threshold has shape \[1\], not \[12\]"),
        ("relu", {"W_enc": torch.ones(N, D)}, r"W_enc has shape \[12, 6\].*looks transposed"),
        ("relu", {"W_skip": torch.ones(D, 5)}, r"W_skip has shape \[6, 5\], not \[6, 6\]"),
        ("relu", {"b_in": torch.ones(5)}, r"b_in has shape \[5\], not \[6\]"),
        ("relu", {"W_dec": torch.ones(N, D).long()}, "W_dec holds torch.int64"),
    ],
)
def test_weights_against_the_settings_are_refused(
    kind: str, change: dict[str, Any], says: str
) -> None:
    sae = made(kind)
    with pytest.raises(InputError, match=says):
        SAE(sae.spec, replace(sae.weights, **change))


def test_an_output_bias_of_another_width_is_not_taken_from_the_input() -> None:
    with pytest.raises(InputError, match="width of another site"):
        made(d_out=5)
    made(d_out=5, b_in=True)  # one of its own is
