"""Who owns a store on this machine: a lock beside its file, and a note that says where the owner answers.

The lock is the operating system's, so it goes with the process, however that ends. The note may outlive its
writer; it counts only while the lock is held.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import filelock
import msgspec

from palaver.core.errors import StoreOwned


class Owner(msgspec.Struct, frozen=True):
    """Where the owner of a store answers: a base URL, the key that this machine's user may use, and the name of
    the model that answers there where none is named. One that `is_private` answers this user's own commands only."""

    address: str
    key: str
    pid: int
    model: str = ""
    is_private: bool = False


class Ownership:
    """The ownership of one store, held until `release`."""

    def __init__(self, lock: filelock.BaseFileLock, note: Path) -> None:
        self._lock = lock
        self._note = note

    @classmethod
    def take(cls, store: Path) -> Ownership:
        """Become the owner of the store at this path. Raises StoreOwned, naming the owner's address; OSError."""
        lock = filelock.FileLock(_lock_of(store), timeout=0, mode=0o600, thread_local=False)
        try:
            lock.acquire()
        except filelock.Timeout:
            owner = read_note(store)
            where = f"; it answers at {owner.address} (process {owner.pid})" if owner else ""
            raise StoreOwned(
                f"The store {store} is in use by another palaver{where}.",
                address=owner.address if owner else None,
            ) from None
        note = _note_of(store)
        note.unlink(missing_ok=True)
        return cls(lock, note)

    def announce(self, address: str, key: str, model: str = "", *, is_private: bool = False) -> None:
        """Write the note, readable by this user only. Raises OSError."""
        temporary = self._note.with_suffix(".tmp")
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(Owner(address, key, os.getpid(), model, is_private)))
        temporary.replace(self._note)

    def withdraw(self) -> None:
        """Say no longer where it answers: it is about to end. Raises OSError."""
        self._note.unlink(missing_ok=True)

    def release(self) -> None:
        """Give the store up. May be called twice."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):  # the folder may be gone; the lock goes all the same
                self._note.unlink(missing_ok=True)
            self._lock.release()


def find_owner(store: Path) -> Owner | None:
    """The process that owns the store at this path and answers, or None."""
    if read_note(store) is None:
        return None  # nobody answers; and a lock tried in vain could be just the one that a new owner needs
    lock = filelock.FileLock(_lock_of(store), timeout=0, mode=0o600, thread_local=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        return read_note(store)
    except OSError:
        return None
    lock.release()
    return None


def read_note(store: Path) -> Owner | None:
    """What the owner announced, or None before it has."""
    try:
        return msgspec.json.decode(_note_of(store).read_bytes(), type=Owner)
    except (OSError, msgspec.DecodeError):
        return None


def _lock_of(store: Path) -> Path:
    store = store.resolve()  # a file that two links lead to has one owner
    return store.with_name(store.name + ".lock")


def _note_of(store: Path) -> Path:
    store = store.resolve()
    return store.with_name(store.name + ".owner.json")
