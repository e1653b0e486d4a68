"""Prefilled tokens of conversations of 1,000 turns and more: palaver's epochs beside a client's sliding window.

    python -m bench.turns                                # the real engine and the scripted one: some minutes
    python -m bench.turns --only scripted --scripted-turns 100
    python -m bench.turns --plot docs/figures/turns.svg  # draws it as well (needs the extra `bench`)

The same questions are asked in four ways, all in one run and through palaver's own chat: palaver chooses the window
and keeps 50, 75 or 25 % of it where an epoch begins; or the client does, and drops its oldest exchange whenever its
prompt does not fit. Every prompt begins with messages: there are no instructions, which any way would find cached.

Tokens are counted, and no time counts. The real engine's worker says what it had cached. The scripted engine has no
cache; there a perfect one is reckoned, which holds the last prompt of the conversation and its reply.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import msgspec
import structlog

from bench.turns import talk
from bench.turns.figures import Found, Run, cost, resent
from bench.turns.models import Asked, Plan, Pocket, Scripted, own_tokens
from bench.turns.telling import told
from bench.turns.ways import Played, Way, play

WAYS = (
    Way("keep 50 %", "head", 0.5),
    Way("keep 75 %", "head", 0.75),
    Way("keep 25 %", "head", 0.25),
    Way("sliding", "sliding"),
)
AGAIN = (Way("resent, stored", "resent"), Way("resent, not stored", "unstored"))


async def measure(plan: Plan, folder: Path) -> Run:
    """All ways at once, each with a model and a store of its own; then the first turns again, resent."""
    questions = list(islice(talk.questions(plan.seed), plan.turns))
    ways = [(way, plan.turns) for way in WAYS] + [(way, min(plan.resent, plan.turns)) for way in AGAIN]
    models: list[Asked] = []
    folders = [folder / f"{plan.model}-{i}" for i in range(len(ways))]
    for each in folders:
        each.mkdir()
        models.append(Pocket(plan.slots) if plan.model == "pocket" else Scripted(plan, each / "script.jsonl"))
    own = await own_tokens(models[0].engine, plan.model, questions)

    async def one(way: Way, turns: int, model: Asked, place: Path) -> Played:
        played = await play(way, plan, model, questions[:turns], own[:turns], place)
        print(f"{plan.model}, {way.name}: {turns:,} turns, {played.seconds:.0f} s", file=sys.stderr)
        return played

    played = await asyncio.gather(
        *(one(*way, model, place) for way, model, place in zip(ways, models, folders, strict=True))
    )
    whole, again = played[: len(WAYS)], played[len(WAYS) :]
    found = Found(
        plan=plan,
        costs=[cost(each, plan.room) for each in whole],
        resent=[resent(each, whole[0]) for each in again],
    )
    return Run(found=found, played=whole)


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.turns",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--turns", type=int, default=1000, help="on the real engine")
    parser.add_argument("--size", type=int, default=1024, help="tokens of prompt and reply there")
    parser.add_argument("--slots", type=int, default=1, help="caches that it has; `palaver serve` has 2")
    parser.add_argument("--scripted-turns", type=int, default=3000)
    parser.add_argument("--scripted-size", type=int, default=8192)
    parser.add_argument("--resent", type=int, default=300, help="so many turns are asked again, resent")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=("pocket", "scripted"))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there as well")
    parser.add_argument("--plot", type=Path, nargs="+", default=[], metavar="FILE", help=".svg or .png")
    return parser.parse_args(arguments)


def plans_of(options: argparse.Namespace) -> list[Plan]:
    pocket = Plan(
        "pocket", options.turns, options.size, 24, options.resent, options.seed, slots=options.slots
    )
    scripted = Plan(
        "scripted", options.scripted_turns, options.scripted_size, 128, options.resent, options.seed
    )
    return [plan for plan in (pocket, scripted) if options.only in (None, plan.model)]


async def main(arguments: Sequence[str] | None = None) -> None:
    options = options_of(arguments)
    if options.plot:
        from bench.turns.plotting import draw  # noqa: PLC0415 - only who draws needs what it draws with
    with tempfile.TemporaryDirectory(prefix="palaver-bench-") as folder:
        runs = [await measure(plan, Path(folder)) for plan in plans_of(options)]
    print("\n\n\n".join(told(run.found) for run in runs))
    if options.json:
        figures = msgspec.json.encode([run.found for run in runs])
        options.json.write_bytes(msgspec.json.format(figures, indent=2))
    for path in options.plot:
        draw(runs[0], path)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(main())
