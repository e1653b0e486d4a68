"""Chat completions that go on without a reader: answered at once with how they stand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from palaver.chat import ChatSettings
from palaver.core.errors import EngineRefused
from palaver.core.turn import Accepted, ContentDelta, Finish, Prefilled, TurnState
from palaver.server import sse
from palaver.server.app import ServerSettings
from tests.server.conftest import Door, opened, until

ROUTE = "/v1/chat/completions"


def asked(text: str = "Hello", **more: Any) -> dict[str, Any]:
    return {
        "model": "test/hand",
        "messages": [{"role": "user", "content": text}],
        "background": True,
        **more,
    }


async def began(door: Door, headers: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    response, body = await door.post(ROUTE, asked(**more), headers)
    assert response.status == 200, body
    assert response.headers["palaver-turn"] == body["id"]
    assert response.headers["palaver-conversation"] == body["conversation"]
    found: dict[str, Any] = body
    return found


async def test_it_is_answered_at_once_and_goes_on(door: Door) -> None:
    body = await began(door)
    assert body["object"] == "chat.completion.status"
    assert body["status"] == "running"
    response, error = await door.get(f"{ROUTE}/{body['id']}")
    assert (response.status, error["error"]["code"]) == (409, "turn_running")
    door.hand.put(Accepted(), ContentDelta("Hi"), Finish("stop"))
    await door.until_ended(body["id"], TurnState.COMPLETED)
    _, reply = await door.get(f"{ROUTE}/{body['id']}")
    assert reply["choices"][0]["message"]["content"] == "Hi"
    _, found = await door.get(f"/v1/conversations/{body['conversation']}/messages")
    assert found["data"][0]["id"] == body["message"]


async def test_it_tells_that_it_waits(door: Door) -> None:
    first = await began(door, conversation="room", parent="head")
    second = await began(door, text="And?", conversation="room", parent="head")
    assert (first["status"], second["status"]) == ("running", "queued")
    assert first["conversation"] == second["conversation"]
    door.hand.put(Accepted(), Finish("stop"), Accepted(), ContentDelta("Yes"), Finish("stop"))
    await door.until_ended(second["id"], TurnState.COMPLETED)


async def test_a_repetition_joins_it(door: Door) -> None:
    key = {"idempotency-key": "k"}
    first = await began(door, key)
    assert await began(door, key) == first
    sent = {"x-stainless-retry-count": "0"}
    other = await began(door, sent, text="Other")
    assert await began(door, {"x-stainless-retry-count": "1"}, text="Other") == other
    assert other["id"] != first["id"]
    assert len(door.chat._running) == 2


@pytest.mark.parametrize("said", [["Hi"], []])
async def test_a_repetition_of_what_has_ended_says_so(door: Door, said: list[str]) -> None:
    key = {"idempotency-key": "k"}
    first = await began(door, key)
    door.hand.put(Accepted(), *map(ContentDelta, said), Finish("stop"))
    await door.until_ended(first["id"], TurnState.COMPLETED)
    await until(lambda: not door.chat._running)
    message = first["message"] if said else None
    assert await began(door, key) == {**first, "status": "completed", "message": message}


async def test_what_failed_is_tried_again(door: Door) -> None:
    key = {"idempotency-key": "k"}
    first = await began(door, key)
    door.hand.put(EngineRefused("It cannot."))
    await door.until_ended(first["id"], TurnState.FAILED)
    await until(lambda: not door.chat._running)
    again = await began(door, key)
    assert (again["id"] != first["id"], again["status"]) == (True, "running")


async def test_cancelling_says_the_same(door: Door) -> None:
    said, silent = await began(door), await began(door, text="Other")
    await until(lambda: len(door.hand.windows) == 2)
    door.hand.put(Accepted(), ContentDelta("So"))
    await until(lambda: any(turn.live.events for turn in door.chat._running.values()))
    for body in (said, silent):
        live = door.chat.live("local", body["id"].replace("chatcmpl-", "turn_"))
        assert live is not None
        message = body["message"] if live.events else None
        for _ in range(2):  # the second time from the store
            response, answer = await door.post(f"{ROUTE}/{body['id']}/cancel")
            assert response.status == 200
            assert answer == {**body, "status": "cancelled", "message": message}
            await until(lambda: len(door.chat._running) < 2)
        await until(lambda turn=live.turn: turn not in door.chat._running)  # type: ignore[misc]


async def test_its_response_says_that_it_is_in_the_background(door: Door) -> None:
    body = await began(door)
    _, response = await door.get(f"/v1/responses/{body['id']}")
    assert response["background"] is True


@pytest.mark.parametrize("more", [{"stream": True}, {"store": False}, {"background": "yes"}])
async def test_what_contradicts_itself(door: Door, more: dict[str, Any]) -> None:
    response, body = await door.post(ROUTE, asked(**more))
    assert (response.status, body["error"]["param"]) == (400, "background")
    assert not door.hand.windows


async def test_false_and_null_ask_for_nothing(door: Door) -> None:
    for value in (False, None):
        response, body = await door.ask(background=value, store=False)
        assert response.status == 200
        assert body["object"] == "chat.completion"


@pytest.mark.parametrize("record", ["all", "asked", "none"])
async def test_it_is_stored_wherever_anything_is(tmp_path: Path, record: Any) -> None:
    async with opened(tmp_path, chat_settings=ChatSettings(record=record)) as door:
        if record == "none":
            response, body = await door.post(ROUTE, asked())
            assert (response.status, body["error"]["param"]) == (400, "background")
            return
        body = await began(door)
        assert body["conversation"].startswith("conv_")


async def test_too_many_are_429_and_repetitions_join_all_the_same(tmp_path: Path) -> None:
    async with opened(tmp_path, chat_settings=ChatSettings(readerless_turns=1)) as door:
        first = await began(door, {"idempotency-key": "k"})
        response, body = await door.post(ROUTE, asked("Other"))
        assert (response.status, body["error"]["code"]) == (429, "rate_limit_exceeded")
        assert await began(door, {"idempotency-key": "k"}) == first


class TestComments:
    """What a stream says while nothing has come."""

    @pytest.fixture
    async def silent(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
        monkeypatch.setattr(sse, "PROGRESS_SECONDS", 0.01)
        async with opened(tmp_path, ServerSettings(hold_seconds=0, keepalive_seconds=0.05)) as door:
            yield door

    async def test_how_much_of_the_prompt_is_read(self, silent: Door) -> None:
        body = asked(background=None, stream=True)
        async with silent.http.post(silent.address + ROUTE, json=body) as response:
            silent.hand.put(Prefilled(2, 5))
            async with asyncio.timeout(10):
                while await response.content.readuntil(b"\n\n") != b": reading the prompt 40 %\n\n":
                    pass
            silent.hand.put(Accepted(), ContentDelta("Hi"), Finish("stop"))
            rest = await response.read()
            assert b'"content":"Hi"' in rest
            assert b"reading" not in rest.partition(b'"content":"Hi"')[2]

    async def test_the_percentages_do_not_wait_until_a_keep_alive_is_due(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sse, "PROGRESS_SECONDS", 0.01)
        async with opened(tmp_path, ServerSettings(hold_seconds=0, keepalive_seconds=3600)) as door:
            body = asked(background=None, stream=True)
            async with door.http.post(door.address + ROUTE, json=body) as response:
                await asyncio.sleep(0.05)  # nothing is known yet
                for done in (1, 2):
                    door.hand.put(Prefilled(done, 4))
                    comment = f": reading the prompt {done * 25} %\n\n".encode()
                    async with asyncio.timeout(10):
                        while await response.content.readuntil(b"\n\n") != comment:
                            pass
                door.hand.put(Accepted(), ContentDelta("Hi"), Finish("stop"))
                assert b'"content":"Hi"' in await response.read()

    async def test_how_many_go_before_it(self, silent: Door) -> None:
        named: dict[str, Any] = {"conversation": "room", "parent": "head"}
        await began(silent, None, **named)
        body = asked("And?", background=None, stream=True, **named)
        async with silent.http.post(silent.address + ROUTE, json=body) as response:
            async with asyncio.timeout(10):
                while await response.content.readuntil(b"\n\n") != b": queued behind 1\n\n":
                    pass
            silent.hand.put(Accepted(), Finish("stop"), Accepted(), ContentDelta("Hi"), Finish("stop"))
            assert b'"content":"Hi"' in await response.read()
