"""One snapshot as it is known, and which of many go first. Pure.

Where a quota is full, what was used longest ago goes, first what its conversation has left behind. Of a conversation's
snapshots those go that are the beginning of a newer one, and of others the newest few are kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from palaver.engines.llama.kv.prefix import Prefix
from palaver.engines.llama.kv.snapshot_file import Head

MOST_OF_ONE = 3
"""As many snapshots of one conversation are kept: it may have branches."""


class Snapshot:
    """A saved state of one slot of a model (its name), in a file in `memory`, on `disk`, or both.

    `writing` is at work while it is copied to disk, `pins` counts those who are about to use it: it is not evicted
    then. `gone` says that it was dropped, whatever is still being done with it.
    """

    def __init__(self, model: str, head: Head, size: int, used: float) -> None:
        self.model = model
        self.head = head
        self.bytes = size
        self.used = used
        self.left = False
        self.memory: Path | None = None
        self.checksum = 0
        self.disk: Path | None = None
        self.writing: asyncio.Task[None] | None = None
        self.pins = 0
        self.gone = False

    def shared(self, owner: str, prefix: Prefix) -> int:
        """About how many tokens of it a prompt of this owner begins with."""
        head = self.head
        return head.prefix.share(prefix, head.tokens) if owner == head.owner else 0

    def is_of(self, owner: str | None, conversation: str | None) -> bool:
        return owner is None or (self.head.owner == owner and conversation in (None, self.head.conversation))


def needless(new: Snapshot, others: Iterable[Snapshot]) -> list[Snapshot]:
    """What a new snapshot of a conversation makes needless."""
    same = [each for each in others if _whose(each) == _whose(new)]
    covered = [
        each
        for each in same
        if each.head.tokens <= new.head.tokens and each.head.prefix.begins(new.head.prefix)
    ]
    rest = sorted((each for each in same if each not in covered), key=_order)
    return covered + rest[: max(0, len(rest) - MOST_OF_ONE + 1)]


def over_memory(snapshots: Iterable[Snapshot], quota: int) -> list[Snapshot]:
    """Those whose state goes from memory. What is being written to disk counts, and stays until that is done."""
    return _excess(snapshots, quota, lambda each: each.memory, lambda each: each.writing is None)


def over_disk(snapshots: Iterable[Snapshot], quota: int) -> list[Snapshot]:
    """Those that go from disk."""
    return _excess(snapshots, quota, lambda each: each.disk, lambda each: True)


def first_in_memory(snapshots: Iterable[Snapshot]) -> Snapshot | None:
    """The one whose state goes from memory first, where that has no room."""
    free = (each for each in snapshots if each.memory and each.writing is None and not each.pins)
    return min(free, key=_order, default=None)


def backlog(snapshots: Iterable[Snapshot], size: int, quota: int) -> list[asyncio.Task[None]]:
    """What is being written to disk, where that leaves no room in memory for one of this size. One may always be."""
    writes = [(each.writing, each.bytes) for each in snapshots if each.writing is not None]
    is_much = sum(length for _, length in writes) + size > quota
    return [task for task, _ in writes] if is_much else []


def _excess(
    snapshots: Iterable[Snapshot],
    quota: int,
    where: Callable[[Snapshot], Path | None],
    may_go: Callable[[Snapshot], bool],
) -> list[Snapshot]:
    there: Sequence[Snapshot] = sorted((each for each in snapshots if where(each) is not None), key=_order)
    excess, going = sum(each.bytes for each in there) - quota, []
    for each in there:
        if excess > 0 and may_go(each) and not each.pins:
            excess -= each.bytes
            going.append(each)
    return going


def _order(snapshot: Snapshot) -> tuple[bool, float]:
    """What goes first: what was left behind, then what was used longest ago."""
    return not snapshot.left, snapshot.used


def _whose(snapshot: Snapshot) -> tuple[str, str, str | None]:
    return snapshot.model, snapshot.head.owner, snapshot.head.conversation
