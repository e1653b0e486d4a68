"""The contract: conversations that are pinned, archived, or deleted at a time that was set for them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from palaver.core.errors import ConversationNotFound
from palaver.stores.base import Only, Store
from tests.stores.contract_base import Part
from tests.stores.contract_naming import NOBODYS
from tests.stores.contract_sequences import consistent
from tests.stores.talking import Talker, user

FUTURE = 4_000_000_000_000
"""Later than anything, in milliseconds since 1970."""


async def listed(store: Store, only: Only | None = None, **more: Any) -> list[str]:
    """The names of the conversations that are listed."""
    found = await store.conversations("local", only=only, limit=100, **more)
    return [each.name or "" for each in found]


async def made(store: Store, *names: str) -> list[str]:
    return [(await store.create_conversation("local", [user("hi")], name=name)).id for name in names]


class Marks(Part):
    async def test_they_are_kept_apart(self, store: Store, folder: Path) -> None:
        [id] = await made(store, "a")
        found = await store.conversation("local", id)
        assert (found.pinned, found.archived) == (False, False)
        pinned = await store.update_conversation("local", id, pinned=True)
        assert (pinned.pinned, pinned.archived, pinned.updated_at) == (True, False, found.updated_at)
        both = await store.update_conversation("local", id, archived=True, title="x")
        assert (both.pinned, both.archived, both.title) == (True, True, "x")
        assert both == await store.conversation("local", "a")
        neither = await store.update_conversation("local", id, pinned=False, archived=False)
        assert (neither.pinned, neither.archived) == (False, False)
        consistent(self.tables(folder))

    async def test_lists_leave_out_what_is_archived(self, store: Store) -> None:
        ids = await made(store, "a", "b", "c")
        await store.update_conversation("local", ids[1], archived=True)
        assert await listed(store) == ["c", "a"]
        assert await listed(store, archived=True) == ["c", "b", "a"]
        assert await listed(store, "archived") == ["b"]
        assert [each.id for each in await store.conversations("local", name="b")] == []
        assert (await store.conversation("local", "b")).id == ids[1]

    async def test_lists_of_one_sort(self, store: Store) -> None:
        ids = await made(store, "plain", "pinned", "archived", "both", "gone")
        await store.update_conversation("local", ids[1], pinned=True)
        await store.update_conversation("local", ids[2], archived=True)
        await store.update_conversation("local", ids[3], pinned=True, archived=True)
        await store.update_conversation("local", ids[4], pinned=True, archived=True, expires_in=60)
        task = await Talker(store).admit([user("a title, please")])
        await Talker(store).end(task.turn, "Titled")
        await store.create_conversation("local", name="temporary", temporary=60)
        assert await listed(store, "pinned") == ["pinned"]
        assert await listed(store, "pinned", archived=True) == ["both", "pinned"]
        assert await listed(store, "archived") == ["both", "archived"]
        assert await listed(store, "archived", temporary=True) == ["gone", "both", "archived"]
        assert await listed(store, "tasks") == [""]
        assert await listed(store, "temporary") == ["temporary"]
        assert await listed(store, "temporary", archived=True) == ["temporary", "gone"]
        await store.update_conversation("local", task.conversation, pinned=True)
        assert await listed(store, "pinned") == ["", "pinned"]

    @pytest.mark.parametrize("only", ["pinned", "archived", "temporary", None])
    async def test_lists_of_one_sort_come_in_pages(self, store: Store, only: Only | None) -> None:
        ids = await made(store, *(f"{number}" for number in range(7)))
        for id in ids:
            await store.update_conversation("local", id, pinned=True, archived=only == "archived")
            if only == "temporary":
                await store.update_conversation("local", id, expires_in=60)
        await made(store, "other") if only else None
        seen: list[str] = []
        while page := await store.conversations(
            "local", only=only, limit=3, after=seen[-1] if seen else None
        ):
            seen += [each.id for each in page]
        assert seen == ids[::-1]

    async def test_a_copy_has_no_marks(self, store: Store) -> None:
        [id] = await made(store, "a")
        await store.update_conversation("local", id, pinned=True, archived=True, expires_in=60)
        copy = await store.fork("local", id)
        assert (copy.pinned, copy.archived, copy.expires_at) == (False, False, None)


class Expiring(Part):
    async def test_it_is_left_out_of_lists_and_deleted_in_its_time(self, store: Store, folder: Path) -> None:
        kept, gone = await made(store, "kept", "gone")
        before = int(time.time() * 1000)
        expiring = await store.update_conversation("local", gone, expires_in=60)
        assert expiring.expires_at is not None
        assert before + 60_000 <= expiring.expires_at <= int(time.time() * 1000) + 60_000
        assert await store.next_expiry() == expiring.expires_at
        assert await listed(store) == ["kept"]
        assert (await store.delete_expired(expiring.expires_at)).conversations == 0
        assert (await store.delete_expired(expiring.expires_at + 1)).conversations == 1
        with pytest.raises(ConversationNotFound):
            await store.conversation("local", gone)
        assert (await store.conversation("local", kept)).id == kept
        assert await store.next_expiry() is None
        consistent(self.tables(folder))

    async def test_that_can_be_taken_back(self, store: Store) -> None:
        [id] = await made(store, "a")
        before = await store.conversation("local", id)
        await store.update_conversation("local", id, expires_in=60)
        assert await store.update_conversation("local", id, expires_in=None) == before
        assert await store.next_expiry() is None
        assert (await store.delete_expired(FUTURE)).conversations == 0

    async def test_whatever_is_said_in_it(self, store: Store) -> None:
        talker = Talker(store)
        await talker.talk("1", "one", conversation="a")
        found = await store.conversation("local", "a")
        expiring = await store.update_conversation("local", found.id, expires_in=60)
        assert await talker.talk("2", "two", conversation="a") == found.id
        await store.add_items("local", found.id, [user("3")])
        await store.set_head("local", found.id, (await talker.path(found.id))[1].id)
        assert (await store.conversation("local", "a")).expires_at == expiring.expires_at

    async def test_a_temporary_one_can_be_kept(self, store: Store) -> None:
        temporary = await store.create_conversation("local", [user("1")], temporary=60)
        assert temporary.expires_at is not None
        kept = await store.update_conversation("local", temporary.id, expires_in=None)
        assert kept.expires_at is None
        await store.add_items("local", temporary.id, [user("2")])
        assert (await store.conversation("local", temporary.id)).expires_at is None

    async def test_a_temporary_one_goes_at_its_own_time_then(self, store: Store) -> None:
        temporary = await store.create_conversation("local", [user("1")], temporary=3600)
        expiring = await store.update_conversation("local", temporary.id, expires_in=60)
        await store.add_items("local", temporary.id, [user("2")])
        assert (await store.conversation("local", temporary.id)).expires_at == expiring.expires_at

    async def test_where_somebody_speaks_it_is_overdue(self, store: Store) -> None:
        """And a temporary one is not: whoever speaks there goes on with it."""
        talker = Talker(store)
        running = await talker.admit([user("1")], "a")
        temporary = await Talker(store).admit([user("2")], "b", temporary=60)
        expiring = await store.update_conversation("local", running.conversation, expires_in=60)
        assert await store.next_expiry() == expiring.expires_at
        assert await store.overdue(expiring.expires_at or 0) == []
        assert await store.overdue(FUTURE) == [("local", running.conversation)]
        assert (await store.delete_expired(FUTURE)).conversations == 0
        await talker.end(running.turn, "one")
        assert await store.overdue(FUTURE) == []
        assert (await store.delete_expired(FUTURE)).conversations == 1
        assert await store.next_expiry() is None, "the turn in the temporary one has not ended"
        await talker.end(temporary.turn, "two")
        assert await store.next_expiry() is not None

    async def test_what_is_not_there_cannot_be_deleted_in_a_while(self, store: Store) -> None:
        with pytest.raises(ConversationNotFound):
            await store.update_conversation("local", f"conv_{NOBODYS}", expires_in=60)
