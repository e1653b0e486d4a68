"""A path of a conversation by every way there is to read it, each in the same plain form."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai

from palaver import Palaver
from palaver.config import load
from palaver.core import ids
from tests.cli.running import said

Entry = tuple[str, ...]
"""What somebody said (role and text), what a model thought, a call, or its output."""
PICTURE = "[picture]"
PAGE = 3
"""What is read at once; a path is longer."""


def text_of(content: str | Sequence[Mapping[str, Any]] | None) -> str:
    parts = [{"text": content}] if isinstance(content, str) else content or []
    return "".join(part.get("text", PICTURE) for part in parts)


def of_items(items: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """Items of a conversation, or of a response."""
    return [_of_item(item) for item in items]


def _of_item(item: Mapping[str, Any]) -> Entry:
    match item["type"]:
        case "reasoning":
            return "reasoning", text_of(item["content"])
        case "function_call":
            return "call", item["call_id"], item["name"], item["arguments"]
        case "function_call_output":
            return "output", item["call_id"], text_of(item["output"])
    return item["role"], text_of(item["content"])


def of_messages(messages: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """Messages as chat completions have them, or ours."""
    entries: list[Entry] = []
    for message in messages:
        text = text_of(message.get("content") or message.get("content_parts"))
        if message["role"] == "tool":
            entries.append(("output", message["tool_call_id"], text))
            continue
        if message.get("reasoning"):
            entries.append(("reasoning", message["reasoning"]))
        if text:
            entries.append((message["role"], text))
        for call in message.get("tool_calls") or ():
            entries.append(("call", call["id"], call["function"]["name"], call["function"]["arguments"]))
    return entries


@dataclass
class Ways:
    """The ways to read a conversation. `turns` are those on the path to `end`, each of whatever door."""

    folder: Path
    conversation: str
    end: str
    turns: Sequence[str]

    async def over_http(self, sdk: openai.AsyncOpenAI) -> dict[str, list[Entry]]:
        return {
            "conversation items": await self._conversation_items(sdk),
            "messages of the last turn": await self._last_turn(sdk),
            "responses": of_items(await self._responses(sdk)),
        }

    async def without_http(self) -> dict[str, list[Entry]]:
        """Those that find the server, or open the store where there is none."""
        settings = load({"data_dir": str(self.folder / "data"), "model": "scripted"}, environment={})
        async with Palaver.open(settings) as palaver:
            found = await self._library(palaver)
        show = ("show", self.conversation, "--json", "--limit", "0", "--to", self.end)
        shown = json.loads(await asyncio.to_thread(said, self.folder, *show))
        return {**found, "palaver show": of_messages(shown["items"])}

    async def _library(self, palaver: Palaver) -> dict[str, list[Entry]]:
        to = {"to": self.end, "order": "asc"}
        items = await self._all(palaver.items, **to)
        messages = await self._all(palaver.messages, **to)
        assert [ids.message_of_item(item["id"]) for item in items if item["type"] == "message"] == [
            message["id"] for message in messages if message["role"] != "tool" and message["content"]
        ]
        tree = {message["id"]: message for message in await self._all(palaver.tree)}
        up: list[Any] = []
        at: str | None = self.end
        while at is not None:
            up.append(tree[at])
            at = tree[at]["parent"]
        return {
            "library items": of_items(items),
            "library messages": of_messages(messages),
            "tree": of_messages(up[::-1]),
        }

    async def _all(self, read: Any, **asked: Any) -> list[Any]:
        found: list[Any] = []
        more = True
        while more:
            after = found[-1]["id"] if found else None
            page = await read(self.conversation, limit=PAGE, after=after, **asked)
            found += page["data"]
            more = page["has_more"]
        return found

    async def _conversation_items(self, sdk: openai.AsyncOpenAI) -> list[Entry]:
        pages = sdk.conversations.items.list(
            self.conversation, limit=PAGE, order="asc", extra_query={"to": self.end}
        )
        items = [item.to_dict() async for item in pages]
        told = await self._responses(sdk)
        assert [item["id"] for item in items] == [item["id"] for item in told]
        return of_items(items)

    async def _last_turn(self, sdk: openai.AsyncOpenAI) -> list[Entry]:
        """What it was asked with, and its reply."""
        turn = ids.as_chat_completion(self.turns[-1])
        asked = [each.to_dict() async for each in sdk.chat.completions.messages.list(turn, limit=PAGE)]
        reply = (await sdk.chat.completions.retrieve(turn)).choices[0].message.to_dict()
        return of_messages([*(each for each in asked if each["role"] != "system"), reply])

    async def _responses(self, sdk: openai.AsyncOpenAI) -> list[dict[str, Any]]:
        """What each turn was asked, and what it answered. What one was asked may hold all before it."""
        items: dict[str, dict[str, Any]] = {}
        for turn in self.turns:
            id = ids.as_response(turn)
            asked = sdk.responses.input_items.list(id, limit=PAGE, order="asc")
            told: list[dict[str, Any]] = [item.to_dict() async for item in asked]
            told += [item.to_dict() for item in (await sdk.responses.retrieve(id)).output]
            items |= {item["id"]: item for item in told}
        return list(items.values())
