"""`palaver open`: a browser is sent to the page of the running server."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path

import pytest

from palaver.cli.open import page_address
from palaver.config import Config
from palaver.core.errors import PalaverError
from palaver.wiring import assembly
from tests.cli.running import palaver, serving


def browser(folder: Path, code: int = 0) -> dict[str, str]:
    """The setting of a browser that writes down what it is to show."""
    program = folder / "browser"
    program.write_text(f'#!/bin/sh\nprintf %s "$1" > {folder}/shown\nexit {code}\n')
    program.chmod(0o755)
    return {"BROWSER": f"{program} %s"}


def test_it_opens_the_page_of_the_running_server(tmp_path: Path) -> None:
    with serving(tmp_path, "--model", "scripted") as (_, address):
        done = palaver(tmp_path, "open", **browser(tmp_path))
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{address}/\n", "")
        shown = (tmp_path / "shown").read_text()
        assert shown == f"{address}/"
        with urllib.request.urlopen(shown) as answer:
            assert b'src="assets/main.js"' in answer.read()


def test_where_no_browser_starts_the_address_is_there_all_the_same(tmp_path: Path) -> None:
    with serving(tmp_path, "--model", "scripted") as (_, address):
        done = palaver(tmp_path, "open", **browser(tmp_path, 1), PATH="")
        assert (done.returncode, done.stdout) == (1, f"{address}/\n")
        assert "open this address" in done.stderr


def test_without_a_server_it_says_how_to_start_one(tmp_path: Path) -> None:
    done = palaver(tmp_path, "open", **browser(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "palaver serve" in done.stderr
    assert not (tmp_path / "shown").exists()
    assert not (tmp_path / "data").exists(), "looking makes nothing"


def test_a_command_that_has_the_store_is_no_server(tmp_path: Path) -> None:
    config = Config(data_dir=str(tmp_path), model="scripted")

    async def look() -> None:
        async with assembly.running(config, private=True):
            page_address(config)

    with pytest.raises(PalaverError, match=r"end it, and start a server with `palaver serve`"):
        asyncio.run(look())
