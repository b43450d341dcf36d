"""A large heatmap measured in a page: first paint, recolouring, scrolling, beside plain spans.

Shared by the browser test and the benchmark. The page holds the state as a host would hand it over
(JSON parsed, buffers in place); the clock starts when the view is told to render.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import neuroglass as ng
from neuroglass.views.export import view_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

PREPARE = """
async () => {
  const {models, modules} = JSON.parse(document.getElementById('ng-page').textContent);
  const [{state, buffers, module}] = Object.values(models);
  for (const {path, data} of buffers) {
    const raw = Uint8Array.from(atob(data), c => c.charCodeAt(0));
    const last = path.length - 1;
    path.slice(0, last).reduce((at, key) => at[key], state)[path[last]] = new DataView(raw.buffer);
  }
  const url = URL.createObjectURL(new Blob([modules[module]], {type: 'text/javascript'}));
  const heard = new Map();
  const model = {
    get: name => state[name],
    set: (name, value) => {
      state[name] = value;
      for (const call of heard.get(`change:${name}`) ?? []) call();
    },
    save_changes() {}, send() {},
    on: (name, call) => heard.set(name, [...(heard.get(name) ?? []), call]),
    off() {},
  };
  window.ready = {model, entry: (await import(url)).default};
}
"""
# two frames: the first paints, the second begins when that is done
FRAMES = "await new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)));"
PAINT = f"""
async () => {{
  const {{model, entry}} = window.ready;
  const el = document.querySelector('[data-ng-widget]');
  const began = performance.now();
  entry.render({{model, el, signal: new AbortController().signal}});
  {FRAMES}
  return performance.now() - began;
}}
"""
RECOLOUR = f"""
async (row) => {{
  const began = performance.now();
  document.querySelectorAll('button.ng-row-label')[row].click();
  {FRAMES}
  return performance.now() - began;
}}
"""
# scrolls by `step` a frame; in each frame looks at the upper, middle and lower line of the strip
SCROLL = """
async ({step, n}) => {
  const strip = document.querySelector('.ng-tokens');
  const blocks = [...strip.querySelectorAll('.ng-block')];
  const frame = () => new Promise(r => requestAnimationFrame(r));
  const blank = [], taken = [];
  for (let i = 0; i < n; i++) {
    strip.scrollTop += step;
    const began = performance.now();
    await frame();
    const top = strip.scrollTop, bottom = top + strip.clientHeight;
    for (const block of blocks) {
      const [a, b] = [block.offsetTop, block.offsetTop + block.offsetHeight];
      if (b > top && a < bottom && block.childElementCount === 0) blank.push([i, a]);
    }
    taken.push(performance.now() - began);
  }
  return {blank, taken: taken.sort((a, b) => a - b), top: strip.scrollTop};
}
"""
PLAIN = f"""
async () => {{
  const {{model}} = window.ready;
  const {{pieces}} = model.get('frame').seqs[0];
  const {{data}} = model.get('frame').rows[0].values;
  const box = document.createElement('div');
  box.style = 'height:26em;overflow:auto;white-space:pre-wrap;font:14px/1.7 monospace';
  const colour = i => `background:rgb(255 160 60 / ${{data.getUint8(i) / 255}})`;
  let began = performance.now();
  for (const [i, piece] of pieces.entries()) {{
    const token = document.createElement('span');
    token.textContent = piece;
    token.style = colour(i);
    box.append(token);
  }}
  document.body.append(box);
  {FRAMES}
  const paint = performance.now() - began;
  began = performance.now();
  [...box.children].forEach((token, i) => {{ token.style = colour((i + 500) % pieces.length); }});
  {FRAMES}
  const recolour = performance.now() - began;
  box.remove();
  return {{paint, recolour}};
}}
"""


def large(tokens: int, rows: int) -> ng.TokenHeatmap:
    """Made-up text with line breaks, and rows that are zero for half of the tokens."""
    chance = np.random.default_rng(0)
    pieces = [f" w{i % 997}" + ("\n" if i % 37 == 0 else "") for i in range(tokens)]
    waves = [np.sin(np.arange(tokens) / (50 + 10 * k)) for k in range(rows)]
    values = np.stack(waves) * (chance.random((rows, tokens)) > 0.5)
    return ng.TokenHeatmap(pieces, values, labels=[f"row {k}" for k in range(rows)])


def wire(view: ng.TokenHeatmap) -> dict[str, float]:
    """Bytes that the frame takes, in all and of its values alone, per cell."""
    cells = sum(row["values"]["shape"][0] for row in view.frame["rows"])
    values = sum(len(row["values"]["data"]) for row in view.frame["rows"])
    state: dict[str, Any] = view.state["frame"]
    text = sum(len(piece.encode()) for seq in state["seqs"] for piece in seq["pieces"])
    return {"cells": cells, "values": values / cells, "text": text / cells}


def open_waiting(page: Page, path: Path, view: ng.TokenHeatmap) -> None:
    """Open a page that has all it needs and has not drawn yet."""
    whole = view_page(view)
    path.write_text(re.sub(r'<script type="module">.*</script>', "", whole, flags=re.DOTALL))
    page.goto(path.resolve().as_uri())
    page.evaluate(PREPARE)
