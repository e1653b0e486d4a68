"""`palaver title`: a conversation is called what its user says, until that is taken back."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.running import palaver, said

SCRIPTED = ("--model", "scripted")


def test_a_title_is_set_and_taken_back(tmp_path: Path) -> None:
    said(tmp_path, "ask", "Where is Lisbon?", "--conversation", "trip", *SCRIPTED)
    assert said(tmp_path, "title", "trip", " A trip\nto Rome \x1b[2J") == "A trip to Rome [2J\n"
    assert "A trip to Rome" in said(tmp_path, "list")
    said(tmp_path, "ask", "And Porto?", "--conversation", "trip", *SCRIPTED)
    found = json.loads(said(tmp_path, "show", "trip", "--json"))
    assert (found["title"], found["titled_by"]) == ("A trip to Rome \x1b[2J", "user")
    back = json.loads(said(tmp_path, "title", "trip", "", "--json"))
    assert (back["title"], back["titled_by"], back["name"]) == ("Where is Lisbon?", "words", "trip")


def test_a_conversation_that_there_is_not(tmp_path: Path) -> None:
    done = palaver(tmp_path, "title", "nobody", "x", *SCRIPTED)
    assert (done.returncode, done.stdout) == (2, "")  # `title` asks no model, and knows no such option
    done = palaver(tmp_path, "title", "nobody", "x")
    assert done.returncode == 1
    assert "no conversation nobody" in done.stderr
    done = palaver(tmp_path, "title", "nobody", "x" * 513)
    assert (done.returncode, "`title` must be" in done.stderr) == (1, True)
