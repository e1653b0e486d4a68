"""A real `palaver serve` for the official SDKs, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from tests.conftest import environment, require_program
from tests.sdks.waiting import PATIENCE, first_line

NODE = Path(__file__).parent / "node"
INSTALLED = NODE / "node_modules" / ".package-lock.json"
"""What npm writes last."""
READY = "palaver is ready at "


@contextmanager
def serving(folder: Path, *options: str, **settings: str) -> Iterator[str]:
    """Run `palaver serve` on a free port with its data in `folder`; its base URL."""
    log = (folder / "serve.log").open("wb")
    command = [
        sys.executable,
        "-m",
        "palaver",
        "serve",
        "--port",
        "0",
        "--data-dir",
        str(folder / "data"),
        *options,
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment(**settings), cwd=folder
    )
    assert process.stdout is not None
    try:
        line = first_line(process, process.stdout)
        assert line.startswith(READY), (line, (folder / "serve.log").read_text())
        yield line.removeprefix(READY).strip()
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0, (folder / "serve.log").read_text()
        process.stdout.close()
        log.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose only model is pocket, under whatever name a client asks for."""
    with serving(tmp_path_factory.mktemp("served"), "--alias", "*=pocket") as url:
        yield url


@pytest.fixture(scope="session")
def node() -> str:
    """The program node, with the SDKs of `tests/sdks/node` installed."""
    program = require_program("node")
    with FileLock(Path(sys.prefix) / "node-install.lock"):  # of all who run tests here
        if not INSTALLED.exists():
            subprocess.run([require_program("npm"), "ci", "--silent"], cwd=NODE, check=True, timeout=300)
    return program


def sdk_environment(address: str) -> dict[str, str]:
    """What a user exports to point the SDKs at palaver, and nothing else."""
    return {
        **environment(),
        "TOGETHER_BASE_URL": address,
        "TOGETHER_API_KEY": "any",
        "OPENAI_BASE_URL": address + "/v1",
        "OPENAI_API_KEY": "any",
        "NODE_PATH": os.fspath(NODE / "node_modules"),
    }
