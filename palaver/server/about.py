"""``/v1/server``: what a client of this server should know before it asks for anything."""

from __future__ import annotations

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from palaver.chat import ChatSettings
from palaver.server.route import Operation, json_response
from palaver.server.settings import ServerSettings

UNDO_SECONDS = 60
"""How long a deletion should be put off (`expires_in`), so that it can be taken back."""


class ServerBody(msgspec.Struct, frozen=True, kw_only=True):
    """What holds here for every request.

    `record` says what is kept: every turn, those that ask for it, or none. `retain_days` is how long conversations
    are kept after their last message, null for ever; `temporary_seconds` those that are temporary. `default_model` is
    what to name where nobody chose a model. `max_attachment` and `max_body_bytes` are in bytes, the first decoded;
    `max_messages` is how many a request may hold. Who deletes a conversation with some time to think again should
    give `undo_seconds`.
    """

    object: Literal["server"] = "server"
    version: str
    record: Literal["all", "asked", "none"]
    retain_days: float | None
    default_model: str | None
    max_attachment: int
    max_body_bytes: int
    max_messages: int
    temporary_seconds: int
    undo_seconds: int


class About:
    def __init__(self, chat: ChatSettings, settings: ServerSettings) -> None:
        self._body = ServerBody(
            version=settings.version,
            record=chat.record,
            retain_days=settings.retain_days,
            default_model=settings.default_model,
            max_attachment=settings.max_attachment,
            max_body_bytes=settings.max_body_bytes,
            max_messages=settings.max_messages,
            temporary_seconds=int(chat.keep_temporary),
            undo_seconds=UNDO_SECONDS,
        )

    def operations(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path="/server",
                handler=self.show,
                scope="chat",
                summary="What holds for every request",
                reply=ServerBody,
            )
        ]

    async def show(self, request: Request) -> Response:
        return json_response(self._body)
