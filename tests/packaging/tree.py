"""The project's files, as a clone would have them, and a machine on which Node is hidden."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATIC = Path("widgets", "neuroglass", "static")
NODE_PROGRAMS = {"node", "nodejs", "npm", "npx", "corepack"}
_NOT_OURS = {".git", ".venv", "node_modules", "build", "dist", "static", "__pycache__"}


def files(root: Path = ROOT) -> list[Path]:
    """Every file that git has or would take (without git: what an sdist brought), from the top."""
    if (root / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"],
            cwd=root,
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout.decode()
        found = [Path(name) for name in listed.split("\0") if name]
    else:
        found = [path.relative_to(root) for path in root.rglob("*")]
        found = [path for path in found if not _NOT_OURS & set(path.parts)]
    return sorted(path for path in found if (root / path).is_file())


def copy(to: Path, *, bundle: bool) -> Path:
    """A clone of the tree as it is now, with the built front end or without."""
    for path in files():
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, to / path)
    if bundle:
        (to / STATIC).mkdir(parents=True)
        for built in (ROOT / STATIC).iterdir():
            shutil.copyfile(built, to / STATIC / built.name)  # with a new time: fresh
    return to


def environment_without_node(links: Path) -> dict[str, str]:
    """An environment whose PATH holds every program of this one but Node's."""
    links.mkdir()
    for folder in os.get_exec_path():
        try:
            programs = list(os.scandir(folder))
        except OSError:
            continue
        for program in programs:
            link = links / program.name
            if program.name not in NODE_PROGRAMS and not link.is_symlink():
                link.symlink_to(program.path)
    env = {name: value for name, value in os.environ.items() if not name.startswith("NEUROGLASS")}
    return env | {"PATH": str(links)}
