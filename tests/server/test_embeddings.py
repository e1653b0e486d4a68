"""`POST /v1/embeddings`: vectors of texts, their forms, bounds and errors."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from palaver.chat import ChatSettings
from palaver.core.errors import ContextLengthExceeded, EngineRefused
from palaver.core.window import Window
from palaver.engines.base import SAMPLING, Embedded, Options
from palaver.server.app import ServerSettings
from palaver.server.embeddings import MOST_INPUTS
from tests.server.conftest import Door, HandEngine, opened, until

PATH = "/v1/embeddings"
HAND = {"model": "test/hand", "input": ["Once", "upon a"]}
LOCAL = {"authorization": "Bearer local-secret"}


class Embedder(HandEngine):
    """Makes the vectors of `HandEngine`, or raises what `error` is; a held one waits to be released."""

    def __init__(self, *more: str) -> None:
        super().__init__(SAMPLING | {"embeddings", *more})
        self.error: Exception | None = None
        self.released = asyncio.Event()
        self.released.set()
        self.asked: list[tuple[Any, int | None]] = []
        self.leaves_out = 0
        self.tells_usage = True

    async def embed(
        self, texts: list[str] | list[list[int]], dimensions: int | None, window: Window, options: Options
    ) -> Embedded:
        self.asked.append((texts, dimensions))
        self.began.set()
        await self.released.wait()
        if self.error is not None:
            raise self.error
        embedded = await super().embed(texts, dimensions, window, options)
        return Embedded(
            embedded.vectors[self.leaves_out :], embedded.prompt_tokens if self.tells_usage else 0
        )


@pytest.fixture
def embedder() -> Embedder:
    return Embedder()


@pytest.fixture
async def door(tmp_path: Path, embedder: Embedder) -> AsyncIterator[Door]:
    async with opened(tmp_path, hand=embedder) as door:
        yield door


async def embed(door: Door, headers: dict[str, str] | None = None, **more: Any) -> tuple[int, Any]:
    response, body = await door.post(PATH, {"model": "scripted", "input": "Once upon", **more}, headers)
    return response.status, body


async def vectors(door: Door, **more: Any) -> list[list[float]]:
    status, body = await embed(door, **more)
    assert status == 200, body
    assert [each["index"] for each in body["data"]] == list(range(len(body["data"])))
    return [each["embedding"] for each in body["data"]]


async def test_a_reply_has_exactly_this_shape(door: Door, embedder: Embedder) -> None:
    response, body = await door.post(PATH, HAND)
    assert response.status == 200
    assert body == {
        "object": "list",
        "model": "test/hand",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [4.0, 0.0]},
            {"object": "embedding", "index": 1, "embedding": [6.0, 1.0]},
        ],
        "usage": {"prompt_tokens": 10, "total_tokens": 10},
    }
    assert embedder.asked == [(["Once", "upon a"], None)]
    window = door.hand.windows[-1]
    assert (window.owner, window.conversation, window.messages) == ("local", None, ())
    assert await door.chat.store.conversations("local", one_shots=True) == []


async def test_all_forms_of_input(door: Door) -> None:
    text, numbers = await vectors(door, input="a b"), await vectors(door, input=[7, 12])
    assert await vectors(door, input=["a b", "c"]) == [*text, *await vectors(door, input=["c"])]
    assert await vectors(door, input=[[7, 12], [9]]) == [*numbers, *await vectors(door, input=[[9]])]
    assert await vectors(door, input="#7 #12") == numbers


async def test_dimensions(door: Door, embedder: Embedder) -> None:
    assert [len(each) for each in await vectors(door, dimensions=8)] == [8]
    status, body = await embed(door, dimensions=100)
    assert (status, body["error"]["code"]) == (400, "unsupported_parameter")
    assert body["error"]["param"] == "dimensions"
    await door.post(PATH, {**HAND, "dimensions": 3})
    assert embedder.asked[-1][1] == 3


@pytest.mark.parametrize(
    "client", ["AsyncOpenAI/Python 3.54.0", "Together/Python 3.1.1", "Together/JS 0.52.0"]
)
async def test_sdks_that_take_no_base_64_get_numbers_whatever_they_ask_for(door: Door, client: str) -> None:
    plain = await embed(door)
    assert await embed(door, {"user-agent": client}, encoding_format="base64") == plain
    assert await embed(door, encoding_format="float") == plain


@pytest.mark.parametrize("client", ["curl/8", "OpenAI/JS 5.23.2", "ls/JS 5.23.2"])
async def test_others_get_base_64_where_they_ask_for_it(door: Door, client: str) -> None:
    (plain,) = await vectors(door)
    status, body = await embed(door, {"user-agent": client}, encoding_format="base64")
    assert status == 200
    raw = base64.b64decode(body["data"][0]["embedding"])
    assert list(struct.unpack("<64f", raw)) == pytest.approx(plain)


async def test_unknown_parameters_go_to_engines_that_take_them(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=Embedder("extra")) as door:
        await door.post(PATH, {**HAND, "input_type": "query", "user": "u"})
        assert door.hand.options[-1].extra == {"input_type": "query"}
    (tmp_path / "other").mkdir()
    async with opened(tmp_path / "other", hand=Embedder()) as door:
        await door.post(PATH, {**HAND, "input_type": "query"})
        assert door.hand.options[-1].extra == {}


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": {}}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": [[1], []]}, "input[1]"),
        ({"input": ["a", [1]]}, "input[1]"),
        ({"input": [1, "a"]}, "input[1]"),
        ({"input": [[1, "a"]]}, "input[0][1]"),
        ({"input": [1, -1]}, "input[1]"),
        ({"input": ["a"] * (MOST_INPUTS + 1)}, "input"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"id_slot": 3}, "id_slot"),
        ({"model": ""}, "model"),
    ],
)
async def test_bad_values_are_named(door: Door, sent: dict[str, Any], param: str) -> None:
    status, body = await embed(door, **sent)
    assert (status, body["error"]["type"]) == (400, "invalid_request_error")
    assert body["error"]["param"] == param


async def test_as_many_texts_as_are_allowed(door: Door) -> None:
    assert len(await vectors(door, input=["a"] * MOST_INPUTS)) == MOST_INPUTS


async def test_a_model_that_makes_none(tmp_path: Path) -> None:
    async with opened(tmp_path) as door:
        response, body = await door.post(PATH, HAND)
        assert (response.status, body["error"]["code"]) == (400, "unsupported_parameter")
        assert body["error"]["param"] == "model"
        status, body = await embed(door, model="nothing")
        assert (status, body["error"]["code"]) == (404, "model_not_available")


async def test_errors_of_the_engine(door: Door, embedder: Embedder) -> None:
    embedder.error = ContextLengthExceeded(prompt_tokens=9, context_size=8)
    response, body = await door.post(PATH, HAND)
    assert (response.status, body["error"]["param"]) == (400, "input")
    assert body["error"]["code"] == "context_length_exceeded"
    embedder.error = EngineRefused("no", status=422)
    response, body = await door.post(PATH, HAND)
    assert (response.status, body["error"]["code"]) == (422, "engine_refused")
    embedder.error = RuntimeError("secret")
    response, body = await door.post(PATH, HAND)
    assert (response.status, body["error"]["code"]) == (500, "internal_error")
    assert "secret" not in body["error"]["message"]


async def test_an_engine_that_leaves_a_text_out(door: Door, embedder: Embedder) -> None:
    embedder.leaves_out = 1
    response, body = await door.post(PATH, HAND)
    assert (response.status, body["error"]["message"]) == (502, "The model gave 1 vectors for 2 texts.")


async def test_it_stops_when_its_client_leaves(door: Door, embedder: Embedder) -> None:
    embedder.released.clear()
    asking = asyncio.create_task(door.post(PATH, HAND))
    await embedder.began.wait()
    assert len(door.chat.completing) == 1
    asking.cancel()
    await until(lambda: not len(door.chat.completing))


async def test_it_ends_with_its_owner_and_with_the_server(door: Door, embedder: Embedder) -> None:
    embedder.released.clear()
    asking = asyncio.create_task(door.post(PATH, HAND))
    await embedder.began.wait()
    await door.chat.stop_turns("local", "All of it is deleted.")
    response, body = await asking
    assert (response.status, body["error"]["message"]) == (409, "All of it is deleted.")
    embedder.began.clear()
    asking = asyncio.create_task(door.post(PATH, HAND))
    await embedder.began.wait()
    await door.chat.close()
    response, body = await asking
    assert (response.status, body["error"]["message"]) == (502, "palaver was shut down.")


async def test_it_counts_among_the_turns_of_the_server(tmp_path: Path, embedder: Embedder) -> None:
    async with opened(tmp_path, chat_settings=ChatSettings(max_open_turns=1), hand=embedder) as door:
        embedder.released.clear()
        asking = asyncio.create_task(door.post(PATH, HAND))
        await embedder.began.wait()
        for status, _ in (await embed(door), ((await door.ask())[0].status, None)):
            assert status == 429
        embedder.released.set()
        assert (await asking)[0].status == 200
        assert await vectors(door)


async def test_tokens_that_nobody_counted_are_charged_by_the_size_of_the_request(tmp_path: Path) -> None:
    hand = Embedder()
    hand.tells_usage = False
    async with opened(tmp_path, ServerSettings(local_key="local-secret"), hand=hand) as door:
        _, made = await door.post("/v1/keys", {"name": "app", "tokens_per_minute": 1000}, LOCAL)
        key = {"authorization": f"Bearer {made['key']}"}
        response, body = await door.post(PATH, {"model": "test/hand", "input": "a" * 1000}, key)
        assert body["usage"]["prompt_tokens"] == 0
        assert 700 < int(response.headers["x-tokenlimit-remaining"]) < 750


async def test_its_tokens_are_charged(tmp_path: Path) -> None:
    async with opened(tmp_path, ServerSettings(local_key="local-secret")) as door:
        _, made = await door.post("/v1/keys", {"name": "app", "tokens_per_minute": 5}, LOCAL)
        key = {"authorization": f"Bearer {made['key']}"}
        response, _ = await door.post(PATH, {"model": "scripted", "input": ["a b", "c d e"]}, key)
        assert response.status == 200
        assert response.headers["x-tokenlimit-remaining"] == "0"
        status, body = await embed(door, key)
        assert (status, body["error"]["code"]) == (429, "token_limited")
