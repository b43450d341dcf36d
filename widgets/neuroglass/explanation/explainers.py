"""Explainers that need no language model as judge: patterns found by trying, and lists of tokens.

``PatternExplainer`` does what N2G does (Foote et al. 2023; the variant of *Scaling and evaluating
sparse autoencoders*): it shortens and blanks out the text before a strong token, and asks the model
what of it the feature needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neuroglass.explanation.patterns import Pattern, matches, write
from neuroglass.explanation.records import F64, Window
from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    from neuroglass.features.stored_feature import StoredFeature
    from neuroglass.model.live import LiveModel

_AT_ONCE = 4096  # tokens of a batch
_PADS = (" _", "_", " ", ".", "\n")  # what a token is replaced by: the first that is one token


@dataclass(frozen=True)
class PatternExplainer:
    """Patterns of tokens that switch the feature on, out of its strongest windows.

    Of each window, the text up to the strongest token is shortened from the front as far as the
    activation stays at least `keep` of what it was; then each token is replaced by a filler, and is
    a wildcard where the activation stays above `keep`; then a filler is put in front, and the
    pattern is anchored where that takes the activation away. A pattern's value is the mean of the
    true values where it matches in the windows it was made of (in the original, the value of the
    shortened text).

    Args:
        reach: tokens that a pattern may have.
        keep: share of the activation that must stay.
        back_off: add the last token of each pattern alone, for where the longer one does not match
            (not in the original: patterns of whole contexts seldom occur again).
    """

    reach: int = 12
    keep: float = 0.5
    back_off: bool = True
    name = "patterns (N2G)"

    def explain(self, feature: StoredFeature, train: Sequence[Window], largest: float) -> str:
        """See ``Explainer``.

        Raises:
            InputError: the store has no model; nothing switches the feature on.
        """
        del largest
        ask = _Asker(feature)
        tails = [_Tail.of(w, self.reach) for w in train if w.values.max() > 0]
        self._shorten(tails, ask)
        self._blank(tails, ask)
        found = [t.pattern() for t in tails]
        if self.back_off:
            found += [Pattern(p.tokens[-1:], p.value) for p in found]
        patterns = list({(p.tokens, p.anchored): p for p in reversed(found)}.values())[::-1]
        if not patterns:
            raise InputError(f"Nothing in its examples switches {feature.id} on.")
        return write(calibrated(patterns, train))

    def _shorten(self, tails: Sequence[_Tail], ask: _Asker) -> None:
        """The shortest end of each text that keeps the activation."""
        cuts = [(t, n) for t in tails for n in range(1, len(t.ids) + 1)]
        found = ask([t.ids[len(t.ids) - n :] for t, n in cuts])
        for (tail, n), value in zip(cuts, found.tolist(), strict=True):
            tail.ends[n] = value
        for tail in tails:
            enough = [n for n, v in sorted(tail.ends.items()) if v >= self.keep * tail.whole]
            n = enough[0] if enough else len(tail.ids)
            tail.ids, tail.pieces = tail.ids[len(tail.ids) - n :], tail.pieces[-n:]
            tail.short = tail.ends[n]

    def _blank(self, tails: Sequence[_Tail], ask: _Asker) -> None:
        """Which tokens matter, and whether it must be the beginning."""
        tries = [(t, i) for t in tails for i in range(-1, len(t.ids) - 1)]
        rows = [
            [ask.pad, *t.ids] if i < 0 else [*t.ids[:i], ask.pad, *t.ids[i + 1 :]] for t, i in tries
        ]
        for (tail, i), value in zip(tries, ask(rows).tolist(), strict=True):
            stays = value >= self.keep * tail.short
            if i < 0:
                tail.anchored = tail.at_start and not stays
            else:
                tail.needed[i] = not stays


@dataclass
class _Tail:
    """The text that leads up to a strong token."""

    ids: list[int]
    pieces: list[str]
    whole: float  # activation in its window
    at_start: bool  # the window begins with it
    ends: dict[int, float]  # activation of the last n tokens alone
    needed: dict[int, bool]
    short: float = 0.0
    anchored: bool = False

    @classmethod
    def of(cls, window: Window, reach: int) -> _Tail:
        at = int(window.values.argmax())
        first = max(0, at + 1 - reach)
        return cls(
            list(window.ids[first : at + 1]), list(window.pieces[first : at + 1]),
            float(window.values[at]), first == 0, {}, {},
        )  # fmt: skip

    def pattern(self) -> Pattern:
        last = len(self.pieces) - 1
        tokens = tuple(
            p if i == last or self.needed.get(i, True) else None for i, p in enumerate(self.pieces)
        )
        while tokens[0] is None and not self.anchored:
            tokens = tokens[1:]
        return Pattern(tokens, self.short, self.anchored)


class _Asker:
    """The feature's activation at the last token of texts."""

    def __init__(self, feature: StoredFeature) -> None:
        self.model: LiveModel = feature.store.model
        self.feature = feature.feature
        self.lead = list(feature.store.corpus.lead)
        self.pad = _pad(self.model)

    def __call__(self, rows: Sequence[Sequence[int]]) -> F64:
        """[rows]."""
        out = np.zeros(len(rows))
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        site = self.feature.read_site
        at = 0
        while at < len(order):
            longest = len(rows[order[at]]) + len(self.lead)
            n = max(1, _AT_ONCE // longest)
            # sorted by length, the last of a batch is its longest
            while (
                n > 1
                and n * (len(rows[order[min(at + n, len(order)) - 1]]) + len(self.lead)) > _AT_ONCE
            ):
                n = n * 3 // 4
            chosen = order[at : at + n]
            batch = [[*self.lead, *rows[i]] for i in chosen]
            run = self.model.run(batch, sites=[site], logits=False)
            x = run[site].flatten(2) if run[site].ndim > 3 else run[site]
            last = torch.tensor([len(b) - 1 for b in batch], device=x.device)
            values = self.feature.activations(x[torch.arange(len(batch)), last].float())
            out[chosen] = values.double().cpu().numpy()
            at += n
        return out


def _pad(model: LiveModel) -> int:
    for text in _PADS:
        [ids] = model.prompts.plain([text])
        if len(ids) == 1:
            return ids[0]
    return 0


def calibrated(patterns: Sequence[Pattern], windows: Sequence[Window]) -> list[Pattern]:
    """Patterns with the mean of the true values where each counts; largest first.

    Those that count nowhere keep their value.
    """
    seen: dict[int, list[float]] = {}
    for w in windows:
        for k, value in zip(matches(patterns, w), w.values.tolist(), strict=True):
            if k >= 0:
                seen.setdefault(k, []).append(value)
    made = [
        replace(p, value=float(f"{np.mean(seen[k]):.4g}")) if k in seen else p
        for k, p in enumerate(patterns)
    ]
    return sorted(made, key=lambda p: -p.value)


@dataclass(frozen=True)
class TokenExplainer:
    """A list of single tokens, each with its mean value in the windows: the simplest explanation.

    It is the control of an explanation that claims more: *Towards Monosemanticity* warns that
    features of single tokens score high.

    Args:
        most: tokens listed.
        least: mean value below which a token is not listed, as a share of the largest mean.
    """

    most: int = 20
    least: float = 0.05
    name = "tokens"

    def explain(self, feature: Any, train: Sequence[Window], largest: float) -> str:
        """See ``Explainer``.

        Raises:
            InputError: the feature is off in all windows.
        """
        del largest
        values: dict[str, list[float]] = {}
        for w in train:
            for piece, value in zip(w.pieces, w.values.tolist(), strict=True):
                if piece:
                    values.setdefault(piece, []).append(value)
        mean = {piece: float(np.mean(v)) for piece, v in values.items()}
        top = sorted((m, p) for p, m in mean.items() if m > 0)[::-1]
        if not top:
            raise InputError(f"{feature.id} is on at no token of its examples.")
        kept = [(m, p) for m, p in top[: self.most] if m >= self.least * top[0][0]]
        return write([Pattern((p,), float(f"{m:.4g}")) for m, p in kept])
