"""``/v1/session``: a browser that is signed in, by a cookie that holds its API key.

The cookie has no `Path`: a browser then sends it to what is asked below the ``v1`` that it was set from, wherever a
proxy has put that.
"""

from __future__ import annotations

from http import cookies
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from palaver.core.errors import NotAuthenticated
from palaver.server.auth import COOKIE, Guard, in_cookie, key_in_cookie
from palaver.server.body import decode, read_body
from palaver.server.exchange import Caller
from palaver.server.route import Operation, json_response

MAX_BODY = 16 * 1024
LASTS = 30 * 24 * 3600
"""How long a browser keeps the cookie after the page was last opened, in seconds."""
KEY_LENGTH = 512
"""Browsers keep cookies of 4096 bytes, and a character may take four, which become six."""


class SessionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who signs in."""

    api_key: Annotated[
        str,
        Meta(min_length=1, max_length=KEY_LENGTH, description="The API key, from the settings or created."),
    ]


class SessionBody(msgspec.Struct, frozen=True, kw_only=True):
    """Whether whoever asks may go on. `signed_in` says whether a valid API key came, in the cookie or in a header.

    Without one, and where one is needed (`needs_key`), `owner` is null and there are no `scopes`.
    """

    object: Literal["session"] = "session"
    needs_key: bool
    signed_in: bool
    owner: str | None
    scopes: list[str]


_decoder = msgspec.json.Decoder(SessionRequest)


class Sessions:
    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def operations(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path="/session",
                handler=self.show,
                summary="Whether an API key is needed, and whose came",
                description="Of a browser that is signed in the cookie is set anew, for another 30 days.",
                reply=SessionBody,
                is_open=True,
            ),
            Operation(
                method="POST",
                path="/session",
                handler=self.begin,
                summary="Sign a browser in",
                description="Sets the cookie `palaver_session`, which no script can read. With it, requests that "
                "change anything must have the header `palaver-page: 1`; a key in the header `Authorization` goes "
                "before it. It is of no use any more once its API key is revoked or has expired.",
                body=SessionRequest,
                reply=SessionBody,
                is_open=True,
            ),
            Operation(
                method="DELETE",
                path="/session",
                handler=self.end,
                summary="Sign a browser out",
                description="Clears the cookie.",
                reply=SessionBody,
                is_open=True,
            ),
        ]

    async def show(self, request: Request) -> Response:
        needs_key = await self._guard.needs_key()
        try:
            caller = await self._guard.caller(request.headers, "GET")
        except NotAuthenticated:
            return _answer(SessionBody(needs_key=needs_key, signed_in=False, owner=None, scopes=[]))
        key = key_in_cookie(request.headers)
        known = await self._is_known(key)
        bearer = "authorization" in request.headers
        shown = _shown(caller, needs_key, signed_in=known or (bearer and needs_key))
        return _answer(shown, _cookie(request, in_cookie(key), LASTS) if key and known else None)

    async def begin(self, request: Request) -> Response:
        asked = decode(await read_body(request, MAX_BODY), _decoder)
        key = asked.api_key.strip().encode().decode("latin-1")  # as the bytes would come in a header
        caller = await self._guard.holder(key)
        shown = _shown(caller, await self._guard.needs_key(), signed_in=True)
        return _answer(shown, _cookie(request, in_cookie(key), LASTS))

    async def end(self, request: Request) -> Response:
        needs_key = await self._guard.needs_key()
        return _answer(
            SessionBody(needs_key=needs_key, signed_in=False, owner=None, scopes=[]), _cookie(request, "", 0)
        )

    async def _is_known(self, key: str | None) -> bool:
        if key is None:
            return False
        try:
            await self._guard.holder(key)
        except NotAuthenticated:
            return False
        return True


def _shown(caller: Caller, needs_key: bool, *, signed_in: bool) -> SessionBody:
    return SessionBody(
        needs_key=needs_key, signed_in=signed_in, owner=caller.owner, scopes=sorted(caller.scopes)
    )


def _answer(body: SessionBody, cookie: str | None = None) -> Response:
    headers = {"cache-control": "no-store"} | ({"set-cookie": cookie} if cookie else {})
    return json_response(body, headers=headers)


def _cookie(request: Request, value: str, lasts: int) -> str:
    """The header that has a browser keep the value for so many seconds; with 0 it forgets it."""
    made: cookies.Morsel[str] = cookies.Morsel()
    made.set(COOKIE, value, value)
    made["httponly"] = True
    made["samesite"] = "Strict"
    made["max-age"] = str(lasts)
    # A proxy may not say that the browser came by https; the browser does, of its page.
    made["secure"] = request.url.scheme == "https" or request.headers.get("origin", "").startswith("https:")
    return made.OutputString()
