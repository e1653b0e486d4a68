"""Vectors of messages, made in idle time, so that search finds them by what they mean.

What has none yet is asked of the store, the latest first: nothing is lost when palaver stops. Whatever comes goes
first.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection
from itertools import groupby

import msgspec
import structlog

from palaver.chat.quiet import Quiet, ended
from palaver.core.errors import EngineBroke, EngineError, RequestError, StoreError
from palaver.finding.embedding import CHARACTERS, Embedding
from palaver.running import RunningTurn
from palaver.stores.base import Embedder, Store, Unembedded

AT_ONCE = 32
"""Messages in one request to the model. A turn that comes in between stops that."""
BACK = 1000
"""Once all have vectors, so many messages are looked through again after a turn: what was a task may be none by now."""
TRIES = 3
"""How often in a row it may fail before it waits for the next turn; where the vectors are wrong, for the next start."""
PAUSE = 30.0
"""Seconds between these."""
MOST_HOPELESS = 10_000
"""So many messages of which the model makes no vector are remembered, so that it is not asked for them again."""

log = structlog.get_logger(__name__)


class _Pass(msgspec.Struct):
    """One way through the messages, from the latest to those that have vectors: from below the number `below` to above
    `above`. `top` is the highest number met."""

    embedder: Embedder | None
    above: int = 0
    below: int | None = None
    top: int = 0


class Embeddings:
    """Makes vectors of messages with an `embedding` model, a batch at a time; without one it does nothing. `quiet`
    tells when there is time, `pause` is in seconds."""

    def __init__(self, store: Store, embedding: Embedding | None, quiet: Quiet, pause: float = PAUSE) -> None:
        self._store = store
        self._embedding = embedding
        self.quiet = quiet
        self.pause = pause
        self._is_wanted = False
        self._done: _Pass | None = None
        """The last pass that came to its end."""
        self._hopeless: OrderedDict[int, None] = OrderedDict()
        self._failures = 0
        self._wrong = 0
        """How many batches in a row failed, and how many brought nothing that could be used."""
        self._working: asyncio.Task[None] | None = None
        self._making: tuple[str, set[str], asyncio.Task[None]] | None = None
        """Of whose messages vectors are being made, of which conversations, and by what."""

    def begin(self) -> None:
        """There may be messages without a vector."""
        if self._embedding is None or self._wrong >= TRIES:
            return
        self._is_wanted = True
        if self._working is None:
            self._working = asyncio.create_task(self._work(self._embedding))

    def make_way(self) -> None:
        """Something comes that somebody waits for: what is being made is dropped."""
        self.quiet.ends()
        if self._making is not None:
            self._making[2].cancel()

    def turn_ended(self, turn: RunningTurn) -> None:
        """There are messages of it."""
        self.quiet.ends()
        if turn.window.conversation is not None:
            self.begin()

    async def stop(self, owner: str, conversations: Collection[str] | None = None) -> None:
        """Drop what is being made of messages of these conversations (ids) of an owner, without them of all; returns
        when that has ended: they are to be deleted."""
        if self._making is None or self._making[0] != owner:
            return
        if conversations is None or not self._making[1].isdisjoint(conversations):
            await ended(self._making[2])

    async def close(self) -> None:
        """Make no more."""
        self._embedding = None
        if self._working is not None:
            await ended(self._working)
        if self._making is not None:
            await ended(self._making[2])

    async def _work(self, embedding: Embedding) -> None:
        try:
            while self._is_wanted:
                self._is_wanted = False
                await self._pass(embedding)
        except (EngineError, RequestError, StoreError) as error:  # what has no vector yet is found again
            log.warning("messages have no vectors yet", error=type(error).__name__)
        finally:
            self._working = None

    async def _pass(self, embedding: Embedding) -> None:
        """Make all vectors that are missing. Raises what goes wrong too often."""
        going = self._begun(await embedding.embedder())
        while True:
            await self.quiet.comes()
            embedder = await embedding.embedder()
            if embedder != going.embedder:
                if going.embedder is not None:
                    going = self._begun(embedder)  # what was made so far is of another size
                going.embedder = embedder
            rows = await self._missing(going)
            if not rows:
                break
            going.top = max(going.top, rows[0].number)
            if await self._tried(embedding, [row for row in rows if row.number not in self._hopeless]):
                going.below = rows[-1].number
        if going.embedder is not None and going.above == 0:
            await self._store.drop_other_vectors(going.embedder.number)
        if self._done is not None and self._done.embedder == going.embedder:
            going.top = max(going.top, self._done.top)
        self._done = going

    def _begun(self, embedder: Embedder | None) -> _Pass:
        done = self._done
        if done is None or done.embedder != embedder:
            return _Pass(embedder)
        return _Pass(embedder, above=max(0, done.top - BACK))

    async def _missing(self, going: _Pass) -> list[Unembedded]:
        return await self._store.unembedded(
            going.embedder.number if going.embedder else None,
            above=going.above,
            below=going.below,
            limit=AT_ONCE,
            characters=CHARACTERS,
        )

    async def _tried(self, embedding: Embedding, rows: list[Unembedded]) -> bool:
        """Make the vectors of these messages; False where a part of that was dropped or failed, and is to be tried
        again. Raises what goes wrong too often."""
        for owner, theirs in groupby(sorted(rows, key=lambda row: row.owner), key=lambda row: row.owner):
            batch = list(theirs)
            making = asyncio.create_task(self._made(embedding, owner, batch))
            self._making = (owner, {row.conversation for row in batch}, making)
            try:
                await asyncio.wait([making])
            finally:
                self._making = None
                making.cancel()
            if making.cancelled():
                return False
            if (error := making.exception()) is not None:
                self._failures += 1
                self._wrong += isinstance(error, EngineBroke)
                if self._failures >= TRIES or not isinstance(error, EngineError | RequestError | StoreError):
                    self._failures = 0
                    raise error
                await asyncio.sleep(self.pause)
                return False
            self._failures = 0
        return True

    async def _made(self, embedding: Embedding, owner: str, rows: list[Unembedded]) -> None:
        embedder, vectors = await embedding.vectors(owner, [row.text for row in rows], idle=True)
        made = {row.message: vector for row, vector in zip(rows, vectors, strict=True) if vector is not None}
        if embedder is not None and made:
            await self._store.keep_vectors(embedder.number, made)
            self._wrong = 0
        for row in rows:
            if row.message not in made:
                self._hopeless[row.number] = None
        while len(self._hopeless) > MOST_HOPELESS:
            self._hopeless.popitem(last=False)
        if not made and any(row.text.strip() for row in rows):
            self._wrong += 1
            if self._wrong >= TRIES:
                raise EngineBroke("The embedding model makes no vectors that could be used.")
