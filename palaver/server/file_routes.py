"""``/v1/files``: pictures, sound and files that stand in messages, by ids of their own."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from palaver.core.attachments import file_id, hash_of_file
from palaver.core.errors import AttachmentNotFound
from palaver.server.exchange import exchange_of
from palaver.server.files import UNKNOWN
from palaver.server.route import Operation, json_response, path_value
from palaver.stores.base import Attachment, Store

AS_IT_IS = re.compile(r"image/(?:png|jpeg|gif|webp)|audio/[a-z0-9][a-z0-9.+-]{0,63}")
"""The media types that bytes are served with. Others might run in a browser, and all of them come from clients."""
ENDINGS = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "audio/wav": ".wav",
    "audio/mp3": ".mp3",
    "application/pdf": ".pdf",
}
NAME_LENGTH = 255


class FileBody(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was attached to a message. `bytes` is its size; it is there as long as a message has it."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: Literal["user_data"] = "user_data"
    status: Literal["processed"] = "processed"


class Files:
    def __init__(self, store: Store) -> None:
        self._store = store

    def operations(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path="/files/{file}",
                handler=self.retrieve,
                summary="A picture, sound or file of a message",
                description="The `file_id` of a part of a message names it. It is the same for the same bytes, which "
                "are stored once, and goes with the last message that has it.",
                reply=FileBody,
            ),
            Operation(
                method="GET",
                path="/files/{file}/content",
                handler=self.content,
                summary="Its bytes",
                description="As a download. PNG, JPEG, GIF and WebP pictures and sound have their media type, all "
                f"else is `{UNKNOWN}`.",
                media_type=("image/png", "image/jpeg", "image/gif", "image/webp", "audio/*", UNKNOWN),
            ),
        ]

    async def retrieve(self, request: Request) -> Response:
        found = await self._found(request)
        return json_response(
            FileBody(
                id=file_id(found.hash),
                bytes=found.size,
                created_at=found.created_at // 1000,
                filename=_name(found),
            )
        )

    async def content(self, request: Request) -> Response:
        found = await self._found(request)
        read = await self._store.attachments(exchange_of(request).owner, [found.hash])
        if found.hash not in read:  # deleted just now
            raise AttachmentNotFound
        name = quote(_name(found)[:NAME_LENGTH], safe="")
        headers = {
            "content-disposition": f"attachment; filename*=UTF-8''{name}",
            "x-content-type-options": "nosniff",
        }
        return Response(read[found.hash], 200, headers, _media_type(found))

    async def _found(self, request: Request) -> Attachment:
        given = path_value(request, "file")
        hash = hash_of_file(given)
        if hash is None:
            raise AttachmentNotFound(f"No file has the id {given[:64]}.")
        return await self._store.attachment(exchange_of(request).owner, hash)


def _media_type(found: Attachment) -> str:
    said = (found.media_type or "").lower()
    return said if AS_IT_IS.fullmatch(said) else UNKNOWN


def _name(found: Attachment) -> str:
    return found.filename or file_id(found.hash) + ENDINGS.get(found.media_type or "", "")
