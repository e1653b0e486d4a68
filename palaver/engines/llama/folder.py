"""The folder of a worker's socket: only this user may enter it, and in the end it is gone.

Who makes a folder holds a lock in it, which the system lets go of however that process ends. So whoever makes
the next one can tell which folders belong to nobody any more, and removes them.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "palaver-worker-"
MARK = "palaver-kv-"
"""How the names of our files begin where others may have some."""
LOCK = "lock"
SOCKET_PATH_LIMIT = 100
"""Bytes; the address of a Unix socket holds 104 on macOS and 108 on Linux."""
SETTLED_SECONDS = 60.0
"""How old a folder is before its lock counts: its maker may be about to take it."""


class PrivateFolder:
    """A folder with a socket's place in it, and the lock that says that somebody uses it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = path / "w.sock"
        self._lock = FileLock(path / LOCK, timeout=0, thread_local=False)
        self._lock.acquire()

    @classmethod
    def make(cls) -> PrivateFolder | None:
        """A new one; None where a Unix socket in it could not be used. Raises OSError."""
        if not hasattr(socket, "AF_UNIX"):
            return None
        path = _new_folder(Path(tempfile.gettempdir()))
        if len(os.fsencode(path / "w.sock")) > SOCKET_PATH_LIMIT:
            path.rmdir()
            return None
        return cls(path)

    @classmethod
    def made_in(cls, base: Path) -> PrivateFolder:
        """A new one for other files, in this folder. Raises OSError."""
        return cls(_new_folder(base))

    def remove(self) -> None:
        """Remove it with all that is in it. May be called twice."""
        self._lock.release()
        shutil.rmtree(self.path, ignore_errors=True)


class CommonFolder:
    """A folder of somebody else's, in which our files are known by their names: all of that name are ours.

    Raises OSError where there is none.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise FileNotFoundError(f"{path} is no folder")
        self.path = path
        self.remove()  # what a process left that was killed

    def remove(self) -> None:
        """Remove our files. May be called twice."""
        for file in self.path.glob(MARK + "*"):
            with suppress(OSError):
                file.unlink(missing_ok=True)


def _new_folder(base: Path) -> Path:
    _remove_abandoned(base)
    return Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))  # mode 0700


def _remove_abandoned(temporary: Path) -> None:
    """Remove the folders whose makers were killed."""
    for path in temporary.glob(PREFIX + "*"):
        try:
            info = path.lstat()
            # Of another user nothing is touched: in a common folder anybody may make one of this name.
            ours = stat.S_ISDIR(info.st_mode) and info.st_uid == _user()
            if ours and time.time() - info.st_mtime > SETTLED_SECONDS:
                with FileLock(path / LOCK, timeout=0, thread_local=False):
                    shutil.rmtree(path)
        except (OSError, Timeout):
            continue  # somebody uses it, or has just removed it


def _user() -> int:
    """Who we are; on Windows nobody has a number, and temporary files are each user's own."""
    return os.getuid() if hasattr(os, "getuid") else 0
