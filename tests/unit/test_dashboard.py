"""A feature's page: every number of it against the store's own and the model's answers."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuroglass as ng
from neuroglass.features.rules import Rule, Verdicts, fit
from neuroglass.features.trace import Trace
from neuroglass.views.feature_page import page_of
from tests.unit.conftest import ask


@pytest.fixture(scope="module")
def model() -> ng.LiveModel:
    return ng.load("zoo/A")


@pytest.fixture
def alone(tmp_path: Path) -> Any:
    return ng.open_store("zoo/A-1x", annotations=tmp_path / "notes")


@pytest.fixture
def store(alone: Any, model: ng.LiveModel) -> Any:
    return alone.attach(model)


@pytest.fixture
def busy(alone: Any) -> int:
    frame = alone.to_frame()
    return int((frame["density"] - 0.02).abs().idxmin())


def test_the_page_says_what_the_store_says(alone: Any, busy: int) -> None:
    page = page_of(alone, busy)
    assert json.loads(json.dumps(page, allow_nan=False)) == page
    row = alone.to_frame().loc[busy]
    assert page["name"] == f"zoo/A/neurons.0/A-1x/{busy}"
    for name in ("density", "max", "kurtosis", "single_token_share"):
        assert page["stats"][name] == pytest.approx(row[name], rel=1e-4)
    assert page["stats"]["count"] == row["count"] == sum(page["histogram"]["linear"]["counts"])
    assert sum(page["histogram"]["log"]["counts"]) == row["count"]
    assert page["promoted"][0][0] == alone[busy].promoted()[0][0]
    assert page["logits"] is page["alignment"] is page["neighbours"] is None
    examples = alone.examples(busy, None)
    for e in page["examples"]:
        want = examples[(examples["group"] == e["g"]) & (examples["rank"] == e["r"])].iloc[0]
        assert [page["pieces"][k] for k in e["t"]] == want["tokens"]
        values = np.zeros(len(e["t"]))
        values[e["i"]] = e["x"]
        np.testing.assert_allclose(values, want["values"], rtol=1e-4)
        assert alone.pieces(
            [int(alone.corpus.ids[alone.corpus.starts[e["d"]] + e["s"] + e["at"]])]
        ) == [want["token"]]
    kept = {g["name"]: g["kept"] for g in page["groups"]}
    assert kept == examples.groupby("group").size().to_dict()
    shares = [g["share"] for g in page["groups"] if g["share"] is not None]
    assert sum(shares) == pytest.approx(1, abs=0.02)


def test_the_next_page_is_made_ahead_and_is_the_same(comms: Any, store: Any, busy: int) -> None:
    view = ng.FeatureDashboard(store, busy)
    assert ask(view, "run", feature=busy + 1)[0]["done"]
    assert view._soon is not None
    view._soon.join(30)
    store.annotations.explain(busy + 2, "said meanwhile")
    made = view._ahead[busy + 2]
    assert ask(view, "run", feature=busy + 2)[0]["done"]
    assert view.frame["histogram"] is made["histogram"]
    said = store.annotations.of(busy + 2)
    assert said["explanations"][0]["text"] == "said meanwhile"
    origin = {name: view.frame[name] for name in ("view", "id")}
    assert view.frame == page_of(store, busy + 2) | origin
    assert view.said == said


def test_no_page_is_made_ahead_of_a_jump_or_past_the_ends(comms: Any, store: Any) -> None:
    view = ng.FeatureDashboard(store, 1)
    for goal in (0, 9, store.n_features - 2, store.n_features - 1):
        ask(view, "run", feature=goal)
        assert view._soon is None


def test_with_a_model_the_page_has_geometry(store: Any, busy: int) -> None:
    page = page_of(store, busy)
    effect = store.model.unembed(store[busy].feature, rare=False)
    kept = effect.values[effect.kept].numpy()
    logits = page["logits"]
    assert sum(logits["counts"]) == len(kept)
    assert logits["low"] == pytest.approx(kept.min(), rel=1e-4)
    W = store.basis.weights.W_dec.float()
    W = W / W.norm(dim=1, keepdim=True)
    cosine = W @ W[busy]
    cosine[busy] = -2
    assert page["neighbours"][0][0] == int(cosine.argmax())
    assert page["alignment"][0][0] == int(store[busy].feature.direction.abs().argmax())


def test_another_feature_from_the_page_from_python_and_by_id(
    comms: Any, store: Any, busy: int
) -> None:
    view = ng.FeatureDashboard(store, busy)
    assert view.index == view.frame["feature"] == busy
    [answer] = ask(view, "run", feature=3)
    assert answer.get("error") is None
    assert (view.index, view.frame["view"], view.frame["id"]) == (3, "page", answer["id"])
    assert view.code.endswith("ng.FeatureDashboard(store, 3)")
    view.feature = store.id(7)
    assert view.frame["feature"] == 7
    view.feature = store[9]
    assert view.frame["feature"] == 9
    [answer] = ask(view, "run", feature=512)
    assert "no feature 512" in answer["error"]["message"]
    assert "no feature 512" in view.error["message"]
    assert view.frame["feature"] == 9  # the last page stays
    with pytest.raises(ng.InputError, match="no feature"):
        view.feature = "zoo/A/neurons.0/A-8x/3"
    with pytest.raises(ng.InputError, match="0 to 511"):
        ng.FeatureDashboard(store, 512)


def test_more_examples(comms: Any, alone: Any, busy: int) -> None:
    view = ng.FeatureDashboard(alone, busy)
    [answer] = ask(view, "examples", feature=busy, groups={"random": 4})
    want = alone.examples(busy, "random")[4:]
    got = answer["examples"]
    assert [[answer["pieces"][k] for k in e["t"]] for e in got] == want["tokens"].tolist()
    [answer] = ask(view, "examples", feature=busy, groups={"top": 0}, context=20)
    assert len(answer["examples"][0]["t"]) <= 20
    [answer] = ask(view, "examples", feature=busy, groups={"best": 0})
    assert "no group 'best'" in answer["error"]["message"]


def test_effects_are_those_of_ablation(comms: Any, store: Any, busy: int) -> None:
    view = ng.FeatureDashboard(store, busy)
    shown = [e for e in view.frame["examples"] if e["g"] == "top"][:3]
    which = [[e["d"], e["s"], len(e["t"])] for e in shown]
    answers = ask(view, "effects", feature=busy, which=which)
    assert [a["which"] for a in answers[:-1]] == [0, 1, 2]
    for (d, s, n), answer in zip(which, answers, strict=False):
        a = int(store.corpus.starts[d]) + s
        ids = store.corpus.ids[a : a + n].tolist()
        want = store[busy].ablation(ids)["effect"].tolist()
        assert answer["effect"][0] is None  # nothing comes before the first
        np.testing.assert_allclose(answer["effect"][1:], want[1:], rtol=1e-3, atol=1e-6)
    assert max(abs(v) for a in answers[:-1] for v in a["effect"][1:]) > 0
    [changed] = ask(view, "changed", feature=busy, which=which[0], position=shown[0]["at"])
    assert changed["promoted"]
    assert changed["kl"] > 0
    for bad in ([[10**6, 0, 4]], [[0, 0, 10**6]], [["a", 0, 1]]):
        [answer] = ask(view, "effects", feature=busy, which=bad)
        assert answer["error"]["type"] == "InputError"


def test_own_text(comms: Any, store: Any, busy: int) -> None:
    view = ng.FeatureDashboard(store, busy)
    text = "The Court held, in 1994, that the דבר was void."
    [answer] = ask(view, "text", feature=busy, text=text, effects=True)
    run = store.model.run(text, sites=["neurons.0"])
    want = store[busy].feature.activations(run["neurons.0"][0].float())
    np.testing.assert_allclose(answer["values"], want.tolist(), rtol=1e-3, atol=1e-5)
    assert answer["pieces"] == run.pieces()[0]
    effect = store[busy].ablation(text)["effect"].tolist()
    np.testing.assert_allclose(answer["effect"][1:], effect[1:], rtol=1e-3, atol=1e-6)
    [answer] = ask(view, "text", feature=busy, text="", effects=False)
    assert answer["pieces"] == []
    [answer] = ask(view, "text", feature=busy, text="a " * 5000, effects=False)
    assert "reads at most" in answer["error"]["message"] + answer["error"]["hint"]


def test_a_rule_over_the_whole_corpus(comms: Any, store: Any, busy: int) -> None:
    view = ng.FeatureDashboard(
        store,
        busy,
        predicates={"the": lambda tokens, i: tokens[i] == " the", "bad": lambda t, i: 1 / 0},
    )
    answers = ask(view, "rule", feature=busy, rule="the")
    last = answers[-1]
    assert len(answers) > 1  # it tells on the way
    assert last["tokens"] == last["total"] == store.n_tokens
    trace = Trace(store, busy)
    for _ in trace.more():
        pass
    verdicts = Verdicts(store, Rule.of(lambda tokens, i: tokens[i] == " the"))
    verdicts.catch_up(trace.batches)
    want = fit(verdicts.values[trace.read], trace.at, trace.value)
    assert last["fit"]["pearson"] == pytest.approx(want.pearson, abs=1e-4)
    assert (last["fit"]["on"], last["fit"]["both"]) == (want.on, want.both)
    whole, some = last["stacked"]["linear"]
    assert sum(whole) == pytest.approx(view.frame["stats"]["count"], abs=2)
    assert sum(some) == want.both
    began = time.monotonic()
    again = ask(view, "rule", feature=busy, rule=r"\d+")
    assert again[-1]["tokens"] == store.n_tokens  # without reading again
    assert time.monotonic() - began < 10
    assert (
        "no regular expression" in ask(view, "rule", feature=busy, rule="(")[-1]["error"]["message"]
    )
    assert (
        "ZeroDivisionError" in ask(view, "rule", feature=busy, rule="bad")[-1]["error"]["message"]
    )
    nothing = ask(view, "rule", feature=busy, rule="qqqqzzzz")[-1]["fit"]
    assert nothing["holds"] == 0
    assert nothing["sensitivity"] is nothing["pearson"] is None


def test_a_range_is_looked_up_and_looked_for(comms: Any, store: Any, busy: int) -> None:
    view = ng.FeatureDashboard(store, busy)
    largest = view.frame["stats"]["max"]
    low, high = 0.4 * largest, 0.6 * largest
    [answer] = ask(view, "range", feature=busy, low=low, high=high)
    kept = store.examples(busy, None)
    inside = kept[(kept["value"] >= low) & (kept["value"] <= high)]
    assert answer["found"] == len(inside.drop_duplicates(["document", "position"])) > 0
    answers = ask(view, "range", feature=busy, low=low, high=high, search=True)
    last = answers[-1]
    assert last["tokens"] == store.n_tokens
    hist = store.histogram(busy)
    between = hist[(hist["low"] >= low) & (hist["high"] <= high)]["count"].sum()
    assert between <= last["found"] <= between + 2 * hist["count"].max()
    assert all(low <= e["v"] <= high for e in last["examples"])
    assert len(last["examples"]) == 20
    [answer] = ask(view, "range", feature=busy, low=2.0, high=1.0)
    assert "no range" in answer["error"]["message"]


def test_without_a_model_it_says_what_to_do(comms: Any, alone: Any, model: Any, busy: int) -> None:
    view = ng.FeatureDashboard(alone, busy)
    assert not view.attached
    for kind, body in (
        ("text", {"text": "a"}), ("effects", {"which": [[0, 0, 4]]}), ("steer", {}),
        ("matches", {}),
        ("range", {"low": 0.0, "high": 1.0, "search": True}),
    ):  # fmt: skip
        [answer] = ask(view, kind, feature=busy, **body)
        assert "view.attach(store.attach(model))" in answer["error"]["hint"], kind
    [answer] = ask(view, "rule", feature=busy, rule=r"\d")
    assert answer["exact"] is False
    assert answer["fit"]["on"] == len(alone.examples(busy, "firing"))
    view.attach(alone.attach(model))
    assert view.attached
    assert view.frame["alignment"] is not None
    assert ask(view, "text", feature=busy, text="a", effects=False)[0]["pieces"] == ["a"]
    other = ng.open_store("zoo/A-neurons")
    with pytest.raises(ng.InputError, match="not the store"):
        view.attach(other)


def test_annotations_are_kept_in_the_store(comms: Any, alone: Any, busy: int) -> None:
    view = ng.FeatureDashboard(alone, busy)
    ask(view, "explain", feature=busy, text="citations")
    ask(view, "rate", features=[busy], value=4)
    ask(view, "note", feature=busy, text="see also 7")
    ask(view, "put", features=[busy], name="good")
    said = view.said
    assert said["explanations"][0]["text"] == "citations"
    assert (said["rating"], said["note"], said["lists"]) == (4, "see also 7", ["good"])
    alone.annotations.rate(busy, 2)  # from Python, or another view
    assert view.said["rating"] == 2
    said = view.said
    again = ng.open_store("zoo/A-1x", annotations=alone.annotations.folder)
    assert page_of(again, busy)["said"] == said
    for kind, body in (
        ("explain", {"feature": busy, "text": " "}),
        ("rate", {"features": [busy], "value": 9}),
        ("drop", {"features": [busy], "name": "no such list"}),
    ):
        [answer] = ask(view, kind, **body)
        assert answer["error"]["type"] == "InputError"


def test_steering_is_hosted_in_the_page(comms: Any, store: Any, busy: int) -> None:
    view = ng.FeatureDashboard(store, busy, prompt="1,2,3")
    ask(view, "steer", feature=busy)
    assert isinstance(view.steered, ng.Steer)
    assert view.steered.sliders[0]["feature"] == store.id(busy)
    assert view.hosted() == (view.steered,)
    assert view.steered.text == "1,2,3"
    json.dumps(view.state)
    view.feature = 3
    assert view.steered is None  # it was of the other feature


def test_matches_in_another_store(comms: Any, store: Any, model: Any, busy: int) -> None:
    neurons = ng.open_store("zoo/A-neurons", model)
    view = ng.FeatureDashboard(store, busy, others={"neurons": neurons})
    [answer] = ask(view, "matches", feature=busy)
    want = store.correlated(neurons, features=[busy]).iloc[0]
    [[name, other, pearson, _]] = answer["matches"]
    assert (name, other) == ("neurons", want["other"])
    assert pearson == pytest.approx(want["pearson"], abs=1e-3)


def test_state_fallback_and_frame(comms: Any, store: Any, busy: int) -> None:
    view = ng.FeatureDashboard(store, busy, text="hello", rule="a")
    state = json.loads(json.dumps(view.state))
    still = ng.FeatureDashboard.from_state(state)
    assert not still.live
    assert still.frame == json.loads(json.dumps(view.frame))
    live = ng.FeatureDashboard.from_state(state, store)
    assert live.live
    assert (live.index, live.text, live.rule) == (busy, "hello", "a")
    assert len(view.fallback_html().encode()) < 50_000
    hostile = ng.FeatureDashboard.from_state(
        state | {"frame": state["frame"] | {"pieces": ["<script>"] * len(state["frame"]["pieces"])}}
    )
    assert "<script>" not in hostile.fallback_html()
    assert len(view.to_frame()) == len(store.examples(busy, None))
    assert repr(view) == f"FeatureDashboard({store.id(busy)})"


def test_dead_constant_and_not_finite_features(comms: Any, alone: Any) -> None:
    dead = ng.open_store("zoo/A-8x")
    index = int((dead.to_frame()["count"].to_numpy() == 0).argmax())
    page = page_of(dead, index)
    assert page["flags"] == ["dead"]
    assert page["stats"]["kurtosis"] is None
    assert [g["name"] for g in page["groups"]] == ["random"]
    row = dict(alone[0].row)
    from neuroglass.views.feature_page import flags_of

    assert flags_of(row | {"density": 1.0, "count": 9}) == ["always on"]
    assert flags_of(row | {"not_finite": 3, "count": 5, "density": 1e-7}) == [
        "not finite",
        "ultralow",
    ]
    assert flags_of(row | {"count": 0, "density": 0.0, "min": -1.0}) == ["silent"]
