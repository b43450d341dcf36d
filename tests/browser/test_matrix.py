"""The slow matrix: the same live widget in other hosts and on other kernels.

ipykernel 7.3 hands widget messages to threads otherwise than 7.4 (DESIGN §5), Notebook 7 and marimo
are other front ends with other ways of mounting a widget.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.request
import venv
from typing import TYPE_CHECKING

import pytest

from tests.browser import lab as labs
from tests.browser.test_live_heatmap import (
    LIVE,
    TEXT,
    run_cell_below,
    shown,
    type_text,
    wait_ready,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

pytestmark = [pytest.mark.matrix, pytest.mark.model]

COMPOSED = f"""
a, b = (ng.heatmap(model, {TEXT!r}, site=s, features=[3]) for s in ("neurons.24", "resid_post.9"))
link = ng.link(a, b, "text", "token")
ng.beside(a, b)
"""

MARIMO = f"""
import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
    import neuroglass as ng

    model = ng.load("smollm2")
    w = mo.ui.anywidget(ng.heatmap(model, {TEXT!r}, site="neurons.24", features=[659]))
    w
    return mo, ng, w


@app.cell
def _(mo, ng):
    small = ng.load()
    a = ng.heatmap(small, {TEXT!r}, site="neurons.0", features=[3])
    b = ng.heatmap(small, {TEXT!r}, site="resid_post.0", features=[3])
    link = ng.link(a, b, "text", "token")
    mo.ui.anywidget(ng.beside(a, b))
    return


@app.cell
def _(mo, w):
    mo.md(f"python sees: {{w.value['text']}} | {{w.value['selected']}}")
    return


if __name__ == "__main__":
    app.run()
"""


def use(page: Page) -> None:
    """Type and click in the live widget; the caller checks what Python saw."""
    root = wait_ready(page)
    assert shown(root) == TEXT
    type_text(root, "A purple hat")
    labs.wait_until("the new text is drawn", lambda: shown(root) == "A purple hat")
    root.locator('.ng-tok[data-i="1"]').click()


def use_composed(page: Page) -> None:
    """Type and click in one of two live views that stand beside each other; both follow."""
    views = page.locator(".ng-beside .ng-heatmap")
    labs.wait_until("both are drawn", lambda: views.count() == 2, timeout=60)
    for i in (0, 1):
        views.nth(i).locator(".ng-tok").first.wait_for()
    type_text(views.nth(0), "A purple hat")
    labs.wait_until(
        "the other follows",
        lambda: [shown(views.nth(i)) for i in (0, 1)] == ["A purple hat"] * 2,
        timeout=20,
    )
    views.nth(1).locator('.ng-tok[data-i="1"]').click()
    views.nth(0).locator('.ng-sel[data-i="1"]').wait_for()
    boxes = [views.nth(i).bounding_box() for i in (0, 1)]
    assert all(box and box["width"] > 200 and box["height"] > 80 for box in boxes)
    assert not views.nth(0).locator(".ng-error").is_visible()


def check_notebook(page: Page, server: labs.Lab, path: Path) -> None:
    labs.open_notebook(page, server, path)
    labs.run_all(page)
    use(page)
    labs.wait_until(
        "Python sees it",
        lambda: labs.kernel_json(page, "[w.text, w.selected]") == ["A purple hat", [0, 1]],
    )
    # a cell that runs and a widget that works at the same time do not disturb each other
    labs.kernel_eval(
        page,
        "want = model.run('Hi')['logits']\n"
        "for i in range(20):\n"
        "    w.text = f'Text {i}'\n"
        "    assert (model.run('Hi')['logits'] == want).all()\n"
        "w.wait()",
    )
    root = page.locator(".ng-heatmap").first
    labs.wait_until("the last text", lambda: shown(root) == "Text 19")
    run_cell_below(page, COMPOSED)
    use_composed(page)
    labs.wait_until(
        "Python sees it", lambda: labs.kernel_json(page, "[a.token, b.token]") == [1, 1]
    )
    labs.screenshot(page, f"beside-{path.stem}")


@pytest.fixture
def kernel_7_3(tmp_path: Path) -> Path:
    """A Python with ipykernel 7.3 before this environment's packages."""
    folder = tmp_path / "python"
    venv.create(folder, with_pip=False, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    rest = sysconfig.get_path("purelib")
    # addsitedir reads its .pth files too: an editable install is one
    (site / "rest.pth").write_text(f"import site; site.addsitedir({rest!r})\n")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site),
         "ipykernel==7.3.0"],
        check=True,
        timeout=300,
    )  # fmt: skip
    return folder / "bin" / "python"


@pytest.fixture
def older_lab(kernel_7_3: Path, tmp_path: Path) -> Iterator[labs.Lab]:
    (root := tmp_path / "notebooks").mkdir()
    scratch = tmp_path / "home"
    spec = scratch / "data" / "kernels" / "ipykernel73"
    spec.mkdir(parents=True)
    argv = [str(kernel_7_3), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {"argv": argv, "display_name": "ipykernel 7.3", "language": "python"}
    (spec / "kernel.json").write_text(json.dumps(kernel))
    with labs.serve("lab", root, scratch) as server:
        yield server


def test_ipykernel_7_3(page: Page, older_lab: labs.Lab) -> None:
    path = older_lab.root / "older.ipynb"
    labs.write_notebook(path, [LIVE], kernel="ipykernel73")
    check_notebook(page, older_lab, path)
    version = labs.kernel_eval(page, "import ipykernel; print(ipykernel.__version__)")
    assert version == "7.3.0"
    labs.close_notebook(page, older_lab)


def test_notebook_7(page: Page, tmp_path: Path) -> None:
    (root := tmp_path / "notebooks").mkdir()
    (scratch := tmp_path / "home").mkdir()
    with labs.serve("notebook", root, scratch) as server:
        path = labs.write_notebook(root / "seven.ipynb", [LIVE])
        check_notebook(page, server, path)
        labs.screenshot(page, "notebook-7")
        labs.close_notebook(page, server)


def test_marimo(page: Page, tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(MARIMO)
    port = labs.free_port()
    command = [
        sys.executable, "-m", "marimo", "-q", "run", str(app), "--headless", "--no-token",
        "--no-sandbox", "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    log = (tmp_path / "marimo.log").open("w")
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True
    )
    try:
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=2).read()
                break
            except OSError:
                time.sleep(0.2)
        page.goto(url, timeout=60_000)
        # marimo runs all cells first; the widgets answer when the last of them has run
        page.locator(".ng-beside .ng-tok").first.wait_for(timeout=150_000)
        root = page.locator(".ng-heatmap").first
        type_text(root, "A purple hat")
        labs.wait_until("drawn", lambda: shown(root) == "A purple hat", timeout=20)
        root.locator('.ng-tok[data-i="1"]').click()
        # the other cell depends on the widget: it is run again with what was typed and clicked
        page.get_by_text("python sees: A purple hat | (0, 1)").wait_for(timeout=20_000)
        labs.screenshot(page, "marimo")
        use_composed(page)
        page.locator(".ng-beside").scroll_into_view_if_needed()
        labs.screenshot(page, "beside-marimo")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        log.close()
