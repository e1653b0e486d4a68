"""How much memory there is: by files as Linux has them, on machines and in containers."""

import os
from pathlib import Path

import pytest

from palaver.engines.llama import machine as module
from palaver.engines.llama.machine import MachineMemory, machine_memory, resident_bytes
from tests.engines.llama.talk import HAS_PROC

MEMINFO = (
    "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:   12000000 kB\nBuffers: 1 kB\n"
)
KB = 1024
WHOLE = MachineMemory(16_000_000 * KB, 12_000_000 * KB)

pytestmark = pytest.mark.skipif(not hasattr(os, "sysconf"), reason="Windows has no such files")


def root(folder: Path, cgroup: str = "", **files: str) -> Path:
    """A machine with this /proc/self/cgroup; files are named below sys/fs/cgroup."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/meminfo").write_text(MEMINFO)
    (folder / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = folder / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_without_a_limit_all_that_the_kernel_says_is_available(tmp_path: Path) -> None:
    assert machine_memory(root(tmp_path, "0::/user.slice\n")) == WHOLE


def test_the_group_s_limit_counts_and_pages_of_files_are_free(tmp_path: Path) -> None:
    files = {
        "app/memory.max": "4000000000\n",
        "app/memory.current": "3000000000\n",
        "app/memory.stat": "anon 1000000000\ninactive_file 1500000000\n",
    }
    assert machine_memory(root(tmp_path, "0::/app\n", **files)) == MachineMemory(4_000_000_000, 2_500_000_000)


def test_a_group_around_it_may_have_less(tmp_path: Path) -> None:
    files = {
        "memory.max": "max\n",
        "memory.current": "1\n",
        "a/memory.max": "2000000000\n",
        "a/memory.current": "500000000\n",
        "a/b/memory.max": "max\n",
        "a/b/memory.current": "500000000\n",
    }
    assert machine_memory(root(tmp_path, "0::/a/b\n", **files)) == MachineMemory(2_000_000_000, 1_500_000_000)


def test_in_a_container_the_own_group_is_the_root(tmp_path: Path) -> None:
    files = {"memory.max": "1000000000", "memory.current": "1200000000"}
    found = machine_memory(root(tmp_path, "0::/docker/0123\n", **files))
    assert found == MachineMemory(1_000_000_000, 0)


def test_the_first_version_of_groups(tmp_path: Path) -> None:
    cgroup = "9:name=systemd:/\n5:memory,hugetlb:/docker/0123\n0::/\n"
    files = {
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/memory.usage_in_bytes": "1\n",
        "memory/docker/0123/memory.limit_in_bytes": "3000000000\n",
        "memory/docker/0123/memory.usage_in_bytes": "2000000000\n",
        "memory/docker/0123/memory.stat": "cache 1\ntotal_inactive_file 1000000000\n",
    }
    found = machine_memory(root(tmp_path, cgroup, **files))
    assert found == MachineMemory(3_000_000_000, 2_000_000_000)


@pytest.mark.parametrize("cgroup", ["", "nonsense\n", "0::/app\n", "::\n", "5:memory:/../../..\n"])
def test_what_cannot_be_read_limits_nothing(tmp_path: Path, cgroup: str) -> None:
    files = {"app/memory.max": "many", "app/memory.current": "?"}
    assert machine_memory(root(tmp_path, cgroup, **files)) == WHOLE


@pytest.mark.parametrize("meminfo", ["", "MemTotal: x kB\n", "MemTotal: 5 kB\n", "MemTotal:\n"])
def test_where_the_kernel_does_not_say_half_is_taken_for_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meminfo: str
) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert machine_memory(tmp_path / "none") == MachineMemory(4_096_000, 2_048_000)
    (root(tmp_path) / "proc/meminfo").write_text(meminfo)
    assert machine_memory(tmp_path) == MachineMemory(4_096_000, 2_048_000)


def test_this_machine_has_some() -> None:
    found = machine_memory()
    assert 0 < found.available <= found.total


@pytest.mark.skipif(not HAS_PROC, reason="needs /proc")
def test_what_a_process_takes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert resident_bytes(os.getpid()) is not None
    monkeypatch.setattr(module, "ROOT", tmp_path)
    assert resident_bytes(os.getpid()) is None
