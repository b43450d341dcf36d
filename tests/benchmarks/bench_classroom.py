"""A classroom: 30 live heatmaps in one notebook in JupyterLab.

    python -m tests.benchmarks.bench_classroom [--widgets 30]

On the zoo's model. Size of the saved notebook without and with widget state, and what that is
made of; memory that a widget adds to the kernel; seconds from a reload to the last picture.
"""

from __future__ import annotations

import base64
import json
import tempfile
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

from neuroglass.views.base import bundle
from tests.benchmarks.common import arguments, emit
from tests.browser import lab as labs
from tests.tools.prepare import find_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page

SETUP = """
import gc
import neuroglass as ng
model = ng.load()
text = " ".join(ng.zoo_texts("english_prose")[0].split()[:60])
views = []
def resident():
    gc.collect()
    return int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0])
warm = ng.heatmap(model, text)
"""
CELL = "views.append(ng.heatmap(model, text)); views[-1]"
STATE = "application/vnd.jupyter.widget-state+json"


def main() -> None:
    n = arguments(widgets=30).widgets
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        base = Path(scratch)
        (root := base / "notebooks").mkdir()
        (home := base / "home").mkdir()
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=labs.FLAGS, headless=True
        )
        with labs.serve("lab", root, home) as lab:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            cells = [f"{SETUP}before = resident()", *[CELL] * n, "after = resident()"]
            path = labs.write_notebook(root / "classroom.ipynb", cells)
            labs.open_notebook(page, lab, path)
            labs.run_all(page)
            until_drawn(page, n)
            kilobytes = labs.kernel_json(
                page, "[before, after, len(views[0].frame['seqs'][0]['pieces'])]"
            )
            emit(
                what="kernel memory",
                tokens=kilobytes[2],
                before_mb=round(kilobytes[0] / 1024, 1),
                per_widget_kb=round((kilobytes[1] - kilobytes[0]) / n, 1),
            )
            labs.save(page)
            emit(what="saved without widget state", **sizes(path))
            labs.run_command(page, "@jupyter-widgets/jupyterlab-manager:saveWidgetState")
            labs.save(page)
            emit(what="saved with widget state", **sizes(path))
            began = time.perf_counter()
            page.reload()
            until_drawn(page, n)
            emit(what="reload", seconds=round(time.perf_counter() - began, 1))
            labs.screenshot(page, "classroom")
            labs.close_notebook(page, lab)
        browser.close()
    code = bundle("heatmap", "js").read_bytes()
    packed = base64.b64encode(zlib.compress(code, 9))
    emit(what="bundle", bytes=len(code), deflated_base64=len(packed))


def until_drawn(page: Page, n: int) -> None:
    """Wait for the last picture; cells that are out of sight are brought in."""
    page.wait_for_function(
        """(n) => {
          const views = document.querySelectorAll('.ng-heatmap');
          const bare = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')]
            .find((cell, i) => i > 0 && i <= n && !cell.querySelector('.ng-tok'));
          bare?.scrollIntoView({ block: 'center' });
          return views.length >= n && !bare;
        }""",
        arg=n,
        timeout=180_000,
        polling=50,
    )


def sizes(path: Path) -> dict[str, Any]:
    """Kilobytes of the notebook, and of the parts that are large."""
    book = json.loads(path.read_text("utf-8"))
    states = book["metadata"].get("widgets", {}).get(STATE, {}).get("state", {})
    ours = [one["state"] for one in states.values() if "_esm" in one["state"]]
    buffers = [one.get("buffers", []) for one in states.values()]
    outputs = [o for cell in book["cells"] for o in cell.get("outputs", [])]
    parts = {
        "file": path.stat().st_size,
        "fallbacks": sum(
            len(json.dumps(o["data"].get("text/html", ""))) for o in outputs if "data" in o
        ),
        "code": sum(len(json.dumps(state["_esm"])) for state in ours),
        "styles": sum(len(json.dumps(state["_css"])) for state in ours),
        "choices": sum(len(json.dumps(state.get("choices"))) for state in ours),
        "frames": sum(len(json.dumps(state["frame"])) for state in ours)
        + sum(len(b["data"]) for one in buffers for b in one),
    }
    return {f"{name}_kb": round(size / 1000, 1) for name, size in parts.items()} | {
        "views": len(ours)
    }


if __name__ == "__main__":
    main()
