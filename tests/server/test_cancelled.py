"""What readers hear of a turn that is stopped: its text, or an error that no SDK takes for a reason to ask again."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest

from palaver.core.turn import Accepted, ContentDelta
from tests.server.conftest import Door, until

HEAD = {"model": "test/hand", "conversation": "room", "parent": "head"}


def said(text: str, **more: Any) -> dict[str, Any]:
    return {**HEAD, "messages": [{"role": "user", "content": text}], **more}


async def running_and_waiting(door: Door, **more: Any) -> list[asyncio.Task[Any]]:
    """Two requests for one head: the first is being answered, the second waits."""
    asking = []
    for number in range(2):
        asking.append(asyncio.create_task(door.post("/v1/chat/completions", said(f"q{number}", **more))))
        await until(lambda: len(door.chat._running) > number)  # noqa: B023
    await door.hand.began.wait()
    return asking


async def test_a_turn_that_never_spoke_is_no_empty_answer(door: Door) -> None:
    first, second = await running_and_waiting(door)
    [_, waiting] = list(door.chat._running)
    turn = waiting.replace("turn_", "chatcmpl-")
    assert (await door.post(f"/v1/chat/completions/{turn}/cancel"))[0].status == 200
    response, body = await second
    assert (response.status, body["error"]["code"]) == (409, "turn_cancelled")
    assert response.headers["x-should-retry"] == "false"
    stored = (await door.get(f"/v1/chat/completions/{turn}"))[1]
    assert (stored["status"], stored["choices"]) == ("cancelled", [])
    door.hand.put(Accepted(), ContentDelta("hello"))
    await door.chat.stop_turns("local", "Stopped.")
    assert (await first)[0].status == 409


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_deletion_stops_is_no_answer_either(door: Door, stream: bool) -> None:
    asking = await running_and_waiting(door, stream=stream)
    door.hand.put(Accepted(), ContentDelta("hel"))
    await until(lambda: any(turn.live.events for turn in door.chat._running.values()))
    async with door.http.delete(door.address + "/v1/conversations/room") as response:
        assert response.status == 200
    (first, told), (second, refused) = await asyncio.gather(*asking)
    assert (second.status, refused["error"]["code"]) == (409, "turn_cancelled")
    if stream:
        assert "hel" in told
        assert "deleted" in told.splitlines()[-2]
        assert "[DONE]" not in told
    else:
        assert first.status == 409
        assert "deleted" in told["error"]["message"]


async def test_an_sdk_raises_and_does_not_ask_again(door: Door) -> None:
    async with openai.AsyncOpenAI(base_url=door.address + "/v1", api_key="any", max_retries=5) as client:
        asking = asyncio.create_task(
            client.chat.completions.create(model="test/hand", messages=[{"role": "user", "content": "hi"}])
        )
        await door.hand.began.wait()
        [turn] = door.chat._running
        await door.chat.cancel("local", turn)
        with pytest.raises(openai.ConflictError):
            await asking
    assert len(door.hand.windows) == 1


async def test_a_rule_for_turns_that_may_wait_is_for_those_only(door: Door) -> None:
    response, body = await door.ask("hi", conversation="room", concurrency="reject")
    assert (response.status, body["error"]["param"]) == (400, "concurrency")
