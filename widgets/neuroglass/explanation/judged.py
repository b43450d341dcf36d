"""Detection and fuzzing: can a judge who knows only the explanation tell where the feature is on?

After Paulo et al. 2024, *Automatically Interpreting Millions of Features in Large Language Models*.
Detection: windows where the feature is on among windows at random where it never is; which are
which? Fuzzing: windows where it is on, their tokens highlighted rightly in one half and wrongly in
the other; which are right? Test windows only, and what a judge needs to practise on is of train
windows (DESIGN §7). A judge is a chat, or any simulator: then no language model is needed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from neuroglass.explanation.records import F64, Score, Split, Window
from neuroglass.explanation.scores import BOOTSTRAPS
from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Task = Literal["detection", "fuzzing"]
NEAR_TOP = 0.3  # of a window's maximum: tokens above it are highlighted (as delphi does)
SHORTEST_QUIET = 4  # tokens of a stretch without activation that makes a window of its own


@dataclass(frozen=True, eq=False)
class Item:
    """One question to a judge.

    Attributes:
        window: what is shown.
        truth: the right answer.
        marked: bool [tokens], what is highlighted; None in detection.
    """

    window: Window
    truth: bool
    marked: tuple[bool, ...] | None = None


@dataclass(frozen=True, eq=False)
class Verdict:
    """A judge's answer to one item.

    Attributes:
        item: what was asked.
        answer: what was said; None for a failure.
        degree: the more, the surer of yes (a probability from a chat); None where there is none.
        failure: why there is no answer; "" where there is one.
    """

    item: Item
    answer: bool | None
    degree: float | None = None
    failure: str = ""


class Judge(Protocol):
    """Answers items, knowing an explanation."""

    @property
    def name(self) -> str: ...

    def judge(
        self, text: str, task: Task, items: Sequence[Item], practice: Sequence[Item]
    ) -> list[Verdict]:
        """One verdict for each item, in order.

        Args:
            practice: items of train windows with their answers, to set a threshold on.

        Raises:
            NeuroglassError: the judge can't be had at all, or not for this explanation.
        """


@dataclass(frozen=True, eq=False)
class Judged:
    """How a judge did with an explanation.

    Attributes:
        task: "detection" or "fuzzing".
        text: the explanation.
        judge: its name.
        verdicts: one for each item.
        scores: by name: balanced accuracy (mean of the shares of yes and of no that were right),
            precision, recall, F1, and AUC where every answer has a degree.
        split: see ``Split.to_json``.
    """

    task: Task
    text: str
    judge: str
    verdicts: tuple[Verdict, ...] = field(repr=False)
    scores: Mapping[str, Score] = field(repr=False)
    split: Mapping[str, Any] = field(repr=False)

    def __getitem__(self, name: str) -> Score:
        """A score by its name, with the task's name before it or without."""
        return self.scores[name if name in self.scores else f"{self.task}_{name}"]

    def to_frame(self) -> pd.DataFrame:
        """One row for each window: where it is from, truth, answer, degree, failure."""
        import pandas as pd

        rows = [
            {
                "document": v.item.window.document,
                "start": v.item.window.start,
                "group": v.item.window.group,
                "tokens": len(v.item.window.pieces),
                "truth": v.item.truth,
                "answer": v.answer,
                "degree": v.degree,
                "failure": v.failure,
            }
            for v in self.verdicts
        ]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        parts = []
        for name, s in self.scores.items():
            value = f"undefined ({s.reason})" if s.value is None else f"{s.value:.2f}"
            parts.append(f"{name.removeprefix(self.task + '_')} {value}")
        failures = sum(v.answer is None for v in self.verdicts)
        lost = f"; {failures} of {len(self.verdicts)} items failed" if failures else ""
        return f"Judged({self.task} by {self.judge}: {'; '.join(parts)}{lost})"


def detection(text: str, split: Split, judge: Judge, *, n: int = 50, seed: int = 0) -> Judged:
    """Windows where the feature is on, among as many where it is not.

    Args:
        text: the explanation.
        split: the test windows are asked about; the train windows are for practice.
        judge: ``ChatJudge`` or ``SimulatorJudge``.
        n: windows of each kind at most.
        seed: of their choice and order.

    Raises:
        InputError: there are no windows of one kind, or train and test share a document.
    """
    _disjoint(split)
    on = _distinct([w for w in split.test if _is_on(w)])
    off = _distinct([w for w in split.random if not _is_on(w)])
    items = _balanced(_detected(on, True), _detected(off, False), n, seed, split)
    train = [w for w in split.train if _is_on(w)]
    practice = [*_detected(train, True), *_detected(quiet(split.train), False)]
    return _judged(text, "detection", items, practice, split, judge, seed)


def fuzzing(text: str, split: Split, judge: Judge, *, n: int = 50, seed: int = 0) -> Judged:
    """Windows where the feature is on, highlighted rightly in one half, wrongly in the other.

    Right: the tokens above 0.3 of the window's maximum. Wrong: as many of the others, at random,
    those without any activation first. No window is shown in both ways.

    Args and errors: as in ``detection``; `n` windows of each kind.
    """
    _disjoint(split)
    rng = np.random.default_rng(seed)
    items = _fuzzed([w for w in _distinct(split.test) if _is_on(w)], rng)
    right, wrong = [i for i in items if i.truth], [i for i in items if not i.truth]
    asked = _balanced(right, wrong, n, seed, split)
    practice = _fuzzed([w for w in split.train if _is_on(w)], rng)
    return _judged(text, "fuzzing", asked, practice, split, judge, seed)


def quiet(windows: Sequence[Window], longest: int = 32) -> list[Window]:
    """The stretches of some windows where the feature is off, as windows of their own.

    Negatives out of the same documents: what explains or sets a threshold needs no other text.
    """
    found = []
    for w in windows:
        off = np.concatenate([[False], w.values <= 0, [False]])
        edges = np.flatnonzero(off[1:] != off[:-1])
        for start, end in edges.reshape(-1, 2).tolist():
            if end - start >= SHORTEST_QUIET:
                found.append(part(w, start, min(end, start + longest), "quiet"))
    return found


def part(w: Window, start: int, end: int, group: str = "") -> Window:
    """Some tokens of a window as a window."""
    return replace(
        w,
        start=w.start + start,
        ids=w.ids[start:end],
        pieces=w.pieces[start:end],
        values=w.values[start:end],
        group=group or w.group,
    )


def near_top(w: Window) -> tuple[bool, ...]:
    """Tokens above ``NEAR_TOP`` of the window's maximum, bool [tokens]."""
    most = float(w.values.max(initial=0.0))
    return tuple(bool(v > NEAR_TOP * most) for v in w.values) if most > 0 else (False,) * len(w)


# -- items -------------------------------------------------------------------------------------


def _is_on(w: Window) -> bool:
    return bool(w.values.max(initial=0.0) > 0)


def _disjoint(split: Split) -> None:
    train = {w.document for w in split.train}
    shared = train & {w.document for w in (*split.test, *split.random)}
    if shared:
        raise InputError(
            f"Train and test share {len(shared)} documents: a score on them would mean nothing.",
            "Split by document.",
        )


def _distinct(windows: Sequence[Window]) -> list[Window]:
    found = {(w.document, w.start, w.pieces): w for w in windows if w.pieces}
    return list(found.values())


def _detected(windows: Sequence[Window], truth: bool) -> list[Item]:
    return [Item(w, truth) for w in windows]


def _fuzzed(windows: Sequence[Window], rng: np.random.Generator) -> list[Item]:
    items: list[Item] = []
    order = rng.permutation(len(windows)).tolist()
    for index in order:
        w = windows[index]
        right = np.asarray(near_top(w))
        others = np.flatnonzero(~right)
        n = int(right.sum())
        # a window that is on nearly everywhere has no wrong highlight: it can only be right
        truth = len(items) % 2 == 0 or len(others) < n
        marked = right
        if not truth:
            # off before on, at random within each
            mixed = rng.permutation(others)
            chosen = mixed[np.argsort(w.values[mixed] > 0, kind="stable")][:n]
            marked = np.zeros(len(right), bool)
            marked[chosen] = True
        items.append(Item(w, truth, tuple(marked.tolist())))
    return items


def _balanced(
    yes: Sequence[Item], no: Sequence[Item], n: int, seed: int, split: Split
) -> list[Item]:
    if n < 1:
        raise InputError(f"n is {n}: give 1 or more windows of each kind.")
    if not yes or not no:
        kind = "where the answer is yes" if not yes else "where the answer is no"
        raise InputError(
            f"There is no window {kind}, among {len(split.test)} test windows and "
            f"{len(split.random)} at random.",
            "Harvest more text, or take a larger split.",
        )
    rng = np.random.default_rng(seed)
    n = min(n, len(yes), len(no))
    # evenly over the order they came in (strong to weak), not the strongest alone
    chosen = [
        items[i]
        for items in (yes, no)
        for i in np.linspace(0, len(items) - 1, n).round().astype(int).tolist()
    ]
    return [chosen[i] for i in rng.permutation(len(chosen)).tolist()]


# -- scores ------------------------------------------------------------------------------------


def _judged(
    text: str,
    task: Task,
    items: Sequence[Item],
    practice: Sequence[Item],
    split: Split,
    judge: Judge,
    seed: int,
) -> Judged:
    verdicts = judge.judge(text, task, items, practice)
    if len(verdicts) != len(items):
        raise InputError(f"{judge.name} gave {len(verdicts)} verdicts on {len(items)} items.")
    scores = judged_scores(verdicts, task, seed=seed)
    return Judged(task, text, judge.name, tuple(verdicts), scores, split.to_json())


def judged_scores(verdicts: Sequence[Verdict], task: str, *, seed: int = 0) -> dict[str, Score]:
    """Balanced accuracy, precision, recall, F1 and AUC of verdicts, failures left out and counted.

    With TP, FP, TN, FN counted over answers: balanced accuracy (TP/(TP+FN) + TN/(TN+FP)) / 2,
    precision TP/(TP+FP), recall TP/(TP+FN), F1 2TP/(2TP+FP+FN), AUC the share of (yes, no) pairs
    of items whose degrees are in the right order, ties a half.
    """
    there = [v for v in verdicts if v.answer is not None]
    failures = len(verdicts) - len(there)
    truth = np.array([v.item.truth for v in there], bool)
    said = np.array([bool(v.answer) for v in there], bool)
    degree = np.array([math.nan if v.degree is None else v.degree for v in there], np.float64)
    rng = np.random.default_rng(seed)
    draws = [rng.integers(0, len(there), len(there)) for _ in range(BOOTSTRAPS if there else 0)]
    found = {}
    for name, formula in _FORMULAS.items():
        value = formula(truth, said, degree) if there else math.nan
        if math.isnan(value):
            why = _why(name, truth, said, degree)
            score = Score(f"{task}_{name}", None, None, None, len(there), failures, why)
        else:
            drawn = [formula(truth[d], said[d], degree[d]) for d in draws]
            defined = [v for v in drawn if not math.isnan(v)]
            low, high = np.quantile(defined, [0.025, 0.975]).tolist() if defined else (None, None)
            score = Score(f"{task}_{name}", value, low, high, len(there), failures)
        found[score.name] = score
    return found


def _counts(truth: Any, said: Any) -> tuple[int, int, int, int]:
    pairs = Counter(zip(truth.tolist(), said.tolist(), strict=True))
    return pairs[True, True], pairs[False, True], pairs[False, False], pairs[True, False]


def _share(of: int, all_: int) -> float:
    return of / all_ if all_ else math.nan


def _balanced_accuracy(truth: Any, said: Any, _: F64) -> float:
    tp, fp, tn, fn = _counts(truth, said)
    return (_share(tp, tp + fn) + _share(tn, tn + fp)) / 2


def _precision(truth: Any, said: Any, _: F64) -> float:
    tp, fp, _tn, _fn = _counts(truth, said)
    return _share(tp, tp + fp)


def _recall(truth: Any, said: Any, _: F64) -> float:
    tp, _fp, _tn, fn = _counts(truth, said)
    return _share(tp, tp + fn)


def _f1(truth: Any, said: Any, _: F64) -> float:
    tp, fp, _tn, fn = _counts(truth, said)
    return _share(2 * tp, 2 * tp + fp + fn)


def auc(truth: Any, degree: F64) -> float:
    """The share of (yes, no) pairs in the right order, ties a half; NaN without both kinds."""
    yes, no = degree[truth], degree[~truth]
    if not len(yes) or not len(no) or np.isnan(degree).any():
        return math.nan
    above = (yes[:, None] > no[None]).mean() + 0.5 * (yes[:, None] == no[None]).mean()
    return float(above)


_FORMULAS: dict[str, Callable[[Any, Any, F64], float]] = {
    "balanced_accuracy": _balanced_accuracy,
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
    "auc": lambda truth, _, degree: auc(truth, degree),
}


def _why(name: str, truth: Any, said: Any, degree: F64) -> str:
    if not len(truth):
        return "no item was answered"
    if truth.all() or not truth.any():
        return "only items of one kind were answered"
    if name == "auc" and np.isnan(degree).any():
        return "not every answer has a probability"
    if not said.any():
        return "no answer is yes"
    return "it is undefined here"
