"""Notebooks as one HTML file, and the command line."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import nbformat
import plotly.graph_objects as go
import pytest
from plotly.utils import PlotlyJSONEncoder

from neuroglass import InputError, MissingExtraError, export_notebook
from neuroglass.cli import main

STATE = "application/vnd.jupyter.widget-state+json"


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    widget = nbformat.v4.new_output(
        "display_data",
        {
            "application/vnd.jupyter.widget-view+json": {"model_id": "m1"},
            "text/plain": "TokenHeatmap",
        },
    )
    stream, more = (nbformat.v4.new_output("stream", text=t) for t in ("<b>not ", "bold</b>"))
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "box"}}
    box = nbformat.v4.new_output("display_data", view)
    error = nbformat.v4.new_output("error", ename="ValueError", evalue="<i>x</i>")
    book = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# A *title*"),
            nbformat.v4.new_code_cell("1 < 2", outputs=[stream, more, widget, error, box]),
        ]
    )
    data = base64.b64encode(b"\x01\x02").decode()
    book.metadata["widgets"] = {
        STATE: {
            "state": {
                "m1": {
                    "state": {"_esm": "export default {}", "_css": ".ng{}", "live": True, "x": {}},
                    "buffers": [{"path": ["x", "data"], "data": data, "encoding": "base64"}],
                },
                "box": {"state": {"_model_name": "HBoxModel", "children": ["IPY_MODEL_m1"]}},
            }
        }
    }
    path = tmp_path / "book.ipynb"
    nbformat.write(book, path)
    return path


def test_a_notebook_becomes_one_page_with_its_widgets(notebook: Path) -> None:
    page = export_notebook(notebook).read_text()
    assert "<em>title</em>" in page
    assert "&lt;b&gt;not bold&lt;/b&gt;" in page  # printed in two pieces, one text
    assert "ValueError: &lt;i&gt;" in page
    data = json.loads(page.split('id="ng-page">')[1].split("</script>")[0])
    assert data["models"]["m1"]["buffers"] == [{"path": ["x", "data"], "data": "AQI="}]
    assert data["models"]["m1"]["state"]["live"] is False
    assert 'data-ng-widget="m1"' in page
    assert page.count('data-ng-widget="m1"') == 2  # alone, and in the box
    for outside in ("http://", "https://", "src="):
        assert outside not in page


def test_the_command_writes_the_page_and_prints_its_path(
    notebook: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.html"
    assert main(["export", str(notebook), "-o", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert out.exists()


def test_the_command_fails_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tmp_path / "none.ipynb")]) == 1
    assert "There is no notebook" in capsys.readouterr().err


def test_a_file_that_is_no_notebook(tmp_path: Path) -> None:
    (tmp_path / "x.ipynb").write_text("{}}")
    with pytest.raises(InputError, match="not a notebook"):
        export_notebook(tmp_path / "x.ipynb")


def test_without_nbconvert_the_extra_is_named(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nbformat", None)
    with pytest.raises(MissingExtraError, match=r"neuroglass\[export\]"):
        export_notebook(notebook)


def test_figures_are_drawn_and_plotly_comes_along_once(tmp_path: Path) -> None:
    shown = go.Figure(go.Bar(y=[1, 2]), layout={"title": "</script><b>bold</b>"}).to_plotly_json()
    data = json.loads(json.dumps(shown, cls=PlotlyJSONEncoder))
    outputs = [
        nbformat.v4.new_output("display_data", {"application/vnd.plotly.v1+json": data})
        for _ in range(2)
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=outputs)])
    nbformat.write(book, tmp_path / "book.ipynb")
    page = export_notebook(tmp_path / "book.ipynb").read_text()
    assert page.count("plotly.js v") == 1
    assert page.count('class="plotly-graph-div"') == 2
    assert "</script><b>bold" not in page
    assert "src=" not in page.replace("xlink:href", "").split("plotly.js v")[0]
