"""Scores by effect: does an explanation know what the feature is for in the model?

``ablation_score`` puts the simulated values in the place of the true ones and compares what the
model then says (Bills et al. 2023, ablation scoring); ``output_score`` asks whether texts that were
written with the feature turned up look like the explanation.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from neuroglass.explanation.records import F64, Score, Simulated, Simulator, Window
from neuroglass.explanation.scores import BOOTSTRAPS
from neuroglass.model.edits import Ablate, Clamp
from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    from neuroglass.features.stored_feature import StoredFeature

_CLAMPS = 256  # tokens of a window whose values are set at most


def ablation_score(
    feature: StoredFeature, simulated: Sequence[Simulated], *, seed: int = 0
) -> Score:
    """1 − E[JSD(as simulated ‖ as it is)] / E[JSD(without ‖ as it is)], over all next tokens.

    1: the model can't tell the simulation from the feature; 0: no better than taking it away;
    below 0: worse. JSD is the Jensen-Shannon divergence of the next token, nats; "without" sets the
    feature to zero.

    Args:
        feature: of a store with its model.
        simulated: in the feature's own scale (a pattern simulator's).
        seed: of the bootstrap over windows.

    Raises:
        InputError: the store has no model; a window is longer than 256 tokens.
    """
    steps = ablation_steps(feature, simulated, seed=seed)
    found: Score = feature.store.model.work(lambda _: steps).result()
    return found


def ablation_steps(
    feature: StoredFeature, simulated: Sequence[Simulated], *, seed: int = 0
) -> Generator[None, None, Score]:
    """``ablation_score`` in steps: one for each window that was simulated."""
    model, live = feature.store.model, feature.feature
    lead = list(feature.store.corpus.lead)
    there = [s for s in simulated if s.values is not None]
    rows = []
    for s in there:
        assert s.values is not None
        if len(s.window) > _CLAMPS:
            raise InputError(f"A window of {len(s.window)} tokens.", f"Give {_CLAMPS} at most.")
        ids = [*lead, *s.window.ids]
        # tokens whose value is as it was need no edit
        wrong = np.flatnonzero(s.values != s.window.values)
        edits = [Clamp(live, float(s.values[i]), positions=[len(lead) + int(i)]) for i in wrong]
        clean = _logprobs(model.run([ids]).logits)
        said = _logprobs(model.run([ids], edits=edits).logits) if edits else clean
        without = _logprobs(model.run([ids], edits=[Ablate(live, "zero")]).logits)
        rows.append((_jsd(clean, said), _jsd(clean, without)))
        yield
    failures = len(simulated) - len(there)
    if not rows or not sum(w for _, w in rows):
        why = "taking the feature away changes nothing" if rows else "nothing could be simulated"
        return Score("ablation", None, windows=len(rows), failures=failures, reason=why)
    sums = np.array([[s, w] for s, w in rows])
    value = 1 - sums[:, 0].sum() / sums[:, 1].sum()
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(rows), [1 / len(rows)] * len(rows), BOOTSTRAPS) @ sums
    ratio = 1 - drawn[drawn[:, 1] > 0][:, 0] / drawn[drawn[:, 1] > 0][:, 1]
    low, high = np.quantile(ratio, [0.025, 0.975])
    return Score("ablation", float(value), float(low), float(high), len(rows), failures)


def _logprobs(logits: torch.Tensor | None) -> torch.Tensor:
    assert logits is not None
    return logits[0].float().log_softmax(-1)


def _jsd(p: torch.Tensor, q: torch.Tensor) -> float:
    """Σ over tokens of the Jensen-Shannon divergence of log-probabilities [tokens, vocabulary]."""
    if p is q:
        return 0.0
    middle = torch.logaddexp(p, q) - float(np.log(2))
    both = (p.exp() * (p - middle)).sum(-1) + (q.exp() * (q - middle)).sum(-1)
    return float(both.clamp_min(0).sum()) / 2


def output_score(
    text: str,
    feature: StoredFeature,
    simulator: Simulator,
    *,
    texts: int = 8,
    controls: int = 4,
    max_new_tokens: int = 40,
    strength: float = 1.0,
    prompt: str = "The",
    seed: int = 0,
) -> Score:
    """Whether texts steered by the feature look like its explanation: area under the ROC curve.

    The model writes with the feature clamped to `strength` times its largest value, and with each
    of some other live features clamped to theirs; a text's mark is the mean of what the explanation
    says of its new tokens. 1: every text of this feature has a higher mark than every other one;
    0.5: chance. (After the output-centric scores of Gur-Arieh et al. 2025, with the simulator in
    the place of their judge.)

    Args:
        text: the explanation.
        feature: of a store with its model.
        simulator: reads the explanation.
        texts: written with each feature.
        controls: how many other features, drawn among those that are on at 20 tokens or more.
        max_new_tokens, prompt, seed: of the texts.
        strength: times the largest value.

    Raises:
        InputError: the store has no model; the explanation can't be read.
    """
    steps = output_steps(
        text, feature, simulator, texts=texts, controls=controls, max_new_tokens=max_new_tokens,
        strength=strength, prompt=prompt, seed=seed,
    )  # fmt: skip
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            found: Score = stop.value
            return found


def output_steps(
    text: str,
    feature: StoredFeature,
    simulator: Simulator,
    *,
    texts: int = 8,
    controls: int = 4,
    max_new_tokens: int = 40,
    strength: float = 1.0,
    prompt: str = "The",
    seed: int = 0,
) -> Generator[None, None, Score]:
    """``output_score`` in steps: one for the feature, one for each control."""
    store = feature.store
    frame = store.to_frame()
    alive = frame.index[(frame["count"] >= 20) & (frame.index != feature.index)].to_numpy()
    if not len(alive):
        raise InputError("The store has no other feature to compare with.")
    rng = np.random.default_rng(seed)
    others = rng.choice(alive, min(controls, len(alive)), replace=False).tolist()
    marks: list[F64] = []
    failures = 0
    for index in [feature.index, *others]:
        one = store[int(index)]
        clamp = Clamp(one.feature, strength * float(one.row["max"]))
        run = store.model.generate(
            prompt, edits=[clamp], n=texts, max_new_tokens=max_new_tokens, temperature=1.0,
            seed=seed,
        )  # fmt: skip
        run.finish()
        windows = [_written(one, ids) for ids in run.tokens]
        said = simulator.simulate(text, [w for w in windows if len(w)])
        failures += sum(s.values is None for s in said)
        marks.append(np.array([s.values.mean() for s in said if s.values is not None]))
        yield
    mine, theirs = marks[0], np.concatenate(marks[1:])
    if not len(mine) or not len(theirs):
        return Score("output", None, failures=failures, reason="nothing could be simulated")
    if np.ptp(np.r_[mine, theirs]) == 0:
        return Score("output", None, windows=len(mine), failures=failures,
                     reason="the explanation says the same of every text")  # fmt: skip
    value = _auc(mine, theirs)
    drawn = [
        _auc(rng.choice(mine, len(mine)), rng.choice(theirs, len(theirs)))
        for _ in range(BOOTSTRAPS)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Score("output", value, float(low), float(high), len(mine), failures)


def _written(feature: StoredFeature, ids: Sequence[int]) -> Window:
    """New tokens as a window; the values are not known."""
    pieces = tuple(feature.store.pieces(list(ids)))
    return Window(-1, 0, tuple(ids), pieces, np.zeros(len(ids)), "steered")


def _auc(mine: F64, theirs: F64) -> float:
    """The share of pairs in which the first is larger; half of the equal ones."""
    more, same = mine[:, None] > theirs, mine[:, None] == theirs
    return float(more.mean() + 0.5 * same.mean())
