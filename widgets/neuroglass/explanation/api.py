"""``explain``, ``simulate``, ``score``: in a line each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroglass.explanation.chat import Chat
from neuroglass.explanation.chat_explainers import ListingExplainer
from neuroglass.explanation.chat_json import ChatJSON
from neuroglass.explanation.checked import Checked
from neuroglass.explanation.expected import ExpectedValue
from neuroglass.explanation.explainers import PatternExplainer, TokenExplainer
from neuroglass.explanation.local_chat import LocalChat
from neuroglass.explanation.patterns import PatternSimulator
from neuroglass.explanation.records import (
    Explainer,
    Explanation,
    Score,
    Scores,
    Simulated,
    Simulator,
    Split,
)
from neuroglass.explanation.scores import simulation_scores
from neuroglass.explanation.windows import of_text, split_of
from neuroglass.features.stored_feature import StoredFeature
from neuroglass.model.errors import InputError, nearest
from neuroglass.model.live import LiveModel

if TYPE_CHECKING:
    from neuroglass.features.store import Store

_EXPLAINERS: dict[str, Callable[[], Explainer]] = {
    "patterns": PatternExplainer,
    "tokens": TokenExplainer,
}


def explain(
    feature: StoredFeature,
    *,
    by: str | Explainer | Chat | LiveModel = "patterns",
    split: Split | None = None,
    keep: bool = False,
) -> Explanation:
    """Explain a feature from its examples.

    Args:
        feature: of a store: ``store[123]``.
        by: ``"patterns"`` (N2G: patterns of tokens, found by asking the live model; no language
            model, no network), ``"tokens"`` (a list of single tokens), an explainer, or a chat or
            live model that is shown the examples (``ListingExplainer``).
        split: which windows may be used; None: half of the documents of the feature's examples.
        keep: write it to the store's annotations.

    Returns:
        The explanation; its ``split`` says which documents it was made of.

    Raises:
        InputError: fewer than 20 tokens where the feature is on, or all in one document; no model
            where one is needed; the explainer failed.
    """
    stored = _stored(feature)
    explainer = _explainer(by)
    cut = split or split_of(stored)
    text = explainer.explain(stored, cut.train, cut.largest)
    made = Explanation(text, explainer.name, stored.id, split=cut.to_json())
    return kept(stored.store, made) if keep else made


def simulate(
    text: str | Explanation,
    feature: StoredFeature,
    *,
    by: str | Simulator | Chat | LiveModel = "patterns",
    on: str | Sequence[str] | None = None,
    split: Split | None = None,
) -> list[Simulated]:
    """What an explanation says of a feature's values, beside the true ones.

    Args:
        text: the explanation.
        feature: of a store.
        by: ``"patterns"`` (see ``neuroglass.explanation.patterns`` for how they are written), a
            simulator, a live model (``ExpectedValue``) or a chat (``ChatJSON``).
        on: texts of yours, of which the live model gives the true values; None: the test windows.
        split: which windows test; None: as in ``explain``.

    Raises:
        InputError: the text is empty, or none that this simulator can read.
    """
    stored = _stored(feature)
    simulator = simulator_of(by, stored.store)
    if on is not None:
        windows = [of_text(stored, t) for t in ([on] if isinstance(on, str) else on)]
    else:
        cut = split or split_of(stored)
        windows = [*cut.test, *cut.random]
    return simulator.simulate(_text(text), windows)


def score(
    text: str | Explanation,
    feature: StoredFeature,
    *,
    by: str | Simulator | Chat | LiveModel = "patterns",
    author: str = "",
    split: Split | None = None,
    keep: bool = False,
) -> Scores:
    """Score an explanation, whoever wrote it, by how well it predicts the feature.

    Args:
        text: the explanation: of an explainer, or a person's own words or patterns.
        feature: of a store.
        by: the simulator; see ``simulate``.
        author: of a text that is given as plain words.
        split: which windows test; None: as in ``explain``. An explanation that was made of other
            documents is refused if it has seen these.
        keep: write explanation and scores to the store's annotations.

    Returns:
        ``correlation``, ``spearman``, ``r_squared``, ``absolute_deviation``, ``random_only``,
        ``precision`` and ``recall``, each with a 95 % bootstrap interval over windows; undefined
        ones are None with a reason. See ``simulation_scores``.

    Raises:
        InputError: as in ``simulate``; the explanation was made of documents it is tested on.
    """
    stored = _stored(feature)
    simulator = simulator_of(by, stored.store)
    cut = split or split_of(stored)
    given = text if isinstance(text, Explanation) else Explanation(text, author, stored.id)
    _unseen(given, cut)
    simulated = simulator.simulate(given.text, [*cut.test, *cut.random])
    scale = scale_of(simulated, cut.largest) if simulator.name != PatternSimulator.name else 1.0
    scores = simulation_scores(simulated, scale=scale)
    made = Scores(given, simulator.name, scores, tuple(simulated), cut.to_json())
    return keep_scores(stored.store, made) if keep else made


def keep_scores(store: Store, made: Scores, *more: Score) -> Scores:
    """Write scores to the store, and their explanation where it is not there yet.

    Args:
        store: of the feature.
        made: what is written.
        *more: further scores of the same explanation.
    """
    given = made.explanation
    written = given if given.id else kept(store, given)
    for one in (*made.scores.values(), *more):
        store.annotations.score(
            store.index(written.feature), written.id, one.name, one.value, low=one.low,
            high=one.high, simulator=made.simulator, windows=one.windows, failures=one.failures,
            split=dict(made.split),
        )  # fmt: skip
    return replace(made, explanation=written)


def scale_of(simulated: Sequence[Simulated], largest: float) -> float:
    """What a unit of a judge's scale is: its largest possible value stands for the feature's.

    Scores of sizes need it; correlations do not.
    """
    top = max((float(np.max(s.values)) for s in simulated if s.values is not None), default=0.0)
    return largest / top if top > 0 else 1.0


def kept(store: Store, made: Explanation) -> Explanation:
    """Write an explanation to the store; the same with its id."""
    row = store.annotations.explain(
        store.index(made.feature), made.text, author=made.author, parent=made.parent,
        split=dict(made.split) if made.split else None, **made.more,
    )  # fmt: skip
    return replace(made, id=row["id"], author=row["author"])


def _unseen(given: Explanation, cut: Split) -> None:
    if given.split is None:
        return
    seen = set(given.split["train"]) & {w.document for w in (*cut.test, *cut.random)}
    if seen:
        raise InputError(
            f"The explanation was made of documents it would be tested on: {sorted(seen)[:5]}.",
            "Score it with the split that it was made with: split=...",
        )


def _stored(feature: Any) -> StoredFeature:
    if not isinstance(feature, StoredFeature):
        raise InputError(
            f"{type(feature).__name__} is no feature of a store.",
            "Explanations are made of examples: give store[123], of ng.harvest or ng.open_store.",
        )
    return feature


def _text(text: str | Explanation) -> str:
    return text.text if isinstance(text, Explanation) else text


def _explainer(by: Any) -> Explainer:
    if isinstance(by, LiveModel):
        by = LocalChat(by)
    if hasattr(by, "complete"):
        return ListingExplainer(by)
    if not isinstance(by, str):
        made: Explainer = by
        return made
    if by not in _EXPLAINERS:
        raise InputError(f"There is no explainer {by!r}.", nearest(by, _EXPLAINERS))
    return _EXPLAINERS[by]()


def simulator_of(by: Any, store: Store) -> Simulator:
    """The simulator of a name, a live model or a chat.

    Raises:
        InputError: there is none of this name.
    """
    if isinstance(by, LiveModel):
        by = ExpectedValue(by)
    elif hasattr(by, "complete"):
        by = ChatJSON(by)
    if not isinstance(by, str):
        return by if isinstance(by, Checked) else Checked(by)
    if by != "patterns":
        raise InputError(f"There is no simulator {by!r}.", nearest(by, ["patterns"]))
    return PatternSimulator(store)
