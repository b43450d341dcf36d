"""Samples of shards → the table of examples: top, firing, intervals, random."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from neuroglass.features.corpus import Corpus, need_store
from neuroglass.features.exact import I64, U64, hash_of, mix
from neuroglass.features.parquet import Columns, Ragged
from neuroglass.features.reservoir import NEVER, Examples
from neuroglass.features.shards import Shard, gathered
from neuroglass.features.sketch import (
    BINS,
    F32,
    Keep,
    feature_hash,
    lowest_bin,
    merge_low,
    token_hash,
)

if TYPE_CHECKING:
    from neuroglass.features.tables import Totals

Inside = Callable[[I64, F32], npt.NDArray[np.bool_]]


def example_columns(
    shards: Sequence[Shard], totals: Totals, keep: Keep, corpus: Corpus, part: slice
) -> tuple[Columns, I64]:
    """The examples of some features as columns, and how many each has."""
    groups: list[tuple[str, Examples, I64]] = []  # of each: its feature is its `group`
    own = part.start, part.stop
    top, rank = gathered(shards, "top", own, keep.top)
    groups.append(("top", top, rank))
    low = lowest_bin(totals.largest, keep.intervals)
    bins = part.start * (BINS + 1), part.stop * (BINS + 1)
    found = gathered(shards, "bins", bins, keep.in_bin, lambda cell: merge_low(cell, low))
    cells, feature, chance, sampled = _weighed(*found, totals, keep, low)
    second = _SecondLook(top, sampled, keep, corpus)
    for name, inside, k in _cuts(totals, keep):
        among = np.flatnonzero(inside(feature, cells.value))
        chosen = cells.take(among)
        chosen.group, chosen.order = feature[among], chance[among]
        chosen, rank = chosen.smallest(k)
        groups.append((name, chosen, rank))
        if name != "firing":
            groups.append((name, *second.more(chosen, inside)))
    groups.append(("random", *gathered(shards, "random", own, keep.random or 1)))

    names = list(dict.fromkeys(name for name, _, _ in groups))
    whole = Examples.concat([e for _, e, _ in groups])
    code = np.repeat([names.index(n) for n, _, _ in groups], [len(e) for _, e, _ in groups])
    rank = np.concatenate([r for _, _, r in groups])
    sorted_ = np.lexsort((rank, code, whole.group))
    whole, code, rank = whole.take(sorted_), code[sorted_], rank[sorted_]
    document, start, length = corpus.place(whole.window)
    lead = len(corpus.lead)
    pa = need_store("pyarrow")
    ends = np.r_[0, whole.length.cumsum(dtype=np.int64)]
    columns = {
        "feature": whole.group.astype(np.int32),
        "group": pa.DictionaryArray.from_arrays(pa.array(code.astype(np.int8)), names).cast(
            pa.string()
        ),
        "rank": rank.astype(np.int16),
        "document": document,
        "start": start.astype(np.int32),
        "length": length.astype(np.int32),
        "position": (start + whole.offset - lead).astype(np.int32),
        "value": whole.value,
        "at": Ragged(ends, (whole.offsets.astype(np.int32) - lead).astype(np.int16)),
        "values": Ragged(ends, whole.values),
    }
    return columns, np.bincount(whole.group - part.start, minlength=part.stop - part.start)


def _weighed(
    cells: Examples, rank: I64, totals: Totals, keep: Keep, low: I64
) -> tuple[Examples, I64, U64, I64]:
    """The samples of bins, their features, and an order by which the first few of them are a fair
    sample of all bins; and the features that have more tokens than these.

    A bin that had more than it could keep is a sample: those below its k-th hash, each standing for
    count/(k - 1) tokens (Cohen and Kaplan 2007, *Summarizing data using bottom-k sketches*). Orders
    are exponential variables divided by that weight (Efraimidis and Spirakis 2006), so the first of
    any set of bins, or of parts of them, are drawn as if from all tokens.
    """
    k = keep.in_bin
    feature, at = np.divmod(cells.group, BINS + 1)
    below = np.concatenate([np.zeros((len(low), 1), np.int64), totals.log.cumsum(1)], 1)
    count = np.where(at == 0, below[feature, low[feature]], totals.log[feature, at - 1])
    first = np.flatnonzero(rank == 0)
    last = np.r_[first[1:], len(rank)][: len(first)] - 1
    limit = np.repeat(cells.order[last], np.diff(np.r_[first, len(rank)]))
    cut = count > k
    weight = np.where(cut, count / max(1, k - 1), 1.0)
    share = cells.order / np.where(cut, limit, np.uint64(NEVER)).astype(np.float64)
    use = ~cut | (rank < k - 1)
    with np.errstate(divide="ignore"):
        chance = -np.log1p(-share) / weight
    # positive doubles have the order of their bits
    kept = cells.take(np.flatnonzero(use))
    return kept, feature[use], chance[use].view(np.uint64), np.unique(feature[cut])


def _cuts(totals: Totals, keep: Keep) -> Iterator[tuple[str, Inside, int]]:
    """Groups of samples: which (feature, value) belong there, and how many are wanted."""
    if keep.firing:
        yield "firing", lambda feature, value: np.ones(len(value), np.bool_), keep.firing
    for i in reversed(range(keep.intervals)):

        def inside(feature: I64, value: F32, i: int = i) -> npt.NDArray[np.bool_]:
            share = value.astype(np.float64) / totals.largest[feature].astype(np.float64)
            interval = (share * keep.intervals).astype(np.int64)
            found: npt.NDArray[np.bool_] = np.minimum(interval, keep.intervals - 1) == i
            return found

        yield f"interval {i}", inside, keep.per_interval


class _SecondLook:
    """The windows of the largest values, searched for what an interval still lacks.

    An interval may cut a bin of which only a sample was kept, and get little or none of it, though
    there is more: of a thousand intervals two to twelve, nearly all of them uppermost ones. What
    features did in their top windows is all there, so the missing tokens are taken from those.

    Args:
        top: the top examples, features as `group`.
        sampled: the features that have more tokens than were kept.
        keep, corpus: as harvested.
    """

    def __init__(self, top: Examples, sampled: I64, keep: Keep, corpus: Corpus) -> None:
        self._top = top = top.take(np.flatnonzero(np.isin(top.group, sampled)))
        self._source = np.repeat(np.arange(len(top)), top.length)
        self._feature, self._window = top.group[self._source], top.window[self._source]
        self._offset = top.offsets.astype(np.int64)
        document, start, _ = corpus.place(self._window)
        salt = feature_hash(self._feature)
        self._hash = mix(token_hash(keep.seed, document, start, self._offset) ^ salt)
        self._most, self._room = keep.per_interval, corpus.context

    def more(self, chosen: Examples, inside: Inside) -> tuple[Examples, I64]:
        """What `chosen` lacks of an interval, by hash, and its ranks behind those.

        Args:
            chosen: what there is already, features as `group`.
            inside: which values belong.
        """
        own = [chosen.group, self._feature]
        have = np.bincount(own[0], minlength=1 + int(max(f.max(initial=0) for f in own)))
        at = np.flatnonzero(have[self._feature] < self._most)
        at = at[inside(self._feature[at], self._top.values[at])]
        known = _key(chosen.group, chosen.window, chosen.offset, self._room)
        at = at[~np.isin(_key(self._feature[at], self._window[at], self._offset[at], self._room),
                         known)]  # fmt: skip
        found = self._top.take(self._source[at])
        found.offset = self._offset[at].astype(np.int32)
        found.value, found.order = self._top.values[at], self._hash[at]
        found, rank = found.smallest(self._most)
        rank = rank + have[found.group]
        return found.take(np.flatnonzero(rank < self._most)), rank[rank < self._most]


def _key(feature: I64, window: I64, offset: npt.NDArray[np.integer], room: int) -> U64:
    """A number for each token of a feature."""
    return hash_of(feature, window * (room + 1) + offset)
