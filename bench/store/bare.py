"""Bare SQLite in the file of a palaver store: what the same rows cost with nothing around them.

The file is a copy, so that tables, indexes, rows and settings are the same. `least` writes two messages, each in a
transaction of its own. `all rows` also writes everything else that a turn of palaver is recorded in, with
palaver's own statements.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from bench.store import talk
from bench.store.keeper import durability_of
from palaver.stores.queries import QUERIES
from palaver.stores.sqlite_connection import connect

ADD_MESSAGE = """
INSERT INTO messages (id, conversation, parent, depth, role, body, key, tail, turn, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
READ = "SELECT body FROM messages WHERE conversation = ? ORDER BY seq DESC LIMIT ?"


class BareKeeper:
    """One connection, no threads, no rules."""

    commits = 2
    phases: Mapping[str, float] = {}

    def __init__(self, path: Path, like: Path, what: Literal["least", "all rows"] = "least") -> None:
        self.name = f"bare SQLite, {what}"
        self.path = path
        shutil.copyfile(like, path)
        self._all_rows = what == "all rows"
        self._connection = connect(path)
        self._connection.execute("PRAGMA foreign_keys = OFF")
        self._heads: dict[str, tuple[int, int, int]] = {}
        self._rows: tuple[tuple[Any, ...], tuple[Any, ...]] = ((), ())
        self._said = 1_000_000

    async def fill(self, messages: int) -> str:
        raise NotImplementedError("It is a copy of what was filled.")

    def prepare(self, conversation: str) -> None:
        self._said += 1
        number, head, depth = self._heads.get(conversation) or self._find(conversation)
        asked = msgspec.json.encode({"role": "user", "content": talk.question(self._said)}).decode()
        said = msgspec.json.encode({"role": "assistant", "content": talk.reply(self._said)}).decode()
        now = time.time_ns() // 1_000_000
        question = (_id("msg_"), number, head, depth + 1, "user", asked, os.urandom(16), None, None, now)
        answer = (
            _id("msg_"),
            number,
            0,
            depth + 2,
            "assistant",
            said,
            os.urandom(16),
            os.urandom(16),
            1,
            now,
        )
        self._rows = (question, answer)

    def _find(self, conversation: str) -> tuple[int, int, int]:
        row = self._connection.execute(
            "SELECT c.seq, m.seq, m.depth FROM conversations c JOIN messages m ON m.seq = c.head WHERE c.id = ?",
            (conversation,),
        ).fetchone()
        return tuple(row)

    async def append(self, conversation: str) -> None:
        run, (question, answer) = self._connection.execute, self._rows
        run("BEGIN IMMEDIATE")
        asked = run(ADD_MESSAGE, question).lastrowid
        turn = self._ask(question, asked) if self._all_rows else 1
        run("COMMIT")
        run("BEGIN IMMEDIATE")
        said = run(ADD_MESSAGE, (*answer[:2], asked, *answer[3:8], turn, answer[9])).lastrowid
        if self._all_rows:
            self._answer(answer, asked, said, turn)
        run("COMMIT")
        assert said is not None
        self._heads[conversation] = (question[1], said, answer[3])

    def _ask(self, question: tuple[Any, ...], asked: int | None) -> int:
        """The record of a turn, the head, the attempt: what palaver writes beside the question."""
        run, number, above, now = self._connection.execute, question[1], question[2], question[9]
        moved = {"seq": number, "head": asked, "now": now, "continued": 1, "title": None, "title_from": None}
        run(QUERIES["move_head"], moved)
        none = dict.fromkeys(
            (
                *("metadata", "input", "instructions", "carried", "tools", "continues", "gap_from", "gap_to"),
                "asked",
            )
        )
        turn = {
            "id": _id("turn_"),
            "owner": 1,
            "conversation": number,
            "state": "running",
            "lease": "lease_bench",
            "door": "chat.completions",
            "requested_model": "model",
            "model": "model",
            "parameters": "{}",
            "inputs": 1,
            "parent": above,
            "question": asked,
            "head_before": above,
            "now": now,
            "started_at": now,
        }
        seq: int = run(QUERIES["add_turn"], none | turn).fetchone()[0]
        attempt = {
            "owner": 1,
            "route": "/v1/chat/completions",
            "hash": os.urandom(16),
            "idempotency_key": None,
        }
        run(QUERIES["add_attempt"], attempt | {"turn": seq, "count": 0, "now": now})
        return seq

    def _answer(self, answer: tuple[Any, ...], asked: int | None, said: int | None, turn: int) -> None:
        run, now = self._connection.execute, answer[9]
        run(QUERIES["move_head_from"], {"seq": answer[1], "head": said, "expected": asked, "now": now})
        none = dict.fromkeys(
            (
                "epoch",
                "receipt",
                "cached_tokens",
                "reasoning_tokens",
                "error",
                "served_as",
                "tried",
                "warnings",
                "logprobs",
            )
        )
        lengths = msgspec.json.encode([talk.TOKEN] * (talk.REPLY // talk.TOKEN)).decode()
        ended = {
            "seq": turn,
            "state": "completed",
            "model": "model",
            "reply": said,
            "finish_reason": "stop",
            "prompt_tokens": talk.QUESTION // talk.TOKEN,
            "completion_tokens": talk.REPLY // talk.TOKEN,
            "deltas": lengths,
            "first_token_at": now,
            "first_text_at": now,
            "ended_at": now,
            "now": now,
        }
        run(QUERIES["end_turn"], none | ended)

    async def read(self, conversation: str, last: int | None = None) -> int:
        number = self._find(conversation)[0]
        rows = self._connection.execute(READ, (number, -1 if last is None else last)).fetchall()
        return len([msgspec.json.decode(row[0]) for row in reversed(rows)])

    def durability(self) -> str:
        return durability_of(self._connection)

    async def close(self) -> None:
        self._connection.close()


def _id(prefix: str) -> str:
    return prefix + secrets.token_hex(13)
