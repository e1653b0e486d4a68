"""The server is killed again and again under load, and nothing that a client was told is lost."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import aiohttp
import pytest

from tests.whole.serving import rows, server

CLIENTS = 4
SEEDS = {"few": (3, 1), "many": (60, 2)}


async def talk(session: aiohttp.ClientSession, url: str, who: str, heard: list[tuple[str, str]]) -> None:
    """Go on asking, resending the history, until the server is gone; `heard` is what it answered, by question."""
    messages: list[dict[str, str]] = []
    while True:
        question = f"{who} asks {len(heard)}"
        messages.append({"role": "user", "content": question})
        try:
            body = {"model": "scripted", "messages": messages, "user": who}
            async with session.post(url, json=body) as response:
                answer = await response.json()
        except (aiohttp.ClientError, OSError):
            return
        assert response.status == 200, answer
        reply = answer["choices"][0]["message"]["content"]
        heard.append((question, reply))
        messages.append({"role": "assistant", "content": reply})


@pytest.mark.parametrize("rounds", ["few", pytest.param("many", marks=pytest.mark.slow)])
async def test_what_was_answered_is_stored(tmp_path: Path, rounds: str) -> None:
    count, seed = SEEDS[rounds]
    chance = random.Random(seed)
    heard: list[tuple[str, str]] = []
    for lap in range(count):
        with server(tmp_path, "scripted", "--log-level", "error") as (process, address):
            assert not rows(tmp_path, "SELECT * FROM turns WHERE state IN ('queued', 'running')")
            async with aiohttp.ClientSession() as session:
                url = address + "/v1/chat/completions"
                talks: list[list[tuple[str, str]]] = [[] for _ in range(CLIENTS)]
                talking = [
                    asyncio.create_task(talk(session, url, f"user-{lap}-{i}", each))
                    for i, each in enumerate(talks)
                ]
                await asyncio.sleep(chance.uniform(0.05, 0.6))
                process.kill()
                await asyncio.gather(*talking)
            heard += [pair for each in talks for pair in each]
    with server(tmp_path, "scripted", "--log-level", "error"):
        pass

    found = rows(
        tmp_path,
        "SELECT q.body ->> 'content' AS question, r.body ->> 'content' AS reply FROM turns t "
        "JOIN messages q ON q.seq = t.question JOIN messages r ON r.seq = t.reply WHERE t.state = 'completed'",
    )
    stored = {(row["question"], row["reply"]) for row in found}
    lost = [pair for pair in heard if pair not in stored]
    assert len(heard) > count
    assert not lost, f"{len(lost)} of {len(heard)} acknowledged replies are lost"
    check_whole(tmp_path)


def check_whole(folder: Path) -> None:
    """The file is sound, nothing hangs in the air, and one client is one conversation."""
    assert rows(folder, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert not rows(folder, "PRAGMA foreign_key_check")
    assert not rows(folder, "SELECT * FROM turns WHERE ended_at IS NULL OR lease IS NOT NULL")
    assert not rows(folder, "SELECT * FROM turn_log")
    assert not rows(
        folder,
        "SELECT m.id FROM messages m JOIN messages p ON p.seq = m.parent "
        "WHERE p.conversation <> m.conversation OR p.depth + 1 <> m.depth",
    )
    assert not rows(
        folder, "SELECT end_user, count(*) AS n FROM conversations GROUP BY end_user HAVING n > 1"
    )
