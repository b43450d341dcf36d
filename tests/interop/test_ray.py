"""A real Ray cluster of two processes: the same store to the byte, also when one is killed."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

import neuroglass as ng
from neuroglass.features import corpus as corpus_module

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(900)]
TABLES = ("features", "examples", "token_stats", "pairs", "hist", "heads")


def need_ray() -> None:
    """Without importing it: what it listens at is decided then."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed")


def test_two_workers_one_of_them_killed(tmp_path: Path, monkeypatch: Any) -> None:
    psutil = pytest.importorskip("psutil")
    need_ray()
    model = ng.load("zoo/A")
    sae = ng.SAE.load("zoo/A-8x", model)
    bases: list[Any] = [sae, ng.NeuronBasis(model, 0)]
    texts = [t for kind in ("english_prose", "code", "dna") for t in ng.zoo_texts(kind)]
    options: dict[str, Any] = {
        "context": 64,
        "keep": ng.Keep(top=5, per_interval=2, firing=5, random=10),
        "shard_tokens": 1,  # one group of windows each
        "heads": [(0, 2)],
        "progress": False,
    }
    # the workers see the usual size of batches, so this process keeps it too
    assert corpus_module.rows_a_batch(64) == 64
    here = ng.harvest(model, bases, texts * 3, out=tmp_path / "here", **options)

    killed: list[int] = []
    heard: set[str] = set()
    over = threading.Event()

    def kill_one() -> None:
        """Once there is a shard, and every process of Ray listens."""
        folder = tmp_path / "ray" / "shards"
        while not over.wait(0.02):
            if folder.is_dir() and any(f.suffix != ".part" for f in folder.iterdir()):
                children = psutil.Process().children(recursive=True)
                heard.update(listening(psutil, children))
                for process in children:
                    if process.name().startswith("ray::_Worker"):
                        os.kill(process.pid, signal.SIGKILL)
                        killed.append(process.pid)
                        return

    killer = threading.Thread(target=kill_one)
    killer.start()
    try:
        there = ng.harvest(
            model, bases, texts * 3, out=tmp_path / "ray", engine="ray", workers=2, **options
        )
    finally:
        over.set()
        killer.join()
    assert killed, "no worker was found to kill"
    assert heard
    assert heard <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    for name in here:
        own, theirs = here[name].folder, there[name].folder
        tables = {f.name for f in own.glob("*.parquet")}
        wanted = {*TABLES, "neurons"} if name == "A-8x" else set(TABLES)
        assert tables == {f"{t}.parquet" for t in wanted}
        assert {f.name for f in theirs.glob("*.parquet")} == tables
        for table in tables:
            assert (own / table).read_bytes() == (theirs / table).read_bytes(), table
        assert here[name].meta == there[name].meta
    assert not [p for p in psutil.Process().children(recursive=True) if "ray" in p.name()]


def listening(psutil: Any, processes: list[Any]) -> set[str]:
    """The addresses that some processes listen at."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found |= {c.laddr.ip for c in process.net_connections() if c.status == "LISTEN"}
    return found


def test_a_basis_of_ones_own_class_stays_here(tmp_path: Path) -> None:
    need_ray()
    model = ng.load("zoo/A")

    class Mine(ng.NeuronBasis):
        pass

    with pytest.raises(ng.InputError, match="can't be sent"):
        ng.harvest(
            model, Mine(model, 0), ["Some text."], out=tmp_path / "s", engine="ray", progress=False
        )
