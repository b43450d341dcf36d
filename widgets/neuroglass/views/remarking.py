"""Views in which a person says something of features: ratings, notes, lists, kept in the store.

Requests flow in and are written down; what was said flows to every page of the view, whoever said
it in this kernel: this view, another one, or a line of Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets as t

from neuroglass.features.annotations import main_score
from neuroglass.views.protocol import Request
from neuroglass.views.stored import StoreView

if TYPE_CHECKING:
    from neuroglass.features.store import Store

_MANY = 1000  # features: more are not sent, the page asks for those that it shows


class Remarking(StoreView):
    """Base of views of features that are rated and put on lists.

    Traits, beside those of ``StoreView``:
        remarks: what was said of features that are drawn, and the names of the lists.
    """

    _handlers: ClassVar[dict[str, str]] = {
        **StoreView._handlers,
        "rate": "_on_rate",
        "note": "_on_note",
        "put": "_on_put",
        "drop": "_on_drop",
    }

    remarks = t.Dict().tag(sync=True)

    def _begin(self, store: Store, **traits: Any) -> None:
        super()._begin(store, **traits)
        store.annotations.listen(self._heard)

    def _rows_drawn(self) -> list[int]:
        """The features whose remarks are in the trait at first."""
        raise NotImplementedError

    def _on_rate(self, request: Request) -> None:
        value = request.get("value", (int, type(None)))
        for feature in request.integers("features"):
            self.store.annotations.rate(feature, value)
        self._answer(request)

    def _on_note(self, request: Request) -> None:
        self.store.annotations.note(request.get("feature", int), request.get("text", str))
        self._answer(request)

    def _on_put(self, request: Request) -> None:
        self.store.annotations.put(request.get("name", str), *request.integers("features"))
        self._answer(request)

    def _on_drop(self, request: Request) -> None:
        self.store.annotations.drop(request.get("name", str), *request.integers("features"))
        self._answer(request)

    def _heard(self, features: Sequence[int]) -> None:
        """Something was said of features."""
        with self._lock:
            if len(features) > _MANY:
                self._remark(remarks(self.store, self._rows_drawn()), fresh=1)
            else:
                new = remarks(self.store, features, all_=True)
                self._remark({**self.remarks["of"], **new})

    def _remark(self, of: Mapping[str, Any], *, fresh: int = 0) -> None:
        """Tell the pages; ``fresh``: what they know of rows that are not drawn is old."""
        before = self.remarks.get("fresh", 0)
        self.remarks = {"of": dict(of), "lists": lists(self.store), "fresh": before + fresh}


def remarks(store: Store, features: Iterable[int], *, all_: bool = False) -> dict[str, Any]:
    """What was said of features, by index; without those of which nothing was, unless `all_`."""
    said: dict[str, Any] = {}
    for feature, one in store.annotations.of_each(features).items():
        best = one["explanations"][0] if one["explanations"] else None
        if all_ or best or one["rating"] or one["note"] or one["lists"]:
            said[str(feature)] = {
                "explanation": best and best["text"],
                "author": best and best["author"],
                "score": best and main_score(best["scores"]),
                "more": max(0, len(one["explanations"]) - 1),
                "rating": one["rating"],
                "note": one["note"],
                "lists": one["lists"],
            }
    return said


def lists(store: Store) -> list[list[Any]]:
    """Names and lengths of the lists."""
    return [[name, len(members)] for name, members in store.annotations.lists().items()]
