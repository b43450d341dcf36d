"""Views side by side: references, state, pages, boxes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import ipywidgets
import pytest

import neuroglass as ng
from neuroglass.views import beside as module
from neuroglass.views.base import ref
from tests.unit.conftest import RecordingComm, comm_of

WIDGET = "application/vnd.jupyter.widget-view+json"


def words(n: int = 4, **more: Any) -> ng.TokenHeatmap:
    return ng.TokenHeatmap([f" {i}" for i in range(n)], list(range(n)), **more)


def page_data(path: Path) -> dict[str, Any]:
    page = path.read_text("utf-8")
    data: dict[str, Any] = json.loads(page.split('id="ng-page">')[1].split("</script>")[0])
    return data


def test_views_go_to_the_page_as_references(comms: list[RecordingComm]) -> None:
    a, b, c = words(), words(), words()
    row = ng.beside(a, b)
    assert row.get_state("views") == {"views": [ref(a), ref(b)]}
    row.views = [c, a]
    assert comm_of(row).updates()[-1] == {"views": [ref(c), ref(a)]}
    comm_of(row).receive_state(views=["anywidget:x"])  # a page can't make views
    assert row.views == [c, a]


@pytest.mark.parametrize("views", [["text"], [ipywidgets.IntSlider()]], ids=["text", "slider"])
def test_what_is_no_view_is_an_error(views: list[Any]) -> None:
    with pytest.raises(ng.InputError, match="no view"):
        ng.beside(*views)


def test_a_view_stands_there_once() -> None:
    a = words()
    with pytest.raises(ng.InputError, match="twice"):
        ng.beside(a, a)


def test_the_state_holds_all_views_and_the_links_among_them() -> None:
    a, b, c, outside = words(), words(), words(5), words()
    ng.link(a, c, outside)
    ng.link(a, b, "theme", "token")
    state = json.loads(json.dumps(ng.beside(a, ng.beside(b), c, theme="dark").state))
    assert state["links"] == [{"name": "token", "views": [0, 2]}]
    again = ng.Beside.from_state(state)
    first, inner, third = again.views
    assert isinstance(inner, ng.Beside)
    assert again.theme == "dark"
    assert inner.views[0].frame == b.frame
    third.token = 3
    assert first.selected == (0, 3)


def test_links_between_more_than_two_come_back_as_they_were() -> None:
    views = [words() for _ in range(3)]
    ng.link(*views, "token", "scale")
    again = ng.Beside.from_state(ng.beside(*views).state)
    again.views[2].scale = "row"
    assert [v.scale for v in again.views] == ["row"] * 3
    assert all(len(v._links) == 2 for v in again.views)


@pytest.mark.parametrize(
    "kind", ["os.path", "base.bundle", "no_such.View", "heatmap.np", "../x.Y", "heatmap.TokenHeat"]
)
def test_a_state_names_only_views_of_ours(kind: str) -> None:
    with pytest.raises(ng.InputError, match="there is no view"):
        ng.Beside.from_state({"views": [{"kind": kind, "state": {}}]})


def test_a_page_carries_each_view_and_each_bundle_once(tmp_path: Path) -> None:
    a, b = words(), words()
    ng.link(a, b)
    row = ng.beside(a, ng.beside(b))
    page = page_data(row.to_html(tmp_path / "row.html"))
    assert len(page["models"]) == 4
    assert len(page["modules"]) == 2
    assert page["models"][a.model_id]["state"]["_links"] == [{"name": "token", "refs": [ref(b)]}]
    assert page["models"][row.model_id]["state"]["views"][0] == ref(a)
    assert (tmp_path / "row.html").read_text("utf-8").count("data-ng-widget=") == 1  # the row


def test_save_html_writes_a_row(tmp_path: Path) -> None:
    a, b = words(), words()
    path = ng.save_html(tmp_path / "two.html", a, b, title="<two>")
    assert list(page_data(path)["models"]) == [a.model_id, b.model_id]
    assert "<title>&lt;two&gt;</title>" in path.read_text("utf-8")
    with pytest.raises(ng.InputError, match="no view"):
        ng.save_html(tmp_path / "none.html")


def test_in_several_states_on_one_page_each_names_its_own() -> None:
    from neuroglass.views.export import Page

    a, b = words(), words()
    ng.link(a, b)
    row, page = ng.beside(a, b), Page()
    for theme in ("light", "dark"):
        page.add_view(row, theme=theme)
    assert len(page.models) == 6
    for key, model in page.models.items():
        named = [*model["state"].get("views", [])]
        named += [r for one in model["state"]["_links"] for r in one["refs"]]
        for name in named:
            other = page.models[name.removeprefix("anywidget:")]
            assert other["state"]["theme"] == page.models[key]["state"]["theme"]


def test_a_host_that_hosts_nothing_gets_a_box(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ng.beside(words(), ng.beside(words()))
    data, _ = row._repr_mimebundle_()
    assert data[WIDGET]["model_id"] == row.model_id
    monkeypatch.setattr(module, "can_host", lambda: False)
    data, _ = row._repr_mimebundle_()
    assert data[WIDGET]["model_id"] == row._box.model_id
    assert data["text/plain"].startswith("Beside(")
    assert "<img" in data["text/html"]
    box = row.as_box()
    assert box.children[0] is row.views[0]
    assert isinstance(box.children[1], ipywidgets.HBox)


def test_where_a_box_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VSCODE_PID", raising=False)
    monkeypatch.delitem(sys.modules, "marimo", raising=False)
    assert module.can_host()
    monkeypatch.setenv("VSCODE_PID", "1")
    assert not module.can_host()
    monkeypatch.setitem(sys.modules, "marimo", object())
    assert module.can_host()
    monkeypatch.delenv("VSCODE_PID")
    monkeypatch.delitem(sys.modules, "marimo")
    monkeypatch.setitem(sys.modules, "google.colab", object())
    assert not module.can_host()


def test_the_fallback_has_room_for_fifty_thousand_bytes() -> None:
    many = [words(400) for _ in range(30)]
    data, _ = ng.beside(*many)._repr_mimebundle_()
    assert len(data["text/html"].encode()) <= 50_000
    assert "more views are not shown" in data["text/html"]


def test_static_views_stand_beside_each_other_without_torch() -> None:
    code = (
        "import sys, neuroglass as ng\n"
        "a, b = (ng.TokenHeatmap(['x'], [1.0]) for _ in range(2))\n"
        "ng.link(a, b); ng.Beside.from_state(ng.beside(a, b).state)\n"
        "assert not {'torch', 'transformers', 'plotly'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
