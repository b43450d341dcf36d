"""What can go wrong while the corpus is made, in words: packages, archives, a full disk."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neuroglass.model.errors import NeuroglassError


class CorpusError(NeuroglassError, RuntimeError):
    """The corpus can't be made: a client, a package or room on the disk is missing."""


class ChangedError(CorpusError):
    """The corpus was made, but it is not the one that the code expects."""


def is_full(error: OSError) -> bool:
    """Whether the disk, or the user's part of it, is full."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def room_for(what: str, needed: int, folder: Path, hint: str) -> Iterator[None]:
    """Turns "no space left on device" into an error that says how many bytes are needed."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        free = shutil.disk_usage(folder).free
        raise CorpusError(
            f"The disk is full: {what} about {needed:,} bytes, and {free:,} are free in {folder}.",
            hint,
        ) from error
