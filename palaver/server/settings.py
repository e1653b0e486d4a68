"""What the HTTP door goes by."""

from __future__ import annotations

from typing import Any

import msgspec


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one door.

    `api_keys` are the keys a client may send besides those in the store; all of them stand for the same owner.
    With none of them, without `require_key`, and as long as the store never had one, no key is asked for.
    `local_key` is a secret of this machine's own user, always accepted unless it is empty.

    `allowed_hosts` are names, with or without a port, that a Host header may have besides loopback's.
    ``0.0.0.0`` or ``::`` allows every address that is no name: those cannot be rebound by a foreign DNS.
    ``*`` allows everything. `cors_origins` are origins of web pages that may call (``https://app.example``,
    or ``*`` for all), besides those of this server itself.

    `max_attachment` is how large a picture or file in a message may be, in bytes, decoded. `media_hosts` are the
    hosts whose ``http`` and ``https`` addresses may stand in messages; ``*`` allows all. Addresses are refused
    else, except for models whose own server fetches them.

    `max_depth` is how deep JSON may nest. `hold_seconds` is how long the headers of a stream wait for the
    engine, so that its refusal has a status of its own; `keepalive_seconds` how long a stream is silent
    before a comment says that it lives.

    `default_model` is what a client is told to name where its user chose none, and `retain_days` how long conversations
    are kept after their last message; None is for ever. The door does neither itself.
    """

    api_keys: tuple[str, ...] = ()
    local_key: str = ""
    require_key: bool = False
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    max_body_bytes: int = 32 * 1024 * 1024
    max_messages: int = 10_000
    max_attachment: int = 20 * 1024 * 1024
    media_hosts: tuple[str, ...] = ()
    max_depth: int = 64
    hold_seconds: float = 5.0
    keepalive_seconds: float = 15.0
    default_model: str | None = None
    retain_days: float | None = None
    version: str = ""

    def __repr__(self) -> str:
        """Without the keys: a repr ends up in logs."""
        return f"ServerSettings(version={self.version!r}, …)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """The same for tracebacks that rich prints."""
        return [("version", self.version)]
