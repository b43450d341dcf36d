"""The README's pictures: which state of the gallery each is, written into the picture itself.

A picture says in a text chunk what it was taken of; a picture whose words differ from the gallery's
is out of date. Pixels are not compared: fonts differ from machine to machine.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from pathlib import Path

from tests.gallery.state import State

IMAGES = Path(__file__).parents[2] / "notebooks" / "images"
_KEY = b"neuroglass gallery\0"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def path_of(name: str) -> Path:
    return IMAGES / f"{name}.png"


def declared(state: State) -> str:
    """A digest of what the gallery says of a state."""
    view = state.view
    shown = {n: getattr(view, n, None) for n in ("title", "code", "selected", "scale")}
    said = [state.of, state.kind, state.title, state.changes, state.width, state.kernel, state.act]
    text = json.dumps([said, state.asks, repr(view), shown], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stamp(png: bytes, words: str) -> bytes:
    """The same picture with `words` in it."""
    assert png.startswith(_SIGNATURE)
    body = b"tEXt" + _KEY + words.encode("latin-1")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    after_header = len(_SIGNATURE) + 25  # IHDR comes first and has 13 bytes
    return png[:after_header] + chunk + png[after_header:]


def stamped(png: bytes) -> str | None:
    """The words that were put into a picture, or None."""
    at = len(_SIGNATURE)
    while at + 8 <= len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        if kind == b"tEXt" and data.startswith(_KEY):
            return data[len(_KEY) :].decode("latin-1")
        at += length + 12
    return None
