"""The README shows what there is, and what it shows runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import neuroglass as ng

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def test_every_public_name_is_in_the_readme_and_exists() -> None:
    missing = [name for name in ng.__all__ if not re.search(rf"\b{name}\b", README)]
    assert missing == []
    assert all(getattr(ng, name) is not None for name in ng.__all__)
    with pytest.raises(AttributeError, match="no attribute 'heatmaps'"):
        _ = ng.heatmaps


@pytest.mark.model
def test_its_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    scope: dict[str, object] = {}
    for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(code, scope)
    assert isinstance(scope["heatmap"], ng.LiveTokenHeatmap)
    assert isinstance(scope["run"], ng.Run)
    assert capsys.readouterr().out.startswith(" Rome")  # as its comment says
    scope["model"].close()  # type: ignore[attr-defined]


def test_the_pictures_are_there() -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert pictures
    assert all((ROOT / picture).stat().st_size > 10_000 for picture in pictures)
