"""From bytes to a request's values, and from msgspec's errors to sentences that name the field."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.types import Receive

from palaver.core.errors import BodyTooLarge, InvalidRequest
from palaver.server.exchange import ClientGone, exchange_of

T = TypeVar("T")
Choices = Mapping[str, Sequence[str]]
"""What may stand at a path (without numbers: ``messages[].role``) where only some words may."""

PLACE = re.compile(r"(?P<what>.*?)(?: - at (?P<key>`key` in )?`\$\.?(?P<path>[^`]*)`)?", re.DOTALL)
EXPECTED = re.compile(r"Expected `(?P<types>[^`]+)`(?P<bound> [^,]+)?(?:, got `(?P<got>[^`]+)`)?")
MISSING = re.compile(r"Object missing required field `(?P<field>[^`]+)`")
WRONG_WORD = re.compile(r"Invalid (?:enum )?value (?P<value>.+)", re.DOTALL)
BYTE = re.compile(r"JSON is malformed: (?P<what>.*) \(byte (?P<byte>\d+)\)")
WORDS = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}


DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 5.0
"""How much of a body that is refused is still read and dropped, and for how long: a client that sends all
before it listens would see a broken connection in place of the reply."""


async def read_body(request: Request, limit: int) -> bytes:
    """The request's body, of one who may still ask when all of it is here: a client may take its time.

    Raises BodyTooLarge as soon as it is over `limit` bytes, ClientGone, NotAuthenticated and StoreUnavailable.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body"):
            exchange = exchange_of(request)
            exchange.sent = size
            await exchange.identify_again()
            return b"".join(chunks)


async def drain(receive: Receive) -> None:
    """Read on and drop what comes, within bounds."""
    left = DRAIN_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while left > 0:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return
                left -= len(message["body"])


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is larger than this server accepts ({limit} bytes).")


def decode(body: bytes, decoder: msgspec.json.Decoder[T], choices: Choices | None = None) -> T:
    """The value of a JSON body. Raises InvalidRequest.

    Nothing that cannot be stored gets through: msgspec refuses lone surrogates, NaN and infinities. It holds
    the interpreter's lock, so a thread would not help; 32 MiB take about 30 ms.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise explained(error, choices or {}) from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON: {_syntax(str(error))}.") from None
    except UnicodeDecodeError:
        raise InvalidRequest(f"The body is not valid UTF-8{_bad_byte(body)}.") from None
    except RecursionError:
        raise too_deep() from None


def decode_fields(values: Mapping[str, str | list[str]], kind: type[T], choices: Choices | None = None) -> T:
    """The values of a query; a list has those of a parameter that may come several times. Raises InvalidRequest."""
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise explained(error, choices or {}) from None


def plain(field: str, raw: msgspec.Raw, max_depth: int) -> Any:
    """Any JSON value. Raises InvalidRequest where it nests too deeply, or is no JSON after all."""
    try:
        value = msgspec.json.decode(raw)
    except RecursionError:
        raise too_deep(field) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Found only now: what stands in a field is first looked at when somebody wants it.
        raise InvalidRequest(f"`{field}` is not valid JSON.", param=field) from None
    check_depth(field, value, max_depth)
    return value


def check_depth(field: str, value: Any, max_depth: int) -> None:
    """Raises InvalidRequest where a value nests deeper than that."""
    if _is_deeper(value, max_depth):
        raise too_deep(field)


def too_deep(field: str | None = None) -> InvalidRequest:
    return InvalidRequest("The JSON is nested too deeply.", param=field)


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


def decode_item(
    raw: msgspec.Raw, decoder: msgspec.json.Decoder[T], at: str, choices: Choices | None = None
) -> T:
    """The value of a part of a body that was left raw. `at` is its place in the body. Raises InvalidRequest."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise explained(error, choices or {}, at) from None
    except RecursionError:
        raise too_deep(at) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidRequest(f"`{at}` is not valid JSON.", param=at) from None


def explained(error: msgspec.ValidationError, choices: Choices, at: str = "") -> InvalidRequest:
    """msgspec's error as the API says it: ``$.messages[3].role`` becomes the param ``messages[3].role``. `at` is the
    place in the body of what was decoded; `choices` are of that.

    >>> error = msgspec.ValidationError("Expected `str`, got `int` - at `$.messages[3].role`")
    >>> explained(error, {}).message
    '`messages[3].role` must be a string, not an integer.'
    """
    place = PLACE.fullmatch(str(error))
    if place is None:
        return InvalidRequest(str(error))
    what, inner = place["what"], (place["path"] or "").replace("[...]", "")
    path = at + ("." if at and inner and not inner.startswith("[") else "") + inner
    if missing := MISSING.fullmatch(what):
        path = f"{path}.{missing['field']}" if path else missing["field"]
        return InvalidRequest(f"Input required: `{path}` is missing.", param=path)
    name = f"A key of `{path}`" if place["key"] else f"`{path}`" if path else "The body"
    return InvalidRequest(f"{name} {_must(what, inner, choices)}", param=path or None)


def _must(what: str, path: str, choices: Choices) -> str:
    if expected := EXPECTED.fullmatch(what):
        types = " or ".join(WORDS.get(name, name) for name in expected["types"].split(" | "))
        got = f", not {WORDS.get(expected['got'], expected['got'])}" if expected["got"] else ""
        return f"must be {types}{expected['bound'] or ''}{got}."
    words = choices.get(re.sub(r"\d+", "", path))
    if words and (wrong := WRONG_WORD.fullmatch(what)):
        return f"must be one of {', '.join(words)}; not {wrong['value'][:100]}."
    return f"is not valid: {what}."


def _syntax(message: str) -> str:
    if found := BYTE.fullmatch(message):
        return f"{found['what']} at byte {found['byte']}"
    return "it ends too early" if "truncated" in message else message


def _bad_byte(body: bytes) -> str:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return f" at byte {error.start}"
    return ""
