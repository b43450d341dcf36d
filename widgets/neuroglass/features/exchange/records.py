"""What somebody wrote of a feature, in one form for all: see ``FeatureRecord``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Pairs = tuple[tuple[str, float], ...]
Triples = tuple[tuple[int, float, float], ...]


@dataclass(frozen=True)
class Excerpt:
    """A stretch of text with a feature's values.

    Attributes:
        group: "top", "random", "firing", "interval 0" …, "quantile 0" ….
        tokens, values: alike in number.
        at: the place of the token it was chosen for.
        low, high, contains: of intervals: their bounds, and the share of tokens within.
        rest: what else the file has of it (source of attention, ablation effects, ids …).
    """

    group: str
    tokens: tuple[str, ...]
    values: tuple[float, ...]
    at: int
    low: float | None = None
    high: float | None = None
    contains: float | None = None
    rest: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Explained:
    """An explanation, what it scored, and the simulations that the score rests on.

    Attributes:
        text: the explanation.
        by: the model or method that wrote it.
        scores: by name.
        simulations: (tokens, expected values, true values), alike in number.
    """

    text: str
    by: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    simulations: tuple[tuple[tuple[str, ...], tuple[float, ...], tuple[float, ...]], ...] = ()


@dataclass(frozen=True)
class FeatureRecord:
    """A feature as somebody described it; any part may be missing.

    Attributes:
        source: "neuronpedia", "neuron-explainer", "sae-viewer" or "neuroglass".
        model, layer, index: whose; ``layer`` is the name of its layer or dictionary.
        statistics: density, max, mean, mean_square, variance, skew, kurtosis, tokens: what is known
            of them. Skew and kurtosis are about zero, but about the mean in neuron records.
        histogram: (from, to, tokens) of values that are not zero.
        logits: (from, to, tokens of the vocabulary) of its effects on the logits.
        promoted, suppressed: tokens and logits.
        alignment: (neuron, coordinate, share of ‖direction‖₁).
        neurons, related: neurons and features that go with it: (index, Pearson, cosine).
        tokens: lists of tokens with numbers, by name (as "average activation").
        connected: lists of other neurons with weights, by name.
        examples: excerpts.
        explanations: with scores.
        vector: its direction.
        rest: all else.
    """

    source: str
    model: str = ""
    layer: str = ""
    index: int = 0
    statistics: Mapping[str, float] = field(default_factory=dict)
    histogram: tuple[tuple[float, float, float], ...] = ()
    logits: tuple[tuple[float, float, float], ...] = ()
    promoted: Pairs = ()
    suppressed: Pairs = ()
    alignment: Triples = ()
    neurons: Triples = ()
    related: Triples = ()
    tokens: Mapping[str, Pairs] = field(default_factory=dict)
    connected: Mapping[str, Pairs] = field(default_factory=dict)
    examples: tuple[Excerpt, ...] = ()
    explanations: tuple[Explained, ...] = ()
    vector: tuple[float, ...] = ()
    rest: Mapping[str, Any] = field(default_factory=dict)

    def frame(self) -> pd.DataFrame:
        """The examples as ``Store.examples`` has them: group, rank, value, token, at, tokens, …"""
        import pandas as pd

        seen: dict[str, int] = {}
        rows = []
        for e in self.examples:
            rank = seen[e.group] = seen.get(e.group, -1) + 1
            rows.append(
                {
                    "group": e.group,
                    "rank": rank,
                    "value": e.values[e.at],
                    "token": e.tokens[e.at],
                    "at": e.at,
                    "tokens": list(e.tokens),
                    "values": np.array(e.values, np.float32),
                }
            )
        names = ["group", "rank", "value", "token", "at", "tokens", "values"]
        return pd.DataFrame(rows, columns=names)

    def merged(self, other: FeatureRecord) -> FeatureRecord:
        """Both: what this one has, and of the other what this one lacks; lists are joined.

        Raises:
            InputError: they are of different features.
        """
        for name in ("layer", "index"):
            a, b = getattr(self, name), getattr(other, name)
            if self.layer and other.layer and a != b:
                raise InputError(f"These are different features: {name} {a!r} and {b!r}.")
        found: dict[str, Any] = {}
        for f in fields(self):
            a, b = getattr(self, f.name), getattr(other, f.name)
            if isinstance(a, Mapping):
                found[f.name] = {**b, **a}
            elif f.name in {"examples", "explanations"}:
                found[f.name] = (*a, *b)
            elif f.name == "index":
                found[f.name] = self.index if self.layer else other.index
            else:
                found[f.name] = a or b
        return FeatureRecord(**found)

    def to_neuronpedia(self, *, batch: bool = False) -> dict[str, Any]:
        """As Neuronpedia has it; what this record does not have is left out.

        Args:
            batch: as one of the features of SAEDashboard's ``batch-N.json`` (which Neuronpedia
                takes in) instead of Neuronpedia's own API.

        Returns:
            What ``json.dumps`` takes. ``*_l1`` of correlations hold cosines: so does all that
            reads them.
        """
        from neuroglass.features.exchange.neuronpedia import feature_json

        return feature_json(self, batch=batch)
