"""What palaver adds: streams through it over the same worker driven directly, and the cost of long histories.

    python -m bench.overhead                  # pocket's weights, and histories on the scripted engine
    python -m bench.overhead --model FILE     # the streams with another GGUF (see bench.models)

Streams are measured in turns, palaver and the bare worker alternating, in one run on one machine; what counts is
the ratio. A history's cost is the wall time of a whole request on an engine that answers one word at once, stored
and not stored, beside a commit of SQLite with the same durability.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp

from bench.babble import make_babbler

STREAMS = (1, 4, 16)
ROUNDS = 5
HISTORIES = (2, 200, 1000, 2000)
REPEATS = 30
WORDS = "It was the best of times for a test of times, it was the worst of prompts, it was an age of tokens. "


class Server:
    """A palaver in a process of its own; `told` is what `bench.host` says of it."""

    def __init__(self, process: subprocess.Popen[str], told: dict[str, Any]) -> None:
        self.process = process
        self.told = told

    def cpu(self) -> float:
        """Seconds of CPU that palaver's own process has used, without its worker."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def server(**flags: Any) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        flags |= {"data_dir": folder, "port": 0, "log_level": "error"}
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.host", json.dumps(flags)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Server(process, json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()
            process.wait(30)


class Stream:
    """What one stream was like: when it began, and when each piece came."""

    def __init__(self) -> None:
        self.begun = time.perf_counter()
        self.pieces: list[float] = []

    @property
    def ttft(self) -> float:
        return self.pieces[0] - self.begun


async def stream(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> Stream:
    seen = Stream()
    async with session.post(url, json=body) as response:
        assert response.status == 200, await response.text()
        async for line in response.content:
            if line.startswith(b"data: {"):
                choices = json.loads(line[6:])["choices"]
                if choices and choices[0]["delta"].get("content"):
                    seen.pieces.append(time.perf_counter())
    return seen


def body_of(model: str, number: int, tokens: int) -> dict[str, Any]:
    return {
        "model": model,
        "messages": [{"role": "user", "content": f"Stream {number}. {WORDS}"}],
        "max_tokens": tokens,
        "temperature": 1.5,
        "seed": number,
        "stream": True,
    }


async def streams(
    target: aiohttp.ClientSession, url: str, bodies: list[dict[str, Any]]
) -> tuple[float, float]:
    """Pieces a second over all streams, and the mean time to the first of each, in seconds."""
    begun = time.perf_counter()
    seen = await asyncio.gather(*(stream(target, url, body) for body in bodies))
    wall = time.perf_counter() - begun
    return sum(len(s.pieces) for s in seen) / wall, statistics.mean(s.ttft for s in seen)


@contextlib.asynccontextmanager
async def sessions(
    told: dict[str, Any],
) -> AsyncIterator[tuple[aiohttp.ClientSession, aiohttp.ClientSession]]:
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as through,
        aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(path=told["socket"], limit=0), headers=told["headers"]
        ) as direct,
    ):
        yield through, direct


async def compare_streams(model: str, name: str, threads: int, tokens: int, rounds: int) -> None:
    print(f"\nThrough palaver over the same worker driven directly: {name}, {tokens} tokens a stream")
    print(
        "streams   tokens/s palaver   directly   ratio    TTFT ms palaver   directly   ratio   CPU µs a token"
    )
    with server(model=model, slots=max(STREAMS), context=1024, threads=threads) as run:
        async with sessions(run.told) as (through, direct):
            for count in STREAMS:
                await compare_once(run, through, direct, name, count, tokens, rounds)


async def compare_once(
    run: Server,
    through: aiohttp.ClientSession,
    direct: aiohttp.ClientSession,
    name: str,
    count: int,
    tokens: int,
    rounds: int,
) -> None:
    url = run.told["address"] + "/v1/chat/completions"
    got: dict[str, list[tuple[float, float]]] = {"palaver": [], "direct": []}
    cpu = pieces = 0.0
    for lap in range(rounds + 1):
        bodies = [body_of(name, 1000 * lap + i, tokens) for i in range(count)]
        bare = [{**body, "id_slot": i, "cache_prompt": False} for i, body in enumerate(bodies)]
        before, begun = run.cpu(), time.perf_counter()
        mine = await streams(through, url, bodies)
        wall, used = time.perf_counter() - begun, run.cpu() - before
        theirs = await streams(direct, "http://worker/v1/chat/completions", bare)
        if lap:  # the first lap warms up
            got["palaver"].append(mine)
            got["direct"].append(theirs)
            cpu, pieces = cpu + used, pieces + mine[0] * wall
    speed, ttft = (statistics.median(m[i] / d[i] for m, d in zip(*got.values(), strict=True)) for i in (0, 1))
    rate = {who: statistics.median(r for r, _ in runs) for who, runs in got.items()}
    first = {who: statistics.median(t for _, t in runs) * 1000 for who, runs in got.items()}
    print(
        f"{count:7d} {rate['palaver']:18.0f} {rate['direct']:10.0f} {speed:7.3f} {first['palaver']:18.1f} "
        f"{first['direct']:10.1f} {ttft:7.3f} {cpu / pieces * 1e6:16.0f}"
    )


def history(length: int, reply: str, lap: int) -> list[dict[str, str]]:
    """A history of `length` messages that ends in a question, after a reply that palaver has given."""
    messages = [{"role": "system", "content": "You are a test."}]
    for i in range(length - 2):
        messages.append({"role": ("user", "assistant")[i % 2], "content": f"{i}: {WORDS}"})
    messages.append({"role": "assistant", "content": reply})
    return [*messages, {"role": "user", "content": f"And {lap}?"}]


async def measure_histories(script: Path) -> None:
    print("\nA request that resends its history: milliseconds from sending it to its last byte, median")
    print("messages   body kB   stored   not stored   a bare commit")
    with server(model=f"scripted:{script}", slots=1) as run:
        async with aiohttp.ClientSession() as session:
            url = run.told["address"] + "/v1/chat/completions"
            for length in HISTORIES:
                stored = await measure_history(session, url, length, None)
                bare = await measure_history(session, url, length, False)
                size = len(json.dumps(history(length, "Yes.", 0))) / 1000
                print(f"{length:8d} {size:9.1f} {stored:8.2f} {bare:12.2f} {commit_time():15.2f}")


async def measure_history(session: aiohttp.ClientSession, url: str, length: int, store: bool | None) -> float:
    """The median wall time, in milliseconds, of requests that each go on from the one before."""
    taken = []
    messages = history(length, "Yes.", 0)[:-1]
    for lap in range(REPEATS + 3):
        messages = [*messages, {"role": "user", "content": f"And {lap}?"}]
        body: dict[str, Any] = {"model": "scripted", "messages": messages}
        data = json.dumps(body if store is None else body | {"store": store}).encode()
        begun = time.perf_counter()
        async with session.post(url, data=data, headers={"content-type": "application/json"}) as response:
            answer = await response.read()
        taken.append(time.perf_counter() - begun)
        assert response.status == 200, answer
        messages.append(
            {"role": "assistant", "content": json.loads(answer)["choices"][0]["message"]["content"]}
        )
    return statistics.median(taken[3:]) * 1000


def commit_time() -> float:
    """A transaction of one row with the store's durability, in milliseconds, median."""
    taken = []
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(sqlite3.connect(f"{folder}/x.db")) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE t (x TEXT)")
        for _ in range(50):
            begun = time.perf_counter()
            with db:
                db.execute("INSERT INTO t VALUES (?)", (WORDS,))
            taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1000


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a GGUF file; by default pocket, made to talk without end")
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or make_babbler(Path(folder))
        threads = 0 if options.model else 1  # more than one only wait for each other in so small a model
        await compare_streams(str(model), model.stem, threads, options.tokens, options.rounds)
        script = Path(folder) / "script.jsonl"
        script.write_text(json.dumps({"reply": "Yes."}) + "\n")
        await measure_histories(script)


if __name__ == "__main__":
    asyncio.run(main())
