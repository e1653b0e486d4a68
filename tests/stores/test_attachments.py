# ruff: noqa: S608 (these statements are made of what stands in this file)
"""Attachments in a SQLite store: `check` finds what is wrong with them, and no byte of what was deleted is left."""

from __future__ import annotations

import asyncio
import base64
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from palaver.core.attachments import attachments_of, parted
from palaver.core.message import FileData, FilePart, Message, canonical, hash_of
from palaver.stores.sqlite_upkeep import check
from tests.stores.contract_attachments import CAT, DOG, answered, picture
from tests.stores.old_files import old_store
from tests.stores.sqlite_files import ask, beside, content, opened, put
from tests.stores.talking import Talker, assistant, user


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "palaver.db"


async def fill(path: Path) -> None:
    """Two owners with the same two pictures, one message with both, and one with none."""
    async with opened(path) as store:
        both = Message("user", [*(picture(CAT).content or ()), *(picture(DOG).content or ())])
        for owner in ("local", "other"):
            await answered(Talker(store, owner), both, assistant("So?"), picture(DOG, "And this?"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a store with nothing wrong."""
    path = tmp_path_factory.mktemp("sound") / "palaver.db"
    asyncio.run(fill(path))
    return content(path)


def test_what_palaver_wrote_is_as_it_must_be(path: Path, sound: bytes) -> None:
    put(path, sound)
    report = check(path)
    assert (report.findings, report.rows["attachments"]) == ([], 4)


AND_THIS = "(SELECT min(seq) FROM messages WHERE body LIKE '%And this?%')"
LINKED = f"(SELECT attachment FROM message_attachments WHERE message = {AND_THIS})"
OTHER = "(SELECT seq FROM owners WHERE name = 'other')"
DAMAGES = {
    "other bytes": (f"UPDATE attachments SET bytes = x'00' WHERE seq = {LINKED}", "attachment", "its hash"),
    "another hash": (f"UPDATE attachments SET hash = x'00' WHERE seq = {LINKED}", "attachment", "its hash"),
    "no owner": (f"UPDATE attachments SET owner = 999 WHERE seq = {LINKED}", "attachment", "its owner"),
    "nothing that refers to it": (
        "INSERT INTO attachments (owner, hash, bytes, created_at) VALUES (1, x'01', x'02', 3)",
        "attachment",
        "no message refers to it",
    ),
    "no link": (
        f"DELETE FROM message_attachments WHERE message = {AND_THIS}",
        "message",
        "refers to an attachment that is missing",
    ),
    "no attachment": (
        f"DELETE FROM attachments WHERE seq = {LINKED}",
        "message_attachment",
        "its attachment is missing",
    ),
    "a reference to nothing": (
        f"DELETE FROM attachments WHERE seq = {LINKED}",
        "message",
        "refers to an attachment that is missing",
    ),
    "a message that is missing": (
        "INSERT INTO message_attachments VALUES (999, 1)",
        "message_attachment",
        "its message is missing",
    ),
    "another's attachment": (
        f"UPDATE attachments SET owner = {OTHER}, hash = x'00' WHERE seq = {LINKED}",
        "message_attachment",
        "another owner's",
    ),
    "a link with another's": (
        f"INSERT INTO message_attachments SELECT {AND_THIS}, seq FROM attachments WHERE owner = {OTHER}",
        "message_attachment",
        "another owner's",
    ),
    "a link that says too much": (
        f"INSERT INTO message_attachments SELECT {AND_THIS} + 1, seq FROM attachments WHERE owner = 1",
        "message_attachment",
        "does not refer to it",
    ),
    "a tombstone with a link": (
        f'UPDATE messages SET body = \'{{"role":"user"}}\', deleted_at = 1 WHERE seq = {AND_THIS}',
        "message_attachment",
        "does not refer to it",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found(path: Path, sound: bytes, damage: str) -> None:
    statement, what, words = DAMAGES[damage]
    put(path, sound)
    with closing(beside(path, isolation_level=None)) as connection:
        assert connection.execute(statement).rowcount > 0
    report = check(path)
    assert [f for f in report.findings if f.what == what and words in f.text], report.findings


async def test_files_under_keys_of_an_older_form_are_as_they_must_be(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store before attachments: what is plain base64 was kept in its message, and hashed as it was written."""
    asked = Message("user", [FilePart(FileData(base64.b64encode(DOG).decode()))])
    with monkeypatch.context() as older:
        for module in ("core.tree", "stores.ending"):
            older.setattr(f"palaver.{module}.canonical", partial(canonical, form=2))
        older.setattr("palaver.stores.writing.parted", lambda message: (message, {}))
        async with opened(path) as store:
            id = await answered(Talker(store), asked)
    assert ask(path, "SELECT count(*) FROM attachments") == 0
    assert check(path).findings == []
    async with opened(path) as store:
        told = await Talker(store).admit([user("Go on.")], id, at_head=True)
        assert told.messages[0] == asked
        await store.fork("local", id)
    assert check(path).findings == []


async def test_pictures_of_an_older_palaver_stay_in_their_messages(path: Path) -> None:
    old_store(path, 4)
    async with opened(path) as store:
        await store.recover("another lease")
        talker = Talker(store, end_user="sam")
        before = await store.conversation("local", "pictures", "sam")
        fork = await store.conversation("local", "more pictures", "sam")
        first = (await talker.path(before.id))[0].message
        assert attachments_of(first) == set()
        assert parted(first)[1]
        told = await talker.admit([first, assistant("A dot."), picture(CAT)])
        assert (told.conversation, told.messages) == (before.id, [first, assistant("A dot."), picture(CAT)])
        await talker.end(told.turn, "A cat.")
        for ref in (before, fork):
            gone_on = await talker.admit([user("Go on.")], ref.id, at_head=True)
            assert gone_on.messages[0] == first
            await talker.end(gone_on.turn, "I do.")
        another = await store.fork("local", fork.id)
        await store.delete_conversation("local", fork.id)
        assert (await talker.path(another.id))[0].message == first
        with closing(sqlite3.connect(path)) as connection:
            kept = connection.execute("SELECT bytes FROM attachments").fetchall()
    assert kept.count((CAT,)) == 1
    assert check(path).findings == []


MARK = b"#attached#"
LONG = MARK * 20_000
"""As bytes of many pages."""


def legible(folder: Path) -> bool:
    """Whether some file of the store says something of the attachment, as it is or as base64."""
    forms = [base64.b64encode(LONG[start : start + 30])[4:-4] for start in range(3)]
    return any(
        form in file for form in (MARK, *forms) for file in (each.read_bytes() for each in folder.iterdir())
    )


async def test_of_two_who_have_it_the_last_takes_its_bytes_away(tmp_path: Path) -> None:
    async with opened(tmp_path / "palaver.db") as store:
        first = await answered(Talker(store, end_user="ann"), picture(LONG))
        second = await answered(Talker(store, end_user="bob"), picture(LONG))
        await answered(Talker(store), picture(DOG))
        await store.delete_conversation("local", first)
        assert await store.attachments("local", [hash_of(LONG)]) == {hash_of(LONG): LONG}
        await store.delete_conversation("local", second)
        assert await store.attachments("local", [hash_of(LONG)]) == {}
        assert not legible(tmp_path)
        assert await store.attachments("local", [hash_of(DOG)]) == {hash_of(DOG): DOG}
    assert not legible(tmp_path)


async def test_what_waited_with_it_leaves_nothing_either(tmp_path: Path) -> None:
    async with opened(tmp_path / "palaver.db") as store:
        talker = Talker(store)
        first = await talker.admit([user("hi")], "c", at_head=True)
        waiting = await talker.put([picture(LONG)], "c", at_head=True)
        assert legible(tmp_path)
        await talker.end(first.turn, "hello")
        assert await talker.begin(waiting)
        await talker.end(waiting.turn, "I see.")
        question = (await talker.path(first.conversation))[2]
        await store.delete_message("local", question.id)
        assert not legible(tmp_path)
    assert not legible(tmp_path)
