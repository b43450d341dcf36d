"""Steer in a real JupyterLab, on the zoo model: many moves, Stop, a busy kernel, the keyboard."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser import lab as labs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page

CELL = """
import neuroglass as ng
model = ng.load()
sae = ng.SAE.load("zoo/A-8x", model)
w = ng.Steer(model, [ng.Setting(sae[3480], "clamp", 0.0, "norm")],
             prompt="The history of the old house", max_new_tokens=60)
w
"""
# every state that the page draws: [request, tokens, steered text]
RECORD = """
() => {
  const root = document.querySelector('.ng-steer');
  window.drawn = [];
  const note = () => window.drawn.push([
    Number(root.dataset.generation),
    Number(root.dataset.tokens),
    [...root.querySelectorAll('.ng-half-steered .ng-tok')].map(t => t.textContent).join(''),
  ]);
  const attributeFilter = ['data-generation', 'data-tokens'];
  new MutationObserver(note).observe(root, {attributes: true, attributeFilter});
}
"""
# forty moves in four seconds, up and down; the last is where it stays
MOVE = """
async (values) => {
  const range = document.querySelector('.ng-steer .ng-range');
  for (const value of values) {
    range.value = value;
    range.dispatchEvent(new Event('input', {bubbles: true}));
    await new Promise(r => setTimeout(r, 100));
  }
}
"""


@pytest.fixture(scope="module")
def steer(browser: Browser, lab: labs.Lab) -> Iterator[Locator]:
    with labs.notebook(browser, lab, "steer", [CELL], height=1000) as page:
        root = page.locator(".ng-steer").first
        root.locator(".ng-half .ng-tok").first.wait_for()
        yield root


@pytest.fixture
def root(steer: Locator) -> Locator:
    """The widget, back where it began."""
    labs.kernel_eval(
        steer.page,
        "w.max_new_tokens = 60; w.sliders = [{**w.sliders[0], 'value': 0.0}]; w.wait()",
    )
    ready(steer)
    return steer


def ready(root: Locator) -> None:
    labs.wait_until("it is ready", lambda: root.get_attribute("data-status") == "ready", 30)


def text(root: Locator, side: str = "steered") -> str:
    return "".join(root.locator(f".ng-half-{side} .ng-tok").all_text_contents())


def expected(root: Locator) -> str:
    code = "''.join(e['steered']['pieces'][0] for e in w.frame['events'])"
    return str(labs.kernel_json(root.page, code))


def test_forty_moves_in_four_seconds_the_last_wins_and_no_stale_token_is_drawn(
    root: Locator,
) -> None:
    page = root.page
    page.evaluate(RECORD)
    values = [round(0.05 * (i % 20) + 0.005 * i, 3) for i in range(39)] + [1.2]
    page.evaluate(MOVE, values)
    ready(root)
    drawn: list[list[Any]] = page.evaluate("() => window.drawn")
    generations = [g for g, _, _ in drawn]
    assert generations == sorted(generations), "a token of an older request was drawn"
    for (g0, n0, t0), (g1, n1, t1) in itertools.pairwise(drawn):
        if g0 == g1:  # a text only grows
            assert n1 >= n0
            assert t1.startswith(t0)
    assert len(set(generations)) >= 10, "texts began anew while the slider moved"
    assert labs.kernel_json(page, "w.sliders[0]['value']") == 1.2
    assert text(root) == expected(root) == drawn[-1][2]
    assert "first difference" in root.locator(".ng-fork-said").inner_text()
    forks = root.locator(".ng-fork")
    assert forks.count() == 2
    labs.screenshot(page, "steer")


def test_stop_ends_a_long_text(root: Locator) -> None:
    page = root.page
    labs.kernel_eval(page, "w.temperature = 1.0; w.wait()")
    field = root.get_by_label("tokens", exact=True)
    field.fill("240")
    stop = root.locator(".ng-stop")
    stop.wait_for()
    stop.click()
    labs.wait_until("stopped", lambda: "stopped" in root.locator(".ng-status").inner_text(), 5)
    written = labs.kernel_json(page, "len(w.frame['events'])")
    assert 3 <= written < 240
    assert labs.kernel_json(page, "w.frame['stopped']")
    assert root.locator(".ng-half-steered .ng-tok").count() == written
    labs.kernel_eval(page, "w.temperature = 0.0; w.max_new_tokens = 60; w.wait()")


def test_it_answers_while_a_cell_runs(root: Locator) -> None:
    page = root.page
    # a kernel takes what a page sends where it last answered this widget: once beside the cells
    page.evaluate(MOVE, [0.3])
    ready(root)
    labs.run_command(page, "notebook:insert-cell-below")
    page.evaluate(
        "() => { const s = window.jupyterapp.shell.currentWidget.content;"
        "s.activeCell.model.sharedModel.setSource('import time; time.sleep(6)');"
        "window.jupyterapp.commands.execute('notebook:run-cell'); }"
    )
    page.wait_for_timeout(500)
    before = root.get_attribute("data-generation")
    page.evaluate(MOVE, [0.9])
    labs.wait_until(
        "tokens come while the cell runs",
        lambda: (
            root.get_attribute("data-generation") != before
            and int(root.get_attribute("data-tokens") or 0) > 5
        ),
        4,
    )
    labs.wait_kernel_idle(page, 20)
    labs.run_command(page, "notebook:delete-cell")


def test_the_keyboard_moves_sliders_and_stays_in_the_widget(root: Locator) -> None:
    page = root.page
    cells = "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
    n = page.evaluate(cells)
    slider = root.get_by_role("slider", name="strength of A-8x/3480", exact=True)
    slider.focus()
    for _ in range(10):
        slider.press("ArrowRight")
    ready(root)
    assert labs.kernel_json(page, "w.sliders[0]['value']") == pytest.approx(0.1)
    for letter in ("a", "b", "d", "d"):
        slider.press(letter)
    assert page.evaluate(cells) == n
    strip = root.locator(".ng-half-steered .ng-tokens")
    strip.focus()
    strip.press("ArrowRight")
    strip.press("ArrowRight")
    assert root.locator(".ng-half-steered .ng-cur").count() == 1
    assert "untouched model" in root.locator(".ng-tip").inner_text()


def test_an_error_is_told_and_the_texts_stay(root: Locator) -> None:
    before = text(root)
    root.locator(".ng-number").first.fill("1e9")
    error = root.locator(".ng-error")
    error.wait_for()
    assert "nothing of the model's own would be left" in error.inner_text()
    assert text(root) == before
    root.locator(".ng-number").first.fill("0.5")
    labs.wait_until("the error is gone", lambda: not error.is_visible())


def test_settings_of_another_session_are_pasted_and_slips_are_told_in_place(root: Locator) -> None:
    page = root.page
    there = labs.kernel_json(page, "w.settings")
    before = text(root)
    root.get_by_text("Settings", exact=True).click()
    area, told = root.get_by_label("settings as JSON"), root.locator(".ng-told")
    apply = root.get_by_role("button", name="Apply")
    assert json.loads(area.input_value()) == there
    slip = json.dumps({"sliders": [{"feature": "zoo/B/neurons.0/neurons/3", "value": 1}]})
    for wrong, words in (('{"seed" 3}', "This is no JSON"), (slip, "belongs to zoo/B")):
        area.fill(wrong)
        apply.click()
        told.filter(has_text=words).wait_for()
        assert area.input_value() == wrong
        assert text(root) == before
        assert root.get_attribute("data-status") == "ready"
    assert labs.kernel_json(page, "w.settings") == there

    there["sliders"][0]["value"] = 1.1
    there |= {"max_new_tokens": 21, "text": "The king of the sea"}
    area.fill(json.dumps(there))
    area.press("Control+Enter")
    labs.wait_until("it was taken", lambda: told.inner_text() == "Applied.")
    ready(root)
    assert labs.kernel_json(page, "w.settings") == there
    assert root.locator("textarea.ng-text").input_value() == "The king of the sea"
    assert root.locator(".ng-half-steered .ng-tok").count() == 21
    assert text(root) == expected(root)
    assert json.loads(area.input_value()) == there
    root.get_by_text("Settings", exact=True).click()


def test_strengths_that_are_typed_are_swept(root: Locator) -> None:
    page = root.page
    labs.kernel_eval(page, "w.max_new_tokens = 8; w.wait()")
    field = root.get_by_label("strengths of the dose–response of A-8x/3480")
    field.fill("0.1, much")
    field.press("Enter")
    assert "“much” is no number" in root.locator(".ng-slider .ng-problem").inner_text()
    field.fill("0.1, 0.3")
    field.press("Enter")
    labs.wait_until(
        "two strengths were swept",
        lambda: (
            labs.kernel_json(page, "[p['value'] for p in w.sweep.get('points', [])]") == [0.1, 0.3]
        ),
        30,
    )
    root.locator(".ng-recorded").wait_for()
    assert root.locator(".ng-recorded").get_attribute("max") == "1"


GONE = (
    CELL.removesuffix("w\n")
    + """
peek = ng.LogitPeek(model, "The history of the old", [ng.Setting(sae[3480], "clamp", 0.0, "norm")])
import time, ipywidgets
class Slow:
    reads = writes = ng.Site("neurons", 0)
    def bind(self, *_): return [self]
    def read(self, x):
        time.sleep(0.05)
        return x
    def write(self, x, *_): return x
ipywidgets.VBox([w, peek])
"""
)


def test_a_kernel_that_is_gone_leaves_the_last_texts_and_bars(
    lab_page: Page, lab: labs.Lab
) -> None:
    page = lab_page
    labs.open_notebook(page, lab, labs.write_notebook(lab.root / "gone.ipynb", [GONE]))
    labs.run_all(page)
    root, peek = page.locator(".ng-steer").first, page.locator(".ng-peek").first
    root.locator(".ng-half .ng-tok").first.wait_for()
    page.evaluate(MOVE, [0.4, 0.9])
    ready(root)
    page.evaluate(MOVE.replace(".ng-steer", ".ng-peek"), [1.0])
    ready(peek)
    texts = [text(root, side) for side in ("base", "steered")]
    bars = peek.locator("tbody tr").all_inner_texts()
    assert all(texts)
    assert bars
    page.evaluate(RECORD)
    labs.shutdown_kernel(page, lab)
    page.evaluate(MOVE, [0.1, 0.2])
    page.evaluate(MOVE.replace(".ng-steer", ".ng-peek"), [0.2])
    for view in (root, peek):
        view.locator(".ng-banner").wait_for(timeout=15_000)
        assert view.get_attribute("data-status") == "dead"
        assert "does not answer" in view.locator(".ng-banner").inner_text()
    assert [text(root, side) for side in ("base", "steered")] == texts
    assert peek.locator("tbody tr").all_inner_texts() == bars
    assert page.evaluate("() => window.drawn") == []
    assert root.locator(".ng-old").count() == 1  # the texts are of settings before these
    labs.screenshot(page, "steer-gone")


def test_a_kernel_that_goes_while_it_writes_leaves_what_it_wrote(
    lab_page: Page, lab: labs.Lab
) -> None:
    page = lab_page
    labs.open_notebook(page, lab, labs.write_notebook(lab.root / "gone2.ipynb", [GONE]))
    labs.run_all(page)
    root = page.locator(".ng-steer").first
    root.locator(".ng-half .ng-tok").first.wait_for()
    labs.kernel_eval(page, "w.max_new_tokens = 3; w.edits = [Slow()]; w.wait()")
    page.evaluate(RECORD)
    root.get_by_label("tokens", exact=True).fill("240")
    labs.wait_until("it writes", lambda: 5 < int(root.get_attribute("data-tokens") or 0) < 60)
    labs.shutdown_kernel(page, lab)
    written = text(root)
    tokens = int(root.get_attribute("data-tokens") or 0)
    assert 5 < tokens < 240
    page.evaluate(MOVE, [0.7])
    root.locator(".ng-banner").wait_for(timeout=15_000)
    assert root.get_attribute("data-status") == "dead"
    assert text(root) == written
    assert root.locator(".ng-half-steered .ng-tok").count() == tokens
    drawn: list[list[Any]] = page.evaluate("() => window.drawn")
    assert drawn[-1][1:] == [tokens, written]


SMALL = """
import neuroglass as ng
model = ng.load()
sae = ng.SAE.load("zoo/A-8x", model)
peek = ng.LogitPeek(model, "The history of the old", [ng.Setting(sae[3480], "clamp", 0.0, "norm")])
watch = ng.Watch(model, [sae[3480], model.neuron(0, 7)], [1.0, 0.2])
import ipywidgets
ipywidgets.VBox([peek, watch])
"""


def test_next_tokens_follow_the_slider_and_a_watch_marks_while_the_model_writes(
    lab_page: Page, lab: labs.Lab
) -> None:
    page = lab_page
    path = labs.write_notebook(lab.root / "peek.ipynb", [SMALL])
    labs.open_notebook(page, lab, path)
    labs.run_all(page)
    root = page.locator(".ng-peek").first
    root.locator("tbody tr").first.wait_for()
    first = root.locator("tbody tr th").first.inner_text()
    page.evaluate(MOVE.replace(".ng-steer", ".ng-peek"), [i / 20 for i in range(20)] + [1.4])
    ready(root)
    assert labs.kernel_json(page, "peek.sliders[0]['value']") == 1.4
    tokens = root.locator("tbody tr th").all_inner_texts()
    assert tokens[0] != first
    assert len(tokens) == labs.kernel_json(page, "len(peek.frame['rows'])")

    watch = page.locator(".ng-watch").first
    labs.kernel_eval(
        page, "watch.generate(ng.zoo_texts('arabic')[1][:60], max_new_tokens=60).finish()"
    )
    marked = "sum(1 for f in watch.frame['firings'])"
    labs.wait_until("marks are drawn", lambda: watch.locator(".ng-fired").count() > 0)
    fired = labs.kernel_json(page, "len({f.position for f in watch.firings})")
    labs.wait_until("all are", lambda: watch.locator(".ng-fired").count() == fired)
    assert labs.kernel_json(page, marked) == labs.kernel_json(page, "len(watch.to_frame())")
    labs.screenshot(page, "peek-watch")
