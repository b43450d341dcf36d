"""What the heatmap does with its picture: in a page without a kernel, and live in JupyterLab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import neuroglass as ng
from tests.browser import lab as labs
from tests.browser import measure

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page


def open_view(page: Page, folder: Path, view: ng.TokenHeatmap) -> Locator:
    page.goto(view.to_html(folder / "view.html").resolve().as_uri())
    root = page.locator(".ng-heatmap")
    root.locator(".ng-tok").first.wait_for()
    return root


def box(token: Locator) -> dict[str, float]:
    found = token.bounding_box()
    assert found is not None
    return {"x": found["x"], "y": found["y"], "width": found["width"], "height": found["height"]}


# ------------------------------------------------------------------------------ large pictures


def test_thirty_rows_of_a_hundred_thousand_tokens_scroll_without_blank_tiles(
    page: Page, tmp_path: Path
) -> None:
    view = measure.large(100_000, 30)
    wire = measure.wire(view)
    assert wire["values"] == 1  # byte per cell
    measure.open_waiting(page, tmp_path / "large.html", view)
    page.evaluate(measure.PAINT)
    assert page.locator(".ng-tokens").count() == 1  # the text once, not thirty times
    assert 0 < page.locator(".ng-tok").count() < 10_000
    scrolled = page.evaluate(measure.SCROLL, {"step": 2500, "n": 40})
    assert scrolled["top"] > 50_000
    assert scrolled["blank"] == []
    page.locator("button.ng-row-label").nth(7).click()
    chosen = page.locator(".ng-chosen .ng-row-label").text_content()
    assert chosen == "row 7"
    assert page.locator(".ng-tokens").get_attribute("aria-label") == "tokens, coloured by row 7"


def test_the_overview_goes_where_it_is_pressed(page: Page, tmp_path: Path) -> None:
    root = open_view(page, tmp_path, measure.large(20_000, 2))
    overview = root.locator(".ng-minimap").first
    middle = box(overview)
    page.mouse.click(middle["x"] + 0.75 * middle["width"], middle["y"] + 5)
    strip = root.locator(".ng-tokens").first
    first = strip.evaluate(
        """strip => {
          const top = strip.getBoundingClientRect().top;
          return Math.min(...[...strip.querySelectorAll('.ng-tok')]
            .filter(t => t.getBoundingClientRect().bottom > top + 2).map(t => Number(t.dataset.i)));
        }"""
    )
    assert abs(first - 15_000) < 60
    window = box(root.locator(".ng-window").first)
    assert abs(window["x"] - (middle["x"] + 0.75 * middle["width"])) < 20
    # the overview really shows the values: columns of more than one colour
    colours = overview.locator("canvas").evaluate(
        """canvas => new Set(Array.from({length: 60}, (_, i) => canvas.getContext('2d')
          .getImageData(Math.floor(i * canvas.width / 60), canvas.height / 2, 1, 1).data.join()))
          .size"""
    )
    assert colours > 5


def test_found_places_are_shown_even_far_away(page: Page, tmp_path: Path) -> None:
    words = [f" w{i}" for i in range(5000)]
    root = open_view(page, tmp_path, ng.TokenHeatmap(words, np.arange(5000) % 7))
    root.locator(".ng-find").fill("w4321")
    hit = root.locator(".ng-hit-now")
    hit.wait_for()
    assert hit.text_content() == " w4321"
    assert root.locator(".ng-count").text_content() == "1 of 1"
    inside = root.locator(".ng-tokens").evaluate(
        """strip => {
          const [a, b] = [strip, strip.querySelector('.ng-hit-now')]
            .map(e => e.getBoundingClientRect());
          return b.top >= a.top && b.bottom <= a.bottom;
        }"""
    )
    assert inside


# ------------------------------------------------------------------------------ text as text


def test_text_is_selected_and_copied_as_the_model_read_it(page: Page, tmp_path: Path) -> None:
    tokens = ["def", " f", "(", "x", "):\n", "\treturn", "  x", "\n"]
    root = open_view(page, tmp_path, ng.TokenHeatmap(tokens, range(8)))
    copied = root.evaluate(
        """root => {
          const range = document.createRange();
          range.selectNodeContents(root.querySelector('.ng-tokens'));
          const tokens = root.querySelectorAll('.ng-tok');
          range.setStart(tokens[0].firstChild, 0);
          range.setEnd(tokens[7].firstChild, 1);
          const selection = getSelection();
          selection.removeAllRanges();
          selection.addRange(range);
          const event = new ClipboardEvent('copy',
            {clipboardData: new DataTransfer(), bubbles: true, cancelable: true});
          tokens[0].dispatchEvent(event);
          return event.clipboardData.getData('text/plain');
        }"""
    )
    assert copied == "".join(tokens)


def test_line_breaks_can_be_turned_into_marks(page: Page, tmp_path: Path) -> None:
    tokens = ["one", "\n", "two", " three\n", "four"]
    root = open_view(page, tmp_path, ng.TokenHeatmap(tokens, range(5)))
    top = [box(root.locator(f'.ng-tok[data-i="{i}"]'))["y"] for i in (0, 2, 4)]
    assert top[0] < top[1] < top[2]
    root.locator(".ng-wrap").click()
    top = [box(root.locator(f'.ng-tok[data-i="{i}"]'))["y"] for i in (0, 2, 4)]
    assert top[0] == top[1] == top[2]
    assert root.locator(".ng-tok").all_text_contents() == tokens


def test_each_line_runs_in_its_own_direction(page: Page, tmp_path: Path) -> None:
    tokens = ["שלום", " עולם", " abc", "\n", "Hello", " עולם", " there", "\n", "مر", "حبا"]
    root = open_view(page, tmp_path, ng.TokenHeatmap(tokens, range(10)))
    place = [box(root.locator(f'.ng-tok[data-i="{i}"]')) for i in range(10)]
    x = [p["x"] for p in place]
    assert x[0] > x[1] > x[2]  # Hebrew from the right, and the Latin word behind it
    assert x[4] < x[5] < x[6]  # English from the left
    right = box(root.locator(".ng-tokens"))
    assert place[0]["x"] + place[0]["width"] > right["x"] + right["width"] - 20
    # letters of one Arabic word join over the edge of two tokens: no gap
    assert abs(place[9]["x"] + place[9]["width"] - place[8]["x"]) < 0.5


def test_words_are_not_broken_between_their_tokens(page: Page, tmp_path: Path) -> None:
    tokens = [part for i in range(120) for part in (" extra", "ordi", f"nary{i}")]
    root = open_view(page, tmp_path, ng.TokenHeatmap(tokens, range(len(tokens))))
    tops = root.locator(".ng-tok").evaluate_all(
        "tokens => tokens.map(t => t.getClientRects()[t.getClientRects().length - 1].top)"
    )
    assert len(set(tops)) > 3
    assert all(tops[i] == tops[i + 1] == tops[i + 2] for i in range(0, len(tops), 3))


# ------------------------------------------------------------------------------ what is missing


def test_missing_and_clipped_values_are_visible_and_counted(page: Page, tmp_path: Path) -> None:
    values = np.linspace(0, 1, 100)
    values[5] = np.nan
    values[50] = 40
    view = ng.TokenHeatmap([f" t{i}" for i in range(100)], values, scale="robust")
    root = open_view(page, tmp_path, view)
    assert root.locator(".ng-tally-missing").text_content() == "1 missing"
    style = "t => getComputedStyle(t).backgroundImage"
    assert "gradient" in root.locator('.ng-tok[data-i="5"]').evaluate(style)
    clipped = int(str(root.locator(".ng-tally-clipped").text_content()).split()[0])
    assert clipped == (values[1:] > np.nanquantile(values[values > 0], 0.98)).sum()
    assert "ng-clip" in str(root.locator('.ng-tok[data-i="50"]').get_attribute("class"))
    root.locator("select.ng-scale").select_option("row")
    assert root.locator(".ng-tally-clipped").count() == 0


# ------------------------------------------------------------------------------ live

LIVE = """
import neuroglass as ng
model = ng.load()
sae = ng.SAE.load("zoo/A-8x", model)
w = ng.heatmap(model, "The Congress shall have power to tax", site=sae, features=[63])
w
"""


@pytest.mark.model
def test_two_texts_are_compared_while_one_is_typed(lab_page: Page, lab: labs.Lab) -> None:
    page = lab_page
    labs.open_notebook(page, lab, labs.write_notebook(lab.root / "compare.ipynb", [LIVE]))
    labs.run_all(page)
    root = page.locator(".ng-heatmap").first
    root.locator(".ng-tok").first.wait_for()

    def labels() -> list[str]:
        return list(root.locator(".ng-row-label").all_text_contents())

    root.locator(".ng-compare").click()
    second = root.get_by_label("second text", exact=True)
    second.wait_for()
    second.fill("The Congress shall never have power to borrow")
    want = ["A-8x / 63", "A-8x / 63 · second text", "A-8x / 63 · second − first"]
    labs.wait_until("three rows", lambda: labels() == want)
    labs.wait_until(
        "the second text is drawn",
        lambda: root.locator('.ng-row[data-row="1"] .ng-tok').last.text_content() == "row",
    )
    root.locator('.ng-row[data-row="0"] .ng-tok', has_text="power").click()
    twins = root.locator(".ng-twin")
    labs.wait_until("counterparts", lambda: twins.all_text_contents() == [" power"] * 2)
    state: Any = labs.kernel_json(page, "[w.compare, w.token, w.selected]")
    assert state[0] == "The Congress shall never have power to borrow"
    assert state[1] == state[2][1]
    labs.screenshot(page, "compare")
    root.locator(".ng-compare").click()
    labs.wait_until("one row", lambda: labels() == ["A-8x / 63"])
    assert labs.kernel_json(page, "w.compare") == ""
    # what is chosen in the page is Python's too
    labs.kernel_eval(page, "w.features = [63, 5]; w.wait()")
    labs.wait_until("two rows", lambda: len(labels()) == 2)
    root.locator("select.ng-scale").select_option("shared")
    root.locator(".ng-arrange").click()
    labs.wait_until("one text", lambda: root.locator(".ng-tokens").count() == 1)
    assert labs.kernel_json(page, "[w.scale, w.arrange]") == ["shared", "one"]
    labs.kernel_eval(page, "w.feature = sae[5].id")
    labs.wait_until("another feature first", lambda: labels()[0] == "A-8x / 5")
    labs.close_notebook(page, lab)


@pytest.mark.model
def test_a_feature_in_every_layer_and_under_an_edit(lab_page: Page, lab: labs.Lab) -> None:
    page = lab_page
    source = """
import neuroglass as ng
model = ng.load("smollm2")
w = ng.heatmap(model, "She sailed to Norway", site="resid_post.12", features=[3])
w
"""
    labs.open_notebook(page, lab, labs.write_notebook(lab.root / "across.ipynb", [source]))
    labs.run_all(page)
    root = page.locator(".ng-heatmap").first
    root.locator(".ng-tok").first.wait_for()
    root.locator(".ng-across").click()
    rows = root.locator(".ng-row-label")
    labs.wait_until("a row for each layer", lambda: rows.count() == 30)
    assert rows.first.text_content() == "resid_post.0 / 3"
    labs.wait_until("Python knows", lambda: labs.kernel_json(page, "w.across"))

    def value(row: int) -> str:
        root.locator(f'.ng-row[data-row="{row}"] .ng-tok').nth(1).hover()
        return str(page.locator(".ng-tip dd").first.text_content())

    before = value(20), value(5)
    labs.kernel_eval(page, "w.edits = [ng.Ablate('mlp_out.10', 'zero')]; w.wait()")
    labs.wait_until("later layers change", lambda: value(20) != before[0])
    assert value(5) == before[1]  # what comes before the edit does not
    labs.close_notebook(page, lab)
