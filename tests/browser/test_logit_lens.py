"""The logit lens in a real JupyterLab: type, pin, choose a target, keyboard, links, looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser import lab as labs
from tests.browser.test_live_heatmap import type_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator

pytestmark = pytest.mark.model

TEXT = "The capital of France is Paris, and the capital of Italy is"
LIVE = f"""
import ipywidgets, neuroglass as ng
model = ng.load("smollm2")
sites = [f"resid_post.{{i}}" for i in range(2, 30, 3)]
w = ng.LogitLens(model, {TEXT!r}, sites=sites)
heat = ng.heatmap(model, {TEXT!r}, site="neurons.24", features=[659])
links = ng.link(w, heat, "text", "token")
ipywidgets.VBox([w, heat])
"""


@pytest.fixture(scope="module")
def live(browser: Browser, lab: labs.Lab) -> Iterator[Locator]:
    with labs.notebook(browser, lab, "lens", [LIVE], height=1000) as page:
        root = page.locator(".ng-logit_lens").first
        root.locator(".ng-cell").first.wait_for()
        yield root


@pytest.fixture
def root(live: Locator) -> Locator:
    """The widget, back at how it began."""
    labs.kernel_eval(
        live.page,
        f"w.selected = None; w.text = {TEXT!r}; w.target = ''; w.theme = 'auto'\n"
        "w.colour_by = 'probability'; w.wait(); heat.wait()",
    )
    labs.wait_until("the first text is back", lambda: read(live)[-1] == "·is")
    return live


def read(root: Locator) -> list[str]:
    """The tokens above the grid."""
    return list(root.locator(".ng-read").all_text_contents())


def row(root: Locator, r: int) -> list[str]:
    return list(root.locator(f'.ng-cell[data-row="{r}"]').all_text_contents())


def test_the_cells_are_the_models_and_follow_what_is_typed(root: Locator) -> None:
    page = root.page
    labels = root.locator("[role=rowheader]").all_text_contents()
    assert labels == [str(i) for i in range(29, 1, -3)]
    want = labs.kernel_json(
        page,
        "[p.replace(' ', '·') for p in w.to_frame().query(\"site == 'resid_post.29'\").prediction]",
    )
    assert row(root, 9) == want
    assert (len(want), want[-1]) == (13, "·Rome")
    box = root.locator("textarea.ng-text")
    box.click()
    box.press("End")
    box.press_sequentially(" Rome", delay=40)
    labs.wait_until("typing is drawn", lambda: read(root)[-1] == "·Rome")
    labs.wait_until("Python sees it", lambda: labs.kernel_json(page, "w.text") == f"{TEXT} Rome")
    labs.wait_until(
        "and so does the linked heatmap",
        lambda: page.locator(".ng-heatmap .ng-tok").last.text_content() == " Rome",
    )


def test_a_click_pins_tells_the_ten_likeliest_and_moves_the_linked_view(root: Locator) -> None:
    page = root.page
    cell = root.locator('.ng-cell[data-row="9"][data-i="12"]')
    cell.hover()
    tip = root.locator(".ng-tip")
    tip.wait_for()
    assert "entropy" in str(tip.text_content())
    cell.click()
    lines = root.locator(".ng-detail .ng-top tr")
    labs.wait_until("the kernel answered", lambda: lines.count() == 10)
    assert "“·Rome”" in str(lines.first.text_content())
    assert labs.kernel_json(page, "[w.selected, w.token, heat.token]") == [[9, 12], 12, 12]
    page.locator(".ng-heatmap .ng-tok").nth(5).click()
    labs.wait_until("the lens follows", lambda: labs.kernel_json(page, "w.selected") == [9, 5])
    assert root.locator(".ng-cell.ng-sel").get_attribute("data-i") == "5"
    root.locator(".ng-detail-close").click()
    labs.wait_until("let go", lambda: labs.kernel_json(page, "heat.token") is None)


def test_a_target_is_one_token_or_says_why_not(root: Locator) -> None:
    page = root.page
    field = root.locator("input.ng-target")
    field.fill("Parisian")
    problem = root.locator(".ng-problem")
    problem.wait_for()
    assert "2 tokens, not one: 'Paris', 'ian'" in str(problem.text_content())
    assert root.locator(".ng-error").is_hidden()
    field.fill(" Rome")
    labs.wait_until("it ran", lambda: labs.kernel_json(page, "w.target") == " Rome")
    labs.wait_until(
        "it is named", lambda: "“·Rome”" in str(root.locator(".ng-chosen").text_content())
    )
    root.locator('.ng-cell[data-row="8"][data-i="12"]').hover()
    rank = labs.kernel_json(
        page,
        "int(w.to_frame().query(\"site == 'resid_post.26' and position == 12\")['rank'].iloc[0])",
    )
    labs.wait_until(
        "its rank is told",
        lambda: f"its rank{rank} of 49,152" in str(root.locator(".ng-tip").text_content()),
    )
    probable = background(root)
    root.locator("select.ng-by").select_option("rank")
    labs.wait_until("colours follow", lambda: background(root) != probable)
    assert labs.kernel_json(page, "w.colour_by") == "rank"
    labs.screenshot(page, "lens-rank")


def background(root: Locator) -> list[str]:
    return list(
        root.locator(".ng-cell").evaluate_all(
            "cells => cells.map(c => getComputedStyle(c).backgroundColor)"
        )
    )


def test_the_keyboard_goes_everywhere(root: Locator) -> None:
    page = root.page
    grid = root.locator("[role=grid]")
    grid.focus()
    for key in ("Home", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    named = grid.get_attribute("aria-activedescendant")
    cursor = root.locator(f'[id="{named}"]')
    assert cursor.get_attribute("data-i") == "1"
    page.keyboard.press("Enter")
    labs.wait_until("pinned", lambda: labs.kernel_json(page, "w.token") == 1)
    page.keyboard.press("End")
    page.keyboard.press("Escape")
    labs.wait_until("let go", lambda: labs.kernel_json(page, "w.selected") is None)
    assert root.locator(".ng-cell.ng-cur").get_attribute("data-i") == "12"
    assert page.evaluate("document.activeElement.getAttribute('role')") == "grid"


def test_dark_narrow_and_a_long_text(root: Locator) -> None:
    page = root.page
    labs.kernel_eval(page, "w.theme = 'dark'; w.layout.width = '320px'")
    labs.wait_until("dark", lambda: root.get_attribute("data-theme") == "dark")
    labs.wait_until("narrow", lambda: (root.bounding_box() or {"width": 999})["width"] <= 320)
    wide = root.evaluate(
        "e => [...e.querySelectorAll('*')].filter(c => !c.closest('.ng-lens') && "
        "c.getBoundingClientRect().right > e.getBoundingClientRect().right + 1).length"
    )
    assert wide == 0
    type_text(root, " ".join(f"{i} apples" for i in range(60)))
    labs.wait_until("drawn", lambda: "0" in read(root)[0], 60)
    labs.wait_until("mounts what is seen", lambda: len(read(root)) < 40)
    grid = root.locator("[role=grid]")
    assert int(str(grid.get_attribute("aria-colcount"))) > 100
    grid.evaluate("e => { e.scrollLeft = e.scrollWidth }")
    labs.wait_until("the end is mounted", lambda: read(root)[-1] == "·apples")
    assert len(read(root)) < 40
    grid.focus()
    page.keyboard.press("Home")
    labs.wait_until("Home goes back", lambda: read(root)[0] == "0")
    # the layer's label stays at its place
    left = (root.locator("[role=rowheader]").first.bounding_box() or {"x": -1})["x"]
    assert left == pytest.approx((grid.bounding_box() or {"x": 0})["x"], abs=1)
    labs.kernel_eval(page, "w.layout.width = 'auto'")
