"""More conversations than slots, in turn: what of their prompts is found again."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from bench.warm import speech
from bench.warm.home import Asking, Home, Subject, opened
from bench.warm.plan import SEED, Plan
from palaver.core.message import Message


class Crowd(msgspec.Struct, frozen=True, kw_only=True):
    """Conversations of one owner, each of so many `turns`, on so many `slots`; snapshots are `kept` or not.

    In tokens: `prompts` of all turns, the `new` ones of them with what all share counted once, those `prefilled`
    while somebody waited, and `ahead` of that. In times: snapshots saved and restored.
    """

    conversations: int
    turns: int
    system: int
    slots: int
    kept: bool
    prompts: int
    new: int
    prefilled: int
    ahead: int
    saved: int
    restored: int
    seconds: float

    @property
    def over_new(self) -> float:
        return self.prefilled / self.new

    @property
    def reused(self) -> float:
        return 1 - self.prefilled / self.prompts

    @property
    def perfect(self) -> float:
        """What share a cache that forgets nothing would have of them, where nothing is prefilled ahead."""
        return 1 - self.new / self.prompts


class _Kind(msgspec.Struct, frozen=True):
    """Conversations of one kind. `system` is how long their system prompt is, in tokens, 0 for none."""

    conversations: int
    turns: int
    system: int
    slots: int


async def measure(plan: Plan, subject: Subject, folder: Path) -> list[Crowd]:
    """The crowd, then the few with a system prompt, each with snapshots and without."""
    kinds = [
        _Kind(plan.crowd, plan.crowd_turns, 0, plan.crowd_slots),
        *(_Kind(plan.few, plan.few_turns, plan.system, slots) for slots in plan.few_slots),
    ]
    found = []
    for number, kind in enumerate(kinds):
        for keeps in (True, False):
            place = folder / f"{number}-{keeps}"
            of_kind = msgspec.structs.replace(subject, slots=kind.slots)
            async with opened(place, of_kind, keeps=keeps) as home:
                found.append(await _crowd(plan, kind, home, kept=keeps))
    return found


async def _crowd(plan: Plan, kind: _Kind, home: Home, *, kept: bool) -> Crowd:
    system = [await speech.system(home, kind.system, SEED)] if kind.system else []
    asked = [speech.questions(kind.turns, SEED + number) for number in range(kind.conversations)]
    own = [await speech.own(home, each) for each in asked]
    begun = time.perf_counter()
    prompts = prefilled = shared = 0
    for turn in range(kind.turns):
        for number, each in enumerate(asked):
            messages = [*(system if turn == 0 else []), Message("user", each[turn])]
            said = await home.say(Asking(name=f"talk-{number}", messages=messages, tokens=plan.answer))
            prompts += said.prompt
            prefilled += said.prefilled
            if turn == number == 0:
                shared = said.prompt - own[0][0]  # what stands before the first question of all
    seconds = time.perf_counter() - begun
    counts = await home.engine.counted()
    return Crowd(
        conversations=kind.conversations,
        turns=kind.turns,
        system=kind.system,
        slots=kind.slots,
        kept=kept,
        prompts=prompts,
        new=shared + sum(map(sum, own)),
        prefilled=prefilled,
        ahead=counts.get("settled", 0),
        saved=counts.get("saved", 0),
        restored=counts.get("restored", 0),
        seconds=seconds,
    )
