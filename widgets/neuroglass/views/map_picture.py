"""A feature map as a picture to keep: a plotly figure, and a small one without scripts."""

from __future__ import annotations

import base64
import html
import struct
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroglass.views.codec import unpack

if TYPE_CHECKING:
    import plotly.graph_objects as go

_SIZE = (420, 300)  # px of the picture without scripts
_SHAPES = ("circle", "diamond", "square", "triangle-up")
# Okabe and Ito's colours, the same as in js/src/views/feature_map/colours.ts
_HUES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a7a00", "#3f8fc2", "#555555", "#a05a2c")


def values_of(frame: Mapping[str, Any], key: str) -> np.ndarray[Any, Any]:
    """A numeric column of a frame, as it is: no logarithm, NaN where there is none."""
    column = next(c for c in frame["columns"] if c["key"] == key)
    x = unpack(column["values"]).astype(np.float64)
    if not column["log"]:
        return x
    return np.where(x <= column["zero"] + 0.25, 0.0, 10.0**x)


def figure(frame: Mapping[str, Any], colour: str, title: str) -> go.Figure:
    """See ``FeatureMap.plot``."""
    import plotly.graph_objects as go

    def text(piece: str) -> str:  # plotly reads tags
        return html.escape(piece, quote=False)

    xy = unpack(frame["xy"])
    category = next((c for c in frame["categories"] if c["key"] == colour), None)
    log = bool(category is None and _column(frame, colour)["log"])
    shown = None if category else values_of(frame, colour)
    if log and shown is not None:
        shown = np.log10(np.where(shown > 0, shown, np.nan))
    codes = unpack(category["codes"]) if category else None
    top = unpack(frame["top"])
    made = go.Figure()
    first = 0
    for k, store in enumerate(frame["stores"]):
        last = first + store["n"]
        words = [
            f"{text(store['name'])}/{i - first}"
            + (f"<br>{text(said)}" if (said := frame["explanations"].get(str(i))) else "")
            + (f"<br>commonest token “{text(frame['pieces'][top[i]])}”" if top[i] >= 0 else "")
            for i in range(first, last)
        ]
        marker: dict[str, Any] = {"size": 5, "symbol": _SHAPES[k % len(_SHAPES)]}
        if shown is not None:
            finite = shown[np.isfinite(shown)]
            ends = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
            marker |= {"color": shown[first:last], "cmin": ends[0], "cmax": ends[1]}
            label = f"log10 {colour}" if log else colour
            marker |= {"colorscale": "Viridis_r", "showscale": k == 0}
            marker |= {"colorbar": {"title": {"text": text(label)}}}
        elif codes is not None:
            none = category["none"] if category else -1
            hues = ["#b0b6be" if c == none else _HUES[c % len(_HUES)] for c in codes]
            marker |= {"color": hues[first:last]}
        made.add_scattergl(
            x=xy[first:last, 0], y=xy[first:last, 1], mode="markers", marker=marker,
            text=words, hovertemplate="%{text}<extra></extra>", name=text(store["name"]),
        )  # fmt: skip
        first = last
    shares = frame["explained"]
    for k, name in enumerate("xy"):
        label = f"{frame['method'].upper()} {k + 1}"
        label += f" ({shares[k]:.1%} of the variance)" if shares else ""
        made.update_layout({f"{name}axis": {"title": {"text": label}}})
    made.update_layout(
        title=text(title), showlegend=len(frame["stores"]) > 1, height=640,
        legend={"orientation": "h"}, yaxis_scaleanchor="x",
    )  # fmt: skip
    return made


def _column(frame: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return next(c for c in frame["columns"] if c["key"] == key)


def picture(frame: Mapping[str, Any], label: str) -> str:
    """How many features lie where, as an image of at most 50 kB; darker is more."""
    xy = unpack(frame["xy"])
    xy = xy[np.isfinite(xy).all(1)]
    if not len(xy):
        return ""
    wide, high = _SIZE
    low, size = xy.min(0), np.ptp(xy, axis=0)
    scale = 0.94 * min(wide / max(size[0], 1e-9), high / max(size[1], 1e-9))
    at = (xy - low - size / 2) * scale
    x = np.clip(np.rint(at[:, 0] + wide / 2), 0, wide - 2).astype(int)
    y = np.clip(np.rint(high / 2 - at[:, 1]), 0, high - 2).astype(int)
    counts = np.zeros((high, wide))
    for dx in (0, 1):
        for dy in (0, 1):
            np.add.at(counts, (y + dy, x + dx), 1)
    shade = np.log1p(counts) / np.log1p(max(counts.max(), 1))
    # few levels, which compress: a picture of 100,000 points stays small
    levels = np.where(counts > 0, np.rint(170 * (1 - shade) / 24) * 24, 255).astype(np.uint8)
    data = base64.b64encode(_png(levels)).decode()
    words = html.escape(f"{label}: {frame['about']}; {len(xy):,} features, darker where more lie")
    notice = f"<br><small>{html.escape(frame['notice'])}</small>" if frame["notice"] else ""
    return f'<img alt="{words}" src="data:image/png;base64,{data}">{notice}'


def _png(grey: np.ndarray[Any, Any]) -> bytes:
    """8-bit greys [height, width] as a PNG."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    high, wide = grey.shape
    lines = np.concatenate([np.zeros((high, 1), np.uint8), grey], axis=1).tobytes()
    head = struct.pack(">IIBBBBB", wide, high, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
