"""Vectors in the tables: those of a message go with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from palaver.core.searching import unspaced
from palaver.stores.base.search import Match, Scope
from palaver.stores.base.vectors import Embedder, Unembedded, VectorsOf
from palaver.stores.checking import Portion, each
from palaver.stores.database import Row, Session, Verbs
from palaver.stores.reading import LAST
from palaver.stores.rows import AT_ONCE, portions
from palaver.stores.search import match_of, narrowed


class SqlVectors(Verbs):
    """See `palaver.stores.base.vectors.Vectors`."""

    async def embedder(self, name: str, size: int) -> Embedder:
        def work(session: Session) -> Embedder:
            row = session.one("last_embedder", name=name)
            if row is None or row["size"] != size:
                for other in session.all("embedders_of_size", name=name, size=size):
                    _drop(session, other["seq"])
                    session.run("remove_embedder", embedder=other["seq"])
                row = session.one("add_embedder", name=name, size=size)
            assert row is not None
            return Embedder(row["seq"], row["size"])

        return await self._database.write(work, durable=False)

    async def last_embedder(self, name: str) -> Embedder | None:
        row = await self._database.read(lambda s: s.one("last_embedder", name=name))
        return Embedder(row["seq"], row["size"]) if row is not None else None

    async def unembedded(
        self,
        embedder: int | None,
        *,
        above: int = 0,
        below: int | None = None,
        limit: int = 32,
        characters: int = 2000,
    ) -> list[Unembedded]:
        rows = await self._database.read(
            lambda s: s.all(
                "unembedded_messages",
                embedder=embedder,
                above=above,
                below=LAST if below is None else below,
                limit=limit,
                characters=characters,
            )
        )
        return [
            Unembedded(row["owner"], row["conversation"], row["id"], unspaced(row["text"]), row["seq"])
            for row in rows
        ]

    async def keep_vectors(self, embedder: int, vectors: Mapping[str, bytes]) -> None:
        def work(session: Session) -> None:
            for id, vector in vectors.items():
                session.run("keep_vector", id=id, embedder=embedder, vector=vector)

        await self._database.write(work, durable=False)

    async def drop_other_vectors(self, embedder: int) -> int:
        others = await self._database.read(lambda s: s.all("other_embedders", embedder=embedder))
        dropped = 0
        for other in others:
            number = other["seq"]

            def portion(session: Session, number: int = number) -> int:
                gone = _drop(session, number, most=AT_ONCE)
                if not gone:
                    session.run("remove_embedder", embedder=number)
                return gone

            while gone := await self._database.write(portion, durable=False):
                dropped += gone
        return dropped

    async def vectors(
        self, owner: str, embedder: int, scope: Scope, *, numbers: Sequence[int] = (), limit: int = 20_000
    ) -> VectorsOf:
        def work(session: Session) -> VectorsOf:
            found = {row["seq"]: row["vector"] for row in _latest(session, owner, embedder, scope, limit)}
            more = [number for number in dict.fromkeys(numbers) if number not in found]
            whose = session.one("owner", name=owner)
            for some in portions(more) if whose is not None else ():
                assert whose is not None
                rows = session.all("vectors_of", numbers=list(some), embedder=embedder, owner=whose["seq"])
                found.update((row["seq"], row["vector"]) for row in rows)
            return VectorsOf(list(found), b"".join(found.values()))

        return await self._database.read(work)

    async def numbered(self, owner: str, numbers: Sequence[int]) -> list[Match]:
        def work(session: Session) -> list[Match]:
            return [
                match_of(row)
                for some in portions(list(dict.fromkeys(numbers)))
                for row in session.all("numbered_messages", owner=owner, numbers=list(some))
            ]

        return await self._database.read(work)


def _latest(session: Session, owner: str, embedder: int, scope: Scope, limit: int) -> list[Row]:
    where = narrowed(session, owner, scope)
    where["until"] = LAST if scope.until is None else scope.until
    if where["conversation"] is None:
        del where["conversation"]
        return session.all("latest_vectors", embedder=embedder, limit=limit, **where)
    of_conversations = ("owner", "end_user", "source", "tasks", "temporary")
    for name in of_conversations:
        del where[name]
    return session.all("latest_vectors_in", embedder=embedder, limit=limit, **where)


def _drop(session: Session, embedder: int, most: int | None = None) -> int:
    """Remove vectors of an embedder, so many at most; how many they were."""
    dropped = 0
    while most is None or dropped < most:
        rows = session.all("vectors_to_drop", embedder=embedder, limit=AT_ONCE)
        if not rows:
            break
        session.run("drop_vectors", embedder=embedder, messages=[row["message"] for row in rows])
        dropped += len(rows)
    return dropped


def check_vectors(session: Session) -> Iterator[Portion]:
    """Look at all vectors."""
    yield from each(session, "check_vectors", "message_vectors", _vectors)


def _vectors(row: Row) -> Iterator[str]:
    if row["there"] is None:
        yield "its message is missing"
    elif row["deleted_at"] is not None:
        yield "its message is deleted"
    if row["embedders"] < row["vectors"]:
        yield "what made it is missing"
    if row["misfits"]:
        yield "it has not the size of those of what made it"
