"""The contract: what a turn was sent, and what its path begins with."""

from __future__ import annotations

from typing import Any

import pytest

from palaver.core.errors import TurnNotFound
from palaver.core.reply import Reply
from palaver.stores.base import Store
from tests.stores.contract_base import Part
from tests.stores.contract_responses import developer, reply_of, said, texts_of, whole
from tests.stores.talking import Talker, assistant, new_turn, system, user


class Sending(Part):
    async def test_what_a_turn_was_sent(self, store: Store) -> None:
        talker = Talker(store)
        first = await said(talker, user("one"), assistant("elsewhere"), user("two"), parent=None)
        second = await said(talker, user("three"), parent=await reply_of(store, first))
        resent = await talker.admit(
            [
                system("kind"),
                user("one"),
                assistant("elsewhere"),
                user("two"),
                assistant("yes"),
                user("other"),
            ]
        )
        assert resent.conversation == first.conversation
        for turn, texts in (
            (first, ["one", "elsewhere", "two"]),
            (second, ["three"]),
            (resent, ["one", "elsewhere", "two", "yes", "other"]),
        ):
            items = await store.turn_input("local", turn.turn)
            assert [item.message.text for item in items] == texts
            assert (await store.turn("local", turn.turn)).inputs == len(texts)
            tree = {item.id: item for item in await store.tree("local", turn.conversation)}
            assert [tree[item.id].message for item in items] == [item.message for item in items]

    async def test_while_it_waits_and_then(self, store: Store) -> None:
        talker = Talker(store)
        running = await talker.admit([user("one")], "c")
        messages = [developer("dutch"), user("two")]
        waits = await talker.put(**await whole(talker, messages, conversation="c", at_head=True))
        queued = await store.turn_input("local", waits.turn)
        assert [item.message for item in queued] == messages
        assert len({item.id for item in queued}) == 2
        assert {item.turn for item in queued} == {None}
        await talker.end(running.turn, "yes")
        assert await store.turn_input("local", waits.turn) == queued
        assert await talker.begin(waits)
        begun = await store.turn_input("local", waits.turn)
        assert [item.message for item in begun] == messages
        assert [item.id for item in begun] == [
            item.id for item in (await talker.path(waits.conversation))[2:]
        ]
        await talker.end(waits.turn, "sure")
        assert await store.turn_input("local", waits.turn) == begun

    async def test_what_was_asked_again_was_sent_nothing(self, store: Store) -> None:
        talker = Talker(store)
        first = await said(talker, user("one"), conversation="c", at_head=True)
        question = (await store.turn("local", first.turn)).question
        again = await talker.admit(**await whole(talker, [], parent=question))
        assert await store.turn_input("local", again.turn) == []
        assert (await store.turn("local", again.turn)).inputs == 0

    async def test_what_was_left_out_was_not_sent(self, store: Store) -> None:
        talker = Talker(store)
        await talker.talk("u0", "a0", "u1", "a1", "u2", "a2")
        history = talker.history
        for sent in (history[4:], [*history[:2], *history[4:]]):
            turn = await talker.admit([*sent, user("new")])
            assert (await store.turn("local", turn.turn)).gap is not None
            items = await store.turn_input("local", turn.turn)
            assert [item.message for item in items] == [*sent, user("new")]
            await talker.end(turn.turn, "yes")

    async def test_what_is_deleted_has_its_place(self, store: Store) -> None:
        talker = Talker(store)
        first = await said(talker, user("one"), user("two"), conversation="c", at_head=True)
        path = await talker.path(first.conversation)
        await store.delete_message("local", path[0].id)
        items = await store.turn_input("local", first.turn)
        assert [(item.message.text, item.deleted) for item in items] == [("", True), ("two", False)]

    @pytest.mark.parametrize("turn", ["turn_01arz3ndektsv4rrffq69g5fav", "turn_1", ""])
    async def test_of_no_turn(self, store: Store, turn: str) -> None:
        with pytest.raises(TurnNotFound):
            await store.turn_input("local", turn)


class Opening(Part):
    async def opening(self, talker: Talker, **sent: Any) -> list[str]:
        """What the path of a new turn begins with."""
        turn = await talker.put(**sent)
        prompt = await talker.store.prompt(turn.turn, talker.lease)
        await talker.end(turn.turn, "sure")
        assert [step for step in prompt.opening if step.deleted] == []
        return [step.message.text for step in prompt.opening]

    async def test_what_a_path_begins_with(self, store: Store) -> None:
        talker = Talker(store)
        opening = [developer("dutch"), system("kindly")]
        sent = await whole(talker, [*opening, user("one")], conversation="c", at_head=True)
        assert await self.opening(talker, **sent) == ["dutch", "kindly"]
        for messages in ([user("two")], [developer("later"), user("three")]):
            more = await whole(talker, messages, conversation="c", at_head=True)
            assert await self.opening(talker, **more) == ["dutch", "kindly"]

    @pytest.mark.parametrize("only", [1, 3])
    async def test_a_path_of_nothing_else(self, store: Store, only: int) -> None:
        talker = Talker(store)
        messages = [developer(str(i)) for i in range(only)]
        sent = await whole(talker, messages, conversation="c", at_head=True)
        assert await self.opening(talker, **sent) == [str(i) for i in range(only)]

    async def test_each_branch_begins_with_its_own(self, store: Store) -> None:
        talker = Talker(store)
        plain = await said(talker, user("plain"), conversation="c", at_head=True)
        dutch = await talker.put([user("x")], "c")  # another first message beside
        await talker.end(dutch.turn, "yes")
        made = await store.create_conversation(
            "local", [developer("dutch"), user("one"), assistant("yes")], name="d"
        )
        path = await talker.path(made.id)
        below = await whole(talker, [user("two")], parent=path[2].id)
        assert await self.opening(talker, **below) == ["dutch"]
        beside = await whole(talker, [developer("kindly"), user("one")], parent=path[0].id)
        assert await self.opening(talker, **beside) == ["dutch", "kindly"]
        again = await whole(talker, [user("three")], parent=path[2].id)
        assert await self.opening(talker, **again) == ["dutch"]
        first = await whole(talker, [user("more")], parent=await reply_of(store, plain))
        assert await self.opening(talker, **first) == []

    async def test_what_is_deleted_opens_nothing(self, store: Store) -> None:
        talker = Talker(store)
        await said(talker, developer("dutch"), system("kindly"), user("one"), conversation="c", at_head=True)
        path = await talker.path((await store.conversation("local", "c")).id)
        await store.delete_message("local", path[0].id)
        more = await whole(talker, [user("two")], conversation="c", at_head=True)
        assert await self.opening(talker, **more) == ["kindly"]
        await store.delete_message("local", path[1].id)
        assert await self.opening(talker, **more | {"turn": new_turn()}) == []

    async def test_a_history_has_none(self, store: Store) -> None:
        talker = Talker(store)
        told = await talker.admit([system("kindly"), user("one")])
        prompt = await store.prompt(told.turn, talker.lease)
        assert (prompt.opening, texts_of(prompt.instructions)) == ([], ["kindly"])

    async def test_a_fork_has_its_copies(self, store: Store) -> None:
        talker = Talker(store)
        first = await said(talker, developer("dutch"), user("one"), conversation="c", at_head=True)
        fork = await store.fork("local", first.conversation, await reply_of(store, first))
        more = await whole(talker, [user("two")], conversation=fork.id, at_head=True)
        assert await self.opening(talker, **more) == ["dutch"]

    async def test_replies_of_a_turn_share_it(self, store: Store) -> None:
        talker = Talker(store)
        told = await talker.admit(
            **await whole(talker, [developer("dutch"), user("one")], conversation="c", at_head=True)
        )
        await talker.end_all(told.turn, "this", Reply(content="that"))
        tree = await store.tree("local", told.conversation)
        for reply in tree[2:]:
            assert await self.opening(talker, **await whole(talker, [user("two")], parent=reply.id)) == [
                "dutch"
            ]
