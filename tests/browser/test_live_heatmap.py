"""The live heatmap in a real JupyterLab: type, click, reload, lose the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.browser import lab as labs
from tests.browser.hostile import EXPECTED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.model

TEXT = "She painted the old boat turquoise and sailed across the grey sea to Norway."
LIVE = f"""
import neuroglass as ng
model = ng.load("smollm2")
w = ng.heatmap(model, {TEXT!r}, site="neurons.24", features=[659])
w
"""
# every picture that the widget draws, in order: [frame id, text of the first row]
RECORD = """
() => {
  const root = document.querySelector('.ng-heatmap');
  window.drawn = [];
  const note = () => window.drawn.push([
    Number(root.dataset.frameId),
    [...root.querySelectorAll('.ng-row[data-row="0"] .ng-tok')].map(t => t.textContent).join(''),
  ]);
  new MutationObserver(note).observe(root, {attributes: true, attributeFilter: ['data-frame-id']});
}
"""


def open_live(page: Page, lab: labs.Lab, name: str) -> Locator:
    path = labs.write_notebook(lab.root / f"{name}.ipynb", [LIVE])
    labs.open_notebook(page, lab, path)
    labs.run_all(page)
    return wait_ready(page)


def wait_ready(page: Page) -> Locator:
    root = page.locator(".ng-heatmap").first
    root.locator(".ng-tok").first.wait_for()
    page.wait_for_function("() => document.querySelector('.ng-heatmap').dataset.status === 'ready'")
    return root


def shown(root: Locator, row: int = 0) -> str:
    return "".join(root.locator(f'.ng-row[data-row="{row}"] .ng-tok').all_text_contents())


def run_cell_below(page: Page, source: str) -> None:
    """A new cell with `source`, run; ``notebook:delete-cell`` takes it away."""
    labs.run_command(page, "notebook:insert-cell-below")
    page.evaluate(
        "source => window.jupyterapp.shell.currentWidget.content.activeCell.model.sharedModel"
        ".setSource(source)",
        source,
    )
    labs.run_command(page, "notebook:run-cell")


def colours(root: Locator, row: int = 0) -> list[str]:
    return list(
        root.locator(f'.ng-row[data-row="{row}"] .ng-tok').evaluate_all(
            "tokens => tokens.map(t => getComputedStyle(t).backgroundColor)"
        )
    )


def type_text(root: Locator, text: str) -> None:
    box = root.locator("textarea.ng-text")
    box.fill(text)


@pytest.fixture(scope="module")
def live(browser: Browser, lab: labs.Lab) -> Iterator[Locator]:
    """One live heatmap for the tests that leave it usable."""
    with labs.new_page(browser) as page:
        yield open_live(page, lab, "live")
        labs.close_notebook(page, lab)


@pytest.fixture
def root(live: Locator) -> Locator:
    """The widget, back at the text it began with."""
    labs.kernel_eval(
        live.page,
        f"w.selected = None; w.text = {TEXT!r}; w.site = 'neurons'; w.layer = 24\n"
        "w.features = [659]; w.theme = 'auto'; w.wait()",
    )
    labs.wait_until("the first text is back", lambda: shown(live) == TEXT)
    return live


def test_typing_changes_the_colours_and_python_sees_the_text(root: Locator) -> None:
    page = root.page
    before = colours(root)
    box = root.locator("textarea.ng-text")
    box.click()
    box.press("End")
    box.press_sequentially(" A purple hat", delay=40)
    labs.wait_until("the new text is drawn", lambda: shown(root) == f"{TEXT} A purple hat")
    after = colours(root)
    assert after[: len(before)] == before
    purple = [t.strip() for t in root.locator(".ng-tok").all_text_contents()].index("purple")
    assert after[purple] != after[purple - 1]  # the neuron fires on the colour, not on "A"
    assert labs.kernel_json(page, "w.text") == f"{TEXT} A purple hat"


def test_the_colours_are_those_of_the_models_values(root: Locator) -> None:
    values = labs.kernel_json(
        root.page, f"model.run({TEXT!r}, sites=['neurons.24'])['neurons.24'][0, :, 659].tolist()"
    )
    tokens = root.locator('.ng-row[data-row="0"] .ng-tok')
    titles = [(t, v) for t, v in zip(tokens.all_text_contents(), values, strict=True) if v > 3]
    assert [t for t, _ in titles] == [" turquoise", " grey"]
    strong = colours(root)
    weak = strong[3]
    for (_, value), token in zip(titles, (5, 10), strict=True):
        assert strong[token] != weak, value


def test_a_click_reaches_python_and_shows_the_details(root: Locator) -> None:
    root.locator('.ng-tok[data-i="5"]').click()
    labs.wait_until("Python sees it", lambda: labs.kernel_json(root.page, "w.selected") == [0, 5])
    detail = root.locator(".ng-detail")
    detail.wait_for()
    text = labs.wait_until(
        "the exact value", lambda: t if "659" in (t := detail.inner_text()) else ""
    )
    token_id = labs.kernel_json(root.page, "model.run(w.text).tokens[0, 5].item()")
    assert str(token_id) in text
    for fact in ("position", "log-probability", "expected here", "predicts next"):
        assert fact in text.lower()
    root.locator('.ng-tok[data-i="5"]').click()
    labs.wait_until("deselected", lambda: labs.kernel_json(root.page, "w.selected") is None)


def test_hover_shows_value_id_position_logprob_and_five_predictions(root: Locator) -> None:
    root.locator('.ng-tok[data-i="10"]').hover()
    tip = root.page.locator(".ng-tip")
    tip.wait_for(state="visible")
    text = tip.inner_text()
    value = labs.kernel_json(
        root.page, "model.run(w.text, sites=['neurons.24'])['neurons.24'][0, 10, 659].item()"
    )
    assert f"{value:.3g}"[:4] in text
    ids, words = labs.kernel_json(
        root.page,
        "(lambda r: (r.tokens[0].tolist(), [r.piece(int(i)) for i in r.top(5)[0][0, 9]]))"
        "(model.run(w.text))",
    )
    assert str(ids[10]) in text
    for word in words:
        assert word.strip() in text


def test_keyboard_moves_pins_and_closes(root: Locator) -> None:
    page = root.page
    root.locator(".ng-tokens").focus()
    for key in ("Home", "ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    labs.wait_until("pinned", lambda: labs.kernel_json(page, "w.selected") == [0, 2])
    page.keyboard.press("Escape")
    labs.wait_until("closed", lambda: labs.kernel_json(page, "w.selected") is None)
    cells = page.locator(".jp-Notebook .jp-CodeCell").count()
    for key in ("a", "b", "d", "d"):  # JupyterLab's commands for a cell
        page.keyboard.press(key)
    assert page.locator(".jp-Notebook .jp-CodeCell").count() == cells


def test_site_layer_and_features_are_chosen_in_the_widget(root: Locator) -> None:
    page = root.page
    root.locator("select.ng-site").select_option("resid_post")
    labs.wait_until(
        "three rows of the new site",
        lambda: labs.kernel_json(page, "(w.site, len(w.features))") == ["resid_post", 3],
    )
    layer = root.locator("input.ng-layer")
    layer.fill("7")
    layer.press("Enter")
    labs.wait_until("the layer", lambda: labs.kernel_json(page, "w.layer") == 7)
    features = root.locator("input.ng-features")
    features.fill("3, 5")
    features.press("Enter")
    labs.wait_until("the features", lambda: labs.kernel_json(page, "w.features") == [3, 5])
    labs.wait_until(
        "two labelled rows",
        lambda: (
            root.locator(".ng-row-label").all_text_contents()
            == ["resid_post.7 / 3", "resid_post.7 / 5"]
        ),
    )
    root.locator(".ng-row-remove").first.click()
    labs.wait_until("one row left", lambda: labs.kernel_json(page, "w.features") == [5])


def test_thirty_edits_in_three_seconds_end_with_the_last_and_none_is_late(root: Locator) -> None:
    page = root.page
    page.evaluate(RECORD)
    edits = [f"Edit number {i} is blue" for i in range(30)]
    page.evaluate(
        """async (edits) => {
          const box = document.querySelector('.ng-heatmap textarea.ng-text');
          for (const text of edits) {
            box.value = text;
            box.dispatchEvent(new Event('input', {bubbles: true}));
            await new Promise(r => setTimeout(r, 100));
          }
        }""",
        edits,
    )
    labs.wait_until("the last edit is drawn", lambda: shown(root) == edits[-1])
    page.wait_for_timeout(1500)  # a late answer would be drawn now
    drawn: list[Any] = page.evaluate("() => window.drawn")
    assert shown(root) == edits[-1]
    assert root.locator("textarea.ng-text").input_value() == edits[-1]
    order = [edits.index(text) for _, text in drawn]
    assert order == sorted(order)
    assert [number for number, _ in drawn] == sorted(number for number, _ in drawn)
    assert len(drawn) >= 3  # it follows while one types, not only at the end
    assert labs.kernel_json(page, "w.text") == edits[-1]


def test_a_slip_in_the_features_is_explained_and_typing_goes_on(root: Locator) -> None:
    features, problem = root.locator("input.ng-features"), root.locator(".ng-problem")
    features.fill("99999")
    problem.wait_for()
    assert "0 to 1535" in problem.inner_text()
    assert shown(root) == TEXT
    type_text(root, "The text goes on")
    labs.wait_until("with the old feature", lambda: shown(root) == "The text goes on")
    assert labs.kernel_json(root.page, "w.features") == [659]
    features.fill("7")
    labs.wait_until("the new one", lambda: labs.kernel_json(root.page, "w.features") == [7])
    assert not problem.is_visible()


def test_text_longer_than_the_context_is_an_error_that_says_so(root: Locator) -> None:
    type_text(root, "a " * 9000)
    error = root.locator(".ng-error")
    error.wait_for()
    assert "at most 8192" in error.inner_text()
    assert "Shorten it by" in error.inner_text()
    assert shown(root) == TEXT  # the last picture stays
    labs.screenshot(root.page, "error")
    type_text(root, TEXT)
    labs.wait_until("it goes away", lambda: not error.is_visible())


def test_an_empty_text_is_not_an_error(root: Locator) -> None:
    type_text(root, "")
    labs.wait_until("the empty state", lambda: "Type some text" in root.inner_text())
    assert not root.locator(".ng-error").is_visible()
    type_text(root, "Blue")
    labs.wait_until("it goes on", lambda: shown(root) == "Blue")


def test_hostile_text_typed_into_the_model_stays_text(root: Locator) -> None:
    hostile = (
        "<script>window.hacked=1</script> <img src=x onerror=window.hacked=1> \u202e \x00 שלום"
    )
    type_text(root, hostile)
    labs.wait_until("drawn", lambda: "onerror" in shown(root))
    assert root.locator("img, script").count() == 0
    assert root.page.evaluate("() => window.hacked") is None


def test_twenty_hostile_tokens_are_drawn_as_text(root: Locator) -> None:
    page = root.page
    from tests.browser.hostile import HOSTILE

    labs.kernel_eval(
        page,
        "from IPython.display import display\n"
        f"h = ng.TokenHeatmap({HOSTILE!r}, list(range(20)), labels=['<b>label</b>'])\n",
    )
    page.evaluate("() => { window.hacked = undefined; }")
    run_cell_below(page, "h")
    static = page.locator(".ng-heatmap[data-status=static]").first
    static.locator(".ng-tok").first.wait_for()
    assert static.locator(".ng-tok").all_text_contents() == EXPECTED
    assert static.locator(".ng-tok *").count() == 0
    assert static.locator(".ng-row-label").text_content() == "<b>label</b>"
    for i in (0, 1, 5):
        static.locator(f'.ng-tok[data-i="{i}"]').hover()
    assert page.evaluate("() => window.hacked") is None
    boxes = static.locator(".ng-tok").evaluate_all(
        "tokens => tokens.map(t => t.getBoundingClientRect().width)"
    )
    assert min(boxes) > 3  # none of them is invisible
    static.scroll_into_view_if_needed()
    labs.screenshot(page, "hostile")
    labs.run_command(page, "notebook:delete-cell")


def test_views_work_in_boxes_and_with_jslink(root: Locator) -> None:
    page = root.page
    run_cell_below(
        page,
        "import ipywidgets\n"
        "a, b = (ng.TokenHeatmap(['x', ' y', ' z'], [1, 2, 3]) for _ in range(2))\n"
        "js = ipywidgets.jslink((a, 'selected'), (b, 'selected'))\n"
        "ipywidgets.Tab([ipywidgets.HBox([a, b])], titles=['both'])",
    )
    boxed = page.locator(".widget-tab .ng-heatmap")
    boxed.nth(1).locator(".ng-tok").first.wait_for()
    boxed.nth(0).locator('.ng-tok[data-i="2"]').click()
    boxed.nth(1).locator('.ng-sel[data-i="2"]').wait_for()
    labs.wait_until(
        "both", lambda: labs.kernel_json(page, "[a.selected, b.selected]") == [[0, 2]] * 2
    )
    assert min(boxed.nth(i).bounding_box()["width"] for i in (0, 1)) > 200  # type: ignore[index]
    labs.screenshot(page, "boxes")
    labs.run_command(page, "notebook:delete-cell")


def test_the_dark_theme_follows_jupyterlab_and_keeps_contrast(root: Locator) -> None:
    page = root.page
    labs.screenshot(page, "live-light")
    labs.run_command(page, "apputils:change-theme", theme="JupyterLab Dark")
    page.wait_for_function("() => document.querySelector('.ng-heatmap').dataset.theme === 'dark'")
    root.locator('.ng-tok[data-i="5"]').click()
    page.wait_for_timeout(300)
    labs.screenshot(page, "live-dark")
    pairs = root.locator(".ng-tok").evaluate_all(
        "tokens => tokens.map(t => { const s = getComputedStyle(t);"
        "return [s.color, s.backgroundColor]; })"
    )
    assert all(contrast(a, b) >= 4.5 for a, b in pairs if not b.endswith(", 0)")), pairs
    labs.run_command(page, "apputils:change-theme", theme="JupyterLab Light")
    page.wait_for_function("() => document.querySelector('.ng-heatmap').dataset.theme === 'light'")


def test_a_narrow_cell_has_no_sideways_scroll(root: Locator) -> None:
    page = root.page
    page.set_viewport_size({"width": 620, "height": 900})
    page.wait_for_timeout(300)
    wide = root.evaluate("el => el.scrollWidth - el.clientWidth")
    labs.screenshot(page, "live-narrow")
    page.set_viewport_size({"width": 1280, "height": 900})
    assert wide <= 1


def contrast(a: str, b: str) -> float:
    """WCAG 2 contrast ratio of two CSS rgb() colours."""

    def luminance(colour: str) -> float:
        parts = [float(p) for p in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [
            c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
            for c in (p / 255 for p in parts)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    hi, lo = sorted((luminance(a), luminance(b)), reverse=True)
    return (hi + 0.05) / (lo + 0.05)


def test_reload_restores_and_a_dead_kernel_is_shown_as_dead(lab_page: Page, lab: labs.Lab) -> None:
    root = open_live(lab_page, lab, "reload")
    type_text(root, "The grey sea")
    labs.wait_until("drawn", lambda: shown(root) == "The grey sea")
    root.locator('.ng-tok[data-i="1"]').click()
    labs.wait_until("seen", lambda: labs.kernel_json(lab_page, "w.selected") == [0, 1])
    before = colours(root)
    labs.save(lab_page)

    labs.reload(lab_page)
    root = wait_ready(lab_page)
    assert shown(root) == "The grey sea"
    assert colours(root) == before
    assert root.locator("textarea.ng-text").input_value() == "The grey sea"
    assert root.locator(".ng-sel").get_attribute("data-i") == "1"
    type_text(root, "The blue sea")  # and it is alive
    labs.wait_until("drawn", lambda: shown(root) == "The blue sea")

    labs.shutdown_kernel(lab_page, lab)
    type_text(root, "Nobody hears this")
    root.locator(".ng-banner").wait_for(timeout=15_000)
    assert root.get_attribute("data-status") == "dead"
    assert "does not answer" in root.locator(".ng-banner").inner_text()
    assert shown(root) == "The blue sea"  # the last picture stays
    labs.screenshot(lab_page, "dead-kernel")


def test_a_restarted_kernel_is_shown_as_dead(lab_page: Page, lab: labs.Lab) -> None:
    root = open_live(lab_page, lab, "restart")
    lab_page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    )
    labs.wait_kernel_idle(lab_page)
    type_text(root, "Nobody hears this")
    root.locator(".ng-banner").wait_for(timeout=15_000)
    assert root.get_attribute("data-status") == "dead"
    assert shown(root) == TEXT
