"""A response that is listened to again: its events come whatever became of it, and only those that are kept."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from palaver.core.errors import EngineRefused
from palaver.core.turn import Accepted, ContentDelta, Finish, TurnState
from tests.server.conftest import Door


async def events(door: Door, id: str, after: int | None = None) -> list[dict[str, Any]]:
    start = "" if after is None else f"&starting_after={after}"
    response, body = await door.get(f"/v1/responses/{id}?stream=true{start}")
    assert response.status == 200, body
    return [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: ")]


def logged(folder: Path) -> str:
    """The text that would outlive the process now."""
    with closing(sqlite3.connect(f"file:{folder / 'palaver.db'}?mode=ro", uri=True)) as db:
        return "".join(str(deltas) for (deltas,) in db.execute("SELECT deltas FROM turn_log ORDER BY batch"))


async def test_one_that_failed_without_a_word_is_told_in_events(door: Door) -> None:
    door.hand.put(EngineRefused("Not today."))
    asked, _ = await door.post("/v1/responses", {"model": "test/hand", "input": "Hello"})
    assert asked.status >= 400
    heard = await events(door, asked.headers["palaver-turn"])
    assert [event["type"] for event in heard] == [
        "response.created",
        "response.in_progress",
        "response.failed",
    ]
    assert heard[-1]["response"]["error"]["code"] == "server_error"
    assert heard[-1]["response"]["output"] == []
    assert await events(door, asked.headers["palaver-turn"], 1) == heard[2:]


async def test_one_that_fails_in_the_background_is_told_in_events(door: Door) -> None:
    door.hand.put(EngineRefused("Not today."))
    body = {"model": "test/hand", "input": "Hello", "background": True, "stream": True}
    response, text = await door.post("/v1/responses", body)
    assert response.status == 200
    heard = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    assert [event["type"] for event in heard] == [
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.failed",
    ]
    assert await events(door, response.headers["palaver-turn"]) == heard


async def test_a_chat_completion_is_heard_here_as_far_as_it_is_kept(door: Door, tmp_path: Path) -> None:
    door.hand.put(Accepted(), ContentDelta("One"))
    body = {"model": "test/hand", "messages": [{"role": "user", "content": "Count"}], "stream": True}
    async with door.http.post(door.address + "/v1/chat/completions", json=body) as first:
        turn = first.headers["palaver-turn"]
        assert b"One" in await first.content.readuntil(b"\n\n")
        url = f"{door.address}/v1/responses/{turn}?stream=true&starting_after=3"
        async with door.http.get(url) as second:
            for word in ("One", " two", " three"):
                if word != "One":
                    door.hand.put(ContentDelta(word))
                assert word.encode() in await second.content.readuntil(b"\n\n")
                assert word in logged(tmp_path)
            door.hand.put(Finish("stop"))
            assert b"response.completed" in await second.content.read()
        assert b"[DONE]" in await first.content.read()
    await door.until_ended(turn, TurnState.COMPLETED)
    assert [event["sequence_number"] for event in await events(door, turn, 3)] == [4, 5, 6, 7, 8, 9, 10]
