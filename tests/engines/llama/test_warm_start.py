"""A conversation that comes back finds what was computed of it: in a slot, in another, after a restart."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import Any

import pytest

from palaver.core.errors import EngineError
from palaver.engines.llama import asking, upkeep
from tests.engines.llama.talk import PATIENCE, kill, unix, until
from tests.engines.llama.warm import (
    BLOCK,
    Houses,
    Talk,
    counts,
    prefilled,
    tokens_so_far,
)


async def test_after_a_restart_only_what_is_new_is_prefilled_and_the_reply_is_the_same(
    houses: Houses,
) -> None:
    talk = Talk(await houses.open())
    for number in range(6):
        await talk.settled(f"Tell me about the sight number {number} in the city of Paris, please.")
    so_far = await tokens_so_far(talk)
    await houses.close()
    assert len(houses.files) == 1
    warm = talk.with_(await houses.open())
    usage = await warm.say("And what else is there to see in Rome?", tokens=64)
    new = usage.prompt_tokens - so_far
    assert prefilled(usage) <= new + BLOCK
    assert (await counts(warm.engine))["restored"] == 1
    await houses.close()
    shutil.rmtree(houses.folder)
    cold = talk.with_(await houses.open())
    whole = await cold.say("And what else is there to see in Rome?", tokens=64)
    assert whole.cached_tokens == 0
    assert whole.prompt_tokens == usage.prompt_tokens
    assert warm.messages == cold.messages


async def test_more_conversations_than_slots_each_prefill_only_what_is_new(houses: Houses) -> None:
    engine = await houses.open()
    talks = [Talk(engine, f"c{number}") for number in range(6)]
    firsts = [await talk.settled(f"My number is {i}, and it is mine alone.") for i, talk in enumerate(talks)]
    assert [first.cached_tokens for first in firsts[:1]] == [0]
    system = firsts[0].prompt_tokens - 60
    assert all((first.cached_tokens or 0) >= system for first in firsts[1:]), "one system prompt for all"
    for round_ in range(4):
        for talk in talks:
            usage = await talk.settled(f"What is there to see on day {round_}? I like old stones.")
            assert prefilled(usage) <= 40
    done = await counts(engine)
    assert done["restored"] >= 20
    assert done["saved"] >= 20


async def test_a_branch_has_its_beginning_and_leaves_the_other_one_whole(houses: Houses) -> None:
    engine = await houses.open()
    talk = Talk(engine)
    for number in range(8):
        await talk.settled(f"This is the remark number {number}, which is about nothing in particular.")
    branch = talk.with_(engine)
    branch.messages = talk.messages[:5]
    usage = await branch.say("Let us talk about something else, then.")
    assert prefilled(usage) <= 30
    usage = await talk.say("So where were we?")
    assert prefilled(usage) <= 30, "the longer branch is in its slot as it was"


async def test_with_one_slot_branches_take_turns_by_snapshots(houses: Houses) -> None:
    engine = await houses.open(slots=1)
    talk = Talk(engine)
    for number in range(8):
        await talk.settled(f"This is the remark number {number}, which is about nothing in particular.")
    branch = talk.with_(engine)
    branch.messages = talk.messages[:5]
    for _ in range(2):
        assert prefilled(await branch.say("Let us talk about something else.")) <= 40
        assert prefilled(await talk.say("So where were we?")) <= 60


async def test_while_idle_what_is_new_is_saved_and_survives_a_kill(
    houses: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "IDLE_SECONDS", 0.05)
    engine = await houses.open()
    talk = Talk(engine)
    await talk.settled("I am Ada, and I live in Oslo, by the sea, with three cats and a dog.")
    async with asyncio.timeout(PATIENCE):
        while not houses.files:
            await asyncio.sleep(0.01)
    await houses.written()
    pid = kill(engine)
    await until(lambda: engine.worker_pid is None)
    usage = await talk.say("Where do I live?")
    assert engine.worker_pid != pid
    assert prefilled(usage) <= 30, "the next worker restores it"


@unix
async def test_a_worker_that_dies_while_it_saves_leaves_nothing_that_is_used(
    houses: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await houses.open(slots=1)
    talk, other = Talk(engine), Talk(engine, "other")
    await talk.settled("I am Ada, and I live in Oslo, by the sea, with three cats and a dog.")
    save = asking.save

    async def half(worker: Any, slot: int, name: str) -> tuple[int, int]:
        await save(worker, slot, name)
        assert houses.snapshots is not None
        file = (await houses.snapshots.open()) / name
        os.truncate(file, file.stat().st_size // 2)
        kill(engine)
        return await save(worker, slot, name)

    monkeypatch.setattr(asking, "save", half)
    with pytest.raises(EngineError, match="SIGKILL"):
        await other.say("hello")
    monkeypatch.setattr(asking, "save", save)
    assert (await talk.say("Where do I live?")).cached_tokens == 0
    assert not houses.files


async def test_quotas_of_nothing_keep_nothing(houses: Houses) -> None:
    engine = await houses.open(memory=0, disk=0)
    talk = Talk(engine)
    await talk.settled("I am Ada, and I live in Oslo, by the sea, with three cats and a dog.")
    await houses.close()
    assert not houses.folder.exists()
    assert (await engine.kv_cache()).unkept  # type: ignore[union-attr]


async def test_a_disk_that_is_full_costs_a_prefill_and_no_turn(
    houses: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await houses.open(slots=1)
    talk, other = Talk(engine), Talk(engine, "other")
    await talk.settled("I am Ada, and I live in Oslo, by the sea, with three cats and a dog.")
    usage = type("Usage", (), {"free": 0})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    await other.settled("hello")
    assert (await talk.say("Where do I live?")).prompt_tokens > 0
    assert (await counts(engine))["unsaved"] >= 1
