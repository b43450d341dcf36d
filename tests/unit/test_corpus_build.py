"""The corpus recipe: the file, its checksum, what stops it, and the command."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from errno import EACCES, ENOSPC
from pathlib import Path

import pytest

from neuroglass.model.errors import InputError
from neuroglass.recipes.corpus import ChangedError, CorpusError, assemble, build
from neuroglass.recipes.corpus.__main__ import main
from neuroglass.recipes.corpus.text import Documents, Packages

WORDS = [f"word {i}" for i in range(10)]  # 6 bytes each


def words(_: Packages) -> Documents:
    yield from (("npm:words (all)", word) for word in [*WORDS, *WORDS])


def number(_: Packages) -> Documents:
    yield "deb:number", "42"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus of two categories, and no packages."""
    monkeypatch.setattr(assemble, "fetch", lambda *_: {})
    monkeypatch.setattr(assemble, "MAKERS", {"words": words, "number": number})
    monkeypatch.setattr(assemble, "LIMITS", {"words": 36, "number": 100})


def rows(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


@pytest.mark.usefixtures("small")
def test_the_expected_corpus_appears_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("before")
    with pytest.raises(ChangedError) as caught:
        build(out, tmp_path)
    (partial,) = tmp_path.glob("out.jsonl.*")
    assert out.read_text() == "before"
    sha = hashlib.sha256(partial.read_bytes()).hexdigest()
    for said in (sha, assemble.EXPECTED, str(partial), "a package changed", "--any"):
        assert said in str(caught.value)

    monkeypatch.setattr(assemble, "EXPECTED", sha)
    partial.unlink()
    made = build(out, tmp_path)
    assert list(tmp_path.iterdir()) == [out]
    assert (made.path, made.sha256, made.documents, made.text) == (out, sha, 7, 38)
    assert made.size == out.stat().st_size
    ordered = sorted(
        WORDS, key=lambda word: hashlib.sha1(word.encode(), usedforsecurity=False).hexdigest()
    )
    assert rows(out) == [
        *({"text": w, "category": "words", "source": "npm:words (all)"} for w in ordered[:6]),
        {"text": "42", "category": "number", "source": "deb:number"},
    ]


@pytest.mark.usefixtures("small")
def test_a_smaller_scale_is_a_part_of_the_same_and_compared_with_nothing(tmp_path: Path) -> None:
    build(tmp_path / "all", tmp_path, any_checksum=True)
    build(tmp_path / "half", tmp_path, 0.5)
    assert rows(tmp_path / "half") == [*rows(tmp_path / "all")[:3], rows(tmp_path / "all")[-1]]


@pytest.mark.usefixtures("small")
def test_a_temporary_cache_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[Path] = []

    def fetch_here(cache: Path, _: object) -> dict[str, Path]:
        assert cache.is_dir()
        used.append(cache)
        return {}

    monkeypatch.setattr(assemble, "fetch", fetch_here)
    build(tmp_path / "out", scale=0.5)
    assert len(used) == 1
    assert not used[0].exists()


@pytest.mark.usefixtures("small")
def test_a_full_disk_says_how_much_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> bytes:
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    monkeypatch.setattr(assemble, "as_line", full)
    with pytest.raises(CorpusError, match=r"disk is full.* 107,677,349 bytes.* are free.*--scale"):
        build(tmp_path / "out", tmp_path)
    with pytest.raises(CorpusError, match=r" 53,838,675 bytes"):
        build(tmp_path / "out", tmp_path, 0.5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(EACCES, "no"), ValueError("x")])
def test_whatever_stops_it_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def stopped(_: Packages) -> Iterator[tuple[str, str]]:
        assert len(list(tmp_path.iterdir())) == 1  # it is being written
        raise error
        yield

    monkeypatch.setitem(assemble.MAKERS, "number", stopped)
    with pytest.raises(type(error)):
        build(tmp_path / "out", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_a_scale_that_is_none(tmp_path: Path, scale: float) -> None:
    with pytest.raises(InputError, match="above 0"):
        build(tmp_path / "out", tmp_path, scale)


@pytest.mark.usefixtures("small")
def test_paths_that_can_not_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a folder"):
        build(tmp_path, tmp_path)
    with pytest.raises(InputError, match=r"no folder .*nowhere"):
        build(tmp_path / "nowhere" / "out", tmp_path)
    for cache in ("file", "file/below"):
        with pytest.raises(InputError, match=f"The cache .*{cache}' is no folder"):
            build(tmp_path / "out", tmp_path / cache)


# --- the command


@pytest.mark.usefixtures("small")
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, cache = tmp_path / "out.jsonl", str(tmp_path)
    assert main([str(out), "--cache", cache]) == 1
    said = capsys.readouterr()
    assert "a package changed" in said.err
    (partial,) = tmp_path.glob("*.part")
    partial.unlink()
    assert main([str(out), "--cache", cache, "--any"]) == 0
    said = capsys.readouterr()
    assert f"its SHA-256 should be {assemble.EXPECTED}" in said.out
    assert re.search(r"words +available +60 B  kept +36 B in +6 documents", said.out)
    assert f"sha256 {hashlib.sha256(out.read_bytes()).hexdigest()}" in said.out
    assert main([str(out), "--cache", cache, "--scale", "0"]) == 1
    assert "above 0" in capsys.readouterr().err


def test_a_polite_kill_leaves_no_temporary_file(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from neuroglass.recipes.corpus import assemble\n"
        "from neuroglass.recipes.corpus.__main__ import main\n"
        "assemble.fetch = lambda *_: {}\n"
        "def maker(_):\n"
        "    print(os.listdir(sys.argv[1]))\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    yield 'a', 'b'\n"
        "assemble.MAKERS = {'code': maker}\n"
        "sys.exit(main([sys.argv[1] + '/out', '--cache', sys.argv[1]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 130
    assert ".part" in done.stdout
    assert "the temporary file is removed" in done.stderr
    assert list(tmp_path.iterdir()) == []
