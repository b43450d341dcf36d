"""A real Ray cluster of two processes: the same store to the byte, also when one is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import neuroglass as ng
from neuroglass.features import corpus as corpus_module

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(600)]
TABLES = ("features", "examples", "token_stats", "pairs", "hist", "neurons")


def test_two_workers_one_of_them_killed(tmp_path: Path, monkeypatch: Any) -> None:
    psutil = pytest.importorskip("psutil")
    pytest.importorskip("ray")
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

    def kill_one() -> None:
        folder = tmp_path / "ray" / "shards"
        until = time.monotonic() + 120
        while time.monotonic() < until and not killed:
            if folder.is_dir() and any(f.suffix != ".part" for f in folder.iterdir()):
                for process in psutil.Process().children(recursive=True):
                    if process.name().startswith("ray::_Worker"):
                        os.kill(process.pid, signal.SIGKILL)
                        killed.append(process.pid)
                        return
            time.sleep(0.02)

    killer = threading.Thread(target=kill_one)
    killer.start()
    there = ng.harvest(
        model, bases, texts * 3, out=tmp_path / "ray", engine="ray", workers=2, **options
    )
    killer.join()
    assert killed
    for name in here:
        for table in TABLES:
            a, b = (s[name].folder / f"{table}.parquet" for s in (here, there))
            if a.exists() or name != "neurons":
                pd.testing.assert_frame_equal(
                    pd.read_parquet(a), pd.read_parquet(b), check_exact=True
                )
    own = [p for p in psutil.Process().children(recursive=True) if "ray" in p.name()]
    assert not own


def test_a_basis_of_ones_own_class_stays_here(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    model = ng.load("zoo/A")

    class Mine(ng.NeuronBasis):
        pass

    with pytest.raises(ng.InputError, match="can't be sent"):
        ng.harvest(
            model, Mine(model, 0), ["Some text."], out=tmp_path / "s", engine="ray", progress=False
        )
