"""Any OpenAI-compatible server as a chat, through the openai package.

The key is read from the environment when a call is made. It is in no attribute, repr, trait or log
of ours, and it is taken out of the words of every error.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

from neuroglass.explanation.chat import (
    Budget,
    ChatDownError,
    ChatError,
    Messages,
    Reply,
    Spoken,
    check_request,
)
from neuroglass.model.errors import InputError
from neuroglass.model.worker import Cancelled

if TYPE_CHECKING:
    import openai

T = TypeVar("T")

_OPENAI = "https://api.openai.com/v1"
_SLICE = 0.05  # seconds; a waiting caller wakes this often, for cancels and interrupts
_KEY_LIKE = re.compile(r"\b(sk|rk|pk)-[\w*.-]{4,}|\bBearer\s+\S+")
# what some servers or models refuse -> what the request is changed to
_ALLOWANCES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "response_format": lambda r: {k: v for k, v in r.items() if k != "response_format"},
    "temperature": lambda r: {k: v for k, v in r.items() if k != "temperature"},
    "max_tokens": lambda r: (
        {k: v for k, v in r.items() if k != "max_tokens"}
        | {"max_completion_tokens": r["max_tokens"]}
    ),
}


class OpenAIChat:
    """A model behind an OpenAI-compatible server.

    Args:
        model: its name there. None: the only one, or the first, that the server lists; to be
            named at OpenAI's own server.
        base_url: of the server, "http://127.0.0.1:8080/v1" for example. None: $OPENAI_BASE_URL,
            else OpenAI's.
        key_env: the environment variable that holds the key. A server that is not OpenAI's is
            asked without a key if there is none.
        timeout: seconds for one attempt of a call.
        retries: of a call that found the server busy or not there, with growing pauses.
        budget: what may be spent; None: no limit.

    Raises:
        InputError: no model named for OpenAI's server; a setting out of range.
    """

    def __init__(
        self,
        model: str | None = None,
        base_url: str | None = None,
        *,
        key_env: str = "OPENAI_API_KEY",
        timeout: float = 60.0,
        retries: int = 2,
        budget: Budget | None = None,
    ) -> None:
        self._url = base_url or os.environ.get("OPENAI_BASE_URL") or _OPENAI
        parts = urlsplit(self._url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InputError(f"{self.server!r} is no address of a server.", "http://host:port/v1")
        if model is None and self._url.startswith(_OPENAI):
            raise InputError("No model was named.", "OpenAIChat('gpt-...'), or give a base_url.")
        if not timeout > 0 or isinstance(retries, bool) or not 0 <= retries <= 10:
            raise InputError("timeout is above 0 seconds, retries go from 0 to 10.")
        self.model, self.key_env, self.timeout, self.retries = model, key_env, timeout, retries
        self.budget = budget if budget is not None else Budget()
        self.without: set[str] = set()
        """Settings that this server refused and that are no longer sent."""

    @property
    def server(self) -> str:
        """The server's address, without user name, password and query."""
        parts = urlsplit(self._url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"

    @property
    def name(self) -> str:
        """The model's name, once it is known."""
        return self.model or f"the model at {self.server}"

    def __repr__(self) -> str:
        refused = f", without {', '.join(sorted(self.without))}" if self.without else ""
        return f"OpenAIChat({self.name!r} at {self.server}{refused})"

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
            ChatDownError: the server can't be reached, refuses the key, or the budget is spent.
            ChatError: the server failed, refused to answer, or left out what was asked.
            Cancelled: by the budget.
        """
        check_request(messages, max_tokens, top_logprobs)
        request: dict[str, Any] = {
            "messages": [dict(m) for m in messages],
            "max_tokens": max_tokens,
            "temperature": temperature,
        }
        if json_schema is not None:
            schema = {"name": "answer", "schema": dict(json_schema), "strict": True}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        if top_logprobs is not None:
            request |= {"logprobs": True, "top_logprobs": top_logprobs}
        for known in self.without & set(request):
            request = _ALLOWANCES[known](request)
        self.budget.begin()
        model = self._model()
        while True:
            answer, refused = self._ask(partial(_completion, model=model, **request), request)
            if refused is None:
                return self._read(answer, top_logprobs is not None)
            self.without.add(refused)
            request = _ALLOWANCES[refused](request)

    def _model(self) -> str:
        if self.model is None:
            listed, _ = self._ask(lambda client: client.models.list(), {})
            found = [m.id for m in listed.data or []]
            if not found:
                raise ChatError(f"{self.server} lists no model.", "Name one: model='...'.")
            self.model = found[0]
        return self.model

    # -- the call ----------------------------------------------------------------------------

    def _client(self) -> openai.OpenAI:
        import openai

        key = os.environ.get(self.key_env, "")
        if not key and self._url.startswith(_OPENAI):
            raise ChatDownError(
                f"There is no key: the environment variable {self.key_env} is not set.",
                "Set it before the kernel starts, or give the base_url of a server without keys.",
            )
        # an argument, so that the package takes no key from elsewhere
        return openai.OpenAI(
            api_key=key or "none",
            base_url=self._url,
            timeout=self.timeout,
            max_retries=self.retries,
        )

    def _ask(
        self, call: Callable[[openai.OpenAI], T], request: Mapping[str, Any]
    ) -> tuple[T, str | None]:
        """What the server says, or the setting of `request` that it does not take.

        The call runs on a thread of its own: a cancel or an interrupt does not wait for its end.
        """
        found: list[Any] = []
        failed: list[ChatError | str] = []

        def run() -> None:
            import openai

            try:
                with self._client() as client:
                    found.append(call(client))
            except openai.BadRequestError as error:
                known = (k for k in _ALLOWANCES if k in request and k in _words(error))
                failed.append(next(known, None) or self._told(error))
            except ChatError as error:
                failed.append(error)
            except Exception as error:  # what a server can make of the package is no short list
                failed.append(self._told(error))

        thread = threading.Thread(target=run, name="neuroglass-chat", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_SLICE)
            try:
                self.budget.check()
            except Cancelled:
                if thread.is_alive():
                    raise
        # raised here, not where it was caught: no request with its headers hangs on the error
        for failure in failed:
            if isinstance(failure, str):
                return found, failure  # type: ignore[return-value]
            raise failure
        return found[0], None

    def _told(self, error: Exception) -> ChatError:
        import openai

        where, words = self.server, self._clean(_words(error))
        if isinstance(error, openai.APITimeoutError):
            return ChatError(
                f"{where} did not answer within {self.timeout:g} s ({self.retries + 1} attempts).",
                "Give a longer timeout, or ask for less.",
            )
        if isinstance(error, openai.APIConnectionError):
            return ChatDownError(
                f"{where} can't be reached ({words}).", "Is the server running, is base_url right?"
            )
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return ChatDownError(
                f"{where} refused the key in {self.key_env} ({words}).", "Check the key."
            )
        if isinstance(error, openai.NotFoundError):
            return ChatDownError(
                f"{where} does not know the model {self.model!r} or the address ({words})."
            )
        if isinstance(error, openai.RateLimitError):
            return ChatDownError(f"{where} allows no more calls now ({words}).", "Wait, or pay.")
        return ChatError(f"{where} failed: {words}")

    def _clean(self, words: str) -> str:
        """Words of others without the key, and not longer than a reader bears."""
        key = os.environ.get(self.key_env, "")
        for form in {key, quote(key), quote(key, safe="")} if len(key) > 3 else ():
            words = words.replace(form, "[key]")
        address = urlsplit(self._url)
        for secret in (address.password, address.query):
            words = words.replace(secret, "[key]") if secret else words
        words = _KEY_LIKE.sub("[key]", words)
        return words if len(words) <= 400 else words[:400] + " …"

    # -- the answer --------------------------------------------------------------------------

    def _read(self, answer: Any, logprobs: bool) -> Reply:
        usage = getattr(answer, "usage", None)
        counted = {
            ours: getattr(usage, theirs, None)
            for ours, theirs in (
                ("prompt_tokens", "prompt_tokens"),
                ("answer_tokens", "completion_tokens"),
            )
        }
        self.budget.end(Reply("", "", **counted))  # paid for, whatever it is worth
        choices = getattr(answer, "choices", None)
        if not choices:
            raise ChatError(f"{self.server} answered with something else than a chat completion.")
        choice = choices[0]
        message, finish = choice.message, choice.finish_reason or ""
        if finish == "content_filter" or getattr(message, "refusal", None):
            why = self._clean(getattr(message, "refusal", None) or "filtered by the server")
            raise ChatError(f"{self.name} refused to answer ({why}).")
        text = message.content or ""
        if not text.strip():
            raise ChatError(
                f"{self.name} gave an empty answer.",
                "It reached max_tokens before it said anything." if finish == "length" else "",
            )
        tokens = _spoken(getattr(choice, "logprobs", None)) if logprobs else None
        if logprobs and tokens is None:
            raise ChatError(
                f"{self.server} gave no log-probabilities, though it was asked for them.",
                "Use a server that has them, or do without.",
            )
        return Reply(text, finish, **counted, tokens=tokens)


def _words(error: Exception) -> str:
    """What an error of the package says, with the server's own words where it leaves them out."""
    words, body = str(error) or type(error).__name__, getattr(error, "body", None)
    return f"{words} ({body})" if isinstance(body, str) and body not in words else words


def _completion(client: openai.OpenAI, **request: Any) -> Any:
    return client.chat.completions.create(**request)


def _spoken(given: Any) -> tuple[Spoken, ...] | None:
    """Log-probabilities in the shape of chats or of completions; None where there are none."""
    if given is None:
        return None
    told: Mapping[str, Any] = given if isinstance(given, Mapping) else given.model_dump()
    if told.get("content"):
        return tuple(
            Spoken(
                str(one["token"]),
                float(one["logprob"]),
                {str(t["token"]): float(t["logprob"]) for t in one.get("top_logprobs") or ()},
            )
            for one in told["content"]
        )
    tokens, numbers = told.get("tokens"), told.get("token_logprobs")
    if not tokens or not numbers or len(tokens) != len(numbers):
        return None
    tops = told.get("top_logprobs") or [{}] * len(tokens)
    return tuple(
        Spoken(str(t), float(n), {str(k): float(v) for k, v in (top or {}).items()})
        for t, n, top in zip(tokens, numbers, tops, strict=True)
        if n is not None
    )
