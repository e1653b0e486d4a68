"""The full-text index of a SQLite store: it has what is there, whatever is written together, undone or deleted."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from palaver.core.errors import StoreFull, StoreRefused
from palaver.core.searching import MARKS, read_query
from palaver.stores import admission as admitting
from palaver.stores import sqlite_merge
from palaver.stores.base import Scope, Store
from palaver.stores.database import Session
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite_upkeep import backup, check
from tests.stores.old_files import OLD, old_store
from tests.stores.sqlite_files import ask, beside, content, opened
from tests.stores.talking import Talker, user
from tests.stores.test_group_commit import Traced, restart_writer

EVERYWHERE = Scope(tasks=True, temporary=True)
LETTERS = "bcdfghkmnprtvwxz"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "palaver.db"


def agrees(path: Path) -> None:
    """The indexes have what is to be found, and each word leads to its place."""
    with closing(beside(path, isolation_level=None)) as connection:
        for index, texts in (("message_index", "message_texts"), ("title_index", "title_texts")):
            there = connection.execute(f"SELECT rowid, place, text FROM {index} ORDER BY rowid").fetchall()  # noqa: S608
            to_be = f"SELECT seq, place, text FROM {texts} WHERE text <> '' ORDER BY seq"  # noqa: S608
            assert there == connection.execute(to_be).fetchall()
            connection.execute(f"INSERT INTO {index} ({index}) VALUES ('integrity-check')")  # noqa: S608


async def found(store: Store, words: str, owner: str = "local") -> list[str]:
    """The texts of the messages that have any of these words."""
    matches = await store.search(owner, read_query(words), EVERYWHERE)
    return [
        next(step.message.text for step in await store.path(owner, match.message) if step.id == match.message)
        for match in matches.found
    ]


class Words:
    """Words of which even the end is found nowhere else: an index keeps words without what they begin alike with."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.used: set[str] = set()

    def text(self, count: int) -> str:
        made = ["".join(self.random.choices(LETTERS, k=20)) + "7" for _ in range(count)]
        self.used |= set(made)
        return " ".join(made)

    def legible(self, folder: Path) -> set[str]:
        """The words that stand in a file of the store, or the end of one."""
        content = b"".join(file.read_bytes() for file in folder.iterdir())
        return {word for word in self.used if word[7:].encode() in content}


class TestDeleted:
    @pytest.mark.parametrize("pages", [sqlite_merge.PAGES, 3])
    async def test_no_word_can_be_found(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, pages: int
    ) -> None:
        """Also where the index is merged little by little, while others write."""
        monkeypatch.setattr(sqlite_merge, "PAGES", pages)
        words = Words(pages)
        async with opened(path) as store:
            said = {}
            for i in range(40):
                before = set(words.used)
                texts = [words.text(40) for _ in range(4)]
                said[await Talker(store).talk(*texts, conversation=f"c{i}")] = words.used - before
            gone = list(said)[::2]
            writing = asyncio.gather(*(Talker(store).talk("hi", f"hello {i}") for i in range(100)))
            await asyncio.gather(*(store.delete_conversation("local", id) for id in gone))
            await writing
            await store.delete_expired(0)
            left = words.used - set().union(*(said[id] for id in gone))
            assert words.legible(path.parent) == left != set()
        agrees(path)

    async def test_nor_one_of_a_message_or_a_title(self, path: Path) -> None:
        words = Words(1)
        async with opened(path) as store:
            talker = Talker(store)
            id = await talker.talk(words.text(3), "yes", words.text(3), "no", conversation="c")
            question = await store.titled_by_words("local", id)
            assert question is not None
            assert await store.set_model_title("local", id, words.text(3), question.id)
            made = await store.create_conversation("local", [user("hi")], title=words.text(3))
            assert words.legible(path.parent) == words.used
            await store.delete_message("local", question.id)
            await store.delete_conversation("local", made.id)
            [_, _, asked, _] = await talker.texts(id)
            assert words.legible(path.parent) == set(asked.split())
        agrees(path)

    async def test_however_often_is_deleted_the_index_stays_whole(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each merging leaves levels behind, and with too many of them SQLite holds an index for damaged."""
        monkeypatch.setattr(sqlite_merge, "LONGEST", 150)
        words, lengths = Words(2), []
        async with opened(path) as store:
            await Talker(store).talk(words.text(1500), "these stay")
            for i in range(60):
                await store.delete_conversation("local", await Talker(store).talk(f"{i}", words.text(5)))
                lengths.append(ask(path, "SELECT length(block) FROM message_index_data WHERE id = 10"))
            assert await found(store, "these stay") == ["these stay"]
            assert len(words.legible(path.parent)) == 1500
        assert any(later < earlier for earlier, later in itertools.pairwise(lengths))
        assert max(lengths) < 170
        agrees(path)

    async def test_where_nothing_is_to_be_merged_nothing_is_written(self, path: Path) -> None:
        async with opened(path) as store:
            await store.delete_conversation("local", await Talker(store).talk("hi", "hello"))
            await Talker(store).talk("some", "words")
        database = await Traced.open(path)
        await database.scrub()
        assert isinstance(database, Traced)
        before, _ = content(path), database.commits()
        await database.scrub()
        assert content(path) == before
        assert len(database.commits()) == 2
        await database.close()


class TestWritten:
    async def test_what_fails_beside_others_is_not_found(self, path: Path) -> None:
        """Writes that share a transaction, of which some are undone."""
        database = await Traced.open(path)
        assert isinstance(database, Traced)
        store = SqlStore(database)
        sent = [await Talker(store).admission([user(f"{'odd' if i % 2 else 'even'} {i}")]) for i in range(8)]

        def written(place: int) -> Callable[[Session], None]:
            def work(session: Session) -> None:
                admitting.admit(session, sent[place])
                if place % 2:
                    raise StoreRefused("odd")

            return work

        async with database.held_up():
            writing = [asyncio.create_task(database.write(written(i))) for i in range(8)]
            await asyncio.sleep(0)
        outcomes = await asyncio.gather(*writing, return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["None", "odd"] * 4
        assert sorted(await found(store, "odd even")) == [f"even {i}" for i in range(0, 8, 2)]
        await store.close()
        agrees(path)

    async def test_what_finds_no_room_is_not_found(self, path: Path) -> None:
        """The whole transaction is undone."""
        database = await Traced.open(path)
        assert isinstance(database, Traced)
        store = SqlStore(database)
        await Talker(store).talk("it fits", "well")
        database.pages = ask(path, "PRAGMA page_count") + 50
        await restart_writer(database)
        with pytest.raises(StoreFull):
            await Talker(store).admit([user("too large " * 100_000)])
        assert await found(store, "large fits") == ["it fits"]
        await Talker(store).talk("it fits", "again")
        await store.close()
        agrees(path)

    async def test_a_backup_has_it(self, path: Path, tmp_path: Path) -> None:
        async with opened(path) as store:
            await Talker(store).talk("a lighthouse", "by the sea")
            backup(path, tmp_path / "backup" / "copy.db", make_folder=True)
        agrees(tmp_path / "backup" / "copy.db")
        async with opened(tmp_path / "backup" / "copy.db") as store:
            assert await found(store, "sea") == ["by the sea"]


class TestBroughtForward:
    @pytest.mark.parametrize("old", OLD)
    async def test_what_an_older_palaver_kept_is_found(self, path: Path, old: int) -> None:
        old_store(path, old)
        async with opened(path) as store:
            assert await found(store, "Lisbon") == ["Where is Lisbon?"]
            assert await found(store, "secret", "other") == ["a secret of another owner"]
            assert await found(store, "secret") == []
        assert check(path).findings == []
        agrees(path)

    async def test_in_every_language_and_what_was_deleted_is_not(self, path: Path) -> None:
        old_store(path, 5)
        async with opened(path) as store:
            for words, texts in (
                ("东京 東京", ["東京はどこですか。"]),
                ("где", ["Где Москва?"]),
                ("zweihundertfunfzig", 2 * ["Zweihundertfünfzig Grad."]),
                ("xyzzy password picture", []),
                ("plugh", ["plugh too"]),
            ):
                assert await found(store, words) == texts
            titles = await store.search_titles("local", read_query("zurich xyzzy rye"), EVERYWHERE)
            marked = {match.title.translate(dict.fromkeys(map(ord, MARKS), "*")) for match in titles}
            assert marked == {"Notes of *Zürich*", "Baking *rye*"}
