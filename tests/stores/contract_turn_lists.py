"""The contract: lists of a door's turns, and what is noted with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from palaver.core.errors import InvalidRequest, TurnNotFound
from palaver.core.reply import Reply
from palaver.core.turn import TurnState
from palaver.stores.base import Order, Store
from tests.stores.contract_base import Part
from tests.stores.talking import Talker, assistant, new_turn, user

DOOR = "chat.completions"


async def said(store: Store, text: str, owner: str = "local", **more: Any) -> str:
    """The id of a turn that has ended; `more` goes into its admission."""
    talker = Talker(store, owner)
    admitted = await talker.admit([user(text)], **more)
    await talker.end(admitted.turn, f"re {text}")
    return admitted.turn


async def listed(store: Store, owner: str = "local", **asked: Any) -> list[str]:
    return [turn.id for turn in await store.turns(owner, **{"door": DOOR, **asked})]


class TurnLists(Part):
    @pytest.mark.parametrize("order", ["asc", "desc"])
    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
    async def test_they_come_in_pages(self, store: Store, order: Order, limit: int) -> None:
        made = []
        for i in range(7):
            made.append(await said(store, str(i)))
            await said(store, str(i), door="responses")
            await said(store, str(i), "other")
        seen: list[str] = []
        after = None
        while page := await listed(store, after=after, limit=limit, order=order):
            assert len(page) <= limit
            assert len(seen) < 20
            seen += page
            after = page[-1]
        assert seen == (made if order == "asc" else made[::-1])

    async def test_they_are_the_turns_themselves(self, store: Store) -> None:
        talker = Talker(store)
        admitted = await talker.admit([user("which?")], metadata={"a": "b"})
        await talker.end_all(admitted.turn, "one", Reply(content="two", finish_reason="stop"))
        assert await store.turns("local", door=DOOR) == [await store.turn("local", admitted.turn)]

    async def test_they_have_ended_with_something_to_show(self, store: Store) -> None:
        talker = Talker(store)
        running = await talker.admit([user("running")], "c")
        await talker.put([user("queued")], "c", at_head=True)
        shown = []
        for state in (TurnState.COMPLETED, TurnState.INCOMPLETE, TurnState.CANCELLED):
            shown.append((await talker.admit([user(state)])).turn)
            await talker.end(shown[-1], "some", state)
            silent = (await talker.admit([user(f"silent {state}")])).turn
            await talker.end(silent, "", state, finish_reason="stop" if state == "completed" else None)
            shown += [silent] if state == "completed" else []
        failed = await talker.admit([user("failed")])
        await talker.end(failed.turn, state=TurnState.FAILED, error_message="no")
        assert await listed(store, limit=100) == shown
        await talker.end(running.turn, "at last")
        assert await listed(store, limit=100) == [running.turn, *shown]

    async def test_by_model(self, store: Store) -> None:
        one = await said(store, "one", requested_model="gpt", model="qwen")
        other = await said(store, "two", requested_model="qwen", model="llama")
        await said(store, "three")
        assert await listed(store, model="qwen") == [one, other]
        assert await listed(store, model="gpt") == [one]
        assert await listed(store, model="llama", order="desc") == [other]
        assert await listed(store, model="qwe") == []

    async def test_by_what_is_noted(self, store: Store) -> None:
        one = await said(store, "one", metadata={"a": "1", "b": "2"})
        two = await said(store, "two", metadata={"a": "1", 'b"].$': "x'y"})
        await said(store, "three")
        assert await listed(store, metadata={"a": "1"}) == [one, two]
        assert await listed(store, metadata={"a": "1", "b": "2"}) == [one]
        assert await listed(store, metadata={'b"].$': "x'y"}, order="desc") == [two]
        for other in ({"a": "2"}, {"b": "1"}, {"a": "1", "c": ""}, {"": ""}):
            assert await listed(store, metadata=other) == []
        assert len(await listed(store, metadata={})) == 3

    @pytest.mark.parametrize("order", ["asc", "desc"])
    async def test_only_turns_of_the_list_can_be_gone_on_from(self, store: Store, order: Order) -> None:
        mine = await said(store, "mine")
        foreign = [await said(store, "x", door="responses"), await said(store, "x", "other"), new_turn(), ""]
        for after in foreign:
            with pytest.raises(InvalidRequest) as caught:
                await store.turns("local", door=DOOR, after=after, order=order)
            assert caught.value.param == "after"
        assert await listed(store, after=mine, order=order) == []
        assert await listed(store, "nobody") == []

    async def test_deleted_ones_are_not_among_them(self, store: Store) -> None:
        talker = Talker(store)
        first, second = await talker.ask("one", "re one"), await talker.ask("two", "re two")
        path = await talker.path(first.conversation)
        await store.delete_message("local", path[0].id)
        assert await listed(store) == [first.turn, second.turn], "a question alone"
        await store.delete_message("local", path[1].id)
        assert await listed(store) == [second.turn]
        await store.delete_message("local", path[3].id)
        assert await listed(store) == []

    async def test_of_several_replies_one_that_is_left_is_enough(self, store: Store) -> None:
        talker = Talker(store)
        admitted = await talker.admit([user("which?")])
        await talker.end_all(admitted.turn, "one", "two")
        tree = await store.tree("local", admitted.conversation)
        for reply in tree[1:]:  # so that each leaves an empty place
            below = await talker.admit([user("more")], parent=reply.id)
            await talker.end(below.turn, "sure")
            await store.delete_turn("local", below.turn) if reply is tree[-1] else None
        await store.delete_message("local", tree[1].id)
        assert admitted.turn in await listed(store, order="asc")
        await store.delete_message("local", tree[2].id)
        assert admitted.turn not in await listed(store)

    async def test_what_is_noted_is_changed(self, store: Store, folder: Path) -> None:
        turn, other = await said(store, "one", metadata={"a": "1"}), await said(store, "two")
        before = await store.turn("local", turn)
        changed = await store.update_turn("local", turn, {"b": "2"})
        assert changed.metadata == {"b": "2"}
        assert changed == await store.turn("local", turn)
        assert before.metadata == {"a": "1"}
        assert await listed(store, metadata={"b": "2"}) == [turn]
        assert (await store.turn("local", other)).metadata == {}
        assert (await store.update_turn("local", turn, {})).metadata == {}
        async with self.unchanged(folder):
            for owner, id in (("other", turn), ("nobody", turn), ("local", new_turn())):
                with pytest.raises(TurnNotFound):
                    await store.update_turn(owner, id, {"c": "3"})

    @pytest.mark.parametrize("order", ["asc", "desc"])
    async def test_items_from_a_depth_on(self, store: Store, order: Order) -> None:
        talker = Talker(store)
        id = await talker.talk(*map(str, range(8)))
        path = await talker.path(id)
        for since in (0, 3, 7, 8):
            found = await store.items("local", id, since=since, limit=100, order=order)
            assert found == (path[since:] if order == "asc" else path[since:][::-1])
        assert await store.items("local", id, to=path[5].id, since=2, limit=3, order="asc") == path[2:5]
        assert await store.items("local", id, after=path[1].id, since=4, order="asc") == path[4:]
        assert [m.text for m in talker.history] == [*map(str, range(8))]
        assert talker.history[-1] == assistant("7")
