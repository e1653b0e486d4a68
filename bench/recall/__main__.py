"""What search finds again in long dialogues, with each step of its ranking.

    python -m bench.recall                                    # half a minute
    python -m bench.recall --quick                            # seconds: a tiny set, only to see it work
    python -m bench.recall --dialogues 20 --model FILE.gguf   # with an embedding model (see `bench.minilm`): minutes

The set is made here, by templates and a seed: facts that are told once in dialogues of hundreds of messages, among talk
that shares their words, and asked for in other words. What counts is the order of the figures and what each step
brings, not how large they are: people talk otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog

from bench.recall.dialogues import QUICK, Plan
from bench.recall.measuring import measure
from bench.recall.telling import told


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.recall",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a tiny set, only to see it work")
    parser.add_argument("--dialogues", type=int, default=Plan().dialogues)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", type=Path, metavar="FILE", help="a GGUF that makes vectors")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there as well")
    return parser.parse_args(arguments)


async def main(arguments: Sequence[str] | None = None) -> None:
    options = options_of(arguments)
    plan = QUICK if options.quick else Plan(dialogues=options.dialogues)
    plan = msgspec.structs.replace(plan, seed=options.seed)
    with tempfile.TemporaryDirectory(prefix="palaver-bench-") as folder:
        if options.model:
            from bench.recall.meaning import Embedding  # noqa: PLC0415 - words alone need no engine

            embedding = Embedding(options.model)
            try:
                found = await measure(plan, Path(folder), embedding)
            finally:
                await embedding.close()
        else:
            found = await measure(plan, Path(folder))
    print(told(found))
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2))


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(main())
