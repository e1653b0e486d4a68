"""Summaries in the store: of the path to a message, and gone with every message of that."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from palaver.core.errors import ConversationNotFound, MessageNotFound, SummaryNotFound
from palaver.core.path import Span
from palaver.core.summaries import Summary
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite import SqliteDatabase
from palaver.stores.sqlite_upkeep import check
from tests.stores.talking import Talker, assistant, new_epoch, user

TALK = ("one", "re one", "two", "re two", "three", "re three")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "palaver.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqlStore]:
    store = SqlStore(await SqliteDatabase.open(path))
    yield store
    await store.close()


def _held(path: Path) -> bytes:
    """All bytes of a store's files."""
    return b"".join(each.read_bytes() for each in sorted(path.parent.glob("palaver.db*")) if each.is_file())


async def summed(store: SqlStore, conversation: str, stop: int, text: str = "They counted.") -> Summary:
    """A summary of so many messages of the head's path."""
    message = (await Talker(store).path(conversation))[stop - 1].id
    made = await store.add_summary("local", conversation, message, text, model="m", living=stop)
    assert made is not None
    return made


async def test_it_is_kept_edited_and_switched(store: SqlStore) -> None:
    id = await Talker(store).talk(*TALK, conversation="c")
    made = await summed(store, id, 4)
    assert (made.stop, made.version, made.model, made.is_off, made.is_stale) == (4, 1, "m", False, False)
    assert made.id.startswith("sum_")
    edited = await store.edit_summary("local", id, made.id, "They counted to two.")
    assert edited is not None
    assert (edited.text, edited.version, edited.model) == ("They counted to two.", 2, None)
    off = await store.switch_summary("local", id, made.id, is_off=True)
    assert (off.is_off, off.version) == (True, 2)
    other = await summed(store, id, 2)
    assert [each.id for each in await store.summaries("local", id)] == [made.id, other.id]
    assert await store.summary("local", id, other.id) == other


async def test_it_is_its_owners_and_its_conversations(store: SqlStore) -> None:
    id = await Talker(store).talk(*TALK, conversation="c")
    elsewhere = await Talker(store).talk("else", "where", conversation="d")
    made = await summed(store, id, 4)
    with pytest.raises(ConversationNotFound):
        await store.summaries("another", id)
    for verb in (store.summary, store.delete_summary):
        with pytest.raises(SummaryNotFound):
            await verb("local", elsewhere, made.id)
    with pytest.raises(MessageNotFound):
        await store.add_summary("local", elsewhere, made.message, "x", model=None, living=4)


async def test_prompts_have_those_of_their_path_that_are_on(store: SqlStore) -> None:
    talker = Talker(store)
    id = await talker.talk(*TALK, conversation="c")
    first, second, off = await summed(store, id, 2), await summed(store, id, 4), await summed(store, id, 6)
    await store.switch_summary("local", id, off.id, is_off=True)
    prompt = await talker.foresee([*talker.history, user("four")], "c")
    assert [each.id for each in prompt.summaries] == [second.id, first.id]
    edited = [*talker.history[:2], user("another two")]
    prompt = await talker.foresee(edited, "c")
    assert [each.id for each in prompt.summaries] == [first.id]


async def test_those_of_another_branch_are_stale(store: SqlStore) -> None:
    talker = Talker(store)
    id = await talker.talk(*TALK, conversation="c")
    first, second = await summed(store, id, 2), await summed(store, id, 4)
    branch = await talker.admit([user("one"), assistant("re one"), user("another two")], "c")
    await talker.end(branch.turn, "re another")
    stale = {each.id: each.is_stale for each in await store.summaries("local", id)}
    assert stale == {first.id: False, second.id: True}


async def test_an_epoch_tells_which_it_shows_also_when_that_is_gone(store: SqlStore) -> None:
    talker = Talker(store)
    id = await talker.talk(*TALK, conversation="c")
    made = await summed(store, id, 4)
    epoch = msgspec.structs.replace(new_epoch(reason="overflow"), span=Span(4), summary=made.ref)
    await talker.say("four", "re four", "c", epoch=epoch)
    prompt = await talker.foresee([*talker.history, user("five")], "c")
    assert prompt.above is not None
    assert prompt.above.epoch == epoch
    await store.delete_summary("local", id, made.id)
    assert await store.summaries("local", id) == []
    prompt = await talker.foresee([*talker.history, user("five")], "c")
    assert prompt.above is not None
    assert prompt.above.epoch.summary is not None
    assert (prompt.above.epoch.summary.id, prompt.above.epoch.summary.version) == ("", 1)


async def test_it_takes_those_along_that_may_have_been_made_of_it(
    store: SqlStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(range(1000, 2000))
    monkeypatch.setattr("palaver.stores.summaries.now", lambda: next(times))
    talker = Talker(store)
    id = await talker.talk(*TALK, conversation="c")
    older = await summed(store, id, 6)
    shorter = await summed(store, id, 2)
    made = await summed(store, id, 4, "They said ZANZIBAR.")
    again = await summed(store, id, 5)
    await summed(store, id, 6, "It was about ZANZIBAR.")
    await store.edit_summary("local", id, older.id, "A person's, of before it.")
    branch = await talker.admit([user("one"), assistant("re one"), user("another two")], "c")
    await talker.end(branch.turn, "re another")
    other = await summed(store, id, 4, "Of another branch.")
    await store.edit_summary("local", id, again.id, "A person's, of what was made of it.")
    await store.delete_summary("local", id, made.id)
    left = {each.id for each in await store.summaries("local", id)}
    assert left == {older.id, shorter.id, other.id}
    assert b"ZANZIBAR" not in await asyncio.to_thread(_held, path)


async def test_one_that_was_made_anew_since_goes_too(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(range(1000, 2000))
    monkeypatch.setattr("palaver.stores.summaries.now", lambda: next(times))
    id = await Talker(store).talk(*TALK, conversation="c")
    older = await summed(store, id, 6)
    made = await summed(store, id, 4)
    await store.edit_summary("local", id, older.id, "Made of it.", model="m", living=6)
    await store.delete_summary("local", id, made.id)
    assert await store.summaries("local", id) == []


@pytest.mark.parametrize(("place", "left"), [(0, []), (1, []), (2, [2]), (3, [2]), (4, [4, 2])])
async def test_it_goes_with_each_message_that_it_covers_and_no_other(
    store: SqlStore, path: Path, place: int, left: list[int]
) -> None:
    id = await Talker(store).talk(*TALK, conversation="c")
    await summed(store, id, 2)
    await summed(store, id, 4, "They said ZANZIBAR.")
    await store.delete_message("local", (await Talker(store).path(id))[place].id)
    assert [each.stop for each in await store.summaries("local", id)] == left
    held = await asyncio.to_thread(_held, path)
    assert (b"ZANZIBAR" in held) is (4 in left)
    await store.close()
    assert check(path).findings == []


async def test_it_goes_with_a_branch_and_with_its_conversation(store: SqlStore) -> None:
    id = await Talker(store).talk(*TALK, conversation="c")
    made = await summed(store, id, 2)
    await summed(store, id, 4)
    await store.delete_branch("local", (await Talker(store).path(id))[3].id)
    assert [each.id for each in await store.summaries("local", id)] == [made.id]
    await store.delete_conversation("local", id)
    with pytest.raises(ConversationNotFound):
        await store.summaries("local", id)


async def test_nothing_is_kept_of_what_was_deleted_while_it_was_summed_up(store: SqlStore) -> None:
    id = await Talker(store).talk(*TALK, conversation="c")
    path = await Talker(store).path(id)
    made = await summed(store, id, 6)
    await store.delete_message("local", path[0].id)
    assert await store.add_summary("local", id, path[3].id, "x", model="m", living=4) is None
    with pytest.raises(SummaryNotFound):
        await store.edit_summary("local", id, made.id, "x", model="m", living=6)
    kept = await store.add_summary("local", id, path[3].id, "x", model="m", living=3)
    assert kept is not None
    assert await store.edit_summary("local", id, kept.id, "y", model="m", living=4) is None


async def test_nothing_is_kept_that_was_made_of_one_that_was_deleted_meanwhile(store: SqlStore) -> None:
    id = await Talker(store).talk(*TALK, conversation="c")
    path = await Talker(store).path(id)
    before, later = await summed(store, id, 2), await summed(store, id, 4)
    kept = await store.add_summary("local", id, path[5].id, "x", model="m", living=6, of=later.id)
    assert kept is not None
    await store.delete_summary("local", id, later.id)
    assert await store.add_summary("local", id, path[5].id, "x", model="m", living=6, of=later.id) is None
    assert await store.edit_summary("local", id, before.id, "x", model="m", living=2, of=later.id) is None
    assert await store.summaries("local", id) == [before]


async def test_a_fork_takes_none_along(store: SqlStore) -> None:
    id = await Talker(store).talk(*TALK, conversation="c")
    await summed(store, id, 4)
    fork = await store.fork("local", id)
    assert await store.summaries("local", fork.id) == []


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        ("UPDATE summaries SET stop = 3", "depth"),
        ("UPDATE summaries SET text = ' '", "says nothing"),
        ("UPDATE summaries SET version = 0", "version"),
        ("UPDATE summaries SET conversation = (SELECT max(seq) FROM conversations)", "another conversation"),
        (
            "DROP TRIGGER message_changed; UPDATE messages SET key = x'', deleted_at = 1000000000000000 "
            "WHERE depth = 0",
            "deleted",
        ),
    ],
)
async def test_check_finds_what_is_wrong(store: SqlStore, path: Path, damage: str, word: str) -> None:
    id = await Talker(store).talk(*TALK, conversation="c")
    await Talker(store).talk("else", "where", conversation="d")
    await summed(store, id, 4)
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(damage)
    found = [each.text for each in check(path).findings if each.what == "summary"]
    assert any(word in text for text in found), check(path).findings
