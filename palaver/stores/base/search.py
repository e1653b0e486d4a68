"""The verbs of searching: words in messages and titles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from palaver.core.searching import Query

SearchRole = Literal["system", "developer", "user", "assistant", "tool"]


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Where is looked. What is None does not narrow it.

    `conversation` is an id; `since` and `before` are when messages were kept, in milliseconds since 1970, the latter
    excluded; `source` is the beginning of what began the conversation (`Conversation.source`). Without `tasks`
    requests that nothing has continued are left out, without `temporary` conversations that go by themselves; in a
    named `conversation` neither is. `until` is a number that `Matches` had: what was kept after that is left out.
    """

    end_user: str | None = None
    conversation: str | None = None
    role: SearchRole | None = None
    since: int | None = None
    before: int | None = None
    source: str | None = None
    tasks: bool = False
    temporary: bool = False
    until: int | None = None


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A message that has words of a query. `number` is its place in the order in which messages were kept, `parent` the
    number of the one before it. `score` is the larger the better, above 0; of a message that only a vector led to it
    is 0."""

    message: str
    conversation: str
    number: int
    parent: int | None
    depth: int
    role: SearchRole
    created_at: int
    score: float


class Matches(msgspec.Struct, frozen=True):
    """The best messages for a query, the best first. `until` is the number of the latest message of the store."""

    found: list[Match]
    until: int


class TitleMatch(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation whose title has words of a query, with the title, in which they are marked."""

    conversation: str
    title: str
    updated_at: int
    score: float


class ConversationName(msgspec.Struct, frozen=True, kw_only=True):
    """What a conversation is called, and whose it is."""

    id: str
    name: str | None
    title: str | None
    source: str | None
    end_user: str | None


class Search(Protocol):
    """What is searched is whatever is kept now: the index follows in the transaction that changes a message, and what
    is deleted is found no more. All stores find the same messages; how they are ranked may differ."""

    async def search(self, owner: str, query: Query, scope: Scope, *, limit: int = 1000) -> Matches:
        """The messages that fit a query best, by their words alone. Raises ConversationNotFound."""

    async def latest(
        self, owner: str, query: Query, scope: Scope, *, below: int | None = None, limit: int = 20
    ) -> Matches:
        """The messages that have every word of a query, the latest first; with numbers `below` this. Raises
        ConversationNotFound."""

    async def search_titles(
        self, owner: str, query: Query, scope: Scope, *, limit: int = 20
    ) -> list[TitleMatch]:
        """The conversations whose titles fit a query best. Of the scope only what speaks of conversations counts, and
        `since` and `before` of when they were last updated."""

    async def latest_titles(
        self, owner: str, query: Query, scope: Scope, *, below: tuple[int, str] | None = None, limit: int = 20
    ) -> list[TitleMatch]:
        """The conversations whose titles have every word of a query, the last updated first, of the same time by their
        ids, backwards; from `below` a time and an id on. Of the scope counts what `search_titles` says."""

    async def excerpts(self, owner: str, query: Query, messages: Sequence[str]) -> dict[str, str]:
        """For each of these messages (ids) the part of its text that has most words of a query, these in
        `core.searching.MARKS`; an … stands for what is left out. Those that are not there are left out."""

    async def on_path(self, owner: str, message: str, others: Sequence[str]) -> dict[str, int]:
        """Of these messages (ids) those on the path to another, with their depths. Raises MessageNotFound."""

    async def conversation_names(
        self, owner: str, conversations: Sequence[str]
    ) -> dict[str, ConversationName]:
        """What these conversations (ids) are called. Those that are not there are left out."""
