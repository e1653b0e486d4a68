"""The SQL itself: every query can be prepared, is found by an index, and is used."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from palaver.stores import queries as queries_room
from palaver.stores.migrations import migrations
from palaver.stores.queries import QUERIES
from palaver.stores.sqlite_connection import SqliteSession
from palaver.stores.sqlite_index import add_term_tables, index_form
from tests.house.files import ROOT
from tests.stores.sqlite_files import beside

LARGE = (
    "conversations",
    "messages",
    "turns",
    "turn_log",
    "instructions",
    "toolsets",
    "choices",
    "end_users",
    "attempts",
    "api_keys",
    "deletions",
    "epochs",
    "message_counts",
    "attachments",
    "message_attachments",
    "message_vectors",
)
LISTS = {"keys", "tails"}


@pytest.fixture(scope="module")
def connection() -> Iterator[sqlite3.Connection]:
    with closing(beside(":memory:", isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        for migration in migrations("sqlite"):
            connection.executescript(migration.sql)
        add_term_tables(connection)
        connection.execute(f"CREATE VIRTUAL TABLE temp.parts USING {index_form()}")
        yield connection


def plan(connection: sqlite3.Connection, query: str) -> list[str]:
    """What SQLite means to do, with two elements in each list."""
    text = re.sub(r"\(:(\w+)\)", lambda m: f"(:{m[1]}, :{m[1]}_2)" if m[1] in LISTS else m[0], query)
    parameters = dict.fromkeys(re.findall(r"(?<!:):(\w+)", text))
    return [str(row["detail"]) for row in connection.execute("EXPLAIN QUERY PLAN " + text, parameters)]


@pytest.mark.parametrize("name", QUERIES)
def test_no_query_reads_a_whole_table(connection: sqlite3.Connection, name: str) -> None:
    text = QUERIES[name]
    aliases = set(
        re.findall(rf"(?:FROM|JOIN|UPDATE|INTO)\s+(?:{'|'.join(LARGE)})\s+(?!WHERE|SET)([a-z])\b", text)
    )
    for step in plan(connection, text):
        scanned = re.match(r"SCAN (\w+)", step)
        assert scanned is None or scanned[1] not in {*LARGE, *aliases}, f"{name}: {step}"


def test_a_scan_would_be_seen(connection: sqlite3.Connection) -> None:
    assert plan(connection, "SELECT 1 FROM messages m WHERE m.role = :role") == ["SCAN m"]
    assert plan(connection, "SELECT 1 FROM messages WHERE role = :role") == ["SCAN messages"]


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("list_conversations", "conversations_by_update (owner=? AND updated_at<?)"),
        ("list_pinned", "conversations_pinned (owner=? AND updated_at<?)"),
        ("list_archived", "conversations_archived (owner=? AND updated_at<?)"),
        ("next_expiry", "conversations_by_expiry (expires_at>?)"),
        ("overdue_conversations", "conversations_by_expiry (expires_at<?)"),
        ("turns_not_ended", "turns_open (conversation=?)"),
        ("siblings_below", "messages_by_parent (parent=?)"),
        ("siblings_of_first", "first_messages (conversation=?)"),
        ("skeleton", "messages_by_conversation (conversation=?)"),
        ("find_conversation", "conversations_by_name (owner=? AND <expr>=? AND name=?)"),
        ("replies_with_keys", "replies_by_key (key=?)"),
        ("replies_with_tails", "replies_by_tail (tail=?)"),
        ("nodes_in", "messages_by_place (conversation=? AND key=?)"),
        ("orphaned_turns", "turns_running (state=?)"),
        ("give_back_head", "turns_by_question (question=?)"),
        ("forget_choice", "choices_by_reply (reply=?)"),
        ("remove_toolsets", "turns_by_tools (tools=?)"),
        ("replies_of_turn", "messages_by_turn (turn=?)"),
        ("last_instructions", "turns_by_conversation (conversation=?)"),
        ("latest_unscrubbed", "deletions_unscrubbed"),
        ("note_scrubbed", "deletions_unscrubbed (seq<?)"),
        ("conversation_ids_of_end_user", "conversations_by_end_user (end_user=?)"),
        ("count_aged", "conversations_by_age (updated_at<?)"),
        ("epochs_before", "epochs_by_conversation (conversation=? AND seq<?)"),
        ("remove_epochs", "turns_by_epoch (epoch=?)"),
        ("turns_of_door", "turns_by_door (owner=? AND door=? AND seq>?)"),
        ("turns_of_door_back", "turns_by_door (owner=? AND door=? AND seq<?)"),
        ("counts_of", "PRIMARY KEY (message=? AND tokenizer=?)"),
        ("link_attachment", "sqlite_autoindex_attachments_1 (owner=? AND hash=?)"),
        ("remove_attachments", "message_attachments_by_attachment (attachment=?)"),
        ("attachments_of_messages", "PRIMARY KEY (message=?)"),
        ("latest_vectors", "message_vectors_by_embedder (embedder=? AND message<?)"),
        ("latest_vectors_in", "messages_by_conversation (conversation=? AND seq<?)"),
        ("vectors_to_drop", "message_vectors_by_embedder (embedder=?)"),
        ("unembedded_messages", "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    ],
)
def test_the_index_that_was_made_for_a_query_is_used(
    connection: sqlite3.Connection, name: str, index: str
) -> None:
    assert any(index in step for step in plan(connection, QUERIES[name]))


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_is_used(name: str) -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "palaver" / "stores").glob("*.py"))
    assert f'"{name}"' in code


def test_a_list_stands_for_its_elements(connection: sqlite3.Connection) -> None:
    session = SqliteSession(connection)
    for length in (0, 1, 512):
        assert session.all("nodes_in", conversation="x", keys=[b"k"] * length, owner=1) == []


def test_a_parameter_is_never_part_of_the_sql(connection: sqlite3.Connection) -> None:
    session = SqliteSession(connection)
    name = "x'; DROP TABLE owners; --"
    session.run("add_owner", name=name, secret=b"s", now=0)
    row = session.one("owner", name=name)
    assert row is not None
    assert row["secret"] == b"s"


def test_a_name_stands_for_one_query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in ("a.sql", "b.sql"):
        (tmp_path / file).write_text("-- name: same\nSELECT 1\n")
    monkeypatch.setattr(queries_room, "files", lambda _: tmp_path)
    with pytest.raises(ValueError, match="two queries are named same"):
        queries_room._read()


def test_migrations_are_numbered_without_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sqlite").mkdir()
    for file in ("0001_a.sql", "0003_b.sql"):
        (tmp_path / "sqlite" / file).write_text("SELECT 1;")
    monkeypatch.setattr("palaver.stores.migrations.files", lambda _: tmp_path)
    with pytest.raises(ValueError, match="not numbered"):
        migrations("sqlite")
