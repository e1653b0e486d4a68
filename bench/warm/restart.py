"""A long conversation gone on with after a restart, beside the same prompt without anything kept."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path

import msgspec

from bench.warm import speech
from bench.warm.home import KEPT, STORE, Asking, Home, Said, Subject, clocked, opened
from bench.warm.plan import SEED, Plan
from palaver.core.message import Message

NAME = "long"
FIRST = 8
"""Tokens of the reply before the restart."""


class Lap(msgspec.Struct, frozen=True, kw_only=True):
    """One restart, and one without snapshots: prefilled tokens, and seconds to the first token. `alike` of the `reply`
    are the same in both. A snapshot is read and verified (`verify`) and restored, in seconds."""

    prefilled: int
    cold_prefilled: int
    ttft: float
    cold_ttft: float
    reply: int
    alike: int
    verify: float
    restore: float

    @property
    def over_cold(self) -> float:
        return self.ttft / self.cold_ttft


class Restart(msgspec.Struct, frozen=True, kw_only=True):
    """All figures. The turn after the restart has a prompt of `prompt` tokens, `own` of them new, and may prefill a
    `block` more. `snapshots` of `bytes` in all were saved of the conversation and written to disk, in seconds."""

    prompt: int
    own: int
    block: int
    laps: list[Lap]
    snapshots: int
    bytes: int
    save: float
    write: float

    @property
    def over_cold(self) -> float:
        return statistics.median(lap.over_cold for lap in self.laps)

    @property
    def most_prefilled(self) -> int:
        return max(lap.prefilled for lap in self.laps)

    @property
    def is_within(self) -> bool:
        return self.most_prefilled <= self.own + self.block

    @property
    def is_alike(self) -> bool:
        return all(lap.alike == lap.reply for lap in self.laps)


async def measure(plan: Plan, subject: Subject, folder: Path) -> Restart:
    before = folder / "before"
    question = speech.questions(1, SEED + 1)[0]
    with clocked() as clock:
        own = await _before(plan, subject, before, question)
    laps, prompt = [], 0
    for number in range(plan.restarts):
        prompt, lap = await _lap(plan, subject, before, folder / f"lap-{number}", question)
        laps.append(lap)
    files = list((before / KEPT).glob("*/*.kv"))
    return Restart(
        prompt=prompt,
        own=own,
        block=subject.settings.batch,
        laps=laps,
        snapshots=len(files),
        bytes=sum(file.stat().st_size for file in files),
        save=sum(clock.saves),
        write=sum(clock.writes),
    )


async def _before(plan: Plan, subject: Subject, folder: Path, question: str) -> int:
    """The conversation up to the restart; how many tokens the question adds to it."""
    async with opened(folder, subject) as home:
        (own,) = await speech.own(home, [question])
        messages = await speech.history(home, plan.history - own - FIRST, SEED)
        said = await home.say(Asking(name=NAME, messages=messages, tokens=FIRST, at_head=False, endless=True))
        await home.settled(said)
    return own


async def _lap(plan: Plan, subject: Subject, before: Path, folder: Path, question: str) -> tuple[int, Lap]:
    """The next turn in copies of the folder: with what was kept, then without. And how long its prompt is."""
    warm_folder, cold_folder = folder / "warm", folder / "cold"
    shutil.copytree(before, warm_folder)
    cold_folder.mkdir()
    shutil.copy(before / STORE, cold_folder)
    with clocked() as clock:
        async with opened(warm_folder, subject) as home:
            warm = await _next(home, plan, question)
    async with opened(cold_folder, subject, keeps=False) as home:
        cold = await _next(home, plan, question)
    shutil.rmtree(folder)
    if warm.shown != cold.shown:
        raise SystemExit("The two prompts are not the same.")
    lap = Lap(
        prefilled=warm.prefilled,
        cold_prefilled=cold.prefilled,
        ttft=warm.ttft,
        cold_ttft=cold.ttft,
        reply=max(warm.completion, cold.completion),
        alike=alike(warm, cold),
        verify=sum(clock.reads),
        restore=sum(clock.restores),
    )
    return warm.prompt, lap


async def _next(home: Home, plan: Plan, question: str) -> Said:
    return await home.say(
        Asking(name=NAME, messages=[Message("user", question)], tokens=plan.reply, endless=True)
    )


def alike(one: Said, other: Said) -> int:
    """How many tokens both replies begin with; a piece is a token, or several of one character."""
    if one.pieces == other.pieces and one.completion == other.completion:
        return one.completion
    pairs = zip(one.pieces, other.pieces, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one.pieces), len(other.pieces)))
