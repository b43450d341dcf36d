"""Views beside each other and linked: in pages without a kernel, in JupyterLab, in a sandbox."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter, MarkdownExporter
from traitlets.config import Config

import neuroglass as ng
from neuroglass.views.export import Page as HtmlPage
from tests.browser import lab as labs
from tests.browser.test_live_heatmap import run_cell_below, shown, type_text
from tests.browser.test_pages import open_offline

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

WORDS = ["The", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog"]


def words(**more: Any) -> ng.TokenHeatmap:
    tokens = [f" {w}" for w in WORDS]
    return ng.TokenHeatmap(tokens, np.linspace(-1, 1, len(tokens)), **more)


def selected(view: Locator) -> list[str | None]:
    return [one.get_attribute("data-i") for one in view.locator(".ng-sel").all()]


# --- pages


def test_a_row_of_linked_views_is_linked_in_its_page(page: Page, tmp_path: Path) -> None:
    a, b, c = words(title="first"), words(title="second"), words(title="third")
    ng.link(a, b)
    a.token = 1
    wrong = open_offline(page, ng.beside(a, ng.beside(b, c)).to_html(tmp_path / "row.html"))
    views = page.locator(".ng-heatmap")
    labs.wait_until("all three", lambda: views.count() == 3)
    assert [selected(views.nth(i)) for i in range(3)] == [["1"], ["1"], []]
    views.nth(0).locator('.ng-tok[data-i="3"]').click()
    labs.wait_until("the other follows", lambda: selected(views.nth(1)) == ["3"])
    views.nth(1).locator('.ng-tok[data-i="5"]').click()
    labs.wait_until("and back", lambda: selected(views.nth(0)) == ["5"])
    views.nth(0).locator('.ng-tok[data-i="5"]').click()
    labs.wait_until("none", lambda: selected(views.nth(1)) == [])
    assert selected(views.nth(2)) == []
    tops = [box["y"] for i in (0, 1) if (box := views.nth(i).bounding_box())]
    assert tops[0] == tops[1]
    labs.screenshot(page, "beside-offline")
    assert wrong == []


def test_at_320_px_they_stand_below_each_other(page: Page, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 320, "height": 900})
    wrong = open_offline(page, ng.beside(words(), words()).to_html(tmp_path / "row.html"))
    views = page.locator(".ng-heatmap")
    labs.wait_until("both", lambda: views.count() == 2)
    boxes = [views.nth(i).bounding_box() for i in (0, 1)]
    assert boxes[0]
    assert boxes[1]
    assert boxes[1]["y"] >= boxes[0]["y"] + boxes[0]["height"]
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 320
    labs.screenshot(page, "beside-narrow")
    assert wrong == []


def test_what_one_slot_lacks_is_told_there(page: Page, tmp_path: Path) -> None:
    a, b = words(), words()
    made = HtmlPage()
    body = made.add_view(ng.beside(a, b))
    del made.models[b.model_id]
    path = tmp_path / "hole.html"
    path.write_text(made.render("a hole", body), "utf-8")
    wrong = open_offline(page, path)
    page.locator(".ng-slot-failed").wait_for()
    assert "There is no widget" in page.locator(".ng-slot-failed").inner_text()
    assert page.locator(".ng-heatmap").count() == 1
    labs.screenshot(page, "beside-hole")
    assert wrong == []


# what a kernel would do: acknowledge at once, and answer a run with its text as tokens
STAND_IN = """(model, message) => {
  const reply = (body) => {
    const content = { v: 1, view: message.view, id: message.id, ...body };
    for (const call of [...(model.heard.get("msg:custom") ?? [])]) call(content, []);
  };
  setTimeout(() => {
    reply({ seq: 0, done: false });
    if (message.kind === "run") {
      const pieces = message.text.match(/ ?[^ ]+/g) ?? [];
      const packed = (dtype, width) => ({
        dtype, shape: [pieces.length], data: btoa("\\u0000".repeat(pieces.length * width)),
      });
      const [seq] = model.get("frame").seqs;
      const [row] = model.get("frame").rows;
      model.set("text", message.text);
      model.set("frame", {
        ...model.get("frame"), view: message.view, id: message.id, text: message.text,
        seqs: [{ ...seq, pieces, kinds: packed("u8", 1), ids: null, masked: null, logprobs: null,
                 entropy: null, top: null }],
        rows: [{ ...row, values: packed("f32", 4), seq: 0 }],
      });
    }
    reply({ seq: 1, done: true, version: model.get("_version"), value: 1.5, strongest: [] });
  }, 30);
}"""


def test_a_sandboxed_frame_draws_links_and_runs(page: Page, tmp_path: Path) -> None:
    """As VS Code and Colab show outputs: scripts, and nothing else, are allowed."""
    a, b = words(title="first", code="x = 1"), words(title="second")
    ng.link(a, b)
    still = ng.save_html(tmp_path / "still.html", ng.beside(a, b)).read_text("utf-8")
    live = HtmlPage(STAND_IN)
    body = live.add_view(words(title="live"), live=True, text=" The quick")
    frames = "".join(
        f'<iframe sandbox="allow-scripts" style="width:100%;height:420px" '
        f'srcdoc="{html.escape(made)}"></iframe>'
        for made in (still, live.render("live", body))
    )
    path = tmp_path / "frames.html"
    path.write_text(f"<!doctype html><meta charset=utf-8>{frames}", "utf-8")
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.context.set_offline(True)
    page.goto(path.as_uri())
    first, second = (page.frame_locator("iframe").nth(i) for i in (0, 1))
    views = first.locator(".ng-heatmap")
    views.nth(0).locator('.ng-tok[data-i="3"]').click()
    labs.wait_until("linked", lambda: selected(views.nth(1)) == ["3"])
    views.nth(0).locator(".ng-copy").click()
    labs.wait_until(
        "copying is answered", lambda: "Cop" in views.nth(0).locator(".ng-copy").inner_text()
        or "Not allowed" in views.nth(0).locator(".ng-copy").inner_text()
    )  # fmt: skip
    root = second.locator(".ng-heatmap")
    root.locator(".ng-tok").first.wait_for()
    type_text(root, "A purple hat")
    labs.wait_until("the stand-in answered", lambda: shown(root) == "A purple hat")
    labs.wait_until("ready", lambda: root.get_attribute("data-status") == "ready")
    labs.screenshot(page, "sandbox")
    storage = "() => { try { return localStorage.length } catch { return 'refused' } }"
    inner = page.frames[1].evaluate(storage)
    assert inner == "refused"  # it is a sandbox
    assert wrong == []


# --- notebooks without a browser


COMPOSED = """
import ipywidgets
import neuroglass as ng
a, b, c, d = (ng.TokenHeatmap(['The', ' quick', ' fox'], [i, 2.0, -1.0]) for i in range(4))
link = ng.link(a, b)
ng.beside(a, b)
"""
TABS = "ipywidgets.Tab([ipywidgets.HBox([c, ipywidgets.IntSlider()]), d], titles=['one', 'two'])"
ALONE = "c"


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    sources = (COMPOSED, TABS, ALONE)
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "p", "language": "python"}
    folder = tmp_path_factory.mktemp("nb")
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    nbformat.write(book, folder / "book.ipynb")
    return folder / "book.ipynb"


def test_nbconvert_shows_the_pictures(executed: Path, browser: Browser, tmp_path: Path) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page = context.new_page()  # nbconvert's own pages ask for scripts from elsewhere
    book = nbformat.read(executed, as_version=4)
    markdown, _ = MarkdownExporter().from_notebook_node(book)
    assert markdown.count("<img alt=") == 3  # two beside each other, one alone; tabs have none
    (tmp_path / "book.md.html").write_text(f"<meta charset=utf-8>{markdown}", "utf-8")
    without = json.loads(json.dumps(book))
    del without["metadata"]["widgets"]  # as GitHub, which draws no widgets
    for cell in without["cells"]:
        for output in cell["outputs"]:
            output["data"].pop("application/vnd.jupyter.widget-view+json", None)
    # offline: nbconvert draws live widgets from the network, unless it is told to take the pictures
    order = ["text/html", "text/markdown", "image/png", "text/plain"]
    told = Config({"NbConvertBase": {"display_data_priority": order}})
    pictures, _ = HTMLExporter(config=told).from_notebook_node(book)
    assert pictures.count("<img alt=") == 3
    github, _ = HTMLExporter(embed_images=True).from_notebook_node(nbformat.from_dict(without))
    assert github.count("<img alt=") == 3
    for name, made in (("nbconvert", pictures), ("github", github)):
        path = tmp_path / f"{name}.html"
        path.write_text(made, "utf-8")
        page.goto(path.as_uri(), wait_until="domcontentloaded")
        page.wait_for_timeout(500)
        labs.screenshot(page, f"book-{name}")
    wide = page.locator("img[alt^='values']").evaluate_all("all => all.map(i => i.naturalWidth)")
    context.close()
    assert len(wide) == 3
    assert min(wide) > 200


def test_a_notebook_with_boxes_becomes_one_page(executed: Path, page: Page, tmp_path: Path) -> None:
    wrong = open_offline(page, ng.export_notebook(executed, tmp_path / "book.html"))
    views = page.locator(".ng-heatmap")
    labs.wait_until("all", lambda: views.count() == 5)
    assert page.locator(".tab-title").all_text_contents() == ["one", "two"]
    views.nth(0).locator('.ng-tok[data-i="2"]').click()
    labs.wait_until("linked", lambda: selected(views.nth(1)) == ["2"])
    # c is shown twice: it is one model
    views.nth(2).locator('.ng-tok[data-i="1"]').click()
    labs.wait_until("the same", lambda: selected(views.nth(4)) == ["1"])
    page.screenshot(path=labs.SCREENSHOTS / "book-export.png", full_page=True)
    assert wrong == []


# --- JupyterLab

LIVE = """
import ipywidgets
import neuroglass as ng
from neuroglass.views.live_heatmap import LiveTokenHeatmap
model = ng.load()
runs = []
steps = LiveTokenHeatmap._steps
LiveTokenHeatmap._steps = lambda self, *a: runs.append(id(self)) or steps(self, *a)
a = ng.heatmap(model, "The old boat", site="neurons.0", features=[276])
b = ng.heatmap(model, "The old boat", site="resid_post.0", features=[3])
both = ng.link(a, b, "text", "token")
row = ng.beside(a, b)
runs.clear()
row
"""


@pytest.fixture(scope="module")
def live(browser: Browser, lab: labs.Lab) -> Iterator[Page]:
    with labs.notebook(browser, lab, "composition", [LIVE], height=900) as page:
        yield page


def ready(page: Page, within: str = ".ng-beside", n: int = 2) -> Locator:
    views = page.locator(f"{within} .ng-heatmap")
    labs.wait_until("they are drawn", lambda: views.count() == n, timeout=20)
    for i in range(n):
        views.nth(i).locator(".ng-tok").first.wait_for()
    return views


def test_linked_live_views_run_once_each_when_one_types(live: Page) -> None:
    views = ready(live)
    type_text(views.nth(0), "A purple hat")
    labs.wait_until(
        "both texts", lambda: [shown(views.nth(i)) for i in (0, 1)] == ["A purple hat"] * 2
    )
    live.wait_for_timeout(1000)  # a text that comes back would run again
    runs = labs.kernel_json(live, "[runs.count(id(a)), runs.count(id(b))]")
    assert runs == [1, 1]
    views.nth(1).locator('.ng-tok[data-i="2"]').click()
    labs.wait_until("the other selects", lambda: selected(views.nth(0)) == ["2"])
    labs.wait_until("Python", lambda: labs.kernel_json(live, "[a.token, b.token]") == [2, 2])
    labs.screenshot(live, "beside-live")


def test_fast_clicks_come_to_rest(live: Page) -> None:
    views = ready(live)
    live.evaluate(
        """async () => {
          const [a, b] = document.querySelectorAll('.ng-beside .ng-heatmap');
          const click = (v, i) => v.querySelector(`.ng-tok[data-i="${i}"]`).click();
          for (let k = 0; k < 40; k++) {
            click(k % 3 ? a : b, k % 3);
            await new Promise((r) => setTimeout(r, 15));
          }
          click(a, [...a.querySelectorAll('.ng-sel')].some((t) => t.dataset.i === '1') ? 0 : 1);
        }"""
    )
    live.wait_for_timeout(1500)
    first = labs.kernel_json(live, "[a.token, b.token]")
    assert first[0] == first[1]
    live.wait_for_timeout(700)
    assert labs.kernel_json(live, "[a.token, b.token]") == first
    there = [] if first[0] is None else [str(first[0])]
    assert selected(views.nth(0)) == selected(views.nth(1)) == there


def test_beside_in_a_tab_and_in_interact(live: Page) -> None:
    run_cell_below(
        live,
        "t = [ng.TokenHeatmap([' x', ' y'], [1, 2]) for _ in range(3)]\n"
        "ng.link(*t)\n"
        "@ipywidgets.interact(n=(1, 3))\n"
        "def show(n=2): return ipywidgets.Tab([ng.beside(*t[:n])], titles=['row'])",
    )
    views = ready(live, ".jp-OutputArea .widget-tab .ng-beside")
    views.nth(0).locator('.ng-tok[data-i="1"]').click()
    labs.wait_until("linked", lambda: selected(views.nth(1)) == ["1"])
    labs.screenshot(live, "beside-interact")
    labs.run_command(live, "notebook:delete-cell")


def test_jslink_on_the_token_and_the_text(live: Page) -> None:
    run_cell_below(
        live,
        "p, q = (ng.heatmap(model, 'One two', site='neurons.0', features=[1]) for _ in range(2))\n"
        "js = [ipywidgets.jslink((p, n), (q, n)) for n in ('token', 'text')]\n"
        "ipywidgets.HBox([p, q])",
    )
    views = ready(live, ".widget-hbox")
    views.nth(0).locator('.ng-tok[data-i="1"]').click()
    labs.wait_until("the token", lambda: selected(views.nth(1)) == ["1"])
    type_text(views.nth(0), "Three four")
    labs.wait_until("the text", lambda: shown(views.nth(1)) == "Three four")
    labs.run_command(live, "notebook:delete-cell")


def test_a_reload_brings_all_of_it_back_and_a_lost_kernel_leaves_the_links(
    live: Page, lab: labs.Lab
) -> None:
    labs.save(live)
    labs.reload(live)
    views = ready(live)
    labs.shutdown_kernel(live, lab)
    type_text(views.nth(0), "Nobody hears this")
    views.nth(0).locator(".ng-banner").wait_for(timeout=15_000)
    token = "0" if selected(views.nth(0)) != ["0"] else "1"
    views.nth(0).locator(f'.ng-tok[data-i="{token}"]').click()
    labs.wait_until("the page links them", lambda: selected(views.nth(1)) == [token])
    labs.screenshot(live, "beside-dead")


# --- a notebook whose widgets wait for the running cell


def test_without_subshells_a_view_waits_for_the_running_cell(page: Page, tmp_path: Path) -> None:
    (root := tmp_path / "notebooks").mkdir()
    scratch = tmp_path / "home"
    kernels = scratch / "settings" / "@jupyterlab" / "apputils-extension"
    kernels.mkdir(parents=True)
    (kernels / "kernels-settings.jupyterlab-settings").write_text(
        json.dumps({"commsOverSubshells": "disabled"}), "utf-8"
    )
    with labs.serve("lab", root, scratch) as server:
        cells = [LIVE, "import time; time.sleep(6)"]
        path = labs.write_notebook(root / "busy.ipynb", cells)
        labs.open_notebook(page, server, path)
        labs.run_all(page)
        views = ready(page)
        page.evaluate(
            "() => { window.jupyterapp.commands.execute('notebook:run-cell'); return null; }"
        )
        page.locator('.jp-InputPrompt:has-text("*")').first.wait_for()
        page.evaluate(
            """() => {
              window.seen = new Set();
              const root = document.querySelector('.ng-beside .ng-heatmap');
              new MutationObserver(() => window.seen.add(root.dataset.status))
                .observe(root, {attributes: true, attributeFilter: ['data-status']});
            }"""
        )
        type_text(views.nth(0), "The cell sleeps")
        labs.wait_until(
            "it says that it waits",
            lambda: views.nth(0).get_attribute("data-status") == "waiting",
            timeout=3,
        )
        assert "waiting for the running cell" in views.nth(0).locator(".ng-status").inner_text()
        labs.screenshot(page, "waiting")
        labs.wait_until(
            "and answers then", lambda: shown(views.nth(0)) == "The cell sleeps", timeout=15
        )
        labs.wait_until("linked", lambda: shown(views.nth(1)) == "The cell sleeps")
        assert "dead" not in page.evaluate("() => [...window.seen]")
        labs.close_notebook(page, server)
