"""Attachments apart from their messages: the same message by its key, and whole again with its bytes."""

from __future__ import annotations

import base64
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.core.attachments import attachments_of, file_id, hash_in, hash_of_file, parted, whole
from palaver.core.message import (
    AudioData,
    AudioPart,
    AudioUrlPart,
    FileData,
    FilePart,
    ImagePart,
    ImageUrl,
    MediaUrl,
    Message,
    Part,
    TextPart,
    VideoPart,
    canonical,
)
from tests.core.messages import meaning, messages

RAW = b"a picture, or so"
DATA = base64.b64encode(RAW).decode()
HASH = blake2b(RAW, digest_size=16).hexdigest()
URL, REFERENCE = f"data:image/png;base64,{DATA}", f"data:image/png;blake2b,{HASH}"


def said(*parts: Part) -> Message:
    return Message("user", list(parts))


def file(data: str | None, **more: str) -> FilePart:
    return FilePart(FileData(file_data=data, **more))


PARTED: list[tuple[Part, Part]] = [
    (ImagePart(ImageUrl(URL, "low")), ImagePart(ImageUrl(REFERENCE, "low"))),
    (ImagePart(ImageUrl(f"data:;base64,{DATA}")), ImagePart(ImageUrl(f"data:;blake2b,{HASH}"))),
    (
        ImagePart(ImageUrl(f"data:image/png;blake2b;base64,{DATA}")),
        ImagePart(ImageUrl(f"data:image/png;blake2b;blake2b,{HASH}")),
    ),
    (VideoPart(MediaUrl(URL)), VideoPart(MediaUrl(REFERENCE))),
    (AudioUrlPart(MediaUrl(URL)), AudioUrlPart(MediaUrl(REFERENCE))),
    (AudioPart(AudioData(DATA, "wav")), AudioPart(AudioData(f"blake2b:{HASH}", "wav"))),
    (file(URL, filename="a.png"), file(REFERENCE, filename="a.png")),
    (file(DATA), file(f"blake2b:{HASH}")),
]


@given(messages)
def test_a_message_and_its_parted_form_are_the_same(message: Message) -> None:
    apart, attachments = parted(message)
    assert canonical(apart) == canonical(message)
    assert attachments_of(apart) == set(attachments)
    assert all(blake2b(raw, digest_size=16).hexdigest() == hash for hash, raw in attachments.items())
    assert parted(apart) == (apart, {})


@given(messages)
def test_with_its_bytes_it_is_whole_again(message: Message) -> None:
    apart, attachments = parted(message)
    again = whole(apart, attachments)
    assert (canonical(again), meaning(again)) == (canonical(message), meaning(message))
    assert attachments_of(again) == set()
    assert parted(again) == (apart, attachments)


@given(messages, st.data())
def test_what_is_missing_stays_a_reference(message: Message, data: st.DataObject) -> None:
    apart, attachments = parted(message)
    there = data.draw(st.sets(st.sampled_from(sorted(attachments)))) if attachments else set()
    some = whole(apart, {hash: attachments[hash] for hash in there})
    assert attachments_of(some) == set(attachments) - there
    assert canonical(some) == canonical(message)


@pytest.mark.parametrize(("part", "reference"), PARTED, ids=str)
def test_what_references_look_like(part: Part, reference: Part) -> None:
    assert parted(said(TextPart("?"), part)) == (said(TextPart("?"), reference), {HASH: RAW})
    assert whole(said(reference), {HASH: RAW}) == said(part)


@pytest.mark.parametrize(
    "part",
    [
        TextPart(URL),
        TextPart(REFERENCE),
        ImagePart(ImageUrl("https://example.org/a.png")),
        ImagePart(ImageUrl(DATA)),
        ImagePart(ImageUrl("data:image/png;base64,AAAA----")),
        ImagePart(ImageUrl("data:image/png;base64,")),
        ImagePart(ImageUrl("data:image/svg+xml,%3Csvg/%3E")),
        ImagePart(ImageUrl("data:image/svg+xml;base64")),
        ImagePart(ImageUrl(f"data:image/png;blake2b,{HASH[:-1]}")),
        ImagePart(ImageUrl(f"data:image/png;blake2b,{HASH.upper()}")),
        ImagePart(ImageUrl(f"data:image/png;blake2b,{HASH}\n")),
        ImagePart(ImageUrl(f"blake2b:{HASH}")),
        AudioPart(AudioData(URL, "wav")),
        AudioPart(AudioData(REFERENCE, "wav")),
        AudioPart(AudioData("?", "wav")),
        file(None, file_id="file-1"),
        file("a text"),
    ],
    ids=str,
)
def test_what_stays_as_it_is(part: Part) -> None:
    assert parted(said(part)) == (said(part), {})
    assert attachments_of(said(part)) == set()
    assert whole(said(part), {HASH: RAW}) == said(part)


def test_text_alone_has_no_attachments() -> None:
    for message in (Message("user", URL), Message("assistant")):
        assert parted(message) == (message, {})
        assert attachments_of(message) == set()


def test_the_same_bytes_twice_are_one_attachment() -> None:
    message = said(ImagePart(ImageUrl(URL)), file(DATA), ImagePart(ImageUrl(URL.replace("png", "gif"))))
    apart, attachments = parted(message)
    assert attachments == {HASH: RAW}
    assert whole(apart, attachments) == message


def test_blanks_in_base64_are_not_kept() -> None:
    wrapped = said(ImagePart(ImageUrl("data:image/png;base64," + "\n".join(DATA))))
    assert parted(wrapped) == parted(said(ImagePart(ImageUrl(URL))))


def test_ids_of_files() -> None:
    assert file_id(HASH) == f"file-{HASH}"
    assert hash_of_file(file_id(HASH)) == HASH
    for other in (
        HASH,
        f"file-{HASH[1:]}",
        f"file-{HASH}0",
        f"file-{HASH.upper()}",
        "file-",
        "file-abc123",
        "",
    ):
        assert hash_of_file(other) is None


def test_the_hash_in_a_reference() -> None:
    assert hash_in(REFERENCE) == hash_in(f"blake2b:{HASH}") == HASH
    assert hash_in(URL) is hash_in(DATA) is hash_in("https://example.org/a.png") is None
