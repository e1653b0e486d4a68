"""Prompts prefilled ahead of turns, and long ones in pieces."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from palaver.core.message import Message
from palaver.core.turn import Usage
from palaver.engines.llama import asking
from tests.engines.llama.models import random_model
from tests.engines.llama.talk import until
from tests.engines.llama.warm import (
    SYSTEM,
    Houses,
    Talk,
    counts,
    prefilled,
)


async def test_the_epoch_to_come_is_prefilled_beside_the_one_that_is(houses: Houses) -> None:
    for slots_ in (2, 1):
        engine = await houses.open(slots=slots_)
        talk = Talk(engine, f"with {slots_}")
        for number in range(10):
            await talk.settled(f"This is the remark number {number}, which is about nothing in particular.")
        next_ = talk.with_(engine)
        next_.messages = (SYSTEM, *talk.messages[-8:])
        assert await next_.settle(epoch="the next")
        assert prefilled(await talk.settled("Not yet.")) <= 30, "the one that is goes on meanwhile"
        next_.messages = (SYSTEM, *talk.messages[-10:])
        next_.base = msgspec.structs.replace(next_.base, epoch="the next")
        assert await next_.settle()
        assert prefilled(await next_.say("Now.")) <= 30


async def test_it_is_not_prepared_at_the_cost_of_what_cannot_be_saved(houses: Houses) -> None:
    engine = await houses.open(slots=1)
    talk = Talk(engine, kept=False)
    for number in range(6):
        await talk.settled(f"This is the remark number {number}, which is about nothing in particular.")
    assert not await talk.settle(epoch="the next")
    assert prefilled(await talk.say("Well?")) <= 30


async def test_work_ahead_lets_a_turn_pass_and_goes_on_after_it(
    houses: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await houses.open(batch=64)
    talk, other = Talk(engine), Talk(engine, "other")
    for number in range(6):
        said, heard = f"Message {number} says so. " * 8, f"And {number} says no. " * 6
        talk.messages += (Message("user", said), Message("assistant", heard))
    await other.say("hello")
    done: list[int] = []
    prefill = asking.prefill

    async def watched(worker: Any, slot: int, tokens: Any, *, reuse: bool) -> asking.Prefilled:
        found = await prefill(worker, slot, tokens, reuse=reuse)
        done.append(found.prompt_n)
        if len(done) == 3:
            turns.append(asyncio.create_task(other.say("hello again")))
            await asyncio.sleep(0)
        return found

    turns: list[asyncio.Task[Usage]] = []
    monkeypatch.setattr(asking, "prefill", watched)
    assert await talk.settle()
    assert len(done) > 6
    assert max(done) <= 33, "no piece is longer than half a batch"
    assert turns[0].done(), "the turn was not kept waiting until all was done"
    assert prefilled(await talk.say("and?")) <= 30


async def test_dropped_thoughts_are_settled_before_anybody_waits(houses: Houses, tmp_path: Path) -> None:
    thinking = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{% if m.role == 'assistant' and m.reasoning_content and loop.last %}{{ m.reasoning_content }}\n{% endif %}"
        "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    engine = await houses.open(random_model(tmp_path / "m.gguf", thinking))
    talk = Talk(engine)
    await talk.settled("Think about the sea and the city, and all there is.")
    assert await talk.settle()
    usage = await talk.say("And now?")
    assert prefilled(usage) <= 20


async def test_a_long_prompt_is_prefilled_in_pieces_and_counted_as_new(houses: Houses) -> None:
    engine = await houses.open()
    talk = Talk(engine)
    usage = await talk.say("word " * 300)
    assert (usage.cached_tokens, (await counts(engine))["prefilled"]) == (0, usage.prompt_tokens)
    again = await talk.say("word " * 200)
    assert (
        usage.prompt_tokens - 2 <= (again.cached_tokens or 0) <= usage.prompt_tokens + usage.completion_tokens
    )


async def test_a_turn_cancelled_in_a_long_prompt_leaves_its_slot_and_the_next_is_right(
    houses: Houses,
) -> None:
    engine = await houses.open()
    talk = Talk(engine)
    long = asyncio.create_task(talk.say("word " * 600))
    await until(lambda: engine._slots._seats[0].is_taken)
    await asyncio.sleep(0.05)
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long
    await until(lambda: engine._places.taken == 0)
    fresh = Talk(engine, "fresh")
    await fresh.say("What is the capital of France?")
    alone = Talk(await houses.open(), "alone")
    await alone.say("What is the capital of France?")
    assert fresh.messages == alone.messages
