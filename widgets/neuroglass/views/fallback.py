"""The picture without scripts: what GitHub, nbviewer and a converted notebook show of a view.

Rows of tokens and values flow in, a small piece of HTML flows out. The picture in it is an SVG
inside an ``<img>``: GitHub takes style attributes out of a notebook's HTML, so coloured spans lose
their colours there, but it keeps images with their data in them.
"""

from __future__ import annotations

import base64
import html
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TOKENS = 400  # per row
COLUMNS = 100  # characters a line
ROOM = 34_000  # bytes of SVG; a third more in base64
_ADVANCE, _LINE, _EDGE = 7.8, 20, 6  # px, of 13 px monospace
_HEAD = (
    '<defs><pattern id="m" width="4" height="4" patternUnits="userSpaceOnUse">'
    '<path d="M0 4L4 0" stroke="#999"/></pattern></defs>'
    '<rect width="100%" height="100%" fill="#fff"/>'
)


@dataclass(frozen=True)
class Row:
    """One row of the picture.

    Attributes:
        label: what the values are.
        pieces: the tokens, as shown.
        values: [tokens]; NaN is missing, and hatched.
        peak: the size of a value that has the full colour.
    """

    label: str
    pieces: Sequence[str]
    values: npt.NDArray[np.floating]
    peak: float


def picture(rows: Sequence[Row]) -> str:
    """The rows as an image with its text beside it, in at most 50 kB; says what it leaves out."""
    parts: list[str] = []
    told: list[str] = []
    room, top, wide, shown = ROOM, 0.0, 40, 0
    for row in rows:
        made, height, columns, tokens = _row(row, top, room if not shown else min(room, ROOM // 3))
        if shown and tokens < min(len(row.pieces), TOKENS):
            break  # half a row says less than none, unless it is the only one
        parts.append(made)
        room -= len(made.encode())
        top += height
        wide = max(wide, columns)
        shown += 1
        if tokens < len(row.pieces) and not told:
            told.append(f"first {tokens} of {len(row.pieces)} tokens")
    if not parts:
        return ""
    if shown < len(rows):
        told.append(f"first {shown} of {len(rows)} rows" if shown > 1 else _first_of(rows))
    width = round(wide * _ADVANCE + 2 * _EDGE)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{round(top + _EDGE)}" '
        f'font-family="monospace" font-size="13" fill="#1b1b1b">{_HEAD}{"".join(parts)}</svg>'
    )
    data = base64.b64encode(svg.encode()).decode()
    words = " ".join("".join(rows[0].pieces[:TOKENS]).split())
    label = html.escape(_printable(f"{rows[0].label}: {words}"[:400]))
    notice = f"<br><small>{'; '.join(told)}</small>" if told else ""
    return f'<img alt="{label}" src="data:image/svg+xml;base64,{data}">{notice}'


def _first_of(rows: Sequence[Row]) -> str:
    return f"first of {len(rows)} rows"


def _row(row: Row, top: float, room: int) -> tuple[str, float, int, int]:
    """A row below `top`: its SVG, how high and how wide it is, and how many tokens had room."""
    peak = f"{row.peak:.4g}"
    label = _escape(_printable(row.label[:120]))
    parts = [_text(_EDGE, top + 15, f"{label} · full colour: {peak}", fill="#666")]
    room -= len(parts[0].encode()) + 400
    line = 1
    columns = len(row.label[:120]) + len(peak) + 16
    tokens = 0
    for places in _lines(row.pieces[:TOKENS]):
        y = top + line * _LINE
        made = "".join(
            _cell(column, width, y, float(row.values[i]), row.peak)
            for column, width, _, i in places
            if width
        ) + _words(places, y)
        if (room := room - len(made.encode())) < 0:
            break
        parts.append(made)
        line += 1
        columns = max(columns, places[-1][0] + places[-1][1])
        tokens = places[-1][3] + 1
    return "".join(parts), line * _LINE + 4.0, columns, tokens


Place = tuple[int, int, str, int]  # column, width, text, token


def _lines(pieces: Sequence[str]) -> Iterator[list[Place]]:
    """Where each piece stands, line by line; a piece that is too long is cut to a line."""
    line: list[Place] = []
    column = 0
    for i, piece in enumerate(pieces):
        text = piece.replace("\t", "    ").replace("\r", "")
        shown = _printable(text.replace("\n", ""))
        shown = shown[: COLUMNS // 2] if _width(shown) > COLUMNS else shown
        width = _width(shown)
        if line and column + width > COLUMNS:
            yield line
            line, column = [], 0
        line.append((column, width, shown, i))
        column += width
        if "\n" in text:
            yield line
            line, column = [], 0
    if line:
        yield line


def _words(places: Sequence[Place], y: float) -> str:
    """The text of a line; piece by piece where some of it runs from right to left."""
    whole = "".join(text for _, _, text, _ in places)
    if not any(unicodedata.bidirectional(c) in {"R", "AL"} for c in whole):
        return _text(_EDGE, y + 15, _escape(whole), width=sum(w for _, w, _, _ in places))
    return "".join(
        _text(_EDGE + column * _ADVANCE, y + 15, _escape(text), width=width)
        for column, width, text, _ in places
    )


def _cell(column: int, width: int, y: float, value: float, peak: float) -> str:
    if np.isnan(value):
        fill = 'fill="url(#m)"'
    else:
        share = round(min(1.0, abs(value) / (peak or 1.0)) * 0.6, 2)
        if not share:
            return ""
        fill = f'fill="{"#e08214" if value > 0 else "#4393c3"}" fill-opacity="{share}"'
    x, wide = _EDGE + column * _ADVANCE, width * _ADVANCE
    return f'<rect x="{x:.1f}" y="{y:.0f}" width="{wide:.1f}" height="{_LINE - 1}" {fill}/>'


def _text(x: float, y: float, text: str, *, width: int = 0, fill: str = "") -> str:
    if not text:
        return ""
    fit = f' textLength="{width * _ADVANCE:.1f}"' if width else ""
    colour = f' fill="{fill}"' if fill else ""
    return f'<text x="{x:.1f}" y="{y:.0f}" xml:space="preserve"{fit}{colour}>{text}</text>'


def _printable(text: str) -> str:
    """Text that XML and UTF-8 can carry: lone surrogates and control characters become dots."""
    return "".join(c if c.isprintable() else "·" for c in text)


def _escape(text: str) -> str:
    return html.escape(text, quote=False)


def _width(text: str) -> int:
    """Columns that a text takes: two for wide characters, none for combining ones."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
