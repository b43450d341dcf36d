"""The codec against golden bytes that the TypeScript tests read too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroglass.model.errors import InputError
from neuroglass.views.codec import pack, pack_q8, unpack

GOLDEN = Path(__file__).parent.parent / "golden"
CASES = json.loads((GOLDEN / "codec.json").read_text())
BLOB = (GOLDEN / "codec.bin").read_bytes()


def packed(case: dict[str, Any]) -> dict[str, Any]:
    data = BLOB[case["offset"] : case["offset"] + case["length"]]
    return {k: case[k] for k in ("dtype", "shape", "lo", "hi") if k in case} | {"data": data}


def values(case: dict[str, Any]) -> np.ndarray[Any, Any]:
    special = {None: np.nan, "inf": np.inf, "-inf": -np.inf}
    flat = [special.get(v, v) if not isinstance(v, float | int) else v for v in case["values"]]
    return np.array(flat, dtype=np.float64).reshape(case["shape"])


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_golden_bytes_decode_to_the_golden_values(case: dict[str, Any]) -> None:
    decoded = unpack(packed(case))
    # f32 rounding of lo + (hi - lo) * code / 254 is the only slack
    np.testing.assert_allclose(decoded, values(case), rtol=1e-6 if case["dtype"] == "q8" else 0)


@pytest.mark.parametrize("case", [c for c in CASES if c["dtype"] != "q8"], ids=lambda c: c["name"])
def test_exact_types_encode_to_the_golden_bytes(case: dict[str, Any]) -> None:
    kind = np.float32 if case["dtype"] == "f32" else np.int64
    assert pack(values(case).astype(kind), case["dtype"])["data"] == packed(case)["data"]


def test_q8_error_is_at_most_half_a_step_and_missing_stays_missing() -> None:
    x = np.random.default_rng(0).normal(size=(7, 50))
    x[2, 3] = np.nan
    back = unpack(pack_q8(x))
    step = (np.nanmax(x) - np.nanmin(x)) / 254
    assert np.isnan(back[2, 3])
    assert np.isnan(back).sum() == 1
    # half a step, and float32 rounding of numbers of size 5
    assert np.nanmax(np.abs(back - x)) <= step / 2 + 1e-6


def test_q8_of_nothing_finite_is_all_missing() -> None:
    assert np.isnan(unpack(pack_q8([np.nan, np.nan]))).all()


def test_a_buffer_that_does_not_fit_its_shape_is_refused() -> None:
    with pytest.raises(InputError, match="does not hold"):
        unpack({"dtype": "f32", "shape": [3], "data": b"\x00" * 8})


def test_an_unknown_dtype_is_refused_both_ways() -> None:
    with pytest.raises(InputError, match="f64"):
        pack([1.0], "f64")
    with pytest.raises(InputError, match="f64"):
        unpack({"dtype": "f64", "shape": [1], "data": b"\x00" * 8})
