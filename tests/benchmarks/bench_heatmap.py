"""A heatmap of 100,000 tokens and 30 rows in a browser: first paint, recolouring, scrolling.

    python -m tests.benchmarks.bench_heatmap

Baseline, in the same page and run: one row of the same text as plain spans with a colour each.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser import measure
from tests.browser.lab import FLAGS
from tests.tools.prepare import find_chromium


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    view = measure.large(chosen.tokens, chosen.rows)
    wire = measure.wire(view)
    seen: dict[str, list[float]] = {}
    blank = 0
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        for _ in range(chosen.rounds):
            page = browser.new_page(viewport={"width": 1000, "height": 900})
            measure.open_waiting(page, Path(folder) / "large.html", view)
            plain = page.evaluate(measure.PLAIN)
            seen.setdefault("plain spans: first paint", []).append(plain["paint"])
            seen.setdefault("plain spans: recolour", []).append(plain["recolour"])
            seen.setdefault("first paint", []).append(page.evaluate(measure.PAINT))
            for row in (3, 7, 1):
                seen.setdefault("recolour", []).append(page.evaluate(measure.RECOLOUR, row))
            scrolled = page.evaluate(measure.SCROLL, {"step": 1500, "n": 100})
            blank += len(scrolled["blank"])
            seen.setdefault("scroll frame, median", []).append(scrolled["taken"][50])
            seen.setdefault("scroll frame, p95", []).append(scrolled["taken"][95])
            page.close()
        browser.close()
    print(f"{chosen.tokens:,} tokens x {chosen.rows} rows, {chosen.rounds} rounds, milliseconds")
    for name, taken in seen.items():
        print(f"  {name:28} median {statistics.median(taken):7.0f}  worst {max(taken):7.0f}")
    for name in ("first paint", "recolour"):
        ratio = statistics.median(seen[f"plain spans: {name}"]) / statistics.median(seen[name])
        print(f"  {name}: {ratio:.1f} times as fast as one row of plain spans")
    print(f"  blank blocks seen while scrolling 1,500 px a frame: {blank}")
    print(
        f"  on the wire, bytes per cell: values {wire['values']:.2f}, text {wire['text']:.2f}"
        f" ({wire['cells']:,.0f} cells)"
    )


if __name__ == "__main__":
    main()
