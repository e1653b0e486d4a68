"""A conversation of many turns, resent in full each time by the official SDKs, edited and asked again on its way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import msgspec
import pytest

from palaver.core.turn import EngineEvent
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.scripted import ScriptedEngine
from tests.sdks.asking import LANGUAGES, SDKS, Language, Sdk, run_node
from tests.sdks.house import House, house
from tests.sdks.talking import Exchange, Move, distinct_nodes, moves, talk
from tests.sdks.waiting import PATIENCE, within
from tests.whole.serving import rows


class Remembering(ScriptedEngine):
    """Keeps every window it was given, not only the last ones."""

    def __init__(self) -> None:
        super().__init__()
        self.windows: list[Window] = []

    def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        self.windows.append(window)
        return super().generate(window, options)


class Talked(msgspec.Struct):
    exchanges: list[Exchange]
    conversations: list[str]


async def converse(sdk: Sdk, language: Language, node: str, palaver: House, made: Sequence[Move]) -> Talked:
    patience = PATIENCE + len(made)
    if language == "python":
        heard: list[str] = []
        async with within(patience, f"{len(made)} turns with the SDK"):
            exchanges = await asyncio.to_thread(talk, sdk, palaver.address, made, heard.append)
        return Talked(exchanges, heard)
    given = {"sdk": sdk, "address": palaver.address, "moves": made}
    return msgspec.json.decode(await run_node(node, "talking.mjs", given, patience), type=Talked)


async def prove(
    sdk: Sdk, language: Language, node: str, folder: Path, made: Sequence[Move]
) -> list[Exchange]:
    """Make these moves, and see that nothing is stored twice, and that the model saw exactly what was sent."""
    engine = Remembering()
    async with house(folder, {"scripted": engine}) as palaver:
        talked = await converse(sdk, language, node, palaver, made)
    assert len(set(talked.conversations)) == 1
    assert len(rows(folder, "SELECT id FROM conversations")) == 1
    assert len(rows(folder, "SELECT id FROM turns WHERE state = 'completed'")) == len(made)
    assert len(rows(folder, "SELECT id FROM messages")) == distinct_nodes(talked.exchanges)
    assert len(engine.windows) == len(made)
    for window, exchange in zip(engine.windows, talked.exchanges, strict=True):
        seen = [(message.role, message.content) for message in window.messages]
        assert seen == [(message["role"], message["content"]) for message in exchange.sent]
    return talked.exchanges


@pytest.mark.parametrize(
    ("sdk", "language"),
    [
        ("openai", "typescript"),
        # The Python SDKs take tens of seconds to look at every key of every message they send.
        pytest.param("openai", "python", marks=pytest.mark.slow),
        pytest.param("together", "python", marks=pytest.mark.slow),
        pytest.param("together", "typescript", marks=pytest.mark.slow),
    ],
)
async def test_500_turns(sdk: Sdk, language: Language, tmp_path: Path, node: str) -> None:
    made = moves(500, 20, 20, seed=1)
    exchanges = await prove(sdk, language, node, tmp_path, made)
    assert len(exchanges[-1].sent) == 999
    assert sum(move.say is None for move in made) == 20
    assert sum((move.say or "").startswith("Rather") for move in made) == 20


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("sdk", SDKS)
async def test_60_turns(sdk: Sdk, language: Language, tmp_path: Path, node: str) -> None:
    exchanges = await prove(sdk, language, node, tmp_path, moves(60, 6, 6, seed=2))
    assert len(exchanges[-1].sent) == 119
