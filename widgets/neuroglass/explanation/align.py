"""Numbers that a chat gave to tokens, put where they belong.

Chat models do not copy faithfully: they drop leading spaces, merge tokens, split them, leave some
out. The rules, in the order in which they are preferred:

1. texts are compared without white space and escapes, letters' case counts a little;
2. one answered token for several: each of those gets its number (merged);
3. several answered tokens for one: it gets the largest number (split);
4. a token left out gets the mean of its neighbours' numbers; of tokens answered that are not in the
   text nothing is taken. Together at most one in ten of the text's tokens may be so, at least one;
   beyond that the answer is a failure.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuroglass.explanation.chat import ChatError
from neuroglass.explanation.records import F64

_MOST_MERGED = 6
_ONE_IN = 10


@dataclass(frozen=True, eq=False)
class Aligned:
    """One number for each token, and how many needed which rule.

    Attributes:
        values: float64 [tokens].
        merged, split: tokens that shared an answer, and that several answers shared.
        dropped, extra: tokens without an answer, and answers without a token.
    """

    values: F64
    merged: int = 0
    split: int = 0
    dropped: int = 0
    extra: int = 0

    @property
    def note(self) -> str:
        """What was mended, in words; "" where nothing was."""
        parts = [
            (self.merged, "merged"), (self.split, "split"),
            (self.dropped, "left out"), (self.extra, "not in the text"),
        ]  # fmt: skip
        return ", ".join(f"{n} {what}" for n, what in parts if n)


def key(text: str) -> str:
    """A token as it is compared: white space, escapes of it and invisible marks taken out."""
    plain = unicodedata.normalize("NFC", text)
    for escape in ("\\n", "\\t", "\\r"):
        plain = plain.replace(escape, "")
    return "".join(c for c in plain if not c.isspace() and c not in "\u2060\u200bĠĊ▁\\")


def align(tokens: Sequence[str], answered: Sequence[tuple[str, float]]) -> Aligned:
    """Put answered numbers to tokens by the cheapest alignment under the module's rules.

    Args:
        tokens: of the text, as they were shown.
        answered: tokens and numbers as the chat gave them, in order.

    Raises:
        ChatError: too much is missing or foreign.
    """
    ours, theirs = [key(t) for t in tokens], [key(t) for t, _ in answered]
    numbers = [n for _, n in answered]
    if not ours:
        raise ChatError("The window has no tokens.")
    # a bare white space may be answered by nothing at all, and answers may have some too many
    steps = _path(ours, theirs)
    values: list[float | None] = [None] * len(ours)
    merged = split = extra = 0
    for (i, di), (j, dj) in steps:
        given = numbers[j : j + dj]
        if not di:
            extra += bool(theirs[j])
            continue
        for k in range(i, i + di):
            values[k] = max(given) if given else None
        merged += di if di > 1 and dj == 1 else 0
        split += dj > 1
    gaps = [k for k, v in enumerate(values) if v is None]
    dropped = sum(bool(ours[k]) for k in gaps)
    if dropped + extra > max(1, len(ours) // _ONE_IN) or len(gaps) == len(ours):
        raise ChatError(
            f"The answer does not fit the text: of {len(ours)} tokens {dropped} are missing, "
            f"and {extra} answers belong to none."
        )
    known = [k for k, v in enumerate(values) if v is not None]
    for k in gaps:
        near = [
            max((j for j in known if j < k), default=None),
            min((j for j in known if j > k), default=None),
        ]
        at = [float(values[j] or 0.0) for j in near if j is not None]
        values[k] = sum(at) / len(at)
    return Aligned(np.asarray(values, np.float64), merged, split, dropped, extra)


Step = tuple[tuple[int, int], tuple[int, int]]  # (from, how many) of ours and of theirs


def _path(ours: Sequence[str], theirs: Sequence[str]) -> list[Step]:
    """The cheapest way through both lists (dynamic programming)."""
    n, m = len(ours), len(theirs)
    cost = np.full((n + 1, m + 1), np.inf)
    back: dict[tuple[int, int], tuple[int, int]] = {}
    cost[0, 0] = 0
    for i in range(n + 1):
        for j in range(m + 1):
            here = cost[i, j]
            for di, dj, price in _moves(ours, theirs, i, j):
                if here + price < cost[i + di, j + dj] - 1e-12:
                    cost[i + di, j + dj] = here + price
                    back[i + di, j + dj] = (di, dj)
    steps: list[Step] = []
    at = (n, m)
    while at != (0, 0):
        di, dj = back[at]
        at = at[0] - di, at[1] - dj
        steps.append(((at[0], di), (at[1], dj)))
    return steps[::-1]


def _moves(
    ours: Sequence[str], theirs: Sequence[str], i: int, j: int
) -> list[tuple[int, int, float]]:
    """What may come next: how many of ours and of theirs, and what it costs."""
    found: list[tuple[int, int, float]] = []
    if i < len(ours):
        found.append((1, 0, 1.0 if ours[i] else 0.01))
    if j < len(theirs):
        found.append((0, 1, 1.0 if theirs[j] else 0.01))
    if i == len(ours) or j == len(theirs):
        return found
    if ours[i] == theirs[j]:
        found.append((1, 1, 0.0))
    elif ours[i].casefold() == theirs[j].casefold():
        found.append((1, 1, 0.1))
    whole = ours[i]
    for k in range(2, min(_MOST_MERGED, len(ours) - i) + 1):
        whole += ours[i + k - 1]
        if ours[i] and ours[i + k - 1] and whole == theirs[j]:
            found.append((k, 1, 0.1 * k))
    whole = theirs[j]
    for k in range(2, min(_MOST_MERGED, len(theirs) - j) + 1):
        whole += theirs[j + k - 1]
        if theirs[j] and theirs[j + k - 1] and whole == ours[i]:
            found.append((1, k, 0.1 * k))
    return found
