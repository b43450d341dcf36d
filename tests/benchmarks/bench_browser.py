"""A table of 100,000 features in JupyterLab: from click to drawn rows, filters, scrolling.

    python -m tests.benchmarks.bench_browser [--features 100000] [--rounds 7] [--folder FOLDER]

The store has random content (``bench_store.make``). Times are taken in the page, kernel and wire
included, from the click (or key) until the other rows have been painted; a filter's include the
250 ms that it waits for the next key. Baselines: the same orders by pandas in the kernel, with the
first 500 rows written as HTML, which is what a notebook without this view can show.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

import neuroglass as ng
from tests.benchmarks.bench_store import make
from tests.benchmarks.common import emit
from tests.browser import lab as labs
from tests.browser import table
from tests.tools.prepare import find_chromium

COLUMNS = ("kurtosis", "max", "density", "top token", "single token")
FILTERS = ((".ng-find-token", " the"), (".ng-find-token", " of"), (".ng-find-token", " and"))
SCROLLS = {
    "a turn of the wheel a frame": {"step": 100, "n": 200},
    "a flick": {"step": 1_000, "n": 200},
    "dragging the bar": {"step": 13_000, "n": 190},
}

IDLE = """
async () => {
  const taken = [];
  for (let i = 0; i < 60; i++) {
    const began = performance.now();
    await new Promise(r => requestAnimationFrame(r));
    taken.push(performance.now() - began);
  }
  return taken;
}
"""


def told(what: str, taken: list[float], **more: object) -> None:
    rest = sorted(taken)
    emit(
        what=what, median_ms=round(statistics.median(rest), 1), worst_ms=round(rest[-1], 1), **more
    )


def in_the_page(page: Page, rounds: int) -> None:
    root = page.locator(".ng-browser").first
    root.scroll_into_view_if_needed()
    taken: list[float] = []
    for _ in range(rounds):
        taken += [root.evaluate(table.SORT, column) for column in COLUMNS]
    told("sort: from click to drawn rows", taken)
    taken = []
    for _ in range(rounds):
        for selector, text in FILTERS:
            taken.append(root.evaluate(table.FILTER, [selector, text]))
    root.evaluate(table.FILTER, [FILTERS[0][0], ""])
    told("filter by a token: from key to drawn rows, 250 ms of waiting in it", taken)
    taken = []
    for _ in range(rounds):
        taken.append(root.evaluate(table.TO_END))
        root.evaluate("root => { root.querySelector('.ng-table').scrollTop = 0; }")
        root.evaluate(table.SORT, "max")  # what was read is let go
    told("to the last row, until it is there", taken)
    for what, how in SCROLLS.items():
        root.evaluate("root => { root.querySelector('.ng-table').scrollTop = 0; }")
        root.evaluate(table.SORT, "max")
        for often in ("first time", "again"):
            root.evaluate("root => { root.querySelector('.ng-table').scrollTop = 0; }")
            seen = root.evaluate(table.SCROLL, how)
            emit(
                what=f"scroll, {what}, {often}: {how['step']:,} px",
                frame_median_ms=round(statistics.median(seen["taken"]), 1),
                frame_p95_ms=round(seen["taken"][int(0.95 * len(seen["taken"]))], 1),
                blank_rows=f"{seen['blank'] / seen['rows']:.1%} of {seen['rows']:,}",
                rows_missing=seen["missing"],
            )
    idle = page.evaluate(IDLE)
    told("a frame in which nothing happens", idle)


def by_pandas(folder: Path, rounds: int) -> None:
    frame = ng.open_store(folder).to_frame()
    taken = []
    for i in range(rounds):
        for column in ("kurtosis", "max", "density"):
            began = time.perf_counter()
            found = frame.sort_values(column, ascending=bool(i % 2), kind="stable")
            found.head(500).to_html()
            taken.append((time.perf_counter() - began) * 1000)
    told("baseline, pandas: sort the frame, write 500 rows as HTML; nothing is drawn yet", taken)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--features", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    base = Path(tempfile.mkdtemp())
    folder = given.folder or base / "store"
    if not (folder / "meta.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        make(folder, ng.load(), given.features, 2, "", pairs=1)
    (root := base / "notebooks").mkdir()
    with labs.serve("lab", root, base / "home") as lab, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find_chromium(), args=labs.FLAGS)
        page = chromium.new_context(viewport={"width": 1400, "height": 1000}).new_page()
        path = root / "bench.ipynb"
        code = [
            f"import neuroglass as ng\nstore = ng.open_store({str(folder)!r})",
            "view = ng.FeatureBrowser(store, opens=False)\nview",
        ]
        labs.write_notebook(path, code)
        labs.open_notebook(page, lab, path)
        labs.run_all(page)
        page.locator('.ng-browser[data-status="ready"]').first.wait_for()
        in_the_page(page, given.rounds)
        labs.close_notebook(page, lab)
        chromium.close()
    by_pandas(folder, given.rounds)
    shutil.rmtree(base)


if __name__ == "__main__":
    main()
