"""Addresses of model servers. Pure."""

from __future__ import annotations

import re
from ipaddress import ip_address

from yarl import URL

from palaver.core.errors import ConfigError

VERSION = re.compile(r"^v\d+[a-z0-9]*$")
"""A part of a base URL's path that says which version of the API; where there is one, none is added."""
PRIVATE = (
    ".localhost",
    ".local",
    ".localdomain",
    ".internal",
    ".lan",
    ".home",
    ".home.arpa",
    ".test",
    ".invalid",
)
"""How names end that are of one machine or network only."""


def addresses(base_url: str) -> tuple[str, str]:
    """The root and the API's address, from a base URL with or without ``/v1``. Raises ConfigError."""
    try:
        url = URL(base_url)
    except ValueError as error:
        raise ConfigError(f"{base_url!r} is not a URL.", setting="upstream") from error
    if url.user or url.password or url.query_string or url.fragment:
        # What may be a secret is not repeated.
        raise ConfigError(
            f"The URL of {url.host} holds more than an address; a key belongs into the environment or the "
            "configuration file.",
            setting="upstream",
        )
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError(
            f"{base_url!r} is no base URL of a model server; it looks like http://127.0.0.1:8000/v1.",
            setting="upstream",
        )
    given = str(url).rstrip("/")
    last = given.rpartition("/")[2]
    root = given.removesuffix("/" + last) if VERSION.match(last) else given
    has_version = any(VERSION.match(part) for part in url.parts)
    return root, given if has_version else f"{given}/v1"


def is_public(url: str) -> bool:
    """Whether a host is none of this machine or network, as far as its name tells."""
    host = (URL(url).host or "").rstrip(".").lower()
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(PRIVATE)


def by_place(url: str) -> set[str]:
    """What a server can do because of where it is, as `Engine.capabilities` has it. What one on this machine is
    asked is taken to cost nothing."""
    return ({"remote_media"} if is_public(url) else set()) | (set() if _is_here(url) else {"paid"})


def _is_here(url: str) -> bool:
    """Whether a host is this machine, as far as its name tells."""
    host = (URL(url).host or "").rstrip(".").lower()
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
