"""A feature's page in a real JupyterLab, on the zoo: turning, brushing, text, rules, steering."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser import lab as labs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page

CELLS = [
    """
import neuroglass as ng
model = ng.load("zoo/A")
alone = ng.open_store("zoo/A-1x", annotations="notes")
store = alone.attach(model)
first = int(alone.to_frame()["count"].to_numpy().argsort()[-40])
""",
    """
w = ng.FeatureDashboard(store, first, predicates={"digits": lambda t, i: t[i].strip().isdigit()})
w
""",
    """
still = ng.FeatureDashboard(alone, first)
still
""",
]


@pytest.fixture(scope="module")
def page(browser: Browser, lab: labs.Lab) -> Iterator[Page]:
    with labs.notebook(browser, lab, "dashboard", CELLS, height=1400) as page:
        page.locator(".ng-dashboard .ng-ex").first.wait_for()
        yield page


@pytest.fixture
def root(page: Page) -> Locator:
    """The page with a model, back on its first feature."""
    labs.kernel_eval(page, "w.rule = ''; w.text = ''; w.feature = first")
    root = page.locator(".ng-dashboard").first
    first = labs.kernel_json(page, "first")
    shown(root, first)
    return root


def shown(root: Locator, feature: int) -> None:
    field = root.get_by_label("feature", exact=True)
    labs.wait_until(f"feature {feature}", lambda: field.input_value() == str(feature))
    labs.wait_until("ready", lambda: root.get_attribute("data-status") == "ready")


def test_turning_to_other_features_by_button_field_list_and_python(root: Locator) -> None:
    page = root.page
    first = labs.kernel_json(page, "first")
    root.get_by_label("next feature").click()
    shown(root, first + 1)
    assert labs.kernel_json(page, "w.index") == first + 1
    root.get_by_label("feature", exact=True).fill("7")
    root.get_by_label("feature", exact=True).press("Enter")
    shown(root, 7)
    near = root.locator(".ng-related .ng-go").first
    goal = int(near.inner_text())
    near.click()
    shown(root, goal)
    labs.kernel_eval(page, "w.feature = store[9]")
    shown(root, 9)
    root.get_by_label("feature", exact=True).fill("99999")
    root.get_by_label("feature", exact=True).press("Enter")
    root.locator(".ng-error:not([hidden])").wait_for()
    assert "no feature 99999" in root.locator(".ng-error").first.inner_text()
    assert labs.kernel_json(page, "w.index") == 9
    labs.kernel_eval(page, "w.feature = first")
    shown(root, first)
    assert root.locator(".ng-error").first.is_hidden()


def test_brushing_the_histogram_shows_examples_of_that_range(root: Locator) -> None:
    plot = root.locator(".ng-dash-hist .ng-hist-plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box
    mouse = root.page.mouse
    y = box["y"] + box["height"] / 2
    mouse.move(box["x"] + 0.5 * box["width"], y)
    mouse.down()
    mouse.move(box["x"] + 0.75 * box["width"], y, steps=4)
    mouse.up()
    said = root.locator(".ng-range-said")
    said.wait_for()
    assert "among the examples that are kept" in said.inner_text()
    button = said.get_by_role("button", name="Look through the corpus")
    button.click()
    total = f"{labs.kernel_json(root.page, 'store.n_tokens'):,}"
    labs.wait_until(
        "the corpus is read", lambda: f"in {total} tokens of the corpus" in said.inner_text(), 120
    )
    low, high = (float(t.replace(",", "")) for t in said.inner_text().split(":")[0].split()[1::2])
    values = [float(v) for v in root.locator(".ng-ex-value").all_inner_texts()]
    assert values
    assert all(0.98 * low <= v <= 1.02 * high for v in values)
    # by keyboard: one bar from the left end, and back to all
    plot.focus()
    plot.press("Home")
    plot.press("Enter")
    labs.wait_until("the first bar", lambda: said.inner_text().startswith("values 0 to"))
    plot.press("Escape")
    assert said.is_hidden()
    assert root.locator(".ng-dash-examples h5").first.inner_text().startswith("Top")


def test_effects_of_ablation_under_the_examples(root: Locator) -> None:
    toggle = root.locator(".ng-dash-examples").get_by_role("button", name="effect of ablation")
    toggle.click()
    marked = root.locator(".ng-ex [class*='ng-helped'], .ng-ex [class*='ng-hurt']")
    labs.wait_until("effects", lambda: marked.count() > 5, 30)
    token = root.locator(".ng-ex .ng-anchor").first
    token.hover()
    tip = root.locator(".ng-tip")
    labs.wait_until("its changes", lambda: "makes likelier" in tip.inner_text(), 10)
    assert "nats" in tip.inner_text()
    toggle.click()
    assert marked.count() == 0


def test_own_text_answers_as_one_types(root: Locator) -> None:
    box = root.locator(".ng-dash-text")
    box.locator("textarea").click()
    root.page.keyboard.type("There were 12 of 1,994 in the room.")
    want = "model.run(w.text).pieces()[0]"
    labs.wait_until(
        "the whole text",
        lambda: (
            "".join(box.locator(".ng-tok").all_text_contents())
            == "There were 12 of 1,994 in the room."
        ),
    )
    assert box.locator(".ng-tok").all_text_contents() == labs.kernel_json(root.page, want)
    assert "tokens" in box.locator(".ng-said").inner_text()
    labs.kernel_eval(root.page, "w.text = 'from Python'")
    labs.wait_until(
        "Python's text",
        lambda: "".join(box.locator(".ng-tok").all_text_contents()) == "from Python",
    )


def test_a_rule_stacks_the_histogram(root: Locator) -> None:
    rule = root.locator(".ng-dash-rule")
    rule.locator("input").fill(r"\d")
    rule.locator("input").press("Enter")
    labs.wait_until(
        "the corpus is read", lambda: "over all" in rule.locator(".ng-said").inner_text(), 120
    )
    want = labs.kernel_json(
        root.page,
        "store.rules({'r': w.rule}).query('feature == @w.index')[['specificity', 'pearson']]"
        ".iloc[0].tolist()",
    )
    texts = rule.locator("dd").all_inner_texts()
    assert float(texts[0].rstrip("%")) / 100 == pytest.approx(want[0], abs=0.002)
    assert float(texts[2].replace("−", "-")) == pytest.approx(want[1], abs=0.002)
    assert root.locator(".ng-dash-hist .ng-hist-stacked").count() == 1
    rule.get_by_label("rules of your own").select_option("digits")
    labs.wait_until("its own rule", lambda: labs.kernel_json(root.page, "w.rule") == "digits")
    rule.locator("input").fill("(")
    rule.locator("input").press("Enter")
    labs.wait_until(
        "refused", lambda: "no regular expression" in rule.locator(".ng-said").inner_text()
    )
    assert root.locator(".ng-dash-hist .ng-hist-stacked").count() == 0


def test_what_is_written_is_there_after_a_reload(root: Locator) -> None:
    page = root.page
    said = root.locator(".ng-dash-said")
    said.get_by_label("an explanation of your own").fill("digits of years")
    said.get_by_role("button", name="Add explanation").click()
    said.get_by_role("button", name="rate 4 of 5").click()
    labs.wait_until("rated", lambda: said.locator(".ng-lit").count() == 4)
    said.get_by_label("name of a list").fill("numbers")
    said.get_by_label("name of a list").press("Enter")
    said.get_by_role("button", name="take it off the list numbers").wait_for()
    assert root.locator(".ng-about").inner_text() == "digits of years"
    first = labs.kernel_json(page, "first")
    labs.kernel_eval(page, "w.feature = 3")
    shown(root, 3)
    labs.kernel_eval(page, "w.feature = first")
    shown(root, first)
    assert root.locator(".ng-about").inner_text() == "digits of years"
    assert said.locator(".ng-lit").count() == 4
    again = "ng.open_store('zoo/A-1x', annotations='notes').annotations.of(first)"
    kept = labs.kernel_json(page, again)
    assert kept["rating"] == 4
    assert kept["lists"] == ["numbers"]


def test_steering_from_here(root: Locator) -> None:
    root.get_by_role("button", name="Steer from here").click()
    steer = root.locator(".ng-steer")
    steer.locator(".ng-half-steered .ng-tok").first.wait_for(timeout=30_000)
    labs.wait_until("written", lambda: steer.get_attribute("data-status") == "ready", 30)
    ranges = steer.locator(".ng-range").first
    ranges.evaluate(
        "(r) => { r.value = r.max; r.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    labs.wait_until(
        "the slider reached the model",
        lambda: labs.kernel_json(root.page, "w.steered.sliders[0]['value']") > 0,
    )
    labs.kernel_eval(root.page, "w.feature = 3")
    labs.wait_until("gone with its feature", lambda: root.locator(".ng-steer").count() == 0)


def test_without_a_model(root: Locator) -> None:
    page = root.page
    still = page.locator(".ng-dashboard").nth(1)
    still.locator(".ng-dash-steer").scroll_into_view_if_needed()
    assert "view.attach(store.attach(model))" in still.locator(".ng-dash-steer").inner_text()
    assert still.locator(".ng-dash-text").is_hidden()
    assert still.locator(".ng-ex").count() > 10
    rule = still.locator(".ng-dash-rule")
    rule.locator("input").fill("a")
    rule.locator("input").press("Enter")
    labs.wait_until("estimated", lambda: "estimated" in rule.locator(".ng-said").inner_text())
    labs.kernel_eval(page, "still.attach(store)")
    still.locator(".ng-dash-text").wait_for()


def test_dark_theme_and_keys_in_the_examples(root: Locator) -> None:
    labs.kernel_eval(root.page, "w.theme = 'dark'")
    labs.wait_until("dark", lambda: root.get_attribute("data-theme") == "dark")
    box = root.locator(".ng-dash-examples .ng-examples")
    box.focus()
    box.press("ArrowRight")
    cursor = root.locator(".ng-dash-examples .ng-cur")
    at = cursor.get_attribute("id")
    box.press("ArrowRight")
    assert cursor.get_attribute("id") != at
    box.press("ArrowDown")
    assert root.locator(".ng-ex").nth(1).locator(".ng-cur").count() == 1
    assert "value" in root.locator(".ng-tip").inner_text()
    box.press("Escape")
    assert cursor.count() == 0
    labs.screenshot(root.page, "dashboard-dark")
    labs.kernel_eval(root.page, "w.theme = 'auto'")
