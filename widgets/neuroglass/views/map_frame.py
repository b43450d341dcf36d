"""The frame of a feature map: all that its page draws, colours by, searches and tells.

A plane and the tables of its stores flow in; a dict of packed arrays flows out. Everything stays in
it, so that a page without a kernel can do the same.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from neuroglass.features.browse import ULTRALOW
from neuroglass.model.tokens import Kind
from neuroglass.views.codec import pack, pack_q8

if TYPE_CHECKING:
    from neuroglass.features.plane import Plane
    from neuroglass.features.store import Store

EXACT = 20_000  # points; of more, columns go in 8 bits
EXPLAINED = 20_000  # explanations that the page gets
_LISTS = 6  # that have a colour of their own
NEVER = "never on"

# name -> (unit, log, what it is)
COLUMNS: dict[str, tuple[str, bool, str]] = {
    "density": ("of tokens", True, "tokens where the feature is on (value > 0) / measured tokens"),
    "count": ("tokens", True, "tokens where the feature is on (value > 0)"),
    "max": ("activation", False, "largest value in the corpus"),
    "min": ("activation", False, "smallest value in the corpus"),
    "mean": ("activation", True, "mean value over all measured tokens"),
    "mean_square": ("activation²", True, "mean of value² over all measured tokens"),
    "skew": ("", False, "E[a³]/E[a²]^1.5 over all measured tokens, about zero"),
    "kurtosis": ("", True, "E[a⁴]/E[a²]² over all measured tokens, about zero"),
    "not_finite": ("tokens", False, "tokens where the value is NaN or infinite"),
    "single_token_share": ("of its tokens", False, "share of the commonest token"),
    "norm": ("", False, "length of the direction"),
    "score": ("", False, "score of the best explanation"),
    "rating": ("1 to 5", False, "how well one can tell what the feature is for"),
}
_TOKEN_KINDS = {
    "word": "letters after a space",
    "part of a word": "letters without a space before them",
    "other script": "letters that are not Latin",
    "number": "digits",
    "punctuation": "marks and signs",
    "white space": "spaces and line breaks",
    "bytes or special": "pieces of a character; special tokens",
    NEVER: "the feature was on at no token of the corpus",
}


def table_of(stores: Sequence[Store], extra: Mapping[str, npt.NDArray[Any]]) -> pd.DataFrame:
    """One row for each point: numbers of the stores' tables, and what people said of them."""
    parts = []
    for store in stores:
        known = store.to_frame()
        said = store.annotations.table().set_index("feature").reindex(known.index)
        part = known.drop(columns=[c for c in known if known[c].dtype == object])
        for name in ("explanation", "score", "rating", "lists"):
            part[name] = said[name]
        part["store"] = store.name
        parts.append(part.reset_index())
    made = pd.concat(parts, ignore_index=True)
    for name, values in extra.items():
        column = np.full(len(made), np.nan)
        column[: len(values)] = values
        made[name] = column
    return made


def numeric(table: pd.DataFrame) -> list[str]:
    """The columns that points can be coloured by, the known ones first."""
    found = [c for c in table.columns if pd.api.types.is_numeric_dtype(table[c])]
    found = [c for c in found if c not in {"feature", "top_token"} and table[c].notna().any()]
    return sorted(found, key=lambda c: ([*COLUMNS, c].index(c), c))


def frame(
    stores: Sequence[Store], plane: Plane, table: pd.DataFrame, notice: str = ""
) -> dict[str, Any]:
    """The whole picture."""
    n = len(table)
    exact = n <= EXACT
    pieces, top, promoted = _tokens(stores, table, 5 if exact else 3)
    said = table["explanation"].dropna()
    told = [notice] if notice else []
    if missing := int(np.isnan(plane.xy[:, 0]).sum()):
        told.append(f"{missing:,} directions are zero or not finite: not drawn.")
    if len(said) > EXPLAINED:
        told.append(f"The page has the first {EXPLAINED:,} of {len(said):,} explanations.")
    given = ", ".join(f"{k} {v}" for k, v in plane.parameters.items() if k != "random_state")
    return {
        "method": plane.method,
        "about": f"{plane.method.upper()}{f' ({given})' if given else ''} of directions of length "
        f"1 in {plane.space}",
        "explained": [round(s, 6) for s in plane.explained],
        "stores": [{"name": s.name, "n": k} for s, k in zip(stores, plane.sizes, strict=True)],
        "xy": pack(plane.xy),
        "columns": [_column(name, table[name], exact) for name in numeric(table)],
        "categories": categories(stores, table),
        "pieces": pieces,
        "top": pack(top, "i32"),
        "promoted": pack(promoted, "i32"),
        "explanations": {str(i): text for i, text in said.iloc[:EXPLAINED].items()},
        "notice": " ".join(told),
    }


def _column(name: str, values: pd.Series[Any], exact: bool) -> dict[str, Any]:
    """A numeric column; a logarithmic one as log10, where what is 0 stands below all the others."""
    unit, log, title = COLUMNS.get(name, ("", False, "a column of yours"))
    x = values.to_numpy(np.float64, na_value=np.nan)
    x = np.where(np.isfinite(x), x, np.nan)
    there = x[~np.isnan(x)]
    positive = there[there > 0]
    log = log and bool(len(positive)) and not bool((there < 0).any())
    zero = None
    ends = [float(there.min()), float(there.max())] if len(there) else [0.0, 0.0]
    if log:
        with np.errstate(divide="ignore"):
            x = np.log10(x)
        ends = [float(np.log10(positive.min())), float(np.log10(positive.max()))]
        zero = ends[0] - max(0.5, (ends[1] - ends[0]) / 20)
        x[np.isneginf(x)] = zero
    return {
        "key": name,
        "unit": unit,
        "title": title,
        "log": log,
        "zero": zero,
        "domain": ends,
        "values": pack(x) if exact else pack_q8(x),
    }


def categories(stores: Sequence[Store], table: pd.DataFrame) -> list[dict[str, Any]]:
    """What points can be told apart by that is no number."""
    density = table["density"].to_numpy()
    codes = np.where(table["count"].to_numpy() == 0, 2, np.where(density < ULTRALOW, 1, 0))
    found = [
        _category(
            "firing", ["on", "ultralow", "dead"], codes,
            ["", f"on at less than {ULTRALOW:g} of the tokens", "on at no token of the corpus"], 2,
        )
    ]  # fmt: skip
    names = list(_TOKEN_KINDS)
    kinds = _top_kinds(stores, table)
    found.append(
        _category("commonest token", names, np.array([names.index(k) for k in kinds]),
                  list(_TOKEN_KINDS.values()), names.index(NEVER))
    )  # fmt: skip
    lists = list(stores[0].annotations.lists())[:_LISTS]
    if lists:
        own = stores[0].annotations.lists()
        codes = np.full(len(table), len(lists))
        for k in reversed(range(len(lists))):  # a feature on several has the first one's colour
            codes[own[lists[k]]] = k
        left = len(own) - len(lists)
        rest = f"on none of these ({left} more lists)" if left else "on no list"
        titles = ["" for _ in range(len(lists) + 1)]
        found.append(_category("list", [*lists, rest], codes, titles, len(lists)))
    if len(stores) > 1:
        number = np.repeat(np.arange(len(stores)), [s.n_features for s in stores])
        found.append(_category("store", [s.name for s in stores], number, ["" for _ in stores]))
    return found


def _category(
    key: str, names: list[str], codes: npt.NDArray[Any], titles: list[str], none: int = -1
) -> dict[str, Any]:
    packed = pack(codes, "u8")
    return {"key": key, "names": names, "titles": titles, "codes": packed, "none": none}


def _top_kinds(stores: Sequence[Store], table: pd.DataFrame) -> list[str]:
    found, at = [], 0
    for store in stores:
        pieces, kinds, _ = store.vocabulary
        rows = table.iloc[at : (at := at + store.n_features)]
        for token, count in zip(rows["top_token"], rows["count"], strict=True):
            if count == 0 or token < 0:
                found.append(NEVER)
            else:
                found.append(kind_of(str(pieces[token]), int(kinds[token])))
    return found


def kind_of(piece: str, kind: int) -> str:
    """What sort of token a piece is: one of the names on the map's legend."""
    if kind != int(Kind.TEXT):
        return "bytes or special"
    text = piece.strip()
    if not text:
        return "white space"
    letters = [c for c in text if unicodedata.category(c)[0] in "LM"]
    if letters:
        latin = all("LATIN" in unicodedata.name(c, "") for c in letters if c.isalpha())
        if not latin:
            return "other script"
        return "word" if piece[0].isspace() else "part of a word"
    return "number" if any(c.isdigit() for c in text) else "punctuation"


def _tokens(
    stores: Sequence[Store], table: pd.DataFrame, k: int
) -> tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pieces that are named, and for each point the commonest and the promoted ones; -1: none."""
    at: dict[str, int] = {}
    top = np.full(len(table), -1, np.int64)
    promoted = np.full((len(table), k), -1, np.int64)
    first = 0
    for store in stores:
        pieces = store.vocabulary[0]

        def name(token: int, pieces: Any = pieces) -> int:
            return at.setdefault(str(pieces[token]), len(at))

        last = first + store.n_features
        rows = table.iloc[first:last]
        top[first:last] = [
            name(token) if count and token >= 0 else -1
            for token, count in zip(rows["top_token"], rows["count"], strict=True)
        ]
        if "promoted" in store.columns:
            ids = np.stack([row[:k] for row in store.to_frame()["promoted"]])
            unique, inverse = np.unique(ids, return_inverse=True)
            named = np.array([name(int(token)) for token in unique])
            promoted[first:last, : ids.shape[1]] = named[inverse.reshape(ids.shape)]
        first = last
    return list(at), top, promoted
