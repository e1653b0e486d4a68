"""A reply while it runs: one writer, any number of readers, each at their own pace."""

from __future__ import annotations

import asyncio

import pytest

from palaver.core.errors import EngineBroke
from palaver.core.message import FunctionCall, ToolCall
from palaver.core.reply import Reply
from palaver.core.turn import ContentDelta, Delta, ReasoningDelta, ToolCallDelta, TurnState
from palaver.live import LiveReply, Outcome
from tests.chat.asking import heard

DONE = Outcome(state=TurnState.COMPLETED, finish_reason="stop")


def reply(left: list[str] | None = None) -> LiveReply:
    told = left if left is not None else []
    return LiveReply(
        turn="turn", conversation="conv", model="m", created=0, on_left=lambda: told.append("left")
    )


async def read(live: LiveReply, start: int = 0) -> list[Delta]:
    return [event async for news in live.follow(start) for event in news]


async def test_a_thousand_readers_and_a_slow_one() -> None:
    live = reply()
    words = [ContentDelta(f"{i} ") for i in range(50)]

    async def slow() -> list[Delta]:
        events: list[Delta] = []
        async for news in live.follow():
            events += news
            while live.outcome is None:
                await asyncio.sleep(0)
        return events

    readers = [asyncio.create_task(read(live)) for _ in range(1000)]
    behind = asyncio.create_task(slow())
    await asyncio.sleep(0)
    for word in words:
        live.publish(word)
        await asyncio.sleep(0)
    assert not behind.done()
    live.end(DONE)
    for result in await asyncio.gather(*readers, behind):
        assert result == words


async def test_each_event_is_handed_on_before_the_next_comes() -> None:
    live = reply()
    seen: list[list[Delta]] = []

    async def note() -> None:
        async for news in live.follow():
            seen.append(news)

    noting = asyncio.create_task(note())
    await asyncio.sleep(0)
    for i in range(5):
        live.publish(ContentDelta(f"{i}"))
        for _ in range(3):
            await asyncio.sleep(0)
    live.end(DONE)
    await noting
    assert [len(news) for news in seen] == [1] * 5


@pytest.mark.parametrize("start", range(5))
async def test_reading_begins_at_any_event_and_at_any_time(start: int) -> None:
    live = reply()
    events: list[Delta] = [
        ReasoningDelta("hm"),
        ContentDelta("a"),
        ToolCallDelta(0, "call_1", "f", "{}", 1),
        ContentDelta("b"),
    ]
    early = asyncio.create_task(read(live, start))
    await asyncio.sleep(0)
    for event in events[:2]:
        live.publish(event)
    middle = asyncio.create_task(read(live, start))
    await asyncio.sleep(0)
    for event in events[2:]:
        live.publish(event)
    live.end(DONE)
    for result in (await early, await middle, await read(live, start)):
        assert result == events[start:]
    assert live.replies() == [
        Reply(content="ab", reasoning="hm", finish_reason="stop", deltas=[-2, 1, 1]),
        Reply(tool_calls=[ToolCall(FunctionCall("f"), "call_1")], deltas=[(0, 2)]),
    ]


async def test_the_first_end_counts() -> None:
    live = reply()
    live.end(DONE)
    live.end(Outcome(state=TurnState.FAILED))
    assert await live.ended() is DONE


async def test_readers_who_leave_take_nothing_away_and_leave_nothing_behind() -> None:
    live = reply()
    leaving = [asyncio.create_task(read(live)) for _ in range(100)]
    staying = asyncio.create_task(heard(live))
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    assert len(live._waiters) == 1
    live.publish(ContentDelta("hello"))
    live.end(DONE)
    assert await staying == "hello"
    assert not live._waiters


async def test_the_last_who_leaves_is_told_of() -> None:
    told: list[str] = []
    live = reply(told)
    with live.reader(), live.reader():
        with live.reader():
            pass
        assert (told, live.readers) == ([], 2)
    assert told == ["left"]
    with pytest.raises(RuntimeError), live.reader():
        raise RuntimeError
    assert told == ["left", "left"]
    with live.reader():
        live.end(DONE)
    assert (told, live.readers) == (["left", "left"], 0)


class TestAccepted:
    async def test_nothing_has_happened(self) -> None:
        assert not await reply().accepted(0.001)

    @pytest.mark.parametrize("what", ["accept", "publish", "end"])
    async def test_something_happens(self, what: str) -> None:
        live = reply()
        waiting = asyncio.create_task(live.accepted())
        await asyncio.sleep(0)
        assert not waiting.done()
        if what == "accept":
            live.accept()
        elif what == "publish":
            live.publish(ContentDelta("a"))
        else:
            live.end(DONE)
        assert await waiting
        assert await live.accepted(0)

    async def test_an_error_before_any_text_is_raised(self) -> None:
        live = reply()
        live.accept()
        live.end(Outcome(state=TurnState.FAILED, error=EngineBroke()))
        for _ in range(2):
            with pytest.raises(EngineBroke):
                await live.accepted()

    async def test_an_error_after_text_is_for_the_end(self) -> None:
        live = reply()
        live.publish(ContentDelta("a"))
        live.end(Outcome(state=TurnState.INCOMPLETE, error=EngineBroke()))
        assert await live.accepted()
        assert (await live.ended()).error is not None
