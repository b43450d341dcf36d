"""Text of others inside a prompt: it is read as text, whatever it looks like.

A window of a corpus, an explanation that somebody typed: any of them may hold a newline that ends
a block, a bracket that opens a highlight, or ``<|im_end|>``. Two lines of defence stand here:
``shown`` and ``one_line`` change what the prompt says, ``plain_ids`` what is made of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neuroglass.explanation.records import F64
from neuroglass.model.errors import InputError
from neuroglass.model.tokens import display, whole_characters

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LONGEST = 1000  # characters of an explanation

_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
# what servers and templates take for their own marks
_MARKS = re.compile(
    r"<(?=[|｜])|(?<=[|｜])>|<(?=/?(?:s|bos|eos|pad|unk|mask|start_of_turn|end_of_turn|think|"
    r"tool_call|tool_response|image|audio)>)|\[(?=/?(?:INST|SYSTEM_PROMPT|TOOL_CALLS)\])",
    re.IGNORECASE,
)
_LINE_ENDS = re.compile("[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")


def _apart(match: re.Match[str]) -> str:
    mark = match.group()
    return f" {mark}" if mark == ">" else f"{mark} "


def disarmed(text: str) -> str:
    """`text` with a space inside all that a chat template could take for a mark of its own."""
    return _MARKS.sub(_apart, whole_characters(text))


def shown(piece: str) -> str:
    """A token's display piece on one line: backslash, newline and tab as escapes."""
    escaped = "".join(_ESCAPES.get(c, c) for c in display(piece)[0])
    return disarmed(escaped)


def one_line(text: str) -> str:
    """A text of people or models on one line.

    Raises:
        InputError: it is empty, or longer than ``LONGEST`` characters.
    """
    line = " ".join(_LINE_ENDS.sub(" ", disarmed(display(text)[0])).split())
    if not line:
        raise InputError("The explanation is empty.", "Write what the feature is on at.")
    if len(line) > LONGEST:
        raise InputError(
            f"The explanation has {len(line)} characters; {LONGEST} can be simulated.",
            "Make it shorter.",
        )
    return line


def quantised(values: F64, largest: float, top: int = 10) -> list[int]:
    """Whole numbers 0…top: ⌊top·max(a, 0)/largest⌋, at most `top` (Bills et al. 2023)."""
    if not largest > 0:
        return [0] * len(values)
    return [min(top, int(top * max(float(a), 0.0) / largest + 1e-9)) for a in values]


def listing(pieces: Sequence[str], numbers: Sequence[int]) -> str:
    """One line for each token: the token, a tab, its number."""
    return "\n".join(f"{shown(p)}\t{n}" for p, n in zip(pieces, numbers, strict=True))


OPEN, CLOSE = "<<", ">>"
_IN, _OUT = "\ue000", "\ue001"  # private-use characters: `display` lets none through


def highlighted(pieces: Sequence[str], marked: Sequence[bool]) -> str:
    """A window as one line of text, its marked tokens between << and >>.

    Neighbours share one pair of marks. What looks like a mark in the text gets a space inside.
    """
    parts: list[str] = []
    inside = False
    for piece, mark in zip(pieces, marked, strict=True):
        if mark != inside:
            parts.append(_IN if mark else _OUT)
        inside = mark
        parts.append("".join(_ESCAPES.get(c, c) for c in display(piece)[0]))
    parts.append(_OUT if inside else "")
    # over the whole text: a mark may lie across tokens
    text = disarmed("".join(parts))
    text = re.sub(r"([<>])(?=\1)", r"\1 ", text)
    text = re.sub(f"<(?=[{_IN}{_OUT}])|>(?=[{_IN}{_OUT}])", r"\g<0> ", text)
    text = re.sub(f"(?<=[{_IN}{_OUT}])([<>])", r" \1", text)
    return text.replace(_IN, OPEN).replace(_OUT, CLOSE)


# -- ids ---------------------------------------------------------------------------------------


def plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of a text, none of them a token that the tokenizer was given beside its vocabulary.

    Those are what controls a model: ends of turns, roles, tools.
    """
    text = whole_characters(text)
    added = set(tokenizer.added_tokens_decoder) | set(tokenizer.all_special_ids)
    ids: list[int] = _encode(tokenizer, text)
    if added.isdisjoint(ids):
        return ids
    ids = _encode(tokenizer, text, split_special_tokens=True)
    if added.isdisjoint(ids):
        return ids
    # not every added token counts as special; a sign that nobody sees keeps their letters apart
    for token in sorted((str(t) for t in tokenizer.get_added_vocab()), key=len, reverse=True):
        if len(token) > 1:
            text = text.replace(token, f"{token[0]}\u2060{token[1:]}")
    ids = _encode(tokenizer, text, split_special_tokens=True)
    return [i for i in ids if i not in added]


def _encode(tokenizer: PreTrainedTokenizerBase, text: str, **options: Any) -> list[int]:
    if not text:
        return []
    found: list[int] = tokenizer(text, add_special_tokens=False, verbose=False, **options)[
        "input_ids"
    ]
    return found


def chat_ids(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, str]]
) -> list[int]:
    """Messages as ids by the chat template, whose own tokens alone can be control tokens.

    Each message stands in the template as a place-holder while that is read, so that no message
    can end its turn. A template that takes no system message gets it in the first user's.

    Raises:
        InputError: there is no template, or it changes what it is given.
    """
    if tokenizer.chat_template is None:
        raise InputError("The tokenizer has no chat template.", "LocalChat needs a chat model.")
    try:
        return _filled(tokenizer, messages)
    except InputError:
        if messages[0]["role"] != "system" or len(messages) < 2:
            raise
        first = f"{messages[0]['content']}\n\n{messages[1]['content']}"
        return _filled(tokenizer, [{**messages[1], "content": first}, *messages[2:]])


def _filled(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, str]]) -> list[int]:
    places = [f"neuroglassplace{i}end" for i in range(len(messages))]
    stand_ins = [{"role": m["role"], "content": p} for m, p in zip(messages, places, strict=True)]
    try:
        whole = tokenizer.apply_chat_template(stand_ins, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # templates raise jinja's errors, whatever they are
        raise InputError(f"The chat template does not take these messages ({error}).") from None
    rest, ids = str(whole), []
    pending = ""
    for place, message in zip(places, messages, strict=True):
        before, found, rest = rest.partition(place)
        if not found:
            raise InputError("The chat template leaves a message out.")
        content = message["content"]
        ordinary = plain_ids(tokenizer, content) == _encode(tokenizer, content)
        if ordinary:  # letters of both sides may make one token, as when the model was trained
            pending += before + whole_characters(content)
        else:
            ids += [*_encode(tokenizer, pending + before), *plain_ids(tokenizer, content)]
            pending = ""
    return ids + _encode(tokenizer, pending + rest)
