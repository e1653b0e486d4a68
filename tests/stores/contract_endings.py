"""The contract: the log of a running turn, its end, and what recovery makes of a dead process's turns."""

from __future__ import annotations

from pathlib import Path

import pytest

from palaver.core.errors import LeaseLost
from palaver.core.message import FunctionCall, Message, ToolCall
from palaver.core.reply import Reply
from palaver.core.turn import ContentDelta, ReasoningDelta, TurnState, Usage
from palaver.stores.base import Ending, Store
from tests.stores.contract_base import Part
from tests.stores.talking import Talker, assistant, new_turn, user

ENDED = [state for state in TurnState if state.ended]


class Endings(Part):
    async def test_an_end_is_on_record_with_all_it_tells(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        admitted = await talker.admit([user("hi")])
        await talker.log(admitted.turn, 0, "he")
        await talker.end(
            admitted.turn,
            "hello",
            reasoning="A greeting.",
            finish_reason="length",
            usage=Usage(3, 4, 2, 1),
            deltas=[-11, 3, 2],
            first_token_at=123,
        )
        record = await store.turn("local", admitted.turn)
        assert (record.state, record.finish_reason, record.model) == (
            TurnState.COMPLETED,
            "length",
            "model",
        )
        assert (record.usage, record.deltas, record.first_token_at) == (Usage(3, 4, 2, 1), [-11, 3, 2], 123)
        assert record.ended_at is not None
        assert record.ended_at >= record.created_at
        assert (record.error_code, record.error_message) == (None, None)
        reply = record.reply
        assert reply is not None
        assert reply.message == Message("assistant", "hello", reasoning="A greeting.")
        assert (reply.parent, reply.depth, reply.turn) == (record.question, 1, admitted.turn)
        assert (reply.state, reply.model) == (TurnState.COMPLETED, "model")
        assert (await talker.conversation(admitted.conversation)).head == reply.id
        assert self.tables(folder)["turn_log"] == []

    async def test_a_model_that_is_not_named_at_the_end_stays_as_admitted(self, store: Store) -> None:
        talker = Talker(store)
        admitted = await talker.admit([user("hi")])
        await talker.end(admitted.turn, "hello")
        record = await store.turn("local", admitted.turn)
        assert (record.model, record.usage) == ("model", None)

    async def test_a_turn_ended_when_it_is_said_to_have(self, store: Store) -> None:
        """However long it took to store that."""
        talker = Talker(store)
        told = await talker.admit([user("one")])
        await talker.end(told.turn, "yes", ended_at=1_700_000_000_123)
        assert (await store.turn("local", told.turn)).ended_at == 1_700_000_000_123

    async def test_calls_are_a_reply(self, store: Store) -> None:
        talker = Talker(store)
        admitted = await talker.admit([user("hi")])
        calls = [ToolCall(FunctionCall("f", '{"a":1}'), "call_1")]
        await talker.end(admitted.turn, tool_calls=calls)
        message = Message("assistant", None, tool_calls=calls)
        assert [item.message for item in await talker.path(admitted.conversation)] == [user("hi"), message]
        result = Message("tool", "1", tool_call_id="call_1")
        assert (await talker.admit([user("hi"), message, result])).conversation == admitted.conversation

    @pytest.mark.parametrize("state", ENDED)
    async def test_text_is_kept_whatever_ended_the_turn(self, store: Store, state: TurnState) -> None:
        talker = Talker(store)
        admitted = await talker.admit([user("hi")])
        await talker.end(admitted.turn, "hel", state, error_code="EngineBroke", error_message="It broke.")
        record = await store.turn("local", admitted.turn)
        assert (record.state, record.error_code, record.error_message) == (state, "EngineBroke", "It broke.")
        assert await talker.texts(admitted.conversation) == ["hi", "hel"]
        again = await talker.admit([user("hi"), assistant("hel"), user("go on")])
        assert again.conversation == admitted.conversation

    @pytest.mark.parametrize(("code", "message"), [("EngineBroke", None), (None, "It broke."), (None, None)])
    async def test_a_reason_may_be_half_known(
        self, store: Store, code: str | None, message: str | None
    ) -> None:
        talker = Talker(store)
        admitted = await talker.admit([user("hi")])
        await talker.end(admitted.turn, "", TurnState.FAILED, error_code=code, error_message=message)
        record = await store.turn("local", admitted.turn)
        assert (record.error_code, record.error_message) == (code, message)

    @pytest.mark.parametrize("state", ENDED)
    async def test_without_text_there_is_no_reply(self, store: Store, state: TurnState) -> None:
        talker = Talker(store)
        conversation = await talker.talk("hi", "hello")
        admitted = await talker.admit([*talker.history, user("more")])
        await talker.end(admitted.turn, "", state)
        record = await store.turn("local", admitted.turn)
        assert (record.state, record.reply) == (state, None)
        kept = ["hi", "hello"] if state is TurnState.FAILED else ["hi", "hello", "more"]
        assert await talker.texts(conversation) == kept

    async def test_asking_again_after_a_failure_extends(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        conversation = await talker.talk("hi", "hello")
        for _ in range(3):
            failed = await talker.admit([*talker.history, user("more")])
            await talker.end(failed.turn, "", TurnState.FAILED)
        again = await talker.admit([*talker.history, user("more")])
        await talker.end(again.turn, "sure")
        assert await talker.texts(conversation) == ["hi", "hello", "more", "sure"]
        assert len(self.tables(folder)["messages"]) == 4

    async def test_a_first_question_that_failed_stays(self, store: Store) -> None:
        talker = Talker(store)
        admitted = await talker.admit([user("hi")])
        await talker.end(admitted.turn, "", TurnState.FAILED)
        assert await talker.texts(admitted.conversation) == ["hi"]

    async def test_a_failure_takes_no_head_from_a_turn_that_still_answers(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await talker.talk("hi", "hello")
        first, second = [await talker.admit([*talker.history, user("more")]) for _ in range(2)]
        await talker.end(first.turn, "", TurnState.FAILED)
        assert await talker.texts(conversation) == ["hi", "hello", "more"]
        await talker.end(second.turn, "sure")
        assert await talker.texts(conversation) == ["hi", "hello", "more", "sure"]

    async def test_when_all_have_failed_the_head_goes_back(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await talker.talk("hi", "hello")
        for admitted in [await talker.admit([*talker.history, user("more")]) for _ in range(2)]:
            await talker.end(admitted.turn, "", TurnState.FAILED)
        assert await talker.texts(conversation) == ["hi", "hello"]

    async def test_a_failed_edit_hides_nothing(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await talker.talk("u1", "a1", "u2", "a2")
        edit = await talker.admit([user("u1"), assistant("a1"), user("u2, but better")])
        again = await talker.admit([user("u1"), assistant("a1"), user("u2, but better")])
        assert edit.conversation == again.conversation == conversation
        await talker.end(edit.turn, "", TurnState.FAILED)
        await talker.end(again.turn, "", TurnState.FAILED)
        assert [item.message.text for item in await talker.path(conversation)] == ["u1", "a1", "u2", "a2"]

    async def test_a_failed_regeneration_hides_nothing(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await talker.talk("u1", "a1", "u2", "a2", conversation="named")
        regenerate = await talker.admit([user("u1"), assistant("a1"), user("u2")], "named")
        await talker.end(regenerate.turn, "", TurnState.FAILED)
        assert [item.message.text for item in await talker.path(conversation)] == ["u1", "a1", "u2", "a2"]

    @pytest.mark.parametrize("text", ["late", ""])
    async def test_a_head_that_moved_on_stays_where_it_is(self, store: Store, text: str) -> None:
        talker = Talker(store)
        conversation = await talker.talk("hi", "hello")
        slow = await talker.admit([*talker.history, user("slow")])
        fast = await talker.admit([*talker.history, user("fast")])
        await talker.end(slow.turn, text, TurnState.COMPLETED if text else TurnState.FAILED)
        assert await talker.texts(conversation) == ["hi", "hello", "fast"]
        await talker.end(fast.turn, "sure")
        assert await talker.texts(conversation) == ["hi", "hello", "fast", "sure"]

    @pytest.mark.parametrize("state", ENDED)
    async def test_what_has_ended_cannot_be_written_again(
        self, store: Store, folder: Path, state: TurnState
    ) -> None:
        talker = Talker(store)
        admitted = await talker.admit([user("hi")])
        await talker.end(admitted.turn, "hello", state)
        async with self.unchanged(folder):
            await self._refused(talker, admitted.turn)

    async def test_another_lease_or_turn_is_refused(self, store: Store, folder: Path) -> None:
        admitted = await Talker(store).admit([user("hi")])
        async with self.unchanged(folder):
            await self._refused(Talker(store, lease="lease_2"), admitted.turn)
            await self._refused(Talker(store), new_turn())

    async def _refused(self, talker: Talker, turn: str) -> None:
        with pytest.raises(LeaseLost):
            await talker.log(turn, 0, "x")
        with pytest.raises(LeaseLost):
            await talker.end(turn, "x")

    async def test_recovery_closes_what_a_dead_process_left(self, folder: Path) -> None:
        async with self.opened(folder) as store:
            dead = Talker(store)
            conversation = await dead.talk("hi", "hello")
            cut = await dead.admit([*dead.history, user("more")])
            await store.log(cut.turn, dead.lease, 0, [ReasoningDelta("Hm. "), ContentDelta("su")])
            await dead.log(cut.turn, 1, "re", ", I")
            silent = await dead.admit([user("else")])
        async with self.opened(folder) as store:
            alive = Talker(store, lease="lease_2")
            mine = await alive.admit([user("mine")])
            assert sorted(await store.recover("lease_2")) == sorted([cut.turn, silent.turn])
            record = await store.turn("local", cut.turn)
            assert (record.state, record.error_code) == (TurnState.INCOMPLETE, "interrupted")
            assert record.error_message
            assert record.deltas == [-4, 2, 2, 3]
            assert record.reply is not None
            assert record.reply.message == Message("assistant", "sure, I", reasoning="Hm. ")
            assert await alive.texts(conversation) == ["hi", "hello", "more", "sure, I"]
            record = await store.turn("local", silent.turn)
            assert (record.state, record.reply) == (TurnState.INCOMPLETE, None)
            assert (await store.turn("local", mine.turn)).state is TurnState.RUNNING
            await self._refused(dead_again := Talker(store), cut.turn)
            assert await store.recover("lease_2") == []
            assert self.tables(folder)["turn_log"] == []
            resent = [*dead.history, user("more"), assistant("sure, I"), user("go on")]
            assert (await dead_again.admit(resent)).conversation == conversation

    async def test_recovery_of_nothing_changes_nothing(self, store: Store, folder: Path) -> None:
        await Talker(store).talk("hi", "hello")
        async with self.unchanged(folder):
            assert await store.recover("lease_2") == []

    async def test_the_end_needs_no_log(self, store: Store) -> None:
        admitted = await Talker(store).admit([user("hi")])
        await store.finish(
            Ending(
                turn=admitted.turn,
                lease="lease_1",
                state=TurnState.CANCELLED,
                replies=[Reply(content="x", deltas=[1])],
            )
        )
        assert (await store.turn("local", admitted.turn)).deltas == [1]
