"""One request and its reply, as far as the whole door needs to know it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.types import Scope

from palaver.core import ids
from palaver.core.errors import ScopeMissing
from palaver.live import LiveReply
from palaver.server.metering import Meter
from palaver.stores.base import ApiKey

KEY = "palaver.exchange"
EXPOSED = (
    "palaver-conversation, palaver-turn, x-request-id, retry-after, x-ratelimit-limit, x-ratelimit-remaining, "
    "x-ratelimit-reset, x-tokenlimit-limit, x-tokenlimit-remaining, x-tokenlimit-reset"
)
"""The headers that a page of another origin may read."""


class ClientGone(Exception):
    """The client closed its connection; nobody is left to hear an answer."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, by the API key; `api_key` is None for a configured one, and where none is needed."""

    owner: str
    scopes: frozenset[str]
    api_key: ApiKey | None = None


NOBODY = Caller(owner="", scopes=frozenset())


class Exchange:
    """What is known about a request while it is served. The `caller` is set once its key has been accepted.

    `arrived` is in milliseconds since 1970; `sent` is the size of its body in bytes. `meter` is there where
    its key has limits that the request counts against.
    """

    def __init__(self) -> None:
        self.id = "req_" + secrets.token_hex(12)
        self.arrived = time.time_ns() // 1_000_000
        self.sent = 0
        self.caller = NOBODY
        self._who: Callable[[], Awaitable[Caller]] | None = None
        self.meter: Meter | None = None
        self.turn: str | None = None
        """The turn's id as the chat completions API shows it."""
        self.conversation: str | None = None
        self.status = 0
        """The status that went out; 0 while none has."""
        self.allowed_origin: str | None = None

    @property
    def owner(self) -> str:
        return self.caller.owner

    async def identify(self, who: Callable[[], Awaitable[Caller]]) -> None:
        """Set the caller to what `who` says. Raises what it raises."""
        self._who = who
        self.caller = await who()

    async def identify_again(self) -> None:
        """Ask once more, where time has passed: the key may have been revoked, or have gone with its owner.

        Raises NotAuthenticated and StoreUnavailable.
        """
        if self._who is not None:
            self.caller = await self._who()

    def check_scope(self, scope: str) -> None:
        """Raises ScopeMissing."""
        if scope not in self.caller.scopes:
            raise ScopeMissing(f"This API key may not do this: it lacks the scope `{scope}`.")

    def admitted(self, live: LiveReply, shown: str | None = None) -> None:
        """Name the turn in the reply's headers (`shown`: in the API's form), whatever the reply will be, and charge its
        tokens when it ends."""
        self.turn = shown or ids.as_chat_completion(live.turn)
        self.conversation = live.conversation or "none"
        if self.meter is not None:
            self.meter.charge_at_end(live, self.sent, self.arrived)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that every reply to this request carries."""
        found = [("x-request-id", self.id), ("x-content-type-options", "nosniff")]
        if self.turn and self.conversation:
            found += [("palaver-turn", self.turn), ("palaver-conversation", self.conversation)]
        if self.meter is not None:
            found += self.meter.headers()
        if self.allowed_origin:
            found += [
                ("access-control-allow-origin", self.allowed_origin),
                ("access-control-expose-headers", EXPOSED),
                ("vary", "origin"),
            ]
        return [(name.encode(), value.encode("latin-1")) for name, value in found]


def exchange_of(request: Request) -> Exchange:
    """The exchange that the door put into the request's scope."""
    return in_scope(request.scope)


def in_scope(scope: Scope) -> Exchange:
    exchange: Exchange = scope[KEY]
    return exchange
