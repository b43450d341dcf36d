"""Harvests against brute force: every row of every table, however the work is cut."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import neuroglass as ng
from neuroglass.features import corpus as corpus_module
from neuroglass.features import passes, shards
from neuroglass.features.corpus import Corpus
from neuroglass.features.entries import vectors
from neuroglass.features.exact import ExactSum
from neuroglass.features.passes import kept_tokens
from neuroglass.features.plan import Plan
from neuroglass.features.sketch import BINS, LINEAR, bin_edges

KEEP = ng.Keep(top=6, intervals=5, per_interval=3, firing=8, random=12)
CONTEXT = 48
MASK = (1 << 64) - 1


@pytest.fixture(scope="module")
def model() -> ng.LiveModel:
    return ng.load("zoo/A")


@pytest.fixture(scope="module")
def sae(model: ng.LiveModel) -> ng.SAE:
    return ng.SAE.load("zoo/A-8x", model)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    found = [t for kind in ("english_prose", "code", "dna", "hebrew") for t in ng.zoo_texts(kind)]
    return [t[:1000] for t in found[:40:2]]


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "_TOKENS_A_BATCH", 192)


# ---------------------------------------------------------------------- brute force


def mixed(x: int) -> int:
    """SplitMix64's last steps, on whole numbers of Python."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def hashed(*parts: int) -> int:
    found = 0
    for part in parts:
        found = mixed(((found ^ part) + 0x9E3779B97F4A7C15) & MASK)
    return found


_BRUTE: dict[str, Brute] = {}
_FIRST: dict[str, dict[str, bytes]] = {}  # files of the first cut, by kind of basis


class Brute:
    """Every value of every feature in memory, and each figure by its definition."""

    def __init__(self, basis: Any, folder: Path, plan: Any) -> None:
        self.basis, self.corpus = basis, Corpus.open(folder)
        self.looked_again = 0  # examples that a second look found
        self.on: dict[int, list[tuple[int, int, float]]] = {}  # feature -> window, offset, value
        self.all: dict[int, list[list[float]]] = {}  # of each batch: values that are not zero
        self.at: list[tuple[int, int]] = []  # measured tokens
        self.kept: set[tuple[int, int]] = set()
        dense, neuron = [], []
        batch_number = 0
        for group in range(self.corpus.n_groups):
            for windows in self.corpus.batches(group):
                sites = [str(basis.read_site), "neurons.0"]
                run = basis.model.run(self.corpus.rows(windows), sites=sites, logits=False)
                keep, _ = kept_tokens(run, plan)
                x = vectors(run, basis, keep)
                f = basis.activations(x, range(basis.n_features)).numpy()
                dense.append(f)
                neuron.append(run["neurons.0"][keep].double().numpy())
                rows, offsets = (a.tolist() for a in keep.nonzero(as_tuple=True))
                here = [(int(windows[r]), o) for r, o in zip(rows, offsets, strict=True)]
                self.at += here
                for token, feature in zip(*(a.tolist() for a in f.nonzero()), strict=True):
                    value = float(f[token, feature])
                    batches = self.all.setdefault(feature, [])
                    while len(batches) <= batch_number:
                        batches.append([])
                    batches[batch_number].append(value)
                    if value > 0:
                        self.on.setdefault(feature, []).append((*here[token], value))
                batch_number += 1
        self.values = np.concatenate(dense)
        self.neurons = np.concatenate(neuron)
        self.batches = dense, neuron
        self.ids = {
            w: row for w in {w for w, _ in self.at} for row in self.corpus.rows(np.array([w]))
        }
        for feature in self.on:
            self.on[feature].sort()

    @cache  # noqa: B019
    def place(self, window: int) -> tuple[int, int, int]:
        document, start, length = (int(a[0]) for a in self.corpus.place(np.array([window])))
        return document, start, length

    def token(self, window: int, offset: int) -> int:
        return self.ids[window][offset]

    @cached_property
    def features(self) -> pd.DataFrame:
        n, rows = len(self.at), []
        for i in range(self.basis.n_features):
            on = self.on.get(i, [])
            moments = []
            for p in range(1, 5):
                # of each batch in float64, token by token; over batches without rounding
                sums = []
                for batch in self.all.get(i, []):
                    total = 0.0
                    for value in batch:
                        power = value
                        for _ in range(p - 1):
                            power = power * value
                        total += power
                    sums.append(total)
                moments.append(math.fsum(sums) / n)
            m1, m2, m3, m4 = moments
            common = Counter(self.token(w, o) for w, o, _ in on)
            first = min(common.items(), key=lambda kv: (-kv[1], kv[0])) if common else (-1, 0)
            rows.append(
                {
                    "count": len(on),
                    "density": len(on) / n,
                    "max": max((v for *_, v in on), default=0.0),
                    "min": min([v for b in self.all.get(i, []) for v in b] + [0.0]),
                    "mean": m1,
                    "mean_square": m2,
                    "skew": m3 / m2**1.5 if m2 else math.nan,
                    "kurtosis": m4 / m2**2 if m2 else math.nan,
                    "not_finite": 0,
                    "single_token_share": first[1] / len(on) if on else math.nan,
                    "top_token": first[0],
                }
            )
        return pd.DataFrame(rows)

    @cached_property
    def token_stats(self) -> list[tuple[Any, ...]]:
        rows = []
        for i in sorted(self.on):
            found: dict[int, list[float]] = {}
            for w, o, v in self.on[i]:
                found.setdefault(self.token(w, o), []).append(v)
            for token, values in sorted(found.items(), key=lambda kv: (-len(kv[1]), kv[0])):
                total = sum(round(v * 2**24) for v in values) / 2**24
                rows.append((i, token, len(values), total / len(values), 0))
        return rows

    @cached_property
    def pairs(self) -> list[tuple[Any, ...]]:
        at: dict[tuple[int, int], list[int]] = {}
        for i, found in self.on.items():
            for w, o, _ in found:
                at.setdefault((w, o), []).append(i)
        both: Counter[tuple[int, int]] = Counter()
        for here in at.values():
            both.update((a, b) for a in here for b in here if a != b)
        rows = sorted(both.items(), key=lambda kv: (kv[0][0], -kv[1], kv[0][1]))
        return [(a, b, count, 0.0, 0) for (a, b), count in rows]

    @cached_property
    def hist(self) -> list[tuple[Any, ...]]:
        rows = []
        edges = bin_edges()
        for i in range(self.basis.n_features):
            values = [v for *_, v in self.on.get(i, [])]
            log = [0] * BINS
            for v in values:
                log[min(max(int(np.searchsorted(edges, v, side="right")) - 1, 0), BINS - 1)] += 1
            linear, width = [0] * LINEAR, math.nan
            if values:
                reach = 2.0 ** (math.floor(math.log2(max(values))) + 1)
                width = reach / LINEAR
                for v in values:
                    linear[int(v / width)] += 1
            rows.append((i, log, linear, width))
        return rows

    @cached_property
    def neuron_rows(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Pearson and cosine of all features with all neurons, from centred values."""
        f, y = self.values.astype(np.float64), self.neurons
        found = []
        for a, b in ((f - f.mean(0), y - y.mean(0)), (f, y)):
            sizes = np.outer(np.linalg.norm(a, axis=0), np.linalg.norm(b, axis=0))
            with np.errstate(divide="ignore", invalid="ignore"):
                found.append(np.where(sizes > 1e-9, a.T @ b / sizes, np.nan))
        return found[0], found[1]

    # what is kept of a value's window
    def window(self, feature: int, window: int) -> tuple[list[int], list[float]]:
        lead = len(self.corpus.lead)
        here = [(o - lead, v) for w, o, v in self.on[feature] if w == window]
        return [o for o, _ in here], [v for _, v in here]

    def row(self, feature: int, group: str, rank: int, w: int, o: int, v: float) -> tuple[Any, ...]:
        document, start, length = self.place(w)
        position = start + o - len(self.corpus.lead)
        at, values = self.window(feature, w)
        return feature, group, rank, document, start, length, position, v, at, values

    @cached_property
    def examples(self) -> list[tuple[Any, ...]]:
        order = hashed
        random = sorted(range(self.corpus.n_windows), key=lambda w: order(KEEP.seed, w, 1))
        random = sorted(random[: KEEP.random])
        rows = []
        for i in sorted(self.on):
            entries = self.on[i]
            peaks: dict[int, tuple[float, int]] = {}
            for w, o, v in entries:
                if w not in peaks or v > peaks[w][0]:
                    peaks[w] = v, o
            best = sorted(peaks.items(), key=lambda kv: (-kv[1][0], kv[0]))[: KEEP.top]
            rows += [self.row(i, "top", r, w, o, v) for r, (w, (v, o)) in enumerate(best)]
            rows += self.sampled(i)
            there = [(w, *peaks[w]) for w in random if w in peaks]
            rows += [self.row(i, "random", r, w, o, v) for r, (w, v, o) in enumerate(there)]
        return rows

    def sampled(self, i: int) -> list[tuple[Any, ...]]:
        """Bottom-k in each bin, then weighed; see ``tables._weighed``."""
        edges, k = bin_edges(), KEEP.in_bin
        largest = float(np.float32(max(v for *_, v in self.on[i])))
        low = int(np.sum(edges[1:] <= largest / KEEP.intervals))
        cells: dict[int, list[tuple[int, int, int, float]]] = {}
        for w, o, v in self.on[i]:
            b = min(max(int(np.searchsorted(edges, v, side="right")) - 1, 0), BINS - 1)
            document, start, _ = self.place(w)
            key = mixed(hashed(KEEP.seed, document, start, o) ^ hashed(i, 2))
            cells.setdefault(-1 if b < low else b, []).append((key, w, o, v))
        drawn, cut = [], False
        for cell in cells.values():
            cell.sort()
            limit, weight, kept = float(MASK), 1.0, cell
            if len(cell) > k:
                cut = True
                limit, weight, kept = float(cell[k - 1][0]), len(cell) / (k - 1), cell[: k - 1]
            for key, w, o, v in kept:
                drawn.append((-math.log1p(-(key / limit)) / weight, w, o, v))
        drawn.sort()
        rows = [self.row(i, "firing", r, *d[1:]) for r, d in enumerate(drawn[: KEEP.firing])]
        for j in reversed(range(KEEP.intervals)):
            inside = [
                d
                for d in drawn
                if min(int(d[3] / largest * KEEP.intervals), KEEP.intervals - 1) == j
            ]
            if len(inside) < KEEP.per_interval and cut:
                before = len(inside)
                inside += self.second(i, j, largest, {d[1:3] for d in inside})
                self.looked_again += len(inside) - before
            rows += [
                self.row(i, f"interval {j}", r, *d[1:])
                for r, d in enumerate(inside[: KEEP.per_interval])
            ]
        return rows

    def second(self, i: int, j: int, largest: float, known: Any) -> list[tuple[Any, ...]]:
        """The other tokens of an interval that stand in the feature's top windows."""
        peaks: dict[int, float] = {}
        for w, _, v in self.on[i]:
            peaks[w] = max(v, peaks.get(w, 0))
        top = sorted(peaks, key=lambda w: (-peaks[w], w))[: KEEP.top]
        found = []
        for w, o, v in self.on[i]:
            here = min(int(v / largest * KEEP.intervals), KEEP.intervals - 1)
            if w in top and here == j and (w, o) not in known:
                document, start, _ = self.place(w)
                key = mixed(hashed(KEEP.seed, document, start, o) ^ hashed(i, 2))
                found.append((key, w, o, v))
        return sorted(found)


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(folder / f"{name}.parquet")


def tuples(frame: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    for row in frame.itertuples(index=False):
        yield tuple(v.tolist() if isinstance(v, np.ndarray) else v for v in row)


def same(a: Any, b: Any) -> bool:
    """Equal, or both no number."""
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    return bool(a == b)


@pytest.mark.parametrize("kind", ["sae", "neurons"])
@pytest.mark.parametrize("cut", ["one", "eight", "shuffled"])
def test_every_row_equals_brute_force(
    model: ng.LiveModel, sae: ng.SAE, texts: list[str], tmp_path: Path, kind: str, cut: str
) -> None:
    basis: Any = sae if kind == "sae" else ng.NeuronBasis(model, 0)
    out = tmp_path / "store"
    options: dict[str, Any] = {"context": CONTEXT, "keep": KEEP, "progress": False}
    store = None
    if cut == "one":
        store = ng.harvest(model, basis, texts, out=out, shard_tokens=1 << 30, **options)
    else:
        options["shard_tokens"] = 1  # one group each
        n = Corpus.open(_corpus_only(model, texts, tmp_path)).n_groups
        assert n >= 8
        order = list(range(n))
        if cut == "shuffled":
            order = np.random.default_rng(3).permutation(n).tolist()
            for shard in order:  # each in a process' first state, and the last one merges
                store = ng.harvest(model, basis, texts, out=out, only=[shard], **options)
                assert (store is None) == (shard != order[-1])
        else:
            store = ng.harvest(model, basis, texts, out=out, **options)
    assert store is not None
    if kind not in _BRUTE:
        plan = Plan(None, True, True, 0, "fp32", True, 1, KEEP)
        _BRUTE[kind] = Brute(basis, out / "tokens", plan)
    brute = _BRUTE[kind]
    assert store.n_tokens == len(brute.at)

    found, wanted = table(out, "features"), brute.features
    for column in wanted:
        theirs = wanted[column].to_numpy()
        ours = found[column].to_numpy().astype(theirs.dtype)
        if column in {"skew", "kurtosis"}:  # a power of a float: last bits are the library's
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)
        else:
            np.testing.assert_array_equal(ours, theirs, err_msg=column)
    for name, want in (("token_stats", brute.token_stats), ("pairs", brute.pairs)):
        assert list(tuples(table(out, name))) == want
    for row, want_row in zip(tuples(table(out, "hist")), brute.hist, strict=True):
        assert all(same(a, b) for a, b in zip(row, want_row, strict=True))
    rows = table(out, "examples")
    assert list(tuples(rows)) == brute.examples
    starts = np.load(out / "examples.starts.npy")
    assert starts.tolist() == [0, *np.bincount(rows["feature"], minlength=len(starts) - 1).cumsum()]
    # all files, those of correlations and logits too, are the same however it was cut
    files = {f.name: f.read_bytes() for f in out.iterdir() if f.suffix in {".parquet", ".npy"}}
    assert len(files) == 6 + (kind == "sae")
    assert files == _FIRST.setdefault(kind, files)
    assert kind == "neurons" or brute.looked_again > 0
    if kind == "sae":
        best = table(out, "neurons")
        pearson, cosine = brute.neuron_rows
        at = best["feature"], best["neuron"]
        # Σ f·y is kept to 2^-24 a batch, and tables hold float32
        np.testing.assert_allclose(best["pearson"], pearson[at], atol=2e-5)
        np.testing.assert_allclose(best["cosine"], cosine[at], atol=2e-5)
        sizes = -np.sort(-np.nan_to_num(np.abs(pearson)), axis=1)
        weakest = best["pearson"].abs().groupby(best["feature"]).min()
        assert len(weakest) == len(brute.on)
        np.testing.assert_allclose(weakest, sizes[weakest.index, 9], atol=2e-5)


def _corpus_only(model: ng.LiveModel, texts: list[str], folder: Path) -> Path:
    made = corpus_module.write_corpus(
        texts,
        model.prompts,
        folder / "only",
        context=CONTEXT,
        prepend_bos=None,
        tokens=None,
        field="text",
    )
    return made.folder


def test_exact_sums_do_not_depend_on_order() -> None:
    rng = np.random.default_rng(0)
    x = np.ldexp(rng.standard_normal((500, 7)), rng.integers(-40, 60, (500, 7)))
    forward, back = ExactSum(7), ExactSum(7)
    for a, b in zip(x, x[::-1], strict=True):
        forward.add(a)
        back.add(b)
    np.testing.assert_array_equal(forward.total(), back.total())
    np.testing.assert_array_equal(forward.total(), [math.fsum(c) for c in x.T])


def test_logit_effects_are_those_of_unembed(
    model: ng.LiveModel, sae: ng.SAE, texts: list[str], tmp_path: Path
) -> None:
    store = ng.harvest(model, sae, texts[:4], out=tmp_path / "s", keep=KEEP, progress=False)
    for i in (0, 77, 4095):
        row = store[i].row
        want = model.unembed(sae[i], rare=False)
        assert row["promoted"].tolist() == [t for _, t, _ in want.top(10)]
        assert row["suppressed"].tolist() == [t for _, t, _ in want.top(10, lowest=True)]
        np.testing.assert_allclose(
            row["promoted_by"], [v for *_, v in want.top(10)], rtol=1e-5, atol=1e-6
        )


def test_a_site_with_no_path_to_the_logits_has_no_effects(
    model: ng.LiveModel, texts: list[str], tmp_path: Path
) -> None:
    queries = ng.Directions(model, "q.0", torch.eye(model.width("q.0"))[:3])
    store = ng.harvest(model, queries, texts[:2], out=tmp_path / "s", keep=KEEP, progress=False)
    assert "promoted" not in store.to_frame()
    assert store.to_frame()["norm"].tolist() == [1, 1, 1]
    assert "on at" in repr(store[0])
    with pytest.raises(ng.InputError, match=r"q\.0 has no direct path"):
        store[0].promoted()


def test_heads_by_value_norm(model: ng.LiveModel, texts: list[str], tmp_path: Path) -> None:
    store = ng.harvest(
        model,
        ng.NeuronBasis(model, 0),
        texts[:6],
        out=tmp_path / "s",
        context=CONTEXT,
        keep=KEEP,
        heads=[(0, 1), (0, 3)],
        progress=False,
    )
    found = store.heads()
    corpus, best = store.corpus, []
    for group in range(corpus.n_groups):
        for windows in corpus.batches(group):
            run = model.run(corpus.rows(windows), sites=["pattern.0", "v.0"], logits=False)
            keep = run.mask & ~run.masks["special"] & ~run.masks["massive"]
            w_out = model.head(0, 3).w_out
            for b, window in enumerate(windows):
                peak = max(
                    float(run["pattern.0"][b, 3, q, k])
                    * float((run["v.0"][b, k, model.head(0, 3).kv_head] @ w_out).norm())
                    for q in keep[b].nonzero().flatten().tolist()
                    for k in keep[b].nonzero().flatten().tolist()
                    if k <= q
                )
                best.append((peak, int(window)))
    best.sort(reverse=True)
    ours = found[(found["head"] == 3) & (found["group"] == "top")]["value"]
    np.testing.assert_allclose(ours, [v for v, _ in best[: KEEP.top]], rtol=1e-5)
    assert (found["key"] <= found["query"]).all()
    assert len(found[found["group"] == "random"]) == 2 * KEEP.firing


# ---------------------------------------------------------------------- resuming and refusing


def test_a_kill_loses_at_most_one_shard(
    model: ng.LiveModel, sae: ng.SAE, texts: list[str], tmp_path: Path, monkeypatch: Any
) -> None:
    options: dict[str, Any] = {"context": CONTEXT, "keep": KEEP, "shard_tokens": 1}
    made: list[str] = []
    write = shards.write_shard

    def counted(folder: Path, *rest: Any) -> None:
        made.append(folder.name)
        if len(made) == 4:
            raise KeyboardInterrupt
        write(folder, *rest)

    monkeypatch.setattr(passes, "write_shard", counted)
    with pytest.raises(KeyboardInterrupt):
        ng.harvest(model, sae, texts, out=tmp_path / "s", progress=False, **options)
    with pytest.raises(ng.InputError, match="unfinished"):
        ng.open_store(tmp_path / "s")
    resumed = ng.harvest(model, sae, texts, out=tmp_path / "s", progress=False, **options)
    assert len(made) == len(set(made)) + 1  # only the lost one was made twice
    whole = ng.harvest(model, sae, texts, out=tmp_path / "w", progress=False, **options)
    for name in ("features", "examples", "token_stats", "pairs", "hist", "neurons"):
        pd.testing.assert_frame_equal(
            table(resumed.folder, name), table(whole.folder, name), check_exact=True
        )
    again = ng.harvest(model, sae, texts, out=tmp_path / "s", progress=False, **options)
    assert again.folder == resumed.folder


def test_merging_parts(model: ng.LiveModel, sae: ng.SAE, texts: list[str], tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "context": CONTEXT,
        "keep": KEEP,
        "shard_tokens": 1,
        "progress": False,
    }
    a = ng.harvest(model, sae, texts, out=tmp_path / "a", only=range(5), **options)
    assert a is None
    n = Corpus.open(tmp_path / "a" / "tokens").n_groups
    ng.harvest(model, sae, texts, out=tmp_path / "b", only=range(5, n), **options)
    merged = ng.merge_shards(model, sae, [tmp_path / "a", tmp_path / "b"], tmp_path / "ab")
    whole = ng.harvest(model, sae, texts, out=tmp_path / "w", **options)
    for name in ("features", "examples", "token_stats", "pairs", "hist", "neurons"):
        pd.testing.assert_frame_equal(
            table(merged.folder, name), table(whole.folder, name), check_exact=True
        )
    ng.harvest(model, sae, texts[:-1], out=tmp_path / "c", only=[0], **options)
    with pytest.raises(ng.InputError, match="corpus differs"):
        ng.merge_shards(model, sae, [tmp_path / "a", tmp_path / "c"], tmp_path / "ac")


def test_refusals(model: ng.LiveModel, sae: ng.SAE, texts: list[str], tmp_path: Path) -> None:
    out = tmp_path / "s"
    options: dict[str, Any] = {"keep": KEEP, "progress": False}
    store = ng.harvest(model, sae, texts[:3], out=out, **options)
    with pytest.raises(ng.InputError, match="of other texts"):
        ng.harvest(model, sae, texts[1:4], out=out, **options)
    with pytest.raises(ng.InputError, match="its skip_massive is True, this one's False"):
        ng.harvest(model, sae, texts[:3], out=out, skip_massive=False, **options)
    with pytest.raises(ng.InputError, match="bases"):
        ng.harvest(model, ng.NeuronBasis(model, 0), texts[:3], out=out, **options)
    other = ng.load("zoo/B")
    with pytest.raises(ng.InputError, match="belongs to"):
        ng.harvest(other, sae, texts[:3], out=tmp_path / "o", **options)
    with pytest.raises(ng.InputError, match=r"not of\s+zoo/B"):
        ng.open_store(out, other)
    with pytest.raises(ng.InputError, match="not of"):
        store.attach(model, ng.SAE.load("zoo/A-1x", model))
    with pytest.raises(ng.InputError, match="There is no text to read"):
        ng.harvest(model, sae, [], out=tmp_path / "n", **options)
    with pytest.raises(ng.InputError, match="There are no texts"):
        ng.harvest(model, sae, out=tmp_path / "n2", **options)
    with pytest.raises(ng.InputError, match="names of their own"):
        ng.harvest(model, [sae, sae], texts, out=tmp_path / "n3", **options)
    with pytest.raises(ng.InputError, match="is no basis"):
        ng.harvest(model, model.hf, texts, out=tmp_path / "n4", **options)
    with pytest.raises(ng.InputError, match="A context of 1000"):
        ng.harvest(model, sae, texts, out=tmp_path / "n5", context=1000, **options)
    with pytest.raises(ng.InputError, match="holds no store"):
        ng.open_store(tmp_path / "nowhere")
    with pytest.raises(ng.InputError, match="whole number"):
        ng.Keep(top=-1)
    meta = json.loads((out / "meta.json").read_text())
    (out / "meta.json").write_text(json.dumps(meta | {"schema": 99}))
    with pytest.raises(ng.InputError, match="schema version 99"):
        ng.open_store(out)


def test_a_truncated_shard_is_named(
    model: ng.LiveModel, sae: ng.SAE, texts: list[str], tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "context": CONTEXT,
        "keep": KEEP,
        "shard_tokens": 1,
        "progress": False,
    }
    out = tmp_path / "s"
    n = Corpus.open(_corpus_only(model, texts, tmp_path)).n_groups
    ng.harvest(model, sae, texts, out=out, only=range(n - 1), **options)
    file = out / "shards" / "00002" / "A-8x.top.values.npy"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ng.InputError, match=r"00002.*damaged"):
        ng.harvest(model, sae, texts, out=out, **options)
    for f in file.parent.iterdir():
        f.unlink()
    file.parent.rmdir()
    assert ng.harvest(model, sae, texts, out=out, **options).n_features == 4096


def test_texts_of_all_kinds(model: ng.LiveModel, sae: ng.SAE, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"First line.\r\nSecond line.\rThird.")
    (tmp_path / "b.bin").write_bytes(b"\x89PNG\xff\xfe\x00\x01")
    (tmp_path / "c.txt").write_bytes(b"nul\x00inside")
    (tmp_path / "d.jsonl").write_text('{"text": "From a line of JSON."}\n\n{"text": "  "}\n')
    pd.DataFrame({"body": ["From Parquet.", None]}).to_parquet(tmp_path / "e.parquet")
    files = [tmp_path / n for n in ("a.txt", "b.bin", "c.txt", "d.jsonl")]
    with pytest.warns(UserWarning, match="2 binary, 1 empty"):
        store = ng.harvest(model, sae, files, out=tmp_path / "s", keep=KEEP, progress=False)
    corpus = store.corpus
    text = [
        "".join(store.pieces(corpus.ids[corpus.starts[i] : corpus.starts[i + 1]])) for i in (0, 1)
    ]
    assert text == ["First line.\nSecond line.\nThird.", "From a line of JSON."]
    assert store.meta["corpus_about"]["left_out"] == {"binary": 2, "empty": 1}
    rows = [{"body": "A row, as of datasets."}]
    options: dict[str, Any] = {"keep": KEEP, "progress": False, "text_field": "body"}
    assert ng.harvest(model, sae, rows, out=tmp_path / "r", **options).corpus.n_documents == 1
    made = ng.harvest(model, sae, tmp_path / "e.parquet", out=tmp_path / "p", **options)
    assert made.corpus.n_documents == 1
    with pytest.raises(ng.InputError, match="no text in 'text'"):
        ng.harvest(model, sae, rows, out=tmp_path / "x", progress=False)
    with pytest.raises(ng.InputError, match="no column 'text'"):
        ng.harvest(model, sae, tmp_path / "e.parquet", out=tmp_path / "y", progress=False)
    (tmp_path / "f.jsonl").write_text('{"text": "whole"}\n{"text": "cut o')
    with pytest.raises(ng.InputError, match=r"Line 2 of f\.jsonl"):
        ng.harvest(model, sae, tmp_path / "f.jsonl", out=tmp_path / "z", progress=False)
    with pytest.raises(ng.InputError, match="A text is int"):
        ng.harvest(model, sae, [3], out=tmp_path / "i", progress=False)


def test_features_that_are_constant_or_no_number(
    model: ng.LiveModel, texts: list[str], tmp_path: Path
) -> None:
    class Odd(ng.Directions):
        def direction(self, i: int) -> torch.Tensor:
            return super().direction(i) * (torch.nan if i == 3 else 1)

        def activations(self, x: torch.Tensor, features: Any) -> torch.Tensor:
            found = super().activations(x, features).clone()
            found[..., 1] = 2.5
            found[..., 2] = 0
            found[::3, 3] = torch.nan
            found[1::3, 3] = torch.inf
            return found

    odd = Odd(model, "resid_post.0", torch.eye(128)[:4])
    store = ng.harvest(model, odd, texts[:4], out=tmp_path / "s", keep=KEEP, progress=False)
    f = store.to_frame()
    n = store.n_tokens
    assert f.loc[1, ["count", "max", "mean", "mean_square"]].tolist() == [n, 2.5, 2.5, 6.25]
    assert f.loc[1, ["skew", "kurtosis"]].tolist() == [1, 1]
    assert f.loc[2, "count"] == 0
    assert math.isnan(f.loc[2, "skew"])
    assert store.examples(2).empty
    assert len(store.examples(2, "random")) == min(KEEP.random, store.corpus.n_windows)
    assert store.histogram(2)["count"].sum() == 0
    assert store.tokens(2).empty
    assert store.coactive(2).empty
    assert f.loc[3, "not_finite"] > n / 2
    assert np.isfinite(f.loc[3, ["mean", "max", "skew"]].astype(float)).all()
    assert 1 not in store.neurons(2).index or store.neurons(1).empty
    assert np.isnan(store[3].row["promoted_by"]).all()
    assert np.isfinite(store[0].row["promoted_by"]).all()
    assert f.loc[0, "min"] < 0  # directions have signs; what is below zero is not "on"


def test_no_space_leaves_finished_shards(
    model: ng.LiveModel, sae: ng.SAE, texts: list[str], tmp_path: Path, monkeypatch: Any
) -> None:
    options: dict[str, Any] = {
        "context": CONTEXT,
        "keep": KEEP,
        "shard_tokens": 1,
        "progress": False,
    }
    real = np.save
    saved: list[Any] = []

    def save(file: Any, array: Any, **rest: Any) -> None:
        if "00002" in str(file) and len(saved) == 0 and "hist" not in str(file):
            saved.append(file)
            raise OSError(28, "No space left on device")
        real(file, array, **rest)

    monkeypatch.setattr(np, "save", save)
    with pytest.raises(OSError, match="No space"):
        ng.harvest(model, sae, texts, out=tmp_path / "s", **options)
    assert sorted(f.name for f in (tmp_path / "s" / "shards").iterdir()) == ["00000", "00001"]
    assert ng.harvest(model, sae, texts, out=tmp_path / "s", **options).n_tokens > 0
