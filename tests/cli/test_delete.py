"""`palaver delete`: it shows what is to go, asks, and then it is gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Terminals, palaver, said, serving

SCRIPTED = ("--model", "scripted")


def ask(folder: Path, question: str, conversation: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        said(folder, "ask", question, "--conversation", conversation, "--json", *SCRIPTED)
    )
    return found


def names(folder: Path) -> list[str]:
    return [each["name"] for each in json.loads(said(folder, "list", "--all", "--json"))["data"]]


def texts(folder: Path, conversation: str) -> list[str]:
    items = json.loads(said(folder, "show", conversation, "--json"))["items"]
    return [part["text"] for item in items for part in item["content"]]


def bytes_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in (folder / "data").rglob("*") if path.is_file())


def test_conversations_by_name_and_id(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        ask(tmp_path, f"canary of {name}", name)
    id = json.loads(said(tmp_path, "show", "two", "--json"))["id"]
    done = palaver(tmp_path, "delete", "one", id, "--yes")
    assert (done.returncode, done.stdout) == (0, "")
    assert "Deleted 2 conversations." in done.stderr
    assert names(tmp_path) == ["three"]
    data = bytes_in(tmp_path)
    assert b"canary of one" not in data
    assert b"canary of two" not in data
    assert b"canary of three" in data


def test_nothing_goes_where_one_is_not_there(tmp_path: Path) -> None:
    ask(tmp_path, "hi", "one")
    done = palaver(tmp_path, "delete", "one", "nobody", "--yes")
    assert done.returncode == 1
    assert "nobody" in done.stderr
    assert names(tmp_path) == ["one"]


def test_without_a_terminal_it_takes_yes(tmp_path: Path) -> None:
    ask(tmp_path, "hi", "one")
    done = palaver(tmp_path, "delete", "one", given="y\n")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert "2 messages" in done.stderr, "what it is about is shown all the same"
    assert names(tmp_path) == ["one"]


def test_it_asks_and_takes_no_for_an_answer(tmp_path: Path, terminals: Terminals) -> None:
    ask(tmp_path, "hi there", "one")
    screen = terminals.open("delete", "one")
    shown = screen.wait_for("Delete this for good? [y/N]:")
    assert "hi there" in shown
    screen.type("n")
    screen.wait_for("ended with 1")
    assert names(tmp_path) == ["one"]
    screen = terminals.open("delete", "one")
    screen.wait_for("Delete this for good? [y/N]:")
    screen.type("y")
    assert "Deleted 1 conversation." in screen.wait_for("ended with 0")
    assert names(tmp_path) == []


def test_a_message_and_a_branch(tmp_path: Path) -> None:
    for question in ("first", "second", "third"):
        ask(tmp_path, question, "c")
    items = json.loads(said(tmp_path, "show", "c", "--json"))["items"]
    done = json.loads(said(tmp_path, "delete", "c", "--message", items[1]["id"], "--yes", "--json"))
    assert done == {"messages": 1}
    assert "Reply 1" not in " ".join(texts(tmp_path, "c"))
    preview = palaver(tmp_path, "delete", "c", "--message", items[3]["id"][-8:], "--branch")
    assert "user: third" in preview.stderr
    assert "user: second" not in preview.stderr
    assert (
        "Deleted 3 messages."
        in palaver(tmp_path, "delete", "c", "--message", items[3]["id"][-8:], "--branch", "--yes").stderr
    )
    assert texts(tmp_path, "c") == ["first", "second"]


def test_all_of_an_end_user_and_of_an_owner_through_a_server(tmp_path: Path) -> None:
    with serving(tmp_path, *SCRIPTED):
        ask(tmp_path, "hi", "kept")
        key = said(tmp_path, "keys", "add", "app", "--owner", "ann").strip()
        assert key
        done = palaver(tmp_path, "delete", "--user", "ada", "--yes")
        assert (done.returncode, "owner local has nothing of an end user ada" in done.stderr) == (1, True)
        done = palaver(tmp_path, "delete", "--everything-of", "ann")
        assert "1 API key of ann" in done.stderr
        assert json.loads(said(tmp_path, "keys", "--json"))["data"] != []
        done = palaver(tmp_path, "delete", "--everything-of", "ann", "--yes")
        assert (done.returncode, "Deleted 0 conversations." in done.stderr) == (0, True)
        assert json.loads(said(tmp_path, "keys", "--json"))["data"] == []
        done = palaver(tmp_path, "delete", "--everything-of", "ann", "--yes")
        assert (done.returncode, "There is nothing of an owner ann." in done.stderr) == (1, True)
        assert names(tmp_path) == ["kept"]


def test_what_is_old(tmp_path: Path) -> None:
    ask(tmp_path, "hi", "one")
    assert "There is nothing to delete." in palaver(tmp_path, "delete", "--older-than", "30d", "--yes").stderr
    assert names(tmp_path) == ["one"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["one", "--user", "ada"],
        ["--user", "ada", "--everything-of", "ann"],
        ["one", "two", "--message", "msg_1"],
        ["--message", "msg_1"],
        ["one", "--branch"],
        ["--older-than", "soon"],
    ],
)
def test_it_must_be_plain_what_is_meant(tmp_path: Path, arguments: list[str]) -> None:
    done = palaver(tmp_path, "delete", *arguments, "--yes")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
