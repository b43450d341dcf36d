"""The states of a head's page."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import neuroglass as ng
from neuroglass.model.errors import describe
from tests.browser.hostile import EXPECTED
from tests.gallery.state import State

TEXT = "The Congress shall have power to lay and collect taxes, and the Congress shall"
HEBREW = "בראשית ברא אלהים את השמים ואת הארץ"
_POINT = """(root) => {
  const token = root.querySelector('.ng-hd-live .ng-tok[data-i="9"]');
  token.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
}"""


def states() -> Iterator[State]:
    """Heads of the zoo's model, harvested on a few of its texts."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _states(Path(folder))


def harvested(model: ng.LiveModel, folder: Path) -> ng.Store:
    """A small store with three of the model's four heads."""
    kinds = ("english_prose", "code", "hebrew")
    texts = [text[:1500] for kind in kinds for text in ng.zoo_texts(kind)[:4]]
    basis = ng.NeuronBasis(model, 0)
    heads = [(0, 0), (0, 1), (0, 3)]
    made: ng.Store = ng.harvest(
        model, basis, texts, out=folder / "store", context=128, heads=heads, progress=False
    )
    return made


def _states(folder: Path) -> Iterator[State]:
    model = ng.load()  # stays: it answers while the page is made
    store = harvested(model, folder)
    alone = ng.open_store(store.folder)

    def page(head: tuple[int, int] = (0, 1), text: str = TEXT, **more: Any) -> ng.HeadDashboard:
        return ng.HeadDashboard(store, head, text=text, **more)

    said = ({"kind": "ov", "position": 9},)
    normal = page(token=9)
    yield State("a token is selected", normal, asks=said, kind="normal")
    yield State("nothing typed", page(text=""), kind="empty")
    wrong = ng.InputError("The text has 9001 tokens; zoo/A reads at most 256.", "Shorten it.")
    yield State("over the last text", page(), {"error": describe(wrong)}, "error")
    yield State("230 tokens", page(text=" ".join([TEXT] * 10)), kind="long")
    yield State("Hebrew", page((0, 0), HEBREW), kind="right to left")
    yield State("320 px", normal, asks=said, kind="narrow", width=320)
    yield State("silent", page(), kind="kernel gone", kernel="gone")
    yield State("no model: what is stored", ng.HeadDashboard(alone))
    yield State("saved: the text as it was", page(token=9), {"live": False})
    yield State("attention in place of what is written, pointed at", page(by="pattern"), act=_POINT)
    hostile = page((0, 3), token=2)
    hostile.attention = {
        **hostile.attention,
        "pieces": (EXPECTED * 9)[: len(hostile.attention["pieces"])],
    }
    pair = {"pieces": EXPECTED[:9], "kinds": [0] * 9, "query": 6, "key": 2, "gap": 0, "cut": 0}
    pair |= {"document": 0, "value": 1.0, "distance": 4}
    hostile.frame = {**hostile.frame, "pairs": {"top": [pair], "random": [pair]}}
    yield State("hostile tokens", hostile, asks=({"kind": "ov", "position": 2},))
    many = ng.HeadDashboard(alone)
    heads = [[a, b, 1 + (7 * a + b) % 5] for a in range(12) for b in range(9)]
    many.frame = {**many.frame, "heads": heads, "size": [12, 9], "head": [5, 4]}
    yield State("108 heads", many)
