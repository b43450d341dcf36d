"""Neuronpedia's feature JSON, of its API and of SAEDashboard's ``batch-N.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroglass.features.exchange.reading import NUMBER, Reader, series
from neuroglass.features.exchange.records import Excerpt, Explained, FeatureRecord, Triples
from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store

BATCH = 128  # features in one file, as SAEDashboard writes them
# our lists as Neuronpedia's, one for each column
_COLUMNS = {
    "promoted": ("pos_str", "pos_values"),
    "suppressed": ("neg_str", "neg_values"),
    "alignment": ("neuron_alignment_indices", "neuron_alignment_values", "neuron_alignment_l1"),
    "neurons": (
        "correlated_neurons_indices",
        "correlated_neurons_pearson",
        "correlated_neurons_l1",
    ),
    "related": (
        "correlated_features_indices",
        "correlated_features_pearson",
        "correlated_features_l1",
    ),
}
_TOP = -1.0  # Neuronpedia's lower bound and share of the group that is no interval


def feature_json(record: FeatureRecord, *, batch: bool) -> dict[str, Any]:
    """See ``FeatureRecord.to_neuronpedia``."""
    found = dict(record.rest) if record.source == "neuronpedia" else {}
    for ours, names in _COLUMNS.items():
        if rows := getattr(record, ours):
            columns = zip(*rows, strict=True)
            found |= {n: list(c) for n, c in zip(names, columns, strict=True)}
    if record.vector:
        found["vector"] = list(record.vector)
    for ours, name in (("histogram", "freq"), ("logits", "logits")):
        if bins := getattr(record, ours):
            found[f"{name}_hist_data_bar_values"] = [(a + b) / 2 for a, b, _ in bins]
            found[f"{name}_hist_data_bar_heights"] = [n for *_, n in bins]
    if "density" in record.statistics:
        found["frac_nonzero"] = record.statistics["density"]
    found["activations"] = [_activation(e, batch=batch) for e in record.examples]
    if batch:
        return {"feature_index": record.index, **found}
    if "max" in record.statistics:
        found["maxActApprox"] = record.statistics["max"]
    found["explanations"] = [
        {
            "description": e.text,
            "explanationModelName": e.by,
            "scores": [{"value": v, "explanationScoreTypeName": k} for k, v in e.scores.items()],
        }
        for e in record.explanations
    ]
    return {"modelId": record.model, "layer": record.layer, "index": str(record.index), **found}


def _activation(e: Excerpt, *, batch: bool) -> dict[str, Any]:
    low, high, contains = (0.0 if v is None else v for v in (e.low, e.high, e.contains))
    if e.group == "top":
        low, contains = _TOP, _TOP
    found = dict(e.rest) | {"tokens": list(e.tokens), "values": list(e.values)}
    if batch:
        bounds = {"bin_min": low, "bin_max": high, "bin_contains": contains}
        return found | bounds | {"qualifying_token_index": e.at}
    best = int(np.argmax(e.values))
    return found | {
        "maxValue": e.values[best],
        "maxValueTokenIndex": best,
        "minValue": min(e.values),
        "binMin": low,
        "binMax": high,
        "binContains": contains,
        "qualifyingTokenIndex": e.at,
    }


# ---------------------------------------------------------------------- a store's own


def record_of(store: Store, index: int) -> FeatureRecord:
    """A feature of a store as a record; with a model attached, also its alignment and vector."""
    feature = store[index]
    row = feature.row
    names = ("density", "max", "mean", "mean_square", "skew", "kurtosis")
    statistics = {n: float(row[n]) for n in names if math.isfinite(row[n])}
    bins = [
        (float(a), float(b), float(n))
        for a, b, n in store.histogram(index).itertuples(index=False)
        if math.isfinite(a)
    ]
    while bins and not bins[-1][2]:
        bins.pop()
    examples = store.examples(index, None)
    found = FeatureRecord(
        source="neuroglass",
        model=str(store.meta["model"]),
        layer=feature.id.split("/", 1)[1].rpartition("/")[0],
        index=index,
        statistics=statistics | {"tokens": float(store.n_tokens)},
        histogram=tuple(bins),
        examples=tuple(
            _excerpt(e, statistics, int(store.meta["keep"]["intervals"]), bins, store.n_tokens)
            for e in examples.to_dict("records")
        ),
        promoted=tuple(feature.promoted()) if "promoted" in row else (),
        suppressed=tuple(feature.promoted(lowest=True)) if "promoted" in row else (),
        neurons=_rows(store.neurons(index), "neuron", "pearson", "cosine")
        if store.has("neurons")
        else (),
    )
    if not store.has_basis:
        return found
    return found.merged(
        FeatureRecord(
            source="neuroglass",
            alignment=_rows(feature.alignment(), "coordinate", "value", "share"),
            vector=tuple(feature.feature.direction.float().tolist()),
        )
    )


def _rows(frame: pd.DataFrame, *names: str) -> Triples:
    return tuple(
        (int(i), float(a), float(b)) for i, a, b in frame[list(names)].itertuples(index=False)
    )


def _excerpt(
    e: Mapping[Any, Any],
    statistics: Mapping[str, float],
    intervals: int,
    bins: Sequence[tuple[float, float, float]],
    n_tokens: int,
) -> Excerpt:
    group, largest = e["group"], statistics["max"]
    low, high, contains = None, None, None
    if group == "top":
        high = largest
    elif group == "firing":
        low, high, contains = 0.0, largest, statistics["density"]
    elif group.startswith("interval "):
        i = int(group.split()[1])
        low, high = largest * i / intervals, largest * (i + 1) / intervals
        contains = within(bins, low, high) / n_tokens
    values = tuple(map(float, e["values"]))
    return Excerpt(group, tuple(e["tokens"]), values, e["at"], low, high, contains)


def within(bins: Sequence[tuple[float, float, float]], low: float, high: float) -> float:
    """Tokens between two values; of a bin that is cut, its part."""
    return sum(n * max(0.0, min(b, high) - max(a, low)) / (b - a) for a, b, n in bins)


def write_neuronpedia(
    store: Store, folder: str | Path, features: Iterable[int | str] | None = None
) -> list[Path]:
    """See ``Store.to_neuronpedia``."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if there := sorted(folder.glob("batch-*.json")):
        raise InputError(f"{str(folder)!r} has {there[0].name} already.", "Choose a new folder.")
    chosen = range(len(store)) if features is None else [store.index(f) for f in features]
    about = {"n_prompts_total": store.corpus.n_windows, "n_tokens_in_prompt": store.corpus.context}
    written = []
    for number, a in enumerate(range(0, len(chosen), BATCH)):
        records = [record_of(store, i) for i in chosen[a : a + BATCH]]
        content = {
            "model_id": store.meta["model"],
            "layer": _layer(store),
            "sae_set": store.name,
            "features": [r.to_neuronpedia(batch=True) | about for r in records],
        }
        file = folder / f"batch-{number}.json"
        part = file.with_suffix(".part")
        part.write_text(json.dumps(content, allow_nan=False), "utf-8")
        part.rename(file)
        written.append(file)
    return written


def _layer(store: Store) -> int | str:
    tail = str(store.meta["basis"]["read_site"]).rpartition(".")[2]
    return int(tail) if tail.isdecimal() else tail


# ---------------------------------------------------------------------- reading


def _bins(r: Reader, name: str) -> tuple[tuple[float, float, float], ...]:
    """Bins from their middles."""
    rows = r.columns(
        f"{name}_hist_data_bar_values", f"{name}_hist_data_bar_heights", kinds=(NUMBER, NUMBER)
    )
    half = (rows[1][0] - rows[0][0]) / 2 if len(rows) > 1 else (abs(rows[0][0]) if rows else 0)
    return tuple((x - half, x + half, n) for x, n in rows)


def read_feature_json(r: Reader, about: Mapping[str, Any]) -> FeatureRecord:
    """A feature; `about`: ``model_id``, ``layer`` and ``sae_set`` of its batch."""
    index = r.text("feature_index", "index")
    if not index.isdecimal():
        raise r.refuse(f"{index!r} is no feature's number")
    numbers = (("density", "frac_nonzero"), ("max", "maxActApprox"))
    statistics = {ours: float(v) for ours, n in numbers if (v := r.number(n)) is not None}
    kinds = {True: (str, NUMBER), False: (int, NUMBER, NUMBER)}
    lists: dict[str, Any] = {
        ours: r.columns(*names, kinds=kinds[len(names) == 2]) for ours, names in _COLUMNS.items()
    }
    source = [str(about[k]) for k in ("layer", "sae_set") if k in about]
    examples = _excerpts(r.mappings("activations"))
    if examples:
        statistics.setdefault("max", max(float(max(e.values)) for e in examples))
    return FeatureRecord(
        source="neuronpedia",
        model=r.text("modelId") or str(about.get("model_id", "")),
        layer=r.text("layer") or "-".join(source),
        index=int(index),
        statistics=statistics,
        histogram=_bins(r, "freq"),
        logits=_bins(r, "logits"),
        examples=examples,
        explanations=tuple(_explained(e) for e in r.mappings("explanations")),
        vector=r.several(NUMBER, "vector"),
        **lists,
        rest=r.rest(),  # last: it is what the others left
    )


def _explained(r: Reader) -> Explained:
    scores = {
        s.text("explanationScoreTypeName") or "score": v
        for s in r.mappings("scores")
        if (v := s.number("value")) is not None
    }
    return Explained(r.text("description"), r.text("explanationModelName", "typeName"), scores)


def _excerpts(activations: list[Reader]) -> tuple[Excerpt, ...]:
    """Neuronpedia's activations; its intervals become ours, numbered from below."""
    read = []
    for r in activations:
        tokens, values = series(r, "values")
        low = r.number("binMin", "bin_min")
        high = r.number("binMax", "bin_max")
        share = r.number("binContains", "bin_contains")
        chosen = r.number("qualifyingTokenIndex", "qualifying_token_index")
        best = r.number("maxValueTokenIndex")
        for derived in ("maxValue", "minValue"):
            r.take(derived)
        # SAEDashboard's place may be one too low, and then before the first token
        places = (int(i) for i in (chosen, best) if i is not None and 0 <= i < len(tokens))
        at = next(places, int(np.argmax(values)))
        read.append((Excerpt("", tokens, values, at, rest=r.rest()), low, high, share))
    largest = max((max(e.values) for e, *_ in read), default=0.0)
    whole = largest * (1 - 1e-6)  # an interval from 0 to here holds all that is on
    bounds: set[Any] = {(a, b) for _, a, b, share in read if _is_interval(a, b, share)}
    intervals = sorted(i for i in bounds if not (i[0] == 0 and i[1] >= whole))
    found = []
    for e, low, high, share in read:
        if not _is_interval(low, high, share):
            random = low == high == 0
            found.append(replace(e, group="random" if random else "top", high=high or None))
            continue
        i = (low, high)
        group = f"interval {intervals.index(i)}" if i in intervals else "firing"
        found.append(replace(e, group=group, low=low, high=high, contains=share))
    return tuple(found)


def _is_interval(low: Any, high: Any, share: Any) -> bool:
    return low is not None and high is not None and 0 <= low < high and bool(share != _TOP)
