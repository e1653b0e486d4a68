"""A model that is being loaded: what lists say of it, and what a stream says meanwhile."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
import together

from palaver.core.turn import Accepted, ContentDelta, Finish
from palaver.engines.catalog import ModelCatalog
from palaver.server import sse
from palaver.server.app import ServerSettings
from tests.server.conftest import Door, opened

QUESTION = [{"role": "user", "content": "Hello"}]
NO_HOLD = ServerSettings(hold_seconds=0, keepalive_seconds=0.05)


def load(door: Door, loading: Callable[[], float | None]) -> None:
    """Have the model in the test's hand be loading, as far as this says."""
    catalog = door.chat.catalog
    assert isinstance(catalog, ModelCatalog)
    here = catalog._here["test/hand"]
    here.spec = msgspec.structs.replace(here.spec, loading=loading)


async def test_lists_say_how_much_is_loaded(door: Door) -> None:
    loaded: list[float | None] = [None]
    load(door, lambda: loaded[0])
    for share in (None, 0.0, 0.4, None):
        loaded[0] = share
        response, found = await door.get("/v1/models")
        assert response.status == 200
        (model,) = (each for each in found["data"] if each["id"] == "test/hand")
        assert model.get("loading") == share
        assert ("loading" in model) == (share is not None)


async def test_a_stream_says_how_much_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "PROGRESS_SECONDS", 0.01)
    loaded: list[float | None] = [0.4]
    body = {"model": "test/hand", "messages": QUESTION, "stream": True}
    async with opened(tmp_path, NO_HOLD) as door:
        load(door, lambda: loaded[0])
        async with door.http.post(door.address + "/v1/chat/completions", json=body) as response:
            while (said := await response.content.readuntil(b"\n\n")) == sse.KEEP_ALIVE:
                loaded[0] = 0.4  # the turn has not come to its model yet
            assert said == b": loading test/hand 40 %\n\n"
            loaded[0] = 0.996
            while (said := await response.content.readuntil(b"\n\n")) == b": loading test/hand 40 %\n\n":
                pass
            assert said == b": loading test/hand 100 %\n\n"
            loaded[0] = None
            door.hand.put(Accepted(), ContentDelta("Hi"), Finish("stop"))
            rest = await response.read()
            assert b'"content":"Hi"' in rest
            assert rest.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("sdk", [openai.AsyncOpenAI, together.AsyncTogether])
async def test_sdks_skip_what_is_said_of_loading(
    tmp_path: Path, sdk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "PROGRESS_SECONDS", 0.01)
    async with (
        opened(tmp_path, NO_HOLD) as door,
        sdk(base_url=door.address, api_key="any", max_retries=0, _strict_response_validation=True) as client,
    ):
        load(door, lambda: 0.5)
        stream = await client.chat.completions.create(model="test/hand", messages=QUESTION, stream=True)
        await asyncio.sleep(0.1)  # some comments
        door.hand.put(Accepted(), ContentDelta("one"), Finish("stop"))
        said = [chunk.choices[0].delta.content async for chunk in stream if chunk.choices]
        assert "".join(text or "" for text in said) == "one"
