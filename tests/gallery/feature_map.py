"""The states of the feature map."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import neuroglass as ng
from neuroglass.model.errors import describe
from neuroglass.views.codec import pack, pack_q8, unpack
from tests.browser.hostile import EXPECTED
from tests.gallery.state import State

_LASSO = """(root) => {
  const plane = root.querySelector(".ng-plane");
  const box = plane.getBoundingClientRect();
  const [w, h] = [box.width, box.height];
  const at = (type, x, y) => plane.dispatchEvent(new PointerEvent(type, { bubbles: true,
    shiftKey: true, pointerId: 1, clientX: box.left + x * w, clientY: box.top + y * h }));
  plane.setPointerCapture = () => {};
  at("pointerdown", 0.3, 0.3);
  for (const [x, y] of [[0.5, 0.25], [0.62, 0.5], [0.5, 0.75], [0.35, 0.7]])
    at("pointermove", x, y);
}"""


def states() -> Iterator[State]:
    """Maps of the zoo's dictionaries."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _states(Path(folder))


def _states(folder: Path) -> Iterator[State]:
    model = ng.load()

    def store(name: str = "A-8x", model: ng.LiveModel | None = model) -> ng.Store:
        number = len(list(folder.iterdir()))
        (folder / str(number)).mkdir()
        return ng.open_store(f"zoo/{name}", model, annotations=folder / str(number))

    plain = store()
    one = ng.FeatureMap(plain)
    yield State("PCA of a dictionary, by density", one, kind="normal")
    alone = store("A-1x", None)
    yield State("no map is kept, and there is no model", ng.FeatureMap(alone), kind="empty")
    wrong = ng.InputError("UMAP failed: n_neighbors must be greater than 1.", "Give parameters=.")
    yield State("over the last map", one, {"error": describe(wrong)}, "error")
    yield State("25,000 points", large(store("A-1x"), 25_000), kind="long")
    hebrew = store("A-1x")
    hebrew.annotations.explain(7, "אותיות עבריות בתחילת מילה", author="me")
    yield State("Hebrew", ng.FeatureMap(hebrew, feature=7), kind="right to left")
    narrow = ng.FeatureMap(plain, subset=range(40), feature=5)
    yield State("320 px", narrow, kind="narrow", width=320)
    yield State("silent", one, kind="kernel gone", kernel="gone")
    yield State("saved: what needs no kernel", narrow, {"live": False})
    listed = store("A-1x")
    listed.annotations.put("to look at", *range(0, 90, 3))
    listed.annotations.put("Hebrew", 5, 7, 9)
    chosen = ng.FeatureMap(listed, colour="list", subset=range(0, 60, 2))
    yield State("coloured by lists, some selected", chosen)
    two = ng.FeatureMap(plain, others=[store("A-1x")], colour="commonest token")
    yield State("two dictionaries, coloured by the commonest token", two)
    yield State("a line is drawn around some", ng.FeatureMap(plain, colour="skew"), act=_LASSO)
    making = ng.FeatureMap(alone)
    said = {"progress": "UMAP of 4,096 directions: 42% of its epochs", "attached": True}
    yield State("being made", making, said)
    hostile = ng.FeatureMap(store("A-1x"), feature=3)
    hostile.frame = {
        **hostile.frame,
        "pieces": (EXPECTED * len(hostile.frame["pieces"]))[: len(hostile.frame["pieces"])],
        "explanations": {"3": '<img src=x onerror="alert(1)"> & <b>bold</b>'},
        "notice": "2 directions are zero or not finite: not drawn.",
    }
    yield State("hostile tokens", hostile)
    model.close()


def large(store: ng.Store, n: int) -> ng.FeatureMap:
    """A map of `n` made-up points that lie in clouds; what is said of them is the store's."""
    view = ng.FeatureMap(store)
    chance = np.random.default_rng(0)
    which = chance.integers(0, store.n_features, n)
    middle = chance.normal(size=(60, 2)) * 3
    xy = middle[chance.integers(0, 60, n)] + chance.normal(size=(n, 2)) * 0.4
    frame: dict[str, Any] = dict(view.frame)
    columns = [{**c, "values": pack_q8(unpack(c["values"])[which])} for c in frame["columns"]]
    groups = [{**c, "codes": pack(unpack(c["codes"])[which], "u8")} for c in frame["categories"]]
    view.frame = {
        **frame,
        "about": "made-up points",
        "explained": [],
        "stores": [{"name": "large", "n": n}],
        "xy": pack(xy),
        "columns": columns,
        "categories": groups,
        "top": pack(unpack(frame["top"])[which], "i32"),
        "promoted": pack(unpack(frame["promoted"])[which][:, :3], "i32"),
    }
    return view
