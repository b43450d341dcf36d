"""A static site of features: its files, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import neuroglass as ng
from neuroglass.views.feature_page import page_of
from neuroglass.views.site import CHUNK


def table_of(index: Path) -> dict[str, Any]:
    found = re.search(r'id="ng-site">(.*?)</script>', index.read_text("utf-8"), re.DOTALL)
    assert found
    made: dict[str, Any] = json.loads(found[1])
    return made


def test_every_feature_has_its_page_and_its_row(tmp_path: Path) -> None:
    store = ng.open_store("zoo/A-1x", annotations=tmp_path / "notes")
    store.annotations.explain(7, "<b>what</b> it is & for")
    chosen = list(range(5, 5 + CHUNK + 3))
    index = store.to_site(tmp_path / "site", chosen, title="A <site>")
    files = sorted(p.name for p in (tmp_path / "site" / "pages").iterdir())
    assert files == ["0.js", "1.js"]
    table = table_of(index)
    assert table["features"] == chosen
    frame = store.to_frame().loc[chosen]
    assert table["numbers"]["count"] == frame["count"].tolist()
    assert table["numbers"]["density"] == pytest.approx(frame["density"].tolist(), rel=1e-4)
    for row, feature in enumerate(chosen[:6]):
        want = store.tokens(feature).head(8)
        assert [t[0] for t in table["tokens"][row]] == want["id"].tolist()
        assert [t[1] for t in table["tokens"][row]] == pytest.approx(
            want["share"].tolist(), rel=5e-3
        )
    chunk = (tmp_path / "site" / "pages" / "1.js").read_text("utf-8")
    body = json.loads(re.fullmatch(r"ngPages\(1, (.*)\);\n", chunk, re.DOTALL)[1])  # type: ignore[index]
    page, want_page = body["pages"][1], page_of(store, chosen[CHUNK + 1])
    assert page["name"] == want_page["name"]
    shown = [[body["pieces"][k] for k in e["t"]] for e in page["examples"]]
    assert shown == [[want_page["pieces"][k] for k in e["t"]] for e in want_page["examples"]]
    whole = index.read_text("utf-8")
    assert "A &lt;site&gt;" in whole
    assert "<b>what</b>" not in whole
    assert not re.search(r"""(src|href)=["']https?:""", whole)  # nothing is asked of a network


def test_what_can_not_be_written_is_refused(tmp_path: Path) -> None:
    store = ng.open_store("zoo/A-1x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(ng.InputError, match="not empty"):
        store.to_site(tmp_path / "full", [1])
    with pytest.raises(ng.InputError, match="no feature 512"):
        store.to_site(tmp_path / "site", [512])
    with pytest.raises(ng.InputError, match="no features"):
        store.to_site(tmp_path / "site", [])
    assert not (tmp_path / "site").exists()
