"""Every view in every state on one page, light and dark side by side, and a picture of the page.

    make gallery

Real views with a real model; where a state needs a kernel's behaviour (running, silent), a stand-in
in the page answers requests accordingly. Output: build/gallery/index.html and gallery.png.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

import neuroglass as ng
from neuroglass.model.errors import describe
from neuroglass.views.base import View
from neuroglass.views.export import Page
from tests.browser.hostile import HOSTILE
from tests.browser.lab import FLAGS
from tests.gallery_steer import steer_states
from tests.tools.prepare import find_chromium

OUT = Path(__file__).parents[1] / "build" / "gallery"

# "ready": answers; "running": acknowledges and never ends; "dead": says nothing
KERNEL = """(model, message) => {
  const how = model.state.gallery;
  if (how === "dead") return;
  const reply = (body) => setTimeout(() => {
    const content = { v: 1, view: message.view, id: message.id, ...body };
    for (const call of model.heard.get("msg:custom") ?? []) call(content, []);
  }, 10);
  reply({ seq: 0, done: false });
  if (how === "running" && message.kind === "run") return;
  const answers = {
    hello: { version: model.state._version },
    detail: { value: 5.254056, strongest: [[1360, 5.9], [659, 5.25], [266, 4.14], [408, -2.91]]
      .map(([feature, value]) => ({ feature, value })) },
  };
  if (answers[message.kind]) reply({ seq: 1, done: true, ...answers[message.kind] });
}"""

# a state in which somebody has just typed
TYPE = """() => {
  for (const root of document.querySelectorAll('[data-gallery=running] .ng-heatmap')) {
    const box = root.querySelector('textarea.ng-text');
    box.value += ' A purple';
    box.dispatchEvent(new Event('input', { bubbles: true }));
  }
}"""

State = tuple[str, View, dict[str, Any]]


def static_states(model: ng.LiveModel) -> Iterator[State]:
    words = ["The", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "."]
    tokens = [words[0], *(f" {w}" for w in words[1:])]
    n = len(tokens)
    ramp = np.linspace(0, 1, n)
    yield "positive values", ng.TokenHeatmap(tokens, ramp, title="static"), {}
    yield "signed values", ng.TokenHeatmap(tokens, ramp * 2 - 1, labels=["signed"]), {}
    holes = np.where(np.arange(n) % 3 == 1, np.nan, ramp)
    yield "missing values are hatched, never zero", ng.TokenHeatmap(tokens, holes), {}
    yield "all zero", ng.TokenHeatmap(tokens, ramp * 0), {}
    two = np.stack([ramp, ramp * 40 - 20])
    labels = ["one row", "another, forty times as strong"]
    yield "rows, one shared scale", ng.TokenHeatmap(tokens, two, labels=labels), {}
    yield "rows, a scale each", ng.TokenHeatmap(tokens, two, labels=labels, scale="row"), {}
    texts = [tokens[:4], tokens[4:], ["one"]]
    yield "several texts", ng.TokenHeatmap(texts, [ramp[:4], ramp[4:], [0.5]]), {}
    yield "a selected token", ng.TokenHeatmap(tokens, ramp, selected=(0, 3)), {}
    hostile = ng.TokenHeatmap(HOSTILE, np.linspace(-1, 1, 20), labels=["<b>hostile</b>"])
    yield "hostile tokens", hostile, {}
    code = "def f(x):\n\tif x > 0:\n\t\treturn  x\n\nprint( f(1) )\n"
    for title, text in (
        ("spaces, tabs, newlines", code),
        (
            "characters split over tokens, right to left, wide",
            "안녕하세요 שלום עולם 日本語 naïve 👩‍🔬 𝔘",
        ),
    ):
        run = model.run(text)
        pieces, _ = run.pieces()
        view = ng.TokenHeatmap(pieces, run.entropy[0], labels=["entropy (nats)"])
        yield title, view, {}
    long = [f" word{i % 97}" for i in range(5000)]
    yield "5,000 tokens", ng.TokenHeatmap(long, np.sin(np.arange(5000) / 40)), {}
    cut = ng.TokenHeatmap(tokens, ramp)
    cut.frame = {**cut.frame, "notice": "The first 10 of 3,120 tokens are shown."}
    yield "something is left out", cut, {}
    yield "narrow, 320 px", ng.TokenHeatmap(tokens, two, labels=labels, scale="row"), {"px": 320}


def live_states(model: ng.LiveModel) -> Iterator[State]:
    text = "She painted the old boat turquoise and sailed across the grey sea to Norway."

    def live(text: str = text, **changes: Any) -> ng.LiveTokenHeatmap:
        return ng.heatmap(model, text, site="neurons.24", features=[659], **changes)

    yield "live", live(), {}
    yield (
        "live, three rows, a token selected",
        ng.heatmap(model, text, site="neurons.20", selected=(1, 5)),
        {},
    )
    yield (
        "live, massive activation out of scale",
        ng.heatmap(model, text, site="resid_post.15", features=[3]),
        {},
    )
    yield "running", live(), {"gallery": "running"}
    yield "kernel silent", live(), {"gallery": "dead"}
    yield (
        "an error over the last picture",
        live(),
        {
            "error": describe(
                ng.InputError(
                    "The text has 9001 tokens; SmolLM2-135M-Instruct reads at most 8192.",
                    "Shorten it by 809 tokens or more.",
                )
            )
        },
    )
    yield "no text yet", live(""), {}
    yield "a bundle of another version", live(), {"_version": "0.0.9"}
    yield "live, narrow, 320 px", live(selected=(0, 5)), {"px": 320}


def build(model: ng.LiveModel) -> str:
    page = Page(KERNEL)
    cells = []
    for title, view, changes in [*live_states(model), *static_states(model), *steer_states(model)]:
        state = {"gallery": "ready", **changes}
        width = state.pop("px", None)
        style = f' style="width:{width}px"' if width else ""
        both = "".join(
            f'<div class="half {theme}" data-gallery="{state["gallery"]}">'
            f"<div{style}>{page.add_view(view, **state, theme=theme)}</div></div>"
            for theme in ("light", "dark")
        )
        cells.append(f"<h3>{html.escape(title)}</h3><div class='pair'>{both}</div>")
    layout = (
        "<style>body{max-width:1500px}.pair{display:grid;grid-template-columns:1fr 1fr;gap:0}"
        ".half{padding:14px;min-width:0}.light{background:#fff}.dark{background:#111}</style>"
    )
    return page.render("neuroglass gallery", layout + "".join(cells))


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    index = OUT / "index.html"
    model = ng.load("smollm2")
    index.write_text(build(model), encoding="utf-8")
    model.close()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(index.as_uri())
        page.locator(".ng-heatmap").last.wait_for()
        page.evaluate(TYPE)
        page.wait_for_timeout(5000)  # a silent kernel is called silent after 4 s
        page.screenshot(path=OUT / "gallery.png", full_page=True)
        browser.close()
    if wrong:
        raise SystemExit(f"The gallery raised errors: {wrong}")
    print(index)


if __name__ == "__main__":
    main()
