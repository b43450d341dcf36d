"""Display pieces: what each token looks like to a person, made once, here.

Token ids (or the strings a user hands to a static view) flow in; out come pieces that are safe to
put in a text node and never lose anything: ordinary text stays as it is (spaces, newlines and tabs
included, so copying it is faithful), bytes that are no whole character show as ⟨e4⟩, invisible or
direction-changing characters as ⟨U+200B⟩. A kind beside each piece says which of these it is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_KEPT = "\n\t"
_JOINERS = "\u200c\u200d"  # meaningful inside a piece (emoji, Persian), invisible at its edge


class Kind(IntEnum):
    """What a piece is."""

    TEXT = 0
    ESCAPED = 1  # raw bytes or escaped characters
    SPECIAL = 2


def whole_characters(text: str) -> str:
    """`text` with "?" for halves of surrogate pairs: a browser can send one, nothing takes it."""
    return text.encode("utf-8", "replace").decode("utf-8")


def display(text: str) -> tuple[str, Kind]:
    """The piece of a token given as a string, with its kind."""
    out: list[str] = []
    for i, c in enumerate(text):
        category = unicodedata.category(c)
        joins = c in _JOINERS and 0 < i < len(text) - 1
        if c in _KEPT or joins or category not in {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}:
            out.append(c)
        else:
            out.append(f"⟨U+{ord(c):04X}⟩")
    piece = "".join(out)
    return piece, Kind.TEXT if piece == text else Kind.ESCAPED


def display_bytes(raw: bytes) -> tuple[str, Kind]:
    """The piece of a token given as bytes: whole characters as text, the rest as ⟨hex⟩."""
    # surrogateescape turns each byte that is part of no character into one lone surrogate
    decoded = raw.decode("utf-8", "surrogateescape")
    parts: list[str] = []
    kind = Kind.TEXT
    for part in re.split("([\udc80-\udcff]+)", decoded):
        if part and "\udc80" <= part[0] <= "\udcff":
            parts.append("⟨" + " ".join(f"{ord(c) - 0xDC00:02x}" for c in part) + "⟩")
            kind = Kind.ESCAPED
        else:
            piece, part_kind = display(part)
            parts.append(piece)
            kind = max(kind, part_kind)
    return "".join(parts), kind


def display_all(tokens: Iterable[str]) -> tuple[list[str], list[int]]:
    """Pieces and kinds of tokens given as strings."""
    made = [display(t) for t in tokens]
    return [piece for piece, _ in made], [int(kind) for _, kind in made]


@lru_cache(maxsize=1)
def _byte_of_char() -> dict[str, int]:
    """GPT-2's byte-level alphabet: printable bytes stand for themselves, the others for U+0100…"""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(0xAE, 0x100)]
    table = {chr(b): b for b in plain}
    others = (b for b in range(256) if b not in set(plain))
    table.update({chr(0x100 + i): b for i, b in enumerate(others)})
    return table


class Pieces:
    """Display pieces of one tokenizer's ids; without a tokenizer, ids show as numbers.

    Knows byte-level BPE (GPT-2, Llama 3, SmolLM2, Qwen) and byte-fallback vocabularies
    (Llama 2, Gemma: ``▁`` for a space, ``<0xE4>`` for a byte); any other tokenizer is asked to
    decode each id alone.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase | None) -> None:
        self._tokenizer = tokenizer
        self._special = set(tokenizer.all_special_ids) if tokenizer is not None else set()
        self._read = self._reader()
        self._cache: dict[int, tuple[str, Kind]] = {}

    def _reader(self) -> Callable[[int, str], tuple[str, Kind]]:
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        described = backend.to_str() if backend is not None else ""
        if '"ByteLevel"' in described:
            return _from_byte_level
        if '"ByteFallback"' in described or "▁" in described[:4000]:
            return _from_byte_fallback
        return lambda token_id, _: display(self._decode(token_id))

    def _decode(self, token_id: int) -> str:
        assert self._tokenizer is not None
        return str(self._tokenizer.decode([token_id], clean_up_tokenization_spaces=False))

    def one(self, token_id: int) -> tuple[str, Kind]:
        """The piece and kind of one id."""
        made = self._cache.get(token_id)
        if made is None:
            made = self._cache[token_id] = self._make(token_id)
        return made

    def _make(self, token_id: int) -> tuple[str, Kind]:
        if self._tokenizer is None:
            return f"{token_id} ", Kind.TEXT
        token: Any = self._tokenizer.convert_ids_to_tokens(token_id)
        if token is None:  # an id that the embedding has and the tokenizer has not
            return f"⟨id {token_id}⟩", Kind.ESCAPED
        if token_id in self._special:
            return display(token)[0], Kind.SPECIAL
        return self._read(token_id, token)

    def many(self, ids: Sequence[int]) -> tuple[list[str], list[int]]:
        """Pieces and kinds of a sequence of ids."""
        made = [self.one(i) for i in ids]
        return [piece for piece, _ in made], [int(kind) for _, kind in made]


def _from_byte_level(_: int, token: str) -> tuple[str, Kind]:
    table = _byte_of_char()
    if all(c in table for c in token):
        return display_bytes(bytes(table[c] for c in token))
    return display(token)  # an added token, stored as plain text


def _from_byte_fallback(_: int, token: str) -> tuple[str, Kind]:
    if match := re.fullmatch(r"<0x([0-9A-Fa-f]{2})>", token):
        return display_bytes(bytes([int(match[1], 16)]))
    return display(token.replace("▁", " "))
