"""From a keystroke to the picture in JupyterLab: alone, and while a dictionary trains on the model.

    python -m tests.benchmarks.bench_training_latency

SmolLM2 in fp32; TopK with 4,608 latents on the residual after layer 15, its vectors streamed from
the same model. Milliseconds; the floor is a median below 300 while it trains.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median, quantiles

from playwright.sync_api import sync_playwright

from tests.benchmarks.common import emit
from tests.browser import lab as labs
from tests.browser import latency
from tests.tools.prepare import find_chromium

N = 30


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        base = Path(scratch)
        (root := base / "notebooks").mkdir()
        (home := base / "home").mkdir()
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=labs.FLAGS, headless=True
        )
        with labs.serve("lab", root, home) as lab:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            path = labs.write_notebook(root / "latency.ipynb", [latency.SETUP])
            labs.open_notebook(page, lab, path)
            labs.run_all(page)
            page.wait_for_function(
                "() => document.querySelector('.ng-heatmap')?.dataset.status === 'ready'"
            )
            latency.keystrokes(page, "first", 3)
            row("alone", latency.keystrokes(page, "alone", N))
            latency.start_training(page)
            before = latency.steps(page)
            row("while it trains", latency.keystrokes(page, "while it trains", N))
            emit(what="steps meanwhile", n=latency.steps(page) - before)
            labs.kernel_eval(page, "training.stop()")
            labs.close_notebook(page, lab)
        browser.close()


def row(what: str, taken: list[float]) -> None:
    emit(
        what=what,
        median_ms=round(median(taken)),
        p90_ms=round(quantiles(taken, n=10)[-1]),
        worst_ms=round(max(taken)),
    )


if __name__ == "__main__":
    main()
