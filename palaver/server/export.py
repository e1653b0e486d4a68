"""``/v1/conversations/{conversation}/export``: one conversation as a file, to be kept or shown to somebody."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import AsyncGenerator
from typing import Annotated, get_args
from urllib.parse import quote

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from palaver.server.body import decode_fields
from palaver.server.conversation_shapes import (
    USER_HEADERS,
    ConversationDetail,
    ConversationQuery,
    conversation_detail,
    find,
    message_page,
)
from palaver.server.exchange import exchange_of
from palaver.server.export_formats import ENDINGS, FORMS, MEDIA, Form, Format
from palaver.server.files import whole_items
from palaver.server.items import IMAGES
from palaver.server.route import Operation
from palaver.stores.base import Store

PAGE = 50
"""Messages that are in memory at a time."""
CHOICES = {"format": get_args(Format)}


class ExportQuery(ConversationQuery, frozen=True, kw_only=True):
    format: Annotated[
        Format,
        Meta(
            description="`markdown` and `html` have the path to the head, to be read; `json` has all branches, and all "
            "that is known."
        ),
    ] = "markdown"


class Exports:
    def __init__(self, store: Store) -> None:
        self._store = store

    def operations(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path="/conversations/{conversation}/export",
                handler=self.export,
                summary="One conversation as a file",
                description="As a download, named by its title. The web page needs nothing but itself: its pictures "
                "are in it, it has no scripts, and a policy that allows none.",
                query=ExportQuery,
                headers=USER_HEADERS,
                media_type=tuple(kind.partition(";")[0] for kind in MEDIA.values()),
            )
        ]

    async def export(self, request: Request) -> Response:
        query = decode_fields(request.query_params, ExportQuery, CHOICES)
        owner = exchange_of(request).owner
        conversation = await find(self._store, request, query.user)
        detail = conversation_detail(
            conversation,
            await self._store.last_instructions(owner, conversation.id),
            await self._store.open_turns(owner, conversation.id),
        )
        form = FORMS[query.format]()
        pieces = self._pieces(owner, detail, form, all_branches=query.format == "json")
        first = await anext(pieces)  # what cannot be read at all is still an error of its own
        name = file_name(detail.title) + ENDINGS[query.format]
        shown = f"attachment; filename=\"{_ascii(name)}\"; filename*=UTF-8''{quote(name)}"
        headers = {
            "content-disposition": shown,
            "cache-control": "no-store",
            "content-security-policy": "default-src 'none'; sandbox",
        }
        return StreamingResponse(_after(first, pieces), 200, headers, MEDIA[query.format])

    async def _pieces(
        self, owner: str, detail: ConversationDetail, form: Form, *, all_branches: bool
    ) -> AsyncGenerator[bytes]:
        yield form.begin(detail).encode()
        after, head = None, detail.head
        while head is not None or all_branches:
            if all_branches:
                found = await self._store.tree(owner, detail.id, after=after, limit=PAGE)
            else:
                # `to` holds the path still, whatever is said or chosen meanwhile.
                found = await self._store.items(
                    owner, detail.id, to=head, after=after, limit=PAGE, order="asc"
                )
            if not found:
                break
            found = await whole_items(self._store, owner, found)
            bodies = message_page(found, len(found), [IMAGES]).data
            yield (await asyncio.to_thread(form.page, found, bodies)).encode()
            after = found[-1].id
        yield form.end().encode()


async def _after(first: bytes, pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    yield first
    async for piece in pieces:
        yield piece


def file_name(title: str | None) -> str:
    """A title as the name of a file on any system.

    >>> file_name("Rye bread: 50/50?"), file_name("../..."), file_name(None), file_name("Brot für Ändi")
    ('Rye bread 50 50', 'chat', 'chat', 'Brot für Ändi')
    """
    kept = "".join(
        each if unicodedata.category(each)[0] in "LNM" or each in "-_." else " " for each in title or ""
    )
    return re.sub(r"\s+", " ", kept).strip(" .")[:80].strip(" .") or "chat"


def _ascii(name: str) -> str:
    """The name for programs that know no other letters."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return plain if plain.partition(".")[0].strip() else f"chat.{name.rpartition('.')[2]}"
