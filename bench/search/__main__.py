"""Searching 10,000, 100,000 and 1,000,000 messages, while turns are written.

    python -m bench.search              # some minutes, and 2 GB of disk while it runs
    python -m bench.search --quick      # seconds: tiny numbers, only to see it work

The text is made up: words as often as in real text (Zipf), 0.8 kB a turn. Queries are one to five words that are not
everywhere, or two or three words as they follow each other, of a message that is there.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.search.figures import QUICK, Plan
from bench.search.measuring import measure
from bench.search.telling import told


async def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.search",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="tiny numbers, only to see it work")
    parser.add_argument(
        "--folder", type=Path, help="on the disk to measure; by default the system's temporary one"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there as well")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="palaver-bench-") as folder:
        results = await measure(
            Path(folder), QUICK if options.quick else Plan(), lambda line: print(line, file=sys.stderr)
        )
    print(told(results))
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2))


if __name__ == "__main__":
    asyncio.run(main())
