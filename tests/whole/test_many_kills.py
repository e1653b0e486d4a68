"""The server is killed again and again under load, and nothing that a client was told is lost or said twice."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pytest

from palaver.stores.sqlite_upkeep import check
from tests.whole.serving import rows, server

KILLS = 20
"""Of one store: so often, its server is killed."""
CHECKED = 10
"""After every so many kills the store is checked as a whole."""
Kind = Literal["resends", "streams", "says at the head"]
CLIENTS: tuple[Kind, ...] = ("resends",) * 3 + ("streams",) * 2 + ("says at the head",) * 3
SCRIPT = [{"when": "slowly", "reply": None, "delay": 0.02}, {"reply": None, "delay": 0.002}]


@dataclass
class Client:
    """An app that goes on asking. What was not answered when the server died it sends again, with a count."""

    name: str
    kind: Kind
    history: list[dict[str, str]] = field(default_factory=list)
    asked: int = 0
    pending: bytes | None = None
    sent: int = 0
    heard: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By question, the turn and the reply that this client was given whole."""
    retries: int = 0

    @property
    def question(self) -> str:
        how = " slowly" if self.kind == "streams" else ""
        return f"{self.name} asks {self.asked}{how}"

    async def talk(self, address: str, *, last: bool = False) -> None:
        """Ask until the server is gone or, the `last` time, until nothing is open any more."""
        async with aiohttp.ClientSession() as session:
            while not last or self.pending is not None:
                try:
                    turn, reply = await self._ask(session, address + "/v1/chat/completions")
                except (aiohttp.ClientError, OSError):
                    return
                self.heard[self.question] = (turn, reply)
                self.history.append({"role": "assistant", "content": reply})
                self.pending = None

    async def _ask(self, session: aiohttp.ClientSession, url: str) -> tuple[str, str]:
        """Send what is open, or the next question; the turn and its whole reply."""
        if self.pending is None:
            self.asked += 1
            self.sent = 0
            self.history.append({"role": "user", "content": self.question})
            self.pending = json.dumps(self._body()).encode()
        headers = {"content-type": "application/json", "x-stainless-retry-count": str(self.sent)}
        self.retries += self.sent > 0
        self.sent += 1
        async with session.post(url, data=self.pending, headers=headers) as response:
            assert response.status == 200, await response.text()
            read = _streamed if self.kind == "streams" else _whole
            return response.headers["palaver-turn"].replace("chatcmpl-", "turn_"), await read(response)

    def _body(self) -> dict[str, Any]:
        if self.kind == "says at the head":
            place = {"conversation": "room", "parent": "head"}
            return {"model": "scripted", "messages": self.history[-1:], **place}
        stream = self.kind == "streams"
        return {"model": "scripted", "messages": self.history, "user": self.name, "stream": stream}


async def _whole(response: aiohttp.ClientResponse) -> str:
    text: str = (await response.json())["choices"][0]["message"]["content"]
    return text


async def _streamed(response: aiohttp.ClientResponse) -> str:
    """The text of a stream. Raises ClientPayloadError for one that breaks off."""
    text = ""
    async for line in response.content:
        if line == b"data: [DONE]\n":
            return text
        if line.startswith(b"data: "):
            text += json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
    raise aiohttp.ClientPayloadError("The stream broke off.")


def written_script(folder: Path) -> Path:
    folder.mkdir()
    script = folder / "script.jsonl"
    script.write_text("\n".join(json.dumps(line) for line in SCRIPT))
    return script


async def one_store(folder: Path, chance: random.Random) -> Counter[str]:
    """Kill the server of one store `KILLS` times; what its clients have counted."""
    options = (f"scripted:{written_script(folder)}", "--log-level", "error")
    clients = [Client(f"client-{i}", kind) for i, kind in enumerate(CLIENTS)]
    counts: Counter[str] = Counter(kills=KILLS)
    for kill in range(KILLS):
        with server(folder, *options) as (process, address):
            assert not rows(folder, "SELECT * FROM turns WHERE state IN ('queued', 'running')")
            if kill % CHECKED == CHECKED - 1:
                assert check(folder / "data" / "palaver.db").findings == []
            talking = [asyncio.create_task(client.talk(address)) for client in clients]
            await asyncio.sleep(chance.uniform(0.02, 0.4))
            process.kill()
            await asyncio.gather(*talking)
        left = rows(folder, "SELECT state, count(*) AS n FROM turns WHERE ended_at IS NULL GROUP BY state")
        counts.update({f"left {row['state']}": row["n"] for row in left})
    with server(folder, *options) as (_, address):
        await asyncio.gather(*(client.talk(address, last=True) for client in clients))
    counts["retries"] = sum(client.retries for client in clients)
    compare(folder, clients, counts)
    check_whole(folder)
    return counts


def compare(folder: Path, clients: Sequence[Client], counts: Counter[str]) -> None:
    """What the clients were told stands in the store; each question once, and answered to its end once."""
    said = rows(
        folder,
        "SELECT t.id, q.body ->> 'content' AS question, r.body ->> 'content' AS reply FROM turns t "
        "JOIN messages q ON q.seq = t.question JOIN messages r ON r.seq = t.reply WHERE t.state = 'completed'",
    )
    stored = {(row["question"], row["id"], row["reply"]) for row in said}
    questions = Counter(
        row["text"]
        for row in rows(folder, "SELECT body ->> 'content' AS text FROM messages WHERE role = 'user'")
    )
    answered = Counter(row["question"] for row in said)
    for client in clients:
        assert client.pending is None
        assert len(client.heard) == client.asked
        for question, (turn, reply) in client.heard.items():
            counts["acknowledged"] += 1
            counts["lost"] += (question, turn, reply) not in stored
            counts["doubled questions"] += questions[question] > 1
            counts["doubled replies"] += answered[question] > 1


def check_whole(folder: Path) -> None:
    """All of the store is as it must be, nothing is open, and one client is one conversation."""
    report = check(folder / "data" / "palaver.db")
    assert (report.problems, report.findings) == (0, [])
    assert not rows(folder, "SELECT * FROM turns WHERE ended_at IS NULL OR lease IS NOT NULL")
    assert not rows(folder, "SELECT * FROM turn_log")
    assert not rows(
        folder, "SELECT end_user, count(*) AS n FROM conversations GROUP BY end_user HAVING n > 1"
    )


@pytest.mark.parametrize("stores", [1, pytest.param(20, marks=pytest.mark.slow)])
async def test_what_was_answered_is_stored(tmp_path: Path, stores: int) -> None:
    """With the kills of `tests/stores/test_killed.py`, which start no server, `make slow` kills a thousand times."""
    counts: Counter[str] = Counter()
    for number in range(stores):
        counts += await one_store(tmp_path / str(number), random.Random(number))
    print(f"\nserver: {dict(counts)}")
    assert (counts["lost"], counts["doubled questions"], counts["doubled replies"]) == (0, 0, 0)
    assert counts["kills"] == stores * KILLS
    assert counts["acknowledged"] > stores * KILLS
    assert counts["left running"] > stores
    assert counts["left queued"] > stores
    assert counts["retries"] > stores * KILLS
