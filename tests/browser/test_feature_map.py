"""The feature map in a real JupyterLab: pointing, lasso, lists, a link, keys, looks, no kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser import lab as labs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page

LIVE = """
import ipywidgets, neuroglass as ng
store = ng.open_store("zoo/A-1x", ng.load("zoo/A"), annotations="said")
w = ng.FeatureMap(store)
other = ng.FeatureMap(store, colour="max", title="the other one")
links = ng.link(w, other, "feature", "subset")
ipywidgets.VBox([w, other])
"""
# where a feature is in the window
WHERE = """
(lambda xy, lo, hi: [float((xy[{i}] - (lo + hi) / 2)[0]), float((xy[{i}] - (lo + hi) / 2)[1]),
    float(hi[0] - lo[0]), float(hi[1] - lo[1])])(
    *(lambda xy: (xy, xy.min(0), xy.max(0)))(w.to_frame()[["x", "y"]].to_numpy()))
"""
# what the canvas of the points shows around a place: how many pixels are not paper
INK = """
([plane, x, y]) => {
  const canvas = plane.querySelector("canvas");
  const k = canvas.width / plane.clientWidth;
  const [at, context] = [[x, y].map(v => Math.round(v * k) - 2), canvas.getContext("2d")];
  const { data } = context.getImageData(...at, 5, 5);
  const paper = context.getImageData(0, 0, 1, 1).data;
  let n = 0;
  for (let i = 0; i < data.length; i += 4)
    if (data[i] !== paper[0] || data[i + 1] !== paper[1]) n++;
  return n;
}
"""


@pytest.fixture(scope="module")
def live(browser: Browser, lab: labs.Lab) -> Iterator[Locator]:
    with labs.notebook(browser, lab, "map", [LIVE], height=1000) as page:
        root = page.locator(".ng-feature_map").first
        root.locator(".ng-plane").wait_for()
        yield root


@pytest.fixture
def root(live: Locator) -> Locator:
    """The widget, back at how it began."""
    labs.kernel_eval(
        live.page,
        "w.subset = []; w.feature = None; w.colour = 'density'; w.theme = 'auto'; "
        "w.layout.width = 'auto'",
    )
    labs.wait_until("let go", lambda: live.locator(".ng-detail").is_hidden())
    plane = live.locator(".ng-plane")
    plane.scroll_into_view_if_needed()
    plane.press("0")
    plane.evaluate("e => e.blur()")
    return live


def place(root: Locator, feature: int) -> tuple[float, float]:
    """Where a feature is drawn while the whole map is shown, in pixels of the plane."""
    plane = root.locator(".ng-plane")
    x, y, wide, high = labs.kernel_json(root.page, WHERE.format(i=feature))
    width, height = plane.evaluate("e => [e.clientWidth, e.clientHeight]")
    scale = min((width - 48) / wide, (height - 48) / high)
    return width / 2 + x * scale, height / 2 - y * scale


def loner(page: Page) -> int:
    """A feature that no other one is near."""
    return int(
        labs.kernel_json(
            page,
            "(lambda xy: int((((xy[:, None] - xy[None]) ** 2).sum(-1) + 9 * __import__('numpy')"
            ".eye(len(xy))).min(1).argmax()))(w.to_frame()[['x', 'y']].to_numpy())",
        )
    )


def test_a_point_is_drawn_where_it_is_told_of_and_clicked(root: Locator) -> None:
    page, plane = root.page, root.locator(".ng-plane")
    feature = loner(page)
    x, y = place(root, feature)
    handle = plane.element_handle()
    labs.wait_until(
        "it is drawn",
        lambda: page.evaluate(INK, [handle, x, y]) > 5,
    )
    plane.hover(position={"x": x + 3, "y": y})
    tip = root.locator(".ng-tip")
    tip.wait_for()
    assert f"A-1x/{feature}" in str(tip.text_content())
    plane.click(position={"x": x, "y": y})
    labs.wait_until("Python has it", lambda: labs.kernel_json(page, "w.index") == feature)
    labs.wait_until("the other follows", lambda: labs.kernel_json(page, "other.index") == feature)
    other = page.locator(".ng-feature_map").nth(1).locator(".ng-detail")
    assert f"A-1x/{feature}" in str(other.text_content())
    labs.kernel_eval(page, "other.feature = 3")
    labs.wait_until("and back", lambda: "A-1x/3" in str(root.locator(".ng-detail").text_content()))


def test_the_lasso_selects_and_the_selection_becomes_a_list(root: Locator) -> None:
    page, plane = root.page, root.locator(".ng-plane")
    feature = loner(page)
    x, y = place(root, feature)
    box = plane.bounding_box()
    assert box is not None
    root.get_by_role("button", name="lasso").click()
    page.mouse.move(box["x"] + x - 12, box["y"] + y - 12)
    page.mouse.down()
    for dx, dy in ((12, -12), (12, 12), (-12, 12)):
        page.mouse.move(box["x"] + x + dx, box["y"] + y + dy, steps=3)
    page.mouse.up()
    labs.wait_until("it is caught", lambda: labs.kernel_json(page, "w.subset") == [feature])
    assert labs.kernel_json(page, "other.subset") == [feature]
    root.locator(".ng-map-list").fill("found by hand")
    root.get_by_role("button", name="add to list").click()
    labs.wait_until(
        "it is kept",
        lambda: labs.kernel_json(page, "store.annotations.lists()") == {"found by hand": [feature]},
    )
    root.locator("select.ng-map-by").select_option("list")
    chip = root.get_by_role("button", name="found by hand 1")
    chip.wait_for()
    labs.screenshot(page, "map-list")
    root.get_by_role("button", name="clear").click()
    labs.wait_until("let go", lambda: labs.kernel_json(page, "w.subset") == [])


def test_wheel_drag_and_search(root: Locator) -> None:
    page, plane = root.page, root.locator(".ng-plane")
    feature = loner(page)
    x, y = place(root, feature)
    box = plane.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + x, box["y"] + y)
    plane.focus()
    for _ in range(6):
        page.mouse.wheel(0, -240)
    root.get_by_role("button", name="select all in view").click()
    labs.wait_until("few are in view", lambda: 0 < labs.kernel_json(page, "len(w.subset)") < 200)
    assert feature in labs.kernel_json(page, "w.subset")
    # dragged away, it is not in view any more
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.down()
    page.mouse.move(box["x"] + x - 2000, box["y"] + y, steps=4)
    page.mouse.up()
    root.get_by_role("button", name="select all in view").click()
    labs.wait_until("it is away", lambda: feature not in labs.kernel_json(page, "w.subset"))
    root.get_by_role("button", name="show all").click()
    want = labs.kernel_json(
        page,
        "[i for i in range(512) if 'the' in '|'.join([*(p for p, _ in store[i].promoted()[:5]), "
        "*(store.pieces([store[i].row['top_token']]) if store[i].row['count'] else [])]).lower()]",
    )
    root.locator(".ng-map-find").fill("the")
    root.get_by_role("button", name="select matches").click()
    labs.wait_until("as Python finds them", lambda: labs.kernel_json(page, "w.subset") == want)
    assert len(want) > 5


def test_the_keyboard_goes_from_point_to_point(root: Locator) -> None:
    page, plane = root.page, root.locator(".ng-plane")
    labs.kernel_eval(page, "w.feature = 3")
    plane.focus()
    page.keyboard.press("ArrowRight")
    spoken = root.locator(".ng-offscreen[aria-live]")
    labs.wait_until("at the feature", lambda: "A-1x/3," in str(spoken.text_content()))
    page.keyboard.press("ArrowRight")
    labs.wait_until("the next", lambda: "A-1x/3," not in str(spoken.text_content()))
    page.keyboard.press("Enter")
    labs.wait_until("picked", lambda: labs.kernel_json(page, "w.index") not in {None, 3})
    right = "(lambda f: bool(f.x[w.index] > f.x[3]))(w.to_frame())"
    assert labs.kernel_json(page, right) is True
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    labs.wait_until("let go", lambda: labs.kernel_json(page, "w.index") is None)


def test_dark_and_narrow(root: Locator) -> None:
    page = root.page
    labs.kernel_eval(page, "w.theme = 'dark'; w.layout.width = '320px'; w.subset = [1, 2]")
    labs.wait_until("dark", lambda: root.get_attribute("data-theme") == "dark")
    labs.wait_until("narrow", lambda: (root.bounding_box() or {"width": 999})["width"] <= 320)
    canvas = "e => e.querySelector('canvas')"
    labs.wait_until(
        "drawn at its size",
        lambda: root.locator(".ng-plane").evaluate(
            f"e => ({canvas})(e).width === Math.round(e.clientWidth * devicePixelRatio)"
        ),
    )
    paper = root.locator(".ng-plane").evaluate(
        f"e => [...({canvas})(e).getContext('2d').getImageData(0, 0, 1, 1).data]"
    )
    assert paper == [0x14, 0x17, 0x1C, 255]
    wide = root.evaluate(
        "e => [...e.querySelectorAll(':not(.ng-plane *)')].filter(c => "
        "c.getBoundingClientRect().right > e.getBoundingClientRect().right + 1).length"
    )
    assert wide == 0


def test_a_saved_page_does_all_but_lists(root: Locator, page: Page) -> None:
    there = root.page
    html = labs.kernel_json(there, "str(w.to_html('saved.html').resolve())")
    page.goto(f"file://{html}")
    saved = page.locator(".ng-feature_map")
    saved.locator(".ng-plane").wait_for()
    saved.locator(".ng-map-find").fill("the")
    saved.get_by_role("button", name="select matches").click()
    assert "selected" in str(saved.locator(".ng-map-count").text_content())
    assert saved.get_by_role("button", name="add to list").is_hidden()
    saved.locator("select.ng-map-by").select_option("kurtosis")
    labs.wait_until(
        "coloured anew", lambda: "log" in str(saved.locator(".ng-map-legend").text_content())
    )


def test_when_the_kernel_is_gone_the_map_goes_on(root: Locator, lab: labs.Lab) -> None:
    page = root.page
    labs.kernel_eval(page, "w.subset = [1, 2]")
    root.locator(".ng-map-list").fill("nobody hears this")
    labs.shutdown_kernel(page, lab)
    root.get_by_role("button", name="add to list").click()
    root.locator(".ng-banner").wait_for(timeout=15_000)
    before = str(root.locator(".ng-map-legend").text_content())
    root.locator("select.ng-map-by").select_option("max")
    labs.wait_until(
        "coloured", lambda: before != str(root.locator(".ng-map-legend").text_content())
    )
    root.get_by_role("button", name="select all in view").click()
    # linked views follow each other in the page
    other = page.locator(".ng-feature_map").nth(1).locator(".ng-map-count")
    labs.wait_until("the link, too", lambda: other.text_content() == "512 features selected")
