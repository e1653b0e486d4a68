"""`palaver chat` in a real terminal: what is seen, and what Ctrl-C does when."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.cli.running import Terminals, said, script


def test_a_first_conversation(tmp_path: Path, terminals: Terminals) -> None:
    screen = terminals.open("chat")
    first = screen.wait_for("\n>")
    assert "pocket is a tiny built-in demo model" in first
    assert "What's my name?" in first
    screen.type("What are some fun things to do in New York?")
    screen.wait_for("Empire State Building, a 102-storey")
    screen.type("That sounds fun! Where is it?")
    screen.wait_for("Manhattan, New York.\n\n>")
    screen.press("C-d")
    last = screen.wait_for("ended with 0")
    assert "`palaver chat --continue` goes on" in last


def test_long_replies_break_between_words(tmp_path: Path, terminals: Terminals) -> None:
    screen = terminals.open("chat", "--model", script(tmp_path))
    screen.wait_for("\n>")
    screen.type("be long")
    seen = screen.wait_for("\n>", times=2).split("be long\n")[1].split("\n>")[0]
    lines = [line for line in seen.splitlines() if line.strip()]
    assert len(lines) > 1
    assert {line.split(" ")[0] for line in lines} <= {"twenty", "characters", "of"}
    assert {line.rstrip().split(" ")[-1] for line in lines} <= {"twenty", "characters", "of"}


def test_ctrl_c_stops_the_reply_and_the_next_one_leaves(tmp_path: Path, terminals: Terminals) -> None:
    screen = terminals.open("chat", "--model", script(tmp_path))
    screen.wait_for("\n>")
    screen.type("be slow")
    seen = screen.wait_for("w2")
    assert "let me think" in seen
    screen.press("C-c")
    screen.wait_for("Stopped; what came is kept. Ctrl-C again leaves.\n\n>")
    screen.press("C-c")
    screen.wait_for("ended with 0")
    again = terminals.open("chat", "--continue", "--model", "scripted")
    seen = again.wait_for("(cut off)")
    assert "> be slow" in seen
    assert "w2" in seen
    again.type("go on")
    again.wait_for("Reply 2 to: go on")
    (kept,) = json.loads(said(tmp_path, "list", "--json"))["data"]
    assert kept["messages"] == 4


def test_how_much_of_a_model_is_loaded_is_seen_until_it_answers(tmp_path: Path, terminals: Terminals) -> None:
    go_on = tmp_path / "go-on"
    (tmp_path / "sitecustomize.py").write_text(
        "import pathlib, sys, time\n"
        "while sys.orig_argv[-1].endswith('worker.py') and not pathlib.Path("
        f"{str(go_on)!r}).exists():\n    time.sleep(0.02)\n"
    )
    screen = terminals.open("chat", PYTHONPATH=str(tmp_path))
    screen.wait_for("\n>")
    screen.type("What is the capital of France?")
    seen = screen.wait_for("loading pocket ")
    assert re.search(r"loading pocket \d+ %", seen)
    go_on.touch()
    screen.wait_for("Paris")
    assert "loading" not in screen.wait_for("\n>", times=2)


def test_ctrl_c_at_the_prompt_first_says_how_to_leave(tmp_path: Path, terminals: Terminals) -> None:
    screen = terminals.open("chat", "--model", "scripted")
    screen.wait_for("\n>")
    screen.press("C-c")
    screen.wait_for("Ctrl-C again leaves, and so does Ctrl-D.")
    screen.type("still here")
    screen.wait_for("Reply 1 to: still here")
    screen.press("C-c")
    screen.wait_for("Ctrl-C again leaves", times=2)
    screen.press("C-c")
    screen.wait_for("ended with 0")


def test_ctrl_c_stops_a_question_and_what_came_is_kept(tmp_path: Path, terminals: Terminals) -> None:
    screen = terminals.open("ask", "be slow", "--model", script(tmp_path), "--conversation", "c")
    screen.wait_for("w2")
    screen.press("C-c")
    screen.wait_for("ended with 130")
    reply = json.loads(said(tmp_path, "show", "c", "--json"))["items"][1]
    assert reply["status"] == "incomplete"
    assert reply["content"][0]["text"].startswith("w0 w1 w2")


def test_what_a_model_writes_cannot_steer_the_terminal(tmp_path: Path, terminals: Terminals) -> None:
    model = tmp_path / "m.jsonl"
    model.write_text(json.dumps({"reply": "before \x1b[2J\x1b]0;gotcha\x07 after"}) + "\n")
    screen = terminals.open("chat", "--model", f"scripted:{model}")
    screen.wait_for("\n>")
    screen.type("hi")
    assert "before [2J]0;gotcha after" in screen.wait_for("after")
