"""What is done with slots between turns, by itself: saved, erased, and a worker in doubt renewed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from palaver.core.window import Window
from palaver.engines.llama import upkeep as module
from palaver.engines.llama.places import Places
from palaver.engines.llama.upkeep import Upkeep
from tests.engines.llama.kv.conftest import MakeWarm, Warm, ask, make_warm, settle, shm, until
from tests.engines.llama.kv.fake_worker import FakeWorker, FakeWorkers

__all__ = ["make_warm", "shm"]

WINDOW = Window(owner="ada", conversation="c", turn="t", messages=())
TEXT = "hello " * 30


class Room:
    """Slots that are looked after."""

    def __init__(self, warm: Warm) -> None:
        self.warm = warm
        self.places = Places(warm.count)
        self.workers = FakeWorkers(warm.worker)
        self.upkeep = Upkeep(self.places, warm.slots, self.workers)

    @property
    def worker(self) -> FakeWorker:
        return self.warm.worker

    async def say(self, *prompt: str, conversation: str = "c") -> None:
        await self.places.take(WINDOW)
        await self.warm.say(*prompt, conversation=conversation)
        self.places.give_back()
        self.upkeep.freed()

    def is_idle(self) -> bool:
        return not self.upkeep._tasks and self.workers.uses == 0


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.001)


@pytest.fixture
async def room(make_warm: MakeWarm) -> AsyncIterator[Room]:
    room = Room(await make_warm(2))
    yield room
    await room.upkeep.close()


async def test_once_nobody_is_at_work_what_is_new_is_saved(room: Room) -> None:
    await room.say(TEXT)
    await until(lambda: room.warm.saved)
    assert room.warm.saved == {"c": TEXT}
    await until(room.is_idle)


async def test_as_long_as_somebody_is_at_work_nothing_is(room: Room) -> None:
    await room.places.take(WINDOW)
    seat = await room.warm.take(ask("x" * 50, conversation="d"))
    await room.say(TEXT)
    await asyncio.sleep(0.01)
    assert room.warm.saved == {}
    room.warm.slots.give_back(seat)
    room.places.give_back()
    await until(lambda: room.warm.saved)


async def test_what_was_computed_ahead_is_saved_too(room: Room) -> None:
    """Nobody asks for anything after it."""
    await room.say(TEXT)
    await room.places.take_ahead()
    await asyncio.sleep(0.01)
    assert room.warm.saved == {}, "it was at work"
    ahead = ask(TEXT, "more " * 30, ahead=True)
    seat = await room.warm.slots.take(ahead, room.worker)
    assert seat is not None
    tokens = tuple(map(ord, TEXT + "more " * 30))
    room.worker.compute(seat.number, list(tokens))
    room.warm.slots.computed(seat, ahead, tokens)
    room.warm.slots.give_back(seat)
    room.places.give_back()
    await until(lambda: room.warm.saved)
    assert room.warm.saved == {"c": TEXT + "more " * 30}


@pytest.mark.parametrize("is_ahead", [False, True])
async def test_what_was_forgotten_while_it_was_in_use_is_erased_right_after(
    room: Room, is_ahead: bool
) -> None:
    mine = ask(TEXT, ahead=is_ahead)
    seat = await room.warm.slots.take(mine, room.worker)
    assert seat is not None
    room.worker.compute(seat.number, list(map(ord, TEXT)))
    room.warm.slots.begun(seat, mine)
    await room.warm.slots.forget("ada", "c", room.worker)
    room.warm.slots.give_back(seat)
    await until(lambda: room.worker.slots == [[], []])
    await until(room.is_idle)
    assert room.warm.saved == {}


async def test_a_worker_in_doubt_is_renewed(room: Room) -> None:
    seat = await room.warm.take(ask(TEXT))
    room.warm.slots._saving.is_doubtful = True
    room.warm.answer(seat, ask(TEXT), [TEXT])
    assert set(room.workers.renewed) == {room.worker}
    await asyncio.sleep(0.01)
    assert room.warm.saved == {}
    room.worker.die()
    room.workers.renewed.clear()
    room.upkeep.freed()
    assert room.workers.renewed == [], "there is none any more"


async def test_nothing_is_started_for_it(room: Room) -> None:
    await room.say(TEXT)
    room.workers.worker = None
    await asyncio.sleep(0.01)
    await until(room.is_idle)
    assert room.worker.asked == []


async def test_another_worker_is_not_asked_for_what_the_one_before_held(room: Room) -> None:
    await room.say(TEXT)
    room.workers.next = FakeWorker(2)
    await asyncio.sleep(0.01)
    await until(room.is_idle)
    assert (room.worker.asked, room.workers.next.asked) == ([], [])


@pytest.mark.parametrize("failure", [500, RuntimeError("Session is closed"), TimeoutError()])
async def test_what_fails_fails_alone(room: Room, failure: int | Exception) -> None:
    room.worker.failures["save"] = [failure]
    await room.say(TEXT)
    await until(lambda: room.worker.asked)
    await until(room.is_idle)
    assert room.warm.saved == {}
    if room.worker.alive:
        await room.say(TEXT, "more " * 30)
        await until(lambda: room.warm.saved)


async def test_a_worker_that_dies_of_it(room: Room) -> None:
    room.worker.gates["save"] = asyncio.Event()
    await room.say(TEXT)
    await until(lambda: room.worker.asked)
    room.worker.die()
    await until(room.is_idle)
    assert room.warm.saved == {}


async def test_closing_waits_for_what_is_under_way_and_starts_nothing(room: Room) -> None:
    room.worker.gates["save"] = asyncio.Event()
    await room.say(TEXT)
    await until(lambda: room.worker.asked)
    closing = asyncio.create_task(room.upkeep.close())
    await settle()
    assert not closing.done()
    room.worker.gates["save"].set()
    await closing
    await room.say(TEXT, "more " * 30)
    await asyncio.sleep(0.01)
    assert room.worker.asked == ["save"]
    await room.upkeep.close()


async def test_closing_does_not_wait_for_ever(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that hangs is stopped after this, and then it ends."""
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.001)
    room.worker.gates["save"] = asyncio.Event()
    await room.say(TEXT)
    await until(lambda: room.worker.asked)
    await room.upkeep.close()
    assert not room.is_idle()
    room.worker.die()
    await until(room.is_idle)
