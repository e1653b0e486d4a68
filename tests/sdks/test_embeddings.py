"""Embeddings with the official SDKs, which check every reply strictly. (TypeScript: see `test_text_completions`.)"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import openai
import pytest
import together

from palaver.engines.scripted import ScriptedEngine
from tests.sdks.house import House, house
from tests.sdks.waiting import PATIENCE

TEXTS = ["The cat sleeps.", "the CAT sleeps", "Ships sail."]


@pytest.fixture
async def palaver(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, {"m": ScriptedEngine(context=20)}) as palaver:
        yield palaver


@pytest.fixture
async def client(palaver: House) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=palaver.address + "/v1",
        api_key="any",
        timeout=PATIENCE,
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


async def test_openai(client: openai.AsyncOpenAI) -> None:
    reply = await client.embeddings.create(model="m", input=TEXTS)
    first, second, third = (each.embedding for each in reply.data)
    assert first == second != third
    assert math.hypot(*third) == pytest.approx(1)
    assert reply.usage.total_tokens == 3 + 3 + 2


@pytest.mark.parametrize("encoding_format", ["float", "base64"])
async def test_openai_by_either_format(
    client: openai.AsyncOpenAI, encoding_format: Literal["float", "base64"]
) -> None:
    plain = await client.embeddings.create(model="m", input=TEXTS[0])
    asked = await client.embeddings.create(model="m", input=TEXTS[0], encoding_format=encoding_format)
    assert asked.data == plain.data


async def test_openai_sends_token_numbers_and_dimensions(client: openai.AsyncOpenAI) -> None:
    """As LangChain does, which counts tokens itself."""
    reply = await client.embeddings.create(model="m", input=[[1, 2], [3]], dimensions=8)
    assert [len(each.embedding) for each in reply.data] == [8, 8]
    assert reply.usage.prompt_tokens == 3


async def test_errors_are_those_of_the_sdk(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.embeddings.create(model="m", input=["a", ""])
    assert refused.value.param == "input[1]"
    with pytest.raises(openai.BadRequestError) as refused:
        await client.embeddings.create(model="m", input="word " * 30)
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "input")
    with pytest.raises(openai.NotFoundError):
        await client.embeddings.create(model="other", input="a")


async def test_together(palaver: House) -> None:
    async with together.AsyncTogether(
        base_url=palaver.address,
        api_key="any",
        timeout=PATIENCE,
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        reply = await client.embeddings.create(model="m", input=TEXTS)
        one = await client.embeddings.create(model="m", input=TEXTS[0])
    assert [each.index for each in reply.data] == [0, 1, 2]
    assert one.data[0].embedding == reply.data[0].embedding == reply.data[1].embedding
