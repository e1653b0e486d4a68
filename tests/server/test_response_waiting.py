"""Responses of one conversation at a time: who waits, who is refused, and who comes at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from palaver.chat import ChatSettings
from palaver.core.turn import Accepted
from tests.server.conftest import Door, opened, until
from tests.server.event_rules import heard
from tests.server.responding import (
    ROUTE,
    by_hand,
    client_of,
    events_of,
    found,
    path_of,
    refused,
    respond,
    says,
    shown,
    streamed,
    text_of,
)

BUSY: dict[str, Any] = {"model": "test/hand", "conversation": "room"}


@pytest.fixture
async def sdk(door: Door) -> AsyncIterator[openai.AsyncOpenAI]:
    async with client_of(door) as client:
        yield client


async def begun(door: Door, input: str = "One") -> dict[str, Any]:
    """A response that is being answered in the room."""
    body = await respond(door, input, **BUSY, background=True)
    await door.hand.began.wait()
    return body


async def test_they_are_answered_one_after_the_other(door: Door) -> None:
    asking = []
    for i in range(4):
        asking.append(asyncio.create_task(respond(door, f"q{i}", **BUSY)))
        await until(lambda: len(door.chat._running) > i)  # noqa: B023
    assert len(door.hand.windows) == 1
    for i in range(4):
        says(door, f"a{i}")
    bodies = await asyncio.gather(*asking)
    assert [text_of(body) for body in bodies] == ["a0", "a1", "a2", "a3"]
    path = [step for i in range(4) for step in (("user", f"q{i}"), ("assistant", f"a{i}"))]
    assert await path_of(door, bodies[0]["conversation"]["id"]) == path
    assert shown(door.hand.windows[3]) == path[:-1]


async def test_what_waits_streams_when_its_time_has_come(door: Door) -> None:
    await begun(door)
    asking = asyncio.create_task(streamed(door, "Two", **BUSY))
    await until(lambda: len(door.chat._running) == 2)
    says(door, "a1")
    says(door, "a2")
    events = await asking
    assert heard(events).said == ["a2"]
    assert await events_of(door, events[0]["response"]["id"]) == events


async def test_what_does_not_wait_is_refused(door: Door, sdk: openai.AsyncOpenAI) -> None:
    running = await begun(door)
    asked = {**BUSY, "input": "Two", "concurrency": "reject"}
    await refused(door, asked, "conversation", "conversation_locked", 409)
    answered, _ = await door.post(ROUTE, asked)
    assert answered.headers["retry-after"] == "1"
    with pytest.raises(openai.ConflictError) as caught:
        await sdk.responses.create(
            model="test/hand", input="Two", conversation="room", extra_body={"concurrency": "reject"}
        )
    assert (caught.value.code, caught.value.param) == ("conversation_locked", "conversation")
    says(door, "a1")
    await until(lambda: not door.chat._running)
    assert (await found(door, running["id"]))["status"] == "completed"
    says(door, "a2")
    assert text_of(await respond(door, **asked)) == "a2"


async def test_no_more_than_so_many_wait(tmp_path: Path) -> None:
    async with opened(tmp_path, chat_settings=ChatSettings(max_waiting=2)) as door:
        await begun(door)
        for i in range(2):
            assert (await respond(door, f"q{i}", **BUSY, background=True))["status"] == "queued"
        said = await refused(door, {**BUSY, "input": "x"}, "conversation", "conversation_locked", 409)
        assert "2 turns wait" in said


async def test_beside_the_others(door: Door) -> None:
    before = await respond(door, "Zero", conversation="room")
    await begun(door)
    beside = await respond(door, "Two", conversation="room", concurrency="branch")
    assert (beside["status"], beside["conversation"]) == ("completed", before["conversation"])
    says(door, "a1")
    await until(lambda: not door.chat._running)
    tree = await door.chat.store.tree("local", before["conversation"]["id"])
    answer = next(item for item in tree if item.id == before["output"][0]["id"])
    assert len([item for item in tree if item.parent == answer.id]) == 2


async def test_who_waited_too_long_is_told_so(tmp_path: Path) -> None:
    async with opened(tmp_path, chat_settings=ChatSettings(max_wait=0.0)) as door:
        await begun(door)
        await refused(door, {**BUSY, "input": "x"}, "conversation", "conversation_locked", 409)


async def test_one_that_waits_can_be_stopped(door: Door) -> None:
    running = await begun(door)
    waits = await respond(door, "Two", **BUSY, background=True)
    assert (await found(door, waits["id"]))["status"] == "queued"
    answered, stopped = await door.post(f"{ROUTE}/{waits['id']}/cancel")
    assert (answered.status, stopped["status"], stopped["output"]) == (200, "cancelled", [])
    says(door, "a1")
    await until(lambda: not door.chat._running)
    assert (await found(door, running["id"]))["status"] == "completed"
    assert await found(door, waits["id"]) == stopped
    assert [event["type"] for event in await events_of(door, waits["id"])] == [
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.incomplete",
    ]
    later = await by_hand(door, "Three", conversation="room")
    assert shown(door.hand.windows[-1]) == [("user", "One"), ("assistant", "a1"), ("user", "Three")]
    assert later["status"] == "completed"


async def test_instructions_of_what_waits_are_shown_when_it_begins(door: Door) -> None:
    await begun(door)
    asking = asyncio.create_task(respond(door, "Two", **BUSY, instructions="Be brief."))
    await until(lambda: len(door.chat._running) == 2)
    says(door, "a1")
    says(door, "a2")
    body = await asking
    assert shown(door.hand.windows[1])[0] == ("system", "Be brief.")
    assert (await found(door, body["id"])) == body
    await by_hand(door, "Three", conversation="room")
    assert shown(door.hand.windows[2])[0] == ("user", "One")


@pytest.mark.parametrize("more", [{}, {"store": False}])
async def test_a_rule_without_a_conversation(door: Door, more: dict[str, Any]) -> None:
    await refused(door, {"model": "scripted", "input": "x", "concurrency": "queue", **more}, "concurrency")
    first = await respond(door)
    asked = {"model": "scripted", "input": "x", "concurrency": "queue", **more}
    await refused(door, {**asked, "previous_response_id": first["id"]}, "concurrency")
    door.hand.put(Accepted())
