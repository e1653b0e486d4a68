"""How much of something may be used in a minute: a sliding window. Pure; the clock is handed in.

No minute, wherever it begins, has more uses than the limit: a window that starts anew each full minute would
let twice as much through around its edge. What is used may be more than was left (a reply's tokens are known
when it ends); then nothing is left until enough of it is a minute old.
"""

from __future__ import annotations

from collections import deque

MINUTE = 60_000
STEP = 1_000
"""Uses within one second are kept as one and forgotten together, a minute after the last of them. So a key
costs little memory, whatever its limit, and a use counts for at most a second too long."""


class _Uses:
    """Uses within one step: when the first and the last were, and how much they were together."""

    __slots__ = ("amount", "first", "last")

    def __init__(self, now: int, amount: int) -> None:
        self.first = self.last = now
        self.amount = amount


class Allowance:
    """So much of something in each minute. Times are in milliseconds, of a clock that never goes back."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._uses: deque[_Uses] = deque()
        self._used = 0

    def use(self, amount: int, now: int) -> None:
        """Put so much on record, even if it is more than is left."""
        self._forget(now)
        self._used += amount
        if self._uses and now - self._uses[-1].first < STEP:
            self._uses[-1].last = now
            self._uses[-1].amount += amount
        else:
            self._uses.append(_Uses(now, amount))

    def remaining(self, now: int) -> int:
        """How much is left, 0 where all or more is used."""
        self._forget(now)
        return max(0, self.limit - self._used)

    def wait(self, now: int) -> int:
        """How long until something is left, if nothing more is used; 0 where something is. At most a minute."""
        self._forget(now)
        used, free_at = self._used, now
        for uses in self._uses:
            if used < self.limit:
                break
            used, free_at = used - uses.amount, uses.last + MINUTE
        return free_at - now

    def _forget(self, now: int) -> None:
        while self._uses and self._uses[0].last + MINUTE <= now:
            self._used -= self._uses.popleft().amount
