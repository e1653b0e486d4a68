"""palaver's store, driven as `palaver.chat` drives it: two durable transactions a turn.

A turn comes by one of two roads. `head`: the client names the conversation and sends its question. `resent`: the
client sends its whole history, which is parsed, keyed and threaded.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import msgspec

from bench.store import talk
from bench.store.keeper import durability_of
from palaver.core import ids
from palaver.core.message import Message
from palaver.core.reply import replies
from palaver.core.searching import Term
from palaver.core.tree import read_history
from palaver.core.turn import TurnState, Usage
from palaver.server.completion_request import read_request
from palaver.server.settings import ServerSettings
from palaver.stores import admission, ending
from palaver.stores.base import Admission, Admitted, Attempt, Ending
from palaver.stores.database import Database, Row, Session
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite import SqliteDatabase
from palaver.stores.sqlite_connection import connect

OWNER, LEASE, MODEL = "local", "lease_bench", "model"
PORTION = 1000
"""Turns that are filled in by one transaction."""
T = TypeVar("T")
Road = Literal["head", "resent"]
Seconds = defaultdict[str, float]
"""Where time went, by phase."""


class WatchedSession:
    """Counts the seconds of each query by its name."""

    def __init__(self, session: Session, seconds: Seconds) -> None:
        self._session = session
        self._seconds = seconds

    def all(self, query: str, /, **parameters: Any) -> list[Row]:
        with _timed(self._seconds, query):
            return self._session.all(query, **parameters)

    def one(self, query: str, /, **parameters: Any) -> Row | None:
        with _timed(self._seconds, query):
            return self._session.one(query, **parameters)

    def run(self, query: str, /, **parameters: Any) -> int:
        with _timed(self._seconds, query):
            return self._session.run(query, **parameters)


class Watched:
    """A database whose transactions tell how long their work took, without their commit."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.seconds: Seconds = defaultdict(float)
        self.by_query: Seconds | None = None

    async def write(self, work: Callable[[Session], T], *, durable: bool = True) -> T:
        def timed(session: Session) -> T:
            with _timed(self.seconds, "work"):
                return work(session if self.by_query is None else WatchedSession(session, self.by_query))

        return await self._database.write(timed, durable=durable)

    async def read(self, work: Callable[[Session], T]) -> T:
        return await self._database.read(work)

    async def excerpts(self, match: str, terms: Sequence[Term], texts: Mapping[str, str]) -> dict[str, str]:
        return await self._database.excerpts(match, terms, texts)

    async def scrub(self) -> None:
        await self._database.scrub()

    async def announce(self, address: str, key: str, model: str = "", *, is_private: bool = False) -> None:
        await self._database.announce(address, key, model, is_private=is_private)

    async def withdraw(self) -> None:
        await self._database.withdraw()

    async def close(self) -> None:
        await self._database.close()


class PalaverKeeper:
    """A store of palaver. `phases` has where the time of the last turn went."""

    commits = 2
    reads_prompts: ClassVar[bool] = True
    """Whether each turn reads what it answers, as it does for a model."""

    def __init__(self, path: Path, database: Watched, road: Road) -> None:
        self.name = "palaver" if road == "head" else "palaver, history resent"
        self.path = path
        self.phases: Mapping[str, float] = {}
        self._phases: Seconds = defaultdict(float)
        self._database = database
        self._store = SqlStore(database)
        self._road = road
        self._said = 0
        self._histories: dict[str, list[dict[str, str]]] = {}
        self._body = b""

    @classmethod
    async def open(cls, path: Path, road: Road = "head") -> PalaverKeeper:
        return cls(path, Watched(await SqliteDatabase.open(path)), road)

    async def fill(self, messages: int) -> str:
        """By the same code as real turns, but in few transactions, and without reading prompts."""
        first = self._next()
        admitted = await self._admit(first, None)
        await self._finish(admitted.turn, first)
        numbers = [first, *(self._next() for _ in range(messages // 2 - 1))]
        root = await self._store.root_key(OWNER, None)

        def work(session: Session, some: list[int]) -> None:
            for number in some:
                asked = _admission(_question(number, root), admitted.conversation)
                turn = admission.admit(session, asked).turn
                ending.finish(session, _ending(turn, number))

        for start in range(1, len(numbers), PORTION):
            some = numbers[start : start + PORTION]
            await self._database.write(lambda s, some=some: work(s, some))  # type: ignore[misc]
        if self._road == "resent":
            self._histories[admitted.conversation] = [
                message for number in numbers for message in _exchange(number)
            ]
        return admitted.conversation

    def prepare(self, conversation: str) -> None:
        self._said += 1
        if self._road == "resent":
            messages = [*self._histories[conversation], _exchange(self._said)[0]]
            self._body = json.dumps({"model": MODEL, "messages": messages}).encode()

    async def append(self, conversation: str) -> None:
        number = self._said
        self._phases.clear()
        admitted = await (self._resend() if self._road == "resent" else self._admit(number, conversation))
        self._split("ask")
        assert admitted.conversation == conversation
        with _timed(self._phases, "prompt"):
            if self.reads_prompts:
                await self._store.prompt(admitted.turn, LEASE)
        await self._finish(admitted.turn, number)
        self._split("answer")
        self.phases = dict(self._phases)
        if self._road == "resent":
            self._histories[conversation] += _exchange(number)

    def _split(self, step: str) -> None:
        """Tell the work of a transaction from what is around it: its commit, and the way to its thread."""
        work = self._database.seconds["work"]
        self._database.seconds.clear()
        self._phases[step] += work
        self._phases["commits"] += self._phases.pop(f"{step} in all") - work

    async def _resend(self) -> Admitted:
        with _timed(self._phases, "parse"):
            request = read_request(self._body, ServerSettings()).body
        root = await self._store.root_key(OWNER, None)
        with _timed(self._phases, "keys"):
            history = read_history(request.messages, root)
        asked = msgspec.structs.replace(_admission(history, None), at_head=False)
        return await self._admitted(asked)

    async def _admit(self, number: int, conversation: str | None) -> Admitted:
        root = await self._store.root_key(OWNER, None)
        with _timed(self._phases, "keys"):
            asked = _admission(_question(number, root), conversation)
        return await self._admitted(asked)

    async def _admitted(self, asked: Admission) -> Admitted:
        """With an attempt, as the SDKs send one with every request."""
        attempt = Attempt(route="/v1/chat/completions", body=secrets.token_bytes(32))
        asked = msgspec.structs.replace(asked, attempt=attempt)

        with _timed(self._phases, "ask in all"):
            return await self._store.admit(asked)

    async def _finish(self, turn: str, number: int) -> None:
        ended = _ending(turn, number)
        with _timed(self._phases, "answer in all"):
            await self._store.finish(ended)

    async def queries(self, conversations: Sequence[str], turns: int) -> dict[str, float]:
        """Mean microseconds that each query takes in a turn, the dearest first."""
        self._database.by_query = defaultdict(float)
        for i in range(turns):
            conversation = conversations[i % len(conversations)]
            self.prepare(conversation)
            await self.append(conversation)
        found, self._database.by_query = self._database.by_query, None
        return {
            query: found[query] / turns * 1e6 for query in sorted(found, key=found.__getitem__, reverse=True)
        }

    async def read(self, conversation: str, last: int | None = None) -> int:
        if last is not None:
            return len(await self._store.items(OWNER, conversation, limit=last))
        return len(await self._store.items(OWNER, conversation, limit=1 << 31, order="asc"))

    async def read_first(self, conversation: str, first: int) -> int:
        return len(await self._store.items(OWNER, conversation, limit=first, order="asc"))

    def durability(self) -> str:
        with contextlib.closing(connect(self.path)) as connection:
            return durability_of(connection)

    async def reopen(self) -> None:
        """Open what `close` has closed, which merged the journal into the file."""
        self._database = Watched(await SqliteDatabase.open(self.path))
        self._store = SqlStore(self._database)

    async def close(self) -> None:
        await self._store.close()

    def _next(self) -> int:
        self._said += 1
        return self._said


def _question(number: int, root: bytes) -> Any:
    return read_history([Message("user", talk.question(number))], root)


def _exchange(number: int) -> list[dict[str, str]]:
    return [
        {"role": "user", "content": talk.question(number)},
        {"role": "assistant", "content": talk.reply(number)},
    ]


def _admission(history: Any, conversation: str | None) -> Admission:
    return Admission(
        owner=OWNER,
        end_user=None,
        turn=ids.TURN + ids.id_body(int(time.time() * 1000), secrets.token_bytes(ids.RANDOM_BYTES)),
        lease=LEASE,
        door="chat.completions",
        requested_model=MODEL,
        model=MODEL,
        history=history,
        conversation=conversation,
        at_head=conversation is not None,
        source="bench",
    )


def _ending(turn: str, number: int) -> Ending:
    text = talk.reply(number)
    deltas = talk.deltas(text)
    return Ending(
        turn=turn,
        lease=LEASE,
        state=TurnState.COMPLETED,
        replies=replies(deltas, ["stop"]),
        usage=Usage(talk.QUESTION // talk.TOKEN, len(deltas)),
        first_token_at=int(time.time() * 1000),
        first_text_at=int(time.time() * 1000),
    )


@contextlib.contextmanager
def _timed(seconds: Seconds, phase: str) -> Iterator[None]:
    begun = time.perf_counter()
    try:
        yield
    finally:
        seconds[phase] += time.perf_counter() - begun


@contextlib.contextmanager
def no_prompts() -> Iterator[None]:
    """No prompt is read: what is left of a turn is keeping it."""
    PalaverKeeper.reads_prompts = False
    try:
        yield
    finally:
        PalaverKeeper.reads_prompts = True
