"""Whom and which conversation a request names, in its body or its headers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from starlette.datastructures import Headers

from palaver.core import ids
from palaver.core.errors import InvalidRequest
from palaver.server.headers import header_text

if TYPE_CHECKING:
    from palaver.core.message import Message
    from palaver.server.completion_body import CompletionRequest
    from palaver.server.response_body import ResponseRequest


OPEN_WEBUI_CHAT = "x-openwebui-chat-id"
NO_NAMES = (".", "..")
"""What clients take out of a path before they send it: nothing of that name could be shown or deleted."""


class Speaking(Protocol):
    """A body that may say who is speaking."""

    @property
    def user(self) -> str | None: ...

    @property
    def safety_identifier(self) -> str | None: ...

    @property
    def prompt_cache_key(self) -> str | None: ...


def checked_name(name: str, param: str) -> str:
    """The name of a conversation or an end user. Raises InvalidRequest for one that no path can have."""
    if name in NO_NAMES:
        raise InvalidRequest(f"`{param}` cannot be {name!r}: no path can have that name.", param=param)
    return name


def new_name(name: str) -> str:
    """The name of a conversation that is to be made (`name`). Raises InvalidRequest for one that none can have."""
    if name.startswith(ids.CONVERSATION):
        raise InvalidRequest(f"A name cannot begin with {ids.CONVERSATION}: ids do.", param="name")
    return checked_name(name, "name")


def end_user_of(headers: Headers, body: Speaking | None = None) -> str | None:
    """Who is speaking, by the first that names somebody; None where nothing does. Raises InvalidRequest."""
    return next((checked_name(name, param) for param, name in _end_users(headers, body) if name), None)


def _end_users(headers: Headers, body: Speaking | None) -> Iterator[tuple[str, str | None]]:
    if body:
        yield "user", body.user
        yield "safety_identifier", body.safety_identifier
    for header in ("palaver-user", "x-openwebui-user-id"):
        yield header, header_text(headers, header)
    if body and not _names_place(body):
        yield "prompt_cache_key", body.prompt_cache_key


def _names_place(body: Speaking) -> bool:
    """Whether a body says by an id where it goes on: what it says of caches need not tell speakers apart then."""
    named = getattr(body, "conversation", None)
    conversation: str = getattr(named, "id", named) or ""
    parent: str = getattr(body, "parent", None) or ""
    return (
        getattr(body, "previous_response_id", None) is not None
        or parent.startswith(ids.MESSAGE)
        or conversation.startswith(ids.CONVERSATION)
    )


def conversation_of(headers: Headers, body: CompletionRequest | ResponseRequest) -> str | None:
    """The id or the name of the conversation; None where nothing names one. Raises InvalidRequest."""
    if body.conversation is not None:
        if isinstance(body.conversation, str):
            return checked_name(body.conversation, "conversation")
        return checked_name(body.conversation.id, "conversation.id")
    header = _naming_header(headers)
    return checked_name(header_text(headers, header) or "", header) if header else None


def sends_all(headers: Headers, body: ResponseRequest) -> bool:
    """Whether the conversation is named by an app that sends its whole history along each time."""
    return body.conversation is None and _naming_header(headers) == OPEN_WEBUI_CHAT


def _naming_header(headers: Headers) -> str | None:
    """The header that names the conversation where the body does not."""
    for header in ("palaver-conversation", OPEN_WEBUI_CHAT):
        named = header_text(headers, header)
        # `none` says a reply that was not stored; clients send it back
        if named is not None and (header, named) != ("palaver-conversation", "none"):
            return header
    return None


def is_task(headers: Headers, body: CompletionRequest) -> bool:
    """Whether an app asks on its own account beside a conversation, such as for a title.

    Open WebUI names the chat in these requests, too: one user message, neither streamed nor with tools. The title's
    comes before the chat's own first question.
    """
    is_named = body.conversation is not None or header_text(headers, "palaver-conversation") is not None
    if is_named or body.parent is not None or header_text(headers, OPEN_WEBUI_CHAT) is None:
        return False
    return [message.role for message in body.messages] == ["user"] and not (body.stream or body.tools)


def is_chore(body: ResponseRequest, messages: Sequence[Message]) -> bool:
    """The same where it asks for a response, of a conversation that it sends all of."""
    return [message.role for message in messages] == ["user"] and not (
        body.stream or body.tools or body.background
    )
