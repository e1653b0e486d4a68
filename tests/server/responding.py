"""Responses, asked for and read: what their tests have in common."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import aiohttp
import msgspec
import openai

from palaver.core.turn import Accepted, ContentDelta, Delta, EngineEvent, Finish, FinishReason, Usage
from palaver.core.window import Window
from palaver.engines.base import SAMPLING, Options
from tests.server.conftest import Door, HandEngine
from tests.server.event_rules import Event, events_in

ROUTE = "/v1/responses"
NOBODYS = "01arz3ndektsv4rrffq69g5fav"
"""The body of an id that nothing has."""
Headers = Mapping[str, str] | None


class ClosingHand(HandEngine):
    """Notes which of its replies were given up, or came to their end."""

    def __init__(self, capabilities: frozenset[str] = SAMPLING, context: int | None = 4096) -> None:
        super().__init__(capabilities, context)
        self.closed: list[str] = []

    async def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        try:
            async for event in super().generate(window, options):
                yield event
        finally:
            self.closed.append(window.turn)


def client_of(door: Door, **more: Any) -> openai.AsyncOpenAI:
    """The official client, which takes nothing that is not as it is described, and asks once."""
    given: dict[str, Any] = {"max_retries": 0, "_strict_response_validation": True, **more}
    return openai.AsyncOpenAI(base_url=door.address + "/v1", api_key="any", **given)


def body_of(input: Any = "Hello", **more: Any) -> dict[str, Any]:
    """The body of a request to the scripted model; a parameter that is None is left out."""
    given = {"model": "scripted", "input": input, **more}
    return {name: value for name, value in given.items() if value is not None}


async def respond(door: Door, input: Any = "Hello", headers: Headers = None, **more: Any) -> dict[str, Any]:
    """A response of the scripted model, whole."""
    answered, response = await door.post(ROUTE, body_of(input, **more), headers)
    assert answered.status == 200, response
    found: dict[str, Any] = response
    return found


async def by_hand(door: Door, input: Any = "Hello", *said: Delta | str, **more: Any) -> dict[str, Any]:
    """A response of the engine in the test's hand, which says this (by default ``Yes``)."""
    says(door, *(said or ("Yes",)))
    return await respond(door, input, **{"model": "test/hand", **more})


def says(door: Door, *deltas: Delta | str, reason: FinishReason = "stop", usage: Usage | None = None) -> None:
    """Have the engine in the test's hand answer with this; a text alone is a piece of content."""
    said = [ContentDelta(delta) if isinstance(delta, str) else delta for delta in deltas]
    door.hand.put(Accepted(), *said, Finish(reason, usage))


async def streamed(door: Door, input: Any = "Hello", headers: Headers = None, **more: Any) -> list[Event]:
    """The events of a streamed response."""
    answered, stream = await door.post(ROUTE, body_of(input, stream=True, **more), headers)
    assert answered.status == 200, stream
    return events_in(stream.encode())


async def events_of(door: Door, response: str, after: int | None = None) -> list[Event]:
    """The events of a response that is looked up; those after a number."""
    query = "stream=true" if after is None else f"stream=true&starting_after={after}"
    answered, stream = await door.get(f"{ROUTE}/{response}?{query}")
    assert answered.status == 200, stream
    return events_in(stream.encode())


async def events_up_to(response: aiohttp.ClientResponse, kind: str) -> list[Event]:
    """The events of a stream that runs, up to the first of this type."""
    raw = b""
    while True:
        raw += await response.content.readline()
        if raw.endswith(b"\n\n") and raw.rpartition(b"event: ")[2].startswith(kind.encode() + b"\n"):
            return events_in(raw)


async def found(door: Door, response: str) -> dict[str, Any]:
    """A response that is looked up."""
    answered, body = await door.get(f"{ROUTE}/{response}")
    assert answered.status == 200, body
    shown: dict[str, Any] = body
    return shown


async def refused(
    door: Door,
    body: dict[str, Any],
    param: str | None,
    code: str | None = None,
    status: int = 400,
    **more: Any,
) -> str:
    """The message of the error that a request gets."""
    answered, error = await door.post(ROUTE, body, more.get("headers"))
    assert answered.status == status, error
    detail = error["error"]
    assert (detail["param"], detail["code"]) == (param, code), detail
    said: str = detail["message"]
    return said


def text_of(response: Mapping[str, Any]) -> str:
    """All text of a response."""
    return "".join(
        part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"]
    )


async def input_items(door: Door, response: str, query: str = "order=asc") -> list[dict[str, Any]]:
    answered, page = await door.get(f"{ROUTE}/{response}/input_items?{query}")
    assert answered.status == 200, page
    found: list[dict[str, Any]] = page["data"]
    return found


def shown(window: Window) -> list[tuple[str, str]]:
    """What a model saw: each message's role and text."""
    return [(message.role, message.text) for message in window.messages]


async def path_of(door: Door, conversation: str) -> list[tuple[str, str]]:
    """The stored path of a conversation."""
    items = await door.chat.store.items("local", conversation, order="asc", limit=1000)
    return [(item.message.role, item.message.text) for item in items]


def sent_again(output: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Items of a response as a client sends them back."""
    items: list[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(output))
    return items
