"""The explanation lab: every number against the scores' own functions; steps, requests, judges."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuroglass as ng
from neuroglass.explanation.checked import Checked
from neuroglass.explanation.judged import detection, fuzzing
from neuroglass.explanation.judges import SimulatorJudge
from neuroglass.explanation.records import Simulated, Window
from neuroglass.explanation.scores import pearson
from neuroglass.explanation.windows import RandomWindows, split_of
from neuroglass.views.lab_page import marks
from tests.unit.conftest import ask, comm_of

TOKENS = '" the"  9\n/[0-9]/  4'


class Letters:
    """A judge: a token is as strong as it has letters, to 9."""

    name = "letters"

    def __init__(self, wrong: str = "") -> None:
        self.wrong = wrong
        self.asked = 0
        self.go = threading.Event()
        self.go.set()

    def simulate(self, text: str, windows: Sequence[Window]) -> list[Simulated]:
        """See ``Simulator``."""
        assert self.go.wait(20)
        self.asked += len(windows)
        if self.wrong == "refuses":
            raise ng.InputError("The judge has no key.", "Set one.")
        out = []
        for w in windows:
            values = np.array([float(min(9, len(p.strip()))) for p in w.pieces])
            if self.wrong == "short":
                values = values[:3]
            elif self.wrong == "zero":
                values[:] = 0
            out.append(Simulated(w, values))
        return out[:-1] if self.wrong == "few" else out


@pytest.fixture(scope="module")
def model() -> ng.LiveModel:
    return ng.load("zoo/A")


@pytest.fixture
def alone(tmp_path: Path) -> Any:
    return ng.open_store("zoo/A-8x", annotations=tmp_path / "notes")


@pytest.fixture
def store(alone: Any, model: ng.LiveModel) -> Any:
    return alone.attach(model)


@pytest.fixture
def index(store: Any) -> int:
    """A feature that is on at digits."""
    return int(store.search("0 1 2 3 4 5 6 7 8 9 10 11 12", limit=1).index[0])


def dense(sparse: dict[str, Any], n: int) -> Any:
    values = np.zeros(n)
    values[sparse["i"]] = sparse["x"]
    return values


# ---------------------------------------------------------------------- numbers


def test_windows_are_the_test_side_of_the_split(comms: Any, store: Any, index: int) -> None:
    view = ng.ExplanationLab(store, index)
    cut = split_of(store[index], random=RandomWindows(store))
    windows = (*cut.test, *cut.random)
    assert json.loads(json.dumps(view.frame, allow_nan=False)) == view.frame
    assert len(view.frame["windows"]) == len(windows)
    for shown, w in zip(view.frame["windows"], windows, strict=True):
        assert [view.frame["pieces"][k] for k in shown["t"]] == list(w.pieces)
        np.testing.assert_allclose(dense(shown, len(w)), w.values, rtol=1e-3)
        assert (shown["g"], shown["d"], shown["s"]) == (w.group, w.document, w.start)
    train = {w.document for w in cut.train}
    assert not train & {shown["d"] for shown in view.frame["windows"]}
    assert view.frame["largest"] == pytest.approx(cut.largest, rel=1e-4)
    said = view.frame["split"]
    assert (said["trained"], said["strong"], said["random"]) == (
        len(cut.train),
        len(cut.test),
        len(cut.random),
    )


def test_an_edit_sends_what_is_simulated_and_its_scores(comms: Any, store: Any, index: int) -> None:
    view = ng.ExplanationLab(store, index)
    assert view.simulation["scores"] == []
    [answer] = ask(view, "run", text=TOKENS)
    assert answer.get("error") is None
    assert view.explanation == TOKENS
    assert (view.simulation["view"], view.simulation["id"]) == ("page", answer["id"])
    want = ng.score(TOKENS, store[index], split=split_of(store[index], random=RandomWindows(store)))
    got = {s["name"]: s for s in view.simulation["scores"]}
    assert set(got) == set(want.scores)
    for name, score in want.scores.items():
        for part in ("value", "low", "high"):
            assert got[name][part] == pytest.approx(getattr(score, part), rel=1e-3), name
        assert (got[name]["windows"], got[name]["failures"]) == (score.windows, 0)
    for said, s in zip(view.simulation["values"], want.simulated, strict=True):
        assert s.values is not None
        np.testing.assert_allclose(dense(said, len(s.window)), s.values)
    assert view.result is not None
    assert float(view.result) == pytest.approx(float(want))
    frame = view.to_frame()
    assert pearson(frame["real"].to_numpy(), frame["simulated"].to_numpy()) == pytest.approx(
        float(want)
    )
    assert repr(view) == f"ExplanationLab({view.feature}, correlation {float(want):.3g})"


def test_misses_and_false_alarms_by_the_threshold(comms: Any, store: Any, index: int) -> None:
    assert marks(np.array([1, 1, 0, 0.0]), np.array([1, 0.4, 0.5, 0.4]), 0.5) == [
        "", "miss", "false alarm", "",
    ]  # fmt: skip
    view = ng.ExplanationLab(store, index, explanation=TOKENS, threshold=0.3)
    frame = view.to_frame()
    edge = 0.3 * store[index].row["max"]
    on, said = frame["real"] >= edge, frame["simulated"] >= edge
    assert ((frame["mark"] == "miss") == (on & ~said)).all()
    assert ((frame["mark"] == "false alarm") == (~on & said)).all()
    with pytest.raises(Exception, match="threshold"):
        view.threshold = 2.0


def test_undefined_scores_say_why_and_are_never_zero(comms: Any, store: Any, index: int) -> None:
    view = ng.ExplanationLab(store, index, explanation='"qqqq"  3')
    scores = {s["name"]: s for s in view.simulation["scores"]}
    assert scores["correlation"]["value"] is None
    assert scores["correlation"]["reason"] == "the simulation is 0 at every token"
    assert view.history[0]["why"] == "undefined: the simulation is 0 at every token"
    assert view.history[0]["score"] is None
    assert "undefined: the simulation is 0" in view.fallback_html()


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "empty"), ("fires on Hebrew", "neither token nor value"), ("מילים", "neither token")],
)
def test_what_patterns_cannot_read_is_told_in_place(
    comms: Any, store: Any, index: int, text: str, why: str
) -> None:
    view = ng.ExplanationLab(store, index, explanation=TOKENS)
    [answer] = ask(view, "run", text=text)
    assert answer.get("error") is None
    assert why in view.simulation["problem"]["message"]
    assert view.simulation["values"] == []
    assert view.error is None
    assert view.result is None
    with pytest.raises(ng.InputError, match=why):
        view.to_frame()


def test_features_that_cannot_be_split_say_so(comms: Any, store: Any, alone: Any) -> None:
    counts = alone.to_frame()["count"].to_numpy()
    few = int(np.flatnonzero((counts > 0) & (counts < 20))[0])
    view = ng.ExplanationLab(store, few)
    assert "20 are needed" in view.frame["problem"]["message"]
    assert view.frame["windows"] == []
    for kind, body in (("explain", {"by": "tokens"}), ("revise", {"by": "tokens", "texts": []})):
        [answer] = ask(view, kind, **body)
        assert answer["error"]["message"]
    assert view.fallback_html().count("20 are needed") == 1


# ---------------------------------------------------------------------- steps


def test_steps_go_back_and_forth(comms: Any, store: Any, index: int) -> None:
    view = ng.ExplanationLab(store, index)
    ask(view, "explain", by="tokens")
    first = view.explanation
    ask(view, "run", text=first + '\n" a"  1')
    ask(view, "run", text=first + '\n" an"  1')  # typing on: one step
    assert [s["made"] for s in view.history] == ["explained", "typed"]
    ask(view, "explain", by="patterns")
    last = view.explanation
    assert [s["author"] for s in view.history] == ["tokens", "", "patterns (N2G)"]
    values = [s["score"]["value"] for s in view.history]
    gains = [s["gain"] for s in view.history]
    assert gains[0] is None
    assert gains[1:] == pytest.approx(np.diff(values), abs=1e-3)
    view.undo()
    assert view.explanation.endswith('" an"  1')
    ask(view, "step", to=0)
    assert (view.explanation, view.step) == (first, 0)
    with pytest.raises(ng.InputError, match="no step"):
        view.undo()
    view.redo()
    view.redo()
    assert view.explanation == last
    view.undo()
    ask(view, "run", text="/x/ 2")  # another way: what was undone is gone
    assert [s["made"] for s in view.history] == ["explained", "typed", "typed"]
    with pytest.raises(ng.InputError, match="no step"):
        view.redo()
    [answer] = ask(view, "step", to=7)
    assert "no step 7" in answer["error"]["message"]


def test_setting_the_text_from_python_and_turning_to_other_features(
    comms: Any, store: Any, index: int
) -> None:
    view = ng.ExplanationLab(store, index)
    view.explanation = TOKENS
    assert view.simulation["text"] == TOKENS
    view.feature = store[index + 1]
    assert view.frame["feature"] == view.simulation["feature"] == index + 1
    assert view.explanation == ""
    [answer] = ask(view, "run", feature=index)
    assert answer.get("error") is None
    assert view.explanation == TOKENS  # the work on it was kept
    assert view.frame["view"] == "page"
    [answer] = ask(view, "run", feature=99999)
    assert "no feature 99999" in answer["error"]["message"]
    assert "no feature" in view.error["message"]
    with pytest.raises(ng.InputError, match="no feature"):
        view.feature = "zoo/A/neurons.0/A-1x/3"
    other = ng.FeatureDashboard(store, index)
    ng.link(other, view, "feature")
    other.feature = store.id(index + 1)
    assert view.index == index + 1
    with pytest.raises(ng.InputError, match="characters"):
        view.explanation = "x" * 30_000


# ---------------------------------------------------------------------- revision


def test_revision_is_ngs_own_and_a_step(comms: Any, store: Any, index: int) -> None:
    view = ng.ExplanationLab(store, index)
    with pytest.raises(ng.InputError, match="empty"):
        view.revise()
    first = view.explain("tokens")
    *told, last = ask(view, "revise", by="tokens", texts=[])
    assert told[0]["doing"] == "reading the corpus"
    assert last.get("error") is None
    assert [s["made"] for s in view.history] == ["explained", "revised"]
    assert view.history[1]["gain"] == pytest.approx(last["gain"], abs=1e-3)
    pool = RandomWindows(store, 200, 100)
    cut = split_of(store[index], random=RandomWindows(store))
    want = ng.revise(first, store[index], by="tokens", split=cut, pool=pool)
    assert view.explanation == want.after.text
    found = [(w["d"], w["s"]) for w in view.others["windows"]]
    assert found == [(w.document, w.start) for w in want.counterexamples]
    tested = {w["d"] for w in view.frame["windows"]}
    assert not tested & {d for d, _ in found}
    # what the explanation of now says of them, and after an edit too
    assert len(view.simulation["others"]) == len(found)
    ask(view, "run", text=TOKENS)
    said = ng.PatternSimulator(store).simulate(TOKENS, view._session.others)
    for got, s in zip(view.simulation["others"], said, strict=True):
        assert s.values is not None
        np.testing.assert_allclose(dense(got, len(s.window)), s.values)


def test_counterexamples_of_the_corpus_and_a_text_of_ones_own(
    comms: Any, store: Any, index: int
) -> None:
    view = ng.ExplanationLab(store, index, explanation=TOKENS)
    *_, last = ask(view, "counter")
    assert last["found"] == len(view.others["windows"]) == 5
    text = "The 12 of the 7 were at the door."
    ask(view, "text", text=text)
    own = view.others["windows"][0]
    run = store.model.run(text, sites=[store.basis.read_site])
    pieces = [view.others["pieces"][k] for k in own["t"]]
    assert pieces == run.pieces()[0]
    values = store[index].feature.activations(run[store.basis.read_site][0].float())
    np.testing.assert_allclose(dense(own, len(pieces)), values.numpy(), rtol=1e-3, atol=1e-5)
    said = dense(view.simulation["others"][0], len(pieces))
    assert all(said[k] == 9 for k, p in enumerate(pieces) if p == " the")
    assert said.sum() > 0
    before = view.explanation
    view.revise([text], by="tokens")
    assert view.explanation != before
    ask(view, "text", text="")
    assert len(view.others["windows"]) == 5


# ---------------------------------------------------------------------- the store


def test_accepting_writes_explanation_and_scores(comms: Any, store: Any, index: int) -> None:
    view = ng.ExplanationLab(store, index)
    [answer] = ask(view, "accept", author="ada")
    assert "no explanation to accept" in answer["error"]["message"]
    view.explain("tokens")
    view.accept()
    ask(view, "run", text=TOKENS)
    [answer] = ask(view, "accept", author="ada")
    assert answer["author"] == "ada"
    [typed] = [e for e in store.annotations.of(index)["explanations"] if e["text"] == TOKENS]
    [tokens] = [e for e in store.annotations.of(index)["explanations"] if e["text"] != TOKENS]
    assert (typed["author"], tokens["author"]) == ("ada", "tokens")
    assert typed["parent"] == tokens["id"]
    assert view.result is not None
    assert typed["scores"]["correlation"] == view.result["correlation"].value
    assert set(typed["scores"]) == set(view.result.scores)
    [answer] = ask(view, "accept")
    assert "already" in answer["error"]["message"]
    again = ng.ExplanationLab(store, index)
    assert again.explanation == store.annotations.of(index)["explanations"][0]["text"]
    rows = again.table["rows"]
    assert sorted(r["author"] for r in rows) == ["ada", "tokens"]
    values = [r["score"]["value"] for r in rows]
    assert values == sorted(values, reverse=True)
    for row in rows:
        want = ng.score(row["text"], store[index], split=again._session.split)
        assert row["score"]["value"] == pytest.approx(float(want), rel=1e-3)
        assert row["random"]["value"] == pytest.approx(want["random_only"].value, rel=1e-3)


def test_what_others_write_is_in_the_table_and_unseen_rules_hold(
    comms: Any, store: Any, index: int
) -> None:
    view = ng.ExplanationLab(store, index, explanation=TOKENS)
    store.annotations.explain(index, "all digits", author="bo")
    [words] = [r for r in view.table["rows"] if r["author"] == "bo"]
    assert words["score"] is None
    assert "neither token nor value" in words["why"]
    seen = {"train": [view.frame["windows"][0]["d"]]}
    store.annotations.explain(index, "/[0-9]/  3", author="eve", split=seen)
    [cheat] = [r for r in view.table["rows"] if r["author"] == "eve"]
    assert cheat["score"] is None
    assert "documents it would be tested on" in cheat["why"]


# ---------------------------------------------------------------------- judges


def test_a_judge_is_asked_only_when_one_says_so(comms: Any, store: Any, index: int) -> None:
    judge = Letters()
    view = ng.ExplanationLab(store, index, simulators={"judge": judge}, simulator="judge")
    assert view.simulators == [["patterns", True], ["judge", False]]
    ask(view, "run", text="digits")
    assert judge.asked == 0
    assert view.simulation["asked"] is False
    assert view.history[0]["why"] == "not scored yet"
    *told, last = ask(view, "run", text="digits", ask=True)
    n = len(view.frame["windows"])
    assert [t["at"] for t in told] == [*range(0, n, 4), n]
    assert {t["of"] for t in told} == {n}
    assert last.get("error") is None
    assert judge.asked == n
    want = ng.score("digits", store[index], by=judge, split=view._session.split)
    assert view.result is not None
    assert float(view.result) == pytest.approx(float(want))
    # in the feature's units: the largest simulated value is its largest
    factor = view.frame["largest"] / max(
        s.values.max() for s in want.simulated if s.values is not None
    )
    assert view.simulation["factor"] == pytest.approx(factor, rel=1e-3)
    top = max(max(v["x"]) for v in view.simulation["values"])
    assert top == pytest.approx(view.frame["largest"], rel=1e-3)
    before = judge.asked
    view.simulator = "patterns"
    assert "neither token" in view.simulation["problem"]["message"]
    view.simulator = "judge"
    assert view.simulation["asked"] is True  # remembered
    assert judge.asked == before
    with pytest.raises(ng.InputError, match="Did you mean 'judge'"):
        view.simulator = "juge"


def test_a_judge_can_be_stopped_and_what_stands_stays(comms: Any, store: Any, index: int) -> None:
    judge = Letters()
    view = ng.ExplanationLab(store, index, simulators={"judge": judge}, simulator="judge")
    view.explanation = "digits"
    judge.go.clear()
    found = comm_of(view)
    found.receive({"v": 1, "view": "p", "id": 500, "kind": "run", "text": "digits", "ask": True})
    found.receive({"v": 1, "view": "p", "id": 501, "kind": "cancel", "target": 500})
    judge.go.set()
    deadline = time.monotonic() + 20
    while not [a for a in found.answers() if a["id"] == 500 and a["done"]]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    [end] = [a for a in found.answers() if a["id"] == 500 and a["done"]]
    assert end["cancelled"] is True
    assert judge.asked <= 4
    assert view.simulation["asked"] is False


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [("short", "3 values for"), ("few", "no answer for this window")],
)
def test_answers_that_do_not_fit_are_failures_with_reasons(
    comms: Any, store: Any, index: int, wrong: str, reason: str
) -> None:
    view = ng.ExplanationLab(
        store, index, simulators={"judge": Letters(wrong)}, simulator="judge", explanation="x"
    )
    view.simulate()
    why = [v["why"] for v in view.simulation["values"] if "why" in v]
    assert why
    assert all(reason in w for w in why)
    score = view.simulation["scores"][0]
    assert score["failures"] == len(why)
    assert score["windows"] == len(view.frame["windows"]) - len(why)
    if wrong == "short":
        assert score["value"] is None
        assert score["reason"] == "no window could be simulated"
        assert view.to_frame()["simulated"].isna().all()


def test_a_judge_that_refuses_or_says_nothing(comms: Any, store: Any, index: int) -> None:
    made: dict[str, Any] = {"deaf": Letters("refuses"), "zero": Letters("zero")}
    view = ng.ExplanationLab(store, index, simulators=made, simulator="deaf", explanation="x")
    with pytest.raises(ng.InputError, match="no key"):
        view.simulate()
    assert view.simulation["problem"] == {
        "type": "InputError", "message": "The judge has no key.", "hint": "Set one.",
    }  # fmt: skip
    view.simulator = "zero"
    view.simulate()
    assert view.simulation["scores"][0]["reason"] == "the simulation is 0 at every token"
    with pytest.raises(ng.InputError, match="already"):
        ng.ExplanationLab(store, index, simulators={"patterns": Letters()})


def test_all_are_scored_by_a_judge_on_a_button(comms: Any, store: Any, index: int) -> None:
    store.annotations.explain(index, "digits", author="bo")
    store.annotations.explain(index, "letters", author="cy")
    view = ng.ExplanationLab(store, index, simulators={"judge": Letters()}, simulator="judge")
    assert {r["why"] for r in view.table["rows"]} == {"not scored yet"}
    ask(view, "table")
    assert {r["why"] for r in view.table["rows"]} == {""}
    assert len(view.table["rows"]) == 2


def test_checked_simulators_keep_order_and_tell() -> None:
    windows = [Window(k, 0, (1, 2), ("a", "bb"), np.zeros(2), "random") for k in range(6)]
    told: list[tuple[int, int]] = []
    made = Checked(Letters(), lambda at, of: told.append((at, of)), at_once=4)
    found = made.simulate("x", windows)
    assert [s.window.document for s in found] == list(range(6))
    assert told == [(0, 6), (4, 6), (6, 6)]


# ---------------------------------------------------------------------- effects, state, no model


def test_scores_by_effect_are_ngs_own(comms: Any, store: Any, index: int) -> None:
    view = ng.ExplanationLab(store, index, explanation=TOKENS)
    *told, last = ask(view, "effects", which="ablation")
    assert last.get("error") is None
    n = len(view.frame["windows"])
    assert [t["at"] for t in told][: n + 1] == list(range(n + 1))
    assert view.result is not None
    want = ng.ablation_score(store[index], view.result.simulated)
    [got] = view.simulation["effects"]
    assert got["name"] == "ablation"
    assert got["value"] == pytest.approx(want.value, rel=1e-3)
    assert got["low"] == pytest.approx(want.low, rel=1e-3)
    view.accept()
    kept = store.annotations.of(index)["explanations"][0]["scores"]
    assert kept["ablation"] == pytest.approx(want.value)
    [answer] = ask(view, "effects", which="beauty")
    assert "no score 'beauty'" in answer["error"]["message"]


def test_detection_and_fuzzing_are_those_of_the_explanation_floor(
    comms: Any, alone: Any, index: int
) -> None:
    view = ng.ExplanationLab(alone, index, explanation=TOKENS)
    assert view.simulation["judged"] == {}
    *_, last = ask(view, "judge")
    assert last.get("error") is None
    split = view._session.split
    assert split is not None
    windows = (*split.test, *split.random)
    for task, ask_ in (("detection", detection), ("fuzzing", fuzzing)):
        want = ask_(TOKENS, split, SimulatorJudge(ng.PatternSimulator(alone)))
        got = view.simulation["judged"][task]
        assert [s["name"] for s in got["scores"]] == list(want.scores)
        for s in got["scores"]:
            value = want.scores[s["name"]].value
            assert s["value"] == (None if value is None else pytest.approx(value, rel=1e-3))
        assert len(got["verdicts"]) == len(want.verdicts)
        for v, w in zip(got["verdicts"], want.verdicts, strict=True):
            assert windows[v["window"]] is w.item.window
            assert (v["truth"], v["answer"]) == (w.item.truth, w.answer)
            assert v["marked"] == (None if w.item.marked is None else sum(w.item.marked))
    view.explanation = "/x/ 3"
    assert view.simulation["judged"] == {}  # of that text nothing was asked
    view.explanation = TOKENS
    assert set(view.simulation["judged"]) == {"detection", "fuzzing"}
    view.accept()
    kept = alone.annotations.of(index)["explanations"][0]["scores"]
    assert "detection_balanced_accuracy" in kept


def test_without_a_model(comms: Any, alone: Any, store: Any, index: int) -> None:
    view = ng.ExplanationLab(alone, index)
    assert view.attached is False
    random = [w for w in view.frame["windows"] if w["g"] == "random"]
    assert random
    ask(view, "explain", by="tokens")
    assert view.simulation["scores"][0]["value"] is not None
    for kind, body in (
        ("revise", {"by": "tokens", "texts": []}),
        ("counter", {}),
        ("text", {"text": "a"}),
        ("effects", {"which": "output"}),
    ):
        [answer] = ask(view, kind, **body)
        assert "live model" in answer["error"]["message"]
    *_, answer = ask(view, "explain", by="patterns")
    assert "error" in answer
    text = view.explanation
    view.attach(store)
    assert view.attached
    assert view.explanation == text
    assert ask(view, "counter")[-1].get("error") is None


def test_state_code_and_the_picture_without_scripts(comms: Any, store: Any, index: int) -> None:
    view = ng.ExplanationLab(store, index, explanation=TOKENS, scale="own", threshold=0.2)
    state = json.loads(json.dumps(view.state))
    still = ng.ExplanationLab.from_state(state)
    assert not still.live
    assert still.simulation == view.simulation
    assert still.fallback_html() == view.fallback_html()
    again = ng.ExplanationLab.from_state(state, store)
    assert (again.explanation, again.scale, again.threshold) == (TOKENS, "own", 0.2)
    assert again.simulation["scores"] == view.simulation["scores"]
    assert f"ng.ExplanationLab(store, {index}, explanation={TOKENS!r})" in view.code
    view.explanation = "<b>&amp;"
    html = view.fallback_html()
    assert "<b>&amp;</b>" not in html
    assert "&lt;b&gt;&amp;amp;" in html
    assert len(html.encode()) < 50_000
    view.close()


def test_the_figure_is_a_scatter_with_escaped_tokens(comms: Any, store: Any, index: int) -> None:
    view = ng.ExplanationLab(store, index, explanation=TOKENS)
    figure = view.plot()
    strong, random = figure.data
    frame = view.to_frame()
    assert len(strong.x) + len(random.x) == len(frame)
    np.testing.assert_allclose(random.y, frame[frame["group"] == "random"]["real"])
    assert not any("<" in text for text in (*strong.text, *random.text))
    assert {trace.mode for trace in figure.data} == {"markers"}  # points, and no line
