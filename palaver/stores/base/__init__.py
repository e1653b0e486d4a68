"""The contract of a store. Every verb is scoped by owner, and every write of a running turn by its lease.

Any verb may raise StoreUnavailable, StoreFull (writes) or StoreCorrupt; a verb that raises has changed
nothing.
"""

from __future__ import annotations

from typing import Protocol

from palaver.stores.base.attachments import Attachment, Attachments
from palaver.stores.base.branches import Branches
from palaver.stores.base.conversations import Conversations
from palaver.stores.base.deletion import Deletion
from palaver.stores.base.keys import ApiKey, ApiKeys, NewApiKey
from palaver.stores.base.reading import Reading
from palaver.stores.base.search import ConversationName, Match, Matches, Scope, Search, SearchRole, TitleMatch
from palaver.stores.base.summaries import Summaries
from palaver.stores.base.titles import Titles
from palaver.stores.base.turns import Turns
from palaver.stores.base.values import (
    Admission,
    Admitted,
    Attempt,
    Concurrency,
    Conversation,
    Deleted,
    Ending,
    EpochRecord,
    Item,
    Order,
    OtherReply,
    Prompt,
    TitledBy,
    Tried,
    TurnRecord,
)
from palaver.stores.base.vectors import Embedder, Unembedded, Vectors, VectorsOf
from palaver.stores.base.windows import Windows

__all__ = [
    "Admission",
    "Admitted",
    "ApiKey",
    "Attachment",
    "Attempt",
    "Concurrency",
    "Conversation",
    "ConversationName",
    "Deleted",
    "Embedder",
    "Ending",
    "EpochRecord",
    "Item",
    "Match",
    "Matches",
    "NewApiKey",
    "Order",
    "OtherReply",
    "Prompt",
    "Scope",
    "SearchRole",
    "Store",
    "TitleMatch",
    "TitledBy",
    "Tried",
    "TurnRecord",
    "Unembedded",
    "VectorsOf",
]


class Store(
    Turns,
    Windows,
    Reading,
    Branches,
    Conversations,
    Deletion,
    Titles,
    ApiKeys,
    Attachments,
    Search,
    Vectors,
    Summaries,
    Protocol,
):
    """Where the tree is kept."""

    async def announce(self, address: str, key: str, model: str = "") -> None:
        """Tell other processes on this machine where the owner of this store answers, and with which model."""

    async def withdraw(self) -> None:
        """Take back what `announce` told: this process is about to end."""

    async def close(self) -> None:
        """Write what is in flight, then let go of the store. May be called twice."""
