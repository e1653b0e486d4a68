"""An engine's hold on what it computed, in the test's hand."""

from __future__ import annotations

from typing import Any

import msgspec

from palaver.engines.base import Held, KvCache

GIB = 1024**3


def held(owner: str = "local", conversation: str | None = None, **more: Any) -> Held:
    """A computed prompt: without more, a snapshot of a thousand bytes in memory."""
    told: dict[str, Any] = {"where": "memory", "tokens": 100, "bytes": 1000, "used": 1_700_000_000.0}
    return Held(owner=owner, conversation=conversation, **(told | more))


def in_slot(owner: str = "local", conversation: str | None = None, **more: Any) -> Held:
    return held(owner, conversation, **{"where": "slot", "slot": 0, "bytes": 0, **more})


class Holds:
    """What an engine has besides to be one that holds what a test says. It notes what it was asked to forget."""

    cache: KvCache | None = None
    failure: Exception | None = None
    """What it raises instead, if anything."""

    def hold(self, *each: Held, **more: Any) -> None:
        self.cache = KvCache(held=list(each), memory_quota=GIB, disk_quota=2 * GIB, **more)
        self.forgotten: list[tuple[str | None, str | None]] = []

    async def kv_cache(self) -> KvCache | None:
        if self.failure is not None:
            raise self.failure
        return self.cache

    async def forget(self, owner: str | None = None, conversation: str | None = None) -> int:
        if self.failure is not None:
            raise self.failure
        if self.cache is None:
            return 0
        self.forgotten.append((owner, conversation))
        kept = [each for each in self.cache.held if not _is_meant(each, owner, conversation)]
        erased = len(self.cache.held) - len(kept)
        self.cache = msgspec.structs.replace(self.cache, held=kept)
        return erased


def _is_meant(each: Held, owner: str | None, conversation: str | None) -> bool:
    return owner in (None, each.owner) and conversation in (None, each.conversation)
