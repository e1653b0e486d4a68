"""Who gets which slot, who waits, and whose prompt may be reused."""

import asyncio

import pytest

from palaver.core.errors import EngineUnavailable
from palaver.core.window import Window
from palaver.engines.llama.places import Place, Places


def window(conversation: str | None, owner: str = "ada", turn: str = "t") -> Window:
    return Window(owner=owner, conversation=conversation, turn=turn, messages=())


async def use(places: Places, wanted: Window) -> tuple[int, bool]:
    """Take a place, begin and give it back; the slot's number, and whether what it holds may be reused."""
    place = await places.take(wanted)
    place.begun()
    places.give_back(place)
    return place.number, place.reuse


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_conversation_comes_back_to_its_slot() -> None:
    places = Places(3)
    assert await use(places, window("a")) == (0, False)
    assert await use(places, window("b")) == (1, False)
    assert await use(places, window("a")) == (0, True)
    assert await use(places, window("c")) == (2, False)
    assert await use(places, window("d")) == (
        1,
        True,
    )  # the oldest; its own owner's system prompt may be there
    assert await use(places, window("a")) == (0, True)


async def test_turns_without_a_conversation_take_the_oldest_slot() -> None:
    places = Places(2)
    assert await use(places, window("a")) == (0, False)
    assert await use(places, window(None)) == (1, False)
    assert await use(places, window(None)) == (0, True)


async def test_nothing_of_one_owner_is_reused_for_another() -> None:
    places = Places(1)
    assert await use(places, window("a")) == (0, False)
    assert await use(places, window("a", owner="bob")) == (0, False)
    assert await use(places, window("a", owner="bob")) == (0, True)
    assert await use(places, window("a")) == (0, False)


async def test_a_request_that_never_began_leaves_the_slot_to_nobody() -> None:
    places = Places(1)
    await use(places, window("a"))
    place = await places.take(window("b", owner="bob"))
    places.give_back(place)  # it was cancelled before the worker had it: the slot still holds Ada's prompt
    assert await use(places, window("b", owner="bob")) == (0, False)
    place = await places.take(window("a"))
    places.give_back(place)
    assert await use(places, window("a")) == (0, False)


async def test_conversations_take_turns_and_each_keeps_its_order() -> None:
    places = Places(1)
    first = await places.take(window("a", turn="a0"))
    order: list[str] = []
    given: asyncio.Queue[Place] = asyncio.Queue()

    async def wait(wanted: Window) -> None:
        place = await places.take(wanted)
        order.append(wanted.turn)
        given.put_nowait(place)

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
    places.give_back(first)
    for _ in asked:
        places.give_back(await given.get())
    await asyncio.gather(*tasks)
    assert order == ["a1", "b1", "alone1", "alone2", "a2", "b2", "a3"]
    assert places.waiting == 0


async def test_who_leaves_the_queue_is_not_served() -> None:
    places = Places(1)
    place = await places.take(window("a"))
    left = asyncio.create_task(places.take(window("b")))
    stays = asyncio.create_task(places.take(window("b")))
    await settle()
    left.cancel()
    await settle()
    assert places.waiting == 1
    places.give_back(place)
    assert (await stays).number == 0


async def test_a_place_given_in_the_moment_of_leaving_is_not_lost() -> None:
    places = Places(1)
    place = await places.take(window("a"))
    place.begun()
    left = asyncio.create_task(places.take(window("b")))
    await settle()
    places.give_back(place)  # gives it to `left`, which is cancelled before it runs
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    assert await use(places, window("c")) == (0, True)


async def test_closing_turns_everybody_away() -> None:
    places = Places(1)
    await places.take(window("a"))
    waiting = asyncio.create_task(places.take(window("b")))
    await settle()
    places.close()
    with pytest.raises(EngineUnavailable):
        await waiting
    with pytest.raises(EngineUnavailable):
        await places.take(window("c"))
    assert places.waiting == 0
