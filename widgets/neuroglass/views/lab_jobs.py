"""What takes long in an explanation lab: explainers, revision, judges, scores by effect.

Requests flow in; jobs on a thread of the view's own do the work, tell how far they are and stop
when they are cancelled. The model's thread is only used for what the model itself says, so that a
judge that is waited for stands in nobody's way.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, ClassVar

import traitlets as t

from neuroglass.explanation.api import explain
from neuroglass.explanation.checked import Checked
from neuroglass.explanation.downstream import ablation_steps, output_steps
from neuroglass.explanation.records import (
    Explainer,
    Explanation,
    Score,
    Scores,
    Simulator,
)
from neuroglass.explanation.revision import Revision, counterexamples, revise
from neuroglass.explanation.windows import RandomWindows, of_text
from neuroglass.model.errors import InputError, nearest
from neuroglass.model.tokens import whole_characters
from neuroglass.model.worker import Job, Worker
from neuroglass.views.lab_judged import TASKS, Found, Task, judged_by
from neuroglass.views.lab_session import Session, Step
from neuroglass.views.protocol import Request, reply
from neuroglass.views.stored import StoreView, Tell

_POOL = 200  # random windows among which counterexamples are searched
_FOUND = 5  # counterexamples
_CONTROLS = 4  # other features that an output score compares with


class LabJobs(StoreView):
    """The part of ``ExplanationLab`` that works in the background."""

    _handlers: ClassVar[dict[str, str]] = {
        **StoreView._handlers,
        "explain": "_on_explain",
        "revise": "_on_revise",
        "counter": "_on_counter",
        "text": "_on_text",
        "effects": "_on_effects",
        "judge": "_on_judge",
        "table": "_on_table",
        "accept": "_on_accept",
    }

    simulator = t.Unicode("patterns").tag(sync=True)
    author = t.Unicode("").tag(sync=True)

    _session: Session
    _explainers: dict[str, Explainer]
    _simulators: dict[str, Simulator]
    _worker: Worker | None = None
    _pool: RandomWindows | None = None
    _accepting = False  # what is written now draws itself afterwards

    def _draw(self, origin: tuple[str, int] = ("", 0)) -> None:
        """Set every trait that an edit changes."""
        raise NotImplementedError

    def _draw_if(self, session: Session, origin: tuple[str, int] = ("", 0)) -> None:
        """Draw, unless another feature has been turned to meanwhile."""
        if session is self._session:
            self._draw(origin)

    @property
    def _asked(self) -> Simulator:
        """The simulator of now."""
        return self._simulators[self.simulator]

    # -- jobs --------------------------------------------------------------------------------

    def _work(
        self,
        request: Request,
        run: Callable[[Job[Any], Tell], Any],
        use: Callable[[Any], Mapping[str, Any]],
    ) -> None:
        """Answer a request with `use(run(job, tell))`; `run` has a thread that is not the model's.

        Of the requests of one kind of one mounted view, the newest wins.
        """
        if self._worker is None:
            self._worker = Worker("neuroglass-lab")
        sent = 0

        def tell(**body: Any) -> None:
            nonlocal sent
            sent += 1
            self.send(reply(request.view, request.id, sent, done=False, **body))

        job: Job[Any] = self._worker.submit(
            lambda job: run(job, tell), key=(request.view, request.kind)
        )
        self._answer_with(request, job, use)

    def close(self) -> None:
        """End the view and its thread."""
        if self._worker is not None:
            self._worker.close()
        super().close()

    def _explainer(self, request: Request) -> Explainer:
        return self._explainer_named(request.get("by", str))

    def _explainer_named(self, name: str) -> Explainer:
        if name not in self._explainers:
            raise InputError(f"There is no explainer {name!r}.", nearest(name, self._explainers))
        return self._explainers[name]

    def _on_explain(self, request: Request) -> None:
        """A new explanation of the train windows, in place of the one there is."""
        session, explainer = self._session, self._explainer(request)
        self._need_split()

        def steps(job: Job[Any], tell: Tell) -> Explanation:
            tell(doing="explaining")
            return explain(session.feature, by=explainer, split=session.split)

        def use(made: Explanation) -> Mapping[str, Any]:
            session.push(Step(made, "explained"))
            self._draw_if(session)
            return {}

        self._work(request, steps, use)

    def explain(self, by: str = "patterns") -> Explanation:
        """Explain the feature, as the button does.

        Args:
            by: name of an explainer.

        Raises:
            InputError: there is no such explainer, it failed, the feature can't be split.
        """
        session = self._session
        self._need_split()
        made = explain(session.feature, by=self._explainer_named(by), split=session.split)
        with self._lock:
            session.push(Step(made, "explained"))
            self._draw_if(session)
        return made

    def simulate(self) -> Scores:
        """Ask the simulator about the explanation now, however long it takes.

        Raises:
            InputError: the simulator can't read the explanation.
        """
        session, asked = self._session, self._asked
        given = self._given()
        found = session.ask(given, asked)
        with self._lock:
            session.keep(given, asked.name, found)
            self._draw_if(session)
        if isinstance(found, InputError):
            raise found
        return found

    def _need_split(self) -> None:
        if self._session.problem is not None:
            raise self._session.problem

    def _given(self) -> Explanation:
        now = self._session.now
        if now is None or not now.text.strip():
            raise InputError(
                "The explanation is empty.", "Type one, or let an explainer write the first."
            )
        return now.explanation

    # -- revision ----------------------------------------------------------------------------

    def _read_pool(self) -> RandomWindows:
        if self._pool is None:
            self._need_model()
            self._pool = RandomWindows(self.store, _POOL, 100)
        return self._pool

    def _on_counter(self, request: Request) -> None:
        """The windows on which the explanation is most wrong, of documents that do not test it."""
        session, asked, given = self._session, self._asked, self._given()
        self._need_split()
        self._need_model()

        def steps(job: Job[Any], tell: Tell) -> tuple[Any, ...]:
            assert session.split is not None
            tell(doing="reading the corpus")
            pool = self._read_pool()
            simulator = told_of(asked, job, tell)
            found = counterexamples(
                given.text, session.feature, simulator, split=session.split, n=_FOUND, pool=pool
            )
            return tuple(s.window for s in found)

        def use(found: tuple[Any, ...]) -> Mapping[str, Any]:
            session.found = found
            self._draw_if(session)
            return {"found": len(found)}

        self._work(request, steps, use)

    def _on_revise(self, request: Request) -> None:
        """Explain again with counterexamples: texts of the person's, or searched in the corpus."""
        session, asked = self._session, self._asked
        self._given()
        explainer, texts = self._explainer(request), request.strings("texts")
        self._need_split()
        self._need_model()
        step = session.now

        def steps(job: Job[Any], tell: Tell) -> Revision:
            tell(doing="reading the corpus" if not texts else "revising")
            simulator = told_of(asked, job, tell)
            return self._revised(session, step, explainer, simulator, texts)

        def use(made: Revision) -> Mapping[str, Any]:
            self._take(session, step, asked, made)
            return {"gain": made.gain if made.gain == made.gain else None}

        self._work(request, steps, use)

    def revise(self, texts: Sequence[str] = (), *, by: str = "patterns") -> Revision:
        """Revise the explanation, as the button does; see ``ng.revise``.

        Args:
            texts: counterexamples of yours; none: they are searched in the corpus.
            by: name of an explainer.

        Raises:
            InputError: there is nothing to revise, no model, no such explainer.
        """
        session, asked = self._session, self._asked
        self._given()
        self._need_split()
        self._need_model()
        step, explainer = session.now, self._explainer_named(by)
        made = self._revised(session, step, explainer, asked, list(texts))
        with self._lock:
            self._take(session, step, asked, made)
        return made

    def _revised(
        self,
        session: Session,
        step: Step | None,
        explainer: Explainer,
        simulator: Simulator,
        texts: Sequence[str],
    ) -> Revision:
        assert step is not None
        pool = None if texts else self._read_pool()
        # counterexamples of revisions before go on explaining
        split = step.split or session.split
        return revise(
            step.explanation, session.feature, by=explainer, simulator=simulator, split=split,
            texts=texts, n=_FOUND, pool=pool,
        )  # fmt: skip

    def _take(self, session: Session, step: Step | None, asked: Simulator, made: Revision) -> None:
        session.found = made.counterexamples if not session.own else session.found
        session.push(Step(made.after, "revised", parent=step, split=made.split))
        session.keep(made.before, asked.name, made.scores_before)
        session.keep(made.after, asked.name, made.scores_after)
        self._draw_if(session)

    def _on_text(self, request: Request) -> None:
        """A text of the person's, with the values that the live model gives."""
        session, text = self._session, whole_characters(request.get("text", str))
        if not text:
            session.own = None
            self._draw()
            self._answer(request)
            return

        def steps(_: Tell) -> Generator[None, None, Any]:
            yield
            return of_text(session.feature, text, "own")

        def use(window: Any) -> Mapping[str, Any]:
            session.own = window
            self._draw_if(session)
            return {}

        self._ask_model(request, steps, use)

    # -- effects, comparison, accepting ------------------------------------------------------

    def _on_effects(self, request: Request) -> None:
        """The ablation score, or the output score, of the explanation now."""
        session, asked, given = self._session, self._asked, self._given()
        which = request.get("which", str)
        if which not in {"ablation", "output"}:
            raise InputError(f"There is no score {which!r}.", "ablation or output.")
        self._need_model()
        found = session.scored(given.text, asked.name)
        if not isinstance(found, Scores):
            raise found if found is not None else InputError("Simulate the explanation first.")
        feature, simulated = session.feature, found.simulated

        def steps(job: Job[Any], tell: Tell) -> Generator[None, None, Score]:
            if which == "ablation":
                making, total = ablation_steps(feature, simulated), len(simulated)
            else:
                making = output_steps(given.text, feature, asked, controls=_CONTROLS)
                total = 1 + _CONTROLS
            done = 0
            while True:
                tell(at=done, of=total, doing=which)
                try:
                    next(making)
                except StopIteration as stop:
                    score: Score = stop.value
                    return score
                done += 1
                yield

        def use(score: Score) -> Mapping[str, Any]:
            session.effects_of(given.text, asked.name)[score.name] = score
            self._draw_if(session)
            return {}

        self._work(request, steps, use)

    def _on_judge(self, request: Request) -> None:
        """Detection and fuzzing, by the simulator of now."""
        session, asked, given = self._session, self._asked, self._given()
        self._need_split()
        split = session.split

        def steps(job: Job[Any], tell: Tell) -> Generator[None, None, dict[Task, Found]]:
            assert split is not None
            found: dict[Task, Found] = {}
            for task in TASKS:
                tell(doing=task)
                found[task] = judged_by(told_of(asked, job, tell), task, given.text, split)
                yield
            return found

        def use(found: dict[Task, Found]) -> Mapping[str, Any]:
            session.judged_of(given.text, asked.name).update(found)
            self._draw_if(session)
            return {}

        self._work(request, steps, use)

    def judge(self) -> dict[Task, Found]:
        """Detection and fuzzing of the explanation by the simulator of now, as the button does.

        Returns:
            By task: how it did, or the error that says why it can't be asked.

        Raises:
            InputError: there is no explanation, or the feature can't be split.
        """
        session, asked, given = self._session, self._asked, self._given()
        self._need_split()
        assert session.split is not None
        found = {task: judged_by(asked, task, given.text, session.split) for task in TASKS}
        with self._lock:
            session.judged_of(given.text, asked.name).update(found)
            self._draw_if(session)
        return found

    def _on_table(self, request: Request) -> None:
        """Score every explanation of the feature by the simulator of now."""
        session, asked = self._session, self._asked
        stored = self.store.annotations.of(session.feature.index)["explanations"]
        known = session.known(stored)

        def steps(job: Job[Any], tell: Tell) -> Generator[None, None, Any]:
            found = []
            for k, one in enumerate(known):
                tell(at=k, of=len(known), doing="scoring")
                if session.scored(one.text, asked.name) is None:
                    found.append((one, session.ask(one, stopped_of(asked, job))))
                yield
            return found

        def use(found: Sequence[tuple[Explanation, Any]]) -> Mapping[str, Any]:
            for one, scores in found:
                session.keep(one, asked.name, scores)
            self._draw_if(session)
            return {}

        self._work(request, steps, use)

    def _on_accept(self, request: Request) -> None:
        if "author" in request.body:
            self.author = request.get("author", str).strip()
        written = self.accept()
        self._answer(request, author=written.author)

    def accept(self, author: str = "") -> Explanation:
        """Write the explanation, with its scores, to the store's annotations.

        Args:
            author: who wrote it, of a text that was typed; "" is the trait ``author``.

        Raises:
            InputError: there is none, it is there already, or it can't be written.
        """
        with self._lock:
            self._accepting = True
            try:
                written = self._session.accept(self._asked.name, author or self.author)
            finally:
                self._accepting = False
            self._draw()
        return written


def quick(simulator: Simulator) -> bool:
    """It answers within a keystroke."""
    return bool(getattr(simulator, "quick", False))


def told_of(simulator: Simulator, job: Job[Any], tell: Tell) -> Simulator:
    """A simulator that tells how far it is, and stops when the job is cancelled."""

    def told(done: int, total: int) -> None:
        job.check()
        tell(at=done, of=total, doing="simulating")

    return Checked(simulator, None if quick(simulator) else told)


def stopped_of(simulator: Simulator, job: Job[Any]) -> Simulator:
    """A simulator that stops when the job is cancelled."""
    return Checked(simulator, None if quick(simulator) else lambda done, total: job.check())
