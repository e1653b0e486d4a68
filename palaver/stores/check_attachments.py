"""Checks of attachments: their bytes, whose they are, and what refers to them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from palaver.core.attachments import attachments_of
from palaver.core.message import REFERENCE, Message, hash_of
from palaver.stores.checking import Portion, each
from palaver.stores.database import Row, Session
from palaver.stores.rows import message_of


def check_attachments(session: Session) -> Iterator[Portion]:
    """Look at every attachment, and at everything that is said to refer to one."""
    yield from each(session, "check_attachments", "attachments", _attachment, at_once=1)
    yield from each(session, "check_links", "message_attachments", _links)


def references(session: Session, row: Row, message: Message) -> Iterator[str]:
    """What a message (`seq`, `body`) refers to has to be linked with it, so that it is found and stays."""
    wanted = attachments_of(message) if REFERENCE in row["body"] else set()
    if wanted and not wanted <= {
        each["hash"].hex() for each in session.all("check_links_of", message=row["seq"])
    }:
        yield "it refers to an attachment that is missing, or not linked with it"


def _attachment(row: Row) -> Iterator[str]:
    if row["owner_name"] is None:
        yield "its owner is missing"
    if row["hash"].hex() != hash_of(row["bytes"]):
        yield "its hash is not that of its bytes"
    if not row["is_used"]:
        yield "no message refers to it"


def _links(row: Row) -> Iterator[str]:
    """All links of a message."""
    if row["body"] is None:
        yield "its message is missing"
        return
    if row["there"] < row["links"]:
        yield "its attachment is missing"
    if row["owners"] > 1 or row["attachment_owner"] not in (row["owner"], None):
        yield "its attachment is another owner's"
    try:
        wanted = attachments_of(message_of(row))
    except msgspec.DecodeError:
        return  # told where that message is looked at
    if not {hash.lower() for hash in (row["hashes"] or "").split(",") if hash} <= wanted:
        yield "its message does not refer to it"
