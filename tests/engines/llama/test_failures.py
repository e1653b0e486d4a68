"""What happens when something breaks: the worker, its start, its parent."""

import asyncio
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from palaver.core.errors import ConfigError, EngineBroke, EngineTimeout, EngineUnavailable
from palaver.core.turn import Accepted, ContentDelta, EngineEvent
from palaver.engines.llama import LlamaEngine, supervisor, worker
from palaver.engines.llama.process import Worker
from palaver.engines.pocket import POCKET
from tests.engines.llama.conftest import MakeEngine
from tests.engines.llama.gguf_file import gguf
from tests.engines.llama.talk import (
    ENDLESS,
    PATIENCE,
    UNLIMITED,
    ask,
    is_running,
    options,
    until,
    window,
    worker_of,
)

CRASH = Path(__file__).with_name("crash.py")
ROOT = Path(__file__).parents[3]
QUESTION = window("What is the capital of France?")
unix = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")


def endless(engine: LlamaEngine, conversation: str = "c") -> AsyncGenerator[EngineEvent, None]:
    return engine.generate(window(*ENDLESS, conversation=conversation), options(UNLIMITED))


async def read(events: AsyncGenerator[EngineEvent, None], deltas: int) -> None:
    async for event in events:
        deltas -= isinstance(event, ContentDelta)
        if not deltas:
            return


async def drain(events: AsyncGenerator[EngineEvent, None]) -> None:
    async for _ in events:
        pass


def kill(engine: LlamaEngine, number: signal.Signals = signal.SIGKILL) -> int:
    pid = worker_of(engine).pid
    os.kill(pid, number)
    return pid


@unix
async def test_a_worker_killed_in_mid_reply(engine: LlamaEngine) -> None:
    replies = [endless(engine, "a"), endless(engine, "b")]
    for reply in replies:
        await read(reply, 3)
    dead = kill(engine)
    for reply in replies:
        with pytest.raises(EngineBroke, match="SIGKILL"):
            await drain(reply)
    assert (await ask(engine, QUESTION)).text.endswith("Paris.")
    assert engine.worker_pid not in (None, dead)


@unix
async def test_a_worker_killed_before_the_first_word(engine: LlamaEngine) -> None:
    await engine.start()
    kill(engine, signal.SIGSTOP)  # so that it cannot answer
    reply = asyncio.create_task(ask(engine, QUESTION))
    count = asyncio.create_task(engine.count(QUESTION, "pocket"))
    await asyncio.sleep(0.05)
    kill(engine)
    for task in (reply, count):
        with pytest.raises(EngineUnavailable, match="SIGKILL"):
            await task
    assert (await ask(engine, QUESTION)).text.endswith("Paris.")


@unix
async def test_a_worker_killed_during_the_prompt(make_engine: MakeEngine) -> None:
    engine = make_engine(batch=32)
    reply = engine.generate(window("hi " * 2000), options())
    assert isinstance(await anext(reply), Accepted)
    kill(engine)
    with pytest.raises(EngineUnavailable, match="SIGKILL"):
        await drain(reply)
    assert (await ask(engine, QUESTION)).text.endswith("Paris.")


@unix
async def test_a_worker_that_dies_while_nobody_asks(engine: LlamaEngine) -> None:
    assert (await ask(engine, QUESTION)).usage.cached_tokens == 0
    kill(engine)
    await until(lambda: engine.worker_pid is None)
    again = await ask(engine, QUESTION)
    assert again.text.endswith("Paris.")
    assert again.usage.cached_tokens == 0


@unix
async def test_a_worker_that_hangs_is_given_up(make_engine: MakeEngine) -> None:
    engine = make_engine(stall_timeout=1.5)
    first, second = endless(engine, "a"), endless(engine, "b")
    await read(first, 3)
    await read(second, 3)
    hung = kill(engine, signal.SIGSTOP)
    results = await asyncio.gather(drain(first), drain(second), return_exceptions=True)
    assert any(isinstance(result, EngineTimeout) for result in results)
    assert all(isinstance(result, EngineTimeout | EngineBroke) for result in results)
    assert all("1.5 seconds" in str(result) for result in results)
    assert (await ask(engine, QUESTION)).text.endswith("Paris.")
    await until(lambda: not is_running(hung))


@unix
async def test_a_reply_left_on_a_worker_that_hangs_does_not_keep_its_place(make_engine: MakeEngine) -> None:
    engine = make_engine(slots=1, stall_timeout=1.5)
    reply = endless(engine)
    await read(reply, 3)
    kill(engine, signal.SIGSTOP)
    await reply.aclose()
    assert (await ask(engine, QUESTION)).text.endswith("Paris.")


@unix
async def test_a_reply_left_before_the_worker_has_it_keeps_its_place(make_engine: MakeEngine) -> None:
    engine = make_engine(slots=1)
    await engine.start()
    kill(engine, signal.SIGSTOP)
    left = asyncio.create_task(ask(engine, window("What is the capital of Peru?", owner="bob")))
    await asyncio.sleep(0.05)
    left.cancel()
    await asyncio.wait([left])
    # The worker will still find that request in its socket. Until it has, nobody else may have the slot: they
    # would meet there, and what is reused afterwards would be the other's.
    next_ = asyncio.create_task(ask(engine, QUESTION))
    await asyncio.sleep(0.05)
    assert engine.waiting == 1
    kill(engine, signal.SIGCONT)
    assert (await next_).usage.cached_tokens == 0
    follow_up = window("What is the capital of France?", (await next_).text, "And of Peru?")
    assert ((await ask(engine, follow_up)).usage.cached_tokens or 0) > 16


async def test_many_who_ask_at_once_share_one_start(
    engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = counted_starts(monkeypatch)
    counts = await asyncio.gather(*(engine.count(QUESTION, "pocket") for _ in range(5)))
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


async def test_closing_ends_the_worker_and_the_replies(engine: LlamaEngine) -> None:
    running = endless(engine, "a")
    await read(running, 3)
    left = endless(engine, "b")
    await read(left, 3)
    await left.aclose()
    pid = engine.worker_pid
    assert pid is not None
    waiting = [asyncio.create_task(ask(engine, QUESTION)) for _ in range(3)]
    await until(lambda: engine.waiting)
    await engine.close()
    assert not is_running(pid)
    with pytest.raises(EngineBroke):
        await drain(running)
    for task in waiting:
        with pytest.raises(EngineUnavailable):
            await task
    with pytest.raises(EngineUnavailable):
        await engine.start()


async def test_without_room_for_a_socket_it_listens_on_the_loopback_with_a_key(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    engine = make_engine()
    assert (await ask(engine, QUESTION)).text.endswith("Paris.")
    running = worker_of(engine)
    assert running.base.startswith("http://127.0.0.1:")
    async with running.session.get(
        running.base + "/slots", headers={"Authorization": "Bearer x"}
    ) as response:
        assert response.status == 401
    await engine.close()
    assert list(deep.iterdir()) == []


@unix
async def test_the_socket_is_private_and_asks_for_a_key(engine: LlamaEngine, temporary: Path) -> None:
    await engine.start()
    folder = worker_of(engine)._folder
    assert folder is not None
    assert folder.parent == temporary
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    running = worker_of(engine)
    async with running.session.get(
        running.base + "/slots", headers={"Authorization": "Bearer x"}
    ) as response:
        assert response.status == 401


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
async def test_secrets_are_neither_on_the_command_line_nor_in_the_environment(
    engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXAMPLE_API_KEY", "open-sesame")
    monkeypatch.setenv("GOMP_SPINCOUNT", "77")
    await engine.start()
    running = worker_of(engine)
    key = running.session.headers["Authorization"].removeprefix("Bearer ")
    process = Path(f"/proc/{running.pid}")
    said = (process / "cmdline").read_text() + (process / "environ").read_text()
    assert "open-sesame" not in said
    assert key not in said
    assert str(POCKET) not in said
    assert "GGML_NO_BACKTRACE=1" in said
    assert "GOMP_SPINCOUNT=77" in said  # an operator's own value stands


@unix
async def test_ctrl_c_in_the_terminal_does_not_reach_the_worker(engine: LlamaEngine) -> None:
    await engine.start()
    pid = kill(engine, signal.SIGINT)
    assert (await ask(engine, QUESTION)).text.endswith("Paris.")
    assert engine.worker_pid == pid
    assert os.getpgid(pid) != os.getpgid(0)


@unix
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_a_killed_parent_leaves_no_worker(temporary: Path, loop: str) -> None:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, str(CRASH), str(POCKET), loop),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)},
    )
    assert parent.stdout is not None
    try:
        pid = int(await asyncio.wait_for(parent.stdout.readline(), PATIENCE))
        assert is_running(pid)
    finally:
        parent.kill()
        await parent.wait()
    await until(lambda: not is_running(pid))
    empty(temporary)  # nobody was left to do it


def test_the_end_of_stdin_ends_the_worker() -> None:
    start = worker.Start(
        parent=os.getpid(),
        model=str(POCKET),
        name="pocket",
        socket=None,
        api_key="k",
        slots=1,
        context=256,
        threads=1,
        batch=32,
    )
    with subprocess.Popen(
        [sys.executable, "-P", worker.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(start).encode() + b"\n")
        process.stdin.flush()
        ready = json.loads(process.stdout.readline())
        assert ready["ready"]
        assert ready["address"].startswith("http://127.0.0.1:")
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path)


def counted_starts(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    starts: list[None] = []
    start: Callable[..., object] = Worker.start

    def count(*args: object) -> object:
        starts.append(None)
        return start(*args)

    monkeypatch.setattr(Worker, "start", count)
    return starts
