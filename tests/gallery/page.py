"""The gallery's pages, and pictures of what is on them.

States flow in; an HTML page flows out, and from a browser that has it open, a PNG for each state
in both themes.
"""

from __future__ import annotations

import html
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator
from playwright.sync_api import Page as BrowserPage

import neuroglass as ng
from neuroglass.views.base import View
from neuroglass.views.export import Page
from tests.gallery import (
    beside,
    blind_rating,
    browser,
    dashboard,
    feature_map,
    head_dashboard,
    heatmap,
    lab,
    logit_lens,
    steer,
)
from tests.gallery.state import State

OUT = Path(__file__).parents[2] / "build" / "gallery"
THEMES = ("light", "dark")
OUTER = "[data-ng-widget] > .ng"  # a view that others may stand in
WIDTH, HEIGHT = 1800, 1000  # of the window: two views of a cell's usual width side by side

_REFUSED = {
    "type": "InputError",
    "message": "The text has 9001 tokens; SmolLM2-135M-Instruct reads at most 8192.",
    "hint": "Shorten it by 809 tokens or more.",
}
# the kernel behind the page; what it answers was answered by the view when the page was made
KERNEL = (
    """(model, message) => {
  const { kernel, answers } = model.state.gallery;
  if (kernel === "gone") throw new Error("Comm is closed");
  const tell = (body, after = 10) => setTimeout(() => {
    const content = { v: 1, view: message.view, id: message.id, ...body };
    for (const call of model.heard.get("msg:custom") ?? []) call(content, []);
  }, after);
  if (kernel === "waiting") {
    // acknowledged just before the view would give up; then the host asks it to look again
    tell({ seq: 0, done: false }, 3500);
    setTimeout(() => model.heard.get("comm_live_update")?.forEach((call) => call()), 3520);
    return;
  }
  tell({ seq: 0, done: false });
  if (message.kind === "run" && kernel === "running") return;
  if (message.kind === "run" && kernel === "failing") {
    tell({ seq: 1, done: true, error: """
    + json.dumps(_REFUSED)
    + """ });
    return;
  }
  if (message.kind === "hello") tell({ seq: 1, done: true, version: model.state._version });
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const fits = ({ ask }) => Object.keys(ask).every((name) => same(message[name], ask[name]));
  for (const said of answers.find(fits)?.said ?? []) tell(said);
}"""
)

_LAYOUT = """<style>
body { max-width: none; padding: 16px; background: #fff; color: #1b1b1b; }
.pair { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); }
.pair[hidden] { display: none; }
.half { padding: 14px; min-width: 0; }
.light { background: #fff; } .dark { background: #111; }
@media (max-width: 1000px) {
  body { padding: 0; } .half { padding: 0; } .pair { grid-template-columns: minmax(0, 1fr); }
  .cell { max-width: 100%; }
}
</style>"""


# a page each; a view's file joins here
GROUPS: dict[str, Callable[[ng.LiveModel], Iterable[State]]] = {
    "live_heatmap": heatmap.live_states,
    "heatmap": heatmap.static_states,
    "logit_lens": logit_lens.states,
    "beside": beside.states,
    "steer": steer.states,
    "browser": lambda _: browser.states(),
    "dashboard": lambda _: dashboard.states(),
    "blind_rating": lambda _: blind_rating.states(),
    "feature_map": lambda _: feature_map.states(),
    "head_dashboard": lambda _: head_dashboard.states(),
    "lab": lambda _: lab.states(),
}


def path_of(group: str) -> Path:
    return OUT / f"{group}.html"


def build(states: Sequence[State]) -> str:
    """The page's HTML. Live views are asked, so their model must still be there."""
    page = Page(KERNEL)
    body = [_LAYOUT]
    for view, group in groupby(states, key=lambda state: state.of):
        body.append(f"<h2>{view}</h2>")
        body += [_pair(state, page) for state in group]
    return page.render("neuroglass gallery", "".join(body))


def _pair(state: State, page: Page) -> str:
    gallery = {"kernel": state.kernel, "answers": _answers(state)}
    size = f"width:{state.width}px;" if state.width else ""
    size += f"padding-bottom:{state.room}px" if state.room else ""
    halves = "".join(
        f'<div class="half {theme}">'
        f'<div class="cell" style="{size}">'
        f"{page.add_view(state.view, **state.changes, theme=theme, gallery=gallery)}</div></div>"
        for theme in THEMES
    )
    both = f'<div class="pair" data-state="{state.of}/{state.name}">{halves}</div>'
    kind = "" if state.kind == "another" else f"{state.kind}: "
    return f"<h3>{html.escape(kind + state.title)}</h3>{both}"


def _answers(state: State) -> list[dict[str, Any]]:
    """What the view says to the requests that its page will make."""
    both = [(ask, False) for ask in state.asks] + [(ask, True) for ask in state.refused]
    return [{"ask": ask, "said": _said(state.view, ask, refused)} for ask, refused in both]


def _said(view: View, ask: dict[str, Any], refused: bool) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    send, view.send = view.send, lambda content, *_: said.append(content)
    try:
        view._on_message(view, {"v": 1, "view": "gallery", "id": 1, **ask}, [])
        deadline = time.monotonic() + 60
        while not said[-1]["done"]:
            assert time.monotonic() < deadline, f"{type(view).__name__} does not answer {ask}"
            time.sleep(0.01)
    finally:
        view.send = send
    assert (said[-1].get("error") is not None) == refused, said[-1]
    whole = [one for one in said if one["seq"] or one["done"]]  # without the acknowledgement
    return [{k: v for k, v in one.items() if k not in {"v", "view", "id"}} for one in whole]


# --- in a browser


def open_page(page: BrowserPage, states: Sequence[State], path: Path) -> list[str]:
    """Show the gallery with every state as it should be; what goes wrong is added to the list."""
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda said: wrong.append(said.text) if said.type in {"error", "warning"} else None,
    )
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    page.goto(path.as_uri())
    for state in states:
        prepare(page, state)
    return wrong


def pair(page: BrowserPage, state: State) -> Locator:
    """The state in both themes."""
    return page.locator(f'[data-state="{state.of}/{state.name}"]')


def prepare(page: BrowserPage, state: State) -> Locator:
    """The same, once it is what it should be."""
    both = pair(page, state)
    for root in both.locator(OUTER).all():
        if state.act:
            root.evaluate(state.act)
    for theme in THEMES:
        both.locator(f'.{theme} {OUTER}[data-status="{state.status}"]').wait_for()
    return both


@contextmanager
def alone(page: BrowserPage, state: State) -> Iterator[Locator]:
    """The state in both themes with all others out of the page, where a key is answered faster."""
    hide = """([only, hidden]) => {
      for (const pair of document.querySelectorAll("[data-state]"))
        pair.hidden = hidden && pair.dataset.state !== only;
    }"""
    name = f"{state.of}/{state.name}"
    page.evaluate(hide, [name, True])
    try:
        yield pair(page, state)
    finally:
        page.evaluate(hide, [name, False])


# notes that hang over the edge of one state would stand in the next one's picture
_CALM = """() => {
  for (const tip of document.querySelectorAll(".ng-tip:popover-open"))
    tip.parentElement.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
}"""


def photograph(page: BrowserPage, state: State) -> Path:
    """One picture: light on the left, dark on the right."""
    path = OUT / state.of / f"{state.name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    page.evaluate(_CALM)
    both = pair(page, state)
    box = both.bounding_box()
    assert box is not None
    # whole: what stands outside the window is not always drawn
    page.set_viewport_size({"width": WIDTH, "height": max(HEIGHT, math.ceil(box["height"]) + 2)})
    both.scroll_into_view_if_needed()  # before a tooltip finds its place
    prepare(page, state).screenshot(path=path)
    return path
