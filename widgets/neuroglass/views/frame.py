"""Frames: everything a token view draws at one moment, as plain data.

Token sequences and rows of values flow in; the dict that the browser draws comes out, with colour
domains worked out once, here. Both the static and the live heatmap make their picture this way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroglass.views.codec import Packed, pack, pack_q8, unpack

ROBUST = 0.98
EXACT = 262_144  # values; a frame with more than this sends its rows in 8 bits
Floats = npt.NDArray[np.floating[Any]]


def sequence(
    pieces: list[str],
    kinds: Sequence[int],
    *,
    ids: Sequence[int] | None = None,
    masked: npt.ArrayLike | None = None,
    logprobs: npt.ArrayLike | None = None,
    entropy: npt.ArrayLike | None = None,
    top: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A token sequence: pieces and what is known of each token (see the protocol's `seqs`)."""
    return {
        "pieces": pieces,
        "kinds": pack(kinds, "u8"),
        "ids": None if ids is None else pack(ids, "i32"),
        "masked": None if masked is None else pack(masked, "u8"),
        "logprobs": None if logprobs is None else pack(logprobs),
        "entropy": None if entropy is None else pack(entropy),
        "top": top,
    }


def row(
    label: str,
    values: Floats,
    *,
    seq: int = 0,
    feature: int | None = None,
    key: str = "",
    feature_id: str = "",
    locked: bool = False,
    masked: npt.NDArray[Any] | None = None,
    signed: bool | None = None,
    exact: bool = True,
) -> dict[str, Any]:
    """A row of values over a sequence, one per token; masked ones do not set the colour scale.

    Args:
        values: [tokens]; NaN is missing.
        feature: the index that the row is of; None for other quantities.
        key: names the row for the view that made it; see ``Sources.row``.
        feature_id: of the feature, ``model/site/basis/index``; "" where there is none.
        locked: the row stays when the site changes.
        masked: [tokens], nonzero where the token is not counted.
        signed: None looks at the values: any negative one makes the row signed.
    """
    counted = values[np.isfinite(values) & (masked == 0 if masked is not None else True)]
    if signed is None:
        signed = bool((counted < 0).any())
    sizes = np.abs(counted if signed else np.clip(counted, 0, None))
    peak, robust = float(sizes.max(initial=0.0)), _robust(sizes)
    packed: Packed = pack(values) if exact else pack_q8(values)
    return {
        "label": label,
        "feature": feature,
        "key": key,
        "id": feature_id,
        "locked": locked,
        "seq": seq,
        "values": packed,
        "signed": signed,
        "domain": [-peak if signed else 0.0, peak],
        "robust": robust,
    }


def _robust(sizes: Floats) -> float:
    """Where the robust colour scale ends: the 98th percentile of the sizes that are not zero.

    Zeros are left out: of a sparse feature they would be all there is.
    """
    there = sizes[sizes > 0]
    return float(np.quantile(there, ROBUST)) if there.size else 0.0


def share_domain(rows: Sequence[dict[str, Any]]) -> None:
    """Give rows that are to be compared one colour domain, the widest of theirs."""
    lows, highs = zip(*(r["domain"] for r in rows), strict=True)
    robust = max(r["robust"] for r in rows)
    for r in rows:
        r["domain"] = [min(lows), max(highs)]
        r["robust"] = robust


def widen(made: dict[str, Any], least: float) -> None:
    """Make a row's colour domain reach to `least` at least."""
    low, high = made["domain"]
    made["domain"] = [min(low, -least) if low < 0 or made["signed"] else low, max(high, least)]
    made["robust"] = max(made["robust"], least)


def frame(
    seqs: list[dict[str, Any]],
    rows: list[dict[str, Any]],
    *,
    request: tuple[str, int] = ("", 0),
    notice: str | None = None,
    text: str = "",
    site: str = "",
    layer: int = 0,
    features: Sequence[int] = (),
    locked: Sequence[str] = (),
    source: str = "",
    compare: str = "",
    across: bool = False,
) -> dict[str, Any]:
    """The whole picture; `request` is the (view, id) that asked for it, ("", 0) for Python.

    `source` names what the rows that are not locked are of, as in their keys.
    """
    return {
        "id": request[1],
        "view": request[0],
        "text": text,
        "site": site,
        "layer": layer,
        "features": list(features),
        "locked": list(locked),
        "source": source,
        "compare": compare,
        "across": across,
        "seqs": seqs,
        "rows": rows,
        "notice": notice,
    }


def unpack_row(made: dict[str, Any]) -> Floats:
    """The values of a row, [tokens]."""
    return unpack(made["values"])


def value_at(made: dict[str, Any], row_index: int, position: int) -> float | None:
    """One value of a frame's row; None where it is missing."""
    value = float(unpack_row(made["rows"][row_index])[position])
    return None if math.isnan(value) else value
