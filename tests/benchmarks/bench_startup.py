"""What opening the package costs: seconds, each in a fresh process, best and median of 5.

    python -m tests.benchmarks.bench_startup

Baseline for the ratio: ``import anywidget`` alone, in processes of its own, interleaved.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from tests.benchmarks.common import emit

IMPORTS = "import neuroglass as ng, torch, transformers.models.gpt2.modeling_gpt2"
# name -> what is done before the clock starts, and what is timed
CASES = {
    "import anywidget": ("", "import anywidget"),
    "import neuroglass": ("", "import neuroglass"),
    "static TokenHeatmap": ("import neuroglass as ng", "ng.TokenHeatmap(['a','b'], [0.1, 0.2])"),
    "ng.load(), after imports": (f"{IMPORTS}; ng.load('zoo/B').close()", "ng.load()"),
    "the first ng.load(), torch imported": (IMPORTS, "ng.load()"),
    "ng.SAE.load('zoo/A-8x'), after imports": (
        f"{IMPORTS}; m = ng.load(); ng.SAE.load('zoo/A-1x', m)",
        "ng.SAE.load('zoo/A-8x', m)",
    ),
}


def main() -> None:
    taken: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(5):
        for name, (before, code) in CASES.items():
            clock = "time.perf_counter()"
            timed = f"import time; {before or 'pass'}; t = {clock}; {code}; print({clock} - t)"
            out = subprocess.run(
                [sys.executable, "-c", timed], check=True, capture_output=True, text=True
            ).stdout
            taken[name].append(float(out))
    base = statistics.median(taken["import anywidget"])
    for name, seconds in taken.items():
        emit(
            what=name,
            median_s=round(statistics.median(seconds), 3),
            best_s=round(min(seconds), 3),
            ratio=round(statistics.median(seconds) / base, 2),
        )


if __name__ == "__main__":
    main()
