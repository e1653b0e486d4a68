"""Clients that go away: the model works on, and what it says is kept."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from palaver.chat import ChatSettings
from palaver.core.turn import Accepted, ContentDelta, Finish, TurnState
from palaver.server.app import ServerSettings
from tests.server.conftest import Door, opened, until

BODY = {"model": "test/hand", "messages": [{"role": "user", "content": "Hello"}]}


async def readers_gone(door: Door, turn: str) -> None:
    """Wait until the server has noticed that a turn's reader left."""
    live = door.chat.live("local", turn)
    assert live is not None
    await until(lambda: not live.readers)


async def the_turn(door: Door) -> str:
    await door.hand.began.wait()
    return door.hand.windows[-1].turn


async def reads(door: Door, turn: str) -> None:
    """Wait until the turn has a reader."""
    await until(lambda: (live := door.chat.live("local", turn)) and live.readers)


async def stored_text(door: Door, turn: str) -> str:
    record = await door.chat.store.turn("local", turn)
    assert record.reply is not None
    return record.reply.message.text


@pytest.mark.parametrize("stream", [False, True])
async def test_a_reader_that_leaves_before_any_text(tmp_path: Path, stream: bool) -> None:
    async with opened(tmp_path, ServerSettings(hold_seconds=60)) as door:
        asking = asyncio.create_task(door.post("/v1/chat/completions", {**BODY, "stream": stream}))
        turn = await the_turn(door)
        await reads(door, turn)
        asking.cancel()
        await readers_gone(door, turn)
        door.hand.put(Accepted(), ContentDelta("Still "), ContentDelta("here"), Finish("stop"))
        await door.until_ended(turn, TurnState.COMPLETED)
        assert await stored_text(door, turn) == "Still here"


async def test_a_reader_that_leaves_in_mid_stream(door: Door) -> None:
    door.hand.put(Accepted(), ContentDelta("One"))
    async with door.http.post(
        door.address + "/v1/chat/completions", json={**BODY, "stream": True}
    ) as response:
        turn = await the_turn(door)
        await response.content.readline()
        response.close()
    await readers_gone(door, turn)
    door.hand.put(ContentDelta(" two"), Finish("stop"))
    await door.until_ended(turn, TurnState.COMPLETED)
    assert await stored_text(door, turn) == "One two"
    response_again, body = await door.get(f"/v1/chat/completions/{turn}")
    assert response_again.status == 200
    assert body["choices"][0]["message"]["content"] == "One two"


async def test_a_reader_that_stops_reading_holds_up_nobody(door: Door) -> None:
    """A megabyte more than sockets buffer is said to somebody who does not read; others are answered."""
    door.hand.put(Accepted())
    async with door.http.post(
        door.address + "/v1/chat/completions", json={**BODY, "stream": True}
    ) as response:
        turn = await the_turn(door)
        door.hand.put(*(ContentDelta("x" * 65536) for _ in range(200)))
        door.hand.put(Finish("stop"))
        await door.until_ended(turn, TurnState.COMPLETED)
        other, _ = await door.ask()
        assert other.status == 200
        data = await response.read()
    assert data.endswith(b"data: [DONE]\n\n")
    assert data.count(b"x" * 65536) == 200


@pytest.mark.parametrize("on_leave", ["grace", "finish"])
async def test_what_becomes_of_it_when_another_waits(tmp_path: Path, on_leave: str) -> None:
    async with opened(tmp_path, chat_settings=ChatSettings(grace=0.01)) as door:
        door.hand.put(Accepted(), ContentDelta("So far"))
        door.hand.waiting = 1
        headers = {"palaver-on-leave": on_leave}
        async with door.http.post(
            door.address + "/v1/chat/completions", json={**BODY, "stream": True}, headers=headers
        ) as response:
            turn = await the_turn(door)
            await response.content.readline()
            response.close()
        if on_leave == "grace":
            await door.until_ended(turn, TurnState.INCOMPLETE)
        else:
            await readers_gone(door, turn)
            await asyncio.sleep(0.05)  # well past the grace that it has not
            door.hand.put(ContentDelta(" and on"), Finish("stop"))
            await door.until_ended(turn, TurnState.COMPLETED)
        assert (await stored_text(door, turn)).startswith("So far")


async def test_a_client_that_leaves_while_it_sends(door: Door) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(door.address.rpartition(":")[2]))
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b'content-length: 1000\r\n\r\n{"model":'
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    response, _ = await door.ask()
    assert response.status == 200
    assert await reader.read() == b""


async def test_a_server_that_closes_tells_its_readers(tmp_path: Path) -> None:
    async with opened(tmp_path) as door:
        door.hand.put(Accepted(), ContentDelta("So far"))
        async with door.http.post(
            door.address + "/v1/chat/completions", json={**BODY, "stream": True}
        ) as response:
            turn = await the_turn(door)
            await response.content.readline()
            await door.chat.close()
            rest: Any = await response.read()
        assert b'data: {"error":{"message":"palaver was shut down."' in rest
        await door.until_ended(turn, TurnState.INCOMPLETE)
