"""The blinded study: plan, rubric, file, report; and that nothing says what is rated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import neuroglass as ng
from neuroglass.explanation.rating import (
    LARGEST,
    QUESTIONS,
    Plan,
    Ratings,
    agreement,
    complete,
    report,
    score_of,
)
from tests.unit.conftest import RecordingComm, comm_of

ALL = {"hypothesis": "x", "confidence": 2, "consistency": [4, 3, 5], "logits": 1, "gap": 1,
       "specificity": 3}  # fmt: skip


@pytest.fixture(scope="module")
def stores() -> dict[str, Any]:
    return {"latents": ng.open_store("zoo/A-8x"), "neurons": ng.open_store("zoo/A-neurons")}


def test_the_score_is_the_sum_with_the_gap_void_where_all_fits() -> None:
    most = {q: m for q, (m, _) in QUESTIONS.items()}
    assert score_of(most) == LARGEST == 14  # a perfect answer on logits voids the gap
    assert score_of({**most, "logits": 2}) == 3 + 5 + 2 + 1 + 3
    assert score_of(dict.fromkeys(QUESTIONS, 0)) == 0


def test_a_plan_depends_on_its_seed_alone(stores: dict[str, Any]) -> None:
    plan = Plan.of(stores, n=8, intervals=2, seed=3)
    assert plan.hash == Plan.of(stores, n=8, intervals=2, seed=3).hash
    assert plan.hash != Plan.of(stores, n=8, intervals=2, seed=4).hash
    assert [i.source for i in plan.items].count("latents") == 8
    assert [i.source for i in plan.items] != sorted(i.source for i in plan.items)
    for item in plan.items:
        kept = set(stores[item.source].example_rows(item.feature)["group"])
        assert set(item.groups) == {g for g in kept if g.startswith("interval")}
        assert len(item.rated) == min(2, len(item.groups))
        assert stores[item.source].to_frame().loc[item.feature, "count"] >= 20
    orders = {item.groups for item in plan.items}
    assert len(orders) > 2  # shuffled


def test_answers_stay_and_the_newest_counts(stores: dict[str, Any], tmp_path: Path) -> None:
    plan = Plan.of(stores, n=3, intervals=3, seed=0)
    ratings = Ratings(plan, tmp_path, "ada")
    k = next(i for i, item in enumerate(plan.items) if len(item.rated) == 3)
    ratings.answer(k, {**ALL, "specificity": None})
    assert not ratings.done[k]
    ratings.answer(k, ALL)
    again = Ratings(plan, tmp_path, "ada")
    assert again.answers == {k: ALL}
    assert again.done[k]
    frame = again.to_frame(stores)
    assert frame["score"].tolist() == [2 + c + 1 + 1 + 3 for c in ALL["consistency"]]  # type: ignore[attr-defined]
    item = plan.items[k]
    assert frame["interval"].tolist() == [int(item.groups[p].split()[1]) for p in item.rated]
    assert set(frame["source"]) == {item.source}
    again.unblind()
    assert Ratings(plan, tmp_path, "ada").unblinded


@pytest.mark.parametrize(
    "bad",
    [{"confidence": 4}, {"confidence": True}, {"consistency": [1]}, {"consistency": [6, 0, 0]},
     {"logits": "3"}, {"gap": 2}],
)  # fmt: skip
def test_answers_that_the_rubric_lacks_are_refused(
    stores: dict[str, Any], tmp_path: Path, bad: dict[str, Any]
) -> None:
    plan = Plan.of(stores, n=3, intervals=3, seed=0)
    ratings = Ratings(plan, tmp_path, "ada")
    k = next(i for i, item in enumerate(plan.items) if len(item.rated) == 3)
    with pytest.raises(ng.InputError):
        ratings.answer(k, {**ALL, **bad})
    assert not ratings.file.exists()


def test_what_can_not_be_rated_is_refused(stores: dict[str, Any], tmp_path: Path) -> None:
    plan = Plan.of(stores, n=2, intervals=1, seed=0)
    Ratings(plan, tmp_path, "ada").answer(0, {**ALL, "consistency": [3]})
    with pytest.raises(ng.InputError, match="another study"):
        Ratings(Plan.of(stores, n=2, intervals=1, seed=1), tmp_path, "ada")
    (tmp_path / "bob.jsonl").write_text("{}\n")
    with pytest.raises(ng.InputError, match="Line 1"):
        Ratings(plan, tmp_path, "bob")
    for name in ("", "a/b"):
        with pytest.raises(ng.InputError, match="no name"):
            Ratings(plan, tmp_path, name)
    with pytest.raises(ng.InputError, match="no item 9"):
        Ratings(plan, tmp_path, "ada").answer(9, ALL)
    with pytest.raises(ng.InputError, match="no stores"):
        Plan.of({}, n=1, intervals=1, seed=0)
    with pytest.raises(ng.InputError, match="to rate"):
        Plan.of(stores, n=100_000, intervals=1, seed=0)


def test_medians_and_agreement_by_hand() -> None:
    def rows(rater: str, scores: list[int]) -> pd.DataFrame:
        sources = ["a", "a", "b", "b"]
        return pd.DataFrame(
            {"item": range(4), "interval": 0, "rater": rater, "source": sources,
             "feature": [1, 1, 2, 3], "score": scores}
        )  # fmt: skip

    one, two = rows("x", [12, 10, 2, 4]), rows("y", [11, 10, 2, 7])
    table = report(one)
    assert table.loc["a", "median"] == 11
    assert table.loc["a", "above 8"] == 1
    assert table.loc["b", "median of features"] == 3
    found = agreement([one, two])
    scores = np.array([[12, 11], [10, 10], [2, 2], [4, 7]], float)
    observed = np.mean((scores[:, 0] - scores[:, 1]) ** 2)
    flat = scores.ravel()
    expected = np.mean(
        [(a - b) ** 2 for i, a in enumerate(flat) for j, b in enumerate(flat) if i != j]
    )
    assert found["alpha"] == pytest.approx(1 - observed / expected)
    assert found["within_one"] == 0.75
    assert found["spearman"] == pytest.approx(1)
    with pytest.raises(ng.InputError, match="two raters"):
        agreement([one])


def ask(view: Any, kind: str, **body: Any) -> dict[str, Any]:
    found: RecordingComm = comm_of(view)
    number = 1 + len(found.answers())
    found.receive({"v": 1, "view": "page", "id": number, "kind": kind, **body})
    return [a for a in found.answers() if a["id"] == number][-1]


def test_nothing_that_goes_to_the_page_says_what_is_rated(
    comms: Any, stores: dict[str, Any], tmp_path: Path
) -> None:
    view = ng.BlindRating(stores, 4, folder=tmp_path, rater="ada")
    for place in range(8):
        ask(view, "run", item=place)
        item = view._plan.items[place]
        sent = json.dumps(view.state)
        assert item.source not in sent
        assert "zoo/A" not in sent
        assert "interval" not in json.dumps(view.frame["groups"])
        told = {k: v for k, v in view.frame.items() if k not in {"item", "id", "items"}}
        assert item.feature not in told.values()
        assert view.frame["what"] is None
        for group in view.frame["groups"]:
            for e in group:
                assert max(e["x"], default=1) <= 1  # strengths do not tell the interval
    ask(view, "unblind")
    assert view.frame["what"]["source"] in stores


def test_the_view_rates_resumes_and_reports(
    comms: Any, stores: dict[str, Any], tmp_path: Path
) -> None:
    view = ng.BlindRating(stores, 3, folder=tmp_path, rater="ada", intervals=2)
    for place, item in enumerate(view._plan.items[:4]):
        answers = {**ALL, "consistency": [4] * len(item.rated)}
        answer = ask(view, "answer", item=place, answers=answers)
        assert answer["finished"][place] == 1
        assert complete(item, answer["answers"])
    refused = ask(view, "answer", item=0, answers={**ALL, "consistency": []})
    assert "needs" in refused["error"]["message"]
    again = ng.BlindRating(stores, 3, folder=tmp_path, rater="ada", intervals=2)
    assert again.item == 4  # the first that is not rated
    assert len(again.to_frame()) == sum(len(i.rated) for i in view._plan.items[:4])
    path = again.to_parquet(tmp_path / "ratings.parquet")
    assert pd.read_parquet(path).equals(again.to_frame())
    other = ng.BlindRating(stores, 3, folder=tmp_path, rater="bob", intervals=2)
    with pytest.raises(ng.InputError, match="Nothing is rated"):
        other.to_parquet(tmp_path / "none.parquet")
    for place, item in enumerate(view._plan.items[:4]):
        ask(other, "answer", item=place, answers={**ALL, "consistency": [3] * len(item.rated)})
    found = again.agreement("bob")
    assert found["within_one"] == 1
    assert set(again.report().index) <= set(stores)
    told = ask(again, "unblind")
    assert [r[0] for r in told["rows"]] == again.report().index.tolist()
    with pytest.raises(ng.InputError, match="no item 6"):
        again.item = 6
    assert repr(again) == "BlindRating(4 of 6 rated)"
