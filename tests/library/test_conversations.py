"""Conversations by the library: made, filled, read, changed, emptied."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from palaver import Palaver
from palaver.config import load
from palaver.core.errors import InvalidRequest, RequestError

ITEMS: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]},
    {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
    {"role": "assistant", "content": "I look."},
    {"type": "function_call", "call_id": "call_1", "name": "now", "arguments": "{}"},
]
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "noon"}


@pytest.fixture
async def palaver(tmp_path: Path) -> AsyncIterator[Palaver]:
    async with Palaver.open(
        load({"data_dir": str(tmp_path), "model": "scripted"}, environment={})
    ) as palaver:
        yield palaver


async def test_a_conversation_is_made_filled_and_read(palaver: Palaver) -> None:
    made = await palaver.create_conversation(ITEMS, name="notes", metadata={"a": "b"}, user="ann")
    assert (made["name"], made["metadata"], made["user"], made["messages"]) == ("notes", {"a": "b"}, "ann", 2)
    (added,) = await palaver.add_items(made["id"], [OUTPUT])
    page = await palaver.items(made["id"], order="asc", limit=2)
    rest = await palaver.items(made["id"], order="asc", after=page["last_id"])
    assert [item["type"] for item in (*page["data"], *rest["data"])] == [
        "message",
        *(item["type"] for item in ITEMS[1:2]),
        "message",
        "function_call",
        "function_call_output",
    ]
    assert rest["data"][-1] == added
    assert page["data"][0]["content"][0]["image_url"] is None
    shown = await palaver.items(made["id"], order="asc", include=["message.input_image.image_url"])
    assert shown["data"][0]["content"] == [{**ITEMS[0]["content"][0], "detail": "auto"}]
    messages = await palaver.messages(made["id"])
    assert [message["role"] for message in messages["data"]] == ["tool", "assistant", "user"]
    assert messages["data"][1]["tool_calls"][0]["id"] == "call_1"
    left = await palaver.delete_item(made["id"], page["data"][1]["id"])
    assert (left["id"], left["messages"]) == (made["id"], 3)
    assert len((await palaver.items(made["id"]))["data"]) == 2


async def test_notes_and_title(palaver: Palaver) -> None:
    made = await palaver.create_conversation([{"role": "user", "content": "Hello"}], title="Mine")
    assert (await palaver.update_conversation(made["id"], title=""))["title"] == "Hello"
    changed = await palaver.update_conversation(made["id"], title="Ours", metadata={"c": "d"})
    assert (changed["title"], changed["metadata"]) == ("Ours", {"c": "d"})
    assert (await palaver.update_conversation(made["id"], metadata={}))["metadata"] == {}
    with pytest.raises(RequestError) as caught:
        await palaver.update_conversation(made["id"])
    assert caught.value.param == "metadata"


async def test_marks_and_a_time_to_go(palaver: Palaver) -> None:
    made = await palaver.create_conversation(name="notes")
    assert (await palaver.update_conversation("notes", pinned=True))["pinned"] is True
    assert (await palaver.conversations(only="pinned"))["data"][0]["id"] == made["id"]
    await palaver.update_conversation("notes", archived=True)
    assert (await palaver.conversations())["data"] == []
    assert len((await palaver.conversations(include_archived=True))["data"]) == 1
    assert (await palaver.update_conversation("notes", expires_in=60))["expires_at"] is not None
    assert (await palaver.conversations(only="archived"))["data"] == []
    assert (await palaver.update_conversation("notes", expires_in=None))["expires_at"] is None


async def test_a_name_is_taken_or_cannot_be_one(palaver: Palaver) -> None:
    assert (await palaver.create_conversation(name="notes"))["messages"] == 0
    with pytest.raises(RequestError) as caught:
        await palaver.create_conversation(name="notes")
    assert caught.value.param == "name"
    with pytest.raises(InvalidRequest):
        await palaver.create_conversation(name="..")
