"""The door itself: one ASGI application.

Every request goes the same way: its path loses what leads it (``/v1`` any number of times, doubled slashes),
Host, Origin, content type and key are checked, the router finds the operation, and whatever is raised becomes
the API's error body. Every reply carries `x-request-id`, and those of an admitted turn name it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from urllib.parse import quote

import msgspec
import structlog
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from palaver.chat import Chat
from palaver.core.errors import BodyTooLarge, NotFound, StoreError
from palaver.server.auth import Guard
from palaver.server.body import drain
from palaver.server.errors import error_response, is_foreseen
from palaver.server.exchange import KEY, ClientGone, Exchange, exchange_of
from palaver.server.keyring import Keyring
from palaver.server.metering import Meters
from palaver.server.openapi import UNVERSIONED, VARIABLE, openapi
from palaver.server.operations import all_operations
from palaver.server.pages import documentation
from palaver.server.route import Handler, Operation, json_response
from palaver.server.settings import ServerSettings

__all__ = ["ServerSettings", "build_app"]

CLIENT_GONE = 499
"""The status in the log of a request whose client left before the reply began; nginx's number for it."""

log = structlog.get_logger(__name__)


def build_app(chat: Chat, settings: ServerSettings) -> ASGIApp:
    """The HTTP door to `chat`."""
    return _Door(chat, settings)


class Health(msgspec.Struct, frozen=True):
    status: str
    version: str


class _Door:
    def __init__(self, chat: Chat, settings: ServerSettings) -> None:
        self._settings = settings
        self._keyring = Keyring(chat.store)
        self._guard = Guard(settings, self._keyring)
        self._meters = Meters()
        operations = [*all_operations(chat, settings, self._keyring, self._guard), *self._operations()]
        opened = [each.path for each in operations if each.is_open]
        self._open = frozenset(opened)
        self._open_below = tuple(path.partition("{")[0] for path in opened if "{" in path)
        self._document = openapi(operations, settings.version)
        paths: dict[str, dict[str, Handler]] = {}
        for each in operations:
            paths.setdefault(each.path, {})[each.method] = self._allowed(each)
        self._router = Router(
            # One route a path, so that a 405 names all of its methods.
            [Route(path, _by_method(methods), methods=list(methods)) for path, methods in paths.items()],
            redirect_slashes=False,
        )

    def _allowed(self, operation: Operation) -> Handler:
        """The operation's handler for those whose API key allows it."""

        async def handle(request: Request) -> Response:
            exchange = exchange_of(request)
            if not operation.is_open:
                exchange.check_scope(operation.scope)
            if operation.is_limited:
                exchange.meter = self._meters.of(exchange.caller.api_key)
                if exchange.meter is not None:
                    exchange.meter.count_request()
            if operation.scope != "admin":
                return await operation.handler(request)
            with self._keyring.changing():  # keys and owners may change, even where it fails
                return await operation.handler(request)

        return handle

    def _operations(self) -> list[Operation]:
        def shown(
            path: str, handler: Handler, summary: str, kind: str, reply: type | None = None
        ) -> Operation:
            return Operation(
                method="GET",
                path=path,
                handler=handler,
                summary=summary,
                reply=reply,
                media_type=kind,
                is_open=True,
            )

        return [
            shown("/health", self._health, "Whether it is ready", "application/json", Health),
            shown("/docs", self._docs, "This description, for people", "text/html"),
            shown("/openapi.json", self._openapi, "This description, for programs", "application/json"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        exchange, began = Exchange(), time.perf_counter()
        sending = _with_headers(send, exchange)
        try:
            await self._serve(
                {**scope, "app": self, KEY: exchange, "path": routed_path(scope)}, receive, sending
            )
        except ClientGone:
            pass  # nobody is left to answer
        except Exception as error:
            # Whatever went wrong with one request, it ends with an answer, and the others go on.
            if not is_foreseen(error):
                log.exception("a request failed in an unforeseen way", request=exchange.id)
            if isinstance(error, StoreError):
                log.warning("the store failed a request", request=exchange.id, reason=error.message)
            if exchange.status:
                raise  # an answer has begun, so only a broken connection can tell
            await self._refuse(error, exchange, scope, receive, sending)
        finally:
            log.info(
                "request",
                method=scope["method"],
                path=self._shown_path(scope),
                status=exchange.status or CLIENT_GONE,
                ms=round((time.perf_counter() - began) * 1000, 1),
                request=exchange.id,
                turn=exchange.turn,
            )

    def _shown_path(self, scope: Scope) -> str:
        """The path as the log has it: that of the operation, because names and ids in a path are somebody's."""
        path = routed_path(scope)
        for route in self._router.routes:
            if isinstance(route, Route) and route.path_regex.match(path):
                shown = VARIABLE.sub(r"{\1}", route.path)
                return shown if shown in UNVERSIONED else "/v1" + shown
        return "unknown"

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope[KEY]
        headers = Headers(scope=scope)
        self._guard.check_host(headers)
        exchange.allowed_origin = self._guard.allowed_origin(headers)
        if (
            scope["method"] == "OPTIONS"
            and exchange.allowed_origin
            and "access-control-request-method" in headers
        ):
            await _preflight(headers)(scope, receive, send)
            return
        if scope["path"] not in self._open and not scope["path"].startswith(self._open_below):
            await exchange.identify(partial(self._guard.caller, headers, scope["method"]))
        if scope["method"] == "POST":
            self._guard.check_content_type(headers)
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:
            raise _routing_error(error, scope) from None

    async def _refuse(
        self, error: Exception, exchange: Exchange, scope: Scope, receive: Receive, send: Send
    ) -> None:
        response = error_response(error, exchange.id)
        if not isinstance(error, BodyTooLarge):
            await response(scope, receive, send)
            return
        await send(
            {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        )
        await send({"type": "http.response.body", "body": response.body, "more_body": True})
        await drain(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _health(self, request: Request) -> Response:
        return json_response(Health("ok", self._settings.version))

    async def _docs(self, request: Request) -> Response:
        return documentation(self._document)

    async def _openapi(self, request: Request) -> Response:
        return json_response(self._document)


def _by_method(handlers: Mapping[str, Handler]) -> Handler:
    async def handle(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return handle


def routed_path(scope: Scope) -> str:
    """The path to be routed: still percent-encoded, without empty parts, leading ``v1`` and leading ``ui``.

    Where the page is at ``/ui/``, what it asks for is below that.
    """
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    parts = [part for part in raw.decode("latin-1").split("/") if part]
    while parts and (parts[0] == "v1" or (parts[0] == "ui" and len(parts) > 1)):
        del parts[0]
    return "/" + "/".join(parts)


def _with_headers(send: Send, exchange: Exchange) -> Send:
    """`send`, with the headers that every reply has."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            exchange.status = message["status"]
            given = list(message.get("headers", ()))
            names = {name for name, _ in given}
            message["headers"] = given + [each for each in exchange.headers() if each[0] not in names]
        await send(message)

    return sending


def _preflight(headers: Headers) -> Response:
    """What a browser asks before it lets another origin's page send a request that is more than a form's."""
    allowed = {
        "access-control-allow-methods": "GET, POST, DELETE, OPTIONS",
        "access-control-allow-headers": headers.get(
            "access-control-request-headers", "authorization, content-type"
        ),
        "access-control-max-age": "600",
    }
    if headers.get("access-control-request-private-network") == "true":
        allowed["access-control-allow-private-network"] = "true"
    return Response(status_code=204, headers=allowed)


def _routing_error(error: HTTPException, scope: Scope) -> Exception:
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return HTTPException(405, f"{scope['method']} is not possible here: {allowed} is.", error.headers)
    asked = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
    return NotFound(f"There is nothing at {asked[:200]}. `/docs` lists what there is.")
