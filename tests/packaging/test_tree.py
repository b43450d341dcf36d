"""Rules that every file of the tree keeps: the floors, no pickles, no names of machines."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.packaging import tree

PACKAGE = Path("widgets", "neuroglass")

# A file imports from its own folder and from lower floors; neighbours do not import each other.
FLOORS = {
    "zoo": 0,
    "model": 1,
    "sae": 2,
    "features": 3,
    "steering": 3,
    "circuits": 4,
    "explanation": 4,
    "recipes": 5,
    "views": 5,
}
TOP = 6  # __init__.py, cli.py, __main__.py

LOADS_ANYTHING = {
    "pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"
}  # fmt: skip


def modules() -> list[Path]:
    return [path for path in tree.files() if path.is_relative_to(PACKAGE) and path.suffix == ".py"]


def folder_of(parts: tuple[str, ...]) -> str:
    """The floor's folder of `neuroglass.<parts>`; "" for what lies on top."""
    return parts[0] if parts and parts[0] in FLOORS else ""


def imported_folders(path: Path, source: str) -> list[tuple[int, str]]:
    """(line, folder) of everything of ours that the file imports, wherever it does so."""
    package = ("neuroglass", *path.relative_to(PACKAGE).parent.parts)
    found: list[tuple[int, str]] = []

    def note(line: int, dotted: tuple[str, ...]) -> None:
        if dotted[:1] == ("neuroglass",):
            found.append((line, folder_of(dotted[1:])))

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                note(node.lineno, tuple(alias.name.split(".")))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            whole = base + tuple((node.module or "").split(".") if node.module else ())
            for alias in node.names:
                note(node.lineno, (*whole, alias.name))
        elif isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func).rsplit(".", 1)[-1]
            name = node.args[0]
            if called in {"import_module", "__import__"} and isinstance(name, ast.Constant):
                note(node.lineno, tuple(str(name.value).split(".")))
    return found


# one call leads up: a store writes itself as a site, which is made of views
DOORS = {("features/store.py", "views")}


def floor_errors(path: Path, source: str) -> list[str]:
    own = folder_of(path.relative_to(PACKAGE).parent.parts)
    floor = FLOORS.get(own, TOP)
    wrong = []
    for line, folder in imported_folders(path, source):
        reached = FLOORS.get(folder, TOP)
        door = (path.relative_to(PACKAGE).as_posix(), folder) in DOORS
        if folder != own and reached >= floor and not door:
            wrong.append(f"{path}:{line} ({own or 'top'}) imports {folder or 'the top'}")
    return wrong


def test_imports_go_down_the_floors() -> None:
    assert modules()
    wrong = [
        error
        for path in modules()
        for error in floor_errors(path, (tree.ROOT / path).read_text("utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("file", "source", "allowed"),
    [
        ("views/a.py", "from neuroglass.model.run import Run", True),
        ("views/a.py", "from neuroglass.views.base import View", True),
        ("views/a.py", "from neuroglass.recipes import corpus", False),
        ("views/a.py", "from neuroglass import __version__", False),
        ("views/a.py", "from .. import model", True),
        ("model/a.py", "def f():\n    from neuroglass.views import base", False),
        ("model/a.py", "from neuroglass import sae", False),
        ("model/a.py", "import importlib\nimportlib.import_module('neuroglass.sae.train')", False),
        ("features/a.py", "import neuroglass.steering.units", False),
        ("zoo/__init__.py", "import neuroglass.zoo.data", True),
        ("zoo/__init__.py", "from neuroglass.model import sites", False),
        ("cli.py", "from neuroglass.views.export import page", True),
        ("cli.py", "import neuroglass as ng", True),
    ],
)
def test_the_floor_test_sees(file: str, source: str, allowed: bool) -> None:
    assert (floor_errors(PACKAGE / file, source) == []) is allowed


def test_folders_of_the_package_are_floors() -> None:
    folders = {path.relative_to(PACKAGE).parts[0] for path in modules() if len(path.parts) > 3}
    assert folders <= set(FLOORS)


def pickle_errors(path: Path, source: str) -> list[str]:
    wrong = []
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            # the error that torch raises when it refuses a file loads nothing
            errors_only = all(alias.name.endswith("Error") for alias in node.names)
            names = [] if errors_only else [node.module or ""]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if called == "torch.load" and given.get("weights_only") != "True":
                wrong.append(f"{path}:{node.lineno} torch.load without weights_only=True")
            if given.get("allow_pickle", "False") != "False":
                wrong.append(f"{path}:{node.lineno} allow_pickle={given['allow_pickle']}")
            if called.rsplit(".", 1)[-1] == "read_pickle":
                wrong.append(f"{path}:{node.lineno} {called}")
        else:
            continue
        wrong += [
            f"{path}:{node.lineno} imports {name}"
            for name in names
            if name.split(".")[0] in LOADS_ANYTHING
        ]
    return wrong


def test_no_pickle_is_loaded() -> None:
    wrong = [
        error
        for path in modules()
        for error in pickle_errors(path, (tree.ROOT / path).read_text("utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("source", "clean"),
    [
        ("torch.load(f, weights_only=True)", True),
        ("from pickle import UnpicklingError", True),
        ("from pickle import UnpicklingError, loads", False),
        ("torch.load(f)", False),
        ("torch.load(f, weights_only=flag)", False),
        ("np.load(f, allow_pickle=True)", False),
        ("np.load(f, allow_pickle=False)", True),
        ("from pickle import load", False),
        ("import joblib.numpy_pickle", False),
        ("pd.read_pickle(f)", False),
    ],
)
def test_the_pickle_test_sees(source: str, clean: bool) -> None:
    assert (pickle_errors(Path("x.py"), source) == []) is clean


# --- names of machines

REGISTRIES = [
    r"pypi\.(?:python\.)?org",
    r"pythonhosted\.org",
    r"registry\.npmjs\.(?:org|com)",
    r"registry\.yarnpkg\.com",
    r"download\.pytorch\.org",
    r"deb\.debian\.org",
    r"archive\.ubuntu\.com",
]
FOLDERS = r"(?<![\w.)\]])/(?:work|opt|root|tmp|home/\w+|Users/\w+)/|\.\./shared\b"


def configured_hosts() -> set[str]:
    """The registries that this machine is set up to use, whatever they are called."""
    settings = "\n".join(
        f"{name}={value}" for name, value in os.environ.items() if re.match("(?i)pip_|npm_", name)
    )
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    urls = re.findall(r"https?://[^\s'\"\\,]+", settings + asked.stdout)
    hosts = {urlsplit(url).hostname or "" for url in urls}
    return {host for host in hosts if host not in {"", "localhost", "127.0.0.1"}}


def lines_that_match(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in tree.files():
        try:
            text = (tree.ROOT / path).read_text("utf-8")
        except UnicodeDecodeError:
            continue  # a picture or a binary golden file
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path}:{number}")
    return found


def test_no_file_names_a_registry() -> None:
    hosts = REGISTRIES + [re.escape(host) for host in configured_hosts()]
    assert not lines_that_match(re.compile("|".join(hosts)))


def test_no_file_names_a_folder_of_a_machine() -> None:
    assert not lines_that_match(re.compile(FOLDERS))
