"""Long prompts in pieces: how long these are, who goes next, and what is left when somebody leaves."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from palaver.core.errors import EngineRefused, EngineUnavailable
from palaver.engines.llama.prefill import LONG, SMALL, Prefill
from tests.engines.llama.kv.fake_worker import FakeWorker

BATCH = 8
PIECE = "/completion"


class Lengths(FakeWorker):
    """Notes which slot was given how much."""

    def __init__(self, slots: int = 2) -> None:
        super().__init__(slots)
        self.pieces: list[tuple[int, int]] = []
        self.reused: list[bool] = []

    def compute(self, slot: int, prompt: list[int], reuse: bool = True) -> tuple[int, int]:
        self.pieces.append((slot, len(prompt)))
        self.reused.append(reuse)
        return super().compute(slot, prompt, reuse)


def tokens(count: int, first: int = 0) -> list[int]:
    return list(range(first, first + count))


async def all_of(
    prefill: Prefill, worker: Lengths, slot: int, asked: list[int], there: int, *, reuse: bool
) -> int:
    """Have it all prefilled; how many were there."""
    async with aclosing(prefill.pieces(worker, slot, asked, there, reuse=reuse)) as pieces:
        told = [cached async for _, cached in pieces]
    return told[-1] if told else there


@pytest.fixture
def worker() -> Lengths:
    return Lengths()


def test_a_prompt_is_long_that_takes_more_than_a_few_batches() -> None:
    prefill = Prefill(BATCH, lambda: False)
    assert not prefill.is_long(LONG * BATCH)
    assert prefill.is_long(LONG * BATCH + 1)


async def test_it_comes_in_batches_up_to_its_last_token(worker: Lengths) -> None:
    there = await all_of(Prefill(BATCH, lambda: False), worker, 1, tokens(20), 0, reuse=False)
    assert worker.pieces == [(1, 8), (1, 16), (1, 19)]
    assert worker.reused == [False, True, True]
    assert worker.slots[1] == tokens(19)
    assert there == 0


async def test_where_others_are_answered_the_pieces_are_small(worker: Lengths) -> None:
    crowded = iter([True, True, False, False])
    await all_of(Prefill(BATCH, lambda: next(crowded)), worker, 0, tokens(16), 0, reuse=True)
    small = BATCH // SMALL
    assert worker.pieces == [(0, small), (0, 2 * small), (0, 2 * small + BATCH), (0, 15)]
    await all_of(Prefill(1, lambda: True), worker, 1, tokens(3), 0, reuse=True)
    assert worker.slots[1] == tokens(2), "even a batch of one comes to its end"


async def test_what_is_there_is_not_sent_again_alone(worker: Lengths) -> None:
    worker.slots[0] = tokens(10)
    there = await all_of(Prefill(BATCH, lambda: False), worker, 0, tokens(20), 9, reuse=True)
    assert worker.pieces == [(0, 17), (0, 19)]
    assert there == 10, "so many were there, and not what was thought"


@pytest.mark.parametrize("there", [19, 20, 1000])
async def test_what_is_all_there_is_not_sent(worker: Lengths, there: int) -> None:
    assert await all_of(Prefill(BATCH, lambda: False), worker, 0, tokens(20), there, reuse=True) == there
    assert worker.pieces == []


async def test_after_each_piece_it_says_how_far_it_is(worker: Lengths) -> None:
    worker.slots[0] = tokens(10)
    computed: list[int] = []
    pieces = Prefill(BATCH, lambda: False).pieces(
        worker, 0, tokens(30), 9, reuse=True, computed=computed.append
    )
    assert [told async for told in pieces] == [(17, 10), (25, 10), (29, 10)]
    assert computed == [17, 25, 29]


async def test_who_closes_it_between_pieces_holds_nobody_up(worker: Lengths) -> None:
    prefill = Prefill(BATCH, lambda: False)
    pieces = prefill.pieces(worker, 0, tokens(30), 0, reuse=True)
    assert await anext(pieces) == (8, 0)
    await all_of(prefill, worker, 1, tokens(9), 0, reuse=True)
    await pieces.aclose()
    assert worker.pieces == [(0, 8), (1, 8)]


async def test_nothing_is_nothing(worker: Lengths) -> None:
    assert await all_of(Prefill(BATCH, lambda: False), worker, 0, [], 0, reuse=True) == 0
    assert worker.pieces == []


async def test_two_long_prompts_alternate(worker: Lengths) -> None:
    prefill = Prefill(BATCH, lambda: False)
    await asyncio.gather(
        all_of(prefill, worker, 0, tokens(25), 0, reuse=True),
        all_of(prefill, worker, 1, tokens(25, 100), 0, reuse=True),
    )
    assert [slot for slot, _ in worker.pieces] == [0, 1] * 3


async def test_who_leaves_waits_for_the_end_of_the_piece_and_the_next_goes_on(worker: Lengths) -> None:
    prefill = Prefill(BATCH, lambda: False)
    worker.gates[PIECE] = asyncio.Event()
    leaves = asyncio.create_task(all_of(prefill, worker, 0, tokens(25), 0, reuse=True))
    stays = asyncio.create_task(all_of(prefill, worker, 1, tokens(9), 0, reuse=True))
    await settle()
    for _ in range(3):
        leaves.cancel()
        await settle()
    assert not leaves.done(), "the worker is at it, and nobody else may have the slot"
    assert worker.asked == [PIECE]
    worker.gates[PIECE].set()
    with pytest.raises(asyncio.CancelledError):
        await leaves
    await stays
    assert worker.pieces == [(0, 8), (1, 8)]


async def test_who_leaves_before_its_piece_has_none(worker: Lengths) -> None:
    prefill = Prefill(BATCH, lambda: False)
    worker.gates[PIECE] = asyncio.Event()
    first = asyncio.create_task(all_of(prefill, worker, 0, tokens(9), 0, reuse=True))
    leaves = asyncio.create_task(all_of(prefill, worker, 1, tokens(9), 0, reuse=True))
    await settle()
    leaves.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaves
    worker.gates[PIECE].set()
    await first
    assert worker.pieces == [(0, 8)]


async def test_a_piece_that_fails_says_why_and_the_next_goes_on(worker: Lengths) -> None:
    prefill = Prefill(BATCH, lambda: False)
    worker.failures[PIECE] = [400]
    with pytest.raises(EngineRefused):
        await all_of(prefill, worker, 0, tokens(25), 0, reuse=True)
    await all_of(prefill, worker, 1, tokens(9), 0, reuse=True)
    assert worker.pieces == [(1, 8)]


async def test_a_worker_that_dies_meanwhile(worker: Lengths) -> None:
    prefill = Prefill(BATCH, lambda: False)
    worker.gates[PIECE] = asyncio.Event()
    long = asyncio.create_task(all_of(prefill, worker, 0, tokens(25), 0, reuse=True))
    await settle()
    worker.die()
    with pytest.raises(EngineUnavailable, match="SIGKILL"):
        await long


async def test_a_worker_that_dies_while_others_are_before_it(worker: Lengths) -> None:
    """Its session is closed then, and whoever asks it meets an error of another kind."""
    prefill = Prefill(BATCH, lambda: False)
    worker.gates[PIECE] = asyncio.Event()
    both = [
        asyncio.create_task(all_of(prefill, worker, slot, tokens(25), 0, reuse=True)) for slot in range(2)
    ]
    await settle()
    worker.die()
    for each in both:
        with pytest.raises(EngineUnavailable, match="SIGKILL"):
            await each


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
