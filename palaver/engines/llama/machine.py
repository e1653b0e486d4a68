"""How much memory this machine has, and how much of it is free for a model.

On Linux: what the kernel says (`/proc/meminfo`), and less where a control group says less, its own or one around it
(a container, a systemd service; versions 1 and 2 of the interface). Pages of files count as free in both, as they are
let go of when somebody needs the room. On Windows the system is asked. Elsewhere only the total is known, by `sysconf`;
half of it is taken for free.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import msgspec

SHARE_OF_TOTAL = 0.5
"""What is taken for free where the system does not say."""
UNLIMITED = 2**60
"""Bytes; control groups of version 1 say a number near 2**63 for "no limit"."""
ROOT = Path("/")


class MachineMemory(msgspec.Struct, frozen=True):
    """In bytes. `total` is what this process may have at most; `available` how much of that nobody uses now."""

    total: int
    available: int


def machine_memory(root: Path = ROOT) -> MachineMemory:
    """The memory of this machine; `root` is where Linux's files lie."""
    if sys.platform == "win32":
        return _windows()
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        sizes = {
            name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)
        }
        total, available = sizes["MemTotal"], sizes["MemAvailable"]
    except (OSError, KeyError, ValueError, IndexError):
        return _by_sysconf()
    for limit, used in _group_limits(root):
        total, available = min(total, limit), min(available, max(0, limit - used))
    return MachineMemory(total, available)


def resident_bytes(pid: int) -> int | None:
    """How much memory a process has, with the pages of files that it has read; None where that cannot be known."""
    try:
        pages = int((ROOT / "proc" / str(pid) / "statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _by_sysconf() -> MachineMemory:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return MachineMemory(total, int(total * SHARE_OF_TOTAL))


def _group_limits(root: Path) -> list[tuple[int, int]]:
    """Of each control group with a limit that this process is in: the limit and what is used, in bytes."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            found += _limits(root / "sys/fs/cgroup", path, ("memory.max", "memory.current", "inactive_file"))
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            found += _limits(root / "sys/fs/cgroup/memory", path, names)
    return found


def _limits(mount: Path, path: str, names: tuple[str, str, str]) -> list[tuple[int, int]]:
    """The limits of a group and of those around it. In a container the group itself is where all begin."""
    limit_name, used_name, pages_name = names
    folder = mount / path.strip("/")
    groups = [group for group in (folder, *folder.parents) if group == mount or mount in group.parents]
    found = []
    for group in groups:
        limit, used = _number(group / limit_name), _number(group / used_name)
        if limit is not None and used is not None and limit < UNLIMITED:
            found.append((limit, max(0, used - _file_pages(group / "memory.stat", pages_name))))
    return found


def _number(path: Path) -> int | None:
    """The number in a file; None where there is none, as in ``max``."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _file_pages(path: Path, name: str) -> int:
    """The bytes of pages that only repeat what is in files."""
    try:
        lines = path.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.split()[:1] == [name])
    except (OSError, ValueError, IndexError, StopIteration):
        return 0


class _MemoryStatus(ctypes.Structure):
    """Windows' MEMORYSTATUSEX."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("available", ctypes.c_uint64),
        ("rest", ctypes.c_uint64 * 5),
    )


def _windows() -> MachineMemory:
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 - there is none elsewhere
    if not kernel.GlobalMemoryStatusEx(ctypes.byref(status)):
        raise OSError("Windows does not say how much memory there is")
    return MachineMemory(status.total, status.available)
