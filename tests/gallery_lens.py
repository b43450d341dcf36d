"""The states of the logit lens for the gallery; see tests/gallery.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import neuroglass as ng
from neuroglass.model.errors import describe
from tests.browser.hostile import EXPECTED

State = tuple[str, ng.LogitLens, dict[str, Any]]

TEXT = "The capital of France is Paris, and the capital of Italy is"


# what the stand-in for the kernel answers about a pinned cell
LIKELY = {" Rome": -0.26, " the": -2.5, "\n": -4.1, " called": -5.3, " Milan": -7.1}


def lens_states(model: ng.LiveModel) -> Iterator[State]:
    def lens(text: str = TEXT, **more: Any) -> ng.LogitLens:
        return ng.LogitLens(model, text, **more)

    some = [f"resid_post.{i}" for i in range(0, model.n_layers, 5)]
    last = model.n_layers
    yield "logit lens", lens(), {}
    strongest = [{"id": i, "piece": p, "logprob": v} for i, (p, v) in enumerate(LIKELY.items())]
    pinned = lens(target=" Rome", selected=(last, 12))
    strongest[0]["id"] = pinned.frame["chosen"][0]
    answers = {"detail": {"strongest": strongest}}
    yield "logit lens, a cell pinned", pinned, answers
    by_rank = lens(target=" Rome", colour_by="rank")
    yield "logit lens, coloured by the rank of “ Rome”", by_rank, {}
    yield "logit lens, no text yet", lens(""), {}
    wrong = ng.InputError("'Parisian' is 2 tokens, not one: 'Paris', 'ian'.", "Choose one of them.")
    yield "logit lens, an error", lens(sites=some), {"error": describe(wrong)}
    yield "logit lens, long, six sites", lens(" ".join([TEXT] * 20), sites=some), {}
    cut = lens(sites=some)
    cut.frame = {**cut.frame, "notice": "The first 1,024 of 3,120 tokens are read out."}
    yield "logit lens, something is left out", cut, {}
    yield "logit lens, right to left", lens("בירת צרפת היא פריז", sites=some), {}
    hostile = lens(sites=some, selected=(3, 2))
    names = dict(zip(hostile.frame["names"], EXPECTED * 5, strict=False))
    hostile.frame = {
        **hostile.frame,
        "names": hostile.frame["names"] | names,
        "pieces": EXPECTED[: len(hostile.frame["pieces"])],
    }
    yield "logit lens, hostile tokens", hostile, answers
    yield "logit lens, kernel silent", lens(sites=some), {"gallery": "dead"}
    narrow = lens(sites=some, selected=(5, 12), target=" Rome")
    yield "logit lens, narrow, 320 px", narrow, {"px": 320, **answers}
