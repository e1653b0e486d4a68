"""A door whose scripted model answers what the apps of the recipes ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.server.conftest import Door, opened

WEATHER = {"city": "Paris"}
SCRIPT = [
    # Chores quote what was asked, so they come first.
    {"when": "concise title", "reply": '{ "title": "A Greeting" }'},
    {"when": "useful messages", "reply": '{ "follow_ups": ["And then?"] }'},
    {"when": "broad tags", "reply": '{ "tags": ["General"] }'},
    {"when": "5-word-or-less title", "reply": "A Short Greeting"},
    {
        "when": "weather",
        "reasoning": "A city is named.",
        "tool_calls": [{"name": "weather", "arguments": WEATHER}],
    },
    {"when_tool": "sunny", "reply": "It is sunny in Paris."},
    {"when": "what time", "tool_calls": [{"name": "get_current_timestamp"}]},
    {"when_tool": "current_iso", "reply": "It is noon."},
    {"when": "billing", "tool_calls": [{"name": "transfer_to_billing"}]},
    {"when_tool": "Billing", "reply": "Billing speaks."},
    {"when": "read the notes", "tool_calls": [{"name": "Read", "arguments": {"filepath": "notes.md"}}]},
    {"when_tool": "does not exist", "reply": "There are no notes."},
    {"when": "think hard", "reasoning": "Let me see.", "reply": "Forty-two."},
    {
        "when": "tell a long story",
        "reply": "Once upon a time there was nobody",
        "fail": "stall after 3 tokens",
    },
    {"when": "break off", "reply": "It begins well", "fail": "break after 2 tokens"},
    {"when": "break at once", "fail": "break after 0 tokens"},
    {"when": "be away", "fail": "unavailable"},
    {},
]


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    script = b"\n".join(map(msgspec.json.encode, SCRIPT)).decode()
    async with opened(tmp_path, script=script) as door:
        yield door
