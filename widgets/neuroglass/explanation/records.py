"""What explaining, simulating and scoring pass to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Window:
    """A stretch of text with the feature's true values.

    Attributes:
        document: of the store's corpus; -1 for a text that is not in it.
        start: where the window begins in the document.
        ids: token ids, [tokens].
        pieces: their display pieces.
        values: the feature's activations, float64 [tokens].
        group: where it is from: "top", "interval 3", "firing", "random", "counterexample".
    """

    document: int
    start: int
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    values: F64 = field(repr=False)
    group: str

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Split:
    """The windows that an explanation may be made of, and those it is scored on.

    No document is on both sides (DESIGN §7).

    Attributes:
        train: windows where the feature is on, the strongest first.
        test: the same of other documents.
        random: windows at random, of documents that are not in `train` either.
        largest: the feature's largest value in the corpus.
        seed: of the split.
    """

    train: tuple[Window, ...]
    test: tuple[Window, ...]
    random: tuple[Window, ...]
    largest: float
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Documents of both sides: what is stored with a result."""
        return {
            "seed": self.seed,
            "train": sorted({w.document for w in self.train}),
            "test": sorted({w.document for w in (*self.test, *self.random)}),
            "windows": [len(self.train), len(self.test), len(self.random)],
        }


@dataclass(frozen=True)
class Explanation:
    """What a feature is on at, in words or as patterns.

    Attributes:
        text: the explanation.
        author: a person, or the name of a method or model.
        feature: id of the feature.
        parent: id of the explanation that this one revises; "" for none.
        id: where it was written to a store; "" where it was not.
        split: see ``Split.to_json``; None for one that was made without examples.
        more: whatever else its author wants to keep, as JSON.
    """

    text: str
    author: str
    feature: str
    parent: str = ""
    id: str = ""
    split: Mapping[str, Any] | None = field(default=None, repr=False)
    more: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, eq=False)
class Simulated:
    """What a simulator expects of one window.

    Attributes:
        window: the window, with true values.
        values: expected values, float64 [tokens], in whatever scale the simulator has; None where
            it failed: a failure is no zero.
        failure: why it failed; "" where it did not.
        note: what had to be mended in a simulator's answer; "" for nothing.
    """

    window: Window
    values: F64 | None
    failure: str = ""
    note: str = ""


class Explainer(Protocol):
    """Writes an explanation out of windows. Its name is the author of what it writes."""

    @property
    def name(self) -> str: ...

    def explain(self, feature: Any, train: Sequence[Window], largest: float) -> str:
        """An explanation of a ``StoredFeature``.

        Raises:
            NeuroglassError: it can't be done; the message says why.
        """


class Simulator(Protocol):
    """Says how strong a feature would be, if an explanation were all that one knew."""

    @property
    def name(self) -> str: ...

    def simulate(self, text: str, windows: Sequence[Window]) -> list[Simulated]:
        """One result for each window, in order.

        Raises:
            InputError: the explanation can't be simulated in this way at all.
            NeuroglassError: the simulator can't be had at all (its server is down).
        """


@dataclass(frozen=True)
class Score:
    """One number that an explanation scored.

    Attributes:
        name: of the score.
        value: None where it is undefined (a constant simulation has no correlation).
        low, high: 95 % bootstrap interval over windows; None where there is none.
        windows, failures: how many it rests on, and how many could not be simulated.
        reason: why the value is undefined.
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    windows: int = 0
    failures: int = 0
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Scores:
    """All that an explanation scored on the test windows of one feature.

    Attributes:
        explanation: what was scored.
        simulator: the name of who simulated.
        scores: by name.
        simulated: window by window.
        split: see ``Split.to_json``.
    """

    explanation: Explanation
    simulator: str
    scores: Mapping[str, Score]
    simulated: tuple[Simulated, ...] = field(repr=False)
    split: Mapping[str, Any] = field(repr=False)

    def __getitem__(self, name: str) -> Score:
        return self.scores[name]

    def __float__(self) -> float:
        value = self.scores["correlation"].value
        return float("nan") if value is None else value

    def to_frame(self) -> pd.DataFrame:
        """One row for each score: value, low, high, windows, failures, reason."""
        import pandas as pd

        rows = [
            {"score": s.name, "value": s.value, "low": s.low, "high": s.high,
             "windows": s.windows, "failures": s.failures, "reason": s.reason}
            for s in self.scores.values()
        ]  # fmt: skip
        return pd.DataFrame(rows).set_index("score")

    def __repr__(self) -> str:
        parts = []
        for s in self.scores.values():
            value = "undefined" if s.value is None else f"{s.value:.3g}"
            span = "" if s.low is None or s.high is None else f" ({s.low:.2g} to {s.high:.2g})"
            parts.append(f"{s.name} {value}{span}")
        return f"Scores({'; '.join(parts)}; simulated by {self.simulator})"
