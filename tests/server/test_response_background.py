"""Responses that go on without a reader: begun at once, looked up, listened to, stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from palaver.chat import ChatSettings
from palaver.core.errors import EngineBroke, EngineRefused
from palaver.core.turn import Accepted, ContentDelta, Finish
from tests.server.conftest import Door, opened, until
from tests.server.event_rules import events_in, heard
from tests.server.responding import (
    ROUTE,
    ClosingHand,
    body_of,
    client_of,
    events_of,
    events_up_to,
    found,
    refused,
    respond,
    says,
    text_of,
)

ASKED: dict[str, Any] = {"model": "test/hand", "background": True}


@pytest.fixture
async def hand() -> ClosingHand:
    return ClosingHand()


@pytest.fixture
async def door(tmp_path: Path, hand: ClosingHand) -> AsyncIterator[Door]:
    async with opened(tmp_path, hand=hand) as door:
        yield door


@pytest.fixture
async def sdk(door: Door) -> AsyncIterator[openai.AsyncOpenAI]:
    async with client_of(door) as client:
        yield client


async def until_said(door: Door, response: str, text: str) -> dict[str, Any]:
    """Look a response up until it has said so much."""
    while True:
        body = await found(door, response)
        if text_of(body) == text:
            return body


async def until_ended(door: Door, response: str) -> dict[str, Any]:
    while (body := await found(door, response))["status"] in ("queued", "in_progress"):
        pass
    return body


async def test_it_is_there_at_once_and_grows(door: Door) -> None:
    body = await respond(door, **ASKED)
    assert (body["status"], body["output"], body["background"]) == ("queued", [], True)
    assert (body["store"], body["model"]) == (True, "test/hand")
    assert (await found(door, body["id"]))["status"] == "in_progress"
    door.hand.put(Accepted(), ContentDelta("He"))
    half = await until_said(door, body["id"], "He")
    assert (half["status"], half["output"][0]["status"], half["usage"]) == (
        "in_progress",
        "in_progress",
        None,
    )
    door.hand.put(ContentDelta("llo"), Finish("stop"))
    whole = await until_ended(door, body["id"])
    assert (whole["status"], text_of(whole)) == ("completed", "Hello")
    assert {**whole, "output": [], "completed_at": None, "status": "queued"} == body


async def test_it_is_heard_while_it_comes_and_after(door: Door, sdk: openai.AsyncOpenAI) -> None:
    response = await sdk.responses.create(model="test/hand", input="Hi", background=True)
    door.hand.put(Accepted(), ContentDelta("He"))
    stream = await sdk.responses.retrieve(response.id, stream=True)
    seen = []
    async for event in stream:
        seen.append(event)
        if event.type == "response.output_text.delta" and event.delta == "He":
            door.hand.put(ContentDelta("llo"), Finish("stop"))
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert [event.type for event in seen][:3] == [
        "response.created",
        "response.queued",
        "response.in_progress",
    ]
    raw = await events_of(door, response.id)
    assert heard(raw).said == ["Hello"]
    assert [event["type"] for event in raw] == [event.type for event in seen]
    rest = [event async for event in await sdk.responses.retrieve(response.id, stream=True, starting_after=4)]
    assert [event.sequence_number for event in rest] == list(range(5, len(seen)))


async def test_a_stream_of_it_begins_before_the_engine_does(door: Door) -> None:
    async with door.http.post(door.address + ROUTE, json=body_of("Hi", **ASKED, stream=True)) as response:
        assert response.status == 200
        first = await events_up_to(response, "response.in_progress")
        assert [event["type"] for event in first][:2] == ["response.created", "response.queued"]
        says(door, "Hello")
        events = [*first, *events_in(await response.read())]
    assert heard(events).said == ["Hello"]
    assert await events_of(door, events[0]["response"]["id"]) == events


async def test_a_stream_that_is_left_goes_on_and_is_resumed(door: Door) -> None:
    door.hand.put(Accepted(), ContentDelta("One"))
    async with door.http.post(
        door.address + ROUTE, json=body_of("Hi", model="test/hand", stream=True)
    ) as response:
        heard_before = await events_up_to(response, "response.output_text.delta")
        response.close()
    assert heard_before[-1]["delta"] == "One"
    id = heard_before[0]["response"]["id"]
    live = door.chat.live("local", id.replace("resp_", "turn_"))
    assert live is not None
    await until(lambda: not live.readers)
    door.hand.put(ContentDelta(" two"), Finish("stop"))
    rest = await events_of(door, id, heard_before[-1]["sequence_number"])
    assert heard([*heard_before, *rest]).said == ["One two"]
    assert rest[0]["delta"] == " two"


class TestStopping:
    async def test_the_engine_is_stopped_and_the_text_kept(self, door: Door, hand: ClosingHand) -> None:
        body = await respond(door, **ASKED)
        door.hand.put(Accepted(), ContentDelta("So "), ContentDelta("far"))
        await until_said(door, body["id"], "So far")
        assert hand.closed == []
        answered, stopped = await door.post(f"{ROUTE}/{body['id']}/cancel")
        assert (answered.status, stopped["status"], text_of(stopped)) == (200, "cancelled", "So far")
        assert (stopped["output"][0]["status"], stopped["completed_at"], stopped["error"]) == (
            "incomplete",
            None,
            None,
        )
        assert hand.closed == [body["id"].replace("resp_", "turn_")]
        assert await found(door, body["id"]) == stopped
        again, same = await door.post(f"{ROUTE}/{body['id']}/cancel", {})
        assert (again.status, same) == (200, stopped)
        events = await events_of(door, body["id"])
        assert (events[-1]["type"], events[-1]["response"]) == ("response.incomplete", stopped)
        assert heard(events).said == ["So far"]

    async def test_who_listens_hears_the_end(self, door: Door, sdk: openai.AsyncOpenAI) -> None:
        door.hand.put(Accepted(), ContentDelta("So far"))
        seen = []
        async for event in await sdk.responses.create(model="test/hand", input="Hi", stream=True):
            seen.append(event)
            if event.type == "response.output_text.delta":
                id = seen[0].response.id  # type: ignore[union-attr]
                assert (await sdk.responses.cancel(id)).status == "cancelled"
        assert seen[-1].type == "response.incomplete"
        assert (seen[-1].response.status, seen[-1].response.output_text) == ("cancelled", "So far")

    async def test_before_anything_was_said(self, door: Door) -> None:
        body = await respond(door, **ASKED)
        await door.hand.began.wait()
        _, stopped = await door.post(f"{ROUTE}/{body['id']}/cancel")
        assert (stopped["status"], stopped["output"], stopped["error"]) == ("cancelled", [], None)
        assert await found(door, body["id"]) == stopped
        assert heard(await events_of(door, body["id"])).items == []

    async def test_what_has_ended_stays_as_it_is(self, door: Door) -> None:
        body = await respond(door)
        answered, same = await door.post(f"{ROUTE}/{body['id']}/cancel")
        assert (answered.status, same) == (200, body)

    async def test_a_plain_request_is_told(self, door: Door) -> None:
        """It gets what had been said, and that it is cancelled."""
        door.hand.put(Accepted(), ContentDelta("So far"))

        async def stop() -> None:
            await door.hand.began.wait()
            [turn] = door.chat._running
            await until(lambda: door.chat._running[turn].live.events)
            await door.chat.cancel("local", turn)

        (answered, body), _ = await asyncio.gather(door.post(ROUTE, body_of(model="test/hand")), stop())
        assert (answered.status, body["status"], text_of(body)) == (200, "cancelled", "So far")


class TestFailing:
    @pytest.mark.parametrize(
        ("error", "code"),
        [(EngineBroke(), "server_error"), (EngineRefused("Slow down.", status=429), "rate_limit_exceeded")],
    )
    async def test_before_anything_was_said(self, door: Door, error: Exception, code: str) -> None:
        body = await respond(door, **ASKED)
        door.hand.put(error)
        failed = await until_ended(door, body["id"])
        assert (failed["status"], failed["output"], failed["completed_at"]) == ("failed", [], None)
        assert failed["error"] == {"code": code, "message": str(error)}
        events = await events_of(door, body["id"])
        assert (events[-1]["type"], events[-1]["response"]) == ("response.failed", failed)

    async def test_what_cannot_be_answered(self, door: Door) -> None:
        call = {"type": "function_call_output", "call_id": "call_1", "output": "x"}
        first = await respond(door)
        async with door.http.post(
            door.address + ROUTE, json=body_of([call], previous_response_id=first["id"], background=True)
        ) as response:
            body = await response.json()
        failed = await until_ended(door, body["id"])
        assert failed["error"]["code"] == "invalid_prompt"
        assert "'call_1'" in failed["error"]["message"]


class TestBounds:
    async def test_an_owner_has_so_many_at_once(self, tmp_path: Path) -> None:
        async with opened(tmp_path, chat_settings=ChatSettings(readerless_turns=2)) as door:
            bodies = [await respond(door, str(i), **ASKED) for i in range(2)]
            await refused(door, body_of("x", **ASKED), None, "rate_limit_exceeded", 429)
            await door.post(f"{ROUTE}/{bodies[0]['id']}/cancel")
            assert (await respond(door, "x", **ASKED))["status"] == "queued"

    async def test_it_has_no_end_but_its_own(self, tmp_path: Path) -> None:
        async with opened(tmp_path, chat_settings=ChatSettings(readerless_max_tokens=3)) as door:
            says(door, *(ContentDelta("x") for _ in range(20)))
            body = await respond(door, **ASKED)
            assert text_of(await until_ended(door, body["id"])) == "x" * 20

    async def test_what_was_left_has_one(self, tmp_path: Path) -> None:
        async with opened(tmp_path, chat_settings=ChatSettings(readerless_max_tokens=3)) as door:
            door.hand.put(Accepted(), ContentDelta("x"))
            asked = body_of("Hi", model="test/hand", stream=True)
            async with door.http.post(door.address + ROUTE, json=asked) as response:
                begun = await events_up_to(response, "response.output_text.delta")
                response.close()
            id = begun[0]["response"]["id"]
            live = door.chat.live("local", id.replace("resp_", "turn_"))
            assert live is not None
            await until(lambda: not live.readers)
            door.hand.put(*(ContentDelta("x") for _ in range(20)))
            cut = await until_ended(door, id)
            assert (cut["status"], text_of(cut)) == ("failed", "xxx")
            assert "Nobody read it" in cut["error"]["message"]

    async def test_nothing_is_in_the_background_that_is_not_stored(self, door: Door) -> None:
        await refused(door, body_of(**ASKED, store=False), "background")

    async def test_where_nothing_is_recorded(self, tmp_path: Path) -> None:
        async with opened(tmp_path, chat_settings=ChatSettings(record="none")) as door:
            await refused(door, body_of(**ASKED), "background")
            assert (await respond(door))["store"] is False
