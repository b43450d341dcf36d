"""Explaining without a language model: patterns, splits, published scores on cases by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuroglass as ng
from neuroglass.explanation import patterns as p
from neuroglass.explanation.downstream import ablation_score, output_score
from neuroglass.explanation.explainers import PatternExplainer, calibrated
from neuroglass.explanation.records import Simulated, Window
from neuroglass.explanation.revision import counterexamples
from neuroglass.explanation.scores import simulation_scores
from neuroglass.explanation.windows import RandomWindows, of_text, split_of, stored


def window(text: str, values: list[float], group: str = "top", document: int = 0) -> Window:
    pieces = tuple(text.split("|"))
    assert len(pieces) == len(values)
    return Window(document, 0, tuple(range(len(pieces))), pieces, np.array(values, float), group)


@pytest.fixture(scope="module")
def model() -> ng.LiveModel:
    return ng.load("zoo/A")


@pytest.fixture
def store(model: ng.LiveModel, tmp_path: Path) -> Any:
    return ng.open_store("zoo/A-8x", annotations=tmp_path).attach(model)


@pytest.fixture
def feature(store: Any) -> Any:
    frame = store.to_frame()
    likely = frame[(frame["count"] > 300) & (frame["single_token_share"] > 0.9)]
    return store[int(likely.index[0])]


# ---------------------------------------------------------------------- patterns


@pytest.mark.parametrize(
    "text",
    ['" of" * " the"  9.5', '^ "\\n"  4', '"\\"" "\\\\"  1', "/\\p{Hebrew}+/  12", "/a\\/b/  -2.5"],
)
def test_a_pattern_is_read_as_it_is_written(text: str) -> None:
    [pattern] = p.read(text)
    assert p.write([pattern]) == text
    assert p.read(p.write([pattern])) == [pattern]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("# only a remark", "empty"),
        ("fires on Hebrew", "'fires on Hebrew' is neither token nor value"),
        ('" the" *  3', "last token is any token"),
        ('" the" ^ 3', "at the beginning"),
        ('/a/ " b" 3', "stands alone"),
        ("/(/ 3", "no regular expression"),
        ('"" 3', "a token is empty"),
        ('" a" 1\n" b" x', "Line 2"),
    ],
)
def test_what_is_no_pattern_is_refused_with_its_line(text: str, why: str) -> None:
    with pytest.raises(ng.InputError) as caught:
        p.read(text)
    assert why in str(caught.value)


def test_patterns_are_simulated_by_hand(store: Any) -> None:
    some = p.read('" of" * " the" 9\n" the" 2\n^ " the" 5\n" the" " the" 7')
    w = window(" the| of| a| the| the| of|x| the| the", [0] * 9)
    said = p.PatternSimulator(store).values(some, w)
    # the last: three tokens (of x the) end one earlier; here two (the the) count before one
    assert said.tolist() == [5, 0, 0, 9, 7, 0, 0, 9, 7]


def test_a_regular_expression_counts_where_it_touches(store: Any) -> None:
    ids = tuple(store.model.tokenize("ab שלום cd")[0][0].tolist())
    w = Window(0, 0, ids, tuple(store.pieces(list(ids))), np.zeros(len(ids)), "top")
    said = p.PatternSimulator(store).values(p.read(r"/\p{Hebrew}/ 4"), w)
    assert set(said.tolist()) == {0.0, 4.0}
    assert (said > 0).sum() >= 1


def test_values_are_the_mean_of_what_is_true_where_a_pattern_counts() -> None:
    some = p.read('"a" "b" 1\n"b" 1\n"q" 3')
    windows = [window("a|b|b", [0, 8, 2]), window("b|a|b", [4, 0, 6])]
    assert [x.value for x in calibrated(some, windows)] == [
        7,
        3,
        3,
    ]  # ab: 8, 6; b: 2, 4; q: as it was
    assert [x.tokens for x in calibrated(some, windows)] == [("a", "b"), ("b",), ("q",)]


def test_the_explainer_finds_what_a_feature_needs(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a rule by hand in place of the model: 10 at d if a stands two before it."""
    a, d, x = 1, 4, 9

    def asked(_: Any, rows: list[list[int]]) -> Any:
        return np.array([10.0 if len(r) > 2 and r[-1] == d and r[-3] == a else 0.0 for r in rows])

    monkeypatch.setattr("neuroglass.explanation.explainers._Asker.__call__", asked)
    ids = (7, 8, a, x, d)
    w = Window(0, 0, ids, ("g", "h", "a", "x", "d"), np.array([0, 0, 0, 0, 10.0]), "top")
    text = PatternExplainer(back_off=False).explain(store[0], [w], 10)
    assert text == '"a" * "d"  10'
    with_single = PatternExplainer().explain(store[0], [w], 10)
    assert with_single.splitlines() == ['"a" * "d"  10', '"d"  10']


# ---------------------------------------------------------------------- scores


def test_scores_equal_the_published_definitions_by_hand() -> None:
    one = Simulated(window("a|b|c", [0, 1, 2]), np.array([0.0, 2.0, 2.0]))
    two = Simulated(window("d|e", [4, 1], "random"), np.array([3.0, 1.0]))
    found = simulation_scores([one, two])
    # a = 0 1 2 4 1, s = 0 2 2 3 1; means 1.6 and 1.6
    cov = (-1.6) * (-1.6) + (-0.6) * 0.4 + 0.4 * 0.4 + 2.4 * 1.4 + (-0.6) * (-0.6)
    var = (2.56 + 0.36 + 0.16 + 5.76 + 0.36) * (2.56 + 0.16 + 0.16 + 1.96 + 0.36)
    assert found["correlation"].value == pytest.approx(cov / math.sqrt(var))
    # mean (a - s)^2 = (0 + 1 + 0 + 1 + 0) / 5; mean a^2 = (1 + 4 + 16 + 1) / 5
    assert found["r_squared"].value == pytest.approx(1 - 2 / 22)
    assert found["absolute_deviation"].value == pytest.approx(1 - 2 / 8)
    # on: a at 4 tokens, s at 4, both at 4; the first token of each is 0
    assert found["precision"].value == found["recall"].value == 1
    three = Simulated(window("f|g", [0, 3]), np.array([1.0, 0.0]))
    found3 = simulation_scores([one, two, three])
    assert found3["precision"].value == pytest.approx(4 / 5)
    assert found3["recall"].value == pytest.approx(4 / 5)
    # ranks of a: 1 2.5 4 5 2.5; of s: 1 3.5 3.5 5 2
    ra, rs = np.array([1, 2.5, 4, 5, 2.5]), np.array([1, 3.5, 3.5, 5, 2])
    assert found["spearman"].value == pytest.approx(np.corrcoef(ra, rs)[0, 1])
    assert found["random_only"].value == pytest.approx(1.0)
    assert found["random_only"].windows == 1


def test_a_constant_simulation_is_undefined_and_a_failure_is_counted() -> None:
    zero = [Simulated(window("a|b", [0, 1], "random"), np.zeros(2))]
    found = simulation_scores(zero)
    assert found["correlation"].value is None
    assert found["correlation"].reason == "the simulation is 0 at every token"
    assert found["r_squared"].value == 0
    failed = Simulated(window("a|b", [0, 1]), None, "no digits")
    found = simulation_scores([*zero, failed])
    assert found["correlation"].failures == 1
    assert simulation_scores([failed])["spearman"].reason == "no window could be simulated"
    silent = simulation_scores([Simulated(window("a|b", [0, 0]), np.array([0.0, 1.0]))])
    assert silent["r_squared"].value is None
    assert silent["recall"].value is None
    assert silent["precision"].value == 0
    below = simulation_scores([Simulated(window("a|b", [-1, -2]), np.array([-1.0, 1.0]))])
    assert below["recall"].reason == "the feature is nowhere above 0 in these windows"
    below = simulation_scores([Simulated(window("a|b", [-1, 2]), np.array([-1.0, -2.0]))])
    assert below["precision"].reason == "the simulation is nowhere above 0"
    assert below["recall"].value == 0
    assert "same at every token" in silent["correlation"].reason


def test_the_intervals_are_those_of_drawing_windows_again() -> None:
    rng = np.random.default_rng(1)
    some = []
    for _ in range(30):
        a = np.maximum(rng.random(20) - 0.5, 0)
        said = np.maximum(a + rng.normal(0, 0.5, 20), 0)
        some.append(Simulated(window("|".join("x" * 20), a.tolist()), said))
    scores = simulation_scores(some)
    formulas: dict[str, Any] = {
        "correlation": lambda a, s: np.corrcoef(a, s)[0, 1],
        "absolute_deviation": lambda a, s: 1 - np.abs(a - s).mean() / a.mean(),
        "precision": lambda a, s: (a > 0)[s > 0].mean(),
        "recall": lambda a, s: (s > 0)[a > 0].mean(),
    }
    for name, formula in formulas.items():
        drawn = []
        for _ in range(400):
            chosen = rng.integers(0, 30, 30)
            a = np.concatenate([some[i].window.values for i in chosen])
            drawn.append(formula(a, np.concatenate([some[i].values for i in chosen])))
        low, high = np.quantile(drawn, [0.025, 0.975])
        found = scores[name]
        # two bootstraps of 400: their quantiles differ by about a tenth of the interval
        tolerance = 0.25 * (high - low)
        assert found.low == pytest.approx(low, abs=tolerance), name
        assert found.high == pytest.approx(high, abs=tolerance), name
        assert found.low < found.value < found.high  # type: ignore[operator]


# ---------------------------------------------------------------------- splits and the public calls


def test_no_document_is_on_both_sides(store: Any, feature: Any) -> None:
    random = RandomWindows(store, 60)
    for seed in (0, 1):
        cut = split_of(feature, seed=seed, random=random)
        train = {w.document for w in cut.train}
        assert not train & {w.document for w in (*cut.test, *cut.random)}
        assert cut.train[0].values.max() >= 0.5 * cut.largest
        assert cut.test[0].values.max() > 0
        for w in (*cut.train, *cut.test, *cut.random):
            a = int(store.corpus.starts[w.document]) + w.start
            assert store.corpus.ids[a : a + len(w)].tolist() == list(w.ids)


def test_random_windows_have_the_values_of_the_model(store: Any, feature: Any) -> None:
    found = RandomWindows(store, 40).of(feature, ())
    assert len(found) == 40
    for w in found[::8]:
        run = store.model.run([list(w.ids)], sites=["neurons.0"], logits=False)
        want = feature.feature.activations(run["neurons.0"][0].float()).numpy()
        # padded batches sum in another order
        np.testing.assert_allclose(w.values, want, rtol=1e-3, atol=1e-4)
    alone = ng.open_store("zoo/A-8x")
    kept = RandomWindows(alone).of(alone[feature.index], ())
    assert [w.ids for w in kept] == [w.ids for w in stored(feature, ("random",))]


def test_too_few_tokens_or_one_document_is_refused(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = store.to_frame()
    rare = store[int(frame[(frame["count"] > 0) & (frame["count"] < 20)].index[0])]
    with pytest.raises(ng.InputError, match="20 are needed"):
        ng.explain(rare)
    often = store[int(frame["count"].to_numpy().argmax())]
    one = [w for w in stored(often) if w.document == stored(often)[0].document]
    monkeypatch.setattr("neuroglass.explanation.windows.stored", lambda *_: one)
    with pytest.raises(ng.InputError, match="one document"):
        split_of(often)


def test_explain_simulate_score_in_a_line_each(store: Any, feature: Any) -> None:
    explanation = ng.explain(feature)
    assert explanation.author == "patterns (N2G)"
    assert explanation.split is not None
    patterns = p.read(explanation.text)
    assert p.write(patterns) == explanation.text
    scores = ng.score(explanation, feature)
    assert scores["correlation"].value is not None
    assert scores["correlation"].value > 0.5  # it is on at one token nine times of ten
    tokens = ng.score(ng.explain(feature, by="tokens"), feature)
    assert tokens["correlation"].value is not None
    person = ng.score('" zzz" 3', feature, author="Ada")
    assert person["correlation"].value is None
    assert person.explanation.author == "Ada"
    assert math.isnan(float(person))
    said = ng.simulate(explanation, feature, on="a text of mine")
    assert said[0].window.document == -1
    want = of_text(feature, "a text of mine").values
    np.testing.assert_allclose(said[0].window.values, want)
    assert {"value", "low", "high"} <= set(scores.to_frame().columns)
    assert "correlation" in repr(scores)


def test_an_explanation_is_not_tested_on_what_it_was_made_of(store: Any, feature: Any) -> None:
    explanation = ng.explain(feature, split=split_of(feature, seed=0))
    with pytest.raises(ng.InputError, match="made of documents"):
        ng.score(explanation, feature, split=split_of(feature, seed=1))


def test_kept_explanations_and_scores_are_in_the_store(store: Any, feature: Any) -> None:
    scores = ng.score(ng.explain(feature), feature, keep=True)
    said = store.annotations.of(feature.index)["explanations"]
    assert said[0]["id"] == scores.explanation.id
    assert said[0]["text"] == scores.explanation.text
    assert said[0]["scores"]["correlation"] == pytest.approx(scores["correlation"].value)
    assert said[0]["split"]["train"] == list(scores.split["train"])
    rows = store.annotations.frame("scores", feature.index)
    assert set(rows["name"]) == set(scores.scores)
    assert (rows["simulator"] == "patterns").all()


def test_what_can_not_be_explained_is_said(store: Any, feature: Any) -> None:
    with pytest.raises(ng.InputError, match="no feature of a store"):
        ng.explain(feature.feature)
    with pytest.raises(ng.InputError, match="no explainer 'magic'"):
        ng.explain(feature, by="magic")
    with pytest.raises(ng.InputError, match="no simulator 'magic'"):
        ng.score('" a" 1', feature, by="magic")
    with pytest.raises(ng.InputError, match="needs a language model"):
        ng.score("עברית", feature)
    alone = ng.open_store("zoo/A-8x")
    with pytest.raises(ng.InputError, match="no live model"):
        ng.explain(alone[feature.index])
    assert ng.explain(alone[feature.index], by="tokens").text


# ---------------------------------------------------------------------- effect, revision, many


def test_the_ablation_score_by_brute_force(store: Any, feature: Any) -> None:
    cut = split_of(feature)
    [w] = [x for x in cut.test if x.values.max() > 0][:1]
    half = Simulated(w, w.values / 2)
    found = ablation_score(feature, [half])

    def logprobs(edits: list[Any]) -> Any:
        run = store.model.run([list(w.ids)], edits=edits)
        return run.logits[0].double().log_softmax(-1)

    # every token's value set, and not only those that differ
    at_once = [ng.Clamp(feature.feature, v / 2, positions=[i]) for i, v in enumerate(w.values)]
    clean, said = logprobs([]), logprobs(at_once)
    without = logprobs([ng.Clamp(feature.feature, 0.0)])

    def jsd(p: Any, q: Any) -> float:
        m = ((p.exp() + q.exp()) / 2).log()
        return float(((p.exp() * (p - m)).sum() + (q.exp() * (q - m)).sum()) / 2)

    want = 1 - jsd(said, clean) / jsd(without, clean)
    # JSDs are sums of small differences of float32 probabilities
    assert found.value == pytest.approx(want, abs=2e-3)
    assert ablation_score(feature, [Simulated(w, w.values)]).value == 1
    assert ablation_score(feature, [Simulated(w, np.zeros(len(w)))]).value == pytest.approx(
        0, abs=1e-4
    )
    assert ablation_score(feature, [Simulated(w, None, "x")]).failures == 1


def test_the_output_score_knows_a_steered_text(store: Any) -> None:
    arabic = store[int(store.search("هذا كتاب في اللغة العربية", limit=1).index[0])]
    reader = p.PatternSimulator(store)
    right = output_score(r"/\p{Arabic}/ 1", arabic, reader, texts=4, controls=2, max_new_tokens=16)
    assert right.value is not None
    assert right.value > 0.8
    same = output_score('"qqqq" 1', arabic, reader, texts=2, controls=1, max_new_tokens=4)
    assert same.value is None
    assert "same of every text" in same.reason


def test_counterexamples_are_where_it_is_wrong_and_not_among_the_tested(
    store: Any, feature: Any
) -> None:
    cut = split_of(feature)
    reader = p.PatternSimulator(store)
    found = counterexamples('"e" 9', feature, reader, split=cut, n=4, searched=60)
    tested = {w.document for w in (*cut.test, *cut.random)}
    assert len(found) == 4
    errors = [
        float(np.abs(s.values - s.window.values).max()) for s in found if s.values is not None
    ]
    assert len(errors) == 4
    assert errors == sorted(errors, reverse=True)
    assert not tested & {s.window.document for s in found}


def test_revision_keeps_every_step(store: Any, feature: Any) -> None:
    cut = split_of(feature)
    bad = store.annotations.explain(feature.index, '" zzz" 4')
    first = ng.Explanation('" zzz" 4', "Ada", feature.id, id=bad["id"])
    step = ng.revise(first, feature, split=cut)
    assert step.before.text == '" zzz" 4'
    assert step.after.parent == bad["id"]
    assert step.scores_after["correlation"].value is not None
    assert math.isnan(step.gain)  # the first had no score
    assert set(step.after.split["test"]) == set(cut.to_json()["test"])  # type: ignore[index]
    assert not set(step.after.split["train"]) & set(step.after.split["test"])  # type: ignore[index]
    own = ng.revise(ng.explain(feature, split=cut), feature, split=cut, texts=["a text of mine"])
    assert own.counterexamples[0].document == -1


def test_a_study_is_each_feature_alone(store: Any) -> None:
    frame = store.to_frame()
    alive = [int(i) for i in frame.index[frame["count"] > 200][:6]]
    dead = int((frame["count"].to_numpy() == 0).argmax())
    table: Any = ng.study(store, [*alive, dead], progress=False)
    assert table.index.tolist() == [*alive, dead]
    assert "20 are needed" in table.loc[dead, "failure"]
    assert np.isnan(table.loc[dead, "correlation"])
    cut = split_of(store[alive[2]], random=RandomWindows(store, 40))
    alone = ng.score(ng.explain(store[alive[2]], split=cut), store[alive[2]], split=cut)
    assert table.loc[alive[2], "correlation"] == pytest.approx(alone["correlation"].value)
    on = np.concatenate([s.window.values > 0 for s in alone.simulated])
    said = np.concatenate([s.values > 0 for s in alone.simulated if s.values is not None])
    assert table.loc[alive[2], "precision"] == pytest.approx(on[said].mean())
    assert table.loc[alive[2], "recall"] == pytest.approx(said[on].mean())
    control = ng.study(store, alive, control=True, progress=False)
    assert control["correlation"].fillna(0).median() < table.loc[alive, "correlation"].median()


def test_a_dictionarys_report_says_how_well_its_explanations_tell(
    store: Any, tmp_path: Path
) -> None:
    latents = ng.open_store("zoo/A-1x", store.model, annotations=tmp_path / "latents")
    sae, texts = ng.SAE.load("zoo/A-1x", store.model), ng.zoo_texts("code")[:1]
    with pytest.raises(ng.InputError, match=r"No explanation .*ng\.study\(store, keep=True\)"):
        sae.report(texts, tokens=200, store=latents)
    with pytest.raises(ng.InputError, match="not of A-1x"):
        sae.report(texts, tokens=200, store=ng.open_store("zoo/A-8x"))
    frame = latents.to_frame()
    some = [int(i) for i in frame.index[frame["count"] > 500][:4]]
    table: Any = ng.study(latents, some, keep=True, progress=False)
    latents.annotations.explain(some[0], "newer, and not scored")
    there = table.dropna(subset=["precision", "recall"])
    found = sae.report(texts, tokens=200, store=latents)
    assert found["explained"] == len(there) / 512 > 0
    # scores are kept to six digits
    assert found["explanation_precision"] == pytest.approx(there["precision"].mean(), rel=1e-5)
    assert found["explanation_recall"] == pytest.approx(there["recall"].mean(), rel=1e-5)
    assert set(found.to_frame().index) >= {"explained", "explanation_recall", "fvu"}
    assert "explained" not in sae.report(texts, tokens=200).values
