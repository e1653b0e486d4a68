"""Messages: the values of the tree, their canonical form, and their keys.

The types are those of the chat completions wire (Together's and OpenAI's), so that a request's history is
decoded straight into them. Identity is a matter of content: `canonical` maps everything that SDKs may change
when they send a message back (nulls, empty lists, a string or one text part, reasoning, fields that servers
add) to the same bytes, and a key hashes those bytes with the key of the message before.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Literal

import msgspec

KEY_FORMAT = b"palaver-key-1\0"
"""Names the way keys are made; with another name none of the stored ones would match."""
FORMS = (3, 2, 1)
"""The canonical forms that stored keys may be of, the newest first: a change of `canonical` is one more.

1, of palaver 0.1, told ``1.0`` from ``1`` in the arguments of calls, none at all from ``{}``, and blanks beside calls
from nothing. 1 and 2 had the bytes of files that are plain base64 as they were written. Of all other messages all are
the same.
"""
REFERENCE = "blake2b"
"""Names the hash of bytes: in canonical forms, and in messages whose attachments are kept apart from them
(`palaver.core.attachments`)."""
TAIL_FORMAT = b"palaver-tail-1\0"
KEY_BYTES = 16
DEEPEST = 200
"""Levels of JSON in a tool call's arguments; what nests deeper is not parsed."""
HASH = re.compile(r"[0-9a-f]{32}")
_BRACKET = re.compile(r"[\[\]{}]")

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
INSTRUCTING: tuple[Role, ...] = ("system", "developer")
"""The roles of messages that say how to answer."""
RESULTS: tuple[Role, ...] = ("tool", "function")
"""The roles of messages with what a tool answered."""


class TextPart(msgspec.Struct, tag="text", tag_field="type", frozen=True):
    text: str


class RefusalPart(msgspec.Struct, tag="refusal", tag_field="type", frozen=True):
    refusal: str


class ImageUrl(msgspec.Struct, frozen=True, omit_defaults=True):
    url: str
    detail: str | None = None


class ImagePart(msgspec.Struct, tag="image_url", tag_field="type", frozen=True):
    image_url: ImageUrl


class MediaUrl(msgspec.Struct, frozen=True):
    url: str


class VideoPart(msgspec.Struct, tag="video_url", tag_field="type", frozen=True):
    video_url: MediaUrl


class AudioUrlPart(msgspec.Struct, tag="audio_url", tag_field="type", frozen=True):
    audio_url: MediaUrl


class AudioData(msgspec.Struct, frozen=True):
    data: str
    format: str


class AudioPart(msgspec.Struct, tag="input_audio", tag_field="type", frozen=True):
    input_audio: AudioData


class FileData(msgspec.Struct, frozen=True, omit_defaults=True):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class FilePart(msgspec.Struct, tag="file", tag_field="type", frozen=True):
    file: FileData


Part = TextPart | RefusalPart | ImagePart | VideoPart | AudioUrlPart | AudioPart | FilePart


class FunctionCall(msgspec.Struct, frozen=True):
    """A call of a function by the model; `arguments` is JSON text, as the model wrote it."""

    name: str
    arguments: str = "{}"


class ToolCall(msgspec.Struct, frozen=True):
    function: FunctionCall
    id: str = ""
    type: Literal["function"] = "function"


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of the history. Immutable; a node of the tree.

    `content` is text, parts or nothing. `reasoning` and `reasoning_content` are two names for the same thing
    on the wire; both are kept outside the key. Unknown fields are dropped when a request is decoded.
    """

    role: Role
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: FunctionCall | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None

    @property
    def text(self) -> str:
        """The text of the content, parts joined; empty where there is none."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content or () if isinstance(part, TextPart))


_encoder = msgspec.json.Encoder(order="deterministic")


def canonical(message: Message, form: int = FORMS[0]) -> bytes:
    """The bytes that say what a message is, whatever an SDK did to its form.

    `form` is one of `FORMS`; others than the newest are for what was stored under them.

    >>> canonical(Message("user", "hi")) == canonical(Message("user", [TextPart("hi")]))
    True
    """
    fields: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role}
    content = _content(message.content, form)
    # Beside calls apps send no text as null, as "" or as " ", and models put blanks before a call.
    is_blank = form > 1 and message.tool_calls and isinstance(content, str) and content.isspace()
    if content and not is_blank:
        fields["content"] = content
    if message.name:
        fields["name"] = message.name
    if message.tool_call_id:
        fields["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        fields["tool_calls"] = [{"id": c.id, **_call(c.function, form)} for c in message.tool_calls]
    if message.function_call:
        fields["function_call"] = _call(message.function_call, form)
    return _encoder.encode(fields)


def _content(content: str | list[Part] | None, form: int) -> Any:
    if content is None or isinstance(content, str):
        return content
    if len(content) == 1 and isinstance(content[0], TextPart):
        return content[0].text
    return [_part(part, form) for part in content]


def _part(part: Part, form: int) -> dict[str, Any]:
    fields: dict[str, Any] = _without_nulls(msgspec.to_builtins(part))
    match part:
        case ImagePart(image_url=ImageUrl(url=url)):
            fields["image_url"]["url"] = _attachment(url)
        case VideoPart(video_url=MediaUrl(url=url)):
            fields["video_url"]["url"] = _attachment(url)
        case AudioUrlPart(audio_url=MediaUrl(url=url)):
            fields["audio_url"]["url"] = _attachment(url)
        case AudioPart(input_audio=AudioData(data=data)):
            fields["input_audio"]["data"] = _bytes_hash(data)
        case FilePart(file=FileData(file_data=str(data))):
            is_url = form < 3 or data.startswith("data:")
            fields["file"]["file_data"] = _attachment(data) if is_url else _bytes_hash(data)
    return fields


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return value


def _attachment(url: str) -> Any:
    """A data URL by the hash of its bytes, so that re-encoding makes no other message; others as they are."""
    head, _, data = url.partition(",")
    if not head.startswith("data:"):
        return url
    if head.endswith(f";{REFERENCE}") and HASH.fullmatch(data):
        return {REFERENCE: data}
    hashed = _bytes_hash(data) if head.endswith(";base64") else data
    return url if hashed is data else hashed


def _bytes_hash(data: str) -> Any:
    """The hash of the bytes, in an object, so that no text passes for it; what is no base 64 is itself."""
    if data.startswith(f"{REFERENCE}:") and HASH.fullmatch(data, len(REFERENCE) + 1):
        return {REFERENCE: data[len(REFERENCE) + 1 :]}
    raw = bytes_of(data)
    return data if raw is None else {REFERENCE: hash_of(raw)}


def bytes_of(data: str) -> bytes | None:
    """What base 64 stands for, blanks in it aside; None for what is none."""
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def hash_of(attachment: bytes) -> str:
    """The hash by which an attachment is known: 32 hexadecimal digits."""
    return blake2b(attachment, digest_size=KEY_BYTES).hexdigest()


def _number(text: str) -> float:
    """A number that JSON writes with a fraction or an exponent. JavaScript tells whole ones not apart from integers,
    and sends ``1.0`` back as ``1``. Raises ValueError for one that is too large to be told from others."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return int(number) if number.is_integer() and abs(number) < 1e21 else number


_arguments = msgspec.json.Decoder(float_hook=_number)


def _call(call: FunctionCall, form: int) -> dict[str, Any]:
    """Arguments as parsed JSON. Models write broken JSON, too: that is itself, under a name of its own. None at all
    are those of a function that takes none, and come back as an empty object."""
    if _is_deep(call.arguments):
        return {"name": call.name, "text": call.arguments}
    try:
        if form == 1:
            return {"name": call.name, "arguments": msgspec.json.decode(call.arguments)}
        return {"name": call.name, "arguments": _arguments.decode(call.arguments.strip() or "{}")}
    except (msgspec.DecodeError, ValueError):
        return {"name": call.name, "text": call.arguments}


def _is_deep(text: str) -> bool:
    """Whether JSON nests deeper than is parsed. Counted, not tried: Python's limit depends on the caller."""
    depth = 0
    if text.count("[") + text.count("{") > DEEPEST:
        for bracket in _BRACKET.findall(text):
            depth += 1 if bracket in "[{" else -1
            if depth > DEEPEST:
                return True
    return False


def root_key(secret: bytes, end_user: str | None) -> bytes:
    """Where the keys of one owner and end user start.

    `secret` is the owner's (16 to 64 random bytes). Because of it nobody can compute the key of another's
    message, and equal messages of two end users never have equal keys. No end user is another than one whose
    name is empty.
    """
    speaker = b"\0" if end_user is None else b"\1" + end_user.encode()
    return blake2b(KEY_FORMAT + speaker, key=secret, digest_size=KEY_BYTES).digest()


def next_key(parent: bytes, canonical_message: bytes) -> bytes:
    """The key of a message below `parent` (a key, or the root key for a first message)."""
    return blake2b(KEY_FORMAT + parent + canonical_message, digest_size=KEY_BYTES).digest()


def path_keys(root: bytes, canonicals: Iterable[bytes]) -> list[bytes]:
    """The keys along a path, first message first."""
    keys = []
    for form in canonicals:
        root = next_key(root, form)
        keys.append(root)
    return keys


def tail_key(root: bytes, exchange: Sequence[bytes]) -> bytes:
    """The second hash of a reply: of the exchange that ends in it, without what came before.

    `exchange` holds the canonical forms from the user message before the reply (calls and results between
    them included) up to the reply. A history whose beginning was cut off is found by it.
    """
    return blake2b(
        TAIL_FORMAT + root + b"".join(len(form).to_bytes(8, "big") + form for form in exchange),
        digest_size=KEY_BYTES,
    ).digest()
