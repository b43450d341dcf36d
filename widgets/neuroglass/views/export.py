"""Export: widgets as HTML files that need no kernel and no network.

A view, or an executed notebook with widgets in it, flows in; one HTML file flows out. The page
carries the same bundle as the live widget, the state as JSON, and a small stand-in for the model
that anywidget gives to ``render``: there is no second way of drawing.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroglass.model.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from neuroglass.views.base import View

_REF = "anywidget:"
_PLOTLY = "application/vnd.plotly.v1+json"
_WIDGET = "application/vnd.jupyter.widget-view+json"
_STATE = "application/vnd.jupyter.widget-state+json"

# mounts every <div data-ng-widget="id">: state and modules are in JSON script elements, buffers in
# base64 at their paths; each module is imported once, from a blob, so that file:// works. The host
# gives a view what anywidget's does: the widgets that its state names, by "anywidget:id"
_MOUNT = """
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const { models, modules } = read("ng-page");
const bytes = (text) => {
  const raw = atob(text);
  return new DataView(Uint8Array.from(raw, (c) => c.charCodeAt(0)).buffer);
};
const put = (state, path, value) => {
  const last = path.length - 1;
  path.slice(0, last).reduce((at, key) => at[key], state)[path[last]] = value;
};
class Model {
  constructor(state) { this.state = state; this.heard = new Map(); }
  send(message) { kernel(this, message); }
  get(name) { return this.state[name]; }
  set(name, value) {
    this.state[name] = value;
    for (const call of [...(this.heard.get(`change:${name}`) ?? [])]) call();
  }
  save_changes() {}
  on(name, call) {
    if (!this.heard.has(name)) this.heard.set(name, new Set());
    this.heard.get(name).add(call);
  }
  off(name, call) {
    if (call) this.heard.get(name)?.delete(call); else this.heard.delete(name);
  }
}
const loaded = new Map();
const load = (key) => {
  if (!loaded.has(key)) {
    const url = URL.createObjectURL(new Blob([modules[key]], { type: "text/javascript" }));
    loaded.set(key, import(url));
  }
  return loaded.get(key);
};
const { signal } = new AbortController();
const open = async (key) => {
  if (!models[key]) throw new Error(`There is no widget ${key} in this page.`);
  const { state, buffers, module } = models[key];
  for (const { path, data } of buffers) put(state, path, bytes(data));
  const made = (await load(module)).default;
  const widget = typeof made === "function" ? await made() : made;
  const model = new Model(state);
  const exports = await widget.initialize?.({ model, signal });
  return { model, widget, exports };
};
const opened = new Map();
const find = (ref) => {
  const key = ref.replace(/^anywidget:/, "");
  if (!opened.has(key)) opened.set(key, open(key));
  return opened.get(key);
};
const host = {
  getModel: async (ref) => (await find(ref)).model,
  getWidget: async (ref) => {
    const { model, widget, exports } = await find(ref);
    const render = async (into) => { await widget.render?.({ model, signal, host, ...into }); };
    return { exports, render };
  },
};
for (const el of document.querySelectorAll("[data-ng-widget]")) {
  try {
    await (await host.getWidget(el.dataset.ngWidget)).render({ el });
  } catch (error) {
    el.textContent = `This widget could not be drawn: ${error.message}`;
  }
}
"""

_PAGE_STYLE = """
:root { color-scheme: light dark; }
body { margin: 0 auto; max-width: 1000px; padding: 24px 16px;
  font: 15px/1.6 system-ui, sans-serif; background: #fff; color: #1b1b1b; }
pre { overflow: auto; white-space: pre-wrap; font: 13px/1.5 ui-monospace, monospace; margin: 0; }
.cell { margin: 14px 0; }
.row { display: flex; flex-wrap: wrap; gap: 8px; align-items: flex-start; }
.row > * { flex: 1 1 min(100%, 24em); min-width: 0; }
.column > * { margin: 0 0 8px; }
.tab-title { font-weight: 600; margin: 8px 0 4px; }
.code { background: #f4f5f7; border: 1px solid #dfe2e6; border-radius: 4px; padding: 8px 12px; }
.out { padding: 6px 0 0 2px; overflow: auto; }
.err { color: #a40000; }
.anchor-link { display: none; }
.text { overflow: auto; }
:is(.out, .text) table { border-collapse: collapse; border: 0; font-size: 13px; }
:is(.out, .text) table :is(td, th) { padding: 2px 10px; text-align: right; border: 0;
  border-bottom: 1px solid #dfe2e6; }
.text table :is(td, th) { text-align: left; }
@media (prefers-color-scheme: dark) {
  body { background: #111418; color: #e6e6e6; }
  .code { background: #1a1f26; border-color: #2c333d; }
  :is(.out, .text) table :is(td, th) { border-color: #2c333d; }
  .err { color: #ff9a9a; }
}
"""


# what a page does with a request: nothing answers, there is no kernel behind it
_NO_KERNEL = "(model, message) => {}"


class Page:
    """Collects widgets; each bundle and style sheet is carried once.

    Args:
        kernel: JavaScript ``(model, message) => …`` that takes the widgets' requests. The gallery
            puts a stand-in here to show live states; an export leaves it alone.
    """

    def __init__(self, kernel: str = _NO_KERNEL) -> None:
        self.kernel = kernel
        self.models: dict[str, Any] = {}
        self.modules: dict[str, str] = {}
        self.styles: dict[str, str] = {}
        self.draws_figures = False

    def add(self, key: str, state: Mapping[str, Any], buffers: list[dict[str, Any]]) -> str:
        """Take a widget's state; returns the element that it mounts on."""
        own = {k: v for k, v in state.items() if k not in {"_esm", "_css", "layout"}}
        if self.kernel == _NO_KERNEL:
            own |= {"live": False, "_offline": True}
        module = str(state.get("_anywidget_id", key))
        self.modules[module] = state["_esm"]
        self.styles[module] = state.get("_css", "")
        self.models[key] = {"state": own, "buffers": buffers, "module": module}
        return _element(key)

    def add_view(self, view: View, **changes: Any) -> str:
        """Take a view and those in it, with some of their state changed; as ``add``."""
        return _element(self._take(view, changes))

    def _take(self, view: View, changes: Mapping[str, Any]) -> str:
        key: str = view.model_id
        if changes:  # it may be on the page in several states
            key = f"{key}-{len(self.models)}"
        elif key in self.models:
            return key
        buffers: list[dict[str, Any]] = []
        state = _without_buffers(view.get_state() | changes, [], buffers)
        self.add(key, state, buffers)
        taken = {_REF + v.model_id: self._take(v, changes) for v in view.hosted()}
        names = {name: _REF + made for name, made in taken.items()}
        for one in (key, *taken.values()):
            self.models[one]["state"] = _renamed(self.models[one]["state"], names)
        return key

    def render(self, title: str, body: str) -> str:
        """The whole page."""
        data = json.dumps({"models": self.models, "modules": self.modules}, allow_nan=False)
        # inside a script element only "</" and "<!--" can end or change the text
        data = data.replace("<", "\\u003c")
        styles = "\n".join(self.styles.values()).replace("</", "<\\/")
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width">'
            f"<title>{html.escape(title)}</title>"
            f"<style>{_PAGE_STYLE}{styles}</style></head><body>{body}"
            f'<script type="application/json" id="ng-page">{data}</script>'
            f'<script type="module">const kernel = {self.kernel};{_MOUNT}</script></body></html>'
        )


def view_page(*views: View, title: str = "neuroglass") -> str:
    """The HTML of a page with these views, beside each other where there is room."""
    page = Page()
    body = "".join(page.add_view(view) for view in views)
    return page.render(title, f'<div class="row">{body}</div>')


def save_html(path: str | Path, *views: View, title: str = "neuroglass") -> Path:
    """Write views as one self-contained HTML file; those that are linked stay linked in it.

    Args:
        path: the file to write.
        *views: they stand beside each other where there is room.
        title: of the page.

    Returns:
        The path written.

    Raises:
        InputError: there are no views.
    """
    if not views:
        raise InputError("There is no view to write.", "ng.save_html(path, view, …)")
    target = Path(path)
    target.write_text(view_page(*views, title=title), encoding="utf-8")
    return target


def _element(key: str) -> str:
    return f'<div data-ng-widget="{html.escape(key)}"></div>'


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Plain data with the references in it renamed."""
    if not names:
        return value
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, Mapping):
        return {k: _renamed(v, names) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(v, names) for v in value]
    return value


def _without_buffers(value: Any, path: list[Any], found: list[dict[str, Any]]) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        found.append({"path": path, "data": base64.b64encode(value).decode()})
        return None
    if isinstance(value, Mapping):
        return {k: _without_buffers(v, [*path, k], found) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_buffers(v, [*path, i], found) for i, v in enumerate(value)]
    return value


def export_notebook(notebook: str | Path, out: str | Path | None = None) -> Path:
    """Write an executed notebook as one self-contained HTML file with its widgets in it.

    Args:
        notebook: an ``.ipynb`` that was executed (its widget state is in its metadata).
        out: the file to write; by default beside the notebook.

    Returns:
        The path written.

    Raises:
        InputError: no such file, or not a notebook.
        MissingExtraError: needs the extra ``export``.
    """
    try:
        import nbformat
        from nbconvert.filters import highlight, markdown
        from nbconvert.preprocessors import CoalesceStreamsPreprocessor
    except ImportError as error:
        raise MissingExtraError(
            "Exporting a notebook needs nbconvert.", "pip install 'neuroglass[export]'"
        ) from error
    source = Path(notebook)
    if not source.is_file():
        raise InputError(f"There is no notebook {str(notebook)!r}.")
    try:
        book = nbformat.read(source, as_version=4)
    except Exception as error:
        raise InputError(f"{source.name} is not a notebook: {error}") from error
    states = book.metadata.get("widgets", {}).get(_STATE, {}).get("state", {})
    # text that was printed piece by piece is one text
    book, _ = CoalesceStreamsPreprocessor().preprocess(book, {})
    page = Page()
    to_code = highlight.Highlight2HTML(pygments_lexer="ipython3")
    body = []
    for cell in book.cells:
        if cell.cell_type == "markdown":
            body.append(f'<div class="cell text">{markdown.markdown2html(cell.source)}</div>')
        elif cell.cell_type == "code":
            outputs = "".join(_output(o, states, page) for o in cell.outputs)
            body.append(
                f'<div class="cell"><div class="code">{to_code(cell.source)}</div>'
                f'<div class="out">{outputs}</div></div>'
            )
    target = Path(out) if out is not None else source.with_suffix(".html")
    page.styles["pygments"] = _code_style()
    target.write_text(page.render(source.stem, "".join(body)), encoding="utf-8")
    return target


def _output(output: Any, states: Mapping[str, Any], page: Page) -> str:
    if output.output_type == "stream":
        return f"<pre>{html.escape(output.text)}</pre>"
    if output.output_type == "error":
        return f'<pre class="err">{html.escape(f"{output.ename}: {output.evalue}")}</pre>'
    data = output.data
    if _WIDGET in data and (drawn := _widget(data[_WIDGET]["model_id"], states, page)):
        return drawn
    if _PLOTLY in data:
        return _figure(data[_PLOTLY], page)
    if "text/html" in data:
        return str(data["text/html"])
    if "image/png" in data:
        return f'<img alt="output" src="data:image/png;base64,{data["image/png"]}">'
    return f"<pre>{html.escape(data.get('text/plain', ''))}</pre>"


def _figure(figure: Mapping[str, Any], page: Page) -> str:
    """A plotly figure; the first on a page brings plotly.js along (5 MB)."""
    from plotly.io import to_html

    first, page.draws_figures = not page.draws_figures, True
    shown = {name: figure[name] for name in ("data", "layout") if name in figure}
    made = to_html(shown, full_html=False, include_plotlyjs=first, default_height="400px")
    return str(made)


def _widget(key: str, states: Mapping[str, Any], page: Page) -> str:
    """A saved widget's element; of a box, its children's; empty for what can't be drawn."""
    saved = states.get(key)
    if not saved:
        return ""
    state = saved["state"]
    if "_esm" in state:
        if key not in page.models:
            buffers = [{"path": b["path"], "data": b["data"]} for b in saved.get("buffers", [])]
            page.add(key, state, buffers)
            for name in state.get("views", []):  # those that it hosts
                _widget(name.removeprefix(_REF), states, page)
        return _element(key)
    if "outputs" in state:  # of `interact`
        return "".join(_output(o, states, page) for o in state["outputs"])
    names = state.get("children", [])
    children = [_widget(c.removeprefix("IPY_MODEL_"), states, page) for c in names]
    return _box(state, children)


def _box(state: Mapping[str, Any], children: Sequence[str]) -> str:
    """An ipywidgets box as plain layout; all tabs are open, each under its title.

    What has no picture (a slider, say, which would need a kernel to do anything) is left out.
    """
    kind = state.get("_model_name", "")
    titles = state.get("titles") or []
    parts = []
    for i, child in enumerate(children):
        title = html.escape(titles[i]) if i < len(titles) else ""
        head = f'<div class="tab-title">{title}</div>' if title else ""
        parts += [f"<div>{head}{child}</div>"] if child else []
    layout = "row" if kind in {"HBoxModel", "BoxModel"} else "column"
    return f'<div class="{layout}">{"".join(parts)}</div>' if parts else ""


def _code_style() -> str:
    from pygments.formatters import HtmlFormatter

    light = HtmlFormatter(style="default").get_style_defs(".code")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".code")
    plain = ".code, .code .highlight { background: transparent; }"
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n.highlight {plain}"
