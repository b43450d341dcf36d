"""The states of a blinded rating, on the zoo's stores."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import neuroglass as ng
from neuroglass.model.errors import describe
from tests.browser.hostile import EXPECTED
from tests.gallery.state import State


def states() -> Iterator[State]:
    """Latents and neurons, mixed."""
    stores = {"latents": ng.open_store("zoo/A-8x"), "neurons": ng.open_store("zoo/A-neurons")}
    folder = Path(tempfile.mkdtemp())

    def rating(rater: str = "ada", **more: Any) -> ng.BlindRating:
        return ng.BlindRating(stores, 6, folder=folder, rater=rater, **more)

    yield State("a first feature", rating(), kind="normal")
    some = rating("some")
    answers = {"hypothesis": "names of places", "confidence": 2, "consistency": [5, 3, None],
               "logits": 3, "gap": None, "specificity": None}  # fmt: skip
    some.ratings.answer(0, {**answers, "consistency": [5, 3, 4], "specificity": 2})
    some.ratings.answer(1, answers)
    some.item = 1
    yield State("some answers", some)
    open_ = rating("open")
    open_.ratings.answer(0, {**answers, "consistency": [5, 3, 4], "specificity": 2})
    open_.unblind()
    yield State("no longer blind", open_)
    empty = rating("empty")
    empty.frame = {}
    yield State("nothing yet", empty, kind="empty")
    wrong = ng.InputError("The ratings can't be written: no space.", "")
    yield State("over the last feature", rating(), {"error": describe(wrong)}, "error")
    yield State(
        "forty features", ng.BlindRating(stores, 20, folder=folder, rater="long"), kind="long"
    )
    hebrew = rating("hebrew")
    wanted = [
        i
        for i, item in enumerate(hebrew._plan.items)
        if any("\u05d0" <= c <= "\u05ea" for c in "".join(_pieces(hebrew, i)))
    ]
    hebrew.item = wanted[0] if wanted else 0
    yield State("letters from the right", hebrew, kind="right to left")
    hostile = rating("hostile")
    pieces = hostile.frame["pieces"]
    hostile.frame = {**hostile.frame, "pieces": (EXPECTED * 20)[: len(pieces)]}
    yield State("hostile tokens", hostile)
    yield State("silent", rating("silent"), kind="kernel gone", kernel="gone")
    yield State("320 pixels", rating("narrow"), kind="narrow", width=320)


def _pieces(view: ng.BlindRating, place: int) -> list[str]:
    pieces: list[str] = view._made(place, ("", 0))["pieces"]
    return pieces
