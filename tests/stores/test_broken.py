"""A store that breaks under a running palaver: a clear error, never an empty answer, and on again when it is whole.

What is full or cannot be written is in test_disk.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest

from palaver.core.errors import PalaverError, StoreCorrupt, StoreError, StoreRefused, StoreUnavailable
from palaver.core.searching import read_query
from palaver.core.tree import read_history
from palaver.core.turn import TurnState
from palaver.stores import sqlite_connection
from palaver.stores.base import Admission, Scope, Store
from palaver.stores.database import Session
from palaver.stores.sqlite import SqliteDatabase
from palaver.stores.sqlite_upkeep import check
from tests.stores.sqlite_files import ask, beside, content, opened, put, tables
from tests.stores.talking import Talker, new_epoch, user


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "palaver.db"


class Asking:
    """One turn that runs, one that has ended, and every way to ask for them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.talker = Talker(store)
        self.epoch = new_epoch()
        self.conversation = ""
        self.ended = ""
        self.running = ""

    async def begin(self) -> None:
        self.conversation = await self.talker.talk("hi", "hello")
        [reply, _] = await self.store.items("local", self.conversation)
        assert reply.turn is not None
        self.ended = reply.turn
        self.running = (await self.talker.admit([*self.talker.history, user("more")])).turn

    def reads(self) -> dict[str, Callable[[], Awaitable[object]]]:
        store, known = self.store, self.conversation
        return {
            "conversations": lambda: store.conversations("local", one_shots=True),
            "conversations, of a stranger": lambda: store.conversations("nobody"),
            "conversation": lambda: store.conversation("local", known),
            "conversation, missing": lambda: store.conversation("local", "nothing"),
            "items": lambda: store.items("local", known),
            "items, first first": lambda: store.items("local", known, order="asc"),
            "items, of nothing": lambda: store.items("local", "conv_nothing"),
            "turn": lambda: store.turn("local", self.ended),
            "prompt": lambda: store.prompt(self.running, self.talker.lease),
            "turn, missing": lambda: store.turn("local", "turn_nothing"),
            "turns": lambda: store.turns("local", door="test"),
            "turn_input": lambda: store.turn_input("local", "turn_nothing"),
            "message": lambda: store.message("local", known, "msg_nothing"),
            "messages": lambda: store.messages("local", ["msg_nothing"]),
            "attachment": lambda: store.attachment("local", "00" * 16),
            "attachments": lambda: store.attachments("local", ["00" * 16]),
            "titled_by_words": lambda: store.titled_by_words("local", known),
            "opening": lambda: store.opening("local", "msg_nothing"),
            "path": lambda: store.path("local", "msg_nothing"),
            "foresee": lambda: self.foresee(),
            "counts": lambda: store.counts("local", "t1", ["msg_nothing"]),
            "epochs": lambda: store.epochs("local", known),
            "epochs, of nothing": lambda: store.epochs("local", "conv_nothing"),
            "last_instructions": lambda: store.last_instructions("local", known),
            "tree": lambda: store.tree("local", known),
            "leaves": lambda: store.leaves("local", known),
            "map": lambda: store.map("local", known),
            "open_turns": lambda: store.open_turns("local", known),
            "siblings": lambda: store.siblings("local", ["msg_nothing"]),
            "figures": lambda: store.figures("local", [self.ended]),
            "next_expiry": lambda: store.next_expiry(),
            "overdue": lambda: store.overdue(1),
            "conversations_of": lambda: store.conversations_of("local", "nobody"),
            "aged": lambda: store.aged(1),
            "api_keys": lambda: store.api_keys(),
            "api_key_of": lambda: store.api_key_of(b"nothing"),
            "had_api_key": lambda: store.had_api_key(),
            "root_key": lambda: store.root_key("someone new", None),
            **self.looks(),
        }

    def looks(self) -> dict[str, Callable[[], Awaitable[object]]]:
        """What searches, and what is kept beside messages."""
        store, known, query, scope = self.store, self.conversation, read_query("hi"), Scope()
        return {
            "search": lambda: store.search("local", query, scope),
            "search, of a stranger": lambda: store.search("nobody", query, scope),
            "latest": lambda: store.latest("local", query, scope),
            "latest_titles": lambda: store.latest_titles("local", query, scope),
            "search_titles": lambda: store.search_titles("local", query, scope),
            "excerpts": lambda: store.excerpts("local", query, ["msg_nothing"]),
            "conversation_names": lambda: store.conversation_names("local", [known]),
            "on_path": lambda: store.on_path("local", "msg_nothing", ["msg_nothing"]),
            "last_embedder": lambda: store.last_embedder("m"),
            "unembedded": lambda: store.unembedded(None),
            "vectors": lambda: store.vectors("local", 1, scope),
            "numbered": lambda: store.numbered("local", [1]),
            "drop_other_vectors": lambda: store.drop_other_vectors(
                1
            ),  # there are none, so that none is removed
            "summaries": lambda: store.summaries("local", known),
            "summary": lambda: store.summary("local", known, "sum_nothing"),
        }

    def writes(self) -> dict[str, Callable[[], Awaitable[object]]]:
        store, talker = self.store, self.talker
        return {
            "admit": lambda: talker.admit([user("new")]),
            "note_window": lambda: talker.show(self.running, self.epoch, 3),
            "keep_counts": lambda: store.keep_counts("local", "t1", {"msg_nothing": 1}),
            "set_window": lambda: store.set_window("local", self.conversation, None),
            "log": lambda: talker.log(self.running, 0, "text"),
            "finish": lambda: talker.end(self.running, "text"),
            "recover": lambda: store.recover("another"),
            "create_conversation": lambda: store.create_conversation("local", [user("new")]),
            "add_items": lambda: store.add_items("local", self.conversation, [user("new")]),
            "update_conversation": lambda: store.update_conversation("local", self.conversation, title="new"),
            "update_turn": lambda: store.update_turn("local", "turn_nothing", {}),
            "set_model_title": lambda: store.set_model_title(
                "local", self.conversation, "new", "msg_nothing"
            ),
            "set_head": lambda: store.set_head("local", self.conversation, "msg_nothing"),
            "fork": lambda: store.fork("local", self.conversation),
            "delete_message": lambda: store.delete_message("local", "msg_nothing"),
            "delete_turn": lambda: store.delete_turn("local", self.ended),
            "delete_branch": lambda: store.delete_branch("local", "msg_nothing"),
            "delete_conversation": lambda: store.delete_conversation("local", "conv_nothing"),
            "delete_end_user": lambda: store.delete_end_user("local", "nobody"),
            "delete_owner": lambda: store.delete_owner("nobody"),
            "delete_aged": lambda: store.delete_aged(1),
            "delete_expired": lambda: store.delete_expired(1),
            "revoke_api_key": lambda: store.revoke_api_key("key_nothing"),
            "embedder": lambda: store.embedder("m", 3),
            "keep_vectors": lambda: store.keep_vectors(1, {"msg_nothing": b"abc"}),
            "add_summary": lambda: store.add_summary(
                "local", self.conversation, "msg_nothing", "text", model=None, living=1
            ),
            "edit_summary": lambda: store.edit_summary("local", self.conversation, "sum_nothing", "text"),
            "switch_summary": lambda: store.switch_summary(
                "local", self.conversation, "sum_nothing", is_off=True
            ),
            "delete_summary": lambda: store.delete_summary("local", self.conversation, "sum_nothing"),
        }

    async def foresee(self) -> object:
        history = read_history([user("new")], b"key")
        admission = Admission(
            owner="local",
            end_user=None,
            turn="",
            lease="",
            door="",
            requested_model="m",
            model="m",
            history=history,
        )
        return await self.store.foresee(admission)

    async def fail(self, kind: type[StoreError], *, reads: bool = True, writes: bool = True) -> None:
        """Each verb raises this: no empty list, nothing "not found", nothing made."""
        verbs = (self.reads() if reads else {}) | (self.writes() if writes else {})
        outcomes = {name: await outcome(verb) for name, verb in verbs.items()}
        assert outcomes == dict.fromkeys(verbs, kind.__name__)

    async def work(self) -> None:
        """All is well again: the turn that ran meanwhile ends, and is there once."""
        assert await self.talker.texts(self.conversation) == ["hi", "hello", "more"]
        await self.talker.end(self.running, "sure")
        assert (await self.store.turn("local", self.running)).state is TurnState.COMPLETED
        assert await self.talker.texts(self.conversation) == ["hi", "hello", "more", "sure"]


async def outcome(verb: Callable[[], Awaitable[object]]) -> str:
    """The name of the error that a verb raises, or what it answers."""
    try:
        return f"answered {await verb()!r}"
    except PalaverError as error:
        return type(error).__name__


@asynccontextmanager
async def asking(path: Path) -> AsyncIterator[Asking]:
    async with opened(path) as store:
        it = Asking(store)
        await it.begin()
        yield it


async def test_every_verb_is_asked(path: Path) -> None:
    """A verb that the contract gains belongs here."""
    async with asking(path) as it:
        asked = {verb.split()[0].strip(",") for verb in (*it.reads(), *it.writes())}
        verbs = {name for name in dir(Store) if not name.startswith("_")}
        about_the_process = {"announce", "withdraw", "close"}
        of_what_was_admitted = {"begin", "add_api_key", "touch_api_keys"}
        assert asked == verbs - about_the_process - of_what_was_admitted


def files(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def move(path: Path, to: Path) -> None:
    path.replace(to)


class TestMoved:
    """SQLite goes on in a file that no path leads to any more: what it wrote there would be lost."""

    @pytest.mark.parametrize("what", ["the file", "the file and its journal", "the folder"])
    async def test_a_store_that_is_moved_away_and_back(self, path: Path, tmp_path: Path, what: str) -> None:
        async with asking(path) as it:
            before = tables(path)
            moves = {
                "the file": [path],
                "the file and its journal": [path, *path.parent.glob("palaver.db-*")],
                "the folder": [path.parent],
            }[what]
            for each in moves:
                move(each, tmp_path / each.name.replace("store", "away"))
            await it.fail(StoreUnavailable)
            for each in moves:
                move(tmp_path / each.name.replace("store", "away"), each)
            assert tables(path) == before
            await it.work()
        assert check(path).findings == []

    async def test_what_was_deleted_is_missed_and_nothing_is_made_in_its_place(
        self, path: Path, tmp_path: Path
    ) -> None:
        async with asking(path) as it:
            shutil.rmtree(path.parent)
            await it.fail(StoreUnavailable)
            with pytest.raises(StoreUnavailable, match="gone: moved or deleted"):
                await it.store.conversations("local")
        assert files(tmp_path) == []

    async def test_another_file_in_its_place_is_not_taken_for_it(self, path: Path, tmp_path: Path) -> None:
        async with opened(tmp_path / "other.db") as other:
            await Talker(other).talk("not yours", "no")
        async with asking(path) as it:
            before = tables(path)
            move(path, tmp_path / "away.db")
            shutil.copy(tmp_path / "other.db", path)
            other_content = content(path)
            await it.fail(StoreUnavailable)
            with pytest.raises(StoreUnavailable, match="replaced by another file"):
                await it.store.conversations("local")
            assert content(path) == other_content
            move(tmp_path / "away.db", path)
            assert tables(path) == before
            await it.work()

    async def test_what_is_moved_while_it_is_committed_is_not_acknowledged(
        self, path: Path, tmp_path: Path
    ) -> None:
        database = await SqliteDatabase.open(path)

        def work(session: Session) -> None:
            session.run("add_owner", name="new", secret=b"s", now=0)
            path.rename(tmp_path / "away.db")

        with pytest.raises(StoreUnavailable, match="gone"):
            await database.write(work)
        await database.close()


class TestLocked:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite_connection, "BUSY_MS", 20)

    @contextmanager
    def locked(self, path: Path) -> Iterator[None]:
        """Another program writes, and does not come to an end."""
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")

    async def test_writes_say_so_and_reads_go_on(self, path: Path) -> None:
        async with asking(path) as it:
            before = tables(path)
            with self.locked(path):
                await it.fail(StoreUnavailable, reads=False)
                with pytest.raises(StoreUnavailable, match="locked"):
                    await it.talker.admit([user("new")])
                assert await it.talker.texts(it.conversation) == ["hi", "hello", "more"]
            assert tables(path) == before
            await it.work()

    async def test_a_store_that_is_to_be_made_there(self, path: Path) -> None:
        put(path, b"")
        with self.locked(path), pytest.raises(StoreUnavailable, match="locked"):
            await SqliteDatabase.open(path)
        async with asking(path) as it:
            await it.work()


class TestDamaged:
    def damage(self, path: Path, kept: int = 4096) -> bytes:
        """Write nonsense over all but the first page, in place; what was there."""
        was = content(path)
        with path.open("r+b") as file:
            file.seek(kept)
            file.write(b"\xa5" * (len(was) - kept))
        return was

    async def whole(self, path: Path) -> None:
        """A store whose rows are all in the file itself."""
        async with asking(path):
            pass

    async def test_while_it_runs(self, path: Path) -> None:
        await self.whole(path)
        async with opened(path) as store:
            it = Asking(store)
            was = self.damage(path)
            it.conversation, it.ended, it.running = "conv_x", "turn_x", "turn_y"
            with pytest.raises(StoreCorrupt):
                await store.conversations("local", one_shots=True)
            with pytest.raises(StoreCorrupt):
                await it.talker.admit([user("new")])
            put_in_place(path, was)
            assert len(await store.conversations("local", one_shots=True)) == 1
            conversation = await it.talker.talk("hi", "hello")
            assert await it.talker.texts(conversation) == ["hi", "hello"]
        assert check(path).findings == []

    async def test_before_it_starts(self, path: Path) -> None:
        await self.whole(path)
        was = self.damage(path)
        with contextlib.suppress(StoreCorrupt):
            async with opened(path) as store:
                with pytest.raises(StoreCorrupt):
                    await store.conversations("local", one_shots=True)
        put(path, was)
        async with opened(path) as store:
            assert len(await store.conversations("local", one_shots=True)) == 1

    async def test_a_file_that_was_emptied(self, path: Path) -> None:
        """Nothing is there to be read: that is not the same as nothing."""
        await self.whole(path)
        async with opened(path) as store:
            was = content(path)
            os.truncate(path, 0)
            for read in (store.conversations("local"), store.turn("local", "turn_x")):
                with pytest.raises(StoreError):
                    await read
            put_in_place(path, was)
            assert len(await store.conversations("local", one_shots=True)) == 1

    @pytest.mark.parametrize(
        "statement",
        [
            'UPDATE messages SET body = \'{"role": "nobody", "content": "a secret"}\'',
            "UPDATE messages SET body = 'a secret'",
            "UPDATE messages SET body = CAST(x'ff' || 'a secret' AS TEXT)",
            "UPDATE turns SET parameters = '\"a secret\"'",
            "UPDATE turns SET state = 'a secret'",
            "UPDATE turns SET receipt = 'a secret'",
            'UPDATE conversations SET window_settings = \'{"mode": "a secret"}\'',
        ],
    )
    async def test_a_row_that_says_what_it_cannot_say(self, path: Path, statement: str) -> None:
        """Told as damage, and without the text, which would reach the log."""
        async with asking(path) as it:
            with closing(beside(path)) as other, other:
                other.execute(statement)
            table = statement.split()[1]
            verb = it.reads()[{"turns": "turn", "conversations": "conversation"}.get(table, "items")]
            with pytest.raises(StoreCorrupt) as caught:
                await verb()
            assert "secret" not in str(caught.value)
            assert caught.value.__cause__ is None

    async def test_a_reply_that_is_missing_is_not_a_turn_without_one(self, path: Path) -> None:
        async with asking(path) as it:
            with closing(sqlite3.connect(path)) as other, other:
                other.execute("UPDATE turns SET reply = 999 WHERE reply IS NOT NULL")
            with pytest.raises(StoreCorrupt, match="palaver check"):
                await it.store.turn("local", it.ended)

    async def test_what_can_never_work_is_told_apart_from_what_may_work_later(self, path: Path) -> None:
        database = await SqliteDatabase.open(path)
        for _ in range(2):
            with pytest.raises(StoreRefused, match="NOT NULL"):
                await database.write(lambda s: s.run("add_owner", name=None, secret=b"", now=0))
        await database.close()


def put_in_place(path: Path, content: bytes) -> None:
    """Write over a file, which stays the same file."""
    with path.open("r+b") as file:
        file.write(content)


class TestReaders:
    async def test_a_broken_reader_is_replaced(self, path: Path) -> None:
        """Its connection says nothing but errors from then on; the next question gets another one."""
        database = await SqliteDatabase.open(path)
        connections: list[sqlite3.Connection] = []
        both = threading.Barrier(2)

        def connection(session: Session) -> None:
            both.wait(30)  # so that each of the two threads has one
            connections.append(session._connection)  # type: ignore[attr-defined]

        await asyncio.gather(database.read(connection), database.read(connection))
        for each in connections:
            each.close()
        said = [await outcome(lambda: database.read(lambda s: s.all("palaver_of_store"))) for _ in range(20)]
        assert 1 <= said.count("StoreUnavailable") <= len(connections)
        assert len([each for each in said if each.startswith("answered")]) >= 18
        await database.close()

    async def test_what_is_not_found_breaks_no_reader(self, path: Path) -> None:
        async with asking(path) as it:
            database = it.store._database  # type: ignore[attr-defined]
            await it.reads()["conversations"]()
            before = list(database._connections)
            for name in ("turn, missing", "conversation, missing"):
                with contextlib.suppress(Exception):
                    await it.reads()[name]()
            assert [each for each in before if each not in database._connections] == []


class TestPermissions:
    """Rights that are taken away and given back, seen by somebody who is not root."""

    @pytest.fixture
    def folder(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir="/tmp" if os.name == "posix" else None) as name:
            folder = Path(name)
            if hasattr(os, "geteuid") and os.geteuid() == 0:
                os.chown(folder, NOBODY, NOBODY)
                os.seteuid(NOBODY)
                try:
                    yield folder
                finally:
                    os.seteuid(0)
            else:
                yield folder
            folder.chmod(0o700)

    async def test_a_file_that_may_not_be_read(self, folder: Path) -> None:
        path = folder / "palaver.db"
        async with asking(path):
            pass
        path.chmod(0)
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await SqliteDatabase.open(path)
        with pytest.raises(StoreUnavailable):
            check(path)
        path.chmod(0o600)
        async with opened(path) as store:
            assert len(await store.conversations("local", one_shots=True)) == 1

    async def test_a_file_that_may_not_be_written(self, folder: Path) -> None:
        path = folder / "palaver.db"
        async with asking(path):
            pass
        path.chmod(0o400)
        with pytest.raises(StoreUnavailable):
            async with asking(path):
                pass
        assert check(path).rows["turns"] == 2

    async def test_a_folder_that_is_closed_while_it_runs(self, folder: Path) -> None:
        inner = folder / "inner"
        async with asking(inner / "palaver.db") as it:
            inner.chmod(0)
            await it.fail(StoreUnavailable)
            with pytest.raises(StoreUnavailable, match="out of reach"):
                await it.store.conversations("local")
            inner.chmod(0o700)
            await it.work()

    async def test_what_cannot_be_looked_at_is_not_nothing(self, folder: Path) -> None:
        inner = folder / "inner"
        inner.mkdir()
        async with asking(inner / "palaver.db"):
            pass
        inner.chmod(0)
        with pytest.raises(StoreUnavailable, match="cannot be used"):
            check(inner / "palaver.db")
        with pytest.raises(StoreUnavailable):
            await SqliteDatabase.open(inner / "palaver.db")
        inner.chmod(0o700)
        assert ask(inner / "palaver.db", "SELECT count(*) FROM turns") == 2


NOBODY = 65534
"""The user whom no file belongs to, by convention."""
