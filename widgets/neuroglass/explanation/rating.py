"""The blinded human study of *Towards Monosemanticity* (manual analysis), as a plan and a file.

Features of several stores (a dictionary, neurons, a control) are mixed; of each a rater sees its
examples by interval, in shuffled order and without strengths, and the tokens it makes likelier. The
rater writes a hypothesis and answers five questions; answers are lines that are only ever added, so
a study goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroglass.explanation.scores import spearman
from neuroglass.model.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store

LEAST = 20  # tokens where a feature must be on
# question -> (largest answer, what is asked); consistency is asked of each rated interval
QUESTIONS: dict[str, tuple[int, str]] = {
    "confidence": (3, "How sure are you of the hypothesis? 0 there is none … 3 sure"),
    "consistency": (5, "Do the marked tokens of this group fit it? 0 none … 5 all"),
    "logits": (3, "Do the tokens that it makes likelier fit it? 0 none … 3 all"),
    "gap": (1, "If some do not: are those clearly smaller? 0 no, 1 yes"),
    "specificity": (3, "How specific is the hypothesis? 0 anything … 3 one narrow thing"),
}
LARGEST = 14


@dataclass(frozen=True)
class Item:
    """One feature in the study.

    Attributes:
        source: which store, by the name that it was given.
        feature: index in it.
        groups: its intervals in the order in which they are shown.
        rated: places in `groups` of those that are rated.
    """

    source: str
    feature: int
    groups: tuple[str, ...]
    rated: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """Which features are rated, in which order; a function of stores, sizes and seed.

    Attributes:
        items: in order.
        hash: equal for equal plans: ratings of one plan can be compared.
    """

    items: tuple[Item, ...] = field(repr=False)
    hash: str

    @classmethod
    def of(cls, stores: Mapping[str, Store], *, n: int, intervals: int, seed: int) -> Plan:
        """Draw `n` features of each store, and `intervals` of the intervals of each.

        Raises:
            InputError: no stores; one has no interval examples, no logits, or too few features.
        """
        if not stores:
            raise InputError("There are no stores to rate.", 'BlindRating({"latents": store, …})')
        if n < 1 or intervals < 1:
            raise InputError(f"n={n}, intervals={intervals}: at least one of each is rated.")
        rng = np.random.default_rng(seed)
        items = []
        for name, store in stores.items():
            frame = store.to_frame()
            if "promoted" not in frame:
                raise InputError(
                    f"The store {name!r} knows no logits.",
                    "Two of the questions are about the tokens that a feature makes likelier.",
                )
            able = frame.index[frame["count"] >= LEAST].to_numpy()
            if len(able) < n:
                raise InputError(f"The store {name!r} has {len(able)} features to rate, not {n}.")
            items += [
                _item(name, store, int(f), intervals, rng) for f in rng.choice(able, n, False)
            ]
        order = rng.permutation(len(items))
        chosen = tuple(items[i] for i in order)
        whole = [
            (store.meta["basis"]["fingerprint"], store.meta["corpus"]) for store in stores.values()
        ]
        raw = json.dumps([whole, [[i.source, i.feature, *i.groups, *i.rated] for i in chosen]])
        return cls(chosen, hashlib.blake2b(raw.encode(), digest_size=8).hexdigest())


def _item(name: str, store: Store, feature: int, intervals: int, rng: np.random.Generator) -> Item:
    groups = sorted(g for g in set(store.example_rows(feature).get("group", [])) if "interval" in g)
    if not groups:
        raise InputError(f"The store {name!r} keeps no examples by interval.", "Harvest again.")
    shown = [groups[i] for i in rng.permutation(len(groups))]
    rated = rng.choice(len(shown), min(intervals, len(shown)), replace=False)
    return Item(name, feature, tuple(shown), tuple(sorted(int(i) for i in rated)))


class Ratings:
    """One rater's answers to a plan, in a file; see the module.

    Args:
        plan: what is rated.
        folder: of the study; it is made when something is written.
        rater: a name; each rater has a file.

    Raises:
        InputError: the file is of another plan, or damaged; a name that is none.
    """

    def __init__(self, plan: Plan, folder: str | Path, rater: str) -> None:
        if not rater.strip() or any(c in rater for c in "/\\\0"):
            raise InputError(f"{rater!r} is no name for a file.", 'rater="ada", say.')
        self.plan, self.rater = plan, rater
        self.file = Path(folder) / f"{rater}.jsonl"
        self.answers: dict[int, dict[str, Any]] = {}
        self.unblinded = False
        if self.file.is_file():
            self._read()

    def _read(self) -> None:
        for number, line in enumerate(self.file.read_text("utf-8").splitlines(), 1):
            try:
                row = json.loads(line)
                plan, item = row["plan"], row.get("item")
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"Line {number} of {str(self.file)!r} is damaged.", "Take the line out."
                ) from error
            if plan != self.plan.hash:
                raise InputError(
                    f"{str(self.file)!r} has ratings of another study.",
                    "Give another folder, or the stores, n, intervals and seed it was made with.",
                )
            if row.get("unblinded"):
                self.unblinded = True
            elif isinstance(item, int) and 0 <= item < len(self.plan.items):
                self.answers[item] = row["answers"]

    def answer(self, item: int, answers: Mapping[str, Any]) -> dict[str, Any]:
        """Write the answers to an item, in place of those there are.

        Args:
            item: its place in the plan.
            answers: ``hypothesis`` (text), and a number or None for each question; consistency is a
                list with one for each rated interval.

        Returns:
            The answers as written.

        Raises:
            InputError: no such item, an answer that the rubric does not have.
        """
        if not 0 <= item < len(self.plan.items):
            raise InputError(f"There is no item {item}.", f"{len(self.plan.items)} are rated.")
        checked = _checked(self.plan.items[item], answers)
        self._write({"item": item, "answers": checked})
        self.answers[item] = checked
        return checked

    def unblind(self) -> None:
        """Write down that from now on the rater knows what is what."""
        if not self.unblinded:
            self._write({"unblinded": True})
            self.unblinded = True

    def _write(self, row: Mapping[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = json.dumps({"plan": self.plan.hash, **row, "created": now}, ensure_ascii=False)
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as out:
                out.write(line + "\n")
        except OSError as error:
            raise InputError(f"The ratings can't be written: {error}.") from error

    @property
    def done(self) -> list[bool]:
        """Which items are rated whole."""
        return [complete(item, self.answers.get(i)) for i, item in enumerate(self.plan.items)]

    def to_frame(self, stores: Mapping[str, Store]) -> pd.DataFrame:
        """One row for each rated interval of items that are rated whole.

        Columns: item, rater, source, feature, interval (0 is the weakest), ``of``: how many there
        are, the answers, hypothesis, ``score`` 0 to 14.
        """
        import pandas as pd

        rows = []
        for i, item in enumerate(self.plan.items):
            given = self.answers.get(i)
            if given is None or not complete(item, given):
                continue
            of = int(stores[item.source].meta["keep"]["intervals"])
            for k, place in enumerate(item.rated):
                one = {**given, "consistency": given["consistency"][k]}
                rows.append(
                    {
                        "item": i,
                        "rater": self.rater,
                        "source": item.source,
                        "feature": item.feature,
                        "interval": int(item.groups[place].split()[1]),
                        "of": of,
                        **{q: one[q] for q in QUESTIONS},
                        "hypothesis": given["hypothesis"],
                        "score": score_of(one),
                    }
                )
        columns = ["item", "rater", "source", "feature", "interval", "of", *QUESTIONS,
                   "hypothesis", "score"]  # fmt: skip
        return pd.DataFrame(rows, columns=columns)


def score_of(answers: Mapping[str, int | None]) -> int:
    """The sum of the answers, 0 to 14; the question of the gap is void where all logits fit."""
    values = {q: int(answers[q] or 0) for q in QUESTIONS}
    if values["logits"] == QUESTIONS["logits"][0]:
        values["gap"] = 0
    return sum(values.values())


def complete(item: Item, answers: Mapping[str, Any] | None) -> bool:
    """Every question that is not void has an answer."""
    if answers is None:
        return False
    void = {"gap"} if answers["logits"] == QUESTIONS["logits"][0] else set()
    single = [answers[q] for q in QUESTIONS if q not in {"consistency", *void}]
    consistency = answers["consistency"]
    return len(consistency) == len(item.rated) and None not in [*single, *consistency]


def _checked(item: Item, answers: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"hypothesis": str(answers.get("hypothesis", ""))}
    for name, (most, _) in QUESTIONS.items():
        given: Any = answers.get(name)
        each = given if name == "consistency" else [given]
        if name == "consistency" and (not isinstance(given, list) or len(given) != len(item.rated)):
            raise InputError(f"{name} needs {len(item.rated)} answers.")
        for one in each:
            whole = isinstance(one, int) and not isinstance(one, bool)
            if one is not None and not (whole and 0 <= one <= most):
                raise InputError(f"{name} goes from 0 to {most}, not {one!r}.")
        found[name] = given
    return found


def report(ratings: pd.DataFrame) -> pd.DataFrame:
    """The medians of a study that is no longer blind.

    Args:
        ratings: of ``Ratings.to_frame``, of one rater or several.

    Returns:
        By source: features and intervals rated, median and quartiles of the interval scores, the
        share above 8 (which the paper reads as quite interpretable), and the median of the features
        (each its mean over its intervals).
    """
    import pandas as pd

    rows = {}
    for source, part in ratings.groupby("source"):
        low, middle, high = part["score"].quantile([0.25, 0.5, 0.75])
        features = part.groupby(["rater", "feature"])["score"].mean()
        rows[source] = {
            "features": part["feature"].nunique(), "intervals": len(part), "median": middle,
            "lower quartile": low, "upper quartile": high,
            "above 8": (part["score"] > 8).mean(), "median of features": features.median(),
        }  # fmt: skip
    return pd.DataFrame(rows).T


def agreement(ratings: Sequence[pd.DataFrame]) -> dict[str, float]:
    """How far raters of one plan agree, over the intervals that all of them rated.

    Returns:
        ``alpha``: Krippendorff's, for interval data (1: they agree, 0: as by chance); ``spearman``:
        mean over pairs of raters; ``within_one``: share of pairs of scores at most one apart;
        ``intervals``, ``raters``.

    Raises:
        InputError: fewer than two raters, or nothing that all of them rated.
    """
    import pandas as pd

    if len(ratings) < 2:
        raise InputError("Agreement needs two raters or more.")
    keys = ["item", "interval"]
    tables = [r.set_index(keys)["score"] for r in ratings]
    scores = pd.concat(tables, axis=1, join="inner").to_numpy(np.float64)  # [intervals, raters]
    if len(scores) < 2:
        raise InputError("There are not two intervals that all of them rated.")
    pairs = [(a, b) for a in range(scores.shape[1]) for b in range(a)]
    apart = np.array([np.abs(scores[:, a] - scores[:, b]) for a, b in pairs])
    observed = float((apart**2).mean())
    flat = scores.ravel()
    expected = 2 * float(flat.var(ddof=1))  # mean squared difference of any two scores
    return {
        "alpha": 1 - observed / expected if expected else float("nan"),
        "spearman": float(np.mean([spearman(scores[:, a], scores[:, b]) for a, b in pairs])),
        "within_one": float((apart <= 1).mean()),
        "intervals": float(len(scores)),
        "raters": float(scores.shape[1]),
    }
