"""A loop of ten calls with each of the official SDKs, against a served palaver: one conversation, nothing twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sdks.asking import SDKS, Language, Sdk, python_client, run_node
from tests.sdks.conftest import serving
from tests.sdks.waiting import LONG, within
from tests.whole.serving import rows

STEPS = 10
QUESTION = "Count to ten"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Adds one.",
            "parameters": {"type": "object", "properties": {"to": {"type": "integer"}}, "required": ["to"]},
        },
    }
]
SCRIPT = [
    {"when": QUESTION, "tool_calls": [{"name": "add", "arguments": {"to": 0}}]},
    *(
        {
            "when_tool": f"So far {n}.",
            "reasoning": "On. ",
            "tool_calls": [{"name": "add", "arguments": {"to": n}}],
        }
        for n in range(1, STEPS)
    ),
    {"when_tool": f"So far {STEPS}.", "reply": "That is ten."},
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The folder and the address of a server whose model counts."""
    folder = tmp_path_factory.mktemp("counting")
    script = folder / "counting.jsonl"
    script.write_text("".join(json.dumps(line) + "\n" for line in SCRIPT))
    with serving(folder, "--model", f"scripted:{script}") as address:
        yield folder, address


def whole_reply(chunks: Any) -> dict[str, Any]:
    """A reply as an app puts it together from its chunks, told by the index of each call."""
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    calls: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        delta = chunk.choices[0].delta
        message["content"] += delta.content or ""
        for piece in delta.tool_calls or ():
            blank = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
            call = calls.setdefault(int(piece.index), blank)
            call["id"] += piece.id or ""
            call["function"]["name"] += piece.function.name or ""
            call["function"]["arguments"] += piece.function.arguments or ""
    if calls:
        message["tool_calls"] = list(calls.values())
    return message


def loop(sdk: Sdk, address: str, stream: bool, asked: str) -> tuple[list[tuple[str, int]], str]:
    """What was called, with its ids, and what was said in the end."""
    messages: list[Any] = [{"role": "user", "content": asked}]
    called: list[tuple[str, int]] = []
    with python_client(sdk, address) as client:
        while True:
            reply = client.chat.completions.create(
                model="scripted", messages=messages, tools=TOOLS, stream=stream
            )
            message = whole_reply(reply) if stream else reply.choices[0].message.model_dump()
            messages.append(message)
            if not message.get("tool_calls"):
                return called, message["content"]
            for call in message["tool_calls"]:
                to = json.loads(call["function"]["arguments"])["to"]
                called.append((call["id"], to))
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": f"So far {to + 1}."})


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("language", ["python", "typescript"])
@pytest.mark.parametrize("sdk", SDKS)
async def test_ten_steps(
    served: tuple[Path, str], node: str, sdk: Sdk, language: Language, stream: bool
) -> None:
    folder, address = served
    question = f"{QUESTION}, {sdk} {language} {stream}"
    if language == "python":
        async with within(LONG, "the SDK to go through the loop"):
            called, said = await asyncio.to_thread(loop, sdk, address, stream, question)
    else:
        given = {
            "sdk": sdk,
            "address": address,
            "model": "scripted",
            "question": question,
            "tools": TOOLS,
            "stream": stream,
        }
        got = json.loads(await run_node(node, "looping.mjs", given))
        called, said = [(id, to) for id, to in got["called"]], got["said"]
    assert [to for _, to in called] == list(range(STEPS))
    assert len({id for id, _ in called}) == STEPS
    assert said == "That is ten."
    found = rows(
        folder, "SELECT conversation, role, body ->> 'content' AS content FROM messages ORDER BY seq"
    )
    (conversation,) = {row["conversation"] for row in found if row["content"] == question}
    roles = [row["role"] for row in found if row["conversation"] == conversation]
    assert roles == ["user", *["assistant", "tool"] * STEPS, "assistant"]
