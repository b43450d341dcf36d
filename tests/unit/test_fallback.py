"""The picture without scripts: small, whole, and true about what it leaves out."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from neuroglass.views.fallback import Row, picture
from tests.browser.hostile import HOSTILE


def row(pieces: list[str], label: str = "a row", **more: float) -> Row:
    return Row(label, pieces, np.linspace(-1, 1, len(pieces)), more.get("peak", 1.0))


def svg(html: str) -> ET.Element:
    found = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', html)
    assert found
    return ET.fromstring(base64.b64decode(found[1]))


def texts(root: ET.Element) -> list[str]:
    return [e.text or "" for e in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize(
    "pieces",
    [
        ["<b>&\"' word"] * 1000,
        ["x" * 5000] * 500,
        ["日本語"] * 2000,
        [" שלום"] * 2000,
        ["👩‍🔬"] * 3000,
        ["\n"] * 2000,
        ["\ud800", "\x00", "a"] * 500,
    ],
    ids=["escaped", "long", "wide", "right to left", "joined", "newlines", "no characters"],
)
def test_it_stays_under_fifty_thousand_bytes(pieces: list[str]) -> None:
    html = picture([row(pieces), row(pieces, "another")])
    assert len(html.encode()) <= 50_000
    assert re.search(r"first \d+ of \d+ tokens", html)
    assert texts(svg(html))


def test_hostile_tokens_and_labels_are_text() -> None:
    html = picture([row(HOSTILE, '"><script>x</script>')])
    assert "<script" not in html
    assert html.count("<") == 1  # the image and nothing else
    assert any("script" in text for text in texts(svg(html)))


def test_rows_as_many_as_there_is_room_for() -> None:
    few = picture([row(["a", " b"], f"row {i}") for i in range(3)])
    shown = texts(svg(few))
    assert [t.split(" ·")[0] for t in shown if t.startswith("row")] == ["row 0", "row 1", "row 2"]
    assert "<small>" not in few
    many = picture([row([f" word{i}" for i in range(300)], f"row {i}") for i in range(40)])
    assert re.search(r"first (\d+ )?of 40 rows", many)


def test_colours_say_the_sign_and_missing_is_hatched() -> None:
    values = np.array([-1.0, 0.0, 0.5, np.nan])
    root = svg(picture([Row("r", ["a", "b", "c", "d"], values, 1.0)]))
    _, *cells = root.iter("{http://www.w3.org/2000/svg}rect")  # after the paper
    fills = [(e.get("fill"), e.get("fill-opacity")) for e in cells]
    assert fills == [("#4393c3", "0.6"), ("#e08214", "0.3"), ("url(#m)", None)]


def test_nothing_to_show_is_nothing() -> None:
    assert picture([]) == ""
