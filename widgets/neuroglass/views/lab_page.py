"""The explanation lab as plain data: windows, simulations beside them, scores, rows of tables.

A session flows in; dicts of words and numbers flow out. Of a window only the tokens with a value
have one; simulated values are in the feature's own units.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroglass.explanation.api import scale_of
from neuroglass.explanation.patterns import PatternSimulator
from neuroglass.explanation.records import (
    Explanation,
    Score,
    Scores,
    Simulated,
    Simulator,
    Window,
)
from neuroglass.model.errors import InputError, describe
from neuroglass.views.fallback import Row, picture
from neuroglass.views.feature_page import Pieces, number
from neuroglass.views.lab_judged import judged_json
from neuroglass.views.lab_session import Session

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

SHOWN = 20  # explanations in the comparison
MARKS = {(False, True): "false alarm", (True, False): "miss"}  # (really on, said to be on)
_PICTURED = 8  # windows in the picture without scripts


def bench_of(session: Session, origin: tuple[str, int]) -> dict[str, Any]:
    """What does not change while an explanation is edited: the windows with their true values."""
    feature, split = session.feature, session.split
    words = Pieces(feature.store)
    return {
        "view": origin[0],
        "id": origin[1],
        "feature": feature.index,
        "name": feature.id,
        "n_features": feature.store.n_features,
        "problem": None if session.problem is None else describe(session.problem),
        "largest": number(feature.row["max"]),
        "signed": bool(feature.row["min"] < 0),
        "split": None if split is None else _split(session),
        "windows": [window_of(words, w) for w in session.windows],
        "pieces": words.pieces,
        "kinds": words.kinds,
    }


def _split(session: Session) -> dict[str, int]:
    assert session.split is not None
    train, test = (session.split.to_json()[side] for side in ("train", "test"))
    return {
        "train": len(train),
        "test": len(test),
        "trained": len(session.split.train),
        "strong": len(session.split.test),
        "random": len(session.split.random),
    }


def others_of(session: Session) -> dict[str, Any]:
    """Counterexamples, and the text of one's own."""
    words = Pieces(session.feature.store)
    return {
        "own": session.own is not None,
        "windows": [window_of(words, w) for w in session.others],
        "pieces": words.pieces,
        "kinds": words.kinds,
    }


def window_of(words: Pieces, window: Window) -> dict[str, Any]:
    """``g`` group, ``d`` document, ``s`` start, ``t`` tokens, and ``i``, ``x``: the values."""
    return {
        "g": window.group,
        "d": window.document,
        "s": window.start,
        "t": words.places(window.ids),
        **_sparse(window.values),
    }


def _sparse(values: Any) -> dict[str, Any]:
    on = np.flatnonzero(values)
    return {"i": on.tolist(), "x": [number(values[k], 4) for k in on]}


def factor_of(simulated: Sequence[Simulated], simulator: str, largest: float) -> float:
    """What a simulated value is multiplied by to be an activation; see ``api.score``."""
    return 1.0 if simulator == PatternSimulator.name else scale_of(simulated, largest)


def simulation_of(
    session: Session, simulator: Simulator, quick: bool, origin: tuple[str, int]
) -> dict[str, Any]:
    """What changes with every edit: simulated values, scores, what is wrong with the text."""
    found = session.scored(session.text, simulator.name)
    made: dict[str, Any] = {
        "view": origin[0],
        "id": origin[1],
        "feature": session.feature.index,
        "text": session.text,
        "simulator": simulator.name,
        "asked": found is not None,
        "problem": describe(found) if isinstance(found, InputError) else None,
        "factor": 1.0,
        "values": [],
        "others": [],
        "scores": [],
        "judged": judged_json(session.judged_of(session.text, simulator.name), session.windows),
        "effects": [score_json(s) for s in session.effects(simulator.name).values()],
    }
    if isinstance(found, Scores):
        largest = float(session.feature.row["max"])
        factor = factor_of(found.simulated, found.simulator, largest)
        made["factor"] = number(factor)
        made["values"] = [values_of(s, factor) for s in found.simulated]
        made["scores"] = [score_json(s) for s in found.scores.values()]
        if quick and session.others:
            said = simulator.simulate(session.text, session.others)
            made["others"] = [values_of(s, factor) for s in said]
    return made


def values_of(simulated: Simulated, factor: float) -> dict[str, Any]:
    """The simulated values of a window, in activations; or why there are none."""
    if simulated.values is None:
        return {"why": simulated.failure}
    return _sparse(simulated.values * factor)


def score_json(score: Score) -> dict[str, Any]:
    """A score for the page."""
    numbers = (score.value, score.low, score.high)
    value, low, high = (None if n is None else number(n, 4) for n in numbers)
    return {
        "name": score.name,
        "value": value,
        "low": low,
        "high": high,
        "windows": score.windows,
        "failures": score.failures,
        "reason": score.reason,
    }


def history_of(session: Session, simulator: str) -> list[dict[str, Any]]:
    """The steps: author, score, gain over the step before."""
    rows: list[dict[str, Any]] = []
    before: float | None = None
    for step in session.steps:
        found = session.scored(step.text, simulator)
        value = found["correlation"].value if isinstance(found, Scores) else None
        gain = None if value is None or before is None else number(value - before, 4)
        rows.append(
            {
                "text": step.text,
                "author": step.explanation.author,
                "made": step.made,
                "kept": step.explanation.id != "",
                "gain": gain,
                **_brief(found),
            }
        )
        before = value
    return rows


def table_of(session: Session, known: Sequence[Explanation], simulator: str) -> dict[str, Any]:
    """All explanations of the feature, best first, scored on the same windows."""
    rows = []
    for one in known:
        found = session.scored(one.text, simulator)
        random = found["random_only"] if isinstance(found, Scores) else None
        rows.append(
            {
                "text": one.text,
                "author": one.author,
                "kept": one.id != "",
                "now": one.text == session.text,
                "random": None if random is None else score_json(random),
                **_brief(found),
            }
        )
    # those without a score come last
    rows.sort(key=lambda row: -row["score"]["value"] if row["score"] else math.inf)
    return {"rows": rows, "simulator": simulator}


def _brief(found: Scores | InputError | None) -> dict[str, Any]:
    """The main score of a text, or why there is none."""
    if found is None:
        return {"score": None, "why": "not scored yet"}
    if isinstance(found, InputError):
        return {"score": None, "why": found.message}
    score = found["correlation"]
    if score.value is None:
        return {"score": None, "why": f"undefined: {score.reason}"}
    return {"score": score_json(score), "why": ""}


# ---------------------------------------------------------------------- results


def marks(true: Any, said: Any, edge: float) -> list[str]:
    """Of each token: "miss" (on, said to be off), "false alarm", or ""; on is at `edge` or more."""
    pairs = zip((true >= edge).tolist(), (said >= edge).tolist(), strict=True)
    return [MARKS.get(pair, "") for pair in pairs]


def frame_of(scores: Scores, largest: float, threshold: float) -> pd.DataFrame:
    """One row for each token of the windows that test."""
    import pandas as pd

    factor = factor_of(scores.simulated, scores.simulator, largest)
    parts = []
    for k, s in enumerate(scores.simulated):
        w = s.window
        said = np.full(len(w), np.nan) if s.values is None else s.values * factor
        told = marks(w.values, said, threshold * largest)
        parts.append(
            pd.DataFrame(
                {
                    "window": k,
                    "group": w.group,
                    "document": w.document,
                    "position": np.arange(w.start, w.start + len(w)),
                    "token": w.pieces,
                    "real": w.values,
                    "simulated": said,
                    "mark": [""] * len(w) if s.values is None else told,
                }
            )
        )
    columns = [
        "window", "group", "document", "position", "token", "real", "simulated", "mark",
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def figure(frame: pd.DataFrame, title: str) -> go.Figure:
    """Simulated against real values of all tokens: points, and no line through them."""
    import plotly.graph_objects as go

    made = go.Figure()
    for group, some in (
        ("strong windows", frame[frame["group"] != "random"]),
        ("random windows", frame[frame["group"] == "random"]),
    ):
        known = some[some["simulated"].notna()]
        made.add_scattergl(
            x=known["simulated"], y=known["real"], mode="markers", name=group,
            marker={"size": 6, "opacity": 0.5, "symbol": "circle" if group[0] == "s" else "x"},
            # plotly reads tags in labels, and entities: a token is text
            text=[html.escape(repr(piece)) for piece in known["token"]],
        )  # fmt: skip
    made.update_layout(
        title=html.escape(title), xaxis_title="simulated activation", yaxis_title="real activation"
    )
    return made


def fallback(bench: dict[str, Any], simulation: dict[str, Any]) -> str:
    """Explanation, scores and the first windows, for pages without scripts."""
    if not bench:
        return ""
    pieces, rows = bench["pieces"], []
    wrong = bench["problem"] or simulation["problem"]
    said = simulation["values"]
    for k, window in enumerate(bench["windows"][:_PICTURED]):
        words = [pieces[t] for t in window["t"]]
        of: dict[str, Any]
        for label, of in (("real", window), ("simulated", said[k] if said else {"why": ""})):
            if "why" in of:
                continue
            values = np.zeros(len(words))
            values[of["i"]] = of["x"]
            peak = float(bench["largest"] or 0) or 1.0
            rows.append(Row(f"{label}, window {k + 1}", words, values, peak))
    told = "; ".join(_line(s) for s in simulation["scores"])
    left = len(bench["windows"]) - _PICTURED
    note = f"<br><small>{left} more windows</small>" if left > 0 else ""
    return (
        f"<p><b>{html.escape(bench['name'])}</b>: {html.escape(simulation['text'][:2000])}</p>"
        f"<p>{html.escape(wrong['message'] if wrong else told)}</p>{picture(rows)}{note}"
    )


def _line(score: dict[str, Any]) -> str:
    if score["value"] is None:
        return f"{score['name']} undefined: {score['reason']}"
    return f"{score['name']} {score['value']:.3g}"
