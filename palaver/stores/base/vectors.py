"""The verbs of vectors: what an embedding model makes of messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from palaver.stores.base.search import Match, Scope


class Embedder(msgspec.Struct, frozen=True):
    """What makes vectors of one size: a model, by its `number` in the store. Its vectors have nothing to do with those
    of any other, nor with those of the same model in another size."""

    number: int
    size: int


class VectorsOf(msgspec.Struct, frozen=True):
    """Vectors of messages: the numbers of these, the latest first, and the vectors' bytes, one after the other."""

    numbers: list[int]
    vectors: bytes


class Unembedded(msgspec.Struct, frozen=True):
    """A message that has no vector yet: its owner, conversation and id, how its text begins, and its number."""

    owner: str
    conversation: str
    message: str
    text: str
    number: int


class Vectors(Protocol):
    """Vectors are kept with their messages, and go with them. They are of length 1, in signed bytes: 127 is 1."""

    async def embedder(self, name: str, size: int) -> Embedder:
        """What makes vectors of this size under this name; from now on the last of its name."""

    async def last_embedder(self, name: str) -> Embedder | None:
        """What this name made vectors with last; None where it never has."""

    async def unembedded(
        self,
        embedder: int | None,
        *,
        above: int = 0,
        below: int | None = None,
        limit: int = 32,
        characters: int = 2000,
    ) -> list[Unembedded]:
        """Messages with text that people and models wrote and that have no vector of this embedder yet, the latest
        first, with numbers over `above` and `below` this. Temporary conversations and tasks are left out. Of a text
        its first so many characters."""

    async def keep_vectors(self, embedder: int, vectors: Mapping[str, bytes]) -> None:
        """Keep the vectors of messages (ids); those that are gone are passed over. Not durable: it can be computed
        again."""

    async def drop_other_vectors(self, embedder: int) -> int:
        """Remove the vectors of every other embedder, and these; how many vectors that were. In portions: others write
        between."""

    async def vectors(
        self, owner: str, embedder: int, scope: Scope, *, numbers: Sequence[int] = (), limit: int = 20_000
    ) -> VectorsOf:
        """The vectors of the latest messages within a scope, so many, and of those with these numbers. Raises
        ConversationNotFound."""

    async def numbered(self, owner: str, numbers: Sequence[int]) -> list[Match]:
        """The messages with these numbers, their scores 0. Those that are not there are left out."""
