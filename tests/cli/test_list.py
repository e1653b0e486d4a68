"""`palaver list`: what stands first in a line is what other commands take."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from tests.cli.running import palaver, said, serving

SCRIPTED = ("--model", "scripted")


def ask(address: str, text: str, **more: str) -> None:
    body = {"model": "scripted", "messages": [{"role": "user", "content": text}], **more}
    request = urllib.request.Request(
        f"{address}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        assert response.status == 200


def test_what_is_listed_first_is_found(tmp_path: Path) -> None:
    with serving(tmp_path, *SCRIPTED) as (_, address):
        ask(address.removesuffix("/v1"), "of bob", conversation="bobchat", user="bob")
        ask(address.removesuffix("/v1"), "two lines", conversation="a\nb\x1b[2J")
        ask(address.removesuffix("/v1"), "mine", conversation="trip")
        lines = said(tmp_path, "list").splitlines()
        assert len(lines) == 3
        assert lines[0].startswith("trip ")
        assert "a b[2J" in lines[1]
        assert "bobchat of bob" in lines[2]
        for row, text in zip(lines, ["mine", "two lines", "of bob"], strict=True):
            assert text in said(tmp_path, "show", row.split()[0])
        bob = lines[2].split()[0]
        copy = said(tmp_path, "fork", bob, "--as", "copy").strip()
        assert "of bob" in said(tmp_path, "tree", copy)
        said(tmp_path, "ask", "more", "--conversation", bob)
        assert "more" in said(tmp_path, "show", bob)
        assert palaver(tmp_path, "delete", bob, "--yes").returncode == 0


def test_what_is_archived_is_listed_alone(tmp_path: Path) -> None:
    with serving(tmp_path, *SCRIPTED) as (_, address):
        address = address.removesuffix("/v1")
        assert "No archived conversations." in palaver(tmp_path, "list", "--archived").stderr
        ask(address, "mine", conversation="trip")
        ask(address, "of before", conversation="old", user="bob")
        with urllib.request.urlopen(f"{address}/v1/conversations?name=old") as response:
            old = json.load(response)["data"][0]["id"]
        request = urllib.request.Request(
            f"{address}/v1/conversations/{old}", b'{"archived": true}', {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request) as response:
            assert response.status == 200
        assert [line.split()[0] for line in said(tmp_path, "list").splitlines()] == ["trip"]
        (line,) = said(tmp_path, "list", "--archived").splitlines()
        assert "of before" in line
        (kept,) = json.loads(said(tmp_path, "list", "--archived", "--json"))["data"]
        assert (kept["id"], kept["archived"]) == (old, True)
        assert palaver(tmp_path, "delete", "--user", "bob", "--yes").returncode == 0
        assert "No archived conversations." in palaver(tmp_path, "list", "--archived").stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", ""],
        ["tree", "."],
        ["fork", ""],
        ["delete", ".", "--yes"],
        ["delete", "--user", "", "--yes"],
        ["ask", "hi", "--conversation", ""],
        ["chat", "..", *SCRIPTED],
        ["keys", "revoke", ""],
    ],
)
def test_what_can_be_no_name_is_said_in_a_line(tmp_path: Path, arguments: list[str]) -> None:
    done = palaver(tmp_path, *arguments)
    assert done.returncode == 1
    [*_, line] = done.stderr.splitlines()
    assert "cannot be" in line or "owner local has nothing" in line
    assert "Traceback" not in done.stderr
