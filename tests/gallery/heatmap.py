"""The states of the token heatmap, static and live."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import neuroglass as ng
from neuroglass.model.errors import describe
from tests.browser import measure
from tests.browser.hostile import HOSTILE
from tests.gallery.state import State

TEXT = "She painted the old boat turquoise and sailed across the grey sea to Norway."
HEBREW = "בראשית ברא אלהים את השמים ואת הארץ, והארץ היתה תהו ובהו."
MIXED = "안녕하세요 שלום עולם 日本語 naïve 👩‍🔬 𝔘"
CODE = "def f(x):\n\tif x > 0:\n\t\treturn  x\n\nprint( f(1) )\n"
WORDS = ["The", " quick", " brown", " fox", " jumps", " over", " the", " lazy", " dog", "."]
TOO_LONG = ng.InputError(
    "The text has 9001 tokens; SmolLM2-135M-Instruct reads at most 8192.",
    "Shorten it by 809 tokens or more.",
)

TYPE = """(root) => {
  const box = root.querySelector("textarea.ng-text");
  box.value = "She painted the old boat turquoise. A purple";
  box.dispatchEvent(new Event("input", { bubbles: true }));
}"""
POINT = """(root) => root.querySelector('.ng-tok[data-i="5"]')
  .dispatchEvent(new PointerEvent("pointerover", { bubbles: true, clientX: 1, clientY: 1 }))"""
KEYS = """(root) => {
  const tokens = root.querySelector('.ng-tokens[tabindex="0"]');
  tokens.focus();
  for (const key of ["Home", "ArrowRight", "ArrowRight"])
    tokens.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
}"""
FIND = """(root) => {
  const field = root.querySelector("input.ng-find");
  field.value = "w12";
  field.dispatchEvent(new Event("input", { bubbles: true }));
}"""
SLIP = """(root) => {
  const field = root.querySelector("input.ng-features");
  field.value = "659, blue";
  field.dispatchEvent(new Event("input", { bubbles: true }));
}"""


def static_states(model: ng.LiveModel) -> Iterator[State]:
    ramp = np.linspace(0, 1, len(WORDS))
    two = np.stack([ramp, ramp * 40 - 20])
    labels = ["one row", "another, forty times as strong"]
    heat = ng.TokenHeatmap

    yield State("positive values", heat(WORDS, ramp, title="static"), kind="normal")
    yield State("nothing in it", heat.from_state({}), kind="empty")
    refused = {"error": describe(ng.InputError("There is no row 4 to select.", "Rows: 1, from 0."))}
    yield State("a refused selection", heat(WORDS, ramp), refused, kind="error")
    long = [f" word{i % 97}" for i in range(5000)]
    yield State("5,000 tokens", heat(long, np.sin(np.arange(5000) / 40)), kind="long")
    yield State("Hebrew", _read(model, HEBREW), kind="right to left")
    yield State("320 px", heat(WORDS, two, labels=labels, scale="row"), kind="narrow", width=320)

    yield State("signed values", heat(WORDS, ramp * 2 - 1, labels=["signed"]))
    holes = np.where(np.arange(len(WORDS)) % 3 == 1, np.nan, ramp)
    yield State("missing values are hatched, never zero", heat(WORDS, holes))
    yield State("all zero", heat(WORDS, ramp * 0))
    yield State("rows, one shared scale", heat(WORDS, two, labels=labels))
    yield State("rows, a scale each", heat(WORDS, two, labels=labels, scale="row"))
    peak = np.where(np.arange(200) == 117, 60, np.sin(np.arange(200) / 9) + 1.5)
    clipped = heat([f" w{i}" for i in range(200)], peak, scale="robust")
    yield State("a robust scale, clip marks", clipped)
    texts = [WORDS[:4], WORDS[4:], ["one"]]
    yield State("several texts", heat(texts, [ramp[:4], ramp[4:], [0.5]]))
    yield State("a selected token", heat(WORDS, ramp, selected=(0, 3)))
    hostile = heat(HOSTILE, np.linspace(-1, 1, 20), labels=["<b>hostile</b>"])
    yield State("hostile tokens", hostile)
    endless = heat(["x" * 400, " y"], [1, 0.5], labels=["a label " * 30], selected=(0, 0))
    endless.title = "a-folder/of-a-model-with-a-long-name " * 4
    yield State("endless words", endless)
    yield State("spaces, tabs, newlines", _read(model, CODE))
    yield State("characters split over tokens, mixed directions, wide", _read(model, MIXED))
    many = measure.large(3000, 12)
    yield State("one text for twelve rows", many, act=FIND)
    yield State("one text, narrow", measure.large(600, 3), {"arrange": "one"}, width=320)
    flat = _read(model, CODE)
    flat.wrap = False
    yield State("line breaks as marks", flat)
    cut = heat(WORDS, ramp)
    cut.frame = {**cut.frame, "notice": "The first 10 of 3,120 tokens are shown."}
    yield State("something is left out", cut)


def live_states(model: ng.LiveModel) -> Iterator[State]:
    def live(text: str = TEXT, **changes: Any) -> ng.LiveTokenHeatmap:
        return ng.heatmap(model, text, **({"site": "neurons.24", "features": [659]} | changes))

    one, picked = live(), live(selected=(0, 5))
    detail = {"kind": "detail", "row": 0, "position": 5}
    yield State("one neuron", one, kind="normal")
    yield State("no text yet", live(""), kind="empty")
    failed = {"error": describe(TOO_LONG)}
    yield State("over the last picture", one, failed, kind="error")
    yield State("300 tokens, three rows", live(f"{TEXT} " * 20, features=[]), kind="long")
    yield State("Hebrew", live(HEBREW), kind="right to left")
    yield State("320 px", picked, kind="narrow", width=320, asks=(detail,))
    yield State("the kernel is silent", one, kind="kernel gone", kernel="gone")

    yield State("a token selected", picked, asks=(detail,), readme="first-light")
    three = live(site="neurons.20", features=[], selected=(1, 5))
    yield State("three rows, a token selected", three, asks=({**detail, "row": 1},))
    yield State("a token pointed at", one, act=POINT, room=280)
    yield State("the keyboard's token", one, act=KEYS, room=280)
    yield State("rows that are kept", live(locked=["surprise", "neurons.20/3"]))
    yield State("massive activation out of scale", live(site="resid_post.15", features=[3]))
    yield State("running", one, kernel="running", act=TYPE)
    yield State("waiting for the running cell", one, kernel="waiting")
    yield State("what was typed is refused", one, kernel="failing", act=TYPE)
    yield State("a slip in the features", one, act=SLIP)
    yield State("a bundle of another version", one, {"_version": "0.0.9"})

    other = "She painted the new boat turquoise and sailed across the sea to Norway."
    yield State("two texts compared", live(compare=other, selected=(0, 5)), asks=(detail,))
    layers = live("A red hat", site="resid_post.0", features=[3], across=True, locked=["surprise"])
    yield State("a feature in every layer", layers)


def _read(model: ng.LiveModel, text: str) -> ng.TokenHeatmap:
    run = model.run(text)
    pieces, _ = run.pieces()
    return ng.TokenHeatmap(pieces, run.entropy[0], labels=["entropy (nats)"])
