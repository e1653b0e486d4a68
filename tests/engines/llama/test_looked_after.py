"""A worker is looked after: one that takes more and more memory is renewed or stopped, one that hangs is stopped."""

from __future__ import annotations

import pytest

from palaver.core.errors import EngineBroke
from palaver.core.turn import ContentDelta
from palaver.engines.llama import LlamaEngine, supervisor
from tests.engines.llama.talk import (
    ENDLESS,
    UNLIMITED,
    ask,
    freeze,
    is_running,
    options,
    unix,
    until,
    window,
    worker_of,
)
from tests.engines.llama.warm import Houses, Talk, prefilled

QUESTION = window("What is the capital of France?")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LOOK_SECONDS", 0.02)


def grown(engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch, times: float) -> None:
    """Have its worker of now seem to take so many times what it should."""
    pid, size = worker_of(engine).pid, engine.footprint.total
    taken = int(size * times) + supervisor.GROWN_BYTES + 1
    monkeypatch.setattr(supervisor, "resident_bytes", lambda of: taken if of == pid else size)


async def test_one_that_has_grown_is_replaced_once_nobody_uses_it_and_nothing_is_lost(
    houses: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await houses.open()
    talk = Talk(engine)
    await talk.settled("I am Ada, and I live in Oslo, by the sea, with three cats and a dog.")
    old = engine.worker_pid
    reply = engine.generate(window(*ENDLESS), options(UNLIMITED))
    async for event in reply:
        if isinstance(event, ContentDelta):
            break
    grown(engine, monkeypatch, 1.6)
    await until(lambda: engine._supervisor._doubted is not None)
    assert engine.worker_pid == old, "somebody is being answered"
    await reply.aclose()
    await until(lambda: engine.worker_pid != old)
    assert prefilled(await talk.say("Where do I live?")) <= 30


async def test_one_that_grows_on_is_stopped_and_whoever_reads_keeps_the_text(
    houses: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await houses.open()
    await ask(engine, QUESTION)
    heard: list[str] = []

    async def read() -> None:
        async for event in engine.generate(window(*ENDLESS), options(UNLIMITED)):
            if isinstance(event, ContentDelta):
                if not heard:
                    grown(engine, monkeypatch, 2.1)
                heard.append(event.text)

    with pytest.raises(EngineBroke, match="too much memory"):
        await read()
    assert heard
    assert (await ask(engine, QUESTION)).text.endswith("Paris.")


@unix
async def test_one_that_hangs_is_found_although_nobody_asks_it(
    houses: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "HANG_SECONDS", 0.2)
    engine = await houses.open()
    talk = Talk(engine)
    await talk.settled("I am Ada, and I live in Oslo, by the sea, with three cats and a dog.")
    await engine._slots.save_all(worker_of(engine))
    pid = await freeze(engine)
    await until(lambda: engine.worker_pid is None)
    await until(lambda: not is_running(pid))
    assert prefilled(await talk.say("Where do I live?")) <= 30


async def test_one_that_does_not_grow_stays(houses: Houses) -> None:
    engine = await houses.open()
    pids = set()
    for _ in range(20):
        await ask(engine, QUESTION)
        pids.add(engine.worker_pid)
    assert len(pids) == 1
