"""A `palaver serve` that tests may kill, and a look into its store."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import environment
from tests.sdks.conftest import READY
from tests.sdks.waiting import PATIENCE, first_line


@contextmanager
def server(folder: Path, model: str, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run it with its data in `folder`; the process and its base URL."""
    command = [sys.executable, "-m", "palaver", "serve", "--port", "0", "--data-dir", str(folder / "data")]
    log = folder / "serve.log"
    with (
        log.open("ab") as errors,
        subprocess.Popen(
            [*command, "--model", model, *options],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment(),
            cwd=folder,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            line = first_line(process, process.stdout)
            assert line.startswith(READY), log.read_text()
            yield process, line.removeprefix(READY).strip()
        finally:
            process.terminate()
            process.wait(PATIENCE)


def rows(folder: Path, query: str) -> list[dict[str, Any]]:
    """What a query finds in the store, read beside its owner."""
    file = f"file:{folder / 'data' / 'palaver.db'}?mode=ro"
    with closing(sqlite3.connect(file, uri=True)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(query)]


def turns(folder: Path) -> list[dict[str, Any]]:
    """Every turn, with its reply's body."""
    return rows(
        folder, "SELECT t.*, m.body FROM turns t LEFT JOIN messages m ON m.seq = t.reply ORDER BY t.seq"
    )
