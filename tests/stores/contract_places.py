"""The contract: turns for a conversation's head, below a message that is named, and after a cut reply."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from palaver.core.errors import ConversationBusy, InvalidRequest, LeaseLost, MessageNotFound
from palaver.core.message import FunctionCall, Message, ToolCall
from palaver.core.tree import Instruction
from palaver.core.turn import TurnState
from palaver.stores.base import Item, Store
from tests.stores.contract_base import Part
from tests.stores.talking import Talker, Told, assistant, system, user


async def say(talker: Talker, text: str, **more: object) -> Told:
    """Say something at the head of the conversation `room`."""
    return await talker.admit([user(text)], "room", **({"at_head": True} | more))


async def begun(store: Store, turn: Told) -> Told:
    told = await Talker(store).begin(turn)
    assert told is not None
    return told


def texts(admitted: Told) -> list[str]:
    return [message.text for message in admitted.messages]


async def last(talker: Talker, conversation: str) -> Item:
    return (await talker.path(conversation))[-1]


class Heads(Part):
    async def test_what_is_new_hangs_below_the_head(self, store: Store) -> None:
        talker = Talker(store)
        first = await say(talker, "one")
        assert (first.state, texts(first)) == (TurnState.RUNNING, ["one"])
        await talker.end(first.turn, "1")
        second = await say(talker, "two")
        assert texts(second) == ["one", "1", "two"]
        assert second.conversation == first.conversation
        await talker.end(second.turn, "2")
        assert await talker.texts(first.conversation) == ["one", "1", "two", "2"]

    async def test_a_queue_begins_in_the_order_of_arrival(self, store: Store) -> None:
        talker = Talker(store)
        first = await say(talker, "one")
        waiting = [await say(talker, text) for text in ("two", "three", "four")]
        assert {turn.state for turn in waiting} == {TurnState.QUEUED}
        for turn in waiting:
            assert not await store.begin(turn.turn, "lease_1")
        await talker.end(first.turn, "1")
        assert not await store.begin(waiting[1].turn, "lease_1"), "it is not the first"
        expected = ["one", "1"]
        for turn in waiting:
            text = texts(await begun(store, turn))
            assert text[:-1] == expected
            await talker.end(turn.turn, "answer to " + text[-1])
            expected = [*text, "answer to " + text[-1]]
        assert await talker.texts(first.conversation) == expected

    async def test_who_comes_between_an_end_and_the_next_begin_waits_too(self, store: Store) -> None:
        talker = Talker(store)
        first, second = await say(talker, "one"), await say(talker, "two")
        await talker.end(first.turn, "1")
        third = await say(talker, "three")
        assert third.state is TurnState.QUEUED
        await begun(store, second)
        assert not await store.begin(third.turn, "lease_1")

    async def test_a_branch_hangs_where_the_running_turn_hangs(self, store: Store) -> None:
        talker = Talker(store)
        first = await say(talker, "one")
        await talker.end(first.turn, "1")
        running = await say(talker, "two")
        beside = [await say(talker, text, concurrency="branch") for text in ("three", "four")]
        assert [texts(turn) for turn in beside] == [["one", "1", "three"], ["one", "1", "four"]]
        for turn in (running, *beside):
            await talker.end(turn.turn, "answer")
        assert await talker.texts(first.conversation) == ["one", "1", "two", "answer"]

    async def test_a_branch_beside_a_regenerated_answer(self, store: Store) -> None:
        talker = Talker(store)
        first = await say(talker, "one")
        await talker.end(first.turn, "1")
        question = (await talker.path(first.conversation))[0].id
        await talker.admit([], parent=question)
        beside = await say(talker, "other", concurrency="branch")
        assert texts(beside) == ["other"]

    async def test_a_branch_beside_a_question_that_brought_its_history(self, store: Store) -> None:
        talker = Talker(store)
        await talker.admit([user("one"), assistant("1"), user("two")], "room")
        beside = await say(talker, "three", concurrency="branch")
        assert texts(beside) == ["one", "1", "three"]

    @pytest.mark.parametrize("answer", ["1", ""])
    async def test_a_branch_that_fails_gives_the_head_back_to_what_became_of_the_other(
        self, store: Store, answer: str
    ) -> None:
        """The turn that it stood beside has ended meanwhile: its reply is the head, or what was before it."""
        talker = Talker(store)
        first = await say(talker, "zero")
        await talker.end(first.turn, "0")
        other, beside = await say(talker, "one"), await say(talker, "two", concurrency="branch")
        await talker.end(other.turn, answer, TurnState.COMPLETED if answer else TurnState.FAILED)
        await talker.end(beside.turn, "", TurnState.FAILED)
        expected = ["zero", "0", "one", "1"] if answer else ["zero", "0"]
        assert await talker.texts(first.conversation) == expected
        assert texts(await say(talker, "three")) == [*expected, "three"]

    async def test_a_rejected_turn_leaves_nothing(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        first = await say(talker, "one")
        async with self.unchanged(folder):
            with pytest.raises(ConversationBusy):
                await say(talker, "two", concurrency="reject")
        await talker.end(first.turn, "1")
        assert (await say(talker, "two", concurrency="reject")).state is TurnState.RUNNING

    async def test_so_many_may_wait(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        await say(talker, "one")
        for text in ("two", "three"):
            await say(talker, text, max_waiting=2)
        async with self.unchanged(folder):
            with pytest.raises(ConversationBusy, match="2 turns wait"):
                await say(talker, "four", max_waiting=2)

    async def test_a_named_parent_never_waits(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await talker.talk("one", "1", conversation="room")
        reply = (await last(talker, conversation)).id
        await say(talker, "two")
        await say(talker, "three")
        beside = await talker.admit([user("else")], "room", parent=reply)
        assert (beside.state, texts(beside)) == (TurnState.RUNNING, ["one", "1", "else"])
        resent = await talker.admit([*talker.history, user("resent")], "room")
        assert resent.state is TurnState.RUNNING

    @pytest.mark.parametrize("state", [TurnState.CANCELLED, TurnState.FAILED, TurnState.INCOMPLETE])
    async def test_a_turn_that_ends_while_it_waits_keeps_its_question(
        self, store: Store, state: TurnState
    ) -> None:
        talker = Talker(store)
        first, second, third = [await say(talker, text) for text in ("one", "two", "three")]
        await talker.end(second.turn, "", state)
        record = await store.turn("local", second.turn)
        assert record.state is state
        assert record.question is not None
        path = await store.items("local", first.conversation, to=record.question, order="asc")
        assert [item.message.text for item in path] == ["two"]
        await talker.end(first.turn, "1")
        assert texts(await begun(store, third)) == ["one", "1", "three"]
        with pytest.raises(LeaseLost):
            await store.begin(second.turn, "lease_1")

    async def test_after_a_crash_nothing_waits_and_nothing_is_lost(self, store: Store) -> None:
        talker = Talker(store)
        first = await say(talker, "one")
        others = [await say(talker, text) for text in ("two", "three")]
        await talker.log(first.turn, 0, "half")
        closed = await store.recover("lease_2")
        assert closed == [first.turn, *(turn.turn for turn in others)]
        assert await talker.texts(first.conversation) == ["one", "half"]
        for turn, text in zip(others, ("two", "three"), strict=True):
            record = await store.turn("local", turn.turn)
            assert record.state is TurnState.INCOMPLETE
            path = await store.items("local", first.conversation, to=record.question, order="asc")
            assert [item.message.text for item in path] == ["one", "half", text]
        talker.lease = "lease_2"
        assert (await say(talker, "four")).state is TurnState.RUNNING

    async def test_a_turn_begins_under_its_own_lease_and_once(self, store: Store) -> None:
        talker = Talker(store)
        first, second = await say(talker, "one"), await say(talker, "two")
        await talker.end(first.turn, "1")
        with pytest.raises(LeaseLost):
            await store.begin(second.turn, "lease_2")
        await begun(store, second)
        with pytest.raises(LeaseLost):
            await store.begin(second.turn, "lease_1")

    async def test_nothing_new_hangs_nowhere(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        await talker.talk("one", "1", conversation="room")
        async with self.unchanged(folder):
            with pytest.raises(InvalidRequest):
                await talker.admit([], "room", at_head=True)


class Below(Part):
    async def test_an_edit_is_a_branch(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await talker.talk("one", "1", "two", "2")
        path = await talker.path(conversation)
        edited = await talker.admit([user("else")], parent=path[1].id)
        assert (edited.conversation, texts(edited)) == (conversation, ["one", "1", "else"])
        await talker.end(edited.turn, "answer")
        assert await talker.texts(conversation) == ["one", "1", "else", "answer"]
        old = await store.items("local", conversation, to=path[-1].id, order="asc")
        assert [item.message.text for item in old] == ["one", "1", "two", "2"]

    async def test_what_hangs_there_already_is_not_written_twice(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        conversation = await talker.talk("one", "1", "two", "2")
        path = await talker.path(conversation)
        again = await talker.admit([user("two")], parent=path[1].id)
        assert (await store.turn("local", again.turn)).question == path[2].id
        assert len(self.tables(folder)["messages"]) == 4

    async def test_a_question_is_answered_again(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await talker.talk("one", "1", "two", "2")
        question = (await talker.path(conversation))[2]
        again = await talker.admit([], parent=question.id)
        assert texts(again) == ["one", "1", "two"]
        await talker.end(again.turn, "deux")
        assert await talker.texts(conversation) == ["one", "1", "two", "deux"]

    async def test_a_cut_reply_goes_on(self, store: Store) -> None:
        talker = Talker(store)
        first = await talker.admit([user("count")])
        await talker.end(first.turn, "1 2", TurnState.INCOMPLETE)
        cut = await last(talker, first.conversation)
        more = await talker.admit([], parent=cut.id)
        assert texts(more) == ["count"]
        assert more.continues == assistant("1 2")
        await talker.end(more.turn, "1 2 3")
        assert await talker.texts(first.conversation) == ["count", "1 2 3"]
        assert (await store.turn("local", more.turn)).question == cut.parent

    @pytest.mark.parametrize("ending", [{"finish_reason": "length"}, {"state": TurnState.CANCELLED}])
    async def test_a_reply_at_its_limit_is_cut_too(self, store: Store, ending: dict[str, object]) -> None:
        talker = Talker(store)
        first = await talker.admit([user("count")])
        await talker.end(first.turn, "1 2", **ending)  # type: ignore[arg-type]
        more = await talker.admit([], parent=(await last(talker, first.conversation)).id)
        assert more.continues is not None

    async def test_a_whole_reply_does_not_go_on(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        conversation = await talker.talk("count", "1 2 3")
        calls = [ToolCall(FunctionCall("f"))]
        called = await talker.admit([*talker.history, user("more")])
        await talker.end(called.turn, "", TurnState.INCOMPLETE, tool_calls=calls)
        for reply in ((await talker.path(conversation))[1], await last(talker, conversation)):
            async with self.unchanged(folder):
                with pytest.raises(InvalidRequest) as raised:
                    await talker.admit([], parent=reply.id)
            assert raised.value.param == "parent"

    async def test_a_client_s_own_unfinished_answer_goes_on(self, store: Store) -> None:
        talker = Talker(store)
        first = await talker.admit([user("count"), assistant("1 2")])
        path = await talker.path(first.conversation)
        more = await talker.admit([], parent=path[-1].id)
        assert more.continues == assistant("1 2")

    async def test_a_parent_is_the_owner_s_and_the_end_user_s(self, store: Store) -> None:
        ann = Talker(store, end_user="ann")
        conversation = await ann.talk("one", "1")
        reply = (await last(ann, conversation)).id
        await ann.talk("other", "words", conversation="room")
        for talker, named in (
            (Talker(store, end_user="bob"), None),
            (Talker(store, owner="other"), None),
            (ann, "room"),
        ):
            with pytest.raises(MessageNotFound) as raised:
                await talker.admit([user("two")], named, parent=reply)
            assert raised.value.param == "parent"
        assert texts(await Talker(store).admit([user("two")], parent=reply)) == ["one", "1", "two"]
        assert (await ann.admit([user("three")], conversation, parent=reply)).conversation == conversation

    async def test_keys_below_a_parent_are_the_conversation_s(self, store: Store) -> None:
        """Who resends it later finds it, whether or not the request named its end user."""
        ann = Talker(store, end_user="ann")
        conversation = await ann.talk("one", "1")
        anybody = Talker(store)
        more = await anybody.admit([user("two")], parent=(await last(ann, conversation)).id)
        await anybody.end(more.turn, "2")
        history = [*ann.history, user("two"), assistant("2"), user("three")]
        assert (await ann.admit(history)).conversation == conversation


class Instructed(Part):
    async def test_instructions_go_on_until_others_come(self, store: Store) -> None:
        talker = Talker(store)
        first = await talker.admit([system("Be brief."), user("one")], "room")
        await talker.end(first.turn, "1")
        second = await say(talker, "two")
        assert second.instructions == [Instruction(0, system("Be brief."))]
        await talker.end(second.turn, "2")
        third = await talker.admit([system("Be kind."), user("three")], "room", at_head=True)
        assert third.instructions == [Instruction(0, system("Be kind."))]
        await talker.end(third.turn, "3")
        path = await talker.path(third.conversation)
        below = [await talker.admit([user("else")], parent=path[i].id) for i in (1, 3, 5)]
        told = [turn.instructions[0].message.text for turn in below]
        assert told == ["Be brief.", "Be brief.", "Be kind."]
        record = await store.turn("local", below[0].turn)
        assert record.instructions == [Instruction(0, system("Be brief."))]

    async def test_a_turn_without_any_has_none_to_hand_on(self, store: Store) -> None:
        talker = Talker(store)
        first = await talker.admit([system("Be brief."), user("one")], "room")
        await talker.end(first.turn, "1")
        second = await talker.admit([user("one"), assistant("1"), user("two")], "room")
        await talker.end(second.turn, "2")
        assert (await say(talker, "three")).instructions == []

    async def test_a_waiting_turn_keeps_its_own(self, store: Store) -> None:
        talker = Talker(store)
        first = await talker.admit([system("Be brief."), user("one")], "room")
        own = await talker.admit([system("Be kind."), user("two")], "room", at_head=True)
        await talker.end(first.turn, "1")
        begun_turn = await begun(store, own)
        assert begun_turn.instructions == [Instruction(0, system("Be kind."))]
        assert texts(begun_turn) == ["one", "1", "two"]


class Temporary(Part):
    async def test_a_temporary_conversation_is_left_out_of_lists_and_lives_on_with_its_turns(
        self, store: Store, folder: Path
    ) -> None:
        talker = Talker(store)
        first = await talker.admit([user("one")], "room", temporary=60)
        await talker.admit([user("kept")], "other")
        assert [c.name for c in await talker.conversations()] == ["other"]
        everything = await store.conversations("local", one_shots=True, temporary=True)
        assert {c.name for c in everything} == {"room", "other"}
        found = await talker.conversation(first.conversation)
        assert found.expires_at is not None
        assert found.expires_at >= found.updated_at + 60_000
        await talker.end(first.turn, "1")
        later = await talker.conversation(first.conversation)
        assert later.expires_at == later.updated_at + 60_000
        assert (await talker.conversation((await talker.conversations())[0].id)).expires_at is None

    async def test_a_conversation_that_is_kept_is_not_made_temporary(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await talker.talk("one", "1", conversation="room")
        await talker.admit([user("two")], "room", at_head=True, temporary=60)
        assert (await talker.conversation(conversation)).expires_at is None


class Places(Heads, Below, Instructed, Temporary):
    async def test_tools_stay_with_what_called_them(self, store: Store) -> None:
        talker = Talker(store)
        first = await talker.admit([user("weather?")], "room")
        call = ToolCall(FunctionCall("weather", '{"city": "Oslo"}'), id="call_1")
        await talker.end(first.turn, "", tool_calls=[call])
        result = Message("tool", "rain", tool_call_id="call_1")
        second = await talker.admit([result], "room", at_head=True)
        assert second.messages == [
            user("weather?"),
            Message("assistant", None, tool_calls=[call]),
            result,
        ]
        assert msgspec.structs.asdict(second)["state"] is TurnState.RUNNING
