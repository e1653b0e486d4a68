"""What the parts of the contract have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from palaver.stores.base import Store
from tests.stores.talking import Tables


class Part:
    """A part of the contract. `opened` and `tables` come from the class that inherits the whole."""

    def opened(self, folder: Path) -> AbstractAsyncContextManager[Store]:
        raise NotImplementedError

    def tables(self, folder: Path) -> Tables:
        raise NotImplementedError

    @asynccontextmanager
    async def unchanged(self, folder: Path) -> AsyncIterator[None]:
        """What is done inside must leave everything as it was."""
        before = self.tables(folder)
        yield
        assert self.tables(folder) == before
