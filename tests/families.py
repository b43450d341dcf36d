"""The family matrix: every family of the table against everything the live model does.

    make families

Rows are families, as tiny models with random weights (``tests.unit.conftest.TINY``); columns are
the checks below. The same checks are tests in ``tests/unit/test_families.py``. References are
Hugging Face's own outputs, its ``generate``, its eager attention, or formulas written out here.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

import neuroglass as ng
from tests.unit.conftest import TINY, tiny

LONG, SHORT = [3, 14, 15, 92, 65, 35, 89, 79], [2, 71, 82, 81, 84]
# edited cached generation against one uncached pass: sums in another order, logits of size 1
CACHED = 1e-4


def module(model: ng.LiveModel, layer: int, path: str | None) -> torch.nn.Module:
    return model.family.block(model.hf, layer, path)


def linear(m: Any, x: torch.Tensor) -> torch.Tensor:
    weight = m.weight if type(m).__name__ == "Conv1D" else m.weight.T
    out: torch.Tensor = x @ weight + (0 if m.bias is None else m.bias)
    return out


def close(have: torch.Tensor, want: torch.Tensor, bound: float = 1e-5) -> None:
    """Equal within float32 rounding of numbers of size 1, unless a bound is given."""
    torch.testing.assert_close(have, want, rtol=bound, atol=bound)


def layered(model: ng.LiveModel) -> list[str]:
    """Every site name with a layer that the model has."""
    return [n for n in [*model.widths, "pattern"] if n not in {"embed", "logits"}]


# -- the checks: each takes an opened model and raises if something is wrong ----------------------


def sums(model: ng.LiveModel) -> None:
    """Sites obey the sums of the residual stream, and capturing them changes no logit."""
    sites = [f"{n}.{i}" for n in layered(model) for i in range(model.n_layers) if n != "pattern"]
    run = model.run([LONG, LONG[::-1]], sites=["embed", *sites])
    assert run.logits is not None
    with torch.no_grad():
        want = model.hf(run.tokens, use_cache=False, output_hidden_states=True)
        assert torch.equal(run.logits, want.logits)
        for i in range(model.n_layers):
            assert torch.equal(run[f"resid_pre.{i}"], want.hidden_states[i])
            close(
                run[f"resid_post.{i}"],
                run[f"resid_pre.{i}"] + run[f"attn_out.{i}"] + run[f"mlp_out.{i}"],
            )
            close(
                run[f"mlp_proj.{i}"],
                linear(module(model, i, model.family.mlp_matrix), run[f"neurons.{i}"]),
            )
            close(
                run[f"attn_proj.{i}"],
                linear(module(model, i, model.family.attn_matrix), run[f"head_out.{i}"].flatten(2)),
            )
            if "resid_mid" in model.widths:
                close(run[f"resid_mid.{i}"], run[f"resid_pre.{i}"] + run[f"attn_out.{i}"])
                places = [f"{n}.{i}" for n in ("resid_mid", "mlp_out", "resid_post")]
                edited = model.run(LONG, sites=places, edits=[ng.Ablate(places[0])])
                assert not edited[places[0]].any()  # the stream itself, not only what the MLP reads
                assert torch.equal(edited[places[2]], edited[places[1]])
            for norm, before, after in (
                (model.family.attn_norm, "attn_proj", "attn_out"),
                (model.family.mlp_norm, "mlp_proj", "mlp_out"),
            ):
                have = run[f"{before}.{i}"]
                close(module(model, i, norm)(have) if norm else have, run[f"{after}.{i}"])


def pattern(model: ng.LiveModel) -> None:
    """Patterns are those of eager attention, padded and cached too; pattern·v is head_out."""
    names = [f"{n}.{i}" for n in ("pattern", "v", "head_out") for i in range(model.n_layers)]
    run = model.run([LONG, SHORT], sites=names)
    own = model.hf.config._attn_implementation  # sdpa; eager in Gemma 2
    model.hf.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            want = model.hf(
                run.tokens,
                attention_mask=run.mask.long(),
                use_cache=False,
                output_attentions=True,
            )
        under_eager = model.run([LONG, SHORT], sites=names)
    finally:
        model.hf.set_attn_implementation(own)
    rows = run.mask[:, None, :, None]
    for i in range(model.n_layers):
        have = run[f"pattern.{i}"]
        close(have * rows, want.attentions[i] * rows)
        close(under_eager[f"pattern.{i}"] * rows, want.attentions[i] * rows)
        groups = have.shape[1] // run[f"v.{i}"].shape[2]
        value = run[f"v.{i}"].repeat_interleave(groups, 2).transpose(1, 2)
        close((have @ value).transpose(1, 2), run[f"head_out.{i}"])
        # without a mask another path is taken: the causal one
        alone = model.run(LONG, sites=[f"pattern.{i}"])[f"pattern.{i}"]
        close(alone[0], have[0, :, : len(LONG), : len(LONG)])
        assert float(alone.triu(1).abs().max()) == 0.0
    # cached decoding: each new row of the pattern is the row of one long pass
    written = model.generate([LONG, SHORT], max_new_tokens=4, sites=names).finish()
    for row, ids in enumerate(written.sequences):
        whole = model.run(ids, sites=names)
        for step in written.steps[1:]:
            at = len(written.prompt[row]) + step.index - 1
            for i in range(model.n_layers):
                have = step.sites[f"pattern.{i}"][row, :, 0]
                want_row = whole[f"pattern.{i}"][0, :, at, : at + 1]
                seen = min(have.shape[-1], at + 1)  # a sliding cache forgets; padding looks at 0
                close(have[:, -seen:], want_row[:, -seen:])
                close(step.sites[f"v.{i}"][row, 0], whole[f"v.{i}"][0, at])


def cached_equals_uncached(model: ng.LiveModel, edits: Sequence[ng.Edit]) -> None:
    """Logits of an edited generation are those of one edited pass over what it wrote.

    And the edit does something; and afterwards the model is what it was.
    """
    new = 3
    made = model.generate([LONG, SHORT], edits=edits, max_new_tokens=new, sites=["logits"]).finish()
    changed, text, untouched = False, LONG, None
    for row, ids in enumerate(made.sequences):
        n = len(made.prompt[row])
        text = ids + [0] * (n + new - len(ids))  # a row may end early; positions may not
        edited, untouched = model.run(text, edits=edits, n_prompt=n).logits, model.run(text).logits
        assert edited is not None
        assert untouched is not None
        changed |= not torch.equal(edited, untouched)
        for step in made.steps[: len(ids) - n]:
            close(step.sites["logits"][row, -1], edited[0, n - 1 + step.index], CACHED)
    assert changed, f"{edits} changed nothing"
    assert untouched is not None
    with torch.no_grad():
        assert torch.equal(untouched, model.hf(torch.tensor([text]), use_cache=False).logits)


def vector(width: int) -> torch.Tensor:
    return torch.randn(width, generator=torch.Generator().manual_seed(width))


def add(model: ng.LiveModel) -> None:
    for name in layered(model):
        if name != "pattern":
            for positions in ("all", "generated", [1, -1, 5]):
                edit = ng.Add(f"{name}.1", vector(model.widths[name]), 0.7, positions=positions)
                cached_equals_uncached(model, [edit])
    heads = vector(model.width("head_out.1")).view(model.n_heads, -1)
    cached_equals_uncached(model, [ng.Add("head_out.1", heads[:2], heads=[0, 3])])
    cached_equals_uncached(model, [ng.Add(model.neuron(2, 7), 3.0, positions="prompt")])
    cached_equals_uncached(model, [ng.Add("embed", vector(model.widths["embed"]))])
    cached_equals_uncached(model, [ng.Add("logits", vector(model.vocabulary))])


def scale(model: ng.LiveModel) -> None:
    for name in layered(model):
        cached_equals_uncached(model, [ng.Scale(f"{name}.1", 1.7)])
    cached_equals_uncached(model, [ng.Scale("k.0", 3.0, heads=[1], positions="generated")])
    cached_equals_uncached(model, [ng.Scale(model.neuron(1, 5), -4.0)])


def clamp(model: ng.LiveModel) -> None:
    for name in layered(model):
        if name != "pattern":
            edit = ng.Clamp(f"{name}.1", [2.0, -1.0], features=[3, 9], positions=[0, 5, -1])
            cached_equals_uncached(model, [edit])
    cached_equals_uncached(model, [ng.Clamp("pattern.1", 0.5, heads=[2], pairs=[(3, 1), (6, 6)])])
    cached_equals_uncached(model, [ng.Clamp(model.neuron(0, 4), 5.0)])


def ablate_zero(model: ng.LiveModel) -> None:
    for name in layered(model):
        cached_equals_uncached(model, [ng.Ablate(f"{name}.1", positions="generated")])
    cached_equals_uncached(model, [ng.Ablate(model.head(1, 3))])
    cached_equals_uncached(model, [ng.Ablate("pattern.2", pairs=[(-1, 0), (4, 2)])])


def ablate_by_run(model: ng.LiveModel, how: Any) -> None:
    names = [n for n in layered(model) if n != "pattern"]
    sites = [f"{n}.1" for n in names]
    other = model.run([[5 * i % 97 + 1 for i in range(16)]], sites=[*sites, "pattern.1"])
    for site in sites:
        cached_equals_uncached(model, [ng.Ablate(site, how, other, positions=[0, 3, -1, 6])])
        cached_equals_uncached(model, [ng.Ablate(site, how, other)])
    cached_equals_uncached(model, [ng.Ablate(model.neuron(1, 3), how, other)])
    cached_equals_uncached(model, [ng.Ablate("head_out.1", how, other, heads=[2])])
    if how == "patch":
        cached_equals_uncached(model, [ng.Ablate("pattern.1", how, other, heads=[0, 1])])


def generation(model: ng.LiveModel) -> None:
    """Greedy equals Hugging Face's generate token for token, alone and left-padded."""
    for rows in ([LONG], [LONG, SHORT]):
        made = model.generate(rows, max_new_tokens=8).finish()
        longest = max(map(len, rows))
        pad = [[0] * (longest - len(r)) + r for r in rows]
        mask = [[0] * (longest - len(r)) + [1] * len(r) for r in rows]
        with torch.no_grad():
            want = model.hf.generate(
                torch.tensor(pad),
                attention_mask=torch.tensor(mask),
                do_sample=False,
                max_new_tokens=8,
                pad_token_id=0,
            )
        for row, tokens in enumerate(made.tokens):
            assert tokens == want[row, longest : longest + len(tokens)].tolist()


def gradient(model: ng.LiveModel) -> None:
    """Gradients are central differences at every kind of site.

    In float64, but RMSNorms work in float32 all the same: with a step of 2e-3 their rounding makes
    an error of about 1e-4, the third derivative one of about 1e-5. Without them the step can be
    small, which OPT's ReLU needs: no kink may lie inside it.
    """
    exact = ng.load(model.hf.double())
    try:
        objective = ng.LogitDifference(7, 11)
        places = ["embed", *(f"{n}.1" for n in layered(model))]
        grads = exact.grad(objective, LONG, sites=places)
        values = exact.run(LONG, sites=places)
        step = 1e-5 if model.final_norm and model.final_norm.centred else 2e-3
        for place in places:
            grad = grads[place]
            assert grad.shape == values[place].shape
            flat = grad.flatten()
            for index in [*flat.abs().topk(2).indices.tolist(), 0]:
                if place.startswith("pattern") and values[place].flatten()[index] == 0:
                    continue  # a masked pair: nothing attends ahead
                move = torch.zeros_like(flat)
                move[index] = step
                ends = []
                for sign in (1, -1):
                    nudge = Nudge(place, sign * move.view_as(grad))
                    run = exact.run(LONG, edits=[nudge])
                    ends.append(float(objective(run)))
                want = (ends[0] - ends[1]) / (2 * step)
                have = float(flat[index])
                assert abs(have - want) <= 1e-3 * max(1.0, abs(want)), (place, have, want)
    finally:
        exact.close()
        model.hf.float()


class Nudge:
    """An edit that adds a whole tensor at a site: what a user's own edit may do."""

    def __init__(self, site: str, change: torch.Tensor) -> None:
        self.site, self.change = site, change

    def bind(self, model: ng.LiveModel, extent: Any) -> list[Nudge]:
        self.reads = self.writes = model.site(self.site)
        return [self]

    def read(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def write(self, x: torch.Tensor, values: torch.Tensor, at: Any) -> torch.Tensor:
        return x + self.change


CHECKS: dict[str, Callable[[ng.LiveModel], None]] = {
    "sums": sums,
    "pattern": pattern,
    "add": add,
    "scale": scale,
    "clamp": clamp,
    "zero": ablate_zero,
    "mean": lambda model: ablate_by_run(model, "mean"),
    "resample": lambda model: ablate_by_run(model, "resample"),
    "patch": lambda model: ablate_by_run(model, "patch"),
    "generation": generation,
    "gradient": gradient,
}


def row(kind: str, cells: Iterable[str]) -> str:
    return f"{kind:<20}" + "".join(f"{c:>{len(n) + 2}}" for n, c in zip(CHECKS, cells, strict=True))


def main() -> int:
    """Print the matrix; 1 if a cell is not green."""
    good = True
    torch.set_num_threads(1)  # models this small only wait for a second one
    print(row("family", CHECKS))
    for kind in TINY:
        model = ng.load(tiny(kind))
        cells, wrong = [], []
        for name, check in CHECKS.items():
            try:
                check(model)
            except Exception as error:  # a cell shows it, the others still run
                cells.append("FAILS")
                wrong.append(f"  {kind}, {name}: {' '.join(repr(error).split())[:160]}")
            else:
                cells.append("ok")
        model.close()
        good &= not wrong
        print("\n".join([row(kind, cells), *wrong]), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
