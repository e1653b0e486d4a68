"""Requests, and what is read of replies."""

from __future__ import annotations

from typing import Any

import msgspec

from palaver.chat import ChatRequest
from palaver.core.message import Message
from palaver.core.turn import ContentDelta
from palaver.live import LiveReply
from palaver.stores.base import Store


def user(text: str) -> Message:
    return Message("user", text)


def assistant(text: str) -> Message:
    return Message("assistant", text)


def system(text: str) -> Message:
    return Message("system", text)


def request(*messages: Message | str, **more: Any) -> ChatRequest:
    """A request with these messages; a text alone is a user's."""
    history = [user(m) if isinstance(m, str) else m for m in messages]
    asked = ChatRequest(owner="local", model="puppet", messages=history, door="test")
    return msgspec.structs.replace(asked, **more)


async def heard(live: LiveReply, start: int = 0) -> str:
    """Read a reply to its end; its text."""
    with live.reader():
        texts = [e.text async for news in live.follow(start) for e in news if isinstance(e, ContentDelta)]
    return "".join(texts)


async def texts(store: Store, live: LiveReply) -> list[str]:
    """What is stored of the conversation's path."""
    assert live.conversation is not None
    return [i.message.text for i in await store.items("local", live.conversation, order="asc", limit=1000)]
