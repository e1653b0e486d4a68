"""`bench.store` measures what it says: its stores are what real turns make, and its figures come out whole."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bench.store.__main__ import main
from bench.store.bare import BareKeeper
from bench.store.figures import QUICK
from bench.store.keeper import size_of
from bench.store.ours import PalaverKeeper, Road
from palaver.stores.sqlite_upkeep import check
from tests.stores.sqlite_files import tables

GIVEN = {"id", "key", "tail", "secret", "name", "body_hash"}
"""Columns that are drawn at random, or follow from what is."""


def rows_of(path: Path) -> dict[str, list[dict[str, object]]]:
    """What a store holds, without what differs from one run to the next."""
    return {
        table: [{k: v for k, v in row.items() if k not in GIVEN and not k.endswith("_at")} for row in rows]
        for table, rows in tables(path).items()
        if table != "attempts"
    }


async def test_a_filled_conversation_is_what_its_turns_would_have_made(tmp_path: Path) -> None:
    filled = await PalaverKeeper.open(tmp_path / "filled.db")
    await filled.fill(8)
    said = await PalaverKeeper.open(tmp_path / "said.db")
    conversation = await said.fill(2)
    for _ in range(3):
        said.prepare(conversation)
        await said.append(conversation)
    await filled.close()
    await said.close()
    assert rows_of(tmp_path / "filled.db") == rows_of(tmp_path / "said.db")
    assert check(tmp_path / "filled.db").findings == []


@pytest.mark.parametrize("road", ["head", "resent"])
async def test_either_road_goes_on_with_its_conversation(tmp_path: Path, road: Road) -> None:
    keeper = await PalaverKeeper.open(tmp_path / "palaver.db", road)
    conversation = await keeper.fill(4)
    for _ in range(3):
        keeper.prepare(conversation)
        await keeper.append(conversation)
    assert await keeper.read(conversation) == 10
    assert await keeper.read(conversation, 3) == 3
    assert await keeper.read_first(conversation, 4) == 4
    phases = {"keys", "ask", "answer", "commits", "prompt"} | ({"parse"} if road == "resent" else set())
    assert {phase for phase, seconds in keeper.phases.items() if seconds > 0} == phases
    await keeper.close()


async def test_bare_sqlite_writes_the_rows_that_palaver_writes(tmp_path: Path) -> None:
    keeper = await PalaverKeeper.open(tmp_path / "palaver.db")
    conversation = await keeper.fill(4)
    await keeper.close()
    least = BareKeeper(tmp_path / "least.db", tmp_path / "palaver.db")
    every = BareKeeper(tmp_path / "all-rows.db", tmp_path / "palaver.db", "all rows")
    await keeper.reopen()
    for each in (keeper, least, every):
        assert each.durability() == "wal, synchronous full"
        each.prepare(conversation)
        await each.append(conversation)
        assert await each.read(conversation) == 6
        await each.close()
    counts = [
        {table: len(rows) for table, rows in tables(tmp_path / name).items()}
        for name in ("palaver.db", "all-rows.db", "least.db")
    ]
    assert counts[0] == counts[1]
    assert counts[2] == counts[0] | {"turns": counts[0]["turns"] - 1, "attempts": counts[0]["attempts"] - 1}
    bytes_of = [
        [
            (len(row["body"]), len(row["key"]), len(row["tail"] or b""))
            for row in tables(tmp_path / name)["messages"]
        ]
        for name in ("palaver.db", "least.db")
    ]
    assert bytes_of[0] == bytes_of[1]
    assert size_of(tmp_path / "palaver.db") >= (tmp_path / "palaver.db").stat().st_size


async def test_a_quick_run_tells_all_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    await main(["--quick", "--folder", str(tmp_path), "--json", str(figures)])
    told, found = capsys.readouterr().out, json.loads(figures.read_bytes())
    assert [each["size"] for each in found["head"]] == [*QUICK.sizes, QUICK.sizes[0]]
    assert [each["size"] for each in found["kept"]] == [QUICK.sizes[0], QUICK.sizes[-1]]
    assert all(each["phases"]["prompt"] < each["phases"]["ask"] for each in found["kept"])
    assert [each["others"] for each in found["head"]] == [0, 0, QUICK.sizes[-1]]
    assert all(
        each["turn"]["times"] == QUICK.laps for each in found["kept"] + found["head"] + found["resent"]
    )
    assert found["peers"][0]["name"] == "palaver"
    assert found["peers"][0]["bytes"] > 0
    assert ("bench-store" in told) == bool(found["missing"])
    assert os.listdir(tmp_path) == [figures.name]
