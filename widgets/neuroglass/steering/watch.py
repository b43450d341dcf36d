"""Watch: notes every token at which features fire, in whatever the model does meanwhile.

A watch is an edit: give it to a generation, a run or a ``model.edit`` block. Firings come out as
rows; it can also end the text there, or clamp the feature. In a session's batch the rows are those
of ``session``: base, steered, reader (and one to spare). (Monitoring of this kind is what Gao et
al. 2024, *Scaling and evaluating sparse autoencoders*, hope for.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch

from neuroglass.model.basis import Basis, Feature
from neuroglass.model.edits import BoundEdit, Clamp
from neuroglass.model.errors import InputError, nearest
from neuroglass.model.positions import At, Extent, Positions, Spans, spans
from neuroglass.model.sites import PER_HEAD, Site
from neuroglass.steering.strength import UNITS, Scales, Unit, scales

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.model.generate import Generation
    from neuroglass.model.live import LiveModel
    from neuroglass.model.prompts import Prompt

Action: TypeAlias = Literal["mark", "stop", "clamp"]
_ACTIONS = ("mark", "stop", "clamp")


@dataclass(frozen=True)
class Firing:
    """A feature above its threshold.

    Attributes:
        text: which run or generation, numbered in the order in which they began.
        row, position: where; positions count from the row's first token.
        token: its id.
        feature: the feature's id.
        value, threshold: in the feature's own units; the value is what was there before a clamp.
        action: what was done.
    """

    text: int
    row: int
    position: int
    token: int
    feature: str
    value: float
    threshold: float
    action: Action = "mark"


@dataclass(eq=False)
class Watch:
    """Features and thresholds; ``firings`` fills while the model runs.

    Args:
        model: the live model.
        features: what is watched.
        thresholds: a number for all, or one per feature: it fires where it is larger than this.
        unit: of the thresholds: ``raw``, ``max`` or ``std``.
        scales: feature id -> scales, for units.
        action: ``"mark"``; ``"stop"`` ends the row after the token that fired; ``"clamp"`` sets
            the feature to `value` where it fires.
        value: for ``"clamp"``, in the feature's own units.
        positions: as in ``ng.Add``: where it looks.
        skip_special: leave special tokens out.
        listen: called with every firing, on the model's thread; must be quick.

    Raises:
        InputError: no feature, another model's, a threshold that is no number, an unknown action.
    """

    model: LiveModel = field(repr=False)
    features: Sequence[Feature]
    thresholds: float | Sequence[float] = 0.0
    unit: Unit = field(default="raw", kw_only=True)
    scales: Mapping[str, Scales] = field(default_factory=dict, kw_only=True, repr=False)
    action: Action = field(default="mark", kw_only=True)
    value: float = field(default=0.0, kw_only=True)
    positions: Positions = field(default="all", kw_only=True)
    skip_special: bool = field(default=True, kw_only=True)
    listen: Callable[[Firing], None] | None = field(default=None, kw_only=True, repr=False)
    firings: list[Firing] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.action not in _ACTIONS:
            raise InputError(f"There is no action {self.action!r}.", nearest(self.action, _ACTIONS))
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise InputError(f"The value of a clamp is {self.value!r}.", "Give a number.")
        if not math.isfinite(self.value):
            raise InputError(f"The value of a clamp is {self.value}.", "Give a finite number.")
        self.features = list(self.features)
        if not self.features or not all(isinstance(f, Feature) for f in self.features):
            raise InputError("A watch needs features.", "Such as [sae[123], model.neuron(5, 77)].")
        for feature in self.features:
            self.model.owns(feature.model, repr(feature))
        given = self.thresholds
        limits = [given] * len(self.features) if isinstance(given, int | float) else list(given)
        if len(limits) != len(self.features):
            raise InputError(
                f"There are {len(limits)} thresholds for {len(self.features)} features.",
                "Give one number for all, or one per feature.",
            )
        self.limits = [self._limit(f, x) for f, x in zip(self.features, limits, strict=True)]
        self._texts = itertools.count()

    def _limit(self, feature: Feature, given: float) -> float:
        if isinstance(given, bool) or not isinstance(given, int | float):
            raise InputError(f"The threshold of {feature.id} is {given!r}.", "Give a number.")
        if not math.isfinite(given):
            raise InputError(f"The threshold of {feature.id} is {given!r}.", "Give a number.")
        if self.unit not in {"raw", "max", "std"}:
            raise InputError(f"A threshold has no unit {self.unit!r}.", "Use raw, max or std.")
        one = self.scales.get(feature.id, scales(feature)).one(self.unit)
        if one is None:
            raise InputError(
                f"{UNITS[self.unit][2:]} of {feature.id} is not known yet.",
                "Take it from a store, or measure it: ng.calibrate(model, [feature], texts).",
            )
        return float(given) * one

    def bind(self, model: LiveModel, extent: Extent) -> Sequence[BoundEdit]:
        """See ``Edit``: called for every run and generation that is watched."""
        model.owns(self.model, "The watch")
        text = next(self._texts)
        where = spans(
            self.positions, extent, special=model.special_tokens if self.skip_special else None
        )
        groups: dict[int, list[tuple[Feature, float]]] = {}
        for feature, limit in zip(self.features, self.limits, strict=True):
            groups.setdefault(id(feature.basis), []).append((feature, limit))
        rows = len(extent.limit)
        steps: list[BoundEdit] = [
            _Watching(self, text, group[0][0].basis, group, where, rows)
            for group in groups.values()
        ]
        if self.action == "clamp":
            for feature, limit in zip(self.features, self.limits, strict=True):
                clamp = Clamp(
                    feature,
                    self.value,
                    above=limit,
                    positions=self.positions,
                    skip_special=self.skip_special,
                )
                steps += clamp.bind(model, extent)
        return steps

    def generate(self, prompt: Prompt, **options: Any) -> Generation:
        """``model.generate`` with this watch as its last edit."""
        edits = [*options.pop("edits", ()), self]
        return self.model.generate(prompt, edits=edits, **options)

    def follow(self, other: Watch) -> Watch:
        """Take over the firings and the numbering of a watch that this one takes the place of."""
        self.firings, self._texts = other.firings, other._texts
        return self

    def clear(self) -> None:
        """Forget the firings so far."""
        self.firings.clear()

    def to_frame(self) -> pd.DataFrame:
        """Firings as rows: text, row, position, token, id, feature, value, threshold, action."""
        import pandas as pd

        rows = list(self.firings)
        return pd.DataFrame(
            {
                "text": [f.text for f in rows],
                "row": [f.row for f in rows],
                "position": [f.position for f in rows],
                "token": self.model.pieces.many([f.token for f in rows])[0],
                "id": [f.token for f in rows],
                "feature": [f.feature for f in rows],
                "value": [f.value for f in rows],
                "threshold": [f.threshold for f in rows],
                "action": [f.action for f in rows],
            }
        )

    def _fire(self, firing: Firing) -> None:
        self.firings.append(firing)
        if self.listen is not None:
            self.listen(firing)


@dataclass(eq=False)
class _Watching:
    """A watch in one run or generation, for the features of one basis."""

    watch: Watch
    text: int
    basis: Basis
    watched: list[tuple[Feature, float]]
    where: Spans
    rows: int

    def __post_init__(self) -> None:
        self._fired = torch.zeros(self.rows, dtype=torch.bool)

    @property
    def halted(self) -> torch.Tensor:
        """See ``Halting``: rows that a firing has ended."""
        return self._fired & (self.watch.action == "stop")

    @property
    def reads(self) -> Site:
        return self.basis.read_site

    writes = reads

    def read(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(2) if self.reads.name in PER_HEAD else x
        return self.basis.activations(x, [f.index for f, _ in self.watched])

    def write(self, x: torch.Tensor, values: torch.Tensor, at: At) -> torch.Tensor:
        positions = at.last(values.shape[1])
        limits = values.new_tensor([limit for _, limit in self.watched])
        on = (values > limits) & (positions >= 0)[..., None]
        mask = self.where.mask(positions, at.prompt, at.ids)
        if mask is not None:
            on = on & mask[..., None]
        for row, column, which in on.nonzero().tolist():
            feature, limit = self.watched[which]
            self._fired[row] = True
            self.watch._fire(
                Firing(
                    self.text,
                    row,
                    int(positions[row, column]),
                    -1 if at.ids is None else int(at.ids[row, column]),
                    feature.id,
                    float(values[row, column, which]),
                    limit,
                    self.watch.action,
                )
            )
        return x
