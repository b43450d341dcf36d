"""CONTRIBUTING's page on views quotes the code: what it shows stands there, and its files exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
PAGE = TEXT[TEXT.index("## Adding a view") : TEXT.index("## Changes and releases")]


def test_quoted_lines_stand_in_the_files_that_they_are_quoted() -> None:
    blocks = re.findall(r"```(?:python|ts)\n(?:#|//) (\S+)\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) >= 4
    for path, code in blocks:
        lines = (ROOT / path).read_text("utf-8").splitlines()
        for line in code.splitlines():
            assert line in {"", "...", *lines}, f"{path}: {line}"


def test_the_files_that_it_names_are_there() -> None:
    named = re.findall(r"`((?:tests|widgets|js)/[\w/.]+)`", PAGE)
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []
