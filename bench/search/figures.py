"""How much is measured, and the figures that come of it."""

from __future__ import annotations

import msgspec

KINDS = ("words, whole owner", "phrase, whole owner", "words, one conversation", "phrase, one conversation")


class Plan(msgspec.Struct, frozen=True):
    """How much is measured: at which sizes, in messages; how many searches of each kind; how long only is written, in
    seconds; how many turns are written in a second."""

    sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    laps: int = 150
    writing: float = 5.0
    rate: float = 20.0


QUICK = Plan(sizes=(200, 400), laps=3, writing=0.2)


class Spread(msgspec.Struct, frozen=True):
    """Milliseconds."""

    median: float
    p99: float
    worst: float
    times: int


def spread(seconds: list[float]) -> Spread:
    ordered = sorted(seconds)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000

    return Spread(median=at(0.5), p99=at(0.99), worst=ordered[-1] * 1000, times=len(ordered))


class AtSize(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured in a store of so many messages.

    `searches` are by kind: all of a page but its way through HTTP. `write` is a turn's one commit, without a search and
    (`write_beside`) while searches follow each other. `text`, `terms` and `copy` are bytes a message: what it says, the
    index's words, and the index's own copy of the text. `filled` is the seconds that filling took.
    """

    messages: int
    searches: dict[str, Spread]
    write: Spread
    write_beside: Spread
    text: float
    terms: float
    copy: float
    filled: float


class Results(msgspec.Struct, frozen=True, kw_only=True):
    plan: Plan
    python: str
    sqlite: str
    cores: int | None
    load: tuple[float, float, float]
    sizes: list[AtSize]
