"""Features as Neuronpedia, SAEDashboard, neuron-explainer and the SAE viewer write them."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuroglass as ng

STATISTICS = {"density", "max"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    model = ng.load()
    texts = [
        "Alice was beginning to get very tired of sitting by her sister on the bank. " * 8,
        "No one would have believed in the last years of the nineteenth century. " * 8,
    ]
    sae = ng.SAE.load("zoo/A-8x", model)
    return ng.harvest(
        model, sae, texts, out=tmp_path_factory.mktemp("s") / "s", context=64, progress=False
    )


def test_a_feature_of_ours_survives_neuronpedia(store: Any, tmp_path: Path) -> None:
    frame = store.to_frame()
    i = int(frame["count"].idxmax())
    ours = store[i].record()
    assert ours.statistics["density"] == frame.loc[i, "density"]
    assert {"top", "firing", "random", "interval 0", "interval 9"} <= {
        e.group for e in ours.examples
    }
    shares = {e.group: e.contains for e in ours.examples if e.group.startswith("interval")}
    assert 0 < sum(s or 0 for s in shares.values()) <= ours.statistics["density"] * 1.0001
    np.testing.assert_allclose(ours.vector, store[i].feature.direction.tolist())

    file = tmp_path / "feature.json"
    file.write_text(json.dumps(ours.to_neuronpedia(), allow_nan=False), "utf-8")
    theirs = ng.read_feature(file)
    assert theirs.source == "neuronpedia"
    for name in ("model", "layer", "index", "promoted", "suppressed", "alignment", "neurons",
                 "vector"):  # fmt: skip
        assert getattr(theirs, name) == getattr(ours, name), name
    assert theirs.statistics == {k: v for k, v in ours.statistics.items() if k in STATISTICS}
    np.testing.assert_allclose(theirs.histogram, ours.histogram, atol=1e-9)
    for a, b in zip(theirs.examples, ours.examples, strict=True):
        assert a == b
    again = ng.read_feature(theirs.to_neuronpedia())
    assert again == theirs
    assert list(theirs.frame().columns[:6]) == ["group", "rank", "value", "token", "at", "tokens"]
    want = store.examples(i, "top")
    top = theirs.frame().query("group == 'top'")
    assert top["tokens"].tolist() == want["tokens"].tolist()
    assert top["at"].tolist() == want["at"].tolist()


def test_batches_of_a_store(store: Any, tmp_path: Path) -> None:
    frame = store.to_frame()
    alive = frame.index[frame["count"] > 0][:130]
    files = store.to_neuronpedia(tmp_path / "np", [*alive, 4095])
    assert [f.name for f in files] == ["batch-0.json", "batch-1.json"]
    batch = json.loads(files[0].read_text("utf-8"))
    assert batch["model_id"] == store.meta["model"]
    assert batch["layer"] == 0
    first = batch["features"][0]
    # what SAEDashboard's NeuronpediaDashboardFeature takes
    assert set(first) <= {
        "feature_index", "neuron_alignment_indices", "neuron_alignment_values",
        "neuron_alignment_l1", "correlated_neurons_indices", "correlated_neurons_pearson",
        "correlated_neurons_l1", "neg_str", "neg_values", "pos_str", "pos_values", "frac_nonzero",
        "freq_hist_data_bar_values", "freq_hist_data_bar_heights", "n_prompts_total",
        "n_tokens_in_prompt", "activations", "vector",
    }  # fmt: skip
    assert set(first["activations"][0]) == {
        "bin_min", "bin_max", "bin_contains", "tokens", "values", "qualifying_token_index"
    }  # fmt: skip
    assert first["activations"][0]["bin_min"] == -1
    read = [r for f in files for r in ng.read_features(f)]
    assert [r.index for r in read] == [*alive, 4095]
    for r in read[:3]:
        assert r.layer == f"0-{store.name}"
        assert r.promoted == tuple(store[r.index].promoted())
    assert not [e for e in read[-1].examples if e.group != "random"] or frame.loc[4095, "count"]
    with pytest.raises(ng.InputError, match=r"batch-0\.json already"):
        store.to_neuronpedia(tmp_path / "np", [0])


def test_a_batch_of_saedashboard(tmp_path: Path) -> None:
    tokens = ["The", " cat", " sat"]
    groups = [(-1, 3.5, -1, 3.5), (1.75, 3.5, 0.01, 2.0), (0, 1.75, 0.99, 0.5), (0, 0, 0, 0.0)]
    batch = {
        "model_id": "gpt2-small", "layer": 6, "sae_set": "res-jb", "sae_id_suffix": None,
        "features": [{
            "feature_index": 7, "frac_nonzero": 0.0125, "pos_str": [" dog"], "pos_values": [1.5],
            "neg_str": [" of"], "neg_values": [-0.5], "neuron_alignment_indices": [4],
            "neuron_alignment_values": [0.2], "neuron_alignment_l1": [0.01],
            "correlated_features_indices": [9], "correlated_features_pearson": [0.3],
            "correlated_features_l1": [0.4], "freq_hist_data_bar_values": [0.5, 1.5, 2.5],
            "freq_hist_data_bar_heights": [10, 5, 1], "logits_hist_data_bar_values": [],
            "logits_hist_data_bar_heights": [], "dataset": "a/b", "n_prompts_total": 10,
            "decoder_weights_dist": [0.5, 0.5],
            "activations": [
                {"bin_min": a, "bin_max": b, "bin_contains": c, "tokens": tokens,
                 "values": [0, v, 0.0], "qualifying_token_index": -1 if v == 3.5 else 1,
                 "dfa_values": [0.1, 0.2, 0.0]} for a, b, c, v in groups
            ],
        }, None],
    }  # fmt: skip
    file = tmp_path / "batch-0.json"
    file.write_text(json.dumps(batch), "utf-8")
    (found,) = ng.read_features(file)
    assert (found.model, found.layer, found.index) == ("gpt2-small", "6-res-jb", 7)
    assert found.statistics == {"density": 0.0125, "max": 3.5}
    assert found.histogram == ((0, 1, 10), (1, 2, 5), (2, 3, 1))
    assert [e.group for e in found.examples] == ["top", "interval 1", "interval 0", "random"]
    assert [e.at for e in found.examples] == [1, 1, 1, 1]  # a place before the text: the largest
    assert found.examples[1].contains == 0.01
    assert found.related == ((9, 0.3, 0.4),)
    assert found.rest["dataset"] == "a/b"
    assert found.examples[0].rest == {"dfa_values": [0.1, 0.2, 0.0]}
    again = found.to_neuronpedia(batch=True)
    assert again["decoder_weights_dist"] == [0.5, 0.5]
    assert again["activations"][1]["dfa_values"] == [0.1, 0.2, 0.0]
    assert ng.read_feature(again | {"modelId": "gpt2-small", "layer": "6-res-jb"}) == found


def test_explanations_of_neuronpedia(tmp_path: Path) -> None:
    feature = {
        "modelId": "gpt2-small", "layer": "6-res-jb", "index": "650", "maxActApprox": 12.5,
        "explanations": [{"description": "names of trees", "explanationModelName": "gpt-4o-mini",
                          "scores": [{"value": 0.7, "explanationScoreTypeName": "recall_alt"}]}],
        "activations": [{"tokens": ["a", "b"], "values": [0, 12.5], "maxValue": 12.5,
                         "maxValueTokenIndex": 1, "minValue": 0, "dataIndex": "x"}],
        "comments": [], "vectorLabel": None,
    }  # fmt: skip
    lines = tmp_path / "features.jsonl.gz"
    with gzip.open(lines, "wt", encoding="utf-8") as out:
        out.write(json.dumps(feature) + "\n\n" + json.dumps(feature | {"index": "651"}) + "\n")
    a, b = ng.read_features(lines)
    assert (a.index, b.index) == (650, 651)
    assert a.explanations[0].text == "names of trees"
    assert a.explanations[0].scores == {"recall_alt": 0.7}
    assert a.explanations[0].by == "gpt-4o-mini"
    assert a.examples[0].at == 1
    assert a.to_neuronpedia()["explanations"][0]["description"] == "names of trees"


NEURON = {
    "dataclass_name": "NeuronRecord",
    "neuron_id": {"dataclass_name": "NeuronId", "layer_index": 5, "neuron_index": 131},
    "random_sample": [
        {"dataclass_name": "ActivationRecord", "tokens": ["x", "y"], "activations": [-0.1, 0.3]}
    ],
    "random_sample_by_quantile": [
        [{"dataclass_name": "ActivationRecord", "tokens": ["q"], "activations": [0.2]}]
    ],
    "quantile_boundaries": [0.1],
    "mean": 0.01, "variance": 0.2, "skewness": 3.0, "kurtosis": 20.0,
    "most_positive_activation_records": [
        {"dataclass_name": "ActivationRecord", "tokens": [" a", " b"], "activations": [1, 4.5]}
    ],
}  # fmt: skip


def explained(simulation: str, explanation: str) -> dict[str, Any]:
    """As neuron-explainer writes them, or as the Transformer Debugger does."""
    sequence = {
        simulation: {
            "tokens": [" a", " b"], "expected_activations": [0.5, 9.0],
            "activation_scale": "simulated_normalized_activations", "distribution_values": [],
            "distribution_probabilities": [], "uncalibrated_simulation": None,
        },
        "true_activations": [1, 4.5], "ev_correlation_score": 0.9, "rsquared_score": None,
        "absolute_dev_explained_score": None,
    }  # fmt: skip
    return {
        "dataclass_name": "NeuronSimulationResults", "neuron_id": NEURON["neuron_id"],
        "scored_explanations": [{
            explanation: "the letter b",
            "scored_simulation": {"scored_sequence_simulations": [sequence],
                                  "ev_correlation_score": 0.9, "rsquared_score": 0.5,
                                  "absolute_dev_explained_score": 0.4},
        }],
    }  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [("simulation", "explanation"), ("sequence_simulation", "explanation_or_baseline")],
)
def test_neuron_records_and_explanations(names: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "131.json").write_text(json.dumps(NEURON), "utf-8")
    (tmp_path / "131.jsonl").write_text(json.dumps(explained(*names)) + "\n", "utf-8")
    related = {
        "c_fc": {"top_positive_neurons": ["3_7"], "top_positive_weights": [2.5],
                 "top_negative_neurons": [], "top_negative_weights": []}, "c_proj": None,
    }  # fmt: skip
    tokens = {"input_positive": {"tokens": [" b"], "strengths": [3.0]},
              "output_negative": {"tokens": [" c"], "strengths": [-3.0]}}  # fmt: skip
    lookup = {"tokens": [" b"], "average_activations": [2.2]}
    found = ng.read_feature(
        tmp_path / "131.json", str(tmp_path / "131.jsonl"), related, tokens, lookup
    )
    assert (found.source, found.layer, found.index) == ("neuron-explainer", "5", 131)
    assert [e.group for e in found.examples] == ["top", "random", "quantile 0"]
    assert found.examples[1].values == (-0.1, 0.3)
    assert found.statistics == {
        "mean": 0.01, "variance": 0.2, "skew": 3.0, "kurtosis": 20.0, "max": 4.5
    }  # fmt: skip
    (e,) = found.explanations
    assert e.text == "the letter b"
    assert e.scores["ev_correlation_score"] == 0.9
    assert e.simulations == (((" a", " b"), (0.5, 9.0), (1, 4.5)),)
    assert found.connected == {"c_fc positive": (("3_7", 2.5),)}
    assert found.tokens == {
        "input positive": ((" b", 3.0),), "output negative": ((" c", -3.0),),
        "average activation": ((" b", 2.2),),
    }  # fmt: skip


def test_atoms_of_the_sae_viewer() -> None:
    sequence = {"density": 0.1, "doc_id": 3, "idx": 1, "act": 2.5, "acts": [0, 2.5, 0.5],
                "tokens": ["a", "b", "c"], "token_ints": [1, 2, 3], "kl": [0.1, 0.2]}  # fmt: skip
    atom = {"density": 0.02, "mean_act": 0.1, "mean_act_squared": 0.3, "skew": 4,
            "kurtosis": 25, "hist": {"13": 1, "3": 20}, "random": [sequence | {"idx": 2}],
            "top": [sequence]}  # fmt: skip
    found = ng.read_feature(atom)
    assert found.statistics["mean_square"] == 0.3
    assert found.statistics["max"] == 2.5
    np.testing.assert_allclose(found.histogram, [(0.4, 0.6, 20), (2.4, 2.6, 1)])
    assert [(e.group, e.at) for e in found.examples] == [("top", 1), ("firing", 2)]
    assert found.examples[0].rest["kl"] == [0.1, 0.2]
    # on to Neuronpedia and back: groups and values stay
    again = ng.read_feature(found.to_neuronpedia())
    assert [e.values for e in again.examples] == [e.values for e in found.examples]


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    bad: list[tuple[Any, str]] = [
        ({"what": 1}, "no format that is known here; it has 'what'"),
        ([1], "is int, not an object"),
        ({"modelId": "m", "index": "-1"}, "no feature's number"),
        ({"modelId": "m", "index": "0", "activations": [{"tokens": ["a"], "values": [1, 2]}]},
         "activations 0: 1 tokens and 2 values"),
        ({"modelId": "m", "index": "0", "activations": [{"tokens": "a", "values": [1]}]},
         "tokens is no list"),
        ({"modelId": "m", "index": "0", "pos_str": ["a"], "pos_values": [1, 2]},
         "differ in length"),
        ({"modelId": "m", "index": "0", "frac_nonzero": "much"}, "not a number"),
        ({"modelId": "m", "index": "0", "vector": [True]}, "vector is no list"),
        (NEURON | {"neuron_id": {"layer_index": 1}}, "no neuron_index"),
        ({"hist": {"a": 1}, "top": [], "random": []}, "no number"),
        ({"hist": 3}, "hist is int"),
        ({"hist": {}, "top": [{"tokens": ["a"], "acts": [1], "idx": 4}]}, "idx is 4"),
        ({"scored_explanations": [{"scored_simulation": {"scored_sequence_simulations": [
            {"simulation": {"tokens": ["a"], "expected_activations": [1]},
             "true_activations": []}]}}]}, "0 true activations"),
        ({"scored_explanations": [{"scored_simulation": "x"}]}, "is str, not an object"),
    ]  # fmt: skip
    for given, message in bad:
        file.write_text(json.dumps(given), "utf-8")
        with pytest.raises(ng.InputError, match=message):
            ng.read_feature(file)
    file.write_text('{"modelId": "m", "ind', "utf-8")
    with pytest.raises(ng.InputError, match="no whole JSON"):
        ng.read_feature(file)
    file.write_text("[" * 100_000, "utf-8")
    with pytest.raises(ng.InputError, match="no whole JSON"):
        ng.read_feature(file)
    cut = tmp_path / "x.json.gz"
    cut.write_bytes(gzip.compress(json.dumps(NEURON).encode())[:60])
    with pytest.raises(ng.InputError, match="no whole JSON"):
        ng.read_feature(cut)
    with pytest.raises(ng.InputError, match="There is no file"):
        ng.read_feature(tmp_path / "none.json")
    with pytest.raises(ng.InputError, match="2 features"):
        ng.read_feature([NEURON, NEURON])
    with pytest.raises(ng.InputError, match="nothing to read"):
        ng.read_feature()
    with pytest.raises(ng.InputError, match="different features: index 131 and 7"):
        ng.read_feature(NEURON, NEURON | {"neuron_id": {"layer_index": 5, "neuron_index": 7}})


def test_hostile_text_stays_text() -> None:
    nasty = "<script>alert(1)</script>\u202e"
    found = ng.read_feature(NEURON | {"most_positive_activation_records": [
        {"tokens": [nasty], "activations": [math.inf]}]})  # fmt: skip
    assert found.examples[0].tokens == (nasty,)
