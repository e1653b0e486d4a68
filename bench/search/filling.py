"""Many messages in a store within minutes: the rows that turns leave, written in portions; the index follows by itself.

The turns themselves are left out, which searching does not look at, and keys are drawn: nobody resends these histories.
"""

from __future__ import annotations

import math
import random
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from bench.search.words import Talk
from palaver.core import ids
from palaver.core.message import KEY_BYTES, Message, Role
from palaver.stores.queries import QUERIES
from palaver.stores.sqlite_connection import connect

OWNER = "local"
ROLES: tuple[Role, ...] = ("user", "assistant")
PORTION = 5000
SHORTEST, LONGEST = 10, 2000
"""Messages of a conversation; there are about as many of 10 to 20 as of 1,000 to 2,000."""
STEP = 20_000
"""Milliseconds between two messages."""
REMEMBERED = 500
"""As many messages queries can be drawn from."""


class Filled(msgspec.Struct, frozen=True):
    """What a store was filled with: conversations (ids), drawn by how many messages they have, and some texts."""

    messages: int
    conversations: list[str]
    texts: list[str]


def fill(path: Path, messages: int, talk: Talk) -> Filled:
    """Bring the store (which is there, and nobody's) to so many messages."""
    drawn = random.Random(11)
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(QUERIES["add_owner"], {"name": OWNER, "secret": secrets.token_bytes(16), "now": 0})
        (owner,) = connection.execute("SELECT seq FROM owners WHERE name = ?", (OWNER,)).fetchone()
        (there, last) = connection.execute("SELECT count(*), coalesce(max(seq), 0) FROM messages").fetchone()
        conversations: list[tuple[str, int]] = []
        texts: list[str] = []
        while there < messages:
            connection.execute("BEGIN")
            until = min(messages, there + PORTION)
            while there < until:
                length = min(
                    messages - there, int(SHORTEST * math.exp(drawn.random() * math.log(LONGEST / SHORTEST)))
                )
                id, said = _conversation(connection, owner, last, length, talk)
                there, last = there + length, last + length
                conversations.append((id, length))
                texts += said
            connection.execute("COMMIT")
    found, lengths = zip(*conversations, strict=True)
    return Filled(
        messages,
        drawn.choices(found, weights=lengths, k=REMEMBERED),
        drawn.sample(texts, min(REMEMBERED, len(texts))),
    )


def _conversation(
    connection: sqlite3.Connection, owner: int, last: int, length: int, talk: Talk
) -> tuple[str, list[str]]:
    """Write a conversation whose messages are numbered from `last` on; its id and some of its texts."""
    began = (last + 1) * STEP
    id = _new(ids.CONVERSATION, began)
    turns = talk.turns()
    said = [text for _, turn in zip(range((length + 1) // 2), turns, strict=False) for text in turn][:length]
    row = connection.execute(
        "INSERT INTO conversations (id, owner, title, one_shot, source, created_at, updated_at) "
        "VALUES (?, ?, ?, 0, 'bench', ?, ?) RETURNING seq",
        (id, owner, said[0][:60], began, began + length * STEP),
    ).fetchone()
    connection.executemany(
        "INSERT INTO messages (seq, id, conversation, parent, depth, role, body, key, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                last + 1 + depth,
                _new(ids.MESSAGE, began + depth * STEP),
                row[0],
                last + depth if depth else None,
                depth,
                role,
                msgspec.json.encode(Message(role, text)).decode(),
                secrets.token_bytes(KEY_BYTES),
                began + depth * STEP,
            )
            for depth, text in enumerate(said)
            for role in [ROLES[depth % 2]]
        ),
    )
    connection.execute("UPDATE conversations SET head = ? WHERE seq = ?", (last + length, row[0]))
    return id, said[:2]


def _new(prefix: str, at: int) -> str:
    return prefix + ids.id_body(at, secrets.token_bytes(ids.RANDOM_BYTES))
