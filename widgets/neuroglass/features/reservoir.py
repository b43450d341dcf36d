"""Bottom-k samples of many groups at once, each example with its window's values.

An offer has a group and an order; a reservoir keeps, in each group, the `k` offers of the smallest
orders. With a hash as order that is a uniform sample of all that was offered; with the value's
complement it is the top k. Either way it is a function of the set of offers, not of their order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from neuroglass.features.exact import I64, U64, spans

NEVER = np.iinfo(np.uint64).max
_PENDING = 1 << 16  # offers; compacting is worth it from here on


@dataclass
class Examples:
    """Tokens worth keeping, and what their feature did in the whole window.

    Attributes:
        group: int64 [n]; order: uint64 [n]: see the module.
        window: int64 [n], its number in the corpus; offset: int32 [n], the token's place in it,
            leading ids counted; value: float32 [n].
        length: int32 [n]: how many of the window's tokens have the feature on; their offsets
            (uint16) and values (float32) stand one example after another in `offsets`, `values`.
    """

    group: I64
    order: U64
    window: I64
    offset: npt.NDArray[np.int32]
    value: npt.NDArray[np.float32]
    length: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.uint16]
    values: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.group)

    @classmethod
    def none(cls) -> Examples:
        return cls(
            np.zeros(0, np.int64),
            np.zeros(0, np.uint64),
            np.zeros(0, np.int64),
            np.zeros(0, np.int32),
            np.zeros(0, np.float32),
            np.zeros(0, np.int32),
            np.zeros(0, np.uint16),
            np.zeros(0, np.float32),
        )

    @classmethod
    def concat(cls, parts: list[Examples]) -> Examples:
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.none()
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def take(self, chosen: I64) -> Examples:
        """Some of them, in the order given."""
        starts = self.length.cumsum(dtype=np.int64) - self.length
        within = spans(starts[chosen], self.length[chosen])
        return Examples(
            self.group[chosen],
            self.order[chosen],
            self.window[chosen],
            self.offset[chosen],
            self.value[chosen],
            self.length[chosen],
            self.offsets[within],
            self.values[within],
        )

    def smallest(self, k: int) -> tuple[Examples, I64]:
        """The `k` of each group with the smallest orders, sorted, and their ranks from 0."""
        sorted_ = np.lexsort((self.order, self.group))
        group = self.group[sorted_]
        first = np.flatnonzero(np.r_[True, group[1:] != group[:-1]][: len(group)])
        rank = np.arange(len(group)) - np.repeat(first, np.diff(np.r_[first, len(group)]))
        keep = rank < k
        return self.take(sorted_[keep]), rank[keep]


class Reservoir:
    """The `k` smallest of each group.

    Args:
        groups: how many groups there are.
        k: how many to keep of each.
        regroup: renames the groups of offers whenever the reservoir is compacted.

    Attributes:
        limit: uint64 [groups]: an offer of a larger or equal order can't be among the k.
    """

    def __init__(self, groups: int, k: int, regroup: Callable[[I64], I64] | None = None) -> None:
        self.k = k
        self.limit = np.full(groups, NEVER, np.uint64)
        self._regroup = regroup
        self._kept = Examples.none()
        self._pending: list[Examples] = []
        self._waiting = 0

    def offer(self, examples: Examples) -> None:
        """Offer some; those beyond `limit` need not be offered."""
        if len(examples):
            self._pending.append(examples)
            self._waiting += len(examples)
            if self._waiting > max(_PENDING, len(self._kept)):
                self._compact()

    def _compact(self) -> None:
        whole = Examples.concat([self._kept, *self._pending])
        self._pending, self._waiting = [], 0
        if self._regroup is not None:
            whole.group = self._regroup(whole.group)
        self._kept, rank = whole.smallest(self.k)
        full = rank == self.k - 1
        groups, orders = self._kept.group[full], self._kept.order[full]
        self.limit[groups] = np.minimum(self.limit[groups], orders)

    def drain(self) -> Examples:
        """All that is kept, sorted by group and order; the reservoir forgets it, not its limits."""
        self._compact()
        kept, self._kept = self._kept, Examples.none()
        return kept
