"""Bases and features: what turns a site's vectors into numbers that have a meaning.

A basis reads one site, gives each token one number per feature, and knows the direction in which a
feature writes. Neurons are the simplest one; sparse dictionaries are others. A ``Feature`` is one
index of a basis: the handle that every view and function takes, whatever the basis is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch

from neuroglass.model.errors import InputError
from neuroglass.model.families import matrix
from neuroglass.model.sites import Site

if TYPE_CHECKING:
    from neuroglass.model.live import LiveModel


class Basis(Protocol):
    """What a basis must offer.

    Attributes:
        model: the live model whose sites it reads.
        name: short name, part of its features' ids; no slash in it.
        read_site, write_site: they differ for a transcoder.
        n_features: how many features it has.
    """

    @property
    def model(self) -> LiveModel: ...
    @property
    def name(self) -> str: ...
    @property
    def read_site(self) -> Site: ...
    @property
    def write_site(self) -> Site: ...
    @property
    def n_features(self) -> int: ...
    @property
    def fingerprint(self) -> str:
        """Equal for bases that, on the same model, give the same values."""

    def activations(self, x: torch.Tensor, features: Sequence[int]) -> torch.Tensor:
        """Values of some features: [..., width of the read site] -> [..., features]."""

    def direction(self, feature: int) -> torch.Tensor:
        """What one unit of a feature writes, before `scale`: [width of the write site]."""

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        """What `direction` is multiplied by at each token: [..., width of the read site] -> [...].

        One everywhere, except for dictionaries that normalise their input.
        """


@dataclass(frozen=True)
class Feature:
    """One index of a basis: one number per token."""

    basis: Basis = field(repr=False)
    index: int

    @property
    def model(self) -> LiveModel:
        return self.basis.model

    @property
    def read_site(self) -> Site:
        return self.basis.read_site

    @property
    def write_site(self) -> Site:
        return self.basis.write_site

    @property
    def id(self) -> str:
        """``model/site/basis/index``."""
        return f"{self.model.name}/{self.read_site}/{self.basis.name}/{self.index}"

    @property
    def direction(self) -> torch.Tensor:
        """What one unit writes, in the write site's own space: [width]."""
        return self.basis.direction(self.index)

    def to_residual(self) -> torch.Tensor:
        """The direction in the residual stream, [d_model]; see ``LiveModel.to_residual``."""
        return self.model.to_residual(self.write_site, self.direction)

    def activations(self, x: torch.Tensor) -> torch.Tensor:
        """This feature's values: [..., width of the read site] -> [...]."""
        return self.basis.activations(x, [self.index])[..., 0]

    def __repr__(self) -> str:
        return f"Feature({self.id})"


def feature_of(basis: Basis, index: int) -> Feature:
    """The handle of one feature.

    Raises:
        InputError: the basis has no such index.
    """
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < basis.n_features:
        raise InputError(
            f"{basis.name} at {basis.read_site} has no feature {index!r}.",
            f"Features go from 0 to {basis.n_features - 1}.",
        )
    return Feature(basis, index)


@dataclass(frozen=True)
class NeuronBasis:
    """The neurons of one MLP: each reads and writes its own coordinate of ``neurons.layer``."""

    model: LiveModel = field(repr=False)
    layer: int
    name: str = "neurons"

    @property
    def read_site(self) -> Site:
        return self.model.site(f"neurons.{self.layer}")

    @property
    def write_site(self) -> Site:
        return self.read_site

    @property
    def n_features(self) -> int:
        return self.model.width(self.read_site)

    @property
    def fingerprint(self) -> str:
        return f"neurons.{self.layer}"

    def activations(self, x: torch.Tensor, features: Sequence[int]) -> torch.Tensor:
        return x[..., list(features)]

    def direction(self, feature: int) -> torch.Tensor:
        """The unit vector of the neuron; ``to_residual`` makes it a row of W_out."""
        hf = self.model.hf
        out = torch.zeros(self.n_features, dtype=hf.dtype, device=hf.device)
        out[feature_of(self, feature).index] = 1
        return out

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        return x.new_ones(x.shape[:-1])


@dataclass(frozen=True)
class Directions:
    """Chosen directions at one site: differences of means, probes, principal components.

    Args:
        model: the live model.
        site: where they are read and written.
        vectors: float [features, width of the site]. A feature's value is the coordinate along its
            vector, x·v / ‖v‖², so that value 1 means one whole vector.
        name: short name for ids; by default one made of the vectors' bytes.

    Raises:
        InputError: wrong width, a vector that is zero or not finite.
    """

    model: LiveModel = field(repr=False)
    site: str | Site
    vectors: torch.Tensor = field(repr=False)
    name: str = ""

    def __post_init__(self) -> None:
        width = self.model.width(self.site)
        if not isinstance(self.vectors, torch.Tensor):
            raise InputError(f"The vectors are {type(self.vectors).__name__}, not a tensor.")
        if "/" in self.name:
            raise InputError(f"{self.name!r} has a slash in it.", "Ids are split there.")
        if self.vectors.ndim != 2 or not len(self.vectors) or self.vectors.shape[1] != width:
            raise InputError(
                f"The vectors have shape {tuple(self.vectors.shape)}; {self.site} of "
                f"{self.model.name} needs [features, {width}]."
            )
        norms = self.vectors.float().norm(dim=1)
        if not bool(norms.isfinite().all()) or bool((norms == 0).any()):
            raise InputError("A direction is zero or not finite.", "Leave it out.")
        if not self.name:
            object.__setattr__(self, "name", f"directions-{self.fingerprint[:8]}")

    @property
    def read_site(self) -> Site:
        return self.model.site(self.site)

    @property
    def write_site(self) -> Site:
        return self.read_site

    @property
    def n_features(self) -> int:
        return len(self.vectors)

    @property
    def fingerprint(self) -> str:
        raw = self.vectors.detach().float().cpu().contiguous().numpy().tobytes()
        return hashlib.blake2b(raw, digest_size=8).hexdigest()

    def activations(self, x: torch.Tensor, features: Sequence[int]) -> torch.Tensor:
        chosen = self.vectors[list(features)].to(x)
        return x @ (chosen / chosen.square().sum(1, keepdim=True)).T

    def direction(self, feature: int) -> torch.Tensor:
        return self.vectors[feature_of(self, feature).index]

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        return x.new_ones(x.shape[:-1])

    def __getitem__(self, index: int) -> Feature:
        return feature_of(self, index)

    def __len__(self) -> int:
        return self.n_features

    def __iter__(self) -> Iterator[Feature]:
        return (Feature(self, i) for i in range(self.n_features))


@dataclass(frozen=True)
class Head:
    """One attention head: its output (z) is at ``head_out.layer``, [.., d_head]."""

    model: LiveModel = field(repr=False)
    layer: int
    index: int

    @property
    def site(self) -> Site:
        return self.model.site(f"head_out.{self.layer}")

    @property
    def kv_head(self) -> int:
        """The key-value head that this query head reads (several share one where grouped)."""
        return self.index * self.model.heads_at(f"v.{self.layer}") // self.model.n_heads

    @property
    def d_head(self) -> int:
        return self.model.width(self.site) // self.model.n_heads

    @property
    def w_out(self) -> torch.Tensor:
        """This head's slice of W_O: [d_head, d_model]."""
        family = self.model.family
        whole = matrix(family.block(self.model.hf, self.layer, family.attn_matrix)).detach()
        return whole[self.index * self.d_head : (self.index + 1) * self.d_head]

    def to_residual(self, z: torch.Tensor) -> torch.Tensor:
        """What an output z [..., d_head] of this head writes: [..., d_model]."""
        whole = z.new_zeros(*z.shape[:-1], self.model.n_heads, self.d_head)
        whole[..., self.index, :] = z
        return self.model.to_residual(self.site, whole.flatten(-2))

    def __repr__(self) -> str:
        return f"Head({self.model.name}/{self.site}/{self.index})"
