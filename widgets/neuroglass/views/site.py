"""A static site of many features: a folder of files that needs no server, no kernel, no network.

One page with the table of features and the page of the one that is selected, drawn by the same
bundles as the widgets; ``site.js`` plays the kernel. Pages of features lie in files of their own,
which are scripts: a browser loads those from a folder, where it would fetch nothing.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from neuroglass.features.browse import FeatureTable
from neuroglass.model.errors import InputError
from neuroglass.views.base import bundle
from neuroglass.views.browser import FeatureBrowser
from neuroglass.views.browser_columns import NUMBERS
from neuroglass.views.dashboard import FeatureDashboard
from neuroglass.views.export import Page
from neuroglass.views.feature_page import Pieces, number, page_of
from neuroglass.views.link import link
from neuroglass.views.remarking import remarks

if TYPE_CHECKING:
    from neuroglass.features.store import Store

CHUNK = 32  # pages of features in a file
_LISTED = 5  # promoted and suppressed tokens in the table
_TOKENS = 8  # tokens by which a feature can be found
_PROGRESS = 200  # features from which on a bar is shown

_STYLE = """<style>
body { max-width: 1280px; }
.site { display: grid; grid-template-columns: minmax(0, 1fr); gap: 16px; }
footer { margin-top: 16px; font-size: 13px; opacity: 0.8; }
/* what needs a store or a model is not offered */
.ng.ng-browser > .ng-by-prompt, .ng.ng-browser .ng-field:has(.ng-find-text),
.ng.ng-browser .ng-one-line > .ng-field, .ng.ng-browser .ng-ticked-bar > :not(span) {
  display: none;
}
</style>"""


def write_site(
    store: Store,
    path: str | Path,
    features: Iterable[Any] | None = None,
    *,
    title: str = "",
    progress: bool = True,
) -> Path:
    """See ``Store.to_site``."""
    folder = Path(path)
    chosen = list(range(len(store))) if features is None else [store.index(f) for f in features]
    chosen = list(dict.fromkeys(chosen))
    if not chosen:
        raise InputError("There are no features to write.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{str(folder)!r} is not empty.", "Choose a new folder.")
    (folder / "pages").mkdir(parents=True, exist_ok=True)
    starts = range(0, len(chosen), CHUNK)
    hidden = not progress or len(chosen) < _PROGRESS
    for k, a in enumerate(tqdm(starts, desc="pages", disable=hidden, unit=f"{CHUNK} pages")):
        words = Pieces(store)
        pages = [page_of(store, i, words) for i in chosen[a : a + CHUNK]]
        chunk = {"pages": pages, "pieces": words.pieces, "kinds": words.kinds}
        text = f"ngPages({k}, {_json(chunk)});\n"
        (folder / "pages" / f"{k}.js").write_text(text, encoding="utf-8")
    index = folder / "index.html"
    index.write_text(_index(store, chosen, title), encoding="utf-8")
    return index


def _index(store: Store, chosen: list[int], title: str) -> str:
    alone = type(store)(store.folder, store.meta)  # what needs the model is not offered
    alone.annotations = store.annotations
    whole = len(chosen) == len(store)
    browser = FeatureBrowser(alone, opens=False, subset=() if whole else chosen)
    dashboard = FeatureDashboard(store, chosen[0])
    dashboard.attached = False
    link(browser, dashboard, "feature", "theme")
    kernel = f"(() => {{ {bundle('site', 'js').read_text('utf-8')}; return ngSite.kernel(); }})()"
    page = Page(kernel.replace("</", "<\\/"))
    views = [page.add_view(view) for view in (browser, dashboard)]
    for taken in page.models.values():  # links among the views are passed on in the page
        taken["state"] |= {"site": True, "_offline": True, "subset": []}
    name = title or f"{store.name} of {store.meta['model']}"
    site = _json(_table(store, chosen)).replace("<", "\\u003c")
    meta = store.meta
    about = (
        f"{len(chosen):,} of {len(store):,} features of {store.name}, read at "
        f"{meta['basis']['read_site']} of {meta['model']} over {store.n_tokens:,} tokens."
    )
    body = (
        f"{_STYLE}<h1>{html.escape(name)}</h1>"
        f'<div class="site">{"".join(views)}</div><footer>{html.escape(about)}</footer>'
        f'<script type="application/json" id="ng-site">{site}</script>'
    )
    return page.render(name, body)


def _table(store: Store, chosen: list[int]) -> dict[str, Any]:
    """The columns of the table, as ``js/src/site/kernel.ts`` reads them."""
    rows = FeatureTable(store).rows(np.array(chosen), said=False)
    used = set(rows["top_token"][rows["top_token"] >= 0].tolist())
    ids: dict[str, Any] = {"top_token": rows["top_token"].tolist()}
    id_lists, lists = {}, {}
    for name in ("promoted", "suppressed"):
        if name in rows:
            id_lists[name] = [[int(i) for i in v[:_LISTED]] for v in rows[name]]
            lists[f"{name}_by"] = [[number(x, 4) for x in v[:_LISTED]] for v in rows[f"{name}_by"]]
            used |= {i for v in id_lists[name] for i in v}
    on = store.sql(
        "SELECT feature, token, count, rank FROM (SELECT *, row_number() OVER "
        "(PARTITION BY feature ORDER BY count DESC, token) AS rank FROM token_stats) "
        "WHERE rank <= ? ORDER BY feature, rank",
        _TOKENS,
    )
    counts, total = rows["count"].to_numpy(), store.vocabulary[2]
    where = {feature: row for row, feature in enumerate(chosen)}
    tokens: list[list[list[float | None]]] = [[] for _ in chosen]
    for feature, token, count in on[["feature", "token", "count"]].itertuples(index=False):
        row = where.get(int(feature))
        if row is not None and counts[row]:
            share, among = number(count / counts[row], 3), number(count / total[token], 3)
            tokens[row].append([int(token), share, among])
            used.add(int(token))
    pieces = dict(zip(map(str, sorted(used)), store.pieces(sorted(used)), strict=True))
    return {
        "features": chosen,
        "numbers": {n: [number(v, 5) for v in rows[n]] for n in NUMBERS if n in rows},
        "lists": lists,
        "ids": ids,
        "idLists": id_lists,
        "pieces": pieces,
        "tokens": tokens,
        "said": remarks(store, chosen),
        "chunk": CHUNK,
    }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
