"""Detection and fuzzing of an explanation, window by window, for the explanation lab.

A simulator is the judge: its thresholds are set on train windows (see ``explanation.judged``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from neuroglass.explanation.judged import Judged, detection, fuzzing
from neuroglass.explanation.judges import SimulatorJudge
from neuroglass.explanation.records import Simulator, Split, Window
from neuroglass.model.errors import InputError
from neuroglass.views.feature_page import number

Task = Literal["detection", "fuzzing"]
TASKS: tuple[Task, ...] = ("detection", "fuzzing")
Found = Judged | InputError


def judged_by(simulator: Simulator, task: Task, text: str, split: Split) -> Found:
    """How the simulator does at a task; why it can't."""
    ask = detection if task == "detection" else fuzzing
    try:
        return ask(text, split, SimulatorJudge(simulator))
    except InputError as error:
        return error


def judged_json(found: Mapping[Task, Found], windows: Sequence[Window]) -> dict[str, Any]:
    """For the page: scores, and of each window that was asked about what was said of it."""
    place = {id(w): k for k, w in enumerate(windows)}
    return {task: _one(one, place) for task, one in found.items()}


def _one(found: Found, place: Mapping[int, int]) -> dict[str, Any]:
    if isinstance(found, InputError):
        return {"why": str(found), "scores": [], "verdicts": []}
    scores = []
    for s in found.scores.values():
        value, low, high = (None if v is None else number(v, 4) for v in (s.value, s.low, s.high))
        scores.append(
            {"name": s.name, "value": value, "low": low, "high": high, "windows": s.windows,
             "failures": s.failures, "reason": s.reason}
        )  # fmt: skip
    verdicts = [
        {
            "window": place[id(v.item.window)],
            "truth": v.item.truth,
            "answer": v.answer,
            "marked": None if v.item.marked is None else sum(v.item.marked),
            "why": v.failure,
        }
        for v in found.verdicts
    ]
    return {"why": "", "scores": scores, "verdicts": verdicts}
