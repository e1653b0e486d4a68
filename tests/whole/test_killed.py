"""What is promised when something is killed or goes away in mid-reply."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bench.babble import make_babbler
from tests.whole.serving import server, turns

QUESTION = {"role": "user", "content": "What are some fun things to do in New York?"}
PATIENCE = 60.0
LONGEST = 1900
"""Tokens of a reply that is to be running still when something is done to it."""


@pytest.fixture
def babbler(tmp_path: Path) -> str:
    return str(make_babbler(tmp_path))


def worker_of(server_pid: int) -> int:
    """The process id of the server's only child."""
    children = Path(f"/proc/{server_pid}/task/{server_pid}/children").read_text().split()
    assert len(children) == 1, children
    return int(children[0])


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


async def wait_for_end(folder: Path, count: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = turns(folder)
        if len(found) == count and all(t["ended_at"] for t in found):
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(turns(folder))


async def begin(
    session: aiohttp.ClientSession, address: str, tokens: int = LONGEST
) -> tuple[aiohttp.ClientResponse, str]:
    """Start a long streamed reply and read a few pieces of it."""
    body = {"model": "babble", "messages": [QUESTION], "stream": True, "max_tokens": tokens, "temperature": 0}
    response = await session.post(address + "/v1/chat/completions", json=body)
    assert response.status == 200, await response.text()
    return response, await read(response, 5)


async def read(response: aiohttp.ClientResponse, pieces: int) -> str:
    text = ""
    while pieces > 0:
        line = await response.content.readline()
        if not line:
            break
        if line.startswith(b"data: {"):
            chunk = json.loads(line[6:])
            if "error" in chunk:
                break
            text += chunk["choices"][0]["delta"].get("content") or ""
            pieces -= 1
    return text


async def test_a_closed_socket_does_not_end_the_reply(tmp_path: Path, babbler: str) -> None:
    with server(tmp_path, babbler) as (_, address):
        async with aiohttp.ClientSession() as session:
            response, _ = await begin(session, address, tokens=400)
            response.close()
        (turn,) = await wait_for_end(tmp_path, 1)
    assert turn["state"] == "completed"
    assert turn["finish_reason"] == "length"
    assert turn["completion_tokens"] == 400


async def test_after_its_grace_a_reply_nobody_reads_makes_room(tmp_path: Path, babbler: str) -> None:
    with server(tmp_path, babbler, "--slots", "1", "--grace", "0.01") as (process, address):
        async with aiohttp.ClientSession() as session:
            response, heard = await begin(session, address)
            worker = worker_of(process.pid)
            os.kill(worker, signal.SIGSTOP)  # so that the first reply cannot end by itself
            body = {"model": "babble", "messages": [QUESTION], "max_tokens": 5}
            other = asyncio.create_task(session.post(address + "/v1/chat/completions", json=body))
            while len(turns(tmp_path)) < 2:
                await asyncio.sleep(0.02)
            response.close()
            while not turns(tmp_path)[0]["ended_at"]:
                await asyncio.sleep(0.02)
            os.kill(worker, signal.SIGCONT)
            async with await other as answer:
                assert answer.status == 200, await answer.text()
                await answer.read()
        first, second = await wait_for_end(tmp_path, 2)
    assert first["state"] == "incomplete"
    assert json.loads(first["body"])["content"].startswith(heard)
    assert second["state"] == "completed"


async def test_a_killed_worker_costs_one_reply(tmp_path: Path, babbler: str) -> None:
    with server(tmp_path, babbler) as (process, address):
        async with aiohttp.ClientSession() as session:
            response, heard = await begin(session, address)
            os.kill(worker_of(process.pid), signal.SIGKILL)
            rest = (await response.content.read()).decode()
            assert '"error"' in rest, rest[-500:]
            assert "[DONE]" not in rest
            (turn,) = await wait_for_end(tmp_path, 1)
            assert turn["state"] == "incomplete"
            assert json.loads(turn["body"])["content"].startswith(heard)
            for model in ("pocket", "babble"):
                body = {"model": model, "messages": [QUESTION], "max_tokens": 9}
                async with session.post(address + "/v1/chat/completions", json=body) as again:
                    assert again.status == 200, await again.text()
                    assert (await again.json())["usage"]["completion_tokens"] == 9


async def test_a_killed_server_keeps_the_question_and_the_text(tmp_path: Path, babbler: str) -> None:
    with server(tmp_path, babbler) as (process, address):
        async with aiohttp.ClientSession() as session:
            response, heard = await begin(session, address)
            worker = worker_of(process.pid)
            # Freeze the model, and wait for more batches than it takes: what was heard must have been kept.
            os.kill(worker, signal.SIGSTOP)
            await asyncio.sleep(1.0)
            process.kill()
            process.wait(10)
            response.close()
    deadline = time.monotonic() + PATIENCE
    while alive(worker) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    assert not alive(worker)
    (turn,) = turns(tmp_path)
    assert turn["state"] == "running"

    with server(tmp_path, babbler) as (_, address):
        (turn,) = await wait_for_end(tmp_path, 1)
        assert turn["state"] == "incomplete"
        kept = json.loads(turn["body"])["content"]
        assert kept.startswith(heard)
        async with aiohttp.ClientSession() as session:
            answer = await session.get(address + "/v1/conversations?include_tasks=true")
            (conversation,) = (await answer.json())["data"]
            answer = await session.get(f"{address}/v1/conversations/{conversation['id']}/messages?order=asc")
            items = (await answer.json())["data"]
    assert [item["content"][0]["text"] for item in items] == [QUESTION["content"], kept]
