"""`palaver chat` where nobody sits at a terminal: lines in, replies out."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.running import palaver, said, script


def test_each_line_is_a_turn_of_one_conversation(tmp_path: Path) -> None:
    out = said(tmp_path, "chat", "--model", "scripted", given="one\n\n  two  \r\nthree")
    assert [line.split(" [")[0] for line in out.splitlines()] == [
        "Reply 1 to: one",
        "Reply 2 to: two",
        "Reply 3 to: three",
    ]
    (kept,) = json.loads(said(tmp_path, "list", "--json"))["data"]
    assert kept["messages"] == 6
    assert kept["name"].startswith("chat-2")


def test_continue_goes_on_with_the_last_and_a_name_makes_or_finds_one(tmp_path: Path) -> None:
    first = palaver(tmp_path, "chat", "--model", "scripted", "--continue", given="one\n/new trip\nthree\n")
    assert "no conversation to go on with" in first.stderr
    assert "trip is a new conversation" in first.stderr
    assert "Reply 1 to: three" in first.stdout
    last = said(tmp_path, "chat", "--model", "scripted", "--continue", given="four\n")
    assert "> three" in last
    assert "Reply 2 to: four" in last
    name = json.loads(said(tmp_path, "list", "--json"))["data"][1]["name"]
    named = said(tmp_path, "chat", name, "--model", "scripted", given="two\n")
    assert "> one" in named
    assert "Reply 2 to: two" in named


def test_output_is_plain_and_as_the_model_wrote_it(tmp_path: Path) -> None:
    model = tmp_path / "m.jsonl"
    model.write_text(json.dumps({"reply": "a\tb " + "word " * 40, "reasoning": "hm"}) + "\n")
    done = palaver(tmp_path, "chat", "--model", f"scripted:{model}", given="hi\n")
    assert done.stdout == "a\tb " + "word " * 40 + "\n"
    assert "\x1b" not in done.stdout + done.stderr


def test_a_failure_is_one_line_and_the_next_line_is_answered(tmp_path: Path) -> None:
    done = palaver(tmp_path, "chat", "c", "--model", script(tmp_path), given="break\nand on\n/nonsense\n")
    assert done.returncode == 1
    assert done.stdout.startswith("it goes well\nReply 2 to: and on")
    assert "palaver: The script says: break." in done.stderr
    assert "There is no /nonsense" in done.stderr
    assert "Traceback" not in done.stderr
    items = json.loads(said(tmp_path, "show", "c", "--json"))["items"]
    assert [item["status"] for item in items] == ["completed", "incomplete", "completed", "completed"]


def test_a_message_that_is_too_long_says_so_with_both_counts_and_the_next_is_answered(tmp_path: Path) -> None:
    given = "Hello!\n" + "word " * 3000 + "\nWhat is the capital of France?\n"
    done = palaver(tmp_path, "chat", given=given)
    assert "context length (2048 tokens)" in done.stderr
    assert "too long for the model even alone" in done.stderr
    assert "Paris" in done.stdout


def test_a_conversation_that_is_longer_than_the_context_goes_on(tmp_path: Path) -> None:
    given = "".join(f"My dog number {i} is called Rex. " + "word " * 250 + "\n" for i in range(10))
    done = palaver(tmp_path, "chat", "trip", given=given)
    assert done.returncode == 0
    assert "context length" not in done.stderr
    assert len(json.loads(said(tmp_path, "show", "trip", "--json"))["items"]) == 20


def test_the_bundled_model_is_introduced_in_a_few_short_lines(tmp_path: Path) -> None:
    done = palaver(tmp_path, "chat", given="My name is Zorvik.\nWhat's my name?\n")
    assert "Zorvik" in done.stdout.splitlines()[-1]
    banner = done.stderr.splitlines()
    assert "pocket is a tiny built-in demo model" in banner[0]
    assert "no general assistant" in done.stderr
    assert "palaver chat --model" in done.stderr
    assert max(map(len, banner)) <= 80
    assert len([line for line in banner if line]) <= 10


def test_commands_work_here_too(tmp_path: Path) -> None:
    given = "one\n/list\n/show\n/model\n/model pocket\n/new other\n/help\n/quit\nnever said\n"
    done = palaver(tmp_path, "chat", "c", "--model", "scripted", given=given)
    assert done.returncode == 0
    assert "never said" not in done.stdout + done.stderr
    assert "2 messages" in done.stderr
    assert "* " in done.stderr
    assert "tiny built-in demo model" in done.stderr
    assert "other is a new conversation" in done.stderr
    assert "/model [NAME]" in done.stderr
    assert "/context TEXT" in done.stderr
