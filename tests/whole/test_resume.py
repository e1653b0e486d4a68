"""Streams of responses that are cut anywhere, and go on: nothing is heard twice, nothing is missing, and nothing was
heard that is not stored; also where the server is killed."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from palaver.core import ids
from palaver.stores.sqlite_upkeep import check
from tests.sdks.waiting import until
from tests.whole.hearing import Reader, said
from tests.whole.serving import server, turns

CUTS = 200
READERS = 12
LONGEST = 6000
"""Bytes that are heard before a cut; a stream has about 30,000."""
WORDS = " ".join(f"{number} für 漢字 and\n\n🦉" for number in range(25))
SCRIPT: list[dict[str, Any]] = [
    {"when": "think", "reasoning": WORDS, "reply": "Thought: " + WORDS},
    {
        "when": "call",
        "reply": "I look. " + WORDS,
        "tool_calls": [
            {"name": "look", "arguments": {"at": WORDS}},
            {"name": "look", "arguments": {}},
            {"name": "look", "arguments": '{"broken": ' + WORDS},
        ],
    },
    {"when": "break", "reply": WORDS, "fail": "break after 90 tokens"},
    {"reply": WORDS},
]
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}}
KILLED = "The process that worked on this turn ended."
QUESTIONS: list[dict[str, Any]] = [
    {"input": "Tell me"},
    {"input": "Please think"},
    {"input": "Please call", "tools": [TOOL]},
    {"input": "Please break"},
    {"input": "Tell me later", "background": True},
    {"input": "Tell me here", "conversation": "room"},
]


def options(folder: Path, delay: float) -> tuple[str, ...]:
    """A scripted model that takes so many seconds a token."""
    script = folder / "script.jsonl"
    script.write_text("\n".join(json.dumps({"delay": delay, **line}) for line in SCRIPT))
    return f"scripted:{script}", "--log-level", "error"


def question(number: int) -> dict[str, Any]:
    return {"model": "scripted", **QUESTIONS[number % len(QUESTIONS)]}


def stored(folder: Path, turn: str) -> list[str]:
    """What the store has of a reply: its text, its thinking and the arguments of its calls, if there are any."""
    (row,) = (row for row in turns(folder) if row["id"] == ids.turn_id(turn))
    body = json.loads(row["body"] or "{}")
    calls = [call["function"]["arguments"] for call in body.get("tool_calls", [])]
    return sorted(text for text in (body.get("content"), body.get("reasoning"), *calls) if text)


async def compare(session: aiohttp.ClientSession, url: str, folder: Path, reader: Reader) -> dict[str, Any]:
    """What was heard is what is stored, and what is told of it now; the response."""
    again = Reader(reader.turn)
    await again.go_on(session, url, 10**9)
    heard = [event["type"] for event in reader.events]
    assert heard == [event["type"] for event in again.events]
    assert reader.items == again.items
    async with session.get(f"{url}/{reader.turn}") as response:
        body: dict[str, Any] = await response.json()
    assert reader.last["response"] == again.last["response"] == body
    told = {id: text for id, text in said(body["output"]).items() if text}
    assert {id: text for id, text in reader.items.items() if text} == told
    assert sorted(told.values()) == stored(folder, reader.turn)
    return body


async def hear_in_pieces(
    session: aiohttp.ClientSession, url: str, body: dict[str, Any], chance: random.Random
) -> Reader:
    reader = Reader()
    await reader.ask(session, url, body, chance.randrange(1, LONGEST))
    while not reader.has_ended:
        await reader.go_on(session, url, chance.randrange(1, LONGEST))
    return reader


async def test_a_stream_that_is_cut_anywhere_goes_on(tmp_path: Path) -> None:
    chance = random.Random(7)
    with server(tmp_path, *options(tmp_path, 0.004)) as (_, address):
        url = address + "/v1/responses"
        async with aiohttp.ClientSession() as session:
            readers = await asyncio.gather(
                *(hear_in_pieces(session, url, question(i), chance) for i in range(READERS))
            )
            cuts = sum(reader.cuts for reader in readers)
            assert cuts > CUTS // 4  # each of them in the midst of a reply
            statuses = Counter(
                [(await compare(session, url, tmp_path, reader))["status"] for reader in readers]
            )
            assert statuses == {"completed": READERS - READERS // 6, "failed": READERS // 6}
            while cuts < CUTS:
                cuts += await hear_again(session, url, chance.choice(readers), chance)


async def hear_again(session: aiohttp.ClientSession, url: str, reader: Reader, chance: random.Random) -> int:
    """Hear in pieces, from anywhere on, what has ended; the number of cuts."""
    after = chance.randrange(len(reader.events) - 1)
    again = Reader(reader.turn)
    await again.go_on(session, url, chance.randrange(1, LONGEST), after)
    while not again.has_ended:
        await again.go_on(session, url, chance.randrange(1, LONGEST), after)
    assert [event["sequence_number"] for event in again.events] == list(range(after + 1, len(reader.events)))
    assert again.events == reader.events[after + 1 :]
    return again.cuts


async def hear_until_it_dies(
    session: aiohttp.ClientSession, url: str, number: int, reader: Reader, chance: random.Random
) -> None:
    """Hear a response, or one of the other door, as long as there is a server."""
    try:
        if number % 4 == 3:
            body = {"model": "scripted", "messages": [{"role": "user", "content": "Tell me"}], "stream": True}
            async with session.post(url.replace("responses", "chat/completions"), json=body) as response:
                reader.turn = response.headers["palaver-turn"]
        else:
            await reader.ask(session, url, question(number), chance.randrange(1, 2 * LONGEST))
        while not reader.has_ended:
            await reader.go_on(session, url, chance.randrange(1, 2 * LONGEST))
    except (aiohttp.ClientError, OSError):
        pass  # all that had come was heard


async def hear_the_rest(
    session: aiohttp.ClientSession, url: str, folder: Path, reader: Reader, chance: random.Random
) -> str:
    """Go on after a kill; what became of the reply."""
    was_heard = bool(reader.items)
    while not reader.has_ended:
        await reader.go_on(session, url, chance.randrange(1, LONGEST))
    body = await compare(session, url, folder, reader)
    if (body["error"] or {}).get("message") != KILLED:
        return str(body["status"])
    assert (reader.last["type"], body["status"]) == ("response.failed", "failed")
    return "killed in mid-reply" if was_heard else "killed before"


async def hear_and_kill(
    session: aiohttp.ClientSession, url: str, process: subprocess.Popen[str], chance: random.Random
) -> list[Reader]:
    """Kill the server while many hear it; what they heard of replies that they know the turn of."""
    readers = [Reader() for _ in range(READERS)]
    hearing = asyncio.gather(
        *(hear_until_it_dies(session, url, i, reader, chance) for i, reader in enumerate(readers))
    )
    await until(lambda: any(reader.items for reader in readers), "a reply to begin")
    await asyncio.sleep(chance.uniform(0, 0.4))
    process.kill()
    await hearing
    return [reader for reader in readers if reader.turn]


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.slow)])
async def test_a_stream_goes_on_after_the_server_was_killed(tmp_path: Path, kills: int) -> None:
    chance = random.Random(kills)
    readers: list[Reader] = []
    ends: Counter[str] = Counter()
    for kill in range(kills + 1):
        with server(tmp_path, *options(tmp_path, 0.004)) as (process, address):
            url = address + "/v1/responses"
            async with aiohttp.ClientSession() as session:
                for reader in readers:
                    ends[await hear_the_rest(session, url, tmp_path, reader, chance)] += 1
                if kill < kills:
                    readers = await hear_and_kill(session, url, process, chance)
    print(f"\nresumed: {dict(ends)}")
    assert ends["killed in mid-reply"] > kills
    report = check(tmp_path / "data" / "palaver.db")
    assert (report.problems, report.findings) == (0, [])
