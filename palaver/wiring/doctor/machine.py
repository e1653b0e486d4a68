"""The machine: versions, processor, memory, and a graphics processor that has nothing to do."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib import metadata

from palaver import __version__
from palaver.config import Config
from palaver.engines.llama.footprint import told
from palaver.engines.llama.hardware import Gpu, Llama, gpus, llama, processor
from palaver.engines.llama.machine import machine_memory
from palaver.engines.llama.memory import ModelMemory
from palaver.engines.llama.settings import cores
from palaver.wiring.doctor.findings import Finding, broken, note, ok

PACKAGES = (
    *("xllamacpp", "llguidance", "aiohttp", "uvicorn", "starlette", "msgspec", "httptools", "uvloop"),
    *("huggingface_hub", "typer", "rich", "prompt_toolkit", "openai", "together"),
)
"""What is told of, where it is installed."""
LITTLE = 500_000_000
"""Bytes; with less for models hardly one runs that is of use."""


def examine(config: Config) -> Iterator[Finding]:
    """All there is to say of the machine. Takes a second or two: llama.cpp is started to be asked."""
    yield ok("palaver", f"palaver {__version__}, Python {platform.python_version()}, {_system()}")
    yield ok("packages", ", ".join(_versions()))
    computes = llama()
    yield from _processor(computes)
    yield _memory(config)
    yield from _devices(config, computes, gpus())


def _system() -> str:
    name = {"Darwin": f"macOS {platform.mac_ver()[0]}"}.get(
        platform.system(), f"{platform.system()} {platform.release()}"
    )
    libc = " ".join(part for part in platform.libc_ver() if part)
    where = ", in a virtual environment" if sys.prefix != sys.base_prefix else ""
    return f"{name} ({platform.machine()}{', ' + libc if libc else ''}){where}"


def _versions() -> list[str]:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue  # an extra that is not installed, or one that another platform has
    return found


def _processor(computes: Llama) -> Iterator[Finding]:
    count = cores()
    said = f"{processor()}, {count} core{'s' if count > 1 else ''} for palaver"
    if computes.problem:
        yield ok("processor", said)
        yield broken(
            "llama.cpp",
            f"The local engine (xllamacpp) cannot be used: {computes.problem}",
            "Install it again: pip install --force-reinstall xllamacpp. On Debian and Ubuntu it needs libgomp1 and "
            "libstdc++6; its wheels are for Linux with glibc, macOS and Windows, and for processors with AVX2.",
        )
        return
    yield ok(
        "processor", said + (f"; llama.cpp uses {', '.join(computes.features)}" if computes.features else "")
    )


def _memory(config: Config) -> Finding:
    memory, limit = machine_memory(), ModelMemory(config.memory or None).limit
    why = "by `memory`" if config.memory else "70 % of what is free"
    said = f"{told(memory.total)}, {told(memory.available)} of it free; models may take {told(limit)} together ({why})"
    if limit < LITTLE:
        more = "Set `memory` to more" if config.memory else "Close other programs, set `memory`"
        return note("memory", said, f"{more}, or use a model on another machine.")
    if limit > memory.total:
        return note("memory", said, "Models may take more than there is: set `memory` to less.")
    return ok("memory", said)


def _devices(config: Config, computes: Llama, found: list[Gpu]) -> Iterator[Finding]:
    if not computes.problem:
        yield ok("device", f"GGUF models compute on {', '.join(computes.devices) or 'the processor'}")
    for gpu in found:
        size = f" with {told(gpu.memory)}" if gpu.memory else ""
        called = gpu.name if gpu.name.startswith(gpu.vendor) else f"{gpu.vendor} {gpu.name}"
        if computes.uses_gpu or config.llama_server:
            yield ok("gpu", f"{called}{size}")
        else:
            yield note(
                "gpu", f"{called}{size} is idle: palaver's own engine computes on the processor.", _use(gpu)
            )


def _use(gpu: Gpu) -> str:
    return (
        f"Build llama.cpp for it (cmake -B build {gpu.build} && cmake --build build --config Release --target "
        "llama-server), start it (llama-server -m MODEL.gguf -ngl 99 -np 2 -c 16384 --port 8080), and run "
        "`palaver serve --llama-server http://127.0.0.1:8080`."
    )
