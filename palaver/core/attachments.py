"""Attachments: the bytes of pictures, sound and files, apart from the messages that they stand in.

A message that is kept has a reference in the place of each attachment, the hash of its bytes: the data URL
``data:image/png;base64,…`` is ``data:image/png;blake2b,HASH`` there, and plain base64 is ``blake2b:HASH``. So bytes
that are sent again and again are kept once. A message and its parted form have the same key (`message.canonical`).

References never come from outside: the door refuses what looks like one.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from palaver.core.message import (
    HASH,
    REFERENCE,
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
    bytes_of,
    hash_of,
)

FILE = "file-"
"""What the id of an attachment begins with, as the API shows it; its hash follows."""

_URL = re.compile(rf"(?P<head>data:[^,]*;){REFERENCE},(?P<hash>{HASH.pattern})")
_PLAIN = re.compile(rf"{REFERENCE}:(?P<hash>{HASH.pattern})")


def file_id(hash: str) -> str:
    """An attachment's id as the API shows it."""
    return FILE + hash


def hash_of_file(id: str) -> str | None:
    """The hash of the attachment that an id names; None where that is no id of an attachment.

    >>> hash_of_file("file-00112233445566778899aabbccddeeff")
    '00112233445566778899aabbccddeeff'
    """
    hash = id.removeprefix(FILE)
    return hash if id.startswith(FILE) and HASH.fullmatch(hash) else None


def hash_in(text: str) -> str | None:
    """The hash that a reference of either form has; None for what is no reference."""
    found = _URL.fullmatch(text) or _PLAIN.fullmatch(text)
    return found["hash"] if found else None


def parted(message: Message) -> tuple[Message, dict[str, bytes]]:
    """The message with references, and the bytes that they are of, by hash.

    Remote addresses, what is percent-encoded, what is no base64 and what is empty stay where they are.
    """
    found: dict[str, bytes] = {}

    def kept(data: str) -> str | None:
        raw = bytes_of(data)
        if not raw:
            return None
        hash = hash_of(raw)
        found[hash] = raw
        return hash

    def url(text: str) -> str:
        head, _, data = text.partition(",")
        is_base64 = head.startswith("data:") and head.endswith(";base64")
        hash = kept(data) if is_base64 else None
        return f"{head.removesuffix('base64')}{REFERENCE},{hash}" if hash else text

    def plain(text: str) -> str:
        hash = kept(text)
        return f"{REFERENCE}:{hash}" if hash else text

    return _changed(message, url, plain), found


def whole(message: Message, attachments: Mapping[str, bytes]) -> Message:
    """The message with the bytes of these attachments (by hash) where it refers to them. Others stay references."""
    written: dict[str, str] = {}

    def data(hash: str) -> str:
        """Written once, however often the message has it."""
        if hash not in written:
            written[hash] = base64.b64encode(attachments[hash]).decode()
        return written[hash]

    def url(text: str) -> str:
        found = _URL.fullmatch(text)
        if found is None or found["hash"] not in attachments:
            return text
        return f"{found['head']}base64,{data(found['hash'])}"

    def plain(text: str) -> str:
        found = _PLAIN.fullmatch(text)
        return data(found["hash"]) if found and found["hash"] in attachments else text

    return _changed(message, url, plain)


def attachments_of(message: Message) -> set[str]:
    """The hashes of all attachments that the message refers to."""
    found: set[str] = set()

    def look(pattern: re.Pattern[str], text: str) -> str:
        if reference := pattern.fullmatch(text):
            found.add(reference["hash"])
        return text

    _changed(message, partial(look, _URL), partial(look, _PLAIN))
    return found


def described(message: Message, hash: str) -> tuple[str | None, str | None]:
    """The media type and the name of the file that a message has this attachment as, as it says; None for unknown."""
    for part in message.content if isinstance(message.content, list) else ():
        media_type, filename, text = _description(part)
        if text is not None and hash_in(text) == hash:
            head = text.removeprefix("data:").partition(";")[0] if text.startswith("data:") else media_type
            return head or None, filename
    return None, None


def _description(part: Part) -> tuple[str | None, str | None, str | None]:
    """The media type and the name that stand beside an attachment, and where that itself stands."""
    match part:
        case ImagePart(image_url=ImageUrl(url=url)):
            return None, None, url
        case VideoPart(video_url=MediaUrl(url=url)) | AudioUrlPart(audio_url=MediaUrl(url=url)):
            return None, None, url
        case AudioPart(input_audio=audio):
            return f"audio/{audio.format}", None, audio.data
        case FilePart(file=file):
            return None, file.filename, file.file_data
    return None, None, None


def _changed(message: Message, url: Callable[[str], str], plain: Callable[[str], str]) -> Message:
    """The message with what is attached to it changed: addresses in one way, plain base64 in another."""
    if not isinstance(message.content, list):
        return message
    parts = [_changed_part(part, url, plain) for part in message.content]
    return msgspec.structs.replace(message, content=parts) if parts != message.content else message


def _changed_part(part: Part, url: Callable[[str], str], plain: Callable[[str], str]) -> Part:
    match part:
        case ImagePart(image_url=source):
            return ImagePart(msgspec.structs.replace(source, url=url(source.url)))
        case VideoPart(video_url=source):
            return VideoPart(MediaUrl(url(source.url)))
        case AudioUrlPart(audio_url=source):
            return AudioUrlPart(MediaUrl(url(source.url)))
        case AudioPart(input_audio=audio):
            return AudioPart(msgspec.structs.replace(audio, data=plain(audio.data)))
        case FilePart(file=FileData(file_data=str(data))):
            change = url if data.startswith("data:") else plain
            return FilePart(msgspec.structs.replace(part.file, file_data=change(data)))
    return part
