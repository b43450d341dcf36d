"""The states of a feature's page: real features of the zoo's dictionary."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import neuroglass as ng
from neuroglass.features.store import Store
from neuroglass.features.trace import Trace
from neuroglass.model.errors import describe
from tests.browser.hostile import EXPECTED
from tests.gallery.state import State


def best(store: Store, text: str) -> int:
    """The feature that is strongest on a text."""
    return int(store.search(text, limit=1).index[0])


def states() -> Iterator[State]:
    """The page with its model, and without."""
    model = ng.load("zoo/A")
    alone = ng.open_store("zoo/A-8x")
    store = alone.attach(model)
    digits = best(store, "0 1 2 3 4 5 6 7 8 9 10 11 12")
    hebrew = best(store, "שלום עולם, זה טקסט בעברית")

    def page(feature: int = digits, of: Store = store, **more: Any) -> ng.FeatureDashboard:
        return ng.FeatureDashboard(of, feature, **more)

    yield State("of a latent", page(), kind="normal")
    press = """(root) => {
      const toggle = [...root.querySelectorAll(".ng-dash-examples .ng-toggle")].at(-1);
      if (toggle.getAttribute("aria-pressed") !== "true") toggle.click();
    }"""
    effects = page()
    wanted = [[e["d"], e["s"], len(e["t"]) - e["lead"]] for e in effects.frame["examples"]][:40]
    yield State(
        "effects of ablation",
        effects,
        asks=({"kind": "effects", "feature": digits, "which": wanted},),
        act=press,
    )
    text = "In 1994, 23 people paid 1,000 each for 12 of the 45 rooms."
    ask = {"kind": "text", "feature": digits, "text": text, "effects": False}
    yield State("a text of one's own", page(text=text), asks=(ask,))
    rule = {"kind": "rule", "feature": hebrew, "rule": r"\p{Hebrew}"}
    ruled = page(hebrew, rule=r"\p{Hebrew}")
    ruled._traces[hebrew] = trace = Trace(store, hebrew)
    for _ in islice(trace.more(), 6):
        pass
    trace.done = True  # a part of the corpus is enough for a picture
    yield State("a rule", ruled, kind="right to left", asks=(rule,))
    counts = alone.to_frame()["count"].to_numpy()
    silent = int((counts == 0).argmax())
    yield State("a dead feature", page(silent), kind="empty")
    wrong = ng.InputError("The store of A-8x has no feature 4096.", "Features go from 0 to 4095.")
    yield State("over the last page", page(), {"error": describe(wrong)}, "error")
    dense = int(counts.argmax())
    yield State("the densest feature", page(dense), kind="long")
    neurons = ng.open_store("zoo/A-neurons", model)
    yield State("of a neuron", page(int(neurons.to_frame()["max"].to_numpy().argmax()), neurons))
    yield State("without a model", page(of=alone))
    hostile = page()
    pieces = hostile.frame["pieces"]
    hostile.frame = {**hostile.frame, "pieces": (EXPECTED * 20)[: len(pieces)]}
    yield State("hostile tokens", hostile)
    yield State("silent", page(), kind="kernel gone", kernel="gone")
    yield State("320 pixels", page(), kind="narrow", width=320)
    static = page()
    yield State("saved page", static, {"live": False})
