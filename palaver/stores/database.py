"""What the SQL of a store needs of a database: a session to run named queries in, and a way to get one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from palaver.core.searching import Term

T = TypeVar("T")
Row = Mapping[str, Any]
"""One row, by column name."""


class Session(Protocol):
    """One transaction. Queries are named (`queries/`); a list as parameter stands for its elements."""

    def all(self, query: str, /, **parameters: Any) -> list[Row]:
        """All rows."""

    def one(self, query: str, /, **parameters: Any) -> Row | None:
        """The only row, or None."""

    def run(self, query: str, /, **parameters: Any) -> int:
        """Run for its effect; the number of rows it touched."""


class Database(Protocol):
    """Runs functions in transactions, off the event loop. Driver errors come out as `StoreError`s."""

    async def write(self, work: Callable[[Session], T], *, durable: bool = True) -> T:
        """Run `work` in a transaction of its own. When it returns, a durable one survives a loss of power.

        `work` may be run together with others in one commit; if it raises, only its own changes are undone.
        """

    async def read(self, work: Callable[[Session], T]) -> T:
        """Run `work` on a consistent state of the database."""

    async def excerpts(self, match: str, terms: Sequence[Term], texts: Mapping[str, str]) -> dict[str, str]:
        """Of each of these texts the part that has most of what a full-text query of these `terms` finds, marked as
        `stores.base.Search.excerpts` has it. Texts in which nothing is found are left out. Nothing of the store is held
        meanwhile, and a long text takes no longer than some pages of it."""

    async def scrub(self) -> None:
        """Leave nothing of what was deleted in the database's files: no page, no journal holds it any more.

        Raises StoreUnavailable where readers stand in the way for too long.
        """

    async def announce(self, address: str, key: str, model: str = "", *, is_private: bool = False) -> None:
        """Tell other processes on this machine where the owner of this store answers, and with which model.

        One that `is_private` answers this user's own commands only, for as long as another command needs it.
        """

    async def withdraw(self) -> None:
        """Take back what `announce` told."""

    async def close(self) -> None:
        """Commit what is in flight and let go. May be called twice."""


class Verbs:
    """What the parts of a store have in common: its database, and the starting keys that it has read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._roots: dict[tuple[str, str | None], bytes] = {}
