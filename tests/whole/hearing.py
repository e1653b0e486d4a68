"""A reader of a response's events whose connection breaks, and who goes on from the last one it heard whole."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import aiohttp

TERMINAL = ("response.completed", "response.incomplete", "response.failed")
PIECES = {
    "response.output_text.delta": ("message", "content"),
    "response.reasoning_text.delta": ("reasoning", "content"),
    "response.function_call_arguments.delta": ("function_call", "arguments"),
}
"""By the type of an event: of which kind of item it is a piece, and of which of its fields."""


@dataclass
class Reader:
    """All that one reader heard of one response, over all of its connections."""

    turn: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    cuts: int = 0

    @property
    def has_ended(self) -> bool:
        return bool(self.events) and self.events[-1]["type"] in TERMINAL

    @property
    def last(self) -> dict[str, Any]:
        return self.events[-1]

    @property
    def items(self) -> dict[str, str]:
        """What was heard of each item, by its id, joined from the pieces."""
        joined: defaultdict[str, str] = defaultdict(str)
        for event in self.events:
            if event["type"] in PIECES:
                joined[event["item_id"]] += event["delta"]
        return dict(joined)

    async def ask(self, session: aiohttp.ClientSession, url: str, body: dict[str, Any], bytes: int) -> None:
        """Ask for a response and hear so many bytes of it; see `_hear`."""
        async with session.post(url, json={**body, "stream": True}) as response:
            await self._hear(response, bytes)

    async def go_on(
        self, session: aiohttp.ClientSession, url: str, bytes: int, after: int | None = None
    ) -> None:
        """Hear so many bytes of what comes after the last event that was heard, or after this number."""
        if self.events:
            after = self.last["sequence_number"]
        start = {} if after is None else {"starting_after": str(after)}
        async with session.get(f"{url}/{self.turn}", params={"stream": "true", **start}) as response:
            await self._hear(response, bytes)

    async def _hear(self, response: aiohttp.ClientResponse, bytes: int) -> None:
        """Read up to this byte and close the socket. An event that did not come whole was not heard."""
        assert response.status == 200, await response.text()
        self.turn = response.headers.get("palaver-turn", self.turn)
        heard = b""
        try:
            while len(heard) < bytes and (piece := await response.content.read(bytes - len(heard))):
                heard += piece
        finally:
            response.close()
            *whole, _ = heard.split(b"\n\n")
            for event in whole:
                self._take(event)
            self.cuts += not self.has_ended

    def _take(self, block: bytes) -> None:
        if block.startswith(b":"):
            return
        name, data = block.split(b"\n")
        event = json.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        assert not self.has_ended, event
        if self.events:
            assert event["sequence_number"] == self.last["sequence_number"] + 1
        self.events.append(event)


def said(items: list[dict[str, Any]]) -> dict[str, str]:
    """What items of an output say, by their ids."""
    return {
        item["id"]: item["arguments"]
        if item["type"] == "function_call"
        else "".join(part["text"] for part in item["content"])
        for item in items
    }
