"""The contract of a store. Every verb is scoped by owner, and every write of a running turn by its lease.

Any verb may raise StoreUnavailable, StoreFull (writes) or StoreCorrupt; a verb that raises has changed
nothing.
"""

from __future__ import annotations

from typing import Protocol

from palaver.stores.base.attachments import Attachment, Attachments
from palaver.stores.base.branches import Branches, Map, Segment
from palaver.stores.base.conversations import Conversations
from palaver.stores.base.deletion import Deletion
from palaver.stores.base.keys import ApiKey, ApiKeys, NewApiKey
from palaver.stores.base.reading import Reading
from palaver.stores.base.search import ConversationName, Match, Matches, Scope, Search, SearchRole, TitleMatch
from palaver.stores.base.shown import OpenTurn, Shown, TurnFigures
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
    Only,
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
    "Map",
    "Match",
    "Matches",
    "NewApiKey",
    "Only",
    "OpenTurn",
    "Order",
    "OtherReply",
    "Prompt",
    "Scope",
    "SearchRole",
    "Segment",
    "Store",
    "TitleMatch",
    "TitledBy",
    "Tried",
    "TurnFigures",
    "TurnRecord",
    "Unembedded",
    "VectorsOf",
]


class Store(
    Turns,
    Windows,
    Reading,
    Shown,
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

    async def announce(self, address: str, key: str, model: str = "", *, is_private: bool = False) -> None:
        """Tell other processes on this machine where the owner of this store answers, and with which model.

        One that `is_private` answers this user's own commands only, for as long as another command needs it.
        """

    async def withdraw(self) -> None:
        """Take back what `announce` told: this process is about to end."""

    async def close(self) -> None:
        """Write what is in flight, then let go of the store. May be called twice."""
