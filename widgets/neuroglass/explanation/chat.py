"""Chats: messages go to a language model, its answer comes back; with a budget, and a way to stop.

``OpenAIChat`` speaks to any OpenAI-compatible server, ``LocalChat`` to a live model in this kernel.
Explainers, simulators and judges take either, and know no more of it than what stands here.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from neuroglass.model.errors import InputError, NeuroglassError
from neuroglass.model.worker import Cancelled

Messages = Sequence[Mapping[str, str]]


class ChatError(NeuroglassError, RuntimeError):
    """A chat did not give what it was asked for."""


class ChatDownError(ChatError):
    """No answer can be had at all: no server, no permission, nothing left to spend."""


@dataclass(frozen=True)
class Spoken:
    """One token of an answer.

    Attributes:
        text: the token.
        logprob: its log-probability, nats.
        top: log-probabilities of the likeliest tokens at its place, nats, by text.
    """

    text: str
    logprob: float
    top: Mapping[str, float]


@dataclass(frozen=True)
class Reply:
    """An answer.

    Attributes:
        text: what was said.
        finish: why it ended: "stop", "length" (at ``max_tokens``), or the server's own word.
        prompt_tokens, answer_tokens: what was read and written; None where the server did not say.
        tokens: the answer's tokens with log-probabilities, where they were asked for.
    """

    text: str
    finish: str
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    tokens: tuple[Spoken, ...] | None = field(default=None, repr=False)


class Chat(Protocol):
    """Something that answers. Its name is the author of what it says."""

    @property
    def name(self) -> str: ...

    def complete(
        self,
        messages: Messages,
        *,
        max_tokens: int,
        temperature: float = 0.0,
        json_schema: Mapping[str, Any] | None = None,
        top_logprobs: int | None = None,
    ) -> Reply:
        """The answer to some messages, ``[{"role": ..., "content": ...}, ...]``.

        Args:
            max_tokens: of the answer, at most.
            temperature: 0 is greedy.
            json_schema: what the answer should look like. A chat that can't hold to it answers
                freely: readers of the answer must not rely on it.
            top_logprobs: so many of the likeliest tokens at each place, with log-probabilities.

        Raises:
            ChatError: no answer, or not what was asked for.
            Cancelled: by the budget's ``cancel``.
        """


class Budget:
    """How much may be asked, and a way to stop asking; one may be shared by many chats.

    Args:
        calls: at most so many; None: no limit.
        tokens: no call is begun once so many tokens were read and written together. The call that
            goes over is not cut off.

    Attributes:
        spent_calls, spent_tokens: so far.
        uncounted: calls whose tokens the server did not tell: with them, ``tokens`` is no limit.
    """

    def __init__(self, calls: int | None = None, tokens: int | None = None) -> None:
        for what, limit in (("calls", calls), ("tokens", tokens)):
            if limit is not None and (isinstance(limit, bool) or limit < 1):
                raise InputError(f"A budget of {limit!r} {what} allows nothing.")
        self.calls, self.tokens = calls, tokens
        self.spent_calls = self.spent_tokens = self.uncounted = 0
        self._lock = threading.Lock()
        self._cancelled = threading.Event()

    def begin(self) -> None:
        """One more call, if there may be one.

        Raises:
            ChatDownError: the budget is spent.
            Cancelled: ``cancel`` was called.
        """
        self.check()
        with self._lock:
            for spent, limit, what in (
                (self.spent_calls, self.calls, "calls"),
                (self.spent_tokens, self.tokens, "tokens"),
            ):
                if limit is not None and spent >= limit:
                    raise ChatDownError(
                        f"The budget of {limit} {what} is spent.", "Give a larger Budget."
                    )
            self.spent_calls += 1

    def end(self, reply: Reply) -> None:
        """Count what a call took."""
        with self._lock:
            if reply.prompt_tokens is None or reply.answer_tokens is None:
                self.uncounted += 1
            self.spent_tokens += (reply.prompt_tokens or 0) + (reply.answer_tokens or 0)

    def cancel(self) -> None:
        """Stop: calls under way are given up, and no other is begun until ``resume``."""
        self._cancelled.set()

    def resume(self) -> None:
        """Allow calls again."""
        self._cancelled.clear()

    def check(self) -> None:
        """Raise ``Cancelled`` after ``cancel``."""
        if self._cancelled.is_set():
            raise Cancelled("The chat was cancelled.")

    def __repr__(self) -> str:
        parts = [
            f"{spent} of {'any number of' if limit is None else limit} {what}"
            for spent, limit, what in (
                (self.spent_calls, self.calls, "calls"),
                (self.spent_tokens, self.tokens, "tokens"),
            )
        ]
        return f"Budget({', '.join(parts)} spent)"


def check_request(messages: Messages, max_tokens: int, top_logprobs: int | None) -> None:
    """Refuse what no chat can take.

    Raises:
        InputError: says what is wrong.
    """
    for message in messages:
        if set(message) != {"role", "content"} or message["role"] not in {
            "system",
            "user",
            "assistant",
        }:
            raise InputError(
                "A message is {'role': ..., 'content': ...}, of system, user or assistant."
            )
    if not messages or messages[-1]["role"] != "user":
        raise InputError("The last message must be the user's.")
    if isinstance(max_tokens, bool) or max_tokens < 1:
        raise InputError(f"max_tokens is {max_tokens!r}.", "Give a whole number, 1 or more.")
    if top_logprobs is not None and not 1 <= top_logprobs <= 20:
        raise InputError(f"top_logprobs is {top_logprobs!r}.", "Give a number from 1 to 20.")
