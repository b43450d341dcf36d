"""``ng.FeatureBrowser`` in JupyterLab: sorted, filtered, searched, scrolled, rated by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import neuroglass as ng
from tests.benchmarks.bench_store import make
from tests.browser import table
from tests.browser.lab import (
    kernel_eval,
    kernel_json,
    open_notebook,
    reload,
    run_all,
    save,
    screenshot,
    wait_until,
    write_notebook,
)

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page

    from tests.browser.lab import Lab

OPEN = """import neuroglass as ng
store = ng.open_store("zoo/A-8x", annotations=FOLDER)
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 100,000 features."""
    folder = tmp_path_factory.mktemp("store")
    model = ng.load()
    make(folder, model, 100_000, 2, "", tokens=4, pairs=1)
    model.close()
    return folder


def start(page: Page, lab: Lab, path: Path, folder: Path, *lines: str) -> Locator:
    """A notebook with a browser called `view`; its root."""
    cells = [OPEN.replace("FOLDER", repr(str(folder))), "\n".join([*lines, "view"])]
    write_notebook(path, cells)
    open_notebook(page, lab, path)
    run_all(page)
    root = page.locator(".ng-browser").first
    page.locator('.ng-browser[data-status="ready"]').first.wait_for()
    return root


def cells(root: Locator, row: int) -> list[str]:
    return root.locator(f'.ng-row[data-row="{row}"] > .ng-col').all_text_contents()


def order(page: Page) -> list[int]:
    return list(kernel_json(page, "[int(i) for i in view.to_frame().index]"))


def is_drawn(page: Page, root: Locator, wanted: list[int]) -> None:
    wait_until("ranked", lambda: order(page) == wanted)
    wait_until("drawn", lambda: cells(root, 0)[0] == str(wanted[0]))


def test_sort_and_filter_as_python_does(
    lab_page: Page, lab: Lab, notebook_path: Path, tmp_path: Path
) -> None:
    root = start(
        lab_page, lab, notebook_path, tmp_path, "view = ng.FeatureBrowser(store, opens=False)"
    )
    assert cells(root, 0)[0] == str(order(lab_page)[0])
    root.get_by_role("columnheader", name="max").click()
    wait_until("sorted", lambda: kernel_json(lab_page, "view.frame['sort']") == "max")
    wait_until("drawn", lambda: cells(root, 0)[0] == str(order(lab_page)[0]))
    root.get_by_role("columnheader", name="max").click()
    wait_until("the other way round", lambda: not kernel_json(lab_page, "view.descending"))
    found = kernel_json(lab_page, "int(store.to_frame()['max'].idxmin())")
    wait_until("the smallest first", lambda: cells(root, 0)[0] == str(found))
    root.locator(".ng-find-token").fill(" the")
    wait_until("filtered", lambda: root.locator(".ng-found").inner_text().startswith("101 of"))
    assert kernel_json(lab_page, "view.query") == {"token": " the"}
    assert cells(root, 0)[0] == str(order(lab_page)[0])
    root.locator(".ng-find-token").fill(" thex")
    root.locator(".ng-problem").get_by_text("Did you mean").wait_for()
    assert root.locator(".ng-found").inner_text().startswith("101 of")  # the table stays
    root.get_by_role("button", name="Clear conditions").click()
    wait_until("all again", lambda: root.locator(".ng-found").inner_text() == "4,096 features")
    kernel_eval(lab_page, "view.query = {'flags': 'dead'}")
    wait_until("from Python", lambda: root.locator(".ng-found").inner_text().startswith("204 of"))
    screenshot(lab_page, "browser")


def test_search_by_a_prompt_and_its_tokens(
    lab_page: Page, lab: Lab, notebook_path: Path, tmp_path: Path
) -> None:
    root = start(
        lab_page, lab, notebook_path, tmp_path,
        "view = ng.FeatureBrowser(store.attach(ng.load('zoo/A')), opens=False)",
    )  # fmt: skip
    root.get_by_text("Search by a prompt").click()
    root.locator(".ng-by-prompt .ng-text").fill("The capital of France is Paris")
    tokens = root.locator(".ng-by-prompt .ng-tok")
    wait_until("tokens", lambda: tokens.count() == 11)
    wait_until("searched", lambda: kernel_json(lab_page, "view.frame['sort']") == "value")
    tokens.nth(2).click()
    tokens.nth(4).click(modifiers=["Shift"])
    wait_until(
        "tokens chosen", lambda: kernel_json(lab_page, "view.query").get("tokens") == [2, 3, 4]
    )
    search = "view.store.search(view.query['prompt'], [2, 3, 4], limit=None, by={by!r}, bos=False)"
    for by in ("max", "sum"):
        root.locator(".ng-by-prompt select").select_option(by)
        wanted = kernel_json(lab_page, f"[int(i) for i in {search.format(by=by)}.index]")
        is_drawn(lab_page, root, wanted)
    kernel_eval(lab_page, "view.query = {'prompt': 'def f(x):'}\nview.wait()")
    wait_until("from Python", lambda: "".join(tokens.all_text_contents()) == "def f(x):")


def test_without_a_model_it_says_what_to_do_and_attaching_is_seen(
    lab_page: Page, lab: Lab, notebook_path: Path, tmp_path: Path
) -> None:
    root = start(lab_page, lab, notebook_path, tmp_path, "view = ng.FeatureBrowser(store)")
    root.get_by_text("Search by a prompt").click()
    assert "store.attach(model)" in root.locator(".ng-needs").inner_text()
    assert not root.locator(".ng-by-prompt .ng-text").is_visible()
    kernel_eval(lab_page, "view.attach(store.attach(ng.load('zoo/A')))")
    root.locator(".ng-by-prompt .ng-text").wait_for()
    root.locator(".ng-by-prompt .ng-text").fill("base64")
    wait_until("searched", lambda: kernel_json(lab_page, "view.frame['sort']") == "value")


def test_keys_select_rate_and_list_and_a_reload_keeps_it(
    lab_page: Page, lab: Lab, notebook_path: Path, tmp_path: Path
) -> None:
    root = start(lab_page, lab, notebook_path, tmp_path, "view = ng.FeatureBrowser(store)")
    grid = root.get_by_role("grid").first
    grid.focus()
    for key in ("ArrowDown", "ArrowDown"):
        lab_page.keyboard.press(key)
    third = order(lab_page)[2]
    wait_until("selected", lambda: kernel_json(lab_page, "view.index") == third)
    page = root.locator(".ng-slot .ng-dashboard")
    page.wait_for()  # its page opens
    lab_page.keyboard.press("4")
    wait_until(
        "rated", lambda: kernel_json(lab_page, f"store.annotations.of({third})")["rating"] == 4
    )
    root.locator(".ng-row.ng-sel .ng-stars").get_by_text("★★★★").wait_for()
    lab_page.keyboard.press("Space")
    root.get_by_label("name of a list").first.fill("to look at")
    root.get_by_role("button", name="Add to list").click()
    wait_until(
        "listed",
        lambda: kernel_json(lab_page, "store.annotations.lists()") == {"to look at": [third]},
    )
    root.locator(".ng-one .ng-on-list").get_by_text("to look at").wait_for()
    grid.focus()
    lab_page.keyboard.press("n")
    lab_page.keyboard.type("odd one")
    lab_page.keyboard.press("Enter")
    wait_until(
        "noted",
        lambda: kernel_json(lab_page, f"store.annotations.of({third})")["note"] == "odd one",
    )
    page.get_by_role("button", name="next feature").click()
    wait_until("followed", lambda: kernel_json(lab_page, "view.index") == third + 1)
    save(lab_page)
    reload(lab_page)
    row = root.locator('.ng-row[data-row="2"]')
    row.locator(".ng-stars").get_by_text("★★★★").wait_for()
    assert kernel_json(lab_page, "ng.open_store('zoo/A-8x', annotations=store.annotations.folder)"
                       f".annotations.of({third})['rating']") == 4  # fmt: skip


def test_100000_features_scroll_to_the_end(
    lab_page: Page, lab: Lab, notebook_path: Path, many: Path
) -> None:
    root = start(
        lab_page, lab, notebook_path, many / "said",
        f"many = ng.open_store({str(many)!r})\nview = ng.FeatureBrowser(many, opens=False)",
    )  # fmt: skip
    root.scroll_into_view_if_needed()
    assert root.evaluate(table.TO_END) < 2000
    last = order(lab_page)[-1]
    assert cells(root, 99_999)[0] == str(last)
    assert root.locator(".ng-row").count() < 70  # of 100,000
    root.evaluate("root => { root.querySelector('.ng-table').scrollTop = 0; }")
    seen = root.evaluate(table.SCROLL, {"step": 260, "n": 120})
    assert seen["missing"] == 0
    assert seen["blank"] <= 0.05 * seen["rows"]
    assert seen["taken"][60] < 100  # the median frame, on a busy machine
    assert root.evaluate(table.SORT, "kurtosis") < 2000
    first = kernel_json(lab_page, "int(many.to_frame()['kurtosis'].idxmax())")
    assert cells(root, 0)[0] == str(first)
    grid = root.get_by_role("grid")
    grid.focus()
    lab_page.keyboard.press("Control+End")
    wait_until("the last row", lambda: cells(root, 99_999)[:1] == [str(order(lab_page)[-1])])


def test_linked_by_subset_and_feature_and_in_an_exported_page(
    lab_page: Page, lab: Lab, notebook_path: Path, tmp_path: Path
) -> None:
    start(
        lab_page, lab, notebook_path, tmp_path,
        "left = ng.FeatureBrowser(store, opens=False)",
        "right = ng.FeatureBrowser(store, sort='max', opens=False)",
        "ng.link(left, right, 'feature', 'chosen')",
        "view = ng.beside(left, right)",
    )  # fmt: skip
    left, right = (lab_page.locator(".ng-browser").nth(i) for i in (0, 1))
    left.locator('.ng-row[data-row="1"] > .ng-col').nth(1).click()
    right.locator(".ng-one").wait_for()
    chosen = kernel_json(lab_page, "left.index")
    right.locator(".ng-row.ng-sel .ng-index").get_by_text(str(chosen), exact=True).wait_for()
    path = tmp_path / "page.html"
    kernel_eval(lab_page, f"view.to_html({str(path)!r})")
    lab_page.goto(path.as_uri())
    left, right = (lab_page.locator(".ng-browser").nth(i) for i in (0, 1))
    assert "The first 500 of 4,096 rows" in left.locator(".ng-notice").inner_text()
    shared = set(left.locator(".ng-index").all_text_contents()) & set(
        right.locator(".ng-index").all_text_contents()
    )
    other = next(one for one in sorted(shared) if one != str(chosen))
    left.locator(".ng-row", has=lab_page.get_by_text(other, exact=True)).first.locator(
        ".ng-col"
    ).nth(1).click()
    right.locator(".ng-row.ng-sel .ng-index").get_by_text(other, exact=True).wait_for()


def test_dark_and_narrow(lab_page: Page, lab: Lab, notebook_path: Path, tmp_path: Path) -> None:
    root = start(
        lab_page, lab, notebook_path, tmp_path,
        "view = ng.FeatureBrowser(store, theme='dark', feature=3, opens=False)",
    )  # fmt: skip
    assert root.get_attribute("data-theme") == "dark"
    lab_page.set_viewport_size({"width": 620, "height": 900})
    wide = "root => root.scrollWidth - root.clientWidth"
    wait_until("narrow", lambda: root.evaluate("root => root.clientWidth") < 420)
    assert root.evaluate(wide) <= 1
    screenshot(lab_page, "browser_narrow")
