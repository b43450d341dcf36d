"""What holds for all tests: nothing is written into a home directory."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest


def pytest_configure(config: pytest.Config) -> None:
    # annotations of the zoo's stores go here; kernels that tests start inherit it
    config.stash[_DATA] = os.environ["NEUROGLASS_DATA"] = tempfile.mkdtemp(prefix="neuroglass-")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_DATA], ignore_errors=True)


_DATA = pytest.StashKey[str]()
