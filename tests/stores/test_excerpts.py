"""Excerpts in SQLite: what they cost is bounded, and they take no connection to the store."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from palaver.core.searching import MARKS, Term, read_query, spaced
from palaver.stores import sqlite_excerpts
from palaver.stores.base import Scope
from palaver.stores.migrations import migrations
from palaver.stores.parts import PART, PLACES, TRIES, part_of
from palaver.stores.sqlite_index import index_form
from palaver.stores.sqlite_migration import FULL_TEXT
from tests.stores.sqlite_files import opened
from tests.stores.talking import Talker


def terms(text: str) -> tuple[Term, ...]:
    return read_query(text).terms


def test_a_short_text_is_its_own_part() -> None:
    assert part_of("x" * PART, terms("tea")).text == "x" * PART


@pytest.mark.parametrize("query", ["tea", "TEA", "téa", '"black tea"', "teas", "nothing tea"])
def test_a_long_text_is_cut_around_the_words(query: str) -> None:
    text = "steam " * 500 + "word " * 4000 + "black, tea " + "word " * 4000
    part = part_of(text, terms(query))
    assert "black, tea" in part.text
    assert len(part.text) == PART
    assert (part.follows, part.goes_on) == (True, True)
    assert part.text.startswith(" ")


def test_where_most_of_them_stand_together() -> None:
    text = "tea " + "word " * 2000 + "milk " + "word " * 2000 + "tea with milk " + "word " * 2000
    assert "tea with milk" in part_of(text, terms("milk tea")).text


def test_without_a_word_it_is_the_beginning() -> None:
    part = part_of("word " * 4000, terms("tea"))
    assert part.text == ("word " * 4000)[:PART]
    assert (part.follows, part.goes_on) == (False, True)


def test_signs_of_scripts_without_spaces() -> None:
    assert "東" in part_of(spaced("あ" * 9000 + "東京" + "い" * 9000), terms("東京")).text


class Counting(str):
    """A text that counts how often it is looked at."""

    looked = 0

    def lower(self) -> Counting:
        return self

    def find(self, *args: object) -> int:
        type(self).looked += 1
        return super().find(*args)  # type: ignore[arg-type]


def test_of_a_word_that_stands_everywhere_some_places_are_looked_at() -> None:
    Counting.looked = 0
    part_of(Counting("tea " * 200_000), terms("tea"))
    assert Counting.looked <= PLACES + 1
    part_of(Counting("a" * 400_000), terms("aa aaa"))
    assert Counting.looked <= 2 * PLACES + 4 * TRIES


def test_no_more_than_a_part_of_each_goes_into_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[sqlite3.Connection] = []
    connect = sqlite3.connect
    written = 0

    def counted(name: str, **more: object) -> sqlite3.Connection:
        assert name == ":memory:"
        made.append(connect(name, **more))  # type: ignore[call-overload]
        made[-1].set_trace_callback(note)
        return made[-1]

    def note(statement: str) -> None:
        nonlocal written
        if "INSERT INTO temp.parts" in statement:
            written = max(written, len(statement))

    monkeypatch.setattr(sqlite3, "connect", counted)
    texts = {"a": "tea " * 100_000, "b": "short tea", "c": "none"}
    found = sqlite_excerpts.excerpts('text : ("tea")', terms("tea"), texts)
    assert found.keys() == {"a", "b"}
    assert found["b"] == f"short {MARKS[0]}tea{MARKS[1]}"
    assert 0 < written < PART + 200
    assert len(made) == 1


async def test_readers_of_the_store_are_free_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many excerpts are being made."""
    going = threading.Event()

    def waiting(*_: object) -> dict[str, str]:
        assert going.wait(30)
        return {}

    monkeypatch.setattr("palaver.stores.sqlite.excerpts", waiting)
    async with opened(tmp_path / "palaver.db") as store:
        talker = Talker(store)
        first, _ = await talker.path(await talker.talk("tea", "re", conversation="c"))
        query = read_query("tea")
        making = [asyncio.create_task(store.excerpts("local", query, [first.id])) for _ in range(3)]
        assert len((await store.search("local", query, Scope())).found) == 1
        assert not any(task.done() for task in making)
        going.set()
        assert await asyncio.gather(*making) == [{first.id: "tea"}] * 3


def test_all_indexes_part_words_alike() -> None:
    made = "\n".join(migration.sql for migration in migrations("sqlite"))
    tokenizers = {
        line.split("tokenize = ")[1].split("'")[1] for line in made.splitlines() if "tokenize =" in line
    }
    (tokenizer,) = tokenizers
    assert f"tokenize = '{tokenizer}'" in index_form()
    assert f"tokenize = '{tokenizer}'" in FULL_TEXT
