"""The Makefile speaks plainly where it cannot do its work, and tells of every command it has."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import environment, require_program
from tests.house.files import ROOT

OLD = """#!/bin/sh
case "$1" in --version) echo Python 3.9.2 ;; *) exit 1 ;; esac
"""
WITHOUT_VENV = """#!/bin/sh
case "$*" in *venv*) mkdir -p .venv/bin; echo ensurepip is not available; exit 1 ;; esac
"""


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make on a copy of the Makefile in an empty folder, so that no set-up of ours is touched."""
    program = require_program("make")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    of_make = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHON"}
    clean = {name: value for name, value in environment().items() if name not in of_make}
    return subprocess.run([program, *arguments], cwd=folder, env=clean, capture_output=True, text=True)


def fake_python(folder: Path, script: str) -> str:
    path = folder / "fake-python"
    path.write_text(script)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("target", ["chat", "test", "check"])
def test_an_old_python_is_named_with_its_version(tmp_path: Path, target: str) -> None:
    done = make(tmp_path, target, f"PYTHON={fake_python(tmp_path, OLD)}")
    assert done.returncode != 0
    assert "palaver needs Python 3.11 or newer" in done.stderr
    assert "Python 3.9.2" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_missing_python_is_named(tmp_path: Path) -> None:
    done = make(tmp_path, "chat", "PYTHON=python-that-is-nowhere")
    assert done.returncode != 0
    assert "there is no 'python-that-is-nowhere' here" in done.stderr


def test_a_python_without_venv_leaves_nothing_half_made(tmp_path: Path) -> None:
    done = make(tmp_path, "chat", f"PYTHON={fake_python(tmp_path, WITHOUT_VENV)}")
    assert done.returncode != 0
    assert "apt install python3-venv" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_help_tells_of_every_command(tmp_path: Path) -> None:
    done = make(tmp_path)
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert re.findall(r"^  make (\w+)", done.stdout, re.MULTILINE) == phony[1].split()
