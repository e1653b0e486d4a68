"""Work ahead of turns, piece by piece and without a model: nothing is lost, whoever comes in between."""

from __future__ import annotations

import asyncio
from typing import Any, Literal, cast

import pytest

from palaver.core.errors import EngineRefused, EngineUnavailable
from palaver.core.message import Message
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.llama.ahead import Ahead
from palaver.engines.llama.kv.placing import Ask
from palaver.engines.llama.kv.prefix import Prefix
from palaver.engines.llama.places import Places
from palaver.engines.llama.plan import Planner
from palaver.engines.llama.upkeep import Upkeep
from tests.engines.llama.kv.conftest import MakeWarm, Warm, make_warm, settle, shm, until
from tests.engines.llama.kv.fake_worker import FakeWorker, FakeWorkers

__all__ = ["make_warm", "shm"]

BATCH = 40
PIECE = "/completion"
OPTIONS = Options(model="m")
Said = tuple[str, ...]


class FakePlanner:
    """Knows the fields of a prompt: its messages."""

    def prompt(self, window: Window, options: Options) -> dict[str, Any]:
        return {"messages": [{"role": each.role, "content": each.content} for each in window.messages]}


class Room:
    """Slots with all that is about them, and one conversation in two epochs."""

    def __init__(self, warm: Warm) -> None:
        self.warm = warm
        self.places = Places(warm.count)
        self.workers = FakeWorkers(warm.worker)
        self.ahead = Ahead(cast(Planner, FakePlanner()), self.places, warm.slots, self.workers, BATCH)
        self.upkeep = Upkeep(self.places, warm.slots, self.workers)

    @property
    def worker(self) -> FakeWorker:
        return self.warm.worker

    def window(self, said: Said, epoch: str = "e1", conversation: str | None = "c") -> Window:
        roles = ("user", "assistant")
        messages = tuple(Message(roles[n % 2], text) for n, text in enumerate(said))  # type: ignore[arg-type]
        return Window(
            owner="ada", conversation=conversation, turn="t", messages=messages, epoch=epoch, kept=True
        )

    async def say(self, *said: str, epoch: str = "e1", reply: str = "", conversation: str = "c") -> int:
        """A whole turn; how much of its prompt was there."""
        window = self.window(said, epoch, conversation)
        fields = FakePlanner().prompt(window, OPTIONS)
        ask = Ask(
            owner="ada",
            conversation=conversation,
            prefix=Prefix.of_prompt(fields),
            epoch=epoch,
            kept=True,
        )
        await self.places.take(window)
        seat = await self.warm.take(ask)
        tokens = list(map(ord, rendered(said) + "<assistant>"))
        cached, _ = self.worker.compute(seat.number, tokens, seat.reuse)
        self.warm.slots.begun(seat, ask, (fields, ""))
        self.worker.slots[seat.number] += map(ord, reply)
        self.warm.slots.ended(seat, len(tokens), len(reply), cached)
        self.warm.slots.give_back(seat)
        self.places.give_back()
        return cached

    async def settle(self, *said: str, epoch: str = "e1") -> bool:
        return await self.ahead.settle(self.window(said, epoch), OPTIONS)

    @property
    def pieces(self) -> int:
        return self.worker.done.count(PIECE)


class After(asyncio.Event):
    """Lets so many pass before it is set."""

    def __init__(self, passes: int) -> None:
        super().__init__()
        self.passes = passes

    async def wait(self) -> Literal[True]:
        self.passes -= 1
        return self.passes >= 0 or await super().wait()


def rendered(said: Said) -> str:
    return "".join(f"<{('user', 'assistant')[n % 2]}>{text}" for n, text in enumerate(said))


@pytest.fixture
async def room(make_warm: MakeWarm) -> Room:
    return Room(await make_warm(1))


def is_all_free(room: Room) -> bool:
    return room.places.taken == room.workers.uses == 0 and not any(
        seat.is_taken for seat in room.warm.slots._seats
    )


async def test_the_next_prompt_is_there_up_to_its_question(room: Room) -> None:
    await room.say("hello " * 20, reply="hi " * 30)
    assert await room.settle("hello " * 20, "hi " * 30)
    before = rendered(("hello " * 20, "hi " * 30)) + "<user>"
    assert before.startswith(room.worker.holds(0))
    assert len(before) - len(room.worker.holds(0)) == 1
    assert await room.say("hello " * 20, "hi " * 30, "and?") == len(before) - 1
    assert is_all_free(room)


async def test_a_reply_that_is_there_is_neither_lost_nor_computed_again(room: Room) -> None:
    """Its tokens are not known: a piece that ended in it would cost the rest."""
    said = ("hello", "a long reply " * 50)
    await room.say(*said[:1], reply=said[1])
    assert await room.settle(*said)
    assert room.pieces == 1
    assert room.warm.slots.counts["settled"] <= len("<user>") + 1


async def test_thoughts_that_are_not_shown_again_are_computed_over(room: Room) -> None:
    await room.say("hello", reply="<think>" + "hm " * 100 + "</think>yes")
    assert await room.settle("hello", "yes")
    assert room.worker.holds(0) == rendered(("hello", "yes")) + "<user"


async def test_a_long_prompt_comes_in_pieces(room: Room) -> None:
    await room.say("hello")
    assert await room.settle("another " * 30, "yes", epoch="e2")
    assert room.pieces == -(-len(room.worker.slots[0]) // BATCH)


async def test_a_turn_that_comes_stops_it_after_a_piece(room: Room) -> None:
    await room.say("hello " * 30)
    room.worker.gates[PIECE] = asyncio.Event()
    settling = asyncio.create_task(room.settle("other " * 30, "yes", epoch="e2"))
    await until(lambda: PIECE in room.worker.asked)
    turn = asyncio.create_task(room.say("hello " * 30, "yes", "and?"))
    await settle()
    room.worker.gates[PIECE].set()
    assert await turn >= len("<user>" + "hello " * 30), "its own epoch came back"
    assert await settling, "and that goes on"
    assert is_all_free(room)


@pytest.mark.parametrize("pieces", [1, 2, 3])
async def test_who_stops_it_in_a_piece_finds_his_own_epoch_and_that_one_as_far_as_it_came(
    room: Room, pieces: int
) -> None:
    """With one slot: the epoch of now was saved to make room for the one to come."""
    now, to_come = ("hello " * 30, "yes"), ("other " * 40, "yes")
    await room.say(*now[:1], reply=now[1])
    room.worker.gates[PIECE] = After(pieces - 1)
    settling = asyncio.create_task(room.settle(*to_come, epoch="e2"))
    await until(lambda: room.worker.asked.count(PIECE) == pieces)
    settling.cancel()
    await settle()
    assert not settling.done()
    room.worker.gates.pop(PIECE).set()
    with pytest.raises(asyncio.CancelledError):
        await settling
    assert is_all_free(room)
    (seat,) = room.warm.slots._seats
    assert seat.holding is not None
    assert (seat.holding.epoch, seat.holding.tokens) == ("e2", len(room.worker.slots[0]))
    assert await room.say(*now, "and?") == len(rendered(now))
    done = room.warm.slots.counts["settled"]
    assert await room.settle(*to_come, epoch="e2")
    computed = room.warm.slots.counts["settled"] - done
    assert computed <= len(rendered(to_come)) - (pieces - 1) * BATCH


async def test_what_came_back_without_its_tokens_is_not_taken_for_more_than_it_is(room: Room) -> None:
    """A snapshot of a turn has none: how much of it is alike, the worker finds out."""
    said = ("hello " * 30, "thoughts " * 30 + "yes")
    await room.say(*said[:1], reply=said[1])
    await room.say("x" * 200, conversation="d")
    assert await room.settle(said[0], "yes")
    assert room.worker.holds(0) == rendered((said[0], "yes")) + "<user"


async def test_without_a_worker_nothing_is_done(room: Room) -> None:
    room.workers.worker = None
    assert not await room.settle("hello")
    assert is_all_free(room)


async def test_another_worker_holds_nothing_worth_it(room: Room) -> None:
    await room.say("hello")
    room.workers.next = FakeWorker(1)
    assert not await room.settle("hello", "hi")
    assert (room.workers.next.asked, room.worker.asked, is_all_free(room)) == ([], [], True)


async def test_a_template_that_shows_no_question_is_left_alone(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.say("hello")

    async def rendered(*_: object) -> str:
        return "something else"

    monkeypatch.setattr("palaver.engines.llama.asking.render", rendered)
    assert not await room.settle("hello", "hi")
    assert is_all_free(room)


@pytest.mark.parametrize("request_", ["/apply-template", "/tokenize", PIECE])
async def test_whatever_fails_everything_is_given_back(room: Room, request_: str) -> None:
    await room.say("hello " * 30)
    room.worker.failures[request_] = [400]
    with pytest.raises(EngineRefused):
        await room.settle("hello " * 30, "hi")
    assert is_all_free(room)
    room.worker.gates[request_] = asyncio.Event()
    settling = asyncio.create_task(room.settle("hello " * 30, "hi"))
    await until(lambda: room.worker.asked.count(request_) == 2)
    room.worker.die()
    with pytest.raises(EngineUnavailable):
        await settling
    assert is_all_free(room)


async def test_what_is_forgotten_meanwhile_is_not_gone_on_with_and_erased(room: Room) -> None:
    await room.say("hello " * 30)
    room.worker.gates[PIECE] = asyncio.Event()
    settling = asyncio.create_task(room.settle("my secret " * 30, "hi", epoch="e2"))
    await until(lambda: PIECE in room.worker.asked)
    await room.warm.slots.forget("ada", "c", room.worker)
    room.worker.gates[PIECE].set()
    assert not await settling
    await until(lambda: room.worker.slots == [[]])
    await room.upkeep.close()
