"""Responses whose engine breaks off, or whose store is gone: what was said is kept, and readers hear how it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from palaver.core.errors import EngineBroke, EngineError, EngineRefused, EngineUnavailable
from palaver.core.turn import Accepted, ContentDelta, Finish, ReasoningDelta, TurnState
from palaver.running import keeping
from tests.server.conftest import Door
from tests.server.event_rules import Hearing, events_in, heard
from tests.server.responding import (
    ROUTE,
    body_of,
    by_hand,
    client_of,
    events_of,
    events_up_to,
    found,
    path_of,
    respond,
    shown,
    streamed,
    text_of,
)
from tests.server.test_store_down import gone

HAND: dict[str, Any] = {"model": "test/hand"}


class TestEngines:
    async def test_a_stream_that_breaks_off_ends_as_failed(self, door: Door) -> None:
        door.hand.put(Accepted(), ReasoningDelta("Hm."), ContentDelta("So far"), EngineBroke("It broke."))
        events = await streamed(door, **HAND)
        hearing = heard(events)
        failed = events[-1]["response"]
        assert (events[-1]["type"], hearing.said) == ("response.failed", ["Hm.", "So far"])
        assert failed["error"] == {"code": "server_error", "message": "It broke."}
        assert [item["status"] for item in failed["output"]] == ["completed", "incomplete"]
        assert await found(door, failed["id"]) == failed
        assert await events_of(door, failed["id"]) == events
        again = await by_hand(door, "Go on", previous_response_id=failed["id"])
        assert [text for _, text in shown(door.hand.windows[1])] == ["Hello", "So far", "Go on"]
        assert again["status"] == "completed"

    async def test_who_waits_for_the_whole_gets_an_error_and_the_text_is_kept(self, door: Door) -> None:
        door.hand.put(Accepted(), ContentDelta("So far"), EngineBroke("It broke."))
        answered, error = await door.post(ROUTE, body_of(**HAND))
        assert (answered.status, error["error"]["code"]) == (502, "engine_broke")
        response = await found(door, answered.headers["palaver-turn"])
        assert (response["status"], text_of(response)) == ("failed", "So far")
        conversation = answered.headers["palaver-conversation"]
        assert await path_of(door, conversation) == [("user", "Hello"), ("assistant", "So far")]

    @pytest.mark.parametrize(
        ("error", "status", "code"),
        [
            (EngineUnavailable(), 503, "engine_unavailable"),
            (EngineRefused("No.", status=422), 422, "engine_refused"),
            (EngineRefused("Slow down.", status=429), 429, "engine_refused"),
            (EngineError(), 502, "engine_error"),
        ],
    )
    @pytest.mark.parametrize("stream", [False, True])
    async def test_before_anything_was_said_it_is_a_status(
        self, door: Door, error: Exception, status: int, code: str, stream: bool
    ) -> None:
        door.hand.put(error)
        answered, body = await door.post(ROUTE, body_of(**HAND, stream=stream or None))
        assert (answered.status, body["error"]["code"]) == (status, code)
        failed = await found(door, answered.headers["palaver-turn"])
        assert (failed["status"], failed["output"]) == ("failed", [])
        events = await events_of(door, failed["id"])
        assert heard(events).items == []
        assert events[-1]["response"] == failed
        expected = "rate_limit_exceeded" if status == 429 else "server_error"
        assert failed["error"]["code"] == expected

    async def test_the_sdk_hears_it(self, door: Door) -> None:
        async with client_of(door) as sdk:
            door.hand.put(Accepted(), ContentDelta("So far"), EngineBroke("It broke."))
            async with sdk.responses.stream(model="test/hand", input="Hi") as stream:
                last: Any = [event async for event in stream][-1]
            assert last.type == "response.failed"
            assert (last.response.error.message, last.response.output_text) == ("It broke.", "So far")


class TestStores:
    async def test_an_end_that_cannot_be_stored_is_no_end(self, door: Door, tmp_path: Path) -> None:
        """Who hears that asks again later, and hears the rest."""
        door.hand.put(Accepted(), ContentDelta("So far"))
        async with door.http.post(f"{door.address}{ROUTE}", json=body_of(**HAND, stream=True)) as response:
            begun = await events_up_to(response, "response.output_text.delta")
            with gone(tmp_path):
                door.hand.put(Finish("stop"))
                last = events_in(await response.read())
        id = begun[0]["response"]["id"]
        *rest, error = [event for event in last if event["sequence_number"] >= len(begun)]
        assert rest == []
        assert (error["type"], error["code"], error["param"]) == ("error", "store_unavailable", None)
        assert error["sequence_number"] == len(begun)
        assert str(tmp_path) not in error["message"]
        await door.until_ended(id.replace("resp_", "turn_"), TurnState.COMPLETED)
        later = await events_of(door, id, begun[-1]["sequence_number"])
        assert heard([*begun, *later]).said == ["So far"]
        assert later[-1]["response"]["status"] == "completed"

    async def test_what_was_not_logged_was_not_told(self, door: Door, tmp_path: Path) -> None:
        door.hand.put(Accepted(), ContentDelta("So far"))
        async with door.http.post(f"{door.address}{ROUTE}", json=body_of(**HAND, stream=True)) as response:
            begun = await events_up_to(response, "response.output_text.delta")
            with gone(tmp_path):
                door.hand.put(ContentDelta(" and on"), Finish("stop"))
                last = events_in(await response.read())
        assert [event["type"] for event in last] == ["error"]
        id = begun[0]["response"]["id"]
        await door.until_ended(id.replace("resp_", "turn_"), TurnState.COMPLETED)
        later = await events_of(door, id, begun[-1]["sequence_number"])
        assert heard([*begun, *later]).said == ["So far and on"]

    async def test_one_that_is_looked_up_meanwhile(
        self, door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It has not failed: how it ended is known when that is stored."""
        monkeypatch.setattr(keeping, "FINISH_RETRIES", (3600.0,))
        body = await respond(door, **HAND, background=True)
        door.hand.put(Accepted(), ContentDelta("So far"))
        while text_of(await found(door, body["id"])) != "So far":
            pass
        turn = body["id"].replace("resp_", "turn_")
        live = door.chat.live("local", turn)
        assert live is not None
        with gone(tmp_path):
            door.hand.put(Finish("stop"))
            await live.ended()
            for path in ("", "?stream=true", "/input_items"):
                answered, error = await door.get(f"{ROUTE}/{body['id']}{path}")
                assert (answered.status, error["error"]["code"]) == (503, "store_unavailable")
        before = await found(door, body["id"])
        assert (before["status"], before["error"], text_of(before)) == ("in_progress", None, "So far")
        assert before["output"][0]["status"] == "in_progress"
        assert [event["type"] for event in await events_of(door, body["id"], 4)] == [
            "response.output_text.delta",
            "error",
        ]
        assert await door.chat._running[turn].stored(30)
        after = await found(door, body["id"])
        assert (after["status"], text_of(after), after["error"]) == ("completed", "So far", None)

    async def test_it_is_no_request_at_all_where_the_store_is_gone(self, door: Door, tmp_path: Path) -> None:
        first = await respond(door)
        with gone(tmp_path):
            for more in ({}, {"stream": True}, {"background": True}, {"previous_response_id": first["id"]}):
                answered, error = await door.post(ROUTE, body_of("x", **more))
                assert (answered.status, error["error"]["code"]) == (503, "store_unavailable")
                assert answered.headers["retry-after"]
            assert (await respond(door, "x", store=False))["status"] == "completed"
        assert (await respond(door, "More", previous_response_id=first["id"]))["status"] == "completed"


def test_a_hearing_is_strict() -> None:
    """The rules themselves: what they are for is refused."""
    created = {"type": "response.created", "sequence_number": 0, "response": {"id": "r", "background": False}}
    for wrong in ({**created, "sequence_number": 1}, {**created, "type": "response.completed"}):
        with pytest.raises((AssertionError, KeyError)):
            Hearing().hear(wrong)
