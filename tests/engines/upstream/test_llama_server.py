"""The upstream engine with a real llama-server on this machine."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from palaver.core.errors import ContextLengthExceeded, UnsupportedParameter
from palaver.core.message import FunctionCall, Message, ToolCall
from palaver.core.parameters import Format, NamedTool, Parameters, Tool
from palaver.engines.base import Options
from palaver.engines.pocket import POCKET
from palaver.engines.upstream.engine import UpstreamEngine
from tests.engines.contract import all_of, collect, finish_of, logprobs_of, replies_of, text_of, window
from tests.engines.llama.models import random_model
from tests.engines.llama.templates import HERMES

pytest.importorskip("xllamacpp")

SCRIPT = Path(__file__).with_name("llama_server.py")
QUESTION = "Where is the castle of Edinburgh?"
EXACT = Parameters(temperature=0.0, max_tokens=40)
TOOL = Tool(
    name="measure",
    parameters={
        "type": "object",
        "properties": {"unit": {"enum": ["metre", "mile"]}},
        "required": ["unit"],
        "additionalProperties": False,
    },
)


@contextlib.asynccontextmanager
async def serving(model: Path) -> AsyncIterator[UpstreamEngine]:
    """An engine for a llama-server of this model."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        str(model),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    address = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()
    engine = UpstreamEngine("own", address)
    try:
        yield engine
    finally:
        await engine.close()
        process.kill()
        await process.communicate()


def asked(**parameters: object) -> Options:
    return Options(model="any name", parameters=msgspec.structs.replace(EXACT, **parameters))


async def test_a_real_llama_server() -> None:
    """One server for all: it takes a while to start."""
    async with serving(POCKET) as engine:
        assert await engine.kind() == "llama-server"
        assert await engine.context_size("any name") == 512, "that of one slot"
        (listed,) = await engine.models()
        assert listed.context_size == 512
        whole = await check_reply(engine)
        await check_parameters(engine)
        await check_refusals(engine)
        start = whole[: whole.index(" ", len(whole) // 3)]
        options = msgspec.structs.replace(asked(), prefill=True)
        assert start + text_of(await collect(engine, window(QUESTION, start), options)) == whole


async def test_calls_of_a_real_llama_server(tmp_path: Path) -> None:
    """It takes tools, a tool that is named, and a history of calls that a model wrote badly. Whether a call is made is
    the model's to say, also where one is required; this one's weights are random."""
    async with serving(random_model(tmp_path / "random.gguf", HERMES)) as engine:
        plain = finish_of(await collect(engine, window(QUESTION), asked(max_tokens=3)))
        prompt = msgspec.structs.replace(window(QUESTION), tools=(Tool(name="stop"), TOOL))
        costs = []
        for choice in ("auto", "required", NamedTool("measure")):
            finish = finish_of(await collect(engine, prompt, asked(tool_choice=choice, max_tokens=3)))
            assert finish.reason == "length"
            assert finish.usage is not None
            costs.append(finish.usage.prompt_tokens)
        assert plain.usage is not None
        assert costs[0] == costs[1] > costs[2] > plain.usage.prompt_tokens, (
            "only the tool that is named is shown"
        )
        history = (
            *prompt.messages,
            Message("assistant", tool_calls=[ToolCall(FunctionCall("measure", "{broken"), id="c1")]),
            Message("tool", "7", tool_call_id="c1"),
        )
        longer = msgspec.structs.replace(prompt, messages=history)
        assert finish_of(await collect(engine, longer, asked(max_tokens=3))).reason == "length"


async def check_reply(engine: UpstreamEngine) -> str:
    said = await collect(engine, window(QUESTION), asked())
    finish = finish_of(said)
    assert finish.warnings == []
    assert finish.usage is not None
    assert finish.usage.prompt_tokens > 0
    assert finish.usage.completion_tokens > 0
    again = finish_of(await collect(engine, window(QUESTION), asked())).usage
    assert again is not None
    assert again.cached_tokens, "what it reused is told"
    return text_of(said)


async def check_parameters(engine: UpstreamEngine) -> None:
    form = Format(type="json_schema", schema=TOOL.parameters)
    assert json.loads(text_of(await collect(engine, window(QUESTION), asked(format=form, max_tokens=100))))
    grammar = Format(type="grammar", grammar='root ::= "yes" | "no"')
    assert text_of(await collect(engine, window(QUESTION), asked(format=grammar))) in ("yes", "no")

    told = logprobs_of(await collect(engine, window(QUESTION), asked(logprobs=2)))
    assert told
    assert all(len(each.top) <= 2 and each.logprob <= 0 for each in told)

    several = await collect(engine, window(QUESTION), asked(n=3, max_tokens=5, repetition_penalty=1.1))
    assert [bool(reply.content) for reply in replies_of(several)] == [True] * 3
    text = await all_of(engine.complete("Once upon", None, window(), asked(max_tokens=5)))
    assert text_of(text)


async def check_refusals(engine: UpstreamEngine) -> None:
    with pytest.raises(ContextLengthExceeded) as too_long:
        await collect(engine, window("word " * 700), asked())
    assert too_long.value.context_size == 512
    assert too_long.value.prompt_tokens > 512
    with pytest.raises(UnsupportedParameter, match="makes no embeddings"):
        await engine.embed(["one"], None, window(), asked())
    with pytest.raises(UnsupportedParameter) as refused:
        await all_of(engine.complete("Once", "end", window(), asked()))
    assert refused.value.param == "suffix"
    tools = msgspec.structs.replace(window(QUESTION), tools=(TOOL,))
    with pytest.raises(UnsupportedParameter, match="its chat template shows none") as refused:
        await collect(engine, tools, asked())
    assert refused.value.param == "tools"
