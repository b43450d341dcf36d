r"""Patterns: explanations that are read as text and simulated exactly.

A pattern is a line: tokens in quotes, ``*`` for any token, ``^`` for the beginning of a window, and
the value that the feature is expected to have at the last of them. A regular expression between
slashes counts at every token that it touches::

    " of" * " the"  9.5
    ^ "\n"  4
    /\p{Hebrew}+/  12

Where several patterns end at a token, the one with the most tokens counts, then the one with the
fewest wildcards, then an anchored one, then the first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from neuroglass.explanation.records import F64, Simulated, Window
from neuroglass.features.rules import Rule
from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    from neuroglass.features.store import Store

_ITEM = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|(\*)|(\^)|/((?:[^/\\]|\\.)+)/)')
_VALUE = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)?\s*$")
_WORDS = "An explanation in words needs a language model as its simulator: by=..."


@dataclass(frozen=True)
class Pattern:
    """One line.

    Attributes:
        tokens: display pieces; None is any token. Empty for a regular expression.
        value: expected where it ends.
        anchored: it begins at the beginning of the window.
        rule: the regular expression, if it is one.
    """

    tokens: tuple[str | None, ...]
    value: float = 1.0
    anchored: bool = False
    rule: Rule | None = field(default=None, compare=False)

    def __str__(self) -> str:
        if self.rule is not None:
            body = "/" + self.rule.name.replace("/", "\\/") + "/"
        else:
            words = ["*" if t is None else json.dumps(t, ensure_ascii=False) for t in self.tokens]
            body = " ".join(["^"] * self.anchored + words)
        return f"{body}  {self.value:.4g}"

    @property
    def rank(self) -> tuple[int, int, bool]:
        """How specific it is."""
        return len(self.tokens), sum(t is not None for t in self.tokens), self.anchored

    def ends_at(self, pieces: Sequence[str], i: int) -> bool:
        """The last of its tokens is token `i` of a window."""
        first = i + 1 - len(self.tokens)
        if first < 0 or (self.anchored and first > 0):
            return False
        return all(
            t is None or t == p for t, p in zip(self.tokens, pieces[first : i + 1], strict=True)
        )


def write(patterns: Sequence[Pattern]) -> str:
    """The text of patterns; ``read`` gives them back."""
    return "\n".join(str(p) for p in patterns)


def read(text: str) -> list[Pattern]:
    """The patterns of a text.

    Raises:
        InputError: the text is empty, or a line is no pattern; says which.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            found.append(_line(line, number))
    if not found:
        raise InputError("The explanation is empty.", 'A pattern looks like  " of" * " the"  3.5')
    return found


def _line(line: str, number: int) -> Pattern:
    at, tokens, anchored = 0, list[str | None](), False
    rule: Rule | None = None
    while item := _ITEM.match(line, at):
        quoted, any_, anchor, expression = item.groups()
        if anchor:
            if tokens or anchored or rule:
                raise _wrong(line, number, "^ stands at the beginning")
            anchored = True
        elif expression is not None:
            if tokens or anchored or rule:
                raise _wrong(line, number, "a regular expression stands alone")
            rule = Rule.of(expression.replace("\\/", "/"))
        else:
            if rule:
                raise _wrong(line, number, "a regular expression stands alone")
            tokens.append(None if any_ else _unquoted(quoted, line, number))
        at = item.end()
    value = _VALUE.match(line, at)
    if value is None or not (tokens or rule):
        raise _wrong(line, number, f"{line[at:].strip()[:40]!r} is neither token nor value")
    if tokens and tokens[-1] is None:
        raise _wrong(line, number, "its last token is any token")
    return Pattern(tuple(tokens), float(value[1]) if value[1] else 1.0, anchored, rule)


def _unquoted(quoted: str, line: str, number: int) -> str:
    try:
        piece: str = json.loads(quoted)
    except ValueError as error:
        raise _wrong(line, number, f"{quoted} is no quoted token") from error
    if not piece:
        raise _wrong(line, number, "a token is empty")
    return piece


def _wrong(line: str, number: int, why: str) -> InputError:
    return InputError(
        f"Line {number} is no pattern: {why}.",
        'Write tokens in quotes, * for any, /a regular expression/, then a value: " of" * " the" '
        f"3.5. {_WORDS}",
    )


class PatternSimulator:
    """Simulates patterns: no model is asked, the values are activations.

    Args:
        store: whose tokens the windows are of.
    """

    name = "patterns"
    quick = True  # an answer takes less than a keystroke

    def __init__(self, store: Store) -> None:
        self._store = store

    def simulate(self, text: str, windows: Sequence[Window]) -> list[Simulated]:
        """See ``Simulator``.

        Raises:
            InputError: the text is no patterns.
        """
        patterns = read(text)
        return [Simulated(w, self.values(patterns, w)) for w in windows]

    def values(self, patterns: Sequence[Pattern], window: Window) -> F64:
        """The expected value at each token of a window: [tokens]."""
        best = matches(patterns, window)
        out = np.array([patterns[k].value if k >= 0 else 0.0 for k in best])
        for p in patterns:
            if p.rule is not None:
                touched = p.rule.over(self._store, np.array(window.ids, np.int64)) > 0
                out = np.where(touched, np.maximum(out, p.value), out)
        return out


def matches(patterns: Sequence[Pattern], window: Window) -> list[int]:
    """Which pattern of tokens counts at each token of a window; -1 where none does."""
    by_last: dict[str, list[int]] = {}
    ranked = sorted(range(len(patterns)), key=lambda k: (*(-r for r in patterns[k].rank), k))
    for k in ranked:
        if patterns[k].tokens:
            by_last.setdefault(patterns[k].tokens[-1] or "", []).append(k)
    found = []
    for i, piece in enumerate(window.pieces):
        ends = (k for k in by_last.get(piece, ()) if patterns[k].ends_at(window.pieces, i))
        found.append(next(ends, -1))
    return found
