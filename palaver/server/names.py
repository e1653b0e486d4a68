"""Whom and which conversation a request names, in its body or its headers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from palaver.core.errors import InvalidRequest
from palaver.server.headers import header_text

if TYPE_CHECKING:
    from palaver.server.completion_body import CompletionRequest

NO_NAMES = (".", "..")
"""What clients take out of a path before they send it: nothing of that name could be shown or deleted."""


def checked_name(name: str, param: str) -> str:
    """The name of a conversation or an end user. Raises InvalidRequest for one that no path can have."""
    if name in NO_NAMES:
        raise InvalidRequest(f"`{param}` cannot be {name!r}: no path can have that name.", param=param)
    return name


def end_user_of(headers: Headers, body: CompletionRequest | None = None) -> str | None:
    """Who is speaking, by the first that names somebody; None where nothing does. Raises InvalidRequest."""
    return next((checked_name(name, param) for param, name in _end_users(headers, body) if name), None)


def _end_users(headers: Headers, body: CompletionRequest | None) -> Iterator[tuple[str, str | None]]:
    if body:
        yield "user", body.user
        yield "safety_identifier", body.safety_identifier
    for header in ("palaver-user", "x-openwebui-user-id"):
        yield header, header_text(headers, header)
    if body:
        yield "prompt_cache_key", body.prompt_cache_key


def conversation_of(headers: Headers, body: CompletionRequest) -> str | None:
    """The id or the name of the conversation; None where nothing names one. Raises InvalidRequest."""
    if body.conversation is not None:
        if isinstance(body.conversation, str):
            return checked_name(body.conversation, "conversation")
        return checked_name(body.conversation.id, "conversation.id")
    for header in ("palaver-conversation", "x-openwebui-chat-id"):
        named = header_text(headers, header)
        if named is not None and (header, named) != ("palaver-conversation", "none"):
            return checked_name(
                named, header
            )  # `none` says a reply that was not stored; clients send it back
    return None


def is_task(headers: Headers, body: CompletionRequest) -> bool:
    """Whether an app asks on its own account beside a conversation, such as for a title.

    Open WebUI names the chat in these requests, too: one user message, neither streamed nor with tools. The title's
    comes before the chat's own first question.
    """
    is_named = body.conversation is not None or header_text(headers, "palaver-conversation") is not None
    if is_named or body.parent is not None or header_text(headers, "x-openwebui-chat-id") is None:
        return False
    return [message.role for message in body.messages] == ["user"] and not (body.stream or body.tools)
