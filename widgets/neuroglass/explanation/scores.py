"""Scores of simulations, as published: over all test tokens put together, with intervals.

``correlation`` is the published main score of *Language models can explain neurons in language
models* (Bills et al. 2023), on windows with strong activations and at random; ``random_only`` is
the harder one of the same paper; ``spearman`` that of *Towards Monosemanticity*.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from neuroglass.explanation.records import F64, Score, Simulated

BOOTSTRAPS = 400
_FORMULAS: dict[str, Callable[[F64, F64], float]]


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


def _ranks(x: F64) -> F64:
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], np.float64)


_FORMULAS = {
    "correlation": pearson,
    "spearman": spearman,
    "r_squared": r_squared,
    "absolute_deviation": absolute_deviation,
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
        ``correlation``, ``spearman``, ``r_squared``, ``absolute_deviation`` over all windows, and
        ``random_only``: Pearson over the windows at random alone. A window that could not be
        simulated is left out, and counted. The intervals are of a bootstrap that draws whole
        windows, since tokens of one window are no independent draws; ranks stay those of all
        tokens.
    """
    at_random = [s for s in simulated if s.window.group == "random"]
    parts = {name: (list(simulated), formula) for name, formula in _FORMULAS.items()}
    parts["random_only"] = (at_random, pearson)
    return {
        name: _score(name, some, formula, scale, seed) for name, (some, formula) in parts.items()
    }


def _score(
    name: str,
    some: Sequence[Simulated],
    formula: Callable[[F64, F64], float],
    scale: float,
    seed: int,
) -> Score:
    pairs = [(s.window.values, s.values * scale) for s in some if s.values is not None]
    failures = len(some) - len(pairs)
    nothing = np.zeros(0)
    true = np.concatenate([nothing, *(a for a, _ in pairs)])
    said = np.concatenate([nothing, *(s for _, s in pairs)])
    value = formula(true, said) if len(true) else math.nan
    if math.isnan(value):
        why = _why(len(pairs), true, said)
        return Score(name, None, windows=len(pairs), failures=failures, reason=why)
    low, high = _interval(formula, true, said, [len(a) for a, _ in pairs], seed)
    return Score(name, value, low, high, len(pairs), failures)


def _interval(
    formula: Callable[[F64, F64], float], true: F64, said: F64, sizes: Sequence[int], seed: int
) -> tuple[float | None, float | None]:
    """95 % of the values over windows drawn with replacement, from sums over each window."""
    if formula is spearman:
        true, said, formula = _ranks(true), _ranks(said), pearson
    if formula is pearson:
        parts = [np.ones_like(true), true, said, true**2, said**2, true * said]
    elif formula is r_squared:
        parts = [(true - said) ** 2, true**2]
    else:
        parts = [np.abs(true - said), np.abs(true)]
    starts = np.r_[0, np.cumsum(sizes)[:-1]].astype(np.int64)
    sums = np.stack([np.add.reduceat(p, starts) for p in parts], 1)  # [windows, parts]
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(sizes), [1 / len(sizes)] * len(sizes), BOOTSTRAPS) @ sums
    with np.errstate(invalid="ignore", divide="ignore"):
        if formula is pearson:
            n, a, s, aa, ss, both = drawn.T
            spread = np.maximum(aa - a * a / n, 0) * np.maximum(ss - s * s / n, 0)
            # what is left of a constant list by rounding is no spread
            values = np.where(
                spread > 1e-20 * aa * ss, (both - a * s / n) / np.sqrt(spread), np.nan
            )
        else:
            values = 1 - drawn[:, 0] / drawn[:, 1]
    defined = values[np.isfinite(values)]
    if len(defined) < BOOTSTRAPS // 2:
        return None, None
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)


def _why(windows: int, true: F64, said: F64) -> str:
    if not windows:
        return "no window could be simulated"
    if not len(true):
        return "there are no tokens"
    if np.ptp(true) == 0:
        return "the feature is the same at every token of these windows"
    if np.ptp(said) == 0:
        return f"the simulation is {said[0]:g} at every token"
    return "it is undefined here"
