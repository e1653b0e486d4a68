"""Responses that are not stored: nothing of them is there afterwards, also where they go on from what is."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from palaver.chat import ChatSettings
from palaver.core.message import ImagePart
from palaver.core.turn import Accepted, ContentDelta, Finish, ToolCallDelta
from palaver.engines.base import SAMPLING
from tests.server.conftest import Door, HandEngine, opened, until
from tests.server.event_rules import events_in, heard
from tests.server.responding import (
    ROUTE,
    ClosingHand,
    body_of,
    by_hand,
    path_of,
    refused,
    respond,
    says,
    shown,
    streamed,
    text_of,
)
from tests.server.test_deletion import delete

PICTURE = "data:image/png;base64," + base64.b64encode(b"\0" * 9).decode()


async def kept(door: Door) -> int:
    return len(await door.chat.store.conversations("local", one_shots=True, limit=100))


async def test_nothing_is_there_afterwards(door: Door) -> None:
    answered, body = await door.post(ROUTE, body_of("Hi", store=False))
    assert (answered.status, body["store"], body["conversation"]) == (200, False, None)
    assert answered.headers["palaver-conversation"] == "none"
    assert text_of(body).startswith("Reply 1 to: Hi")
    for path in ("", "/input_items", "?stream=true"):
        assert (await door.get(f"{ROUTE}/{body['id']}{path}"))[0].status == 404
    assert (await delete(door, f"{ROUTE}/{body['id']}"))[0] == 404
    assert (await door.post(f"{ROUTE}/{body['id']}/cancel"))[0].status == 404
    again = {"model": "scripted", "input": "x", "previous_response_id": body["id"]}
    await refused(door, again, "previous_response_id", "previous_response_not_found")
    assert await kept(door) == 0


async def test_it_streams_all_the_same(door: Door) -> None:
    says(door, "Hel", "lo")
    events = await streamed(door, model="test/hand", store=False, instructions="Be brief.")
    assert heard(events).said == ["Hello"]
    assert shown(door.hand.windows[0]) == [("system", "Be brief."), ("user", "Hello")]


async def test_while_it_runs_it_cannot_be_looked_up(tmp_path: Path) -> None:
    hand = ClosingHand()
    asked = body_of(model="test/hand", store=False, stream=True)
    hand.put(Accepted(), ContentDelta("x"))
    async with (
        opened(tmp_path, hand=hand) as door,
        door.http.post(door.address + ROUTE, json=asked) as response,
    ):
        id = response.headers["palaver-turn"]
        assert (await door.get(f"{ROUTE}/{id}"))[0].status == 404
        answered, error = await door.post(f"{ROUTE}/{id}/cancel")
        assert (answered.status, "closing" in error["error"]["message"]) == (404, True)
        hand.put(Finish("stop"))
        assert heard(events_in(await response.read())).said == ["x"]


class TestBelowWhatIsStored:
    async def test_the_whole_path_is_shown_and_nothing_added(self, door: Door) -> None:
        first = await respond(door, "One", instructions="Only once.")
        second = await respond(
            door,
            [{"role": "developer", "content": "Kindly."}, {"role": "user", "content": "Two"}],
            previous_response_id=first["id"],
        )
        before = await path_of(door, first["conversation"]["id"])
        body = await by_hand(
            door, "Three", previous_response_id=second["id"], store=False, instructions="Now."
        )
        assert (body["previous_response_id"], body["conversation"]) == (second["id"], None)
        assert shown(door.hand.windows[0]) == [("system", "Now."), *before, ("user", "Three")]
        assert await path_of(door, first["conversation"]["id"]) == before
        assert door.hand.windows[0].conversation is None
        assert (await door.get(f"{ROUTE}/{body['id']}"))[0].status == 404

    async def test_a_chat_completions_instructions_are_taken_over(self, door: Door) -> None:
        history = [{"role": "system", "content": "Kindly."}, {"role": "user", "content": "One"}]
        _, chat = await door.post("/v1/chat/completions", {"model": "scripted", "messages": history})
        said = chat["choices"][0]["message"]["content"]
        await by_hand(door, "Two", previous_response_id=chat["id"], store=False)
        assert shown(door.hand.windows[0]) == [
            ("system", "Kindly."),
            ("user", "One"),
            ("assistant", said),
            ("user", "Two"),
        ]

    async def test_pictures_are_shown(self, tmp_path: Path) -> None:
        async with opened(tmp_path, hand=HandEngine(SAMPLING | {"image_url"}, context=4096)) as door:
            parts = [{"type": "input_image", "image_url": PICTURE}, {"type": "input_text", "text": "What?"}]
            first = await by_hand(door, [{"role": "user", "content": parts}])
            await by_hand(door, "And?", previous_response_id=first["id"], store=False)
            content = door.hand.windows[1].messages[0].content
            assert isinstance(content, list)
            [picture] = [part for part in content if isinstance(part, ImagePart)]
            assert picture.image_url.url == PICTURE

    async def test_results_of_tools_have_their_calls_there(self, tmp_path: Path) -> None:
        async with opened(tmp_path, hand=HandEngine(SAMPLING | {"tools"}, context=4096)) as door:
            tools = [{"type": "function", "name": "now", "parameters": {}}]
            door.hand.put(Accepted(), ToolCallDelta(0, "call_1", "now", "{}"), Finish("tool_calls"))
            first = await respond(door, "When?", model="test/hand", tools=tools)
            output = {"type": "function_call_output", "call_id": "call_1", "output": "noon"}
            more: dict[str, Any] = {"previous_response_id": first["id"], "store": False}
            body = await by_hand(door, [output], "At noon.", **more)
            assert text_of(body) == "At noon."
            asked = {
                "model": "test/hand",
                "input": [{"role": "user", "content": "x"}, {**output, "call_id": "call_2"}],
            }
            said = await refused(door, {**asked, **more}, "input[1].call_id")
            assert "`input[1].call_id`" in said

    async def test_as_much_as_fits(self, tmp_path: Path) -> None:
        async with opened(tmp_path, hand=HandEngine(context=300)) as door:
            previous = None
            for i in range(5):
                more: dict[str, Any] = {} if previous is None else {"previous_response_id": previous}
                previous = (await by_hand(door, f"q{i}" + "x" * 60, "a" * 40, **more))["id"]
            body = await by_hand(door, "last", previous_response_id=previous, store=False)
            seen = shown(door.hand.windows[-1])
            assert (body["truncation"], seen[-1]) == ("auto", ("user", "last"))
            assert sum(len(text) for _, text in seen) <= 300
            asked = {"model": "test/hand", "input": "x", "previous_response_id": previous, "store": False}
            await refused(door, {**asked, "truncation": "disabled"}, "input", "context_length_exceeded")

    async def test_a_conversation_is_not_named(self, door: Door) -> None:
        await refused(door, body_of(conversation="room", store=False), "store")


class TestRecording:
    async def test_where_nothing_is_recorded(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as door:
            first = await respond(door, "One")
        async with opened(tmp_path, chat_settings=ChatSettings(record="none")) as door:
            assert (await respond(door, "x"))["store"] is False
            await refused(door, body_of(store=True), "store")
            await refused(door, body_of(previous_response_id=first["id"]), "previous_response_id")
            await refused(door, body_of(conversation="room"), "conversation")
            unstored = await respond(door, "Two", previous_response_id=first["id"], store=False)
            assert text_of(unstored).startswith("Reply 2 to: Two")

    @pytest.mark.parametrize(
        ("more", "stored"), [({}, False), ({"store": True}, True), ({"conversation": "r"}, True)]
    )
    async def test_where_it_is_recorded_when_asked(
        self, tmp_path: Path, more: dict[str, Any], stored: bool
    ) -> None:
        async with opened(tmp_path, chat_settings=ChatSettings(record="asked")) as door:
            body = await respond(door, "One", **more)
            assert body["store"] is stored
            assert await kept(door) == stored
            await until(lambda: not door.chat._running)
