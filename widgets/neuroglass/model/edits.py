"""Edits: changes made at a site while the model runs.

``Add``, ``Scale``, ``Clamp`` and ``Ablate`` say what is changed, where and at which tokens.
``bind`` makes a list of them ready for one text or generation, after checking everything that can
be wrong, so that a pass that starts can finish. Values are worked out per token from the value that
is there, the token's position in its row and a fixed reference; hence an edit does the same in one
long pass and in cached decoding, whatever the padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, cast

import torch

from neuroglass.model.basis import Basis, Feature, Head, NeuronBasis
from neuroglass.model.errors import InputError, nearest
from neuroglass.model.run import Run
from neuroglass.model.sites import PER_HEAD, Site

if TYPE_CHECKING:
    from neuroglass.model.live import LiveModel

Positions: TypeAlias = Literal["all", "prompt", "generated"] | int | Sequence[int]
Target: TypeAlias = "str | Site | Feature | Head"
How: TypeAlias = Literal["zero", "mean", "resample", "patch"]
_HOW = ("zero", "mean", "resample", "patch")
_NAMED = ("all", "prompt", "generated")


@dataclass(frozen=True)
class At:
    """Which tokens a pass works on.

    Attributes:
        columns: int64 [batch, seen]: for every token seen so far, its position in its row (0 is the
            row's first token, padding not counted), -1 on padding.
        tokens: how many of the last columns this pass computes.
        prompt: int64 [batch]: how many tokens of each row are the prompt.
    """

    columns: torch.Tensor
    tokens: int
    prompt: torch.Tensor

    def last(self, n: int) -> torch.Tensor:
        """Positions of the last `n` columns, int64 [batch, n]."""
        return self.columns[:, self.columns.shape[1] - n :]


@dataclass(frozen=True)
class Extent:
    """What a run or generation may come to: `prompt` and `limit` tokens of each row."""

    prompt: Sequence[int]
    limit: Sequence[int]


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
    """Where an edit acts: common to all four.

    Attributes:
        positions: ``"all"``; ``"prompt"``; ``"generated"``; or positions, counted from each row's
            first token. Negative ones count from the end of the prompt: -1 is its last token.
        heads: only these heads (``q``, ``k``, ``v``, ``head_out``, ``pattern``; for ``k`` and ``v``
            key-value heads).
        features: only these coordinates of the site (``neurons``: neurons).
        pairs: only these (from, to) pairs of ``pattern``: token `from` looks at token `to`. Counted
            like positions.
    """

    positions: Positions = "all"
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
        strength: what the vector or number is multiplied by.
    """

    target: Target
    vector: torch.Tensor | float = field(default=1.0, repr=False)
    strength: float = 1.0

    def bind(self, model: LiveModel, extent: Extent) -> Sequence[BoundEdit]:
        lens = _lens(self, self.target, model)
        strength = _number("strength", self.strength)
        if isinstance(lens, _FeatureLens):
            if isinstance(self.vector, torch.Tensor) and self.vector.ndim:
                raise InputError(
                    "Add got a feature and a vector.",
                    "A feature brings its own direction: give a number, Add(feature, 4.0).",
                )
            amount = strength * float(_numbers("amount", self.vector))
            return [_Bound(lens, _spans(self, extent), lambda f, _: f + amount)]
        if lens.site.name == "pattern":
            raise InputError("Nothing can be added to a pattern.", "Use Scale, Clamp or Ablate.")
        if not isinstance(self.vector, torch.Tensor):
            raise InputError(
                f"Add needs a vector for {lens.site}, a tensor, not {_short(self.vector)}.",
                "A number alone goes with a feature: Add(feature, 4.0).",
            )
        vector = lens.fit("The vector", self.vector)
        return [_Bound(lens, _spans(self, extent), lambda x, _: x + strength * vector.to(x))]


@dataclass(frozen=True, eq=False)
class Scale(_Edit):
    """Multiply what is there by ``factor``: a site's values, or a feature's part of them."""

    target: Target
    factor: float

    def bind(self, model: LiveModel, extent: Extent) -> Sequence[BoundEdit]:
        factor = _number("factor", self.factor)
        lens = _lens(self, self.target, model)
        return [_Bound(lens, _spans(self, extent), lambda x, _: x * factor)]


@dataclass(frozen=True, eq=False)
class Clamp(_Edit):
    """Set values: a feature's, or those of some coordinates, heads or pairs of a site.

    Of a feature, the site changes by (value - what it was) times the feature's direction, and
    everything else in it stays (DESIGN §8).

    Args:
        target: as in ``Add``.
        value: a number, or one per entry of `features`.
    """

    target: Target
    value: float | Sequence[float]

    def bind(self, model: LiveModel, extent: Extent) -> Sequence[BoundEdit]:
        lens = _lens(self, self.target, model)
        value = _numbers("value", self.value)
        if isinstance(lens, _SiteLens):
            if lens.heads is None and self.features is None and self.pairs is None:
                raise InputError(
                    f"Clamp needs to know what of {lens.site} to set.",
                    "Give features=[...], heads=[...] or pairs=[...], or a feature's handle.",
                )
            if value.ndim:
                value = lens.fit("The values", value)
        elif value.ndim:
            raise InputError("Clamp of one feature takes one value.")
        step = _Bound(lens, _spans(self, extent), lambda x, _: value.to(x).expand_as(x), sets=True)
        return [step]


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
        spans = _spans(self, extent)
        return [_Bound(lens, spans, self._new(model, lens, spans, extent), sets=True)]

    def _new(self, model: LiveModel, lens: _Lens, spans: _Spans, extent: Extent) -> _New:
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
        draw = torch.Generator().manual_seed(_integers("seed", self.seed)[0])
        # for every position there can be: a draw knows neither the text's length nor its row
        drawn = torch.randint(len(kept), (model.context,), generator=draw).to(kept.device)
        return lambda x, positions: kept[drawn[positions.clamp_min(0)]].to(x)


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
    chosen = _integers(f"{what}s", given)
    bad = [i for i in chosen if not 0 <= i < size]
    if bad:
        raise InputError(
            f"{site} has no {what} {bad[0]}.", f"They go from 0 to {size - 1}: give some of those."
        )
    if not chosen or len(set(chosen)) < len(chosen):
        raise InputError(f"{what}s are empty or named twice.", f"Name each {what} once.")
    return chosen


# -- positions -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Spans:
    """Checked positions and pairs of an edit."""

    named: str | None  # one of _NAMED
    chosen: torch.Tensor | None  # int64 [batch, n]
    pairs: torch.Tensor | None  # int64 [batch, n, 2]

    def mask(self, positions: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor | None:
        """True where the edit acts, bool like `positions` [batch, tokens]; None: everywhere."""
        if self.chosen is not None:
            chosen = self.chosen.to(positions.device)
            return (positions[:, :, None] == chosen[:, None, :]).any(-1)
        if self.named == "all":
            return None
        first = prompt.to(positions.device)[:, None]
        inside = positions < first if self.named == "prompt" else positions >= first
        return inside & (positions >= 0)

    def pair_mask(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor | None:
        """True at the chosen pairs, bool [batch, 1, from, to]; None: all pairs."""
        if self.pairs is None:
            return None
        pairs = self.pairs.to(rows.device)
        hit = (rows[:, :, None, None] == pairs[:, None, None, :, 0]) & (
            columns[:, None, :, None] == pairs[:, None, None, :, 1]
        )
        return hit.any(-1)[:, None]

    def reach(self, extent: Extent) -> torch.Tensor:
        """All positions that the edit can touch: bool [batch, most tokens of a row]."""
        longest = max(extent.limit)
        positions = torch.arange(longest).expand(len(extent.limit), longest)
        positions = positions.masked_fill(positions >= torch.tensor(extent.limit)[:, None], -1)
        mask = self.mask(positions, torch.tensor(extent.prompt))
        return positions >= 0 if mask is None else mask & (positions >= 0)


def _spans(edit: _Edit, extent: Extent) -> _Spans:
    given = edit.positions
    pairs = None
    if edit.pairs is not None:
        try:
            both = [(one, other) for one, other in edit.pairs]
        except (TypeError, ValueError):
            both = []
        if not both:
            raise InputError("pairs are (from, to) tuples of positions.", "Such as [(7, 2)].")
        flat = _integers("pairs", [i for pair in both for i in pair])
        pairs = _resolve(flat, extent).view(len(extent.limit), -1, 2)
        if bool((pairs[..., 0] < pairs[..., 1]).any()):
            raise InputError(
                "A pair looks at a later token, which no attention does.",
                "Pairs are (from, to), and `to` is not after `from`.",
            )
    if isinstance(given, str):
        if given not in _NAMED:
            raise InputError(
                f"There are no positions {given!r}.",
                f"{nearest(given, _NAMED)} Or give numbers.",
            )
        return _Spans(given, None, pairs)
    chosen = _integers("positions", given)
    if not chosen:
        raise InputError("positions are empty: the edit would do nothing.", "Name some, or 'all'.")
    return _Spans(None, _resolve(chosen, extent), pairs)


def _resolve(given: Sequence[int], extent: Extent) -> torch.Tensor:
    """Positions of each row, negatives counted from the end of its prompt: int64 [batch, n]."""
    rows = []
    for row, (prompt, limit) in enumerate(zip(extent.prompt, extent.limit, strict=True)):
        found = [p + prompt if p < 0 else p for p in given]
        bad = [p for p, f in zip(given, found, strict=True) if not 0 <= f < limit]
        if bad:
            which = f"row {row}" if len(extent.limit) > 1 else "the text"
            raise InputError(
                f"Position {bad[0]} is out of range: {which} has {limit} tokens.",
                f"Positions go from {-prompt} to {limit - 1}.",
            )
        rows.append(found)
    return torch.tensor(rows)


# -- references ----------------------------------------------------------------------------------


def _reference(run: Run, model: LiveModel, site: Site) -> torch.Tensor:
    model.owns(run.model, "The reference run")
    if str(site) not in run.sites:
        raise InputError(
            f"The reference has not captured {site}.", f"Run it with sites=['{site}']."
        )
    return run.sites[str(site)]


def _patch(
    lens: _Lens, table: torch.Tensor, mask: torch.Tensor, spans: _Spans, extent: Extent
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


def _finite(what: str, value: torch.Tensor) -> None:
    if not bool(value.isfinite().all()):
        raise InputError(f"The {what.removeprefix('the ')} of an edit is NaN or infinite.")


def _number(what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"The {what} of an edit is a number, not {_short(value)}.")
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


def _integers(what: str, value: object) -> list[int]:
    """One integer or several."""
    if isinstance(value, torch.Tensor):
        value = value.tolist()
    several = isinstance(value, Iterable) and not isinstance(value, str)
    found = list(cast("Iterable[object]", value)) if several else [value]
    wrong = [v for v in found if isinstance(v, bool) or not isinstance(v, Integral)]
    if wrong:
        raise InputError(f"{what} must be whole numbers, not {_short(wrong[0])}.")
    return [int(cast("int", v)) for v in found]


def _short(value: object) -> str:
    return f"{type(value).__name__} {str(value)[:40]!r}"


# -- steps ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Bound:
    """A step of one of our four edits."""

    lens: _Lens
    spans: _Spans
    new: _New
    sets: bool = False  # what was there before is gone

    @property
    def reads(self) -> Site:
        return self.lens.reads

    @property
    def writes(self) -> Site:
        return self.lens.writes

    def read(self, x: torch.Tensor) -> torch.Tensor:
        if isinstance(self.lens, _FeatureLens):
            return _with_scale(self.lens.feature.basis, [self.lens.feature.index], x)
        return self.lens.read(x)

    def write(self, x: torch.Tensor, values: torch.Tensor, at: At) -> torch.Tensor:
        scale = None
        if isinstance(self.lens, _FeatureLens):
            values, scale = values.unbind(-1)
        if self.writes.name == "pattern":
            columns = at.last(x.shape[3])
            rows = at.last(x.shape[2])
            new = self.new(values, columns)
            mask = self.spans.mask(rows, at.prompt)
            mask = None if mask is None else mask[:, None, :, None]
            pairs = self.spans.pair_mask(rows, columns)
            if mask is not None and pairs is not None:
                mask = mask & pairs
            elif mask is None:
                mask = pairs
        else:
            positions = at.last(x.shape[1])
            new = self.new(values, positions)
            mask = self.spans.mask(positions, at.prompt)
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
                f"{_short(edit)} is not an edit.",
                "Edits are made with ng.Add, ng.Scale, ng.Clamp and ng.Ablate.",
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
            if one.lens.claims() & other.lens.claims() and _meet(one.spans, other.spans, extent):
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
        for i, step in enumerate(self.steps):
            x = step.write(x, values[..., [i, -1]], at)
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


def _meet(one: _Spans, other: _Spans, extent: Extent) -> bool:
    if not bool((one.reach(extent) & other.reach(extent)).any()):
        return False
    if one.pairs is None or other.pairs is None:
        return True
    return bool((one.pairs[:, :, None] == other.pairs[:, None]).all(-1).any())
