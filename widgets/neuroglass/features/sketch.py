"""What a harvest keeps of a basis, in memory that does not depend on the corpus' length.

Sparse entries (token, feature, value) flow in, batch by batch; counts, sums, histograms, samples
and co-occurrences come out. Everything is a function of the set of batches: shards may be worked on
in any order and merged (DESIGN §4.4).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroglass.features.exact import F64, I64, U64, ExactSum, hash_of, mix, spans
from neuroglass.features.reservoir import Examples, Reservoir
from neuroglass.model.errors import InputError

F32 = npt.NDArray[np.float32]

OCTAVES = 16  # values from 2^-16 to 2^16 have bins of their own
BINS = 8 * OCTAVES  # four for each octave, equally wide within it
LINEAR = 64  # bins of the linear histogram
EXACT_PAIRS = 8192  # features; with more, co-activation is counted on a sample of tokens
PAIRS_SAMPLE = 16  # one token in so many
FIXED = 24  # bits after the point of sums per token and per neuron
_NO_MAX = -128
_KEYS_WAITING = 1 << 21


@dataclass(frozen=True)
class Keep:
    """How much a harvest keeps of each feature.

    Attributes:
        top: windows with the largest values.
        intervals: equal-width intervals of activation between 0 and the largest value (*Towards
            Monosemanticity*, feature pages); 0 keeps none.
        per_interval: examples of each.
        firing: tokens at random among those where the feature is on.
        random: windows at random among all; the same ones for every feature.
        pairs, tokens: how many co-active features and tokens are kept of each feature; None: all,
            up to 8,192 features, and 64 above.
        seed: of all samples.

    Raises:
        InputError: a negative number.
    """

    top: int = 20
    intervals: int = 10
    per_interval: int = 5
    firing: int = 20
    random: int = 50
    pairs: int | None = None
    tokens: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and (not isinstance(value, int) or value < 0):
                raise InputError(f"Keep({name}={value!r}): a whole number from 0 on is needed.")

    @property
    def in_bin(self) -> int:
        """Examples kept in each bin, enough for the intervals that are cut from them."""
        return max(self.firing, 3 * self.per_interval if self.intervals else 0, 1)


@dataclass(frozen=True)
class Batch:
    """The tokens of a batch that count.

    Attributes:
        ids: int64 [tokens]; window: int64 [tokens], its number in the corpus; local: int64, its
            number in the batch; offset: int32, the token's place in it, leading ids counted.
        windows: int64 [windows of the batch]
        hash: uint64 [tokens].
    """

    ids: I64
    window: I64
    local: I64
    offset: npt.NDArray[np.int32]
    windows: I64
    hash: U64


def token_hash(
    seed: int,
    document: npt.NDArray[np.integer],
    start: npt.NDArray[np.integer],
    offset: npt.NDArray[np.integer],
) -> U64:
    """The hash of tokens: of their document, window and place."""
    return hash_of(seed, document, start, offset)


def feature_hash(feature: npt.NDArray[np.integer]) -> U64:
    """What a token's hash is mixed with to give that of (feature, document, position)."""
    return hash_of(feature, 2)


def bin_of(value: F32) -> I64:
    """The bin of positive values: a quarter of an octave, by the leading bits of the number."""
    bits = value.view(np.int32).astype(np.int64)
    found: I64 = np.clip((bits >> 21) - ((127 - OCTAVES) << 2), 0, BINS - 1)
    return found


def bin_edges() -> F64:
    """The lower edges of all bins and the upper one of the last: float64 [BINS + 1]."""
    i = np.arange(BINS + 1)
    return np.ldexp(1 + (i % 4) / 4, i // 4 - OCTAVES)


class Keyed:
    """Counts, and sums of values, of pairs (feature, other) of which few occur."""

    def __init__(self, others: int) -> None:
        self.others = others
        self._clear()

    def _clear(self) -> None:
        self.keys = np.zeros(0, np.int64)
        self.counts = np.zeros(0, np.int64)
        self.sums = np.zeros(0, np.int64)
        self._waiting: list[tuple[I64, I64]] = []
        self._n = 0

    def add(self, feature: I64, other: I64, value: F32 | None = None) -> None:
        """Count pairs; a pair may come several times."""
        key = feature * self.others + other
        fixed = np.zeros(len(key), np.int64)
        if value is not None:
            fixed = fixed_point(value.astype(np.float64))
        self._waiting.append((key, fixed))
        self._n += len(key)
        if self._n > max(_KEYS_WAITING, len(self.keys)):
            self._compact()

    def _compact(self) -> None:
        keys = np.concatenate([self.keys, *(k for k, _ in self._waiting)])
        counts = np.concatenate([self.counts, np.ones(self._n, np.int64)])
        sums = np.concatenate([self.sums, *(s for _, s in self._waiting)])
        self.keys, self.counts, self.sums = merge_keys(keys, counts, sums)
        self._waiting, self._n = [], 0

    def drain(self) -> tuple[I64, I64, I64]:
        """Keys in ascending order, counts, sums; and forget them."""
        self._compact()
        found = self.keys, self.counts, self.sums
        self._clear()
        return found


def merge_keys(keys: I64, counts: I64, sums: I64) -> tuple[I64, I64, I64]:
    """Equal keys as one, ascending."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]][: len(keys)])
    if not len(first):
        return keys, counts, sums
    return (
        keys[first],
        np.add.reduceat(counts[order], first),
        np.add.reduceat(sums[order], first),
    )


def fixed_point(x: F64) -> I64:
    """Whole multiples of 2^-24, which add up without rounding; cut off at ±2^30."""
    found = np.clip(x, -(2.0**30), 2.0**30)
    found *= 2.0**FIXED  # exact; np.ldexp takes twenty times as long
    return np.rint(found, out=found).astype(np.int64)


class Sketch:
    """What is kept of one basis.

    Args:
        n_features: how many features it has.
        vocabulary: ids that tokens may have.
        keep: how much.
        random: the shared random windows, ascending.
        n_neurons: neurons to correlate with, 0 for none.
    """

    def __init__(
        self, n_features: int, vocabulary: int, keep: Keep, random: I64, n_neurons: int = 0
    ) -> None:
        self.n_features = n_features
        self.vocabulary = vocabulary
        self.keep = keep
        self.random = random
        self.n_neurons = n_neurons
        self.max = np.zeros(n_features, np.float32)  # of the whole process: limits rest on it
        self._salt = feature_hash(np.arange(n_features))
        self._top = Reservoir(n_features, keep.top)
        self._bins = Reservoir(n_features * (BINS + 1), keep.in_bin, self._merge_low)
        self._flags = np.zeros(0, np.bool_)
        self.clear()

    def clear(self) -> None:
        """Start a shard: forget all but the limits of the samples, which go on being true."""
        n = self.n_features
        self.tokens = 0
        self.count = np.zeros(n, np.int64)
        self.bad = np.zeros(n, np.int64)
        self.largest = np.zeros(n, np.float32)
        self.smallest = np.zeros(n, np.float32)
        self.sums = ExactSum(4, n)
        self.log = np.zeros((n, BINS), np.int64)
        self.linear = np.zeros((n, LINEAR), np.int64)
        self.exponent = np.full(n, _NO_MAX, np.int16)
        self.by_token = Keyed(self.vocabulary)
        self.exact_pairs = n <= EXACT_PAIRS
        self.pairs = np.zeros((n, n) if self.exact_pairs else (0, 0), np.int32)
        self.some_pairs = Keyed(n)
        self.with_neurons = np.zeros((n, self.n_neurons), np.int64)
        self.neuron_sums = ExactSum(2, self.n_neurons)
        self._random: list[Examples] = []

    # ------------------------------------------------------------------ a batch

    def add(self, batch: Batch, token: I64, index: I64, value: F32) -> None:
        """Take in the entries of a batch that are not zero, in the order of its tokens.

        Args:
            batch: its tokens.
            token: int64 [entries]: which token of the batch; ascending.
            index: int64 [entries]: which feature; ascending within a token.
            value: float32 [entries].
        """
        n = self.n_features
        self.tokens += len(batch.ids)
        finite = np.isfinite(value)
        if not finite.all():
            self.bad += np.bincount(index[~finite], minlength=n)
            token, index, value = token[finite], index[finite], value[finite]
        wide = value.astype(np.float64)
        power = np.ones_like(wide)
        sums = np.empty((4, n))
        for p in range(4):
            power = power * wide
            sums[p] = np.bincount(index, weights=power, minlength=n)
        self.sums.add(sums)
        np.minimum.at(self.smallest, index, value)
        on = value > 0
        if not on.all():
            token, index, value = token[on], index[on], value[on]
        if not len(value):
            self._add_random(batch, token, index, value)
            return
        self.count += np.bincount(index, minlength=n)
        np.maximum.at(self.largest, index, value)
        np.maximum(self.max, self.largest, out=self.max)
        where = bin_of(value)
        np.add.at(self.log.reshape(-1), index * BINS + where, 1)
        self._add_linear(index, value)
        self.by_token.add(index, batch.ids[token], value)
        self._add_pairs(batch, token, index)
        self._sample(batch, token, index, value, where)
        self._add_random(batch, token, index, value)

    def _add_linear(self, index: I64, value: F32) -> None:
        """Bins of a 64th of the power of two above the largest value; they double as it grows."""
        needed = np.where(self.largest > 0, np.frexp(self.largest)[1], _NO_MAX).astype(np.int16)
        fold_linear(self.linear, self.exponent, needed)
        where = np.ldexp(value, -self.exponent[index].astype(np.int32)) * LINEAR
        np.add.at(self.linear.reshape(-1), index * LINEAR + where.astype(np.int64), 1)

    def _add_pairs(self, batch: Batch, token: I64, index: I64) -> None:
        n = self.n_features
        if self.exact_pairs and len(index) * 16 > len(batch.ids) * n:
            on = np.zeros((len(batch.ids), n), np.float32)  # a dense basis: as a product
            on[token, index] = 1
            both = (on.T @ on).astype(np.int32)
            self.pairs += np.triu(both, 1)
            return
        if not self.exact_pairs:
            sampled = batch.hash[token] < np.uint64((1 << 64) // PAIRS_SAMPLE)
            token, index = token[sampled], index[sampled]
        sizes = np.bincount(token, minlength=len(batch.ids))
        ends = sizes.cumsum()[token]
        first = np.arange(len(token))
        after = ends - first - 1
        left = np.repeat(index, after)
        right = index[spans(first + 1, after)]
        if self.exact_pairs:
            np.add.at(self.pairs.reshape(-1), left * n + right, 1)
        else:
            self.some_pairs.add(np.r_[left, right], np.r_[right, left])

    def _sample(self, batch: Batch, token: I64, index: I64, value: F32, where: I64) -> None:
        """Offer to the reservoirs what their limits let through, with its window's values."""
        window = batch.window[token]
        best = top_order(value, window)
        top = np.flatnonzero(best < self._top.limit[index]) if self.keep.top else window[:0]
        if len(top):  # of each window and feature, the largest value, the first where equal
            sorted_ = np.lexsort((batch.offset[token[top]], best[top], index[top], window[top]))
            top = top[sorted_]
            key = index[top], window[top]
            new = np.r_[True, (key[0][1:] != key[0][:-1]) | (key[1][1:] != key[1][:-1])]
            top = top[new]
        hashes = mix(batch.hash[token] ^ self._salt[index])
        cell = index * (BINS + 1) + np.where(where < self._low[index], 0, where + 1)
        low = np.flatnonzero(hashes < self._bins.limit[cell])
        chosen = np.r_[top, low]
        if not len(chosen):
            return
        length, offsets, values = self._windows(batch, token, index, value, chosen)
        examples = Examples(
            np.r_[index[top], cell[low]],
            np.r_[best[top], hashes[low]],
            window[chosen],
            batch.offset[token[chosen]],
            value[chosen],
            length,
            offsets,
            values,
        )
        both = np.arange(len(chosen))
        self._top.offer(examples.take(both[: len(top)]))
        self._bins.offer(examples.take(both[len(top) :]))

    def _windows(
        self, batch: Batch, token: I64, index: I64, value: F32, chosen: I64
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint16], F32]:
        """What the features of the `chosen` entries do in these entries' whole windows."""
        n = self.n_features
        key = batch.local[token] * n + index
        if len(self._flags) < len(batch.windows) * n:
            self._flags = np.zeros(len(batch.windows) * n, np.bool_)
        self._flags[key[chosen]] = True
        inside = np.flatnonzero(self._flags[key])
        self._flags[key[chosen]] = False
        inside = inside[np.argsort(key[inside], kind="stable")]
        sorted_ = key[inside]
        start = np.searchsorted(sorted_, key[chosen], side="left")
        length = np.searchsorted(sorted_, key[chosen], side="right") - start
        taken = inside[spans(start, length)]
        return (
            length.astype(np.int32),
            batch.offset[token[taken]].astype(np.uint16),
            value[taken],
        )

    @property
    def _low(self) -> I64:
        """Bins wholly within the first interval are one; they need no examples each."""
        return lowest_bin(self.max, self.keep.intervals)

    def _merge_low(self, cell: I64) -> I64:
        return merge_low(cell, self._low)

    def _add_random(self, batch: Batch, token: I64, index: I64, value: F32) -> None:
        """All values in the shared random windows."""
        here = np.isin(batch.window[token], self.random)
        if not here.any():
            return
        token, index, value = token[here], index[here], value[here]
        window, offset = batch.window[token], batch.offset[token]
        sorted_ = np.lexsort((offset, window, index))
        key = np.stack([index, window])[:, sorted_]
        new = np.r_[True, (key[:, 1:] != key[:, :-1]).any(0)]
        first = np.flatnonzero(new)
        sizes = np.diff(np.r_[first, len(sorted_)])
        value = value[sorted_]
        largest = np.maximum.reduceat(value, first)
        at_largest = np.flatnonzero(value == np.repeat(largest, sizes))
        _, at = np.unique(np.repeat(np.arange(len(first)), sizes)[at_largest], return_index=True)
        peak = sorted_[at_largest[at]]
        self._random.append(
            Examples(
                index[peak],
                window[peak].astype(np.uint64),
                window[peak],
                offset[peak],
                largest,
                sizes.astype(np.int32),
                offset[sorted_].astype(np.uint16),
                value,
            )
        )

    def add_neurons(self, part: slice, products: F64, sums: F64, squares: F64) -> None:
        """Take in Σ feature·neuron [features, neurons], Σ neuron and Σ neuron² of some neurons."""
        self.with_neurons[:, part] += fixed_point(products)
        both = np.zeros((2, self.n_neurons))
        both[:, part] = sums, squares
        self.neuron_sums.add(both)

    # ------------------------------------------------------------------ a shard

    def drain(self) -> dict[str, npt.NDArray[Any]]:
        """All that was seen since the last time, as arrays by name; start anew."""
        found: dict[str, npt.NDArray[Any]] = {
            "tokens": np.array([self.tokens]),
            "count": self.count,
            "bad": self.bad,
            "largest": self.largest,
            "smallest": self.smallest,
            "sums": self.sums.limbs,
            "log": self.log.astype(np.uint32),
            "linear": self.linear.astype(np.uint32),
            "exponent": self.exponent,
        }
        keys, counts, sums = self.by_token.drain()
        found |= {"token_key": keys, "token_count": counts, "token_sum": sums}
        if self.exact_pairs:
            both = self.pairs + self.pairs.T
            left, right = np.nonzero(both)
            found |= {"pair_key": left * self.n_features + right, "pair_count": both[left, right]}
        else:
            keys, counts, _ = self.some_pairs.drain()
            found |= {"pair_key": keys, "pair_count": counts}
        if self.n_neurons:
            found |= {"with_neurons": self.with_neurons, "neuron_sums": self.neuron_sums.limbs}
        kept = {
            "top": self._top.drain(),
            "bins": self._bins.drain(),
            "random": Examples.concat(self._random),
        }
        kept["random"] = kept["random"].smallest(len(self.random) or 1)[0]
        for group, examples in kept.items():
            found |= {f"{group}.{name}": array for name, array in vars(examples).items()}
        self.clear()
        return found


def top_order(value: F32, window: I64) -> U64:
    """Smallest for the largest value, and of equal ones for the first window."""
    bits = value.view(np.uint32).astype(np.uint64)
    return ((np.uint64(0xFFFFFFFF) - bits) << np.uint64(32)) | window.astype(np.uint64)


def lowest_bin(largest: F32, intervals: int) -> I64:
    """The first bin that reaches beyond the first interval: int64 [features]."""
    first = largest.astype(np.float64) / max(1, intervals)
    return np.searchsorted(bin_edges()[1:], first, side="right")


def merge_low(cell: I64, low: I64) -> I64:
    """Cells of bins below `low` become the feature's cell 0."""
    feature, at = np.divmod(cell, BINS + 1)
    return np.where(at <= low[feature], feature * (BINS + 1), cell)


def fold_linear(
    linear: I64, exponent: npt.NDArray[np.int16], wanted: npt.NDArray[np.int16]
) -> None:
    """Double the bins of histograms [n, LINEAR] until they reach up to 2^wanted, in place."""
    new = exponent == _NO_MAX
    exponent[new] = wanted[new]
    while len(narrow := np.flatnonzero(exponent < wanted)):
        pairs = linear[narrow].reshape(len(narrow), -1, 2).sum(2)
        linear[narrow] = np.concatenate([pairs, np.zeros_like(pairs)], 1)
        exponent[narrow] += 1
