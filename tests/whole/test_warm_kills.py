"""Server and worker are killed again and again while they save what they computed: nothing broken is ever used."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from palaver.engines.llama.kv.snapshot_file import SUFFIX, UNFINISHED, Refused, extract
from tests.engines.llama.talk import unix
from tests.whole.serving import server

KILLS = 40
CONVERSATIONS = 6
COMPARED = 60
"""So many replies are compared with those of a server that keeps nothing."""
SYSTEM = "You are a guide who knows the city well and answers in one sentence. " * 6
WARM = ("--slots", "1", "--context", "1024", "--log-level", "error")
"""With one slot every other conversation is saved before the next one is answered."""
COLD = (*WARM, "--kv-memory", "0", "--kv-disk", "0")


class Client:
    """An app that resends a conversation, a little of it at a time so that it stays short."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.history: list[dict[str, str]] = [{"role": "system", "content": SYSTEM}]
        self.heard: list[tuple[list[dict[str, str]], str]] = []

    def body(self, question: str) -> dict[str, Any]:
        asked = [*self.history, {"role": "user", "content": question}]
        return {"model": "pocket", "messages": asked, "conversation": self.name, "max_tokens": 24}

    async def ask(self, session: aiohttp.ClientSession, address: str, number: int) -> None:
        body = self.body(f"On day {number} I saw a cat in Oslo. What is the capital of France?")
        async with session.post(address + "/v1/chat/completions", json=body) as response:
            if response.status != 200:  # its worker was killed: it is asked again
                return
            reply = (await response.json())["choices"][0]["message"]["content"]
        self.heard.append((body["messages"], reply))
        self.history = [*body["messages"], {"role": "assistant", "content": reply}]
        if len(self.history) > 15:
            self.history = self.history[:1]


async def talk(clients: list[Client], address: str) -> None:
    """Ask one after the other until the server is gone."""
    number = 0
    async with aiohttp.ClientSession() as session:
        while True:
            number += 1
            for client in clients:
                try:
                    await client.ask(session, address, number)
                except (aiohttp.ClientError, OSError):
                    return


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in found]


def check_files(folder: Path, counts: Counter[str]) -> None:
    """Every file under its final name is whole."""
    state = folder / "state"
    for file in (folder / "data").rglob("*" + SUFFIX):
        try:
            extract(file, state)
        except Refused as error:
            raise AssertionError(f"{file.name} is {error.why}") from error
        state.unlink()
        counts["whole"] += 1
    counts["unfinished"] += len(list((folder / "data").rglob("*" + UNFINISHED)))


@unix
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc to find the worker")
async def test_kills_while_snapshots_are_written(tmp_path: Path) -> None:
    chance, counts = random.Random(6), Counter[str]()
    clients = [Client(f"c{number}") for number in range(CONVERSATIONS)]
    for kill in range(KILLS):
        with server(tmp_path, "pocket", *WARM) as (process, address):
            talking = asyncio.create_task(talk(clients, address))
            await asyncio.sleep(chance.uniform(0.5, 2.5))
            if kill % 2:
                for worker in children(process.pid):
                    os.kill(worker, signal.SIGKILL)
                await asyncio.sleep(0.5)  # another one takes its place
            async with aiohttp.ClientSession() as session, session.get(address + "/v1/cache") as response:
                for name, count in (await response.json())["data"][0]["counts"].items():
                    counts[name] += count
            process.kill()
            await talking
        check_files(tmp_path, counts)
    print(dict(counts))
    assert counts["restored"] > KILLS
    assert counts["saved"] > KILLS
    # What a worker was restoring when it was killed may be what it died of.
    assert {name for name in counts if name.startswith("refused")} <= {"refused_worker"}
    assert counts["refused_worker"] <= KILLS // 2
    heard = [each for client in clients for each in client.heard]
    with server(_fresh(tmp_path), "pocket", *COLD) as (_, address):
        async with aiohttp.ClientSession() as session:
            for messages, reply in chance.sample(heard, COMPARED):
                body = {"model": "pocket", "messages": messages, "max_tokens": 24, "store": False}
                async with session.post(address + "/v1/chat/completions", json=body) as response:
                    cold = (await response.json())["choices"][0]["message"]["content"]
                assert cold == reply


def _fresh(folder: Path) -> Path:
    fresh = folder / "fresh"
    fresh.mkdir()
    return fresh
