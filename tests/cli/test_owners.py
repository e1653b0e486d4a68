"""Several at once: whoever is first owns the store, the others go through it, and take over when it goes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from tests.cli.running import Terminals, said, script


def owner(folder: Path) -> int:
    process: int = json.loads(said(folder, "where", "--json"))["owner"]["process"]
    return process


def test_two_chats_share_a_store_and_one_goes_on_when_the_other_is_killed(
    tmp_path: Path, terminals: Terminals
) -> None:
    model = script(tmp_path)
    first = terminals.open("chat", "first", "--model", model)
    first.wait_for("\n>")
    second = terminals.open("chat", "second", PALAVER_MODEL=model)
    second.wait_for("\n>")
    first.type("hello")
    first.wait_for("Reply 1 to: hello")
    second.type("be slow")
    second.wait_for("w3")
    was = owner(tmp_path)
    os.kill(was, signal.SIGKILL)
    first.wait_for("ended with 137")
    second.wait_for("It broke off here; what came is kept.")
    seen = second.wait_for("palaver: The connection to palaver broke")
    assert "The palaver that answered has gone; this one answers now, with the model scripted." in " ".join(
        seen.split()
    )
    assert owner(tmp_path) != was
    second.type("and on")
    second.wait_for("Reply 2 to: and on")
    shown = json.loads(said(tmp_path, "show", "second", "--json"))["items"]
    assert [item["status"] for item in shown] == ["completed", "incomplete", "completed", "completed"]
    assert shown[1]["content"][0]["text"].startswith("w0 w1")
    assert "hello" in said(tmp_path, "show", "first")


def test_a_question_to_an_owner_that_has_gone_is_asked_again(tmp_path: Path, terminals: Terminals) -> None:
    model = script(tmp_path)
    first = terminals.open("chat", "--model", model)
    first.wait_for("\n>")
    second = terminals.open("chat", "second", PALAVER_MODEL=model)
    second.wait_for("\n>")
    first.press("C-d")
    first.wait_for("ended with 0")
    second.type("hello")
    second.wait_for("Reply 1 to: hello")
    assert "this one answers now" in second.text()
    shown = json.loads(said(tmp_path, "show", "second", "--json"))["items"]
    assert len(shown) == 2


def test_what_would_answer_with_another_model_is_not_asked_unsaid(
    tmp_path: Path, terminals: Terminals
) -> None:
    first = terminals.open("chat", "--model", "scripted")
    first.wait_for("\n>")
    second = terminals.open("chat", "second")
    assert "scripted answers" in second.wait_for("\n>")
    first.press("C-d")
    first.wait_for("ended with 0")
    second.type("What is the capital of France?")
    second.wait_for("with the model pocket.")
    second.wait_for("\n>", times=2)
    assert "Paris" not in second.text()
    second.type("What is the capital of France?")
    second.wait_for("Paris")
