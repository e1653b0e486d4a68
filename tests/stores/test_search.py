"""The full-text index of SQLite: what is deleted leaves no word in it, and an older store gets one."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from palaver.core.searching import read_query
from palaver.stores.base import Scope, Store
from palaver.stores.sqlite_functions import add_functions
from palaver.stores.sqlite_upkeep import check
from tests.stores.old_files import OLD, old_store
from tests.stores.sqlite_files import content, opened
from tests.stores.talking import Talker, user

Deleting = Callable[[Store, str, str, str], Awaitable[object]]


def terms(path: Path) -> set[str]:
    """All that stands in the index, of messages and titles."""
    with closing(sqlite3.connect(path)) as connection:
        found: set[str] = set()
        for table in ("message_index", "title_index"):
            connection.execute(f"CREATE VIRTUAL TABLE temp.v_{table} USING fts5vocab (main, {table}, row)")
            found |= {row[0] for row in connection.execute(f"SELECT term FROM temp.v_{table}")}  # noqa: S608
        return found


async def delete_question(store: Store, conversation: str, question: str, turn: str) -> None:
    await store.delete_message("local", question)


async def delete_branch(store: Store, conversation: str, question: str, turn: str) -> None:
    await store.delete_branch("local", question)


async def delete_turn(store: Store, conversation: str, question: str, turn: str) -> None:
    await store.delete_turn("local", turn)


async def delete_conversation(store: Store, conversation: str, question: str, turn: str) -> None:
    await store.delete_conversation("local", conversation)


async def delete_end_user(store: Store, conversation: str, question: str, turn: str) -> None:
    await store.delete_end_user("local", "ann")


async def delete_owner(store: Store, conversation: str, question: str, turn: str) -> None:
    await store.delete_owner("local")


@pytest.mark.parametrize(
    "delete",
    [delete_question, delete_branch, delete_turn, delete_conversation, delete_end_user, delete_owner],
)
async def test_what_is_deleted_leaves_no_word(tmp_path: Path, delete: Deleting) -> None:
    path = tmp_path / "palaver.db"
    async with opened(path) as store:
        await Talker(store, "other").talk("kept", "stays", conversation="k")
        talker = Talker(store, end_user="ann")
        said = await talker.ask("zanzibarq", "zanzibara", "c")
        question, _ = await talker.path(said.conversation)
        assert {"zanzibarq", "zanzibara"} <= terms(path)
        await delete(store, said.conversation, question.id, said.turn)
        left = {term for term in terms(path) if term.startswith("zanzibar")}
        assert left == ({"zanzibara"} if delete is delete_question else set())
        whole = content(path) + content(path.with_name("palaver.db-wal"))
        assert b"zanzibarq" not in whole
        assert {match.role for match in (await store.search("other", read_query("kept"), Scope())).found} == {
            "user"
        }
    assert check(path).findings == []


async def test_a_tombstone_has_no_entry(tmp_path: Path) -> None:
    path = tmp_path / "palaver.db"
    async with opened(path) as store:
        talker = Talker(store)
        id = await talker.talk("first zak", "re", "second", "re", conversation="c")
        await store.delete_message("local", (await talker.path(id))[0].id)
        assert (await store.search("local", read_query("zak"), Scope(conversation=id))).found == []
        assert "zak" not in terms(path)


async def test_a_write_that_fails_leaves_no_entry(tmp_path: Path) -> None:
    """The index is written in the message's own transaction."""
    path = tmp_path / "palaver.db"
    async with opened(path) as store:
        await Talker(store).admit([user("before")], "c")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        add_functions(connection)
        connection.execute("BEGIN")
        connection.execute("UPDATE messages SET body = json_set(body, '$.content', 'after')")
        assert connection.execute("SELECT text FROM message_index").fetchall() == [("after",)]
        connection.execute("ROLLBACK")
        assert connection.execute("SELECT text FROM message_index").fetchall() == [("before",)]


@pytest.mark.parametrize("old", OLD)
async def test_an_older_store_gets_its_index(tmp_path: Path, old: int) -> None:
    path = old_store(tmp_path / "palaver.db", old)
    async with opened(path) as store:
        everything = Scope(tasks=True, temporary=True)
        found = 0
        for conversation in await store.conversations("local", one_shots=True, temporary=True, limit=100):
            for item in await store.items("local", conversation.id, limit=100):
                if words := [word for word in item.message.text.split() if word.isalpha()]:
                    matches = await store.search("local", read_query(f'"{words[0]}"'), everything)
                    assert item.id in {match.message for match in matches.found}
                    found += 1
        assert found > 0
    assert check(path).findings == []
