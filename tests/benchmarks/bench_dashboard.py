"""A feature's page on the zoo's dictionary, in JupyterLab: how fast it opens, turns and answers.

    python -m tests.benchmarks.bench_dashboard [--features 256 --turns 20]

Milliseconds from a press in the page to the picture (two animation frames after it is drawn), wall
time, kernel and page on the same machine: opening a page (required below 300), the next feature
(150 after half a second's reading; its page was then made ahead), the ablation effects of the
page's examples (2,000 for 20 examples), a letter of a text of one's own. Bytes: of a page on the
wire, and of that many pages, beside the 7.1 MB that sae-dashboard 0.8.0 writes for 256 features
(measured once; it is not run here).
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

import neuroglass as ng
from neuroglass.views.feature_page import page_of
from tests.benchmarks.common import arguments, emit
from tests.browser import lab as labs
from tests.tools.prepare import find_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page

PEER = 7_100_000  # bytes of sae-dashboard 0.8.0's HTML for 256 features

CELLS = [
    """
import ipywidgets
import neuroglass as ng
store = ng.open_store("zoo/A-8x", ng.load("zoo/A"))
alive = store.to_frame().query("count > 200").index.tolist()
box, opener = ipywidgets.VBox(), ipywidgets.Button(description="open")
n = [0]
def show(_):
    n[0] += 1
    box.children = [ng.FeatureDashboard(store, alive[7 * n[0]])]
opener.on_click(show)
ipywidgets.VBox([opener, box])
"""
]
# presses, then waits for what is to be seen
TIMED = """
async ([press, seen, argument]) => {
  const began = performance.now();
  const before = new Function("x", press)(argument);
  const there = new Function("before", seen);
  while (!there(before)) {
    if (performance.now() - began > 60000) throw new Error("never seen: " + seen);
    await new Promise((r) => requestAnimationFrame(r));
  }
  await new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)));
  return performance.now() - began;
}
"""
OPEN = (
    """const old = document.querySelector(".ng-dashboard");
       document.querySelector(".jupyter-button").click(); return old;""",
    """const now = document.querySelector(".ng-dashboard");
       return now && now !== before && now.querySelector(".ng-ex");""",
)
NEXT = (
    """const field = document.querySelector('.ng-dashboard [aria-label="feature"]');
       document.querySelector('[aria-label="next feature"]').click(); return field.value;""",
    """return document.querySelector('.ng-dashboard [aria-label="feature"]').value !== before;""",
)
EFFECTS = (
    """[...document.querySelectorAll(".ng-dash-examples .ng-toggle")].at(-1).click();""",
    """return document.querySelectorAll('.ng-ex [class*="ng-helped"]').length > 0;""",
)
TYPED = (
    """const area = document.querySelector(".ng-dash-text textarea");
       area.value += x; area.dispatchEvent(new Event("input")); return area.value;""",
    """const tokens = document.querySelectorAll(".ng-dash-text .ng-tok");
       return [...tokens].map((t) => t.textContent).join("") === before;""",
)


def timed(page: Page, what: tuple[str, str], argument: str = "") -> float:
    taken: float = page.evaluate(TIMED, [*what, argument])
    return taken


def turned(page: Page) -> float:
    """The next feature, after half a second with this one."""
    page.wait_for_timeout(500)
    return timed(page, NEXT)


def told(what: str, taken: list[float], required: float | None = None, **more: Any) -> None:
    median = statistics.median(taken)
    limit = {} if required is None else {"required_ms": required, "holds": median < required}
    emit(
        what=what,
        median_ms=round(median),
        worst_ms=round(max(taken)),
        n=len(taken),
        **limit,
        **more,
    )


def in_lab(turns: int) -> None:
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        base = Path(scratch)
        (root := base / "notebooks").mkdir()
        (home := base / "home").mkdir()
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=labs.FLAGS, headless=True
        )
        with labs.serve("lab", root, home) as lab:
            page = browser.new_page(viewport={"width": 1280, "height": 1400})
            path = labs.write_notebook(root / "dashboard.ipynb", CELLS)
            labs.open_notebook(page, lab, path)
            labs.run_all(page)
            page.locator(".jupyter-button").first.wait_for()
            told("the first page of a kernel", [timed(page, OPEN)])
            told("open a page", [timed(page, OPEN) for _ in range(turns)], 300)
            told("next feature, pressed at once", [timed(page, NEXT) for _ in range(turns)])
            told("next feature", [turned(page) for _ in range(turns)], 150)
            letters = [timed(page, TYPED, c) for c in "In 1994, 12 of 45 rooms."]
            told("a letter of one's own text", letters)
            shown, taken = [], []
            for _ in range(5):
                timed(page, NEXT)
                shown.append(page.locator(".ng-ex").count())
                taken.append(timed(page, EFFECTS))
                page.evaluate(EFFECTS[0])
            per20 = [20 * t / n for t, n in zip(taken, shown, strict=True)]
            told("effects of all examples of a page", taken, examples=shown)
            told("effects, for 20 examples", per20, 2000)
            labs.close_notebook(page, lab)
        browser.close()


def main() -> None:
    given = arguments(features=256, turns=20)
    in_lab(given.turns)
    store = ng.open_store("zoo/A-8x", ng.load("zoo/A"))
    sizes = [
        len(json.dumps(page_of(store, i), separators=(",", ":")).encode())
        for i in range(given.features)
    ]
    emit(
        what="pages on the wire",
        features=len(sizes),
        mean_bytes=round(statistics.mean(sizes)),
        megabytes=round(sum(sizes) / 1e6, 2),
        of_peer=round(sum(sizes) / (PEER * len(sizes) / 256), 3),
    )


if __name__ == "__main__":
    main()
