"""Worked examples for prompts: invented features, with what they do on short texts.

Ours, written for this library. ``Shot.lines`` marks activations 1–10 in braces after a piece of
text: ``"the [ river:9] bank"`` has one token " river" with activation 9.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MARK = re.compile(r"\[([^\]:]+):(\d+)\]")
_PIECE = re.compile(r"\s?[^\W\d_]+|\s?\d|\s?(?:[^\w\s]|_)|\s")


@dataclass(frozen=True)
class Shot:
    """One invented feature: an explanation, and texts with marked activations."""

    explanation: str
    lines: tuple[str, ...]

    def texts(self) -> list[tuple[list[str], list[int]]]:
        """Tokens and activations (0–10) of each text."""
        return [marked(line) for line in self.lines]


def marked(line: str) -> tuple[list[str], list[int]]:
    """Tokens and activations of a line with marks: words with their leading space, signs alone."""
    pieces: list[str] = []
    values: list[int] = []
    at = 0
    for match in [*_MARK.finditer(line), None]:
        plain = line[at : match.start() if match else None]
        found = _PIECE.findall(plain)
        pieces += found
        values += [0] * len(found)
        if match:
            pieces.append(match[1])
            values.append(int(match[2]))
            at = match.end()
    return pieces, values


SHOTS = (
    Shot(
        "words for weather that is wet",
        (
            "All night the[ rain:10] beat on the roof, and by noon it was[ drizzle:8].",
            "Bring a coat: there may be[ sleet:7] or[ showers:9] on the hills.",
            "The train was late again and nobody knew why.",
        ),
    ),
    Shot(
        "the second half of a comparison, just after the word than",
        (
            "Her answer was shorter than[ mine:9] and far better.",
            "It costs less than[ a:6][ coffee:8] and lasts a year.",
            "Then we went home by the old road.",
        ),
    ),
    Shot(
        "years written as numbers, above all in the nineteenth century",
        (
            "The bridge of[ 1874:10] was replaced in[ 1951:5].",
            "She was born in[ 1832:9], in a town of 4000 people.",
            "Nobody had counted the sheep.",
        ),
    ),
)
