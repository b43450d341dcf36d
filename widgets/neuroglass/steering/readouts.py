"""Readouts: what an edit does, measured while the model writes or on what it has written.

Meters sit among the edits of a pass and only look; the functions below them are the formulas of
what a session, a dose–response and their tests all show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from neuroglass.model.basis import Basis, Feature
from neuroglass.model.edits import BoundEdit
from neuroglass.model.positions import At
from neuroglass.model.sites import PER_HEAD, Site


def _flat(site: Site, x: torch.Tensor) -> torch.Tensor:
    return x.flatten(2) if site.name in PER_HEAD else x


class Meter:
    """An edit's step that only looks: what it writes is what it reads."""

    @property
    def reads(self) -> Site:
        """Where it looks."""
        raise NotImplementedError

    @property
    def writes(self) -> Site:
        return self.reads

    def read(self, x: torch.Tensor) -> torch.Tensor:
        return x


@dataclass(eq=False)
class Activations(Meter):
    """A meter: features of one basis at the last token of every row.

    Attributes:
        latest: float32 [rows, features], of the last pass; None before the first.
    """

    basis: Basis
    features: Sequence[int]
    latest: torch.Tensor | None = field(default=None, init=False)

    @property
    def reads(self) -> Site:
        return self.basis.read_site

    def write(self, x: torch.Tensor, values: torch.Tensor, at: At) -> torch.Tensor:
        last = _flat(self.reads, x)[:, -1]
        self.latest = self.basis.activations(last, self.features).float().cpu()
        return x


@dataclass(eq=False)
class Before(Meter):
    """A meter: remembers a site as it is before the edits that follow in the list."""

    site: Site
    x: torch.Tensor | None = field(default=None, init=False)

    @property
    def reads(self) -> Site:
        return self.site

    def write(self, x: torch.Tensor, values: torch.Tensor, at: At) -> torch.Tensor:
        self.x = x
        return x


@dataclass(eq=False)
class After(Meter):
    """A meter: ‖Δ‖/‖h‖ between a ``Before`` and here, at the last token of every row.

    Attributes:
        latest: float32 [rows], of the last pass; NaN where h is zero.
    """

    before: Before
    latest: torch.Tensor | None = field(default=None, init=False)

    @property
    def reads(self) -> Site:
        return self.before.site

    def write(self, x: torch.Tensor, values: torch.Tensor, at: At) -> torch.Tensor:
        old, self.before.x = self.before.x, None
        assert old is not None
        h = _flat(self.reads, old)[:, -1].float()
        change = _flat(self.reads, x)[:, -1].float() - h
        self.latest = (change.norm(dim=-1) / h.norm(dim=-1)).cpu()
        return x


@dataclass(eq=False)
class Meters:
    """Meters around a list of bound edits.

    Args:
        edits: what is measured.
        features: whose activations are read, each as it is before `edits`.
    """

    edits: Sequence[BoundEdit]
    features: Sequence[Feature]

    def __post_init__(self) -> None:
        groups: dict[int, list[Feature]] = {}
        for feature in self.features:
            groups.setdefault(id(feature.basis), []).append(feature)
        self._readers = [
            (group, Activations(group[0].basis, [f.index for f in group]))
            for group in groups.values()
        ]
        # a pattern and logits are no vectors that go on through the layers
        sites = dict.fromkeys(e.writes for e in self.edits)
        self._pairs = [
            (b, After(b)) for b in (Before(s) for s in sites if s.name not in {"pattern", "logits"})
        ]

    @property
    def bound(self) -> list[BoundEdit]:
        """Meters and edits, in order."""
        return [
            *(reader for _, reader in self._readers),
            *(before for before, _ in self._pairs),
            *self.edits,
            *(after for _, after in self._pairs),
        ]

    def activations(self) -> dict[str, torch.Tensor]:
        """Feature id -> its value at the last token of each row, float32 [rows]."""
        return {
            f.id: reader.latest[:, i]
            for group, reader in self._readers
            if reader.latest is not None
            for i, f in enumerate(group)
        }

    def shares(self) -> dict[str, torch.Tensor]:
        """Site -> ‖Δ‖/‖h‖ at the last token of each row, float32 [rows]."""
        return {
            str(after.reads): after.latest for _, after in self._pairs if after.latest is not None
        }


# -- formulas ------------------------------------------------------------------------------------


def kl(log_p: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    """KL(p‖q) in nats, over the last dimension. A token of probability 0 under p adds nothing."""
    p = log_p.exp()
    terms = p * (log_p - log_q)
    return terms.masked_fill(p == 0, 0.0).sum(-1).clamp_min(0.0)


def ranks(log_p: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Rank of each row's token, 1 the likeliest: [rows, vocabulary], int64 [rows] -> int64."""
    return (log_p > log_p.gather(1, tokens[:, None])).sum(1) + 1


def distinct(ids: Sequence[int], n: int) -> float:
    """Share of different n-grams among all of a text; NaN if it has none.

    distinct-n of Li et al. 2016 (arXiv:1510.03055); repetition is its complement.
    """
    grams = [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]
    return len(set(grams)) / len(grams) if grams else math.nan


def first_divergence(one: Sequence[int], other: Sequence[int]) -> int | None:
    """Index of the first token in which two texts differ; None if they are equal."""
    for i, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return i
    return None if len(one) == len(other) else min(len(one), len(other))


def perplexity(logprobs: torch.Tensor) -> float:
    """Exp of the mean surprisal, NaNs left out; NaN if nothing is left."""
    kept = logprobs[~logprobs.isnan()]
    return float((-kept.mean()).exp()) if len(kept) else math.nan


def norm_at(site: Site, x: torch.Tensor, mask: torch.Tensor) -> float:
    """Median ‖h‖ over the tokens of a mask: x [batch, tokens, ...], bool [batch, tokens]."""
    return float(_flat(site, x)[mask].float().norm(dim=-1).median())
