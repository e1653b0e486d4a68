"""The contract: conversations that a request names, and who may."""

from __future__ import annotations

from pathlib import Path

import pytest

from palaver.core.errors import ConversationNotFound
from palaver.stores.base import Store
from tests.stores.contract_base import Part
from tests.stores.talking import Talker, assistant, user

NOBODYS = "conv_01arz3ndektsv4rrffq69g5fav"


class Naming(Part):
    async def test_a_name_that_is_new_makes_a_conversation(self, store: Store) -> None:
        talker = Talker(store)
        admitted = await talker.admit([user("hi")], "notes")
        found = await store.conversation("local", "notes")
        assert (found.id, found.name, found.one_shot) == (admitted.conversation, "notes", False)
        assert (await talker.admit([user("else")], "notes")).conversation == admitted.conversation

    async def test_a_chore_under_its_name_does_not_take_the_place_of_a_conversation(
        self, store: Store
    ) -> None:
        talker = Talker(store)
        conversation = await talker.talk("u1", "a1", conversation="notes")
        chore = await talker.admit([user("### Task: find a title")], "notes")
        await talker.end(chore.turn, "A title")
        assert chore.conversation == conversation
        assert [item.message.text for item in await talker.path(conversation)] == ["u1", "a1"]

    async def test_a_task_that_comes_first_leaves_the_conversation_to_what_follows(
        self, store: Store
    ) -> None:
        talker = Talker(store)
        task = await talker.admit([user("### Task: find a title")], "notes", is_task=True)
        await talker.end(task.turn, "A title")
        begun = await store.conversation("local", "notes")
        assert (begun.head, begun.title, begun.messages, begun.one_shot) == (None, None, 0, True)
        conversation = await talker.talk("u1", "a1", conversation="notes")
        assert conversation == task.conversation
        assert [item.message.text for item in await talker.path(conversation)] == ["u1", "a1"]
        found = await store.conversation("local", "notes")
        assert (found.title, found.one_shot) == ("u1", False)

    async def test_a_first_message_edited_counts_once_it_is_gone_on_from(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await talker.talk("u1", "a1", conversation="notes")
        edited = await talker.admit([user("u1, but better")], "notes")
        await talker.end(edited.turn, "b1")
        on = await talker.admit([user("u1, but better"), assistant("b1"), user("u2")], "notes")
        await talker.end(on.turn, "b2")
        path = [item.message.text for item in await talker.path(conversation)]
        assert path == ["u1, but better", "b1", "u2", "b2"]

    @pytest.mark.parametrize("mistyped", ["conv_", "conv_short"])
    async def test_what_begins_like_an_id_is_no_name(self, store: Store, mistyped: str) -> None:
        with pytest.raises(ConversationNotFound):
            await Talker(store).admit([user("hi")], mistyped)

    @pytest.mark.parametrize("name", ["notes", "conv", "a 'quoted\" name; --", "\N{SNOWMAN} \0", "x" * 5000])
    async def test_any_text_is_a_name(self, store: Store, name: str) -> None:
        admitted = await Talker(store).admit([user("hi")], name)
        assert (await store.conversation("local", name)).id == admitted.conversation
        assert [c.name for c in await store.conversations("local", name=name)] == [name]

    async def test_a_name_belongs_to_its_owner_and_end_user(self, store: Store) -> None:
        speakers = [
            Talker(store),
            Talker(store, end_user="ann"),
            Talker(store, end_user=""),
            Talker(store, "other"),
        ]
        ids = [(await speaker.admit([user("hi")], "notes")).conversation for speaker in speakers]
        assert len(set(ids)) == 4
        for speaker, id in zip(speakers, ids, strict=True):
            assert (await store.conversation(speaker.owner, "notes", speaker.end_user)).id == id

    async def test_what_stands_in_a_named_one_ties_whoever_wrote_it(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        history = [user("hi"), assistant("not of ours"), user("more")]
        first = await talker.admit(history, "notes")
        second = await talker.admit([*history[:2], user("else")], "notes")
        assert second.conversation == first.conversation
        assert len(self.tables(folder)["messages"]) == 4
        assert await talker.texts(first.conversation) == ["hi", "not of ours", "else"]

    async def test_by_id(self, store: Store) -> None:
        talker = Talker(store)
        conversation = await talker.talk("hi", "hello")
        admitted = await talker.admit([user("hi"), assistant("hello"), user("more")], conversation)
        assert admitted.conversation == conversation
        assert not (await talker.conversation(conversation)).one_shot
        named = await Talker(store).talk("hi", "hello", conversation="notes")
        assert (await talker.admit([user("hi")], named)).conversation == named

    async def test_a_named_one_is_kept_out_of_by_content(self, store: Store) -> None:
        """Named, a request goes nowhere else, even where another conversation fits it better."""
        talker = Talker(store)
        conversation = await talker.talk("hi", "hello")
        named = await talker.admit([*talker.history, user("more")], "notes")
        assert named.conversation != conversation
        assert await talker.texts(named.conversation) == ["hi", "hello", "more"]

    async def test_a_window_that_slides_over_it_stays_in_it(self, store: Store) -> None:
        """Another conversation ends just so, too; the name says which is meant."""
        talker = Talker(store)
        conversation = await talker.talk("1", "one", "2", "two", conversation="notes")
        await Talker(store).talk("uno", "one", "2", "two")
        admitted = await talker.admit([*talker.history[2:], user("3")], "notes")
        assert admitted.conversation == conversation
        assert (await store.turn("local", admitted.turn)).gap == (0, 2)

    async def test_an_id_that_nobody_has(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        await talker.admit([user("hi")])
        async with self.unchanged(folder):
            with pytest.raises(ConversationNotFound) as caught:
                await talker.admit([user("hi")], NOBODYS)
        assert caught.value.param == "conversation"

    async def test_another_owners_id(self, store: Store, folder: Path) -> None:
        theirs = await Talker(store, "other").talk("hi", "hello")
        await Talker(store).admit([user("hi")])
        async with self.unchanged(folder):
            with pytest.raises(ConversationNotFound):
                await Talker(store).admit([user("hi")], theirs)

    @pytest.mark.parametrize("whose", ["", "ann"])
    async def test_another_end_users_id(self, store: Store, folder: Path, whose: str | None) -> None:
        theirs = await Talker(store, end_user=whose).talk("hi", "hello")
        await Talker(store, end_user="bob").admit([user("hi")])
        async with self.unchanged(folder):
            with pytest.raises(ConversationNotFound):
                await Talker(store, end_user="bob").admit([user("hi")], theirs)

    async def test_what_is_nobodys_is_open_to_end_users_and_stays_nobodys(self, store: Store) -> None:
        """Conversations are often made before anybody speaks in them."""
        nobody, bob = Talker(store), Talker(store, end_user="bob")
        conversation = await nobody.talk("hi", "hello")
        admitted = await bob.admit([user("more")], conversation, at_head=True)
        assert admitted.conversation == conversation
        await bob.end(admitted.turn, "sure")
        below = await bob.admit([user("aside")], parent=(await nobody.path(conversation))[1].id)
        await bob.end(below.turn, "yes")
        assert (await store.conversation("local", conversation)).end_user is None
        nobody.history += [user("more"), assistant("sure")]
        assert (await nobody.ask("on", "well")).conversation == conversation
        assert (await bob.ask("hi", "hello")).conversation != conversation  # found by content is his own only

    async def test_who_names_no_end_user_may_go_on_with_anyones(self, store: Store, folder: Path) -> None:
        """A tool of the operator's continues ann's conversation: her words are matched, and stay hers."""
        ann = Talker(store, end_user="ann")
        conversation = await ann.talk("hi", "hello")
        tool = Talker(store)
        admitted = await tool.admit([*ann.history, user("more")], conversation)
        assert admitted.conversation == conversation
        await tool.end(admitted.turn, "sure")
        assert len(self.tables(folder)["messages"]) == 4
        ann.history += [user("more"), assistant("sure")]
        assert (await ann.ask("on", "yes")).conversation == conversation
        assert await ann.texts(conversation) == ["hi", "hello", "more", "sure", "on", "yes"]
        cut = await ann.admit([*ann.history[2:4], user("back")])
        assert (await store.turn("local", cut.turn)).gap == (0, 2)

    async def test_reading_by_id_needs_no_end_user_and_by_name_does(self, store: Store) -> None:
        admitted = await Talker(store, end_user="ann").admit([user("hi")], "notes")
        assert (await store.conversation("local", admitted.conversation)).end_user == "ann"
        assert (await store.conversation("local", "notes", "ann")).id == admitted.conversation
        for end_user in (None, "", "bob"):
            with pytest.raises(ConversationNotFound):
                await store.conversation("local", "notes", end_user)

    async def test_who_names_an_end_user_does_not_read_anothers_id(self, store: Store) -> None:
        ann = await Talker(store, end_user="ann").talk("hi", "hello")
        nobodys = await Talker(store).talk("hi", "hello")
        await Talker(store, end_user="bob").admit([user("hi")])
        assert (await store.conversation("local", ann, "ann")).id == ann
        assert (await store.conversation("local", nobodys, "bob")).id == nobodys
        with pytest.raises(ConversationNotFound):
            await store.conversation("local", ann, "bob")
