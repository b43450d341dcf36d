"""Many features at once: explained, simulated, scored in one call, with progress and a table.

The distributions of two stores side by side are the figures of *Language models can explain neurons
in language models* and *Towards Monosemanticity*: features, neurons, a control.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from neuroglass.explanation.api import explain, score
from neuroglass.explanation.records import Explainer, Simulator
from neuroglass.explanation.windows import RandomWindows, split_of
from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store


def study(
    store: Store,
    features: Sequence[Any] | None = None,
    *,
    by: str | Explainer = "patterns",
    simulator: str | Simulator = "patterns",
    windows: int = 10,
    random: int = 40,
    seed: int = 0,
    keep: bool = False,
    control: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Explain and score many features of a store.

    Args:
        store: with its model, where the explainer needs one.
        features: which; None: all.
        by, simulator: see ``explain`` and ``score``.
        windows: of each side of a split, at most.
        random: windows at random, the same for all features.
        seed: of splits and windows.
        keep: write explanations and scores to the store's annotations, one by one: what was written
            stays if this is interrupted.
        control: score each feature with the explanation of another one (the one before it): what
            an explanation scores that has nothing to do with its feature.
        progress: show a bar.

    Returns:
        One row for each feature: explanation, author, correlation, low, high, random_only,
        spearman, r_squared, absolute_deviation, precision, recall (see ``score``), and ``failure``:
        why there is none. A feature that can't be explained is a row with a reason, never a zero.
    """
    import pandas as pd

    chosen = range(len(store)) if features is None else [store.index(f) for f in features]
    shared = RandomWindows(store, random, seed)
    rows, before = [], None
    for index in tqdm(chosen, desc=store.name, disable=not progress, unit="feature"):
        row: dict[str, Any] = {"feature": index, "failure": ""}
        rows.append(row)
        feature = store[index]
        try:
            cut = split_of(feature, train=windows, test=windows, seed=seed, random=shared)
            made = explain(feature, by=by, split=cut)
            used = made if not control else before
            before = made
            if used is None:
                row["failure"] = "the first one has no other before it"
                continue
            given = used if not control else used.text
            found = score(given, feature, by=simulator, split=cut, keep=keep and not control)
        except InputError as error:
            row["failure"] = str(error)
            continue
        correlation = found["correlation"]
        row |= {
            "explanation": used.text,
            "author": used.author,
            **{name: one.value for name, one in found.scores.items()},
            "low": correlation.low,
            "high": correlation.high,
        }
        if correlation.value is None:
            row["failure"] = correlation.reason
    columns = ["feature", "explanation", "author", "correlation", "low", "high", "random_only",
               "spearman", "r_squared", "absolute_deviation", "precision", "recall",
               "failure"]  # fmt: skip
    made_of = pd.DataFrame(rows, columns=columns).set_index("feature")
    numbers = columns[3:-1]
    return made_of.astype(dict.fromkeys(numbers, "float64"))
