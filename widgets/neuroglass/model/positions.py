"""Positions: which tokens of which rows an edit touches, whatever the padding and the cache.

What an edit says (``positions``, ``rows``, ``pairs``) and the lengths of a text
flow in; a mask over the tokens of any one pass comes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal, TypeAlias, cast

import torch

from neuroglass.model.errors import InputError, nearest

Positions: TypeAlias = Literal["all", "prompt", "generated"] | int | slice | Sequence[int]
_NAMED = ("all", "prompt", "generated")


@dataclass(frozen=True)
class At:
    """Which tokens a pass works on.

    Attributes:
        columns: int64 [batch, seen]: for every token seen so far, its position in its row (0 is the
            row's first token, padding not counted), -1 on padding.
        tokens: how many of the last columns this pass computes.
        prompt: int64 [batch]: how many tokens of each row are the prompt.
        ids: int64 [batch, tokens]: the tokens of this pass, anything on padding.
    """

    columns: torch.Tensor
    tokens: int
    prompt: torch.Tensor
    ids: torch.Tensor | None = None

    def last(self, n: int) -> torch.Tensor:
        """Positions of the last `n` columns, int64 [batch, n]."""
        return self.columns[:, self.columns.shape[1] - n :]


@dataclass(frozen=True)
class Extent:
    """What a run or generation may come to: `prompt` and `limit` tokens of each row."""

    prompt: Sequence[int]
    limit: Sequence[int]


@dataclass(frozen=True)
class Spans:
    """Checked positions, rows and pairs of an edit. Make them with ``spans``."""

    named: str | None  # one of _NAMED
    chosen: torch.Tensor | None  # int64 [batch, n]
    between: torch.Tensor | None  # int64 [batch, 2]: first, and one past the last
    rows: torch.Tensor | None  # bool [batch]; None: all
    special: torch.Tensor | None  # bool [vocabulary]: tokens to leave out; None: none
    pairs: torch.Tensor | None  # int64 [batch, n, 2]

    def mask(
        self, positions: torch.Tensor, prompt: torch.Tensor, ids: torch.Tensor | None = None
    ) -> torch.Tensor | None:
        """True where the edit acts, bool like `positions` [batch, tokens]; None: everywhere.

        Args:
            positions: int64 [batch, tokens], -1 on padding.
            prompt: int64 [batch].
            ids: int64 [batch, tokens].
        """
        on = self._on(positions, prompt)
        if self.rows is not None:
            rows = self.rows.to(positions.device)[:, None].expand_as(positions)
            on = rows if on is None else on & rows
        if self.special is not None and ids is not None:
            plain = ~self.special.to(ids.device)[ids]
            on = plain if on is None else on & plain
        return on

    def _on(self, positions: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor | None:
        if self.chosen is not None:
            chosen = self.chosen.to(positions.device)
            return (positions[:, :, None] == chosen[:, None, :]).any(-1)
        if self.between is not None:
            between = self.between.to(positions.device)
            return (positions >= between[:, :1]) & (positions < between[:, 1:])
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

    def meets(self, other: Spans, extent: Extent) -> bool:
        """Whether both can touch one token (of a pattern: one pair)."""
        if not bool((self.reach(extent) & other.reach(extent)).any()):
            return False
        if self.pairs is None or other.pairs is None:
            return True
        return bool((self.pairs[:, :, None] == other.pairs[:, None]).all(-1).any())


def spans(
    given: Positions,
    extent: Extent,
    *,
    rows: Sequence[int] | None = None,
    special: torch.Tensor | None = None,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> Spans:
    """Check them against the lengths of a text.

    Raises:
        InputError: something is out of range, empty, or of another kind.
    """
    batch = len(extent.limit)
    touched = None
    if rows is not None:
        named = integers("rows", rows)
        if bad := [r for r in named if not 0 <= r < batch]:
            raise InputError(
                f"There is no row {bad[0]}: the batch has {batch}.", f"Give 0 to {batch - 1}."
            )
        if not named:
            raise InputError("rows are empty: the edit would do nothing.", "Name some, or None.")
        touched = torch.zeros(batch, dtype=torch.bool)
        touched[named] = True
    resolved = None
    if pairs is not None:
        try:
            both = [(one, other) for one, other in pairs]
        except (TypeError, ValueError):
            both = []
        if not both:
            raise InputError("pairs are (from, to) tuples of positions.", "Such as [(7, 2)].")
        flat = integers("pairs", [i for pair in both for i in pair])
        resolved = _resolve(flat, extent, touched).view(batch, -1, 2)
        if bool((resolved[..., 0] < resolved[..., 1]).any()):
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
        return Spans(given, None, None, touched, special, resolved)
    if isinstance(given, slice):
        between = _between(given, extent, touched)
        return Spans(None, None, between, touched, special, resolved)
    chosen = integers("positions", given)
    if not chosen:
        raise InputError("positions are empty: the edit would do nothing.", "Name some, or 'all'.")
    at = _resolve(chosen, extent, touched)
    return Spans(None, at, None, touched, special, resolved)


def _between(given: slice, extent: Extent, rows: torch.Tensor | None) -> torch.Tensor:
    """First position and one past the last of a slice, in each row: int64 [batch, 2]."""
    if given.step not in {None, 1}:
        raise InputError("positions are a slice with a step.", "Give first and last only.")
    first, last = given.start or 0, given.stop
    integers("positions", [first] if last is None else [first, last])
    found = []
    for row, (prompt, limit) in enumerate(zip(extent.prompt, extent.limit, strict=True)):
        start = max(first + prompt, 0) if first < 0 else int(first)
        stop = limit if last is None else last + prompt if last < 0 else int(last)
        if (rows is None or bool(rows[row])) and not start < min(stop, limit):
            raise InputError(
                f"The positions from {start} to {stop} are empty: the text has {limit} tokens.",
                f"Positions go from {-prompt} to {limit - 1}.",
            )
        found.append((start, stop))
    return torch.tensor(found)


def _resolve(given: Sequence[int], extent: Extent, rows: torch.Tensor | None) -> torch.Tensor:
    """Positions of each row, negatives counted from the end of its prompt: int64 [batch, n].

    In rows that the edit does not touch: -2, which is nowhere.
    """
    found = []
    for row, (prompt, limit) in enumerate(zip(extent.prompt, extent.limit, strict=True)):
        if rows is not None and not rows[row]:
            found.append([-2] * len(given))
            continue
        here = [p + prompt if p < 0 else p for p in given]
        bad = [p for p, f in zip(given, here, strict=True) if not 0 <= f < limit]
        if bad:
            which = f"row {row}" if len(extent.limit) > 1 else "the text"
            raise InputError(
                f"Position {bad[0]} is out of range: {which} has {limit} tokens.",
                f"Positions go from {-prompt} to {limit - 1}.",
            )
        found.append(here)
    return torch.tensor(found)


def integers(what: str, value: object) -> list[int]:
    """One integer or several.

    Raises:
        InputError: something else.
    """
    if isinstance(value, torch.Tensor):
        value = value.tolist()
    several = isinstance(value, Iterable) and not isinstance(value, str)
    found = list(cast("Iterable[object]", value)) if several else [value]
    wrong = [v for v in found if isinstance(v, bool) or not isinstance(v, Integral)]
    if wrong:
        raise InputError(f"{what} must be whole numbers, not {short(wrong[0])}.")
    return [int(cast("int", v)) for v in found]


def short(value: object) -> str:
    """A value for an error message: its type and how it begins."""
    return f"{type(value).__name__} {str(value)[:40]!r}"
