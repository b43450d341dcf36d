"""The states of views side by side."""

from __future__ import annotations

from collections.abc import Iterator

import neuroglass as ng
from neuroglass.model.errors import describe
from tests.gallery.heatmap import HEBREW, TEXT, WORDS
from tests.gallery.state import State


def states(model: ng.LiveModel) -> Iterator[State]:
    """Live and static views in one row."""
    some = [f"resid_post.{i}" for i in range(0, model.n_layers, 5)]

    def heat(text: str = TEXT) -> ng.LiveTokenHeatmap:
        return ng.heatmap(model, text, site="neurons.24", features=[659])

    still = ng.TokenHeatmap(WORDS, range(len(WORDS)), title="static")
    pair = ng.beside(heat(), ng.LogitLens(model, TEXT, sites=some))
    yield State("a heatmap and a logit lens", pair, kind="normal")
    yield State("no views", ng.beside(), kind="empty")
    lost = {"views": ["anywidget:nowhere"]}
    yield State("a view that is gone", ng.beside(still), lost, kind="error")
    wrong = {"error": describe(ng.InputError("A str is no view of neuroglass."))}
    yield State("a refused view", ng.beside(still), wrong)
    long = ng.beside(heat(TEXT * 15), still)
    yield State("a long text beside a short one", long, kind="long")
    yield State("Hebrew", ng.beside(heat(HEBREW), still), kind="right to left")
    yield State("320 px", ng.beside(heat(), still), kind="narrow", width=320)
