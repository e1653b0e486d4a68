"""What models hold of prompts, through the library."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from palaver import Palaver
from palaver.config import load
from palaver.core.errors import RequestError
from palaver.engines.scripted import ScriptedEngine
from tests.holding import Holds, held, in_slot


@pytest.fixture
def holds(monkeypatch: pytest.MonkeyPatch) -> Holds:
    """What the scripted model holds."""
    holds = Holds()
    monkeypatch.setattr(ScriptedEngine, "kv_cache", lambda self: holds.kv_cache())
    monkeypatch.setattr(ScriptedEngine, "forget", lambda self, *whose: holds.forget(*whose))
    return holds


@pytest.fixture
async def palaver(tmp_path: Path) -> AsyncIterator[Palaver]:
    flags = {"data_dir": str(tmp_path), "model": "scripted"}
    async with Palaver.open(load(flags, environment={})) as palaver:
        yield palaver


async def test_it_is_shown_and_cleared(palaver: Palaver, holds: Holds) -> None:
    question = [{"role": "user", "content": "hello"}]
    async with palaver.say(question, conversation="trip") as reply:
        async for _ in reply:
            pass
    trip = (await palaver.conversation("trip"))["id"]
    holds.hold(
        in_slot(conversation=trip), held(conversation=trip, bytes=30), held(), held("ann", "conv_hers")
    )
    cache = {each["model"]: each for each in await palaver.kv_cache()}["scripted"]
    assert (len(cache["held"]), cache["memory"]["bytes"]) == (3, 1030)
    [cache] = await palaver.kv_cache(model="scripted", conversation="trip")
    assert {each["where"] for each in cache["held"]} == {"memory", "slot"}
    [cache] = await palaver.kv_cache(model="scripted", all=True)
    assert len(cache["held"]) == 4
    assert (await palaver.clear_kv_cache(conversation="trip"))["cleared"] == 2
    assert (await palaver.clear_kv_cache(model="scripted"))["cleared"] == 1
    assert (await palaver.clear_kv_cache(all=True))["cleared"] == 1
    assert holds.forgotten == [("local", trip), ("local", None), (None, None)]


async def test_what_is_not_there(palaver: Palaver, holds: Holds) -> None:
    assert await palaver.kv_cache(model="scripted") == []
    for call in (palaver.kv_cache, palaver.clear_kv_cache):
        with pytest.raises(RequestError) as refused:
            await call(model="nobody")
        assert refused.value.code == "model_not_available"
        with pytest.raises(RequestError) as refused:
            await call(conversation="nobody")
        assert refused.value.code == "conversation_not_found"
