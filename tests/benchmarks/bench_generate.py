"""Generation against Hugging Face's own: with edits, without, and two rows against one.

    python -m tests.benchmarks.bench_generate [--new 48 --pairs 12 --threads 2]

Baseline: ``hf.generate(do_sample=False)`` of the same prompt and number of tokens, on the same
thread, in interleaved pairs. The requirement: with one edit at every token, at least 0.97 times the
baseline's speed. ``speed`` is tokens per second, ours / baseline, with its 95 % interval; ``ratio``
is seconds, ours / baseline, as in the other benchmarks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

import neuroglass as ng
from neuroglass.model.edits import Ablate, Add, Clamp, Edit
from tests.benchmarks.common import Seconds, arguments, emit, pairs, ratio

# greedy decoding goes on well past 200 tokens without an end token: checked in every call
PROMPT = "The history of the railway begins in the mines of central Europe, where"
SITE = "resid_post.12"
REQUIRED = 0.97


def edits_of(model: ng.LiveModel, kind: str) -> list[Edit]:
    vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(0))
    one = Add(SITE, vector / vector.norm(), strength=0.5)
    if kind == "one":
        return [one]
    if kind == "three":
        return [
            one,
            Clamp(model.neuron(8, 77), 0.2),
            Ablate("head_out.20", heads=[3]),
        ]
    return []


def speed(taken: Seconds) -> dict[str, float]:
    """Baseline's seconds / ours, beside the usual ratio of seconds."""
    turned = ratio([(ours, base) for base, ours in taken])
    names = {"ratio": "speed", "low95": "speed_low95", "high95": "speed_high95"}
    return {new: turned[old] for old, new in names.items()} | ratio(taken)


def bare(model: ng.LiveModel, ids: Sequence[int], new: int, rows: int = 1) -> list[list[int]]:
    """Hugging Face's loop on the model's thread: allocators and thread pools are per thread."""
    prompt = torch.tensor([list(ids)] * rows)

    def job(_: object) -> torch.Tensor:
        with torch.no_grad():
            out: torch.Tensor = model.hf.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=False,
                max_new_tokens=new,
            )
        return out

    made: list[list[int]] = model.work(job).result()[:, len(ids) :].tolist()
    assert all(len(row) == new for row in made)
    return made


def ours(
    model: ng.LiveModel, ids: Sequence[int], new: int, rows: int = 1, edits: Sequence[Edit] = ()
) -> list[list[int]]:
    made = model.generate(list(ids), edits=edits, n=rows, max_new_tokens=new).finish().tokens
    assert all(len(row) == new for row in made), "an end token came: choose another prompt or edit"
    return made


def main() -> None:
    given = arguments(new=48, pairs=12, threads=2)
    torch.set_num_threads(given.threads)  # before the model's thread starts, which inherits it
    model = ng.load("smollm2")
    ids = model.tokenize(PROMPT)[0][0].tolist()
    new = given.new
    emit(
        what="greedy tokens are those of hf.generate",
        one_row=ours(model, ids, new) == bare(model, ids, new),
        two_rows=ours(model, ids, new, 2) == bare(model, ids, new, 2),
    )
    hf: Callable[[], object] = lambda: bare(model, ids, new)  # noqa: E731
    hf_two: Callable[[], object] = lambda: bare(model, ids, new, 2)  # noqa: E731
    one, three = edits_of(model, "one"), edits_of(model, "three")
    # what: (baseline, ours)
    cases: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "one edit / hf.generate": (hf, lambda: ours(model, ids, new, edits=one)),
        "no edit / hf.generate": (hf, lambda: ours(model, ids, new)),
        "three edits / hf.generate": (hf, lambda: ours(model, ids, new, edits=three)),
        "two rows, one edit / hf.generate of two rows": (
            hf_two,
            lambda: ours(model, ids, new, 2, one),
        ),
        "two rows / one row, both ours, no edit": (
            lambda: ours(model, ids, new),
            lambda: ours(model, ids, new, 2),
        ),
    }
    for what, (base, mine) in cases.items():
        taken = pairs(base, mine, given.pairs)
        for clock in ("cpu", "wall"):
            found = speed(taken[clock])
            row: dict[str, object] = {}
            if what.startswith("one edit"):
                row = {"required_speed": REQUIRED, "holds": found["speed"] >= REQUIRED}
            emit(
                what=f"{what}, {clock} time",
                prompt=len(ids),
                new=new,
                threads=given.threads,
                **found,
                ms_per_token=round(min(s for _, s in taken[clock]) / new * 1e3, 2),
                **row,
            )


if __name__ == "__main__":
    main()
