"""Who gets a place, and who waits."""

import asyncio
from contextlib import aclosing

import pytest

from palaver.core.errors import EngineUnavailable
from palaver.core.window import Window
from palaver.engines.llama.places import Places


def window(conversation: str | None, owner: str = "ada", turn: str = "t") -> Window:
    return Window(owner=owner, conversation=conversation, turn=turn, messages=())


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_conversations_take_turns_and_each_keeps_its_order() -> None:
    places = Places(1)
    await places.take(window("a", turn="a0"))
    order: list[str] = []
    given: asyncio.Queue[None] = asyncio.Queue()

    async def wait(wanted: Window) -> None:
        await places.take(wanted)
        order.append(wanted.turn)
        given.put_nowait(None)

    asked = [
        *(window("a", turn=f"a{n}") for n in (1, 2, 3)),
        *(window("b", turn=f"b{n}") for n in (1, 2)),
        *(window(None, turn=f"alone{n}") for n in (1, 2)),
    ]
    tasks = []
    for wanted in asked:
        tasks.append(asyncio.create_task(wait(wanted)))
        await settle()
    assert places.waiting == 7
    places.give_back()
    for _ in asked:
        await given.get()
        places.give_back()
    await asyncio.gather(*tasks)
    assert order == ["a1", "b1", "alone1", "alone2", "a2", "b2", "a3"]
    assert places.waiting == 0


async def test_who_leaves_the_queue_is_not_served() -> None:
    places = Places(1)
    await places.take(window("a"))
    left = asyncio.create_task(places.take(window("b")))
    stays = asyncio.create_task(places.take(window("b")))
    await settle()
    left.cancel()
    await settle()
    assert places.waiting == 1
    places.give_back()
    await stays
    assert places.taken == 1


async def test_a_place_given_in_the_moment_of_leaving_is_not_lost() -> None:
    places = Places(1)
    await places.take(window("a"))
    left = asyncio.create_task(places.take(window("b")))
    await settle()
    places.give_back()  # gives it to `left`, which is cancelled before it runs
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    assert places.taken == 0


class TestLine:
    """How many turns go before one that waits."""

    async def test_it_is_told_each_time_that_changes_and_ends_in_the_order_that_it_foretold(self) -> None:
        places = Places(1)
        await places.take(window("a"))
        told: dict[str, list[int | None]] = {}
        served: list[str] = []

        async def wait(wanted: Window) -> None:
            async with aclosing(places.line(wanted)) as line:
                async for before in line:
                    told.setdefault(wanted.turn, []).append(before)
            served.append(wanted.turn)

        tasks = []
        for turn in ("a1", "a2", "b1", "a3", "b2", "c1"):
            tasks.append(asyncio.create_task(wait(window(turn[0], turn=turn))))
            await settle()
        last = {turn: before[-1] for turn, before in told.items()}
        assert last["c1"] == 2, "after the first of each conversation"
        while places.taken:
            places.give_back()
            await settle()
        assert served == ["a1", "b1", "c1", "a2", "b2", "a3"]
        assert told["a1"] == [0]
        assert told["c1"] == [2, 1, 0]
        assert told["a3"][-3:] == [2, 1, 0]

    async def test_who_finds_a_place_hears_nothing(self) -> None:
        places = Places(1)
        assert [before async for before in places.line(window("a"))] == []
        assert places.taken == 1

    async def test_who_closes_it_is_in_no_line(self) -> None:
        places = Places(1)
        await places.take(window("a"))
        line, other = places.line(window("b")), places.line(window("b"))
        assert [await anext(line), await anext(other)] == [0, 1]
        await line.aclose()
        assert await anext(other) == 0
        places.give_back()  # gives it to `other`, which is closed before it looks
        await other.aclose()
        assert (places.taken, places.waiting) == (0, 0)

    async def test_where_many_wait_nobody_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("palaver.engines.llama.places.LONGEST_TOLD", 2)
        places = Places(1)
        await places.take(window("a"))
        lines = [places.line(window(None, turn=f"t{n}")) for n in range(3)]
        assert [await anext(line) for line in lines] == [0, 1, None]
        last = asyncio.ensure_future(anext(lines[2]))
        await settle()
        places.give_back()
        assert await last == 1
        for line in lines:
            await line.aclose()
        assert (places.taken, places.waiting) == (0, 0)


async def test_work_ahead_of_turns_waits_until_no_turn_is_at_work() -> None:
    places = Places(2)
    await places.take(window("a"))
    ahead = [asyncio.create_task(places.take_ahead()) for _ in range(2)]
    await settle()
    await places.take(window("b"))
    places.give_back()
    await settle()
    assert not ahead[0].done()
    places.give_back()  # nobody is at work any more
    await ahead[0]
    assert not ahead[1].done()
    await places.take(window("c"))  # there is another place
    places.give_back()
    await settle()
    assert not ahead[1].done()
    places.give_back()
    await ahead[1]
    places.give_back()
    assert places.taken == 0


async def test_a_turn_that_waits_goes_before_work_ahead() -> None:
    places = Places(1)
    await places.take_ahead()
    more = asyncio.create_task(places.take_ahead())
    turn = asyncio.create_task(places.take(window("a")))
    await settle()
    places.give_back()
    await turn
    assert not more.done()
    more.cancel()
    await settle()
    places.give_back()
    assert (places.taken, places.waiting) == (0, 0)


async def test_work_ahead_that_is_cancelled_in_the_moment_it_may_begin_gives_its_place_back() -> None:
    places = Places(1)
    await places.take(window("a"))
    ahead = asyncio.create_task(places.take_ahead())
    await settle()
    places.give_back()
    ahead.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ahead
    assert places.taken == 0


async def test_closing_turns_everybody_away() -> None:
    places = Places(1)
    await places.take(window("a"))
    waiting = asyncio.create_task(places.take(window("b")))
    ahead = asyncio.create_task(places.take_ahead())
    await settle()
    places.close()
    for each in (waiting, ahead):
        with pytest.raises(EngineUnavailable):
            await each
    with pytest.raises(EngineUnavailable):
        await places.take(window("c"))
    with pytest.raises(EngineUnavailable):
        await places.take_ahead()
    assert places.waiting == 0
