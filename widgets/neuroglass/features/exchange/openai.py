"""OpenAI's public files: neuron records and explanations, and the SAE viewer's atoms.

The first are of *Language models can explain neurons in language models* (and the Transformer
Debugger's own variant), the second of *Scaling and evaluating sparse autoencoders*.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neuroglass.features.exchange.reading import NUMBER, Reader, series, strings_and_numbers
from neuroglass.features.exchange.records import Excerpt, Explained, FeatureRecord

RELATED = {
    "c_fc", "c_proj", "average_activations",
    "input_positive", "input_negative", "output_positive", "output_negative",
}  # fmt: skip
VIEWER_BIN = 0.2  # of the viewer's histograms: it stands in its code, not in its files


def _neuron(r: Reader) -> dict[str, Any]:
    """Whose record it is: ``neuron_id``, which the Transformer Debugger calls ``node_id``."""
    given = r.take("neuron_id", "node_id")
    if given is None:
        return {}
    own = Reader(given, f"{r.where}, neuron_id")
    layer, index = own.number("layer_index"), own.number("neuron_index", "tensor_index")
    if index is None:
        raise own.refuse("it has no neuron_index")
    return {"layer": "" if layer is None else str(int(layer)), "index": int(index)}


def read_neuron_record(r: Reader) -> FeatureRecord:
    whose = _neuron(r)
    r.take("dataclass_name")
    groups = [("top", r.mappings("most_positive_activation_records"))]
    groups.append(("random", r.mappings("random_sample")))
    for i, part in enumerate(r.several(list, "random_sample_by_quantile")):
        own = Reader({"records": part}, f"{r.where}, quantile {i}")
        groups.append((f"quantile {i}", own.mappings("records")))
    examples = []
    for group, records in groups:
        for one in records:
            one.take("dataclass_name")
            tokens, values = series(one, "activations")
            examples.append(Excerpt(group, tokens, values, int(np.argmax(values)), rest=one.rest()))
    names = {"mean": "mean", "variance": "variance", "skewness": "skew", "kurtosis": "kurtosis"}
    statistics = {ours: v for n, ours in names.items() if (v := r.number(n)) is not None}
    top = [max(e.values) for e in examples if e.group == "top"]
    return FeatureRecord(
        source="neuron-explainer",
        statistics=statistics | ({"max": float(max(top))} if top else {}),
        examples=tuple(examples),
        rest=r.rest(),
        **whose,
    )


def read_explanations(r: Reader) -> FeatureRecord:
    whose = _neuron(r)
    r.take("dataclass_name")
    found = []
    for e in r.mappings("scored_explanations"):
        scored = Reader(e.take("scored_simulation") or {}, f"{e.where}, scored_simulation")
        names = ("ev_correlation_score", "rsquared_score", "absolute_dev_explained_score")
        scores = {n: float(v) for n in names if (v := scored.number(n)) is not None}
        parts = []
        for s in scored.mappings("scored_sequence_simulations"):
            inner = s.take("sequence_simulation", "simulation")
            own = Reader(inner or {}, f"{s.where}, simulation")
            tokens, expected = series(own, "expected_activations")
            true = s.several(NUMBER, "true_activations")
            if len(true) != len(tokens):
                raise s.refuse(f"{len(tokens)} tokens and {len(true)} true activations")
            parts.append((tokens, expected, true))
        text = e.text("explanation", "explanation_or_baseline")
        found.append(Explained(text, "", scores, tuple(parts)))
    return FeatureRecord(
        source="neuron-explainer", explanations=tuple(found), rest=r.rest(), **whose
    )


def read_related(r: Reader) -> FeatureRecord:
    """Related neurons and tokens; their file's name says of which neuron they are, not they."""
    tokens, connected = {}, {}
    r.take("dataclass_name")
    for part in ("c_fc", "c_proj"):
        own = Reader(r.take(part) or {}, f"{r.where}, {part}")
        for sign in ("positive", "negative"):
            rows = strings_and_numbers(own, f"top_{sign}_neurons", f"top_{sign}_weights")
            if rows:
                connected[f"{part} {sign}"] = rows
    if averages := strings_and_numbers(r, "tokens", "average_activations"):
        tokens["average activation"] = averages
    for name in ("input_positive", "input_negative", "output_positive", "output_negative"):
        own = Reader(r.take(name) or {}, f"{r.where}, {name}")
        if rows := strings_and_numbers(own, "tokens", "strengths"):
            tokens[name.replace("_", " ")] = rows
    return FeatureRecord("neuron-explainer", tokens=tokens, connected=connected, rest=r.rest())


def read_atom(r: Reader) -> FeatureRecord:
    names = {"density": "density", "mean_act": "mean", "mean_act_squared": "mean_square",
             "skew": "skew", "kurtosis": "kurtosis"}  # fmt: skip
    statistics = {ours: float(v) for n, ours in names.items() if (v := r.number(n)) is not None}
    given = Reader(r.take("hist"), f"{r.where}, hist").rest()
    try:
        bins = sorted((int(float(k)), float(n)) for k, n in given.items())
    except (OverflowError, TypeError, ValueError) as error:
        raise r.refuse(f"hist has a bin that is no number ({error})") from error
    # bin i holds what rounds up to i; drawn by the viewer one bin further up
    histogram = tuple(((i - 1) * VIEWER_BIN, i * VIEWER_BIN, n) for i, n in bins)
    examples = []
    for group in ("top", "random"):
        for s in r.mappings(group):
            tokens, values = series(s, "acts")
            at = s.number("idx")
            if at is None or not 0 <= at < len(tokens):
                raise s.refuse(f"idx is {at}, of {len(tokens)} tokens")
            s.take("act")
            examples.append(
                Excerpt(
                    "firing" if group == "random" else group, tokens, values, int(at), rest=s.rest()
                )
            )
    largest = [max(e.values) for e in examples]
    return FeatureRecord(
        source="sae-viewer",
        statistics=statistics | ({"max": float(max(largest))} if largest else {}),
        histogram=histogram,
        examples=tuple(examples),
        rest=r.rest(),
    )
