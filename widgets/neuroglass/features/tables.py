"""Shards → the tables of a store: merged feature range by feature range, in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neuroglass.features.corpus import Corpus, need_store
from neuroglass.features.exact import F64, I64, limbs_total
from neuroglass.features.parquet import Columns, Tables
from neuroglass.features.samples import example_columns
from neuroglass.features.shards import REASONS, Shard, gathered, summed
from neuroglass.features.sketch import (
    BINS,
    EXACT_PAIRS,
    FIXED,
    LINEAR,
    PAIRS_SAMPLE,
    Keep,
    fold_linear,
)
from neuroglass.model.directions import logit_effects
from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    from neuroglass.model.basis import Basis
    from neuroglass.model.live import LiveModel

ROWS = 4096  # of a row group
_FEATURES = 512  # merged at a time
_BEST = 10  # promoted and suppressed tokens, correlated neurons
_MOST = 64  # tokens and co-active features kept above EXACT_PAIRS features


class Totals:
    """What is summed over all shards: arrays [features]."""

    def __init__(self, shards: Sequence[Shard], n: int) -> None:
        self.n_tokens = int(sum(int(s["tokens"][0]) for s in shards))
        self.left_out = np.sum([s["left_out"] for s in shards], axis=0).tolist()
        self.count = np.zeros(n, np.int64)
        self.bad = np.zeros(n, np.int64)
        self.largest = np.zeros(n, np.float32)
        self.smallest = np.zeros(n, np.float32)
        self.log = np.zeros((n, BINS), np.int64)
        self.linear = np.zeros((n, LINEAR), np.int64)
        limbs = np.zeros_like(shards[0]["sums"])
        self.exponent = np.max([s["exponent"] for s in shards], axis=0)
        for s in shards:
            self.count += s["count"]
            self.bad += s["bad"]
            np.maximum(self.largest, s["largest"], out=self.largest)
            np.minimum(self.smallest, s["smallest"], out=self.smallest)
            self.log += s["log"]
            linear = s["linear"].astype(np.int64)
            fold_linear(linear, np.array(s["exponent"]), self.exponent)
            self.linear += linear
            limbs = limbs + s["sums"]
        self.sums: F64 = limbs_total(limbs)

    def columns(self) -> Columns:
        """Definitions: see ``Store.to_frame``."""
        n = max(1, self.n_tokens)
        m1, m2, m3, m4 = self.sums / n
        with np.errstate(divide="ignore", invalid="ignore"):
            skew = np.where(m2 > 0, m3 / m2**1.5, np.nan)
            kurtosis = np.where(m2 > 0, m4 / m2**2, np.nan)
        return {
            "count": self.count,
            "density": self.count / n,
            "max": self.largest,
            "min": self.smallest,
            "mean": m1,
            "mean_square": m2,
            "skew": skew,
            "kurtosis": kurtosis,
            "not_finite": self.bad,
        }


def write_tables(
    target: Path, shards: Sequence[Shard], basis: Basis, corpus: Corpus, meta: Columns
) -> None:
    """Write all tables of a store; ``meta.json``, which makes it one, comes last.

    Args:
        target: the store's folder.
        shards: what they have of this basis.
        basis, corpus: as harvested.
        meta: what the store is of; see ``harvest``.

    Raises:
        OSError: no space.
    """
    keep = Keep(**meta["keep"])
    n, model = basis.n_features, basis.model
    totals = Totals(shards, n)
    tables = Tables(target)
    starts = np.zeros(n + 1, np.int64)
    features = totals.columns()
    share, top_token = np.full(n, np.nan), np.full(n, -1)
    most = keep.tokens if keep.tokens is not None else (None if n <= EXACT_PAIRS else _MOST)
    pairs = keep.pairs if keep.pairs is not None else (None if n <= EXACT_PAIRS else _MOST)
    with tables:
        for a in range(0, n, _FEATURES):
            part = slice(a, min(a + _FEATURES, n))
            found, counts = example_columns(shards, totals, keep, corpus, part)
            tables.write("examples", found, ROWS)
            starts[part.start + 1 : part.stop + 1] = counts
            rows = _by_token(shards, part, model.vocabulary, most)
            first = rows.pop("first")
            share[rows["feature"][first]] = (
                rows["count"][first] / totals.count[rows["feature"][first]]
            )
            top_token[rows["feature"][first]] = rows["token"][first]
            tables.write("token_stats", rows)
            tables.write("pairs", _pairs(shards, part, n, pairs))
            if meta["neurons"] and "with_neurons" in shards[0].names:
                tables.write("neurons", _neurons(shards, totals, part))
            tables.write(
                "hist",
                {
                    "feature": np.arange(part.start, part.stop),
                    "log": totals.log[part],
                    "linear": totals.linear[part],
                    "width": np.where(
                        totals.largest[part] > 0,
                        np.ldexp(1.0, totals.exponent[part].astype(np.int32)) / LINEAR,
                        np.nan,
                    ),
                },
            )
        features = {"feature": np.arange(n)} | features
        features |= {"single_token_share": share, "top_token": top_token}
        features |= _logits(basis)
        tables.write("features", features)
    np.save(target / "examples.starts.npy", starts.cumsum(), allow_pickle=False)
    random = corpus.sample(keep.random, keep.seed)
    meta = meta | {
        "n_tokens": totals.n_tokens,
        "n_features": n,
        "left_out": dict(zip(REASONS, totals.left_out, strict=True)),
        "random": random.tolist(),
        "pairs": {
            "kept": pairs,
            "sample": 1 if n <= EXACT_PAIRS else PAIRS_SAMPLE,
        },
        "token_stats": {"kept": most},
    }
    part_file = target / "meta.part"
    part_file.write_text(json.dumps(meta, indent=1), "utf-8")
    part_file.rename(target / "meta.json")


# ---------------------------------------------------------------------- the other tables


def _most(feature: I64, count: I64, other: I64, most: int | None) -> tuple[I64, I64, I64]:
    """Rows of each feature by falling count, at most `most`: order, which are first, and the
    largest count that was left out, for each row's feature (0 for none).
    """
    order = np.lexsort((other, -count, feature))
    f = feature[order]
    first = np.flatnonzero(np.r_[True, f[1:] != f[:-1]][: len(f)])
    sizes = np.diff(np.r_[first, len(f)])
    rank = np.arange(len(f)) - np.repeat(first, sizes)
    if most is None:
        return order, first, np.zeros(len(f), np.int64)
    beyond = np.where(sizes > most, count[order[np.minimum(first + most, len(f) - 1)]], 0)
    kept = rank < most
    left_out = np.repeat(beyond, sizes)[kept]
    return order[kept], np.flatnonzero(rank[kept] == 0), left_out


def _by_token(shards: Sequence[Shard], part: slice, vocabulary: int, most: int | None) -> Columns:
    """On which tokens each feature is on, most often first."""
    keys = part.start * vocabulary, part.stop * vocabulary
    key, count, total = summed(shards, "token", keys, "count", "sum")
    feature, token = np.divmod(key, vocabulary)
    order, first, left_out = _most(feature, count, token, most)
    return {
        "feature": feature[order].astype(np.int32),
        "token": token[order].astype(np.int32),
        "count": count[order],
        "mean": np.ldexp(total[order].astype(np.float64), -FIXED) / count[order],
        "left_out": left_out,
        "first": first,
    }


def _pairs(shards: Sequence[Shard], part: slice, n: int, most: int | None) -> Columns:
    """With which others each feature is on at the same token."""
    sample = 1 if n <= EXACT_PAIRS else PAIRS_SAMPLE
    key, count, _ = summed(shards, "pair", (part.start * n, part.stop * n), "count")
    feature, other = np.divmod(key, n)
    order, _, left_out = _most(feature, count, other, most)
    count = count[order]
    # of a count in a sample of one token in `sample`: two standard deviations of a Poisson count
    error = np.zeros(len(count)) if sample == 1 else sample * 2 * np.sqrt(count)
    return {
        "feature": feature[order].astype(np.int32),
        "other": other[order].astype(np.int32),
        "count": count * sample,
        "error": error.astype(np.float32),
        "left_out": left_out * sample,
    }


def _neurons(shards: Sequence[Shard], totals: Totals, part: slice) -> Columns:
    """The neurons whose values go with each feature's most, up or down."""
    n = max(1, totals.n_tokens)
    both = sum(np.array(s["with_neurons"][part]) for s in shards)
    e_both = np.ldexp(np.asarray(both, np.float64), -FIXED) / n
    limbs = sum(np.array(s["neuron_sums"]) for s in shards)
    e_neuron, e_square = limbs_total(np.asarray(limbs)) / n
    e_feature, f_square = totals.sums[0, part] / n, totals.sums[1, part] / n
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(
            np.maximum(f_square - e_feature**2, 0)[:, None] * np.maximum(e_square - e_neuron**2, 0)
        )
        pearson = (e_both - e_feature[:, None] * e_neuron) / spread
        cosine = e_both / np.sqrt(f_square[:, None] * e_square)
    defined = np.isfinite(pearson) & (spread > 0)
    size = np.where(defined, np.abs(pearson), -1.0)
    best = np.argsort(-size, axis=1, kind="stable")[:, :_BEST]
    row = np.arange(part.start, part.stop)[:, None].repeat(best.shape[1], 1)
    there = np.take_along_axis(defined, best, 1)
    return {
        "feature": row[there].astype(np.int32),
        "neuron": best[there].astype(np.int32),
        "pearson": np.take_along_axis(pearson, best, 1)[there].astype(np.float32),
        "cosine": np.take_along_axis(cosine, best, 1)[there].astype(np.float32),
    }


def _logits(basis: Basis) -> Columns:
    """The tokens that each feature's direction raises and lowers most; its norm.

    Norms alone where the basis writes to a site that has no way of its own to the logits, as
    queries. A direction that is not finite raises every token by NaN.
    """
    model, n = basis.model, basis.n_features
    rare = model.rare_tokens.nonzero()[:, 0].to(model.hf.device)
    found: dict[str, list[torch.Tensor]] = {"norm": []}
    for a in range(0, n, 256):
        rows = torch.stack([basis.direction(i).float() for i in _upto(a, n)])
        found["norm"].append(rows.norm(dim=1))
        sound = rows.isfinite().all(1, keepdim=True)
        try:
            written = model.to_residual(basis.write_site, rows.where(sound, 0.0))
        except InputError:  # this site does not write to the residual stream
            continue
        effects = logit_effects(model, written)
        for name, most in (("promoted", True), ("suppressed", False)):
            effects.index_fill_(1, rare, -torch.inf if most else torch.inf)
            best = effects.topk(min(_BEST, effects.shape[1] - len(rare)), largest=most)
            found.setdefault(name, []).append(best.indices.to(torch.int32))
            found.setdefault(f"{name}_by", []).append(best.values.where(sound, torch.nan))
    return {k: torch.cat(v).cpu().numpy() for k, v in found.items()}


def _upto(a: int, n: int) -> range:
    return range(a, min(a + 256, n))


def write_vocabulary(folder: Path, model: LiveModel, corpus: Corpus) -> None:
    """Every token's display piece, its kind, and how often the corpus has it."""
    parquet, pa = need_store("pyarrow.parquet"), need_store("pyarrow")
    pieces, kinds = model.pieces.many(range(model.vocabulary))
    table = pa.table(
        {
            "token": np.arange(model.vocabulary, dtype=np.int32),
            "piece": pieces,
            "kind": np.array(kinds, np.int8),
            "count": corpus.token_counts(model.vocabulary),
        }
    )
    parquet.write_table(table, folder / "vocabulary.parquet", compression="zstd")


def write_heads(folder: Path, shards: Sequence[Shard], heads: Any, corpus: Corpus, k: Keep) -> None:
    """The table of attention heads' pairs."""
    tables = Tables(folder)
    lead = len(corpus.lead)
    with tables:
        for name, most in (("top", k.top), ("random", k.firing)):
            found, rank = gathered(shards, name, (0, len(heads)), most)
            document, start, length = corpus.place(found.window)
            own = np.array([[h.layer, h.index] for h in heads])[found.group]
            tables.write(
                "heads",
                {
                    "layer": own[:, 0],
                    "head": own[:, 1],
                    "group": [name] * len(found),
                    "rank": rank,
                    "document": document,
                    "start": start,
                    "length": length,
                    "query": start + found.offset - lead,
                    "key": start + found.offsets - lead,
                    "value": found.value,
                },
            )
