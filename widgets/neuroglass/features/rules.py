"""Rules: what a person thinks a feature stands for, as a pattern or a function of tokens.

A rule says of each token of a text whether it holds there (or how much). A pattern is matched
against the text itself, put together from the bytes of its tokens: a character that is cut into
several tokens is matched as a whole, and each of them counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import regex

from neuroglass.features.exact import I64
from neuroglass.model.errors import InputError
from neuroglass.model.tokens import Kind

if TYPE_CHECKING:
    from neuroglass.features.store import Store

F32 = npt.NDArray[np.float32]
Predicate = Callable[[list[str], int], Any]
_PATIENCE = 2.0  # seconds that a pattern may take over one window


@dataclass(frozen=True)
class Rule:
    """See the module; made by ``Rule.of``.

    Attributes:
        name: how it is called: the pattern's text, the function's name.
        pattern, function: one of the two.
    """

    name: str
    pattern: Any = field(default=None, repr=False)
    function: Predicate | None = field(default=None, repr=False)

    @classmethod
    def of(cls, given: str | re.Pattern[str] | Predicate | Rule) -> Rule:
        r"""A rule of whatever says one.

        Args:
            given: a regular expression (those of the package ``regex``: ``\p{Hebrew}`` too), or a
                function that is given the display pieces of a text and the place of a token in it,
                and returns whether the rule holds there, or a number that is above zero where it
                does (as the log-likelihood ratios of *Towards Monosemanticity*).

        Raises:
            InputError: no regular expression; neither of the two.
        """
        if isinstance(given, Rule):
            return given
        if isinstance(given, re.Pattern):
            flags = "i" if given.flags & re.IGNORECASE else ""
            given = f"(?{flags}){given.pattern}" if flags else given.pattern
        if isinstance(given, str):
            if not given:
                raise InputError("The pattern is empty.", r"For example \p{Hebrew} or [ACGT]{6,}.")
            try:
                return cls(given, regex.compile(given))
            except regex.error as error:
                raise InputError(f"{given!r} is no regular expression: {error}.") from error
        if callable(given):
            return cls(getattr(given, "__name__", type(given).__name__), function=given)
        raise InputError(
            f"A rule is {type(given).__name__}.", "Give a regular expression or fn(tokens, i)."
        )

    def over(self, store: Store, ids: npt.NDArray[np.integer]) -> F32:
        """What the rule says of each token of a text of the store's vocabulary: [tokens].

        Raises:
            InputError: the function fails; the pattern takes too long.
        """
        if self.function is None:
            return self._matched([store.token_bytes[i] for i in ids])
        pieces = store.pieces(np.asarray(ids, np.int64))
        return np.array([self._called(pieces, i) for i in range(len(pieces))], np.float32)

    def _called(self, pieces: list[str], i: int) -> float:
        assert self.function is not None
        try:
            return float(self.function(pieces, i))
        except Exception as error:
            raise InputError(
                f"The rule {self.name} failed at {pieces[i]!r}: {type(error).__name__}: {error}.",
                "It is called as fn(tokens, i) and returns True, False or a number.",
            ) from error

    def _matched(self, raw: list[bytes]) -> F32:
        joined = b"".join(raw)
        text = joined.decode("utf-8", "surrogateescape")
        try:
            spans = [m.span() for m in self.pattern.finditer(text, timeout=_PATIENCE)]
        except TimeoutError as error:
            raise InputError(
                f"The pattern {self.name!r} takes too long.", "Repetitions in repetitions do that."
            ) from error
        found = np.zeros(len(raw), np.float32)
        if not spans:
            return found
        at = np.arange(len(text) + 1)
        if len(text) < len(joined):  # where each character starts, in bytes
            sizes = [len(c.encode("utf-8", "surrogateescape")) for c in text]
            at = np.r_[0, np.cumsum(sizes)]
        ends = np.cumsum([len(r) for r in raw])
        for a, b in spans:
            if b > a:
                first, last = np.searchsorted(ends, [at[a], at[b] - 1], side="right")
                found[first : last + 1] = 1
        return found


class Verdicts:
    """What a rule says of the tokens of a store's corpus, as far as it was asked.

    A rule sees what the model sees: one window, without what comes before it.

    Attributes:
        values: of every token of the corpus; zero where it was not asked yet.
    """

    def __init__(self, store: Store, rule: Rule) -> None:
        self.values = np.zeros(store.corpus.n_tokens, np.float32)
        self._store, self._rule = store, rule
        self._batches = 0

    def of(self, windows: I64) -> None:
        """Ask of these windows.

        Raises:
            InputError: see ``Rule.over``.
        """
        corpus = self._store.corpus
        document, start, length = corpus.place(windows)
        for a, n in zip(corpus.starts[document] + start, length, strict=True):
            self.values[a : a + n] = self._rule.over(self._store, corpus.ids[a : a + n])

    def catch_up(self, batches: int) -> None:
        """Ask of the first so many batches of the corpus' scattered windows."""
        corpus = self._store.corpus
        for windows in islice(corpus.scattered(corpus.n_tokens), self._batches, batches):
            self.of(windows)
        self._batches = max(self._batches, batches)


def bytes_of(piece: str, kind: int) -> bytes:
    """The bytes that a display piece stands for; none of a special token."""
    if kind == Kind.SPECIAL:
        return b""
    if kind == Kind.TEXT:
        return piece.encode("utf-8", "surrogatepass")
    parts = re.split(r"⟨((?:[0-9a-f]{2} ?)+|U\+[0-9A-F]{4,6})⟩", piece)
    out = b""
    for i, part in enumerate(parts):
        if i % 2 == 0:
            out += part.encode("utf-8", "surrogatepass")
        elif part.startswith("U+"):
            out += chr(int(part[2:], 16)).encode("utf-8", "surrogatepass")
        else:
            out += bytes.fromhex(part)
    return out


@dataclass(frozen=True)
class Fit:
    """How well a rule predicts a feature, over tokens that were all looked at.

    *Towards Monosemanticity*, the four case studies. NaN where nothing can be said.

    Attributes:
        specificity: of the tokens where the feature is on, the share where the rule holds.
        sensitivity: of the tokens where the rule holds, the share where the feature is on.
        pearson: correlation of the feature's value and the rule's, over all tokens.
        tokens, on, holds, both: how many were looked at; where the feature is on, where the rule
            holds, where both.
    """

    specificity: float
    sensitivity: float
    pearson: float
    tokens: int
    on: int
    holds: int
    both: int


def fit(rule: F32, at: I64, value: F32) -> Fit:
    """How a rule fits a feature.

    Args:
        rule: what it says of each token that was looked at, [tokens].
        at: which of those the feature's value is not zero at.
        value: its values there.
    """
    r, v = rule.astype(np.float64), value.astype(np.float64)
    n, holds, on = len(r), int((r > 0).sum()), v > 0
    both = int((r[at[on]] > 0).sum())
    counted = int(on.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        cov = (r[at] @ v) / max(n, 1) - r.sum() / max(n, 1) * v.sum() / max(n, 1)
        spread_r = max(0.0, (r @ r) / max(n, 1) - (r.sum() / max(n, 1)) ** 2)
        spread_v = max(0.0, (v @ v) / max(n, 1) - (v.sum() / max(n, 1)) ** 2)
        pearson = cov / (spread_r * spread_v) ** 0.5 if spread_r * spread_v > 0 else np.nan
    return Fit(
        specificity=both / counted if counted else np.nan,
        sensitivity=both / holds if holds else np.nan,
        pearson=float(pearson),
        tokens=n,
        on=counted,
        holds=holds,
        both=both,
    )
