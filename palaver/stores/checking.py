"""How the rows of a store are looked at: a table at a time, in portions, and what is told of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from palaver.stores.database import Row, Session

PORTION = 500


class Finding(msgspec.Struct, frozen=True):
    """Something that is not as it must be: with what (a table's row), its id or number, and how, in words."""

    what: str
    id: str
    text: str


class Portion(msgspec.Struct, frozen=True):
    """Some rows of a table have been looked at, and this is what was found among them."""

    table: str
    rows: int
    findings: list[Finding]


def each(
    session: Session,
    query: str,
    table: str,
    problems: Callable[[Row], Iterator[str]],
    *,
    at_once: int | None = None,
) -> Iterator[Portion]:
    """Look at every row that a query has, at so many of them at once; those of a table whose rows are large, at one."""
    after = -1
    while rows := session.all(query, after=after, limit=at_once or PORTION):
        after = rows[-1]["seq"]
        yield Portion(table, len(rows), [finding for row in rows for finding in _found(table, row, problems)])


def _found(table: str, row: Row, problems: Callable[[Row], Iterator[str]]) -> list[Finding]:
    id = row["id"] if "id" in row.keys() else str(row["seq"])  # noqa: SIM118, sqlite3's rows contain values
    what = table.removesuffix("ies") + "y" if table.endswith("ies") else table.removesuffix("s")
    return [Finding(what, id, text) for text in problems(row)]
