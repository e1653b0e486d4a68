"""The stateful door: a turn after 1,000 turns over one after 20, and what streams cost, on an engine that just answers.

    python -m bench.responses          # a minute
    python -m bench.responses --quick  # seconds: only to see it work

Every request says what is new, by `previous_response_id` or `conversation`. In one pair of conversations the model is
shown all that there is, 2,000 messages in the end; in the other what a window of so many tokens holds. What counts are
the ratios: long and short conversations take turns, in one run, and so do streams of responses and of chat completions.
What is added is the wall time of a whole request over that of one that is not stored.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from bench.overhead import Server, server
from bench.tables import table

SHORT = 20
WINDOW = {"window": {"size": 4096}}
QUESTION = "And what did the second one say to the third?"
STREAMED = "Say a lot."
CLOCK = 1e3


class Plan(msgspec.Struct, frozen=True):
    """How long the long conversation is, in turns; how often each is asked; how many streams, of so many tokens."""

    turns: int = 1000
    repeats: int = 100
    tokens: int = 2000
    streams: int = 10


QUICK = Plan(turns=60, repeats=5, tokens=50, streams=2)


class Door:
    """One palaver, asked by its API."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self._address = address

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        async with self._session.post(f"{self._address}/v1{path}", json=body) as response:
            answer: dict[str, Any] = await response.json()
            assert response.status == 200, answer
            return answer

    async def respond(self, **more: Any) -> str:
        body = {"model": "scripted", "input": QUESTION, **more}
        return str((await self.post("/responses", body))["id"])

    async def stream(self, path: str, body: dict[str, Any]) -> int:
        """Read a stream to its end; its bytes."""
        size = 0
        async with self._session.post(f"{self._address}/v1{path}", json={**body, "stream": True}) as response:
            assert response.status == 200, await response.text()
            async for chunk in response.content.iter_any():
                size += len(chunk)
        return size

    async def grown(self, turns: int, **more: Any) -> tuple[str, str]:
        """A conversation of so many turns: its last response and its id."""
        first = await self.post("/responses", {"model": "scripted", "input": QUESTION, **more})
        last, conversation = first["id"], first["conversation"]["id"]
        for _ in range(turns - 1):
            last = await self.respond(previous_response_id=last, **more)
        return last, conversation


async def _timed(ask: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await ask()
    return (time.perf_counter() - began) * CLOCK


async def turns(door: Door, plan: Plan) -> list[list[Any]]:
    """Milliseconds of a turn, in conversations of two lengths and in none, taking turns."""
    asks: dict[str, Callable[[], Awaitable[object]]] = {"not stored": partial(door.respond, store=False)}
    for shown, more in (("all shown", {}), ("window of 4,096", WINDOW)):
        for length in (SHORT, plan.turns):
            last, conversation = await door.grown(length, **more)
            below = partial(door.respond, previous_response_id=last, **more)
            asks[f"{shown}: previous_response_id, turn {length}"] = below
            asks[f"{shown}: conversation, turn {length}"] = partial(
                door.respond, conversation=conversation, **more
            )
    took: dict[str, list[float]] = {name: [] for name in asks}
    for _ in range(plan.repeats):
        for name, ask in asks.items():
            took[name].append(await _timed(ask))
    medians = {name: statistics.median(times) for name, times in took.items()}
    base, *rest = medians
    rows: list[list[Any]] = [[base, medians[base], "", ""]]
    for place, name in enumerate(rest):
        over = medians[name] / medians[rest[place - 2]] if place % 4 > 1 else ""
        rows.append([name, medians[name], medians[name] - medians[base], over])
    return rows


async def streams(door: Door, palaver: Server, plan: Plan) -> list[list[Any]]:
    """Microseconds of palaver's CPU a token: a stored stream of each door, taking turns."""
    bodies: dict[str, tuple[str, dict[str, Any]]] = {
        "chat completions": ("/chat/completions", {"messages": [{"role": "user", "content": STREAMED}]}),
        "responses": ("/responses", {"input": STREAMED}),
    }
    spent = dict.fromkeys(bodies, 0.0)
    sizes = dict.fromkeys(bodies, 0)
    for _ in range(plan.streams):
        for name, (path, body) in bodies.items():
            before = palaver.cpu()
            sizes[name] += await door.stream(path, {"model": "scripted", **body})
            spent[name] += palaver.cpu() - before
    tokens = plan.tokens * plan.streams
    base = spent["chat completions"]
    return [
        [name, cpu / tokens * 1e6, sizes[name] / tokens, cpu / base if base else ""]
        for name, cpu in spent.items()
    ]


async def measure(plan: Plan) -> str:
    with tempfile.TemporaryDirectory(prefix="palaver-bench-") as folder:
        script = Path(folder) / "script.jsonl"
        long = json.dumps({"when": STREAMED, "reply": "word " * plan.tokens, "delay": 0})
        script.write_text(long + "\n" + json.dumps({"reply": "It said so.", "delay": 0}) + "\n")
        with server(model=f"scripted:{script}") as palaver:
            async with aiohttp.ClientSession() as session:
                door = Door(session, palaver.told["address"])
                found = await turns(door, plan)
                streamed = await streams(door, palaver, plan)
    return "\n\n".join(
        [
            table("A turn, in ms (median)", ["", "ms", "added", "over the short one"], found),
            table("A stream", ["", "µs CPU/token", "bytes/token", "ratio"], streamed),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.responses",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="tiny numbers, only to see it work")
    print(asyncio.run(measure(QUICK if parser.parse_args().quick else Plan())))


if __name__ == "__main__":
    main()
