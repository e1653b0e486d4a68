"""`check` proves the full-text index, and `rebuild_index` makes it anew, whatever has become of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from palaver.core.errors import StoreOwned, StoreUnavailable
from palaver.core.searching import read_query
from palaver.stores import sqlite_index
from palaver.stores.base import Scope
from palaver.stores.sqlite_functions import add_functions
from palaver.stores.sqlite_index import Rebuilt, rebuild_index
from palaver.stores.sqlite_upkeep import check
from tests.stores.old_files import old_store
from tests.stores.sqlite_files import content, opened
from tests.stores.talking import Talker

DRIFTS = {
    "an entry is missing": (
        "DELETE FROM message_index WHERE rowid = 1",
        "it has no entry, and is not found",
    ),
    "an entry is missing, of a title": (
        "DELETE FROM title_index WHERE rowid = 1",
        "it has no entry, and is not found",
    ),
    "another text": (
        "UPDATE message_index SET text = 'other' WHERE rowid = 1",
        "its entry has another text",
    ),
    "another place": (
        "UPDATE message_index SET place = 'o2 c1' WHERE rowid = 1",
        "its entry is at another place: for another owner, end user or conversation",
    ),
    "nobody's": (
        "INSERT INTO message_index (rowid, place, text) VALUES (99, 'o1 c1', 'x')",
        "an entry whose message or title is missing",
    ),
    "nobody's title": (
        "INSERT INTO title_index (rowid, place, text) VALUES (99, 'o1', 'x')",
        "an entry whose message or title is missing",
    ),
    "the words of an entry that is gone": (
        "INSERT INTO message_index (rowid, place, text) VALUES (99, 'o1 c1', 'zak'); "
        "DELETE FROM message_index_content WHERE id = 99; DELETE FROM message_index_docsize WHERE id = 99",
        "its words are not those of what is kept; `palaver check --rebuild-index` makes it anew",
    ),
}
DAMAGES = (
    "DELETE FROM message_index_data WHERE id > 10",
    "UPDATE message_index_data SET block = x'00' WHERE id > 10",
    "DELETE FROM message_index_data",
    "DROP TABLE message_index_config",
    "DROP TABLE title_index_data",
    "DROP TABLE message_index_content",
    "DROP TABLE title_index",
)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "palaver.db"
    async with opened(path) as store:
        await Talker(store).talk("zak one", "re one", "zak two", "re two", conversation="c")
        await Talker(store, "other", "ann").talk("zak three", "", conversation="d")
    return path


def change(path: Path, statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        add_functions(connection)
        connection.executescript(statements)


def test_nothing_is_wrong_and_nothing_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_index, "PORTION", 2)
    monkeypatch.setattr(sqlite_index, "TERMS", 2)
    before = content(path)
    report = check(path)
    assert report.findings == []
    assert report.rows["message_index"] == report.rows["messages"] == 5
    assert report.rows["title_index"] == report.rows["conversations"] == 2
    assert content(path) == before


@pytest.mark.parametrize("drift", DRIFTS)
async def test_what_drifts_is_found_and_put_right(path: Path, drift: str) -> None:
    statement, text = DRIFTS[drift]
    change(path, statement)
    assert text in {finding.text for finding in check(path).findings}
    assert rebuild_index(path) == Rebuilt(messages=5, titles=2)
    assert check(path).findings == []


@pytest.mark.parametrize("damage", DAMAGES)
async def test_what_is_damaged_is_told_and_made_anew(path: Path, damage: str) -> None:
    change(path, damage)
    told = check(path).findings
    assert told
    assert any("--rebuild-index" in finding.text for finding in told)
    assert rebuild_index(path) == Rebuilt(messages=5, titles=2)
    assert check(path).findings == []
    async with opened(path) as store:
        assert len((await store.search("local", read_query("zak"), Scope())).found) == 2
        await Talker(store).talk("zak four", "re", conversation="e")
        assert len((await store.search("local", read_query("zak"), Scope())).found) == 3
    assert check(path).findings == []


async def test_it_is_its_owners_alone(path: Path) -> None:
    async with opened(path) as store:
        await store.announce("http://127.0.0.1:7400", "key")
        with pytest.raises(StoreOwned, match=r"127\.0\.0\.1:7400"):
            rebuild_index(path)
    assert rebuild_index(path).titles == 2
    with pytest.raises(StoreUnavailable):
        rebuild_index(path.with_name("missing.db"))
    assert not path.with_name("missing.db").exists()


def test_an_older_store_is_brought_forward(tmp_path: Path) -> None:
    path = old_store(tmp_path / "palaver.db", 4)
    assert rebuild_index(path).messages > 0
    assert check(path).findings == []
