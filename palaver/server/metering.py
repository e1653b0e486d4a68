"""What API keys with limits have used: requests when they come, tokens when their turns end.

It is kept in memory, by each process for itself: a restart forgets the last minute.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from palaver.core import ids
from palaver.core.errors import RateLimited
from palaver.core.turn import Delta, ToolCallDelta, TurnState
from palaver.live import LiveReply, Outcome
from palaver.server.limits import Allowance
from palaver.stores.base import ApiKey

CHARACTERS_PER_TOKEN = 4


def milliseconds() -> int:
    """A clock that never goes back."""
    return time.monotonic_ns() // 1_000_000


class Meter:
    """One API key with limits, and what of them is left."""

    def __init__(self, key: ApiKey, clock: Callable[[], int] = milliseconds) -> None:
        self._requests = Allowance(key.requests_per_minute) if key.requests_per_minute is not None else None
        self._tokens = Allowance(key.tokens_per_minute) if key.tokens_per_minute is not None else None
        self._clock = clock
        self._waiting: set[asyncio.Task[None]] = set()

    def count_request(self) -> None:
        """Count a request in. Raises RateLimited, and then counts nothing."""
        now = self._clock()
        for allowance, what, code in (
            (self._tokens, "tokens", "token_limited"),
            (self._requests, "requests", "request_limited"),
        ):
            if allowance is not None and (wait := allowance.wait(now)):
                raise RateLimited(
                    f"This API key has used up its {allowance.limit} {what} per minute: "
                    f"try again in {_seconds(wait)} s.",
                    retry_after=wait / 1000,
                    code=code,
                )
        if self._requests is not None:
            self._requests.use(1, now)

    def charge(self, tokens: int) -> None:
        """Charge tokens that no turn is charged for."""
        if self._tokens is not None:
            self._tokens.use(tokens, self._clock())

    def charge_at_end(self, live: LiveReply, sent: int, since: int) -> None:
        """Charge a turn's tokens when it ends, once, whoever reads it.

        `sent` is the size of the request in characters. A turn from before `since` (the request's arrival, in
        milliseconds since 1970) is charged to the request that began it: this one repeats that.
        """
        if self._tokens is None or ids.made_at(live.turn) < since:
            return
        task = asyncio.create_task(self._charge(self._tokens, live, sent))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _charge(self, tokens: Allowance, live: LiveReply, sent: int) -> None:
        outcome = await live.ended()
        tokens.use(cost(live, outcome, sent), self._clock())

    def headers(self) -> list[tuple[str, str]]:
        """What is left, for the reply's headers: Together's names. A reset is in seconds: how long to wait."""
        now = self._clock()
        return [
            header
            for name, allowance in (("x-ratelimit", self._requests), ("x-tokenlimit", self._tokens))
            if allowance is not None
            for header in (
                (f"{name}-limit", str(allowance.limit)),
                (f"{name}-remaining", str(allowance.remaining(now))),
                (f"{name}-reset", str(_seconds(allowance.wait(now)))),
            )
        ]


class Meters:
    """The meters of all keys that have limits."""

    def __init__(self, clock: Callable[[], int] = milliseconds) -> None:
        self._clock = clock
        self._meters: dict[str, Meter] = {}

    def of(self, key: ApiKey | None) -> Meter | None:
        """The key's meter; None where it has no limits."""
        if key is None or (key.requests_per_minute is None and key.tokens_per_minute is None):
            return None
        if key.id not in self._meters:
            self._meters[key.id] = Meter(key, self._clock)
        return self._meters[key.id]


def cost(live: LiveReply, outcome: Outcome, sent: int) -> int:
    """How many tokens a turn is charged: its prompt's and its reply's, as the engine reports them.

    Where it reports nothing (not every server does, and none when it is interrupted) this is an estimate: a
    token for every four characters of the request, as it was sent, and of the reply. A turn that failed
    before any text is free.
    """
    if outcome.usage is not None:
        return outcome.usage.prompt_tokens + outcome.usage.completion_tokens
    if outcome.state is TurnState.FAILED:
        return 0
    return estimate(sent + sum(_length(event) for event in live.events))


def estimate(characters: int) -> int:
    """About how many tokens so many characters are."""
    return math.ceil(characters / CHARACTERS_PER_TOKEN)


def _length(event: Delta) -> int:
    return len(event.arguments if isinstance(event, ToolCallDelta) else event.text)


def _seconds(wait: int) -> int:
    return math.ceil(wait / 1000)
