"""Fixtures: a recording comm in place of a kernel's, tiny models, and the real SmolLM2."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import comm
import pytest
from comm.base_comm import BaseComm

from neuroglass.model.live import LiveModel


def pytest_configure() -> None:
    # a shell's background jobs ignore SIGINT, and the tests of interrupts could not interrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)


class RecordingComm(BaseComm):
    """A comm whose other end is a list: what a widget sends is kept, messages are handed in."""

    made: list[RecordingComm]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        super().__init__(*args, **kwargs)

    def publish_msg(
        self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any
    ) -> None:
        self.sent.append({"type": msg_type, "data": data or {}, "buffers": buffers or []})

    def answers(self) -> list[dict[str, Any]]:
        """Custom messages that went to the browser."""
        return [m["data"]["content"] for m in self.sent if m["data"].get("method") == "custom"]

    def updates(self) -> list[dict[str, Any]]:
        """Trait updates that went to the browser."""
        return [m["data"]["state"] for m in self.sent if m["data"].get("method") == "update"]

    def receive(self, content: Any) -> None:
        """A custom message comes from the browser."""
        data = {"method": "custom", "content": content}
        self.handle_msg({"content": {"data": data}, "buffers": []})

    def receive_state(self, **state: Any) -> None:
        """A trait update comes from the browser."""
        data = {"method": "update", "state": state, "buffer_paths": []}
        self.handle_msg({"content": {"data": data}, "buffers": []})


@pytest.fixture
def comms(monkeypatch: pytest.MonkeyPatch) -> list[RecordingComm]:
    """Every comm opened in the test, in order."""
    made: list[RecordingComm] = []

    def create(*args: Any, **kwargs: Any) -> RecordingComm:
        made.append(RecordingComm(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(comm, "create_comm", create)
    return made


def comm_of(view: Any) -> RecordingComm:
    assert isinstance(view.comm, RecordingComm)
    return view.comm


def ask(view: Any, kind: str, **body: Any) -> list[dict[str, Any]]:
    """All answers to one request, the acknowledgement left out."""
    found = comm_of(view)
    number = 1 + len(found.answers())
    found.receive({"v": 1, "view": "page", "id": number, "kind": kind, **body})
    deadline = time.monotonic() + 120
    while True:
        mine = [a for a in found.answers() if a["id"] == number and (a["seq"] or a["done"])]
        if mine and mine[-1]["done"]:
            return mine
        assert time.monotonic() < deadline, f"{kind} is not answered"
        time.sleep(0.01)


SIZES = {
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 101,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 100,
}
_PLAIN = {k: v for k, v in SIZES.items() if k not in {"num_key_value_heads", "head_dim"}}
_MIXED = ["sliding_attention", "full_attention", "sliding_attention"]
_SOFT = {"attn_logit_softcapping": 0.2, "final_logit_softcapping": 1.0}  # small: they must matter
# kind -> (class of the model and of its config, what the config says); the window is shorter than
# the texts of the tests
TINY: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", SIZES),
    "llama3": (
        "LlamaForCausalLM",
        "LlamaConfig",
        SIZES
        | {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            }
        },
    ),
    "mistral": ("MistralForCausalLM", "MistralConfig", SIZES | {"sliding_window": 4}),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", SIZES),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", SIZES),
    "gemma2": (
        "Gemma2ForCausalLM",
        "Gemma2Config",
        SIZES | _SOFT | {"sliding_window": 4, "layer_types": _MIXED, "query_pre_attn_scalar": 8},
    ),
    "gemma3": (
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        SIZES | {"sliding_window": 4, "layer_types": _MIXED, "query_pre_attn_scalar": 8},
    ),
    "gemma3_multimodal": (
        "Gemma3ForConditionalGeneration",
        "Gemma3Config",
        {
            "text_config": SIZES | {"layer_types": _MIXED, "sliding_window": 4},
            "vision_config": {
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 28,
                "patch_size": 14,
            },
            "mm_tokens_per_image": 4,
            "image_token_index": 99,
            "boi_token_index": 98,
            "eoi_token_index": 97,
        },
    ),
    "olmo2": ("Olmo2ForCausalLM", "Olmo2Config", SIZES),
    "phi3": ("Phi3ForCausalLM", "Phi3Config", SIZES | {"sliding_window": 4}),
    "gpt_neox": ("GPTNeoXForCausalLM", "GPTNeoXConfig", _PLAIN),
    "gpt_neox_sequential": (
        "GPTNeoXForCausalLM",
        "GPTNeoXConfig",
        _PLAIN | {"use_parallel_residual": False},
    ),
    "gpt2": (
        "GPT2LMHeadModel",
        "GPT2Config",
        {"n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": 101, "n_positions": 64}
        | {"bos_token_id": 1, "eos_token_id": 100},
    ),
    "opt": (
        "OPTForCausalLM",
        "OPTConfig",
        {k: v for k, v in _PLAIN.items() if k != "intermediate_size"}
        | {"ffn_dim": 56, "word_embed_proj_dim": 32},
    ),
}


def tiny(kind: str = "llama", **changes: Any) -> Any:
    """A random-weight model of a family, small enough for any test."""
    import torch
    import transformers

    torch.manual_seed(0)
    model, config, sizes = TINY[kind]
    hf = getattr(transformers, model)(getattr(transformers, config)(**{**sizes, **changes}))
    with torch.no_grad():  # biases and norms start as 0 and 1, which would hide mistakes
        for p in hf.parameters():
            p.add_(torch.randn_like(p) * 0.05)
    return hf.eval()


@pytest.fixture
def load_tiny() -> Iterator[Callable[..., LiveModel]]:
    """Load a tiny model, closed after the test: ``load_tiny("gpt2", tokenizer=None)``."""
    from neuroglass import load

    made: list[LiveModel] = []

    def make(kind: str = "llama", tokenizer: Any = None, **changes: Any) -> LiveModel:
        made.append(load(tiny(kind, **changes), tokenizer))
        return made[-1]

    yield make
    for model in made:
        model.close()


@pytest.fixture(scope="session")
def smollm2() -> Iterator[LiveModel]:
    """The real model."""
    from neuroglass import load

    model = load("smollm2")
    yield model
    model.close()


@pytest.fixture
def load_smollm2() -> Iterator[Callable[[str], LiveModel]]:
    """The real model in another dtype, closed after the test."""
    from neuroglass import load

    made: list[LiveModel] = []

    def make(dtype: str) -> LiveModel:
        made.append(load("smollm2", dtype=dtype))
        return made[-1]

    yield make
    for model in made:
        model.close()


@pytest.fixture(scope="session")
def chat_server() -> Iterator[str]:
    """A real OpenAI-compatible server on this machine that answers with SmolLM2; its address."""
    import xllamacpp

    from neuroglass.model import smollm2 as real

    weights = real.packaged()
    assert weights, real.INSTALL
    settings = xllamacpp.CommonParams()
    settings.model.path = str(weights)
    settings.hostnames, settings.port = ["127.0.0.1"], 0
    settings.n_ctx, settings.n_parallel, settings.warmup, settings.ui = 2048, 1, False, False
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.model_alias = {"smollm2"}
    server = xllamacpp.Server(settings)
    yield f"{server.listening_address}/v1"
    del server  # its threads end with it
