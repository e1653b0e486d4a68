"""The contract: a conversation as the tree it is, its leaves, its head, and forks."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palaver.core.errors import ConversationNotFound, InvalidRequest, MessageNotFound
from palaver.core.message import FunctionCall, Message, ToolCall
from palaver.core.tree import Instruction
from palaver.core.turn import TurnState
from palaver.stores.base import Item, Order, Store
from tests.stores.contract_base import Part
from tests.stores.contract_naming import NOBODYS
from tests.stores.contract_sequences import consistent
from tests.stores.talking import Talker, assistant, system, user

UNKNOWN = "msg_01arz3ndektsv4rrffq69g5fav"
NAME = "notes"


def texts(items: Sequence[Item]) -> list[str]:
    return [item.message.text for item in items]


async def all_of(store: Store, verb: str, conversation: str, limit: int = 100) -> list[Item]:
    """All that `tree` or `leaves` gives, page by page."""
    found: list[Item] = []
    while page := await getattr(store, verb)(
        "local", conversation, after=found[-1].id if found else None, limit=limit
    ):
        assert len(page) <= limit
        assert len(found) < 10_000
        found += page
    return found


async def branched(talker: Talker, name: str | None = NAME) -> str:
    """1 – one – 2 – two, with other – else beside 2 – two; the head is two. The conversation's id."""
    conversation = await talker.talk("1", "one", "2", "two", conversation=name)
    aside = await talker.admit([*talker.history[:2], user("other")], name)
    await talker.end(aside.turn, "else")
    await talker.admit([*talker.history], name)  # answered again by nobody: the head is two
    return conversation


async def named(talker: Talker, conversation: str, text: str) -> str:
    """The id of the message with this text."""
    (found,) = [m for m in await all_of(talker.store, "tree", conversation) if m.message.text == text]
    return found.id


class Branching(Part):
    @pytest.mark.parametrize("limit", [1, 2, 4, 100])
    async def test_the_tree_is_all_messages_as_they_came(self, store: Store, limit: int) -> None:
        conversation = await branched(Talker(store))
        await Talker(store).talk("another", "conversation", conversation="else")
        items = await all_of(store, "tree", conversation, limit)
        assert texts(items) == ["1", "one", "2", "two", "other", "else"]
        by_id = {item.id: item for item in items}
        parents = [by_id[item.parent].message.text if item.parent else None for item in items]
        assert parents == [None, "1", "one", "2", "one", "other"]
        assert [item.depth for item in items] == [0, 1, 2, 3, 2, 3]
        assert [item.state for item in items[:2]] == [None, TurnState.COMPLETED]

    @pytest.mark.parametrize("limit", [1, 2, 100])
    async def test_leaves_are_the_ends_the_latest_first(self, store: Store, limit: int) -> None:
        conversation = await branched(Talker(store))
        assert texts(await all_of(store, "leaves", conversation, limit)) == ["else", "two"]

    @pytest.mark.parametrize("verb", ["tree", "leaves"])
    async def test_one_goes_on_only_from_a_message_of_the_conversation(self, store: Store, verb: str) -> None:
        conversation = await branched(Talker(store))
        elsewhere = (await Talker(store).path(await Talker(store).talk("x", "y")))[0].id
        for after in (UNKNOWN, elsewhere, ""):
            with pytest.raises(InvalidRequest) as caught:
                await getattr(store, verb)("local", conversation, after=after)
            assert caught.value.param == "after"

    async def test_an_empty_conversation_has_an_empty_tree(self, store: Store) -> None:
        admitted = await Talker(store).admit([Message("system", "Say something.")])
        assert await store.tree("local", admitted.conversation) == []
        assert await store.leaves("local", admitted.conversation) == []
        fork = await store.fork("local", admitted.conversation)
        assert (fork.head, fork.messages) == (None, 0)

    async def test_the_head_can_be_any_message(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        conversation = await branched(talker)
        before = await talker.conversation(conversation)
        aside = await named(talker, conversation, "else")
        moved = await store.set_head("local", conversation, aside)
        assert (moved.head, moved.messages) == (aside, 4)
        assert moved == await talker.conversation(conversation)
        assert moved.updated_at >= before.updated_at
        assert await talker.texts(conversation) == ["1", "one", "other", "else"]
        inner = await named(talker, conversation, "one")
        assert (await store.set_head("local", conversation, inner)).messages == 2
        consistent(self.tables(folder))

    async def test_a_conversation_whose_head_is_chosen_comes_first_and_is_no_task(self, store: Store) -> None:
        task = await Talker(store).talk("hi", "hello")
        other = await Talker(store).talk("1", "one", conversation=NAME)
        first = (await Talker(store).path(task))[0].id
        assert not (await store.set_head("local", task, first)).one_shot
        assert [c.id for c in await store.conversations("local")] == [task, other]

    async def test_what_answers_elsewhere_does_not_take_a_chosen_head_back(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await talker.talk("1", "one", conversation=NAME)
        running = await talker.admit([*talker.history, user("2")], NAME)
        chosen = (await talker.path(conversation))[1].id
        await store.set_head("local", conversation, chosen)
        await talker.end(running.turn, "two")
        assert (await talker.conversation(conversation)).head == chosen
        assert texts(await store.leaves("local", conversation)) == ["two"]

    async def test_a_path_to_any_message_can_be_read(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await branched(talker)
        to = await named(talker, conversation, "else")
        expected = ["1", "one", "other", "else"]
        orders: tuple[Order, Order] = ("asc", "desc")
        for order in orders:
            for limit in (1, 3, 100):
                seen: list[Item] = []
                while page := await store.items(
                    "local",
                    conversation,
                    to=to,
                    after=seen[-1].id if seen else None,
                    limit=limit,
                    order=order,
                ):
                    seen += page
                assert texts(seen) == (expected if order == "asc" else expected[::-1])
        off_path = await named(talker, conversation, "2")
        with pytest.raises(InvalidRequest) as caught:
            await store.items("local", conversation, to=to, after=off_path)
        assert caught.value.param == "after"
        assert await talker.texts(conversation) == ["1", "one", "2", "two"]

    async def test_messages_of_other_conversations_are_not_found(self, store: Store, folder: Path) -> None:
        conversation = await branched(Talker(store))
        other = await Talker(store).talk("x", "y", conversation="else")
        foreign = (await Talker(store).path(other))[0].id
        async with self.unchanged(folder):
            for message in (foreign, UNKNOWN, "", conversation):
                with pytest.raises(MessageNotFound):
                    await store.set_head("local", conversation, message)
                with pytest.raises(MessageNotFound):
                    await store.fork("local", conversation, message)
                with pytest.raises(MessageNotFound):
                    await store.items("local", conversation, to=message)

    @pytest.mark.parametrize("owner", ["local", "other", "nobody"])
    async def test_what_is_another_owners_is_not_found(self, store: Store, folder: Path, owner: str) -> None:
        conversation = await branched(Talker(store))
        await Talker(store, "other").talk("hi", "hello")
        ref = NOBODYS if owner == "local" else conversation
        head = (await store.conversation("local", conversation)).head
        assert head is not None
        async with self.unchanged(folder):
            with pytest.raises(ConversationNotFound):
                await store.tree(owner, ref)
            with pytest.raises(ConversationNotFound):
                await store.leaves(owner, ref)
            with pytest.raises(ConversationNotFound):
                await store.set_head(owner, ref, head)
            with pytest.raises(ConversationNotFound):
                await store.fork(owner, ref, head)
            with pytest.raises(ConversationNotFound):
                await store.items(owner, ref, to=head)


class Forking(Part):
    async def test_a_fork_goes_on_under_the_instructions_of_its_path(self, store: Store) -> None:
        talker = Talker(store)
        first = await talker.admit([system("Be brief."), user("1")], NAME)
        await talker.end(first.turn, "one")
        second = await talker.admit([system("Be kind."), user("2")], NAME, at_head=True)
        await talker.end(second.turn, "two")
        path = await talker.path(first.conversation)
        for end, told in ((path[1], "Be brief."), (path[0], "Be brief."), (path[3], "Be kind.")):
            fork = await store.fork("local", first.conversation, end.id)
            expected = [Instruction(0, system(told))]
            assert await store.last_instructions("local", fork.id) == expected
            again = await store.fork("local", fork.id)
            for each in (fork, again):
                more = await talker.admit([user("more")], each.id, at_head=True)
                assert more.instructions == expected
        await store.delete_conversation("local", first.conversation)
        assert await store.last_instructions("local", fork.id) == expected

    async def test_a_fork_is_a_copy_of_a_path(self, store: Store, folder: Path) -> None:
        talker = Talker(store, end_user="ann")
        first = await talker.ask("1", "one", NAME)
        call = Message("assistant", None, tool_calls=[ToolCall(FunctionCall("f", '{"a": 1}'), "call_1")])
        result = Message("tool", "42", tool_call_id="call_1")
        talker.history += [call, result]
        conversation = await talker.talk("2", "two", "3", "three", conversation=NAME)
        path = await talker.path(conversation)
        source = await talker.conversation(conversation)
        fork = await store.fork("local", conversation, path[5].id, name="copy")
        assert (fork.name, fork.title, fork.end_user, fork.source, fork.metadata, fork.one_shot) == (
            "copy",
            source.title,
            "ann",
            source.source,
            source.metadata,
            False,
        )
        assert fork == await talker.conversation(fork.id)
        copies = await talker.path(fork.id)
        assert fork.head == copies[-1].id
        assert [c.message for c in copies] == [m.message for m in path[:6]]
        assert [(c.depth, c.created_at) for c in copies] == [(m.depth, m.created_at) for m in path[:6]]
        assert [(c.turn, c.state, c.model) for c in copies] == 6 * [(None, None, None)]
        assert not {c.id for c in copies} & {m.id for m in path}
        assert await talker.conversation(conversation) == source
        assert (await store.turn("local", first.turn)).conversation == conversation
        consistent(self.tables(folder))

    async def test_without_a_message_it_goes_to_the_head(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await branched(talker)
        fork = await store.fork("local", conversation)
        assert fork.name is None
        assert await talker.texts(fork.id) == ["1", "one", "2", "two"]
        assert texts(await store.tree("local", fork.id)) == ["1", "one", "2", "two"]

    async def test_a_resent_history_goes_on_in_the_original(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await talker.talk("1", "one")
        fork = await store.fork("local", conversation)
        assert await talker.talk("2", "two") == conversation
        assert await talker.texts(fork.id) == ["1", "one"]

    async def test_a_fork_goes_on_by_itself(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        conversation = await talker.talk("1", "one")
        await store.fork("local", conversation, name="copy")
        assert (await talker.ask("2", "two", "copy")).conversation != conversation
        assert await talker.texts(conversation) == ["1", "one"]
        consistent(self.tables(folder))

    async def test_a_fork_of_a_fork(self, store: Store, folder: Path) -> None:
        talker = Talker(store, end_user="ann")
        fork = await store.fork("local", await talker.talk("1", "one"))
        again = await store.fork("local", fork.id, fork.head)
        assert await talker.texts(again.id) == ["1", "one"]
        consistent(self.tables(folder))

    async def test_a_name_is_an_end_users_once(self, store: Store, folder: Path) -> None:
        conversation = await Talker(store, end_user="ann").talk("1", "one", conversation=NAME)
        await Talker(store, end_user="bob").talk("1", "one", conversation="bobs")
        async with self.unchanged(folder):
            with pytest.raises(InvalidRequest) as caught:
                await store.fork("local", conversation, name=NAME)
        assert caught.value.param == "name"
        assert (await store.fork("local", conversation, name="bobs")).end_user == "ann"
        with pytest.raises(InvalidRequest):
            await store.fork("local", conversation, name="bobs")

    async def test_its_title_is_made_of_its_own_messages(self, store: Store) -> None:
        talker = Talker(store)
        first = await talker.admit([user("first")], NAME)
        await talker.admit([user("other  words")], NAME)
        other = await named(talker, first.conversation, "other  words")
        assert (await talker.conversation(first.conversation)).title == "first"
        assert (await store.fork("local", first.conversation, other)).title == "other words"

    async def test_a_fork_of_a_temporary_conversation_is_temporary(self, store: Store) -> None:
        talker = Talker(store)
        admitted = await talker.admit([user("1")], NAME, temporary=3600)
        source = await talker.conversation(admitted.conversation)
        assert source.expires_at is not None
        fork = await store.fork("local", admitted.conversation)
        assert fork.expires_at == fork.created_at + 3_600_000
        assert fork.expires_at >= source.expires_at
        kept = await store.fork("local", await Talker(store).talk("x", "y"))
        assert kept.expires_at is None

    async def test_what_was_deleted_is_not_copied(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        conversation = await talker.talk("1", "one", "2", "two", conversation=NAME)
        await store.delete_message("local", await named(talker, conversation, "one"))
        fork = await store.fork("local", conversation, name="copy")
        copies = await talker.path(fork.id)
        assert [(c.message.text, c.depth, c.deleted) for c in copies] == [
            ("1", 0, False),
            ("2", 1, False),
            ("two", 2, False),
        ]
        keys = {row["id"]: row["key"] for row in self.tables(folder)["messages"]}
        talker.history = [user("1"), user("2"), assistant("two")]
        goes_on = await talker.admit([*talker.history, user("3")], "copy")
        assert (goes_on.conversation, len(goes_on.messages)) == (fork.id, 4)
        assert [m.id for m in await talker.path(fork.id)][:3] == [c.id for c in copies]
        assert all(keys[c.id] for c in copies)

    async def test_nothing_goes_on_from_what_was_deleted(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        conversation = await branched(talker)
        gone = await named(talker, conversation, "one")
        await store.delete_message("local", gone)
        async with self.unchanged(folder):
            with pytest.raises(MessageNotFound):
                await store.set_head("local", conversation, gone)
            with pytest.raises(MessageNotFound):
                await store.fork("local", conversation, gone)

    @settings(max_examples=25, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])
    @given(
        grown=st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=12),
        ends=st.lists(st.integers(0, 60), max_size=4),
    )
    def test_any_tree(self, grown: list[tuple[int, bool]], ends: list[int]) -> None:
        async def run(folder: Path) -> None:
            async with self.opened(folder) as store:
                await _grow_and_fork(store, grown, ends)
            consistent(self.tables(folder))

        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(run(Path(folder)))


async def _grow_and_fork(store: Store, grown: list[tuple[int, bool]], ends: list[int]) -> None:
    """Grow a tree of distinct messages, each turn below any message so far; some get no reply. Then move the
    head about and fork."""
    talker = Talker(store, end_user="ann")
    parents: dict[str, str | None] = {}
    for number, (place, answered) in enumerate(grown):
        above = [*parents, None][place % (len(parents) + 1)]
        question, reply = f"question {number}", f"reply {number}"
        admitted = await talker.admit([*_path(parents, above), user(question)], NAME)
        parents[question] = above
        await talker.end(admitted.turn, reply if answered else "")
        if answered:
            parents[reply] = question
    conversation = admitted.conversation
    tree = await all_of(store, "tree", conversation, limit=3)
    by_id = {item.id: item.message.text for item in tree}
    shown = {item.message.text: by_id[item.parent] if item.parent else None for item in tree}
    assert list(shown.items()) == list(parents.items())
    inner = set(parents.values())
    leaves = await all_of(store, "leaves", conversation, limit=2)
    assert texts(leaves) == [text for text in reversed(parents) if text not in inner]
    for end in ends:
        chosen = tree[end % len(tree)]
        assert (await store.set_head("local", conversation, chosen.id)).head == chosen.id
        fork = await store.fork("local", conversation)
        path = [item.message for item in await talker.path(conversation)]
        assert path == _path(parents, chosen.message.text)
        assert [item.message for item in await talker.path(fork.id)] == path
    assert await all_of(store, "tree", conversation) == tree


def _path(parents: dict[str, str | None], end: str | None) -> list[Message]:
    path: list[Message] = []
    while end is not None:
        path.append(user(end) if end.startswith("question") else assistant(end))
        end = parents[end]
    return path[::-1]
