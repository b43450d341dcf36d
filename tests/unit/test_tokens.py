"""Display pieces: safe, visible, and nothing lost."""

from __future__ import annotations

import re

import pytest

from neuroglass import LiveModel
from neuroglass.model.tokens import Kind, Pieces, display, display_bytes

T, E = Kind.TEXT, Kind.ESCAPED


@pytest.mark.parametrize(
    ("text", "piece", "kind"),
    [
        (" the", " the", T),
        ("\n\t ", "\n\t ", T),
        ("<script>alert(1)</script>", "<script>alert(1)</script>", T),
        ("日本", "日本", T),
        ("👩\u200d🔬", "👩\u200d🔬", T),  # the joiner makes one emoji: kept
        ("\u200d", "⟨U+200D⟩", E),
        ("a\u200bb", "a⟨U+200B⟩b", E),
        ("\u202eevil", "⟨U+202E⟩evil", E),
        ("\x00", "⟨U+0000⟩", E),
        ("\r\x1b[31m", "⟨U+000D⟩⟨U+001B⟩[31m", E),
        ("\ud800", "⟨U+D800⟩", E),
        ("\u2028", "⟨U+2028⟩", E),
        ("", "", T),
    ],
)
def test_display_shows_what_is_invisible_and_keeps_the_rest(
    text: str, piece: str, kind: Kind
) -> None:
    assert display(text) == (piece, kind)
    piece.encode("utf-8")  # a lone surrogate could not be sent


@pytest.mark.parametrize(
    ("raw", "piece", "kind"),
    [
        (b" caf\xc3\xa9", " café", T),
        (b"\xe4\xbd", "⟨e4 bd⟩", E),
        (b"\xa0 ok", "⟨a0⟩ ok", E),
        (b"\xff\xfe", "⟨ff fe⟩", E),
        ("\ufffd".encode(), "\ufffd", T),  # a real replacement character is text, not damage
        (b"", "", T),
    ],
)
def test_bytes_that_are_no_whole_character_show_as_hex(raw: bytes, piece: str, kind: Kind) -> None:
    assert display_bytes(raw) == (piece, kind)


def test_without_a_tokenizer_ids_show_as_numbers() -> None:
    assert Pieces(None).many([3, 14]) == (["3 ", "14 "], [0, 0])


@pytest.mark.model
@pytest.mark.parametrize(
    "text",
    [
        "The capital of France is Paris.",
        "  two\n\n\tlines ",
        "naïve café",
        "def f(x):\n    return x\n",
    ],
)
def test_pieces_of_real_text_join_to_the_text(text: str, smollm2: LiveModel) -> None:
    ids, _ = smollm2.tokenize(text)
    pieces, kinds = smollm2.pieces.many(ids[0].tolist())
    assert "".join(pieces) == text
    assert set(kinds) == {Kind.TEXT}


@pytest.mark.model
def test_split_characters_show_their_bytes_and_all_bytes_are_there(smollm2: LiveModel) -> None:
    text = "안녕 שלום 𝔘"
    ids, _ = smollm2.tokenize(text)
    pieces, _ = smollm2.pieces.many(ids[0].tolist())
    back = b""
    for part in re.split("(⟨[0-9a-f ]+⟩)", "".join(pieces)):
        back += bytes.fromhex(part[1:-1]) if part.startswith("⟨") else part.encode()
    assert back.decode() == text


@pytest.mark.model
def test_every_id_of_the_vocabulary_has_a_piece_that_can_be_sent(smollm2: LiveModel) -> None:
    pieces, kinds = smollm2.pieces.many(range(smollm2.vocabulary))
    "".join(pieces).encode("utf-8")
    assert all(pieces)
    special = {i for i, kind in enumerate(kinds) if kind == Kind.SPECIAL}
    assert special == set(smollm2.tokenizer.all_special_ids)  # type: ignore[union-attr]


def test_byte_fallback_vocabularies_are_read() -> None:
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<s>", "▁the", "▁", "<0xE4>", "<0x0A>", "cat"]
    raw = Tokenizer(
        models.BPE(
            vocab={w: i for i, w in enumerate(words)},
            merges=[],
            byte_fallback=True,
            unk_token="<unk>",
        )
    )
    raw.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback()])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", unk_token="<unk>")
    pieces, kinds = Pieces(tokenizer).many([1, 2, 3, 4, 5, 6, 99])
    assert pieces == ["<s>", " the", " ", "⟨e4⟩", "\n", "cat", "⟨id 99⟩"]
    assert kinds == [2, 0, 0, 1, 0, 0, 1]
