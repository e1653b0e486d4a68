"""Turns, work ahead, deletions, failures and deaths, all at once: what is where is always known, or gone."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from palaver.core.errors import EngineError
from palaver.core.window import Window
from palaver.engines.llama.kv.placing import WORTH
from palaver.engines.llama.places import Places
from palaver.engines.llama.upkeep import Upkeep
from tests.engines.llama.kv.conftest import MakeWarm, Warm, ask
from tests.engines.llama.kv.fake_worker import TOKEN_BYTES, FakeWorker, FakeWorkers

OWNERS = {"ada": "AB", "bob": "XY"}
"""Who has which conversations. All that is said in one is its letter, and each owner has a letter for all of theirs."""
PART = 3 * WORTH
STEPS = 60


class Storm:
    """Does things at random."""

    def __init__(self, warm: Warm, seed: int) -> None:
        self.warm = warm
        self.random = random.Random(seed)
        self.places = Places(warm.count)
        self.workers = FakeWorkers(warm.worker)
        self.upkeep = Upkeep(self.places, warm.slots, self.workers)
        self.lengths = {letter: 1 for letters in OWNERS.values() for letter in letters}
        self.slow(warm.worker)

    def slow(self, worker: FakeWorker) -> None:
        """Let it take a while for each request, and fail at some."""
        answer = worker.answer

        async def slowly(path: str, fields: dict[str, object]) -> tuple[int, object]:
            await self.pause()
            if self.random.random() < 0.03 and "?action=" in path:
                return 500, {"error": {"message": "at random"}}
            found = await answer(path, fields)
            await self.pause()
            return found

        worker.answer = slowly  # type: ignore[method-assign]

    async def pause(self) -> None:
        for _ in range(self.random.randrange(6)):
            await asyncio.sleep(0)

    async def turn(self) -> None:
        owner = self.random.choice(list(OWNERS))
        letter = self.random.choice(OWNERS[owner])
        length = self.lengths[letter] = max(1, self.lengths[letter] + self.random.choice([-1, 0, 1, 1]))
        prompt = [owner[0] * PART, *(letter * PART for _ in range(length))]
        is_ahead, kept = self.random.random() < 0.3, self.random.random() < 0.9
        epoch = self.random.choice(["e1", "e1", "e2"])
        mine = ask(*prompt, owner=owner, conversation=letter, kept=kept, ahead=is_ahead, epoch=epoch)
        await self.places.take(Window(owner=owner, conversation=letter, turn="t", messages=()))
        seat = worker = None
        try:
            worker = self.warm.worker
            seat = await self.warm.slots.take(mine, worker)
            if seat is None:
                return
            await self.pause()
            if self.random.random() < 0.1:
                return  # it has failed before the worker was asked
            tokens = list(map(ord, "".join(prompt)))
            cached, _ = worker.compute(seat.number, tokens, seat.reuse)
            assert not cached or self.letters(worker, seat.number) <= {owner[0], letter}
            if self.random.random() < 0.1:
                return  # it has left before the worker said that it has begun
            self.warm.slots.begun(seat, mine)
            await self.pause()
            self.warm.slots.ended(seat, len(tokens), 0, cached)
        finally:
            if seat is not None:
                self.warm.slots.give_back(seat)
            self.places.give_back()

    async def act(self) -> None:
        with suppress(EngineError):
            match self.random.choices("tfsde", [20, 3, 3, 1, 1])[0]:
                case "t":
                    await self.turn()
                case "f":
                    owner = self.random.choice(list(OWNERS))
                    conversation = self.random.choice([None, *OWNERS[owner]])
                    await self.warm.slots.forget(owner, conversation, self.workers.running)
                case "s":
                    await self.warm.slots.save_idle(self.warm.worker)
                case "d":
                    self.warm.worker.die()
                    self.workers.worker = await self.warm.start()
                    self.slow(self.warm.worker)
                case "e":
                    await self.warm.slots.erase_condemned(self.warm.worker)

    async def rage(self) -> None:
        """Let many be at it at once, and some leave at any time."""
        tasks: list[asyncio.Task[None]] = []
        for _ in range(STEPS):
            tasks.append(asyncio.create_task(self.act()))
            await self.pause()
            if self.random.random() < 0.25:
                self.random.choice(tasks).cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        failures = [each for each in done if isinstance(each, Exception)]
        assert failures == []

    async def rest(self) -> None:
        """Until nothing is going on any more."""
        await asyncio.sleep(0)
        while self.upkeep._tasks:
            await asyncio.wait(set(self.upkeep._tasks))
        for _ in range(3):  # a request in thirty fails
            await self.warm.slots.erase_condemned(self.warm.worker)
        await self.warm.rested()

    def letters(self, worker: FakeWorker, slot: int) -> set[str]:
        return set(worker.holds(slot)) - {"\0"}

    def check(self) -> None:
        """Nothing is where nobody knows of it, or under another's name."""
        slots, worker = self.warm.slots, self.warm.worker
        assert self.places.taken == 0
        assert not any(seat.is_taken for seat in slots._seats)
        if worker is slots._worker:
            for seat in slots._seats:
                holding, there = seat.holding, self.letters(worker, seat.number)
                if holding is not None:
                    assert there <= {holding.owner[0], holding.conversation}
                else:
                    assert not there or seat.is_condemned
        assert self.warm.snapshots is not None
        known = self.warm.snapshots.of("m")
        for each in known:
            text = self.warm.text(each)
            assert set(text) <= {each.head.owner[0], each.head.conversation}
            assert len(text) == each.head.tokens
        assert self.warm.states == sum(each.memory is not None for each in known)
        assert self.warm.files == sum(each.disk is not None for each in known)


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_at_once(make_warm: MakeWarm, seed: int) -> None:
    size = 6 * PART * TOKEN_BYTES
    warm = await make_warm(1 + seed % 3, memory=size * (seed % 4), disk=size * (5 - seed % 6))
    storm = Storm(warm, seed)
    for _ in range(3):
        await storm.rage()
        await storm.rest()
        storm.check()
        for owner, letters in OWNERS.items():
            await storm.warm.slots.forget(owner, letters[0], storm.workers.running)
            await storm.rest()
            storm.check()
            gone = letters[0]
            worker = storm.warm.worker
            if worker is storm.warm.slots._worker and not storm.warm.slots.has_condemned:
                assert not any(gone in worker.holds(slot) for slot in range(storm.warm.count))
            assert warm.snapshots is not None
            assert not any(gone in warm.text(each) for each in warm.snapshots.of("m"))
    await storm.upkeep.close()
