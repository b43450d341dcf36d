"""What an idle handle costs the Hugging Face model it is opened on: the requirement is <= 1 %.

    python -m tests.benchmarks.bench_idle [--pairs 40 --threads 2]

Baseline: the same forward on an identical copy that no handle has ever touched, in interleaved
pairs, same thread. The handle is used first (capture, attention, edits, generation, gradients, a
failing and a cancelled pass), so that anything left behind would show. A second row pairs the
untouched copy with a third one: two copies differ by where their weights lie in memory, and that is
the noise floor of the first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import neuroglass as ng
from neuroglass.model import smollm2
from neuroglass.model.edits import Ablate, Add, Clamp, Scale
from neuroglass.model.gradients import Logit
from tests.benchmarks.common import arguments, emit, pairs, prompt, ratio

NEW = 16
REQUIRED = 1.01


def use(model: ng.LiveModel) -> None:
    """Everything that puts hooks on or swaps the attention function."""
    text = "The capital of France is"
    vector = torch.ones(model.d_model)
    edits = [
        Add("resid_post.12", vector, strength=0.1),
        Scale("neurons.3", 0.5),
        Clamp(model.neuron(8, 77), 0.2),
        Ablate("pattern.4", heads=[1]),
        Ablate("head_out.20", heads=[3]),
    ]
    sites = ["resid_pre.5", "pattern.7", "q.2", "k.2", "v.2", "logits"]
    model.run(text, sites=sites, edits=edits)
    model.run(text, sites=sites[:2], logits=False)
    model.generate(text, sites=sites, edits=edits, max_new_tokens=4).finish()
    model.grad(Logit(5), text, sites=["resid_pre.5"], edits=edits)
    generation = model.generate(text, edits=edits, max_new_tokens=200)
    next(iter(generation))
    generation.cancel()
    generation.finish()

    def fails(*_: object) -> None:
        raise RuntimeError("on purpose")

    hook = model.hf.get_submodule("model.layers.9").register_forward_hook(fails)
    try:
        model.run(text, sites=sites, edits=edits)
    except RuntimeError:
        pass
    else:
        raise AssertionError("the hook did not run")
    finally:
        hook.remove()


def hooks_on(hf: torch.nn.Module) -> list[str]:
    """Hooks of any kind on any module."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [
        f"{name}: {kind}" for name, m in hf.named_modules() for kind in kinds if getattr(m, kind)
    ]


def main() -> None:
    from transformers import AutoModelForCausalLM

    given = arguments(pairs=40, threads=2)
    torch.set_num_threads(given.threads)
    gguf = smollm2.packaged()
    assert gguf is not None, smollm2.INSTALL
    # one by one, each with weights of its own: a mapped file would be shared by all
    hfs = [
        AutoModelForCausalLM.from_pretrained(smollm2.converted(gguf), dtype=torch.float32).eval()
        for _ in range(3)
    ]
    opened, untouched, third = hfs
    before = opened.config._attn_implementation
    model = ng.load(opened, ng.load("smollm2").tokenizer)
    use(model)
    ids = prompt(model, 1, 128)

    def forward(hf: Any) -> Callable[[], object]:
        def call() -> object:
            with torch.no_grad():
                return hf(input_ids=ids, use_cache=False)

        return call

    def decode(hf: Any) -> Callable[[], object]:
        def call() -> object:
            """A short prompt, then `NEW` tokens one by one."""
            cache, token = None, ids[:, :8]
            with torch.no_grad():
                for _ in range(NEW):
                    out = hf(input_ids=token, past_key_values=cache, use_cache=True)
                    cache, token = out.past_key_values, out.logits[:, -1:].argmax(-1)
            return token

        return call

    assert torch.equal(forward(opened)().logits, forward(untouched)().logits)  # type: ignore[attr-defined]
    for what, call in {"forward of 1 x 128": forward, f"{NEW} decoding steps": decode}.items():
        for which, other in {
            "with an idle handle": opened,
            "noise floor: a third copy": third,
        }.items():
            taken = pairs(call(untouched), call(other), given.pairs)
            for clock in ("cpu", "wall"):
                found = ratio(taken[clock])
                row: dict[str, object] = {}
                if other is opened:
                    row = {"required": REQUIRED, "holds": found["ratio"] <= REQUIRED}
                emit(
                    what=f"{what}, {which} / untouched, {clock} time",
                    threads=given.threads,
                    **found,
                    **row,
                )
    left = hooks_on(opened)
    assert not left, left
    assert opened.config._attn_implementation == before == untouched.config._attn_implementation
    assert type(opened) is type(untouched)
    own = [n for n, m in opened.named_modules() if "forward" in vars(m)]
    assert not own, f"forward replaced in {own}"
    emit(what="left behind", hooks=len(left), attention=opened.config._attn_implementation)


if __name__ == "__main__":
    main()
