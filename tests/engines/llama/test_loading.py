"""Several models in one memory, with real workers: who is loaded, who makes room, who waits, what is told meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from palaver.core.errors import EngineUnavailable
from palaver.core.turn import ContentDelta
from palaver.engines.llama import LlamaEngine, LlamaSettings, ModelMemory
from palaver.engines.llama import supervisor as module
from palaver.engines.llama.process import Worker
from palaver.engines.pocket import POCKET
from tests.engines.llama.talk import (
    ENDLESS,
    HAS_PROC,
    UNLIMITED,
    ask,
    is_running,
    kill,
    options,
    unix,
    until,
    window,
)

QUESTION = window("What is the capital of France?")
SIZE = LlamaEngine(LlamaSettings(POCKET, "pocket"), ModelMemory(10**10)).footprint.total
MakeModels = Callable[..., list[LlamaEngine]]


@pytest.fixture
async def models(temporary: Path) -> AsyncIterator[MakeModels]:
    """Makes engines of the bundled model that share a memory with room for so many of them."""
    made: list[LlamaEngine] = []

    def make(names: str, room: int, **memory: Any) -> list[LlamaEngine]:
        shared = ModelMemory(room * SIZE + SIZE // 2, **memory)
        for name in names:
            made.append(LlamaEngine(LlamaSettings(POCKET, name, threads=1), shared))
        return made

    yield make
    for engine in made:
        await engine.close()


def loaded(models: list[LlamaEngine]) -> str:
    return "".join(engine.settings.name for engine in models if engine.worker_pid is not None)


async def answers(engine: LlamaEngine) -> bool:
    return (await ask(engine, QUESTION)).text.endswith("Paris.")


async def test_the_model_used_longest_ago_makes_room_and_comes_back(models: MakeModels) -> None:
    a, b, c = every = models("abc", room=2)
    assert await answers(a)
    first = a.worker_pid
    assert first is not None
    assert await answers(b)
    assert await answers(a)
    assert await answers(c)
    assert loaded(every) == "ac"
    assert await answers(b)
    assert loaded(every) == "bc"
    assert not is_running(first), "unloaded means that the process has ended"
    assert await answers(a)
    assert loaded(every) == "ab"


async def test_what_answers_is_not_stopped_and_who_comes_waits(models: MakeModels) -> None:
    a, b, c = every = models("abc", room=2)
    async with aclosing(a.generate(window(*ENDLESS), options(UNLIMITED))) as reply:
        async for event in reply:
            if isinstance(event, ContentDelta):
                break
        assert await answers(b)
        assert await answers(c)
        assert loaded(every) == "ac"


async def test_who_waits_is_served_once_a_reply_has_ended(models: MakeModels) -> None:
    a, b = every = models("ab", room=1)
    async with aclosing(a.generate(window(*ENDLESS), options(UNLIMITED))) as reply:
        await anext(reply)
        waiting = asyncio.create_task(answers(b))
        await until(lambda: b.loading == 0.0)
        assert loaded(every) == "a"
    assert await waiting
    assert loaded(every) == "b"


async def test_three_models_with_room_for_one_and_many_requests(models: MakeModels) -> None:
    every = models("abc", room=1, patience=0.05)

    async def request(engine: LlamaEngine) -> bool:
        answered = await answers(engine)
        assert len(loaded(every)) <= 1
        return answered

    assert all(await asyncio.gather(*(request(every[number % 3]) for number in range(12))))


async def test_a_question_keeps_the_model_for_the_turn_that_follows(models: MakeModels) -> None:
    a, b = every = models("ab", room=1)
    await a.count(QUESTION, options())
    pid = a.worker_pid
    other = asyncio.create_task(answers(b))
    await asyncio.sleep(0)
    assert await answers(a)
    assert a.worker_pid in (pid, None), "it was not loaded twice for one turn"
    assert await other
    assert loaded(every) == "b"


async def test_a_model_that_is_busy_too_long(models: MakeModels) -> None:
    a, b = models("ab", room=1, longest_wait=0.5)
    async with aclosing(a.generate(window(*ENDLESS), options(UNLIMITED))) as reply:
        await anext(reply)
        with pytest.raises(EngineUnavailable, match="no room in memory for the model b: a had it") as caught:
            await ask(b, QUESTION)
        assert caught.value.retry_after == 30
        with pytest.raises(EngineUnavailable, match="no room in memory"):
            await ask(b, QUESTION)  # waits again: that it found no room is no failed start
    assert await answers(b)


async def test_who_leaves_while_waiting_leaves_nothing(models: MakeModels) -> None:
    a, b = models("ab", room=1)
    async with aclosing(a.generate(window(*ENDLESS), options(UNLIMITED))) as reply:
        await anext(reply)
        waiting = asyncio.create_task(ask(b, QUESTION))
        await until(lambda: b.loading == 0.0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
    assert await answers(a)
    assert await answers(b)


async def test_what_nobody_waits_for_any_more_is_not_loaded(models: MakeModels) -> None:
    a, b = every = models("ab", room=1)
    async with aclosing(a.generate(window(*ENDLESS), options(UNLIMITED))) as reply:
        await anext(reply)
        waiting = [asyncio.create_task(ask(b, QUESTION)) for _ in range(2)]
        await until(lambda: b.loading == 0.0)
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        assert b.loading == 0.0, "somebody waits yet"
        waiting[1].cancel()
        comes_next = asyncio.create_task(answers(b))
        await asyncio.wait(waiting)
        await until(lambda: b.loading == 0.0)
    assert await comes_next, "who came while that start was given up has another"
    async with aclosing(b.generate(window(*ENDLESS), options(UNLIMITED))) as reply:
        await anext(reply)
        leaves = asyncio.create_task(ask(a, QUESTION))
        await until(lambda: a.loading == 0.0)
        leaves.cancel()
        await asyncio.wait([leaves])
        await until(lambda: a.loading is None)
    assert await answers(b)
    assert loaded(every) == "b"


@unix
async def test_closing_while_a_start_waits_for_the_last_of_a_worker(
    models: MakeModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    (a,) = models("a", room=1)
    assert await answers(a)
    gone, go_on = asyncio.Event(), asyncio.Event()
    end = Worker._end

    async def slowly(self: Worker) -> None:
        gone.set()
        await go_on.wait()
        await end(self)

    monkeypatch.setattr(Worker, "_end", slowly)
    kill(a)
    await gone.wait()
    waiting = asyncio.create_task(ask(a, QUESTION))
    await until(lambda: a.loading == 0.0)
    closing = asyncio.create_task(a.close())
    await asyncio.sleep(0.01)
    go_on.set()
    await closing
    with pytest.raises(EngineUnavailable, match="shut down"):
        await waiting
    assert a._supervisor._memory.loaded == []


async def test_closing_while_a_model_waits(models: MakeModels) -> None:
    a, b = every = models("ab", room=1)
    async with aclosing(a.generate(window(*ENDLESS), options(UNLIMITED))) as reply:
        await anext(reply)
        waiting = asyncio.create_task(ask(b, QUESTION))
        await until(lambda: b.loading == 0.0)
        await b.close()
        with pytest.raises(EngineUnavailable, match="shut down"):
            await waiting
    assert await answers(a)
    assert loaded(every) == "a"


async def test_closing_while_a_model_is_held_off(models: MakeModels) -> None:
    a, b = models("ab", room=1, patience=0.01)
    reply = a.generate(window(*ENDLESS), options(UNLIMITED))
    await anext(reply)
    waiting = asyncio.create_task(ask(b, QUESTION))
    await until(lambda: a._supervisor._memory.holds_off(a._supervisor))
    again = asyncio.create_task(ask(a, QUESTION))
    await asyncio.sleep(0.01)
    assert not again.done()
    await a.close()
    with pytest.raises(EngineUnavailable, match="shut down"):
        await again
    await reply.aclose()
    assert (await waiting).text.endswith("Paris.")


@unix
async def test_a_model_that_crashed_has_no_room_any_more(models: MakeModels) -> None:
    a, b = models("ab", room=1)
    assert await answers(a)
    kill(a)
    await until(lambda: a.worker_pid is None)
    assert await answers(b)
    assert await answers(a)


async def test_a_model_that_cannot_be_loaded_gives_its_room_back(models: MakeModels, tmp_path: Path) -> None:
    a, b = models("ab", room=1)
    gone = tmp_path / "m.gguf"
    gone.write_bytes(POCKET.read_bytes())
    lost = LlamaEngine(LlamaSettings(gone, "lost", threads=1), a._supervisor._memory)
    gone.unlink()
    with pytest.raises(EngineUnavailable, match="does not exist"):
        await lost.start()
    assert a._supervisor._memory.loaded == []
    assert await answers(a)
    assert await answers(b)
    await lost.close()


async def test_how_much_is_loaded_is_told(models: MakeModels, monkeypatch: pytest.MonkeyPatch) -> None:
    (a,) = models("a", room=1)
    assert a.loading is None
    told: list[float | None] = []
    ready = Worker._ready

    async def look(worker: Worker, settings: bytes) -> Any:
        told.append(a.loading)
        answer = await ready(worker, settings)
        told.append(a.loading)
        return answer

    monkeypatch.setattr(Worker, "_ready", look)
    await a.start()
    assert a.loading is None
    before, after = told
    assert before is not None
    assert after is not None
    assert 0.0 <= before <= after <= module.NEARLY
    if HAS_PROC:
        assert after > 0.2
