"""A reply that another model gave: who is named, in the plain reply, in the stream and later."""

from __future__ import annotations

import msgspec
import pytest

from palaver.core.errors import EngineUnavailable
from palaver.engines.base import Model
from tests.server.conftest import Door
from tests.server.test_streaming import chunks_of, streaming


@pytest.fixture
async def fallen_back(door: Door, monkeypatch: pytest.MonkeyPatch) -> Door:
    """A door whose model test/hand has the scripted one to stand in for it."""
    stands_in = await door.chat.catalog.find("scripted")
    first = msgspec.structs.replace(await door.chat.catalog.find("test/hand"), fallbacks=(stands_in,))

    async def find(name: str) -> Model:
        return first

    monkeypatch.setattr(door.chat.catalog, "find", find)
    door.hand.put(EngineUnavailable("It is out."))
    return door


async def test_the_reply_names_what_answered(fallen_back: Door) -> None:
    _, answer = await fallen_back.ask(model="test/hand")
    assert answer["model"] == "scripted"
    _, stored = await fallen_back.get(f"/v1/chat/completions/{answer['id']}")
    assert (stored["model"], stored["served_as"]) == ("scripted", "scripted")
    assert stored["tried"] == [{"model": "test/hand", "error": "It is out."}]


async def test_so_does_each_chunk_of_a_stream(fallen_back: Door) -> None:
    async with streaming(fallen_back) as response:
        chunks = chunks_of(await response.read())
    assert {chunk["model"] for chunk in chunks} == {"scripted"}


async def test_a_reply_of_the_first_model_has_tried_no_other(door: Door) -> None:
    _, answer = await door.ask()
    _, stored = await door.get(f"/v1/chat/completions/{answer['id']}")
    assert "tried" not in stored
