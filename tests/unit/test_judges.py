"""Detection and fuzzing: what is asked, what is counted, and that train and test stay apart."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from neuroglass.explanation.chat import ChatDownError, ChatError, Reply, Spoken
from neuroglass.explanation.judged import (
    Item,
    Judged,
    Verdict,
    auc,
    detection,
    fuzzing,
    judged_scores,
    near_top,
    quiet,
)
from neuroglass.explanation.judges import (
    ChatJudge,
    SimulatorJudge,
    answers_in,
    best_threshold,
    degrees_in,
)
from neuroglass.explanation.records import Simulated, Split, Window
from neuroglass.model.errors import InputError
from tests.unit.test_chat_explain import HOSTILE, Fake, window


def split_of(n: int = 6) -> Split:
    """A feature on the word "fig": strong and weak windows, and windows at random."""
    on = [f"we ate[ fig:{9 - i % 4}] number {i} at noon" for i in range(2 * n)]
    off = [f"nobody came on day {i} of that" for i in range(n)]
    return Split(
        tuple(window(t, i) for i, t in enumerate(on[:n])),
        tuple(window(t, 100 + i) for i, t in enumerate(on[n:])),
        tuple(window(t, 200 + i, "random") for i, t in enumerate(off)),
        9.0,
    )


class Word:
    """A simulator that looks for a word."""

    name = "word"

    def __init__(self, fails: int = -1) -> None:
        self.fails = fails

    def simulate(self, text: str, windows: Sequence[Window]) -> list[Simulated]:
        return [
            Simulated(w, None, "no luck")
            if w.document == self.fails
            else Simulated(w, np.array([float(text in p) for p in w.pieces]))
            for w in windows
        ]


class Oracle:
    """A chat that finds the answers by a rule on the texts of the question."""

    name = "oracle"

    def __init__(self, rule: Any) -> None:
        self.rule = rule
        self.questions: list[list[str]] = []

    def complete(self, messages: Any, **_: Any) -> Reply:
        texts = [x.split(": ", 1)[1] for x in messages[-1]["content"].split("\n")[1:]]
        self.questions.append(texts)
        return Reply(json.dumps({"answers": [int(self.rule(t)) for t in texts]}), "stop", 1, 1)


def test_a_right_explanation_detects_and_a_wrong_one_does_not() -> None:
    split = split_of()
    good = detection("fig", split, SimulatorJudge(Word()))
    for name in ("balanced_accuracy", "precision", "recall", "f1", "auc"):
        assert good[name].value == 1
        assert good[f"detection_{name}"].windows == 12
    assert good.split == split.to_json()
    bad = detection("nobody", split, SimulatorJudge(Word()))
    assert bad["auc"].value == 0
    assert bad["balanced_accuracy"].value == 0
    none = detection("absent", split, SimulatorJudge(Word()))
    assert none["auc"].value == none["balanced_accuracy"].value == 0.5
    assert none["precision"].value is None
    assert none["precision"].reason == "no answer is yes"


def test_a_right_explanation_sees_through_wrong_highlights() -> None:
    split = split_of(8)
    found = fuzzing("fig", split, SimulatorJudge(Word()))
    assert found["balanced_accuracy"].value == found["auc"].value == 1
    windows = [v.item.window for v in found.verdicts]
    assert len({id(w) for w in windows}) == len(windows)  # none in both ways
    for v in found.verdicts:
        assert v.item.marked is not None
        right = near_top(v.item.window)
        assert sum(v.item.marked) == sum(right)
        assert (v.item.marked == right) == v.item.truth
    truths = [v.item.truth for v in found.verdicts]
    assert sum(truths) == len(truths) / 2


def test_only_test_windows_are_asked_about_and_documents_are_disjoint() -> None:
    split = split_of()
    for found in (
        detection("fig", split, SimulatorJudge(Word())),
        fuzzing("fig", split, SimulatorJudge(Word())),
    ):
        assert {v.item.window.document for v in found.verdicts}.isdisjoint(
            w.document for w in split.train
        )
    leak = Split(split.train, (*split.test, split.train[0]), split.random, 9.0)
    for task in (detection, fuzzing):
        with pytest.raises(InputError, match="share 1 documents"):
            task("fig", leak, SimulatorJudge(Word()))


def test_a_seed_fixes_the_questions_and_n_limits_them() -> None:
    split = split_of(12)
    first, again = (detection("fig", split, SimulatorJudge(Word()), n=3, seed=5) for _ in range(2))
    assert [v.item.window.document for v in first.verdicts] == [
        v.item.window.document for v in again.verdicts
    ]
    assert len(first.verdicts) == 6
    strengths = {v.item.window.values.max() for v in first.verdicts if v.item.truth}
    assert len(strengths) > 1  # not the strongest alone


def test_failures_are_counted_and_not_answers() -> None:
    split = split_of()
    found = detection("fig", split, SimulatorJudge(Word(fails=split.test[0].document)))
    [failed] = [v for v in found.verdicts if v.failure]
    assert failed.answer is None
    assert failed.failure == "no luck"
    assert found["recall"].failures == 1
    assert found["recall"].windows == 11
    assert "1 of 12 items failed" in repr(found)
    frame = found.to_frame()
    assert frame["failure"].tolist().count("no luck") == 1
    assert frame["answer"].isna().sum() == 1


def test_without_windows_of_one_kind_there_is_no_task() -> None:
    split = split_of()
    with pytest.raises(InputError, match="where the answer is no"):
        detection("fig", Split(split.train, split.test, (), 9.0), SimulatorJudge(Word()))
    with pytest.raises(InputError, match="where the answer is yes"):
        detection("fig", Split(split.train, (), split.random, 9.0), SimulatorJudge(Word()))
    alone = Split((window("[fig:9]", 1),), split.test, split.random, 9.0)
    with pytest.raises(InputError, match="no threshold"):
        detection("fig", alone, SimulatorJudge(Word()))
    # windows at random where the feature is on are neither
    mixed = Split(split.train, split.test, (*split.random, window("a[ fig:2]", 300)), 9.0)
    found = detection("fig", mixed, SimulatorJudge(Word()))
    assert 300 not in {v.item.window.document for v in found.verdicts}


def test_quiet_stretches_come_out_of_train_windows() -> None:
    w = window("one two three four[ fig:9] five six", 7)
    [found] = quiet([w])
    assert found.pieces == ("one", " two", " three", " four")
    assert (found.document, found.start, found.group) == (7, 0, "quiet")
    assert found.values.max() == 0


# --- a chat as a judge


def test_a_chat_judges_a_few_at_a_time() -> None:
    split = split_of()
    chat = Oracle(lambda t: "fig" in t)
    found = detection("figs", split, ChatJudge(chat, per_prompt=5))
    assert [len(q) for q in chat.questions] == [5, 5, 2]
    assert found["balanced_accuracy"].value == 1
    assert found["auc"].value is None
    assert found["auc"].reason == "not every answer has a probability"
    marks = Oracle(lambda t: "<< fig>>" in t)
    assert fuzzing("figs", split, ChatJudge(marks))["f1"].value == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("I think so", "no JSON"), ('{"answers": [1, 0]}', "answered 2 of 3"),
        ('{"answers": [1, 0, 2]}', "other things"), ('{"a": [1], "b": [0]}', "no list"),
        ("[null, 1, 1]", "other things"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_fails_its_items(answer: str, message: str) -> None:
    with pytest.raises(ChatError, match=message):
        answers_in(answer, 3)
    items = [Item(window("a b"), True)] * 3
    verdicts = ChatJudge(Fake(answer)).judge("x", "detection", items, ())
    assert all(v.answer is None and v.failure for v in verdicts)
    assert judged_scores(verdicts, "detection")["detection_f1"].reason == "no item was answered"


def test_answers_are_read_in_the_forms_models_give() -> None:
    for text in ("[1, 0, 1]", '{"answers": [true, false, 1.0]}', "```json\n['1']\n``` [1,0,1]"):
        assert answers_in(text, 3) == [True, False, True]


def test_a_judge_that_goes_away() -> None:
    items = [Item(window("a b"), True)] * 4
    down = ChatDownError("Gone.")
    with pytest.raises(ChatDownError):
        ChatJudge(Fake(down)).judge("x", "detection", items, ())
    chat = Fake("[1, 1]", down)
    verdicts = ChatJudge(chat, per_prompt=2).judge("x", "detection", items, ())
    assert [v.failure for v in verdicts] == ["", "", "Gone.", "Gone."]
    with pytest.raises(InputError, match="empty"):
        ChatJudge(chat).judge(" ", "detection", items, ())


def spoken(text: str, p1: float) -> Spoken:
    bit = text.strip()
    if bit not in {"0", "1"}:
        return Spoken(text, 0.0, {})
    top = {text.replace(bit, "0"): math.log(1 - p1), text.replace(bit, "1"): math.log(p1)}
    return Spoken(text, top[text], top)


def test_probabilities_are_those_of_the_answers() -> None:
    tokens = (spoken("[", 0.5), spoken("1", 0.9), spoken(",", 0.5), spoken(" 0", 0.2))
    reply = Reply("[1, 0]", "stop", tokens=tokens)
    assert degrees_in(reply, [True, False]) == [pytest.approx(0.9), pytest.approx(0.2)]
    # a number that is no answer: nothing is guessed
    extra = Reply("1. [1, 0]", "stop", tokens=(spoken("1", 0.5), *tokens))
    assert degrees_in(extra, [True, False]) == [None, None]
    assert degrees_in(Reply("[1]", "stop"), [True]) == [None]


def test_hostile_texts_can_not_add_texts_to_a_question() -> None:
    w = Window(0, 0, (-1,) * len(HOSTILE), HOSTILE, np.zeros(len(HOSTILE)), "random")
    marked = tuple(i == 7 for i in range(len(HOSTILE)))
    content = ChatJudge(Fake("")).messages("x", "fuzzing", [Item(w, True, marked)] * 2)[-1]
    lines = content["content"].splitlines()
    assert len(lines) == 3
    assert all(line.count("<<") == 1 for line in lines[1:])


# --- numbers


def test_scores_equal_their_definitions() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(40) < 0.5
    said = rng.random(40) < 0.5
    degree = rng.integers(0, 5, 40).astype(float)
    verdicts = [
        Verdict(Item(window("a"), bool(t)), bool(s), float(d))
        for t, s, d in zip(truth, said, degree, strict=True)
    ]
    found = judged_scores(verdicts, "detection")
    tp, fp = int((truth & said).sum()), int((~truth & said).sum())
    fn, tn = int((truth & ~said).sum()), int((~truth & ~said).sum())
    want = {
        "precision": tp / (tp + fp),
        "recall": tp / (tp + fn),
        "f1": 2 * tp / (2 * tp + fp + fn),
        "balanced_accuracy": (tp / (tp + fn) + tn / (tn + fp)) / 2,
        "auc": np.mean(
            [
                (a > b) + 0.5 * (a == b)
                for a in degree[truth].tolist()
                for b in degree[~truth].tolist()
            ]
        ),
    }
    for name, value in want.items():
        score = found[f"detection_{name}"]
        assert score.value == pytest.approx(value)
        assert score.low is not None
        assert score.high is not None
        assert score.low <= value <= score.high
    assert math.isnan(auc(np.array([True]), np.array([1.0])))


def test_a_threshold_is_the_best_on_train() -> None:
    degrees = np.array([0.0, 0.0, 1.0, 5.0, 6.0])
    assert best_threshold(degrees, np.array([0, 0, 0, 1, 1], bool)) == 3.0
    assert best_threshold(np.ones(4), np.array([0, 1, 0, 1], bool)) == 1.0
    with pytest.raises(InputError):
        best_threshold(np.zeros(0), np.zeros(0, bool))


def test_a_judge_that_miscounts_is_refused() -> None:
    class Short(SimulatorJudge):
        def judge(self, *args: Any) -> list[Verdict]:
            return super().judge(*args)[1:]

    with pytest.raises(InputError, match="gave 11 verdicts on 12"):
        detection("fig", split_of(), Short(Word()))


def test_the_repr_says_what_is_undefined() -> None:
    found: Judged = detection("absent", split_of(), SimulatorJudge(Word()))
    assert "precision undefined (no answer is yes)" in repr(found)
