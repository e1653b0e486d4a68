"""Requests that clients repeat, and the turns that answer them.

SDKs send a request again when its connection broke, with the same body and a count (`x-stainless-retry-count`).
Each turn is claimed once for each count, so that of two equal requests that are both repeated each finds a turn
of its own. The latest turn is claimed first: a client repeats what it has just asked, and an equal question
of some minutes ago has had its answer. What tries a turn again takes its attempts over.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from palaver.core.errors import InvalidRequest
from palaver.core.turn import TurnState
from palaver.stores.base import Attempt
from palaver.stores.database import Row, Session
from palaver.stores.rows import now

KEPT_MS = 15 * 60 * 1000
"""How long an attempt is known; clients give up after some minutes."""
KEPT_WITH_KEY_MS = 24 * 3600 * 1000
LATE_MS = 30 * 1000
"""How much later than its repetition a first attempt may come in: it was held up on its way."""
TRIED_AGAIN = frozenset({TurnState.FAILED, TurnState.INCOMPLETE})
"""Turns in these states have no answer to give: a repetition has the question answered anew."""


class Claim(msgspec.Struct, frozen=True):
    """What a request is, among those before it: `joins` the turn that answers it already, or is another try at
    the question of `again`, or the first of its kind."""

    attempt: Attempt
    hash: bytes
    joins: Row | None = None
    again: Row | None = None


def claim(
    session: Session, owner: int, secret: bytes, attempt: Attempt, replaces: str | None = None
) -> Claim:
    """Find the turn that a request repeats. Raises InvalidRequest where its idempotency key stood for another.

    `replaces` is a turn (an id) that it has found before, and that is dead. Of the body a keyed hash is kept:
    from what is stored nobody can tell what was asked.
    """
    hashed = blake2b(attempt.route.encode() + b"\0" + attempt.body, key=secret, digest_size=16).digest()
    if replaces is not None:
        dead = session.one("turn_number", owner=owner, id=replaces)
        return Claim(attempt, hashed, again=session.one("turn_to_join", seq=dead["seq"]) if dead else None)
    turn = _by_key(session, owner, attempt, hashed) if attempt.idempotency_key else None
    if turn is None and attempt.idempotency_key is None:
        turn = _by_body(session, owner, attempt, hashed)
    found = session.one("turn_to_join", seq=turn) if turn is not None else None
    if found is None:
        return Claim(attempt, hashed)
    if TurnState(found["state"]) in TRIED_AGAIN:
        return Claim(attempt, hashed, again=found)
    _add(session, owner, found["seq"], attempt, hashed)
    return Claim(attempt, hashed, joins=found)


def record(session: Session, owner: int, claimed: Claim, turn: int) -> None:
    """Put on record that a new turn answers the request, in place of the turn that it tries again."""
    if claimed.again is not None:
        session.run("move_attempts", turn=turn, old=claimed.again["seq"])
    _add(session, owner, turn, claimed.attempt, claimed.hash)


def _by_key(session: Session, owner: int, attempt: Attempt, hashed: bytes) -> int | None:
    row = session.one(
        "attempt_by_idempotency_key",
        owner=owner,
        idempotency_key=attempt.idempotency_key,
        since=now() - KEPT_WITH_KEY_MS,
    )
    if row is None:
        return None
    if row["body_hash"] != hashed:
        raise InvalidRequest(
            "This idempotency key came with another request before.",
            param="Idempotency-Key",
            code="idempotency_key_reused",
        )
    turn: int = row["turn"]
    return turn


def _by_body(session: Session, owner: int, attempt: Attempt, hashed: bytes) -> int | None:
    if attempt.count:
        row = session.one(
            "turn_without_attempt", owner=owner, hash=hashed, count=attempt.count, since=now() - KEPT_MS
        )
    else:
        row = session.one("turn_without_first_attempt", owner=owner, hash=hashed, since=now() - LATE_MS)
    return row["turn"] if row else None


def _add(session: Session, owner: int, turn: int, attempt: Attempt, hashed: bytes) -> None:
    session.run(
        "add_attempt",
        owner=owner,
        route=attempt.route,
        hash=hashed,
        idempotency_key=attempt.idempotency_key,
        turn=turn,
        count=attempt.count,
        now=now(),
    )
