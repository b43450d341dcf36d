"""Pages without a kernel and without a network: exported views and the executed quick start."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import neuroglass as ng
from tests.browser import lab as labs
from tests.browser.hostile import EXPECTED, HOSTILE

if TYPE_CHECKING:
    from playwright.sync_api import Page

WIDGET = "application/vnd.jupyter.widget-view+json"
NOTEBOOKS = sorted((labs.ROOT / "notebooks").glob("*.ipynb"))


def open_offline(page: Page, path: Path) -> list[str]:
    """Open a file with the network off; whatever goes wrong in it is added to the list."""
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.context.set_offline(True)
    page.goto(path.resolve().as_uri())
    page.locator(".ng[data-status] .ng-tok").first.wait_for()
    return wrong


def test_an_exported_view_draws_offline_with_hostile_tokens(page: Page, tmp_path: Path) -> None:
    view = ng.TokenHeatmap(HOSTILE, np.linspace(-1, 1, 20), title="</script><b>x</b>")
    wrong = open_offline(page, view.to_html(tmp_path / "view.html"))
    assert page.locator(".ng-tok").all_text_contents() == EXPECTED
    assert page.evaluate("() => window.hacked") is None
    page.locator('.ng-tok[data-i="3"]').click()
    page.locator(".ng-detail").wait_for()
    assert wrong == []


def test_a_hundred_thousand_tokens_open_scroll_and_recolour(page: Page, tmp_path: Path) -> None:
    n = 100_000
    words = [f" w{i % 997}" for i in range(n)]
    view = ng.TokenHeatmap(words, np.sin(np.arange(n) / 50))
    wrong = open_offline(page, view.to_html(tmp_path / "long.html"))
    mounted = page.locator(".ng-tok").count()
    assert 0 < mounted < 20_000  # only what is near the window is in the page
    page.locator(".ng-tokens").evaluate("el => { el.scrollTop = el.scrollHeight; }")
    page.locator(f'.ng-tok[data-i="{n - 1}"]').wait_for()
    assert wrong == []


@pytest.mark.model
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_notebook_runs_and_its_page_draws_offline(
    path: Path, page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEUROGLASS_FEATURES", "40")  # of a study, in place of hundreds
    book: Any = nbformat.read(path, as_version=4)
    NotebookClient(book, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    nbformat.write(book, tmp_path / path.name)
    html = ng.export_notebook(tmp_path / path.name)
    states = book.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    shown = [
        output["data"][WIDGET]["model_id"]
        for cell in book.cells
        for output in cell.get("outputs", [])
        if WIDGET in output.get("data", {})
    ]
    views = sum("_esm" in states[model]["state"] for model in shown)
    assert views > 0
    wrong = open_offline(page, html)
    labs.wait_until("all views", lambda: page.locator(".ng[data-status]").count() == views)
    for view in page.locator(".ng[data-status]").all():
        assert view.get_attribute("data-status") == "static"
        assert view.locator(".ng-tok, .ng-next td, .ng-cell, [role=row], canvas").count() > 0
        assert not view.locator(".ng-error").is_visible()
    page.screenshot(path=labs.SCREENSHOTS / f"{path.stem}.png", full_page=True)
    assert wrong == []
