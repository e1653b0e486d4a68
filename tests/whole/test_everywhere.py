"""One conversation that goes through both doors, the command line, the library and a branch, read back everywhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openai

from palaver import Palaver
from palaver.config import load
from palaver.core import ids
from tests.cli.running import said
from tests.sdks.stateful import CITIES, SCRIPT
from tests.sdks.waiting import PATIENCE
from tests.whole.reading import PICTURE, Entry, Ways, of_messages
from tests.whole.serving import rows, server

TOOL: Any = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
PNG = "data:image/png;base64,iVBORw0KGgo="
NAME = "trip"


def ways_to(folder: Path, conversation: str, given: Sequence[str]) -> Ways:
    """To the reply of the last of these turns."""
    turns = [turn for id in given if (turn := ids.turn_id(id)) is not None]
    assert len(turns) == len(given)
    return Ways(folder, conversation, ids.reply_of(turns[-1]), turns)


async def by_chat_completions(sdk: openai.AsyncOpenAI) -> list[str]:
    parts = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": PNG}}]
    history: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}]
    first = await sdk.chat.completions.create(
        model="scripted", messages=history, extra_body={"conversation": NAME}
    )
    history += [first.choices[0].message, {"role": "user", "content": "Think of it"}]
    second = await sdk.chat.completions.create(model="scripted", messages=history)
    return [first.id, second.id]


async def by_responses(sdk: openai.AsyncOpenAI, previous: str) -> list[str]:
    asked = await sdk.responses.create(
        model="scripted", input="And the weather?", previous_response_id=previous, tools=[TOOL]
    )
    calls: list[Any] = [item for item in asked.output if item.type == "function_call"]
    outputs: Any = [
        {"type": "function_call_output", "call_id": call.call_id, "output": f"Rain in {city}"}
        for call, city in zip(calls, CITIES, strict=True)
    ]
    answered = await sdk.responses.create(
        model="scripted", input=outputs, previous_response_id=asked.id, tools=[TOOL]
    )
    return [asked.id, answered.id]


def by_the_command_line(folder: Path) -> str:
    asked = json.loads(said(folder, "ask", "From the terminal", "--conversation", NAME, "--json"))
    return str(asked["turn"])


async def by_the_library(folder: Path) -> str:
    settings = load({"data_dir": str(folder / "data")}, environment={})
    async with (
        Palaver.open(settings) as palaver,
        palaver.say(
            [{"role": "user", "content": "From the library"}], conversation=NAME, parent="head"
        ) as reply,
    ):
        async for _ in reply:
            pass
        return reply.turn


async def compare(ways: Ways, sdk: openai.AsyncOpenAI | None) -> list[Entry]:
    """What stands there, by whichever way it is read."""
    found = await ways.without_http()
    if sdk is not None:
        found |= await ways.over_http(sdk)
    found["store"] = stored(ways.folder, ways.end)
    first, *others = found.items()
    for way, entries in others:
        assert (way, entries) == (way, first[1])
    return first[1]


def stored(folder: Path, end: str) -> list[Entry]:
    messages = {row["seq"]: row for row in rows(folder, "SELECT seq, id, parent, body FROM messages")}
    (at,) = (seq for seq, row in messages.items() if row["id"] == end)
    up = []
    while at is not None:
        up.append(json.loads(messages[at]["body"]))
        at = messages[at]["parent"]
    return of_messages(up[::-1])


async def test_a_conversation_through_everything_is_the_same_everywhere(tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text("".join(json.dumps(line) + "\n" for line in SCRIPT))
    with server(tmp_path, f"scripted:{script}") as (_, address):
        async with openai.AsyncOpenAI(
            base_url=address + "/v1", api_key="any", timeout=PATIENCE, max_retries=0
        ) as sdk:
            begun = await by_chat_completions(sdk)
            turns = [*begun, *await by_responses(sdk, begun[-1])]
            turns.append(await asyncio.to_thread(by_the_command_line, tmp_path))
            turns.append(await by_the_library(tmp_path))
            other = await sdk.responses.create(
                model="scripted", input="Or else?", previous_response_id=begun[-1]
            )
            last = await sdk.responses.create(model="scripted", input="Last", previous_response_id=turns[-1])
            (conversation,) = {
                response.conversation.id for response in (other, last) if response.conversation
            }
            trunk = ways_to(tmp_path, conversation, [*turns, last.id])
            branch = ways_to(tmp_path, conversation, [*begun, other.id])
            whole, aside = await compare(trunk, sdk), await compare(branch, sdk)
    assert [entry for entry in whole if entry[0] == "user"] == [
        ("user", "Look" + PICTURE),
        ("user", "Think of it"),
        ("user", "And the weather?"),
        ("user", "From the terminal"),
        ("user", "From the library"),
        ("user", "Last"),
    ]
    assert [entry[0] for entry in whole].count("call") == len(CITIES)
    assert whole[:5] == aside[:5]
    assert aside[5] == ("user", "Or else?")
    assert await compare(trunk, None) == whole
    assert await compare(branch, None) == aside
