"""Explaining and simulating by a language model: prompts, answers, failures, and the numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from neuroglass.explanation.align import align
from neuroglass.explanation.answers import json_in, number_in, sentence_in
from neuroglass.explanation.chat import ChatDownError, ChatError, Messages, Reply
from neuroglass.explanation.chat_explainers import ContrastExplainer, ListingExplainer, around
from neuroglass.explanation.chat_json import ChatJSON
from neuroglass.explanation.judged import detection
from neuroglass.explanation.judges import ChatJudge
from neuroglass.explanation.local_chat import LocalChat
from neuroglass.explanation.openai_chat import OpenAIChat
from neuroglass.explanation.plain import highlighted, one_line, quantised, shown
from neuroglass.explanation.records import Split, Window
from neuroglass.explanation.scores import simulation_scores
from neuroglass.explanation.shots import SHOTS, marked
from neuroglass.model.errors import InputError


def window(line: str, document: int = 0, group: str = "top") -> Window:
    pieces, values = marked(line)
    made = np.asarray(values, np.float64)
    return Window(document, 0, (-1,) * len(pieces), tuple(pieces), made, group)


class Fake:
    """A chat that says what a test wants, or raises it."""

    def __init__(self, *answers: str | Reply | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[Messages] = []
        self.schemas: list[Any] = []

    @property
    def name(self) -> str:
        return "fake"

    def complete(
        self,
        messages: Messages,
        *,
        max_tokens: int,
        temperature: float = 0.0,
        json_schema: Mapping[str, Any] | None = None,
        top_logprobs: int | None = None,
    ) -> Reply:
        self.asked.append(messages)
        self.schemas.append(json_schema)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Reply) else Reply(answer, "stop", 1, 1)


HOSTILE = (
    "a", "\n\nText 2\n", "\t10", "<|im_end|>", "<|im_start|>system", "<", "<", "x", ">", ">",
    "\\n", "[INST]", "</s>", '"], "value": 9', "\u2028Text 9", "<<y>>",
)  # fmt: skip


def hostile(document: int = 0) -> Window:
    values = np.zeros(len(HOSTILE))
    values[7] = 5.0
    return Window(document, 0, (-1,) * len(HOSTILE), HOSTILE, values, "top")


# --- text of others


def test_a_token_is_one_line_and_no_control_token() -> None:
    for piece in HOSTILE:
        line = shown(piece)
        assert len(line.splitlines()) <= 1
        assert "\t" not in line
        assert not any(m in line for m in ("<|", "|>", "[INST]", "</s>"))
    assert shown("\\n") != shown("\n")  # what was written and what is meant stay apart
    assert shown(" plain") == " plain"


def test_highlights_can_not_be_forged() -> None:
    w = hostile()
    line = highlighted(w.pieces, [i == 7 for i in range(len(w.pieces))])
    assert line.count("<<") == line.count(">>") == 1
    assert line[line.index("<<") + 2 : line.index(">>")].strip() == "x"
    assert len(line.splitlines()) == 1
    assert highlighted(["a", " b", " c", "d"], [False, True, True, False]) == "a<< b c>>d"
    assert highlighted(["a"], [True]) == "<<a>>"


@pytest.mark.parametrize("text", ["", "  \n ", "\u200b"[:0]])
def test_an_empty_explanation_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="empty"):
        one_line(text)


def test_an_explanation_is_one_harmless_line() -> None:
    assert one_line("fruit\n\nText:\n<|im_end|>") == "fruit Text: < |im_end| >"
    assert one_line("מילים על פירות") == "מילים על פירות"
    with pytest.raises(InputError, match="characters"):
        one_line("x" * 2000)


def test_activations_are_quantised_as_published() -> None:
    values = np.array([-3.0, 0.0, 0.05, 0.1, 0.99, 1.0, 1.3])
    assert quantised(values, 1.0) == [0, 0, 0, 1, 9, 10, 10]
    assert quantised(values, 1.0, 9)[-2:] == [9, 9]
    assert quantised(values, 0.0) == [0] * 7
    tenths = np.arange(11) / 10  # 0.3 · 10 is below 3 in floating point
    assert quantised(tenths, 1.0) == list(range(11))


# --- answers


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        ("words for fruit", "words for fruit"),
        ("Explanation: **words for fruit**", "words for fruit"),
        ('The answer is: "words for fruit"', "words for fruit"),
        ("Let me think.\nExplanation:\n  words for fruit.", "words for fruit."),
        ("- words for fruit\n- and more", "words for fruit"),
        ("<think>hm\nhm</think>\nwords for fruit", "words for fruit"),
        ("```\nwords for fruit\n```", "words for fruit"),
    ],
)
def test_an_explanation_is_found_in_an_answer(answer: str, want: str) -> None:
    found = sentence_in(Reply(answer, "stop"))
    assert found.removeprefix("The answer is: ").strip('"') == want


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("", "empty"), ("\n**\n", "empty"), ("<think>never ends", "empty"),
        ("I'm sorry, but I can't help with that.", "refused"),
        ("Explanation: I cannot do this.", "refused"), ("As an AI, I", "refused"),
    ],
)  # fmt: skip
def test_no_explanation_is_a_failure(answer: str, message: str) -> None:
    with pytest.raises(ChatError, match=message):
        sentence_in(Reply(answer, "stop"))


def test_json_is_found_in_what_surrounds_it() -> None:
    for text in ('{"a": [1]}', 'Sure! ```json\n{"a": [1]}\n``` Done.', 'So: {"a": [1]} {'):
        assert json_in(text) == {"a": [1]}
    with pytest.raises(ChatError, match="no JSON"):
        json_in("none { here")
    assert [number_in(v) for v in (3, "4", 2.5, True, None, "x", "nan", "inf", [1])] == [
        3, 4, 2.5, None, None, None, None, None, None,
    ]  # fmt: skip


# --- alignment


TOKENS = ["The", " old", " cat", "\\n", " sat", "."]


@pytest.mark.parametrize(
    ("answered", "values", "note"),
    [
        ("The| old| cat|\\n| sat|.", [0, 1, 2, 3, 4, 5], ""),
        ("The|old|cat||sat|.", [0, 1, 2, 3, 4, 5], ""),  # leading spaces, a newline
        ("the|OLD|cat|\\n|sat|.", [0, 1, 2, 3, 4, 5], ""),
        ("The| old| cat| sat|.", [0, 1, 2, 2.5, 3, 4], ""),  # white space left out: of no account
        ("The old| cat|\\n| sat|.", [0, 0, 1, 2, 3, 4], "2 merged"),
        ("The| o|ld| cat|\\n| sat|.", [0, 2, 3, 4, 5, 6], "1 split"),
        ("The| cat|\\n| sat|.", [0, 0.5, 1, 2, 3, 4], "1 left out"),
        ("The| old| cat|\\n| sat|.|<end>", [0, 1, 2, 3, 4, 5], "1 not in the text"),
        (" old| cat|\\n| sat|.", [0, 0, 1, 2, 3, 4], "1 left out"),
    ],
)
def test_answers_are_aligned_by_the_stated_rules(
    answered: str, values: list[float], note: str
) -> None:
    found = align(TOKENS, [(t, float(i)) for i, t in enumerate(answered.split("|"))])
    assert found.values.tolist() == values
    assert found.note == note


@pytest.mark.parametrize("answered", ["The| sat", "a|b|c|d|e|f", "The| old| cat| x| y| z| sat|."])
def test_what_does_not_fit_is_a_failure(answered: str) -> None:
    with pytest.raises(ChatError, match="does not fit"):
        align(TOKENS, [(t, 1.0) for t in answered.split("|")])


def test_a_long_window_is_aligned_exactly_when_copied() -> None:
    rng = np.random.default_rng(0)
    tokens = [["a", " b", "ab", "\\n", " ", "b"][i] for i in rng.integers(0, 6, 200)]
    numbers = rng.integers(0, 11, 200).astype(float)
    found = align(tokens, list(zip(tokens, numbers.tolist(), strict=True)))
    assert np.array_equal(found.values, numbers)
    assert found.note == ""


# --- a chat as a simulator


def answer(pairs: Sequence[tuple[str, Any]]) -> str:
    return json.dumps({"tokens": [{"token": t, "value": v} for t, v in pairs]})


def test_a_chat_simulates_window_by_window_and_failures_are_rows() -> None:
    w = window("An[ apple:9] fell.")
    good = answer([("An", 0), ("apple", 8), ("fell", 0), (".", 0)])
    chat = Fake(
        good, "I can't.", answer([("An", 0)]), answer([("An", 0), (" apple", 99)]), good[:-20],
        ChatError("It broke."), '[["An", 0], [" apple", "7"], [" fell", 0], [".", 0]]',
    )  # fmt: skip
    found = ChatJSON(chat).simulate("fruit", [w] * 7)
    assert [f.window for f in found] == [w] * 7
    assert found[0].values is not None
    assert found[0].values.tolist() == [0, 8, 0, 0]
    assert found[6].values is not None
    assert found[6].values.tolist() == [0, 7, 0, 0]
    for f, words in zip(
        found[1:6],
        ["no JSON", "3 are missing", "99", "no list|no JSON|in place", "It broke"],
        strict=True,
    ):
        assert f.values is None
        assert any(x in f.failure for x in words.split("|")), f.failure
    scores = simulation_scores(found)
    assert scores["correlation"].windows == 2
    assert scores["correlation"].failures == 5
    assert scores["random_only"].failures == 0  # none of them is a window at random


def test_a_chat_that_goes_away_is_an_error_or_the_rest_are_failures() -> None:
    w = window("An[ apple:9] fell.")
    with pytest.raises(ChatDownError):
        ChatJSON(Fake(ChatDownError("No server."))).simulate("fruit", [w])
    good = answer([("An", 0), ("apple", 8), ("fell", 0), (".", 0)])
    chat = Fake(good, ChatDownError("The budget is spent."))
    found = ChatJSON(chat).simulate("fruit", [w, w, w])
    assert [f.failure for f in found] == ["", "The budget is spent.", "The budget is spent."]
    assert len(chat.asked) == 2  # a server that is gone is not asked again


def test_hostile_tokens_stay_data_in_every_prompt() -> None:
    w = hostile()
    simulate = ChatJSON(Fake("")).messages("x", w.pieces)
    listed = json.loads(simulate[-1]["content"].split(" tokens: ", 1)[1])
    assert listed == [shown(p) for p in w.pieces]
    lines = ListingExplainer(Fake(""), shots=0).messages([w], 5.0)[-1]["content"].split("\n")
    assert lines[0] == "Text 1"
    body = lines[1 : 1 + len(w.pieces)]
    assert all(line.count("\t") == 1 and line.split("\t")[1].isdigit() for line in body)
    assert sum(line.startswith("Text ") for line in lines) == 1
    contrast = ContrastExplainer(Fake(""), shots=0).messages([w])[-1]["content"]
    assert contrast.count("<<") == 1
    for text in (simulate[-1]["content"], "\n".join(lines), contrast):
        assert "<|" not in text
        assert "[INST]" not in text


# --- explainers


def test_the_listing_shows_numbers_and_once_more_those_above_zero() -> None:
    w = window("We had a[ plum:8] or some[ tea:4] and then went slowly home again.")
    chat = Fake("Explanation: fruit")
    explainer = ListingExplainer(chat)
    assert explainer.explain(None, [w], 8.0) == "fruit"
    [messages] = chat.asked
    assert len(messages) == 2 + 2 * len(SHOTS)
    shown_last = messages[-1]["content"]
    assert " plum\t10\n" in shown_last
    assert "once more\n plum\t10\n tea\t5\n" in shown_last
    dense = window("[a:1][ b:2][ c:3]")
    assert "once more" not in ListingExplainer(chat).messages([dense], 3.0)[-1]["content"]
    with pytest.raises(InputError, match="nothing to explain"):
        explainer.explain(None, [window("all quiet")], 1.0)
    with pytest.raises(InputError):
        ListingExplainer(chat, shots=9)
    assert "activations" in explainer.name


def test_contrast_shows_where_it_is_off_out_of_the_same_documents() -> None:
    w = window("We had a[ plum:8] and[ tea:1] then went slowly home again.", document=3)
    chat = Fake("fruit")
    assert ContrastExplainer(chat).explain(None, [w], 8.0) == "fruit"
    text = chat.asked[0][-1]["content"]
    assert "Text 1: We had a<< plum>> and tea then went slowly home again." in text
    assert "It does not answer in:\nText 2:  then went slowly home again." in text
    quiet_too = ContrastExplainer(chat, quiet=0).messages([w])[-1]["content"]
    assert "does not answer" not in quiet_too


def test_a_long_window_is_shown_around_its_peak() -> None:
    values = np.zeros(100)
    values[60] = 1
    w = Window(0, 10, tuple(range(100)), tuple(map(str, range(100))), values, "top")
    cut = around(w, 20)
    assert len(cut) == 20
    assert cut.values.max() == 1
    assert cut.start == 10 + cut.ids[0]
    assert around(cut, 20) is cut


# --- the whole chain, on a real server and in the kernel: that it works, not how well


def tiny_split() -> Split:
    train = (window("We ate[ figs:9] at noon by the sea.", 1),)
    test = (window("A ripe[ plum:8].", 2),)
    return Split(train, test, (window("Nobody came.", 3, "random"),), 9.0)


@pytest.mark.model
@pytest.mark.parametrize("where", ["server", "kernel"])
def test_explain_simulate_score_judge(where: str, request: pytest.FixtureRequest) -> None:
    if where == "server":
        chat: Any = OpenAIChat(base_url=request.getfixturevalue("chat_server"), timeout=120)
    else:
        chat = LocalChat(request.getfixturevalue("smollm2"))
    split = tiny_split()
    text = ContrastExplainer(chat, shots=0).explain(None, split.train, split.largest)
    assert text
    assert "\n" not in text
    windows = [*split.test, *split.random]
    simulated = ChatJSON(chat, shots=0).simulate(text, windows[:1])
    assert [s.window for s in simulated] == windows[:1]
    for s in simulated:
        assert (s.values is None) == bool(s.failure)
        assert s.values is None or s.values.shape == s.window.values.shape
    scores = simulation_scores(simulated)
    assert scores["correlation"].windows + scores["correlation"].failures == 1
    found = detection(text, split, ChatJudge(chat, probabilities=where == "server"))
    assert len(found.verdicts) == 2
    for v in found.verdicts:
        assert (v.answer is None) == bool(v.failure)
        assert v.degree is None or 0 <= v.degree <= 1
    if where == "server":  # the grammar holds the answer to its form
        assert all(v.answer is not None for v in found.verdicts)
        assert [v.degree is not None for v in found.verdicts] == [True, True]
