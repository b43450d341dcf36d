"""``make gallery``: the pages, all pictures, and the README's among them anew."""

from __future__ import annotations

import shutil

from playwright.sync_api import Page, sync_playwright

import neuroglass as ng
from tests.browser.lab import FLAGS
from tests.gallery import page as gallery
from tests.gallery import readme
from tests.gallery.state import State
from tests.tools.prepare import find_chromium


def main() -> None:
    shutil.rmtree(gallery.OUT, ignore_errors=True)
    gallery.OUT.mkdir(parents=True)
    model = ng.load("smollm2")
    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        for group, states_of in gallery.GROUPS.items():
            states = list(states_of(model))
            path = gallery.path_of(group)
            path.write_text(gallery.build(states), encoding="utf-8")
            page = browser.new_page()
            seen = gallery.open_page(page, states, path)
            for state in states:
                print(gallery.photograph(page, state).relative_to(gallery.OUT))
                if state.readme:
                    _photograph_for_readme(page, state)
            wrong += seen
            page.close()
        browser.close()
    model.close()
    if wrong:
        raise SystemExit(f"The gallery raised errors: {wrong}")
    links = (f'<li><a href="{gallery.path_of(g).name}">{g}</a>' for g in gallery.GROUPS)
    index = gallery.OUT / "index.html"
    index.write_text(f"<!doctype html><title>gallery</title><ul>{''.join(links)}</ul>", "utf-8")
    print(index)


def _photograph_for_readme(page: Page, state: State) -> None:
    picture = gallery.pair(page, state).locator(f".light {gallery.OUTER}").screenshot()
    readme.path_of(state.readme).write_bytes(readme.stamp(picture, readme.declared(state)))


if __name__ == "__main__":
    main()
