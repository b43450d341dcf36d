"""A live model in this kernel as a chat, behind everything that a widget asks of it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from neuroglass.explanation.chat import Budget, ChatError, Messages, Reply, Spoken, check_request
from neuroglass.explanation.plain import chat_ids
from neuroglass.explanation.reading import opened, read
from neuroglass.model.generate import Start, fits, settings_of, write
from neuroglass.model.worker import Job, Priority

if TYPE_CHECKING:
    from neuroglass.model.live import LiveModel


class LocalChat:
    """A live model with its chat template; edits of ``model.edit`` blocks do not touch it.

    It runs on the model's own thread at background priority, the prompt a piece at a time: a
    keystroke in a widget goes first. The schema of an answer is not enforced.

    Args:
        model: with a tokenizer that has a chat template.
        budget: what may be spent; None: no limit.

    Raises:
        InputError: there is no tokenizer or no chat template.
    """

    def __init__(self, model: LiveModel, *, budget: Budget | None = None) -> None:
        self.model = model
        self.budget = budget if budget is not None else Budget()
        chat_ids(model.prompts.need_tokenizer(), [{"role": "user", "content": "a"}])

    @property
    def name(self) -> str:
        return self.model.name

    def __repr__(self) -> str:
        return f"LocalChat({self.name})"

    def complete(
        self,
        messages: Messages,
        *,
        max_tokens: int,
        temperature: float = 0.0,
        json_schema: Mapping[str, Any] | None = None,
        top_logprobs: int | None = None,
    ) -> Reply:
        """See ``Chat.complete``.

        Raises:
            InputError: the prompt and the answer do not fit into the model's context.
            ChatError: the answer is empty.
            Cancelled: by the budget, or the model was closed.
        """
        check_request(messages, max_tokens, top_logprobs)
        model, budget = self.model, self.budget
        tokenizer = model.prompts.need_tokenizer()
        prompt = chat_ids(tokenizer, messages)
        fits(model, [prompt], max_tokens)
        settings = settings_of(max_tokens, temperature, 1.0, 0, ())
        budget.begin()
        ids: list[int] = []
        spoken: list[Spoken] = []

        def job(job: Job[None]) -> Generator[None, None, None]:
            last = ([0], [len(prompt) - 1])
            logits, cache = yield from read(
                model, [prompt], opened(model), job, budget.check, at=last
            )
            start = Start(cache, logits.float())
            for written in write(model, [prompt], settings, (), (), job, start=start):
                budget.check()
                token = int(written.step.tokens[0])
                if token not in model.end_tokens:
                    ids.append(token)
                    if top_logprobs is not None:
                        spoken.append(self._spoken(token, written.log_p[0], top_logprobs))
                yield

        model.work(job, priority=Priority.BACKGROUND).result()
        # an end token ends it, and is not among ids
        finish = "length" if len(ids) == max_tokens else "stop"
        text = str(tokenizer.decode(ids, skip_special_tokens=True))
        reply = Reply(
            text,
            finish,
            len(prompt),
            len(ids),
            tuple(spoken) if top_logprobs is not None else None,
        )
        budget.end(reply)
        if not text.strip():
            raise ChatError(f"{self.name} gave an empty answer.")
        return reply

    def _spoken(self, token: int, log_p: torch.Tensor, k: int) -> Spoken:
        decode = self.model.prompts.need_tokenizer().decode
        best = log_p.topk(min(k, len(log_p)))
        top: dict[str, float] = {}
        for value, index in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            top.setdefault(str(decode([index])), value)
        return Spoken(str(decode([token])), float(log_p[token]), top)
