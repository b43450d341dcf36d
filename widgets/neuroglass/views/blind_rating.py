"""``ng.BlindRating``: rate features without knowing what they are.

A plan and a rater flow in; one feature after the other flows out, as examples and tokens without a
name, and the answers go to the rater's file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets as t

from neuroglass.explanation.rating import QUESTIONS, Item, Plan, Ratings, agreement, report
from neuroglass.model.errors import InputError
from neuroglass.views.base import View, bundle
from neuroglass.views.feature_page import Pieces, number
from neuroglass.views.protocol import Request

if TYPE_CHECKING:
    import pandas as pd

    from neuroglass.features.store import Store

_EXAMPLES = 5  # of a group
_AROUND = 10  # tokens on each side


class BlindRating(View):
    """Rate features of several stores, mixed and without names, by keyboard (rubric of 0 to 14).

    *Towards Monosemanticity*, manual human analysis: of each feature its examples by interval of
    strength, in shuffled order; a hypothesis; confidence 0–3, consistency of each chosen interval
    0–5, consistency of the tokens that it makes likelier 0–3, if not all: whether the others are
    clearly smaller 0–1, specificity 0–3. Colours are relative to each excerpt, so that they do not
    tell the interval. What is what stays in Python until ``unblind()``.

    Args:
        stores: by a name for each kind: ``{"latents": a, "neurons": b, "shuffled": c}``.
        n: features of each store.
        intervals: rated of each feature.
        rater: a name: each has a file.
        folder: of the study. Ratings that are there go on where they stopped.
        seed: of the choice and the order: the same for all raters.
        **traits: ``theme``, ``title``.

    Traits:
        item: which one is shown, counted from 0. Settable.
        frame: what is drawn of it.

    Raises:
        InputError: see ``Plan.of`` and ``Ratings``.
    """

    _esm = bundle("blind_rating", "js")
    _css = bundle("blind_rating", "css")
    _handlers: ClassVar[dict[str, str]] = {
        **View._handlers,
        "run": "_on_run",
        "answer": "_on_answer",
        "unblind": "_on_unblind",
    }

    item = t.Int(0).tag(sync=True)
    frame = t.Dict().tag(sync=True)

    def __init__(
        self,
        stores: Mapping[str, Store],
        n: int = 10,
        *,
        intervals: int = 3,
        rater: str = "rater",
        folder: str | Path = "ratings",
        seed: int = 0,
        **traits: Any,
    ) -> None:
        self._stores = dict(stores)
        self._plan = Plan.of(self._stores, n=n, intervals=intervals, seed=seed)
        self.ratings = Ratings(self._plan, folder, rater)
        left = [i for i, done in enumerate(self.ratings.done) if not done]
        first = left[0] if left else 0
        title = traits.pop("title", f"Blinded rating · {rater}")
        View.__init__(self, title=title, item=first, frame=self._made(first, ("", 0)), **traits)
        self.set_trait("live", True)
        self.observe(self._on_item, names=["item"])

    @t.validate("item")
    def _check_item(self, proposal: Any) -> int:
        value = int(proposal["value"])
        plan = getattr(self, "_plan", None)
        if plan is not None and not 0 <= value < len(plan.items):
            raise InputError(f"There is no item {value}.", f"They go to {len(plan.items) - 1}.")
        return value

    # -- what is shown -----------------------------------------------------------------------

    def _made(self, place: int, origin: tuple[str, int]) -> dict[str, Any]:
        item = self._plan.items[place]
        store = self._stores[item.source]
        words = Pieces(store)
        done = self.ratings.done
        best = store[item.feature].promoted()
        largest = max((abs(v) for _, v in best), default=0.0) or 1.0
        return {
            "view": origin[0],
            "id": origin[1],
            "item": place,
            "items": len(self._plan.items),
            "done": [int(d) for d in done],
            "groups": [self._group(store, item, g, words) for g in item.groups],
            "rated": list(item.rated),
            "promoted": [[piece, number(v / largest, 2)] for piece, v in best],
            "questions": {q: list(asked) for q, asked in QUESTIONS.items()},
            "answers": self.ratings.answers.get(place),
            "unblinded": self.ratings.unblinded,
            "what": self._what(item) if self.ratings.unblinded else None,
            "pieces": words.pieces,
            "kinds": words.kinds,
        }

    @staticmethod
    def _group(store: Store, item: Item, group: str, words: Pieces) -> list[dict[str, Any]]:
        """Excerpts with values as shares of their own largest; nothing that names the feature."""
        made = []
        for e in store.examples(item.feature, group).head(_EXAMPLES).to_dict("records"):
            at, n = int(e["at"]), len(e["ids"])
            a, b = max(0, at - _AROUND), min(n, at + _AROUND + 1)
            values = np.nan_to_num(np.asarray(e["values"], np.float64)[a:b])
            top = float(np.abs(values).max(initial=0)) or 1.0
            on = np.flatnonzero(values > 0)
            made.append(
                {
                    "t": words.places(e["ids"][a:b]),
                    "at": at - a,
                    "i": on.tolist(),
                    "x": [number(values[k] / top, 2) for k in on],
                }
            )
        return made

    def _what(self, item: Item) -> dict[str, Any]:
        of = int(self._stores[item.source].meta["keep"]["intervals"])
        numbers = [int(g.split()[1]) for g in item.groups]
        return {"source": item.source, "feature": item.feature, "intervals": numbers, "of": of}

    def _show(self, place: int, origin: tuple[str, int] = ("", 0)) -> None:
        made = self._made(place, origin)
        with self._writing():
            self.frame = made
            self.item = place
            self.set_trait("error", None)

    def _on_item(self, change: Any) -> None:
        if self.frame.get("item") != change["new"]:
            self._show(change["new"])

    # -- requests ----------------------------------------------------------------------------

    def _on_run(self, request: Request) -> None:
        place = request.get("item", int)
        if not 0 <= place < len(self._plan.items):
            raise InputError(f"There is no item {place}.")
        self._show(place, (request.view, request.id))
        self._answer(request)

    def _on_answer(self, request: Request) -> None:
        place = request.get("item", int)
        kept = self.ratings.answer(place, request.get("answers", dict))
        self._answer(request, answers=kept, finished=[int(d) for d in self.ratings.done])

    def _on_unblind(self, request: Request) -> None:
        self.unblind()
        table = self.report()
        rows = [[str(name), *(number(v, 3) for v in row)] for name, row in
                zip(table.index, table.to_numpy(), strict=True)]  # fmt: skip
        self._answer(request, columns=[str(c) for c in table.columns], rows=rows)

    # -- results -----------------------------------------------------------------------------

    def unblind(self) -> None:
        """From now on the page says what is what; the file remembers that."""
        self.ratings.unblind()
        self._show(self.item)

    def to_frame(self) -> pd.DataFrame:
        """One row for each rated interval, with what it is of; see ``Ratings.to_frame``."""
        return self.ratings.to_frame(self._stores)

    def to_parquet(self, path: str | Path) -> Path:
        """Write ``to_frame()`` as Parquet.

        Raises:
            InputError: nothing is rated whole yet.
        """
        table = self.to_frame()
        if table.empty:
            raise InputError("Nothing is rated whole yet.")
        table.to_parquet(path, index=False)
        return Path(path)

    def report(self) -> pd.DataFrame:
        """Medians by source; it unblinds whoever reads it. See ``rating.report``."""
        return report(self.to_frame())

    def agreement(self, *raters: str) -> dict[str, float]:
        """How far this rater and others of the same folder agree; see ``rating.agreement``."""
        folder = self.ratings.file.parent
        others = [Ratings(self._plan, folder, name) for name in raters]
        return agreement([r.to_frame(self._stores) for r in (self.ratings, *others)])

    def fallback_html(self) -> str:
        """How far it is, for pages without scripts."""
        done = sum(self.frame.get("done", []))
        return f"<p>Blinded rating: {done} of {self.frame.get('items', 0)} features rated.</p>"

    def __repr__(self) -> str:
        done = sum(self.frame.get("done", []))
        return f"BlindRating({done} of {self.frame.get('items', 0)} rated)"
