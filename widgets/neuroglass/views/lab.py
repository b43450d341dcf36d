"""``ng.ExplanationLab``: an explanation under one's hands, and what it predicts over what is true.

A store and a feature flow in. The windows that test, with their true values, go to the page once;
each edit of the explanation sends what it simulates there, and its scores.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets as t

from neuroglass.explanation.api import simulator_of
from neuroglass.explanation.explainers import PatternExplainer, TokenExplainer
from neuroglass.explanation.records import Explainer, Explanation, Scores, Simulator
from neuroglass.explanation.windows import RandomWindows
from neuroglass.model.errors import InputError, nearest
from neuroglass.model.tokens import whole_characters
from neuroglass.model.worker import Job
from neuroglass.views.base import bundle
from neuroglass.views.lab_jobs import LabJobs, quick, told_of
from neuroglass.views.lab_page import (
    SHOWN,
    bench_of,
    fallback,
    figure,
    frame_of,
    history_of,
    others_of,
    simulation_of,
    table_of,
)
from neuroglass.views.lab_session import Session, Step
from neuroglass.views.protocol import Request
from neuroglass.views.stored import Tell

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from neuroglass.features.store import Store

_SESSIONS = 8  # features whose steps are kept
_CHARACTERS = 20_000  # of an explanation


class ExplanationLab(LabJobs):
    """An explanation that one edits, and its simulation over the feature's true activations.

    Every token of the held-out windows shows its real activation above and the simulated one below;
    scores, misses and false alarms follow each edit. Explainers, counterexamples and revision are
    buttons; every step can be undone; what is accepted is written to ``store.annotations``.

    Args:
        store: from ``ng.open_store`` or ``ng.harvest``.
        feature: index, id or handle.
        explanation: where to begin; None: the best one that the store has.
        explainers: further ones, by name, beside ``"patterns"`` and ``"tokens"``.
        simulators: further ones, by name, beside ``"patterns"``. They are asked when one says so;
            one with a true attribute ``quick`` is asked at every edit.
        random: windows at random that test, beside those where the feature is on.
        **traits: ``simulator``, ``scale``, ``threshold``, ``author``, ``text``, ``theme``.

    Traits, beside those of ``StoreView``:
        explanation: the text. Settable.
        simulator: who simulates, by name.
        scale: ``"one"`` for real and simulated values, or each its ``"own"``.
        threshold: a token is on at this share of the feature's largest value; a miss is on and
            simulated off, a false alarm the reverse.
        author: who wrote what is typed; "" is the user's name.
        text: a text of yours, on which real and simulated values are compared. Settable.
        frame: the windows.
        simulation: what the explanation says of them, and its scores.
        history: the steps; ``step`` is where one is.
        table: all explanations of the feature, scored by the same simulator on the same windows.
        others: counterexamples, and the text of yours.

    Raises:
        InputError: no such feature, a name that is taken, a store that is damaged.
    """

    _esm = bundle("lab", "js")
    _css = bundle("lab", "css")
    _handlers: ClassVar[dict[str, str]] = {
        **LabJobs._handlers,
        "run": "_on_run",
        "step": "_on_step",
    }

    explanation = t.Unicode("").tag(sync=True)
    simulators: t.List[Any] = t.List().tag(sync=True)
    explainers: t.List[Any] = t.List().tag(sync=True)
    scale = t.Enum(["one", "own"], default_value="one").tag(sync=True)
    threshold = t.Float(0.1, min=0.001, max=1.0).tag(sync=True)
    text = t.Unicode("").tag(sync=True)
    frame = t.Dict().tag(sync=True)
    simulation = t.Dict().tag(sync=True)
    history: t.List[Any] = t.List().tag(sync=True)
    step = t.Int(-1).tag(sync=True)
    table = t.Dict().tag(sync=True)
    others = t.Dict().tag(sync=True)

    def __init__(
        self,
        store: Store,
        feature: Any = 0,
        *,
        explanation: str | Explanation | None = None,
        explainers: Mapping[str, Explainer] | None = None,
        simulators: Mapping[str, Simulator] | None = None,
        random: int = 40,
        **traits: Any,
    ) -> None:
        index = store.index(feature)
        own: dict[str, Explainer] = {"patterns": PatternExplainer(), "tokens": TokenExplainer()}
        self._explainers = _joined(own, explainers or {}, "explainer")
        base: dict[str, Simulator] = {"patterns": simulator_of("patterns", store)}
        self._simulators = _joined(base, simulators or {}, "simulator")
        wanted = traits.setdefault("simulator", "patterns")
        if wanted not in self._simulators:
            hint = nearest(wanted, self._simulators)
            raise InputError(f"There is no simulator {wanted!r}.", hint)
        self.store = store
        self._drawing = False
        self._sessions: OrderedDict[int, Session] = OrderedDict()
        self._n_random = random
        self._random = RandomWindows(store, random)
        self._session = self._session_of(index, explanation)
        self._begin(
            store,
            feature=index,
            simulators=[[n, quick(s)] for n, s in self._simulators.items()],
            explainers=list(self._explainers),
            **traits,
        )
        self._draw_all(("", 0))
        store.annotations.listen(self._heard)
        self.observe(self._on_setting, names=["feature", "explanation", "simulator"])

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], store: Store | None = None, **options: Any
    ) -> ExplanationLab:
        """What `state` describes: with its `store` a view that answers, else a picture."""
        if store is None:
            return super().from_state(state)
        names = ["scale", "threshold", "author", "text", "theme", "title"]
        if state["simulator"] in {"patterns", *options.get("simulators", {})}:
            names.append("simulator")
        kept = {name: state[name] for name in names}
        return cls(store, state["feature"], explanation=state["explanation"], **kept | options)

    # -- sessions ----------------------------------------------------------------------------

    def _session_of(self, index: int, text: str | Explanation | None = None) -> Session:
        """The session of a feature, as it was left, or a new one."""
        if index not in self._sessions:
            self._sessions[index] = self._new(index)
        self._sessions.move_to_end(index)
        while len(self._sessions) > _SESSIONS:
            self._sessions.popitem(last=False)
        session = self._sessions[index]
        if isinstance(text, Explanation):
            session.push(Step(text, "stored" if text.id else "typed"))
        elif text is not None:
            session.typed(whole_characters(text), self.author)
        return session

    def _new(self, index: int) -> Session:
        session = Session.of(self.store[index], self._random)
        stored = session.known(self.store.annotations.of(index)["explanations"])
        if stored:
            session.push(Step(stored[0], "stored"))
        return session

    # -- drawing -----------------------------------------------------------------------------

    def _draw_all(self, origin: tuple[str, int]) -> None:
        """The windows of a feature, and everything over them, as one message."""
        session = self._session
        with self._setting():
            self.feature = session.feature.index
            self.frame = bench_of(session, origin)
            self._draw(origin)

    def _draw(self, origin: tuple[str, int] = ("", 0)) -> None:
        """What changes with an edit; scores what a quick simulator can."""
        session, asked = self._session, self._asked
        index, fast = session.feature.index, quick(asked)
        known = session.known(self.store.annotations.of(index)["explanations"])
        now = session.now
        if fast:
            steps = [] if now is None else [now.explanation]
            for one in (*steps, *known[:SHOWN]):
                session.keep(one, asked.name, session.score(one, asked))
        with self._setting():
            self.explanation = session.text
            self.others = others_of(session)
            self.simulation = simulation_of(session, asked, fast, origin)
            self.history = history_of(session, asked.name)
            self.step = session.at
            table = table_of(session, known[:SHOWN], asked.name)
            self.table = table | {"left_out": max(0, len(known) - SHOWN)}
            self.code = self._code_of()
            self.set_trait("error", None)

    def _heard(self, features: Sequence[int]) -> None:
        """Somebody said something of features; what is accepted here draws itself."""
        with self._lock:
            if self._session.feature.index in features and not self._accepting:
                self._draw()

    @contextmanager
    def _setting(self) -> Iterator[None]:
        """Several traits set by the view itself, as one message; its observers stay out of it."""
        with self._writing():
            before, self._drawing = self._drawing, True
            try:
                yield
            finally:
                self._drawing = before

    def _code_of(self) -> str:
        text = f", explanation={self._session.text!r}" if self._session.text else ""
        call = f"ng.ExplanationLab(store, {self._session.feature.index}{text})"
        return f"{self._store_code()}\n{call}"

    def attach(self, store: Store) -> None:
        """Go on with the same store and its live model: ``view.attach(store.attach(model))``."""
        super().attach(store)
        steps = {index: (s.steps, s.at) for index, s in self._sessions.items()}
        index = self._session.feature.index
        self._sessions.clear()
        self._random, self._pool = RandomWindows(store, self._n_random), None
        self._simulators["patterns"] = simulator_of("patterns", store)
        self._session = self._session_of(index)
        self._session.steps, self._session.at = steps[index]
        self._draw_all(("", 0))

    # -- edits -------------------------------------------------------------------------------

    @t.validate("simulator")
    def _check_simulator(self, proposal: Any) -> Any:
        known = getattr(self, "_simulators", None)
        if known is not None and proposal["value"] not in known:
            hint = nearest(proposal["value"], known)
            raise InputError(f"There is no simulator {proposal['value']!r}.", hint)
        return proposal["value"]

    def _on_setting(self, change: Any) -> None:
        """Feature, explanation or simulator were set from Python, a link or the page."""
        if self._drawing:
            return
        name, value = change["name"], change["new"]
        if name == "feature":
            if value:
                self._turn(self.store.index(value), ("", 0))
        elif name == "explanation":
            self._session.typed(_readable(value), self.author)
            self._draw()
        else:
            self._draw()

    def _turn(self, index: int, origin: tuple[str, int]) -> None:
        """To another feature."""
        self._session = self._session_of(index)
        self._draw_all(origin)

    def _on_run(self, request: Request) -> None:
        """Another feature, an edited text; with ``ask`` a slow simulator is asked too."""
        origin = (request.view, request.id)
        if "feature" in request.body:
            try:
                index = self.store.index(request.get("feature", int))
            except InputError as error:
                self._show_error(error)
                raise
            self._turn(index, origin)
            self._answer(request)
            return
        session, asked = self._session, self._asked
        session.typed(_readable(request.get("text", str)), self.author)
        if quick(asked) or not request.optional("ask", bool, False):
            self._draw(origin)
            self._answer(request)
            return
        now = session.now
        if now is None:
            raise InputError("The explanation is empty.")
        session.settle()
        given = now.explanation

        def steps(job: Job[Any], tell: Tell) -> Scores | InputError:
            return session.ask(given, told_of(asked, job, tell))

        def use(found: Scores | InputError) -> Mapping[str, Any]:
            session.keep(given, asked.name, found)
            self._draw_if(session, origin)
            return {}

        self._work(request, steps, use)

    def _on_step(self, request: Request) -> None:
        self._session.go(request.get("to", int))
        self._draw()
        self._answer(request)

    def undo(self) -> None:
        """Back to the step before.

        Raises:
            InputError: there is none.
        """
        self._go(self._session.at - 1)

    def redo(self) -> None:
        """Forth to the step that was undone.

        Raises:
            InputError: there is none.
        """
        self._go(self._session.at + 1)

    def _go(self, to: int) -> None:
        with self._lock:
            self._session.go(to)
            self._draw()

    # -- results -----------------------------------------------------------------------------

    @property
    def result(self) -> Scores | None:
        """What the explanation scores; None where it was not simulated, or can't be."""
        found = self._session.scored(self._session.text, self._asked.name)
        return found if isinstance(found, Scores) else None

    def to_frame(self) -> pd.DataFrame:
        """One row for each token that tests: real and simulated value, miss or false alarm.

        Raises:
            InputError: the explanation was not simulated, or can't be.
        """
        return frame_of(self._need_result(), float(self.frame["largest"]), self.threshold)

    def plot(self) -> go.Figure:
        """The scatter of simulated and real values as a plotly figure to keep."""
        result = self._need_result()
        value = result["correlation"].value
        told = "undefined" if value is None else f"{value:.3g}"
        return figure(self.to_frame(), f"{self.feature}: correlation {told}")

    def _need_result(self) -> Scores:
        if self.result is None:
            found = self._session.scored(self._session.text, self._asked.name)
            if isinstance(found, InputError):
                raise found
            raise InputError("Nothing was simulated yet.", "view.simulate() asks the simulator.")
        return self.result

    def fallback_html(self) -> str:
        """Explanation, scores and first windows, for pages without scripts."""
        return fallback(self.frame, self.simulation)

    def __repr__(self) -> str:
        scores = self.simulation.get("scores", [])
        value = scores[0]["value"] if scores else None
        told = "" if value is None else f", correlation {value:.3g}"
        return f"ExplanationLab({self.feature}{told})"


def _joined(own: dict[str, Any], given: Mapping[str, Any], what: str) -> dict[str, Any]:
    for name in given:
        if name in own:
            raise InputError(f"There is an {what} {name!r} already.", "Give yours another name.")
    return own | dict(given)


def _readable(text: str) -> str:
    """An explanation that is not absurdly long, in whole characters.

    Raises:
        InputError: it is.
    """
    if len(text) > _CHARACTERS:
        raise InputError(
            f"An explanation of {len(text):,} characters.", f"{_CHARACTERS:,} at most."
        )
    return whole_characters(text)
