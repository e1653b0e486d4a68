"""Attachments in the tables: each stored once for its owner, with the messages that refer to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from palaver.core.attachments import described, file_id, whole
from palaver.core.errors import AttachmentNotFound
from palaver.core.message import REFERENCE
from palaver.core.path import Step
from palaver.stores.base import Attachment
from palaver.stores.database import Row, Session, Verbs
from palaver.stores.rows import message_of, now, portions, step_of


class SqlAttachments(Verbs):
    """See `palaver.stores.base.attachments.Attachments`."""

    async def attachment(self, owner: str, hash: str) -> Attachment:
        row = await self._database.read(lambda s: s.one("attachment", owner=owner, hash=bytes.fromhex(hash)))
        if row is None:
            raise AttachmentNotFound(f"No file has the id {file_id(hash)}.")
        media_type, filename = described(message_of(row), hash) if row["body"] else (None, None)
        return Attachment(
            hash=hash,
            size=row["size"],
            media_type=media_type,
            filename=filename,
            created_at=row["created_at"],
        )

    async def attachments(self, owner: str, hashes: Sequence[str]) -> dict[str, bytes]:
        wanted = [bytes.fromhex(hash) for hash in dict.fromkeys(hashes)]
        rows = await self._database.read(
            lambda s: [
                row
                for some in portions(wanted)
                for row in s.all("attachments", owner=owner, hashes=list(some))
            ]
        )
        return {row["hash"].hex(): row["bytes"] for row in rows}


def keep(session: Session, message: int, attachments: Mapping[str, bytes]) -> None:
    """Put on record what a message (its number) refers to; bytes that its owner has already are not written again."""
    for hash, content in attachments.items():
        key = bytes.fromhex(hash)
        if not session.run("link_attachment", message=message, hash=key):
            session.run("add_attachment", message=message, hash=key, bytes=content, now=now())
            session.run("link_attachment", message=message, hash=key)


def drop(session: Session, messages: list[int]) -> None:
    """Forget what these messages refer to, and remove what no other refers to."""
    linked = [row["attachment"] for row in session.all("attachments_linked", messages=messages)]
    if not linked:
        return
    session.run("remove_links", messages=messages)
    for some in portions(linked):
        session.run("remove_attachments", attachments=list(some))


def whole_steps(session: Session, rows: Sequence[Row]) -> list[Step]:
    """Messages of a path that are to be shown to a model: with the bytes that they refer to."""
    steps = [step_of(row) for row in rows]
    marked = [row["seq"] for row in rows if REFERENCE in row["body"]]
    if not marked:
        return steps
    found: dict[str, bytes] = {}
    for some in portions(marked):
        for row in session.all("attachments_of_messages", messages=list(some)):
            found[row["hash"].hex()] = row["bytes"]
    return [msgspec.structs.replace(step, message=whole(step.message, found)) for step in steps]
