"""Puzzles for simulators: which of some explanations does a feature have?

Each puzzle is an invented feature on a few short sentences, its activations set by hand, with the
right explanation and some that are near it. A simulator ranks them by its correlation score. It is
an honest, small yardstick: the sentences are ours, no model was asked, nothing was left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neuroglass.explanation.records import Simulator, Window
from neuroglass.explanation.scores import pearson
from neuroglass.explanation.shots import marked
from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Puzzle:
    """An invented feature.

    Attributes:
        name: of the puzzle.
        right: the explanation that it was made by.
        wrong: others that sound likely.
        sentences: with activations 1–10 in brackets: ``"the [ river:9] bank"``.
    """

    name: str
    right: str
    wrong: tuple[str, ...]
    sentences: tuple[str, ...]

    @property
    def candidates(self) -> tuple[str, ...]:
        """All explanations, in alphabetical order."""
        return tuple(sorted((self.right, *self.wrong)))

    def windows(self) -> tuple[Window, ...]:
        """Its sentences as windows; there is no tokenizer, so that every id is -1."""
        made = []
        for number, sentence in enumerate(self.sentences):
            pieces, values = marked(sentence)
            made.append(
                Window(
                    -1,
                    number,
                    (-1,) * len(pieces),
                    tuple(pieces),
                    np.asarray(values, np.float64),
                    "puzzle",
                )
            )
        return tuple(made)


@lru_cache(maxsize=1)
def puzzles() -> tuple[Puzzle, ...]:
    """The 19 puzzles that come with the package."""
    read = json.loads(Path(__file__).with_name("puzzles.json").read_text("utf-8"))
    return tuple(
        Puzzle(p["name"], p["right"], tuple(p["wrong"]), tuple(p["sentences"])) for p in read
    )


@dataclass(frozen=True)
class Solved:
    """How a simulator ranked the explanations of one puzzle.

    Attributes:
        puzzle: the puzzle.
        scores: correlation of each candidate, None where it is undefined or nothing was simulated.
        failures: windows that could not be simulated, of each candidate.
        reasons: why a score is None.
    """

    puzzle: Puzzle
    scores: dict[str, float | None]
    failures: dict[str, int]
    reasons: dict[str, str]

    @property
    def rank(self) -> float | None:
        """Of the right one: 1 is the best; equals share their mean rank; None if undefined.

        A candidate with an undefined score counts as worse than any that has one.
        """
        own = self.scores[self.puzzle.right]
        if own is None:
            return None
        others = [
            -math.inf if s is None else s for c, s in self.scores.items() if c != self.puzzle.right
        ]
        return 1 + sum(s > own for s in others) + 0.5 * sum(s == own for s in others)


@dataclass(frozen=True)
class PuzzleReport:
    """All puzzles by one simulator.

    Attributes:
        simulator: its name.
        solved: one for each puzzle.
    """

    simulator: str
    solved: tuple[Solved, ...] = field(repr=False)

    @property
    def first(self) -> int:
        """Puzzles where the right explanation has rank 1, alone."""
        return sum(s.rank == 1 for s in self.solved)

    @property
    def by_chance(self) -> float:
        """Puzzles that would be so for a simulator that ranks at random."""
        return sum(1 / len(s.puzzle.candidates) for s in self.solved)

    def to_frame(self) -> pd.DataFrame:
        """One row for each candidate of each puzzle: score, failures, reason; rank of the right."""
        import pandas as pd

        rows = [
            {
                "puzzle": s.puzzle.name,
                "candidate": c,
                "right": c == s.puzzle.right,
                "score": s.scores[c],
                "failures": s.failures[c],
                "reason": s.reasons.get(c, ""),
                "rank of the right": s.rank,
            }
            for s in self.solved
            for c in s.puzzle.candidates
        ]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        undefined = sum(s.rank is None for s in self.solved)
        lost = f", {undefined} undefined" if undefined else ""
        return (
            f"PuzzleReport({self.simulator}: the right explanation first in {self.first} of "
            f"{len(self.solved)} puzzles (by chance {self.by_chance:.1f}){lost})"
        )


def solve(puzzle: Puzzle, simulator: Simulator) -> Solved:
    """Score every candidate of a puzzle on its sentences.

    A candidate that can't be simulated at all has no score, and its reason is kept.
    """
    scores: dict[str, float | None] = {}
    failures: dict[str, int] = {}
    reasons: dict[str, str] = {}
    windows = puzzle.windows()
    for candidate in puzzle.candidates:
        try:
            simulated = simulator.simulate(candidate, windows)
        except InputError as error:
            scores[candidate], failures[candidate] = None, len(windows)
            reasons[candidate] = str(error)
            continue
        pairs = [(s.window.values, s.values) for s in simulated if s.values is not None]
        failures[candidate] = len(simulated) - len(pairs)
        scores[candidate] = None
        if not pairs:
            reasons[candidate] = f"no sentence could be simulated ({simulated[0].failure})"
            continue
        true, said = (np.concatenate(some) for some in zip(*pairs, strict=True))
        r = pearson(true, said)
        if math.isnan(r):
            reasons[candidate] = f"the simulation is {said[0]:g} at every token"
        else:
            scores[candidate] = r
    return Solved(puzzle, scores, failures, reasons)


def solve_all(simulator: Simulator, some: Sequence[Puzzle] | None = None) -> PuzzleReport:
    """Rank the explanations of all puzzles (or of some) with a simulator.

    Raises:
        NeuroglassError: the simulator can't be had at all (its server is down).
    """
    chosen = puzzles() if some is None else tuple(some)
    return PuzzleReport(simulator.name, tuple(solve(p, simulator) for p in chosen))
