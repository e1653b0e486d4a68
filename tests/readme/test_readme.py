"""What the README says can be done: its commands exist, its links lead somewhere, its examples run."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from palaver.cli.main import app
from tests.cli.running import said, serving
from tests.conftest import environment, require_program
from tests.house.files import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SHELL = [text for language, text in BLOCKS if language == "sh"]
PYTHON = [text for language, text in BLOCKS if language == "python"]


def commands() -> list[list[str]]:
    """Every `palaver …` and `make …` in the README's shell blocks and prose, in words."""
    in_prose = re.findall(r"`((?:palaver|make) [^`]+)`", README)
    in_blocks = re.findall(r"^(?:[A-Z_]+=\S+ )?((?:palaver|make) .+)$", "".join(SHELL), re.MULTILINE)
    return [shlex.split(line, comments=True) for line in (*in_blocks, *in_prose)]


def test_the_first_two_commands_are_chat_and_test() -> None:
    assert commands()[:2] == [["make", "chat"], ["make", "test"]]


@pytest.mark.parametrize("words", [words for words in commands() if words[0] == "palaver"], ids=shlex.join)
def test_every_palaver_command_exists_with_its_options(words: list[str]) -> None:
    command, rest = get_command(app), words[1:]
    while isinstance(command, TyperGroup) and rest and not rest[0].startswith("-"):
        command, rest = command.commands[rest[0]], rest[1:]
    context = command.make_context(words[-1], rest, resilient_parsing=False)
    assert not context.args


@pytest.mark.parametrize("words", [words for words in commands() if words[0] == "make"], ids=shlex.join)
def test_every_make_target_exists(words: list[str]) -> None:
    assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("block", SHELL, ids=range(len(SHELL)))
def test_every_shell_block_is_shell(block: str) -> None:
    subprocess.run([require_program("bash"), "-n"], input=block, check=True, encoding="utf-8")


def test_every_link_to_a_file_leads_to_one() -> None:
    links = [link.strip() for link in re.findall(r"\]\(([^)#]+)\)", README)]
    files = [link for link in links if not link.startswith("http")]
    assert files
    assert [link for link in files if not (ROOT / link).exists()] == []


def test_every_example_runs_as_it_stands_and_what_they_said_is_there(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, address):
        assert process.stdout is not None
        exports: dict[str, str] = {}
        for line in process.stdout:
            if line.strip().startswith("export "):
                name, _, value = line.split()[1].partition("=")
                exports[name] = value
            if line.startswith("access"):
                break
        shown = "".join(f"export {n}={v}\n" for n, v in exports.items()).replace(
            address, "http://127.0.0.1:7400"
        )
        assert shown in SHELL, "the README shows the lines that are printed"
        outputs = [run([sys.executable, "-c", block], exports) for block in PYTHON]
        assert "Manhattan" in outputs[0]
        assert "Ada" in outputs[1]
        assert "Ada" in outputs[2]
        (curl,) = [block for block in SHELL if block.startswith("curl")]
        answer = json.loads(run([require_program("bash"), "-c", curl], exports))
        assert "Manhattan" in answer["choices"][0]["message"]["content"]
        kept = json.loads(said(tmp_path, "list", "--json"))["data"]
        assert sorted(each["messages"] for each in kept) == [4, 4, 4]


def run(command: list[str], exports: dict[str, str]) -> str:
    done = subprocess.run(
        command, env=environment(**exports), capture_output=True, encoding="utf-8", timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
