"""What the model sees, on the command line: `context`, `epochs`, `window`, and `/context` in a chat."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Terminals, palaver, said, serving

SMALL = ("--model", "scripted", "--window-size", "200")
"""A model that has room for a few exchanges."""


def long(count: int) -> str:
    """So many lines, each of some 25 tokens."""
    return "".join(f"number {i} " + "word " * 20 + "\n" for i in range(count))


def context(folder: Path, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said(folder, "context", "trip", "--json", *arguments))
    return found


def conversation(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said(folder, "window", "trip", "--json"))
    return found


def test_what_the_model_saw_last_and_what_had_no_room(tmp_path: Path) -> None:
    said(tmp_path, "chat", "trip", *SMALL, given=long(9))
    receipt = context(tmp_path)
    [out] = receipt["left_out"]
    lines = said(tmp_path, "context", "trip").splitlines()
    assert lines[0].startswith("trip  conv_")
    tokens = receipt["prompt_tokens"]
    assert lines[1] == (
        f"scripted  auto  {tokens} of 200 tokens ({100 * tokens / 200:.0f} %)  50 kept free for the reply"
    )
    assert lines[2].endswith("because there was no more room")
    assert lines[3] == "before the messages: no instructions, no tools"
    assert (
        lines[4]
        == f"  1–{out['last'] + 1}  left out: {out['messages']} messages; the window begins after them"
    )
    assert lines[-1].split()[:3] == ["17", "user", receipt["messages"][-1]["id"][-4:]]


def test_a_turn_is_named_by_its_id_or_by_its_reply(tmp_path: Path) -> None:
    said(tmp_path, "chat", "trip", "--model", "scripted", given="one\ntwo\nthree\n")
    said(tmp_path, "ask", "elsewhere", "--model", "scripted", "--conversation", "other")
    items = json.loads(said(tmp_path, "show", "trip", "--json"))["items"]
    [_, elsewhere] = json.loads(said(tmp_path, "show", "other", "--json"))["items"]
    turn, reply = items[3]["turn"], items[3]["id"]
    assert context(tmp_path)["path"] == 5
    for given in (turn, turn.replace("chatcmpl-", "resp_"), reply, reply[-5:]):
        found = context(tmp_path, "--turn", given)
        assert (found["turn"], found["path"]) == (turn, 3)
    for given, words in (
        (items[2]["id"], "No model wrote"),
        (elsewhere["turn"], "of another conversation"),
        ("zzzzz", "ends or begins with zzzzz"),
        ("chatcmpl-01arz3ndektsv4rrffq69g5fav", "No turn"),
    ):
        done = palaver(tmp_path, "context", "trip", "--turn", given)
        assert (done.returncode, done.stdout) == (1, "")
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


def test_what_the_model_would_see_is_said_and_nothing_is_kept(tmp_path: Path) -> None:
    said(tmp_path, "chat", "trip", *SMALL, given=long(3))
    before = said(tmp_path, "show", "trip", "--json")
    told = said(tmp_path, "context", "trip", "--say", "And now?", *SMALL)
    assert "scripted  auto" in told
    assert told.splitlines()[-1].split()[:2] == ["7", "user"]
    receipt = context(tmp_path, "--say", "And now?", *SMALL)
    assert (receipt["turn"], receipt["path"], receipt["context_size"]) == (None, 7, 200)
    other = context(tmp_path, "--say", "And now?", "--model", "pocket")
    assert (other["model"], other["epoch"]["reason"]) == ("pocket", "model")
    assert said(tmp_path, "show", "trip", "--json") == before
    done = palaver(tmp_path, "context", "trip", "--say", "word " * 300, *SMALL)
    assert (done.returncode, done.stdout) == (1, "")
    assert "context length (200 tokens)" in done.stderr


def test_every_message_where_that_is_wanted(tmp_path: Path) -> None:
    said(tmp_path, "chat", "trip", "--model", "scripted", given="one\ntwo\nthree\nfour\n")
    assert "… 3 messages" in said(tmp_path, "context", "trip")
    assert len(said(tmp_path, "context", "trip", "--all").splitlines()) == 4 + 7


def test_epochs_say_from_where_on_and_why(tmp_path: Path) -> None:
    said(tmp_path, "chat", "trip", *SMALL, given=long(9))
    said(tmp_path, "ask", "hello", "--model", "pocket", "--conversation", "trip")
    found = json.loads(said(tmp_path, "epochs", "trip", "--json"))["data"]
    assert [each["reason"] for each in found][0 :: len(found) - 1] == ["model", "start"]
    lines = said(tmp_path, "epochs", "trip").splitlines()
    assert lines[0].startswith("trip  conv_")
    assert len(lines) == len(found) + 1
    assert re.search(r"pocket +from message \d+ +1 turn +another model answered before$", lines[1])
    assert re.search(
        rf"scripted +from message {found[1]['start'] + 1} +\d+ turns? +there was no more room$", lines[2]
    )
    assert re.search(r"scripted +from message 1 +\d+ turns +it is the first one$", lines[-1])
    assert len(said(tmp_path, "epochs", "trip", "--limit", "1").splitlines()) == 2
    said(tmp_path, "fork", "trip", "--as", "copy")
    assert "No epochs yet" in palaver(tmp_path, "epochs", "copy").stderr
    assert "No model has answered here yet" in palaver(tmp_path, "context", "copy").stderr


def test_how_windows_are_chosen_is_said_shown_changed_and_taken_back(tmp_path: Path) -> None:
    said(tmp_path, "chat", "trip", "--model", "scripted", given="one\n")
    done = palaver(tmp_path, "window", "trip")
    assert "Nothing is said for this conversation" in done.stderr
    assert done.stdout.count("\n") == 1
    done = palaver(tmp_path, "window", "trip", "--mode", "auto", "--size", "120", "--keep", "0.25")
    assert [line.split() for line in done.stdout.splitlines()[1:]] == [
        ["mode", "auto"],
        ["size", "120"],
        ["keep", "0.25"],
    ]
    assert "The rest is as" in done.stderr
    said(tmp_path, "window", "trip", "--truncation", "disabled", "--reserve", "10", "--size", "90")
    assert conversation(tmp_path)["window"] == {
        "mode": "auto",
        "truncation": "disabled",
        "size": 90,
        "keep": 0.25,
        "reserve": 10,
    }
    refused = palaver(tmp_path, "chat", "trip", "--model", "scripted", given=long(4))
    assert "context length (90 tokens)" in refused.stderr
    changed = json.loads(said(tmp_path, "window", "trip", "--reset", "--keep", "0.5", "--json"))
    assert changed["window"] == {"keep": 0.5}
    said(tmp_path, "window", "trip", "--reset")
    assert conversation(tmp_path)["window"] is None


def test_an_api_key_says_how_windows_are_chosen(tmp_path: Path) -> None:
    options = ("--window-mode", "auto", "--window-size", "200", "--window-keep", "0.25")
    said(tmp_path, "keys", "add", "a", *options, "--window-reserve", "9", "--truncation", "disabled")
    said(tmp_path, "keys", "add", "b")
    first, second = json.loads(said(tmp_path, "keys", "--json"))["data"]
    assert first["window"] == {
        "mode": "auto",
        "truncation": "disabled",
        "size": 200,
        "keep": 0.25,
        "reserve": 9,
    }
    assert second["window"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["context", "nobody"], 1, "nobody"),
        (["epochs", "nobody"], 1, "nobody"),
        (["window", "nobody"], 1, "nobody"),
        (["context"], 2, "NAME_OR_ID"),
        (["context", "trip", "--turn", "x", "--say", "y"], 2, "--say"),
        (["window", "trip", "--mode", "wide"], 2, "--mode"),
        (["window", "trip", "--truncation", "none"], 2, "--truncation"),
        (["window", "trip", "--keep", "1"], 2, "--keep"),
        (["window", "trip", "--size", "0"], 2, "--size"),
        (["epochs", "trip", "--limit", "0"], 2, "--limit"),
        (["keys", "add", "a", "--window-mode", "wide"], 2, "--window-mode"),
        (["keys", "add", "a", "--window-keep", "0.01"], 2, "--window-keep"),
        (["chat", "--window-of", "pocket=mode:wide"], 2, "window_of"),
        (["serve", "--window-of", "nothing=mode:auto"], 2, "window_of"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    done = palaver(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_through_a_running_server(tmp_path: Path) -> None:
    with serving(tmp_path, *SMALL):
        said(tmp_path, "chat", "trip", given=long(9))
        assert "the window begins after them" in said(tmp_path, "context", "trip")
        assert context(tmp_path, "--say", "hm")["context_size"] == 200
        assert "there was no more room" in said(tmp_path, "epochs", "trip")
        said(tmp_path, "window", "trip", "--size", "100")
        assert context(tmp_path, "--say", "hm")["context_size"] == 100


def test_a_chat_says_what_was_seen_and_what_would_be(tmp_path: Path) -> None:
    given = "/context\n" + long(9) + "/context\n/context And now?\n"
    done = palaver(tmp_path, "chat", "trip", *SMALL, given=given)
    assert done.stdout.count("Reply") == 9
    assert "palaver: No model has answered here yet." in done.stderr
    told = done.stderr.split("No model has answered here yet.")[1]
    assert told.count("scripted  auto") == 2
    assert told.count("left out: ") == 2
    assert told.splitlines()[-1].split()[:2] == ["19", "user"]
    assert len(json.loads(said(tmp_path, "show", "trip", "--json"))["items"]) == 18


def test_a_chat_that_is_not_kept_goes_on_when_it_is_long(tmp_path: Path) -> None:
    given = long(9) + "/context\n/context And now?\n"
    done = palaver(tmp_path, "chat", "trip", *SMALL, given=given, PALAVER_RECORD="none")
    assert done.stdout.count("Reply") == 9
    assert "What models see is not kept here" in done.stderr
    assert done.stderr.count("the window begins after them") == 1


def test_a_chat_shows_what_the_model_saw(tmp_path: Path, terminals: Terminals) -> None:
    screen = terminals.open("chat", *SMALL)
    screen.wait_for("\n>")
    for i in range(4):
        screen.type(f"number {i} " + "word " * 30)
        screen.wait_for(f"to: number {i}")
    screen.type("/context")
    seen = screen.wait_for("\n    7  user")
    assert "kept free for the reply" in seen
    assert re.search(r"\n  1–\d  left out: \d messages; the window begins after them\n", seen)
    screen.type("/context And then?")
    seen = screen.wait_for("\n    9  user")
    assert seen.count("scripted  auto  ") == 2
