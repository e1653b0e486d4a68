"""What is done between turns, for all conversations, while nobody waits: titles and vectors."""

from __future__ import annotations

from collections.abc import Callable, Collection

from palaver.chat.embedding import Embeddings
from palaver.chat.quiet import Quiet
from palaver.chat.request import ChatSettings
from palaver.chat.titling import Titling
from palaver.engines.base import Catalog
from palaver.finding import Finding
from palaver.finding.embedding import Embedding
from palaver.finding.meaning import Vectors
from palaver.running import RunningTurn
from palaver.stores.base import Store

RECALL_PATIENCE = 1.0
"""How long a turn waits for the vector of what it looks up, in seconds: without one words alone count."""


class Between:
    """Does it, and finds what comes of it. `is_busy` says whether something runs, `new_turn` makes an id of the kind
    that turns have."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        settings: ChatSettings,
        is_busy: Callable[[], bool],
        new_turn: Callable[[], str],
    ) -> None:
        model = settings.embedding_model
        embedding = Embedding(store, catalog, model, new_turn) if model is not None else None
        self.titling = Titling(store, catalog, settings, is_busy, new_turn)
        self.embeddings = Embeddings(store, embedding, Quiet(is_busy))
        vectors = Vectors(store, embedding) if embedding is not None else None
        self.finding = Finding(store, vectors)
        """For searches that somebody waits for."""
        self.recall = Finding(store, vectors, patience=RECALL_PATIENCE)
        """For turns."""

    def begin(self) -> None:
        """Go on with what a former process left undone."""
        self.embeddings.begin()

    def make_way(self) -> None:
        """Something comes that somebody waits for."""
        self.titling.make_way()
        self.embeddings.make_way()

    def turn_ended(self, turn: RunningTurn) -> None:
        self.titling.turn_ended(turn)
        self.embeddings.turn_ended(turn)

    async def stop(self, owner: str, conversations: Collection[str] | None = None) -> None:
        """Do no more for an owner's conversations (ids), without them for all; returns when nothing is being done:
        they are to be deleted."""
        await self.titling.stop(owner, conversations)
        await self.embeddings.stop(owner, conversations)

    async def close(self) -> None:
        """Do no more."""
        await self.titling.close()
        await self.embeddings.close()
