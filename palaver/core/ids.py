"""Ids: a prefix that says what is named, and a body that sorts by time.

The body is a ULID (https://github.com/ulid/spec) in lower case: 48 bits of Unix milliseconds and 80 random
bits in Crockford's base 32. Time and randomness are handed in, so this module stays pure.
"""

from __future__ import annotations

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
BODY_LENGTH = 26
RANDOM_BYTES = 10

CONVERSATION = "conv_"
MESSAGE = "msg_"
API_KEY = "key_"
EPOCH = "epoch_"
SUMMARY = "sum_"
TURN = "turn_"
CHAT_COMPLETION = "chatcmpl-"
RESPONSE = "resp_"
TURN_PREFIXES = (TURN, CHAT_COMPLETION, RESPONSE)
REASONING = "rs_"
FUNCTION_CALL = "fc_"
FUNCTION_CALL_OUTPUT = "fco_"
ITEM_PREFIXES = (MESSAGE, REASONING, FUNCTION_CALL, FUNCTION_CALL_OUTPUT)
"""What the ids of items begin with, as the Responses API has them: each is a message, or a part of one."""


def id_body(milliseconds: int, randomness: bytes) -> str:
    """The 26 characters that name a thing made at `milliseconds` since 1970 (UTC).

    Raises ValueError unless `randomness` has exactly 10 bytes and the time fits 48 bits.
    """
    if len(randomness) != RANDOM_BYTES or not 0 <= milliseconds < 1 << 48:
        raise ValueError("an id takes 48 bits of time and 10 random bytes")
    number = milliseconds << 80 | int.from_bytes(randomness, "big")
    return "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def seconds_of(id: str) -> int:
    """When the thing that an id names was made, in whole seconds since 1970.

    >>> seconds_of("turn_" + id_body(1_700_000_000_123, bytes(10)))
    1700000000
    """
    number = 0
    for character in id.rpartition("_")[2]:
        number = number << 5 | ALPHABET.index(character)
    return (number >> 80) // 1000


def is_id(text: str, prefix: str) -> bool:
    """Whether `text` has the form of an id with this prefix."""
    body = text.removeprefix(prefix)
    return text.startswith(prefix) and len(body) == BODY_LENGTH and all(c in ALPHABET for c in body)


def made_at(id: str) -> int:
    """When the thing was made that an id of any prefix names, in milliseconds since 1970."""
    number = 0
    for character in id[-BODY_LENGTH:]:
        number = number << 5 | ALPHABET.index(character)
    return number >> 80


def turn_id(text: str) -> str | None:
    """The stored id (``turn_…``) of a turn, given any of its forms (``chatcmpl-…``, ``resp_…``), or None."""
    for prefix in TURN_PREFIXES:
        if is_id(text, prefix):
            return TURN + text.removeprefix(prefix)
    return None


def as_chat_completion(turn: str) -> str:
    """A turn's id as the chat completions API shows it."""
    return CHAT_COMPLETION + turn.removeprefix(TURN)


def as_response(turn: str) -> str:
    """A turn's id as the Responses API shows it."""
    return RESPONSE + turn.removeprefix(TURN)


def reply_of(turn: str) -> str:
    """The id of the message that a turn's first reply becomes. It is known before that is stored, and after a crash."""
    return MESSAGE + turn.removeprefix(TURN)


def item_id(prefix: str, message: str, place: int = 0) -> str:
    """The id of an item: of a part of a message, the `place`-th of its kind.

    >>> item_id(FUNCTION_CALL, "msg_0123456789abcdefghjkmnpqrs", 1)
    'fc_0123456789abcdefghjkmnpqrs_1'
    """
    body = message.removeprefix(MESSAGE)
    return f"{prefix}{body}_{place}" if place else prefix + body


def message_of_item(item: str) -> str | None:
    """The id of the message that an item is, or is a part of; None where that is no id of an item.

    >>> message_of_item("fc_0123456789abcdefghjkmnpqrs_1")
    'msg_0123456789abcdefghjkmnpqrs'
    """
    for prefix in ITEM_PREFIXES:
        body, _, place = item.removeprefix(prefix).partition("_")
        if (
            is_id(prefix + body, prefix)
            and item.startswith(prefix)
            and (place.isdecimal() or item == prefix + body)
        ):
            return MESSAGE + body
    return None
