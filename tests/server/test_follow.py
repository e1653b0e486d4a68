"""A reply as a page follows it: what it waits for, text, blocks, the end, from any place on."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from palaver.core.turn import Accepted, ContentDelta, Finish, ReasoningDelta, ToolCallDelta, Usage
from palaver.core.waiting import Waiting
from palaver.live import LiveReply
from palaver.server.follow import changes
from palaver.web.rendering import render
from tests.server.conftest import Door, opened

TEXT = "# Bread 🥖\n\nA *dense* 🥖 loaf.\n\n- one\n- two\n\n```python\nprint(1)\n```\n\nThe end.\n"
SCRIPT = "\n".join(
    json.dumps(line)
    for line in (
        {"when": "read", "prefill": 0.6, "reply": "Read."},
        {"when": "load", "loading": 0.6, "reply": "Loaded."},
        {"when": "slow", "reply": "one two three four five six", "delay": 0.1},
        {"reply": TEXT, "reasoning": "Let me see."},
    )
)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path, script=SCRIPT) as door:
        yield door


async def begin(door: Door, text: str = "Hello", model: str = "scripted", **more: Any) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "background": True, **more}
    response, told = await door.post("/v1/chat/completions", body)
    assert response.status == 200, told
    return told


async def follow(door: Door, turn: str, after: int = 0, most: int | None = None) -> list[Any]:
    """The events of a turn, all or the first few."""
    events: list[Any] = []
    async with door.http.get(f"{door.address}/v1/responses/{turn}/follow?starting_after={after}") as response:
        assert response.status == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        async for line in response.content:
            if line.startswith(b"data: "):
                events.append(json.loads(line[6:]))
                if most is not None and len(events) >= most:
                    break
    return events


def text_of(events: list[Any], kind: str = "text") -> str:
    return "".join(event["text"] for event in events if event["type"] == kind)


def shown(events: list[Any]) -> str:
    """The HTML that a page has in the end."""
    blocks: dict[int, str] = {}
    for event in events:
        if event["type"] == "block":
            blocks[event["index"]] = event["html"]
        elif event["type"] == "end":
            blocks |= {each["index"]: each["html"] for each in event["blocks"]}
    return "".join(blocks[index] for index in sorted(blocks))


async def test_a_reply_is_told_with_its_blocks_to_its_end(door: Door) -> None:
    begun = await begin(door, reasoning={"enabled": True})
    events = await follow(door, begun["id"])
    first, last = events[0], events[-1]
    assert first["type"] == "turn"
    assert (first["turn"], first["conversation"], first["message"]) == (
        begun["id"],
        begun["conversation"],
        begun["message"],
    )
    assert first["question"].startswith("msg_")
    assert text_of(events, "reasoning").strip() == "Let me see."
    assert text_of(events) == TEXT
    assert (last["type"], last["state"], last["finish_reason"], last["error"]) == (
        "end",
        "completed",
        "stop",
        None,
    )
    assert last["usage"]["completion_tokens"] > 0
    assert last["timing"]["total_ms"] >= 0
    assert shown(events) == render(TEXT)
    assert [event["n"] for event in events] == sorted(event["n"] for event in events)


async def test_it_goes_on_after_any_event(door: Door) -> None:
    begun = await begin(door)
    whole = await follow(door, begun["id"])
    for after in range(whole[-1]["n"] + 2):
        rest = await follow(door, begun["id"], after)
        heard = text_of([event for event in whole if event["n"] <= after]) if after else ""
        assert TEXT.endswith(text_of(rest))
        assert len(text_of(rest)) <= len(TEXT) - len(heard)
        assert rest[-1]["type"] == "end"


async def test_a_reader_that_comes_back_hears_the_rest_once(door: Door) -> None:
    begun = await begin(door, "be slow")
    heard: list[Any] = []
    for _ in range(20):
        after = heard[-1]["n"] if heard else 0
        heard += await follow(door, begun["id"], after, most=6)
        if heard[-1]["type"] == "end":
            break
    assert text_of(heard) == "one two three four five six"
    assert shown(heard) == render(text_of(heard))


async def test_what_it_waits_for_is_told(door: Door) -> None:
    begun = await begin(door, "read this")
    told = [event for event in await follow(door, begun["id"]) if event["type"] == "waiting"]
    assert {event["for"] for event in told} == {"prompt"}
    progress = [event["progress"] for event in told if event["progress"] is not None]
    assert len(progress) > 1
    assert progress == sorted(progress)
    begun = await begin(door, "load this")
    told = [event for event in await follow(door, begun["id"]) if event["type"] == "waiting"]
    assert "loading" in {event["for"] for event in told}


async def test_a_turn_that_waits_says_so_and_then_what_it_answers(door: Door) -> None:
    first = await begin(door, "be slow")
    second = await begin(door, conversation=first["conversation"], parent="head")
    assert second["status"] == "queued"
    events = await follow(door, second["id"])
    assert events[0]["question"] is None
    assert events[1]["for"] == "queue"
    again = next(event for event in events[1:] if event["type"] == "turn")
    assert again["question"].startswith("msg_")
    assert text_of(events) == TEXT


async def test_one_that_is_deleted_while_it_waits_has_an_end(door: Door) -> None:
    first = await begin(door, "be slow")
    second = await begin(door, conversation=first["conversation"], parent="head")
    reading = asyncio.create_task(follow(door, second["id"]))
    await asyncio.sleep(0.15)
    async with door.http.delete(f"{door.address}/v1/conversations/{first['conversation']}") as gone:
        assert gone.status == 200
    last = (await reading)[-1]
    assert (last["type"], last["state"], last["error"]) == ("end", "cancelled", None)


async def test_what_it_waits_for_is_told_five_times_a_second_and_delays_no_text() -> None:
    live = LiveReply(turn="turn_1", conversation="conv_1", model="m", created=0)
    times: list[float] = []

    async def read() -> None:
        async for _ in changes(live):
            times.append(time.monotonic())

    reading = asyncio.create_task(read())
    for tenth in range(10):
        live.wait(Waiting(what="prompt", progress=tenth / 10))
        await asyncio.sleep(0.05)
    live.wait(Waiting(what="prompt", progress=1.0))
    await asyncio.sleep(0.25)
    assert 3 <= len(times) <= 5
    assert all(later - earlier >= 0.19 for earlier, later in itertools.pairwise(times))
    live.wait(Waiting(what="place"))
    await asyncio.sleep(0.01)  # it has just been told
    live.publish(ContentDelta("Hello"))
    async with asyncio.timeout(0.05):
        await reading


async def test_the_open_block_can_be_put_together(door: Door) -> None:
    begun = await begin(door, "Hello", model="test/hand")
    reading = asyncio.create_task(follow(door, begun["id"]))
    door.hand.put(Accepted())
    text = "A 🥖 *loaf* of 🥖🥖 bread **and** more"
    for word in text.split(" "):
        door.hand.put(ContentDelta(word + " "))
        await asyncio.sleep(0.15)
    door.hand.put(Finish("stop", Usage(1, 1)))
    html, seen = "", 0
    for event in await reading:
        if event["type"] == "open":
            units = html.encode("utf-16-le")[: 2 * event["keep"]]
            html = units.decode("utf-16-le") + event["html"]
            seen += 1
            assert html.startswith('<div class="block"')
            assert html.endswith("</div>")
    assert seen > 3
    assert "<em>loaf</em> of 🥖🥖 bread" in html


async def test_calls_and_thinking_are_told(door: Door) -> None:
    begun = await begin(door, "Hello", model="test/hand")
    door.hand.put(
        Accepted(),
        ReasoningDelta("Hm. "),
        ToolCallDelta(0, "call_1", "clock"),
        ToolCallDelta(0, arguments="{}"),
    )
    door.hand.put(Finish("tool_calls", Usage(1, 1)))
    events = await follow(door, begun["id"])
    calls = [event for event in events if event["type"] == "call"]
    assert "".join(call["name"] for call in calls) == "clock"
    assert "".join(call["arguments"] for call in calls) == "{}"
    assert text_of(events, "reasoning") == "Hm. "


async def test_a_stopped_and_a_failed_one_say_so(door: Door) -> None:
    begun = await begin(door, "be slow")
    reading = asyncio.create_task(follow(door, begun["id"]))
    await asyncio.sleep(0.25)
    await door.post(f"/v1/responses/{begun['id']}/cancel")
    last = (await reading)[-1]
    assert (last["state"], last["error"]) == ("cancelled", None)
    begun = await begin(door, "Hello", model="test/hand")
    door.hand.put(RuntimeError("something"))
    last = (await follow(door, begun["id"]))[-1]
    assert last["state"] == "failed"
    assert last["error"]["message"]


async def test_who_leaves_does_not_stop_it(door: Door) -> None:
    begun = await begin(door, "be slow")
    await follow(door, begun["id"], most=2)
    events = await follow(door, begun["id"])
    assert events[-1]["state"] == "completed"


@pytest.mark.parametrize("api", ["responses", "chat/completions"])
async def test_what_is_not_there_is_a_404(door: Door, api: str) -> None:
    response, _ = await door.get(f"/v1/{api}/chatcmpl-nothing/follow")
    assert response.status == 404
    begun = await begin(door)
    await follow(door, begun["id"])
    async with door.http.delete(f"{door.address}/v1/responses/{begun['id']}") as gone:
        assert gone.status == 200
    response, _ = await door.get(f"/v1/{api}/{begun['id']}/follow")
    assert response.status == 404
    response, told = await door.get(f"/v1/{api}/{begun['id']}/follow?starting_after=x")
    assert (response.status, told["error"]["param"]) == (400, "starting_after")
