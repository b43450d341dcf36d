"""TokenHeatmap without a model: input, picture, errors, state, messages."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import traitlets

from neuroglass import InputError, TokenHeatmap, link
from neuroglass.views.codec import unpack
from tests.unit.conftest import RecordingComm, comm_of

TOKENS = ["a", " b", "\n", "c"]


def rows(view: TokenHeatmap) -> list[list[float]]:
    return [unpack(r["values"]).tolist() for r in view.frame["rows"]]


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 2, 3, 4],
        np.array([1, 2, 3, 4]),
        torch.tensor([1.0, 2, 3, 4], requires_grad=True),
        torch.tensor([1, 2, 3, 4], dtype=torch.bfloat16),
    ],
    ids=["list", "numpy", "torch", "bf16"],
)
def test_one_row_of_any_kind_of_numbers(values: Any) -> None:
    assert rows(TokenHeatmap(TOKENS, values)) == [[1, 2, 3, 4]]


def test_several_rows_over_one_text() -> None:
    view = TokenHeatmap(TOKENS, np.arange(8).reshape(2, 4), labels=["x", "y"])
    assert rows(view) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [r["label"] for r in view.frame["rows"]] == ["x", "y"]
    assert [r["seq"] for r in view.frame["rows"]] == [0, 0]
    assert len(view.frame["seqs"]) == 1


def test_several_texts_of_different_lengths() -> None:
    view = TokenHeatmap([["a"], ["b", "c"]], [[1.0], [2.0, 3.0]])
    assert rows(view) == [[1], [2, 3]]
    assert [r["seq"] for r in view.frame["rows"]] == [0, 1]


def test_one_row_given_as_a_list_of_lists() -> None:
    assert rows(TokenHeatmap(TOKENS, [[1, 2, 3, 4]])) == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("kind", "values", "signed", "domain"),
    [
        ("auto", [0.0, 1, 2, 3], False, [0, 3]),
        ("auto", [0.0, -5, 2, 3], True, [-5, 5]),
        ("signed", [0.0, 1, 2, 3], True, [-3, 3]),
        ("positive", [0.0, -9, 2, 3], False, [0, 3]),
        ("auto", [np.nan, 1, np.nan, 2], False, [0, 2]),
        ("auto", [np.nan] * 4, False, [0, 0]),
        ("auto", [0.0] * 4, False, [0, 0]),
    ],
)
def test_the_colour_domain(
    kind: str, values: list[float], signed: bool, domain: list[float]
) -> None:
    row = TokenHeatmap(TOKENS, values, kind=kind).frame["rows"][0]
    assert row["signed"] is signed
    assert row["domain"] == domain


def test_nan_is_kept_as_missing() -> None:
    got = rows(TokenHeatmap(TOKENS, [1, np.nan, 0, 2]))[0]
    assert np.isnan(got[1])
    assert got[2] == 0


def test_large_pictures_go_in_8_bits() -> None:
    n = 300_000
    view = TokenHeatmap(["x"] * n, np.linspace(0, 1, n))
    packed = view.frame["rows"][0]["values"]
    assert packed["dtype"] == "q8"
    assert len(packed["data"]) == n


@pytest.mark.parametrize(
    ("tokens", "values", "message"),
    [
        (TOKENS, [1, 2, 3], r"row 0 have shape \[3\], and there are 4 tokens"),
        (TOKENS, np.zeros((2, 3)), r"row 0 have shape \[3\]"),
        (TOKENS, np.zeros((2, 2, 4)), "row 0 have shape"),
        (TOKENS, 3.0, r"shape \[\]"),
        ([["a"], ["b"]], [[1.0]], "2 texts and 1 rows"),
        ([], [], "no tokens"),
        ([[]], [[]], "none of them empty"),
        ("text", [1, 2, 3, 4], "one text, not a list"),
        ([1, 2], [1, 2], "must be strings"),
        (TOKENS, [1, 2, 3, np.inf], "infinities"),
        (TOKENS, ["x"] * 4, "not numbers"),
        (TOKENS, [None, {}, 1, 2], "not numbers"),
        (TOKENS, [], "there are 4 tokens"),
    ],
)
def test_bad_input_says_what_is_wrong(tokens: Any, values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TokenHeatmap(tokens, values)


def test_bad_options_say_what_is_wrong() -> None:
    with pytest.raises(InputError, match="labels"):
        TokenHeatmap(TOKENS, [1, 2, 3, 4], labels=["a", "b"])
    with pytest.raises(InputError, match="'odd'"):
        TokenHeatmap(TOKENS, [1, 2, 3, 4], kind="odd")
    with pytest.raises(TypeError, match="'scales'. Did you mean 'scale'"):
        TokenHeatmap(TOKENS, [1, 2, 3, 4], scales="row")
    with pytest.raises(traitlets.TraitError, match="theme"):
        TokenHeatmap(TOKENS, [1, 2, 3, 4], theme="blue")


def test_selection_is_checked() -> None:
    view = TokenHeatmap(TOKENS, [1, 2, 3, 4])
    view.selected = (0, 3)
    for bad in [(1, 0), (0, 4), (-1, 0)]:
        with pytest.raises(InputError, match="There is no"):
            view.selected = bad
    assert view.selected == (0, 3)


def test_a_click_in_the_browser_reaches_python(comms: list[RecordingComm]) -> None:
    view = TokenHeatmap(TOKENS, [1, 2, 3, 4])
    seen: list[Any] = []
    view.observe(lambda change: seen.append(change["new"]), "selected")
    comm_of(view).receive_state(selected=[0, 2])
    comm_of(view).receive_state(selected=None)
    assert seen == [(0, 2), None]


def test_detail_gives_the_exact_value(comms: list[RecordingComm]) -> None:
    view = TokenHeatmap(TOKENS, [1, np.nan, 3, 4])
    for i, position in enumerate([2, 1]):
        comm_of(view).receive(
            {"v": 1, "view": "u", "id": i, "kind": "detail", "row": 0, "position": position}
        )
    answers = comm_of(view).answers()
    assert [(a["id"], a["seq"], a["done"]) for a in answers] == [
        (0, 0, False), (0, 1, True), (1, 0, False), (1, 1, True),
    ]  # fmt: skip
    assert answers[1]["value"] == 3.0
    assert answers[3]["value"] is None
    json.dumps(answers, allow_nan=False)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"v": 1, "view": "u", "id": 1, "kind": "detial"}, "Did you mean 'detail'"),
        ({"v": 1, "view": "u", "id": 1, "kind": "detail", "row": 0}, "usable 'position'"),
        ({"v": 1, "view": "u", "id": 1, "kind": "detail", "row": 7, "position": 0}, "no row 7"),
        ({"v": 2, "view": "u", "id": 1, "kind": "hello"}, "Restart the kernel"),
        ({"v": 1, "view": "u", "kind": "hello"}, "without view, id and kind"),
    ],
)
def test_a_bad_message_is_answered_with_an_error(
    message: dict[str, Any], error: str, comms: list[RecordingComm]
) -> None:
    view = TokenHeatmap(TOKENS, [1, 2, 3, 4])
    comm_of(view).receive(message)
    last = comm_of(view).answers()[-1]
    assert last["done"]
    assert error in last["error"]["message"] + " " + last["error"]["hint"]


def test_hello_is_acknowledged_and_answered_with_the_version(comms: list[RecordingComm]) -> None:
    from neuroglass import __version__

    view = TokenHeatmap(TOKENS, [1, 2, 3, 4])
    comm_of(view).receive({"v": 1, "view": "u", "id": 1, "kind": "hello", "version": "0"})
    assert comm_of(view).answers()[-1]["version"] == __version__
    assert view._version == __version__


def test_state_goes_through_json_and_back() -> None:
    view = TokenHeatmap(
        [["a\ud800"], ["b", "<i>"]], [[np.nan], [2.0, -3.0]], labels=["x", "y"], theme="dark"
    )
    view.selected = (1, 1)
    again = TokenHeatmap.from_state(json.loads(json.dumps(view.state, allow_nan=False)))
    assert again.frame == view.frame
    assert (again.selected, again.theme, again.live) == ((1, 1), "dark", False)
    with pytest.raises(InputError, match="no state of a TokenHeatmap"):
        TokenHeatmap.from_state({"strength": 3})


def test_fallbacks_are_small_escaped_and_say_what_they_leave_out() -> None:
    view = TokenHeatmap(["<script>x</script>"] * 1000, np.arange(1000.0))
    data, _ = view._repr_mimebundle_()
    assert "1000 tokens" in data["text/plain"]
    assert "<script" not in data["text/html"]
    assert re.search(r"first \d+ of 1000 tokens", data["text/html"])
    assert len(data["text/html"].encode()) <= 50_000
    assert "application/vnd.jupyter.widget-view+json" in data


def test_linked_views_follow_each_other() -> None:
    a, b = TokenHeatmap(TOKENS, [1, 2, 3, 4]), TokenHeatmap(TOKENS, [4, 3, 2, 1])
    both = link(a, b, "selected")
    a.selected = (0, 1)
    assert b.selected == (0, 1)
    b.set_trait("selected", None)
    assert a.selected is None
    both.unlink()
    a.selected = (0, 0)
    assert b.selected is None
    with pytest.raises(InputError, match="no trait 'strength'"):
        link(a, b, "strength")


def test_the_html_page_holds_hostile_tokens_as_data_only(tmp_path: Path) -> None:
    hostile = ["</script>", "<!--", "<img src=x onerror=alert(1)>", "\u2028"]
    path = TokenHeatmap(hostile, [1, 2, 3, 4]).to_html(tmp_path / "page.html")
    page = path.read_text()
    data = page.split('id="ng-page">')[1].split("</script>")[0]
    assert "<" not in data
    (model,) = json.loads(data)["models"].values()
    assert model["state"]["frame"]["seqs"][0]["pieces"][:3] == hostile[:3]
    assert "<img" not in page.replace(data, "")
    assert "http://" not in page.replace(data, "")
    assert "https://" not in page.replace(data, "")


def test_import_and_a_static_heatmap_load_no_torch_and_are_quick() -> None:
    script = """
import sys, time
start = time.perf_counter()
import neuroglass
imported = time.perf_counter() - start
neuroglass.TokenHeatmap(["a", "b"], [0.1, 0.2])
drawn = time.perf_counter() - start
heavy = {"torch", "transformers", "duckdb", "plotly", "openai", "pandas"} & set(sys.modules)
print(imported, drawn, sorted(heavy))
"""
    out = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    imported, drawn, heavy = out.split(maxsplit=2)
    assert heavy.strip() == "[]"
    # the limits; measured 0.05 s and 0.3 s, so a busy machine passes too
    assert float(imported) < 0.5
    assert float(drawn) < 1.0
