"""A feature map of 100,000 points in a browser: first paint, panning, zooming, pointing, bytes.

    python -m tests.benchmarks.bench_map

Baselines, in the same page and run: the same points as circles of a canvas's own paths, and the
nearest point by looking at all of them. Chromium runs without a GPU here.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

import neuroglass as ng
from tests.browser import measure
from tests.browser.lab import FLAGS
from tests.gallery.feature_map import large
from tests.tools.prepare import find_chromium

# n steps of a hand, each followed by its frame: milliseconds for each, sorted
DRIVE = """
async ({what, n}) => {
  const plane = document.querySelector('.ng-plane');
  const box = plane.getBoundingClientRect();
  plane.setPointerCapture = () => {};
  const [mx, my] = [box.left + box.width / 2, box.top + box.height / 2];
  const pointer = (type, dx, dy) => plane.dispatchEvent(new PointerEvent(type,
    {bubbles: true, button: 0, pointerId: 1, clientX: mx + dx, clientY: my + dy}));
  const frame = () => new Promise(r => requestAnimationFrame(() => setTimeout(r)));
  const taken = [];
  if (what === 'pan') { pointer('pointerdown', 0, 0); pointer('pointermove', 9, 0); }
  else plane.focus();
  for (let i = 0; i < n; i++) {
    await frame();
    const began = performance.now();
    if (what === 'pan') pointer('pointermove', 60 * Math.sin(i / 5), 60 * Math.cos(i / 5));
    else plane.dispatchEvent(new WheelEvent('wheel', {deltaY: i % 20 < 10 ? -120 : 120,
      clientX: mx, clientY: my, cancelable: true, bubbles: true}));
    await frame();
    taken.push(performance.now() - began);
  }
  if (what === 'pan') pointer('pointerup', 0, 0);
  return taken.sort((a, b) => a - b);
}
"""
POINT = """
async (n) => {
  const plane = document.querySelector('.ng-plane');
  const box = plane.getBoundingClientRect();
  const taken = [];
  for (let i = 0; i < n; i++) {
    const at = {bubbles: true, clientX: box.left + box.width * (0.1 + 0.8 * ((i * 0.618) % 1)),
      clientY: box.top + box.height * (0.1 + 0.8 * ((i * 0.381) % 1))};
    const began = performance.now();
    plane.dispatchEvent(new PointerEvent('pointermove', at));
    taken.push(performance.now() - began);
  }
  return taken.sort((a, b) => a - b);
}
"""
PATHS = """
async () => {
  const {data} = window.ready.model.get('frame').xy;
  const xy = new Float32Array(data.buffer, data.byteOffset, data.byteLength / 4);
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [960, 520];
  document.body.append(canvas);
  const context = canvas.getContext('2d');
  const taken = [];
  for (let round = 0; round < 5; round++) {
    const began = performance.now();
    context.clearRect(0, 0, 960, 520);
    for (let i = 0; i < xy.length; i += 2) {
      context.fillStyle = i % 64 < 32 ? '#c2571a' : '#6d8fc4';
      context.beginPath();
      context.arc(480 + 30 * xy[i] + round, 260 - 30 * xy[i + 1], 1.1, 0, 7);
      context.fill();
    }
    context.getImageData(0, 0, 1, 1); // until it is drawn
    taken.push(performance.now() - began);
  }
  canvas.remove();
  const look = [];
  for (let k = 0; k < 50; k++) {
    const began = performance.now();
    let [best, least] = [-1, Infinity];
    for (let i = 0; i < xy.length; i += 2) {
      const away = (xy[i] - k / 10) ** 2 + (xy[i + 1] - 1) ** 2;
      if (away < least) [best, least] = [i, away];
    }
    look.push(performance.now() - began + (best < 0 ? 1e9 : 0));
  }
  return {paths: taken.sort((a, b) => a - b)[2], look: look.sort((a, b) => a - b)[25]};
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    seen: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        model = ng.load()
        store = ng.open_store("zoo/A-1x", model, annotations=folder)
        view = large(store, chosen.points)
        arrays = [view.frame["xy"], view.frame["top"], view.frame["promoted"]]
        arrays += [c["values"] for c in view.frame["columns"]]
        arrays += [c["codes"] for c in view.frame["categories"]]
        size = sum(len(a["data"]) for a in arrays) + sum(map(len, view.frame["pieces"]))
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        for _ in range(chosen.rounds):
            page = browser.new_page(viewport={"width": 1000, "height": 900})
            measure.open_waiting(page, Path(folder) / "map.html", view)
            plain = page.evaluate(PATHS)
            seen.setdefault("canvas paths, a frame", []).append(plain["paths"])
            seen.setdefault("nearest of all", []).append(plain["look"])
            seen.setdefault("first paint", []).append(page.evaluate(measure.PAINT))
            for what in ("pan", "zoom"):
                taken = page.evaluate(DRIVE, {"what": what, "n": 60})
                seen.setdefault(f"{what}, a frame", []).append(taken[30])
                seen.setdefault(f"{what}, a frame, p95", []).append(taken[57])
            taken = page.evaluate(POINT, 200)
            seen.setdefault("pointing, with its note", []).append(taken[100])
            seen.setdefault("pointing, p95", []).append(taken[190])
            page.close()
        browser.close()
        model.close()
    print(f"{chosen.points:,} points, {chosen.rounds} rounds, milliseconds")
    for name, values in seen.items():
        print(f"  {name:28} median {statistics.median(values):7.2f}  worst {max(values):7.2f}")
    ratio = statistics.median(seen["canvas paths, a frame"]) / statistics.median(
        seen["pan, a frame"]
    )
    print(f"  a frame while panning: {ratio:.1f} times as fast as canvas paths")
    print(f"  the frame: {size / 1e6:.2f} MB, {size / chosen.points:.1f} bytes a point")


if __name__ == "__main__":
    main()
