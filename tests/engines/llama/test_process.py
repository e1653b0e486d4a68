"""The worker as a process: what it shows of itself, what reaches it, and that it ends with its parent."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from palaver.engines.llama import LlamaEngine, worker
from palaver.engines.pocket import POCKET
from tests.engines.llama.conftest import MakeEngine
from tests.engines.llama.talk import PATIENCE, ask, is_running, kill, unix, until, window, worker_of

CRASH = Path(__file__).with_name("crash.py")
ROOT = Path(__file__).parents[3]
QUESTION = window("What is the capital of France?")


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
    assert folder.path.parent == temporary
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
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
async def test_a_killed_parent_leaves_no_worker(make_engine: MakeEngine, temporary: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, str(CRASH), str(POCKET)),
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
    (left,) = folders(temporary)  # nobody was there to remove it
    os.utime(left, (0, 0))
    await make_engine().start()
    assert left not in folders(temporary)


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
        pooling=0,
        saves=None,
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


def folders(temporary: Path) -> list[Path]:
    return list(temporary.iterdir())
