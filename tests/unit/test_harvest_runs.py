"""Harvests that are masked, interrupted, killed, merged, refused, or given what is no good."""

from __future__ import annotations

import _thread
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import neuroglass as ng
from neuroglass.features import corpus as corpus_module
from neuroglass.features import passes, sketch, tables
from neuroglass.features.corpus import Corpus, need_store
from neuroglass.features.exact import hash_of, mix
from neuroglass.model import live as live_module

KEEP = ng.Keep(top=6, intervals=5, per_interval=3, firing=8, random=12)
OPTIONS: dict[str, Any] = {"context": 48, "keep": KEEP, "progress": False}
TABLES = ("features", "examples", "token_stats", "pairs", "hist")


@pytest.fixture(scope="module")
def model() -> ng.LiveModel:
    return ng.load("zoo/A")


@pytest.fixture(scope="module")
def sae(model: ng.LiveModel) -> ng.SAE:
    return ng.SAE.load("zoo/A-1x", model)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    found = [t for kind in ("english_prose", "code") for t in ng.zoo_texts(kind)]
    return [t[:1000] for t in found[:24]]


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "_TOKENS_A_BATCH", 480)


def same_stores(a: Path, b: Path) -> None:
    """To the byte."""
    names = {f.name for f in a.iterdir() if f.suffix in {".parquet", ".npy"}}
    assert names == {f.name for f in b.iterdir() if f.suffix in {".parquet", ".npy"}}
    assert {f"{t}.parquet" for t in TABLES} <= names
    for name in names:
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


def shards(folder: Path) -> dict[str, int]:
    """Shards that are done, and when they were made."""
    there = folder / "shards"
    found = there.iterdir() if there.is_dir() else ()
    return {f.name: f.stat().st_mtime_ns for f in found if f.suffix != ".part"}


# ---------------------------------------------------------------------- masks


def test_masks_are_obeyed_counted_and_recorded(
    model: ng.LiveModel, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "MASSIVE_RATIO", 1.15)  # so that some tokens are
    basis = ng.NeuronBasis(model, 0)
    store = ng.harvest(
        model, basis, texts[:6], out=tmp_path / "s", skip_positions=3, prepend_bos=True,
        shard_tokens=1, **OPTIONS,
    )  # fmt: skip
    corpus, left, kept = store.corpus, {"special": 0, "massive": 0, "position": 0}, set()
    for group in range(corpus.n_groups):
        for windows in corpus.batches(group):
            run = model.run(corpus.rows(windows), sites=[], logits=False)
            document, start, _ = corpus.place(windows)
            for row, column in run.mask.nonzero().tolist():
                if run.masks["special"][row, column]:
                    left["special"] += 1
                elif run.masks["massive"][row, column]:
                    left["massive"] += 1
                elif column < 3:
                    left["position"] += 1
                else:
                    kept.add((int(document[row]), int(start[row]) + column - len(corpus.lead)))
    assert min(left.values()) > 0
    assert store.meta["left_out"] == left
    assert store.n_tokens == len(kept)
    assert store.n_tokens + sum(left.values()) == corpus.n_tokens + corpus.n_windows
    assert {k: store.meta[k] for k in ("context", "prepend_bos", "skip_special", "skip_massive",
                                       "skip_positions", "precision")} == {
        "context": 48, "prepend_bos": True, "skip_special": True, "skip_massive": True,
        "skip_positions": 3, "precision": "fp32",
    }  # fmt: skip
    assert store.meta["corpus_about"]["lead"] == list(corpus.lead) == [0]
    rows = store.sql('SELECT document, "position", "at", start FROM examples')
    assert set(zip(rows["document"], rows["position"], strict=True)) <= kept
    for row in rows.iloc[::50].itertuples():
        assert all((row.document, row.start + at) in kept for at in row.at)

    everything = ng.harvest(
        model, basis, texts[:6], out=tmp_path / "e", skip_special=False, skip_massive=False,
        prepend_bos=True, **OPTIONS,
    )  # fmt: skip
    assert everything.meta["left_out"] == {"special": 0, "massive": 0, "position": 0}
    assert everything.n_tokens == corpus.n_tokens + corpus.n_windows
    bare = ng.harvest(model, basis, texts[:6], out=tmp_path / "b", prepend_bos=False,
                      skip_massive=False, **OPTIONS)  # fmt: skip
    assert bare.corpus.lead == ()
    assert bare.meta["prepend_bos"] is False
    assert bare.n_tokens == bare.corpus.n_tokens == corpus.n_tokens


def test_an_example_may_be_the_token_that_leads(
    model: ng.LiveModel, texts: list[str], tmp_path: Path
) -> None:
    store = ng.harvest(
        model, ng.NeuronBasis(model, 0), texts[:3], out=tmp_path / "s", skip_special=False,
        prepend_bos=True, **OPTIONS,
    )  # fmt: skip
    led = store.sql(
        "SELECT feature, rank FROM examples WHERE position < start AND \"group\" = 'top'"
    )
    assert len(led)
    feature, rank = (int(v) for v in led.iloc[0])
    row = store.examples(feature).iloc[rank]
    assert row["at"] == 0
    assert row["ids"][0] == store.corpus.lead[0]
    assert row["token"] == row["tokens"][0] == store.pieces([0])[0]
    run = model.run([row["ids"].tolist()], sites=["neurons.0"])
    np.testing.assert_allclose(
        row["values"], run["neurons.0"][0, :, feature].clamp_min(0), atol=2e-4
    )
    short = store.examples(feature, context=5).iloc[rank]
    assert len(short["tokens"]) == len(short["ids"]) == len(short["values"]) == 5


# ---------------------------------------------------------------------- what is kept


def test_many_features_keep_the_commonest_with_an_error(
    model: ng.LiveModel, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above 8,192 features; here the limit is lowered, so that the exact counts are known."""
    wide = ng.SAE.load("zoo/A-8x", model)
    exact = ng.harvest(model, wide, texts, out=tmp_path / "x", **OPTIONS)
    assert exact.meta["pairs"] == {"kept": None, "sample": 1}
    for module in (sketch, tables):
        monkeypatch.setattr(module, "EXACT_PAIRS", 1000)
    store = ng.harvest(model, wide, texts, out=tmp_path / "s", shard_tokens=1, **OPTIONS)
    assert store.meta["pairs"] == {"kept": 64, "sample": 16}
    pairs = pd.read_parquet(store.folder / "pairs.parquet")
    assert pairs.groupby("feature").size().max() == 64
    assert (pairs["error"] > 0).all()
    true = pd.read_parquet(exact.folder / "pairs.parquet").set_index(["feature", "other"])["count"]
    seen = pairs.set_index(["feature", "other"])
    # two standard deviations of a sample: about 95 of 100 are within them; those are kept that
    # were drawn often, so it is a little less
    off = (seen["count"] - true.reindex(seen.index).fillna(0)).abs()
    assert (off <= seen["error"]).mean() > 0.9
    assert pairs[["feature", "other", "count"]].to_numpy().tolist() == sampled_pairs(store, wide)
    busy = int(pairs["feature"].to_numpy()[pairs["left_out"].argmax()])
    found = store.coactive(busy)
    assert found["left_out"][0] > 0
    assert found["left_out"][0] <= found["count"].min()
    # tokens are counted exactly all the same
    whole = pd.read_parquet(exact.folder / "token_stats.parquet")
    best = pd.read_parquet(store.folder / "token_stats.parquet")
    for feature, part in best.groupby("feature"):
        want = whole[whole["feature"] == feature]
        pd.testing.assert_frame_equal(
            part.drop(columns="left_out").reset_index(drop=True),
            want.drop(columns="left_out").head(64).reset_index(drop=True),
        )
        beyond = want["count"].iloc[64] if len(want) > 64 else 0
        assert (part["left_out"] == beyond).all()


def sampled_pairs(store: Any, sae: ng.SAE) -> list[list[int]]:
    """Sixteen times the counts on the tokens whose hash is in the first sixteenth."""
    found: dict[int, Counter[int]] = {}
    for group in range(store.corpus.n_groups):
        for windows in store.corpus.batches(group):
            run = store.model.run(store.corpus.rows(windows), sites=["neurons.0"], logits=False)
            keep = run.mask & ~run.masks["special"] & ~run.masks["massive"]
            document, start, _ = store.corpus.place(windows)
            dense = sae.encode_dense(run["neurons.0"][keep])
            for (row, offset), values in zip(keep.nonzero().tolist(), dense, strict=True):
                if hash_of(KEEP.seed, document[row], start[row], offset)[0] < np.uint64(1 << 60):
                    here = values.nonzero().flatten().tolist()
                    for i in here:
                        found.setdefault(i, Counter()).update(j for j in here if j != i)
    rows = []
    for i in sorted(found):
        best = sorted(found[i].items(), key=lambda kv: (-kv[1], kv[0]))[:64]
        rows += [[i, j, 16 * n] for j, n in best]
    return rows


def test_several_bases_share_a_pass(
    model: ng.LiveModel, sae: ng.SAE, texts: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    n_passes = 0
    real = passes.ShardWorker._pass

    def counted(self: Any, rows: Any) -> Any:
        nonlocal n_passes
        n_passes += 1
        return real(self, rows)

    monkeypatch.setattr(passes.ShardWorker, "_pass", counted)
    both = ng.harvest(
        model, [sae, ng.NeuronBasis(model, 0, "own")], texts, out=tmp_path / "b", **OPTIONS
    )
    together, n_passes = n_passes, 0
    alone = ng.harvest(model, sae, texts, out=tmp_path / "a", **OPTIONS)
    assert together == n_passes
    same_stores(both["A-1x"].folder, alone.folder)
    own = ng.harvest(model, ng.NeuronBasis(model, 0, "own"), texts, out=tmp_path / "o", **OPTIONS)
    same_stores(both["own"].folder, own.folder)


@pytest.mark.parametrize("cut", ["one", "all", "shuffled"])
def test_every_pair_of_heads_equals_brute_force(
    model: ng.LiveModel, texts: list[str], tmp_path: Path, cut: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(corpus_module, "_TOKENS_A_BATCH", 96)
    heads = [(0, 1), (0, 3)]
    options = OPTIONS | {"heads": heads, "shard_tokens": 1 << 30 if cut == "one" else 1}
    basis, out, few = ng.NeuronBasis(model, 0), tmp_path / "s", texts[:4]
    if cut == "shuffled":
        assert ng.harvest(model, basis, few, out=out, only=[1], **options) is None
        n = Corpus.open(out / "tokens").n_groups
        assert n > 3
        for shard in np.random.default_rng(0).permutation(n).tolist():
            ng.harvest(model, basis, few, out=out, only=[shard], **options)
    store = ng.harvest(model, basis, few, out=out, **options)
    corpus = store.corpus
    lead = len(corpus.lead)
    values: dict[tuple[int, int, int, int], float] = {}  # head, window, query, key
    for group in range(corpus.n_groups):
        for windows in corpus.batches(group):
            run = model.run(corpus.rows(windows), sites=["pattern.0", "v.0"], logits=False)
            keep = run.mask & ~run.masks["special"] & ~run.masks["massive"]
            for _, h in heads:
                head = model.head(0, h)
                for b, window in enumerate(windows.tolist()):
                    size = (run["v.0"][b, :, head.kv_head] @ head.w_out).norm(dim=-1)
                    moved = run["pattern.0"][b, h] * size
                    at = keep[b].nonzero().flatten().tolist()
                    values |= {(h, window, q, k): float(moved[q, k])
                               for q in at for k in at if k <= q}  # fmt: skip
    want = []
    for _, h in heads:
        own = {key[1:]: v for key, v in values.items() if key[0] == h}
        peak: dict[int, tuple[float, int, int]] = {}
        for (w, q, k), v in own.items():
            if w not in peak or v > peak[w][0]:
                peak[w] = (v, q, k)
        best = sorted(peak.items(), key=lambda kv: (-kv[1][0], kv[0]))[: KEEP.top]
        want += [("top", h, r, w, q, k, v) for r, (w, (v, q, k)) in enumerate(best)]

        def chance(w: int, q: int, k: int, h: int = h) -> int:
            document, start, _ = (int(a[0]) for a in corpus.place(np.array([w])))
            token = hash_of(KEEP.seed, document, start, q)
            return int(mix(token ^ hash_of(0, h, k))[0])

        drawn = sorted(own, key=lambda key: chance(*key))[: KEEP.firing]
        want += [("random", h, r, w, q, k, own[w, q, k]) for r, (w, q, k) in enumerate(drawn)]
    found = store.heads().set_index(["group", "head", "rank"])
    assert len(found) == len(want)
    for name, h, r, w, q, k, v in want:
        row = found.loc[(name, h, r)]
        document, start, length = (int(a[0]) for a in corpus.place(np.array([w])))
        assert (row["document"], row["start"], row["length"]) == (document, start, length)
        assert (row["query"], row["key"]) == (start + q - lead, start + k - lead)
        assert row["value"] == pytest.approx(v, rel=1e-5)
        assert row["key_token"] == store.pieces(corpus.rows(np.array([w]))[0])[k]


def test_the_bar_counts_every_token(
    model: ng.LiveModel, sae: ng.SAE, texts: list[str], tmp_path: Path, monkeypatch: Any
) -> None:
    import tqdm.auto

    bars: list[Any] = []

    class Bar(tqdm.auto.tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs, disable=False)
            bars.append(self)

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    options = OPTIONS | {"progress": True, "shard_tokens": 1}
    ng.harvest(model, sae, texts, out=tmp_path / "s", only=[0, 2], **options)
    store = ng.harvest(model, sae, texts, out=tmp_path / "s", **options)
    assert [b.n == b.total for b in bars] == [True, True]
    assert sum(b.n for b in bars) == store.corpus.n_tokens


# ---------------------------------------------------------------------- kill, cancel, merge

CHILD = """
import sys
import neuroglass as ng
from neuroglass.features import corpus
corpus._TOKENS_A_BATCH = 480
model = ng.load("zoo/A")
texts = [t[:1000] for kind in ("english_prose", "code") for t in ng.zoo_texts(kind)][:24]
keep = ng.Keep(top=6, intervals=5, per_interval=3, firing=8, random=12)
ng.harvest(model, ng.SAE.load("zoo/A-1x", model), texts, out=sys.argv[1], context=48, keep=keep,
           shard_tokens=1, progress=False)
"""


def test_a_killed_process_loses_its_last_shard_alone(
    model: ng.LiveModel, sae: ng.SAE, texts: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "s"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(out)])
    until = time.monotonic() + 240
    while len(shards(out)) < 3 and child.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    before = shards(out)
    assert len(before) >= 3
    with pytest.raises(ng.InputError, match="an unfinished harvest"):
        ng.open_store(out)
    options = OPTIONS | {"shard_tokens": 1}
    n = Corpus.open(out / "tokens").n_groups
    assert len(before) < n
    ng.harvest(model, sae, texts, out=out, only=range(n - 1), **options)
    after = shards(out)
    assert {k: after[k] for k in before} == before  # none was made again
    resumed = ng.harvest(model, sae, texts, out=out, **options)
    whole = ng.harvest(model, sae, texts, out=tmp_path / "w", **options)
    same_stores(resumed.folder, whole.folder)
    assert sorted(f.name for f in out.iterdir()) == sorted(
        f.name for f in (tmp_path / "w").iterdir()
    )


def test_an_interrupt_stops_and_leaves_the_model_as_it_was(
    model: ng.LiveModel, sae: ng.SAE, texts: list[str], tmp_path: Path
) -> None:
    before = model.run("The cat sat", sites=["neurons.0"])
    out = tmp_path / "s"

    def interrupt() -> None:
        until = time.monotonic() + 120
        while len(shards(out)) < 2 and time.monotonic() < until:
            time.sleep(0.002)
        _thread.interrupt_main()

    options = OPTIONS | {"shard_tokens": 1}
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        ng.harvest(model, sae, texts * 4, out=out, **options)
    thread.join()
    done = shards(out)
    assert len(done) >= 2
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.hf.modules())
    after = model.run("The cat sat", sites=["neurons.0"])
    assert torch.equal(before["neurons.0"], after["neurons.0"])
    store = ng.harvest(model, sae, texts * 4, out=out, **options)
    assert store.n_tokens > 0
    assert not (out / "shards").exists()


def test_only_parts_of_one_harvest_are_merged(
    model: ng.LiveModel, sae: ng.SAE, texts: list[str], tmp_path: Path
) -> None:
    few, options = texts[:8], OPTIONS | {"shard_tokens": 1}
    ng.harvest(model, sae, few, out=tmp_path / "a", only=[0], **options)
    other = ng.load("zoo/B")
    theirs = ng.Directions(other, "neurons.0", sae.weights.W_dec[:3], name="d")
    ours = ng.Directions(model, "neurons.0", sae.weights.W_dec[:3], name="d")
    neurons = ng.NeuronBasis(model, 0)
    parts: dict[str, tuple[ng.LiveModel, Any, dict[str, Any]]] = {
        "fingerprint": (other, theirs, {}),
        "bases": (model, neurons, {}),
        "keep": (model, sae, {"keep": ng.Keep(top=3)}),
        "skip_positions": (model, sae, {"skip_positions": 1}),
    }
    for what, (m, basis, more) in parts.items():
        folder = tmp_path / what
        ng.harvest(m, basis, few, out=folder, only=[1], **options | more)
        first = tmp_path / "a"
        if what == "fingerprint":
            first = tmp_path / "d"
            ng.harvest(model, ours, few, out=first, only=[0], **options)
            settings = [json.loads((f / "settings.json").read_text()) for f in (first, folder)]
            assert settings[0]["fingerprint"] != settings[1]["fingerprint"]
        with pytest.raises(ng.InputError, match=r"can't be merged: their \w+ differs"):
            ng.merge_shards(model, sae, [first, folder], tmp_path / f"to-{what}")
        assert not (tmp_path / f"to-{what}").exists()
    with pytest.raises(ng.InputError, match=r"Shards are missing: 1"):
        ng.merge_shards(model, sae, [tmp_path / "a"], tmp_path / "m")
    with pytest.raises(ng.InputError, match="has no shards to merge"):
        ng.merge_shards(model, sae, [tmp_path / "a", tmp_path / "none"], tmp_path / "m")
    with pytest.raises(ng.InputError, match="nothing to merge"):
        ng.merge_shards(model, sae, [], tmp_path / "m")
    # the shards themselves say whose they are, whatever the folder's settings
    n = Corpus.open(tmp_path / "a" / "tokens").n_groups
    ng.harvest(model, sae, few, out=tmp_path / "a", only=range(1, n - 1), **options)
    (tmp_path / "skip_positions" / "shards" / "00001").rename(
        tmp_path / "a" / "shards" / f"{n - 1:05d}"
    )
    with pytest.raises(ng.InputError, match="is of another harvest"):
        ng.harvest(model, sae, few, out=tmp_path / "a", **options)


def test_what_can_not_be_harvested(
    model: ng.LiveModel, sae: ng.SAE, texts: list[str], tmp_path: Path
) -> None:
    for given, why in (
        ({"tokens": 0}, "at least one"),
        ({"skip_positions": 48}, "leaves nothing of windows of 48"),
        ({"skip_positions": -1}, "leaves nothing"),
        ({"precision": "fp8"}, "neither 'fp32' nor 'bf16'"),
        ({"engine": "spark"}, "neither 'local' nor 'ray'"),
        ({"only": [99]}, "no shard 99"),
    ):
        with pytest.raises(ng.InputError, match=why):
            ng.harvest(model, sae, texts[:2], out=tmp_path / why[:4], **OPTIONS | given)
    with (
        model.edit(ng.Ablate(sae[3])),
        pytest.raises(ng.InputError, match="is being edited"),
    ):
        ng.harvest(model, sae, texts[:2], out=tmp_path / "edited", **OPTIONS)
    for bad, why in (([""], "1 empty"), ([b"\x00\xff"], "1 binary"), (["\x00", " \r\n"], "binary")):
        with pytest.raises(ng.InputError, match=why):
            ng.harvest(model, sae, bad, out=tmp_path / "none", **OPTIONS)
    # a harvest that another version began is not gone on with
    ng.harvest(
        model, sae, texts[:4], out=tmp_path / "old", only=[0], **OPTIONS | {"shard_tokens": 1}
    )
    file = tmp_path / "old" / "settings.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema": 0}))
    with pytest.raises(ng.InputError, match="its schema is 0, this one's 1"):
        ng.harvest(model, sae, texts[:4], out=tmp_path / "old", **OPTIONS | {"shard_tokens": 1})


# ---------------------------------------------------------------------- bad input


def test_a_dictionary_with_a_broken_latent(
    model: ng.LiveModel, sae: ng.SAE, texts: list[str], tmp_path: Path
) -> None:
    """Its rows hold NaN; TopK ranks it first at every token, and all others stay numbers."""
    from dataclasses import replace

    weights = replace(sae.weights, W_enc=sae.weights.W_enc.clone(), W_dec=sae.weights.W_dec.clone())
    weights.W_enc[:, 7] = torch.nan
    weights.W_dec[7] = torch.nan
    broken = ng.SAE(sae.spec, weights, name="broken").attach(model)
    store = ng.harvest(model, broken, texts[:4], out=tmp_path / "s", **OPTIONS)
    f = store.to_frame()
    assert f.loc[7, "count"] == 0
    assert f.loc[7, "not_finite"] == store.n_tokens
    assert f["not_finite"].drop(7).eq(0).all()
    numbers = f.drop(7)[["density", "max", "mean", "mean_square", "norm"]]
    assert np.isfinite(numbers.to_numpy()).all()
    assert store.examples(7).empty
    assert "nan" in repr(store[7].promoted()[0])
    assert 7 not in store.sql("SELECT other FROM pairs")["other"].to_numpy()


def test_a_store_with_a_damaged_file_says_so(
    model: ng.LiveModel, sae: ng.SAE, texts: list[str], tmp_path: Path
) -> None:
    store = ng.harvest(model, sae, texts[:4], out=tmp_path / "s", **OPTIONS)
    on = int(store.to_frame()["count"].idxmax())
    asked: dict[str, Callable[[Any], object]] = {
        "examples.parquet": lambda s: s.examples(on),
        "examples.starts.npy": lambda s: s.examples(on),
        "features.parquet": lambda s: s.to_frame(),
        "token_stats.parquet": lambda s: s.tokens(on),
        "pairs.parquet": lambda s: s.coactive(on),
        "hist.parquet": lambda s: s.histogram(on),
        "tokens/vocabulary.parquet": lambda s: s.pieces([1]),
        "tokens/ids.npy": lambda s: s.examples(on),
        "tokens/corpus.json": lambda s: s.examples(on),
    }
    for name, ask in asked.items():
        file = store.folder / name
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ng.InputError, match=r"damaged|no whole corpus|cut off"):
            ask(ng.open_store(store.folder))
        file.write_bytes(whole)
    (store.folder / "meta.json").write_text('{"schema": 1, "mod')
    with pytest.raises(ng.InputError, match=r"meta\.json.* is damaged"):
        ng.open_store(store.folder)


FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="file sizes can't be limited here")
@pytest.mark.parametrize(
    ("size", "there"),
    [(3_000, set()), (60_000, {"tokens", "settings.json"}), (900_000, {"tokens", "settings.json"})],
)
def test_a_file_that_can_not_be_written(
    model: ng.LiveModel, sae: ng.SAE, texts: list[str], tmp_path: Path, size: int, there: set[str]
) -> None:
    """The system refuses in the middle of a file: of the corpus, of a shard, of the tables."""
    out = tmp_path / "s"
    code = CHILD.replace("import sys\n", "import sys\n" + FULL)
    done = subprocess.run(
        [sys.executable, "-c", code, str(out), str(size)],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 1
    assert "OSError" in done.stderr.splitlines()[-1]
    names = {f.name for f in out.iterdir()} if out.is_dir() else set()
    assert there <= names
    assert "meta.json" not in names
    assert not list(out.rglob("*.part"))
    before = shards(out)
    store = ng.harvest(model, sae, texts, out=out, **OPTIONS | {"shard_tokens": 1})
    assert store.n_tokens > 0
    assert not before or size > 60_000


def test_no_space_for_the_tables_leaves_the_shards(
    model: ng.LiveModel, sae: ng.SAE, texts: list[str], tmp_path: Path, monkeypatch: Any
) -> None:
    pq: Any = need_store("pyarrow.parquet")
    real = pq.ParquetWriter.write_table

    def full(self: Any, table: Any, *args: Any, **kwargs: Any) -> None:
        if "promoted" in table.column_names:
            raise OSError(28, "No space left on device")
        real(self, table, *args, **kwargs)

    options = OPTIONS | {"shard_tokens": 1}
    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OSError, match="No space"):
        ng.harvest(model, sae, texts[:8], out=tmp_path / "s", **options)
    before = shards(tmp_path / "s")
    assert before
    with pytest.raises(ng.InputError, match="an unfinished harvest"):
        ng.open_store(tmp_path / "s")
    monkeypatch.undo()
    monkeypatch.setattr(corpus_module, "_TOKENS_A_BATCH", 480)
    made: list[Path] = []
    monkeypatch.setattr(passes, "write_shard", lambda folder, *_: made.append(folder))
    store = ng.harvest(model, sae, texts[:8], out=tmp_path / "s", **options)
    assert not made
    assert len(store.to_frame()) == sae.n_features
