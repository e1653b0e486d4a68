"""`palaver search`, and what `palaver check` says of the index, as a user runs them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.running import Terminals, palaver, said, serving


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Some conversations, and a palaver that serves them."""
    folder = tmp_path_factory.mktemp("search")
    with serving(folder, "--model", "scripted"):
        said(folder, "ask", "I bake bread in Rome", "--conversation", "trip")
        said(folder, "ask", "What goes with\nthe bread?", "--conversation", "trip")
        said(folder, "ask", "A question about bread, asked once")
        yield folder


def test_a_block_says_where_when_and_which(folder: Path) -> None:
    title, first, *_ = said(folder, "search", "bread", "rome").split("\n\n")
    assert title.startswith("trip  ")
    assert title.endswith("  title\nI bake bread in Rome")
    about, text = first.splitlines()
    assert about.startswith("trip  ")
    assert "  user  msg_" in about
    assert text == "I bake bread in Rome"
    message = about.split()[-1]
    assert text in said(folder, "show", "trip", "--to", message)


def test_what_narrows_it(folder: Path) -> None:
    def found(*options: str) -> list[str]:
        hits = json.loads(said(folder, "search", "bread", "--json", *options))["data"]
        return [hit["text"] for hit in hits if hit["type"] == "message" and hit["role"] == "user"]

    both = {"I bake bread in Rome", "What goes with\nthe bread?"}
    assert set(found()) == both
    assert set(found("--conversation", "trip", "--since", "2020-01-01")) == both
    assert found("--newest")[0] == "What goes with\nthe bread?"
    assert len(found("--all")) == 3
    assert found("--before", "2020-01-01") == []
    assert found("--user", "bob") == []
    assert found("--role", "tool") == []
    assert found("--source", "curl") == []
    assert len(json.loads(said(folder, "search", "bread", "--json", "--all", "--limit", "1"))["data"]) == 1
    assert "What goes with the bread?" in said(folder, "search", '"with the bread"')


def test_nothing_and_what_is_no_search(folder: Path) -> None:
    nothing = palaver(folder, "search", "zanzibar")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "Nothing was found" in nothing.stderr
    for arguments, named in (
        (["..."], "`q`"),
        (["x", "--since", "soon"], "`since`"),
        (["x", "--role", "y"], "`role`"),
    ):
        done = palaver(folder, "search", *arguments)
        assert done.returncode == 1
        assert named in done.stderr


def test_words_are_marked_in_a_terminal(folder: Path, terminals: Terminals) -> None:
    assert "\x1b" not in said(folder, "search", "bread")
    screen = terminals.open("search", "bread", "--data-dir", str(folder / "data"))
    screen.wait_for("I bake bread in Rome")
    assert "\x1b[1mbread\x1b[0m" in screen.styled()


def test_the_index_is_checked_and_made_anew(tmp_path: Path) -> None:
    said(tmp_path, "ask", "I bake bread", "--model", "scripted", "--conversation", "trip")
    with serving(tmp_path, "--model", "scripted") as (_, address):
        refused = palaver(tmp_path, "check", "--rebuild-index")
        assert refused.returncode == 1
        assert address.removesuffix("/v1") in refused.stderr
    (store,) = tmp_path.rglob("palaver.db")
    with closing(sqlite3.connect(store)) as connection:
        connection.executescript("DELETE FROM message_index_data WHERE id > 10")
    wrong = palaver(tmp_path, "check")
    assert wrong.returncode == 1
    assert "--rebuild-index" in wrong.stdout
    assert "made anew: 2 messages, 1 titles" in palaver(tmp_path, "check", "--rebuild-index").stderr
    assert palaver(tmp_path, "check").returncode == 0
