"""The one implementation of the store's contract, over any `Database`."""

from __future__ import annotations

from palaver.stores.api_keys import SqlApiKeys
from palaver.stores.attachments import SqlAttachments
from palaver.stores.branches import SqlBranches
from palaver.stores.conversations import SqlConversations
from palaver.stores.deletion import SqlDeletion
from palaver.stores.reading import SqlReading
from palaver.stores.search import SqlSearch
from palaver.stores.shown import SqlShown
from palaver.stores.summaries import SqlSummaries
from palaver.stores.titling import SqlTitles
from palaver.stores.turns import SqlTurns
from palaver.stores.vectors import SqlVectors
from palaver.stores.windows import SqlWindows


class SqlStore(
    SqlTurns,
    SqlWindows,
    SqlReading,
    SqlShown,
    SqlBranches,
    SqlConversations,
    SqlDeletion,
    SqlTitles,
    SqlSummaries,
    SqlApiKeys,
    SqlAttachments,
    SqlSearch,
    SqlVectors,
):
    """Keeps the tree in a database. See `stores.base.Store` for the contract."""

    async def announce(self, address: str, key: str, model: str = "", *, is_private: bool = False) -> None:
        await self._database.announce(address, key, model, is_private=is_private)

    async def withdraw(self) -> None:
        await self._database.withdraw()

    async def close(self) -> None:
        await self._database.close()
