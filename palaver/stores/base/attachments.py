"""The verbs of attachments: bytes of pictures, sound and files, which messages refer to by their hash."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of bytes that messages refer to. `size` is in bytes, `created_at` in milliseconds since 1970.

    `media_type` and `filename` are what the first message that refers to them says, None where it does not. They come
    from clients, and may be anything.
    """

    hash: str
    size: int
    media_type: str | None
    filename: str | None
    created_at: int


class Attachments(Protocol):
    """What messages refer to. They do so in all that is read of them but prompts and paths, which are for models.

    An attachment is its owner's: whoever else knows its hash finds nothing. It goes with the last message that refers
    to it. `palaver.core.attachments` has what references look like.
    """

    async def attachment(self, owner: str, hash: str) -> Attachment:
        """What is known of one, by the hash of its bytes. Raises AttachmentNotFound."""

    async def attachments(self, owner: str, hashes: Sequence[str]) -> dict[str, bytes]:
        """The bytes of these (hashes), as far as the owner has them."""
