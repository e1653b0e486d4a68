"""Text completions with the official SDKs, which check every reply strictly where they can."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest
import together

from palaver.engines.scripted import ScriptedEngine
from tests.sdks.asking import run_node
from tests.sdks.house import House, house
from tests.sdks.waiting import PATIENCE

PROMPT = "Once upon"


@pytest.fixture
async def palaver(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, {"m": ScriptedEngine(context=200)}) as palaver:
        yield palaver


def openai_client(palaver: House, *, strict: bool = True) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=palaver.address + "/v1",
        api_key="any",
        timeout=PATIENCE,
        max_retries=0,
        _strict_response_validation=strict,
    )


def together_client(palaver: House) -> together.AsyncTogether:
    return together.AsyncTogether(
        base_url=palaver.address,
        api_key="any",
        timeout=PATIENCE,
        max_retries=0,
        _strict_response_validation=True,
    )


async def test_openai(palaver: House) -> None:
    async with openai_client(palaver) as client:
        reply = await client.completions.create(
            model="m", prompt=[PROMPT, "Twice"], n=2, logprobs=2, seed=1, suffix="the end", stop=["]"]
        )
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    assert len({choice.text for choice in reply.choices}) == 4
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    assert "".join(logprobs.tokens or []) == reply.choices[0].text
    assert [len(top) for top in logprobs.top_logprobs or []] == [2] * 4
    assert reply.usage is not None
    assert reply.usage.total_tokens == (2 + 2) + (1 + 2) + 4 * 4


async def test_openai_streams(palaver: House) -> None:
    """Not strictly: the SDK's type wants a `finish_reason` in every chunk, where OpenAI's server sends null."""
    async with openai_client(palaver, strict=False) as client:
        whole = await client.completions.create(model="m", prompt=PROMPT, n=2, echo=True)
        stream = await client.completions.create(
            model="m", prompt=PROMPT, n=2, echo=True, stream=True, stream_options={"include_usage": True}
        )
        texts = ["", ""]
        reasons: list[str] = []
        async for chunk in stream:
            texts[chunk.choices[0].index] += chunk.choices[0].text
            reasons += filter(None, [chunk.choices[0].finish_reason])
    assert texts == [choice.text for choice in whole.choices]
    assert texts[0].startswith("Once upon and so on [")
    assert reasons == ["stop", "stop"]
    assert chunk.usage == whole.usage


async def test_together(palaver: House) -> None:
    async with together_client(palaver) as client:
        reply = await client.completions.create(model="m", prompt=PROMPT, n=2, logprobs=2, seed=5)
        echoed = await client.completions.create(model="m", prompt=PROMPT, echo=True, max_tokens=1)
        chunks = [
            chunk
            async for chunk in await client.completions.create(
                model="m", prompt=PROMPT, n=2, logprobs=2, seed=5, stream=True
            )
        ]
    assert [choice.seed for choice in reply.choices] == [5, 5]
    assert len({choice.text for choice in reply.choices}) == 2
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    assert "".join(logprobs.tokens or []) == reply.choices[0].text
    assert [(part.text, choice.text) for part, choice in zip(echoed.prompt, echoed.choices, strict=True)] == [
        (PROMPT, "Once upon and")
    ]
    texts = ["", ""]
    for chunk in chunks:
        texts[chunk.choices[0].index] += chunk.token.text
    assert texts == [choice.text for choice in reply.choices]
    assert [chunk.token.logprob for chunk in chunks[:-2:2]] == logprobs.token_logprobs
    assert [chunk.finish_reason for chunk in chunks[-2:]] == ["stop", "stop"]
    assert chunks[-1].usage == reply.usage


@pytest.mark.parametrize("stream", [False, True])
async def test_errors_are_those_of_the_sdks(palaver: House, stream: bool) -> None:
    async with openai_client(palaver) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.completions.create(model="m", prompt="word " * 300, stream=stream)
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "prompt")
    assert "The input (301 tokens) is longer than the model's context length (200 tokens)." in str(
        refused.value
    )
    async with together_client(palaver) as other:
        with pytest.raises(together.BadRequestError, match=r"must be <= 200\. Given: 2 `inputs` tokens"):
            await other.completions.create(model="m", prompt=PROMPT, max_tokens=199, stream=stream)


async def test_typescript(palaver: House, node: str) -> None:
    found = json.loads(await run_node(node, "texts.mjs", {"address": palaver.address}))
    assert [found[sdk]["object"] for sdk in ("openai", "together")] == ["text_completion", "text.completion"]
    for got in found.values():
        assert got["texts"] == got["streamed"]
        assert "".join(got["tokens"]) == got["texts"][0]
        assert got["reasons"] == ["stop", "stop"]
        assert got["usage"] == got["streamed_usage"] == 10
        first, second = got["vectors"]
        assert len(first) == len(second) == 64
        assert first != second
        assert (got["error"]["name"], got["error"]["status"]) == ("BadRequestError", 400)
        assert "301 tokens" in got["error"]["message"]
    for one, other in zip(found["openai"]["vectors"], found["together"]["vectors"], strict=True):
        assert one == pytest.approx(other)  # one of them came as base 64, in 32 bits
