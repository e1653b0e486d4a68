"""Messages with the pictures, sound and files that they refer to, or that a request names by their ids."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import msgspec

from palaver.core.attachments import attachments_of, file_id, hash_of_file, whole
from palaver.core.errors import AttachmentNotFound, InvalidRequest
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
    VideoPart,
)
from palaver.engines.base import Model
from palaver.server.attachments import REMOTE
from palaver.server.completion_request import Asked
from palaver.server.items import IMAGES
from palaver.server.settings import ServerSettings
from palaver.stores.base import Attachment, Item, Store

UNKNOWN = "application/octet-stream"
MOST_NAMED = 500
"""As many files may be named in one request."""


async def whole_messages(store: Store, owner: str, messages: Sequence[Message]) -> list[Message]:
    """Stored messages with the bytes that they refer to, as they were sent."""
    wanted = {hash for message in messages for hash in attachments_of(message)}
    if not wanted:
        return list(messages)
    found = await store.attachments(owner, list(wanted))
    return [whole(message, found) for message in messages]


async def whole_items(store: Store, owner: str, items: Sequence[Item]) -> list[Item]:
    """The same of items."""
    messages = await whole_messages(store, owner, [item.message for item in items])
    return [
        msgspec.structs.replace(item, message=message) for item, message in zip(items, messages, strict=True)
    ]


async def whole_within(store: Store, owner: str, items: Sequence[Item], most: int) -> list[Item]:
    """The same of items that a request names; what is attached to them may have `most` bytes as base64. Raises
    InvalidRequest for more."""
    await _sized(store, owner, Counter(hash for item in items for hash in attachments_of(item.message)), most)
    return await whole_items(store, owner, items)


async def with_attachments(
    store: Store, owner: str, items: Sequence[Item], include: Collection[str]
) -> list[Item]:
    """Stored messages with as much of what they refer to as `include` says is to be shown: pictures, and with them what
    is heard. Files are not shown, but named."""
    if IMAGES not in include:
        return list(items)
    shown = [_without_files(item.message) for item in items]
    wanted = {hash for message in shown for hash in attachments_of(message)}
    found = await store.attachments(owner, list(wanted)) if wanted else {}
    return [msgspec.structs.replace(item, message=_shown(item.message, found)) for item in items]


def _without_files(message: Message) -> Message:
    if not isinstance(message.content, list):
        return message
    rest = [part for part in message.content if not isinstance(part, FilePart)]
    return msgspec.structs.replace(message, content=rest)


def _shown(message: Message, found: Mapping[str, bytes]) -> Message:
    if not found or not isinstance(message.content, list):
        return message
    filled = whole(message, found).content
    assert isinstance(filled, list)
    parts = [
        old if isinstance(old, FilePart) else new for old, new in zip(message.content, filled, strict=True)
    ]
    return msgspec.structs.replace(message, content=parts)


async def with_files(asked: Asked, store: Store, owner: str, model: Model, settings: ServerSettings) -> Asked:
    """What chat completions were asked, with the owner's files where it names them. Of ids that nobody here knows, a
    model whose own server knows files is told. Raises InvalidRequest."""
    messages = await with_own_files(
        store,
        owner,
        asked.messages,
        settings.max_body_bytes,
        only_files=True,
        elsewhere=REMOTE in model.engine.capabilities,
    )
    return msgspec.structs.replace(asked, messages=messages)


async def with_own_files(
    store: Store,
    owner: str,
    messages: Sequence[Message],
    most: int,
    *,
    only_files: bool = False,
    elsewhere: bool = False,
) -> list[Message]:
    """The messages with the bytes of the owner's files where they name one by its id: in `file_id`, or in the place of
    an address or of base64, unless `only_files`.

    All together they may have as much base64 as a body that had them itself: `most`, in bytes. Raises InvalidRequest
    for more, and for an id that names none of them, which is left alone where it may be known `elsewhere`.
    """
    named: dict[tuple[int, int], str] = {}
    for i, message in enumerate(messages):
        for j, part in enumerate(message.content if isinstance(message.content, list) else ()):
            if (hash := hash_of_file(_named_in(part, only_files)[1])) is not None:
                named[i, j] = hash
    if not named:
        return list(messages)
    known = await _known(store, owner, Counter(named.values()), most)
    changed: dict[int, list[Part]] = {}
    for (i, j), hash in named.items():
        content = messages[i].content
        assert isinstance(content, list)
        if hash in known:
            changed.setdefault(i, list(content))[j] = _filled(content[j], *known[hash])
        elif not elsewhere:
            param = f"messages[{i}].content[{j}].{_named_in(content[j], only_files)[0]}"
            raise InvalidRequest(
                f"`{param}`: there is no file with the id {file_id(hash)}.",
                param=param,
                code=AttachmentNotFound.default_code,
            )
    return [
        msgspec.structs.replace(message, content=changed.get(i, message.content))
        for i, message in enumerate(messages)
    ]


async def _known(
    store: Store, owner: str, named: Counter[str], most: int
) -> dict[str, tuple[Attachment, str]]:
    """Of the files with these hashes those that the owner has, as base64. `named` is how often each is wanted."""
    known = await _sized(store, owner, named, most)
    read = await store.attachments(owner, [each.hash for each in known])
    return {
        each.hash: (each, base64.b64encode(read[each.hash]).decode()) for each in known if each.hash in read
    }


async def _sized(store: Store, owner: str, named: Counter[str], most: int) -> list[Attachment]:
    """What is known of those that the owner has. Raises InvalidRequest where all together have more than `most` bytes
    as base64: else a few bytes would stand for gigabytes."""
    if len(named) > MOST_NAMED:
        raise InvalidRequest(
            f"{len(named)} files are named; one request may name {MOST_NAMED}.", param="messages"
        )
    known: list[Attachment] = []
    for hash in named:
        try:
            known.append(await store.attachment(owner, hash))
        except AttachmentNotFound:
            continue
    size = sum((each.size + 2) // 3 * 4 * named[each.hash] for each in known)
    if size > most:
        raise InvalidRequest(
            f"The files that are named have {size} bytes as base64; in one request they may have at most {most}.",
            param="messages",
        )
    return known


def _named_in(part: Part, only_files: bool) -> tuple[str, str]:
    """The field of a part that may name a file by its id, and what stands there."""
    match part:
        case FilePart(file=FileData(file_data=None, file_id=str(id))):
            return "file.file_id", id
        case ImagePart(image_url=ImageUrl(url=id)) if not only_files:
            return "image_url.url", id
        case VideoPart(video_url=MediaUrl(url=id)) if not only_files:
            return "video_url.url", id
        case AudioUrlPart(audio_url=MediaUrl(url=id)) if not only_files:
            return "audio_url.url", id
        case AudioPart(input_audio=AudioData(data=id)) if not only_files:
            return "input_audio.data", id
    return "", ""


def _filled(part: Part, known: Attachment, data: str) -> Part:
    """The part with a file's bytes (base64) where it names it."""
    url = f"data:{known.media_type or UNKNOWN};base64,{data}"
    match part:
        case FilePart(file=file):
            content = url if known.media_type else data
            return FilePart(FileData(file_data=content, filename=file.filename or known.filename))
        case ImagePart(image_url=image):
            return ImagePart(msgspec.structs.replace(image, url=url))
        case VideoPart():
            return VideoPart(MediaUrl(url))
        case AudioUrlPart():
            return AudioUrlPart(MediaUrl(url))
        case AudioPart(input_audio=audio):
            return AudioPart(msgspec.structs.replace(audio, data=data))
    return part
