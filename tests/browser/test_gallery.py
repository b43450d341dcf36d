"""The gallery: every view in every state, without errors and in its place; a picture of each.

And access over all of it: contrast, keyboard, names, forced colours, zoom. The checks are in
access.js, and axe-core's beside them; a new view gets them by its gallery. One file, so that the
states are made and the pages opened once.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser import lab as labs
from tests.gallery import page as galleries
from tests.gallery import readme
from tests.gallery.state import State, exported_views, missing, required

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import ElementHandle, Locator, Page

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

README = (labs.ROOT / "README.md").read_text("utf-8")
AXE = labs.ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"
CHECKS = labs.ROOT / "tests" / "browser" / "access.js"
# axe's rules for WCAG 2 A and AA, but for these
OFF = {
    # ours blends backgrounds and opacities too, and looks at every step of the palette
    "color-contrast": "*",
    # rows of tokens are one tab stop together: the arrow keys go from row to row, and scroll them
    "scrollable-region-focusable": ".ng-tokens",
}
AREAS = "[role=listbox][tabindex='0']:has(.ng-tok), [role=grid][tabindex='0']"
WITHOUT_TOKENS = {"blind_rating", "feature_map"}  # pages where no token is gone to by keys


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


@pytest.fixture
def page(gallery: tuple[Page, list[str]]) -> Iterator[Page]:
    """The gallery with the checks in it; afterwards it is as it was, and without errors."""
    shown, wrong = gallery
    if not shown.evaluate("() => 'access' in window"):
        shown.add_script_tag(content=AXE.read_text("utf-8"))
        shown.add_script_tag(content=CHECKS.read_text("utf-8"))
    yield shown
    shown.emulate_media(forced_colors="none", reduced_motion="no-preference")
    shown.set_viewport_size({"width": galleries.WIDTH, "height": galleries.HEIGHT})
    assert wrong == []


def complaints(page: Page, states: list[State], check: str) -> dict[str, list[str]]:
    """What `check`, JavaScript over a view's root, has to say of each state."""
    said: dict[str, list[str]] = {}
    for state in states:
        for theme in galleries.THEMES:
            root = galleries.pair(page, state).locator(f".{theme} {galleries.OUTER}").first
            if found := root.evaluate(check):
                said[f"{state.of}/{state.name} {theme}"] = found
    return said


def test_text_tokens_and_fields_have_contrast(page: Page, states: list[State]) -> None:
    assert complaints(page, states, "access.contrast") == {}


def test_the_contrast_check_sees_what_is_too_weak(page: Page, states: list[State]) -> None:
    root = galleries.pair(page, states[0]).locator(f".light {galleries.OUTER}")
    weak = "(root, opacity) => { root.style.opacity = opacity; return access.contrast(root); }"
    assert root.evaluate(weak, "0.5") != []
    assert root.evaluate(weak, "") == []


def test_names_roles_and_tab_stops(page: Page, states: list[State]) -> None:
    page.evaluate("() => { axe.setup(); }")
    found = complaints(page, states, "access.structure")
    page.evaluate("() => axe.teardown()")
    assert found == {}


def test_axe_finds_nothing(page: Page) -> None:
    """One pass over the whole page: axe reads all of it for each."""
    check = """async () => {
      const off = OFF;
      const runOnly = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
      const rules = Object.fromEntries(
        Object.keys(off).filter((id) => off[id] === "*").map((id) => [id, { enabled: false }]));
      const { violations, passes } = await axe.run(
        { include: [".ng"] },
        { runOnly, rules, elementRef: true, resultTypes: ["violations"] });
      const wrong = violations.flatMap(({ id, help, nodes }) => nodes
        .filter(({ element }) => !(id in off && element.matches(off[id])))
        .map(({ element, html }) => {
          const where = element.closest("[data-state]").dataset.state;
          return `${where}: ${id}: ${help}: ${html.slice(0, 200)}`;
        }));
      return { wrong, held: passes.map(({ id }) => id) };
    }""".replace("OFF", json.dumps(OFF))
    found = page.evaluate(check)
    assert found["wrong"] == []
    assert {"button-name", "label"} <= set(found["held"])


def test_the_tab_key_goes_everywhere_and_is_seen(page: Page, states: list[State]) -> None:
    wrong: dict[str, list[str]] = {}
    for state in states:
        with galleries.alone(page, state) as both:
            # a view's own states have the controls of the others: once is enough
            for theme in galleries.THEMES[: 1 if state.kind == "another" else 2]:
                root = both.locator(f".{theme} {galleries.OUTER}")
                if found := _walk(page, root.element_handle()):
                    wrong[f"{state.of}/{state.name} {theme}"] = found
    assert wrong == {}


def _walk(page: Page, root: ElementHandle) -> list[str]:
    """Tab through a view from before it; what is wrong on the way."""
    count = root.evaluate(
        "root => { window.expected = access.stops(root); return expected.length; }"
    )
    root.evaluate(
        "root => { root.tabIndex = -1; root.focus({ preventScroll: true });"
        " root.removeAttribute('tabindex'); }"
    )
    wrong = []
    for k in range(count):
        page.keyboard.press("Tab")
        wrong += page.evaluate(
            "k => document.activeElement === expected[k] ? access.focusRing(expected[k])"
            " : [`stop ${k}: ${document.activeElement.outerHTML.slice(0, 80)}`]",
            k,
        )
    page.keyboard.press("Tab")
    if root.evaluate("root => root.contains(document.activeElement)"):
        wrong.append("the focus does not leave the view")
    return wrong


def test_keys_move_pin_close_and_stay_in_the_view(
    page: Page, group: str, states: list[State]
) -> None:
    page.evaluate(
        "() => { window.leaked = []; for (const kind of ['keydown', 'keypress'])"
        " document.addEventListener(kind, ({ key }) => leaked.push(key)); }"
    )
    tried = 0
    for state in states:
        if state.act or state.status not in {"ready", "static"}:
            continue
        with galleries.alone(page, state) as both:
            root = both.locator(f".light {galleries.OUTER}")
            for area in root.locator(AREAS).filter(visible=True).all():
                _use_keys(page, root, area, picks=state.view.has_trait("selected"))
                tried += 1
    assert tried >= 3 or group in WITHOUT_TOKENS
    assert page.evaluate("leaked") == []


def _use_keys(page: Page, root: Locator, area: Locator, *, picks: bool) -> None:
    """Arrows, Home, End, Enter and Escape in a token area; each move is spoken."""
    spoken = root.locator("[aria-live=polite]")
    places = []
    area.focus()
    page.keyboard.press("Home")
    leftward = "rtl" in {area.get_attribute("data-direction"), _active(page)["direction"]}
    forward = "ArrowLeft" if leftward else "ArrowRight"
    for key in (forward, "End", "Home"):
        page.keyboard.press(key)
        active = _active(page)
        assert active["text"], key
        assert active["seen"], (key, active)
        places.append(active["index"])
        assert "".join(spoken.all_text_contents()), (key, area.get_attribute("aria-label"))
    tokens = places[1]
    assert places == [min(1, tokens), tokens, 0]
    before = page.evaluate("() => document.querySelectorAll('[aria-selected=true]').length")
    if picks and not root.locator("[aria-selected=true]").count():
        page.keyboard.press("Enter")
        assert root.locator("[aria-selected=true]").count() == 1
        page.keyboard.press("Escape")
        assert root.locator(".ng-tip").is_hidden()
    after = page.evaluate("() => document.querySelectorAll('[aria-selected=true]').length")
    assert after == before


def _active(page: Page) -> dict[str, Any]:
    """The option or cell that the keyboard is at: named by its area, or focused itself."""
    return dict(
        page.evaluate(
            """() => {
              const at = document.activeElement;
              const id = at.getAttribute("aria-activedescendant");
              const item = id ? document.getElementById(id) : at;
              const mark = getComputedStyle(item);
              return { text: item.textContent, index: Number(item.dataset.i ?? -1),
                direction: getComputedStyle(item.parentElement).direction,
                seen: mark.outlineStyle !== "none" && parseFloat(mark.outlineWidth) >= 2 };
            }"""
        )
    )


def test_errors_are_alerts_that_say_something(page: Page, states: list[State]) -> None:
    failing = [s for s in states if s.kind == "error" or s.kernel == "failing"]
    assert failing
    for state in failing:
        alert = galleries.pair(page, state).locator(".light").get_by_role("alert")
        assert len(alert.inner_text()) > 20, state
    for state in (s for s in states if s.kernel == "gone" or s.status == "stale"):
        status = galleries.pair(page, state).locator(".light .ng-banner[role=status]")
        assert len(status.inner_text()) > 20, state


def test_forced_colours_lose_nothing(page: Page, states: list[State]) -> None:
    read = "(root) => access.readable(root)"
    roots = [galleries.pair(page, s).locator(f".light {galleries.OUTER}").first for s in states]
    before = [root.evaluate(read) for root in roots]
    page.emulate_media(forced_colors="active")
    assert page.evaluate("() => matchMedia('(forced-colors: active)').matches")
    assert [root.evaluate(read) for root in roots] == before
    assert complaints(page, states, "access.contrast") == {}
    # values are still told apart, and so is the token that is selected
    for state, root in zip(states, roots, strict=True):
        tokens = root.locator(".ng-tok[class*=' ng-p'], .ng-tok[class*=' ng-n']")
        look = (
            "t => [...new Set(t.map(e => e.className.match(/ ng-[pn]\\d+/)?.[0]))].filter(Boolean)"
        )
        steps = tokens.evaluate_all(look)
        look = "t => [...new Set(t.map(e => getComputedStyle(e).backgroundColor))]"
        if len(steps) > 3:
            assert len(tokens.evaluate_all(look)) > 3, state.name
        for chosen in root.locator(".ng-sel").all():
            assert chosen.evaluate("e => getComputedStyle(e).outlineStyle") != "none"
    for state in (s for s in states if s.kind in {"normal", "narrow"}):
        with galleries.alone(page, state) as both:
            root = both.locator(f".light {galleries.OUTER}")
            assert _walk(page, root.element_handle()) == []


def test_reduced_motion_stops_what_moves(page: Page, states: list[State]) -> None:
    moving = "() => document.getAnimations().filter(a => a.playState === 'running').length"
    running = [s for s in states if s.kernel == "running"]
    for state in running:
        galleries.prepare(page, state)
    assert not running or page.evaluate(moving) > 0
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(moving) == 0


@pytest.mark.parametrize("width", [640, 320], ids=["200 % zoom", "320 px"])
def test_small_windows_lose_nothing(page: Page, states: list[State], width: int) -> None:
    """Zoom is a smaller window: 1,280 pixels at 200 % are 640, at 400 % 320."""
    roots = [galleries.pair(page, s).locator(f".light {galleries.OUTER}").first for s in states]
    before = [root.evaluate("(root) => access.readable(root)") for root in roots]
    page.set_viewport_size({"width": width, "height": 720})
    page.wait_for_timeout(300)
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
    assert complaints(page, states, "(root) => access.overflow(root, true)") == {}
    after = [root.evaluate("(root) => access.readable(root)") for root in roots]
    assert after == before


def test_every_state_is_in_its_place_and_photographed(page: Page, states: list[State]) -> None:
    """After the other checks: a picture puts away the notes that hang over the state before."""
    outside: dict[str, list[str]] = {}
    for state in states:
        assert galleries.photograph(page, state).stat().st_size > 3_000
        roots = galleries.pair(page, state).locator(".ng")
        found = roots.evaluate_all("roots => roots.flatMap((root) => access.overflow(root))")
        if found:
            outside[f"{state.of}/{state.name}"] = found
    assert outside == {}
