"""Sums and samples that do not depend on the order in which they are made.

A harvest is cut into shards that are worked on in any order, by any number of workers, and its
store must come out the same to the last bit. So sums are kept without rounding, and samples are the
``k`` smallest values of a hash.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_EXPONENTS = range(96, -97, -32)  # of the limbs: each holds 32 bits of an addend


class ExactSum:
    """Arrays of doubles added up as integers of 2^-96, so that any order gives the same sum.

    Addends are below 2^128; what one has below 2^-96 is cut off. 2^31 arrays may be added.
    """

    def __init__(self, *shape: int) -> None:
        self.limbs = np.zeros((len(_EXPONENTS), *shape), np.int64)

    def add(self, x: F64) -> None:
        """Add an array."""
        rest = x.astype(np.float64, copy=True)
        for i, exponent in enumerate(_EXPONENTS):
            part = np.trunc(np.ldexp(rest, -exponent))
            self.limbs[i] += part.astype(np.int64)
            rest -= np.ldexp(part, exponent)

    def total(self) -> F64:
        """The sum so far, as doubles."""
        return limbs_total(self.limbs)


def limbs_total(limbs: npt.NDArray[np.int64]) -> F64:
    """The sum that limbs [7, ...] hold, as doubles [...], rounded once."""
    columns = limbs.reshape(len(limbs), -1).T.tolist()
    shifts = [exponent - _EXPONENTS[-1] for exponent in _EXPONENTS]
    unit = 1 << -_EXPONENTS[-1]
    # whole numbers of any size: one rounding, at the division
    flat = [sum(n << s for n, s in zip(row, shifts, strict=True)) / unit for row in columns]
    return np.array(flat, np.float64).reshape(limbs.shape[1:])


def mix(x: U64) -> U64:
    """A hash of 64 bits: the last steps of SplitMix64 (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def hash_of(*parts: npt.NDArray[np.integer] | int) -> U64:
    """A hash of 64 bits of some whole numbers, elementwise."""
    found = np.zeros(1, np.uint64)
    for part in parts:
        word = np.asarray(part).astype(np.int64).view(np.uint64)
        found = mix((found ^ word) + np.uint64(0x9E3779B97F4A7C15))
    return found


def spans(starts: npt.NDArray[np.integer], lengths: npt.NDArray[np.integer]) -> I64:
    """The indices of several stretches, one after another: starts[i], starts[i] + 1, ..."""
    lengths = np.asarray(lengths, np.int64)
    ends = lengths.cumsum()
    total = int(ends[-1]) if len(ends) else 0
    found: I64 = np.arange(total)
    found += np.repeat(np.asarray(starts, np.int64) - (ends - lengths), lengths)
    return found
