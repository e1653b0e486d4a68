"""The contract: attachments are stored once for their owner, read back whole for models, and go with their messages."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from palaver.core.attachments import attachments_of, parted
from palaver.core.errors import AttachmentNotFound
from palaver.core.message import (
    AudioData,
    AudioPart,
    FileData,
    FilePart,
    ImagePart,
    ImageUrl,
    Message,
    Part,
    TextPart,
    hash_of,
)
from palaver.core.turn import TurnState
from palaver.stores.base import Store
from tests.stores.contract_base import Part as ContractPart
from tests.stores.contract_sequences import consistent
from tests.stores.talking import Talker, assistant, user

CAT, DOG = b"a picture of a cat" * 100, b"a picture of a dog"
LATER = 1 << 50
"""After all times."""


def data_url(raw: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(raw).decode()


def picture(raw: bytes, text: str = "What is this?") -> Message:
    return with_part(ImagePart(ImageUrl(data_url(raw))), text)


def with_part(part: Part, text: str = "What is this?") -> Message:
    return Message("user", [TextPart(text), part])


async def answered(talker: Talker, *messages: Message, **more: Any) -> str:
    """Ask with this history and be answered; the conversation."""
    told = await talker.admit(messages, **more)
    await talker.end(told.turn, "I see.")
    return told.conversation


class Attachments(ContractPart):
    async def test_a_picture_that_is_resent_a_hundred_times_is_stored_once(
        self, store: Store, folder: Path
    ) -> None:
        talker = Talker(store)
        talker.history = [picture(CAT), assistant("A cat."), picture(CAT, "Are you sure?")]
        for i in range(100):
            told = await talker.admit(talker.history)
            assert told.messages == talker.history
            await talker.end(told.turn, f"Yes, {i}.")
            talker.history += [assistant(f"Yes, {i}."), user(f"Really, {i}?")]
        tables = self.tables(folder)
        consistent(tables)
        assert [row["bytes"] for row in tables["attachments"]] == [CAT]
        assert len(tables["message_attachments"]) == 2
        assert sum(len(row["body"]) for row in tables["messages"]) < 100 * 200
        assert [c.messages for c in await talker.conversations()] == [202]

    async def test_it_is_stored_once_for_each_owner(self, store: Store, folder: Path) -> None:
        for owner, end_user in (("local", None), ("local", "ann"), ("other", None), ("other", "ann")):
            await answered(Talker(store, owner, end_user), picture(CAT), assistant("So?"), picture(DOG))
        tables = self.tables(folder)
        consistent(tables)
        assert sorted(row["bytes"] for row in tables["attachments"]) == sorted(2 * [CAT, DOG])
        assert len({(row["owner"], row["hash"]) for row in tables["attachments"]}) == 4
        assert len(tables["message_attachments"]) == 8

    async def test_models_see_the_bytes_and_lists_the_references(self, store: Store) -> None:
        talker, asked = Talker(store), picture(CAT)
        referring = parted(asked)[0]
        assert referring != asked
        id = await answered(talker, asked)
        [question, reply] = await talker.path(id)
        assert question.message == referring
        assert [item.message for item in await store.tree("local", id)] == [referring, reply.message]
        assert (await store.leaves("local", id)) == [reply]
        told = await talker.admit([asked, assistant("I see."), picture(DOG)])
        assert told.messages == [asked, assistant("I see."), picture(DOG)]
        [leaf] = await store.leaves("local", id)
        assert leaf.message == parted(picture(DOG))[0]
        foreseen = await talker.foresee([asked, assistant("I see."), picture(DOG), user("And?")])
        assert [step.message for step in foreseen.steps] == [*told.messages, user("And?")]
        path = await store.path("local", leaf.id, attachments=False)
        assert [step.message for step in path] == [referring, reply.message, leaf.message]

    async def test_however_it_is_written_it_is_the_same_message(self, store: Store, folder: Path) -> None:
        talker, told = Talker(store), set()
        wrapped = "data:image/png;base64," + base64.encodebytes(CAT).decode()
        for asked in (picture(CAT), with_part(ImagePart(ImageUrl(wrapped)))):
            await answered(talker, asked, conversation="c")
            told.add(await answered(talker, asked, assistant("I see."), user("Sure?")))
        assert len(told) == 1
        assert len(self.tables(folder)["attachments"]) == 1

    async def test_what_is_known_of_one(self, store: Store) -> None:
        talker = Talker(store)
        sound, plain = AudioPart(AudioData(_base64(b"sound"), "wav")), FilePart(FileData(_base64(b"plain")))
        text = FilePart(FileData(f"data:text/plain;base64,{_base64(b'text')}", filename="a.txt"))
        again = FilePart(FileData(data_url(CAT), filename="later.png"))
        for part in (ImagePart(ImageUrl(data_url(CAT))), again, sound, plain, text):
            await answered(talker, with_part(part))
        for raw, media_type, filename in (
            (CAT, "image/png", None),
            (b"sound", "audio/wav", None),
            (b"plain", None, None),
            (b"text", "text/plain", "a.txt"),
        ):
            found = await store.attachment("local", hash_of(raw))
            assert (found.hash, found.size) == (hash_of(raw), len(raw))
            assert (found.media_type, found.filename) == (media_type, filename)
            assert found.created_at > 1_700_000_000_000
        assert await store.attachments("local", [hash_of(CAT), hash_of(CAT), hash_of(DOG)]) == {
            hash_of(CAT): CAT
        }

    async def test_it_is_its_owners(self, store: Store) -> None:
        await answered(Talker(store), picture(CAT))
        await answered(Talker(store, "other"), user("hi"))
        for owner, raw in (("other", CAT), ("nobody", CAT), ("local", DOG)):
            assert await store.attachments(owner, [hash_of(raw)]) == {}
            with pytest.raises(AttachmentNotFound):
                await store.attachment(owner, hash_of(raw))

    async def test_many_at_once(self, store: Store) -> None:
        asked = Message("user", [ImagePart(ImageUrl(data_url(b"%d" % i))) for i in range(1100)])
        talker = Talker(store)
        told = await talker.admit([asked])
        assert told.messages == [asked]
        hashes = [hash_of(b"%d" % i) for i in range(1100)]
        assert len(await store.attachments("local", hashes)) == 1100
        assert await store.attachments("local", []) == {}

    async def test_what_waits_is_asked_whole(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        first = await talker.admit([user("hi")], "c", at_head=True)
        waiting = await talker.put([picture(CAT)], "c", at_head=True)
        assert waiting.state is TurnState.QUEUED
        assert self.tables(folder)["attachments"] == []
        await talker.end(first.turn, "hello")
        begun = await talker.begin(waiting)
        assert begun is not None
        assert begun.messages[-1] == picture(CAT)
        consistent(self.tables(folder))
        assert len(self.tables(folder)["attachments"]) == 1


class DeletingAttachments(ContractPart):
    async def test_it_stays_while_a_message_refers_to_it(self, store: Store, folder: Path) -> None:
        first = await answered(Talker(store, end_user="ann"), picture(CAT))
        second = await answered(Talker(store, end_user="bob"), picture(CAT), assistant("So?"), picture(DOG))
        await store.delete_conversation("local", first)
        consistent(self.tables(folder))
        assert set(await store.attachments("local", [hash_of(CAT), hash_of(DOG)])) == {
            hash_of(CAT),
            hash_of(DOG),
        }
        await store.delete_conversation("local", second)
        consistent(self.tables(folder))
        assert self.tables(folder)["attachments"] == self.tables(folder)["message_attachments"] == []
        with pytest.raises(AttachmentNotFound):
            await store.attachment("local", hash_of(CAT))

    async def test_it_goes_with_the_message_that_becomes_a_tombstone(
        self, store: Store, folder: Path
    ) -> None:
        talker = Talker(store)
        id = await answered(talker, picture(CAT))
        [question, _] = await talker.path(id)
        await store.delete_message("local", question.id)
        consistent(self.tables(folder))
        assert self.tables(folder)["attachments"] == []

    @pytest.mark.parametrize("road", ["message", "branch", "turn", "end_user", "owner", "aged", "expired"])
    async def test_every_road_to_deletion_reaches_it(self, store: Store, folder: Path, road: str) -> None:
        await answered(Talker(store, "other"), picture(CAT))
        talker = Talker(store, end_user="ann")
        told = await talker.admit([picture(CAT)], temporary=1)
        await talker.end(told.turn, "I see.")
        [question, reply] = await talker.path(told.conversation)
        if road == "message":
            await store.delete_message("local", reply.id)
            await store.delete_message("local", question.id)
        elif road == "branch":
            await store.delete_branch("local", question.id)
        elif road == "turn":
            await store.delete_turn("local", told.turn)
        elif road == "end_user":
            await store.delete_end_user("local", "ann")
        elif road == "owner":
            await store.delete_owner("local")
        elif road == "aged":
            await store.delete_aged(LATER, owner="local")
        else:
            await store.delete_expired(LATER)
        assert await store.attachments("local", [hash_of(CAT)]) == {}
        assert await store.attachments("other", [hash_of(CAT)]) == {hash_of(CAT): CAT}
        consistent(self.tables(folder))

    async def test_a_fork_has_it_too(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        id = await answered(talker, picture(CAT), assistant("So?"), picture(DOG))
        fork = await store.fork("local", id, name="copy")
        consistent(self.tables(folder))
        assert len(self.tables(folder)["attachments"]) == 2
        assert len(self.tables(folder)["message_attachments"]) == 4
        await store.delete_conversation("local", id)
        consistent(self.tables(folder))
        gone_on = await talker.admit([user("Go on.")], fork.id, at_head=True)
        assert gone_on.messages[:3] == [picture(CAT), assistant("So?"), picture(DOG)]
        await store.delete_conversation("local", fork.id)
        assert self.tables(folder)["attachments"] == []

    async def test_a_fork_below_a_tombstone(self, store: Store, folder: Path) -> None:
        talker = Talker(store)
        id = await answered(talker, user("hi"), assistant("hello"), picture(CAT))
        await store.delete_message("local", (await talker.path(id))[0].id)
        fork = await store.fork("local", id, name="copy")
        again = await talker.admit(
            [assistant("hello"), picture(CAT), assistant("I see."), user("?")], fork.id
        )
        assert again.conversation == fork.id
        assert [attachments_of(item.message) for item in await talker.path(fork.id)] == [
            set(),
            {hash_of(CAT)},
            set(),
            set(),
        ]
        consistent(self.tables(folder))


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
