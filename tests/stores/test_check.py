# ruff: noqa: S608 (these statements are made of what stands in this file)
"""`check` finds nothing in what palaver wrote, and every kind of damage that is done to it."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from palaver.core.errors import StoreCorrupt, StoreTooNew, StoreUnavailable
from palaver.core.message import FunctionCall, Message, ToolCall, canonical
from palaver.core.parameters import Tool
from palaver.core.turn import TurnState, Usage
from palaver.core.window_settings import WindowSettings
from palaver.stores import check as check_room
from palaver.stores import checking
from palaver.stores.base import Store
from palaver.stores.database import Row
from palaver.stores.sqlite_connection import SqliteSession, open_for_reading
from palaver.stores.sqlite_upkeep import Report, check
from tests.stores.contract_deletion import Deed, Forest, deeds
from tests.stores.old_files import NEWEST, old_store
from tests.stores.sqlite_files import ask, beside, content, opened, put
from tests.stores.talking import Talker, assistant, new_epoch, system, user


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "palaver.db"


async def fill(store: Store) -> None:
    """One of everything: branches, tools, instructions, end users, a gap, every state, two owners."""
    talker = Talker(store)
    await talker.talk("Where is Lisbon?", "In Portugal.", "And Porto?", "There too.")
    branch = await talker.admit([user("Where is Lisbon?"), assistant("In Portugal."), user("And Faro?")])
    await talker.end(branch.turn, "In the south.", usage=Usage(1, 2))
    ann = Talker(store, end_user="ann")
    asked = [system("Be brief."), user("Weather?")]
    call = ToolCall(FunctionCall("weather", '{"city": "Porto"}'), "call_1")
    calling = await ann.admit(asked, "weather")
    await ann.end(calling.turn, "", tool_calls=[call], reasoning="let me see")
    asked += [Message("assistant", tool_calls=[call]), Message("tool", "rain", tool_call_id="call_1")]
    answered = await ann.admit(asked, "weather")
    await ann.end(answered.turn, "It rains.")
    bob = Talker(store, end_user="bob")
    await bob.talk("one", "first", "two", "second", "three", "third")
    cut = await bob.admit([user("three"), assistant("third"), user("four")])
    await bob.end(cut.turn, "fourth")
    tools = [Tool(name="pick", description="Picks one.")]
    several = await Talker(store, end_user="sue").admit([user("which?")], tools=tools)
    await talker.end_all(several.turn, "this", "that", "", "another")
    for state, text in ((TurnState.FAILED, ""), (TurnState.CANCELLED, "half"), (TurnState.INCOMPLETE, "ha")):
        ended = await Talker(store, end_user=state.value).admit([user("hi")])
        await talker.end(ended.turn, text, state)
    await Talker(store, "another").talk("a secret", "kept")
    running = await Talker(store, end_user="eve").admit([user("go on")])
    await talker.log(running.turn, 0, "as far as it came")
    await windows(store)
    await talker.show(running.turn, new_epoch(), 1)


async def windows(store: Store) -> None:
    """Epochs with and without a gap, receipts, counts, settings."""
    dan = Talker(store, end_user="dan")
    epoch, other = new_epoch(), new_epoch(0, (1, 2), reason="overflow")
    for i, each in enumerate((epoch, epoch, other)):
        told = await dan.say(f"Step {i}?", f"Stride {i}.", epoch=each)
    await store.set_window("local", told.conversation, WindowSettings(mode="auto"))
    failed = await dan.admit([*dan.history, user("Another step?")])
    await dan.show(failed.turn, epoch, 7)
    await dan.end(failed.turn, "", TurnState.FAILED)
    for tokenizer in ("t1", "t2"):
        counts = {item.id: 5 for item in await dan.path(told.conversation)}
        await store.keep_counts("local", tokenizer, counts)
    embedder = await store.embedder("small", 4)
    vectors = {item.id: bytes(4) for item in await dan.path(told.conversation)}
    await store.keep_vectors(embedder.number, vectors)


@asynccontextmanager
async def filled(path: Path) -> AsyncIterator[Store]:
    async with opened(path) as store:
        await fill(store)
        yield store


async def test_what_palaver_wrote_is_as_it_must_be(path: Path) -> None:
    async with filled(path):
        beside = check(path)  # while its owner runs
    alone = check(path)
    assert beside == alone
    assert (alone.problems, alone.findings, alone.version) == (0, [], NEWEST)
    counted = ("conversations", "messages", "turns", "choices", "instructions", "toolsets", "epochs")
    assert [alone.rows[table] for table in counted] == [
        ask(path, f"SELECT count(*) FROM {table}") for table in counted
    ]


async def test_keys_of_an_older_form_are_as_they_must_be(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = Message("assistant", " ", tool_calls=[ToolCall(FunctionCall("f", '{"at": 1.0}'), "c1")])
    history = [user("hi"), called, Message("tool", "ok", tool_call_id="c1")]
    assert canonical(called, 1) != canonical(called)
    with monkeypatch.context() as older:
        for module in ("core.tree", "stores.ending"):
            older.setattr(f"palaver.{module}.canonical", partial(canonical, form=1))
        async with opened(path) as store:
            talker = Talker(store)
            await talker.end((await talker.admit(history)).turn, "done")
    assert check(path).findings == []
    async with opened(path) as store:
        talker = Talker(store)
        await talker.end((await talker.admit(history)).turn, "done again")
    assert check(path).findings == []


async def test_deleting_leaves_everything_as_it_must_be(path: Path) -> None:
    async with filled(path) as store:
        [conversation] = [c for c in await store.conversations("local") if c.messages == 4 and not c.end_user]
        items = await store.items("local", conversation.id, order="asc")
        await store.delete_message("local", items[1].id)
        assert check(path).findings == []
        await store.delete_message("local", items[0].id)
        assert check(path).findings == []
        continued = await Talker(store).admit([user("below")], parent=items[3].id)
        await Talker(store).end(continued.turn, "below what is deleted")
        assert check(path).findings == []
        await store.delete_branch("local", items[2].id)
    assert check(path).findings == []


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(deeds)
def test_whatever_is_done_and_deleted_nothing_is_wrong(what_is_done: list[Deed]) -> None:
    async def run(path: Path) -> None:
        async with opened(path) as store:
            forest = Forest(store)
            for deed in what_is_done:
                await forest.do(deed)
        assert check(path).findings == []

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder) / "palaver.db"))


async def test_it_changes_nothing(path: Path) -> None:
    async with filled(path):
        pass
    before = content(path)
    check(path)
    assert content(path) == before


LISBON = "(SELECT seq FROM messages WHERE body LIKE '%Lisbon%' AND conversation = 1 ORDER BY seq LIMIT 1)"
PORTUGAL = "(SELECT seq FROM messages WHERE body LIKE '%Portugal%' ORDER BY seq LIMIT 1)"
ANNS = "(SELECT seq FROM conversations WHERE name = 'weather')"
ENDED = "(SELECT seq FROM turns WHERE state = 'completed' ORDER BY seq LIMIT 1)"
RUNNING = "(SELECT seq FROM turns WHERE state = 'running')"
THAT = "(SELECT seq FROM messages WHERE body LIKE '%that%')"
OTHER = "(SELECT seq FROM owners WHERE name = 'another')"
DANS = "(SELECT conversation FROM epochs WHERE gap_from IS NOT NULL)"
STRIDE = "(SELECT seq FROM messages WHERE body LIKE '%Stride 1%')"
SEEN = "(SELECT max(seq) FROM turns WHERE receipt IS NOT NULL AND state = 'completed')"

DAMAGES = {
    "a vector of no message": (
        "INSERT INTO message_vectors VALUES (999, 1, x'00')",
        "message_vector",
        "missing",
    ),
    "a vector of what is deleted": (
        "UPDATE messages SET deleted_at = 1 WHERE seq = (SELECT max(message) FROM message_vectors)",
        "message_vector",
        "its message is deleted",
    ),
    "a vector of nobody's": ("UPDATE message_vectors SET embedder = 99", "message_vector", "what made it"),
    "a vector of another size": (
        "UPDATE message_vectors SET vector = x'00'",
        "message_vector",
        "not the size",
    ),
    "another text": (
        f"UPDATE messages SET body = replace(body, 'Lisbon', 'Madrid') WHERE seq = {LISBON}",
        "message",
        "its key is not",
    ),
    "another key": (f"UPDATE messages SET key = x'00' WHERE seq = {LISBON}", "message", "its key is not"),
    "another second hash": (
        f"UPDATE messages SET tail = x'00' WHERE seq = {PORTUGAL}",
        "message",
        "its second hash",
    ),
    "no second hash": (
        f"UPDATE messages SET tail = NULL WHERE seq = {PORTUGAL}",
        "message",
        "its second hash",
    ),
    "a second hash of a question": (
        f"UPDATE messages SET tail = x'00' WHERE seq = {LISBON}",
        "message",
        "only generated replies",
    ),
    "another depth": (f"UPDATE messages SET depth = 7 WHERE seq = {PORTUGAL}", "message", "its depth is 7"),
    "a deep root": (f"UPDATE messages SET depth = 1 WHERE seq = {LISBON}", "message", "first message"),
    "another conversation": (
        f"UPDATE messages SET conversation = {ANNS} WHERE seq = {PORTUGAL}",
        "message",
        "its parent is in another conversation",
    ),
    "no conversation": (f"UPDATE messages SET conversation = 999 WHERE seq = {LISBON}", "message", "missing"),
    "no parent": (f"UPDATE messages SET parent = 999 WHERE seq = {PORTUGAL}", "message", "parent is missing"),
    "another role": (
        f"UPDATE messages SET role = 'tool' WHERE seq = {LISBON}",
        "message",
        "its role is tool",
    ),
    "no message": (f"UPDATE messages SET body = '{{' WHERE seq = {LISBON}", "message", "cannot be decoded"),
    "a foreign turn": (
        f"UPDATE messages SET turn = {ENDED} + 1 WHERE seq = {PORTUGAL}",
        "message",
        "has another reply",
    ),
    "a tombstone with text": (
        f"UPDATE messages SET deleted_at = 1 WHERE seq = {LISBON}",
        "message",
        "something of it is still there",
    ),
    "a foreign head": (
        f"UPDATE conversations SET head = {LISBON} WHERE seq = {ANNS}",
        "conversation",
        "its head",
    ),
    "a foreign title": (
        f"UPDATE conversations SET title_from = {LISBON} WHERE seq = {ANNS}",
        "conversation",
        "its title",
    ),
    "a user's title that is made of a message": (
        f"UPDATE conversations SET titled_by = 'user' WHERE seq = {ANNS}",
        "conversation",
        "its title is the user's",
    ),
    "a title by nobody knows whom": (
        f"UPDATE conversations SET titled_by = 'chance' WHERE seq = {ANNS}",
        "conversation",
        "not said who made its title",
    ),
    "no title by somebody": (
        f"UPDATE conversations SET titled_by = 'model', title = NULL WHERE seq = {ANNS}",
        "conversation",
        "not said who made its title",
    ),
    "a title of what is deleted": (
        f"UPDATE messages SET deleted_at = 1 WHERE seq = {LISBON}",
        "conversation",
        "a message that is deleted",
    ),
    "another owner's end user": (
        f"UPDATE end_users SET owner = {OTHER} WHERE name = 'ann'",
        "conversation",
        "another owner's",
    ),
    "an unknown state": (f"UPDATE turns SET state = 'lost' WHERE seq = {ENDED}", "turn", "unknown state"),
    "a lease that stays": (
        f"UPDATE turns SET lease = 'x' WHERE seq = {ENDED}",
        "turn",
        "somebody works on it",
    ),
    "no lease": (f"UPDATE turns SET lease = NULL WHERE seq = {RUNNING}", "turn", "nobody works on it"),
    "no end": (f"UPDATE turns SET ended_at = NULL WHERE seq = {ENDED}", "turn", "never ended"),
    "an early end": (f"UPDATE turns SET ended_at = 1 WHERE seq = {RUNNING}", "turn", "has ended"),
    "an input that stays": (f"UPDATE turns SET input = '[]' WHERE seq = {RUNNING}", "turn", "asked twice"),
    "nothing to ask": (f"UPDATE turns SET state = 'queued' WHERE seq = {RUNNING}", "turn", "is gone"),
    "an early reply": (f"UPDATE turns SET reply = {PORTUGAL} WHERE seq = {RUNNING}", "turn", "has its reply"),
    "a log that stays": (
        f"UPDATE turns SET state = 'failed', lease = NULL, ended_at = 1 WHERE seq = {RUNNING}",
        "turn",
        "still there",
    ),
    "another owner's turn": (
        f"UPDATE turns SET owner = {OTHER} WHERE seq = {ENDED}",
        "turn",
        "another owner's",
    ),
    "another owner's instructions": (
        f"UPDATE instructions SET owner = {OTHER}",
        "turn",
        "its instructions are another owner's",
    ),
    "a foreign question": (
        f"UPDATE turns SET question = (SELECT head FROM conversations WHERE seq = {ANNS}) WHERE seq = {ENDED}",
        "turn",
        "its question is",
    ),
    "a reply elsewhere": (
        f"UPDATE messages SET parent = NULL WHERE seq = {PORTUGAL}",
        "turn",
        "does not stand below its question",
    ),
    "another's reply": (
        f"UPDATE messages SET turn = NULL, tail = NULL WHERE seq = {PORTUGAL}",
        "turn",
        "another turn's",
    ),
    "a missing continued message": (
        f"UPDATE turns SET continues = 999 WHERE seq = {ENDED}",
        "turn",
        "its continues is",
    ),
    "other instructions": (
        "UPDATE instructions SET body = replace(body, 'brief', 'long')",
        "instruction",
        "their hash",
    ),
    "broken instructions": ("UPDATE instructions SET body = '{'", "instruction", "cannot be decoded"),
    "another owner's tools": (
        f"UPDATE toolsets SET owner = {OTHER}",
        "turn",
        "its tools are another owner's",
    ),
    "other tools": ("UPDATE toolsets SET body = replace(body, 'Picks', 'Drops')", "toolset", "their hash"),
    "broken tools": ("UPDATE toolsets SET body = '{'", "toolset", "cannot be decoded"),
    "tools of no turn": ("UPDATE turns SET tools = NULL", "toolset", "no turn has these tools"),
    "a reply of which the turn knows nothing": (
        f"UPDATE choices SET reply = NULL WHERE reply = {THAT}",
        "message",
        "has another reply",
    ),
    "a further reply that is another turn's": (
        f"UPDATE messages SET turn = {ENDED} WHERE seq = {THAT}",
        "choice",
        "another turn's",
    ),
    "a further reply elsewhere": (
        f"UPDATE messages SET parent = NULL WHERE seq = {THAT}",
        "choice",
        "does not stand below",
    ),
    "a missing further reply": (
        f"UPDATE choices SET reply = 999 WHERE reply = {THAT}",
        "choice",
        "or missing",
    ),
    "a further reply of no turn": (
        f"UPDATE choices SET turn = 999 WHERE reply = {THAT}",
        "choice",
        "its turn is missing",
    ),
    "a further reply that is the first": (
        f"UPDATE choices SET choice = 0 WHERE reply = {THAT}",
        "choice",
        "its number is 0",
    ),
    "a further reply of what still runs": (
        f"UPDATE choices SET turn = {RUNNING} WHERE reply = {THAT}",
        "choice",
        "has not ended",
    ),
    "a log of no turn": (
        "INSERT INTO turn_log (turn, batch, deltas) VALUES (999, 3, '[]')",
        "turn_log",
        "its turn is missing",
    ),
    "an attempt of no turn": (
        "INSERT INTO attempts (owner, route, body_hash, turn, count, created_at) VALUES (1, 'x', x'', 999, 0, 0)",
        "attempt",
        "missing",
    ),
    "an attempt at another's turn": (
        "INSERT INTO attempts (owner, route, body_hash, turn, count, created_at) "
        f"VALUES ({OTHER}, 'x', x'', {ENDED}, 0, 0)",
        "attempt",
        "another owner's",
    ),
    "settings that say nothing": (
        f"UPDATE conversations SET window_settings = '[]' WHERE seq = {DANS}",
        "conversation",
        "its windows are chosen cannot be decoded",
    ),
    "an epoch of another conversation": (
        f"UPDATE epochs SET conversation = {ANNS} WHERE conversation = {DANS}",
        "turn",
        "its epoch is another conversation's",
    ),
    "a missing epoch": (f"UPDATE turns SET epoch = 999 WHERE seq = {SEEN}", "turn", "or missing"),
    "an epoch of no turn": (
        f"UPDATE turns SET epoch = NULL, receipt = NULL WHERE conversation = {DANS}",
        "epoch",
        "no turn has this epoch",
    ),
    "an epoch of no conversation": (
        f"UPDATE epochs SET conversation = 999 WHERE conversation = {DANS}",
        "epoch",
        "its conversation is missing",
    ),
    "an epoch with half a gap": (
        f"UPDATE epochs SET gap_to = NULL WHERE conversation = {DANS} AND gap_to IS NOT NULL",
        "epoch",
        "no part of a path",
    ),
    "an epoch that begins before its path": (
        f"UPDATE epochs SET start = -1 WHERE conversation = {DANS}",
        "epoch",
        "no part of a path",
    ),
    "an epoch with a gap of nothing": (
        f"UPDATE epochs SET gap_from = 5, gap_to = 5 WHERE conversation = {DANS}",
        "epoch",
        "no part of a path",
    ),
    "an epoch with a gap before it begins": (
        f"UPDATE epochs SET start = 3, gap_from = 2, gap_to = 4 WHERE conversation = {DANS}",
        "epoch",
        "no part of a path",
    ),
    "a broken receipt": (f"UPDATE turns SET receipt = '{{' WHERE seq = {SEEN}", "turn", "cannot be decoded"),
    "a receipt of something else": (
        f'UPDATE turns SET receipt = \'{{"model": "m"}}\' WHERE seq = {SEEN}',
        "turn",
        "its receipt cannot be decoded",
    ),
    "a receipt of another epoch": (
        f"UPDATE turns SET receipt = replace(receipt, 'epoch_', 'epoch_0') WHERE seq = {SEEN}",
        "turn",
        "its receipt is that of another epoch",
    ),
    "a receipt without an epoch": (
        f"UPDATE turns SET epoch = NULL WHERE seq = {SEEN}",
        "turn",
        "its receipt is that of another epoch",
    ),
    "an epoch without a receipt": (
        f"UPDATE turns SET receipt = NULL WHERE seq = {SEEN}",
        "turn",
        "its receipt is that of another epoch",
    ),
    "a count of what is missing": (
        f"UPDATE message_counts SET message = 999 WHERE message = {STRIDE}",
        "message_count",
        "deleted or missing",
    ),
    "a count of what is deleted": (
        f"UPDATE messages SET deleted_at = 1 WHERE seq = {STRIDE}",
        "message_count",
        "deleted or missing",
    ),
    "a count by nobody": (
        f"UPDATE message_counts SET tokenizer = 999 WHERE message = {STRIDE} AND tokenizer = 2",
        "message_count",
        "what counted it is missing",
    ),
    "a reference to nothing": (
        f"UPDATE conversations SET end_user = 999 WHERE seq = {ANNS}",
        "conversations",
        "a row of end_users",
    ),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a store with nothing wrong."""
    path = tmp_path_factory.mktemp("sound") / "palaver.db"

    async def make() -> None:
        async with filled(path):
            pass

    asyncio.run(make())
    return content(path)


@pytest.mark.parametrize("damage", DAMAGES)
def test_it_is_found(path: Path, sound: bytes, damage: str) -> None:
    statement, what, words = DAMAGES[damage]
    put(path, sound)
    with closing(beside(path, isolation_level=None)) as connection:
        assert connection.execute(statement).rowcount > 0
    report = check(path)
    assert report.problems == len(report.findings)
    assert [f for f in report.findings if f.what == what and words in f.text], report.findings


def test_a_finding_names_its_row(path: Path, sound: bytes) -> None:
    put(path, sound)
    id = ask(path, f"SELECT id FROM messages WHERE seq = {LISBON}")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"UPDATE messages SET key = x'00' WHERE seq = {LISBON}")
    assert id in {finding.id for finding in check(path).findings}


def without_index(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("DELETE FROM sqlite_schema WHERE name = 'messages_by_parent'")


def test_damage_of_the_file_is_found(path: Path, sound: bytes) -> None:
    put(path, sound)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        without_index(connection)
    assert {finding.what for finding in check(path).findings} == {"file"}


def test_pages_that_cannot_be_read_are_told(path: Path, sound: bytes) -> None:
    put(path, sound)
    page = ask(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'messages'")
    damaged = bytearray(sound)
    damaged[(page - 1) * 4096 : page * 4096] = b"\xa5" * 4096
    put(path, bytes(damaged))
    report = check(path)
    assert report.problems
    assert all(finding.what == "file" for finding in report.findings)
    assert "cannot be read further" in report.findings[-1].text


def test_text_that_is_no_text_is_told_and_not_shown(path: Path, sound: bytes) -> None:
    put(path, sound.replace(b"Where is Lisbon?", b"Where is \xff\xfe\xfdbon?"))
    report = check(path)
    assert report.problems
    assert not [finding for finding in report.findings if "Where" in finding.text]


def test_many_findings_are_counted_and_not_all_listed(
    path: Path, sound: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(path, sound)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        count = connection.execute("UPDATE messages SET key = x'00'").rowcount
    monkeypatch.setattr("palaver.stores.sqlite_upkeep.LISTED", 5)
    report = check(path)
    assert len(report.findings) == 5
    assert report.problems >= count


class Watched(SqliteSession):
    """Notes how many rows it was asked for at a time."""

    most = 0

    def all(self, query: str, /, **parameters: Any) -> list[Row]:
        rows = super().all(query, **parameters)
        self.most = max(self.most, len(rows))
        return rows


async def test_a_large_store_is_read_in_portions(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with filled(path):
        pass
    monkeypatch.setattr(checking, "PORTION", 3)
    monkeypatch.setattr(check_room, "EXCHANGES", (2, 3))
    with closing(open_for_reading(path)) as connection:
        session = Watched(connection)
        portions = list(check_room.check(session))
    assert session.most == 3
    assert sum(p.rows for p in portions if p.table == "messages") == ask(
        path, "SELECT count(*) FROM messages"
    )


async def test_it_is_of_one_moment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written while it reads is not half seen."""
    async with filled(path) as store:
        loop, before = asyncio.get_running_loop(), check(path)
        damages: Callable[[sqlite3.Connection], list[str]] = check_room.check  # type: ignore[assignment]

        def interrupted(session: Any) -> Any:
            for portion in damages(session):
                asyncio.run_coroutine_threadsafe(Talker(store, end_user="ann").talk("hi", "ho"), loop).result(
                    30
                )
                yield portion

        monkeypatch.setattr("palaver.stores.sqlite_upkeep.check_rows", interrupted)
        during: Report = await asyncio.to_thread(check, path)
        monkeypatch.undo()
        assert during == before
        after = check(path)
        assert after.rows["messages"] > before.rows["messages"]
        assert after.findings == []


class TestOthers:
    def test_no_store(self, path: Path) -> None:
        with pytest.raises(StoreUnavailable, match="no store at"):
            check(path)
        assert not list(path.parent.iterdir())

    def test_an_empty_file(self, path: Path) -> None:
        put(path, b"")
        with pytest.raises(StoreCorrupt, match="empty"):
            check(path)

    def test_another_programs_file(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE bookmarks (url)")
        with pytest.raises(StoreCorrupt, match="another program"):
            check(path)
        put(path, b"Dear diary,\n" * 1000)
        with pytest.raises(StoreCorrupt):
            check(path)

    def test_a_newer_file(self, path: Path, sound: bytes) -> None:
        put(path, sound)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA user_version = {NEWEST + 1}")
        with pytest.raises(StoreTooNew):
            check(path)

    def test_of_an_older_file_the_form_is_checked(self, path: Path) -> None:
        old_store(path, 1)
        report = check(path)
        assert (report.version, report.findings) == (1, [])
        assert report.rows["messages"] > 0
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE messages SET parent = 999 WHERE seq = 2")
        assert [finding.what for finding in check(path).findings] == ["messages"]
