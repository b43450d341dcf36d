"""The messages between a view in the browser and its Python half (DESIGN §4.7).

Requests come in as ``Request``, answers leave as dicts made by ``reply``.
``js/src/core/protocol.ts`` is the other half; a change here raises ``PROTOCOL`` in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neuroglass.model.errors import InputError, NeuroglassError, describe

PROTOCOL = 1


class VersionMismatchError(NeuroglassError):
    """The browser runs a bundle of another version than the kernel."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of one mounted view.

    Attributes:
        view: uuid of the mounted view.
        id: grows by one with each request of that view.
        kind: what is asked for.
        body: the rest of the message.
    """

    view: str
    id: int
    kind: str
    body: Mapping[str, Any]

    def get(self, name: str, kind: type | tuple[type, ...]) -> Any:
        """A field of the body, checked to be of `kind`.

        Raises:
            InputError: missing or of another type.
        """
        value = self.body.get(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            raise InputError(f"The request {self.kind!r} came without a usable {name!r}.")
        return value

    def optional(self, name: str, kind: type, default: Any) -> Any:
        """As ``get``; `default` where the field is missing."""
        return self.get(name, kind) if name in self.body else default

    def strings(self, name: str) -> list[str]:
        """A field of the body that must be a list of strings; none where it is missing."""
        value = self.body.get(name, [])
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise InputError(f"{name!r} must be a list of names.")
        return list(value)

    def integers(self, name: str) -> list[int]:
        """A field of the body that must be a list of integers."""
        value = self.get(name, list)
        if not all(isinstance(v, int) and not isinstance(v, bool) for v in value):
            raise InputError(f"{name!r} must be whole numbers, such as 77, 12.")
        return list(value)


def read(message: Any) -> Request:
    """Check the envelope of a message.

    Raises:
        InputError: not a message of ours.
        VersionMismatchError: of another protocol version.
    """
    if not isinstance(message, Mapping):
        raise InputError("A message that is no object came from the browser.")
    view, number, kind = message.get("view"), message.get("id"), message.get("kind")
    if not (isinstance(view, str) and isinstance(number, int) and isinstance(kind, str)):
        raise InputError("A message without view, id and kind came from the browser.")
    if message.get("v") != PROTOCOL:
        raise VersionMismatchError(
            f"The page speaks protocol {message.get('v')!r}, the kernel {PROTOCOL}.",
            "Restart the kernel and reload the page.",
        )
    body = {k: v for k, v in message.items() if k not in {"v", "view", "id", "kind"}}
    return Request(view, number, kind, body)


def reply(
    view: str, number: int, seq: int, *, done: bool, error: BaseException | None = None, **body: Any
) -> dict[str, Any]:
    """An answer to request `number` of `view`."""
    answer = {"v": PROTOCOL, "view": view, "id": number, "seq": seq, "done": done, **body}
    if error is not None:
        answer["error"] = describe(error)
    return answer
