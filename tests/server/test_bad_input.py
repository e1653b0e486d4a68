"""Whatever is wrong with a request: the status, the code, the field, and a sentence that helps."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest
import together

from palaver.server.app import ServerSettings
from tests.server.conftest import Door, opened

OK = {"role": "user", "content": "Hello"}
RAW = b'{"model": "scripted", "messages": [{"role": "user", "content": "%s"}]%s}'


async def test_an_infinite_number_is_refused_with_its_field(door: Door) -> None:
    response, answer = await door.post("/v1/chat/completions", data=RAW % (b"x", b', "temperature": 1e999'))
    assert (response.status, answer["error"]["param"]) == (400, "temperature")


async def test_what_only_looks_bad_is_kept_as_it_is(door: Door) -> None:
    text = 'nul \0, astral \U0001f600, separators \u2028\u2029, quotes "\\", a < & >'
    _, conversation = await door.say([{"role": "user", "content": text}], conversation="odd")
    _, items = await door.get(f"/v1/conversations/{conversation}/messages?order=asc")
    assert items["data"][0]["content"] == [{"type": "input_text", "text": text}]


@pytest.mark.parametrize("field", ["anything", "tools", "metadata"])
@pytest.mark.parametrize("depth", [100_000, 900])
async def test_nesting_without_end(door: Door, field: str, depth: int) -> None:
    deep = b', "%s": ' % field.encode() + b"[" * depth + b"]" * depth
    response, answer = await door.post("/v1/chat/completions", data=RAW % (b"x", deep))
    assert response.status == 400, answer
    assert answer["error"]["type"] == "invalid_request_error"


async def test_nesting_is_allowed_up_to_the_limit(door: Door) -> None:
    def nested(levels: int) -> Any:
        return [nested(levels - 1)] if levels else "x"

    response, answer = await door.ask(anything=nested(64))
    assert response.status == 200, answer
    response, answer = await door.ask(anything=nested(65))
    assert response.status == 400
    assert answer["error"]["param"] == "anything"
    assert "nested too deeply" in answer["error"]["message"]


async def test_more_messages_than_the_limit(tmp_path: Path) -> None:
    async with opened(tmp_path, ServerSettings(max_messages=3)) as door:
        response, _ = await door.ask(messages=[OK] * 3)
        assert response.status == 200
        response, answer = await door.ask(messages=[OK] * 4)
    assert (response.status, answer["error"]["param"]) == (400, "messages")
    assert "has 4 messages; this server takes at most 3" in answer["error"]["message"]


LIMIT = 200_000


async def test_a_body_over_the_limit(tmp_path: Path) -> None:
    async with opened(tmp_path, ServerSettings(max_body_bytes=LIMIT)) as door:
        empty = len(RAW % (b"", b""))
        response, _ = await door.post("/v1/chat/completions", data=RAW % (b"x" * (LIMIT - empty), b""))
        assert response.status == 200
        response, answer = await door.post(
            "/v1/chat/completions", data=RAW % (b"x" * (LIMIT - empty + 1), b"")
        )
        assert response.status == 413
        assert answer["error"]["code"] == "request_too_large"
        assert response.headers["connection"] == "close"
        response, _ = await door.ask()
        assert response.status == 200


async def test_a_chunked_body_over_the_limit_is_read_no_further(tmp_path: Path) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 65536
            yield b" " * 65536

    async with (
        opened(tmp_path, ServerSettings(max_body_bytes=LIMIT)) as door,
        door.http.post(
            door.address + "/v1/chat/completions",
            data=endless(),
            headers={"content-type": "application/json"},
        ) as response,
    ):
        assert response.status == 413
        assert (await response.json())["error"]["code"] == "request_too_large"
    assert sent < 100_000_000


@pytest.mark.parametrize("sdk", ["openai", "together"])
async def test_an_sdk_that_sends_too_much_is_told_so(tmp_path: Path, sdk: str) -> None:
    def ask(address: str) -> int:
        messages: list[Any] = [{"role": "user", "content": "x" * 20 * LIMIT}]
        if sdk == "openai":
            with openai.OpenAI(base_url=address, api_key="any", max_retries=0) as client:
                try:
                    client.chat.completions.create(model="scripted", messages=messages)
                except openai.APIStatusError as error:
                    return error.status_code
        else:
            with together.Together(base_url=address, api_key="any", max_retries=0) as other:
                try:
                    other.chat.completions.create(model="scripted", messages=messages)
                except together.APIStatusError as error:
                    return error.status_code
        return 0

    async with opened(tmp_path, ServerSettings(max_body_bytes=LIMIT)) as door:
        assert await asyncio.to_thread(ask, door.address) == 413


async def test_an_unknown_model(door: Door) -> None:
    response, answer = await door.ask(model="gpt-99")
    assert response.status == 404
    assert answer["error"]["code"] == "model_not_available"
    assert answer["error"]["param"] == "model"
    assert "gpt-99" in answer["error"]["message"]
    assert "scripted" in answer["error"]["message"]


async def test_an_unknown_conversation(door: Door) -> None:
    response, answer = await door.ask(conversation="conv_" + "0" * 26)
    assert (response.status, answer["error"]["code"]) == (404, "conversation_not_found")
    assert answer["error"]["param"] == "conversation"


async def test_a_header_that_is_wrong(door: Door) -> None:
    body = {"model": "scripted", "messages": [OK]}
    response, answer = await door.post("/v1/chat/completions", body, {"palaver-on-leave": "never"})
    assert (response.status, answer["error"]["param"]) == (400, "palaver-on-leave")
    response, answer = await door.post("/v1/chat/completions", body, {"palaver-conversation": "x" * 513})
    assert (response.status, answer["error"]["param"]) == (400, "palaver-conversation")
    response, answer = await door.post("/v1/chat/completions", body, {"palaver-user": "x" * 513})
    assert (response.status, answer["error"]["param"]) == (400, "palaver-user")


async def test_the_sdks_raise_their_own_errors(door: Door) -> None:
    bad: list[Any] = [{"role": "wizard", "content": "x"}]
    async with openai.AsyncOpenAI(base_url=door.address, api_key="any", max_retries=0) as sdk:
        with pytest.raises(openai.BadRequestError) as wrong:
            await sdk.chat.completions.create(model="scripted", messages=bad)
        assert wrong.value.param == "messages[0].role"
        assert wrong.value.type == "invalid_request_error"
        assert wrong.value.request_id is not None
        with pytest.raises(openai.NotFoundError) as missing:
            await sdk.chat.completions.create(model="gpt-99", messages=[{"role": "user", "content": "x"}])
        assert missing.value.code == "model_not_available"
    async with together.AsyncTogether(base_url=door.address, api_key="any", max_retries=0) as other:
        with pytest.raises(together.BadRequestError) as refused:
            await other.chat.completions.create(model="scripted", messages=bad)
        assert isinstance(refused.value.body, dict)
        assert refused.value.body["error"]["param"] == "messages[0].role"
        with pytest.raises(together.NotFoundError):
            await other.chat.completions.create(model="gpt-99", messages=[{"role": "user", "content": "x"}])
