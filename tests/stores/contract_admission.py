"""The contract: admitting turns. `tests/core` has the threading rules; here, the store follows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from palaver.core.attachments import parted
from palaver.core.errors import StoreError, StoreUnavailable
from palaver.core.message import FunctionCall, ImagePart, ImageUrl, Message, TextPart, ToolCall
from palaver.core.parameters import Parameters
from palaver.core.tree import Instruction
from palaver.core.turn import TurnState
from palaver.stores.base import Store
from tests.stores.contract_base import Part
from tests.stores.talking import Talker, assistant, forms, new_turn, system, user


class Admissions(Part):
    async def test_the_root_key_is_the_same_for_ever(self, folder: Path) -> None:
        async with self.opened(folder) as store:
            keys = [await store.root_key("local", name) for name in (None, "", "ann", "bob")]
            keys.append(await store.root_key("other", "ann"))
        async with self.opened(folder) as store:
            again = [await store.root_key("local", name) for name in (None, "", "ann", "bob")]
            again.append(await store.root_key("other", "ann"))
        assert keys == again
        assert len(set(keys)) == len(keys)

    async def test_a_turn_is_on_record_as_it_was_asked(self, store: Store) -> None:
        talker = Talker(store)
        admitted = await talker.admit(
            [system("Be brief."), user("hi")],
            parameters=Parameters(temperature=0.5, stop=["END"]),
            metadata={"a": "b"},
            source="curl/8",
        )
        record = await store.turn("local", admitted.turn)
        assert record.state is TurnState.RUNNING
        assert (record.door, record.requested_model, record.model) == ("chat.completions", "m", "model")
        assert record.parameters == Parameters(temperature=0.5, stop=["END"])
        assert record.metadata == {"a": "b"}
        assert record.instructions == [Instruction(0, system("Be brief."))]
        assert (record.conversation, record.gap, record.reply) == (admitted.conversation, None, None)
        assert (record.usage, record.ended_at, record.error_code) == (None, None, None)
        [question] = await talker.path(admitted.conversation)
        assert (question.id, question.message, question.turn) == (record.question, user("hi"), None)

    async def test_a_first_request_is_a_task_until_it_goes_on(self, store: Store) -> None:
        talker = Talker(store)
        first = await talker.admit([user("hi")], source="curl/8")
        conversation = await talker.conversation(first.conversation)
        assert conversation.one_shot
        assert (conversation.title, conversation.source, conversation.name) == ("hi", "curl/8", None)
        assert (conversation.messages, conversation.metadata, conversation.end_user) == (1, {}, None)
        assert await store.conversations("local") == []
        await talker.end(first.turn, "hello")
        await talker.admit([user("hi"), assistant("hello"), user("more")])
        [conversation] = await store.conversations("local")
        assert (conversation.one_shot, conversation.messages, conversation.title) == (False, 3, "hi")

    async def test_a_history_sent_twenty_times_is_kept_once(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        conversation = await talker.talk(*(f"{i}" for i in range(40)))
        assert len(await talker.conversations()) == 1
        assert await talker.texts(conversation) == [f"{i}" for i in range(40)]
        assert len(self.tables(folder)["messages"]) == 40

    async def test_every_kind_of_message_is_kept_and_comes_back(self, store: Store, folder: Path) -> None:
        talker = Talker(store, end_user="ann")
        history = [
            user("hi\0 \N{SNOWMAN}"),
            Message("assistant", None, tool_calls=[ToolCall(FunctionCall("f", '{"a": 1}'), "call_1")]),
            Message("tool", "result", tool_call_id="call_1"),
            Message("assistant", "so", name="me", reasoning="hm"),
            Message("user", [TextPart("and?"), ImagePart(ImageUrl("data:image/png;base64,AAAA", "low"))]),
            system("in the middle"),
        ]
        admitted = await talker.admit(history, "notes")
        assert admitted.messages == history
        kept = [item.message for item in await talker.path(admitted.conversation)]
        assert kept == [parted(message)[0] for message in history]
        again = await talker.admit(history, "notes")
        assert again.messages == history
        assert len(self.tables(folder)["messages"]) == len(history)

    async def test_what_is_known_comes_back_in_its_stored_form(self, store: Store) -> None:
        talker = Talker(store)
        await talker.talk("hi", "hello")
        admitted = await talker.admit([Message("user", [TextPart("hi")]), assistant("hello"), user("more")])
        assert admitted.messages == [user("hi"), assistant("hello"), user("more")]

    async def test_the_stored_form_of_a_reply_has_its_reasoning(self, store: Store) -> None:
        talker = Talker(store)
        first = await talker.admit([user("hi")])
        await talker.end(first.turn, "hello", reasoning="A greeting.")
        admitted = await talker.admit([user("hi"), assistant("hello"), user("more")])
        assert admitted.conversation == first.conversation
        assert admitted.messages[1].reasoning == "A greeting."

    async def test_instructions_are_kept_once_and_apart(self, store: Store, folder: Path) -> None:
        for hour in (1, 1, 2):
            await Talker(store).admit([system(f"It is {hour} o'clock."), user("hi")])
        tables = self.tables(folder)
        assert len(tables["instructions"]) == 2
        assert len(tables["messages"]) == 3

    async def test_only_instructions(self, store: Store) -> None:
        talker = Talker(store)
        admitted = await talker.admit([system("Say something.")])
        assert admitted.messages == []
        await talker.end(admitted.turn, "Something.")
        assert await talker.texts(admitted.conversation) == ["Something."]
        record = await store.turn("local", admitted.turn)
        assert record.question is None
        assert record.reply is not None
        assert record.reply.parent is None

    async def test_what_the_client_left_out_is_on_record(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await talker.talk("1", "one", "2", "two", "3", "three")
        sent = [talker.history[0], *talker.history[4:], user("4")]
        admitted = await talker.admit(sent)
        assert admitted.conversation == conversation
        assert admitted.messages == sent
        assert (await store.turn("local", admitted.turn)).gap == (1, 4)
        assert await talker.texts(conversation) == ["1", "one", "2", "two", "3", "three", "4"]
        await talker.admit([*talker.history[4:], user("5")])
        assert (await talker.conversation(conversation)).title == "1"

    async def test_the_second_hash_reaches_over_tool_calls(self, store: Store) -> None:
        talker = Talker(store)
        history = await self._after_tools(talker, calls=30)
        admitted = await talker.admit([*history[2:], user("more")])
        assert (await store.turn("local", admitted.turn)).gap == (0, 2)

    async def test_the_second_hash_does_not_reach_for_ever(self, store: Store) -> None:
        talker = Talker(store)
        history = await self._after_tools(talker, calls=40)
        admitted = await talker.admit([*history[2:], user("more")])
        assert len(await talker.path(admitted.conversation)) == len(history) - 1

    async def _after_tools(self, talker: Talker, calls: int) -> list[Message]:
        await talker.talk("hi", "hello")
        call = Message("assistant", None, tool_calls=[ToolCall(FunctionCall("f"), "call")])
        result = Message("tool", "result", tool_call_id="call")
        history = [*talker.history, user("look"), *calls * [call, result]]
        admitted = await talker.admit(history)
        await talker.end(admitted.turn, "found")
        return [*history, assistant("found")]

    async def test_two_thousand_messages(self, store: Store) -> None:
        talker = Talker(store)
        history = [turn for i in range(1000) for turn in (user(f"q{i}"), assistant(f"a{i}"))][:-1]
        first = await talker.admit(history)
        await talker.end(first.turn, "a999")
        history += [assistant("a999"), user("more")]
        second = await talker.admit(history)
        assert second.conversation == first.conversation
        assert second.messages == history
        assert (await talker.conversation(first.conversation)).messages == 2001
        for left_out in (1, 1001, 1998):
            cut = await talker.admit(history[left_out:])
            assert (await store.turn("local", cut.turn)).gap == (0, left_out)

    @pytest.mark.parametrize(
        ("words", "title"),
        [
            ("  hello \n there ", "hello there"),
            ("x" * 60, "x" * 60),
            ("x" * 61, "x" * 59 + "…"),
            ("word " * 20, "word " * 11 + "word…"),
            (" ", None),
        ],
    )
    async def test_the_title_is_the_first_words(self, store: Store, words: str, title: str | None) -> None:
        talker = Talker(store)
        admitted = await talker.admit([assistant("Welcome."), user(words)])
        assert (await talker.conversation(admitted.conversation)).title == title

    async def test_a_turn_is_admitted_once(self, store: Store, folder: Path) -> None:
        talker, turn = Talker(store), new_turn()
        await talker.admit([user("hi")], turn=turn)
        async with self.unchanged(folder):
            with pytest.raises(StoreError):
                await talker.admit([user("else")], turn=turn)

    async def test_equal_replies_are_told_apart_by_their_place(self, store: Store) -> None:
        """The same question asked and answered twice, then once more below either."""
        talker = Talker(store)
        first = await talker.admit([user("hi")], "notes")
        second = await talker.admit([user("hi")], "notes")
        for admitted in (first, second):
            await talker.end(admitted.turn, "hello")
        records = [await store.turn("local", a.turn) for a in (first, second)]
        assert records[0].question == records[1].question
        replies = [r.reply for r in records]
        assert replies[0] is not None
        assert replies[1] is not None
        assert replies[0].id != replies[1].id
        third = await talker.admit([user("hi"), assistant("hello"), user("more")])
        assert third.conversation == first.conversation
        assert forms(third.messages) == forms([user("hi"), assistant("hello"), user("more")])

    async def test_everything_is_there_after_a_restart(self, folder: Path) -> None:
        async with self.opened(folder) as store:
            talker = Talker(store)
            conversation = await talker.talk("hi", "hello")
            running = await talker.admit([*talker.history, user("more")])
        async with self.opened(folder) as store:
            assert await Talker(store).texts(conversation) == ["hi", "hello", "more"]
            assert (await store.turn("local", running.turn)).state is TurnState.RUNNING
            await Talker(store).end(running.turn, "sure")

    async def test_a_closed_store_says_so(self, folder: Path) -> None:
        async with self.opened(folder) as store:
            talker = Talker(store)
            admitted = await talker.admit([user("hi")])
            await store.close()
            await store.close()
        with pytest.raises(StoreUnavailable):
            await talker.admit([user("hi")])
        with pytest.raises(StoreUnavailable):
            await talker.end(admitted.turn, "hello")
        with pytest.raises(StoreUnavailable):
            await store.turn("local", admitted.turn)
