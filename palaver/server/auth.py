"""Who may ask: API key, also in the page's cookie, Host, Origin and content type."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from palaver.core.errors import Forbidden, NotAuthenticated
from palaver.server.exchange import Caller
from palaver.server.keyring import Keyring
from palaver.server.route import ALL_SCOPES
from palaver.server.settings import ServerSettings

OWNER = "local"
"""Whose everything is that comes without a key, where none is needed, or with one of the configured ones."""
LOCAL = Caller(owner=OWNER, scopes=ALL_SCOPES)
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
ANY_ADDRESS = frozenset({"0.0.0.0", "::", "[::]"})
COOKIE = "palaver_session"
"""The cookie of a browser that is signed in: the API key, packed so that it may hold any character."""
PAGE = "palaver-page"
"""The header that the page sends with all it asks. No form can send it, and no page elsewhere without being allowed."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
OURS_OR_TYPED = frozenset({"same-origin", "none"})
"""What a browser says (``sec-fetch-site``) of requests by the page itself, and of addresses that somebody typed."""
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/@\[\]]+)(?::(\d{1,5}))?", re.IGNORECASE)


class Guard:
    """Checks requests before anything else looks at them."""

    def __init__(self, settings: ServerSettings, keyring: Keyring) -> None:
        self._keyring = keyring
        keys = (*settings.api_keys, settings.local_key)
        self._keys = [key.encode() for key in keys if key]
        self._needs_key = settings.require_key or bool(settings.api_keys)
        self._hosts = frozenset(_bracketed(host.lower()) for host in settings.allowed_hosts)
        self._any_address = not ANY_ADDRESS.isdisjoint(self._hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in settings.cors_origins)

    async def caller(self, headers: Headers, method: str) -> Caller:
        """Who asks. Raises NotAuthenticated, Forbidden, and StoreUnavailable where created keys cannot be looked up.

        Configured keys need no store. Without any, a key is needed once one was created: a door that was
        closed does not open again when the last key is revoked. A key in the Authorization header goes before one in
        the page's cookie; with the latter only the page may change anything.
        """
        bearer = _bearer(headers.get("authorization", ""))
        given = key_in_cookie(headers) if bearer is None else bearer
        if given is None or not self._is_configured(given):
            if not await self.needs_key():
                return LOCAL
            if given is None:
                raise NotAuthenticated(
                    "No API key provided. Send it in the header `Authorization: Bearer KEY`."
                )
        if bearer is None and method not in SAFE and headers.get(PAGE) != "1":
            raise Forbidden(
                f"With the cookie of a session only the page itself may do this: it sends `{PAGE}: 1`."
            )
        return await self.holder(given)

    async def needs_key(self) -> bool:
        """Whether requests without an API key are refused. Raises StoreUnavailable."""
        return self._needs_key or await self._keyring.is_needed()

    async def holder(self, key: str) -> Caller:
        """Whose an API key is; as it stands in a header. Raises NotAuthenticated and StoreUnavailable."""
        if self._is_configured(key):
            return LOCAL
        found = await self._keyring.find(key)
        return Caller(owner=found.owner, scopes=frozenset(found.scopes), api_key=found)

    def _is_configured(self, key: str) -> bool:
        given = key.encode("latin-1")  # the bytes as they came
        # Every key is compared, each in constant time: how long it takes says nothing about any of them.
        return bool(sum(hmac.compare_digest(given, known) for known in self._keys))

    def check_host(self, headers: Headers) -> None:
        """Raises Forbidden for a name that is not ours: pages of that name reach us by DNS rebinding."""
        given = headers.get("host", "").lower()
        match = HOST.fullmatch(given)
        if match is None:
            raise Forbidden("The Host header is missing or is no host.")
        name = match[1]
        if "*" in self._hosts or name in LOOPBACK or not self._hosts.isdisjoint((name, given)):
            return
        if self._any_address and _is_address(name):
            return
        raise Forbidden(
            f"The Host {name} is not one of this server's names. `--allowed-host {name}` adds it."
        )

    def allowed_origin(self, headers: Headers) -> str | None:
        """The Origin that may read the reply; None where none was sent. Raises Forbidden for others."""
        origin = headers.get("origin")
        if origin is None:
            return None
        known = origin.lower().rstrip("/")
        if "*" in self._origins or known in self._origins or _is_ours(known, headers.get("host", "").lower()):
            return origin
        if known == "null":  # every sandboxed page and every file: nothing to open a door to
            raise Forbidden("Pages without an origin of their own may not call this server.")
        raise Forbidden(f"Pages of {origin} may not call this server. `--cors-origin {origin}` allows it.")

    @staticmethod
    def check_content_type(headers: Headers) -> None:
        """Raises Forbidden for a body that is not JSON: a foreign page can send those without being asked."""
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        if has_body and kind != "application/json":
            raise Forbidden("A request's body is JSON: send the header `Content-Type: application/json`.")


def in_cookie(key: str) -> str:
    """An API key, as it stands in a header, as the cookie's value."""
    return base64.urlsafe_b64encode(key.encode("latin-1")).decode().rstrip("=")


def key_in_cookie(headers: Headers) -> str | None:
    """The API key in the page's cookie; None where there is none, and where another site had the request sent.

    Browsers count other ports of the same host as the same site, and send them this cookie.
    """
    if headers.get("sec-fetch-site", "none") not in OURS_OR_TYPED:
        return None
    origin = headers.get("origin")
    if origin is not None and not _is_ours(origin.lower().rstrip("/"), headers.get("host", "").lower()):
        return None
    value = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
    try:
        return base64.urlsafe_b64decode(value.encode() + b"==").decode("latin-1") or None
    except (binascii.Error, ValueError):
        return None  # not written by us


def _bearer(authorization: str) -> str | None:
    """The key in an Authorization header, or None."""
    scheme, _, key = authorization.partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def _bracketed(host: str) -> str:
    """An IPv6 address as it stands in a Host header; anything else as it is."""
    return f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _is_ours(origin: str, host: str) -> bool:
    """Whether an origin is that of a page of this server: by the name it was called, or one of loopback's."""
    try:
        scheme, netloc = urlsplit(origin)[:2]
    except ValueError:
        return False
    if scheme not in ("http", "https"):
        return False
    if netloc == host:
        return True
    there, here = HOST.fullmatch(netloc), HOST.fullmatch(host)
    return bool(there and here and {there[1], here[1]} <= LOOPBACK and there[2] == here[2])
