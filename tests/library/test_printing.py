"""What a program hears of the library that it did not ask for: nothing."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import environment

PROGRAM = """
import asyncio, sys
from palaver import Palaver
from palaver.config import load

async def main():
    async with Palaver.open(load({"data_dir": sys.argv[1], "model": "scripted"})) as palaver:
        async with palaver.say([{"role": "user", "content": "Hello"}]) as reply:
            assert [piece async for piece in reply]

asyncio.run(main())
"""


def test_whoever_is_the_owner_prints_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
