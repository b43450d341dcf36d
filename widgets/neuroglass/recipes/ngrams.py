"""Unigram, bigram and trigram language models of token ids: what a trained model must beat.

Interpolated absolute discounting (Ney, Essen and Kneser 1994): of every n-gram's count 0.75 is
taken, and spread as the shorter context says. The unigram adds one to every count.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
DISCOUNT = 0.75


@dataclass(frozen=True, eq=False)
class NGrams:
    """Counts of n-grams, n = 1, 2, 3, in one text."""

    text: Ints  # token ids [tokens]
    vocabulary: int

    def _keys(self, ids: Ints, n: int) -> Ints:
        """One number for each n-gram of `ids` [tokens], by its last token: [tokens - n + 1]."""
        key = np.zeros(len(ids) - n + 1, dtype=np.int64)
        for k in range(n):
            key = key * self.vocabulary + ids[k : len(ids) - n + 1 + k]
        return key

    @cached_property
    def _unigrams(self) -> Ints:
        return np.bincount(self.text, minlength=self.vocabulary)

    @cached_property
    def _tables(self) -> dict[int, tuple[Ints, Ints, Ints, Ints, Ints]]:
        """For n = 2 and 3: n-grams, counts; contexts, how often, with how many continuations."""
        found = {}
        for n in (2, 3):
            grams, counts = np.unique(self._keys(self.text, n), return_counts=True)
            contexts, first, kinds = np.unique(
                grams // self.vocabulary, return_index=True, return_counts=True
            )
            found[n] = grams, counts, contexts, np.add.reduceat(counts, first), kinds
        return found

    def losses(self, ids: Ints) -> dict[int, Floats]:
        """Loss in nats of each token of `ids` from the third on, for n = 1, 2 and 3."""
        p: Floats = ((self._unigrams + 1) / (len(self.text) + self.vocabulary))[ids[2:]]
        out = {1: -np.log(p)}
        for n, (grams, counts, contexts, often, kinds) in self._tables.items():
            key = self._keys(ids[3 - n :], n)
            seen = np.maximum(_look_up(grams, counts, key) - DISCOUNT, 0)
            context = key // self.vocabulary
            total = _look_up(contexts, often, context)
            taken = DISCOUNT * _look_up(contexts, kinds, context)
            p = np.where(total > 0, (seen + taken * p) / np.maximum(total, 1), p)
            out[n] = -np.log(p)
        return out


def _look_up(keys: Ints, values: Ints, wanted: Ints) -> Ints:
    """The value beside each wanted key, 0 where there is none; `keys` are sorted."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)
