"""What happens to the explanations of one feature while a person works on them; no widget.

Texts flow in, typed, explained, revised or taken from the store; steps that one can go back and
forth through flow out, and what each text scored. A text is scored once by each simulator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from neuroglass.explanation.api import keep_scores, kept, score
from neuroglass.explanation.checked import Checked
from neuroglass.explanation.judged import Judged
from neuroglass.explanation.records import Explanation, Score, Scores, Simulator, Split, Window
from neuroglass.explanation.windows import RandomWindows, split_of
from neuroglass.model.errors import InputError
from neuroglass.views.lab_judged import Found, Task

if TYPE_CHECKING:
    from neuroglass.features.stored_feature import StoredFeature

Made = Literal["stored", "typed", "explained", "revised"]
_SCORED = 200  # texts whose scores are kept


@dataclass(eq=False)
class Step:
    """One state of the explanation.

    Attributes:
        explanation: what it was.
        made: how it came about.
        parent: the step that it revises.
        split: of a revision, with its counterexamples among what explains.
    """

    explanation: Explanation
    made: Made
    parent: Step | None = None
    split: Split | None = None

    @property
    def text(self) -> str:
        return self.explanation.text


@dataclass(eq=False)
class Session:
    """The work on one feature.

    Attributes:
        feature: which.
        split: what explains and what tests; None where it can't be cut.
        problem: why it can't.
        steps: what was done, oldest first; ``at`` is where one is, -1 before the first.
        found: counterexamples, with true values.
        own: a text of the person's, with true values.
    """

    feature: StoredFeature
    split: Split | None
    problem: InputError | None = None
    steps: list[Step] = field(default_factory=list)
    at: int = -1
    found: tuple[Window, ...] = ()
    own: Window | None = None
    _open: bool = False  # typing goes on in the last step
    _scored: dict[tuple[str, str], Scores | InputError] = field(default_factory=dict)
    _effects: dict[tuple[str, str], dict[str, Score]] = field(default_factory=dict)
    _judged: dict[tuple[str, str], dict[Task, Found]] = field(default_factory=dict)

    @classmethod
    def of(cls, feature: StoredFeature, random: RandomWindows) -> Session:
        """A new session; a feature that can't be split has one that says why."""
        try:
            return cls(feature, split_of(feature, random=random))
        except InputError as error:
            return cls(feature, None, error)

    # -- steps -------------------------------------------------------------------------------

    @property
    def now(self) -> Step | None:
        """Where one is."""
        return self.steps[self.at] if self.at >= 0 else None

    @property
    def text(self) -> str:
        return "" if self.now is None else self.now.text

    def typed(self, text: str, author: str) -> bool:
        """A person's text; one step until something else happens. False: nothing changed."""
        if text == self.text:
            return False
        made = Explanation(text, author, self.feature.id)
        now = self.now
        if self._open and now is not None and self.at == len(self.steps) - 1:
            now.explanation = made
        else:
            self.push(Step(made, "typed", parent=now))
            self._open = True
        return True

    def push(self, step: Step) -> None:
        """A new step; those that were undone are gone."""
        del self.steps[self.at + 1 :]
        self.steps.append(step)
        self.at = len(self.steps) - 1
        self._open = False

    def go(self, to: int) -> None:
        """Undo, redo, or any step.

        Raises:
            InputError: there is no such step.
        """
        if not 0 <= to < len(self.steps):
            raise InputError(f"There is no step {to}.", f"There are {len(self.steps)}.")
        self.at = to
        self._open = False

    def settle(self) -> None:
        """What is typed next is a new step."""
        self._open = False

    # -- scores ------------------------------------------------------------------------------

    @property
    def windows(self) -> tuple[Window, ...]:
        """Those that test."""
        return () if self.split is None else (*self.split.test, *self.split.random)

    @property
    def others(self) -> tuple[Window, ...]:
        """The text of one's own, then the counterexamples that were found."""
        return (*([] if self.own is None else [self.own]), *self.found)

    def scored(self, text: str, simulator: str) -> Scores | InputError | None:
        """What this simulator made of a text; None: it was not asked."""
        return self._scored.get((text, simulator))

    def score(self, given: Explanation, simulator: Simulator) -> Scores | InputError:
        """Ask it, unless it was asked before. Takes as long as the simulator does."""
        known = self.scored(given.text, simulator.name)
        return known if known is not None else self.ask(given, simulator)

    def ask(self, given: Explanation, simulator: Simulator) -> Scores | InputError:
        """Ask it; touches nothing of the session, so any thread may."""
        if self.split is None:
            assert self.problem is not None
            return self.problem
        if not given.text.strip():
            return InputError("The explanation is empty.")
        try:
            return score(given, self.feature, by=Checked(simulator), split=self.split)
        except InputError as error:
            return error

    def keep(self, given: Explanation, simulator: str, found: Scores | InputError) -> None:
        """Remember what a text scored."""
        self._scored[given.text, simulator] = found
        steps = {step.text for step in self.steps}
        spare = [key for key in self._scored if key[0] not in steps]
        for key in spare[: max(0, len(self._scored) - _SCORED)]:
            del self._scored[key]

    def effects(self, simulator: str) -> dict[str, Score]:
        """Ablation and output scores of the text now, as far as they were computed."""
        return self.effects_of(self.text, simulator)

    def effects_of(self, text: str, simulator: str) -> dict[str, Score]:
        """The same of another text, to be added to."""
        return self._effects.setdefault((text, simulator), {})

    def judged_of(self, text: str, simulator: str) -> dict[Task, Found]:
        """Detection and fuzzing of a text, as far as they were asked for; to be added to."""
        return self._judged.setdefault((text, simulator), {})

    # -- the store ---------------------------------------------------------------------------

    def accept(self, simulator: str, author: str) -> Explanation:
        """Write the explanation now, with what it scored, to the store.

        Raises:
            InputError: there is none, it is in the store already, or it can't be written.
        """
        now = self.now
        if now is None or not now.text.strip():
            raise InputError("There is no explanation to accept.")
        if now.explanation.id:
            raise InputError("This explanation is in the store already.")
        given = replace(now.explanation, parent=self._kept_parent(now))
        if now.made == "typed":
            given = replace(given, author=author)
        found = self.scored(now.text, simulator)
        store = self.feature.store
        if isinstance(found, Scores):
            judged = self.judged_of(now.text, simulator).values()
            told = [s for j in judged if isinstance(j, Judged) for s in j.scores.values()]
            more = [*self.effects(simulator).values(), *told]
            written = keep_scores(store, replace(found, explanation=given), *more).explanation
        else:
            written = kept(store, given)
        now.explanation = written
        self._open = False
        return written

    @staticmethod
    def _kept_parent(step: Step) -> str:
        """The nearest step before it that is in the store."""
        before = step.parent
        while before is not None and not before.explanation.id:
            before = before.parent
        return "" if before is None else before.explanation.id

    def known(self, stored: Iterable[Mapping[str, Any]]) -> list[Explanation]:
        """Every explanation of the feature: those of the store, and those of this session."""
        rows = [explanation_of(row, self.feature.id) for row in stored]
        ids = {row.id for row in rows}
        texts = {(row.text, row.author) for row in rows}
        for step in self.steps:
            one = step.explanation
            if one.id in ids or (one.text, one.author) in texts or not one.text.strip():
                continue
            texts.add((one.text, one.author))
            rows.append(one)
        return rows


def explanation_of(row: Mapping[str, Any], feature: str) -> Explanation:
    """A row of the store's annotations."""
    split = row.get("split")
    told = split if isinstance(split, Mapping) and "train" in split else None
    return Explanation(
        row["text"], row["author"], feature, row.get("parent") or "", row["id"], told
    )
