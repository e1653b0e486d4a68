"""What this machine computes with: its processor, what llama.cpp finds in it, and graphics processors beside.

Nothing here is sure to be there: programs that are not installed, files that cannot be read and answers that nobody
expected mean that nothing is known, never an error.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

PATIENCE = 10.0
"""Seconds that a program may take which is asked for something."""
ROOT = Path("/")
VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
"""By the numbers of their PCI devices."""
WANTED_FEATURES = (
    "SSE3",
    "AVX",
    "AVX2",
    "AVX512",
    "AVX512_VNNI",
    "FMA",
    "F16C",
    "NEON",
    "ARM_FMA",
    "DOTPROD",
    "SVE",
)
"""What llama.cpp may use of a processor."""
BUILDS = {"NVIDIA": "-DGGML_CUDA=ON", "AMD": "-DGGML_HIP=ON", "Intel": "-DGGML_VULKAN=ON"}
"""How llama-server is built for them, as its documentation says (docs/build.md)."""
ASK_LLAMA = (
    "import json, sys, xllamacpp as x; d = x.get_device_info(); "
    "json.dump({'devices': [[str(e['name']), str(e['description']).strip(), str(e['type'])] for e in d], "
    "'system': x.get_system_info()}, sys.stdout)"
)

NVIDIA_SMI = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")

Run = Callable[[Sequence[str]], str]


class Gpu(msgspec.Struct, frozen=True):
    """A graphics processor. `memory` is its own in bytes, 0 where it is not known or shared with the machine."""

    vendor: str
    name: str
    memory: int = 0

    @property
    def build(self) -> str:
        """The option that builds llama-server for it."""
        return BUILDS.get(self.vendor, "-DGGML_VULKAN=ON")


class Llama(msgspec.Struct, frozen=True):
    """What the wheel's llama.cpp computes on. `problem` says why it could not be asked."""

    devices: list[str] = []
    features: list[str] = []
    uses_gpu: bool = False
    problem: str = ""


def run(command: Sequence[str]) -> str:
    """What a program prints; nothing where there is none of this name, or it fails or takes too long."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def processor(root: Path = ROOT) -> str:
    """What the processor is called."""
    try:
        info = (root / "proc/cpuinfo").read_text(errors="replace")
    except OSError:
        info = ""
    for key in ("model name", "Hardware", "Model"):
        if found := re.search(rf"^{key}\s*:\s*(.+)$", info, re.MULTILINE):
            return found[1].strip()
    if sys.platform == "darwin":
        return run(("sysctl", "-n", "machdep.cpu.brand_string")).strip() or platform.machine()
    return platform.processor() or platform.machine()


def gpus(root: Path = ROOT, ask: Run = run) -> list[Gpu]:
    """The graphics processors that a llama.cpp built for them could use. On a Mac the wheel itself uses its own."""
    if sys.platform == "darwin":
        return []
    nvidia = _nvidia(ask(NVIDIA_SMI))
    found = nvidia or _nvidia_by_driver(root)
    known = {gpu.vendor for gpu in found}
    return found + [gpu for gpu in _by_system(root) if gpu.vendor not in known]


def llama() -> Llama:
    """What the wheel finds, asked in a process of its own: native code may crash."""
    try:
        done = subprocess.run(
            (sys.executable, "-P", "-c", ASK_LLAMA),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE * 3,
            env=os.environ | {"GGML_NO_BACKTRACE": "1"},
            check=False,
        )
        said = json.loads(done.stdout)
        devices = [(str(name), str(about), str(kind)) for name, about, kind in said["devices"]]
        return Llama(
            devices=[f"{name} ({about})" for name, about, _ in devices],
            features=features(str(said["system"])),
            uses_gpu=any("GPU" in kind.upper() for _, _, kind in devices),
        )
    except subprocess.TimeoutExpired:
        return Llama(problem="it did not answer in time")
    except (OSError, subprocess.SubprocessError) as error:
        return Llama(problem=f"it could not be started ({type(error).__name__})")
    except (ValueError, KeyError, TypeError):
        last = done.stderr.strip().splitlines()[-1:] or [f"it ended with exit code {done.returncode}"]
        return Llama(problem=last[0])


def features(system: str) -> list[str]:
    """What llama.cpp was built to use and finds, by its own line: ``CPU : SSE3 = 1 | AVX2 = 1 | …``."""
    on = set(re.findall(r"(\w+) = 1", system))
    return [name for name in WANTED_FEATURES if name in on]


def _nvidia(answer: str) -> list[Gpu]:
    found = []
    for line in answer.splitlines():
        name, _, memory = line.rpartition(",")
        if name.strip():
            found.append(Gpu("NVIDIA", name.strip(), _megabytes(memory)))
    return found


def _megabytes(text: str) -> int:
    return int(text) * 2**20 if text.strip().isdigit() else 0


def _nvidia_by_driver(root: Path) -> list[Gpu]:
    """Where the driver is loaded, but its program is not installed."""
    found = []
    for path in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")):
        try:
            model = re.search(r"^Model:\s*(.+)$", path.read_text(errors="replace"), re.MULTILINE)
        except OSError:
            continue
        found.append(Gpu("NVIDIA", model[1].strip() if model else "graphics processor"))
    return found


def _by_system(root: Path) -> list[Gpu]:
    """By what the kernel says of each device that can render."""
    found = []
    for device in sorted((root / "sys/class/drm").glob("renderD*/device")):
        vendor = VENDORS.get(_text(device / "vendor").lower())
        if vendor is not None:
            memory = _text(device / "mem_info_vram_total")
            name = _text(device / "product_name") or f"graphics processor {_text(device / 'device')}".strip()
            found.append(Gpu(vendor, name, int(memory) if memory.isdigit() else 0))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
