"""Items that clients send, in `input` and in `items`, read as messages of the tree.

It is the way back from `palaver.server.items`: what a reply is shown as, sent again, is that reply. So items of an
assistant that follow each other are one message as far as one reply is shown so: thinking, then text, then calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from palaver.core import ids
from palaver.core.attachments import FILE
from palaver.core.errors import InvalidRequest, RequestError, UnsupportedParameter
from palaver.core.message import ImagePart, Message
from palaver.server.body import decode_item
from palaver.server.input_replies import Reply
from palaver.server.input_shapes import (
    REASONING_WORDS,
    SHAPES,
    UNSUPPORTED,
    WORDS,
    CallInput,
    CompactionInput,
    MessageInput,
    OutputInput,
    ReasoningInput,
    ReferenceInput,
    SentItem,
    empty,
    read_content,
)

TYPES = tuple(SHAPES)
PICTURE = re.compile(r"\[(?P<part>\d+)\]\.image_url\.url$")
NOTHING = (b"", b"null")
NAMED = re.compile(r"messages\[(?P<place>\d+)\](?P<rest>[\w.\[\]]*)")


class Reference(msgspec.Struct, frozen=True):
    """A stored message that was named instead of sent: by the ids of `items` that are parts of it, each with its place
    in the list."""

    message: str
    items: list[tuple[int, str]]


class Compaction(msgspec.Struct, frozen=True):
    """What stands for a conversation up to here, sealed."""

    encrypted_content: str


Entry = Message | Reference | Compaction


class InputItems(msgspec.Struct, frozen=True):
    """What was sent: one entry for each message. `places` has, for each, the place of the item that it began with;
    `param` is the name of the list. `above` is how many messages come before them that were not sent: all of those are
    called `above_is`."""

    param: str
    entries: list[Entry]
    places: list[int]
    above: int = 0
    above_is: str = ""

    def messages(self) -> list[Message]:
        """The entries, where all of them are messages. Raises UnsupportedParameter for one that is none."""
        for place, entry in zip(self.places, self.entries, strict=True):
            if not isinstance(entry, Message):
                kind = "compaction" if isinstance(entry, Compaction) else "item_reference"
                param = f"{self.param}[{place}].type"
                raise UnsupportedParameter(f"`{param}`: no {kind} can stand here.", param=param)
        return [entry for entry in self.entries if isinstance(entry, Message)]

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Have errors that name one of these as a message (``messages[2].content[1].image_url.url``) name the item
        that was sent (``input[3].content[1].image_url``)."""
        try:
            yield
        except RequestError as error:
            if error.param == "messages":
                error.param = self.param
            elif error.param is not None:
                error.param = NAMED.sub(self._sent, error.param)
            error.message = NAMED.sub(self._sent, error.message)
            error.public = NAMED.sub(self._sent, error.public)
            raise

    def _sent(self, found: re.Match[str]) -> str:
        place, rest = int(found["place"]) - self.above, found["rest"]
        if place < 0:
            return self.above_is
        if place >= len(self.entries):
            return found[0]
        entry = self.entries[place]
        if isinstance(entry, Message) and entry.role == "tool":
            rest = rest.replace(".content", ".output", 1).replace(".tool_call_id", ".call_id", 1)
        sent_as = ".file_id" if _is_named(entry, rest) else ".image_url"
        rest = rest.replace(".image_url.url", sent_as).replace(".file.", ".")
        return f"{self.param}[{self.places[place]}]{rest}"


def _is_named(entry: Entry, rest: str) -> bool:
    """Whether the picture that a path leads to was named by its id."""
    found = PICTURE.search(rest)
    if found is None or not isinstance(entry, Message) or not isinstance(entry.content, list):
        return False
    part = entry.content[int(found["part"])] if int(found["part"]) < len(entry.content) else None
    return isinstance(part, ImagePart) and part.image_url.url.startswith(FILE)


def read_items(items: Sequence[msgspec.Raw], param: str) -> InputItems:
    """What these items say. `param` is what the list is called in the body.

    Of references and compactions only that they are there. Raises InvalidRequest and, for items and parts that OpenAI
    has and palaver has not, UnsupportedParameter.
    """
    reading = _Reading(param)
    for place, raw in enumerate(items):
        reading.take(place, _sent_item(raw, f"{param}[{place}]"))
    return reading.end()


def unknown(id: str, param: str) -> InvalidRequest:
    """The error for an id that names nothing."""
    return InvalidRequest(f"`{param}`: there is no item with the id {id[:100]!r}.", param=param)


class _Head(msgspec.Struct, frozen=True):
    type: str | None = None
    role: msgspec.Raw = msgspec.Raw()
    id: msgspec.Raw = msgspec.Raw()

    @property
    def is_reference(self) -> bool:
        """Whether it only names something: clients may leave the type out."""
        return bytes(self.role) in NOTHING and bytes(self.id) not in NOTHING


_head = msgspec.json.Decoder(_Head)
_decoders = {kind: msgspec.json.Decoder(shape) for kind, shape in SHAPES.items()}


def _sent_item(raw: msgspec.Raw, at: str) -> SentItem:
    head = decode_item(raw, _head, at)
    kind = head.type
    if kind is None:
        kind = "item_reference" if head.is_reference else "message"
    if kind in UNSUPPORTED:
        raise UnsupportedParameter(f"`{at}.type`: no {kind} is taken here.", param=f"{at}.type")
    if kind not in SHAPES:
        raise InvalidRequest(
            f"`{at}.type` must be one of {', '.join(TYPES)}; not {kind[:100]!r}.", param=f"{at}.type"
        )
    return decode_item(raw, _decoders[kind], at, REASONING_WORDS if kind == "reasoning" else WORDS)


class _Reading:
    def __init__(self, param: str) -> None:
        self._found = InputItems(param, [], [])
        self._reply: Reply | None = None
        self._named: dict[str, Reference] = {}  # by the messages that they name

    def take(self, place: int, item: SentItem) -> None:
        at = f"{self._found.param}[{place}]"
        match item:
            case ReasoningInput() | CallInput() | MessageInput(role="assistant"):
                self._say(place, item, at)
            case MessageInput():
                self._add(place, Message(item.role, read_content(item.content, f"{at}.content")))
            case OutputInput():
                if not item.call_id:
                    raise empty(f"{at}.call_id")
                content = read_content(item.output, f"{at}.output")
                self._add(place, Message("tool", content, tool_call_id=item.call_id))
            case ReferenceInput():
                self._refer(place, item.id, f"{at}.id")
            case CompactionInput():
                self._add(place, Compaction(item.encrypted_content))

    def end(self) -> InputItems:
        self._close()
        return self._found

    def _say(self, place: int, item: MessageInput | ReasoningInput | CallInput, at: str) -> None:
        of = ids.message_of_item(item.id) if item.id else None
        if of in self._named:  # all of that message is there
            return
        if self._reply is None or not self._reply.takes(item, of):
            self._close()
            self._reply = Reply(place)
        self._reply.add(place, item, of, at)

    def _refer(self, place: int, id: str, param: str) -> None:
        message = ids.message_of_item(id)
        if message is None:
            raise unknown(id, param)
        before: list[tuple[int, str]] = []
        if (
            self._reply is not None and self._reply.of == message
        ):  # parts of it were sent, and the whole is stored
            before, place_of_all = self._reply.ids, self._reply.place
            self._reply = None
        else:
            self._close()
            place_of_all = place
        known = self._named.get(message)
        if known is None:
            known = self._named[message] = Reference(message, [])
            self._append(place_of_all, known)
        known.items.extend([*before, (place, id)])

    def _add(self, place: int, entry: Entry) -> None:
        self._close()
        self._append(place, entry)

    def _append(self, place: int, entry: Entry) -> None:
        self._found.entries.append(entry)
        self._found.places.append(place)

    def _close(self) -> None:
        reply, self._reply = self._reply, None
        message = reply.message() if reply else None
        if reply and message:
            self._append(reply.place, message)
