"""The warm start: what is prefilled, and how long one waits, after restarts and pauses, in crowds, beside long prompts.

    python -m bench.warm                                    # with pocket, all sections: some minutes
    python -m bench.warm --quick --only restart turns crowd # seconds: tiny numbers, only to see it work
    python -m bench.warm --plot docs/figures/warm.svg       # draws turns and crowd as well (needs the extra `bench`)
    python -m bench.warm --big --tokens 8192                # restart and others, with a model of 1B's shape

    restart   a long conversation gone on with after a restart, beside the same prompt without snapshots
    turns     a conversation of 1,000 turns, with pauses and without, beside fresh ones and the formula
    crowd     more conversations than slots, with snapshots and without
    others    a long prompt beside a stream and a short question, in pieces and all at once; with a model of random
              weights (needs the extra `bench`)

Every figure is beside a peer or a limit in the same run; times alone are those of this machine. It ends with 1 where a
reply after a restart is another than without, or more was prefilled for it than may be.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog

from bench.warm import crowd, others, restart, turns
from bench.warm.figures import Results
from bench.warm.plan import OF_BIG, QUICK, SECTIONS, Plan, pocket, random
from bench.warm.telling import told

ROOM, STREAM = 512, 4096
"""Tokens of a context beside a long prompt, and for a stream."""


async def measure(sections: Sequence[str], plan: Plan, folder: Path, *, big: bool) -> Results:
    results = Results(plan=plan, model="pocket")
    subject = pocket()
    if big or "others" in sections:
        # Only who needs weights needs what they are written with.
        from bench.models import ONE_B, SMALL, write_model  # noqa: PLC0415

        shape = ONE_B if big else SMALL
        weights = folder / f"{shape.name}.gguf"
        write_model(weights, shape=shape)
        results.random = shape.name
    if big:
        results.model = results.random
        subject = random(weights, plan.history + ROOM)
    for section in sections:
        begun, place = time.perf_counter(), folder / section
        if section == "restart":
            results.restart = await restart.measure(plan, subject, place)
        elif section == "turns":
            results.turns = await turns.measure(plan, subject, place)
        elif section == "crowd":
            results.crowd = await crowd.measure(plan, subject, place)
        else:
            results.others = await others.measure(plan, random(weights, plan.long + STREAM), place)
        print(f"{section}: {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    return results


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.warm",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="tiny numbers, only to see it work")
    parser.add_argument("--turns", type=int, help="of the one conversation")
    parser.add_argument(
        "--big", action="store_true", help="a model of 1B's shape, with random weights of 0.7 GB"
    )
    parser.add_argument("--tokens", type=int, default=8192, help="of the conversation with that")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there as well")
    parser.add_argument("--plot", type=Path, nargs="+", default=[], metavar="FILE", help=".svg or .png")
    options = parser.parse_args(arguments)
    options.only = options.only or list(OF_BIG if options.big else SECTIONS)
    if options.big and not set(options.only) <= set(OF_BIG):
        parser.error(f"--big is for {' and '.join(OF_BIG)}")
    if options.plot and not {"turns", "crowd"} <= set(options.only):
        parser.error("--plot draws turns and crowd")
    return options


def plan_of(options: argparse.Namespace) -> Plan:
    plan = QUICK if options.quick else Plan()
    if options.turns is not None:
        plan = msgspec.structs.replace(plan, turns=options.turns, last=min(plan.last, options.turns))
    if options.big:
        plan = msgspec.structs.replace(plan, history=options.tokens, restarts=1, laps=1)
    return plan


async def main(arguments: Sequence[str] | None = None) -> int:
    options = options_of(arguments)
    if options.plot:
        from bench.warm.plotting import draw  # noqa: PLC0415 - only who draws needs what it draws with
    with tempfile.TemporaryDirectory(prefix="palaver-bench-") as folder:
        results = await measure(options.only, plan_of(options), Path(folder), big=options.big)
    print(told(results))
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2))
    for path in options.plot:
        draw(results, path)
    return 0 if results.holds else 1


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    sys.exit(asyncio.run(main()))
