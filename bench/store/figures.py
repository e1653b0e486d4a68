"""How much is measured, and the figures that come of it."""

from __future__ import annotations

import msgspec

from bench.store.measuring import Measured

FEW = 10
"""Messages of the conversations that the others are compared with."""


class Plan(msgspec.Struct, frozen=True):
    """How much is measured. Sizes are in messages; `budget` is in seconds, for each thing that is repeated."""

    sizes: tuple[int, ...] = (FEW, 1000, 10_000, 100_000)
    resent: tuple[int, ...] = (FEW, 100, 1000)
    path: int = 10_000
    short: int = 100
    peers: tuple[int, ...] = (FEW, 1000, 10_000)
    laps: int = 200
    peer_laps: int = 50
    turns: int = 1000
    budget: float = 8.0

    def conversations(self, size: int) -> int:
        """So many that none grows by much while it is measured."""
        return max(1, min(self.laps, 10_000 // size))


QUICK = Plan(
    sizes=(FEW, 100),
    resent=(FEW,),
    path=100,
    short=20,
    peers=(FEW,),
    laps=3,
    peer_laps=2,
    turns=5,
    budget=0.0,
)


class Appended(msgspec.Struct, frozen=True):
    """A turn in conversations of one size, beside so many messages in others; in milliseconds.

    `turn` is all of it, `unread` without reading the messages of its prompt. `phases` says where it went (medians):
    parse, keys, ask and answer (the work of the two transactions), prompt, commits (both,
    with the way to the writer's thread and back). Ratios are of `unread`; `over_few` is to the first size.
    """

    size: int
    others: int
    turn: Measured
    unread: Measured
    phases: dict[str, float]
    least: Measured
    all_rows: Measured
    over_least: float
    over_all_rows: float
    over_few: float = 1.0


class PeerFigures(msgspec.Struct):
    """What one of several costs; `append` and `read` (the whole history) by size, `page` at the largest one.

    `bytes` are on disk for all turns of `Plan.turns`.
    """

    name: str
    durability: str
    commits: int
    append: dict[int, Measured]
    read: dict[int, Measured]
    page: Measured
    bytes: int


class Results(msgspec.Struct, kw_only=True):
    """All figures; times are in milliseconds, those of `queries` (mean, by size) in microseconds a turn.

    `kept` is `head` at its smallest and largest size with no prompt read at all.
    """

    plan: Plan
    python: str
    sqlite: str
    cores: int | None
    load_before: tuple[float, float, float]
    load_after: tuple[float, float, float]
    sync_before: Measured
    sync_after: Measured
    durability: str
    kept: list[Appended]
    head: list[Appended]
    queries: dict[int, dict[str, float]]
    resent: list[Appended]
    reads: dict[str, Measured]
    peers: list[PeerFigures]
    missing: list[str]
