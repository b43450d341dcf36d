"""Packed arrays: how numbers cross to the browser.

An array flows in, a dict ``{dtype, shape, data, lo?, hi?}`` with a little-endian buffer flows out;
``js/src/core/codec.ts`` reads the same form, and both are tested against the same golden bytes.
``q8`` is lossy (254 steps between `lo` and `hi`, code 255 for a missing value): views that use it
mark the numbers as approximate.
"""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from neuroglass.model.errors import InputError

_DTYPES: dict[str, np.dtype[Any]] = {
    "f32": np.dtype("<f4"),
    "i32": np.dtype("<i4"),
    "u8": np.dtype("u1"),
}
_STEPS = 254
_MISSING = 255


class Packed(TypedDict, total=False):
    """An array on the wire; `lo` and `hi` belong to ``q8``."""

    dtype: str
    shape: list[int]
    data: bytes
    lo: float
    hi: float


def pack(values: npt.ArrayLike, dtype: str = "f32") -> Packed:
    """Pack exactly, as ``f32``, ``i32`` or ``u8`` in C order.

    Raises:
        InputError: unknown dtype.
    """
    if dtype not in _DTYPES:
        raise InputError(f"There is no packed dtype {dtype!r}.", f"Valid: {', '.join(_DTYPES)}.")
    array = np.ascontiguousarray(values, dtype=_DTYPES[dtype])
    return {"dtype": dtype, "shape": list(array.shape), "data": array.tobytes()}


def pack_q8(values: npt.ArrayLike) -> Packed:
    """Pack as ``q8``: one byte a value, NaN kept as missing, infinities clipped to the ends."""
    array = np.asarray(values, dtype=np.float64)
    finite = array[np.isfinite(array)]
    lo, hi = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    scale = _STEPS / (hi - lo) if hi > lo else 0.0
    with np.errstate(invalid="ignore"):
        codes = np.rint((np.clip(array, lo, hi) - lo) * scale)
    codes = np.where(np.isnan(array), _MISSING, codes).astype("u1")
    return {"dtype": "q8", "shape": list(array.shape), "data": codes.tobytes(), "lo": lo, "hi": hi}


def unpack(packed: dict[str, Any] | Packed) -> npt.NDArray[Any]:
    """The array of a packed dict; ``q8`` comes back as float32 with NaN where missing.

    Raises:
        InputError: the buffer's length does not fit the shape, or the dtype is unknown.
    """
    name = packed["dtype"]
    dtype: np.dtype[Any] | None = np.dtype("u1") if name == "q8" else _DTYPES.get(name)
    if dtype is None:
        raise InputError(f"There is no packed dtype {name!r}.")
    data, shape = bytes(packed["data"]), packed["shape"]
    if len(data) != int(np.prod(shape, dtype=np.int64)) * dtype.itemsize:
        raise InputError(f"A buffer of {len(data)} bytes does not hold {shape} values of {name}.")
    array: npt.NDArray[Any] = np.frombuffer(data, dtype=dtype).reshape(shape)
    if name != "q8":
        return array
    lo, hi = packed["lo"], packed["hi"]
    values = lo + (hi - lo) * (array / _STEPS)
    return np.where(array == _MISSING, np.nan, values).astype(np.float32)
