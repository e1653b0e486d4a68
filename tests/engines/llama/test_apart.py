"""Nothing computed for one owner is another's, what is not to be kept is not, what is forgotten or in doubt is gone."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from palaver.core.message import Message
from palaver.core.parameters import Parameters
from palaver.core.turn import ContentDelta, Finish
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.llama import LlamaEngine
from tests.engines.llama.models import random_model
from tests.engines.llama.talk import slots, until, worker_of
from tests.engines.llama.templates import PLAIN
from tests.engines.llama.warm import (
    SYSTEM,
    Houses,
    Talk,
    counts,
)


@pytest.mark.parametrize("slots_", [1, 2])
async def test_nothing_of_one_owner_changes_what_another_hears(houses: Houses, slots_: int) -> None:
    async def logprobs(engine: LlamaEngine) -> list[float]:
        window = Window(
            owner="bob",
            conversation="b",
            turn="t",
            messages=(SYSTEM, Message("user", "What is my code?")),
            kept=True,
        )
        asked = Options(model="m", parameters=Parameters(temperature=0.0, max_tokens=8, logprobs=3))
        found: list[float] = []
        async for event in engine.generate(window, asked):
            if isinstance(event, ContentDelta):
                found += [top.logprob for token in event.logprobs for top in token.top]
            if isinstance(event, Finish):
                assert event.usage is not None
                assert event.usage.cached_tokens == 0
        return found

    alone = await logprobs(await houses.open(slots=slots_))
    await houses.close()
    shutil.rmtree(houses.folder)
    engine = await houses.open(slots=slots_)
    for name in ("one", "two", "three"):
        talk = Talk(engine, name, "ada")
        await talk.settled("My code is 7711.")
        await talk.settled("What is my code?")
        assert await logprobs(engine) == alone
        await engine.forget("bob")
    engine = await houses.open(slots=slots_)
    assert await logprobs(engine) == alone
    assert not any(held.owner == "bob" and held.where != "slot" for held in (await engine.kv_cache()).held)  # type: ignore[union-attr]


async def test_what_is_not_to_be_kept_never_is(houses: Houses) -> None:
    engine = await houses.open(slots=1)
    for talk in (
        Talk(engine, None, kept=False),
        Talk(engine, "once", kept=False),
        Talk(engine, None, kept=False),
    ):
        await talk.settled("I am Ada, and I live in Oslo, by the sea, with three cats and a dog.")
        await engine._slots.save_idle(worker_of(engine))
    await houses.close()
    assert houses.files == []


@pytest.mark.parametrize("when", ["free", "in use"])
async def test_what_is_forgotten_is_in_no_slot_and_no_file(houses: Houses, when: str) -> None:
    engine = await houses.open()
    talk, other = Talk(engine), Talk(engine, "other")
    for each in (talk, other):
        await each.settled("I am Ada, and I live in Oslo, by the sea, with three cats and a dog.")
    await engine._slots.save_all(worker_of(engine))
    await houses.written()
    assert len(houses.files) == 2
    if when == "free":
        assert await engine.forget("ada", "c") == 2
    else:
        running = asyncio.create_task(talk.say("word " * 200, tokens=200))
        await until(lambda: any(seat.is_taken for seat in engine._slots._seats))
        await engine.forget("ada", "c")
        await running
        await until(lambda: not engine._slots.has_condemned and engine._places.taken == 0)
    assert len(houses.files) == 1
    held = (await engine.kv_cache()).held  # type: ignore[union-attr]
    assert {each.conversation for each in held} == {"other"}
    await until(lambda: not engine._upkeep._tasks)
    assert sorted(slot["n_prompt_tokens"] > 0 for slot in await slots(engine)) == [False, True]
    assert (await talk.say("Where do I live?")).cached_tokens != 0, "what both begin with is in the other's"


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size * 9 // 10)


def older(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[8:12] = (0).to_bytes(4, "little")
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "settings", "why"),
    [
        (flip, {}, "corrupt"),
        (cut, {}, "truncated"),
        (older, {}, "form"),
        (None, {"slots": 3}, "layout"),
        (None, {"another": True}, "model"),
    ],
)
async def test_a_snapshot_that_is_in_doubt_is_refused_and_counted(
    houses: Houses, tmp_path: Path, damage: Callable[[Path], None] | None, settings: dict[str, Any], why: str
) -> None:
    settings = dict(settings)
    model = random_model(tmp_path / "one.gguf", PLAIN)
    other = tmp_path / "two.gguf"
    weights = bytearray(model.read_bytes())
    weights[-1000] ^= 1
    other.write_bytes(weights)  # of the same shape: llama.cpp would take its state
    talk = Talk(await houses.open(model))
    await talk.settled("I am Ada, and I live in Oslo, by the sea, with three cats and a dog.")
    await houses.close()
    (file,) = houses.files
    if damage is not None:
        damage(file)
    path = other if settings.pop("another", False) else model
    again = talk.with_(await houses.open(path, **settings))
    usage = await again.say("Where do I live?")
    assert usage.cached_tokens == 0
    assert (await counts(again.engine))[f"refused_{why}"] == 1
    assert file not in houses.files
