"""Kills a process at every step of what it does to files. Run as `python -m tests.stores.killed_at WHAT FOLDER`.

`FOLDER/seed` is copied to `FOLDER/0`, and WHAT is done there by a child that kills itself before its first
step: a statement of SQL, or a file made, opened, renamed, linked, removed or looked for. Then `FOLDER/1` with
the second step, and so on until a child comes to its end. The number of kills is printed.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from palaver.stores.sqlite_migration import bring_forward
from palaver.stores.sqlite_upkeep import backup, restore

STEPS = (
    "open",
    "os.chmod",
    "os.chown",
    "os.link",
    "os.listdir",
    "os.remove",
    "os.rename",
    "os.scandir",
    "os.utime",
    "shutil.copyfile",
)
DONE = 3
"""The exit code of a child that nothing has killed."""


def bring(folder: Path) -> None:
    bring_forward(folder / "palaver.db")


def put_back(folder: Path) -> None:
    restore(folder / "palaver.db", folder / "backup.db")


def back_up(folder: Path) -> None:
    backup(folder / "palaver.db", folder / "backups" / "backup.db", make_folder=True)


def replace_backup(folder: Path) -> None:
    backup(folder / "palaver.db", folder / "backup.db", force=True)


TASKS = {task.__name__: task for task in (bring, put_back, back_up, replace_backup)}


def kill_at(step: int) -> None:
    """Have this process kill itself at this step."""
    steps = itertools.count()

    def count(*_: Any) -> None:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def heard(event: str, _: tuple[Any, ...]) -> None:
        if event in STEPS:
            count()

    def connect(*arguments: Any, **more: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = plain(*arguments, **more)
        connection.set_trace_callback(count)
        return connection

    plain, sqlite3.connect = sqlite3.connect, connect  # type: ignore[assignment]
    sys.addaudithook(heard)


def main(what: str, folder: Path) -> int:
    for step in itertools.count():
        shutil.copytree(folder / "seed", folder / str(step))
        child = os.fork()
        if child == 0:
            kill_at(step)
            TASKS[what](folder / str(step))
            os._exit(DONE)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == DONE
            return step
    raise AssertionError("unreachable")


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2])))
