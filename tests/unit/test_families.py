"""Every family against everything: the cells of the matrix that ``make families`` prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from neuroglass import LiveModel
from tests.families import CHECKS
from tests.unit.conftest import TINY


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Models this small only wait for a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("kind", TINY)
def test_matrix(kind: str, check: str, load_tiny: Callable[..., LiveModel]) -> None:
    CHECKS[check](load_tiny(kind))
