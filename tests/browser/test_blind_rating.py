"""Blinded rating in a real JupyterLab: by keyboard alone, resumed after a reload and a new view."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.browser import lab as labs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page

CELLS = [
    """
import neuroglass as ng
stores = {"latents": ng.open_store("zoo/A-8x"), "neurons": ng.open_store("zoo/A-neurons")}
""",
    """
w = ng.BlindRating(stores, 2, rater="ada", folder="study", intervals=2)
w
""",
]


@pytest.fixture(scope="module")
def page(browser: Browser, lab: labs.Lab) -> Iterator[Page]:
    with labs.notebook(browser, lab, "rating", CELLS, height=1100) as page:
        page.locator(".ng-blind-rating .ng-excerpt").first.wait_for()
        yield page


def root(page: Page) -> Locator:
    return page.locator(".ng-blind-rating").first


def where(page: Page) -> str:
    return root(page).locator(".ng-where").inner_text()


def written(page: Page, item: int) -> None:
    labs.wait_until("written", lambda: labs.kernel_json(page, f"w.ratings.done[{item}]"))


def its_turn(page: Page, item: int) -> None:
    labs.wait_until("its turn", lambda: where(page) == f"feature {item + 1} of 4")


def test_a_study_by_keyboard_alone(page: Page) -> None:
    view = root(page)
    view.get_by_label("hypothesis", exact=True).focus()
    keys = page.keyboard
    for item in range(2):
        its_turn(page, item)
        labs.wait_until(
            "the field has the focus",
            lambda: (
                page.evaluate("document.activeElement.getAttribute('aria-label')") == "hypothesis"
            ),
        )
        keys.type(f"thing {item}")
        keys.press("Enter")
        rated = labs.kernel_json(page, f"len(w._plan.items[{item}].rated)")
        for digit in ["2", *["4"] * rated, "1", "0", "3"]:
            keys.press(digit)
        written(page, item)
        keys.press("Enter")
    found = labs.kernel_json(page, "[w.ratings.answers[i]['hypothesis'] for i in (0, 1)]")
    assert found == ["thing 0", "thing 1"]
    its_turn(page, 2)  # until then it says that it is asked for
    status = view.locator(".ng-status")
    labs.wait_until("the count", lambda: "2 of 4 rated" in status.inner_text())


def test_nothing_in_the_page_names_what_is_rated(page: Page) -> None:
    text = page.locator(".ng-blind-rating").first.inner_html()
    items = labs.kernel_json(page, "[i.feature for i in w._plan.items]")
    assert "zoo/A" not in text
    assert "latents" not in text
    assert not any(f">{feature}<" in text for feature in items if feature > 9)


def test_it_goes_on_after_a_reload(page: Page) -> None:
    labs.wait_until("the third", lambda: where(page) == "feature 3 of 4")
    rows = root(page).locator(".ng-questions")
    rows.focus()
    rows.press("3")
    labs.wait_until(
        "written", lambda: labs.kernel_json(page, "w.ratings.answers[2]['confidence']") == 3
    )
    labs.save(page)
    labs.reload(page)
    labs.run_all(page)
    root(page).locator(".ng-excerpt").first.wait_for()
    assert where(page) == "feature 3 of 4"  # the first that is not rated whole
    pressed = root(page).locator('.ng-choice[aria-pressed="true"]')
    assert pressed.all_inner_texts() == ["3"]
    assert root(page).locator(".ng-done").count() == 2


def test_unblinding_takes_two_presses_and_is_written_down(page: Page) -> None:
    view = root(page)
    button = view.locator(".ng-rating-bar .ng-button")
    button.click()
    assert "2 left" in button.inner_text()
    assert view.locator(".ng-what").is_hidden()
    button.click()
    view.locator(".ng-report").wait_for()
    assert view.locator(".ng-what").inner_text().split(",")[0] in {"latents", "neurons"}
    assert labs.kernel_json(page, "w.ratings.unblinded")
    table = json.loads(labs.kernel_json(page, "w.report()['median'].to_json()"))
    assert set(table) <= {"latents", "neurons"}
