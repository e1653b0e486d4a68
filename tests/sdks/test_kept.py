"""Conversations and stored chat completions through the official SDKs, against a served palaver."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.sdks.asking import run_node
from tests.sdks.stateful import sdk, stateful

__all__ = ["sdk", "stateful"]

ITEMS: list[Any] = [
    {"role": "developer", "content": "Be kind."},
    {"role": "user", "content": [{"type": "input_text", "text": "What time is it?"}]},
    {"type": "function_call", "call_id": "call_a", "name": "now", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_a", "output": "noon"},
    {"role": "assistant", "content": "Noon."},
]
KINDS = ["message", "message", "function_call", "function_call_output", "message"]
ALL = [*KINDS, "message", "message"]
"""With a question and its answer after them."""


async def test_conversations(sdk: openai.AsyncOpenAI) -> None:
    made = await sdk.conversations.create(items=ITEMS[:2], metadata={"topic": "demo"})
    assert made.metadata == {"topic": "demo"}
    assert (await sdk.conversations.retrieve(made.id)).id == made.id
    assert (await sdk.conversations.update(made.id, metadata={"topic": "x"})).metadata == {"topic": "x"}
    added = await sdk.conversations.items.create(made.id, items=ITEMS[2:])
    assert [item.type for item in added.data] == KINDS[2:]
    answer = await sdk.responses.create(model="scripted", input="Hello", conversation=made.id)
    assert answer.output_text.startswith("Reply 2 to: Hello")
    for limit in (1, 3, 100):
        pages = sdk.conversations.items.list(made.id, limit=limit, order="asc")
        assert [item.type async for item in pages] == ALL
    latest: Any = (await sdk.conversations.items.list(made.id, limit=1)).data[0]
    assert (latest.id, latest.content[0].text) == (answer.output[0].id, answer.output_text)
    assert await sdk.conversations.items.retrieve(latest.id, conversation_id=made.id) == latest
    assert (await sdk.conversations.items.delete(latest.id, conversation_id=made.id)).id == made.id
    assert (await sdk.conversations.delete(made.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await sdk.conversations.retrieve(made.id)


async def test_stored_chat_completions(sdk: openai.AsyncOpenAI) -> None:
    metadata = {"made_by": "python"}
    ids = []
    for text in ("One", "Two", "Three"):
        messages: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
        reply = await sdk.chat.completions.create(
            model="scripted", messages=messages, store=True, metadata=metadata
        )
        ids.append(reply.id)
    for limit in (1, 2, 100):
        found = [each.id async for each in sdk.chat.completions.list(limit=limit, metadata=metadata)]
        assert found == ids
    stored = await sdk.chat.completions.retrieve(ids[2])
    assert stored.choices == reply.choices
    # Its type knows no role but the assistant's there, whose are the fewest of the messages that are asked.
    async with openai.AsyncOpenAI(base_url=sdk.base_url, api_key="any", max_retries=0) as loose:
        asked: list[Any] = [each async for each in loose.chat.completions.messages.list(ids[0], limit=1)]
    assert [(each.role, each.content) for each in asked] == [("system", "Be brief."), ("user", "One")]
    noted = await sdk.chat.completions.update(ids[1], metadata={**metadata, "note": "seen"})
    assert noted.id == ids[1]
    assert [
        each.id async for each in sdk.chat.completions.list(metadata={**metadata, "note": "seen"})
    ] == ids[1:2]
    assert (await sdk.chat.completions.delete(ids[2])).deleted
    with pytest.raises(openai.NotFoundError):
        await sdk.chat.completions.retrieve(ids[2])


async def test_all_of_it_in_typescript(stateful: tuple[Path, str], node: str) -> None:
    given = {"address": stateful[1], "items": ITEMS}
    got = json.loads(await run_node(node, "kept.mjs", given))
    assert got["made"] == ["conversation", {"topic": "demo"}, True]
    assert got["updated"] == {"topic": "other"}
    assert got["added"] == KINDS[2:]
    assert got["answer"] == got["latest"]
    assert list(got["pages"].values()) == [ALL] * 3
    assert (got["one"], got["left"]) == (True, True)
    assert got["no_cursor"] == ["BadRequestError", 400, None, "after"]
    assert got["gone"] == {"id": True, "object": "conversation.deleted", "deleted": True}
    assert got["missing"][:2] == ["NotFoundError", 404]
    assert list(got["listed"].values()) == [[0, 1, 2]] * 3
    assert got["backwards"] == [2, 1, 0]
    assert got["stored"].startswith("Reply 1 to: One")
    assert got["asked"] == [["system", "Be brief."], ["user", "One"]]
    assert got["noted"] == {"made_by": "typescript", "note": "seen"}
    assert got["found"] == [1]
    assert got["deleted"] == ["chat.completion.deleted", True, True]
    assert got["missing_reply"][:2] == ["NotFoundError", 404]
