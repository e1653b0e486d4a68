"""Messages that are near to what is looked for by what they mean, whatever their words are."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec
import structlog

from palaver.core.errors import EngineError, RequestError
from palaver.core.searching import Query
from palaver.finding import PATIENCE
from palaver.finding.embedding import CHARACTERS, Embedding
from palaver.finding.vectors import similarities
from palaver.stores.base import Embedder, Match, Scope, Store

PAUSE = 30.0
"""How long the model is not asked after it has failed, in seconds."""
MOST = 20_000
"""As many messages of a scope are compared, its latest."""
BEST = 1000
"""As many are found."""
QUERIES = 16
"""As many vectors of queries are kept: search goes on in pages."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Vectors:
    """Finds by vectors: see `palaver.finding.Meaning`. `pause` is in seconds.

    The model is asked only where there are vectors, and only if no other has to make room for it: that may be the one
    that the next turn needs.
    """

    def __init__(self, store: Store, embedding: Embedding, *, pause: float = PAUSE) -> None:
        self._store = store
        self._embedding = embedding
        self._pause = pause
        self._not_before = 0.0
        self._queries: OrderedDict[bytes, tuple[Embedder, bytes]] = OrderedDict()

    async def near(
        self,
        owner: str,
        query: Query,
        scope: Scope,
        matches: Sequence[Match],
        *,
        patience: float = PATIENCE,
    ) -> list[Match] | None:
        """See `palaver.finding.Meaning.near`. Of the messages that have no word of the query only the nearest."""
        text = query.text[:CHARACTERS]
        key = blake2b(msgspec.msgpack.encode((owner, text)), digest_size=16).digest()
        now = asyncio.get_running_loop().time()
        is_pausing, until = now < self._not_before, now + patience
        if is_pausing and key not in self._queries:
            return None
        embedder = await self._in_time(self._embedding.embedder(), until)
        if embedder is None:
            return None
        words = {match.number: match for match in matches}
        found = await self._store.vectors(owner, embedder.number, scope, numbers=list(words), limit=MOST)
        if not found.numbers:
            return None
        known = self._queries.get(key)
        if known is None or known[0] != embedder:
            if is_pausing:
                return None
            known = await self._in_time(self._made(owner, text), until)
            if known is None:
                return None
            self._queries[key] = known
            if len(self._queries) > QUERIES:
                self._queries.popitem(last=False)
            if known[0] != embedder:  # from now on they have another size
                return None
        self._queries.move_to_end(key)
        # In a thread: the first time numpy is loaded.
        scores = await asyncio.to_thread(similarities, known[1], found.vectors)
        near = dict(zip(found.numbers, scores, strict=True))
        others = sorted(
            (number for number in near if number not in words), key=near.__getitem__, reverse=True
        )
        best = await self._store.numbered(owner, [number for number in others[:BEST] if near[number] > 0])
        return [
            msgspec.structs.replace(match, score=max(0.0, near[match.number]))
            for match in (*matches, *best)
            if match.number in near
        ]

    async def _made(self, owner: str, text: str) -> tuple[Embedder, bytes] | None:
        """The vector of a query, and what made it; None where the model makes none of it."""
        embedder, (vector,) = await self._embedding.vectors(owner, [text], idle=True)
        return (embedder, vector) if embedder is not None and vector is not None else None

    async def _in_time(self, asked: Coroutine[Any, Any, T | None], until: float) -> T | None:
        """What the model says until then; None where it fails or takes longer. Then it is left alone for a while."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(until):
                return await asked
        except (EngineError, RequestError, TimeoutError) as error:
            self._not_before = loop.time() + self._pause
            log.warning("a search went by words alone", error=type(error).__name__)
            return None
