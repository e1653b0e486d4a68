"""The contract: two owners. Nothing of one is there for the other, whatever verb and id is used."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from palaver.core.errors import (
    ApiKeyNotFound,
    AttachmentNotFound,
    ConversationNotFound,
    InvalidRequest,
    LeaseLost,
    MessageNotFound,
    NotFound,
    TurnNotFound,
)
from palaver.core.message import ImagePart, ImageUrl, Message, TextPart, hash_of
from palaver.core.searching import read_query
from palaver.core.turn import TurnState
from palaver.core.window_settings import WindowSettings
from palaver.stores.base import Deleted, Ending, Matches, Scope, Store, VectorsOf
from tests.stores.contract_base import Part
from tests.stores.contract_keys import new_key
from tests.stores.talking import Talker, assistant, new_epoch, receipt_in, user

OWNER = "ann"
OTHER = "bob"
END_USERS = (None, "eve")
TOKENIZER = "t1"
HASH = hash_of(bytes(3))
WORDS = read_query("u1 a1 u2 a2")
FUTURE = 1 << 45
"""Milliseconds since 1970: later than everything."""


class Hers(msgspec.Struct):
    """What the one owner has, by everything that it can be named with."""

    conversation: str
    messages: list[str]
    turn: str
    running: str
    api_key: str
    epoch: str
    attachment: str
    summary: str


async def made(store: Store, end_user: str | None = "eve") -> Hers:
    """A conversation with a name, one turn of it still running, messages that are counted, and a key."""
    talker = Talker(store, OWNER, end_user)
    epoch = new_epoch()
    conversation = (await talker.say("u1", "a1", "notes", epoch=epoch)).conversation
    await talker.talk("u2", "a2", conversation="notes")
    picture = ImagePart(ImageUrl("data:image/png;base64,AAAA"))
    running = await talker.admit([*talker.history, Message("user", [TextPart("u3"), picture])], "notes")
    await talker.show(running.turn, epoch, 5)
    items = await store.items(OWNER, conversation, order="asc", limit=100)
    await store.keep_counts(OWNER, TOKENIZER, {item.id: 7 for item in items})
    turn = items[1].turn
    assert turn is not None
    embedder = await store.embedder("small", 4)
    await store.keep_vectors(embedder.number, {item.id: bytes(4) for item in items})
    summary = await store.add_summary(OWNER, conversation, items[0].id, "Of u1.", model=None, living=1)
    assert summary is not None
    await store.add_api_key(new_key("key_hers", OWNER))
    messages = [item.id for item in items]
    return Hers(conversation, messages, turn, running.turn, "key_hers", epoch.id, HASH, summary.id)


Call = Callable[[Store, Hers], Awaitable[Any]]
CALLS: dict[str, list[tuple[Call, object]]] = {
    "root_key": [],  # hers alone, see below
    "conversations": [
        (lambda s, h: s.conversations(OTHER, one_shots=True, temporary=True), []),
        (lambda s, h: s.conversations(OTHER, end_user="eve"), []),
        (lambda s, h: s.conversations(OTHER, name="notes"), []),
        (lambda s, h: s.conversations(OTHER, after=h.conversation), ConversationNotFound),
    ],
    "conversation": [
        (lambda s, h: s.conversation(OTHER, h.conversation), ConversationNotFound),
        (lambda s, h: s.conversation(OTHER, h.conversation, "eve"), ConversationNotFound),
        (lambda s, h: s.conversation(OTHER, "notes", "eve"), ConversationNotFound),
    ],
    "items": [
        (lambda s, h: s.items(OTHER, h.conversation), ConversationNotFound),
        (lambda s, h: s.items(OTHER, h.conversation, to=h.messages[0]), ConversationNotFound),
        (lambda s, h: s.items(OTHER, h.conversation, after=h.messages[0], order="asc"), ConversationNotFound),
    ],
    "message": [(lambda s, h: s.message(OTHER, h.conversation, h.messages[0]), ConversationNotFound)],
    "messages": [
        (lambda s, h: s.messages(OTHER, h.messages), []),
        (lambda s, h: s.messages(OTHER, h.messages, end_user="eve"), []),
    ],
    "create_conversation": [],  # names nothing of hers; `contract_conversations` has two owners with one name
    "add_items": [(lambda s, h: s.add_items(OTHER, h.conversation, [user("u4")]), ConversationNotFound)],
    "update_conversation": [
        (lambda s, h: s.update_conversation(OTHER, h.conversation, title="x"), ConversationNotFound),
        (lambda s, h: s.update_conversation(OTHER, "notes", metadata={"a": "b"}), ConversationNotFound),
        (lambda s, h: s.update_conversation(OTHER, h.conversation, expires_in=1), ConversationNotFound),
        (lambda s, h: s.update_conversation(OTHER, h.conversation, pinned=True), ConversationNotFound),
    ],
    "turn": [
        (lambda s, h: s.turn(OTHER, h.turn), TurnNotFound),
        (lambda s, h: s.turn(OTHER, h.running), TurnNotFound),
    ],
    "turn_input": [
        (lambda s, h: s.turn_input(OTHER, h.turn), TurnNotFound),
        (lambda s, h: s.turn_input(OTHER, h.running), TurnNotFound),
    ],
    "turns": [
        (lambda s, h: s.turns(OTHER, door="chat.completions"), []),
        (lambda s, h: s.turns(OTHER, door="chat.completions", after=h.turn), InvalidRequest),
    ],
    "update_turn": [(lambda s, h: s.update_turn(OTHER, h.turn, {"a": "b"}), TurnNotFound)],
    "titled_by_words": [(lambda s, h: s.titled_by_words(OTHER, h.conversation), ConversationNotFound)],
    "set_model_title": [
        (lambda s, h: s.set_model_title(OTHER, h.conversation, "x", h.messages[0]), ConversationNotFound)
    ],
    "opening": [(lambda s, h: s.opening(OTHER, h.messages[0]), MessageNotFound)],
    "path": [
        (lambda s, h: s.path(OTHER, h.messages[0]), MessageNotFound),
        (lambda s, h: s.path(OTHER, h.messages[-1], 2), MessageNotFound),
    ],
    "counts": [(lambda s, h: s.counts(OTHER, TOKENIZER, h.messages), {})],
    "keep_counts": [(lambda s, h: s.keep_counts(OTHER, TOKENIZER, dict.fromkeys(h.messages, 8)), None)],
    "epochs": [
        (lambda s, h: s.epochs(OTHER, h.conversation), ConversationNotFound),
        (lambda s, h: s.epochs(OTHER, h.conversation, after=h.epoch), ConversationNotFound),
    ],
    "set_window": [
        (lambda s, h: s.set_window(OTHER, h.conversation, WindowSettings(mode="auto")), ConversationNotFound),
        (lambda s, h: s.set_window(OTHER, h.conversation, None), ConversationNotFound),
    ],
    "attachment": [(lambda s, h: s.attachment(OTHER, h.attachment), AttachmentNotFound)],
    "attachments": [(lambda s, h: s.attachments(OTHER, [h.attachment]), {})],
    "vectors": [
        (lambda s, h: s.vectors(OTHER, 1, Scope(), numbers=range(100)), VectorsOf([], b"")),
        (lambda s, h: s.vectors(OTHER, 1, Scope(conversation=h.conversation)), ConversationNotFound),
    ],
    "numbered": [(lambda s, h: s.numbered(OTHER, range(100)), [])],
    "search": [
        (lambda s, h: s.search(OTHER, WORDS, Scope(until=0)), Matches([], 0)),
        (lambda s, h: s.search(OTHER, WORDS, Scope(conversation=h.conversation)), ConversationNotFound),
    ],
    "latest": [
        (lambda s, h: s.latest(OTHER, WORDS, Scope(until=0)), Matches([], 0)),
        (lambda s, h: s.latest(OTHER, WORDS, Scope(conversation=h.conversation)), ConversationNotFound),
    ],
    "latest_titles": [(lambda s, h: s.latest_titles(OTHER, WORDS, Scope()), [])],
    "search_titles": [(lambda s, h: s.search_titles(OTHER, WORDS, Scope()), [])],
    "excerpts": [(lambda s, h: s.excerpts(OTHER, WORDS, h.messages), {})],
    "conversation_names": [(lambda s, h: s.conversation_names(OTHER, [h.conversation]), {})],
    "on_path": [(lambda s, h: s.on_path(OTHER, h.messages[-1], h.messages), MessageNotFound)],
    "summaries": [(lambda s, h: s.summaries(OTHER, h.conversation), ConversationNotFound)],
    "summary": [(lambda s, h: s.summary(OTHER, h.conversation, h.summary), NotFound)],
    "add_summary": [
        (
            lambda s, h: s.add_summary(OTHER, h.conversation, h.messages[0], "x", model=None, living=1),
            NotFound,
        )
    ],
    "edit_summary": [(lambda s, h: s.edit_summary(OTHER, h.conversation, h.summary, "x"), NotFound)],
    "switch_summary": [
        (lambda s, h: s.switch_summary(OTHER, h.conversation, h.summary, is_off=True), NotFound)
    ],
    "delete_summary": [(lambda s, h: s.delete_summary(OTHER, h.conversation, h.summary), NotFound)],
    "last_instructions": [(lambda s, h: s.last_instructions(OTHER, h.conversation), ConversationNotFound)],
    "tree": [(lambda s, h: s.tree(OTHER, h.conversation), ConversationNotFound)],
    "leaves": [(lambda s, h: s.leaves(OTHER, h.conversation), ConversationNotFound)],
    "map": [(lambda s, h: s.map(OTHER, h.conversation), ConversationNotFound)],
    "open_turns": [(lambda s, h: s.open_turns(OTHER, h.conversation), ConversationNotFound)],
    "siblings": [(lambda s, h: s.siblings(OTHER, h.messages), {})],
    "figures": [(lambda s, h: s.figures(OTHER, [h.turn, h.running]), {})],
    "set_head": [(lambda s, h: s.set_head(OTHER, h.conversation, h.messages[0]), ConversationNotFound)],
    "fork": [
        (lambda s, h: s.fork(OTHER, h.conversation), ConversationNotFound),
        (lambda s, h: s.fork(OTHER, h.conversation, h.messages[0]), ConversationNotFound),
    ],
    "delete_message": [(lambda s, h: s.delete_message(OTHER, h.messages[1]), MessageNotFound)],
    "delete_branch": [(lambda s, h: s.delete_branch(OTHER, h.messages[1]), MessageNotFound)],
    "delete_turn": [
        (lambda s, h: s.delete_turn(OTHER, h.turn), TurnNotFound),
        (lambda s, h: s.delete_turn(OTHER, h.running), TurnNotFound),
    ],
    "delete_conversation": [
        (lambda s, h: s.delete_conversation(OTHER, h.conversation), ConversationNotFound)
    ],
    "delete_end_user": [(lambda s, h: s.delete_end_user(OTHER, "eve"), Deleted())],
    "delete_owner": [(lambda s, h: s.delete_owner(OTHER), Deleted())],
    "conversations_of": [(lambda s, h: s.conversations_of(OTHER, "eve"), set())],
    "aged": [(lambda s, h: s.aged(FUTURE, owner=OTHER), (0, []))],
    "delete_aged": [(lambda s, h: s.delete_aged(FUTURE, owner=OTHER), Deleted())],
    "api_keys": [(lambda s, h: s.api_keys(OTHER), [])],
    "revoke_api_key": [(lambda s, h: s.revoke_api_key(h.api_key, OTHER), ApiKeyNotFound)],
}
"""Every verb that takes an owner, called for the other with her ids, and what must come of it."""

IN_THE_STORE = (
    "conversations",
    "messages",
    "turns",
    "choices",
    "turn_log",
    "instructions",
    "toolsets",
    "attempts",
    "api_keys",
    "epochs",
    "message_counts",
    "attachments",
    "message_attachments",
    "message_vectors",
    "summaries",
)


class OwnersApart(Part):
    def test_every_verb_that_takes_an_owner_is_called(self) -> None:
        verbs = {
            name
            for name, verb in inspect.getmembers(Store, inspect.isfunction)
            if not name.startswith("_") and "owner" in inspect.signature(verb).parameters
        }
        assert verbs == set(CALLS)

    @pytest.mark.parametrize("verb", CALLS)
    async def test_a_verb_with_the_ids_of_another_finds_nothing_and_changes_nothing(
        self, store: Store, folder: Path, verb: str
    ) -> None:
        hers = await made(store)
        before = self.tables(folder)
        for call, outcome in CALLS[verb]:
            if isinstance(outcome, type) and issubclass(outcome, NotFound | InvalidRequest):
                with pytest.raises(outcome):
                    await call(store, hers)
            else:
                assert await call(store, hers) == outcome
        after = self.tables(folder)
        assert {name: after[name] for name in IN_THE_STORE} == {name: before[name] for name in IN_THE_STORE}

    async def test_keys_of_owners_begin_in_secrets_of_their_own(self, store: Store) -> None:
        assert await store.root_key(OWNER, "eve") != await store.root_key(OTHER, "eve")

    @pytest.mark.parametrize("end_user", END_USERS)
    async def test_the_same_words_of_two_owners_never_meet(self, store: Store, end_user: str | None) -> None:
        hers = await made(store, end_user)
        other = Talker(store, OTHER, end_user)
        same = [user("u1"), assistant("a1"), user("u2")]
        foreseen = await other.foresee(same)
        assert foreseen.above is None
        assert [step.id for step in foreseen.steps] == ["", "", ""]
        conversations = {await other.talk("u1", "a1", "u2", "a2"), await other.talk("u3", "a3")}
        assert hers.conversation not in conversations
        assert len(await store.items(OWNER, hers.conversation, limit=100)) == 5

    @pytest.mark.parametrize("end_user", END_USERS)
    async def test_a_name_of_another_is_a_name_of_ones_own(self, store: Store, end_user: str | None) -> None:
        hers = await made(store, end_user)
        admitted = await Talker(store, OTHER, end_user).admit([user("u1")], "notes")
        assert admitted.conversation != hers.conversation

    @pytest.mark.parametrize("end_user", END_USERS)
    async def test_no_turn_is_admitted_to_what_is_anothers(
        self, store: Store, folder: Path, end_user: str | None
    ) -> None:
        hers = await made(store, end_user)
        other = Talker(store, OTHER, end_user)
        await store.root_key(OTHER, end_user)
        async with self.unchanged(folder):
            for ask in (other.admit, other.foresee):
                with pytest.raises(ConversationNotFound):
                    await ask([user("hi")], hers.conversation)
                with pytest.raises(ConversationNotFound):
                    await ask([user("hi")], hers.conversation, at_head=True)
                for message in hers.messages:
                    with pytest.raises(MessageNotFound):
                        await ask([user("hi")], parent=message)

    async def test_a_running_turn_is_nobodys_without_its_lease(self, store: Store, folder: Path) -> None:
        hers = await made(store)
        async with self.unchanged(folder):
            with pytest.raises(LeaseLost):
                await store.begin(hers.running, "lease_2")
            with pytest.raises(LeaseLost):
                await store.log(hers.running, "lease_2", 0, [])
            with pytest.raises(LeaseLost):
                await store.note_window(hers.running, "lease_2", epoch := new_epoch(), receipt_in(epoch, 5))
            with pytest.raises(LeaseLost):
                await store.finish(Ending(turn=hers.running, lease="lease_2", state=TurnState.COMPLETED))
