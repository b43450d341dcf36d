"""A static site of features, opened from the disk: sorting, filtering, pages, links, hashes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import neuroglass as ng
from tests.browser import lab as labs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

CHOSEN = range(60, 140)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    store = ng.open_store("zoo/A-1x", ng.load("zoo/A"), annotations=folder / "notes")
    store.annotations.explain(77, "a made-up meaning")
    return store.to_site(folder / "site", CHOSEN)


@pytest.fixture
def page(browser: Browser, index: Path) -> Iterator[Page]:
    wrong: list[str] = []
    with labs.new_page(browser, height=1400) as page:
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(index.as_uri())
        page.locator('.ng-browser[data-status="ready"]').wait_for()
        yield page
    assert not wrong


def features(page: Page) -> list[int]:
    cells = page.locator(".ng-browser [role=row][aria-rowindex]:not([aria-rowindex='1'])")
    return [int(t.split()[0]) for t in cells.all_inner_texts() if t.strip()]


def opened(page: Page) -> int:
    return int(page.locator(".ng-dashboard").get_by_label("feature", exact=True).input_value())


def test_the_table_is_that_of_the_store_and_sorts(page: Page) -> None:
    store = ng.open_store("zoo/A-1x")
    frame = store.to_frame().loc[list(CHOSEN)]
    want = frame.sort_values("density", ascending=False, kind="stable").index.tolist()
    assert features(page)[:10] == want[:10]
    page.locator(".ng-browser [role=columnheader]", has_text="kurtosis").click()
    want = frame.sort_values("kurtosis", ascending=False, kind="stable").index.tolist()
    labs.wait_until("sorted", lambda: features(page)[:10] == want[:10])


def test_a_row_opens_its_page_and_the_address_keeps_it(page: Page) -> None:
    wanted = features(page)[3]
    page.locator(".ng-browser [role=row]").nth(4).click()
    labs.wait_until("its page", lambda: opened(page) == wanted)
    assert page.url.endswith(f"#feature-{wanted}")
    page.locator(".ng-dashboard").get_by_label("next feature").click()
    labs.wait_until("the next page", lambda: opened(page) == wanted + 1)
    page.reload()
    page.locator(".ng-dashboard .ng-ex").first.wait_for()
    labs.wait_until("the same page again", lambda: opened(page) == wanted + 1)
    field = page.locator(".ng-dashboard").get_by_label("feature", exact=True)
    field.fill("500")
    field.press("Enter")
    page.locator(".ng-dashboard .ng-error:not([hidden])").wait_for()
    assert "no page of feature 500" in page.locator(".ng-dashboard .ng-error").inner_text()


def test_it_is_searched_and_offers_nothing_that_it_can_not_do(page: Page) -> None:
    words = page.locator(".ng-browser .ng-find-explanation")
    words.fill("meaning")
    words.press("Enter")
    labs.wait_until("found", lambda: features(page) == [77])
    page.locator(".ng-browser [role=row]").nth(1).click()
    labs.wait_until("its page", lambda: opened(page) == 77)
    assert page.locator(".ng-about").inner_text() == "a made-up meaning"
    for hidden in (".ng-by-prompt", ".ng-find-text", ".ng-dash-text", ".ng-dash-rule",
                   ".ng-said-edit", ".ng-dash-steer button"):  # fmt: skip
        assert page.locator(hidden).first.is_hidden(), hidden
    plot = page.locator(".ng-dash-hist .ng-hist-plot")
    plot.focus()
    plot.press("Home")
    plot.press("Shift+End")
    plot.press("Enter")
    assert "among the examples that are kept" in page.locator(".ng-range-said").inner_text()
