"""The contract: what is shown beside the text of conversations and messages, and the map of a tree."""

from __future__ import annotations

from itertools import count

import pytest

from palaver.core.errors import ConversationNotFound, MessageNotFound
from palaver.core.message import Message
from palaver.core.turn import TurnState, Usage
from palaver.stores.base import OpenTurn, Store, TurnFigures
from tests.stores.contract_base import Part
from tests.stores.contract_branches import all_of, branched, named, texts
from tests.stores.talking import Talker, assistant, user

FUTURE = 4_000_000_000_000
"""Later than anything, in milliseconds since 1970."""


class Shown(Part):
    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each message is kept a second after the one before it."""
        seconds = count(1001)
        monkeypatch.setattr("palaver.stores.writing.now", lambda: next(seconds) * 1000)

    async def test_siblings_are_of_one_role_and_come_the_oldest_first(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await branched(talker)
        two = await talker.admit(talker.history[:3], "notes")  # the second question, answered again
        await talker.end(two.turn, "another two")
        tree = await all_of(store, "tree", conversation)
        await store.add_items("local", conversation, [user("more")], below=tree[2].id)
        tree = await all_of(store, "tree", conversation)
        assert texts(tree) == ["1", "one", "2", "two", "other", "else", "another two", "more"]
        found = await store.siblings("local", [item.id for item in tree])
        by_text = {item.id: item.message.text for item in tree}
        assert {by_text[id]: [by_text[each] for each in beside] for id, beside in found.items()} == {
            "1": ["1"],
            "one": ["one"],
            "2": ["2", "other"],
            "other": ["2", "other"],
            "two": ["two", "another two"],
            "another two": ["two", "another two"],
            "else": ["else"],
            "more": ["more"],
        }

    async def test_first_messages_are_siblings_too(self, store: Store) -> None:
        made = await store.create_conversation("local", name="notes")
        first, second = [(await Talker(store).admit([user(text)], "notes")) for text in ("1", "2")]
        await Talker(store).talk("elsewhere", "x", conversation="else")
        await Talker(store).end(first.turn, "one")
        await Talker(store).end(second.turn, "two")
        roots = [item.id for item in await all_of(store, "tree", made.id) if item.parent is None]
        assert len(roots) == 2
        assert await store.siblings("local", roots) == dict.fromkeys(roots, roots)

    async def test_tombstones_are_nobodys_siblings(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await branched(talker)
        two, other = [await named(talker, conversation, text) for text in ("2", "other")]
        await store.delete_message("local", two)
        assert await store.siblings("local", [other, two]) == {other: [other], two: [two, other]}

    async def test_siblings_of_many(self, store: Store) -> None:
        made = await store.create_conversation("local")
        items = await store.add_items("local", made.id, [user(f"{number}") for number in range(1100)])
        ids = [item.id for item in items]
        assert await store.siblings("local", [*ids, "msg_nothing"]) == {id: [id] for id in ids}
        assert await store.siblings("local", []) == {}

    async def test_figures_of_turns(self, store: Store) -> None:
        talker = Talker(store)
        admitted = await talker.admit([user("1")])
        [before] = (await store.figures("local", [admitted.turn])).values()
        assert before == TurnFigures(
            usage=None,
            started_at=before.started_at,
            first_token_at=None,
            first_text_at=None,
            ended_at=None,
        )
        assert before.started_at is not None
        await talker.end(
            admitted.turn,
            "one",
            usage=Usage(5, 6, 1, 2),
            first_token_at=1000,
            first_text_at=2000,
            ended_at=3000,
        )
        assert await store.figures("local", [admitted.turn, admitted.turn, "turn_nothing"]) == {
            admitted.turn: TurnFigures(
                usage=Usage(5, 6, 1, 2),
                started_at=before.started_at,
                first_token_at=1000,
                first_text_at=2000,
                ended_at=3000,
            )
        }

    async def test_turns_that_have_not_ended(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await talker.talk("1", "one", conversation="notes")
        await Talker(store).admit([user("elsewhere")])
        assert await store.open_turns("local", conversation) == []
        running = await talker.admit([*talker.history, user("2")], "notes")
        waiting = await talker.put([user("3")], "notes", at_head=True)
        assert waiting.state is TurnState.QUEUED
        question = await named(talker, conversation, "2")
        assert await store.open_turns("local", conversation) == [
            OpenTurn(running.turn, TurnState.RUNNING, question),
            OpenTurn(waiting.turn, TurnState.QUEUED, None),
        ]
        with pytest.raises(ConversationNotFound):
            await store.open_turns("local", "conv_nothing")

    @pytest.mark.usefixtures("clock")
    async def test_a_path_from_a_time_on(self, store: Store) -> None:
        made = await store.create_conversation("local")
        for number in range(8):
            await store.add_items("local", made.id, [user(f"{number}")])
        path = await store.items("local", made.id, order="asc", limit=100)
        times = [item.created_at for item in path]
        assert times == sorted(set(times))
        for at, first in (
            (0, 0),
            (times[3], 3),
            (times[3] + 1, 4),
            (times[7], 7),
            (times[7] + 1, 8),
            (FUTURE, 8),
        ):
            assert await store.items("local", made.id, order="asc", at=at, limit=100) == path[first:]
            assert await store.items("local", made.id, order="asc", at=at, limit=2) == path[first : first + 2]
        later = await store.items("local", made.id, order="asc", at=times[3], after=path[5].id)
        assert later == path[6:]
        earlier = await store.items("local", made.id, order="asc", at=times[3], after=path[1].id)
        assert earlier == path[3:]
        to = await store.items("local", made.id, order="asc", at=times[2], to=path[4].id)
        assert to == path[2:5]

    async def test_an_empty_path_from_a_time_on(self, store: Store) -> None:
        made = await store.create_conversation("local")
        assert await store.items("local", made.id, order="asc", at=0) == []


class Mapping(Part):
    async def test_runs_are_drawn_together(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await branched(talker)
        found = await store.map("local", conversation)
        ids = {item.message.text: item.id for item in await all_of(store, "tree", conversation)}
        assert found.head == ids["two"]
        assert [
            (each.first, each.last, each.parent, each.messages, each.role, each.text, each.is_on_path)
            for each in found.segments
        ] == [
            (ids["1"], ids["one"], None, 2, "user", "1", True),
            (ids["2"], ids["two"], ids["one"], 2, "user", "2", True),
            (ids["other"], ids["else"], ids["one"], 2, "user", "other", False),
        ]
        items = {item.id: item for item in await all_of(store, "tree", conversation)}
        for each in found.segments:
            assert each.created_at == items[each.first].created_at
            assert each.updated_at == items[each.last].created_at

    async def test_what_it_says_of_a_segment(self, store: Store) -> None:
        long = "word " * 10_000
        messages = [assistant("Welcome."), user(f"  a\n{long}")]
        made = await store.create_conversation("local", messages)
        [whole] = (await store.map("local", made.id)).segments
        assert (whole.role, len(whole.text), whole.text[:11], whole.text[-1]) == (
            "assistant",
            80,
            "a word word",
            "…",
        )
        reply = await store.create_conversation("local", [Message("assistant", None, reasoning="Hm.")])
        assert [each.text for each in (await store.map("local", reply.id)).segments] == [""]

    async def test_what_is_deleted_says_nothing(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await branched(talker)
        await store.delete_message("local", await named(talker, conversation, "2"))
        found = (await store.map("local", conversation)).segments
        assert [(each.text, each.messages) for each in found] == [("1", 2), ("two", 2), ("other", 2)]

    async def test_an_empty_one(self, store: Store) -> None:
        made = await store.create_conversation("local")
        found = await store.map("local", made.id)
        assert (found.head, found.segments) == (None, [])
        with pytest.raises(ConversationNotFound):
            await store.map("local", "conv_nothing")

    async def test_a_head_in_the_middle_is_on_the_path(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await branched(talker)
        await store.set_head("local", conversation, await named(talker, conversation, "other"))
        found = (await store.map("local", conversation)).segments
        assert [each.is_on_path for each in found] == [True, False, True]

    async def test_the_newest_leaf_below_a_message(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await branched(talker)

        async def headed(text: str) -> str:
            message = await named(talker, conversation, text)
            moved = await store.set_head("local", conversation, message, newest=True)
            assert moved == await store.conversation("local", conversation)
            [head] = await store.items("local", conversation, limit=1)
            return head.message.text

        heads = {text: await headed(text) for text in ("1", "one", "2", "two", "other", "else")}
        assert heads == {
            "1": "else",
            "one": "else",
            "2": "two",
            "two": "two",
            "other": "else",
            "else": "else",
        }
        await store.delete_message("local", await named(talker, conversation, "else"))
        assert await headed("1") == "other"
        gone = await named(talker, conversation, "2")
        await store.delete_message("local", gone)
        with pytest.raises(MessageNotFound):
            await store.set_head("local", conversation, gone, newest=True)
