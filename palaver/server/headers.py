"""What the headers of a request say, besides what every request's say."""

from __future__ import annotations

import contextlib
from hashlib import blake2b

import msgspec
from starlette.datastructures import Headers

from palaver.chat import OnLeave
from palaver.core.errors import InvalidRequest
from palaver.stores.base import Attempt

NAME_LENGTH = 512
RETRY_DIGITS = 3
SOURCE_HEADERS = {
    "palaver-source": "Which app asks, in place of the User-Agent: the `source` of a conversation that begins with it."
}


def header_text(headers: Headers, name: str) -> str | None:
    """A header's text: UTF-8 if it is that, else Latin-1; None where it is missing or empty.

    Raises InvalidRequest for one that is too long.
    """
    value = _decoded(headers.get(name, "").strip())
    if len(value) > NAME_LENGTH:
        raise InvalidRequest(f"The header `{name}` is longer than {NAME_LENGTH} characters.", param=name)
    return value or None


def source_of(headers: Headers) -> str | None:
    """Which app asks: what ``palaver-source`` says, else the User-Agent; None where neither says anything.

    A browser does not let pages write the latter. What cannot be printed is left out, and what is too long is cut off.
    """
    given = _decoded(headers.get("palaver-source", ""))
    source = "".join(char for char in given if char.isprintable()).strip() or headers.get("user-agent", "")
    return source[:NAME_LENGTH] or None


def _decoded(value: str) -> str:
    """A header's value, which was read as Latin-1, as UTF-8 if it is that."""
    with contextlib.suppress(UnicodeDecodeError):
        return value.encode("latin-1").decode()
    return value


def attempt_of(
    headers: Headers, route: str, digest: bytes, end_user: str | None, conversation: str | None
) -> Attempt | None:
    """What tells this request from others, and how often it was sent before; None where the client says neither.

    `digest` is a hash of its body. The official SDKs count their retries (``x-stainless-retry-count``) and send
    the same bytes. Raises InvalidRequest.
    """
    key, count = header_text(headers, "idempotency-key"), headers.get("x-stainless-retry-count", "")
    if key is None and not count:
        return None
    if not (count == "" or (count.isascii() and count.isdecimal() and len(count) <= RETRY_DIGITS)):
        raise InvalidRequest(
            "The header `x-stainless-retry-count` must be a small integer.", param="x-stainless-retry-count"
        )
    whose = msgspec.json.encode((end_user, conversation))
    body = blake2b(digest + whose, digest_size=32).digest()
    return Attempt(route=route, body=body, count=int(count or 0), idempotency_key=key)


def on_leave_of(headers: Headers, default: OnLeave = "grace") -> OnLeave:
    match headers.get("palaver-on-leave", default):
        case "finish":
            return "finish"
        case "grace":
            return "grace"
    raise InvalidRequest(
        "The header `palaver-on-leave` must be one of finish, grace.", param="palaver-on-leave"
    )


def is_together(headers: Headers) -> bool:
    """Whether one of Together's SDKs asks: some replies have another shape for them than for everybody else."""
    return "Together/" in headers.get("user-agent", "")
