"""From the one exception tree to HTTP: which error has which status, and the API's error body.

The body is Together's (https://docs.together.ai/docs/error-codes), which is OpenAI's plus an `id`:
``{"id": …, "error": {"message": …, "type": …, "param": …, "code": …}}``. `type` is one of three:
``invalid_request_error`` (what was sent cannot be served: 4xx), ``rate_limit_error`` (429) and
``server_error`` (5xx). `code` says exactly what happened.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from palaver.core import errors as e

INVALID = "invalid_request_error"
RATE_LIMIT = "rate_limit_error"
SERVER = "server_error"


class ErrorDetail(msgspec.Struct, frozen=True):
    """What went wrong. `param` names the field at fault as a path into the body, such as ``messages[2].role``.

    `type` is ``invalid_request_error`` where the request cannot be served as it is (4xx), ``rate_limit_error``
    for 429 and ``server_error`` for 5xx. `code` says exactly what happened; it is null where `param` says it all.
    """

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every reply whose status is 400 or more. `id` is that of the request."""

    id: str
    error: ErrorDetail


class Meaning(NamedTuple):
    """What an error is in HTTP. `retry_after` is in seconds; None says nothing about trying again."""

    status: int
    type: str
    code: str | None = None
    retry_after: int | None = None


TABLE: dict[type[Exception], Meaning] = {
    e.InvalidRequest: Meaning(400, INVALID),
    e.NotAuthenticated: Meaning(401, INVALID),
    e.Forbidden: Meaning(403, INVALID),
    e.NotFound: Meaning(404, INVALID),
    e.TurnRunning: Meaning(409, INVALID, retry_after=1),
    e.TurnCancelled: Meaning(409, INVALID),
    e.ConversationBusy: Meaning(409, INVALID, retry_after=1),
    e.BodyTooLarge: Meaning(413, INVALID),
    e.TooManyRequests: Meaning(429, RATE_LIMIT, retry_after=1),
    e.RequestError: Meaning(400, INVALID),
    e.EngineError: Meaning(502, SERVER, "engine_error"),
    e.EngineUnavailable: Meaning(503, SERVER, "engine_unavailable", retry_after=2),
    e.EngineTimeout: Meaning(504, SERVER, "engine_timeout"),
    e.EngineBroke: Meaning(502, SERVER, "engine_broke"),
    e.StoreError: Meaning(500, SERVER, "store_error"),
    e.StoreFull: Meaning(507, SERVER, "store_full"),
    e.StoreUnavailable: Meaning(503, SERVER, "store_unavailable", retry_after=1),
    e.StoreRefused: Meaning(500, SERVER, "store_refused"),
    e.StoreCorrupt: Meaning(500, SERVER, "store_corrupt"),
    e.StoreOwned: Meaning(503, SERVER, "store_owned", retry_after=2),
    e.LeaseLost: Meaning(503, SERVER, "lease_lost", retry_after=1),
    e.ConfigError: Meaning(500, SERVER, "configuration_error"),
    e.PalaverError: Meaning(500, SERVER, "internal_error"),
}
"""The nearest class above an error says what it is. `EngineRefused` brings a status of its own."""

UNFORESEEN = Meaning(500, SERVER, "internal_error")
UNFORESEEN_MESSAGE = "Something went wrong inside palaver. Its log has the details under this request's id."


def is_foreseen(error: Exception) -> bool:
    return isinstance(error, e.PalaverError | HTTPException)


def meaning_of(error: Exception) -> Meaning:
    """What an error is in HTTP."""
    if isinstance(error, e.EngineRefused):
        return _refused(error.status)
    if isinstance(error, HTTPException):  # the router's own: 404 and 405
        code = "method_not_allowed" if error.status_code == 405 else "not_found"
        return Meaning(error.status_code, INVALID, code)
    return next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), UNFORESEEN)


def _refused(status: int) -> Meaning:
    code = "engine_refused"
    if status == 429:
        return Meaning(429, RATE_LIMIT, code, retry_after=2)
    return Meaning(status, INVALID if status < 500 else SERVER, code)


def detail_of(error: Exception) -> ErrorDetail:
    """What the caller is told. Of an unforeseen error nothing: its text may hold anything."""
    meaning = meaning_of(error)
    if isinstance(error, e.RequestError):
        return ErrorDetail(error.message, meaning.type, error.param, error.code or meaning.code)
    if isinstance(error, e.PalaverError):
        param = error.param if isinstance(error, e.EngineRefused) else None
        return ErrorDetail(error.public, meaning.type, param, meaning.code)
    if isinstance(error, HTTPException):
        return ErrorDetail(error.detail, meaning.type, None, meaning.code)
    return ErrorDetail(UNFORESEEN_MESSAGE, meaning.type, None, meaning.code)


def error_response(error: Exception, request_id: str) -> Response:
    """The reply that tells of an error."""
    meaning = meaning_of(error)
    told = getattr(error, "retry_after", None)  # by the limit, or by the model's server
    if meaning.retry_after is not None and told is not None:
        meaning = meaning._replace(retry_after=math.ceil(told))
    headers = dict(getattr(error, "headers", None) or {})  # the router's: Allow
    if meaning.retry_after is not None:
        headers["retry-after"] = str(meaning.retry_after)
    if meaning.status == 429:
        headers["x-ratelimit-reset"] = str(meaning.retry_after)
    if isinstance(error, e.TurnCancelled):
        headers["x-should-retry"] = "false"  # SDKs repeat after a 409; this is final
    if meaning.status == 401:
        headers["www-authenticate"] = "Bearer"
    if meaning.status == 413:
        headers["connection"] = "close"  # the rest of its body is not read
    body = msgspec.json.encode(ErrorBody(request_id, detail_of(error)))
    return Response(body, meaning.status, headers, "application/json")


def error_event(error: Exception) -> bytes:
    """The event that tells of an error once a stream has begun.

    Without an ``event:`` line, or Together's SDKs drop it; all official SDKs raise their `APIError` with it.
    """
    return b'data: {"error":' + msgspec.json.encode(detail_of(error)) + b"}\n\n"
