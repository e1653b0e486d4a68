"""The contract: many at once."""

from __future__ import annotations

import asyncio
import random

import pytest

from palaver.core.message import Message
from palaver.core.tree import MANY
from palaver.stores.base import Store
from tests.stores.contract_base import Part
from tests.stores.talking import Talker, assistant, forms, user

EXAMPLES = [user("Is water wet?"), assistant("Yes."), user("Is fire cold?"), assistant("No.")]


def answer(messages: list[Message]) -> str:
    """A model at temperature 0: equal histories have equal replies."""
    return f"{len(messages)} {messages[-1].text[:3]}"


class Person(Talker):
    """One of many behind one API key, with the same app and the same first words."""

    async def chat(self, words: list[str], order: random.Random) -> None:
        self.history = list(EXAMPLES)
        for word in words:
            await asyncio.sleep(order.random() / 500)
            self.history.append(user(word))
            admitted = await self.admit(self.history)
            assert forms(admitted.messages) == forms(self.history)
            await asyncio.sleep(order.random() / 500)
            await self.end(admitted.turn, answer(self.history))
            self.history.append(assistant(answer(self.history)))


class Crowds(Part):
    @pytest.mark.parametrize("seed", range(3))
    async def test_fifty_strangers_have_fifty_conversations(self, store: Store, seed: int) -> None:
        """They say the same at first, then each something of their own; nobody ever sees another's words."""
        order = random.Random(seed)
        people = [Person(store) for _ in range(50)]
        await asyncio.gather(
            *(
                person.chat(["hi", "what?", f"I am {i}.", "thanks", f"It is {i}."], order)
                for i, person in enumerate(people)
            )
        )
        conversations = await people[0].conversations()
        assert len(conversations) == 50
        paths = [await people[0].texts(conversation.id) for conversation in conversations]
        assert sorted(paths) == sorted([m.text for m in person.history] for person in people)

    async def test_fifty_end_users_have_fifty_conversations(self, store: Store) -> None:
        order = random.Random(0)
        people = [Person(store, end_user=f"user {i}") for i in range(50)]
        await asyncio.gather(*(person.chat(["hi", "what?", "thanks"], order) for person in people))
        conversations = await people[0].conversations()
        assert sorted(str(c.end_user) for c in conversations) == sorted(str(p.end_user) for p in people)
        assert {c.messages for c in conversations} == {len(EXAMPLES) + 6}

    async def test_of_very_many_equal_heads_the_latest_is_extended(self, store: Store) -> None:
        """As a monitor leaves them that asks the same all day."""
        ids = [await Talker(store).talk("ping", "pong") for _ in range(MANY + 10)]
        admitted = await Talker(store).admit([user("ping"), assistant("pong"), user("on")])
        assert admitted.conversation == ids[-1]

    async def test_one_conversation_asked_fifty_things_at_once(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await talker.talk("hi", "hello")
        asked = await asyncio.gather(
            *(talker.admit([*talker.history, user(f"{i}")], conversation) for i in range(50))
        )
        await asyncio.gather(*(talker.end(each.turn, "sure") for each in reversed(asked)))
        replies = [(await store.turn("local", each.turn)).reply for each in asked]
        assert all(reply is not None and reply.depth == 3 for reply in replies)
        texts = await talker.texts(conversation)
        assert texts[:2] == ["hi", "hello"]
        assert len(texts) == 4

    async def test_a_caller_who_leaves_harms_nobody(self, store: Store) -> None:
        talkers = [Talker(store) for _ in range(20)]
        tasks = [asyncio.create_task(talker.talk("hi", "hello", "more", "sure")) for talker in talkers]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        stayed = [result for result in ended if isinstance(result, str)]
        assert len(stayed) == 10
        for conversation in stayed:
            assert (await talkers[0].texts(conversation))[:2] == ["hi", "hello"]
