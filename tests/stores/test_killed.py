"""`kill -9` in the middle of everything: what was acknowledged is there."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from palaver.core.turn import TurnState
from tests.stores.contract_sequences import consistent
from tests.stores.sqlite_files import opened, tables
from tests.stores.talking import Tables
from tests.stores.test_ownership import hammering

KILLS = 20
CLIENTS = 6


def acknowledged(path: Path, lines: int, *what: str) -> list[dict[str, Any]]:
    """What a process is told is kept, up to when it is killed after so many lines; none is half a line."""
    with hammering(path, *what) as process:
        assert process.stdout is not None
        told = [*itertools.islice(process.stdout, lines)]
        process.kill()
        told += process.stdout.read().splitlines(keepends=True)
    return [json.loads(line) for line in told if line.endswith("\n")]


async def test_what_was_acknowledged_is_there(tmp_path: Path) -> None:
    path = tmp_path / "palaver.db"
    order = random.Random(0)
    ended = cut = 0
    for kill in range(KILLS):
        told = acknowledged(path, order.randrange(1, 100), "write")
        async with opened(path) as store:
            recovered = await store.recover(f"lease of {kill}")
            for turn, lines in itertools.groupby(
                sorted(told, key=lambda line: str(line["turn"])), lambda line: line["turn"]
            ):
                kept = list(lines)
                record = await store.turn("local", turn)
                text = record.reply.message.text if record.reply else ""
                said = "".join(line.get("said", "") for line in kept)
                assert text.startswith(said)
                shown = next((line["shown"] for line in kept if "shown" in line), None)
                assert shown is None or (record.receipt is not None and record.receipt.epoch == shown)
                if any("ended" in line for line in kept):
                    assert (record.state, text) == (TurnState.COMPLETED, kept[-1]["ended"])
                    ended += 1
                elif record.state is not TurnState.COMPLETED:
                    assert record.state is TurnState.INCOMPLETE
                    assert turn in recovered
                    cut += 1
            assert await store.recover(f"lease of {kill}") == []
        consistent(tables(path))
    assert ended > KILLS
    assert cut >= KILLS


@pytest.mark.parametrize(("stores", "kills"), [(1, 8), pytest.param(30, 20, marks=pytest.mark.slow)])
def test_what_waits_for_others_is_asked_once(tmp_path: Path, stores: int, kills: int) -> None:
    """Clients that share a conversation repeat, with a count, what was open when they died."""
    counts: Counter[str] = Counter()
    for number in range(stores):
        counts += kill_those_who_share(tmp_path / str(number) / "palaver.db", kills, random.Random(number))
    print(f"\nstore: {dict(counts)}")
    assert (counts["lost"], counts["doubled"]) == (0, 0)
    assert counts["kills"] == stores * kills
    assert counts["acknowledged"] > stores * kills
    assert counts["closed"] > stores * kills


def kill_those_who_share(path: Path, kills: int, order: random.Random) -> Counter[str]:
    pending: list[list[Any] | None] = [None] * CLIENTS
    answered: dict[str, str] = {}
    counts: Counter[str] = Counter(kills=kills)
    path.parent.mkdir()
    for _ in range(kills):
        for line in acknowledged(path, order.randrange(1, 150), "share", json.dumps(pending)):
            if "sends" in line:
                pending[line["client"]] = [line["sends"], line["count"] + 1]
            elif "answered" in line:
                pending[line["client"]] = None
                assert answered.setdefault(line["answered"], line["turn"]) == line["turn"]
            counts["closed"] += "closed" in line
            counts["joined"] += line.get("joined", False)
        found = tables(path)
        consistent(found)
        compare(found, answered, counts)
    return counts


def compare(found: Tables, answered: dict[str, str], counts: Counter[str]) -> None:
    """Who was told of an answer finds it under that turn; nothing was asked twice or answered to its end twice."""
    said = {row["seq"]: msgspec.json.decode(row["body"])["content"] for row in found["messages"]}
    completed = [row for row in found["turns"] if row["state"] == TurnState.COMPLETED]
    stored = {(said[row["question"]], row["id"], said[row["reply"]]) for row in completed}
    told = {(question, turn, f"answer to {question}: yes") for question, turn in answered.items()}
    counts["acknowledged"] = len(told)
    counts["lost"] += len(told - stored)
    questions = Counter(said[row["seq"]] for row in found["messages"] if row["role"] == "user")
    counts["doubled"] += len(questions - Counter(set(questions)))
    counts["doubled"] += len(completed) - len({said[row["question"]] for row in completed})
