"""The contract: paths, what a prompt says of the turn above, epochs, receipts, settings of windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from palaver.core.errors import ConversationNotFound, InvalidRequest, LeaseLost, MessageNotFound, TurnNotFound
from palaver.core.message import Message
from palaver.core.parameters import Tool
from palaver.core.path import Span, Step
from palaver.core.receipt import LeftOut
from palaver.core.reply import Reply
from palaver.core.turn import TurnState, Usage
from palaver.core.window_settings import WindowSettings
from palaver.stores.base import Attempt, Prompt, Store
from tests.stores.contract_base import Part
from tests.stores.contract_naming import NOBODYS
from tests.stores.contract_sequences import consistent
from tests.stores.talking import (
    Talker,
    Told,
    assistant,
    new_epoch,
    new_turn,
    receipt_in,
    system,
    user,
)

TOOLS = [Tool(name="weather")]
LONG = 1000
"""More messages than are read of a path where nothing says how far up its window reaches."""


async def prompt_of(talker: Talker, turn: Told) -> Prompt:
    return await talker.store.prompt(turn.turn, talker.lease)


async def ids_of(talker: Talker, conversation: str) -> list[str]:
    """The messages on the head's path, the first one first."""
    return [item.id for item in await talker.path(conversation)]


class Paths(Part):
    @pytest.mark.parametrize("since", range(-1, 8))
    async def test_a_path_is_read_from_any_depth_on(self, store: Store, since: int) -> None:
        talker = Talker(store)
        conversation = await talker.talk("u0", "a1", "u2", "a3", "u4", "a5")
        items = await talker.path(conversation)
        whole = [Step(item.depth, item.message, item.id) for item in items]
        assert [step.message.text for step in whole] == ["u0", "a1", "u2", "a3", "u4", "a5"]
        assert await store.path("local", items[-1].id, since) == whole[max(since, 0) :]
        assert await store.path("local", items[3].id, since) == whole[max(since, 0) : 4]

    async def test_a_path_is_that_of_its_branch(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await talker.talk("u0", "a1", "u2", "a3")
        old = (await ids_of(talker, conversation))[-1]
        edit = await talker.admit([*talker.history[:2], user("other")])
        await talker.end(edit.turn, "another")
        new = (await ids_of(talker, conversation))[-1]
        texts = {leaf: [step.message.text for step in await store.path("local", leaf)] for leaf in (old, new)}
        assert texts == {old: ["u0", "a1", "u2", "a3"], new: ["u0", "a1", "other", "another"]}

    async def test_of_what_was_deleted_a_path_has_the_place(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await talker.talk("u0", "a1", "u2", "a3")
        ids = await ids_of(talker, conversation)
        await store.delete_message("local", ids[1])
        path = await store.path("local", ids[-1])
        assert [step.id for step in path] == ids
        assert path[1] == Step(1, Message("assistant"), ids[1], deleted=True)

    async def test_a_path_to_what_is_not_there_is_not_found(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await talker.talk("u0", "a1")
        (first, last) = await ids_of(talker, conversation)
        await store.delete_message("local", last)
        await Talker(store, "other").talk("u0", "a1")
        for owner, message in (
            ("local", last),
            ("local", "msg_01arz3ndektsv4rrffq69g5fav"),
            ("local", conversation),
            ("other", first),
            ("nobody", first),
        ):
            for since in (0, 1):
                with pytest.raises(MessageNotFound) as raised:
                    await store.path(owner, message, since)
                assert raised.value.param == "message"

    async def test_a_very_long_path_is_read_from_below(self, store: Store) -> None:
        talker = Talker(store)
        history = [(user, assistant)[i % 2](f"{i}") for i in range(LONG)]
        turn = await talker.admit([*history, user("last")])
        near = (await prompt_of(talker, turn)).steps
        assert [step.depth for step in near] == list(range(LONG + 1 - len(near), LONG + 1))
        assert 0 < len(near) < LONG
        path = await store.path("local", near[-1].id)
        assert [step.message for step in path] == [*history, user("last")]
        assert path[-len(near) :] == near


class Prompts(Part):
    async def test_the_first_turn_has_nothing_above(self, store: Store) -> None:
        talker = Talker(store)
        prompt = await prompt_of(talker, await talker.admit([user("u0")]))
        assert (prompt.above, prompt.window, prompt.continues, prompt.gap) == (None, None, None, None)
        assert [(step.depth, step.message) for step in prompt.steps] == [(0, user("u0"))]

    async def test_a_turn_goes_on_with_the_epoch_of_the_turn_above(self, store: Store) -> None:
        talker = Talker(store)
        await talker.talk("u0", "a1", "u2", "a3")
        epoch = new_epoch(2, reason="overflow", began=77)
        await talker.say("u4", "a5", epoch=epoch, usage=Usage(50, 7))
        turn = await talker.admit([*talker.history, user("u6")])
        prompt = await prompt_of(talker, turn)
        above = prompt.above
        assert above is not None
        assert above.epoch == epoch
        assert (above.same_instructions, above.same_tools, above.asked) == (True, True, 4)
        assert (above.prompt_tokens, above.completion_tokens, above.seen) == (50, 7, [(2, 5)])
        assert [step.message.text for step in prompt.steps] == ["u2", "a3", "u4", "a5", "u6"]
        assert prompt.steps == (await store.path("local", prompt.steps[-1].id))[2:]

    async def test_a_long_window_is_read_as_far_up_as_it_reaches(self, store: Store) -> None:
        talker = Talker(store)
        talker.history = [(user, assistant)[i % 2](f"{i}") for i in range(LONG)]
        await talker.say("asked", "answered", epoch=new_epoch(10))
        prompt = await prompt_of(talker, await talker.admit([*talker.history, user("more")]))
        assert [step.depth for step in prompt.steps] == list(range(10, LONG + 3))

    @pytest.mark.parametrize("gap", [None, (3, 5)])
    @pytest.mark.parametrize("usage", [None, Usage(5, 0)])
    async def test_an_epoch_comes_back_as_it_was_handed_in(
        self, store: Store, gap: tuple[int, int] | None, usage: Usage | None
    ) -> None:
        talker = Talker(store)
        epoch = new_epoch(2, gap, model="org/other", reason="user", began=1_700_000_000_123)
        await talker.talk("u0", "a1", "u2", "a3", "u4", "a5")
        await talker.say("u6", "a7", epoch=epoch, usage=usage)
        above = (await prompt_of(talker, await talker.admit([*talker.history, user("u8")]))).above
        assert above is not None
        assert above.epoch == epoch
        assert above.epoch.span == Span(2, gap)
        assert above.prompt_tokens == (usage.prompt_tokens if usage else None)
        assert above.completion_tokens == (usage.completion_tokens if usage else None)

    @pytest.mark.parametrize("before", [None, system("Be brief.")])
    @pytest.mark.parametrize("now", [None, system("Be brief."), system("Be kind.")])
    async def test_whether_instructions_are_the_same(
        self, store: Store, before: Message | None, now: Message | None
    ) -> None:
        talker = Talker(store)
        first = await talker.admit([*([before] if before else []), user("u0")])
        epoch = new_epoch()
        await talker.end(first.turn, "a1", epoch=epoch, receipt=receipt_in(epoch, 1))
        turn = await talker.admit([*([now] if now else []), user("u0"), assistant("a1"), user("u2")])
        above = (await prompt_of(talker, turn)).above
        assert above is not None
        assert above.same_instructions is (before == now)

    async def test_instructions_that_go_on_are_the_same(self, store: Store) -> None:
        """Who only says what is new keeps those that are in force."""
        talker = Talker(store)
        first = await talker.admit([system("Be brief."), user("u0")], "room")
        epoch = new_epoch()
        await talker.end(first.turn, "a1", epoch=epoch, receipt=receipt_in(epoch, 1))
        turns = [
            await talker.admit([user("u2")], "room", at_head=True),
            await talker.admit([user("u2")], parent=(await ids_of(talker, first.conversation))[1]),
        ]
        for turn in turns:
            above = (await prompt_of(talker, turn)).above
            assert above is not None
            assert above.same_instructions

    @pytest.mark.parametrize("before", [[], TOOLS])
    @pytest.mark.parametrize("now", [[], TOOLS, [Tool(name="time")]])
    async def test_whether_tools_are_the_same(
        self, store: Store, before: list[Tool], now: list[Tool]
    ) -> None:
        talker = Talker(store)
        first = await talker.admit([user("u0")], tools=before)
        epoch = new_epoch()
        receipt = receipt_in(epoch, 1, tools=len(before))
        await talker.end(first.turn, "a1", epoch=epoch, receipt=receipt)
        turn = await talker.admit([user("u0"), assistant("a1"), user("u2")], tools=now)
        above = (await prompt_of(talker, turn)).above
        assert above is not None
        assert above.same_tools is (before == now)

    async def test_the_turn_above_is_found_through_what_a_client_wrote(self, store: Store) -> None:
        talker = Talker(store)
        await talker.talk("u0", "a1")
        epoch = new_epoch()
        await talker.say("u2", "a3", epoch=epoch)
        foreign = [*talker.history, user("u4"), assistant("from elsewhere"), user("u6"), user("u7")]
        prompt = await prompt_of(talker, await talker.admit(foreign))
        assert prompt.above is not None
        assert (prompt.above.epoch, prompt.above.asked) == (epoch, 2)
        assert [step.depth for step in prompt.steps] == list(range(8))

    async def test_a_turn_without_an_epoch_is_passed_over(self, store: Store) -> None:
        talker = Talker(store)
        epoch = new_epoch()
        await talker.say("u0", "a1", epoch=epoch, usage=Usage(3, 4))
        await talker.talk("u2", "a3")
        prompt = await prompt_of(talker, await talker.admit([*talker.history, user("u4")]))
        assert prompt.above is not None
        assert (prompt.above.epoch, prompt.above.asked, prompt.above.prompt_tokens) == (epoch, 0, 3)

    async def test_each_branch_has_its_own_epoch(self, store: Store) -> None:
        talker = Talker(store)
        first = new_epoch()
        await talker.say("u0", "a1", epoch=first)
        kept = list(talker.history)
        epochs = [new_epoch(2, reason="overflow"), new_epoch(2, reason="model")]
        histories = []
        for number, epoch in enumerate(epochs):
            talker.history = list(kept)
            await talker.say(f"u2 of {number}", f"a3 of {number}", epoch=epoch)
            histories.append([*talker.history, user("u4")])
        for history, epoch in zip(histories, epochs, strict=True):
            prompt = await prompt_of(talker, await talker.admit(history))
            assert prompt.above is not None
            assert prompt.above.epoch == epoch
            assert [step.message for step in prompt.steps] == history[2:]
        # An edit of what was asked there goes on with what came before.
        edit = await talker.admit([*kept, user("edited")])
        above = (await prompt_of(talker, edit)).above
        assert above is not None
        assert above.epoch == first

    async def test_an_answer_anew_goes_on_with_what_came_before_its_question(self, store: Store) -> None:
        talker = Talker(store)
        first, second = new_epoch(), new_epoch(2, reason="overflow")
        await talker.say("u0", "a1", epoch=first)
        told = await talker.say("u2", "a3", epoch=second)
        question = (await ids_of(talker, told.conversation))[2]
        for turn in (
            await talker.admit([], parent=question),
            await talker.admit(talker.history[:3], told.conversation),
        ):
            above = (await prompt_of(talker, turn)).above
            assert above is not None
            assert (above.epoch, above.asked) == (first, 0)

    async def test_another_turn_that_answered_the_same_is_told(self, store: Store) -> None:
        """The latest one with an epoch, as if it were the turn above."""
        talker = Talker(store)
        first, second, third = new_epoch(), new_epoch(2, reason="overflow"), new_epoch(2, reason="model")
        await talker.say("u0", "a1", epoch=first)
        asked = await talker.say("u2", "a3", epoch=second, usage=Usage(7, 8))
        question = (await ids_of(talker, asked.conversation))[2]
        failed = await talker.admit([], parent=question)
        await talker.end(failed.turn, "", TurnState.FAILED, epoch=third, receipt=receipt_in(third, 3))
        await talker.end((await talker.admit([], parent=question)).turn, "without an epoch")
        again = await talker.admit([], parent=question, tools=TOOLS)
        for noted in (False, True):  # never itself
            beside = (await prompt_of(talker, again)).beside
            assert beside is not None
            assert (beside.epoch, beside.asked, beside.seen) == (second, 2, [(2, 3)])
            assert (beside.prompt_tokens, beside.completion_tokens) == (7, 8)
            assert (beside.same_instructions, beside.same_tools) == (True, False)
            if not noted:
                await talker.show(again.turn, third, 3)
        await talker.end(again.turn, "once more")
        for messages, more in (([], {"parent": question}), (talker.history[:3], {})):
            beside = (await prompt_of(talker, await talker.admit(messages, **more))).beside
            assert beside is not None
            assert beside.epoch == third
        below = await talker.admit([*talker.history, user("u4")])
        assert (await prompt_of(talker, below)).beside is None

    async def test_any_of_several_replies_goes_on_with_its_turns_epoch(self, store: Store) -> None:
        talker = Talker(store)
        turn = await talker.admit([user("u0")])
        epoch = new_epoch()
        await talker.end_all(
            turn.turn, "one", "two", epoch=epoch, receipt=receipt_in(epoch, 1), usage=Usage(1, 9)
        )
        for text in ("one", "two"):
            below = await talker.admit([user("u0"), assistant(text), user("u2")], turn.conversation)
            above = (await prompt_of(talker, below)).above
            assert above is not None
            assert (above.epoch, above.completion_tokens) == (epoch, 9)

    async def test_what_failed_or_runs_is_above_nothing(self, store: Store) -> None:
        talker = Talker(store)
        failed = await talker.admit([user("u0")], "room")
        epoch = new_epoch()
        await talker.end(
            failed.turn, "", TurnState.FAILED, epoch=epoch, receipt=receipt_in(epoch, 1), error_code="x"
        )
        running = await talker.admit([user("u0")], "room")
        await talker.show(running.turn, new_epoch(), 1)
        again = await talker.admit([user("u0")], "room")
        assert (await prompt_of(talker, again)).above is None

    async def test_a_fork_begins_anew(self, store: Store) -> None:
        talker = Talker(store)
        told = await talker.say("u0", "a1", epoch=new_epoch())
        fork = await store.fork("local", told.conversation)
        below = await talker.admit([user("u2")], fork.id, at_head=True)
        assert (await prompt_of(talker, below)).above is None
        assert await store.epochs("local", fork.id) == []

    async def test_what_was_deleted_stands_in_the_path_and_what_was_seen_stays(self, store: Store) -> None:
        talker = Talker(store)
        epoch = new_epoch()
        told = await talker.say("u0", "a1", epoch=epoch)
        ids = await ids_of(talker, told.conversation)
        await talker.say("u2", "a3", epoch=epoch)
        await store.delete_message("local", ids[1])
        prompt = await prompt_of(talker, await talker.admit([*talker.history, user("u4")]))
        assert prompt.above is not None
        assert (prompt.above.epoch, prompt.above.seen) == (epoch, [(0, 3)])
        assert [step.deleted for step in prompt.steps] == [False, True, False, False, False]

    async def test_nobody_knows_whether_tools_that_were_deleted_were_the_same(self, store: Store) -> None:
        talker = Talker(store)
        epoch = new_epoch()
        first = await talker.admit([user("u0")], tools=TOOLS)
        await talker.end(first.turn, "a1", epoch=epoch, receipt=receipt_in(epoch, 1, tools=1))
        talker.history = [user("u0"), assistant("a1")]
        second = await talker.ask("u2", "a3")
        await store.delete_message("local", (await ids_of(talker, second.conversation))[1])
        question = (await ids_of(talker, second.conversation))[2]
        for tools in ([], TOOLS):
            above = (await prompt_of(talker, await talker.admit([], parent=question, tools=tools))).above
            assert above is not None
            assert not above.same_tools

    async def test_a_cut_reply_is_gone_on_with_as_it_stands(self, store: Store) -> None:
        talker = Talker(store)
        epoch = new_epoch()
        await talker.say("u0", "a1", epoch=epoch)
        cut = await talker.say("u2", "half a", epoch=epoch, state=TurnState.CANCELLED)
        reply = (await talker.path(cut.conversation))[-1]
        prompt = await prompt_of(talker, await talker.admit([], parent=reply.id))
        assert prompt.continues == Step(3, assistant("half a"), reply.id)
        assert [step.message.text for step in prompt.steps] == ["u0", "a1", "u2"]
        assert prompt.above is not None
        assert prompt.above.asked == 0

    async def test_what_a_client_left_out_is_told(self, store: Store) -> None:
        talker = Talker(store)
        await talker.talk("u0", "a1", "u2", "a3", "u4", "a5")
        cut = await talker.admit([*talker.history[4:], user("u6")])
        prompt = await prompt_of(talker, cut)
        assert prompt.gap == (0, 4)
        assert [step.depth for step in prompt.steps] == list(range(7))

    async def test_only_who_works_on_a_turn_has_its_prompt(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        turn = await talker.admit([user("u0")])
        async with self.unchanged(folder):
            for id, lease in ((turn.turn, "lease_2"), (new_turn(), talker.lease)):
                with pytest.raises(LeaseLost):
                    await store.prompt(id, lease)


class Noting(Part):
    async def test_a_window_that_is_noted_is_kept(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        turn = await talker.admit([user("u0")])
        assert (await store.turn("local", turn.turn)).receipt is None
        epoch = new_epoch()
        receipt = receipt_in(
            epoch,
            9,
            seen=[(2, 4), (6, 9)],
            left_out=[LeftOut(0, 2, "window"), LeftOut(4, 6, "deleted")],
            instructions=2,
            tools=3,
            context_size=4096,
            reserved=512,
            prompt_tokens=77,
            counted="estimate",
            continues=True,
            warnings=["something"],
        )
        await store.note_window(turn.turn, talker.lease, epoch, receipt)
        assert (await store.turn("local", turn.turn)).receipt == receipt
        (record,) = await store.epochs("local", turn.conversation)
        assert (record.epoch, record.turns, record.first_turn) == (epoch, 1, turn.turn)
        consistent(self.tables(folder))

    async def test_the_last_one_counts_and_the_epoch_of_the_one_before_is_gone(
        self, store: Store, folder: Path
    ) -> None:
        talker = Talker(store)
        turn = await talker.admit([user("u0")])
        epochs = [new_epoch(model=f"m{i}") for i in range(3)]
        for epoch in (*epochs, epochs[2], epochs[1]):
            await talker.show(turn.turn, epoch, 1)
            record = await store.turn("local", turn.turn)
            assert record.receipt == receipt_in(epoch, 1)
            assert [each.epoch for each in await store.epochs("local", turn.conversation)] == [epoch]
            consistent(self.tables(folder))
        await talker.end(turn.turn, "a1", epoch=epochs[0], receipt=receipt_in(epochs[0], 1))
        assert [each.epoch for each in await store.epochs("local", turn.conversation)] == [epochs[0]]
        consistent(self.tables(folder))

    async def test_an_epoch_that_others_have_stays(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        epoch = new_epoch()
        told = await talker.say("u0", "a1", epoch=epoch)
        turn = await talker.admit([*talker.history, user("u2")])
        await talker.show(turn.turn, epoch, 3)
        assert [each.turns for each in await store.epochs("local", told.conversation)] == [2]
        other = new_epoch(model="other")
        await talker.show(turn.turn, other, 3)
        found = await store.epochs("local", told.conversation)
        assert [(each.epoch, each.turns, each.first_turn) for each in found] == [
            (other, 1, turn.turn),
            (epoch, 1, told.turn),
        ]
        consistent(self.tables(folder))

    async def test_without_the_lease_nothing_is_noted(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        turn = await talker.admit([user("u0")])
        ended = await talker.say("v0", "b1", epoch=new_epoch())
        async with self.unchanged(folder):
            for id, lease in (
                (turn.turn, "lease_2"),
                (ended.turn, talker.lease),
                (new_turn(), talker.lease),
            ):
                epoch = new_epoch()
                with pytest.raises(LeaseLost):
                    await store.note_window(id, lease, epoch, receipt_in(epoch, 1))

    async def test_what_was_noted_is_kept_where_the_end_says_nothing(self, store: Store) -> None:
        talker = Talker(store)
        for text, state in (
            ("a1", TurnState.COMPLETED),
            ("half", TurnState.FAILED),
            ("", TurnState.CANCELLED),
        ):
            turn = await talker.admit([user("u0")])
            epoch = new_epoch()
            await talker.show(turn.turn, epoch, 1)
            await talker.end(turn.turn, text, state)
            assert (await store.turn("local", turn.turn)).receipt == receipt_in(epoch, 1)
            assert [each.epoch for each in await store.epochs("local", turn.conversation)] == [epoch]

    @pytest.mark.parametrize("says_it_again", [False, True])
    async def test_what_failed_without_text_keeps_its_receipt_and_has_no_epoch(
        self, store: Store, folder: Path, says_it_again: bool
    ) -> None:
        talker = Talker(store)
        shared, own = new_epoch(), new_epoch(model="other")
        told = await talker.say("u0", "a1", epoch=shared)
        for epoch in (shared, own):
            turn = await talker.admit([*talker.history, user("u2")])
            receipt = receipt_in(epoch, 3)
            await talker.show(turn.turn, epoch, 3)
            more = {"epoch": epoch, "receipt": receipt} if says_it_again else {}
            await talker.end(turn.turn, "", TurnState.FAILED, **more)
            assert (await store.turn("local", turn.turn)).receipt == receipt
            found = await store.epochs("local", told.conversation)
            assert [(each.epoch, each.turns) for each in found] == [(shared, 1)]
            consistent(self.tables(folder))

    async def test_a_turn_that_came_to_no_window_has_none(self, store: Store, folder: Path) -> None:
        turn = await Talker(store).ask("u0", "a1")
        assert (await store.turn("local", turn.turn)).receipt is None
        assert await store.epochs("local", turn.conversation) == []
        assert self.tables(folder)["epochs"] == []

    async def test_what_recovery_closes_keeps_its_receipt_and_its_epoch(self, folder: Path) -> None:
        async with self.opened(folder) as store:
            dead = Talker(store)
            epoch = new_epoch()
            told = await dead.say("u0", "a1", epoch=epoch)
            cut = await dead.admit([*dead.history, user("u2")])
            await dead.show(cut.turn, epoch, 3)
            await dead.log(cut.turn, 0, "half")
            silent = await dead.admit([user("else")])
            other = new_epoch(model="other")
            await dead.show(silent.turn, other, 1)
        async with self.opened(folder) as store:
            await store.recover("lease_2")
            alive = Talker(store, lease="lease_2")
            for turn, expected in ((cut, receipt_in(epoch, 3)), (silent, receipt_in(other, 1))):
                record = await store.turn("local", turn.turn)
                assert (record.state, record.receipt) == (TurnState.INCOMPLETE, expected)
            assert [each.turns for each in await store.epochs("local", told.conversation)] == [2]
            resent = [*dead.history, user("u2"), assistant("half"), user("u4")]
            above = (await prompt_of(alive, await alive.admit(resent))).above
            assert above is not None
            assert (above.epoch, above.asked, above.prompt_tokens) == (epoch, 2, None)
            consistent(self.tables(folder))

    async def test_a_turn_that_is_tried_again_is_another(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        attempt = Attempt(route="chat", body=b"b", idempotency_key="k")
        first = await talker.admit([user("u0")], attempt=attempt)
        epoch = new_epoch()
        await talker.end(first.turn, "", TurnState.FAILED, epoch=epoch, receipt=receipt_in(epoch, 1))
        again = await talker.admit([user("u0")], attempt=attempt)
        assert not again.joined
        assert (await store.turn("local", again.turn)).receipt is None
        consistent(self.tables(folder))


class Epochs(Part):
    async def test_epochs_come_the_latest_first_in_pages(self, store: Store) -> None:
        talker = Talker(store)
        made, turns = [], []
        for i in range(7):
            epoch = new_epoch(i, reason="overflow" if i else "start", began=1000 + i)
            made.append(epoch)
            for k in range(1 + i % 3):
                told = await talker.say(f"u{i}.{k}", f"a{i}.{k}", epoch=epoch)
                if k == 0:
                    turns.append(told.turn)
        expected = [
            (epoch, 1 + i % 3, turn) for i, (epoch, turn) in enumerate(zip(made, turns, strict=True))
        ][::-1]
        for limit in (1, 2, 3, 7, 100):
            found: list[Any] = []
            after = None
            while page := await store.epochs("local", told.conversation, after=after, limit=limit):
                assert len(page) <= limit
                found += [(each.epoch, each.turns, each.first_turn) for each in page]
                after = page[-1].epoch.id
            assert found == expected

    async def test_epochs_are_those_of_their_conversation(self, store: Store) -> None:
        hers, his = Talker(store, end_user="ann"), Talker(store, end_user="bob")
        a, b = new_epoch(), new_epoch()
        first = await hers.say("u0", "a1", epoch=a)
        other = await his.say("u0", "a1", epoch=b)
        assert [each.epoch for each in await store.epochs("local", first.conversation)] == [a]
        assert [each.epoch for each in await store.epochs("local", other.conversation)] == [b]
        for after in (b.id, "epoch_01arz3ndektsv4rrffq69g5fav", first.turn, ""):
            with pytest.raises(InvalidRequest) as raised:
                await store.epochs("local", first.conversation, after=after)
            assert raised.value.param == "after"
        for owner, conversation in (("local", NOBODYS), ("other", first.conversation)):
            with pytest.raises(ConversationNotFound):
                await store.epochs(owner, conversation)


SETTINGS = WindowSettings(
    mode="auto",
    truncation="auto",
    size=8192,
    keep=0.25,
    reserve=100,
    context_length_exceeded_behavior="truncate",
)


class Settings(Part):
    @pytest.mark.parametrize("settings", [SETTINGS, WindowSettings(mode="strict"), WindowSettings(keep=0.5)])
    async def test_a_conversation_says_how_its_windows_are_chosen(
        self, store: Store, folder: Path, settings: WindowSettings
    ) -> None:
        talker = Talker(store)
        conversation = await talker.talk("u0", "a1", conversation="room")
        before = await talker.conversation(conversation)
        assert before.window is None
        changed = await store.set_window("local", conversation, settings)
        assert changed.window == settings
        assert changed == await talker.conversation(conversation)
        assert [each.window for each in await talker.conversations()] == [settings]
        turn = await talker.admit([*talker.history, user("u2")])
        assert (await prompt_of(talker, turn)).window == settings
        await store.close()
        async with self.opened(folder) as again:
            assert (await again.conversation("local", "room")).window == settings
            assert [c.window for c in (await again.aged(1 << 50))[1]] == []  # a turn runs there
            await again.recover("lease_2")
            assert [c.window for c in (await again.aged(1 << 50))[1]] == [settings]

    @pytest.mark.parametrize("nothing", [None, WindowSettings()])
    async def test_it_can_leave_that_to_others_again(
        self, store: Store, folder: Path, nothing: WindowSettings | None
    ) -> None:
        talker = Talker(store)
        conversation = await talker.talk("u0", "a1")
        async with self.unchanged(folder):
            await store.set_window("local", conversation, SETTINGS)
            assert (await store.set_window("local", conversation, nothing)).window is None
        assert (await prompt_of(talker, await talker.admit([*talker.history, user("u2")]))).window is None

    async def test_only_the_one_that_is_named_is_changed(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        await talker.talk("u0", "a1", conversation="room")
        other = await Talker(store, "other").talk("u0", "a1")
        async with self.unchanged(folder):
            for owner, conversation in (("local", other), ("nobody", other), ("local", NOBODYS)):
                with pytest.raises(ConversationNotFound):
                    await store.set_window(owner, conversation, SETTINGS)
        await store.set_window("other", other, SETTINGS)
        assert [each.window for each in await talker.conversations()] == [None]

    async def test_a_fork_goes_on_as_its_conversation_does(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await talker.talk("u0", "a1")
        await store.set_window("local", conversation, SETTINGS)
        fork = await store.fork("local", conversation)
        assert fork.window == SETTINGS
        await store.set_window("local", fork.id, None)
        assert (await talker.conversation(conversation)).window == SETTINGS


class Counts(Part):
    async def made(self, store: Store) -> list[str]:
        talker = Talker(store)
        return await ids_of(talker, await talker.talk("u0", "a1", "u2", "a3"))

    async def test_counts_are_kept_by_tokenizer(self, store: Store, folder: Path) -> None:
        ids = await self.made(store)
        assert await store.counts("local", "t1", ids) == {}
        await store.keep_counts("local", "t1", {ids[0]: 3, ids[1]: 0})
        await store.keep_counts("local", "t2", {ids[1]: 9})
        assert await store.counts("local", "t1", ids) == {ids[0]: 3, ids[1]: 0}
        assert await store.counts("local", "t2", ids) == {ids[1]: 9}
        assert await store.counts("local", "t3", ids) == {}
        assert await store.counts("local", "t1", ids[1:]) == {ids[1]: 0}
        assert await store.counts("local", "t1", []) == {}
        await store.keep_counts("local", "t1", {ids[0]: 4, ids[3]: 5})
        assert await store.counts("local", "t1", ids) == {ids[0]: 4, ids[1]: 0, ids[3]: 5}
        consistent(self.tables(folder))
        await store.close()
        async with self.opened(folder) as again:
            assert await again.counts("local", "t1", ids) == {ids[0]: 4, ids[1]: 0, ids[3]: 5}

    async def test_only_what_is_ones_own_is_counted(self, store: Store, folder: Path) -> None:
        ids = await self.made(store)
        await Talker(store, "other").talk("u0", "a1")
        await store.keep_counts("local", "t1", {ids[0]: 3})
        async with self.unchanged(folder):
            for owner in ("other", "nobody"):
                await store.keep_counts(owner, "t1", {ids[0]: 8, ids[1]: 8})
                assert await store.counts(owner, "t1", ids) == {}
        assert await store.counts("local", "t1", ids) == {ids[0]: 3}

    async def test_what_is_gone_is_passed_over(self, store: Store, folder: Path) -> None:
        ids = await self.made(store)
        await store.keep_counts("local", "t1", {ids[0]: 1})
        await store.delete_message("local", ids[3])  # a leaf
        await store.delete_message("local", ids[1])  # which leaves a tombstone
        async with self.unchanged(folder):
            await store.keep_counts("local", "t1", {ids[1]: 2, ids[3]: 4, "msg_nothing": 5, NOBODYS: 6})
        await store.keep_counts("local", "t1", {ids[1]: 2, ids[2]: 3, ids[3]: 4})
        assert await store.counts("local", "t1", [*ids, "msg_nothing"]) == {ids[0]: 1, ids[2]: 3}
        consistent(self.tables(folder))

    async def test_a_very_long_history_is_counted(self, store: Store) -> None:
        talker = Talker(store)
        turn = await talker.admit([user(f"{i}") for i in range(LONG)])
        path = await store.path("local", (await prompt_of(talker, turn)).steps[-1].id)
        counts = {step.id: step.depth for step in path}
        await store.keep_counts("local", "t1", counts)
        asked = [*counts, *(f"msg_{i}" for i in range(300_000))]
        assert await store.counts("local", "t1", asked) == counts


class DeletingWindows(Part):
    async def test_a_count_goes_with_its_message(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        conversation = await talker.talk("u0", "a1", "u2", "a3")
        ids = await ids_of(talker, conversation)
        for tokenizer in ("t1", "t2"):
            await store.keep_counts("local", tokenizer, dict.fromkeys(ids, 7))
        for gone in (1, 3, 0, 2):
            await store.delete_message("local", ids[gone])
            consistent(self.tables(folder))
            for tokenizer in ("t1", "t2"):
                assert ids[gone] not in await store.counts("local", tokenizer, ids)
        assert self.tables(folder)["message_counts"] == []

    async def test_an_epoch_goes_with_its_last_turn(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        first, second = new_epoch(), new_epoch(2, reason="overflow")
        turns = [
            (await talker.say(f"u{i}", f"a{i}", "room", epoch=first if i < 2 else second)).turn
            for i in range(4)
        ]
        conversation = (await talker.conversations())[0].id
        expected = [[(second, 1), (first, 2)], [(first, 2)], [(first, 1)], []]
        for turn, left in zip(turns[::-1], expected, strict=True):
            await store.delete_turn("local", turn)
            found = await store.epochs("local", conversation)
            assert [(each.epoch, each.turns) for each in found] == left
            consistent(self.tables(folder))

    async def test_a_turn_whose_reply_is_a_tombstone_keeps_its_epoch_and_its_receipt(
        self, store: Store, folder: Path
    ) -> None:
        talker = Talker(store)
        epoch = new_epoch()
        receipt = receipt_in(epoch, 1, warnings=["It quotes a canary."], prompt_tokens=5, counted="engine")
        turn = await talker.admit([user("u0")])
        await talker.end(turn.turn, "a1", epoch=epoch, receipt=receipt, warnings=["It quotes a canary."])
        talker.history = [user("u0"), assistant("a1")]
        await talker.say("u2", "a3", epoch=epoch)
        await store.delete_message("local", (await ids_of(talker, turn.conversation))[1])
        record = await store.turn("local", turn.turn)
        assert record.receipt == receipt_in(epoch, 1, prompt_tokens=5, counted="engine")
        assert "canary" not in repr(self.tables(folder))
        assert [each.turns for each in await store.epochs("local", turn.conversation)] == [2]

    @pytest.mark.parametrize("place", [0, 1])
    async def test_what_a_receipt_warns_of_goes_with_the_question_or_one_of_several_replies(
        self, store: Store, folder: Path, place: int
    ) -> None:
        talker = Talker(store)
        epoch = new_epoch()
        turn = await talker.admit([user("u0")])
        receipt = receipt_in(epoch, 1, warnings=["canary"])
        await talker.end_all(
            turn.turn, Reply(content="one"), Reply(content="two"), epoch=epoch, receipt=receipt
        )
        tree = await store.tree("local", turn.conversation)
        await store.delete_message("local", tree[place].id)
        assert "canary" not in repr(self.tables(folder))
        assert (await store.turn("local", turn.turn)).receipt == receipt_in(epoch, 1)

    @pytest.mark.parametrize(
        "road", ["conversation", "branch", "turns", "end user", "owner", "age", "expiry"]
    )
    async def test_nothing_of_windows_is_left(self, store: Store, folder: Path, road: str) -> None:
        await Talker(store, "other").say("kept", "kept", epoch=new_epoch())
        before = self.tables(folder)
        talker = Talker(store, end_user="ann")
        first = await talker.admit([user("u0")], temporary=0)
        epoch = new_epoch()
        await talker.end(first.turn, "a1", epoch=epoch, receipt=receipt_in(epoch, 1))
        talker.history = [user("u0"), assistant("a1")]
        for i, each in enumerate((epoch, new_epoch(2), new_epoch(2, (3, 4)))):
            await talker.say(f"u{i}", f"a{i}", epoch=each)
        running = await talker.admit([*talker.history, user("last")])
        await talker.show(running.turn, new_epoch(), 9)
        ids = await ids_of(talker, first.conversation)
        await store.keep_counts("local", "t1", dict.fromkeys(ids, 7))
        await store.set_window("local", first.conversation, SETTINGS)
        if road in ("age", "expiry"):
            await talker.end(running.turn, "the end")
        match road:
            case "conversation":
                await store.delete_conversation("local", first.conversation)
            case "branch":
                await store.delete_branch("local", ids[0])
            case "turns":
                for row in self.tables(folder)["turns"][:0:-1]:
                    await store.delete_turn("local", row["id"])
            case "end user":
                await store.delete_end_user("local", "ann")
            case "owner":
                await store.delete_owner("local")
            case "age":
                await store.delete_aged(1 << 50, owner="local")
            case _:
                await store.delete_expired(1 << 50)
        after = self.tables(folder)
        for table in ("conversations", "messages", "turns", "epochs", "message_counts"):
            assert after[table] == before[table], table
        consistent(after)

    async def test_a_turn_that_is_gone_has_no_receipt(self, store: Store) -> None:
        talker = Talker(store)
        told = await talker.say("u0", "a1", "room", epoch=new_epoch())
        await store.delete_turn("local", told.turn)
        with pytest.raises(TurnNotFound):
            await store.turn("local", told.turn)


class Windows(Paths, Prompts, Noting, Epochs, Settings, Counts, DeletingWindows):
    """All of it."""
