"""What the rows of a live view are of: coordinates of a site, or features of a basis.

A source says what a run must capture; from the run it takes ``Values``: columns of features, and
the largest features of a token or of the whole text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from neuroglass import zoo
from neuroglass.features.entries import entries, vectors
from neuroglass.features.exact import I64
from neuroglass.model.anatomy import check_features, check_indices
from neuroglass.model.errors import InputError, nearest
from neuroglass.model.sites import SITES, WHOLE_MODEL, Site
from neuroglass.sae.dictionary import SAE

if TYPE_CHECKING:
    from neuroglass.model.basis import Basis
    from neuroglass.model.live import LiveModel
    from neuroglass.model.run import Run

F32 = npt.NDArray[np.float32]


class Values(Protocol):
    """Values of all features of a source on one text."""

    def column(self, feature: int) -> F32:
        """One feature: [tokens]."""

    def at(self, position: int, k: int) -> list[tuple[int, float]]:
        """The `k` largest by size at a token, zeros left out; largest first."""

    def largest(self, counted: npt.NDArray[np.bool_], k: int) -> tuple[int, ...]:
        """The `k` features that are largest by size on any counted token."""


class Source(Protocol):
    """See the module."""

    @property
    def site(self) -> Site:
        """What a run must capture."""

    @property
    def positive(self) -> bool:
        """Values are never below zero."""

    def check(self, features: Sequence[int]) -> None:
        """Refuse features that are not there.

        Raises:
            InputError: names the bad one.
        """

    def read(self, run: Run) -> Values:
        """The values of the run's first text."""

    @property
    def name(self) -> str:
        """Its site with the layer, or its basis; part of its rows' keys."""

    @property
    def basis_name(self) -> str:
        """What the ids of its features call the basis."""

    def label(self, feature: int) -> str:
        """What a row of the feature is called."""

    def at_layer(self, layer: int) -> Source:
        """The same, read out of another layer.

        Raises:
            InputError: its site has no layers.
        """

    def layers(self) -> list[Source]:
        """The same in every layer, first to last."""


@dataclass(frozen=True)
class Quantity:
    """Something that is known of every token, whatever the site."""

    label: str
    of: Callable[[Run], torch.Tensor]  # [batch, tokens]


QUANTITIES = {
    "surprise": Quantity("surprise (nats)", lambda run: -run.logprobs),
    "entropy": Quantity("entropy of what comes next (nats)", lambda run: run.entropy),
    "rank": Quantity("rank among predictions (log10)", lambda run: run.ranks.log10()),
}


@dataclass(frozen=True)
class Dense:
    """Values [tokens, features], all of them."""

    values: torch.Tensor

    def column(self, feature: int) -> F32:
        return np.asarray(self.values[:, feature].numpy(), np.float32)

    def at(self, position: int, k: int) -> list[tuple[int, float]]:
        here = self.values[position]
        best = here.abs().topk(min(k, here.numel())).indices.tolist()
        return [(i, v) for i in best if (v := float(here[i]))]

    def largest(self, counted: npt.NDArray[np.bool_], k: int) -> tuple[int, ...]:
        some = self.values[torch.from_numpy(counted)]
        peaks = (some if len(some) else self.values).abs().amax(0)
        return tuple(peaks.topk(min(k, peaks.numel())).indices.tolist())


@dataclass(frozen=True)
class Sparse:
    """The values that are not zero: token, feature and value, by token."""

    token: I64
    index: I64
    value: F32
    n_tokens: int

    def column(self, feature: int) -> F32:
        found = np.zeros(self.n_tokens, np.float32)
        own = self.index == feature
        found[self.token[own]] = self.value[own]
        return found

    def at(self, position: int, k: int) -> list[tuple[int, float]]:
        own = np.flatnonzero(self.token == position)
        best = own[np.argsort(-np.abs(self.value[own]), kind="stable")][:k]
        return [(int(self.index[i]), float(self.value[i])) for i in best]

    def largest(self, counted: npt.NDArray[np.bool_], k: int) -> tuple[int, ...]:
        own = np.flatnonzero(counted[self.token] if counted.any() else self.token >= 0)
        order = own[np.argsort(-np.abs(self.value[own]), kind="stable")]
        best = dict.fromkeys(self.index[order].tolist())
        return tuple(list(best)[:k])


@dataclass(frozen=True)
class Elsewhere:
    """A basis on another layer's vectors [tokens, width]: one feature at a time.

    All features of a token are not asked for: which latents are strongest in a layer that the
    dictionary was not trained on says nothing.
    """

    basis: Basis
    x: torch.Tensor

    def column(self, feature: int) -> F32:
        return np.asarray(self.basis.activations(self.x, [feature])[..., 0].float().cpu().numpy())

    def at(self, position: int, k: int) -> list[tuple[int, float]]:
        return []

    def largest(self, counted: npt.NDArray[np.bool_], k: int) -> tuple[int, ...]:
        return ()


@dataclass(frozen=True)
class SiteSource:
    """The coordinates of a site."""

    model: LiveModel
    site: Site

    @cached_property
    def positive(self) -> bool:
        return self.model.positive(self.site)

    def check(self, features: Sequence[int]) -> None:
        check_features(self.model, self.model.site(self.site), features)

    def read(self, run: Run) -> Dense:
        return Dense(run[self.site][0].flatten(1).float().cpu())

    @property
    def name(self) -> str:
        return str(self.site)

    @property
    def basis_name(self) -> str:
        return self.site.name

    def label(self, feature: int) -> str:
        return f"{self.name} / {feature}"

    def at_layer(self, layer: int) -> SiteSource:
        return SiteSource(self.model, _elsewhere(self.site, layer))

    def layers(self) -> list[Source]:
        return [self.at_layer(layer) for layer in range(self.model.n_layers)]


@dataclass(frozen=True)
class BasisSource:
    """The features of a basis: latents of a dictionary, directions.

    With a `layer`, the basis reads the same site of that layer instead of its own.
    """

    basis: Basis
    layer: int | None = None

    @property
    def site(self) -> Site:
        own = self.basis.read_site
        return own if self.layer is None else _elsewhere(own, self.layer)

    @cached_property
    def positive(self) -> bool:
        return hasattr(self.basis, "encode")  # dictionaries do; directions have signs

    def check(self, features: Sequence[int]) -> None:
        check_indices(self.basis.name, self.basis.n_features, features)

    def read(self, run: Run) -> Values:
        if self.layer is not None:
            return Elsewhere(self.basis, run[self.site][0].flatten(1))
        x = vectors(run, self.basis, torch.ones_like(run.mask))
        return Sparse(*entries(self.basis, x), len(x))

    @property
    def name(self) -> str:
        return self.basis.name if self.layer is None else f"{self.basis.name}@{self.site}"

    @property
    def basis_name(self) -> str:
        return self.basis.name

    def label(self, feature: int) -> str:
        if self.layer is None:
            return f"{self.name} / {feature}"
        return f"{self.basis.name} / {feature} read from {self.site}"

    def at_layer(self, layer: int) -> BasisSource:
        own = _elsewhere(self.basis.read_site, layer) == self.basis.read_site
        return BasisSource(self.basis, None if own else layer)

    def layers(self) -> list[Source]:
        return [self.at_layer(layer) for layer in range(self.basis.model.n_layers)]


def _elsewhere(site: Site, layer: int) -> Site:
    if site.layer is None:
        raise InputError(
            f"{site} has no layers to look across.", "Choose a site that every layer has."
        )
    return Site(site.name, layer)


class Sources:
    """All that a live view of a model can show.

    Args:
        model: the live model.
        bases: dictionaries and directions of it.

    Attributes:
        bases: by name; code: Python that makes them, by name.

    Raises:
        InputError: a basis of another model, or two of one name, or one named like a site.
    """

    def __init__(self, model: LiveModel, bases: Sequence[Basis] = ()) -> None:
        self.model = model
        self.bases: dict[str, Basis] = {}
        for basis in bases:
            if not hasattr(basis, "read_site"):
                raise InputError(
                    f"{type(basis).__name__} is no basis.",
                    "Give an SAE, a Transcoder or Directions that is attached to the model.",
                )
            model.owns(basis.model, f"The basis {basis.name!r}")
            if basis.name in self.bases or basis.name in SITES:
                raise InputError(f"There are two things called {basis.name!r}.", "Rename one.")
            self.bases[basis.name] = basis
        self.code = {name: _code(basis) for name, basis in self.bases.items()}

    def choices(self) -> dict[str, Any]:
        """What the browser offers: sites and bases, and the context."""
        model = self.model
        sites = [
            {
                "name": name,
                "layers": 1 if name in WHOLE_MODEL else model.n_layers,
                "width": model.widths[name],
                "what": what,
            }
            for name, what in SITES.items()
            if name in model.widths and name != "logits"
        ]
        bases = [
            {
                "name": b.name,
                "layers": 1,
                "width": b.n_features,
                "what": f"{b.n_features:,} features of {b.read_site}",
                "across": 1 if b.read_site.layer is None else model.n_layers,
            }
            for b in self.bases.values()
        ]
        quantities = [{"key": key, "label": q.label} for key, q in QUANTITIES.items()]
        return {"sites": [*bases, *sites], "context": model.context, "quantities": quantities}

    def find(self, name: str, layer: int) -> Source:
        """The source of a name.

        Raises:
            InputError: there is none of this name, or no such layer.
        """
        if name in self.bases:
            return BasisSource(self.bases[name])
        names = [s["name"] for s in self.choices()["sites"]]
        if name not in names:
            raise InputError(f"A heatmap can't show the site {name!r}.", nearest(name, names))
        return SiteSource(
            self.model, self.model.site(Site(name, None if name in WHOLE_MODEL else layer))
        )

    def row(self, key: str) -> tuple[Source, int] | Quantity:
        """What a row is of, by its key: ``"neurons.0/12"``, ``"A-8x/77"``, ``"surprise"``.

        Raises:
            InputError: there is no such thing.
        """
        if key in QUANTITIES:
            return QUANTITIES[key]
        head, _, tail = key.rpartition("/")
        if not head or not tail.isdecimal():
            raise InputError(
                f"{key!r} is no row.",
                f"Rows are {', '.join(map(repr, QUANTITIES))} or features, as 'neurons.0/12'.",
            )
        if head in self.bases:
            source = self.find(head, 0)
        else:
            site = self.model.site(head)
            source = self.find(site.name, site.layer or 0)
        source.check([int(tail)])
        return source, int(tail)

    def known(self, source: Source) -> bool:
        """Its rows can be asked for by key."""
        return not isinstance(source, BasisSource) or source.layer is None

    def id_of(self, source: Source, feature: int) -> str:
        """The id of a feature, as ``Feature.id``: ``model/site/basis/index``."""
        return f"{self.model.name}/{source.site}/{source.basis_name}/{feature}"

    def locate(self, feature_id: str) -> tuple[str, int, int]:
        """Site or basis, layer and index of a feature, by its id.

        Raises:
            InputError: it is no id, or of another model, or of a basis that is not here.
        """
        head, _, index = feature_id.rpartition("/")
        for name, basis in self.bases.items():
            if head == f"{self.model.name}/{basis.read_site}/{basis.name}" and index.isdecimal():
                BasisSource(basis).check([int(index)])
                return name, 0, int(index)
        parts = head.split("/")
        if len(parts) < 3 or not index.isdecimal():
            raise InputError(
                f"{feature_id!r} is no feature's id.", "Ids are model/site/basis/index."
            )
        model, site, basis_name = "/".join(parts[:-2]), parts[-2], parts[-1]
        if model != self.model.name:
            raise InputError(
                f"The feature {feature_id!r} belongs to {model}, not to {self.model.name}."
            )
        place = self.model.site(site)
        if basis_name != place.name:
            raise InputError(
                f"There is no basis {basis_name!r} here.",
                "Give it: ng.heatmap(model, text, bases=[...]).",
            )
        self.find(place.name, place.layer or 0).check([int(index)])
        return place.name, place.layer or 0, int(index)


def key_of(source: Source, feature: int) -> str:
    """The key of a feature's row; see ``Sources.row``."""
    return f"{source.name}/{feature}"


def _code(basis: Basis) -> str:
    """Python that makes a basis; for one that is nowhere but here, a place to put it."""
    if basis.name in zoo.dictionaries():
        known = SAE.load(f"zoo/{basis.name}", basis.model)
        if known.fingerprint == basis.fingerprint:
            return f'ng.SAE.load("zoo/{basis.name}", model)'
    return f"...  # {basis.name}, {basis.n_features:,} features of {basis.read_site}"
