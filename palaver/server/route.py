"""What the door can be asked for: one `Operation` each, for the router and for the documentation alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import UnionType
from typing import Literal, get_args
from urllib.parse import unquote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from palaver.core import ids
from palaver.core.errors import TurnNotFound

Handler = Callable[[Request], Awaitable[Response]]
KeyScope = Literal["chat", "read", "write", "admin"]
"""What an API key may do: ``chat`` asks, looks up and cancels turns; ``read`` reads conversations; ``write``
changes and deletes them; ``admin`` manages keys, owners and how long things are kept, whoever's they are."""
ALL_SCOPES: frozenset[KeyScope] = frozenset(get_args(KeyScope))


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """The server-sent events of a reply: the types of their data, which is JSON. With `done` that of the last one is
    ``[DONE]``, unless it tells of an error."""

    data: type | UnionType
    done: bool = False


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """A method on a path. The path is written without the leading ``/v1``, of which any number is accepted.

    `query` and `body` are the types that are decoded, `reply` that of the answer; None where there is none,
    or it is no JSON. `streams` says what events the answer may be instead. `headers` are request headers with what
    they mean. A body may be left out unless `needs_body`. An `is_open` one needs no API key; the others need one with
    this `scope`. A `is_limited` one counts against the limits of its key.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    handler: Handler
    summary: str
    description: str = ""
    query: type | None = None
    headers: Mapping[str, str] = {}
    body: type | None = None
    reply: type | UnionType | None = None
    needs_body: bool = True
    media_type: str | tuple[str, ...] = "application/json"
    streams: Events | None = None
    is_open: bool = False
    scope: KeyScope = "read"
    is_limited: bool = False


def path_value(request: Request, name: str) -> str:
    """A variable part of the path. Paths are routed as they were sent, so that ``%2F`` is part of a name."""
    value: str = request.path_params[name]
    return unquote(value)


def turn_of(request: Request) -> str:
    """The turn whose id, in any form, is the path's `id`. Raises TurnNotFound for what is none."""
    given = path_value(request, "id")
    turn = ids.turn_id(given)
    if turn is None:
        raise TurnNotFound(f"{given[:64]} is no id of a turn.")
    return turn


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, "application/json")
