"""`palaver summary`: made, shown, edited, switched off and deleted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cli.running import palaver, said

ONE_WINDOW = {"PALAVER_MODEL": "scripted", "PALAVER_SUMMARY_MODEL": "scripted"}
SUMMED_UP = {
    **ONE_WINDOW,
    "PALAVER_SUMMARIES": "true",
    "PALAVER_WINDOW_SIZE": "200",
    "PALAVER_WINDOW_RESERVE": "40",
}


def test_where_there_is_none_it_is_said(tmp_path: Path) -> None:
    for question in ("One", "Two", "Three"):
        said(tmp_path, "ask", question, "--conversation", "c", **ONE_WINDOW)
    assert json.loads(said(tmp_path, "summary", "c", "--json")) is None
    done = palaver(tmp_path, "summary", "c")
    assert (done.returncode, done.stdout, "has no summary" in done.stderr) == (0, "", True), done.stderr
    done = palaver(tmp_path, "summary", "c", "--again", **ONE_WINDOW)
    assert (done.returncode, "shows all of it" in done.stderr) == (1, True), done.stderr
    done = palaver(tmp_path, "summary", "c", "--edit", "x")
    assert (done.returncode, "no summary" in done.stderr) == (2, True), done.stderr
    done = palaver(tmp_path, "summary", "c", "--off", "--on")
    assert (done.returncode, "exclude" in done.stderr) == (2, True), done.stderr


def test_one_is_made_edited_switched_made_anew_and_deleted(tmp_path: Path) -> None:
    def summary(*options: str) -> tuple[str, str]:
        """What it prints, and what it says about that."""
        done = palaver(tmp_path, "summary", "c", *options, **SUMMED_UP)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip(), done.stderr.strip()

    def shown() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(summary("--json")[0])
        return found

    for _ in range(5):
        said(tmp_path, "ask", "word " * 20, "--conversation", "c", **SUMMED_UP)
    text, about = summary("--again")
    made = shown()
    assert (made["text"], made["version"], made["model"]) == (text, 1, "scripted")
    assert about == f"Of {made['last'] + 1} messages, version 1, by scripted."
    assert summary() == (text, about)
    text, about = summary("--edit", "They counted.")
    assert (text, "version 2, by you." in about) == ("They counted.", True)
    assert "it is off" in summary("--off")[1]
    off = shown()
    assert (off["id"], off["text"], off["enabled"], off["version"]) == (made["id"], text, False, 2)
    assert "it is off" not in summary("--on")[1]
    assert shown()["enabled"]
    text, about = summary("--again")
    again = shown()
    assert (again["id"], again["text"], again["version"]) == (made["id"], text, 3)
    assert (again["model"], text == "They counted.") == ("scripted", False)
    assert summary("--delete") == ("", "It is deleted.")
    assert shown() is None
