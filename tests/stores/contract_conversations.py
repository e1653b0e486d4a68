"""The contract: conversations that are made and filled beside turns, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from palaver.core.errors import ConversationBusy, ConversationNotFound, InvalidRequest, MessageNotFound
from palaver.core.message import FunctionCall, ImagePart, ImageUrl, Message, ToolCall
from palaver.core.turn import TurnState
from palaver.stores.base import Item, Store
from tests.stores.contract_base import Part
from tests.stores.contract_naming import NOBODYS
from tests.stores.contract_sequences import consistent
from tests.stores.talking import Talker, assistant, system, user

UNKNOWN = "msg_01arz3ndektsv4rrffq69g5fav"
CALL = Message("assistant", None, tool_calls=[ToolCall(FunctionCall("now"), "call_1")])
RESULT = Message("tool", "noon", tool_call_id="call_1")
PICTURE = Message("user", [ImagePart(ImageUrl("https://example.org/a.png"))])


def texts(items: Sequence[Item]) -> list[str]:
    return [item.message.text for item in items]


class Making(Part):
    async def test_an_empty_conversation(self, store: Store, folder: Path) -> None:
        made = await store.create_conversation("local")
        assert made == await store.conversation("local", made.id)
        assert (made.head, made.messages, made.title, made.titled_by, made.metadata) == (
            None,
            0,
            None,
            None,
            {},
        )
        assert (made.name, made.end_user, made.source, made.one_shot, made.expires_at) == 3 * (None,) + (
            False,
            None,
        )
        assert [c.id for c in await store.conversations("local")] == [made.id]
        consistent(self.tables(folder))

    async def test_a_conversation_with_everything(self, store: Store, folder: Path) -> None:
        messages = [system("Be brief."), user("When?"), CALL, RESULT, assistant("At noon.")]
        made = await store.create_conversation(
            "local",
            messages,
            end_user="ann",
            name="notes",
            title="  What\n I said ",
            metadata={"topic": "x"},
            source="an app",
            temporary=3600,
        )
        assert made == await store.conversation("local", "notes", "ann")
        assert (made.title, made.titled_by, made.metadata, made.source) == (
            "What I said",
            "user",
            {"topic": "x"},
            "an app",
        )
        assert made.expires_at is not None
        path = await store.items("local", made.id, order="asc")
        assert [item.message for item in path] == messages
        assert [item.depth for item in path] == [0, 1, 2, 3, 4]
        assert {(item.turn, item.state, item.model) for item in path} == {(None, None, None)}
        assert (made.head, made.messages) == (path[-1].id, 5)
        consistent(self.tables(folder))

    async def test_its_first_words_are_its_title(self, store: Store) -> None:
        made = await store.create_conversation("local", [system("Be brief."), user("When?"), user("Now?")])
        assert (made.title, made.titled_by) == ("When?", "words")

    async def test_a_name_is_free_where_its_owner_and_end_user_have_none_of_it(
        self, store: Store, folder: Path
    ) -> None:
        for owner, whose in (("local", None), ("local", "ann"), ("local", "bob"), ("other", None)):
            await store.create_conversation(owner, name="notes", end_user=whose)
        async with self.unchanged(folder):
            with pytest.raises(InvalidRequest) as caught:
                await store.create_conversation("local", name="notes", end_user="ann")
        assert caught.value.param == "name"

    async def test_the_result_of_a_call_that_nobody_made(self, store: Store, folder: Path) -> None:
        async with self.unchanged(folder):
            with pytest.raises(InvalidRequest) as caught:
                await store.create_conversation("local", [user("hi"), RESULT, CALL])
        assert caught.value.param == "messages[1].tool_call_id"

    async def test_a_turn_goes_on_in_one_that_was_made(self, store: Store, folder: Path) -> None:
        made = await store.create_conversation("local", [user("hi"), assistant("hello")])
        talker = Talker(store)
        told = await talker.admit([user("more")], made.id, at_head=True)
        assert [message.text for message in told.messages] == ["hi", "hello", "more"]
        await talker.end(told.turn, "sure")
        assert await talker.texts(made.id) == ["hi", "hello", "more", "sure"]
        consistent(self.tables(folder))

    async def test_what_was_made_stays_when_its_last_message_goes(self, store: Store, folder: Path) -> None:
        made = await store.create_conversation("local", [user("hi")])
        await store.delete_message("local", (await store.items("local", made.id))[0].id)
        left = await store.conversation("local", made.id)
        assert (left.head, left.messages, left.title) == (None, 0, None)
        (item,) = await store.add_items("local", made.id, [user("again")])
        assert (item.parent, item.depth) == (None, 0)
        consistent(self.tables(folder))

    async def test_a_history_that_is_resent_is_not_hung_on_what_nobody_generated(self, store: Store) -> None:
        made = await store.create_conversation("local", [user("hi"), assistant("hello")])
        told = await Talker(store).admit([user("hi"), assistant("hello"), user("more")])
        assert told.conversation != made.id


class Adding(Part):
    async def test_messages_hang_below_the_head(self, store: Store, folder: Path) -> None:
        talker = Talker(store, end_user="ann")
        conversation = await talker.talk("1", "one")
        before = await talker.conversation(conversation)
        assert before.one_shot
        added = await store.add_items("local", conversation, [user("2"), CALL, RESULT])
        path = await talker.path(conversation)
        assert added == path[2:]
        assert texts(path) == ["1", "one", "2", "", "noon"]
        after = await talker.conversation(conversation)
        assert (after.head, after.messages, after.one_shot, after.title) == (added[-1].id, 5, False, "1")
        assert after.updated_at >= before.updated_at
        consistent(self.tables(folder))
        history = [*talker.history, user("2"), CALL, RESULT, user("3")]
        assert (await talker.admit(history)).conversation == conversation
        assert texts(await talker.path(conversation))[-1] == "3"

    async def test_below_a_message_they_are_a_branch_once(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        conversation = await talker.talk("1", "one", "2", "two")
        path, before = await talker.path(conversation), await talker.conversation(conversation)
        await talker.admit([*talker.history, user("3")])  # a turn that runs there does not matter
        for _ in range(2):
            added = await store.add_items("local", conversation, [user("2"), CALL, RESULT], below=path[1].id)
            assert texts(added) == ["2", "", "noon"]
            assert added[0] == path[2], "that was said there already"
        assert len(await store.tree("local", conversation)) == 7
        assert texts(await talker.path(conversation)) == ["1", "one", "2", "two", "3"]
        assert (await talker.conversation(conversation)).title == before.title
        tables = self.tables(folder)
        with pytest.raises(InvalidRequest):
            await store.add_items("local", conversation, [user("x"), RESULT], below=path[1].id)
        for message in (UNKNOWN, NOBODYS):
            with pytest.raises(MessageNotFound):
                await store.add_items("local", conversation, [user("x")], below=message)
        assert self.tables(folder) == tables
        await store.delete_message("local", path[1].id)
        with pytest.raises(MessageNotFound):
            await store.add_items("local", conversation, [user("x")], below=path[1].id)
        consistent(self.tables(folder))

    async def test_the_same_again_stands_beside_it(self, store: Store, folder: Path) -> None:
        made = await store.create_conversation("local", [user("1")])
        (first,) = await store.add_items("local", made.id, [user("2")])
        assert made.head is not None
        await store.set_head("local", made.id, made.head)
        (second,) = await store.add_items("local", made.id, [user("2")])
        assert first.id != second.id
        assert first.parent == second.parent == made.head
        assert len(await store.tree("local", made.id)) == 3
        consistent(self.tables(folder))

    async def test_the_first_question_names_it(self, store: Store) -> None:
        made = await store.create_conversation("local", [system("Be brief.")])
        assert made.title is None
        await store.add_items("local", made.id, [PICTURE, user("What is this?")])
        await store.add_items("local", made.id, [user("And this?")])
        assert (await store.conversation("local", made.id)).title == "What is this?"

    async def test_a_temporary_one_is_kept_from_now_on(self, store: Store) -> None:
        made = await store.create_conversation("local", temporary=3600)
        await store.add_items("local", made.id, [user("1")])
        after = await store.conversation("local", made.id)
        assert made.expires_at is not None
        assert after.expires_at is not None
        assert after.expires_at >= made.expires_at
        assert after.expires_at == after.updated_at + 3600_000

    async def test_a_call_may_stand_anywhere_above_its_result(self, store: Store, folder: Path) -> None:
        made = await store.create_conversation("local", [user("1"), CALL, user("2")])
        await store.add_items("local", made.id, [RESULT])
        other = Message("tool", "x", tool_call_id="call_2")
        async with self.unchanged(folder):
            with pytest.raises(InvalidRequest) as caught:
                await store.add_items("local", made.id, [user("3"), RESULT, other])
        assert caught.value.param == "messages[2].tool_call_id"
        assert made.head is not None
        first = (await store.items("local", made.id, order="asc"))[0]
        await store.set_head("local", made.id, first.id)
        with pytest.raises(InvalidRequest):  # the call is on another branch
            await store.add_items("local", made.id, [RESULT])

    async def test_where_a_turn_runs_or_waits_nothing_is_added(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        conversation = await talker.talk("1", "one", conversation="notes")
        running = await talker.put([user("2")], conversation, at_head=True)
        waiting = await talker.put([user("3")], conversation, at_head=True)
        assert waiting.state is TurnState.QUEUED
        for turn in (running, waiting):
            async with self.unchanged(folder):
                with pytest.raises(ConversationBusy) as caught:
                    await store.add_items("local", conversation, [user("x")])
            assert caught.value.param == "conversation"
            await talker.end(turn.turn, "said")
        await store.add_items("local", conversation, [user("x")])
        consistent(self.tables(folder))

    async def test_below_a_head_that_fell_off_a_tombstone(self, store: Store, folder: Path) -> None:
        made = await store.create_conversation("local", [user("1"), user("2"), user("3")])
        path = await store.items("local", made.id, order="asc")
        await store.set_head("local", made.id, path[1].id)
        await store.delete_message("local", path[1].id)
        (item,) = await store.add_items("local", made.id, [user("x")])
        assert item.parent == path[0].id
        consistent(self.tables(folder))

    @pytest.mark.parametrize("owner", ["local", "other", "nobody"])
    async def test_of_anothers_conversation_nothing_is_found(
        self, store: Store, folder: Path, owner: str
    ) -> None:
        made = await store.create_conversation("local", [user("1")])
        await store.create_conversation("other", [user("1")])
        assert made.head is not None
        ref = NOBODYS if owner == "local" else made.id
        async with self.unchanged(folder):
            with pytest.raises(ConversationNotFound):
                await store.add_items(owner, ref, [user("x")])
            with pytest.raises(ConversationNotFound):
                await store.update_conversation(owner, ref, title="x", metadata={})
            with pytest.raises(ConversationNotFound):
                await store.message(owner, ref, made.head)
            if owner != "local":
                assert await store.messages(owner, [made.head]) == []


class Describing(Part):
    async def test_a_users_title_stays(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        conversation = await talker.talk("1", "one", conversation="notes")
        before = await talker.conversation(conversation)
        titled = await store.update_conversation("local", conversation, title=" A\ttrip  to\nRome ")
        assert titled == await talker.conversation(conversation)
        assert (titled.title, titled.titled_by) == ("A trip to Rome", "user")
        assert titled.updated_at == before.updated_at
        path = await talker.path(conversation)
        assert not await store.set_model_title("local", conversation, "A model's", path[0].id)
        await talker.talk("2", "two", conversation="notes")
        fork = await store.fork("local", conversation)
        await store.delete_message("local", path[0].id)
        for id in (conversation, fork.id):
            found = await talker.conversation(id)
            assert (found.title, found.titled_by) == ("A trip to Rome", "user")
        consistent(self.tables(folder))

    @pytest.mark.parametrize("empty", ["", " \n"])
    async def test_an_empty_title_is_the_first_words_again(
        self, store: Store, folder: Path, empty: str
    ) -> None:
        made = await store.create_conversation("local", [PICTURE, user("1"), user("2")], title="Mine")
        back = await store.update_conversation("local", made.id, title=empty)
        assert (back.title, back.titled_by) == ("1", "words")
        await store.delete_message("local", (await store.items("local", made.id, order="asc"))[1].id)
        assert (await store.conversation("local", made.id)).title is None
        assert (await store.update_conversation("local", made.id, title=empty)).title == "2"
        consistent(self.tables(folder))

    async def test_where_nobody_asked_anything_the_next_question_names_it(self, store: Store) -> None:
        made = await store.create_conversation("local", title="Mine")
        back = await store.update_conversation("local", made.id, title="")
        assert (back.title, back.titled_by) == (None, None)
        await store.add_items("local", made.id, [user("When?")])
        assert (await store.conversation("local", made.id)).title == "When?"

    async def test_metadata_takes_the_place_of_what_was_there(self, store: Store) -> None:
        made = await store.create_conversation("local", [user("1")], metadata={"a": "1", "b": "2"})
        changed = await store.update_conversation("local", made.id, metadata={"c": "3"})
        assert (changed.metadata, changed.title) == ({"c": "3"}, "1")
        assert (await store.update_conversation("local", made.id, title="x")).metadata == {"c": "3"}
        assert (await store.update_conversation("local", made.id, metadata={})).metadata == {}
        assert await store.update_conversation("local", made.id) == await store.conversation("local", made.id)

    async def test_messages_by_their_ids(self, store: Store) -> None:
        talker, ann = Talker(store), Talker(store, end_user="ann")
        conversations = [await talker.talk("1", "one"), await ann.talk("2", "two")]
        paths = [await talker.path(conversation) for conversation in conversations]
        ids = [item.id for path in paths for item in path]
        found = await store.messages("local", [*ids, *ids, UNKNOWN, "", "x"])
        assert sorted(found, key=lambda item: item.id) == sorted(
            [item for path in paths for item in path], key=lambda item: item.id
        )
        theirs = await store.messages("local", ids, end_user="ann")
        assert sorted(texts(theirs)) == ["1", "2", "one", "two"]
        assert sorted(texts(await store.messages("local", ids, end_user="bob"))) == ["1", "one"]
        assert await store.messages("other", ids) == []
        assert await store.messages("local", []) == []
        assert await store.message("local", conversations[0], ids[0]) == paths[0][0]
        await store.delete_message("local", ids[0])
        (gone,) = await store.messages("local", ids[:1])
        assert gone.deleted
        for unknown in (ids[2], UNKNOWN, ""):
            with pytest.raises(MessageNotFound):
                await store.message("local", conversations[0], unknown)

    async def test_a_thousand_at_once(self, store: Store) -> None:
        made = await store.create_conversation("local", [user(str(i)) for i in range(1001)])
        ids = [item.id for item in await store.tree("local", made.id, limit=2000)]
        assert len(await store.messages("local", ids)) == 1001
