"""Edits against forwards written out by hand, row by row; bad input; and what is left afterwards."""
# ruff: noqa: E501 - the tables of cases and of bad input have one entry a line

from __future__ import annotations

import _thread
import dataclasses
import gc
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch

from neuroglass import Cancelled, InputError, LiveModel, Run, load
from neuroglass.model.basis import Directions
from neuroglass.model.edits import Ablate, Add, Clamp, Edit, Scale
from neuroglass.model.gradients import Logit
from neuroglass.model.sites import PER_HEAD, SITES
from tests.unit.conftest import tiny
from tests.unit.written_out import Change, forward

LONG, SHORT = [3, 14, 15, 92, 65, 35, 89], [2, 71, 82, 81]
ROWS = [LONG, SHORT]  # SHORT is padded beside LONG
REFERENCE = [[9, 8, 7, 6, 5, 4, 3, 2, 1], [50, 60, 70, 80, 90, 11]]
N_PROMPT = 3
ALL_POSITIONS: list[Any] = ["all", "prompt", "generated", 2, -2, [0, -1], [3, 1]]
Load = Callable[..., LiveModel]
Models = dict[str, LiveModel]
# float32 rounding: other sums in another order, of numbers of size 1, through three layers
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}
FELT = 1e-3  # an edit that moves no logit by this much (100 times CLOSE) tests nothing


@pytest.fixture(scope="module")
def models() -> Iterator[Models]:
    """One model of each kind, for tests that only run it."""
    made = {kind: load(tiny(kind)) for kind in ("llama", "gpt2", "mistral", "qwen3")}
    yield made
    for model in made.values():
        model.close()


def vector(width: int, seed: int = 0, size: float = 1.0) -> torch.Tensor:
    return torch.randn(width, generator=torch.Generator().manual_seed(seed)) * size


def hooks_of(hf: torch.nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in hf.modules())


def plain(hf: Any, ids: Sequence[int]) -> torch.Tensor:
    """Hugging Face's own logits, called from this thread with nothing of ours in the way."""
    with torch.no_grad():
        logits: torch.Tensor = hf(torch.tensor([list(ids)]), use_cache=False).logits
    return logits


@pytest.fixture
def intact() -> Iterator[Callable[[LiveModel], None]]:
    """Remember models; afterwards they are what they were, to the bit, and carry nothing of ours."""
    before: list[tuple[LiveModel, torch.Tensor, Any, list[bool]]] = []

    def remember(model: LiveModel) -> None:
        hf: Any = model.hf
        assert hooks_of(hf) == 0
        grads = [p.requires_grad for p in hf.parameters()]
        before.append((model, plain(hf, LONG), hf.config._attn_implementation, grads))

    yield remember
    assert before
    for model, logits, implementation, grads in before:
        hf = model.hf
        assert hooks_of(hf) == 0
        assert hf.config._attn_implementation == implementation
        assert [p.requires_grad for p in hf.parameters()] == grads
        assert all(p.grad is None for p in hf.parameters())
        assert model.current_edits() == []
        assert torch.equal(plain(hf, LONG), logits)
        assert torch.equal(model.run(LONG)["logits"], logits)


# -- the oracle: what an edit does to one row, in a loop over its tokens ---------------------------

Token = Callable[[torch.Tensor, int], torch.Tensor]  # a token's value and its position -> new value


def places(positions: Any, n: int, n_prompt: int) -> list[int]:
    """The tokens that `positions` means in a row of `n`."""
    if isinstance(positions, str):
        spans = {"all": (0, n), "prompt": (0, n_prompt), "generated": (n_prompt, n)}
        return list(range(*spans[positions]))
    given = [positions] if isinstance(positions, int) else positions
    return [p if p >= 0 else p + n_prompt for p in given]


def change(site: str, token: Token, positions: Any, n_prompt: int) -> Change:
    """The change to a row's value at a site (for a pattern a token's value is [heads, to])."""

    def change(x: torch.Tensor) -> torch.Tensor:
        out = x.clone()
        view = out.movedim(1, 0) if site.startswith("pattern") else out
        old = x.movedim(1, 0) if site.startswith("pattern") else x
        for t in places(positions, len(view), n_prompt):
            view[t] = token(old[t].clone(), t)
        return out

    return change


@dataclass
class Case:
    """An edit, and what it does to one token by hand."""

    site: str
    edit: Callable[..., Edit]  # takes positions=
    token: Token


def put(index: Any, value: Callable[[torch.Tensor, int], Any]) -> Token:
    """Set `x[index]` to `value(x, position)`."""

    def token(x: torch.Tensor, t: int) -> torch.Tensor:
        new = value(x, t)
        x = x.clone()
        x[index] = new
        return x

    return token


def along(v: torch.Tensor, value: Callable[[torch.Tensor, int], Any]) -> Token:
    """Set the coordinate along `v` (of the flattened token) to `value(coordinate, position)`."""

    def token(x: torch.Tensor, t: int) -> torch.Tensor:
        flat = x.flatten()
        f = (flat @ v) / (v @ v)
        new: torch.Tensor = flat + (value(f, t) - f) * v
        return new.view_as(x)

    return token


def kept_tokens(run: Run, site: str) -> torch.Tensor:
    """A reference's tokens at a site, padding left out, [tokens, ...]."""
    assert not run.masks["massive"].any()
    return torch.cat([run[site][i, : len(row)] for i, row in enumerate(REFERENCE)])


def special_cases(model: LiveModel, reference: Run) -> dict[str, Case]:
    kv = model.heads_at("k.1")
    other, v32 = reference, vector(32, 1)
    flat = Directions(model, "resid_post.1", torch.stack([vector(32, 5), vector(32, 6)]))
    heads = Directions(model, "head_out.1", vector(32, 7)[None])
    queries = Directions(model, "q.1", vector(32, 8)[None], name="queries")
    head, neuron = model.head(1, 2), model.neuron(1, 7)
    mean = {s: kept_tokens(other, s).mean(0) for s in ("resid_mid.1", "head_out.1", "neurons.1")}
    along_mean = (kept_tokens(other, "resid_post.1") @ flat.vectors[1]).mean() / (
        flat.vectors[1] @ flat.vectors[1]
    )
    two = torch.stack([vector(8, 2, 3.0), vector(8, 3, 3.0)])

    def patched(site: str, index: Any = ...) -> Token:
        return put(index, lambda x, t: other[site][0, t].view_as(x)[index])

    return {
        # heads: of queries, keys (key-value heads), values, z and the pattern
        "add to two heads' queries": Case(
            "q.1",
            lambda **p: Add("q.1", two, heads=[3, 0], **p),
            put([3, 0], lambda x, _: x[[3, 0]] + two),
        ),
        "one vector for two heads": Case(
            "head_out.1",
            lambda **p: Add("head_out.1", two[0], -2.0, heads=[1, 2], **p),
            put([1, 2], lambda x, _: x[[1, 2]] - 2 * two[0]),
        ),
        "scale a key head": Case(
            "k.1",
            lambda **p: Scale("k.1", -4.0, heads=[kv - 1], **p),
            put(kv - 1, lambda x, _: -4 * x[kv - 1]),
        ),
        "zero a value head": Case(
            "v.1",
            lambda **p: Ablate("v.1", heads=[0], **p),
            put(0, lambda x, _: torch.zeros_like(x[0])),
        ),
        "scale a value head": Case(
            "v.1",
            lambda **p: Scale("v.1", 4.0, heads=[kv - 1], **p),
            put(kv - 1, lambda x, _: 4 * x[kv - 1]),
        ),
        "scale a head's pattern": Case(
            "pattern.1",
            lambda **p: Scale("pattern.1", 3.0, heads=[1], **p),
            put(1, lambda x, _: 3 * x[1]),
        ),
        "zero a pattern": Case(
            "pattern.1", lambda **p: Ablate("pattern.1", **p), lambda x, _: torch.zeros_like(x)
        ),
        "zero a Head": Case(
            "head_out.1",
            lambda **p: Ablate(head, **p),
            put(2, lambda x, _: torch.zeros_like(x[2])),
        ),
        "add to a Head": Case(
            "head_out.1",
            lambda **p: Add(head, two[1], 0.5, **p),
            put(2, lambda x, _: x[2] + 0.5 * two[1]),
        ),
        "mean-ablate a Head": Case(
            "head_out.1",
            lambda **p: Ablate(head, "mean", other, **p),
            put(2, lambda *_: mean["head_out.1"][2]),
        ),
        "patch a Head": Case(
            "head_out.1",
            lambda **p: Ablate(head, "patch", one_row(other), **p),
            patched("head_out.1", 2),
        ),
        # coordinates
        "add to coordinates": Case(
            "resid_post.1",
            lambda **p: Add("resid_post.1", torch.tensor([3.0, -4.0]), features=[30, 2], **p),
            put([30, 2], lambda x, _: x[[30, 2]] + torch.tensor([3.0, -4.0])),
        ),
        "scale neurons": Case(
            "neurons.1",
            lambda **p: Scale("neurons.1", -30.0, features=[7, 9], **p),
            put([7, 9], lambda x, _: -30 * x[[7, 9]]),
        ),
        "clamp neurons, each its value": Case(
            "neurons.1",
            lambda **p: Clamp("neurons.1", [5.0, -6.0], features=[7, 9], **p),
            put([7, 9], lambda *_: torch.tensor([5.0, -6.0])),
        ),
        "clamp coordinates of queries": Case(
            "q.1",
            lambda **p: Clamp("q.1", 4.0, features=[0, 17], **p),
            lambda x, _: put([0, 17], lambda *_: 4.0)(x.flatten(), 0).view_as(x),
        ),
        "mean-ablate neurons": Case(
            "neurons.1",
            lambda **p: Ablate("neurons.1", "mean", other, features=list(range(40)), **p),
            put(slice(0, 40), lambda *_: mean["neurons.1"][:40]),
        ),
        # features: a neuron's handle, directions
        "add a neuron": Case(
            "neurons.1",
            lambda **p: Add(neuron, strength=7.0, **p),
            put(7, lambda x, _: x[7] + 7),
        ),
        "clamp a neuron by its id": Case(
            "neurons.1", lambda **p: Clamp(neuron.id, -5.0, **p), put(7, lambda *_: -5.0)
        ),
        "add a direction": Case(
            "resid_post.1",
            lambda **p: Add(flat[0], strength=-1.5, **p),
            lambda x, _: x - 1.5 * flat.vectors[0],
        ),
        "scale a direction": Case(
            "resid_post.1",
            lambda **p: Scale(flat[1], 8.0, **p),
            along(flat.vectors[1], lambda f, _: 8 * f),
        ),
        "clamp a direction": Case(
            "resid_post.1",
            lambda **p: Clamp(flat[1], 2.0, **p),
            along(flat.vectors[1], lambda *_: 2.0),
        ),
        "zero a direction": Case(
            "resid_post.1",
            lambda **p: Ablate(flat[1], **p),
            along(flat.vectors[1], lambda *_: 0.0),
        ),
        "mean-ablate a direction": Case(
            "resid_post.1",
            lambda **p: Ablate(flat[1], "mean", other, **p),
            along(flat.vectors[1], lambda *_: along_mean),
        ),
        "set a direction to a given mean": Case(
            "resid_post.1",
            lambda **p: Ablate(flat[1], "mean", 1.5, **p),
            along(flat.vectors[1], lambda *_: 1.5),
        ),
        "patch a direction": Case(
            "resid_post.1",
            lambda **p: Ablate(flat[0], "patch", one_row(other), **p),
            along(
                flat.vectors[0],
                lambda _, t: (
                    other["resid_post.1"][0, t] @ flat.vectors[0] / flat.vectors[0].square().sum()
                ),
            ),
        ),
        "clamp a direction of all heads": Case(
            "head_out.1",
            lambda **p: Clamp(heads[0], 3.0, **p),
            along(heads.vectors[0], lambda *_: 3.0),
        ),
        "clamp a direction of the queries": Case(
            "q.1",
            lambda **p: Clamp(queries[0], 4.0, **p),
            along(queries.vectors[0], lambda *_: 4.0),
        ),
        # references at whole sites
        "mean-ablate": Case(
            "resid_mid.1",
            lambda **p: Ablate("resid_mid.1", "mean", other, **p),
            lambda *_: mean["resid_mid.1"],
        ),
        "given mean": Case(
            "mlp_out.1", lambda **p: Ablate("mlp_out.1", "mean", v32, **p), lambda *_: v32
        ),
        "patch the stream": Case(
            "resid_mid.1",
            lambda **p: Ablate("resid_mid.1", "patch", one_row(other), **p),
            patched("resid_mid.1"),
        ),
        "patch keys": Case(
            "k.1", lambda **p: Ablate("k.1", "patch", one_row(other), **p), patched("k.1")
        ),
        "patch a pattern": Case(
            "pattern.1",
            lambda **p: Ablate("pattern.1", "patch", one_row(other), **p),
            lambda x, t: other["pattern.1"][0, :, t, : x.shape[1]],
        ),
        "patch a head's pattern": Case(
            "pattern.1",
            lambda **p: Ablate("pattern.1", "patch", one_row(other), heads=[2], **p),
            put(2, lambda x, t: other["pattern.1"][0, 2, t, : x.shape[1]]),
        ),
    }


def one_row(run: Run) -> Run:
    """Only the first row of a run: a reference for any number of rows."""
    return dataclasses.replace(
        run,
        tokens=run.tokens[:1],
        mask=run.mask[:1],
        masks={name: m[:1] for name, m in run.masks.items()},
        sites={name: x[:1] for name, x in run.sites.items()},
        logits=None,
    )


@lru_cache
def unedited(model: LiveModel, row: tuple[int, ...]) -> torch.Tensor:
    with torch.no_grad():
        return forward(model.hf, row).logits


REFERRED = ["resid_mid.1", "resid_post.1", "head_out.1", "neurons.1", "k.1", "pattern.1"]


def check(
    model: LiveModel,
    edits: Sequence[Edit],
    changes: Callable[[int], dict[str, Change]],
    rows: Sequence[list[int]] = ROWS,
    *,
    n_prompt: int = N_PROMPT,
) -> float:
    """Edited rows, one of them padded, equal each row alone by hand; how far the edit moved them."""
    got = model.run(rows, edits=edits, n_prompt=n_prompt)["logits"]
    moved = 0.0
    for i, row in enumerate(rows):
        with torch.no_grad():
            want = forward(model.hf, row, changes(min(n_prompt, len(row)))).logits
            moved = max(moved, float((want - unedited(model, tuple(row))).abs().max()))
        torch.testing.assert_close(got[i, : len(row)], want, **CLOSE)
    return moved


def sites_of(model: LiveModel) -> list[str]:
    return ["embed", *(f"{n}.1" for n in SITES if n not in {"embed", "logits"}), "logits"]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen3"])
@pytest.mark.parametrize("name", list(SITES))
def test_add_scale_and_zero_at_a_whole_site_equal_a_forward_written_out(
    name: str, kind: str, models: Models
) -> None:
    model = models[kind]
    site = name if name in {"embed", "logits"} else f"{name}.1"
    v = None if name == "pattern" else vector(model.width(site), size=2.0)
    for positions in ALL_POSITIONS:
        edits: list[tuple[Edit, Token]] = [
            (Scale(site, -3.0, positions=positions), lambda x, _: -3 * x),
            (Ablate(site, positions=positions), lambda x, _: torch.zeros_like(x)),
        ]
        if v is not None:
            add = Add(site, v, 0.7, positions=positions)
            edits.append((add, lambda x, _: x + 0.7 * v.view_as(x)))
        for edit, token in edits:
            moved = check(
                model,
                [edit],
                lambda n, token=token, p=positions: {site: change(site, token, p, n)},  # type: ignore[misc]
            )
            # what is added to all keys of a row changes no softmax
            cancels = name == "k" and isinstance(edit, Add) and positions == "all"
            assert moved > FELT or cancels, edit


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral"])
def test_heads_coordinates_features_and_references_equal_a_forward_written_out(
    kind: str, models: Models
) -> None:
    model = models[kind]
    reference = model.run(REFERENCE, sites=REFERRED)
    wrong = []
    chosen = ALL_POSITIONS if kind == "llama" else ["all", [0, -1]]
    for name, case in special_cases(model, reference).items():
        for positions in chosen:

            def changes(n: int, case: Case = case, p: Any = positions) -> dict[str, Change]:
                return {case.site: change(case.site, case.token, p, n)}

            try:
                moved = check(model, [case.edit(positions=positions)], changes)
                assert moved > FELT
            except Exception as error:
                wrong.append(f"{name} at {positions!r}: {str(error).splitlines()[:4]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_pairs_of_a_pattern_are_set_after_the_softmax_without_renormalising(
    kind: str, models: Models
) -> None:
    model = models[kind]
    reference = model.run(REFERENCE[0], sites=["pattern.1"])
    pairs = [(3, 1), (-1, -2), (2, 2)]  # -1 is the prompt's last token, position 2: (2, 1)
    spots = [(3, 1), (2, 1), (2, 2)]

    def at_pairs(heads: Sequence[int], value: Callable[[torch.Tensor, int, int], Any]) -> Change:
        def changed(x: torch.Tensor) -> torch.Tensor:
            out = x.clone()
            for s, t in spots:
                for h in heads:
                    out[h, s, t] = value(x[h, s, t], s, t)
            return out

        return changed

    def patched(x: torch.Tensor) -> torch.Tensor:
        out = x.clone()
        for s, t in spots:
            out[:, s, t] = reference["pattern.1"][0, :, s, t]
        return out

    every = range(4)
    cases: list[tuple[Edit, Change]] = [
        (Ablate("pattern.1", pairs=pairs), at_pairs(every, lambda *_: 0.0)),
        (Ablate("pattern.1", heads=[3], pairs=pairs), at_pairs([3], lambda *_: 0.0)),
        (Ablate(model.head(1, 2), pairs=pairs), at_pairs([2], lambda *_: 0.0)),
        (Scale("pattern.1", 5.0, pairs=pairs), at_pairs(every, lambda a, *_: 5 * a)),
        (Clamp("pattern.1", 0.75, pairs=pairs), at_pairs(every, lambda *_: 0.75)),
        (
            Ablate("pattern.1", "patch", reference, pairs=pairs),
            patched,
        ),
    ]
    for edit, changed in cases:
        assert check(model, [edit], lambda _, c=changed: {"pattern.1": c}) > FELT  # type: ignore[misc]
    run = model.run(LONG, sites=["pattern.1"], edits=[Ablate("pattern.1", pairs=[(3, 1)])])
    before = model.run(LONG, sites=["pattern.1"])["pattern.1"]
    assert torch.equal(run["pattern.1"][0, :, 3, 1], torch.zeros(4))
    lost = 1 - run["pattern.1"][0, :, 3].sum(-1)
    # a sum of four float32 probabilities
    torch.testing.assert_close(lost, before[0, :, 3, 1], rtol=1e-5, atol=1e-6)


def test_pairs_and_positions_together_mean_both(models: Models) -> None:
    model = models["llama"]
    edit = Ablate("pattern.1", pairs=[(3, 1), (2, 0)], positions=[2])
    run = model.run(LONG, sites=["pattern.1"], edits=[edit])
    before = model.run(LONG, sites=["pattern.1"])["pattern.1"].clone()
    before[:, :, 2, 0] = 0
    torch.testing.assert_close(run["pattern.1"], before, rtol=0, atol=0)  # nothing is computed anew


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_edits_at_one_site_apply_in_list_order(kind: str, models: Models) -> None:
    model, v = models[kind], vector(32)
    add: Edit = Add("resid_mid.1", v)
    scale: Edit = Scale("resid_mid.1", 3.0)
    one = check(model, [add, scale], lambda _: {"resid_mid.1": lambda x: 3 * (x + v)})
    two = check(model, [scale, add], lambda _: {"resid_mid.1": lambda x: 3 * x + v})
    assert one > FELT
    assert two > FELT
    a, b = (model.run(LONG, edits=e)["logits"] for e in ([add, scale], [scale, add]))
    assert (a - b).abs().max() > FELT


def test_many_edits_at_many_sites_listed_in_any_order(models: Models) -> None:
    model, v = models["llama"], vector(32)
    edits: list[Edit] = [  # not in the order of the pass
        Scale("resid_post.2", 2.0),
        Ablate("pattern.1", pairs=[(3, 0)]),
        Add("embed", v, positions=1),
        Ablate("v.1", heads=[1]),
        Clamp(model.neuron(0, 3), 4.0),
        Add("resid_pre.1", v),
        Scale("resid_post.0", 0.5),
    ]

    def changes(_: int) -> dict[str, Change]:
        def pair(x: torch.Tensor) -> torch.Tensor:
            x = x.clone()
            x[:, 3, 0] = 0
            return x

        return {
            "resid_post.2": lambda x: 2 * x,
            "pattern.1": pair,
            "embed": change("embed", lambda x, _: x + v, 1, 0),
            "v.1": change("v.1", put(1, lambda x, _: 0 * x[1]), "all", 0),
            "neurons.0": change("neurons.0", put(3, lambda *_: 4.0), "all", 0),
            "resid_pre.1": lambda x: x + v,
            "resid_post.0": lambda x: 0.5 * x,
        }

    assert check(model, edits, changes) > FELT


def test_sites_that_share_a_tensor_see_each_others_edits_in_the_order_of_the_pass(
    models: Models,
) -> None:
    model, v = models["gpt2"], vector(32)
    edits: list[Edit] = [Scale("mlp_out.1", 3.0), Add("mlp_proj.1", v), Scale("resid_pre.2", 0.5)]
    edits.append(Add("resid_post.1", v))
    run = model.run(
        LONG, edits=edits, sites=["mlp_proj.1", "mlp_out.1", "resid_post.1", "resid_pre.2"]
    )

    def changes(_: int) -> dict[str, Change]:
        return {
            "mlp_proj.1": lambda x: x + v,
            "mlp_out.1": lambda x: 3 * x,
            "resid_post.1": lambda x: x + v,
            "resid_pre.2": lambda x: 0.5 * x,
        }

    assert check(model, edits, changes) > FELT
    with torch.no_grad():
        want = forward(model.hf, LONG, changes(0)).sites
    for site in run:
        torch.testing.assert_close(run[site][0], want[site], **CLOSE)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_captured_site_shows_what_the_edit_left(kind: str, models: Models) -> None:
    model = models[kind]
    for name in SITES:
        site = name if name in {"embed", "logits"} else f"{name}.1"
        for edit, factor in (
            (Scale(site, -2.0, positions=[1, 3]), -2.0),
            (Ablate(site, positions=[1, 3]), 0.0),
        ):
            before, after = (model.run(LONG, sites=[site], edits=e)[site] for e in ([], [edit]))
            want = before.clone()
            rows = want.movedim(2, 1) if name == "pattern" else want
            rows[:, [1, 3]] *= factor
            # captured before anything else happens: the same numbers
            assert torch.equal(after, want), site


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt", "gemma2", "phi3", "olmo2"])
@pytest.mark.parametrize("rows", [[LONG], ROWS], ids=["one row", "padded"])
def test_an_edit_between_attention_and_mlp_changes_the_residual_stream_itself(
    kind: str, rows: list[list[int]], load_tiny: Load
) -> None:
    model, v = load_tiny(kind), vector(32)
    sites = ["resid_mid.1", "mlp_in.1", "mlp_out.1", "resid_post.1"]
    before, after = (
        model.run(rows, sites=sites, edits=e) for e in ([], [Add("resid_mid.1", v, positions=2)])
    )
    want = before["resid_mid.1"].clone()
    want[:, 2] += v
    assert torch.equal(after["resid_mid.1"], want)
    assert torch.equal(after["resid_post.1"], after["resid_mid.1"] + after["mlp_out.1"])
    for site in ("mlp_in.1", "mlp_out.1"):
        assert (after[site] - before[site])[:, 2].abs().max() > FELT
        assert torch.equal(after[site][:, :2], before[site][:, :2])


@pytest.mark.parametrize("kind", ["opt", "gemma2", "gemma3", "phi3", "olmo2", "gpt_neox"])
def test_module_sites_of_other_families_equal_a_plain_torch_hook(
    kind: str, load_tiny: Load
) -> None:
    model = load_tiny(kind)
    taps = model.family.taps
    with_hooks = [n for n in taps if n != "resid_mid"]  # its edit also changes the stream
    for name in with_hooks:
        site = f"{name}.1"
        v = vector(model.width(site), size=3.0)
        module = model.family.block(model.hf, 1, taps[name].path)

        def edited(x: torch.Tensor, v: torch.Tensor = v) -> torch.Tensor:
            flat = x.reshape(-1, x.shape[-1]).clone().view(len(ROWS), -1, x.shape[-1])
            flat[:, 1] += v
            return flat.view(x.shape)

        if taps[name].at == "input":

            def before(_: Any, args: Any, kwargs: Any) -> Any:
                if args:
                    return (edited(args[0]), *args[1:]), kwargs
                return args, kwargs | {"hidden_states": edited(kwargs["hidden_states"])}

            handle = module.register_forward_pre_hook(before, with_kwargs=True)
        else:

            def after(_: Any, __: Any, out: Any) -> Any:
                return (edited(out[0]), *out[1:]) if isinstance(out, tuple) else edited(out)

            handle = module.register_forward_hook(after)
        ids, mask = model.tokenize(ROWS)
        with torch.no_grad():
            want = model.hf(ids, attention_mask=mask.long(), use_cache=False).logits[mask]
        handle.remove()
        untouched, got = (
            model.run(ROWS, edits=e)["logits"][mask] for e in ([], [Add(site, v, positions=1)])
        )
        assert (got - untouched).abs().max() > FELT, site
        # the same kernels on the same numbers
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


# -- references ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_patching_everything_from_another_run_gives_its_logits(kind: str, models: Models) -> None:
    model = models[kind]
    other = model.run([REFERENCE[0][:7], REFERENCE[1][:4]], sites=["resid_post.2", "embed"])
    for site in ("resid_post.2", "embed"):
        got = model.run(ROWS, edits=[Ablate(site, "patch", other)])
        mask = got.mask
        assert torch.equal(got["logits"][mask], other["logits"][mask]), site


def test_patching_a_head_from_the_unedited_run_undoes_what_an_earlier_edit_did(
    models: Models,
) -> None:
    model = models["llama"]
    clean = model.run(LONG, sites=["resid_mid.1"])
    edits: list[Edit] = [Add("resid_pre.0", vector(32)), Ablate("resid_mid.1", "patch", clean)]
    torch.testing.assert_close(model.run(LONG, edits=edits)["logits"], clean["logits"], **CLOSE)
    assert (model.run(LONG, edits=edits[:1])["logits"] - clean["logits"]).abs().max() > FELT


@pytest.mark.parametrize("text", [LONG, LONG[:4]])
def test_a_patched_pattern_never_looks_ahead_nor_at_padding(
    text: list[int], models: Models
) -> None:
    model = models["llama"]
    short = model.run(REFERENCE[0][:3], sites=["pattern.1"])  # shorter than the text
    edit = Ablate("pattern.1", "patch", short, positions=[0, 1, 2])
    run = model.run([LONG, text], edits=[edit], sites=["pattern.1"])
    want = torch.zeros(4, 3, 7)
    want[:, :, :3] = short["pattern.1"][0]
    for row in (0, 1):
        assert torch.equal(run["pattern.1"][row, :, :3], want)


def test_mean_leaves_massive_activations_and_padding_out(load_tiny: Load) -> None:
    model = load_tiny()
    with torch.no_grad():
        model.hf.model.embed_tokens.weight[92] *= 1e4
    reference = model.run(ROWS, sites=["resid_post.1"])
    assert reference.masks["massive"].nonzero().tolist() == [[0, 3]]
    x = reference["resid_post.1"]
    keep = reference.mask.clone()
    keep[0, 3] = False
    run = model.run(
        SHORT, sites=["resid_post.1"], edits=[Ablate("resid_post.1", "mean", reference)]
    )
    # a mean of ten float32 vectors
    torch.testing.assert_close(
        run["resid_post.1"][0], x[keep].mean(0).expand(4, -1), rtol=1e-5, atol=1e-6
    )


def drawn(
    model: LiveModel, rows: Any, reference: Run, site: str = "resid_post.1", **kw: Any
) -> Any:
    """Which token of the reference each token got."""
    x = model.run(rows, sites=[site], edits=[Ablate(site, "resample", reference, **kw)])[site]
    table = reference[site][reference.mask].flatten(1)
    distance = (x.flatten(2)[:, :, None] - table).abs().amax(-1)
    assert torch.equal(distance.amin(-1), torch.zeros(x.shape[:2]))  # each is one of them, exactly
    return distance.argmin(-1)


def test_resampling_depends_on_seed_and_position_only(models: Models) -> None:
    model = models["llama"]
    sites = ["resid_post.1", "v.2", "neurons.0"]
    reference = model.run(REFERENCE, sites=sites)
    first = drawn(model, LONG, reference, seed=3)
    assert torch.equal(first, drawn(model, LONG, reference, seed=3))
    assert not torch.equal(first, drawn(model, LONG, reference, seed=4))
    assert len(first.unique()) > 2
    # a longer text, another text, a batch
    assert torch.equal(first, drawn(model, [*LONG, *SHORT], reference, seed=3)[:, :7])
    assert torch.equal(first[:, :4], drawn(model, SHORT, reference, seed=3))
    assert torch.equal(first[0], drawn(model, [LONG, SHORT], reference, seed=3)[0])
    for site in sites:  # one token for all edits of a seed
        assert torch.equal(first, drawn(model, LONG, reference, site, seed=3))
    # every token of the reference has its chance
    many = [drawn(model, LONG, reference, seed=s) for s in range(40)]
    assert len(torch.stack(many).unique()) == sum(map(len, REFERENCE))


def test_clamps_of_one_basis_read_the_same_value(models: Models) -> None:
    """DESIGN §8: f from one encode of the read site, all clamps of a dictionary together."""
    model = models["llama"]
    v = torch.stack([vector(32, 1), vector(32, 1) + vector(32, 2)])  # far from orthogonal
    basis = Directions(model, "resid_post.1", v)
    x = model.run(LONG, sites=["resid_post.1"])["resid_post.1"]
    f = x @ (v / v.square().sum(1, keepdim=True)).T
    want = x + (2.0 - f[..., :1]) * v[0] + (-1.0 - f[..., 1:]) * v[1]
    edits = [Clamp(basis[0], 2.0), Clamp(basis[1], -1.0)]
    run = model.run(LONG, sites=["resid_post.1"], edits=edits)
    torch.testing.assert_close(run["resid_post.1"], want, **CLOSE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_clamped_neuron_has_its_value_whatever_was_there(dtype: torch.dtype) -> None:
    model = load(tiny().to(dtype))
    huge = Scale("neurons.1", 1e5)
    run = model.run(LONG, sites=["neurons.1"], edits=[huge, Clamp(model.neuron(1, 7), 0.25)])
    assert run["neurons.1"].abs().max() > 1e3
    assert torch.equal(run["neurons.1"][0, :, 7], torch.full((7,), 0.25, dtype=dtype))
    model.close()


# -- the real model --------------------------------------------------------------------------------


@pytest.mark.model
def test_edits_of_the_real_model_equal_a_forward_written_out(smollm2: LiveModel) -> None:
    model = smollm2
    rows = [
        model.tokenize("The Eiffel Tower stands in the city of")[0][0].tolist(),
        model.tokenize("When Mary and John went to the store, John gave a drink to")[0][0].tolist(),
    ]
    other = model.run("Paris and Rome are the names of two old cities in the south and north of it.",
                      sites=["resid_post.12", "k.9"])  # fmt: skip
    v, d = vector(576, 1, 2.0), vector(576, 2)
    basis = Directions(model, "resid_mid.14", d[None])
    cases: list[tuple[str, Edit, Token]] = [
        ("resid_post.10", Add("resid_post.10", v, 3.0, positions=-2), lambda x, _: x + 3 * v),
        ("resid_mid.14", Clamp(basis[0], 40.0, positions=[1, 2]), along(d, lambda *_: 40.0)),
        ("v.3", Scale("v.3", -4.0, heads=[2]), put(2, lambda x, _: -4 * x[2])),
        ("head_out.7", Ablate(model.head(7, 8)), put(8, lambda x, _: 0 * x[8])),
        ("k.9", Ablate("k.9", "patch", other, heads=[0]), put(0, lambda _, t: other["k.9"][0, t, 0])),
        ("neurons.5", Clamp(model.neuron(5, 77), 30.0), put(77, lambda *_: 30.0)),
        ("pattern.6", Scale("pattern.6", 2.0, heads=[4]), put(4, lambda x, _: 2 * x[4])),
        ("resid_post.12", Ablate("resid_post.12", "mean", other, positions=3),
         lambda *_: other["resid_post.12"][0][~other.masks["massive"][0]].mean(0)),
    ]  # fmt: skip
    clean = model.run(rows)["logits"]
    for number, (site, edit, token) in enumerate(cases):
        got = model.run(rows, edits=[edit])["logits"]
        i = number % 2  # the padded row and the other one by turns: a forward by hand takes long
        n = len(rows[i])
        positions = edit.positions  # type: ignore[attr-defined]
        with torch.no_grad():
            want = forward(model.hf, rows[i], {site: change(site, token, positions, n)}).logits
        # float32 rounding through 30 layers with activations of size 1e4; logits are about 20
        torch.testing.assert_close(got[i, :n], want, rtol=1e-3, atol=5e-3)
        assert (got[i, :n] - clean[i, :n]).abs().max() > 0.05, site


@pytest.mark.model
def test_steering_the_real_model_with_a_difference_of_texts_moves_its_words(
    smollm2: LiveModel,
) -> None:
    model = smollm2
    at = "resid_post.15"
    a, b = (
        model.run(t, sites=[at])[at][0, -1]
        for t in ("I love this, it is great", "I hate this, it is awful")
    )
    prompt = "I went to see the film and it was"
    good, bad = (model.tokenizer(" " + w)["input_ids"][0] for w in ("great", "terrible"))  # type: ignore[misc]

    def preference(strength: float) -> float:
        logits = model.run(prompt, edits=[Add(at, a - b, strength)])["logits"][0, -1]
        return float(logits[good] - logits[bad])

    assert preference(1.5) > preference(0.0) + 0.5 > preference(-1.5) + 1.0


# -- life ------------------------------------------------------------------------------------------


@dataclass
class Bad:
    """A custom edit that fails at the moment that is asked for."""

    model: LiveModel
    when: str
    error: BaseException

    def bind(self, model: LiveModel, extent: Any) -> list[Any]:
        if self.when == "bind":
            raise self.error
        return [self]

    @property
    def reads(self) -> Any:
        return self.model.site("resid_mid.1")

    @property
    def writes(self) -> Any:
        return self.model.site("mlp_out.1")

    def read(self, x: torch.Tensor) -> torch.Tensor:
        if self.when == "read":
            raise self.error
        return x

    def write(self, x: torch.Tensor, values: torch.Tensor, at: Any) -> torch.Tensor:
        if self.when == "write":
            raise self.error
        return torch.zeros(1) if self.when == "shape" else x


BUSY = ["pattern.0", "q.1", "resid_mid.1", "resid_post.2", "embed"]


@pytest.mark.parametrize("when", ["bind", "read", "write", "shape"])
@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt(), SystemExit(1)])
def test_an_error_inside_an_edit_leaves_nothing(
    when: str, error: BaseException, load_tiny: Load, intact: Any
) -> None:
    model = load_tiny()
    intact(model)
    edits: list[Any] = [
        Ablate("pattern.1"),
        Add("resid_mid.1", vector(32)),
        Bad(model, when, error),
    ]
    expected = RuntimeError if when == "shape" else type(error)
    with pytest.raises(expected):
        model.run(LONG, sites=BUSY, edits=edits)
    with pytest.raises(expected):
        model.generate(LONG, edits=edits, max_new_tokens=2).finish()
    with pytest.raises(expected):
        model.grad(Logit(3), LONG, sites=["resid_pre.1", "q.0"], edits=edits)
    with pytest.raises(expected), model.edit(*edits):
        model.run(LONG)


def test_an_error_in_an_objective_or_prompt_leaves_nothing(load_tiny: Load, intact: Any) -> None:
    model = load_tiny()
    intact(model)

    def objective(run: Run) -> torch.Tensor:
        raise ZeroDivisionError

    edits: list[Edit] = [Ablate("pattern.1", heads=[0]), Add("resid_mid.1", vector(32))]
    with pytest.raises(ZeroDivisionError):
        model.grad(objective, LONG, sites=["resid_pre.1", "q.0"], edits=edits)
    with pytest.raises(InputError):
        model.run([5, 500], edits=edits)
    with pytest.raises(InputError):
        model.grad(Logit(3), [], sites=["resid_pre.1"], edits=edits)
    with pytest.raises(InputError):
        model.generate([5, 500], edits=edits)


class Slow:
    """Makes one MLP of a model wait, so that a test can act in the middle of a pass."""

    def __init__(self, model: LiveModel, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.open, self.active = threading.Event(), threading.Event(), True
        mlp: Any = model.hf.get_submodule("model.layers.1.mlp")
        inner = mlp.forward

        def forward(x: Any) -> Any:
            if self.active:
                self.entered.set()
                self.open.wait(0.3)
            return inner(x)

        monkeypatch.setattr(mlp, "forward", forward)

    def interrupt_main(self) -> threading.Thread:
        def interrupt() -> None:
            assert self.entered.wait(5)
            _thread.interrupt_main()

        thread = threading.Thread(target=interrupt)
        thread.start()
        return thread


@pytest.mark.parametrize("what", ["run", "generate", "grad"])
def test_an_interrupt_of_a_waiting_caller_leaves_nothing(
    what: str, load_tiny: Load, intact: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_tiny()
    intact(model)
    slow = Slow(model, monkeypatch)
    edits: list[Edit] = [Ablate("pattern.1", heads=[0]), Add("resid_mid.0", vector(32))]
    calls: dict[str, Callable[[], Any]] = {
        "run": lambda: model.run(LONG, sites=BUSY, edits=edits),
        "generate": lambda: model.generate(LONG, sites=BUSY, edits=edits).finish(),
        "grad": lambda: model.grad(Logit(3), LONG, sites=BUSY, edits=edits),
    }
    thread = slow.interrupt_main()
    with pytest.raises(KeyboardInterrupt), model.edit(Scale("resid_pre.2", 2.0)):
        calls[what]()
    # the cell has its prompt back: now the user looks at the model
    assert hooks_of(model.hf) == 0
    assert model.hf.config._attn_implementation == "sdpa"
    thread.join(5)
    slow.active = False


def test_a_cancel_in_the_middle_of_an_edited_pass_leaves_nothing(
    load_tiny: Load, intact: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_tiny()
    intact(model)
    slow = Slow(model, monkeypatch)
    job = model.submit(LONG, sites=BUSY, edits=[Add("resid_mid.0", vector(32)), Ablate("v.2")])
    assert slow.entered.wait(5)
    assert hooks_of(model.hf) > 0  # the test does look in the middle
    assert model.hf.config._attn_implementation != "sdpa"
    job.cancel()
    slow.open.set()
    with pytest.raises(Cancelled):
        job.result(5)
    slow.active = False


def test_an_abandoned_generation_stops_writing(
    load_tiny: Load, intact: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_tiny()
    intact(model)
    mlp: Any = model.hf.get_submodule("model.layers.1.mlp")
    inner, passes = mlp.forward, [0]

    def counted(x: Any) -> Any:
        passes[0] += 1
        time.sleep(0.01)
        return inner(x)

    monkeypatch.setattr(mlp, "forward", counted)
    generation = model.generate(LONG, edits=[Scale("resid_mid.0", 2.0)], max_new_tokens=50)
    steps = iter(generation)
    next(steps)
    job = generation.job
    del generation, steps
    gc.collect()
    deadline = time.monotonic() + 5
    while not job.done and time.monotonic() < deadline:
        time.sleep(0.01)
    assert job.done
    assert passes[0] < 40
    monkeypatch.undo()


def test_a_block_that_is_forgotten_without_its_exit_ends(load_tiny: Load, intact: Any) -> None:
    model = load_tiny()
    intact(model)
    before = model.run(LONG)["logits"]
    block = model.edit(Add("resid_post.1", vector(32)))
    block.__enter__()
    assert (model.run(LONG)["logits"] - before).abs().max() > FELT
    del block
    gc.collect()


def test_an_error_inside_a_block_ends_it(load_tiny: Load, intact: Any) -> None:
    model = load_tiny()
    intact(model)
    for error in (ValueError, KeyboardInterrupt, GeneratorExit):
        with pytest.raises(error), model.edit(Add("resid_post.1", vector(32))):
            raise error


def test_blocks_nest_overlap_and_can_be_opened_again(load_tiny: Load, intact: Any) -> None:
    model, v = load_tiny(), vector(32)
    intact(model)

    def logits(*edits: Edit) -> torch.Tensor:
        return model.run(LONG, edits=edits)["logits"]

    add, scale = Add("resid_post.1", v), Scale("resid_post.1", 3.0)
    plain_, added, both, other = (logits(*e) for e in ((), (add,), (add, scale), (scale, add)))
    assert not torch.equal(both, other)
    with model.edit(add) as outer:
        assert torch.equal(logits(), added)
        assert torch.equal(logits(scale), both)  # the run's own edits come last
        with pytest.raises(InputError, match="already open"), outer:
            pass
        with model.edit(scale):
            assert torch.equal(logits(), both)
        assert torch.equal(logits(), added)
    assert torch.equal(logits(), plain_)
    with outer:
        assert torch.equal(logits(), added)
    a, b = model.edit(scale), model.edit(add)
    a.__enter__()
    b.__enter__()
    assert torch.equal(logits(), other)
    a.__exit__(None, None, None)  # the first goes first
    assert torch.equal(logits(), added)
    b.__exit__(None, None, None)
    assert torch.equal(logits(), plain_)
    with model.edit():
        assert torch.equal(logits(), plain_)


def test_a_block_is_seen_by_what_is_submitted_inside_and_not_after(
    load_tiny: Load, intact: Any
) -> None:
    model = load_tiny()
    intact(model)
    edit = Add("resid_post.1", vector(32))
    before, added = model.run(LONG)["logits"], model.run(LONG, edits=[edit])["logits"]
    gate, entered = threading.Event(), threading.Event()

    def hold(_: Any) -> None:
        entered.set()
        gate.wait(10)

    model.work(hold)
    assert entered.wait(5)
    early = model.submit(LONG)
    with model.edit(edit):
        inside = model.submit(LONG)
        generation = model.generate(LONG, max_new_tokens=1, sites=["logits"])
    late = model.submit(LONG)
    gate.set()
    assert torch.equal(early.result(10)["logits"], before)
    assert torch.equal(inside.result(10)["logits"], added)
    assert torch.equal(late.result(10)["logits"], before)
    step = next(iter(generation.finish()))
    # a cached pass: float32 rounding
    torch.testing.assert_close(step.sites["logits"][:, -1], added[:, -1], **CLOSE)
    with model.edit(edit):
        got = model.grad(Logit(5), LONG, sites=["resid_pre.0"])
    torch.testing.assert_close(got.run["logits"], added, **CLOSE)


def test_edited_and_unedited_runs_of_two_threads_do_not_mix(load_tiny: Load, intact: Any) -> None:
    model = load_tiny()
    intact(model)
    edits: list[Edit] = [
        Add("resid_mid.1", vector(32)),
        Ablate("pattern.0", heads=[1]),
        Scale("q.2", 2.0),
    ]
    want = {True: model.run(LONG, edits=edits)["logits"], False: plain(model.hf, LONG)}
    assert (want[True] - want[False]).abs().max() > FELT
    wrong: list[bool] = []

    def cell(edited: bool) -> None:
        for _ in range(30):
            got = model.run(LONG, edits=edits if edited else [])["logits"]
            wrong.append(not torch.equal(got, want[edited]))

    threads = [threading.Thread(target=cell, args=(e,)) for e in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == [False] * 60


def test_hugging_face_runs_unedited_on_another_thread_meanwhile(
    load_tiny: Load, intact: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what goes through attention: module hooks are the module's, whoever calls it."""
    model = load_tiny()
    intact(model)
    before = plain(model.hf, LONG)
    slow = Slow(model, monkeypatch)
    job = model.submit(LONG, edits=[Ablate("pattern.0"), Ablate("v.2")])
    assert slow.entered.wait(5)
    slow.active = False
    assert model.hf.config._attn_implementation != "sdpa"
    assert torch.equal(plain(model.hf, LONG), before)
    slow.open.set()
    assert not torch.equal(job.result(5)["logits"], before)


# -- bad input -------------------------------------------------------------------------------------

NAN = float("nan")
INF = float("inf")


def broken(run: Run) -> Run:
    """A reference with one NaN at its second token."""
    x = run["resid_post.1"].clone()
    x[0, 1, 5] = NAN
    return dataclasses.replace(run, sites={"resid_post.1": x})


BAD: dict[str, tuple[Callable[[LiveModel], Any], list[str]]] = {
    # shapes
    "a vector too short": (lambda _: Add("resid_post.1", torch.ones(31)), ["31", "32", "resid_post.1"]),
    "a vector of the queries' width at the keys": (lambda _: Add("k.1", torch.ones(32)), ["32", "16"]),
    "a head's vector too long": (lambda _: Add("q.1", torch.ones(9), heads=[0]), ["9", "8"]),
    "vectors for three heads of two": (lambda _: Add("head_out.1", torch.ones(3, 8), heads=[0, 1]), ["[3, 8]", "[2, 8]"]),
    "a vector per token": (lambda _: Add("resid_post.1", torch.ones(7, 32)), ["[7, 32]", "[32]"]),
    "a scalar vector": (lambda _: Add("resid_post.1", torch.tensor(1.0)), ["[]", "[32]"]),
    "three numbers for two coordinates": (lambda _: Add("resid_post.1", torch.ones(3), features=[1, 2]), ["[3]", "[2]"]),
    "a Head's vector of the stream's width": (lambda m: Add(m.head(1, 0), torch.ones(32)), ["[32]", "[8]"]),
    "a mean too short": (lambda _: Ablate("resid_post.1", "mean", torch.ones(31)), ["31", "32"]),
    "a mean for a feature that is a vector": (lambda m: Ablate(m.neuron(1, 2), "mean", torch.ones(56)), ["one number", "56"]),
    "three values for two coordinates": (lambda _: Clamp("neurons.1", [1.0, 2.0, 3.0], features=[0, 1]), ["3", "2"]),
    "two values for a feature": (lambda m: Clamp(m.neuron(1, 2), [1.0, 2.0]), ["one value"]),
    "a factor per coordinate of another width": (lambda _: Scale("resid_post.1", torch.ones(3)), ["factor"]),  # type: ignore[arg-type]
    # what is missing or too much
    "no vector": (lambda _: Add("resid_post.1"), ["needs a vector", "resid_post.1"]),
    "a feature and a vector": (lambda m: Add(m.neuron(1, 2), torch.ones(56)), ["feature", "vector"]),
    "an addition to a pattern": (lambda _: Add("pattern.1", torch.ones(7)), ["pattern", "Scale"]),
    "a clamp of a whole site": (lambda _: Clamp("resid_post.1", 1.0), ["features=", "resid_post.1"]),
    "mean without reference": (lambda _: Ablate("resid_post.1", "mean"), ["'mean'", "reference", "resid_post.1"]),
    "resample without reference": (lambda _: Ablate("resid_post.1", "resample"), ["'resample'", "reference"]),
    "patch without reference": (lambda _: Ablate("resid_post.1", "patch"), ["'patch'", "reference"]),
    "patch from a tensor": (lambda _: Ablate("resid_post.1", "patch", torch.ones(32)), ["'patch'", "run", "Tensor"]),
    "resample from a number": (lambda m: Ablate(m.neuron(1, 2), "resample", 1.0), ["'resample'", "run"]),
    "mean of a pattern": (lambda m: Ablate("pattern.1", "mean", m.run(LONG, sites=["pattern.1"])), ["pattern", "'mean'", "patch"]),
    "resample of a pattern": (lambda m: Ablate("pattern.1", "resample", m.run(LONG, sites=["pattern.1"])), ["'resample'", "zero"]),
    "a reference without the site": (lambda m: Ablate("resid_post.1", "mean", m.run(LONG, sites=["resid_mid.1"])), ["not captured resid_post.1", "sites=['resid_post.1']"]),
    "a reference that is a text": (lambda _: Ablate("resid_post.1", "mean", "Paris"), ["reference", "run"]),  # type: ignore[arg-type]
    "a reference too short to patch": (lambda m: Ablate("resid_post.1", "patch", m.run(LONG[:5], sites=["resid_post.1"])), ["5 tokens", "positions"]),
    "a reference with other rows": (lambda m: Ablate("resid_post.1", "patch", m.run([LONG] * 3, sites=["resid_post.1"])), ["3 rows", "1"]),
    # numbers
    "NaN in the vector": (lambda _: Add("resid_post.1", torch.full((32,), NAN)), ["vector", "NaN"]),
    "one infinity in the vector": (lambda _: Add("resid_post.1", torch.tensor([*[1.0] * 31, INF])), ["vector", "infinite"]),
    "strength NaN": (lambda _: Add("resid_post.1", torch.ones(32), NAN), ["strength", "NaN"]),
    "strength infinite": (lambda m: Add(m.neuron(1, 2), strength=INF), ["strength", "infinite"]),
    "factor NaN": (lambda _: Scale("resid_post.1", NAN), ["factor", "NaN"]),
    "value NaN": (lambda m: Clamp(m.neuron(1, 2), NAN), ["value", "NaN"]),
    "one value infinite": (lambda _: Clamp("neurons.1", [1.0, -INF], features=[0, 1]), ["value", "infinite"]),
    "a value beyond float32": (lambda m: Clamp(m.neuron(1, 2), 1e300), ["value", "infinite"]),
    "a given mean NaN": (lambda _: Ablate("resid_post.1", "mean", torch.full((32,), NAN)), ["reference", "NaN"]),
    "NaN in a run to average": (lambda m: Ablate("resid_post.1", "mean", broken(m.run(LONG, sites=["resid_post.1"]))), ["reference", "NaN"]),
    "NaN in a run to draw from": (lambda m: Ablate("resid_post.1", "resample", broken(m.run(LONG, sites=["resid_post.1"]))), ["reference", "NaN"]),
    "NaN in a run to patch from": (lambda m: Ablate("resid_post.1", "patch", broken(m.run(LONG, sites=["resid_post.1"]))), ["reference", "NaN"]),
    # words
    "an unknown positions word": (lambda _: Scale("resid_post.1", 2.0, positions="promt"), ["'promt'", "'prompt'"]),  # type: ignore[arg-type]
    "an unknown way": (lambda _: Ablate("resid_post.1", "zeros"), ["'zeros'", "'zero'"]),  # type: ignore[arg-type]
    "an unknown site": (lambda _: Scale("resid_pots.1", 2.0), ["resid_pots.1", "'resid_post.1'"]),
    "a site without its layer": (lambda _: Scale("resid_post", 2.0), ["needs a layer", "resid_post.2"]),
    "a layer out of range": (lambda _: Scale("resid_post.3", 2.0), ["no layer 3", "0 to 2"]),
    # positions
    "a position beyond the text": (lambda _: Scale("resid_post.1", 2.0, positions=9), ["Position 9", "7 tokens", "6"]),
    "a position before the text": (lambda _: Scale("resid_post.1", 2.0, positions=[0, -8]), ["Position -8", "-7"]),
    "no position": (lambda _: Scale("resid_post.1", 2.0, positions=[]), ["positions are empty"]),
    "positions None": (lambda _: Scale("resid_post.1", 2.0, positions=None), ["positions"]),  # type: ignore[arg-type]
    "half a position": (lambda _: Scale("resid_post.1", 2.0, positions=1.5), ["1.5"]),  # type: ignore[arg-type]
    "half a position in a list": (lambda _: Scale("resid_post.1", 2.0, positions=[1.5]), ["1.5"]),  # type: ignore[list-item]
    "True as a position": (lambda _: Scale("resid_post.1", 2.0, positions=True), ["True"]),
    "a word in a list of positions": (lambda _: Scale("resid_post.1", 2.0, positions=["all"]), ["all"]),  # type: ignore[list-item]
    # heads and features
    "heads where there are none": (lambda _: Ablate("resid_post.1", heads=[0]), ["resid_post.1 has no heads", "head_out.1"]),
    "a head too many": (lambda _: Ablate("q.1", heads=[4]), ["no head 4", "0 to 3"]),
    "a query head among keys": (lambda _: Ablate("k.1", heads=[2]), ["no head 2", "0 to 1"]),
    "a negative head": (lambda _: Ablate("q.1", heads=[-1]), ["no head -1"]),
    "no head": (lambda _: Ablate("q.1", heads=[]), ["head", "empty"]),
    "a head twice": (lambda _: Ablate("q.1", heads=[1, 1]), ["head", "twice"]),
    "True as heads": (lambda _: Ablate("q.1", heads=True), ["True"]),  # type: ignore[arg-type]
    "half a head": (lambda _: Ablate("q.1", heads=[1.5]), ["1.5"]),  # type: ignore[list-item]
    "heads as a text": (lambda _: Ablate("q.1", heads="12"), ["12"]),  # type: ignore[arg-type]
    "a feature too many": (lambda _: Ablate("resid_post.1", features=[32]), ["no feature 32", "0 to 31"]),
    "a negative feature": (lambda _: Ablate("neurons.1", features=[-1]), ["no feature -1", "55"]),
    "no feature": (lambda _: Ablate("neurons.1", features=[]), ["feature", "empty"]),
    "heads and features": (lambda _: Ablate("q.1", heads=[0], features=[0]), ["heads or features"]),
    "features of a pattern": (lambda _: Ablate("pattern.1", features=[0]), ["pattern", "features"]),
    "heads of a feature": (lambda m: Ablate(m.neuron(1, 2), heads=[0]), ["heads", "feature"]),
    "heads of a Head": (lambda m: Ablate(m.head(1, 2), heads=[0]), ["heads", "head"]),
    # pairs
    "pairs where there are none": (lambda _: Ablate("q.1", pairs=[(3, 1)]), ["q.1 has no", "pairs"]),
    "a pair that looks ahead": (lambda _: Ablate("pattern.1", pairs=[(3, 1), (2, 5)]), ["later token"]),
    "a pair beyond the text": (lambda _: Ablate("pattern.1", pairs=[(9, 1)]), ["Position 9", "7 tokens"]),
    "no pair": (lambda _: Ablate("pattern.1", pairs=[]), ["pairs", "(7, 2)"]),
    "half a pair": (lambda _: Ablate("pattern.1", pairs=[(3,)]), ["pairs"]),  # type: ignore[list-item]
    "one and three make no two pairs": (lambda _: Ablate("pattern.1", pairs=[(3,), (2, 1, 0)]), ["pairs"]),  # type: ignore[list-item]
    "a pair without its list": (lambda _: Ablate("pattern.1", pairs=(3, 1)), ["pairs"]),  # type: ignore[arg-type]
    "a fraction in a pair": (lambda _: Ablate("pattern.1", pairs=[(3.7, 1)]), ["3.7"]),  # type: ignore[list-item]
    # types
    "a text as vector": (lambda _: Add("resid_post.1", "love"), ["vector", "tensor"]),  # type: ignore[arg-type]
    "True as strength": (lambda _: Add("resid_post.1", torch.ones(32), True), ["number", "True"]),
    "a text as strength": (lambda _: Add("resid_post.1", torch.ones(32), "2"), ["number", "'2'"]),  # type: ignore[arg-type]
    "None as factor": (lambda _: Scale("resid_post.1", None), ["number", "None"]),  # type: ignore[arg-type]
    "True as value": (lambda m: Clamp(m.neuron(1, 2), True), ["number", "True"]),
    "a text as value": (lambda m: Clamp(m.neuron(1, 2), "high"), ["high"]),  # type: ignore[arg-type]
    "a number as target": (lambda _: Scale(5, 2.0), ["int", "'resid_post.5'"]),  # type: ignore[arg-type]
    "nothing as target": (lambda _: Scale(None, 2.0), ["NoneType"]),  # type: ignore[arg-type]
    "a vector as target": (lambda _: Scale(torch.ones(32), 2.0), ["Tensor"]),  # type: ignore[arg-type]
    "a text as seed": (lambda m: Ablate("resid_post.1", "resample", m.run(LONG, sites=["resid_post.1"]), seed="a"), ["seed"]),  # type: ignore[arg-type]
    "a text as an edit": (lambda _: "resid_post.1", ["not an edit", "ng.Add"]),
    "a class as an edit": (lambda _: Add, ["not an edit"]),
    "an unknown id": (lambda _: Scale("a/b/c", 2.0), ["'a/b/c'", "model/site/basis/index"]),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BAD))
def test_bad_edits_are_refused_with_what_is_wrong(name: str, load_tiny: Load, intact: Any) -> None:
    model = load_tiny()
    intact(model)
    make, parts = BAD[name]
    with pytest.raises(InputError) as caught:
        model.run(LONG, sites=BUSY, edits=[Add("resid_mid.0", vector(32)), make(model)])
    for part in parts:
        assert part in str(caught.value)
    with pytest.raises(InputError):
        model.generate(LONG, edits=[make(model)], max_new_tokens=1).finish()


@pytest.mark.parametrize("edits", [Scale("resid_post.1", 2.0), "abc", 5, None, [None], [[]]])
def test_edits_that_are_no_list_of_edits_are_refused(
    edits: Any, load_tiny: Load, intact: Any
) -> None:
    model = load_tiny()
    intact(model)
    for call in (
        lambda: model.run(LONG, edits=edits),
        lambda: model.generate(LONG, edits=edits, max_new_tokens=1).finish(),
        lambda: model.grad(Logit(3), LONG, sites=["embed"], edits=edits),
    ):
        with pytest.raises(InputError, match="edit"):
            call()


@pytest.mark.parametrize("n_prompt", [-1, True, "3", 1.5])
def test_a_bad_length_of_the_prompt_is_refused(n_prompt: Any, models: Models) -> None:
    with pytest.raises(InputError, match="n_prompt"):
        models["llama"].run(
            LONG, n_prompt=n_prompt, edits=[Scale("resid_mid.1", 2.0, positions=-1)]
        )


def test_handles_and_references_of_another_model_are_refused(load_tiny: Load, intact: Any) -> None:
    model, other, twin, gpt2 = load_tiny(), load_tiny(), load_tiny(), load_tiny("gpt2")
    with torch.no_grad():
        other.hf.model.layers[0].mlp.down_proj.weight[0, 0] += 1
    intact(model)
    intact(other)
    for theirs in (other, gpt2):
        reference = theirs.run(LONG, sites=["resid_post.1", "head_out.1"])
        basis = Directions(theirs, "resid_post.1", torch.ones(1, 32))
        for edit in (
            Clamp(theirs.neuron(1, 2), 1.0),
            Ablate(theirs.head(1, 2)),
            Add(basis[0]),
            Ablate("resid_post.1", "mean", reference),
            Ablate("resid_post.1", "patch", reference),
            Ablate(model.head(1, 2), "resample", reference),
        ):
            with pytest.raises(InputError) as caught:
                model.run(LONG, edits=[edit])
            for part in (theirs.fingerprint, model.fingerprint, model.name):
                assert part in str(caught.value)
    with pytest.raises(InputError, match="GPT2LMHeadModel"):
        model.run(LONG, edits=[Scale(gpt2.neuron(1, 2).id, 2.0)])
    # the same weights, loaded twice, are the same model
    patch = Ablate("resid_post.1", "patch", twin.run(SHORT + SHORT, sites=["resid_post.1"]))
    model.run(LONG, edits=[patch, Clamp(twin.neuron(1, 2), 1.0)])


def test_edits_that_set_the_same_values_conflict(models: Models, intact: Any) -> None:
    model = models["llama"]
    intact(model)
    head, neuron = model.head(1, 2), model.neuron(1, 2)
    basis = Directions(model, "resid_post.1", torch.eye(32)[:2])
    conflicts: list[list[Edit]] = [
        [Ablate("resid_post.1"), Ablate("resid_post.1")],
        [Clamp(neuron, 1.0), Ablate("neurons.1")],
        [Clamp(neuron, 1.0), Clamp("neurons.1", 2.0, features=[1, 2])],
        [Ablate(head), Ablate("head_out.1", heads=[1, 2])],
        [Ablate(head), Clamp("head_out.1", 1.0, features=[16])],
        [Ablate("resid_post.1", positions=[0, 1]), Ablate("resid_post.1", positions="prompt")],
        [Ablate("resid_post.1", positions=6), Ablate("resid_post.1", positions=-1)],
        [Ablate("pattern.1", pairs=[(3, 1), (2, 2)]), Ablate(head, pairs=[(-4, 1)])],
        [Ablate("pattern.1", heads=[2]), Ablate(head, pairs=[(3, 1)])],
        [Clamp(basis[1], 1.0), Scale("resid_mid.0", 2.0), Ablate(basis[1])],
    ]
    for edits in conflicts:
        with pytest.raises(InputError, match="conflict"):
            model.run(LONG, edits=edits)
        with pytest.raises(InputError, match="conflict"), model.edit(edits[0]):
            model.run(LONG, edits=edits[1:])


def test_edits_that_set_other_values_do_not_conflict(models: Models) -> None:
    model = models["llama"]
    head, neuron = model.head(1, 2), model.neuron(1, 2)
    one, two = (
        Directions(model, "resid_post.1", torch.eye(32)[i : i + 1], name=n)
        for i, n in ((0, "one"), (1, "two"))
    )
    fine: list[list[Edit]] = [
        [Ablate("resid_post.1", positions=0), Ablate("resid_post.1", positions=1)],
        [Ablate("resid_post.1", positions="prompt"), Ablate("resid_post.1", positions="generated")],
        [Clamp(neuron, 1.0), Clamp(model.neuron(1, 3), 1.0), Clamp(model.neuron(0, 2), 1.0)],
        [Clamp(neuron, 1.0), Add(neuron, strength=2.0), Scale("neurons.1", 2.0)],
        [Ablate(head), Ablate("head_out.1", heads=[0, 1])],
        [Ablate("v.1", heads=[0]), Ablate("v.1", heads=[1])],
        [Ablate("pattern.1", pairs=[(3, 1)]), Ablate(head, pairs=[(3, 2)])],
        [Ablate("pattern.1", heads=[1], pairs=[(3, 1)]), Ablate(head, pairs=[(3, 1)])],
        [Clamp(one[0], 1.0), Clamp(two[0], 2.0)],
    ]
    for edits in fine:
        model.run(LONG, edits=edits)


def test_two_sets_of_directions_with_one_name_are_not_taken_for_each_other(models: Models) -> None:
    model = models["llama"]
    one, two = (Directions(model, "resid_post.1", torch.eye(32)[i : i + 1]) for i in (0, 1))
    run = model.run(LONG, sites=["resid_post.1"], edits=[Clamp(one[0], 5.0), Clamp(two[0], -5.0)])
    # x + (5 - x) in float32
    torch.testing.assert_close(run["resid_post.1"][0, :, 0], torch.full((7,), 5.0), **CLOSE)
    torch.testing.assert_close(run["resid_post.1"][0, :, 1], torch.full((7,), -5.0), **CLOSE)


def test_clamp_takes_heads_as_its_docstring_says(models: Models) -> None:
    model = models["llama"]
    for edit in (Clamp("head_out.1", 2.0, heads=[1]), Clamp(model.head(1, 1), 2.0)):
        run = model.run(LONG, sites=["head_out.1"], edits=[edit])
        assert torch.equal(run["head_out.1"][0, :, 1], torch.full((7, 8), 2.0))
        assert not (run["head_out.1"][0, :, 2] == 2).any()


def test_an_edit_does_not_change_what_was_given_to_it(models: Models) -> None:
    model, v = models["gpt2"], vector(32)
    reference = model.run(REFERENCE, sites=["resid_mid.1", "k.1"])
    kept = {s: x.clone() for s, x in reference.sites.items()}
    v_before = v.clone()
    edits: list[Edit] = [
        Ablate("resid_mid.1", "patch", one_row(reference)),
        Add("resid_mid.1", v),
        Scale("k.1", 2.0),
    ]
    run = model.run(ROWS, sites=["resid_mid.1", "k.1"], edits=edits)
    model.run(ROWS, sites=["resid_mid.1"], edits=[Ablate("resid_mid.1", "mean", run)])
    after = run["resid_mid.1"].clone()
    model.run(ROWS, edits=[Scale("resid_mid.1", 3.0), Ablate("resid_mid.2", "zero")])
    assert torch.equal(v, v_before)
    assert all(torch.equal(reference[s], x) for s, x in kept.items())
    assert torch.equal(run["resid_mid.1"], after)


def test_numbers_of_numpy_are_numbers(models: Models) -> None:
    model, v = models["llama"], vector(32)
    plain_: list[Edit] = [
        Add("resid_mid.1", v, 2.0, positions=[1, 3]),
        Scale("q.1", 3.0, heads=[2]),
    ]
    theirs: list[Edit] = [
        Add("resid_mid.1", v, float(np.float32(2)), positions=list(np.array([1, 3]))),
        Scale("q.1", np.float32(3), heads=np.array([2])),  # type: ignore[arg-type]
    ]
    want, got = (model.run(LONG, edits=e)["logits"] for e in (plain_, theirs))
    assert torch.equal(got, want)


def test_a_custom_edit_that_writes_before_it_reads_is_refused(models: Models, intact: Any) -> None:
    model = models["llama"]
    intact(model)

    class Backwards(Bad):
        @property
        def writes(self) -> Any:
            return self.model.site("resid_pre.1")

    with pytest.raises(InputError, match=r"resid_pre\.1"):
        model.run(LONG, edits=[Backwards(model, "never", ValueError())])


def test_per_head_sites_are_the_ones_with_heads(models: Models) -> None:
    model = models["llama"]
    for name in PER_HEAD:
        heads = model.heads_at(f"{name}.1")
        assert heads == (2 if name in {"k", "v"} else 4)
        model.run(LONG, edits=[Ablate(f"{name}.1", heads=list(range(heads)))])
