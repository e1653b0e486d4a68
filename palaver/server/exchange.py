"""One request and its reply, as far as the whole door needs to know it."""

from __future__ import annotations

import secrets

from starlette.requests import Request
from starlette.types import Scope

from palaver.core import ids
from palaver.live import LiveReply

KEY = "palaver.exchange"


class ClientGone(Exception):
    """The client closed its connection; nobody is left to hear an answer."""


class Exchange:
    """What is known about a request while it is served. `owner` is set once its key has been accepted."""

    def __init__(self) -> None:
        self.id = "req_" + secrets.token_hex(12)
        self.owner = ""
        self.turn: str | None = None
        """The turn's id as the chat completions API shows it."""
        self.conversation: str | None = None
        self.status = 0
        """The status that went out; 0 while none has."""
        self.allowed_origin: str | None = None

    def admitted(self, live: LiveReply) -> None:
        """Name the turn in the reply's headers, whatever the reply will be."""
        self.turn = ids.as_chat_completion(live.turn)
        self.conversation = live.conversation or "none"

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that every reply to this request carries."""
        found = [("x-request-id", self.id), ("x-content-type-options", "nosniff")]
        if self.turn and self.conversation:
            found += [("palaver-turn", self.turn), ("palaver-conversation", self.conversation)]
        if self.allowed_origin:
            found += [
                ("access-control-allow-origin", self.allowed_origin),
                (
                    "access-control-expose-headers",
                    "palaver-conversation, palaver-turn, x-request-id, retry-after",
                ),
                ("vary", "origin"),
            ]
        return [(name.encode(), value.encode("latin-1")) for name, value in found]


def exchange_of(request: Request) -> Exchange:
    """The exchange that the door put into the request's scope."""
    return in_scope(request.scope)


def in_scope(scope: Scope) -> Exchange:
    exchange: Exchange = scope[KEY]
    return exchange
