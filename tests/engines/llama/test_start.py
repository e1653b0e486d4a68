"""How a worker is started: once for all who ask, not over and over, and from a file that may have changed."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from palaver.core.errors import ConfigError, EngineUnavailable
from palaver.engines.llama import LlamaEngine, supervisor
from palaver.engines.llama.process import Worker
from palaver.engines.pocket import POCKET
from tests.engines.llama.conftest import MakeEngine
from tests.engines.llama.gguf_file import gguf
from tests.engines.llama.talk import ask, options, window

QUESTION = window("What is the capital of France?")


def counted_starts(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    starts: list[None] = []
    start: Callable[..., object] = Worker.start

    def count(*args: object) -> object:
        starts.append(None)
        return start(*args)

    monkeypatch.setattr(Worker, "start", count)
    return starts


async def test_many_who_ask_at_once_share_one_start(
    engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = counted_starts(monkeypatch)
    counts = await asyncio.gather(*(engine.count(QUESTION, options()) for _ in range(5)))
    assert counts == [16] * 5
    assert len(starts) == 1


async def test_who_leaves_does_not_stop_the_start_for_others(engine: LlamaEngine) -> None:
    leaves = asyncio.create_task(engine.start())
    stays = asyncio.create_task(ask(engine, QUESTION))
    await asyncio.sleep(0)
    leaves.cancel()
    assert (await stays).text.endswith("Paris.")
    assert leaves.cancelled()


async def test_a_model_that_cannot_be_loaded(
    make_engine: MakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(gguf(tmp_path / "empty.gguf"))  # a whole file, but without a single weight
    starts = counted_starts(monkeypatch)
    with pytest.raises(EngineUnavailable, match="could not be loaded: error loading model") as first:
        await ask(engine, QUESTION)
    with pytest.raises(EngineUnavailable) as second:
        await ask(engine, QUESTION)
    assert second.value.message == first.value.message
    assert len(starts) == 1  # not tried again at once
    monkeypatch.setattr(engine._supervisor, "_not_before", 0.0)
    with pytest.raises(EngineUnavailable):
        await engine.start()
    assert len(starts) == 2
    assert engine._supervisor._pause == 2 * supervisor.FIRST_PAUSE


async def test_a_model_that_vanishes_and_comes_back(make_engine: MakeEngine, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(POCKET.read_bytes())
    engine = make_engine(path)
    path.rename(tmp_path / "away.gguf")
    with pytest.raises(EngineUnavailable, match="does not exist"):
        await engine.start()
    (tmp_path / "away.gguf").rename(path)
    engine._supervisor._not_before = 0.0
    await engine.start()


def test_a_model_that_cannot_be_used_is_a_matter_of_configuration(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"none\.gguf does not exist") as caught:
        make_engine(tmp_path / "none.gguf")
    assert caught.value.setting == "model"


async def test_a_start_that_takes_too_long(make_engine: MakeEngine) -> None:
    engine = make_engine(start_timeout=0.001)
    with pytest.raises(EngineUnavailable, match=r"within 0\.001 seconds"):
        await engine.start()


async def test_closing_during_a_start(engine: LlamaEngine) -> None:
    asking = [asyncio.create_task(ask(engine, QUESTION)), asyncio.create_task(engine.start())]
    await asyncio.sleep(0.02)
    await engine.close()
    for task in asking:
        with pytest.raises(EngineUnavailable):
            await task
