"""The explanation lab in a real JupyterLab, on the zoo: edits, revision, undo, accepting."""

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
import numpy as np
from neuroglass.explanation.records import Simulated
model = ng.load("zoo/A")
alone = ng.open_store("zoo/A-8x", annotations="lab-notes")
store = alone.attach(model)
first = int(store.search("0 1 2 3 4 5 6 7 8 9 10 11 12", limit=1).index[0])

class Letters:
    name = "letters"
    def simulate(self, text, windows):
        return [Simulated(w, np.array([len(p) % 9.0 for p in w.pieces])) for w in windows]
""",
    """
w = ng.ExplanationLab(store, first, simulators={"letters": Letters()})
page = ng.FeatureDashboard(store, first)
ng.link(page, w, "feature")
w
""",
    """
still = ng.ExplanationLab(alone, first)
still
""",
]


@pytest.fixture(scope="module")
def page(browser: Browser, lab: labs.Lab) -> Iterator[Page]:
    with labs.notebook(browser, lab, "lab", CELLS, height=1400) as page:
        page.locator(".ng-lab .ng-ex").first.wait_for()
        yield page


@pytest.fixture
def root(page: Page) -> Locator:
    """The lab with a model, on its first feature."""
    labs.kernel_eval(page, "w.simulator = 'patterns'; w.feature = first")
    root = page.locator(".ng-lab").first
    ready(root)
    return root


def ready(root: Locator) -> None:
    labs.wait_until("ready", lambda: root.get_attribute("data-status") == "ready")


def correlation(root: Locator) -> str:
    return root.locator(".ng-lab-scores .ng-main td").first.inner_text()


def box(root: Locator) -> Locator:
    return root.get_by_label("explanation", exact=True).locator("textarea")


def test_typing_moves_the_overlay_and_the_score(root: Locator) -> None:
    page = root.page
    box(root).click()
    page.keyboard.type('" 1"  9')
    labs.wait_until("scored", lambda: root.locator(".ng-lab-scores .ng-main td").count() > 0)
    lower = root.locator(".ng-lab-windows .ng-ex [class*='ng-low-']")
    before, bars = correlation(root), lower.count()
    assert bars > 0
    assert labs.kernel_json(page, "w.explanation") == '" 1"  9'
    page.keyboard.press("Enter")
    page.keyboard.type("/[0-9]/  5")
    labs.wait_until("the score moved", lambda: correlation(root) != before)
    labs.wait_until("the overlay moved", lambda: lower.count() > bars)
    text = '" 1"  9\n/[0-9]/  5'
    assert labs.kernel_json(page, "w.explanation") == text
    want = labs.kernel_json(page, "float(ng.score(w.explanation, store[first]))")
    labs.wait_until(
        "ng.score's", lambda: abs(float(correlation(root).replace("−", "-")) - want) < 0.006
    )
    assert root.locator(".ng-lab-windows .ng-alarm").count() > 0
    said = labs.kernel_json(
        page, "w.to_frame()['mark'].value_counts().reindex(['miss', 'false alarm']).tolist()"
    )
    count = root.locator(".ng-lab-count").inner_text()
    assert f"{said[0]} miss" in count
    assert f"{said[1]} false alarms" in count
    box(root).fill("digits of any kind")
    problem = root.locator(".ng-problem")
    labs.wait_until("refused", lambda: "neither token nor value" in problem.inner_text())
    assert root.locator(".ng-lab-scores .ng-main td").count() == 0
    labs.kernel_eval(page, f"w.explanation = {text!r}")
    labs.wait_until("Python's text", lambda: box(root).input_value() == text)


def test_explain_revise_undo_redo(root: Locator) -> None:
    page = root.page
    steps = root.locator(".ng-lab-history li")
    n = steps.count()
    root.get_by_label("who explains").select_option("tokens")
    root.get_by_role("button", name="Explain").click()
    labs.wait_until("explained", lambda: steps.count() == n + 1, 30)
    explained, first = box(root).input_value(), correlation(root)
    root.get_by_role("button", name="Revise").click()
    labs.wait_until("revised", lambda: steps.count() == n + 2, 60)
    assert root.locator(".ng-lab-counter .ng-ex").count() == 5
    revised = box(root).input_value()
    assert revised == labs.kernel_json(page, "w.explanation") != explained
    root.get_by_role("button", name="undo").click()
    labs.wait_until("undone", lambda: box(root).input_value() == explained)
    assert correlation(root) == first
    root.get_by_role("button", name="redo").click()
    labs.wait_until("redone", lambda: box(root).input_value() == revised)
    steps.nth(n).get_by_role("button").press("Enter")
    labs.wait_until("the step by keyboard", lambda: box(root).input_value() == explained)


def test_a_text_of_ones_own_is_compared_as_one_types(root: Locator) -> None:
    page = root.page
    own = root.get_by_label("a text of your own")
    own.click()
    page.keyboard.type("In 1994, 12 of 45.")
    line = root.locator(".ng-lab-counter .ng-ex").first
    labs.wait_until(
        "its tokens",
        lambda: "".join(line.locator(".ng-tok").all_text_contents()) == "In 1994, 12 of 45.",
    )
    assert labs.kernel_json(page, "w.text") == "In 1994, 12 of 45."
    line.locator(".ng-tok").nth(2).hover()
    tip = root.locator(".ng-tip")
    labs.wait_until("both values", lambda: "simulated" in tip.inner_text())
    own.fill("")
    labs.wait_until("gone", lambda: root.get_by_text("Your text", exact=True).count() == 0)


def test_what_is_accepted_is_there_after_a_reload(root: Locator) -> None:
    page = root.page
    box(root).fill("/[0-9]/  5")
    labs.wait_until("typed", lambda: labs.kernel_json(page, "w.explanation") == "/[0-9]/  5")
    root.get_by_label("author").fill("ada")
    root.get_by_role("button", name="Accept").click()
    root.get_by_role("button", name="In the store", exact=True).wait_for()
    row = root.locator(".ng-lab-table tbody tr.ng-here")
    assert "ada" in row.inner_text()
    score = correlation(root)
    again = (
        "[(e['author'], e['text'], e['scores']['correlation']) for e in "
        "ng.open_store('zoo/A-8x', annotations='lab-notes').annotations.of(first)['explanations']]"
    )
    [kept] = [e for e in labs.kernel_json(page, again) if e[0] == "ada"]
    assert kept[1] == "/[0-9]/  5"
    assert abs(kept[2] - float(score)) < 0.006
    fresh = "ng.ExplanationLab(ng.open_store('zoo/A-8x', annotations='lab-notes'), first)"
    authors = labs.kernel_json(page, f"[r['author'] for r in {fresh}.table['rows']]")
    assert "ada" in authors
    labs.save(page)
    labs.reload(page)
    root = page.locator(".ng-lab").first
    root.locator(".ng-ex").first.wait_for()
    labs.wait_until("drawn again", lambda: correlation(root) == score, 30)
    assert box(root).input_value() == "/[0-9]/  5"


def test_a_judge_on_the_button_and_scores_by_effect(root: Locator) -> None:
    page = root.page
    root.get_by_label("who simulates").select_option("letters")
    simulate = root.get_by_role("button", name="Simulate")
    simulate.wait_for()
    said = root.locator(".ng-problem")
    labs.wait_until("it says so", lambda: "Not simulated yet" in said.inner_text())
    box(root).press("Enter")
    labs.wait_until("asked", lambda: labs.kernel_json(page, "w.simulation['asked']") is True)
    labs.wait_until("scored", lambda: root.locator(".ng-lab-scores .ng-main td").count() > 0)
    root.get_by_label("who simulates").select_option("patterns")
    ready(root)
    root.get_by_role("button", name="Ablation score").click()
    doing = root.locator(".ng-doing")
    labs.wait_until("progress", lambda: "ablation" in doing.inner_text())
    root.locator(".ng-lab-scores").get_by_text("ablation", exact=True).wait_for(timeout=60_000)
    root.get_by_role("button", name="Output score").click()
    labs.wait_until("begun", lambda: "output" in doing.inner_text())
    root.locator(".ng-lab-doing").get_by_role("button", name="Stop").click()
    labs.wait_until("stopped", lambda: doing.inner_text() == "Stopped.", 30)


def test_following_a_linked_view(root: Locator) -> None:
    page = root.page
    labs.kernel_eval(page, "page.feature = first + 1")
    name = root.locator(".ng-lab-name")
    want = labs.kernel_json(page, "store.id(first + 1)")
    labs.wait_until("the other feature", lambda: name.inner_text() == want)
    root.get_by_label("next feature").click()
    labs.wait_until(
        "the page follows", lambda: labs.kernel_json(page, "page.index == first + 2") is True
    )


def test_without_a_model(root: Locator) -> None:
    page = root.page
    still = page.locator(".ng-lab").nth(1)
    still.scroll_into_view_if_needed()
    assert "view.attach(store.attach(model))" in still.locator(".ng-lab-counter").inner_text()
    assert still.get_by_role("button", name="Revise").count() == 0
    steps = still.locator(".ng-lab-history li")
    n = steps.count()
    still.get_by_label("who explains").select_option("tokens")
    still.get_by_role("button", name="Explain").click()
    labs.wait_until("explained", lambda: steps.count() == n + 1)
    assert still.locator(".ng-lab-scores .ng-main td").count() > 0


def test_dark_and_narrow(root: Locator) -> None:
    page = root.page
    labs.kernel_eval(page, "w.theme = 'dark'")
    labs.wait_until("dark", lambda: root.get_attribute("data-theme") == "dark")
    labs.screenshot(page, "lab-dark")
    labs.kernel_eval(page, "w.layout.width = '320px'")
    labs.wait_until("narrow", lambda: (root.bounding_box() or {"width": 999})["width"] <= 320)
    wide = """(root) => [...root.querySelectorAll("*")]
      .filter((e) => e.getBoundingClientRect().width > 320)
      .map((e) => e.className)"""
    assert root.evaluate(wide) == []
    labs.screenshot(page, "lab-narrow")
    labs.kernel_eval(page, "w.layout.width = None; w.theme = 'auto'")
