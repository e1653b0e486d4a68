"""The contract: what is foreseen of a turn is what it gets when it is admitted, and foreseeing leaves no trace."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from palaver.core.errors import (
    ConversationBusy,
    ConversationNotFound,
    InvalidRequest,
    MessageNotFound,
    PalaverError,
)
from palaver.core.message import Message, root_key
from palaver.core.parameters import Tool
from palaver.core.path import Step
from palaver.core.tree import Instruction, read_history
from palaver.core.turn import TurnState, Usage
from palaver.core.window_settings import WindowSettings
from palaver.stores.base import Admission, Admitted, Conversation, Prompt, Store
from tests.stores.contract_base import Part
from tests.stores.contract_naming import NOBODYS
from tests.stores.contract_sequences import consistent
from tests.stores.talking import Tables, Talker, assistant, new_epoch, new_turn, system, user

WHO = (("local", None), ("local", "ann"), ("local", "bob"), ("other", "ann"))
NAMES = ("room", "hall")
STATES = (TurnState.COMPLETED, TurnState.COMPLETED, TurnState.CANCELLED, TurnState.FAILED, None)
"""How a turn ends; None is one that goes on running."""
DEEDS = (
    *("resend",) * 5,
    *("below", "head", "again") * 2,
    "name",
    "reach",
    "set a window",
    "delete",
)


class Seer:
    """Asks at random, of a store that grows meanwhile; before each turn it foresees what that will be shown."""

    def __init__(self, store: Store, see: Callable[[], Tables], seed: int) -> None:
        self._store = store
        self._see = see
        self._random = random.Random(seed)
        self._talkers = [Talker(store, owner, end_user) for owner, end_user in WHO]
        self._said = 0
        self._made: list[str] = []
        self.seen: Counter[str] = Counter()

    async def run(self, deeds: int) -> None:
        for talker in self._talkers:  # makes owners, so that nothing that is foreseen does
            await self._store.root_key(talker.owner, talker.end_user)
        for _ in range(deeds):
            await self._do(self._random.choice(DEEDS))
        consistent(self._see())

    async def _do(self, deed: str) -> None:
        talker = self._pick(self._talkers)
        own = [each for each in await self._conversations(talker) if each.end_user == talker.end_user]
        if deed == "set a window" and own:
            chosen = self._pick([None, WindowSettings(mode="auto"), WindowSettings(keep=0.2, size=99)])
            await self._store.set_window(talker.owner, self._pick(own).id, chosen)
        elif deed == "delete" and own:
            tree = await self._store.tree(talker.owner, self._pick(own).id, limit=1000)
            living = [item for item in tree if not item.deleted]
            if living:
                await self._store.delete_message(talker.owner, self._pick(living).id)
        elif (asked := await self._asked(deed, talker, own)) is not None:
            await self._ask(talker, *asked)

    async def _conversations(self, talker: Talker) -> list[Conversation]:
        """Those of an owner, in the order in which they were made: the same one each time the script is run."""
        found = await self._store.conversations(talker.owner, one_shots=True, limit=1000)
        return sorted(found, key=lambda each: self._made.index(each.id))

    async def _asked(
        self, deed: str, talker: Talker, own: Sequence[Conversation]
    ) -> tuple[list[Message], str | None, dict[str, Any]] | None:
        """A request: messages, the conversation that it names, and what it says of its place."""
        new = self._new()
        named = self._pick([*(each.id for each in own), *NAMES]) if self._chance(0.4) else None
        if deed == "name":
            return new, self._pick(NAMES), {}
        if deed == "reach":
            return await self._reaching(new, own)
        if not own:
            return new, named, {}
        conversation = self._pick(own)
        if deed == "head":
            ref = self._pick([conversation.id, *NAMES])
            policy = self._pick(["branch", "branch", "queue", "reject"])
            return self._pick([new, new, []]), ref, {"at_head": True, "concurrency": policy}
        tree = await self._store.tree(talker.owner, conversation.id, limit=1000)
        if not tree:
            return new, conversation.id, {}
        node = self._pick(tree).id
        if deed == "below":
            return new, named if self._chance(0.3) else None, {"parent": node}
        if deed == "again":
            return [], None, {"parent": node}
        path = await self._store.path(talker.owner, node)
        history = [step.message if not step.deleted else user("guessed") for step in path]
        return self._changed(history) + new, named, {}

    async def _reaching(
        self, new: list[Message], own: Sequence[Conversation]
    ) -> tuple[list[Message], str | None, dict[str, Any]]:
        """For what is another's, or not there."""
        theirs = await self._conversations(self._pick(self._talkers))
        refs = [NOBODYS, "nobody's", *(each.id for each in theirs), *(each.id for each in own)]
        heads = [each.head for each in (*theirs, *own) if each.head is not None]
        parent = self._pick([None, "msg_01arz3ndektsv4rrffq69g5fav", *heads])
        return new, self._pick([None, *refs]), {"parent": parent}

    def _new(self) -> list[Message]:
        """What is said anew: something new or, now and then, the same as before."""
        self._said += 1
        said = [user(self._pick([f"question {self._said}", f"question {self._said}", "hi"]))]
        if self._chance(0.2):
            said = [user("hi"), assistant("from elsewhere"), *said]
        if self._chance(0.4):
            said = [system(self._pick(["Be brief.", "Be kind."])), *said]
        return said

    def _changed(self, history: list[Message]) -> list[Message]:
        """A history as a client has it that has cut it, or edited it."""
        if not history or self._chance(0.4):
            return history
        at = self._random.randrange(len(history))
        to = self._random.randrange(at, len(history)) + 1
        if self._chance(0.2):
            return [*history[:at], user("edited"), *history[to:]]
        return history[:at] + history[to:] if self._chance(0.3) else history[at:]

    async def _ask(
        self, talker: Talker, messages: list[Message], conversation: str | None, more: dict[str, Any]
    ) -> None:
        tools = self._pick([[], [], [Tool(name="one")], [Tool(name="two")]])
        admission = await talker.admission(messages, conversation, tools=tools, **more)
        exact = more.get("parent") is not None or more.get("at_head", False)
        history = read_history(messages, admission.history.root, goes_on=exact)
        admission = msgspec.structs.replace(admission, history=history)
        before = self._see()
        unkeyed = read_history(messages, b"", goes_on=exact) if self._chance(0.5) else history
        foreseen = await outcome(self._store.foresee(msgspec.structs.replace(admission, history=unkeyed)))
        assert self._see() == before
        admitted = await outcome(self._store.admit(admission))
        if not isinstance(admitted, Admitted):
            assert foreseen == admitted or admitted[0] is ConversationBusy
            self.seen["refused"] += 1
            return
        if admitted.conversation not in self._made:
            self._made.append(admitted.conversation)
        if admitted.state is TurnState.QUEUED:
            await self._store.delete_turn(talker.owner, admitted.turn)
            return
        assert isinstance(foreseen, Prompt), foreseen
        prompt = await self._store.prompt(admitted.turn, talker.lease)
        compare(foreseen, prompt, {row["id"] for row in before["messages"]})
        self.seen["compared"] += 1
        for name in ("gap", "instructions", "continues", "above", "beside", "window"):
            self.seen[name] += bool(getattr(prompt, name))
        await self._end(talker, admitted.turn, prompt)

    async def _end(self, talker: Talker, turn: str, prompt: Prompt) -> None:
        state = self._pick(STATES)
        length = prompt.steps[-1].depth + 1 if prompt.steps else 0
        going_on = prompt.above and self._chance(0.6)
        epoch = prompt.above.epoch if prompt.above and going_on else new_epoch(self._random.randrange(3))
        if self._chance(0.8):
            await talker.show(turn, epoch, length, began=not going_on)
        if state is not None:
            usage = self._pick([None, Usage(5, 6)])
            text = "" if state is TurnState.FAILED else f"answer {self._said}"
            await talker.end(turn, text, state, usage=usage)

    def _pick(self, choices: Sequence[Any]) -> Any:
        return self._random.choice(choices)

    def _chance(self, share: float) -> bool:
        return self._random.random() < share


async def outcome(asking: Awaitable[Any]) -> Any:
    """What is answered, or which refusal, in which words and of which field."""
    try:
        return await asking
    except PalaverError as error:
        return type(error), error.message, getattr(error, "param", None)


def compare(foreseen: Prompt, prompt: Prompt, known: set[str]) -> None:
    """They are the same. What the turn has added has no id before, and more may have been read than after."""
    assert len(foreseen.steps) >= len(prompt.steps)
    near = foreseen.steps[len(foreseen.steps) - len(prompt.steps) :]
    expected = [
        step if step.id in known else Step(step.depth, step.message, deleted=step.deleted)
        for step in prompt.steps
    ]
    assert near == expected
    for name in ("gap", "instructions", "continues", "above", "beside", "window"):
        assert getattr(foreseen, name) == getattr(prompt, name), name


class Foresight(Part):
    @settings(max_examples=30, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])
    @example(405, 20)  # what was the head before a turn that fails is deleted meanwhile
    @given(st.integers(0, 1 << 30), st.integers(1, 40))
    def test_whatever_is_asked_is_foreseen(self, seed: int, deeds: int) -> None:
        self._play(seed, deeds)

    @pytest.mark.slow
    @settings(max_examples=200, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])
    @given(st.integers(0, 1 << 30), st.integers(20, 60))
    def test_much_more_of_the_same(self, seed: int, deeds: int) -> None:
        self._play(seed, deeds)

    def test_the_script_asks_and_is_refused(self) -> None:
        """Otherwise it would show nothing."""
        seen = self._play(3, 300).seen
        assert seen["compared"] > 100
        assert min(seen[name] for name in ("refused", "instructions", "above")) > 20
        assert min(seen[name] for name in ("window", "gap", "continues", "beside")) > 2

    def _play(self, seed: int, deeds: int) -> Seer:
        async def run(folder: Path) -> Seer:
            async with self.opened(folder) as store:
                seer = Seer(store, lambda: self.tables(folder), seed)
                await seer.run(deeds)
                return seer

        with tempfile.TemporaryDirectory() as folder:
            return asyncio.run(run(Path(folder)))

    async def foreseen(self, talker: Talker, messages: list[Message], *where: str, **more: Any) -> Prompt:
        """What is foreseen of a turn; it is as it must be when the turn is admitted."""
        admission = await talker.admission(messages, *where, **more)
        ids = {step.id for step in await self._path(talker, admission)}
        found = await talker.store.foresee(admission)
        admitted = await talker.store.admit(admission)
        compare(found, await talker.store.prompt(admitted.turn, talker.lease), ids)
        return found

    async def _path(self, talker: Talker, admission: Admission) -> list[Step]:
        known = await talker.conversations()
        trees = [await talker.store.tree(talker.owner, each.id, limit=1000) for each in known]
        return [Step(item.depth, item.message, item.id) for tree in trees for item in tree]

    async def test_a_new_conversation(self, store: Store) -> None:
        found = await self.foreseen(Talker(store), [system("Be brief."), user("u0"), user("u1")])
        assert found.steps == [Step(0, user("u0")), Step(1, user("u1"))]
        assert found.instructions == [Instruction(0, system("Be brief."))]

    async def test_nobody_is_made_for_it(self, store: Store, folder: Path) -> None:
        """Neither an owner nor an end user nor a conversation, and what they do not have is missed."""
        await Talker(store).talk("u0", "a1")
        talker = Talker(store, "nobody", "no one")
        parent = (await Talker(store).path((await Talker(store).conversations())[0].id))[0].id
        history = read_history([user("hi")], root_key(b"anything", "no one"))
        asked = Admission(
            owner="nobody",
            end_user="no one",
            turn=new_turn(),
            lease="",
            door="",
            requested_model="m",
            model="m",
            history=history,
        )
        async with self.unchanged(folder):
            assert (await store.foresee(asked)).steps == [Step(0, user("hi"))]
            for name in ("room", "hall"):
                named = msgspec.structs.replace(asked, conversation=name)
                assert (await store.foresee(named)).steps == [Step(0, user("hi"))]
            with pytest.raises(ConversationNotFound):
                await store.foresee(msgspec.structs.replace(asked, conversation=NOBODYS))
            with pytest.raises(MessageNotFound):
                await store.foresee(msgspec.structs.replace(asked, parent=parent))
        assert talker.owner not in [row["name"] for row in self.tables(folder)["owners"]]

    async def test_a_new_name_holds_no_message_that_is_there(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        parent = (await talker.path(await talker.talk("u0", "a1")))[1].id
        async with self.unchanged(folder):
            for ask in (talker.foresee, talker.admit):
                with pytest.raises(MessageNotFound):
                    await ask([user("u2")], "a new name", parent=parent)

    async def test_nothing_new_is_not_foreseen(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        await talker.talk("u0", "a1", conversation="room")
        async with self.unchanged(folder):
            for name in ("room", "a new name"):
                for ask in (talker.foresee, talker.admit):
                    with pytest.raises(InvalidRequest):
                        await ask([], name, at_head=True)

    async def test_a_head_that_nobody_names_is_where_the_history_hangs(self, store: Store) -> None:
        talker = Talker(store)
        await talker.talk("u0", "a1")
        found = await self.foreseen(talker, [*talker.history, user("u2")], at_head=True)
        assert [step.message.text for step in found.steps] == ["u0", "a1", "u2"]

    async def test_what_is_said_of_a_conversation_where_nothing_matches(self, store: Store) -> None:
        """Its settings count for a history that begins there anew, too."""
        talker = Talker(store)
        conversation = await talker.talk("u0", "a1", conversation="room")
        auto = WindowSettings(mode="auto")
        await store.set_window("local", conversation, auto)
        found = await self.foreseen(talker, [user("else")], "room")
        assert (found.window, found.above) == (auto, None)
        assert found.steps == [Step(0, user("else"))]

    async def test_a_conversation_with_nothing_in_it(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await talker.talk("u0", "a1", conversation="room")
        await store.set_window("local", conversation, WindowSettings(mode="auto"))
        for item in (await talker.path(conversation))[::-1]:
            await store.delete_message("local", item.id)
        found = await self.foreseen(talker, [user("again")], "room", at_head=True)
        assert (found.window, found.steps) == (WindowSettings(mode="auto"), [Step(0, user("again"))])

    async def test_the_instructions_of_a_fork_go_on(self, store: Store) -> None:
        talker = Talker(store)
        first = await talker.admit([system("Be brief."), user("u0")], "room")
        await talker.end(first.turn, "a1")
        fork = await store.fork("local", first.conversation, name="fork")
        found = await self.foreseen(talker, [user("u2")], fork.id, at_head=True)
        assert found.instructions == [Instruction(0, system("Be brief."))]

    async def test_a_turn_that_would_wait_is_shown_as_if_it_began(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        conversation = await talker.talk("u0", "a1", conversation="room")
        await talker.admit([user("u2")], "room", at_head=True)
        async with self.unchanged(folder):
            for policy in ("queue", "branch", "reject"):
                found = await talker.foresee([user("u3")], conversation, at_head=True, concurrency=policy)
                assert [step.message.text for step in found.steps] == ["u0", "a1", "u3"]

    async def test_a_question_far_below_is_foreseen_with_its_end(self, store: Store) -> None:
        talker = Talker(store)
        talker.history = [(user, assistant)[i % 2](f"{i}") for i in range(1000)]
        await talker.ask("asked", "answered")
        asked = [user(f"u{i}") for i in range(300)]
        found = await self.foreseen(talker, [*talker.history, *asked])
        assert found.steps[-300:] == [Step(1002 + i, message) for i, message in enumerate(asked)]
        assert found.steps[-301].id
