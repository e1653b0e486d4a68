"""`kill -9` in the middle of everything: what was acknowledged is there."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

from palaver.core.turn import TurnState
from tests.stores.contract_sequences import consistent
from tests.stores.sqlite_files import opened, tables
from tests.stores.test_ownership import hammering

KILLS = 20


def acknowledged(path: Path, lines: int) -> list[dict[str, Any]]:
    """What a process is told is kept, up to when it is killed after so many lines; none is half a line."""
    with hammering(path, "write") as process:
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
        told = acknowledged(path, order.randrange(1, 100))
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
