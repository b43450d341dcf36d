"""``make gallery``: the page, all pictures, and the README's among them anew."""

from __future__ import annotations

import shutil

from playwright.sync_api import sync_playwright

import neuroglass as ng
from tests.browser.lab import FLAGS
from tests.gallery import page as gallery
from tests.gallery import readme
from tests.tools.prepare import find_chromium


def main() -> None:
    shutil.rmtree(gallery.OUT, ignore_errors=True)
    gallery.OUT.mkdir(parents=True)
    index = gallery.OUT / "index.html"
    model = ng.load("smollm2")
    states = gallery.every_state(model)
    index.write_text(gallery.build(states), encoding="utf-8")
    model.close()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        page = browser.new_page()
        wrong = gallery.open_page(page, states, index)
        for state in states:
            print(gallery.photograph(page, state).relative_to(gallery.OUT))
            if state.readme:
                picture = gallery.pair(page, state).locator(f".light {gallery.OUTER}").screenshot()
                marked = readme.stamp(picture, readme.declared(state))
                readme.path_of(state.readme).write_bytes(marked)
        browser.close()
    if wrong:
        raise SystemExit(f"The gallery raised errors: {wrong}")
    print(index)


if __name__ == "__main__":
    main()
