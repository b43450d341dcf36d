"""The explanation lab on the zoo's dictionary, in JupyterLab: how fast it opens and follows edits.

    python -m tests.benchmarks.bench_lab [--edits 40]

Milliseconds from a press in the page to the picture (two animation frames after it is drawn), wall
time, kernel and page on the same machine: a letter typed into the explanation, until the simulated
halves and the scores are those of the new text (required below 300); the next feature; the first
explanation; a revision. The explanation has 20 patterns, and 50 windows of 64 tokens test it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.benchmarks.bench_dashboard import timed, told
from tests.benchmarks.common import arguments
from tests.browser import lab as labs
from tests.tools.prepare import find_chromium

CELLS = [
    """
import neuroglass as ng
store = ng.open_store("zoo/A-8x", ng.load("zoo/A"), annotations="notes")
index = int(store.search("0 1 2 3 4 5 6 7 8 9 10 11 12", limit=1).index[0])
view = ng.ExplanationLab(store, index)
view.explain("tokens")
view
"""
]
# the value of the first pattern is typed anew: every simulated value and score of it changes
EDIT = (
    r"""const area = document.querySelector('.ng-lab [aria-label="explanation"] textarea');
       area.value = area.value.replace(/  [\d.]+(?=\n)/, "  " + x);
       area.dispatchEvent(new Event("input"));
       return document.querySelector(".ng-lab").dataset.frameId;""",
    """const root = document.querySelector(".ng-lab");
       return Number(root.dataset.frameId) > Number(before) && root.dataset.status === "ready";""",
)
NEXT = (
    """document.querySelector('.ng-lab [aria-label="next feature"]').click();
       return document.querySelector(".ng-lab-name").textContent;""",
    """const root = document.querySelector(".ng-lab");
       return document.querySelector(".ng-lab-name").textContent !== before
         && root.dataset.status === "ready";""",
)
BACK = (NEXT[0].replace("next", "previous"), NEXT[1])


def press(name: str) -> tuple[str, str]:
    return (
        f"""[...document.querySelectorAll(".ng-lab button")]
              .find((one) => one.textContent === "{name}").click();
           return document.querySelectorAll(".ng-lab-history li").length;""",
        """return document.querySelectorAll(".ng-lab-history li").length > before;""",
    )


def main() -> None:
    given = arguments(edits=40)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        base = Path(scratch)
        (root := base / "notebooks").mkdir()
        (home := base / "home").mkdir()
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=labs.FLAGS, headless=True
        )
        with labs.serve("lab", root, home) as lab:
            page = browser.new_page(viewport={"width": 1280, "height": 1400})
            path = labs.write_notebook(root / "lab.ipynb", CELLS)
            labs.open_notebook(page, lab, path)
            labs.run_all(page)
            page.locator(".ng-lab .ng-ex").first.wait_for()
            tokens = page.locator(".ng-lab-windows .ng-tok").count()
            edits = [timed(page, EDIT, str(1 + k % 9)) for k in range(given.edits)]
            told("an edit of the explanation", edits, 300, tokens=tokens)
            features = [timed(page, what) for _ in range(5) for what in (NEXT, BACK)]
            told("another feature", features)
            told("explain", [timed(page, press("Explain")) for _ in range(5)])
            told("revise, the first of a store", [timed(page, press("Revise"))])
            told("revise", [timed(page, press("Revise")) for _ in range(3)])
            labs.close_notebook(page, lab)
        browser.close()


if __name__ == "__main__":
    main()
