"""Turns beside those of fresh conversations: with the same prompts, of which the same part is new."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.warm.home import Asking, Home, Said, Subject, opened
from bench.warm.plan import Plan
from palaver.core.message import Message

NAME = "fresh"


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """Turns, and one of a fresh conversation for each: seconds to the first token, and prefilled tokens."""

    ttft: list[float]
    fresh: list[float]
    prefilled: int
    fresh_prefilled: int

    @classmethod
    def of(cls, said: Sequence[Said], fresh: Sequence[Said]) -> Beside:
        return cls(
            ttft=[each.ttft for each in said],
            fresh=[each.ttft for each in fresh],
            prefilled=sum(each.prefilled for each in said),
            fresh_prefilled=sum(each.prefilled for each in fresh),
        )

    @property
    def over_fresh(self) -> float:
        return statistics.median(self.ttft) / statistics.median(self.fresh)


class Fresh:
    """Fresh conversations in one palaver. Each is another owner's, so that none finds what is another's."""

    def __init__(self, home: Home, plan: Plan) -> None:
        self._home = home
        self._plan = plan
        self._cold: list[Said] = []

    async def beside(self, said: Sequence[Said], *, pauses: bool) -> Beside:
        """The question of each of these turns, asked again after a turn with what stood before it."""
        fresh = []
        for each in said:
            owner = f"owner-{len(self._cold)}"
            self._cold.append(await _before(self._home, self._plan, owner, each.shown, pauses=pauses))
            fresh.append(await _question(self._home, self._plan, owner, each.shown))
        return Beside.of(said, fresh)

    @property
    def a_token(self) -> float:
        """Seconds to prefill one while somebody waits."""
        return sum(said.ttft for said in self._cold) / sum(said.prefilled for said in self._cold)


async def beside_reopened(plan: Plan, subject: Subject, folder: Path, said: Sequence[Said]) -> Beside:
    """The same, each after a restart."""
    fresh = []
    for number, each in enumerate(said):
        place = folder / str(number)
        async with opened(place, subject) as home:
            await _before(home, plan, NAME, each.shown, pauses=True)
        async with opened(place, subject) as home:
            fresh.append(await _question(home, plan, NAME, each.shown))
    return Beside.of(said, fresh)


async def _before(home: Home, plan: Plan, owner: str, shown: Sequence[Message], *, pauses: bool) -> Said:
    """A first turn, of a prompt without its last question and the reply before that."""
    said = await home.say(_asking(plan, owner, shown[:-2], at_head=False))
    if pauses:
        await home.settled(said)
    return said


async def _question(home: Home, plan: Plan, owner: str, shown: Sequence[Message]) -> Said:
    said = await home.say(_asking(plan, owner, shown[-1:], at_head=True))
    await home.settled(said)
    return said


def _asking(plan: Plan, owner: str, messages: Sequence[Message], *, at_head: bool) -> Asking:
    """In a window of the same size: else nobody would have to see whether the prompt fits."""
    return Asking(
        name=NAME, owner=owner, messages=messages, tokens=plan.answer, at_head=at_head, size=plan.size
    )
