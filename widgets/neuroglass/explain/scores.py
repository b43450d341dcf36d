"""Scores of simulations, as published: over all test tokens put together, with intervals.

``correlation`` is the published main score of *Language models can explain neurons in language
models* (Bills et al. 2023), on windows with strong activations and at random; ``random_only`` is
the harder one of the same paper; ``spearman`` that of *Towards Monosemanticity*.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from neuroglass.explain.records import F64, Score, Simulated

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
        seed: of the bootstrap, which draws whole windows: tokens of one window are no independent
            draws.

    Returns:
        ``correlation``, ``spearman``, ``r_squared``, ``absolute_deviation`` over all windows, and
        ``random_only``: Pearson over the windows at random alone. A window that could not be
        simulated is left out, and counted.
    """
    there = [s for s in simulated if s.values is not None]
    failures = len(simulated) - len(there)
    at_random = [s for s in there if s.window.group == "random"]
    parts = {name: (there, formula) for name, formula in _FORMULAS.items()}
    parts["random_only"] = (at_random, pearson)
    return {
        name: _score(name, some, formula, failures, scale, seed)
        for name, (some, formula) in parts.items()
    }


def _score(
    name: str,
    some: Sequence[Simulated],
    formula: Callable[[F64, F64], float],
    failures: int,
    scale: float,
    seed: int,
) -> Score:
    pairs = [(s.window.values, s.values * scale) for s in some if s.values is not None]
    value = _over(pairs, range(len(pairs)), formula)
    if value is None:
        return Score(name, None, windows=len(pairs), failures=failures, reason=_why(pairs))
    rng = np.random.default_rng(seed)
    drawn = [
        _over(pairs, rng.integers(0, len(pairs), len(pairs)).tolist(), formula)
        for _ in range(BOOTSTRAPS)
    ]
    defined = [v for v in drawn if v is not None]
    low, high = np.quantile(defined, [0.025, 0.975]) if len(defined) > 1 else (None, None)
    return Score(
        name,
        value,
        None if low is None else float(low),
        None if high is None else float(high),
        len(pairs),
        failures,
    )


def _over(
    pairs: Sequence[tuple[F64, F64]], chosen: Sequence[int], formula: Callable[[F64, F64], float]
) -> float | None:
    if not chosen:
        return None
    true = np.concatenate([pairs[i][0] for i in chosen])
    said = np.concatenate([pairs[i][1] for i in chosen])
    if not len(true):
        return None
    value = formula(true, said)
    return None if math.isnan(value) else value


def _why(pairs: Sequence[tuple[F64, F64]]) -> str:
    if not pairs:
        return "no window could be simulated"
    true = np.concatenate([p[0] for p in pairs])
    said = np.concatenate([p[1] for p in pairs])
    if not len(true):
        return "there are no tokens"
    if np.ptp(true) == 0:
        return "the feature is the same at every token of these windows"
    if np.ptp(said) == 0:
        return f"the simulation is {said[0]:g} at every token"
    return "it is undefined here"
