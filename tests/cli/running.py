"""Real runs of the command: once, as a server, and in a terminal."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import environment, require_program
from tests.house.files import ROOT

READY = "palaver is ready at "
PATIENCE = 60.0
"""Seconds to wait for something that is bound to happen; machines are shared."""
PROGRAM = (sys.executable, "-m", "palaver")
SCRIPT: list[dict[str, object]] = [
    {
        "when": "be slow",
        "reasoning": "let me think",
        "delay": 0.1,
        "reply": " ".join(f"w{i}" for i in range(600)),
    },
    {"when": "break", "reply": "it goes well until", "fail": "break after 3 tokens"},
    {"when": "be long", "reply": "twenty characters of " * 8},
    {"reply": None},
]


def script(folder: Path) -> str:
    """The value of --model for a model that does what it is told: be slow, be long, break."""
    path = folder / "script.jsonl"
    path.write_text("\n".join(map(json.dumps, SCRIPT)))
    return f"scripted:{path}"


def settings(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a palaver that keeps everything in `folder` and reads nothing of this user's."""
    return environment(**{"PALAVER_DATA_DIR": str(folder / "data"), "XDG_CONFIG_HOME": str(folder)} | more)


def palaver(folder: Path, *arguments: str, given: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end; `given` is its standard input."""
    return subprocess.run(
        (*PROGRAM, *arguments),
        input=given,
        env=settings(folder, **more),
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
    )


def said(folder: Path, *arguments: str, given: str = "", **more: str) -> str:
    """What a command that must succeed prints on standard output."""
    done = palaver(folder, *arguments, given=given, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def serving(folder: Path, *options: str, **more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running `palaver serve`, and its address; ended if the test has not ended it."""
    with (folder / "serve.log").open("w") as log:
        process = subprocess.Popen(
            (*PROGRAM, "serve", "--port", "0", *options),
            env=settings(folder, **more),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            encoding="utf-8",
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith(READY), (folder / "serve.log").read_text()
        yield process, line.removeprefix(READY).strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Screen:
    """`palaver` in a real terminal of 80 columns."""

    def __init__(self, tmux: list[str], window: str) -> None:
        self._tmux = tmux
        self._window = window

    def type(self, text: str) -> None:
        """Type a line and press Enter."""
        self._run("send-keys", "-t", self._window, "-l", text)
        self.press("Enter")

    def press(self, key: str) -> None:
        self._run("send-keys", "-t", self._window, key)

    def text(self) -> str:
        """All that is on the screen."""
        return self._run("capture-pane", "-t", self._window, "-p")

    def styled(self) -> str:
        """The same, with the sequences that say how it looks."""
        return self._run("capture-pane", "-t", self._window, "-p", "-e")

    def wait_for(self, text: str, *, times: int = 1) -> str:
        """Wait until `text` is on the screen so many times; the screen then."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            seen = self.text()
            if seen.count(text) >= times:
                return seen
            time.sleep(0.05)
        raise AssertionError(f"{text!r} does not come. The screen:\n{self.text()}")

    def _run(self, *arguments: str) -> str:
        return subprocess.run(
            [*self._tmux, *arguments], check=True, capture_output=True, encoding="utf-8", timeout=PATIENCE
        ).stdout


class Terminals:
    """A tmux of its own for one test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = Path(tempfile.mkdtemp(prefix="tmux-")) / "s"  # the path of a socket must be short
        self._tmux = [require_program("tmux"), "-f", os.devnull, "-S", str(self._socket)]
        self._count = 0

    def open(self, *arguments: str, **more: str) -> Screen:
        """Run `palaver` with these arguments in a new terminal; when it ends, the screen says with which code."""
        self._count += 1
        window = f"w{self._count}"
        # The environment of a terminal is that of the first one, but for what is set on its command line.
        changes = [f"{name}={value}" for name, value in more.items()]
        command = f"{shlex.join(['env', *changes, *PROGRAM, *arguments])}; echo ended with $?; exec cat"
        subprocess.run(
            [*self._tmux, "new-session", "-d", "-s", window, "-x", "80", "-y", "50", command],
            env={
                name: value
                for name, value in settings(self._folder, LANG="C.UTF-8").items()
                if name != "TMUX"
            },
            cwd=ROOT,
            check=True,
            timeout=PATIENCE,
        )
        return Screen(self._tmux, window)

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True, timeout=PATIENCE)
        shutil.rmtree(self._socket.parent, ignore_errors=True)
