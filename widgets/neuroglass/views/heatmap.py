"""``TokenHeatmap``: text coloured token by token.

This is the static view: tokens and numbers from anywhere, no model and no torch. The live one
(``live_heatmap``) is the same picture with a model behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import traitlets as t

from neuroglass.model.errors import InputError
from neuroglass.model.tokens import display_all
from neuroglass.views import fallback
from neuroglass.views import frame as frames
from neuroglass.views.base import View, bundle
from neuroglass.views.codec import unpack
from neuroglass.views.frame import Floats
from neuroglass.views.selectable import Selectable

_SIGNED = {"auto": None, "positive": False, "signed": True}


class TokenHeatmap(Selectable):
    """Tokens, coloured by one or several rows of values.

    Args:
        tokens: the token strings, or a list of such lists for several texts.
        values: [tokens]; [rows, tokens] for several rows over one text; for several texts a list
            with one [tokens] each. Lists, numpy arrays and torch tensors alike. NaN means missing
            and is drawn hatched; infinities are refused.
        labels: one name per row.
        kind: ``"auto"`` (signed if any value is negative), ``"positive"`` or ``"signed"``.
        scale: ``"shared"``: one colour domain for all rows; ``"row"``: one for each; ``"robust"``:
            one for each that ends at the 98th percentile of its values that are not zero (by
            size); what lies beyond is marked.
        wrap: break lines where the text does; False writes line breaks as marks only.
        arrange: ``"rows"``: the text once for each row; ``"one"``: once, coloured by a row that is
            chosen; ``"auto"``: rows while they are few.
        theme: ``"auto"``, ``"light"`` or ``"dark"``.

    Traits:
        selected: (row, position) of the clicked token, or None. Settable.
        token: the position alone, for links with other views of the same text. Settable.

    Raises:
        InputError: shapes that do not fit, values that are no numbers, no tokens.
        TypeError: an unknown keyword.
    """

    _esm = bundle("heatmap", "js")
    _css = bundle("heatmap", "css")

    text = t.Unicode("").tag(sync=True)
    site = t.Unicode("").tag(sync=True)
    layer = t.Int(0).tag(sync=True)
    features = t.List(t.Int()).tag(sync=True)
    locked = t.List(t.Unicode()).tag(sync=True)
    compare = t.Unicode("").tag(sync=True)
    across = t.Bool(False).tag(sync=True)
    choices = t.Dict().tag(sync=True)
    frame = t.Dict().tag(sync=True)
    feature = t.Unicode("").tag(sync=True)
    scale = t.Enum(["row", "shared", "robust"], default_value="shared").tag(sync=True)
    wrap = t.Bool(True).tag(sync=True)
    arrange = t.Enum(["auto", "rows", "one"], default_value="auto").tag(sync=True)

    _handlers: ClassVar[dict[str, str]] = {**View._handlers, "detail": "_on_detail"}

    def __init__(
        self,
        tokens: Sequence[str] | Sequence[Sequence[str]],
        values: Any,
        *,
        labels: Sequence[str] | None = None,
        kind: str = "auto",
        **traits: Any,
    ) -> None:
        if kind not in _SIGNED:
            raise InputError(f"There is no kind {kind!r}.", f"Valid: {', '.join(_SIGNED)}.")
        texts, arrays = _align(tokens, values)
        names = _labels(labels, len(arrays))
        exact = sum(a.size for a in arrays) <= frames.EXACT
        seqs = [frames.sequence(*display_all(text)) for text in texts]
        rows = [
            frames.row(name, a, seq=seq, signed=_SIGNED[kind], exact=exact)
            for name, (a, seq) in zip(names, _rows(texts, arrays), strict=True)
        ]
        super().__init__(frame=frames.frame(seqs, rows), **traits)

    @t.validate("selected")
    def _check_selected(self, proposal: Any) -> tuple[int, int] | None:
        """Refuse a selection that the picture does not have."""
        value: tuple[int, int] | None = proposal["value"]
        if value is not None and self.frame:
            rows = self.frame["rows"]
            if not 0 <= value[0] < len(rows):
                raise InputError(
                    f"There is no row {value[0]} to select.", f"Rows: {len(rows)}, from 0."
                )
            n = len(self.frame["seqs"][rows[value[0]]["seq"]]["pieces"])
            if not 0 <= value[1] < n:
                raise InputError(f"There is no token {value[1]}.", f"Tokens: {n}, from 0.")
        return value

    def _has_place(self, row: int, position: int) -> bool:
        return has_place(self.frame, (row, position))

    def _on_detail(self, request: Any) -> None:
        row, position = request.get("row", int), request.get("position", int)
        self._check_selected({"value": (row, position)})
        self._answer(request, value=frames.value_at(self.frame, row, position), strongest=[])

    def __repr__(self) -> str:
        rows = self.frame.get("rows", [])
        tokens = sum(len(s["pieces"]) for s in self.frame.get("seqs", []))
        labels = ", ".join(r["label"] for r in rows[:3]) + (", …" if len(rows) > 3 else "")
        return f"{type(self).__name__}({tokens} tokens; {len(rows)} rows: {labels})"

    def fallback_html(self) -> str:
        """The rows as an image, as many as there is room for; says what it leaves out."""
        seqs = self.frame.get("seqs", [])
        return fallback.picture(
            [
                fallback.Row(
                    r["label"], seqs[r["seq"]]["pieces"], unpack(r["values"]), r["domain"][1]
                )
                for r in self.frame.get("rows", [])
            ]
        )


def has_place(frame: Mapping[str, Any], place: tuple[int, int]) -> bool:
    """A frame has this row and this token in it."""
    row, position = place
    rows, seqs = frame.get("rows", []), frame.get("seqs", [])
    return 0 <= row < len(rows) and 0 <= position < len(seqs[rows[row]["seq"]]["pieces"])


def _align(tokens: Any, values: Any) -> tuple[list[list[str]], list[Floats]]:
    """Token lists and value arrays [tokens] in the same order; one text may have many rows."""
    texts = _texts(tokens)
    if len(texts) == 1:
        arrays = [_numbers(values)] if not _ragged(values) else [_numbers(v) for v in values]
        if len(arrays) == 1 and arrays[0].ndim == 2:
            arrays = list(arrays[0])
    else:
        arrays = [_numbers(v) for v in values]
        if len(arrays) != len(texts):
            raise InputError(f"There are {len(texts)} texts and {len(arrays)} rows of values.")
    if not arrays:
        raise InputError("There are no values.", "Give one number per token.")
    for a, (i, text) in zip(arrays, _which_text(texts, arrays), strict=True):
        if a.shape != (len(text),):
            raise InputError(
                f"The values of row {i} have shape {list(a.shape)}, and there are "
                f"{len(text)} tokens.",
                "Give one number per token.",
            )
    return texts, arrays


def _which_text(texts: list[list[str]], arrays: list[Floats]) -> list[tuple[int, list[str]]]:
    return [(i, texts[i if len(texts) > 1 else 0]) for i in range(len(arrays))]


def _rows(texts: list[list[str]], arrays: list[Floats]) -> list[tuple[Floats, int]]:
    return [(a, i if len(texts) > 1 else 0) for i, a in enumerate(arrays)]


def _texts(tokens: Any) -> list[list[str]]:
    if isinstance(tokens, str):
        raise InputError(
            "tokens is one text, not a list of tokens.",
            'Split it first, or use ng.heatmap(model, "…") for a live view.',
        )
    items = list(tokens)
    if not items:
        raise InputError("There are no tokens.", "Give at least one token.")
    if all(isinstance(i, str) for i in items):
        return [items]
    if all(isinstance(i, Sequence) and not isinstance(i, str) for i in items):
        texts = [list(i) for i in items]
        if all(text and all(isinstance(p, str) for p in text) for text in texts):
            return texts
    raise InputError("tokens must be strings, or lists of strings, none of them empty.")


def _ragged(values: Any) -> bool:
    return isinstance(values, list | tuple) and any(np.ndim(v) == 1 for v in values)


def _numbers(values: Any) -> Floats:
    if hasattr(values, "detach"):  # a torch tensor, without importing torch
        values = values.detach().cpu().float().numpy()
    try:
        array = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"The values are not numbers: {error}.") from error
    if np.isinf(array).any():
        raise InputError(
            "The values contain infinities, which no colour scale can show.",
            "Replace them, or use NaN for missing values.",
        )
    return array


def _labels(labels: Sequence[str] | None, rows: int) -> list[str]:
    if labels is None:
        return ["values"] if rows == 1 else [f"row {i}" for i in range(rows)]
    if isinstance(labels, str) or len(labels) != rows:
        raise InputError(f"There are {rows} rows of values, and labels does not name as many.")
    return [str(label) for label in labels]
