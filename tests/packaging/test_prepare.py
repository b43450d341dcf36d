"""What the Makefile says and does when something is missing or takes too long."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tools import prepare


@pytest.fixture(autouse=True)
def nothing_can_be_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prepare, "apt_install", lambda packages: False)
    monkeypatch.setattr(prepare, "LOG", tmp_path / "build" / "prepare.log")


def test_an_old_python_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(prepare.MissingError, match=r"is 3\.9\.2: install python3\.11") as caught:
        prepare.good_python()
    assert "\n" not in str(caught.value)


def test_a_newer_python_on_the_path_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    here = sys.executable
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    found = {"python3.11": here}
    monkeypatch.setattr(shutil, "which", found.get)
    assert prepare.good_python() == here


def test_a_python_without_venv_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(prepare.MissingError, match="install the system package python3-venv$"):
        prepare.good_python()


def test_a_missing_browser_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prepare, "find_chromium", lambda: None)
    monkeypatch.delenv("CHROMIUM", raising=False)
    assert prepare.main(["chromium"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "install the system packages chromium" in line


def test_a_wrong_browser_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHROMIUM", "no-such-browser")
    assert prepare.main(["chromium"]) == 1
    assert "CHROMIUM=no-such-browser is no program" in capsys.readouterr().err


def test_a_command_over_its_time_ends_with_its_children(tmp_path: Path) -> None:
    number = tmp_path / "pid"
    script = f"sleep 60 & echo $! > {number}; wait"
    start = time.monotonic()
    assert prepare.limited(["sh", "-c", script], 0.5, output="drop") == 124
    assert time.monotonic() - start < 20
    child = int(number.read_text())
    for _ in range(100):
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or ") Z " in state.read_text():
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("a child went on")


def test_a_failing_command_shows_the_end_of_its_log(capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", "print('why it failed'); raise SystemExit(3)"]
    assert prepare.limited(command, 60, output="log") == 3
    assert "why it failed" in capsys.readouterr().err


def test_targets_are_listed_and_need_nothing() -> None:
    shown = subprocess.run(
        ["make", "help"], cwd=prepare.ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    for target in ("demo", "test", "test-matrix", "bench", "gallery", "lint", "clean"):
        assert f"make {target} " in shown
