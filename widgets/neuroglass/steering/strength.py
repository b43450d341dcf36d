"""Strength: how large a feature is, so that a slider means the same for every feature.

A store's row or a calibration pass over a few texts flows in; ``Scales`` come out: what one unit,
the maximum and the standard deviation of a feature are, and how long the vectors are that it is
added to.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import torch

from neuroglass.model.basis import Basis, Feature, Head
from neuroglass.model.errors import InputError
from neuroglass.model.sites import PER_HEAD, Site
from neuroglass.model.worker import Job, Priority

if TYPE_CHECKING:
    from neuroglass.model.live import LiveModel
    from neuroglass.model.run import Run

Unit: TypeAlias = Literal["raw", "max", "std", "norm"]
# unit -> what one of it is, for a menu
UNITS: dict[Unit, str] = {
    "raw": "the feature's own units",
    "max": "× its largest activation",
    "std": "× the standard deviation of its activation",
    "norm": "fraction of ‖h‖, the norm of the vector that is changed",
}


class Stored(Protocol):
    """What a store tells of a feature: a row with ``max``, ``mean`` and ``mean_square``."""

    @property
    def row(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Scales:
    """How large a feature is; None is not known yet.

    Attributes:
        direction: ‖s·d‖, how far one raw unit moves the write site's vector (s, the output scale of
            a dictionary that normalises its input, at its median).
        max: its largest activation.
        std: standard deviation of its activation over all tokens, zeros too.
        norm: median ‖h‖ at the write site.
        source: where the numbers are from, for people.
    """

    direction: float
    max: float | None = None
    std: float | None = None
    norm: float | None = None
    source: str = ""

    def one(self, unit: Unit) -> float | None:
        """How many raw units one `unit` is; None where that is not known (``norm``: typically)."""
        if unit == "raw":
            return 1.0
        if unit == "norm":
            if self.norm is None or self.direction == 0:
                return None
            return self.norm / self.direction
        return self.max if unit == "max" else self.std

    def convert(self, value: float, unit: Unit) -> dict[Unit, float | None]:
        """A strength in all units; None where a unit is not known (or is zero: a dead feature)."""
        one = self.one(unit)
        raw = None if one is None else value * one
        out: dict[Unit, float | None] = {}
        for other in UNITS:
            size = self.one(other)
            out[other] = None if raw is None or not size else raw / size
        out[unit] = value
        return out


def scales(feature: Feature, stored: Stored | None = None, *, source: str = "store") -> Scales:
    """What is known of a feature without running the model: its direction, and what a store says.

    Args:
        feature: the handle.
        stored: a store's feature, ``store[123]``.
        source: what to call the store.
    """
    known = Scales(float(feature.direction.float().norm()))
    if stored is None:
        return known
    row = stored.row
    variance = float(row["mean_square"]) - float(row["mean"]) ** 2
    return replace(known, max=float(row["max"]), std=max(variance, 0.0) ** 0.5, source=source)


@dataclass(frozen=True)
class Calibration:
    """What a pass over some texts has measured.

    Attributes:
        scales: feature id -> scales.
        tokens: how many tokens were measured: special ones and massive activations left out.
        texts: how many texts.
    """

    scales: Mapping[str, Scales] = field(repr=False)
    tokens: int
    texts: int

    def __getitem__(self, feature: Feature | str) -> Scales:
        key = feature if isinstance(feature, str) else feature.id
        if key not in self.scales:
            raise InputError(f"{key} was not calibrated.", "Name it in ng.calibrate(...).")
        return self.scales[key]


def calibrate(
    model: LiveModel,
    features: Sequence[Feature],
    texts: Sequence[str] | Sequence[Sequence[int]],
    *,
    progress: Callable[[int, int], None] | None = None,
    priority: Priority = Priority.GENERATION,
) -> Calibration:
    """Measure features on texts: their max, standard deviation, and ‖h‖ where they write.

    Args:
        model: the live model.
        features: latents, neurons, directions.
        texts: texts of any length, cut into windows of the model's context, or rows of ids.
        progress: called with (windows done, windows) on the model's thread.

    Raises:
        InputError: no feature or no text; a feature of another model; a text that can't be run.
        Cancelled: the model was closed.
    """
    done: Calibration = model.work(
        lambda job: calibration(model, features, texts, job, progress), priority=priority
    ).result()
    return done


def calibration(
    model: LiveModel,
    features: Sequence[Feature],
    texts: Sequence[str] | Sequence[Sequence[int]],
    job: Job[Any],
    progress: Callable[[int, int], None] | None = None,
) -> Generator[None, None, Calibration]:
    """``calibrate`` as steps of a job on the model's thread: one window each."""
    if not features or not len(texts) or isinstance(texts, str):
        raise InputError("There is nothing to calibrate.", "Give features, and a list of texts.")
    for feature in features:
        if not isinstance(feature, Feature):
            raise InputError(f"{feature!r} is no feature: it has no activation to measure.")
        model.owns(feature.model, repr(feature))
    groups: dict[int, list[Feature]] = {}
    for feature in features:
        groups.setdefault(id(feature.basis), []).append(feature)
    sites = {s for f in features for s in (f.read_site, f.write_site)}
    values: dict[int, list[torch.Tensor]] = {key: [] for key in groups}
    sizes: dict[int, list[torch.Tensor]] = {key: [] for key in groups}
    factors: dict[int, list[torch.Tensor]] = {key: [] for key in groups}
    tokens = 0
    windows = [w for text in texts for w in _windows(model, text)]
    for done, window in enumerate(windows):
        run = yield from model.steps([window], list(sites), job, logits=False)
        keep = run.mask & ~run.masks["special"] & ~run.masks["massive"]
        tokens += int(keep.sum())
        for key, group in groups.items():
            basis = group[0].basis
            x = _vectors(run, basis.read_site)[keep]
            chosen = [f.index for f in group]
            values[key].append(basis.activations(x, chosen).float().cpu())
            factors[key].append(basis.scale(x).float().cpu())
            sizes[key].append(_vectors(run, basis.write_site)[keep].float().norm(dim=-1).cpu())
        if progress is not None:
            progress(done + 1, len(windows))
    if not tokens:
        raise InputError("The texts have no ordinary token to measure.", "Give longer texts.")
    source = f"{len(texts)} text{'s' * (len(texts) > 1)}, {tokens:,} tokens"
    found = {}
    for key, group in groups.items():
        x = torch.cat(values[key])
        norm = float(torch.cat(sizes[key]).median())
        factor = float(torch.cat(factors[key]).abs().median())
        for i, feature in enumerate(group):
            found[feature.id] = Scales(
                direction=factor * float(feature.direction.float().norm()),
                max=float(x[:, i].max()),
                std=float(x[:, i].std(correction=0)),
                norm=norm,
                source=source,
            )
    return Calibration(found, tokens, len(texts))


def _windows(model: LiveModel, text: str | Sequence[int]) -> list[list[int]]:
    if isinstance(text, str):
        return model.prompts.windows(text, model.context)
    return [list(text)]


def _vectors(run: Run, site: Site) -> torch.Tensor:
    """[batch, tokens, width], heads side by side."""
    x = run[site]
    return x.flatten(2) if site.name in PER_HEAD else x


Steerable: TypeAlias = Feature | Head


def id_of(feature: Steerable) -> str:
    """``model/site/basis/index``; of a head ``model/head_out.layer/heads/index``."""
    if isinstance(feature, Head):
        return f"{feature.model.name}/{feature.site}/heads/{feature.index}"
    return feature.id


def find(text: str, model: LiveModel, bases: Sequence[Basis] = ()) -> Steerable:
    """The feature or head with an id: of the model, or of one of `bases`.

    Raises:
        InputError: it is no id, or of another model, or its basis is not among them.
    """
    parts = text.rsplit("/", 3)  # a model's name may have a "/" in it
    if len(parts) == 4 and parts[0] == model.name and parts[3].isdecimal():
        _, where, what, index = parts
        if what == "heads" and where.startswith("head_out."):
            return model.head(model.site(where).layer or 0, int(index))
        for basis in bases:
            if basis.name == what and str(basis.read_site) == where:
                if int(index) >= basis.n_features:
                    raise InputError(
                        f"{what} has no feature {index}.", f"They go to {basis.n_features - 1}."
                    )
                return Feature(basis, int(index))
        if bases and what not in {"neurons", "heads"}:
            here = ", ".join(sorted({b.name for b in bases}))
            raise InputError(
                f"There is no basis {what!r} at {where} here.",
                f"Here are {here}; more come with bases=[...].",
            )
    return model.feature(text)
