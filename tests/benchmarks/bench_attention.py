"""What looking into attention costs: patterns and q, k, v, against a run without and against HF.

    python -m tests.benchmarks.bench_attention [--pairs 12 --threads 2]

Baselines, in interleaved pairs on the model's own thread: ``model.run(ids)`` of the same text; the
bare Hugging Face forward (for a run that asks for nothing, and as HF's price list); and Hugging
Face's own way to patterns, a second copy of the model with ``attn_implementation="eager"`` and
``output_attentions=True``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

import neuroglass as ng
from neuroglass.model import smollm2
from tests.benchmarks.common import arguments, emit, pairs, prompt, ratio

SHAPES = ((2, 128), (1, 512))


def everywhere(model: ng.LiveModel, names: Iterable[str]) -> list[str]:
    return [f"{name}.{i}" for name in names for i in range(model.n_layers)]


def main() -> None:
    from transformers import AutoModelForCausalLM

    given = arguments(pairs=12, threads=2)
    torch.set_num_threads(given.threads)  # before the model's thread starts, which inherits it
    gguf = smollm2.packaged()
    assert gguf is not None, smollm2.INSTALL
    model = ng.load("smollm2")
    eager = AutoModelForCausalLM.from_pretrained(
        smollm2.converted(gguf), attn_implementation="eager", dtype=torch.float32
    ).eval()

    for rows, tokens in SHAPES:
        ids = prompt(model, rows, tokens)

        def on_thread(
            hf: Callable[..., object], ids: torch.Tensor = ids, **options: bool
        ) -> object:
            def job(_: object) -> object:
                with torch.no_grad():
                    return hf(input_ids=ids, use_cache=False, **options)

            return model.work(job).result()

        def run(*sites: str, ids: torch.Tensor = ids) -> ng.Run:
            return model.run(ids, sites=sites)

        def bare() -> object:
            return on_thread(model.hf)

        def hf_patterns() -> object:
            return on_thread(eager, output_attentions=True)

        one = "pattern.15"
        patterns = everywhere(model, ["pattern"])
        qkv = everywhere(model, ["q", "k", "v"])
        ours = run(*patterns)
        want: object = hf_patterns()
        emit(
            what="patterns against Hugging Face's eager copy, largest difference",
            shape=[rows, tokens],
            difference=max(
                float((ours[s] - a).abs().max())
                for s, a in zip(patterns, want.attentions, strict=True)  # type: ignore[attr-defined]
            ),
        )
        del ours, want
        # what: (baseline, ours)
        cases: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "run that asks for nothing / bare forward": (bare, run),
            "pattern of one layer / run without": (run, lambda: run(one)),  # noqa: B023
            "patterns of all layers / run without": (run, lambda: run(*patterns)),  # noqa: B023
            "q, k, v of all layers / run without": (run, lambda: run(*qkv)),  # noqa: B023
            "patterns of all layers / HF eager, output_attentions": (
                hf_patterns,
                lambda: run(*patterns),  # noqa: B023
            ),
            "HF eager, output_attentions / bare forward": (bare, hf_patterns),
        }
        for what, (base, mine) in cases.items():
            taken = pairs(base, mine, given.pairs)
            for clock in ("cpu", "wall"):
                emit(
                    what=f"{what}, {clock} time",
                    shape=[rows, tokens],
                    threads=given.threads,
                    **ratio(taken[clock]),
                )


if __name__ == "__main__":
    main()
