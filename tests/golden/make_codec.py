"""Write codec.bin and codec.json: packed arrays that pytest and vitest both read.

Bytes and values are written out here with ``struct``, from the format's definition and without the
package's own codec, so that the two can disagree. Run once after a change of the format.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NAN, INF = math.nan, math.inf


def q8(codes: list[int], lo: float, hi: float) -> list[float]:
    return [NAN if c == 255 else lo + (hi - lo) * c / 254 for c in codes]


CASES: list[tuple[str, str, list[int], bytes, list[float], dict[str, float]]] = [
    ("f32 line", "f32", [3], struct.pack("<3f", 0.5, -1.25, 3.0), [0.5, -1.25, 3.0], {}),
    (
        "f32 special",
        "f32",
        [2, 3],
        struct.pack("<6f", NAN, INF, -INF, 0.0, 2.0**-149, 3.0e38),
        [NAN, INF, -INF, 0.0, 2.0**-149, struct.unpack("<f", struct.pack("<f", 3.0e38))[0]],
        {},
    ),
    (
        "i32",
        "i32",
        [4],
        struct.pack("<4i", 0, -1, 2**31 - 1, -(2**31)),
        [0, -1, 2147483647, -2147483648],
        {},
    ),
    ("u8", "u8", [5], bytes([0, 1, 127, 128, 255]), [0, 1, 127, 128, 255], {}),
    (
        "q8",
        "q8",
        [2, 2],
        bytes([0, 127, 254, 255]),
        q8([0, 127, 254, 255], -2.0, 6.0),
        {"lo": -2.0, "hi": 6.0},
    ),
    ("q8 flat", "q8", [2], bytes([0, 255]), q8([0, 255], 1.5, 1.5), {"lo": 1.5, "hi": 1.5}),
    ("empty", "f32", [0], b"", [], {}),
    ("no rows", "i32", [0, 5], b"", [], {}),
]


def plain(x: float) -> Any:
    if math.isnan(x):
        return None
    if math.isinf(x):
        return "inf" if x > 0 else "-inf"
    return x


def main() -> None:
    blob, listed = b"\x00", []
    for name, dtype, shape, data, values, more in CASES:
        if len(blob) % 2 == 0:
            blob += b"\x00"  # odd offsets: a decoder must not count on alignment
        listed.append(
            {"name": name, "dtype": dtype, "shape": shape, "offset": len(blob), "length": len(data)}
            | more
            | {"values": [plain(v) for v in values]}
        )
        blob += data
    (HERE / "codec.bin").write_bytes(blob)
    (HERE / "codec.json").write_text(json.dumps(listed, indent=1) + "\n")


if __name__ == "__main__":
    main()
