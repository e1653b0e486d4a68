"""`bench.page` measures what it says, and its figures come out whole."""

from __future__ import annotations

import re

import pytest

from bench.page.__main__ import main
from tests.conftest import require_program


def test_a_small_run_tells_all_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    require_program("chromium")
    main(["--messages", "20", "60", "--laps", "1", "--keys", "5"])
    told = capsys.readouterr().out
    rows = [re.split(r"\s{2,}", line) for line in told.splitlines()]
    short, long = (row for row in rows if row[0] in ("20", "60"))
    assert len(short) == len(long) == 6
    assert short[2].endswith(", 1.00")
    assert short[3].endswith(", 1.00")
    assert all(0 < float(row[1]) <= float(row[2].split(",")[0]) for row in (short, long))
    quiet, streams = rows[-2:]
    assert quiet[0] == "nothing streams"
    assert streams[0].endswith("words a second stream in")
    assert all(0 < float(row[1]) <= float(row[2]) for row in (quiet, streams))
