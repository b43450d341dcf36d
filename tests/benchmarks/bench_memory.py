"""Resident memory of an opened model after its first run, each case in a process of its own.

    python -m tests.benchmarks.bench_memory

Baselines: ``import torch`` alone, ``import torch, transformers``, and Hugging Face by itself
(model, tokenizer and one forward; no neuroglass). Requirements: a small model (25 M parameters,
fp32) adds less than 400 MB to torch, SmolLM2 in bf16 less than 600 MB.
Megabytes are 10^6 bytes; ``peak`` is the highest since the process started, ``file`` the part of
``rss`` that maps files (libraries, unconverted weights), which the kernel may drop and processes
share. A last row says what heavy modules added when they were first imported.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.benchmarks.common import emit

SMALL_ADDS = 400
BF16_ADDS = 600
# large packages that a model and its views do not need, or not for a first run
HEAVY = (
    *("pandas", "sklearn", "scipy", "torchvision", "plotly", "matplotlib", "PIL", "openai"),
    *("ipywidgets", "anywidget", "IPython", "accelerate", "gguf", "sympy", "torch._dynamo"),
    *("torch._inductor", "torch.distributed.fsdp", "torch.onnx", "triton", "jinja2", "httpx"),
)
TEXT = "The capital of France is"


def memory() -> dict[str, int]:
    """Megabytes of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kb = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("Vm", "Rss"))}
    names = {"rss": "VmRSS", "peak": "VmHWM", "file": "RssFile"}
    return {ours: round(int(kb[theirs]) * 1024 / 1e6) for ours, theirs in names.items()}


def small(folder: Path) -> None:
    """A random Llama of 25 M parameters, written as safetensors."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=8,
        num_attention_heads=6,
        num_key_value_heads=2,
        vocab_size=32_000,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def ours(model: str, dtype: str, prompt: str) -> None:
    """Open a model, run it once; then, not counted before, write a few tokens."""
    import neuroglass as ng

    given = json.loads(prompt)
    live = ng.load(model, dtype=dtype)
    loaded = memory()
    live.run(given)
    run = memory()
    live.generate(given, max_new_tokens=8).finish()
    heavy = [name for name in HEAVY if name in sys.modules]
    parameters = sum(p.numel() * p.element_size() for p in live.hf.parameters())
    print(
        json.dumps(
            {
                **run,
                "loaded": loaded["rss"],
                "generated": memory()["rss"],
                "weights": round(parameters / 1e6),
                "heavy": heavy,
            }
        )
    )


def theirs(model: str, dtype: str) -> None:
    """The same without neuroglass."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    hf = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    loaded = memory()["rss"]
    with torch.no_grad():
        hf(torch.tensor([tokenizer(TEXT)["input_ids"]]), use_cache=False)
    print(json.dumps({**memory(), "loaded": loaded}))


def added_by_import() -> None:
    """Megabytes that came with each heavy module, with what it imports, on the way to ``ng.load``.

    A module that another one of them has brought along is in that one's number.
    """
    import importlib._bootstrap as machinery

    import torch  # noqa: F401 - what comes with torch is not counted

    added: dict[str, int] = {}
    inner: Any = vars(machinery)["_load_unlocked"]

    def load(spec: Any) -> Any:
        start = memory()["rss"]
        try:
            return inner(spec)
        finally:
            if spec.name in {*HEAVY, "transformers"}:
                added[spec.name] = memory()["rss"] - start

    vars(machinery)["_load_unlocked"] = load
    import_module("transformers.models.llama.modeling_llama")
    import_module("neuroglass.model.load")
    print(json.dumps(added))


def fresh(code: str) -> dict[str, int]:
    """The JSON that `code` prints last in a new process."""
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    found: dict[str, int] = json.loads(out.stdout.splitlines()[-1])
    return found


def main() -> None:
    from neuroglass.model import smollm2

    here = "from tests.benchmarks.bench_memory import *; "
    report = "import json; print(json.dumps(memory()))"
    gguf = smollm2.packaged()
    assert gguf is not None, smollm2.INSTALL
    smol = str(smollm2.converted(gguf))
    torch = fresh(f"import torch; {here}{report}")
    emit(what="import torch", **torch)
    emit(what="import torch, transformers", **fresh(f"import torch, transformers; {here}{report}"))
    with tempfile.TemporaryDirectory() as folder:
        small(Path(folder))
        prompt = json.dumps(list(range(3, 20)))
        found = fresh(f"{here}ours({folder!r}, 'fp32', {prompt!r})")
    adds = found["rss"] - torch["rss"]
    emit(
        what="small model, fp32, after a first run",
        **found,
        adds_to_torch=adds,
        bound=SMALL_ADDS,
        holds=adds < SMALL_ADDS,
    )
    for dtype, long in {"fp32": "float32", "bf16": "bfloat16"}.items():
        hf = fresh(f"{here}theirs({smol!r}, {long!r})")
        emit(what=f"SmolLM2 {dtype}, Hugging Face alone, after a first forward", **hf)
        found = fresh(f"{here}ours('smollm2', {dtype!r}, {json.dumps(TEXT)!r})")
        bound: dict[str, object] = {}
        if dtype == "bf16":
            bound = {"bound": BF16_ADDS, "holds": found["rss"] - torch["rss"] < BF16_ADDS}
        emit(
            what=f"SmolLM2 {dtype}, after a first run",
            **found,
            adds_to_torch=found["rss"] - torch["rss"],
            adds_to_hugging_face=found["rss"] - hf["rss"],
            **bound,
        )
    emit(what="heavy modules on the way to ng.load", **fresh(f"{here}added_by_import()"))


if __name__ == "__main__":
    main()
