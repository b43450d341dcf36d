"""The states of the logit lens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import neuroglass as ng
from neuroglass.model.errors import describe
from tests.browser.hostile import EXPECTED
from tests.gallery.state import State

TEXT = "The capital of France is Paris, and the capital of Italy is"


def states(model: ng.LiveModel) -> Iterator[State]:
    """The lens on a real model; most of them on every fifth layer."""
    some = [f"resid_post.{i}" for i in range(0, model.n_layers, 5)]
    last = len(some) - 1

    def lens(text: str = TEXT, **more: Any) -> ng.LogitLens:
        return ng.LogitLens(model, text, **more)

    def pinned(row: int, position: int) -> tuple[dict[str, Any], ...]:
        return ({"kind": "detail", "row": row, "position": position},)

    yield State("every layer", lens(), kind="normal")
    yield State(
        "a cell pinned",
        lens(target=" Rome", selected=(model.n_layers, 12)),
        asks=pinned(model.n_layers, 12),
    )
    yield State("coloured by the rank of Rome", lens(target=" Rome", colour_by="rank"))
    yield State("no text yet", lens(""), kind="empty")
    wrong = ng.InputError("'Parisian' is 2 tokens, not one: 'Paris', 'ian'.", "Choose one of them.")
    yield State("over the last picture", lens(sites=some), {"error": describe(wrong)}, "error")
    long = lens(" ".join([TEXT] * 20), sites=some)
    yield State("320 tokens, six layers", long, kind="long")
    cut = lens(sites=some)
    cut.frame = {**cut.frame, "notice": "The first 1,024 of 3,120 tokens are read out."}
    yield State("something is left out", cut)
    yield State("Hebrew", lens("בירת צרפת היא פריז", sites=some), kind="right to left")
    hostile = lens(sites=some, selected=(3, 2))
    names = dict(zip(hostile.frame["names"], EXPECTED * 5, strict=False))
    hostile.frame = {
        **hostile.frame,
        "names": hostile.frame["names"] | names,
        "pieces": EXPECTED[: len(hostile.frame["pieces"])],
    }
    yield State("hostile tokens", hostile, asks=pinned(3, 2))
    yield State("silent", lens(sites=some), kind="kernel gone", kernel="gone")
    narrow = lens(sites=some, selected=(last, 12), target=" Rome")
    yield State("320 pixels", narrow, kind="narrow", width=320, asks=pinned(last, 12))
