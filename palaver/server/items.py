"""Items: messages as OpenAI's Responses and Conversations show them.

A message of the tree is one item or several: an assistant's thinking, its text and each of its calls stand apart
there, and the result of a tool is an item of its own type. Their ids say which message they are parts of
(`palaver.core.ids.message_of_item`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

import msgspec

from palaver.core import ids
from palaver.core.attachments import file_id, hash_in
from palaver.core.message import (
    RESULTS,
    AudioPart,
    AudioUrlPart,
    FileData,
    FilePart,
    ImagePart,
    ImageUrl,
    MediaUrl,
    Message,
    RefusalPart,
    TextPart,
    VideoPart,
)
from palaver.core.turn import TurnState
from palaver.stores.base import Item

ItemStatus = Literal["in_progress", "completed", "incomplete"]
IMAGES = "message.input_image.image_url"
"""What `include` has to hold for pictures to be shown, and not only named."""


class MessageItem(msgspec.Struct, frozen=True, kw_only=True, tag="message", tag_field="type"):
    """What somebody said. `content` has OpenAI's parts: ``input_text``, ``output_text``, ``refusal``, ``input_image``,
    ``input_file``, ``input_audio``; parts that it has no type for are as they were sent."""

    id: str
    role: Literal["user", "assistant", "system", "developer"]
    status: ItemStatus
    content: list[dict[str, Any]]


class ReasoningText(msgspec.Struct, frozen=True, kw_only=True, tag="reasoning_text", tag_field="type"):
    text: str


class ReasoningItem(msgspec.Struct, frozen=True, kw_only=True, tag="reasoning", tag_field="type"):
    """What the model thought before it answered. There is no summary of it."""

    id: str
    summary: list[dict[str, str]] = []
    content: list[ReasoningText]
    status: ItemStatus


class FunctionCallItem(msgspec.Struct, frozen=True, kw_only=True, tag="function_call", tag_field="type"):
    """A call of a function by the model; `arguments` is JSON text."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus


class FunctionCallOutputItem(
    msgspec.Struct, frozen=True, kw_only=True, tag="function_call_output", tag_field="type"
):
    """What a function answered."""

    id: str
    call_id: str
    output: str | list[dict[str, Any]]
    status: ItemStatus


class CompactionItem(msgspec.Struct, frozen=True, kw_only=True, tag="compaction", tag_field="type"):
    """What stands for a conversation up to here. `encrypted_content` is sealed: it names what is stored."""

    id: str
    encrypted_content: str


ShownItem = MessageItem | ReasoningItem | FunctionCallItem | FunctionCallOutputItem | CompactionItem


def items_of(item: Item, include: Collection[str] = ()) -> list[ShownItem]:
    """The items that a stored message is shown as; none for one that is deleted."""
    if item.deleted:
        return []
    status: ItemStatus = "completed" if item.state in (None, TurnState.COMPLETED) else "incomplete"
    return shown_items(item.id, item.message, status, include)


def shown_as(item: Item, id: str) -> str | None:
    """The id of the item that a stored message is shown as, given that or the id of a run of its text or thinking:
    as a reply comes each of its runs is an item (``msg_…_1``). None where the message has no such item."""
    shown = {part.id for part in items_of(item)}
    if id in shown:
        return id
    whole = id.rpartition("_")[0]
    is_run = item.turn is not None and whole.startswith((ids.MESSAGE, ids.REASONING))
    return whole if is_run and whole in shown else None


def shown_items(
    id: str, message: Message, status: ItemStatus = "completed", include: Collection[str] = ()
) -> list[ShownItem]:
    """The items that a message with this id is shown as: at least one."""
    if message.role in RESULTS:
        return [
            FunctionCallOutputItem(
                id=ids.item_id(ids.FUNCTION_CALL_OUTPUT, id),
                call_id=message.tool_call_id or message.name or "",
                output=message.content
                if isinstance(message.content, str)
                else content_parts(message, include),
                status=status,
            )
        ]
    if message.role != "assistant":
        role: Literal["user", "system", "developer"] = message.role  # type: ignore[assignment]
        return [MessageItem(id=id, role=role, status=status, content=content_parts(message, include))]
    items: list[ShownItem] = []
    thought = message.reasoning or message.reasoning_content
    if thought:
        content = [ReasoningText(text=thought)]
        items.append(ReasoningItem(id=ids.item_id(ids.REASONING, id), content=content, status=status))
    calls = _calls(id, message, status)
    if message.content or not (calls or thought):
        items.append(
            MessageItem(id=id, role="assistant", status=status, content=content_parts(message, include))
        )
    return [*items, *calls]


def _calls(id: str, message: Message, status: ItemStatus) -> Sequence[FunctionCallItem]:
    made = [(call.id, call.function) for call in message.tool_calls or ()]
    if message.function_call is not None:  # the older form has no id, and its result names the function
        made.append((message.function_call.name, message.function_call))
    return [
        FunctionCallItem(
            id=ids.item_id(ids.FUNCTION_CALL, id, place),
            call_id=call_id,
            name=function.name,
            arguments=function.arguments,
            status=status,
        )
        for place, (call_id, function) in enumerate(made)
    ]


def content_parts(message: Message, include: Collection[str] = ()) -> list[dict[str, Any]]:
    """A message's content in OpenAI's parts.

    What is attached is named by the id that it has in ``/v1/files``: files always, and all else unless it has its bytes
    (`palaver.server.files.with_attachments`).
    """
    if message.content is None:
        return []
    parts = [TextPart(message.content)] if isinstance(message.content, str) else message.content
    return [_part(part, message.role == "assistant", IMAGES in include) for part in parts]


def _part(part: object, is_reply: bool, has_images: bool) -> dict[str, Any]:
    match part:
        case TextPart(text=text) if is_reply:
            return {"type": "output_text", "text": text, "annotations": []}
        case TextPart(text=text):
            return {"type": "input_text", "text": text}
        case RefusalPart(refusal=refusal):
            return {"type": "refusal", "refusal": refusal}
        case ImagePart(image_url=image):
            return _image(image, has_images)
        case FilePart(file=file):
            hash = hash_in(file.file_data or "")
            shown = FileData(file_id=file_id(hash), filename=file.filename) if hash else file
            return {"type": "input_file", **msgspec.to_builtins(shown)}
        case AudioPart(input_audio=audio):
            return {
                "type": "input_audio",
                "input_audio": {"data": _named(audio.data), "format": audio.format},
            }
        case VideoPart(video_url=MediaUrl(url=url)):
            return {"type": "video_url", "video_url": {"url": _named(url)}}
        case AudioUrlPart(audio_url=MediaUrl(url=url)):
            return {"type": "audio_url", "audio_url": {"url": _named(url)}}
    other: dict[str, Any] = msgspec.to_builtins(part)
    return other


def _image(image: ImageUrl, is_shown: bool) -> dict[str, Any]:
    detail = image.detail or "auto"
    if hash := hash_in(image.url):
        return {"type": "input_image", "image_url": None, "file_id": file_id(hash), "detail": detail}
    url = image.url if is_shown or not image.url.startswith("data:") else None
    return {"type": "input_image", "image_url": url, "detail": detail}


def _named(text: str) -> str:
    """An attachment's id in the place of what is kept apart."""
    hash = hash_in(text)
    return file_id(hash) if hash else text
