"""One long conversation, with pauses and without: what is prefilled while somebody waits, and what before."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from bench.turns.figures import by_formula
from bench.warm import speech
from bench.warm.fresh import Beside, Fresh, beside_reopened
from bench.warm.home import Asking, Home, Said, Subject, opened
from bench.warm.plan import SEED, Plan
from palaver.core.message import Message

NAME = "long"
KEEP = 0.5
"""The share that palaver keeps of a window by default."""
LIMIT = 1.2
"""So much longer than in a fresh conversation the first token may take, at the most."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One turn, in tokens; times are in seconds. `pause` is how long it took after it until all was done that is done
    while nobody waits, None where the next turn did not wait for that. `began` is why it began an epoch, which was
    `prepared` before or not."""

    prompt: int
    prefilled: int
    own: int
    began: str | None
    prepared: bool
    ttft: float
    pause: float | None = None


class Long(msgspec.Struct, frozen=True, kw_only=True):
    """A whole conversation. `ahead` are tokens that were prefilled while nobody waited. `window` is how long it takes
    to prefill a full window while somebody waits, in seconds. `beside` are some of its turns beside fresh ones."""

    way: str
    turns: list[Turn]
    ahead: int
    window: float
    beside: dict[str, Beside]

    @property
    def own(self) -> float:
        return statistics.mean(turn.own for turn in self.turns)

    @property
    def prefilled(self) -> int:
        return sum(turn.prefilled for turn in self.turns)

    @property
    def over_own(self) -> float:
        return self.prefilled / sum(turn.own for turn in self.turns)

    @property
    def exchange(self) -> float:
        """Tokens of a question and its reply."""
        more = [new.prompt - old.prompt for old, new in pairwise(self.turns) if new.began is None]
        return statistics.mean(more) if more else 0.0

    @property
    def over_formula(self) -> float:
        """All that was prefilled, whoever waited, over what a perfect cache costs."""
        return (self.prefilled + self.ahead) / (len(self.turns) * self.formula)

    @property
    def formula(self) -> float:
        return by_formula(self.own, self.exchange, KEEP)

    @property
    def epochs(self) -> dict[str, int]:
        """Those that began while somebody waited, by their reasons."""
        return dict(Counter(turn.began for turn in self.turns if turn.began and not turn.prepared))

    @property
    def prepared(self) -> int:
        return sum(turn.prepared and turn.began is not None for turn in self.turns)

    @property
    def pauses(self) -> list[float]:
        return [turn.pause for turn in self.turns if turn.pause is not None]


async def measure(plan: Plan, subject: Subject, folder: Path) -> list[Long]:
    return [
        await _long("with pauses", plan, subject, folder / "pauses", pauses=True),
        await _long("at once", plan, subject, folder / "at-once", pauses=False),
    ]


async def _long(way: str, plan: Plan, subject: Subject, folder: Path, *, pauses: bool) -> Long:
    asked = speech.questions(plan.turns + 2 * plan.reopened, SEED)
    said: list[Said] = []
    waited: list[float | None] = []
    async with opened(folder / "long", subject) as home:
        own = await speech.own(home, asked)
        for question in asked[: plan.turns]:
            said.append(await _ask(home, plan, question))
            waited.append(await home.settled(said[-1]) if pauses else None)
        await home.settled(said[-1])
        ahead = (await home.engine.counted()).get("settled", 0)
    first, second = await _reopened(plan, subject, folder / "long", asked[plan.turns :] if pauses else [])
    async with opened(folder / "fresh", subject, keeps=False) as home:
        fresh = Fresh(home, plan)
        beside = {f"the last {plan.last}": await fresh.beside(said[-plan.last :], pauses=pauses)}
        if pauses:
            beside["the first after a restart"] = await beside_reopened(plan, subject, folder, first)
            beside["the second after a restart"] = await fresh.beside(second, pauses=True)
    return Long(
        way=way,
        turns=[_turn(*each) for each in zip(said, own[: plan.turns], waited, strict=True)],
        ahead=ahead,
        window=fresh.a_token * (plan.size - plan.answer),
        beside=beside,
    )


async def _reopened(
    plan: Plan, subject: Subject, folder: Path, asked: Sequence[str]
) -> tuple[list[Said], list[Said]]:
    """The first turn after each of some restarts, and the second."""
    found: tuple[list[Said], list[Said]] = [], []
    for number in range(0, len(asked), 2):
        async with opened(folder, subject) as home:
            for said, question in zip(found, asked[number : number + 2], strict=True):
                said.append(await _ask(home, plan, question))
                await home.settled(said[-1])
    return found


async def _ask(home: Home, plan: Plan, question: str) -> Said:
    return await home.say(
        Asking(name=NAME, messages=[Message("user", question)], tokens=plan.answer, size=plan.size)
    )


def _turn(said: Said, own: int, pause: float | None) -> Turn:
    return Turn(
        prompt=said.prompt,
        prefilled=said.prefilled,
        own=own,
        began=said.began,
        prepared=said.prepared,
        ttft=said.ttft,
        pause=pause,
    )
