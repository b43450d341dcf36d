"""The states of the browser of features."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import neuroglass as ng
from neuroglass.model.errors import describe
from tests.altered import with_nan
from tests.browser.hostile import EXPECTED
from tests.gallery.state import State

PROMPT = "The capital of France is Paris"
HEBREW = "בירת צרפת היא פריז"
# what features of A-8x were called, the score, the rating and the note
SAID = {
    1801: ("Korean text", 0.71, 4, ""),
    3672: ("Hebrew with vowel points, and more", 0.42, 2, "on nearly everywhere"),
    3480: ("Arabic text", 0.64, 5, ""),
    389: (
        "Hebrew text without vowel points, line breaks in it and spaces between its words included",
        None,
        None,
        "",
    ),
    1534: ("", None, 4, "the digit 3, in base64 alone?"),
}


def states() -> Iterator[State]:
    """The browser on the zoo's dictionary."""
    folder = Path(tempfile.mkdtemp(prefix="neuroglass-"))
    plain = ng.open_store("zoo/A-8x", annotations=folder / "none")
    live = plain.attach(ng.load("zoo/A"))
    said = ng.open_store("zoo/A-8x", annotations=folder / "said")
    notes = said.annotations
    for feature, (text, score, rating, note) in SAID.items():
        if text:
            made = notes.explain(feature, text, author="ada")
            if score is not None:
                notes.score(feature, made["id"], "correlation", score)
        if rating is not None:
            notes.rate(feature, rating, author="ada")
        if note:
            notes.note(feature, note, author="ada")
    notes.put("scripts", 1801, 3480, author="ada")
    notes.put("to look at again", 3480, 1534, author="ada")
    said = said.attach(live.model)

    def browser(store: ng.Store = said, **more: Any) -> ng.FeatureBrowser:
        return ng.FeatureBrowser(store, **{"opens": False} | more)

    one = browser(feature=3480)
    yield State("a feature selected", one, kind="normal")
    few = browser(feature=1534, chosen=[3480, 389, 1534])
    yield State("three ticked", few)
    none = browser(query={"explanation": "aardvark"})
    yield State("no feature fits", none, kind="empty")
    wrong = ng.InputError("'thex' is no single token.", "Did you mean 'the' or ' the'?")
    yield State("over the last rows", one, {"error": describe(wrong)}, "error")
    wide = [n for n in ng.FeatureBrowser.column_names() if n != "feature"]
    yield State("every column", browser(columns=wide, sort="kurtosis"), kind="long")
    yield State("silent", one, kind="kernel gone", kernel="gone")
    yield State("320 pixels", few, kind="narrow", width=320)
    prompt = browser(query={"prompt": PROMPT, "tokens": [3, 4], "by": "sum"})
    yield State("search by a prompt, two tokens chosen", prompt)
    yield State("a Hebrew prompt", browser(query={"prompt": HEBREW}), kind="right to left")
    yield State(
        "on at a token, without ultralow", browser(query={"token": " the", "without": ["ultralow"]})
    )
    yield State("nothing fires", browser(query={"prompt": "a", "density": [0.5, 1]}))
    yield State(
        "the page of a feature is open", browser(subset=[389, 1534, 3480], feature=3480, opens=True)
    )
    stored = ng.FeatureBrowser(plain)
    open_prompt = "(root) => { root.querySelector('.ng-by-prompt').open = true; }"
    yield State("no model attached, nothing said", stored, act=open_prompt)
    strange = browser(with_nan(folder / "strange"), sort="not_finite")
    yield State("features that were NaN", strange)
    menu = "(root) => { root.querySelector('.ng-menu').open = true; }"
    yield State("the menu of columns", browser(subset=[389, 1534, 1801, 3480]), act=menu, room=160)
    hostile = browser(sort="score")
    pieces = hostile.frame["rows"]["pieces"]
    names = dict(zip(pieces, EXPECTED * (1 + len(pieces) // len(EXPECTED)), strict=False))
    first = dict(list(hostile.remarks["of"].items()))
    for entry, text in zip(first.values(), EXPECTED, strict=False):
        entry |= {"explanation": text, "lists": [text], "note": text}
    hostile.frame = {**hostile.frame, "rows": {**hostile.frame["rows"], "pieces": names}}
    hostile.remarks = {**hostile.remarks, "of": first, "lists": [[t, 1] for t in EXPECTED]}
    yield State("hostile tokens and remarks", hostile)
    yield State("saved: the first rows", one, {"live": False})
