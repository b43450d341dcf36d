"""Revision: look for texts on which an explanation is wrong, and explain again with them.

Bills et al. 2023 let a model think of counterexamples; here they are also searched in the corpus,
among documents that the explanation is not tested on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from neuroglass.explanation.api import explain, score, simulator_of
from neuroglass.explanation.records import (
    Explainer,
    Explanation,
    Scores,
    Simulated,
    Simulator,
    Split,
    Window,
)
from neuroglass.explanation.windows import RandomWindows, of_text, split_of

if TYPE_CHECKING:
    from neuroglass.features.stored_feature import StoredFeature

_SEARCHED = 200  # windows of the corpus


@dataclass(frozen=True, eq=False)
class Revision:
    """One step of revision; nothing of it is lost.

    Attributes:
        before, after: the explanations; ``after`` has ``before`` as its parent where that was kept
            in a store.
        counterexamples: the windows on which ``before`` was most wrong, with true values.
        scores_before, scores_after: on the same held-out windows.
        split: with the counterexamples among what explains.
    """

    before: Explanation
    after: Explanation
    counterexamples: tuple[Window, ...] = field(repr=False)
    scores_before: Scores = field(repr=False)
    scores_after: Scores = field(repr=False)
    split: Split = field(repr=False)

    @property
    def gain(self) -> float:
        """How much the correlation on held-out text rose; NaN where one of them is undefined."""
        return float(self.scores_after) - float(self.scores_before)

    def __repr__(self) -> str:
        before, after = float(self.scores_before), float(self.scores_after)
        return f"Revision({len(self.counterexamples)} counterexamples; {before:.3f} → {after:.3f})"


def counterexamples(
    text: str,
    feature: StoredFeature,
    simulator: Simulator,
    *,
    split: Split,
    n: int = 5,
    searched: int = _SEARCHED,
    seed: int = 0,
    pool: RandomWindows | None = None,
) -> list[Simulated]:
    """The windows on which an explanation is most wrong, of documents it is not tested on.

    Windows at random and those in which the feature is on are looked at; what counts is the largest
    difference at a token between what is said and what is true.

    Args:
        text: the explanation.
        feature: of a store with its model.
        simulator: in the feature's own scale.
        split: its test documents are left out.
        n: how many.
        searched: windows at random that are looked at.
        seed: which.
        pool: windows to look at instead, which were read before.

    Raises:
        InputError: the store has no model; the explanation can't be read.
    """
    tested = {w.document for w in (*split.test, *split.random)}
    feature.store.basis  # noqa: B018 - says so where there is no model
    pool = pool or RandomWindows(feature.store, searched, seed + 100)
    random = pool.of(feature, tested)
    seen: dict[tuple[int, int], Window] = {}
    for w in (*split.train, *random):
        seen.setdefault((w.document, w.start), w)
    said = [s for s in simulator.simulate(text, list(seen.values())) if s.values is not None]

    def wrong(s: Simulated) -> float:
        assert s.values is not None
        return float(np.abs(s.values - s.window.values).max(initial=0))

    worst = sorted(said, key=wrong, reverse=True)[:n]
    return [s for s in worst if wrong(s) > 0]


def revise(
    explanation: Explanation | str,
    feature: StoredFeature,
    *,
    by: str | Explainer = "patterns",
    simulator: str | Simulator = "patterns",
    split: Split | None = None,
    texts: Sequence[str] = (),
    n: int = 5,
    pool: RandomWindows | None = None,
) -> Revision:
    """Explain again with counterexamples, and see whether held-out text is predicted better.

    Args:
        explanation: what is revised.
        feature: of a store with its model.
        by: the explainer; see ``explain``.
        simulator: who reads the explanation; see ``simulate``.
        split: of the explanation; None: as in ``explain``.
        texts: counterexamples of yours, or of a model's: the live model gives their true values;
            none: they are searched in the corpus.
        n: how many are searched.
        pool: the windows among which they are searched; None: 200 at random.

    Raises:
        InputError: as in ``explain`` and ``score``.
    """
    cut = split or split_of(feature)
    first = score(explanation, feature, by=simulator, split=cut)
    if texts:
        found = [of_text(feature, t) for t in texts]
    else:
        reader = simulator_of(simulator, feature.store)
        wrong = counterexamples(first.explanation.text, feature, reader, split=cut, n=n, pool=pool)
        found = [replace(s.window, group="counterexample") for s in wrong]
    wider = replace(cut, train=(*cut.train, *found))
    after = explain(feature, by=by, split=wider)
    after = replace(after, parent=first.explanation.id)
    second = score(after, feature, by=simulator, split=cut)
    return Revision(first.explanation, after, tuple(found), first, second, wider)
