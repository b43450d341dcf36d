"""How long a live heatmap takes from a keystroke to the picture, with and without a training.

Shared by the browser test and the benchmark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.browser import lab as labs

if TYPE_CHECKING:
    from playwright.sync_api import Page

SETUP = """
import neuroglass as ng
model = ng.load("smollm2")
w = ng.heatmap(model, "A turquoise boat on a grey sea", site="neurons.24", features=[659])
w
"""
# long enough never to end while it is watched
START = """
recipe = ng.TopK(n_latents=4608, k=32, tokens=50_000_000, batch=2048)
training = ng.train_sae(model, "resid_post.15", ng.zoo_texts("english_prose"), recipe, wait=False,
                        progress=False, block_tokens=16_384)
"""
# types each text and waits for its picture: milliseconds for each
TYPE = """
async (texts) => {
  const root = document.querySelector('.ng-heatmap');
  const box = root.querySelector('textarea.ng-text');
  const shown = () => [...root.querySelectorAll('.ng-row[data-row="0"] .ng-tok')]
    .map(t => t.textContent).join('');
  const taken = [];
  for (const text of texts) {
    const began = performance.now();
    box.value = text;
    box.dispatchEvent(new Event('input', {bubbles: true}));
    while (shown() !== text) {
      if (performance.now() - began > 10000) throw new Error('no picture of ' + text);
      await new Promise(r => requestAnimationFrame(r));
    }
    taken.push(performance.now() - began);
    await new Promise(r => setTimeout(r, 300));
  }
  return taken;
}
"""


def keystrokes(page: Page, label: str, n: int) -> list[float]:
    """Milliseconds from each of n edits of the text to its picture, debouncing included."""
    taken: list[float] = page.evaluate(
        TYPE, [f"{label}: a purple hat, {i} of them" for i in range(n)]
    )
    return taken


def start_training(page: Page) -> None:
    """Start a training on the widget's model, and see it train."""
    labs.kernel_eval(page, START, timeout=120.0)
    labs.wait_until("the training steps", lambda: steps(page) > 0, timeout=120.0)


def steps(page: Page) -> int:
    """Steps that the training has done."""
    return int(labs.kernel_json(page, "round(training.progress * recipe.steps)"))
