"""Functions that a store's SQL calls: what stands in its indexes is made by `palaver.core.searching`."""

from __future__ import annotations

import sqlite3

import msgspec

from palaver.core.message import Message
from palaver.core.searching import searchable, spaced

_message = msgspec.json.Decoder(Message)


def add_functions(connection: sqlite3.Connection) -> None:
    """Have a connection know them. Its triggers and views call them, which some builds of SQLite have to be told."""
    connection.execute("PRAGMA trusted_schema = ON")
    connection.create_function("searchable", 1, _searchable, deterministic=True)
    connection.create_function("spaced", 1, _spaced, deterministic=True)


def _searchable(body: bytes) -> str:
    """What of a stored message is searched. One that cannot be read, which `palaver check` tells, has no words."""
    try:
        return searchable(_message.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _spaced(text: bytes | None) -> str | None:
    return None if text is None else spaced(text.decode(errors="replace"))
