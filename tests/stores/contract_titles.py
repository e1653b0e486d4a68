"""The contract: titles that a model makes, in the place of the first words."""

from __future__ import annotations

from pathlib import Path

import pytest

from palaver.core.errors import ConversationNotFound
from palaver.stores.base import Store
from tests.stores.contract_base import Part
from tests.stores.contract_deletion import is_in
from tests.stores.contract_naming import NOBODYS
from tests.stores.talking import Talker, assistant, user


async def question_of(store: Store, conversation: str) -> str:
    item = await store.titled_by_words("local", conversation)
    assert item is not None
    return item.id


class Titles(Part):
    async def test_the_first_words_tell_what_they_are_of(self, store: Store) -> None:
        talker = Talker(store)
        id = await talker.talk("How do I bake\n bread?", "Slowly.", "Thanks", "Sure", conversation="c")
        item = await store.titled_by_words("local", id)
        assert item == (await talker.path(id))[0]
        found = await talker.conversation(id)
        assert (found.title, found.titled_by) == ("How do I bake bread?", "words")

    async def test_a_models_title_takes_their_place(self, store: Store) -> None:
        talker = Talker(store)
        id = await talker.talk("How do I bake bread?", "Slowly.", conversation="c")
        other = await Talker(store).talk("Later", "on", conversation="d")
        before = await talker.conversation(id)
        assert await store.set_model_title("local", id, "Baking bread", await question_of(store, id))
        found = await talker.conversation(id)
        assert (found.title, found.titled_by) == ("Baking bread", "model")
        assert found.updated_at == before.updated_at
        assert [c.id for c in await store.conversations("local")] == [other, id]
        assert await store.titled_by_words("local", id) is None
        await talker.talk("What of rye?", "Longer.", conversation="c")
        assert (await talker.conversation(id)).title == "Baking bread"

    async def test_only_where_they_still_are_the_title(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        id = await talker.talk("one", "re one", "two", "re two", conversation="c")
        elsewhere = await Talker(store).talk("one", "re one", conversation="d")
        path = await talker.path(id)
        async with self.unchanged(folder):
            for message in (path[1].id, path[2].id, await question_of(store, elsewhere), "msg_", ""):
                assert not await store.set_model_title("local", id, "x", message)
        assert await store.set_model_title("local", id, "x", path[0].id)
        async with self.unchanged(folder):
            assert not await store.set_model_title("local", id, "y", path[0].id)

    async def test_chores_and_what_goes_by_itself_get_none(self, store: Store) -> None:
        task = await Talker(store).talk("Give this a title.", "A title")
        passing = await Talker(store).admit([user("hi")], "c", temporary=3600)
        nothing = await Talker(store).admit([assistant("Welcome.")], "d")
        for id in (task, passing.conversation, nothing.conversation):
            assert await store.titled_by_words("local", id) is None
        assert (await store.conversation("local", nothing.conversation)).titled_by is None

    async def test_it_goes_with_its_question(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        id = await talker.talk("one", "re one", conversation="c")
        question = await question_of(store, id)
        await store.set_model_title("local", id, "canary title", question)
        assert is_in(self.tables(folder), "canary title")
        await store.delete_message("local", question)
        found = await talker.conversation(id)
        assert (found.title, found.titled_by) == (None, None)
        assert not is_in(self.tables(folder), "canary title")
        assert not await store.set_model_title("local", id, "canary title", question)
        await talker.admit([user("two")], "c", at_head=True)
        found = await talker.conversation(id)
        assert (found.title, found.titled_by) == ("two", "words")

    async def test_a_fork_takes_it_over_and_keeps_it(self, store: Store) -> None:
        talker = Talker(store)
        id = await talker.talk("one", "re one", "two", "re two", conversation="c")
        question = await question_of(store, id)
        await store.set_model_title("local", id, "Of one", question)
        fork = await store.fork("local", id)
        assert (fork.title, fork.titled_by) == ("Of one", "model")
        await store.delete_message("local", question)
        assert (await talker.conversation(fork.id)).title == "Of one"
        copy = (await talker.path(fork.id))[0]
        await store.delete_message("local", copy.id)
        assert (await talker.conversation(fork.id)).title is None

    async def test_a_fork_of_another_branch_has_words_of_its_own(self, store: Store) -> None:
        talker = Talker(store)
        id = await talker.talk("one", "re one", conversation="c")
        await store.set_model_title("local", id, "Of one", await question_of(store, id))
        branch = await talker.admit([user("else")], "c")
        assert [m.text for m in branch.messages] == ["else"]
        fork = await store.fork("local", id, (await store.tree("local", id))[-1].id)
        assert (fork.title, fork.titled_by) == ("else", "words")

    async def test_another_owners_are_not_found(self, store: Store, folder: Path) -> None:
        id = await Talker(store).talk("one", "re one", conversation="c")
        question = await question_of(store, id)
        async with self.unchanged(folder):
            for owner, ref in (("other", id), ("nobody", "c"), ("local", NOBODYS)):
                with pytest.raises(ConversationNotFound):
                    await store.titled_by_words(owner, ref)
                with pytest.raises(ConversationNotFound):
                    await store.set_model_title(owner, ref, "x", question)
