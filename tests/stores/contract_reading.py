"""The contract: reading conversations, their messages and turns; page by page, and each owner their own."""

from __future__ import annotations

from itertools import pairwise

import pytest

from palaver.core.errors import ConversationNotFound, InvalidRequest, TurnNotFound
from palaver.core.tree import Instruction
from palaver.stores.base import Conversation, Order, Store
from tests.stores.contract_base import Part
from tests.stores.contract_naming import NOBODYS
from tests.stores.talking import Talker, assistant, new_turn, system, user


class Reading(Part):
    async def test_conversations_come_last_updated_first_in_pages(self, store: Store) -> None:
        ids = [await Talker(store).talk(f"{i}", "x", "y", "z") for i in range(7)]
        await Talker(store, "other").talk("theirs", "x", "y", "z")
        first = Talker(store)
        first.history = [user("0"), assistant("x"), user("y"), assistant("z")]
        assert await first.talk("again", "z") == ids[0]
        pages = await self._pages(store, limit=3)
        assert [len(page) for page in pages] == [3, 3, 1]
        assert [c.id for page in pages for c in page] == [ids[0], *ids[:0:-1]]
        whole = await store.conversations("local", limit=100)
        assert [c for page in pages for c in page] == whole
        assert all(c.updated_at >= after.updated_at for c, after in pairwise(whole))

    async def _pages(self, store: Store, limit: int) -> list[list[Conversation]]:
        pages: list[list[Conversation]] = []
        after = None
        while page := await store.conversations("local", after=after, limit=limit):
            pages.append(page)
            assert len(pages) < 20
            after = page[-1].id
        return pages

    async def test_conversations_can_be_narrowed_down(self, store: Store) -> None:
        ann, bob = Talker(store, end_user="ann"), Talker(store, end_user="bob")
        notes = await ann.talk("hi", "hello", conversation="notes")
        await bob.talk("hi", "hello", conversation="notes")
        task = await Talker(store, end_user="ann").talk("Give this a title.", "A title")
        assert [c.id for c in await store.conversations("local", end_user="ann")] == [notes]
        assert [c.id for c in await store.conversations("local", end_user="ann", one_shots=True)] == [
            task,
            notes,
        ]
        assert len(await store.conversations("local", name="notes")) == 2
        assert await store.conversations("local", end_user="ann", name="other") == []
        assert await store.conversations("local", end_user="eve") == []

    @pytest.mark.parametrize("order", ["asc", "desc"])
    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
    async def test_messages_come_in_pages(self, store: Store, order: Order, limit: int) -> None:
        talker = Talker(store)
        conversation = await talker.talk(*(f"{i}" for i in range(8)))
        branch = await talker.admit([*talker.history[:4], user("branch")])
        await talker.admit([*talker.history, user("8")])
        assert branch.conversation == conversation
        seen: list[str] = []
        after = None
        while page := await store.items("local", conversation, after=after, limit=limit, order=order):
            assert len(page) <= limit
            assert len(seen) < 20
            seen += [item.message.text for item in page]
            after = page[-1].id
        expected = [f"{i}" for i in range(9)]
        assert seen == (expected if order == "asc" else expected[::-1])

    async def test_each_message_says_where_it_stands_and_whose_it_is(self, store: Store) -> None:
        talker = Talker(store)
        admitted = await talker.ask("hi", "hello")
        first, second = await talker.path(admitted.conversation)
        assert (first.parent, first.depth, first.turn, first.state, first.model) == (
            None,
            0,
            None,
            None,
            None,
        )
        assert (second.parent, second.depth, second.turn) == (first.id, 1, admitted.turn)
        assert second.created_at >= first.created_at > 1_600_000_000_000
        newest = await store.items("local", admitted.conversation, limit=1)
        assert newest == [second]

    @pytest.mark.parametrize("order", ["asc", "desc"])
    async def test_only_messages_on_the_path_can_be_gone_on_from(self, store: Store, order: Order) -> None:
        talker = Talker(store)
        conversation = await talker.talk("hi", "hello", "more", "sure")
        off_path = (await store.items("local", conversation, limit=1))[0].id
        await talker.admit([*talker.history[:2], user("else")])
        elsewhere = (await talker.path(await Talker(store).talk("else", "where")))[0].id
        for after in (off_path, elsewhere, "msg_01arz3ndektsv4rrffq69g5fav", ""):
            with pytest.raises(InvalidRequest) as caught:
                await store.items("local", conversation, after=after, order=order)
            assert caught.value.param == "after"

    async def test_a_conversation_may_be_empty(self, store: Store) -> None:
        talker = Talker(store)
        admitted = await talker.admit([system("Say something.")])
        conversation = await talker.conversation(admitted.conversation)
        assert (conversation.head, conversation.messages, conversation.title) == (None, 0, None)
        orders: tuple[Order, Order] = ("asc", "desc")
        for order in orders:
            assert await store.items("local", conversation.id, order=order) == []
        with pytest.raises(InvalidRequest):
            await store.items("local", conversation.id, after="msg_01arz3ndektsv4rrffq69g5fav")

    async def test_the_latest_instructions(self, store: Store) -> None:
        talker = Talker(store)
        first = await talker.admit([system("one"), user("hi")], "notes")
        assert await store.last_instructions("local", first.conversation) == [Instruction(0, system("one"))]
        await talker.admit([assistant("Welcome."), system("two"), user("hi")], "notes")
        assert await store.last_instructions("local", first.conversation) == [Instruction(1, system("two"))]
        await talker.admit([user("hi")], "notes")
        assert await store.last_instructions("local", first.conversation) == []

    async def test_what_is_not_there_is_not_found(self, store: Store) -> None:
        await Talker(store).talk("hi", "hello")
        with pytest.raises(ConversationNotFound):
            await store.conversation("local", NOBODYS)
        with pytest.raises(ConversationNotFound):
            await store.conversation("local", "notes")
        with pytest.raises(ConversationNotFound):
            await store.conversations("local", after=NOBODYS)
        with pytest.raises(ConversationNotFound):
            await store.items("local", NOBODYS)
        with pytest.raises(ConversationNotFound):
            await store.last_instructions("local", NOBODYS)
        with pytest.raises(TurnNotFound):
            await store.turn("local", new_turn())

    @pytest.mark.parametrize("owner", ["other", "nobody", ""])
    async def test_another_owners_things_are_not_found(self, store: Store, owner: str) -> None:
        talker = Talker(store)
        admitted = await talker.ask("hi", "hello", "notes")
        await Talker(store, "other").talk("hi", "hello")
        conversation = admitted.conversation
        for ref in (conversation, "notes"):
            with pytest.raises(ConversationNotFound):
                await store.conversation(owner, ref)
        with pytest.raises(ConversationNotFound):
            await store.conversations(owner, after=conversation)
        with pytest.raises(ConversationNotFound):
            await store.items(owner, conversation)
        with pytest.raises(ConversationNotFound):
            await store.last_instructions(owner, conversation)
        with pytest.raises(TurnNotFound):
            await store.turn(owner, admitted.turn)
        assert conversation not in [c.id for c in await store.conversations(owner, one_shots=True)]
