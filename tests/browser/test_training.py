"""Widgets answer while a dictionary is trained on their model."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import pytest

from tests.browser import lab as labs
from tests.browser import latency

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

pytestmark = pytest.mark.model

# `bench_training_latency` measures the floor of 300 ms; a test on a machine with other work can
# only say that an answer doesn't wait for a block of vectors, which takes many seconds
LIMIT = 1500.0


def test_a_heatmap_answers_while_a_dictionary_is_trained(
    lab_page: Page, lab: labs.Lab, notebook_path: Path
) -> None:
    labs.write_notebook(notebook_path, [latency.SETUP])
    labs.open_notebook(lab_page, lab, notebook_path)
    labs.run_all(lab_page)
    lab_page.wait_for_function(
        "() => document.querySelector('.ng-heatmap')?.dataset.status === 'ready'"
    )
    latency.start_training(lab_page)
    before = latency.steps(lab_page)
    taken = latency.keystrokes(lab_page, "while it trains", 8)
    assert median(taken) < LIMIT, taken
    labs.wait_until("the training goes on", lambda: latency.steps(lab_page) > before, timeout=60.0)
    labs.kernel_eval(lab_page, "training.stop(); sae = training.result()")
    assert labs.kernel_json(lab_page, "sae.n_features") == 4608
