"""The contract: vectors are kept with messages, found within a scope, and go with their messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from palaver.core.errors import ConversationNotFound
from palaver.stores.base import Embedder, Scope, Store
from tests.stores.contract_base import Part
from tests.stores.talking import Talker, assistant, system, user

SIZE = 4


def vector(number: int) -> bytes:
    return bytes([number, 0, 0, 127])


async def embedded(store: Store, owner: str = "local", embedder: Embedder | None = None) -> Embedder:
    """Give every message that has none a vector, each another."""
    embedder = embedder or await store.embedder("small", SIZE)
    rows = await store.unembedded(embedder.number, limit=1000)
    await store.keep_vectors(embedder.number, {row.message: vector(row.number % 100) for row in rows})
    return embedder


class Vectors(Part):
    async def test_what_has_none_is_told_latest_first(self, store: Store) -> None:
        talker = Talker(store)
        await talker.talk("one", "re one", "two " + "x" * 3000, "re two", conversation="c")
        rows = await store.unembedded(None, characters=10)
        assert [row.text for row in rows] == ["re two", "two xxxxxx", "re one", "one"]
        path = await talker.path(rows[0].conversation)
        assert [row.message for row in rows] == [item.id for item in reversed(path)]
        assert {row.owner for row in rows} == {"local"}
        below = await store.unembedded(None, below=rows[0].number, above=rows[3].number, limit=1)
        assert [row.number for row in below] == [rows[1].number]

    async def test_what_gets_none(self, store: Store) -> None:
        await Talker(store).talk("Give this a title.", "A title")
        passing = await Talker(store).admit([user("hi")], "t", temporary=3600)
        await Talker(store).end(passing.turn, "hello")
        talker = Talker(store)
        talker.history = [system("Be brief."), user("kept"), assistant("shot"), user(" ")]
        kept = await talker.admit(talker.history, "k")
        await talker.end(kept.turn, "")
        rows = await store.unembedded(None)
        assert [row.text for row in rows if row.text.strip()] == ["shot", "kept"]

    async def test_a_text_is_told_as_it_was_written(self, store: Store) -> None:
        await Talker(store).talk("東京に行く", "はい", conversation="c")
        assert [row.text for row in await store.unembedded(None)] == ["はい", "東京に行く"]

    async def test_an_embedder_is_the_last_of_its_name(self, store: Store) -> None:
        assert await store.last_embedder("small") is None
        first = await store.embedder("small", 4)
        assert await store.embedder("small", 4) == first == await store.last_embedder("small")
        second = await store.embedder("small", 8)
        other = await store.embedder("other", 4)
        assert len({first.number, second.number, other.number}) == 3
        assert await store.last_embedder("small") == second
        again = await store.embedder("small", 4)
        assert await store.last_embedder("small") == again
        assert again.number not in (first.number, second.number)

    async def test_vectors_within_a_scope(self, store: Store) -> None:
        ann, bob, other = Talker(store, end_user="ann"), Talker(store), Talker(store, "other")
        anns = await ann.talk("one", "re one", "two", "re two", conversation="a")
        await bob.talk("three", "re three", conversation="b")
        await other.talk("four", "re four", conversation="o")
        embedder = await embedded(store)

        async def texts(scope: Scope, owner: str = "local", **more: object) -> list[str]:
            found = await store.vectors(owner, embedder.number, scope, **more)  # type: ignore[arg-type]
            assert found.vectors == b"".join(vector(number % 100) for number in found.numbers)
            matches = {match.number: match for match in await store.numbered(owner, found.numbers)}
            assert all(match.score == 0 for match in matches.values())
            items = [
                await store.items(owner, m.conversation, to=m.message, limit=1) for m in matches.values()
            ]
            said = {m.number: item[-1].message.text for m, item in zip(matches.values(), items, strict=True)}
            return [said[number] for number in found.numbers]

        everything = ["re three", "three", "re two", "two", "re one", "one"]
        assert await texts(Scope()) == everything
        assert await texts(Scope(), limit=2) == everything[:2]
        assert await texts(Scope(conversation=anns)) == everything[2:]
        assert await texts(Scope(conversation=anns, role="user"), limit=1) == ["two"]
        assert await texts(Scope(end_user="ann", role="assistant")) == ["re two", "re one"]
        assert await texts(Scope(since=1 << 50)) == []
        assert await texts(Scope(), "other") == ["re four", "four"]
        assert await texts(Scope(), "nobody") == []
        numbers = (await store.vectors("local", embedder.number, Scope())).numbers
        assert await texts(Scope(until=numbers[1]), limit=1) == ["three"]
        assert await texts(Scope(role="user"), limit=1, numbers=[numbers[-1], numbers[1], 10**9]) == [
            "three",
            "one",
        ]
        assert await texts(Scope(), "other", limit=1, numbers=numbers) == ["re four"]
        assert await store.numbered("other", numbers) == []
        with pytest.raises(ConversationNotFound):
            await store.vectors("other", embedder.number, Scope(conversation=anns))

    async def test_they_go_with_their_messages(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        id = await talker.talk("one", "re one", "two", "re two", conversation="c")
        await Talker(store).talk("three", "re three", conversation="d")
        embedder = await embedded(store)
        path = await talker.path(id)
        await store.delete_message("local", path[3].id)
        assert len(self.tables(folder)["message_vectors"]) == 5
        await store.delete_message("local", path[1].id)  # a tombstone
        assert len(self.tables(folder)["message_vectors"]) == 4
        await store.keep_vectors(
            embedder.number, {path[1].id: vector(1), path[3].id: vector(1), "msg_": vector(1)}
        )
        assert len(self.tables(folder)["message_vectors"]) == 4
        await store.delete_conversation("local", id)
        assert len(self.tables(folder)["message_vectors"]) == 2
        await store.delete_owner("local")
        assert self.tables(folder)["message_vectors"] == []

    async def test_a_fork_has_them_too(self, store: Store, folder: Path) -> None:
        id = await Talker(store).talk("one", "re one", conversation="c")
        embedder = await embedded(store)
        fork = await store.fork("local", id)
        found = await store.vectors("local", embedder.number, Scope(conversation=fork.id))
        source = await store.vectors("local", embedder.number, Scope(conversation=id))
        assert found.vectors == source.vectors
        assert await store.unembedded(embedder.number) == []

    async def test_those_of_others_are_dropped(self, store: Store, folder: Path) -> None:
        await Talker(store).talk(*(f"{i}" for i in range(10)), conversation="c")
        old, new = await embedded(store), await store.embedder("large", SIZE)
        assert len(await store.unembedded(new.number)) == 10
        await embedded(store, embedder=new)
        assert await store.drop_other_vectors(new.number) == 10
        tables = self.tables(folder)
        assert {row["embedder"] for row in tables["message_vectors"]} == {new.number}
        assert [row["seq"] for row in tables["embedders"]] == [new.number]
        assert len((await store.vectors("local", old.number, Scope())).numbers) == 0
        await store.keep_vectors(old.number, {})
