"""`palaver serve` does not go on as a process that answers nobody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import PATIENCE, READY, settings
from tests.house.files import ROOT

BREAKS = """
import sys
from palaver.cli.main import main
from palaver.wiring import assembly

async def breaks(self):
    {how}

assembly._Server.main_loop = breaks
sys.argv = ["palaver", "serve", "--port", "0", "--model", "scripted"]
main()
"""


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("raise OSError('Too many open files')", "ended by itself (Too many open files)"),
        ("return", "ended by itself (it does not say why)"),
    ],
)
def test_a_server_that_breaks_ends_the_command(tmp_path: Path, how: str, words: str) -> None:
    done = subprocess.run(
        (sys.executable, "-c", BREAKS.format(how=how)),
        env=settings(tmp_path),
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1, "one line, no traceback"
    assert done.stdout.startswith(READY)
    assert not list((tmp_path / "data").glob("*.owner.json"))
