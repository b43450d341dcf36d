"""Prompts: texts, token ids and chat messages become rows of token ids.

This is the one place where text is tokenised (DESIGN §4.1) and where what is no prompt is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch

from neuroglass.model.errors import InputError
from neuroglass.model.tokens import whole_characters

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message: TypeAlias = Mapping[str, str]
Prompt: TypeAlias = "str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]] | torch.Tensor | np.ndarray | Sequence[Message]"  # noqa: E501 - an alias can't be wrapped


@dataclass(frozen=True)
class Prompts:
    """Makes rows of ids for one model: `name`, `vocabulary` and `context` are the model's."""

    tokenizer: PreTrainedTokenizerBase | None
    name: str
    vocabulary: int
    context: int

    def rows(self, prompt: Prompt, *, prepend_bos: bool | None = None) -> list[list[int]]:
        """The ids of each row.

        Raises:
            InputError: empty or too long, ids that do not exist, text without a tokenizer.
        """
        rows = self._rows(prompt)
        bos = self.tokenizer.bos_token_id if self.tokenizer is not None else None
        if prepend_bos is not None:
            if bos is None:
                raise InputError("prepend_bos needs a tokenizer with a BOS token.")
            rows = [r[1:] if r[:1] == [bos] else r for r in rows]
            rows = [[bos, *r] for r in rows] if prepend_bos else rows
        if not rows or not all(rows):
            raise InputError("The text is empty: there is no token to run.", "Give some text.")
        longest = max(map(len, rows))
        if longest > self.context:
            raise InputError(
                f"The text has {longest} tokens; {self.name} reads at most {self.context}.",
                f"Shorten it by {longest - self.context} tokens or more.",
            )
        worst = max(max(r) for r in rows), min(min(r) for r in rows)
        if worst[0] >= self.vocabulary or worst[1] < 0:
            raise InputError(
                f"Token id {worst[1] if worst[1] < 0 else worst[0]} is not in the vocabulary.",
                f"Ids go from 0 to {self.vocabulary - 1}.",
            )
        return rows

    def windows(
        self, text: str, context: int, *, prepend_bos: bool | None = None
    ) -> list[list[int]]:
        """A text of any length as rows of at most `context` ids, each led as the tokenizer leads.

        Args:
            text: may be empty (no rows).
            context: ids in a row, the leading ones counted.
            prepend_bos: None leads every row with what the tokenizer puts first, if anything; True
                and False overrule it.

        Raises:
            InputError: no tokenizer; a row has no room for text.
        """
        [ids] = self.plain([text])
        lead = self.lead(prepend_bos)
        room = min(context, self.context) - len(lead)
        if room < 1:
            raise InputError(f"A context of {context} tokens has no room for text.")
        return [lead + ids[at : at + room] for at in range(0, len(ids), room)]

    def plain(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of texts of any length, without leading ones.

        Raises:
            InputError: no tokenizer.
        """
        whole = [whole_characters(t) for t in texts]
        found: list[list[int]] = self.need_tokenizer()(
            whole, add_special_tokens=False, verbose=False
        )["input_ids"]
        return found

    def lead(self, prepend_bos: bool | None = None) -> list[int]:
        """The ids that stand before every text."""
        tokenizer = self.need_tokenizer()
        if prepend_bos is None:
            plain = tokenizer("a", add_special_tokens=False)["input_ids"]
            full: list[int] = tokenizer("a")["input_ids"]
            return full[: full.index(plain[0])]
        if prepend_bos and tokenizer.bos_token_id is None:
            raise InputError("prepend_bos needs a tokenizer with a BOS token.")
        return [int(tokenizer.bos_token_id)] if prepend_bos else []

    def _rows(self, prompt: Prompt) -> list[list[int]]:
        if isinstance(prompt, torch.Tensor | np.ndarray):
            prompt = prompt.tolist()
        if isinstance(prompt, str):
            return [self._encode(prompt)]
        items = list(prompt)
        if not items:
            return []
        if all(isinstance(i, str) for i in items):
            return [self._encode(str(i)) for i in items]
        if all(isinstance(i, Mapping) for i in items):
            return [self._encode_chat([dict(i) for i in items])]
        if all(isinstance(i, Integral) for i in items):
            return [[int(i) for i in items]]
        if all(isinstance(i, Sequence) and all(isinstance(t, Integral) for t in i) for i in items):
            return [[int(t) for t in i] for i in items]
        raise InputError(
            f"A prompt of type {type(prompt).__name__} of {type(items[0]).__name__} can't be run.",
            "Give a text, a list of texts, token ids or chat messages.",
        )

    def need_tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer.

        Raises:
            InputError: there is none.
        """
        if self.tokenizer is None:
            raise InputError(
                f"{self.name} was loaded without a tokenizer, so it can't read text.",
                "Give token ids, or load it with ng.load(model, tokenizer).",
            )
        return self.tokenizer

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.need_tokenizer()(whole_characters(text), verbose=False)["input_ids"]
        return ids

    def _encode_chat(self, messages: list[dict[str, str]]) -> list[int]:
        tokenizer = self.need_tokenizer()
        if tokenizer.chat_template is None:
            raise InputError(
                f"The tokenizer of {self.name} has no chat template.", "Give plain text."
            )
        text = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=messages[-1]["role"] == "user"
        )
        ids: list[int] = tokenizer(str(text), add_special_tokens=False)["input_ids"]
        return ids


def padded(
    rows: Sequence[Sequence[int]], side: Literal["left", "right"] = "right"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows as one tensor of ids and its mask: int64 and bool [batch, tokens]."""
    longest = max(map(len, rows))
    tokens = torch.zeros(len(rows), longest, dtype=torch.int64)
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, row in enumerate(rows):
        span = slice(longest - len(row), None) if side == "left" else slice(len(row))
        tokens[i, span] = torch.tensor(row)
        mask[i, span] = True
    return tokens, mask
