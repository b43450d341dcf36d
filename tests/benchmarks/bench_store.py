"""How fast a large store answers: 10 million examples of 100,000 features.

    python -m tests.benchmarks.bench_store [--features 100000] [--examples 100]
        [--folder FOLDER] [--corpus CORPUS.jsonl]

The tables are written with random content by what writes every harvest's tables, except that no
model was run. Asked for are, each in a fresh place of the store so that nothing is remembered: the
examples of a feature, its page (all that a page shows), the browser's sorts and filters, and texts.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import neuroglass as ng
from neuroglass.features.corpus import Corpus, need_store, write_corpus
from neuroglass.features.parquet import Ragged, Tables
from neuroglass.features.sketch import BINS, LINEAR
from neuroglass.features.store import SCHEMA
from neuroglass.features.tables import ROWS
from tests.benchmarks.common import emit, english

BLOCK, PER_TOKENS, PAIRS = 2000, 64, 64


def make(
    folder: Path, model: ng.LiveModel, features: int, each: int, source: str,
    *, tokens: int = PER_TOKENS, pairs: int = PAIRS,
) -> None:  # fmt: skip
    """A store of random content over a real corpus; the numbers are of rows for each feature."""
    text = "" if source else english(1_000_000)
    documents = Path(source) if source else [text[i : i + 6000] for i in range(0, len(text), 6000)]
    corpus = write_corpus(
        documents, model.prompts, folder / "tokens", context=128, prepend_bos=None,
        tokens=8_000_000, field="text",
    )  # fmt: skip
    rng = np.random.default_rng(0)
    parquet, pa = need_store("pyarrow.parquet"), need_store("pyarrow")
    pieces, kinds = model.pieces.many(range(model.vocabulary))
    counts = corpus.token_counts(model.vocabulary)
    words = {"token": np.arange(model.vocabulary, dtype=np.int32), "piece": pieces}
    parquet.write_table(
        pa.table(words | {"kind": np.array(kinds, np.int8), "count": counts}),
        folder / "tokens" / "vocabulary.parquet",
    )
    tables = Tables(folder)
    used = np.flatnonzero(counts)
    with tables:
        for a in range(0, features, BLOCK):
            own = np.arange(a, min(a + BLOCK, features), dtype=np.int32)
            tables.write("examples", _examples(rng, corpus, own, each), ROWS)
            tables.write(
                "token_stats",
                {
                    "feature": own.repeat(tokens),
                    "token": rng.choice(used, len(own) * tokens).astype(np.int32),
                    "count": rng.integers(1, 1000, len(own) * tokens),
                    "mean": rng.random(len(own) * tokens),
                    "left_out": np.zeros(len(own) * tokens, np.int64),
                },
            )
            tables.write(
                "pairs",
                {
                    "feature": own.repeat(pairs),
                    "other": rng.integers(0, features, len(own) * pairs).astype(np.int32),
                    "count": rng.integers(1, 1000, len(own) * pairs),
                    "error": np.zeros(len(own) * pairs, np.int64),
                    "left_out": np.zeros(len(own) * pairs, np.int64),
                },
            )
            tables.write(
                "hist",
                {
                    "feature": own,
                    "log": rng.integers(0, 1000, (len(own), BINS)),
                    "linear": rng.integers(0, 1000, (len(own), LINEAR)),
                    "width": np.full(len(own), 0.1),
                },
            )
            tables.write("features", _rows(rng, own, corpus.n_tokens, model.vocabulary))
    starts = np.arange(features + 1, dtype=np.int64) * each
    np.save(folder / "examples.starts.npy", starts, allow_pickle=False)
    meta = {
        "schema": SCHEMA, "model": model.name, "fingerprint": model.fingerprint,
        "n_features": features, "n_tokens": corpus.n_tokens, "tokens": "tokens", "neurons": False,
        "random": corpus.sample(50, 0).tolist(), "keep": {"intervals": 10}, "corpus_about": {},
        "corpus": "random",
        "basis": {"name": "random", "fingerprint": "0", "read_site": "resid_post.0",
                  "write_site": "resid_post.0", "kind": "SAE"},
    }  # fmt: skip
    (folder / "meta.json").write_text(json.dumps(meta), "utf-8")


def _rows(rng: Any, own: Any, n_tokens: int, vocabulary: int) -> dict[str, Any]:
    names = ("density", "max", "min", "mean", "mean_square", "skew", "kurtosis", "norm",
             "single_token_share")  # fmt: skip
    return {
        "feature": own,
        "count": rng.integers(1, n_tokens // 10, len(own)),
        **{n: rng.random(len(own)) for n in names},
        "not_finite": np.zeros(len(own), np.int64),
        "top_token": rng.integers(0, vocabulary, len(own)),
        "promoted": rng.integers(0, vocabulary, (len(own), 10)).astype(np.int32),
        "promoted_by": rng.random((len(own), 10)).astype(np.float32),
        "suppressed": rng.integers(0, vocabulary, (len(own), 10)).astype(np.int32),
        "suppressed_by": -rng.random((len(own), 10)).astype(np.float32),
    }


def _examples(rng: Any, corpus: Corpus, own: Any, each: int) -> dict[str, Any]:
    n = len(own) * each
    document, start, length = corpus.place(rng.integers(0, corpus.n_windows, n))
    on = np.minimum(rng.geometric(0.2, n), length)
    ends = np.r_[0, on.cumsum(dtype=np.int64)]
    first = np.repeat(rng.integers(0, length - on + 1), on)
    at = first + np.arange(ends[-1]) - np.repeat(ends[:-1], on)
    groups = np.array(["top"] * 20 + [f"interval {i}" for i in range(10)] * 5 + ["firing"] * 20)
    names = np.sort(np.resize(groups, each))
    value = rng.random(int(ends[-1])).astype(np.float32)
    return {
        "feature": own.repeat(each),
        "group": np.tile(names, len(own)).tolist(),
        "rank": np.tile(np.arange(each), len(own)).astype(np.int16),
        "document": document,
        "start": start.astype(np.int32),
        "length": length.astype(np.int32),
        "position": (start + at[ends[:-1]]).astype(np.int32),
        "value": value[ends[:-1]],
        "at": Ragged(ends, at.astype(np.int16)),
        "values": Ragged(ends, value),
    }


def timed(what: str, fn: Callable[[int], object], rounds: int = 15) -> None:
    taken = []
    for i in range(rounds):
        began = time.perf_counter()
        fn(i)
        taken.append((time.perf_counter() - began) * 1000)
    first, rest = taken[0], sorted(taken[1:])
    emit(
        what=what,
        first_ms=round(first, 1),
        median_ms=round(statistics.median(rest), 1),
        worst_ms=round(rest[-1], 1),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--features", type=int, default=100_000)
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--corpus", default="")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp()) / "store"
    if not (folder / "meta.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        make(folder, ng.load("smollm2"), given.features, given.examples, given.corpus)
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    emit(what=f"{given.features * given.examples:,} examples", gb=round(size / 1e9, 2))
    pick = np.random.default_rng(1).integers(0, given.features, 1000).tolist()
    began = time.perf_counter()
    store = ng.open_store(folder)
    emit(what="open_store", ms=round((time.perf_counter() - began) * 1000, 1))
    timed("examples of a feature (top)", lambda i: store.examples(pick[i]))
    timed("examples of a feature (all)", lambda i: store.examples(pick[100 + i], None))

    def page(i: int) -> None:
        f = pick[200 + i]
        for part in (store.examples, store.histogram, store.tokens, store.coactive):
            part(f)
        assert store[f].promoted()

    timed("all that a page shows", page)
    timed("sort by kurtosis", lambda i: store.find(sort="kurtosis", descending=bool(i % 2)))
    timed("density in a range", lambda i: store.find(density=(0.01 * i, 0.01 * i + 0.1)))
    words = [" the", " and", " king", " love", " sea", " house", " night", " war", " man",
             " great", " little", " day", " time", " came", " said"]  # fmt: skip
    timed("on at a token", lambda i: store.find(token=words[i]))
    texts = [w + " of" for w in words]
    timed("on at a text", lambda i: store.find(text=texts[i]), 5)
    if given.folder is None:
        shutil.rmtree(folder.parent)


if __name__ == "__main__":
    main()
