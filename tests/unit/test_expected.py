"""Expected values against one pass for each token; puzzles, and honest ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from neuroglass import load
from neuroglass.explanation import reading
from neuroglass.explanation.expected import Digits, ExpectedValue
from neuroglass.explanation.puzzles import PuzzleReport, Solved, puzzles, solve, solve_all
from neuroglass.explanation.records import Simulated, Window
from neuroglass.model.edits import Ablate
from neuroglass.model.errors import InputError
from neuroglass.model.live import LiveModel
from tests.unit.conftest import tiny
from tests.unit.test_chat_explain import window

# --- expected values


def unhurried(model: LiveModel, ids: Sequence[int]) -> torch.Tensor:
    """Next-token logits by one whole pass of Hugging Face's own code."""
    with torch.no_grad():
        out = model.hf(input_ids=torch.tensor([list(ids)]), use_cache=False)
    logits: torch.Tensor = out.logits[0, -1].double()
    return logits


def by_hand(model: LiveModel, digits: Digits, ids: Sequence[int]) -> tuple[float, float]:
    p = unhurried(model, ids).softmax(-1)
    mass = sum(float(p[i]) for i in digits.ids)
    return sum(d * float(p[i]) for d, i in enumerate(digits.ids)) / mass, mass


@pytest.fixture(scope="module")
def tiny_judge() -> Iterator[LiveModel]:
    """A model with random weights, the zoo's tokenizer, in which "10" is a token, and room."""
    zoo = load("zoo/A")
    tokenizer = zoo.tokenizer
    model = load(tiny("llama", vocab_size=zoo.vocabulary, max_position_embeddings=2048), tokenizer)
    zoo.close()
    yield model
    model.close()


def test_expected_values_of_a_tiny_model_go_up_to_10(tiny_judge: LiveModel) -> None:
    simulator = ExpectedValue(tiny_judge, rows=3, least_mass=1e-9)
    assert simulator.digits.top == 10
    windows = [
        window(x) for x in ("We ate[ figs:9].", "No.", "The[ plum:3] and the[ pear:4] fell.")
    ]
    found = simulator.simulate("words for fruit", windows)
    for f in found:
        ids, places = simulator.prompt("words for fruit", f.window.pieces)
        assert f.values is not None
        for place, value in zip(places, f.values, strict=True):
            want, _ = by_hand(tiny_judge, simulator.digits, ids[: place + 1])
            assert value == pytest.approx(want, abs=2e-4)


def test_edits_do_not_touch_a_judge(tiny_judge: LiveModel) -> None:
    simulator = ExpectedValue(tiny_judge, least_mass=1e-9)
    [before] = simulator.simulate("fruit", [window("An[ apple:9].")])
    with tiny_judge.edit(Ablate("mlp_out.0")):
        [after] = simulator.simulate("fruit", [window("An[ apple:9].")])
    assert before.values is not None
    assert after.values is not None
    assert np.array_equal(before.values, after.values)


def test_a_context_too_short_for_any_prompt_is_refused() -> None:
    model = load("zoo/A")
    with pytest.raises(InputError, match="reads 256 tokens"):
        ExpectedValue(model)
    model.close()


@pytest.mark.model
def test_expected_values_equal_one_pass_for_each_token(smollm2: LiveModel) -> None:
    simulator = ExpectedValue(smollm2)
    assert simulator.digits.top == 9  # "10" is two tokens here
    [found] = simulator.simulate("words for fruit", [window("We ate[ figs:9].")])
    ids, places = simulator.prompt("words for fruit", found.window.pieces)
    assert len(places) == len(found.window.pieces)
    assert found.values is not None
    for at in (0, 2):  # each is a pass of some 500 tokens
        want, _ = by_hand(smollm2, simulator.digits, ids[: places[at] + 1])
        assert found.values[at] == pytest.approx(want, abs=2e-4)
    special = set(smollm2.prompts.need_tokenizer().all_special_ids)
    ids, _ = simulator.prompt("<|im_start|>", ["<|im_end|>", "\n"])
    assert not special & set(ids[len(smollm2.prompts.lead()) :])


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral", "gemma2"])
def test_prompts_read_in_pieces_equal_one_pass(
    kind: str, load_tiny: Callable[..., LiveModel]
) -> None:
    model = load_tiny(kind)
    rows = [[5, 6, 7, 8, 9, 10], [11, 12, 13], [20, 21, 22, 23, 24]]
    lead = [3, 4, 50, 51, 52]
    at = [2, 0, 1, 0], [4, 5, 2, 1]

    def job(job: Any) -> Any:
        found = []
        for piece in (1, 6, 100):
            _, cache = yield from reading.read(model, [lead], reading.opened(model), job, piece=2)
            cache.batch_repeat_interleave(3)
            logits, _ = yield from reading.read(model, rows, cache, job, at=at, piece=piece)
            found.append(logits)
        return found

    for logits in model.work(job).result():
        for row, column, ours in zip(*at, logits, strict=True):
            want = unhurried(model, [*lead, *rows[row][: column + 1]])
            assert torch.allclose(ours.double(), want, atol=1e-5)
    assert not model.hf.get_output_embeddings()._forward_pre_hooks


def test_no_digit_mass_is_a_failure_with_its_reason(tiny_judge: LiveModel) -> None:
    w = window("An[ apple:9] fell.")
    poor = ExpectedValue(tiny_judge, least_mass=0.999999)
    [found] = poor.simulate("fruit", [w])
    assert found.values is None
    assert "expects no digit" in found.failure
    [empty] = poor.simulate("fruit", [Window(0, 0, (), (), np.zeros(0), "top")])
    assert empty.failure == "the window has no tokens"
    with pytest.raises(InputError, match="empty"):
        poor.simulate(" ", [w])


def test_a_window_in_parts_equals_its_parts_as_windows(tiny_judge: LiveModel) -> None:
    simulator = ExpectedValue(tiny_judge, chunk=3, least_mass=1e-12, rows=2)
    w = window("An[ apple:9] fell on the old roof.")
    parts = [
        Window(0, 0, w.ids[i : i + 3], w.pieces[i : i + 3], w.values[i : i + 3], "top")
        for i in range(0, len(w.pieces), 3)
    ]
    whole, *each = simulator.simulate("fruit", [w, *parts])
    assert whole.values is not None
    joined = np.concatenate([e.values for e in each if e.values is not None])
    assert np.allclose(whole.values, joined, atol=1e-4)


def test_a_model_without_digits_or_tokenizer_is_refused(
    load_tiny: Callable[..., LiveModel],
) -> None:
    with pytest.raises(InputError, match="without a tokenizer"):
        ExpectedValue(load_tiny())


# --- puzzles


class Knows:
    """A simulator that knows the answers, or says the same of everything."""

    name = "knows"

    def __init__(self, right: bool) -> None:
        self.right = right
        self.of = {p.right for p in puzzles()}

    def simulate(self, text: str, windows: Sequence[Window]) -> list[Simulated]:
        known = self.right and text in self.of
        return [Simulated(w, w.values if known else np.ones(len(w.pieces))) for w in windows]


def test_the_puzzles_are_whole() -> None:
    assert len(puzzles()) == 19
    assert len({p.name for p in puzzles()}) == 19
    for p in puzzles():
        assert 6 <= len(p.sentences) <= 12
        assert 3 <= len(p.wrong) <= 4
        assert len(set(p.candidates)) == len(p.wrong) + 1
        values = np.concatenate([w.values for w in p.windows()])
        assert 2 <= (values > 0).sum() < len(values) / 3
        assert values.max() <= 10
        assert sum(w.values.max() == 0 for w in p.windows()) >= 2  # something to tell apart


def test_ranks_are_honest() -> None:
    report = solve_all(Knows(right=True))
    assert report.first == 19
    assert "19 of 19" in repr(report)
    assert report.by_chance == pytest.approx(sum(1 / len(p.candidates) for p in puzzles()))
    blind = solve_all(Knows(right=False), puzzles()[:2])
    assert [s.rank for s in blind.solved] == [None, None]
    assert "2 undefined" in repr(blind)
    assert "at every token" in blind.to_frame()["reason"].iloc[0]
    p = puzzles()[0]
    tied = Solved(p, dict.fromkeys(p.candidates, 0.5), dict.fromkeys(p.candidates, 0), {})
    assert tied.rank == 1 + 0.5 * len(p.wrong)  # a tie is not a win
    assert PuzzleReport("x", (tied,)).first == 0
    assert solve(p, Knows(right=True)).rank == 1
