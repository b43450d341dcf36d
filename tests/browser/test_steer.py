"""Steer in a real JupyterLab, on the zoo model: many moves, Stop, a busy kernel, the keyboard."""

from __future__ import annotations

import itertools
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
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(20_000)
    page = context.new_page()
    outside = labs.watch_requests(page)
    path = labs.write_notebook(lab.root / "steer.ipynb", [CELL])
    labs.open_notebook(page, lab, path)
    labs.run_all(page)
    root = page.locator(".ng-steer").first
    root.locator(".ng-half .ng-tok").first.wait_for()
    yield root
    labs.close_notebook(page, lab)
    context.close()
    assert not outside, f"the page asked for {outside}"


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
