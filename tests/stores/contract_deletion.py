"""The contract: deletion reaches every row that holds something of what is deleted, and no other."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palaver.core.errors import ConversationNotFound, LeaseLost, MessageNotFound, PalaverError, TurnNotFound
from palaver.core.message import ImagePart, ImageUrl, Message, TextPart
from palaver.core.parameters import Parameters, Tool
from palaver.core.tree import Instruction, read_history
from palaver.core.turn import TurnState
from palaver.stores.base import Attempt, Deleted, Item, NewApiKey, Store
from tests.stores.contract_base import Part
from tests.stores.contract_sequences import consistent
from tests.stores.talking import Tables, Talker, assistant, new_epoch, system, user

LAST = 1 << 50
"""After all times."""
DAY = 24 * 60 * 60 * 1000


async def items(store: Store, conversation: str, owner: str = "local") -> list[Item]:
    """The head's path, first message first."""
    return await store.items(owner, conversation, limit=1000, order="asc")


def is_in(tables: Tables, words: str) -> bool:
    """Whether some row holds these words."""
    return words in repr(tables)


class DeletingMessages(Part):
    async def test_a_leaf_is_gone_with_its_turn(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        id = await talker.talk("hi", "hello", "more", "sure")
        path = await talker.path(id)
        assert await store.delete_message("local", path[3].id) == Deleted(messages=1, turns=1)
        assert await talker.path(id) == path[:3]
        assert (await talker.conversation(id)).head == path[2].id
        with pytest.raises(TurnNotFound):
            await store.turn("local", str(path[3].turn))
        assert await store.delete_message("local", path[2].id) == Deleted(messages=1)
        assert await talker.path(id) == path[:2]
        consistent(self.tables(folder))
        again = await talker.admit([*talker.history[:2], user("more")])
        assert again.conversation == id

    async def test_an_inner_message_leaves_its_place_only(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        id = await talker.talk("one", "two", "three", "four")
        path = await talker.path(id)
        assert await store.delete_message("local", path[1].id) == Deleted(messages=1)
        found = await talker.path(id)
        assert [item.id for item in found] == [item.id for item in path]
        assert [item.message.text for item in found] == ["one", "", "three", "four"]
        assert [item.deleted for item in found] == [False, True, False, False]
        assert [found[0], *found[2:]] == [path[0], *path[2:]]
        assert not is_in(self.tables(folder), "two")
        consistent(self.tables(folder))
        with pytest.raises(MessageNotFound):
            await store.delete_message("local", path[1].id)

    async def test_what_a_turn_keeps_of_a_reply_that_is_a_tombstone(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        stop = Parameters(stop=["canary"], temperature=0.5)
        attempt = Attempt(route="POST /", body=b"b", idempotency_key="canary")
        admitted = await talker.admit(
            [user("hi")], "c", parameters=stop, metadata={"of": "canary"}, attempt=attempt
        )
        await talker.end(
            admitted.turn,
            "canary",
            TurnState.INCOMPLETE,
            error_code="interrupted",
            error_message="canary",
            deltas=[6],
        )
        await talker.admit([user("hi"), assistant("canary"), user("more")])
        (_, reply, _) = await items(store, admitted.conversation)
        await store.delete_message("local", reply.id)
        assert not is_in(self.tables(folder), "canary")
        record = await store.turn("local", admitted.turn)
        assert (record.state, record.parameters) == (TurnState.INCOMPLETE, Parameters(temperature=0.5))
        assert (record.metadata, record.error_message, record.deltas) == ({}, None, [])
        assert record.reply is not None
        assert record.reply.deleted
        again = await talker.admit([user("hi")], "c", attempt=attempt)
        assert not again.joined, "there is no answer any more that could be given again"

    async def test_a_question_that_is_a_tombstone_leaves_its_answer_whole(
        self, store: Store, folder: Path
    ) -> None:
        talker = Talker(store)
        admitted = await talker.admit([user("canary")], metadata={"of": "canary"})
        await talker.end(admitted.turn, "hello", deltas=[3, 2])
        (question, reply) = await items(store, admitted.conversation)
        await store.delete_message("local", question.id)
        assert not is_in(self.tables(folder), "canary"), "nor the title, nor what came along with it"
        record = await store.turn("local", admitted.turn)
        assert (record.reply, record.deltas) == (reply, [3, 2])
        assert (await talker.conversation(admitted.conversation)).title is None

    @pytest.mark.parametrize("inner", [False, True])
    async def test_a_title_goes_with_what_it_was_made_of(self, store: Store, inner: bool) -> None:
        talker = Talker(store)
        first = await talker.admit([assistant("Welcome."), user("about us")], "c")
        if inner:
            await talker.end(first.turn, "sure")
        else:
            await talker.end(first.turn, state=TurnState.FAILED)
        conversation = await talker.conversation(first.conversation)
        assert conversation.title == "about us"
        tree = await store.tree("local", conversation.id)
        await store.delete_message("local", tree[0].id)
        assert (await talker.conversation(first.conversation)).title == "about us"
        await store.delete_message("local", tree[1].id)
        assert (await talker.conversation(first.conversation)).title is None

    async def test_a_tombstone_goes_when_nothing_is_left_below_it(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        id = await talker.talk("one", "two", "three", "four", conversation="c")
        path = await talker.path(id)
        for at in (1, 2):
            await store.delete_message("local", path[at].id)
        assert await store.delete_message("local", path[3].id) == Deleted(messages=1, turns=2)
        assert await talker.path(id) == path[:1]
        assert await store.tree("local", id) == path[:1]
        consistent(self.tables(folder))

    async def test_the_head_falls_to_what_is_left(self, store: Store, folder: Path) -> None:
        """To the nearest message above; where there is none, to the latest."""
        talker = Talker(store)
        id = await talker.talk("one", "two", "three", "four")
        path = await talker.path(id)
        await store.set_head("local", id, path[0].id)
        await store.delete_message("local", path[0].id)
        assert (await talker.conversation(id)).head == path[3].id
        await store.set_head("local", id, path[2].id)
        await store.delete_message("local", path[2].id)
        assert (await talker.conversation(id)).head == path[1].id
        consistent(self.tables(folder))

    async def test_a_conversation_with_nothing_in_it_stays_if_it_has_a_name(
        self, store: Store, folder: Path
    ) -> None:
        talker, named = Talker(store, end_user="ann"), Talker(store, end_user="bob")
        ids = [await talker.talk("hi", "hello"), await named.talk("hi", "hello", conversation="notes")]
        for id, of in zip(ids, (talker, named), strict=True):
            for item in (await of.path(id))[::-1]:
                done = await store.delete_message("local", item.id)
        assert done == Deleted(messages=1)
        with pytest.raises(ConversationNotFound):
            await talker.conversation(ids[0])
        assert (await named.conversation(ids[1])).messages == 0
        assert [row["name"] for row in self.tables(folder)["end_users"]] == ["bob"]
        again = await named.admit([user("hi")], "notes")
        assert again.conversation == ids[1]

    async def test_a_branch_goes_with_all_below(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        id = await talker.talk("one", "two", "three", "four", "five", "six")
        path = await talker.path(id)
        other = await talker.admit([*talker.history[:2], user("else")])
        await talker.end(other.turn, "where")
        before = await talker.path(id)
        assert await store.delete_branch("local", path[2].id) == Deleted(messages=4, turns=2)
        assert await store.tree("local", id) == before
        assert await store.delete_branch("local", before[3].id) == Deleted(messages=1, turns=1)
        assert (await talker.conversation(id)).head == before[2].id
        consistent(self.tables(folder))
        assert await store.delete_branch("local", path[0].id) == Deleted(conversations=1, messages=3, turns=1)
        assert await talker.conversations() == []

    async def test_a_branch_below_a_tombstone(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        id = await talker.talk("one", "two", "three", "four")
        path = await talker.path(id)
        await store.delete_message("local", path[2].id)
        assert await store.delete_branch("local", path[2].id) == Deleted(messages=1, turns=1)
        assert await talker.path(id) == path[:2]
        consistent(self.tables(folder))

    async def test_instructions_go_with_the_last_turn_that_had_them(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        for _ in range(2):
            admitted = await talker.admit([system("Be a canary."), user("hi")], "c")
            await talker.end(admitted.turn, "hello")
        (_, first) = await items(store, admitted.conversation)
        await store.delete_message("local", first.id)
        assert await store.last_instructions("local", admitted.conversation) == [
            Instruction(0, system("Be a canary."))
        ]
        await store.delete_conversation("local", admitted.conversation)
        assert not is_in(self.tables(folder), "canary")

    async def test_no_history_that_is_sent_again_finds_what_was_deleted(self, store: Store) -> None:
        talker = Talker(store)
        id = await talker.talk("one", "two", "three", "four")
        path = await talker.path(id)
        await store.delete_message("local", path[1].id)
        assert (await talker.admit([*talker.history[:2], user("new")])).conversation != id
        assert (
            await talker.admit([assistant("two"), user("three"), assistant("four"), user("x")])
        ).conversation != id

    async def test_an_exchange_with_a_gap_in_it_ties_no_history(self, store: Store) -> None:
        """The second hash of a reply is made of all of its exchange."""
        talker = Talker(store)
        id = await talker.talk("one", "two", "three", "four", "five", "six")
        cut = talker.history[4:]
        assert (await talker.admit([*cut, user("new")])).conversation == id
        path = await store.tree("local", id)
        await store.delete_message("local", path[4].id)
        assert (await talker.admit([*cut, user("newer")])).conversation != id

    async def test_what_hangs_below_a_tombstone_is_found_as_before(self, store: Store) -> None:
        """A client that still has the whole history goes on; what was deleted is not stored again."""
        talker = Talker(store)
        id = await talker.talk("one", "two", "three", "four")
        path = await talker.path(id)
        await store.delete_message("local", path[1].id)
        admitted = await talker.admit([*talker.history, user("five")])
        assert admitted.conversation == id
        assert await talker.texts(id) == ["one", "", "three", "four", "five"]

    async def test_a_turn_goes_with_its_reply_and_its_question(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        shots = [user("example"), assistant("like this")]
        admitted = await talker.admit([*shots, user("one")], "c")
        await talker.end(admitted.turn, "two")
        before = await talker.path(admitted.conversation)
        more = await talker.admit(
            [*shots, user("one"), assistant("two"), assistant("well"), user("three")], "c"
        )
        await talker.end(more.turn, "four")
        assert await store.delete_turn("local", more.turn) == Deleted(messages=3, turns=1)
        assert await talker.path(admitted.conversation) == before
        consistent(self.tables(folder))
        assert await store.delete_turn("local", admitted.turn) == Deleted(messages=4, turns=1)
        assert await store.tree("local", admitted.conversation) == []
        with pytest.raises(TurnNotFound):
            await store.delete_turn("local", admitted.turn)

    async def test_a_turn_beside_another_goes_alone(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        first = await talker.ask("hi", "hello")
        path = await talker.path(first.conversation)
        second = await talker.admit([], parent=path[0].id)
        await talker.end(second.turn, "hey")
        failed = await talker.admit([], parent=path[0].id)
        await talker.end(failed.turn, state=TurnState.FAILED)
        running = await talker.admit([], parent=path[0].id)
        assert await store.delete_turn("local", running.turn) == Deleted(turns=1)
        with pytest.raises(LeaseLost):
            await talker.end(running.turn, "too late")
        assert await store.delete_turn("local", failed.turn) == Deleted(turns=1)
        assert await store.delete_turn("local", second.turn) == Deleted(messages=1, turns=1)
        assert await store.tree("local", first.conversation) == path
        consistent(self.tables(folder))
        with pytest.raises(TurnNotFound):
            await store.delete_turn("other", first.turn)
        assert await store.delete_turn("local", first.turn) == Deleted(conversations=1, messages=2, turns=1)

    async def test_a_turn_that_others_hang_on_leaves_a_tombstone(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        first = await talker.ask("one", "two")
        await talker.ask("three", "four")
        for deleted in (1, 0):
            assert await store.delete_turn("local", first.turn) == Deleted(messages=deleted)
            assert await talker.texts(first.conversation) == ["one", "", "three", "four"]
        consistent(self.tables(folder))

    async def test_what_is_not_there_cannot_be_deleted(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        id = await talker.talk("hi", "hello", conversation="notes")
        message = (await talker.path(id))[0].id
        async with self.unchanged(folder):
            for owner, ref in (("other", message), ("local", id), ("local", "msg_nobodys"), ("local", "")):
                for delete in (store.delete_message, store.delete_branch):
                    with pytest.raises(MessageNotFound):
                        await delete(owner, ref)
            for owner, ref in (("other", id), ("local", "notes"), ("local", message)):
                with pytest.raises(ConversationNotFound):
                    await store.delete_conversation(owner, ref)
            assert await store.delete_end_user("local", "nobody") == Deleted()
            assert await store.delete_owner("nobody") == Deleted()


class DeletingMore(Part):
    async def test_a_conversation_goes_and_all_that_belongs_to_it(self, store: Store, folder: Path) -> None:
        kept = await Talker(store).talk("hi", "hello", conversation="kept")
        before = self.tables(folder)
        talker = Talker(store, end_user="canary ann")
        id = await talker.talk("canary", "canary", conversation="canary")
        attempt = Attempt(route="POST /", body=b"b", idempotency_key="canary")
        running = await talker.admit(
            [user("canary"), assistant("canary"), user("more")], "canary", attempt=attempt
        )
        await talker.log(running.turn, 0, "canary")
        assert await store.delete_conversation("local", id) == Deleted(conversations=1, messages=3, turns=2)
        assert _but_deletions(self.tables(folder)) == _but_deletions(before)
        for gone in (talker.log(running.turn, 1, "more"), talker.end(running.turn, "more")):
            with pytest.raises(LeaseLost):
                await gone
        assert [c.id for c in await talker.conversations()] == [kept]

    async def test_what_runs_and_waits_below_a_message_ends(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        id = await talker.talk("one", "two", conversation="c")
        path = await talker.path(id)
        beside = await talker.admit([user("else")], parent=path[0].id)
        await store.set_head("local", id, path[1].id)
        running = await talker.admit([user("three")], "c", at_head=True)
        waiting = await talker.admit([user("canary")], "c", at_head=True)
        assert (running.state, waiting.state) == (TurnState.RUNNING, TurnState.QUEUED)
        await store.delete_message("local", path[1].id)
        for turn in (running, waiting):
            with pytest.raises(LeaseLost):
                await talker.end(turn.turn, "answer")
        with pytest.raises(LeaseLost):
            await store.begin(waiting.turn, talker.lease)
        assert not is_in(self.tables(folder), "canary")
        await talker.end(beside.turn, "this is elsewhere")
        consistent(self.tables(folder))

    async def test_a_reply_that_goes_on_with_a_deleted_one_ends(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        cut = await talker.admit([user("hi")])
        await talker.end(cut.turn, "half a", TurnState.CANCELLED)
        (_, reply) = await items(store, cut.conversation)
        going_on = await talker.admit([], parent=reply.id)
        await store.delete_message("local", reply.id)
        with pytest.raises(LeaseLost):
            await talker.end(going_on.turn, "half a reply")
        consistent(self.tables(folder))

    async def test_a_reply_that_was_continued_goes_and_what_continued_it_stays(
        self, store: Store, folder: Path
    ) -> None:
        talker = Talker(store)
        cut = await talker.admit([user("hi")])
        await talker.end(cut.turn, "half a", TurnState.CANCELLED)
        (_, reply) = await items(store, cut.conversation)
        going_on = await talker.admit([], parent=reply.id)
        await talker.end(going_on.turn, "half a reply")
        assert await store.delete_message("local", reply.id) == Deleted(messages=1, turns=1)
        assert await talker.texts(cut.conversation) == ["hi", "half a reply"]
        consistent(self.tables(folder))

    async def test_an_end_user_goes(self, store: Store, folder: Path) -> None:
        await Talker(store, end_user="bob").talk("hi", "hello", "more", "sure")
        await Talker(store, "other", end_user="ann").talk("hi", "hello")
        before = self.tables(folder)
        for i in range(25):
            await Talker(store, end_user="ann").talk("hi", "hello", conversation=f"c{i}")
        await Talker(store, end_user="ann").admit([user("a task")], temporary=0)
        theirs = await store.conversations("local", end_user="ann", one_shots=True, temporary=True, limit=100)
        assert await store.conversations_of("local", "ann") == {c.id for c in theirs}
        assert len(theirs) == 26
        assert await store.conversations_of("local", "nobody") == set()
        assert await store.delete_end_user("local", "ann") == Deleted(conversations=26, messages=51, turns=26)
        assert _but_deletions(self.tables(folder)) == _but_deletions(before)

    async def test_an_owner_goes_with_keys_and_secret(self, store: Store, folder: Path) -> None:
        await Talker(store, "other").talk("hi", "hello")
        before = self.tables(folder)
        for i in range(22):
            await Talker(store, end_user=f"user {i % 3}").talk(f"{i}", "hello")
        key = NewApiKey(id="key_1", owner="local", name="n", hash=b"h", hint="hint", scopes=["read"])
        await store.add_api_key(key)
        roots = [await store.root_key("local", None), await store.root_key("local", "user 1")]
        assert await store.delete_owner("local") == Deleted(conversations=22, messages=44, turns=22)
        after = self.tables(folder)
        assert after | {"access": []} == before | {"access": [], "deletions": after["deletions"]}
        assert await store.api_key_of(b"h") is None
        assert await store.root_key("local", None) not in roots
        assert await store.root_key("local", "user 1") not in roots
        await Talker(store).talk("0", "hello", "more", "sure")
        consistent(self.tables(folder))

    async def test_each_deletion_is_on_record_without_what_it_was(self, store: Store, folder: Path) -> None:
        talker = Talker(store, end_user="canary")
        id = await talker.talk("canary", "canary", "canary", "canary", conversation="canary")
        path = await talker.path(id)
        await store.delete_message("local", path[0].id)
        await store.delete_branch("local", path[2].id)
        await store.delete_conversation("local", id)
        await Talker(store, end_user="canary").talk("canary", "canary")
        await store.delete_end_user("local", "canary")
        await Talker(store, end_user="canary").talk("canary", "canary")
        await store.delete_owner("local")
        rows = self.tables(folder)["deletions"]
        counts = ("what", "id", "conversations", "messages", "turns")
        assert [tuple(row[name] for name in counts) for row in rows] == [
            ("message", path[0].id, 0, 1, 0),
            ("branch", path[2].id, 0, 2, 1),
            ("conversation", id, 1, 1, 1),
            ("end_user", None, 1, 2, 1),
            ("owner", None, 1, 2, 1),
        ]
        assert all(row["scrubbed_at"] for row in rows)
        assert not is_in(self.tables(folder), "canary")


async def oldest(store: Store, before: int, **which: Any) -> tuple[int, list[str]]:
    count, shown = await store.aged(before, **which)
    return count, [conversation.id for conversation in shown]


def _but_deletions(tables: Tables) -> dict[str, Any]:
    return {name: rows for name, rows in tables.items() if name != "deletions"}


class Retention(Part):
    async def test_what_is_older_goes_and_nothing_else(self, store: Store, folder: Path) -> None:
        first = [await Talker(store).talk(f"{i}", "hello") for i in range(45)]
        theirs = await Talker(store, "other").talk("hi", "hello")
        assert await oldest(store, LAST, limit=100) == (46, [*first, theirs])
        newest = (await store.conversation("local", first[-1])).updated_at
        assert first[-1] not in (await oldest(store, newest, limit=100))[1]
        assert await oldest(store, LAST, owner="local", limit=2) == (45, first[:2])
        assert await oldest(store, LAST, limit=2) == (46, first[:2])
        assert await oldest(store, 0) == (0, [])
        async with self.unchanged(folder):
            assert await store.delete_aged(0) == Deleted()
        assert await store.delete_aged(LAST, owner="local") == Deleted(
            conversations=45, messages=90, turns=45
        )
        assert await oldest(store, LAST) == (1, [theirs])
        assert await store.delete_aged(LAST) == Deleted(conversations=1, messages=2, turns=1)

    async def test_where_a_turn_runs_nothing_is_too_old(self, store: Store) -> None:
        talker = Talker(store)
        running = await talker.admit([user("hi")], temporary=0)
        for _ in range(2):
            assert await store.aged(LAST) == (0, [])
            assert await store.delete_aged(LAST) == Deleted()
            assert await store.delete_expired(LAST) == Deleted()
        await talker.end(running.turn, "hello")
        assert await store.delete_expired(LAST) == Deleted(conversations=1, messages=2, turns=1)

    async def test_temporary_conversations_go_when_their_time_is_over(self, store: Store) -> None:
        kept = await Talker(store).talk("hi", "hello")
        gone = []
        for i in range(22):
            talker = Talker(store)
            admitted = await talker.admit([user(f"{i}")], temporary=3600)
            await talker.end(admitted.turn, "hello")
            gone.append(await talker.conversation(admitted.conversation))
        expiry = gone[-1].expires_at
        assert expiry is not None
        assert await store.delete_expired(expiry - 3600_000) == Deleted()
        assert await store.delete_expired(expiry + 1) == Deleted(conversations=22, messages=44, turns=22)
        assert [c.id for c in await Talker(store).conversations()] == [kept]

    async def test_requests_are_known_for_as_long_as_they_may_be_repeated(
        self, store: Store, folder: Path
    ) -> None:
        talker = Talker(store)
        for key in (None, "a key"):
            attempt = Attempt(route="POST /", body=b"b" + bytes(str(key), "ascii"), idempotency_key=key)
            await talker.admit([user("hi")], attempt=attempt)
        now = self.tables(folder)["attempts"][1]["created_at"]
        for later, left in (
            (0, 2),
            (15 * 60_000 - 1000, 2),
            (15 * 60_000 + 1000, 1),
            (DAY - 1000, 1),
            (DAY + 1000, 0),
        ):
            await store.delete_expired(now + later)
            assert len(self.tables(folder)["attempts"]) == left


Deed = tuple[str, int, int]
deeds = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "ask",
                "ask",
                "ask",
                "several",
                "several",
                "regenerate",
                "run",
                "make",
                "add",
                "title",
                "message",
                "message",
                "branch",
                "conversation",
            ]
        ),
        st.integers(0, 1 << 16),
        st.integers(0, 1 << 16),
    ),
    max_size=25,
)


class Forest:
    """Trees of two owners that grow at random places, and of which random pieces are deleted."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._talkers = [Talker(store), Talker(store, end_user="ann"), Talker(store, "other")]
        self._count = 0
        self.gone: list[str] = []

    async def do(self, deed: Deed) -> None:
        what, where, which = deed
        talker = self._talkers[where % len(self._talkers)]
        nodes = await self._nodes(talker)
        self._count += 1
        if what in ("ask", "several", "run"):
            await self._ask(talker, nodes, which, what)
            return
        if what == "make":
            words = [user(f"m{self._count}.")] if which % 2 else []
            await self._store.create_conversation(talker.owner, words, end_user=talker.end_user)
            return
        if not nodes:
            return
        conversation, node = nodes[which % len(nodes)]
        try:
            await self._change(what, talker, conversation, node)
        except PalaverError:
            assert node.deleted or what in ("regenerate", "add")

    async def _ask(self, talker: Talker, nodes: list[tuple[str, Item]], which: int, what: str) -> None:
        asked = [user(f"q{self._count}.") if which % 3 else _pictured(f"q{self._count}.", which)]
        tools = [Tool(name="f", description=f"t{which % 3}")] if which % 2 else []
        if nodes and which % 4:
            admitted = await talker.admit(asked, parent=nodes[which % len(nodes)][1].id, tools=tools)
        else:
            admitted = await talker.admit(asked, tools=tools)
        await self._show(talker, admitted.turn, which)
        if what == "run":
            return
        cut = TurnState.CANCELLED if which % 3 else TurnState.COMPLETED  # one that can be continued
        texts = [f"{letter}{self._count}." for letter in ("a" if what == "ask" else "abc")]
        if what == "several" and which % 5 < 3:
            texts[which % 5] = ""
        await talker.end_all(admitted.turn, *texts, state=cut)
        if which % 3:
            tree = await self._store.tree(talker.owner, admitted.conversation, limit=1000)
            await self._store.keep_counts(talker.owner, f"t{which % 2}", {item.id: which for item in tree})

    async def _show(self, talker: Talker, turn: str, which: int) -> None:
        """Of most turns note what they show: as the turn above, or something else."""
        if which % 5 < 4:
            prompt = await self._store.prompt(turn, talker.lease)
            epoch = prompt.above.epoch if prompt.above and which % 5 < 3 else new_epoch()
            await talker.show(turn, epoch, len(prompt.steps), warnings=[f"w{self._count}."])

    async def _change(self, what: str, talker: Talker, conversation: str, node: Item) -> None:
        store, owner = self._store, talker.owner
        if what == "regenerate":
            admitted = await talker.admit([], parent=node.id)
            await self._show(talker, admitted.turn, self._count)
            await talker.end(admitted.turn, f"r{self._count}.")
        elif what == "add":
            said = [user(f"n{self._count}."), assistant(f"s{self._count}.")]
            await store.add_items(owner, conversation, said)
        elif what == "title":
            title = f"called {self._count}" if self._count % 3 else ""
            await store.update_conversation(owner, conversation, title=title)
        elif what == "message":
            text = node.message.text
            await store.delete_message(owner, node.id)
            self.gone.append(text)
        elif what == "branch":
            await store.delete_branch(owner, node.id)
        else:
            await store.delete_conversation(owner, conversation)

    async def _nodes(self, talker: Talker) -> list[tuple[str, Item]]:
        found = await self._store.conversations(
            talker.owner, end_user=talker.end_user, one_shots=True, limit=100
        )
        own = [c.id for c in found if c.end_user == talker.end_user]
        return [(id, item) for id in own for item in await self._store.tree(talker.owner, id, limit=1000)]


def _pictured(text: str, which: int) -> Message:
    """A question with one of two pictures."""
    return Message("user", [TextPart(text), ImagePart(ImageUrl(f"data:;base64,{'AB'[which // 3 % 2] * 4}"))])


class Felling(Part):
    @settings(max_examples=40, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])
    @given(deeds)
    def test_what_stays_is_whole(self, what_is_done: list[Deed]) -> None:
        async def run(folder: Path) -> None:
            async with self.opened(folder) as store:
                forest = Forest(store)
                for deed in what_is_done:
                    before = self.tables(folder)
                    await forest.do(deed)
                    after = self.tables(folder)
                    consistent(after)
                    if deed[0] in ("message", "branch", "conversation"):
                        _nothing_else_changed(before, after)
                await _no_resend_matches(store, forest.gone, self.tables(folder))

        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(run(Path(folder)))


def _nothing_else_changed(before: Tables, after: Tables) -> None:
    """Messages that are there still are as they were, but for tombstones and second hashes; other owners' rows
    are untouched."""
    was = {row["seq"]: row for row in before["messages"]}
    gone = was.keys() - {row["seq"] for row in after["messages"]}
    for row in after["messages"]:
        if row["deleted_at"] is None:
            assert row | {"tail": None} == was[row["seq"]] | {"tail": None}
            assert row["tail"] in (None, was[row["seq"]]["tail"])
            assert row["parent"] not in gone
    touched = {was[seq]["conversation"] for seq in gone}
    touched |= {row["conversation"] for row in after["messages"] if row != was[row["seq"]]}
    assert len(touched) <= 1
    for name in ("conversations", "turns"):
        column = "seq" if name == "conversations" else "conversation"
        kept = {row["seq"]: row for row in after[name]}
        for row in before[name]:
            assert row[column] in touched or kept[row["seq"]] == row


async def _no_resend_matches(store: Store, gone: list[str], tables: Tables) -> None:
    words = json.dumps([row["body"] for row in tables["messages"]])
    for text in gone:
        assert not text or text not in words
    root = await store.root_key("local", None)
    keys = {key for text in gone for key in read_history([user(text)], root).keys}
    assert not keys & {row["key"] for row in tables["messages"] if row["deleted_at"]}
