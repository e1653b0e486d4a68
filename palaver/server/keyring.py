"""Created API keys as the door knows them: found by their hash, remembered for a moment."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import TypeVar

import structlog

from palaver.core.errors import NotAuthenticated, StoreError, StoreUnavailable
from palaver.stores.base import ApiKey, Store

T = TypeVar("T")

PREFIX = "pal_"
RANDOM_BYTES = 32
LENGTH = len(PREFIX) + 43
"""32 bytes are 43 characters of URL-safe base64."""
HINT = 4
FRESH = 2.0
"""How long what the store said of a key counts, in seconds: so late another process's change is noticed."""
MANY = 1024
"""How many keys are remembered at a time."""
NOTED_EVERY = 60.0
"""How often the store is told which keys are used, in seconds."""

log = structlog.get_logger(__name__)


def new_key() -> str:
    """A key that nobody can guess."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def hash_of(key: str) -> bytes:
    """What is stored of a key.

    One plain SHA-256 is enough: slow hashes and salts protect secrets that can be tried one after the other,
    and there are 2^256 of these. It also lets a key be found by its hash, and an index that compares hashes
    tells by its timing nothing about the key.
    """
    return hashlib.sha256(key.encode()).digest()


class Keyring:
    """The store's keys. What is changed here is known at once (`changing`), what others change soon."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._clock = clock
        self._today = today
        self._known: dict[bytes, tuple[float, ApiKey]] = {}
        self._version = 0
        self._changes = 0
        self._was_open = float("-inf")
        self._is_closed = False
        self._used: dict[str, int] = {}
        self._noted = float("-inf")
        self._noting: set[asyncio.Task[None]] = set()

    def forget(self) -> None:
        """Ask the store again: keys have changed."""
        self._version += 1  # what is being read at the moment may be of before
        self._known.clear()
        self._was_open = float("-inf")

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """While keys may change nothing is remembered, since a change is there before its maker hears of it."""
        self._changes += 1
        self.forget()
        try:
            yield
        finally:
            self._changes -= 1
            self.forget()

    def _may_remember(self, version: int) -> bool:
        """Whether what was read since that version is surely not of before a change."""
        return version == self._version and not self._changes

    async def is_needed(self) -> bool:
        """Whether the store ever had a key: then one is asked for. Raises StoreUnavailable."""
        if not self._is_closed and self._clock() - self._was_open >= FRESH:
            version, began = self._version, self._clock()
            self._is_closed = await self._asked(self._store.had_api_key())
            if self._may_remember(version):
                self._was_open = began
        return self._is_closed

    async def find(self, key: str) -> ApiKey:
        """The key that is valid now. Raises NotAuthenticated, and StoreUnavailable where that cannot be told."""
        if len(key) != LENGTH or not key.startswith(PREFIX):
            raise NotAuthenticated  # it was never one of ours
        hash = hash_of(key)
        read_at, found = self._known.get(hash, (float("-inf"), None))
        if found is None or self._clock() - read_at >= FRESH:
            found = await self._read(hash)
        now = self._today()
        if found.revoked_at is not None:
            raise NotAuthenticated(f"This API key was revoked on {_day(found.revoked_at)}.")
        if found.expires_at is not None and found.expires_at <= now * 1000:
            raise NotAuthenticated(f"This API key expired on {_day(found.expires_at)}.")
        self._note(found.id, int(now * 1000))
        return found

    async def _read(self, hash: bytes) -> ApiKey:
        version, began = self._version, self._clock()
        found = await self._asked(self._store.api_key_of(hash))
        if found is None:
            raise NotAuthenticated
        if self._may_remember(version):
            if len(self._known) >= MANY:
                self._known.clear()
            self._known[hash] = began, found
        return found

    @staticmethod
    async def _asked(answer: Awaitable[T]) -> T:
        """What the store says. That it cannot say is never taken for a no, nor for a yes."""
        try:
            return await answer
        except StoreError as error:
            what = "API keys cannot be checked at the moment."
            raise StoreUnavailable(f"{what} {error.message}", public=f"{what} {error.public}") from error

    def _note(self, id: str, now: int) -> None:
        """Remember that a key was used, and now and then tell the store."""
        self._used[id] = now
        if self._clock() - self._noted >= NOTED_EVERY:
            self._noted = self._clock()
            task = asyncio.create_task(self.note_uses())
            self._noting.add(task)
            task.add_done_callback(self._noting.discard)

    async def note_uses(self) -> None:
        """Tell the store when keys were last used. Where that fails it is told the next time."""
        used, self._used = self._used, {}
        try:
            await self._store.touch_api_keys(used)
        except StoreError as error:
            self._used = used | self._used
            log.warning("it could not be noted when API keys were used", reason=error.message)


def _day(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d at %H:%M UTC")
