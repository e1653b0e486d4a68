"""The contract: instructions that are for one turn only, and what a turn was asked; how both are handed on and go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from palaver.core.message import Message
from palaver.core.tree import Instruction, read_history
from palaver.core.turn import TurnState
from palaver.stores.base import Attempt, Store
from tests.stores.contract_base import Part
from tests.stores.contract_sequences import consistent
from tests.stores.talking import Tables, Talker, Told, assistant, new_turn, system, user

ASKED = {"user": "ann", "truncation": "auto", "instructions": True, "given": 2, "verbosity": "low"}


def developer(text: str) -> Message:
    return Message("developer", text)


def once(*texts: str) -> list[Instruction]:
    """Instructions for one turn."""
    return [Instruction(0, system(text)) for text in texts]


def texts_of(instructions: Sequence[Instruction]) -> list[str]:
    return [each.message.text for each in instructions]


async def whole(talker: Talker, messages: Sequence[Message], **more: Any) -> dict[str, Any]:
    """What goes into the admission of a turn all of whose messages are of its path."""
    root = await talker.store.root_key(talker.owner, talker.end_user)
    return {"messages": messages, "history": read_history(messages, root, whole=True), **more}


async def said(talker: Talker, *messages: Message, answer: str = "yes", **more: Any) -> Told:
    """A turn of which all messages are of the path, answered."""
    told = await talker.admit(**await whole(talker, messages, **more))
    await talker.end(told.turn, answer)
    return told


async def reply_of(store: Store, turn: Told) -> str:
    reply = (await store.turn("local", turn.turn)).reply
    assert reply is not None
    return reply.id


def kept(tables: Tables) -> list[list[str]]:
    """The texts of all instructions that are stored."""
    bodies = [msgspec.json.decode(row["body"], type=list[Instruction]) for row in tables["instructions"]]
    return sorted(texts_of(body) for body in bodies)


class Carrying(Part):
    async def test_some_are_for_one_turn_only(self, store: Store) -> None:
        talker = Talker(store)
        first = await said(talker, user("one"), at_head=True, conversation="c", passing=once("be brief"))
        second = await said(talker, user("two"), at_head=True, conversation="c")
        third = await said(talker, user("three"), parent=await reply_of(store, first), passing=once("a", "b"))
        assert [texts_of(each.instructions) for each in (first, second, third)] == [
            ["be brief"],
            [],
            ["a", "b"],
        ]
        for each in (first, second, third):
            record = await store.turn("local", each.turn)
            assert record.instructions == each.instructions

    async def test_those_of_a_history_are_taken_over(self, store: Store) -> None:
        talker = Talker(store)
        history = await talker.admit([system("be kind"), user("one")], passing=once("now"))
        await talker.end(history.turn, "yes")
        second = await said(talker, user("two"), parent=await reply_of(store, history), passing=once("brief"))
        third = await said(talker, user("three"), parent=await reply_of(store, second))
        fourth = await said(talker, user("four"), parent=await reply_of(store, third), passing=once("last"))
        assert [texts_of(each.instructions) for each in (history, second, third, fourth)] == [
            ["now", "be kind"],
            ["brief", "be kind"],
            ["be kind"],
            ["last", "be kind"],
        ]

    async def test_a_history_that_is_sent_again_brings_its_own(self, store: Store) -> None:
        talker = Talker(store)
        first = await said(talker, user("one"), at_head=True, conversation="c", passing=once("be brief"))
        messages = [system("be kind"), user("one"), assistant("yes"), user("two")]
        second = await talker.admit(messages)
        assert (second.conversation, texts_of(second.instructions)) == (first.conversation, ["be kind"])
        await talker.end(second.turn, "sure")
        bare = await talker.admit([*messages[1:], assistant("sure"), user("three")])
        assert bare.instructions == []

    @pytest.mark.parametrize("above", [[], ["be kind"]])
    async def test_a_turn_that_waited_has_its_own_and_those_above(
        self, store: Store, above: list[str]
    ) -> None:
        talker = Talker(store)
        running = await talker.admit([*map(system, above), user("one")], "c")
        waits = await talker.put(
            **await whole(talker, [user("two")], conversation="c", at_head=True, passing=once("be brief"))
        )
        assert waits.state is TurnState.QUEUED
        assert texts_of((await store.turn("local", waits.turn)).instructions) == ["be brief"]
        await talker.end(running.turn, "yes")
        begun = await talker.begin(waits)
        assert begun is not None
        assert texts_of(begun.instructions) == ["be brief", *above]
        assert (await store.turn("local", waits.turn)).instructions == begun.instructions
        await talker.end(waits.turn, "sure")
        below = await said(talker, user("three"), at_head=True, conversation="c")
        assert texts_of(below.instructions) == above

    @pytest.mark.parametrize("how", ["cancelled", "recovered"])
    async def test_one_that_never_began_hands_nothing_on(self, store: Store, folder: Path, how: str) -> None:
        talker = Talker(store)
        running = await talker.admit([system("be kind"), user("one")], "c")
        sent = await whole(talker, [user("two")], conversation="c", at_head=True, passing=once("be brief"))
        waits = await talker.put(**sent)
        if how == "cancelled":
            await talker.end(waits.turn, "", TurnState.CANCELLED)
            await talker.end(running.turn, "yes")
        else:
            await talker.log(running.turn, 0, "yes")
            await store.recover("another lease")
        record = await store.turn("local", waits.turn)
        # What was to end before it had not, so that it hangs beside that.
        above = [] if how == "cancelled" else ["be kind"]
        assert texts_of(record.instructions) == ["be brief", *above]
        below = await talker.admit(**await whole(talker, [user("three")], parent=record.question))
        assert texts_of(below.instructions) == above
        await talker.end(below.turn, "sure")
        consistent(self.tables(folder))

    async def test_a_fork_takes_over_what_turns_do(self, store: Store) -> None:
        talker = Talker(store)
        history = await talker.admit([system("be kind"), user("one")], passing=once("now"))
        await talker.end(history.turn, "yes")
        second = await said(talker, user("two"), parent=await reply_of(store, history), passing=once("brief"))
        for turn in (history, second):
            fork = await store.fork("local", history.conversation, await reply_of(store, turn))
            told = await talker.admit(
                **await whole(talker, [user("three")], conversation=fork.id, at_head=True)
            )
            assert texts_of(told.instructions) == ["be kind"]
        bare = await said(talker, user("one"), at_head=True, conversation="c", passing=once("only once"))
        fork = await store.fork("local", bare.conversation, await reply_of(store, bare))
        told = await talker.admit(**await whole(talker, [user("two")], conversation=fork.id, at_head=True))
        assert told.instructions == []

    async def test_they_are_foreseen(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        opening = [developer("dutch"), user("one")]
        new = await whole(talker, opening, conversation="c", at_head=True, passing=once("brief"))
        async with self.unchanged(folder):
            foreseen = await talker.foresee(**new)
        assert (texts_of(foreseen.instructions), [s.message for s in foreseen.opening]) == (
            ["brief"],
            [developer("dutch")],
        )
        first = await said(talker, *opening, conversation="c", at_head=True, passing=once("brief"))
        more = await whole(talker, [user("two")], parent=await reply_of(store, first), passing=once("last"))
        async with self.unchanged(folder):
            foreseen = await talker.foresee(**more)
        prompt = await store.prompt((await talker.put(**more)).turn, talker.lease)
        assert foreseen.instructions == prompt.instructions == once("last")
        assert [s.message for s in foreseen.opening] == [s.message for s in prompt.opening]
        assert [s.message for s in foreseen.steps] == [s.message for s in prompt.steps]

    async def test_another_try_has_the_same(self, store: Store) -> None:
        talker = Talker(store)
        attempt = Attempt(route="r", body=b"b")
        sent = await whole(talker, [user("one")], conversation="c", at_head=True, passing=once("brief"))
        first = await talker.admit(**sent, attempt=attempt)
        await talker.end(first.turn, "", TurnState.FAILED)
        again = await talker.admit(
            **{**sent, "turn": new_turn()}, attempt=msgspec.structs.replace(attempt, count=1)
        )
        assert (again.joined, texts_of(again.instructions)) == (False, ["brief"])


class Forgetting(Part):
    async def test_what_nobody_was_told_any_more_goes(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        history = await talker.admit([system("be kind"), user("one")], passing=once("now"))
        await talker.end(history.turn, "yes")
        second = await said(talker, user("two"), parent=await reply_of(store, history), passing=once("brief"))
        assert kept(self.tables(folder)) == [["be kind"], ["brief", "be kind"], ["now", "be kind"]]
        consistent(self.tables(folder))
        await store.delete_turn("local", second.turn)
        assert kept(self.tables(folder)) == [["be kind"], ["now", "be kind"]]
        consistent(self.tables(folder))
        await store.delete_turn("local", history.turn)
        assert kept(self.tables(folder)) == []

    async def test_what_is_only_handed_on_stays_for_those_below(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        history = await talker.admit([system("be kind"), user("one")])
        await talker.end(history.turn, "yes")
        second = await said(talker, user("two"), parent=await reply_of(store, history), passing=once("brief"))
        below = await said(talker, user("three"), parent=await reply_of(store, second))
        path = await talker.path(history.conversation)
        await store.delete_message("local", path[1].id)
        await store.delete_message("local", path[3].id)
        assert kept(self.tables(folder)) == [["be kind"]], "what was for once is gone with it"
        consistent(self.tables(folder))
        more = await talker.admit(**await whole(talker, [user("four")], parent=await reply_of(store, below)))
        assert texts_of(more.instructions) == ["be kind"]
        await store.delete_conversation("local", history.conversation)
        assert kept(self.tables(folder)) == []

    async def test_a_turn_that_waits_takes_its_own_along(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        running = await talker.admit([user("one")], "c")
        sent = await whole(talker, [user("two")], conversation="c", at_head=True, passing=once("a secret"))
        await talker.put(**sent)
        await store.delete_turn("local", running.turn)
        assert "a secret" not in str(self.tables(folder)["turns"])
        assert kept(self.tables(folder)) == []

    async def test_of_what_was_asked_only_numbers_and_switches_stay(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        first = await said(talker, user("one"), conversation="c", at_head=True, asked=ASKED)
        assert (await store.turn("local", first.turn)).asked == ASKED
        await said(talker, user("two"), conversation="c", at_head=True)
        await store.delete_message("local", await reply_of(store, first))
        left = (await store.turn("local", first.turn)).asked
        assert left == {"instructions": True, "given": 2}
        assert "ann" not in str(self.tables(folder)["turns"])
        consistent(self.tables(folder))
