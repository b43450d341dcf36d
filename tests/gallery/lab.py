"""The states of the explanation lab: real features of the zoo's dictionary."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import neuroglass as ng
from neuroglass.explanation.records import Simulated, Window
from neuroglass.model.errors import describe
from tests.browser.hostile import EXPECTED
from tests.gallery.dashboard import best
from tests.gallery.state import State


class Words:
    """Stands for a judge: a token is as strong as it has letters; some windows it can't read."""

    name = "letters"

    def simulate(self, text: str, windows: Sequence[Window]) -> list[Simulated]:
        """See ``Simulator``."""
        out = []
        for k, w in enumerate(windows):
            values = np.array([min(9.0, len(p.strip())) for p in w.pieces])
            failed = w.group == "random" and k % 4 == 3
            out.append(
                Simulated(w, None, "the answer is no JSON") if failed else Simulated(w, values)
            )
        return out


def states() -> Iterator[State]:
    """The lab with its model, and without."""
    notes = Path(tempfile.mkdtemp())
    alone = ng.open_store("zoo/A-8x", annotations=notes)
    store = alone.attach(ng.load("zoo/A"))
    frame = alone.to_frame()
    digits = best(alone.attach(store.model), "0 1 2 3 4 5 6 7 8 9 10 11 12")
    hebrew = best(store, "שלום עולם, זה טקסט בעברית")

    def lab(feature: int = digits, of: Any = store, **more: Any) -> ng.ExplanationLab:
        return ng.ExplanationLab(of, feature, random=6, **more)

    worked = lab()
    worked.explain("tokens")
    worked.accept()
    worked.explain()
    worked.revise()
    yield State("a latent explained and revised", worked, kind="normal")
    edited = lab()
    edited.explain()
    edited.explanation = '" 1"  9\n/[02468]/  6'
    edited.scale = "own"
    edited.judge()
    yield State("a text of a person's, each half its own scale", edited)
    pointed = lab()
    point = """(root) => {
      const token = root.querySelector(".ng-ex-text .ng-alarm, .ng-ex-text .ng-miss");
      token.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
    }"""
    yield State("a token that is pointed at", pointed, act=point, room=80)
    yield State("words that the patterns can't read", lab(explanation="fires on even digits"))
    slow = lab(explanation="words", simulators={"letters": Words()}, simulator="letters")
    yield State("a judge that was not asked yet", slow)
    judged = lab(explanation="words", simulators={"letters": Words()}, simulator="letters")
    judged.simulate()
    yield State("a judge with windows that failed", judged)
    zero = lab(explanation='" zzz"  3')
    yield State("an explanation that is nowhere", zero)
    none = int(np.flatnonzero((frame["count"] > 400) & (frame["count"] < 900))[3])
    yield State("no explanation yet", lab(none), kind="empty")
    few = int(np.flatnonzero((frame["count"] > 0) & (frame["count"] < 20))[0])
    yield State("a feature with too few examples", lab(few))
    wrong = ng.InputError("The store of A-8x has no feature 4096.", "Features go from 0 to 4095.")
    yield State("over the last picture", lab(), {"error": describe(wrong)}, "error")
    long = lab(explanation="\n".join(f'" {w}"  {k + 1}' for k, w in enumerate("abcdefghij" * 4)))
    long.explain("tokens")
    yield State("forty patterns", long, kind="long")
    script = lab(hebrew, explanation=r"/\p{Hebrew}+/  8")
    yield State("Hebrew", script, kind="right to left")
    neurons = ng.open_store("zoo/A-neurons", store.model, annotations=notes / "neurons")
    neuron = lab(int(neurons.to_frame()["max"].to_numpy().argmax()), neurons)
    neuron.explain("tokens")
    yield State("of a neuron", neuron)
    still = lab(of=alone)
    still.explain("tokens")
    yield State("without a model", still)
    hostile = lab()
    pieces = hostile.frame["pieces"]
    hostile.frame = {**hostile.frame, "pieces": (EXPECTED * 40)[: len(pieces)]}
    yield State("hostile tokens", hostile)
    yield State("silent", lab(), kind="kernel gone", kernel="gone")
    yield State("320 pixels", lab(), kind="narrow", width=320)
    yield State("saved page", lab(), {"live": False})
