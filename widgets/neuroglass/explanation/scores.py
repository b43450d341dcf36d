"""Scores of simulations, as published: over all test tokens put together, with intervals.

``correlation`` is the published main score of *Language models can explain neurons in language
models* (Bills et al. 2023), on windows with strong activations and at random; ``random_only`` is
the harder one of the same paper; ``spearman`` that of *Towards Monosemanticity*.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from neuroglass.explanation.records import F64, Score, Simulated

BOOTSTRAPS = 400


def pearson(true: F64, said: F64) -> float:
    """Pearson's r; NaN where either is constant."""
    a, s = true - true.mean(), said - said.mean()
    spread = math.sqrt(float(a @ a) * float(s @ s))
    # a constant list of equal numbers may differ from its mean by rounding
    if np.ptp(true) == 0 or np.ptp(said) == 0 or spread == 0:
        return math.nan
    return float(a @ s) / spread


def spearman(true: F64, said: F64) -> float:
    """Pearson's r of the ranks, equal values sharing their mean rank."""
    return pearson(_ranks(true), _ranks(said))


def r_squared(true: F64, said: F64) -> float:
    """1 − mean (a − s)² / mean a², uncentred as published; NaN where the feature is silent."""
    below = float((true**2).mean())
    return 1 - float(((true - said) ** 2).mean()) / below if below else math.nan


def absolute_deviation(true: F64, said: F64) -> float:
    """1 − mean |a − s| / mean |a|; NaN where the feature is silent."""
    below = float(np.abs(true).mean())
    return 1 - float(np.abs(true - said).mean()) / below if below else math.nan


def precision(true: F64, said: F64) -> float:
    """Share of the tokens that are simulated on (> 0) at which the feature is on; NaN for none."""
    on = said > 0
    return float((true[on] > 0).mean()) if on.any() else math.nan


def recall(true: F64, said: F64) -> float:
    """Share of the tokens at which the feature is on that are simulated on; NaN for none."""
    return precision(said, true)


def _ranks(x: F64) -> F64:
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], np.float64)


def _moments(a: F64, s: F64) -> list[F64]:
    return [np.ones_like(a), a, s, a**2, s**2, a * s]


def _correlation(sums: F64) -> F64:
    n, a, s, aa, ss, both = sums.T
    spread = np.maximum(aa - a * a / n, 0) * np.maximum(ss - s * s / n, 0)
    # what is left of a constant list by rounding is no spread
    return np.where(spread > 1e-20 * aa * ss, (both - a * s / n) / np.sqrt(spread), np.nan)


def _ratio(sums: F64) -> F64:
    return np.asarray(sums[:, 0] / sums[:, 1])


def _one_minus_ratio(sums: F64) -> F64:
    return 1 - _ratio(sums)


def _both(a: F64, s: F64) -> F64:
    return np.asarray((a > 0) & (s > 0), np.float64)


@dataclass(frozen=True)
class _Formula:
    """A score of real and simulated values, and the same from sums over tokens.

    Attributes:
        value: the score.
        parts: what is summed over tokens.
        of_sums: the score of sums [draws, parts]; NaN where there is none.
    """

    value: Callable[[F64, F64], float]
    parts: Callable[[F64, F64], list[F64]]
    of_sums: Callable[[F64], F64]


_PEARSON = _Formula(pearson, _moments, _correlation)
_FORMULAS = {
    "correlation": _PEARSON,
    "spearman": _Formula(spearman, lambda a, s: _moments(_ranks(a), _ranks(s)), _correlation),
    "r_squared": _Formula(r_squared, lambda a, s: [(a - s) ** 2, a**2], _one_minus_ratio),
    "absolute_deviation": _Formula(
        absolute_deviation, lambda a, s: [np.abs(a - s), np.abs(a)], _one_minus_ratio
    ),
    "precision": _Formula(precision, lambda a, s: [_both(a, s), (s > 0).astype(float)], _ratio),
    "recall": _Formula(recall, lambda a, s: [_both(a, s), (a > 0).astype(float)], _ratio),
}


def simulation_scores(
    simulated: Sequence[Simulated], *, scale: float = 1.0, seed: int = 0
) -> dict[str, Score]:
    """The scores of one simulated test set.

    Args:
        simulated: windows of the test side and at random.
        scale: what a simulated value is multiplied by to be an activation, for the two scores that
            compare sizes.
        seed: of the bootstrap.

    Returns:
        ``correlation``, ``spearman``, ``r_squared``, ``absolute_deviation`` over all windows;
        ``precision`` and ``recall`` of being on, likewise (the explainability measure of *Scaling
        and evaluating sparse autoencoders*, for simulations that say zero, as patterns do); and
        ``random_only``: Pearson over the windows at random alone. A window that could not be
        simulated is left out, and counted. The intervals are of a bootstrap that draws whole
        windows, since tokens of one window are no independent draws; ranks stay those of all
        tokens.
    """
    at_random = [s for s in simulated if s.window.group == "random"]
    parts = {name: (list(simulated), formula) for name, formula in _FORMULAS.items()}
    parts["random_only"] = (at_random, _PEARSON)
    return {
        name: _score(name, some, formula, scale, seed) for name, (some, formula) in parts.items()
    }


def _score(
    name: str,
    some: Sequence[Simulated],
    formula: _Formula,
    scale: float,
    seed: int,
) -> Score:
    pairs = [(s.window.values, s.values * scale) for s in some if s.values is not None]
    failures = len(some) - len(pairs)
    nothing = np.zeros(0)
    true = np.concatenate([nothing, *(a for a, _ in pairs)])
    said = np.concatenate([nothing, *(s for _, s in pairs)])
    value = formula.value(true, said) if len(true) else math.nan
    if math.isnan(value):
        why = _why(len(pairs), true, said)
        return Score(name, None, windows=len(pairs), failures=failures, reason=why)
    low, high = _interval(formula, true, said, [len(a) for a, _ in pairs], seed)
    return Score(name, value, low, high, len(pairs), failures)


def _interval(
    formula: _Formula, true: F64, said: F64, sizes: Sequence[int], seed: int
) -> tuple[float | None, float | None]:
    """95 % of the values over windows drawn with replacement, from sums over each window."""
    starts = np.r_[0, np.cumsum(sizes)[:-1]].astype(np.int64)
    sums = np.stack([np.add.reduceat(p, starts) for p in formula.parts(true, said)], 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = formula.of_sums(_draws(len(sizes), seed) @ sums)
    defined = values[np.isfinite(values)]
    if len(defined) < BOOTSTRAPS // 2:
        return None, None
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)


@lru_cache(maxsize=16)
def _draws(windows: int, seed: int) -> F64:
    """How often each window is drawn: [BOOTSTRAPS, windows]."""
    rng = np.random.default_rng(seed)
    drawn: F64 = rng.multinomial(windows, [1 / windows] * windows, BOOTSTRAPS).astype(np.float64)
    drawn.setflags(write=False)
    return drawn


def _why(windows: int, true: F64, said: F64) -> str:
    if not windows:
        return "no window could be simulated"
    if not len(true):
        return "there are no tokens"
    if np.ptp(true) == 0:
        return "the feature is the same at every token of these windows"
    if np.ptp(said) == 0:
        return f"the simulation is {said[0]:g} at every token"
    if not (true > 0).any():
        return "the feature is nowhere above 0 in these windows"
    if not (said > 0).any():
        return "the simulation is nowhere above 0"
    return "it is undefined here"
