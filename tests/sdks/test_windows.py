"""Apps that resend their whole history, however long it gets, with the official SDKs and no word about windows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from palaver.chat import ChatSettings
from palaver.core.window import Window
from palaver.core.window_settings import WindowSettings
from palaver.engines.scripted.tokens import prompt_tokens
from tests.sdks.asking import LANGUAGES, SDKS, Language, Sdk, python_client
from tests.sdks.house import house
from tests.sdks.talking import moves
from tests.sdks.test_long_conversation import Remembering, converse
from tests.whole.serving import rows

SIZE = 400
AUTO = ChatSettings(window=WindowSettings(mode="auto"))


def prefilled(windows: list[Window]) -> int:
    """How many tokens a perfect prefix cache leaves to be computed."""
    tokens = 0
    before: tuple[Any, ...] = ()
    for window in windows:
        known = window.messages[: len(before)] == before
        tokens += prompt_tokens(window.messages[len(before) :] if known else window.messages)
        before = window.messages
    return tokens


async def prove(sdk: Sdk, language: Language, node: str, folder: Path, turns: int) -> None:
    engine = Remembering()
    engine._context = SIZE
    made = moves(turns, 0, 0, seed=1)
    async with house(folder, {"scripted": engine}, AUTO) as palaver:
        talked = await converse(sdk, language, node, palaver, made)
    assert len(set(talked.conversations)) == 1
    assert len(rows(folder, "SELECT id FROM messages")) == 2 * turns
    assert len(engine.windows) == turns
    for window, exchange in zip(engine.windows, talked.exchanges, strict=True):
        seen = [(message.role, message.content) for message in window.messages]
        sent = [(message["role"], message["content"]) for message in exchange.sent]
        assert sent[-len(seen) :] == seen, "the newest of what was sent, and nothing else"
    whole = sum(prompt_tokens(window.messages) for window in engine.windows)
    assert prefilled(engine.windows) < whole / 3
    epochs = rows(folder, "SELECT reason FROM epochs ORDER BY seq")
    assert [epoch["reason"] for epoch in epochs] == ["start", *["overflow"] * (len(epochs) - 1)]
    assert len(epochs) > 2
    receipts = rows(folder, "SELECT receipt FROM turns WHERE receipt ->> '$.left_out' IS NOT NULL")
    assert len(receipts) > turns / 2


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("sdk", SDKS)
async def test_a_history_that_outgrows_the_model(
    sdk: Sdk, language: Language, tmp_path: Path, node: str
) -> None:
    await prove(sdk, language, node, tmp_path, 80)


async def test_a_thousand_turns(tmp_path: Path, node: str) -> None:
    await prove("openai", "typescript", node, tmp_path, 1000)


@pytest.mark.parametrize("sdk", SDKS)
async def test_the_receipt_comes_with_the_reply(sdk: Sdk, tmp_path: Path) -> None:
    """As a field that the SDKs do not know, plain and streamed."""
    async with house(tmp_path, {"scripted": Remembering()}, AUTO) as palaver:
        told = await _told(sdk, palaver.address)
    for context in told:
        assert context["object"] == "receipt"
        assert [message["role"] for message in context["messages"]] == ["user"]
        assert context["left_out"] == []


async def _told(sdk: Sdk, address: str) -> list[dict[str, Any]]:
    def talk() -> list[dict[str, Any]]:
        with python_client(sdk, address) as client:
            asked: dict[str, Any] = {
                "model": "scripted",
                "messages": [{"role": "user", "content": "Hello!"}],
                "extra_body": {"context": True},
            }
            plain = client.chat.completions.create(**asked)
            *_, last = client.chat.completions.create(**asked, stream=True)
            return [plain.context, last.context]

    return await asyncio.to_thread(talk)
