"""Edits: changes made at a site while the model runs.

``Add``, ``Scale``, ``Clamp``, ``Ablate``, ``Orthogonal`` and ``Cap`` say what is changed, where and
at which tokens of which rows.
``bind`` makes a list of them ready for one text or generation, after checking everything that can
be wrong, so that a pass that starts can finish. Values are worked out per token from the value that
is there, the token's position in its row and a fixed reference; hence an edit does the same in one
long pass and in cached decoding, whatever the padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, cast

import torch

from neuroglass.model.basis import Basis, Directions, Feature, Head, NeuronBasis
from neuroglass.model.errors import InputError, nearest
from neuroglass.model.positions import At, Extent, Positions, Spans, integers, short
from neuroglass.model.positions import spans as _checked
from neuroglass.model.run import Run
from neuroglass.model.sites import PER_HEAD, Site

if TYPE_CHECKING:
    from neuroglass.model.live import LiveModel

Target: TypeAlias = "str | Site | Feature | Head"
How: TypeAlias = Literal["zero", "mean", "resample", "patch"]
_HOW = ("zero", "mean", "resample", "patch")


class BoundEdit(Protocol):
    """A bound edit: read values at one site, write at the same or a later one."""

    @property
    def reads(self) -> Site: ...
    @property
    def writes(self) -> Site: ...

    def read(self, x: torch.Tensor) -> torch.Tensor:
        """Values that the write needs, from the read site's vectors (shapes of ``Run.sites``)."""

    def write(self, x: torch.Tensor, values: torch.Tensor, at: At) -> torch.Tensor:
        """The write site's new vectors. `x` must stay as it is."""


class Edit(Protocol):
    """Anything that binds to steps can be an edit."""

    def bind(self, model: LiveModel, extent: Extent) -> Sequence[BoundEdit]:
        """Check the edit against a model and a text, and make its steps.

        Raises:
            InputError: it does not fit.
        """


@dataclass(frozen=True, eq=False, kw_only=True)
class _Edit:
    """Where an edit acts: common to all.

    Attributes:
        positions: ``"all"``; ``"prompt"``; ``"generated"``; or positions, counted from each row's
            first token; or a slice of them, ``slice(5, None)``. Negative ones count from the end of
            the prompt: -1 is its last token.
        skip_special: leave special tokens (BOS, those of a chat template) as they are.
        rows: only these rows of the batch; the others stay what they are, to the bit (where a
            pattern is edited, to rounding: it is computed as a whole then).
        heads: only these heads (``q``, ``k``, ``v``, ``head_out``, ``pattern``; for ``k`` and ``v``
            key-value heads).
        features: only these coordinates of the site (``neurons``: neurons).
        pairs: only these (from, to) pairs of ``pattern``: token `from` looks at token `to`. Counted
            like positions.
    """

    positions: Positions = "all"
    skip_special: bool = False
    rows: Sequence[int] | None = None
    heads: Sequence[int] | None = None
    features: Sequence[int] | None = None
    pairs: Sequence[tuple[int, int]] | None = None

    def bind(self, model: LiveModel, extent: Extent) -> Sequence[BoundEdit]:
        """See ``Edit``."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Add(_Edit):
    """Add ``strength`` times a vector at a site, or times a feature's own direction.

    Args:
        target: a site, a ``Feature`` or its id, or a ``Head``.
        vector: for a site, float [width]; with `heads`, [d_head] or [heads, d_head]. For a feature
            a number: how many of its own units.
        strength: what the vector or number is multiplied by; for a feature also one per row.
        of_norm: for a feature: numbers are fractions of ‖h‖, the norm of the write site's vector at
            each token, so that ‖Δ‖ = strength·‖h‖.
    """

    target: Target
    vector: torch.Tensor | float = field(default=1.0, repr=False)
    strength: float | Sequence[float] = 1.0
    of_norm: bool = field(default=False, kw_only=True)

    def bind(self, model: LiveModel, extent: Extent) -> Sequence[BoundEdit]:
        lens = _lens(self, self.target, model)
        if isinstance(lens, _FeatureLens):
            if isinstance(self.vector, torch.Tensor) and self.vector.ndim:
                raise InputError(
                    "Add got a feature and a vector.",
                    "A feature brings its own direction: give a number, Add(feature, 4.0).",
                )
            amount = _per_row("strength", self.strength, extent) * _numbers("amount", self.vector)
            # what the feature is does not matter here (a neuron is a coordinate, set as a whole)
            unread = not isinstance(lens.feature.basis, NeuronBasis)
            new: _New = lambda f, _: f + amount.to(f)  # noqa: E731
            return [
                _Bound(lens, _spans(self, extent, model), new, of_norm=self.of_norm, unread=unread),
            ]
        strength = _number("strength", self.strength)
        _features_only(self.of_norm)
        if lens.site.name == "pattern":
            raise InputError("Nothing can be added to a pattern.", "Use Scale, Clamp or Ablate.")
        if not isinstance(self.vector, torch.Tensor):
            raise InputError(
                f"Add needs a vector for {lens.site}, a tensor, not {short(self.vector)}.",
                "A number alone goes with a feature: Add(feature, 4.0).",
            )
        vector = lens.fit("The vector", self.vector)
        return [_Bound(lens, _spans(self, extent, model), lambda x, _: x + strength * vector.to(x))]


@dataclass(frozen=True, eq=False)
class Scale(_Edit):
    """Multiply what is there by ``factor``: a site's values, or a feature's part of them.

    Of a feature, also one factor per row.
    """

    target: Target
    factor: float | Sequence[float]

    def bind(self, model: LiveModel, extent: Extent) -> Sequence[BoundEdit]:
        lens = _lens(self, self.target, model)
        if isinstance(lens, _FeatureLens):
            factors = _per_row("factor", self.factor, extent)
            return [_Bound(lens, _spans(self, extent, model), lambda x, _: x * factors.to(x))]
        factor = _number("factor", self.factor)
        return [_Bound(lens, _spans(self, extent, model), lambda x, _: x * factor)]


@dataclass(frozen=True, eq=False)
class Clamp(_Edit):
    """Set values: a feature's, or those of some coordinates, heads or pairs of a site.

    Of a feature, the site changes by (value - what it was) times the feature's direction, and
    everything else in it stays (DESIGN §8).

    Args:
        target: as in ``Add``.
        value: a number, or one per entry of `features`; for a feature also one per row.
        above: for a feature: only where it is larger than this; 0 clamps it where it is active, as
            SAEBench's unlearning does.
        of_norm: for a feature: the value is a fraction of ‖h‖, as in ``Add``.
    """

    target: Target
    value: float | Sequence[float]
    above: float | None = field(default=None, kw_only=True)
    of_norm: bool = field(default=False, kw_only=True)

    def bind(self, model: LiveModel, extent: Extent) -> Sequence[BoundEdit]:
        lens = _lens(self, self.target, model)
        value = _numbers("value", self.value)
        if isinstance(lens, _SiteLens):
            _features_only(self.of_norm)
            if self.above is not None:
                raise InputError("above goes with a feature.", "Leave it out.")
            if lens.heads is None and self.features is None and self.pairs is None:
                raise InputError(
                    f"Clamp needs to know what of {lens.site} to set.",
                    "Give features=[...], heads=[...] or pairs=[...], or a feature's handle.",
                )
            if value.ndim:
                value = lens.fit("The values", value)
        else:
            value = _per_row("value", value, extent)
        new: _New = lambda x, _: value.to(x).expand_as(x)  # noqa: E731
        if self.above is not None:
            least = _number("threshold", self.above)
            new = lambda x, _: torch.where(x > least, value.to(x), x)  # noqa: E731
        return [_Bound(lens, _spans(self, extent, model), new, sets=True, of_norm=self.of_norm)]


@dataclass(frozen=True, eq=False)
class Ablate(_Edit):
    """Take away what a site, head, pair, neuron or feature says.

    Args:
        target: as in ``Add``.
        how: ``"zero"``; ``"mean"`` over the reference's tokens (padding and massive activations
            left out); ``"resample"``: the value at a token of the reference, drawn by `seed` and
            position (the same token for all rows and edits of one seed); ``"patch"``: the value at
            the same position of the reference. Pairs of a pattern are set after the softmax and
            nothing is renormalised.
        reference: a ``Run`` that has captured the site; for ``"mean"`` also the mean itself, a
            tensor (or for a feature a number).
        seed: of the draw.
    """

    target: Target
    how: How = "zero"
    reference: Run | torch.Tensor | float | None = field(default=None, repr=False)
    seed: int = field(default=0, kw_only=True)

    def bind(self, model: LiveModel, extent: Extent) -> Sequence[BoundEdit]:
        lens = _lens(self, self.target, model)
        spans = _spans(self, extent, model)
        return [_Bound(lens, spans, self._new(model, lens, spans, extent), sets=True)]

    def _new(self, model: LiveModel, lens: _Lens, spans: Spans, extent: Extent) -> _New:
        if self.how not in _HOW:
            raise InputError(f"There is no ablation {self.how!r}.", nearest(self.how, _HOW))
        if self.how == "zero":
            return lambda x, _: torch.zeros_like(x)
        if self.reference is None:
            raise InputError(
                f"Ablate({self.how!r}) needs a reference.",
                f"For example reference=model.run(texts, sites=['{lens.reads}']).",
            )
        if not isinstance(self.reference, Run):
            if self.how != "mean" or isinstance(self.reference, str):
                raise InputError(
                    f"Ablate({self.how!r}) needs a run as its reference, not "
                    f"{type(self.reference).__name__}.",
                    f"For example model.run(text, sites=['{lens.reads}']).",
                )
            mean = lens.fit("The reference", _numbers("reference", self.reference))
            return lambda x, _: mean.to(x).expand_as(x)
        table = lens.read(_reference(self.reference, model, lens.reads))
        assert table is not None
        if self.how == "patch":
            return _patch(lens, table, self.reference.mask, spans, extent)
        if lens.reads.name == "pattern":
            raise InputError(
                f"A pattern can't be ablated by {self.how!r}: its rows differ in length.",
                "Use 'zero', or 'patch' from another run.",
            )
        keep = self.reference.mask & ~self.reference.masks["massive"]
        if not bool(keep.any()):
            raise InputError("The reference has no token to draw from.", "Give more text.")
        kept = table[keep]
        _finite("reference", kept)
        if self.how == "mean":
            mean = kept.float().mean(0)
            return lambda x, _: mean.to(x).expand_as(x)
        draw = torch.Generator().manual_seed(integers("seed", self.seed)[0])
        # for every position there can be: a draw knows neither the text's length nor its row
        drawn = torch.randint(len(kept), (model.context,), generator=draw).to(kept.device)
        return lambda x, positions: kept[drawn[positions.clamp_min(0)]].to(x)


@dataclass(frozen=True, eq=False)
class Orthogonal(_Edit):
    """Scale the part of a vector that lies along a feature's direction: (I - P)h + c·P·h.

    P = d·dᵀ/‖d‖², with d the feature's write direction: Neuronpedia's "orthogonal decomposition".
    ``Scale(feature, c)`` multiplies what the feature's encoder reads instead; for ``Directions``
    both are the same.

    Args:
        target: a ``Feature`` or its id.
        factor: c; 0 takes the part away. Also one per row.
    """

    target: Target
    factor: float | Sequence[float]

    def bind(self, model: LiveModel, extent: Extent) -> Sequence[BoundEdit]:
        lens = _along(_lens(self, self.target, model), "Orthogonal")
        factor = _per_row("factor", self.factor, extent)
        return [_Bound(lens, _spans(self, extent, model), lambda x, _: x * factor.to(x))]


@dataclass(frozen=True, eq=False)
class Cap(_Edit):
    """Let a vector reach no further along a feature's direction than ``limit``.

    h ← h - max(0, a - limit)·d with a = ⟨h, d⟩/‖d‖², so that ⟨h, d⟩/‖d‖ ≤ limit·‖d‖: the
    "projection cap" of Neuronpedia's assistant axis, in the feature's own units (for a unit
    direction they are those of h).

    Args:
        target: a ``Feature`` or its id.
        limit: a number, or one per row.
        of_norm: the limit is a fraction of ‖h‖, as in ``Add``: a bound on the cosine.
    """

    target: Target
    limit: float | Sequence[float]
    of_norm: bool = field(default=False, kw_only=True)

    def bind(self, model: LiveModel, extent: Extent) -> Sequence[BoundEdit]:
        lens = _along(_lens(self, self.target, model), "Cap")
        limit = _per_row("limit", self.limit, extent)
        new: _New = lambda x, _: torch.minimum(x, limit.to(x))  # noqa: E731
        return [_Bound(lens, _spans(self, extent, model), new, of_norm=self.of_norm)]


# -- lenses: what part of a site an edit reads and writes ----------------------------------------

_New: TypeAlias = "Callable[[torch.Tensor, torch.Tensor], torch.Tensor]"


@dataclass(frozen=True)
class _SiteLens:
    """A part of a site: all of it, some heads, or some coordinates.

    Site values are [batch, tokens, width], [batch, tokens, heads, d_head] (``PER_HEAD``) or
    [batch, heads, from, to] (``pattern``).
    """

    model: LiveModel
    site: Site
    heads: list[int] | None
    features: list[int] | None

    @property
    def reads(self) -> Site:
        return self.site

    writes = reads

    def read(self, x: torch.Tensor) -> torch.Tensor:
        if self.heads is not None:
            return x[:, self.heads] if self.site.name == "pattern" else x[:, :, self.heads]
        if self.features is not None:
            return _flat(self.site, x)[..., self.features]
        return x

    def write(self, x: torch.Tensor, _: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        if self.heads is None and self.features is None:
            return new.to(x.dtype).contiguous()
        out = x.clone()
        if self.features is not None:
            flat = _flat(self.site, out)  # a view of the clone
            flat[..., self.features] = new.to(x.dtype)
            return flat.view_as(x)
        if self.site.name == "pattern":
            out[:, self.heads] = new.to(x.dtype)
        else:
            out[:, :, self.heads] = new.to(x.dtype)
        return out

    def fit(self, what: str, given: torch.Tensor) -> torch.Tensor:
        """`given` as it is laid over this part of one token.

        Raises:
            InputError: it has another shape, or is not finite.
        """
        _finite(what[0].lower() + what[1:], given)
        width = self.model.width(self.site)
        shapes: list[tuple[int, ...]] = [(width,)]
        if self.features is not None:
            shapes = [(len(self.features),)]
        elif self.heads is not None:
            d_head = width // self.model.heads_at(self.site)
            shapes = [(d_head,), (len(self.heads), d_head)]
        if tuple(given.shape) not in shapes:
            wanted = " or ".join(str(list(s)) for s in shapes)
            raise InputError(
                f"{what} has shape {list(given.shape)}; {self.site} of {self.model.name} "
                f"takes {wanted}."
            )
        if self.site.name in PER_HEAD and self.heads is None and self.features is None:
            return given.view(self.model.heads_at(self.site), -1)
        return given

    def claims(self) -> set[tuple[str, int]]:
        """The coordinates that a write sets."""
        size = self.model.n_heads if self.site.name == "pattern" else self.model.width(self.site)
        chosen: Iterable[int] = range(size)
        if self.features is not None:
            chosen = self.features
        elif self.heads is not None:
            d = size // self.model.heads_at(self.site)
            chosen = (h * d + i for h in self.heads for i in range(d))
        return {(str(self.site), i) for i in chosen}


@dataclass(frozen=True)
class _FeatureLens:
    """A feature of any basis: one number per token, [batch, tokens]."""

    feature: Feature

    @property
    def reads(self) -> Site:
        return self.feature.read_site

    @property
    def writes(self) -> Site:
        return self.feature.write_site

    def read(self, x: torch.Tensor) -> torch.Tensor:
        return self.feature.activations(_flat(self.reads, x))

    def write(self, x: torch.Tensor, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        basis = self.feature.basis
        if isinstance(basis, NeuronBasis):  # a coordinate is set as it is, not by a difference
            out = x.clone()
            out[..., self.feature.index] = new.to(x.dtype)
            return out
        # not in 16 bits, where a small value after a large one would not survive
        wide = torch.promote_types(x.dtype, torch.float32)
        direction = self.feature.direction.to(x.device, wide)
        change = (new.to(wide) - old.to(wide)).unsqueeze(-1) * direction
        return (x.to(wide) + change.view_as(x)).to(x.dtype)

    def whole_norm(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """How many units of the feature make a change as long as x: [batch, tokens]."""
        size = _flat(self.writes, x).float().norm(dim=-1)
        one = scale.float().abs() * self.feature.direction.float().norm().to(size)
        units: torch.Tensor = size.clamp_min(1e-20) / one.clamp_min(1e-20)
        return units

    def fit(self, what: str, given: torch.Tensor) -> torch.Tensor:
        if given.ndim:
            raise InputError(f"{what} for one feature is one number, not {list(given.shape)}.")
        return given

    def claims(self) -> set[tuple[str, int]]:
        # a neuron is a coordinate of its site: the same claim, whichever way it was named
        basis = self.feature.basis
        place = str(self.reads) if isinstance(basis, NeuronBasis) else f"basis {id(basis)}"
        return {(place, self.feature.index)}


_Lens: TypeAlias = _SiteLens | _FeatureLens


def _along(lens: _Lens, what: str) -> _FeatureLens:
    """The coordinate along a feature's direction, at its write site."""
    if not isinstance(lens, _FeatureLens):
        raise InputError(
            f"{what} needs a feature, which has a direction.",
            "Make one of a vector v: ng.Directions(model, site, v[None])[0].",
        )
    feature = lens.feature
    if isinstance(feature.basis, NeuronBasis | Directions):
        return lens
    vectors = feature.direction[None]
    return _FeatureLens(Directions(feature.model, feature.write_site, vectors, "along")[0])


def _features_only(of_norm: bool) -> None:
    if of_norm:
        raise InputError("of_norm goes with a feature, which has a direction.", "Leave it out.")


def _with_scale(basis: Basis, features: Sequence[int], x: torch.Tensor) -> torch.Tensor:
    """Values of some features, then the scale of their directions: [batch, tokens, n + 1]."""
    x = _flat(basis.read_site, x)
    f = basis.activations(x, features)
    return torch.cat([f, basis.scale(x).to(f.dtype).unsqueeze(-1)], -1)


def _flat(site: Site, x: torch.Tensor) -> torch.Tensor:
    """[batch, tokens, width], heads side by side."""
    return x.flatten(2) if site.name in PER_HEAD else x


def _lens(edit: _Edit, target: Target, model: LiveModel) -> _Lens:
    if isinstance(target, str) and "/" in target:
        target = model.feature(target)
    if isinstance(target, Feature | Head):
        model.owns(target.model, repr(target))
    given = [n for n in ("heads", "features", "pairs") if getattr(edit, n) is not None]
    if isinstance(target, Feature):
        if given:
            raise InputError(f"{given[0]} means nothing for a feature.", "Leave it out.")
        return _FeatureLens(target)
    heads = edit.heads
    if isinstance(target, Head):
        if given and given != ["pairs"]:
            raise InputError(f"{given[0]} means nothing for one head.", "Leave it out.")
        heads = [target.index]
        target = f"pattern.{target.layer}" if edit.pairs is not None else target.site
    elif not isinstance(target, str | Site):
        raise InputError(
            f"An edit acts at a site or a feature, not at {type(target).__name__}.",
            "For example 'resid_post.5' or model.neuron(5, 77).",
        )
    site = model.site(target)
    if heads is not None and edit.features is not None:
        raise InputError("An edit takes heads or features, not both.")
    if edit.pairs is not None and site.name != "pattern":
        raise InputError(f"{site} has no (from, to) pairs.", "Only a pattern has.")
    if edit.features is not None and site.name == "pattern":
        raise InputError("A pattern has heads and pairs, no features.")
    return _SiteLens(
        model,
        site,
        None if heads is None else _indices("head", heads, model.heads_at(site), site),
        None
        if edit.features is None
        else _indices("feature", edit.features, model.width(site), site),
    )


def _indices(what: str, given: Sequence[int], size: int, site: Site) -> list[int]:
    chosen = integers(f"{what}s", given)
    bad = [i for i in chosen if not 0 <= i < size]
    if bad:
        raise InputError(
            f"{site} has no {what} {bad[0]}.", f"They go from 0 to {size - 1}: give some of those."
        )
    if not chosen or len(set(chosen)) < len(chosen):
        raise InputError(f"{what}s are empty or named twice.", f"Name each {what} once.")
    return chosen


# -- references ----------------------------------------------------------------------------------


def _reference(run: Run, model: LiveModel, site: Site) -> torch.Tensor:
    model.owns(run.model, "The reference run")
    if str(site) not in run.sites:
        raise InputError(
            f"The reference has not captured {site}.", f"Run it with sites=['{site}']."
        )
    return run.sites[str(site)]


def _patch(
    lens: _Lens, table: torch.Tensor, mask: torch.Tensor, spans: Spans, extent: Extent
) -> _New:
    """Values of the same row (or of the only one) and the same position."""
    rows = len(extent.limit)
    if len(mask) not in {1, rows}:
        raise InputError(
            f"The reference has {len(mask)} rows, the text {rows}.",
            "Patch from a run of one text, or of as many.",
        )
    reach = spans.reach(extent)
    have = mask.sum(1).cpu().expand(rows)
    beyond = reach & (torch.arange(reach.shape[1])[None] >= have[:, None])
    if bool(beyond.any()):
        row = int(beyond.any(1).nonzero()[0])
        raise InputError(
            f"The reference ends after {int(have[row])} tokens; the edit reaches further.",
            "Patch only positions that both texts have: positions=[...].",
        )
    longest = int(mask.sum(1).max()) - 1
    _finite("reference", (table.transpose(1, 2) if lens.reads.name == "pattern" else table)[mask])

    def new(x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        row = torch.arange(rows, device=x.device) if len(mask) > 1 else x.new_zeros(rows).long()
        at = positions.clamp(0, longest)
        if lens.reads.name != "pattern":
            return table[row[:, None], at].to(x)
        # x: [batch, heads, from, to]; `positions` are those of the columns
        high = at[:, at.shape[1] - x.shape[2] :]
        found = table[row[:, None, None], :, high[:, :, None], at[:, None, :]].movedim(-1, 1)
        # nothing looks at padding or ahead, where `at` is beside the point
        nothing = (positions < 0)[:, None] | (positions[:, None] > high[:, :, None])
        return found.masked_fill(nothing[:, None], 0).to(x)

    return new


def _spans(edit: _Edit, extent: Extent, model: LiveModel) -> Spans:
    return _checked(
        edit.positions,
        extent,
        rows=edit.rows,
        special=model.special_tokens if edit.skip_special else None,
        pairs=edit.pairs,
    )


def _per_row(what: str, value: object, extent: Extent) -> torch.Tensor:
    """A feature's number, or one per row: float32 [] or [batch, 1]."""
    made = _numbers(what, value)
    if made.ndim == 0:
        return made
    if tuple(made.shape) != (len(extent.limit),):
        raise InputError(
            f"The {what} of one feature is one value or one per row, not {list(made.shape)} "
            f"for {len(extent.limit)} rows."
        )
    return made[:, None]


def _finite(what: str, value: torch.Tensor) -> None:
    if not bool(value.isfinite().all()):
        raise InputError(f"The {what.removeprefix('the ')} of an edit is NaN or infinite.")


def _number(what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"The {what} of an edit is a number, not {short(value)}.")
    _finite(what, torch.tensor(float(value)))
    return float(value)


def _numbers(what: str, value: object) -> torch.Tensor:
    """A number or several, as float32."""
    if isinstance(value, torch.Tensor):
        made = value.detach().float()
    elif isinstance(value, Sequence) and not isinstance(value, str):
        made = torch.tensor([_number(what, v) for v in value])
    else:
        made = torch.tensor(_number(what, value))
    _finite(what, made)
    return made


# -- steps ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Bound:
    """A step of one of our four edits."""

    lens: _Lens
    spans: Spans
    new: _New
    sets: bool = False  # what was there before is gone
    of_norm: bool = False  # `new` takes and gives fractions of the written vector's norm
    unread: bool = False  # `new` only moves what is there, so a feature need not be read

    @property
    def reads(self) -> Site:
        return self.lens.reads

    @property
    def writes(self) -> Site:
        return self.lens.writes

    def read(self, x: torch.Tensor) -> torch.Tensor:
        if isinstance(self.lens, _FeatureLens):
            if self.unread:
                scale = self.lens.feature.basis.scale(_flat(self.reads, x)).unsqueeze(-1)
                return torch.cat([torch.zeros_like(scale), scale], -1)
            return _with_scale(self.lens.feature.basis, [self.lens.feature.index], x)
        return self.lens.read(x)

    def write(
        self,
        x: torch.Tensor,
        values: torch.Tensor,
        at: At,
        before: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """See ``BoundEdit``. `before`: what x was before edits that count as made together."""
        scale = None
        if isinstance(self.lens, _FeatureLens):
            values, scale = values.unbind(-1)
        if self.writes.name == "pattern":
            columns = at.last(x.shape[3])
            rows = at.last(x.shape[2])
            new = self.new(values, columns)
            mask = self.spans.mask(rows, at.prompt, at.ids)
            mask = None if mask is None else mask[:, None, :, None]
            pairs = self.spans.pair_mask(rows, columns)
            if mask is not None and pairs is not None:
                mask = mask & pairs
            elif mask is None:
                mask = pairs
        else:
            positions = at.last(x.shape[1])
            if self.of_norm and scale is not None and isinstance(self.lens, _FeatureLens):
                unit = self.lens.whole_norm(x if before is None else before, scale)
                new = self.new(values / unit, positions) * unit
            else:
                new = self.new(values, positions)
            mask = self.spans.mask(positions, at.prompt, at.ids)
            if mask is not None:
                mask = mask.view(*mask.shape, *[1] * (values.ndim - 2))
        if mask is not None:
            new = torch.where(mask, new, values)
        if scale is not None:
            values, new = values * scale, new * scale
        return self.lens.write(x, values, new)


def bind(edits: Iterable[Edit], model: LiveModel, extent: Extent) -> list[BoundEdit]:
    """The steps of `edits`, in order.

    Raises:
        InputError: one does not fit the model or the text, or two set the same values.
    """
    steps: list[BoundEdit] = []
    for edit in edits:
        if isinstance(edit, type) or not hasattr(edit, "bind"):
            raise InputError(
                f"{short(edit)} is not an edit.",
                "Edits are made with ng.Add, ng.Scale, ng.Clamp, ng.Ablate, ng.Orthogonal, ng.Cap.",
            )
        steps += edit.bind(model, extent)
    for step in steps:
        if step.reads.order > step.writes.order:
            raise InputError(
                f"An edit reads {step.reads} to write {step.writes}, which comes before it.",
                "Write at the same site or a later one.",
            )
    ours = [s for s in steps if isinstance(s, _Bound) and s.sets]
    for i, one in enumerate(ours):
        for other in ours[:i]:
            if one.lens.claims() & other.lens.claims() and one.spans.meets(other.spans, extent):
                raise InputError(
                    f"Two edits set the same values of {one.reads}: they conflict.",
                    "Keep one of them, or give them different positions.",
                )
    return _together(steps)


@dataclass(frozen=True, eq=False)
class _Together:
    """Features of one basis that are set at once: all read before any is written (DESIGN §8)."""

    steps: list[_Bound]
    basis: Basis

    @property
    def reads(self) -> Site:
        return self.basis.read_site

    @property
    def writes(self) -> Site:
        return self.basis.write_site

    def read(self, x: torch.Tensor) -> torch.Tensor:
        features = [cast("_FeatureLens", s.lens).feature.index for s in self.steps]
        return _with_scale(self.basis, features, x)

    def write(self, x: torch.Tensor, values: torch.Tensor, at: At) -> torch.Tensor:
        before = x
        for i, step in enumerate(self.steps):
            x = step.write(x, values[..., [i, -1]], at, before)
        return x


def _together(steps: Sequence[BoundEdit]) -> list[BoundEdit]:
    """Join steps that set features of one basis, where no other step's site lies between them."""
    made: list[BoundEdit] = []
    for step in steps:
        if isinstance(step, _Bound) and step.sets and isinstance(step.lens, _FeatureLens):
            basis = step.lens.feature.basis
            sites = {step.reads, step.writes}
            for other in reversed(made):
                if isinstance(other, _Together) and other.basis is basis:
                    other.steps.append(step)
                    break
                if sites & {other.reads, other.writes}:
                    made.append(_Together([step], basis))
                    break
            else:
                made.append(_Together([step], basis))
        else:
            made.append(step)
    return made
