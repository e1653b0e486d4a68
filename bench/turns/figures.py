"""What conversations cost, in tokens, beside what the formula says they would with a perfect prefix cache.

With a share of X kept of a full window, u tokens of a turn's own and m tokens of an exchange, a turn prefills
u + m·X/(1−X) tokens in the long run, however large the window is.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from bench.turns.models import Plan
from bench.turns.ways import Played

CACHED = (0.1, 0.5)
"""What a cached token costs where an uncached one costs 1, for two ways to ask for money."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one way costs; tokens of prompts, in all turns unless it says otherwise.

    `own` are new tokens of the turns, and `exchange` how many an exchange has. `after_epoch` is what share of the
    window's room the first prompt of an epoch has, where the window had overflowed. `again` are tokens of replies that
    were prefilled although the model had generated them itself: they came out as other tokens when they were read
    again (`again_turns` is how many turns), or (`cut`) they were the last of a reply that ended at its limit, which
    the engine had not computed any more. `formula` is what the formula says, None for a sliding window. `units` is
    the price of all turns in uncached tokens, for each of `CACHED`.
    """

    way: str
    turns: int
    prompt: int
    prefilled: int
    median: float
    p99: int
    most: int
    own: float
    exchange: float
    epochs: dict[str, int]
    after_epoch: float | None
    again: int
    again_turns: int
    cut: int
    formula: float | None
    units: list[float]
    seconds: float

    @property
    def a_turn(self) -> float:
        return self.prefilled / self.turns

    @property
    def over_formula(self) -> float | None:
        return None if self.formula is None else self.prefilled / self.formula

    @property
    def over_all(self) -> float | None:
        """Over the formula and what replies cost that do not come out the same."""
        return None if self.formula is None else self.prefilled / (self.formula + self.again + self.cut)


class Resent(msgspec.Struct, frozen=True, kw_only=True):
    """The first turns again, by a client that resends its history: how many of its prompts are the same as those of
    the client that sends questions alone, and the places of turns that began an epoch, beside the other client's.

    `apart` is the first prompt that is another one.
    """

    way: str
    turns: int
    alike: int
    apart: int | None
    began: list[int]
    began_at_head: list[int]
    prefilled: int
    prefilled_at_head: int


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of one model. `costs` are in the order of the ways; the last is the sliding window."""

    plan: Plan
    costs: list[Cost]
    resent: list[Resent]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One model's conversations with their figures."""

    found: Found
    played: list[Played]


def cost(played: Played, room: int) -> Cost:
    turns = played.turns
    prefilled = [turn.prefilled for turn in turns]
    going_on = [(old, new) for old, new in pairwise(turns) if new.began is None]
    sliding = played.way.road == "sliding"
    again = [max(0, new.prefilled - new.own - old.cut) for old, new in going_on]
    own = statistics.mean(turn.own for turn in turns)
    exchange = statistics.mean(new.prompt - old.prompt for old, new in going_on) if going_on else 0.0
    fresh = [turn.prompt / room for turn in turns if turn.began == "overflow"]
    cached = sum(turn.prompt - turn.prefilled for turn in turns)
    return Cost(
        way=played.way.name,
        turns=len(turns),
        prompt=sum(turn.prompt for turn in turns),
        prefilled=sum(prefilled),
        median=statistics.median(prefilled),
        p99=sorted(prefilled)[int(len(prefilled) * 0.99)],
        most=max(prefilled),
        own=own,
        exchange=exchange,
        epochs=played.epochs,
        after_epoch=statistics.mean(fresh) if fresh else None,
        again=sum(again),
        again_turns=sum(tokens > 0 for tokens in again),
        cut=sum(min(old.cut, new.prefilled - new.own) for old, new in going_on),
        formula=None if sliding else len(turns) * by_formula(own, exchange, played.way.keep),
        units=[sum(prefilled) + cached * price for price in CACHED],
        seconds=played.seconds,
    )


def by_formula(own: float, exchange: float, keep: float) -> float:
    """Tokens a turn.

    >>> by_formula(20, 60, 0.5), by_formula(20, 60, 0.75)
    (80.0, 200.0)
    """
    return own + exchange * keep / (1 - keep)


def resent(played: Played, head: Played) -> Resent:
    turns, others = played.turns, head.turns[: len(played.turns)]
    alike = [turn.shown == other.shown for turn, other in zip(turns, others, strict=True)]
    return Resent(
        way=played.way.name,
        turns=len(turns),
        alike=sum(alike),
        apart=alike.index(False) if False in alike else None,
        began=_anew([turn.prompt for turn in turns]),
        began_at_head=_anew([turn.prompt for turn in others]),
        prefilled=sum(turn.prefilled for turn in turns),
        prefilled_at_head=sum(turn.prefilled for turn in others),
    )


def _anew(prompts: Sequence[int]) -> list[int]:
    """The turns whose prompt is shorter than the one before: there the window has begun anew."""
    return [0, *(i for i, (old, new) in enumerate(pairwise(prompts), 1) if new < old)]
