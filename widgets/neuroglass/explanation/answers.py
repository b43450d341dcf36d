"""Answers of chats, read: what is JSON in them, and what is in the JSON.

Models wrap, cut short and decorate. What can be read without guessing is read; the rest is an
error that says why.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from neuroglass.explanation.chat import ChatError, Reply

_FENCE = re.compile(r"```[a-zA-Z]*\s*(.*?)```", re.DOTALL)
_REFUSALS = re.compile(
    r"^(i['’]?m|i am) (sorry|unable|not able|afraid)|^sorry\b|^i (can['’]?t|cannot|won['’]?t)\b|"
    r"^as an ai\b|^unfortunately\b",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"^\W*(the\s+)?(explanation|answer|summary|feature|result)\b\W*?\s*[:\-–]\s*", re.IGNORECASE
)
_QUOTES = "\"'`“”‘’«»*_ "


def json_in(text: str, opening: str = "{[") -> Any:
    """The first JSON value in a text that begins with one of `opening`.

    What surrounds it is passed over: fences, remarks before and after.

    Raises:
        ChatError: there is none, or it does not end.
    """
    decoder = json.JSONDecoder()
    for candidate in [m[1] for m in _FENCE.finditer(text)] + [text]:
        for at, c in enumerate(candidate):
            if c in opening:
                try:
                    return decoder.raw_decode(candidate, at)[0]
                except (ValueError, RecursionError):
                    continue
    raise ChatError(f"The answer is no JSON: {excerpt(text)}")


def number_in(value: Any) -> float | None:
    """A number out of JSON, as such or as a text; None for anything else, NaN and infinity too."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def excerpt(text: str, n: int = 80) -> str:
    """The beginning of an answer, for an error message."""
    line = " ".join(text.split())
    return repr(line if len(line) <= n else line[:n] + "…")


def sentence_in(reply: Reply) -> str:
    """The explanation in an answer: without labels, quotes, lists and what comes after it.

    Raises:
        ChatError: it is empty, or the model refused.
    """
    text = re.sub(r"<think>.*?(</think>|\Z)", "", reply.text, flags=re.DOTALL)
    lines = [line.strip() for line in text.replace("```", "\n").splitlines()]
    lines = [line for line in lines if line.strip(_QUOTES + "-#:")]
    if not lines:
        raise ChatError("The explainer's answer is empty.")
    if _REFUSALS.match(lines[0].lstrip(_QUOTES)):
        raise ChatError(f"The explainer refused: {excerpt(lines[0])}.")
    labelled = [i for i, line in enumerate(lines) if _LABEL.match(line)]
    chosen = lines[labelled[-1]] if labelled else lines[0]
    said = _LABEL.sub("", chosen).strip(_QUOTES)
    if not said and labelled and labelled[-1] + 1 < len(lines):  # the label has a line of its own
        said = lines[labelled[-1] + 1].strip(_QUOTES)
    said = re.sub(r"^([-•*]|\d+[.)])\s+", "", said).strip(_QUOTES)
    if not said:
        raise ChatError(f"The explainer's answer holds no explanation: {excerpt(reply.text)}.")
    if _REFUSALS.match(said):
        raise ChatError(f"The explainer refused: {excerpt(said)}.")
    if len(said) > 400:  # at a sentence's end, where there is one
        cut = said[:400]
        said = cut[: cut.rfind(". ") + 1] if ". " in cut else cut + "…"
    return said
