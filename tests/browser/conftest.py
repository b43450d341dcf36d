"""One Chromium and one JupyterLab for the whole run; a new page for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

import neuroglass as ng
from tests.browser import lab as labs
from tests.gallery import page as galleries
from tests.tools.prepare import find_chromium

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gallery.state import State


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = str(labs.ROOT / "tests" / "browser")
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium that reaches nothing but this machine."""
    executable = find_chromium()
    if executable is None:
        pytest.fail("no Chromium: run `make test`, or set CHROMIUM", pytrace=False)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=executable, args=labs.FLAGS, headless=True, timeout=60_000
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[labs.Lab]:
    """A JupyterLab on loopback whose settings are nobody's."""
    base = tmp_path_factory.mktemp("lab")
    (root := base / "notebooks").mkdir()
    (scratch := base / "home").mkdir()
    with labs.serve("lab", root, scratch) as server:
        yield server


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of its own; a request to anywhere outside this machine fails the test."""
    with labs.new_page(browser, timeout=90) as shown:
        yield shown


@pytest.fixture
def lab_page(page: Page, lab: labs.Lab) -> Iterator[Page]:
    """The same, for notebooks in JupyterLab: the kernels that it leaves behind are ended."""
    yield page
    labs.close_notebook(page, lab)


@pytest.fixture
def notebook_path(lab: labs.Lab, request: pytest.FixtureRequest) -> Path:
    """Where a test may write its notebook: in the server's folder, named after the test."""
    name = "".join(c if c.isalnum() or c == "_" else "-" for c in request.node.name)
    return lab.root / f"{name}.ipynb"


@pytest.fixture(scope="session")
def gallery_model() -> Iterator[ng.LiveModel]:
    """The model that the gallery's views have."""
    model = ng.load("smollm2")
    yield model
    model.close()


@pytest.fixture(scope="session")
def states_by_group(gallery_model: ng.LiveModel) -> dict[str, list[State]]:
    """Every state of the gallery."""
    return {group: list(states(gallery_model)) for group, states in galleries.GROUPS.items()}


@pytest.fixture(scope="module", params=galleries.GROUPS)
def group(request: pytest.FixtureRequest) -> str:
    """A page of the gallery."""
    return str(request.param)


@pytest.fixture(scope="module")
def states(group: str, states_by_group: dict[str, list[State]]) -> list[State]:
    """Its states."""
    return states_by_group[group]


@pytest.fixture(scope="session")
def all_states(states_by_group: dict[str, list[State]]) -> list[State]:
    """Those of all pages."""
    return [state for some in states_by_group.values() for state in some]


@pytest.fixture(scope="module")
def gallery(browser: Browser, group: str, states: list[State]) -> Iterator[tuple[Page, list[str]]]:
    """That page, every state as it should be, and the list of what went wrong in it."""
    galleries.OUT.mkdir(parents=True, exist_ok=True)
    path = galleries.path_of(group)
    path.write_text(galleries.build(states), encoding="utf-8")
    with labs.new_page(browser, timeout=90) as shown:  # dozens of views are mounted at once
        yield shown, galleries.open_page(shown, states, path)
