"""The store, the data directory, who owns the store, and the port."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from palaver.config import Config
from palaver.core.errors import StoreError
from palaver.engines.llama.footprint import told
from palaver.stores.migrations import migrations
from palaver.stores.ownership import Owner
from palaver.stores.sqlite_connection import open_for_reading
from palaver.stores.sqlite_errors import named_errors
from palaver.stores.sqlite_migration import check_version
from palaver.wiring.doctor.findings import Finding, broken, note, ok

LOW_SPACE = 1_000_000_000
"""Bytes; with less on the disk it is time to say so."""


def examine(config: Config, owner: Owner | None) -> Iterator[Finding]:
    """The store and what is around it. Nothing is changed, and nothing is made."""
    yield from _store(config)
    yield from _folder(config)
    if owner is not None:
        yield ok("owner", f"a palaver owns the store and answers at {owner.address} (process {owner.pid})")
    else:
        yield ok("owner", "no palaver is running on this store")
    yield _port(config, owner)


def _store(config: Config) -> Iterator[Finding]:
    path = config.store_path
    if not path.exists():
        yield note("store", f"{path} is not there yet; it is made when it is needed.")
        return
    files = [each for each in (path, path.with_name(path.name + "-wal")) if each.exists()]
    try:
        size = sum(each.stat().st_size for each in files)
        version, damage = _looked_at(path)
    except StoreError as error:
        yield broken(
            "store", f"{path}: {error.message}", "If it is damaged: `palaver restore FILE` with a backup."
        )
        return
    except OSError as error:
        yield broken(
            "store", f"{path} cannot be read ({error.strerror}).", "Give this user the right to read it."
        )
        return
    newest = len(migrations("sqlite"))
    said = f"{path}, {told(size)}, version {version} of {newest}"
    if damage is not None:
        yield broken(
            "store",
            f"{said}: its file is damaged ({damage})",
            "Stop palaver, run `palaver check`, and put a backup back: `palaver restore FILE`.",
        )
    elif 0 < version < newest:
        yield note(
            "store", said, "The next palaver that owns it brings it up to date, and keeps a copy of it first."
        )
    else:
        yield ok("store", f"{said}; its file is sound (`palaver check` looks at every row)")


def _looked_at(path: Path) -> tuple[int, str | None]:
    """The store's version, and what is wrong with its file. Raises StoreError, OSError."""
    with named_errors(path), closing(open_for_reading(path)) as connection:
        version = check_version(connection, path)
        try:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            return version, str(error)
        return version, None if said == "ok" else str(said).splitlines()[0]


def _folder(config: Config) -> Iterator[Finding]:
    folder = config.store_path.parent
    there = next((each for each in (folder, *folder.parents) if each.exists()), None)
    if there is None:
        return
    if not os.access(there, os.W_OK):
        yield broken(
            "disk", f"{there} cannot be written", "Give this user the right to, or choose --data-dir."
        )
        return
    free = shutil.disk_usage(there).free
    if free < LOW_SPACE:
        yield note(
            "disk", f"{told(free)} free where the store is", "Make room: a full disk stops every turn."
        )
    else:
        yield ok("disk", f"{told(free)} free where the store is")


def _port(config: Config, owner: Owner | None) -> Finding:
    port = config.port
    if port == 0:
        return ok("port", "any free port")
    if owner is not None and owner.address.endswith(f":{port}"):
        return ok("port", f"{port} is palaver's, the owner of this store")
    host = "127.0.0.1" if config.host in ("localhost", "0.0.0.0") else config.host
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return note("port", f"{port} is taken by another program", "Choose another with --port.")
        if error.errno == errno.EACCES:
            return broken("port", f"{port} is not for this user", "Choose one above 1023 with --port.")
        return broken(
            "port", f"palaver cannot listen on its `host`: {error.strerror}", "Choose another with --host."
        )
    return ok("port", f"{port} is free")
