"""Appending and reading at 10 to 100,000 messages, beside bare SQLite and beside others that keep conversations.

    python -m bench.store              # some minutes
    python -m bench.store --quick      # seconds: tiny numbers, only to see it work

What counts are the ratios: everything is measured in turns, in one run, in one folder. Others are measured where they
are installed, best in a virtual environment of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.store.figures import QUICK, Plan
from bench.store.peers import INSTALL
from bench.store.runs import measure
from bench.store.telling import told


async def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.store",
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
        results = await measure(Path(folder), QUICK if options.quick else Plan())
    print(told(results))
    if results.missing:
        print(f"\nNot installed: {', '.join(results.missing)}. To have them measured:\n  {INSTALL}")
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2))


if __name__ == "__main__":
    asyncio.run(main())
