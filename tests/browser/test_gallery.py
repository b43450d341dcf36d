"""The gallery: every view in every state, without errors and in its place; a picture of each."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.browser import lab as labs
from tests.gallery import page as galleries
from tests.gallery import readme
from tests.gallery.state import State, exported_views, missing, required

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

README = (labs.ROOT / "README.md").read_text("utf-8")
CHECKS = (labs.ROOT / "tests" / "browser" / "access.js").read_text("utf-8")


def test_every_exported_view_is_shown_in_every_state(all_states: list[State]) -> None:
    assert missing(all_states) == []
    names = [(state.of, state.name) for state in all_states]
    assert len(set(names)) == len(names)


def test_a_view_or_a_state_that_is_not_shown_is_missed(all_states: list[State]) -> None:
    assert {view.__name__ for view in exported_views()} >= {"TokenHeatmap", "LiveTokenHeatmap"}
    for view in exported_views():
        others = [state for state in all_states if state.of != view.__name__]
        assert missing(others) == sorted(f"{view.__name__}: {kind}" for kind in required(view))
        for kind in required(view):
            without = [s for s in all_states if not (s.of == view.__name__ and s.kind == kind)]
            assert missing(without) == [f"{view.__name__}: {kind}"]


def test_every_state_is_photographed_and_nothing_goes_wrong(
    gallery: tuple[Page, list[str]], states: list[State]
) -> None:
    page, wrong = gallery
    page.add_script_tag(content=CHECKS)
    outside: dict[str, list[str]] = {}
    for state in states:
        assert galleries.photograph(page, state).stat().st_size > 3_000
        roots = galleries.pair(page, state).locator(".ng")
        found = roots.evaluate_all("roots => roots.flatMap((root) => access.overflow(root))")
        if found:
            outside[f"{state.of}/{state.name}"] = found
    assert outside == {}
    assert wrong == []


def test_the_readmes_pictures_are_the_gallerys(all_states: list[State]) -> None:
    """A picture is taken again by ``make gallery`` when what it shows is declared anew."""
    shown = set(re.findall(r"!\[[^]]+\]\(notebooks/images/([^)]+)\.png\)", README))
    declared = {state.readme: state for state in all_states if state.readme}
    assert shown == set(declared) == {path.stem for path in readme.IMAGES.glob("*.png")}
    for name, state in declared.items():
        picture = readme.path_of(name).read_bytes()
        assert 10_000 < len(picture) <= 150_000
        assert readme.stamped(picture) == readme.declared(state), f"{name}: run `make gallery`"
        other = replace(state, title=f"{state.title}, changed")
        assert readme.stamped(picture) != readme.declared(other)
