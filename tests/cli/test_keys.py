"""`palaver keys`: keys are made, listed and revoked, by whoever owns the store at the moment."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from palaver.cli.keys import rows
from tests.cli.running import palaver, said, serving
from tests.cli.test_serve import rest_of


def models(address: str, key: str | None) -> int:
    """The status of a request with this key."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(f"{address}/v1/models", headers=headers)
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def listed(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(said(folder, "keys", "--json"))["data"]
    return found


def test_the_key_alone_is_printed_on_standard_output(tmp_path: Path) -> None:
    done = palaver(
        tmp_path,
        *("keys", "add", "my app", "--owner", "ann", "--scope", "read", "--scope", "chat"),
        *("--requests-per-minute", "60", "--tokens-per-minute", "20000", "--expires", "2w"),
    )
    assert done.returncode == 0
    key = done.stdout.removesuffix("\n")
    assert key.startswith("pal_")
    assert len(key.split()) == 1
    assert key not in done.stderr
    assert "not shown again" in done.stderr
    (made,) = listed(tmp_path)
    assert made["expires_at"] - made["created_at"] in (14 * 86400 - 1, 14 * 86400, 14 * 86400 + 1)
    told = said(tmp_path, "keys")
    for part in (
        made["id"],
        key[-4:],
        "my app",
        "ann",
        "chat,read",
        "60 requests and 20,000 tokens a minute",
    ):
        assert part in told
    assert key not in told


def test_a_running_server_takes_what_is_made_and_refuses_what_is_revoked(tmp_path: Path) -> None:
    with serving(tmp_path, "--model", "scripted") as (_, address):
        assert models(address, None) == 200
        key = said(tmp_path, "keys", "add", "app").strip()
        assert [models(address, each) for each in (None, "any", key)] == [401, 401, 200]
        assert said(tmp_path, "ask", "hello").startswith("Reply 1")  # this machine's user goes on
        (made,) = listed(tmp_path)
        assert "revoked" in said(tmp_path, "keys", "revoke", made["id"])
        assert [models(address, each) for each in (None, key)] == [401, 401]
        assert listed(tmp_path)[0]["status"] == "revoked"


def test_other_machines_are_let_in_once_there_is_a_key(tmp_path: Path) -> None:
    reach = ("--model", "scripted", "--host", "0.0.0.0")
    done = palaver(tmp_path, "serve", "--port", "0", *reach)
    assert (done.returncode, done.stdout) == (2, "")
    assert "`palaver keys add NAME`" in done.stderr
    key = said(tmp_path, "keys", "add", "app", PALAVER_HOST="0.0.0.0").strip()
    for options in ((), ("--no-auth",)):  # which is for a palaver without any key
        with serving(tmp_path, *reach, *options) as (process, address):
            lines = rest_of(process)
            assert lines[-1] == "access   with an API key: 1 created (`palaver keys` lists those)"
            assert "  export OPENAI_API_KEY=YOUR_API_KEY" in lines
            assert [models(address, each) for each in (None, key)] == [401, 200]
    said(tmp_path, "keys", "revoke", listed(tmp_path)[0]["id"])
    with serving(tmp_path, *reach, "--no-auth") as (process, address):
        assert "none is valid" in rest_of(process)[-1]
        assert [models(address, each) for each in (None, key)] == [401, 401]
    with serving(tmp_path, *reach, "--api-key", "of-the-settings") as (process, address):
        assert rest_of(process)[-1].startswith("access   with an API key: 1 from the settings and 0 created")
        assert [models(address, each) for each in (None, "of-the-settings")] == [401, 200]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["revoke", "key_1"], 1, "no API key key_1"),
        (["add", ""], 1, "name"),
        (["add", "x", "--scope", "all"], 2, "chat, read, write, admin"),
        (["add", "x", "--expires", "soon"], 2, "30d"),
        (["add", "x", "--expires", "0d"], 2, "30d"),
        (["add", "x", "--tokens-per-minute", "0"], 2, "--tokens-per-minute"),
        (["--store", "mysql://x"], 2, "sqlite:///PATH"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    done = palaver(tmp_path, "keys", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert said(tmp_path, "keys", "--json").count("key_") == 0


def test_options_may_stand_at_any_level(tmp_path: Path) -> None:
    other = str(tmp_path / "other")
    for arguments in (
        ("--data-dir", other, "keys", "add", "a"),
        ("keys", "--data-dir", other, "add", "b"),
        ("keys", "add", "c", "--data-dir", other),
    ):
        said(tmp_path, *arguments)
    names = [
        key["name"] for key in json.loads(said(tmp_path, "keys", "--json", PALAVER_DATA_DIR=other))["data"]
    ]
    assert names == ["a", "b", "c"]
    assert listed(tmp_path) == []


def test_what_others_named_does_not_steer_the_terminal() -> None:
    key = {
        "id": "key_1",
        "hint": "wxyz",
        "name": "a\x1b[2Jb",
        "owner": "o\x07",
        "status": "active",
        "expires_at": None,
        "scopes": ["chat"],
        "requests_per_minute": None,
        "tokens_per_minute": 5,
        "last_used_at": None,
    }
    assert rows([key]) == [
        ["key_1", "…wxyz", "a[2Jb", "of o", "active", "chat", "5 tokens a minute", "never used"]
    ]
