"""A server whose model says what the tests of the stateful door need, and strict clients for it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.sdks.conftest import serving
from tests.sdks.waiting import PATIENCE

LONG_TEXT = " ".join(f"word{number}" for number in range(60))
CITIES = ("Oslo", "Rome")
SCRIPT: list[dict[str, Any]] = [
    {"when": "Think", "reasoning": "Hm. Let me see.", "reply": "Forty two."},
    {
        "when": "weather",
        "reply": "I look.",
        "tool_calls": [{"name": "weather", "arguments": {"city": city}} for city in CITIES],
    },
    {"when_tool": "Rain", "reply": "It rains in both."},
    {"when": "slowly", "reply": LONG_TEXT, "delay": 0.005},
    {"when": "for ever", "reply": LONG_TEXT, "fail": "stall after 20 tokens"},
    {"when": "break", "reply": LONG_TEXT, "fail": "break after 20 tokens"},
    {},
]
BEGUN = " ".join(LONG_TEXT.split()[:20])
"""What is said of a text that stalls or breaks."""


def served(folder: Path, *options: str) -> Iterator[tuple[Path, str]]:
    """Its folder and its address; for a fixture. It has the models ``scripted`` and ``pocket``."""
    script = folder / "script.jsonl"
    script.write_text("".join(json.dumps(line) + "\n" for line in SCRIPT))
    with serving(folder, "--model", f"scripted:{script}", *options) as address:
        yield folder, address


@pytest.fixture(scope="module")
def stateful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The folder and the address of a server for the tests of one module."""
    yield from served(tmp_path_factory.mktemp("stateful"))


def strict(address: str) -> openai.AsyncOpenAI:
    """The SDK that raises where anything in a reply is not as its types have it."""
    return openai.AsyncOpenAI(
        base_url=address + "/v1",
        api_key="any",
        timeout=PATIENCE,
        max_retries=0,
        _strict_response_validation=True,
    )


@pytest.fixture
async def sdk(stateful: tuple[Path, str]) -> AsyncIterator[openai.AsyncOpenAI]:
    async with strict(stateful[1]) as client:
        yield client
