"""Requests for responses that clients repeat: answered once, and heard by everybody who asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from palaver.core.errors import EngineBroke
from palaver.core.turn import Accepted, ContentDelta, Finish
from tests.server.conftest import Door, opened, until
from tests.server.event_rules import heard
from tests.server.responding import (
    ROUTE,
    body_of,
    by_hand,
    found,
    input_items,
    path_of,
    refused,
    respond,
    says,
    shown,
    streamed,
    text_of,
)

HAND = {"model": "test/hand"}


def tries(count: int) -> dict[str, str]:
    return {"x-stainless-retry-count": str(count)}


async def running(door: Door) -> None:
    await until(lambda: [turn for turn in door.chat._running.values() if turn.live.readers])


@pytest.mark.parametrize("store", [None, False])
@pytest.mark.parametrize("stream", [False, True])
async def test_it_joins_what_runs(door: Door, store: bool | None, stream: bool) -> None:
    body = body_of("Hi", **HAND, store=store, stream=stream or None)
    first = asyncio.create_task(door.post(ROUTE, body, tries(0)))
    await running(door)
    door.hand.put(Accepted(), ContentDelta("Hel"))
    again = asyncio.create_task(door.post(ROUTE, body, tries(1)))
    await until(lambda: [turn for turn in door.chat._running.values() if turn.live.readers == 2])
    door.hand.put(ContentDelta("lo"), Finish("stop"))
    (one, told), (two, same) = await asyncio.gather(first, again)
    assert one.status == two.status == 200
    assert one.headers["palaver-turn"] == two.headers["palaver-turn"]
    assert told == same
    assert len(door.hand.windows) == 1


@pytest.mark.parametrize("stream", [None, True])
async def test_it_is_told_what_was_answered_meanwhile(door: Door, stream: bool | None) -> None:
    body = body_of("Hi", stream=stream, metadata={"a": "b"}, instructions="Be brief.", temperature=0.5)
    one, told = await door.post(ROUTE, body, tries(0))
    two, same = await door.post(ROUTE, body, tries(1))
    assert told == same
    assert one.headers["palaver-turn"] == two.headers["palaver-turn"]
    assert len(await path_of(door, one.headers["palaver-conversation"])) == 2


async def test_below_a_response_it_is_no_branch(door: Door) -> None:
    first = await respond(door, "One")
    body = body_of("Two", previous_response_id=first["id"])
    _, told = await door.post(ROUTE, body, tries(0))
    _, same = await door.post(ROUTE, body, tries(1))
    assert told == same
    tree = await door.chat.store.tree("local", first["conversation"]["id"])
    assert len(tree) == 4
    _, other = await door.post(ROUTE, body)
    assert other["id"] != told["id"]


async def test_in_the_background(door: Door) -> None:
    body = body_of("Hi", **HAND, background=True)
    _, told = await door.post(ROUTE, body, tries(0))
    _, same = await door.post(ROUTE, body, tries(1))
    assert told == same
    says(door, "Hello")
    while (await found(door, told["id"]))["status"] != "completed":
        pass
    answered, whole = await door.post(ROUTE, body, tries(2))
    assert (answered.status, whole["id"]) == (200, told["id"])
    assert len(door.hand.windows) == 1


async def test_what_failed_is_tried_again(door: Door) -> None:
    body = body_of("Hi", **HAND, instructions="Be brief.")
    door.hand.put(EngineBroke())
    one, error = await door.post(ROUTE, body, tries(0))
    assert (one.status, error["error"]["code"]) == (502, "engine_broke")
    says(door, "Hello")
    two, told = await door.post(ROUTE, body, tries(1))
    assert (two.status, text_of(told)) == (200, "Hello")
    assert one.headers["palaver-turn"] != two.headers["palaver-turn"]
    assert one.headers["palaver-conversation"] == two.headers["palaver-conversation"]
    assert [shown(window) for window in door.hand.windows] == [[("system", "Be brief."), ("user", "Hi")]] * 2
    assert await path_of(door, told["conversation"]["id"]) == [("user", "Hi"), ("assistant", "Hello")]
    assert [item["content"][0]["text"] for item in await input_items(door, told["id"])] == ["Hi"]


async def test_what_failed_in_a_conversation_is_tried_again_there(door: Door) -> None:
    await by_hand(door, "Zero", conversation="room")
    body = body_of("One", **HAND, conversation="room")
    door.hand.put(Accepted(), ContentDelta("Ye"), EngineBroke())
    one, _ = await door.post(ROUTE, body, tries(0))
    assert one.status == 502
    says(door, "Yes")
    _, told = await door.post(ROUTE, body, tries(1))
    assert [text for _, text in await path_of(door, told["conversation"]["id"])] == [
        "Zero",
        "Yes",
        "One",
        "Yes",
    ]
    assert shown(door.hand.windows[2]) == [("user", "Zero"), ("assistant", "Yes"), ("user", "One")]
    tree = await door.chat.store.tree("local", told["conversation"]["id"])
    assert len([item for item in tree if item.parent == tree[2].id]) == 2


class TestKeys:
    async def test_one_key_is_answered_once(self, door: Door) -> None:
        key = {"idempotency-key": "k1"}
        one, told = await door.post(ROUTE, body_of("Hi"), key)
        two, same = await door.post(ROUTE, body_of("Hi"), key)
        assert (one.status, two.status, told) == (200, 200, same)
        other, _ = await door.post(ROUTE, body_of("Hi"), {"idempotency-key": "k2"})
        assert other.headers["palaver-turn"] != one.headers["palaver-turn"]

    async def test_not_with_another_body(self, door: Door) -> None:
        key = {"idempotency-key": "k1"}
        await respond(door, "Hi", key)
        await refused(door, body_of("Ho"), "Idempotency-Key", "idempotency_key_reused", headers=key)

    async def test_the_other_door_has_its_own(self, door: Door) -> None:
        key = {"idempotency-key": "k1"}
        body = await respond(door, "Hi", key)
        messages = [{"role": "user", "content": "Hi"}]
        answered, _ = await door.post(
            "/v1/chat/completions", {"model": "scripted", "messages": messages}, key
        )
        assert answered.status in (200, 400)
        assert answered.headers.get("palaver-turn", "") != body["id"].replace("resp_", "chatcmpl-")


@pytest.fixture
async def impatient(tmp_path: Path) -> AsyncIterator[tuple[Door, openai.AsyncOpenAI]]:
    async with (
        opened(tmp_path) as door,
        openai.AsyncOpenAI(
            base_url=door.address + "/v1",
            api_key="any",
            max_retries=2,
            timeout=0.5,
            _strict_response_validation=True,
        ) as client,
    ):
        yield door, client


async def test_an_sdk_that_gave_up_gets_the_answer_of_its_first_try(impatient: Any) -> None:
    door, client = impatient
    asking = asyncio.create_task(client.responses.create(model="test/hand", input="Hi"))
    await running(door)
    [first] = door.chat._running.values()
    await until(lambda: not first.live.readers)
    says(door, "Hello")
    response = await asking
    assert (response.output_text, response.id.replace("resp_", "turn_")) == ("Hello", first.live.turn)
    assert len(door.hand.windows) == 1


async def test_a_stream_is_resumed_and_not_asked_for_again(door: Door) -> None:
    events = await streamed(door, "Hi", tries(0))
    again = await streamed(door, "Hi", tries(1))
    assert again == events
    assert heard(again).id == events[0]["response"]["id"]
