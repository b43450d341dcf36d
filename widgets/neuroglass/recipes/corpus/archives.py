"""Unpacking .deb, .tgz and .whl archives: whole or not at all, and never outside their folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from errno import ENOSPC
from pathlib import Path, PurePosixPath, PureWindowsPath

from neuroglass.recipes.corpus.errors import CorpusError


def unpack(archive: Path, target: Path) -> None:
    """Unpack an archive into the new folder `target`, whole or not at all.

    Raises:
        CorpusError: it is damaged, or has a path that leads outside.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpacking-") as scratch:
        inside = Path(scratch) / "files"
        try:
            if archive.suffix == ".deb":
                _unpack_deb(archive, inside)
            elif archive.suffix == ".whl":
                _unpack_zip(archive, inside)
            else:
                _unpack_tar(archive, inside)
        except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise _damaged(archive, str(error)) from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise _damaged(archive, str(error)) from error  # gzip's own, for a bad checksum
        inside.rename(target)


def _damaged(archive: Path, reason: str) -> CorpusError:
    return CorpusError(
        f"The archive {archive.name} can't be unpacked: {reason}.",
        f"Remove {archive} and run again; it is then downloaded anew.",
    )


def _unpack_deb(archive: Path, target: Path) -> None:
    if shutil.which("dpkg-deb") is None:
        raise CorpusError(
            f"This machine has no dpkg-deb, and {archive.name} is to be unpacked with it.",
            "Debian and what descends from it have it; others offer a package called dpkg.",
        )
    # dpkg-deb leaves out "..", and makes links after all files
    done = subprocess.run(
        ["dpkg-deb", "-x", str(archive), str(target)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        if "no space left on device" in done.stderr.lower():
            raise OSError(ENOSPC, os.strerror(ENOSPC), str(target))
        raise _damaged(archive, " ".join(done.stderr.split())[-500:])


def _unpack_tar(archive: Path, target: Path) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise CorpusError("Unpacking safely needs Python 3.11.4 or a newer one.", "Update Python.")
    with tarfile.open(archive) as tar:
        tar.extractall(target, filter="data")  # refuses paths and links that lead outside


def _unpack_zip(archive: Path, target: Path) -> None:
    with zipfile.ZipFile(archive) as files:
        for name in files.namelist():
            if leads_outside(name):
                raise _damaged(archive, f"{name!r} leads outside its folder")
        files.extractall(target)  # noqa: S202 - each name was looked at


def leads_outside(name: str) -> bool:
    """Whether a path is absolute, names a drive or climbs with "..", on any system."""
    return any(
        path.is_absolute() or path.drive or path.root or ".." in path.parts
        for path in (PurePosixPath(name), PureWindowsPath(name))
    )
