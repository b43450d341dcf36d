"""Fixtures: a recording comm in place of a kernel's, tiny models, and the real SmolLM2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import comm
import pytest
from comm.base_comm import BaseComm

from neuroglass.model.live import LiveModel


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


def tiny(kind: str = "llama", **changes: Any) -> Any:
    """A random-weight model of a family, small enough for any test."""
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 56,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "vocab_size": 101,
        "max_position_embeddings": 64,
    }
    gpt2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": 101, "n_positions": 64}
    name = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}.get(kind)
    if name is None:
        hf = transformers.GPT2LMHeadModel(transformers.GPT2Config(**{**gpt2, **changes}))
    else:
        config = getattr(transformers, f"{name}Config")(**{**sizes, **changes})
        hf = getattr(transformers, f"{name}ForCausalLM")(config)
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
