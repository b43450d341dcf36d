"""A head's page in a real JupyterLab: typing, selecting, other heads, a link, keys, looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser import lab as labs
from tests.browser.test_live_heatmap import type_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator

TEXT = "The Congress shall have power to lay taxes"
LIVE = f"""
import ipywidgets, neuroglass as ng
model = ng.load("zoo/A")
texts = [t[:1200] for t in ng.zoo_texts("english_prose")[:6]]
store = ng.harvest(model, ng.NeuronBasis(model, 0), texts, out="heads", context=128,
                   heads=[(0, 0), (0, 1), (0, 3)], progress=False)
w = ng.HeadDashboard(store, (0, 1), text={TEXT!r})
heat = ng.heatmap(model, {TEXT!r}, site="neurons.0", features=[5])
links = ng.link(w, heat, "text", "token")
ipywidgets.VBox([w, heat])
"""
STRIP = ".ng-hd-live .ng-tokens"


@pytest.fixture(scope="module")
def live(browser: Browser, lab: labs.Lab) -> Iterator[Locator]:
    with labs.notebook(browser, lab, "head", [LIVE], height=1000) as page:
        root = page.locator(".ng-head_dashboard").first
        root.locator(f"{STRIP} .ng-tok").first.wait_for()
        yield root


@pytest.fixture
def root(live: Locator) -> Locator:
    """The widget, back at how it began."""
    labs.kernel_eval(
        live.page,
        f"w.token = None; w.by = 'written'; w.head = (0, 1); w.text = {TEXT!r}; w.theme = 'auto'\n"
        "w.layout.width = 'auto'; w.wait(); heat.wait()",
    )
    labs.wait_until("the first text is back", lambda: shown(live) == TEXT)
    labs.wait_until(
        "and head", lambda: live.locator(".ng-hd-title").text_content() == "head 1 of layer 0"
    )
    return live


def shown(root: Locator) -> str:
    return "".join(root.locator(f"{STRIP} .ng-tok").all_text_contents())


def test_typing_is_read_and_the_linked_view_follows(root: Locator) -> None:
    page = root.page
    type_text(root, "An act to lay duties")
    labs.wait_until("it is read", lambda: shown(root) == "An act to lay duties")
    labs.wait_until(
        "Python has it", lambda: labs.kernel_json(page, "w.text") == "An act to lay duties"
    )
    heat = page.locator(".ng-heatmap .ng-row[data-row='0'] .ng-tok")
    labs.wait_until(
        "the heatmap, too", lambda: "".join(heat.all_text_contents()) == "An act to lay duties"
    )
    type_text(root, "far too long " * 200)
    error = root.locator(".ng-error")
    error.wait_for()
    assert "tokens" in str(error.text_content())
    type_text(root, "short")
    labs.wait_until("and goes on", lambda: shown(root) == "short" and error.is_hidden())


def test_a_token_says_what_the_model_says(root: Locator) -> None:
    page = root.page
    root.locator(f'{STRIP} .ng-tok[data-i="5"]').click()
    lines = root.locator(".ng-detail .ng-columns").nth(1).locator("tr")
    labs.wait_until("the kernel answered", lambda: lines.count() == 20)
    assert labs.kernel_json(page, "[w.token, heat.token]") == [5, 5]
    want = labs.kernel_json(page, "w._reading.says(5).top(1)[0]")
    first = str(lines.first.text_content())
    assert want[0].strip() in first
    assert f"+{want[2]:.3g}" in first
    most = labs.kernel_json(page, "int(w._reading.written[5].argmax())")
    read = root.locator(".ng-detail .ng-top").first.locator(".ng-mark").first
    assert read.text_content() == str(most)
    page.locator(".ng-heatmap .ng-row[data-row='0'] .ng-tok").nth(2).click()
    labs.wait_until(
        "the link comes back",
        lambda: root.locator(f"{STRIP} .ng-sel").get_attribute("data-i") == "2",
    )
    labs.screenshot(page, "head-token")


def test_other_heads_and_other_colours(root: Locator) -> None:
    page = root.page
    look = "t => t.map(e => getComputedStyle(e).backgroundColor)"
    tokens = root.locator(f"{STRIP} .ng-tok")
    before = tokens.evaluate_all(look)
    root.get_by_role("button", name="attention, A").click()
    labs.wait_until("other colours", lambda: tokens.evaluate_all(look) != before)
    root.get_by_role("button", name="next head").click()
    title = root.locator(".ng-hd-title")
    labs.wait_until("the next", lambda: title.text_content() == "head 3 of layer 0")
    assert labs.kernel_json(page, "[list(w.head), w.by]") == [[0, 3], "pattern"]
    labs.wait_until("its text is read", lambda: shown(root) == TEXT)
    largest = labs.kernel_json(page, "float(w.to_frame().value.max())")
    assert f"{largest:.3g}" in str(root.locator(".ng-hd-numbers").text_content())
    root.locator('.ng-head-cell[data-head="0"]').click()
    labs.wait_until("by the grid", lambda: title.text_content() == "head 0 of layer 0")
    root.get_by_role("button", name="random").click()
    pair = root.locator(".ng-pairs:visible .ng-pair").first
    want = labs.kernel_json(
        page,
        "w.to_frame().query(\"group == 'random'\")[['query_token', 'key_token']].iloc[0].tolist()",
    )
    marks = pair.locator("mark").all_text_contents()
    for name in want:
        assert any(name.strip() in mark for mark in marks), (want, marks)


def test_the_keyboard_goes_along_the_tokens(root: Locator) -> None:
    page = root.page
    strip = root.locator(STRIP)
    strip.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    named = strip.get_attribute("aria-activedescendant")
    assert root.locator(f'[id="{named}"]').get_attribute("data-i") == "1"
    page.keyboard.press("Enter")
    labs.wait_until("selected", lambda: labs.kernel_json(page, "w.token") == 1)
    assert "reads" in str(root.locator(".ng-offscreen[aria-live]").text_content())


def test_dark_narrow_and_the_square_is_drawn(root: Locator) -> None:
    page = root.page
    labs.kernel_eval(page, "w.theme = 'dark'; w.layout.width = '320px'; w.token = 3")
    labs.wait_until("dark", lambda: root.get_attribute("data-theme") == "dark")
    labs.wait_until("narrow", lambda: (root.bounding_box() or {"width": 999})["width"] <= 320)
    wide = root.evaluate(
        "e => [...e.querySelectorAll(':not(.ng-heads *)')].filter(c => "
        "c.getBoundingClientRect().right > e.getBoundingClientRect().right + 1).length"
    )
    assert wide == 0
    # the strongest pair has the strongest colour: orange, not paper
    best = labs.kernel_json(
        page, "(lambda w: [int(i) for i in divmod(int(w.argmax()), len(w))])(w._reading.written)"
    )
    pixel = root.locator(".ng-matrix canvas").evaluate(
        """(canvas, [query, key, n]) => {
          const cell = canvas.width / n;
          return [...canvas.getContext("2d").getImageData(
            Math.round((key + 0.5) * cell), Math.round((query + 0.5) * cell), 1, 1).data];
        }""",
        [*best, labs.kernel_json(page, "len(w._reading.ids)")],
    )
    assert pixel[0] > 200 > pixel[2]


def test_when_the_kernel_is_gone_the_text_can_still_be_looked_at(
    root: Locator, lab: labs.Lab
) -> None:
    page = root.page
    labs.shutdown_kernel(page, lab)
    type_text(root, "Nobody hears this")
    root.locator(".ng-banner").wait_for(timeout=15_000)
    assert shown(root) == TEXT
    root.locator(f'{STRIP} .ng-tok[data-i="2"]').click()
    assert "it reads" in str(root.locator(".ng-detail").text_content())
