"""The commands that answer one question, each on its own and through a running server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from palaver import __version__
from tests.cli.running import PROGRAM, palaver, said, script, serving, settings
from tests.house.files import ROOT

HEAVY = {"aiohttp", "prompt_toolkit", "sqlite3", "starlette", "uvicorn", "xllamacpp"}


def as_json(text: str) -> Any:
    return json.loads(text)


@pytest.mark.parametrize("option", ["--version", "--help", "-h"])
def test_what_needs_no_model_loads_nothing_that_takes_long(tmp_path: Path, option: str) -> None:
    program = (
        "import sys, palaver.cli.main as m\ntry: m.main()\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        (sys.executable, "-c", program, option),
        env=settings(tmp_path),
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert not HEAVY & set(done.stderr.split())
    assert __version__ in done.stdout or "chat" in done.stdout


def test_a_question_is_answered_and_kept(tmp_path: Path) -> None:
    model = script(tmp_path)
    reply = said(tmp_path, "ask", "Hello you", "--model", model)
    assert reply.startswith("Reply 1 to: Hello you [")
    assert reply.endswith("]\n")
    (kept,) = as_json(said(tmp_path, "list", "--all", "--json"))["data"]
    assert kept["title"] == "Hello you"
    assert kept["messages"] == 2


def test_the_bundled_model_answers_without_any_setting(tmp_path: Path) -> None:
    assert "Paris" in said(tmp_path, "ask", "What is the capital of France?")


def test_ask_goes_on_with_a_conversation_and_says_all_as_json(tmp_path: Path) -> None:
    model = ("--model", "scripted", "--conversation", "trip", "--json")
    first = as_json(said(tmp_path, "ask", "one", *model))
    second = as_json(said(tmp_path, "ask", "two", *model))
    assert set(first) == {"conversation", "turn", "model", "reply", "finish_reason", "usage"}
    assert first["reply"].startswith("Reply 1 to: one")
    assert second["reply"].startswith("Reply 2 to: two"), "the second question came with the first"
    assert first["conversation"] == second["conversation"]
    assert first["turn"] != second["turn"]
    assert (second["model"], second["finish_reason"]) == ("scripted", "stop")
    assert second["usage"]["completion_tokens"] > 0
    shown = as_json(said(tmp_path, "show", "trip", "--json"))
    assert shown["name"] == "trip"
    assert [item["role"] for item in shown["items"]] == ["user", "assistant", "user", "assistant"]


def test_standard_input_goes_below_the_question(tmp_path: Path) -> None:
    model = ("--model", "scripted", "--conversation", "c")
    said(tmp_path, "ask", "What is this?", *model, given="a line\nand\tmore\n")
    (question, _) = as_json(said(tmp_path, "show", "c", "--json"))["items"]
    assert question["content"][0]["text"] == "What is this?\n\na line\nand\tmore\n"


def test_instructions_reach_the_model_and_are_no_message(tmp_path: Path) -> None:
    model = ("--model", "scripted", "--json")
    plain = as_json(said(tmp_path, "ask", "Hello", *model))
    told = as_json(said(tmp_path, "ask", "Hello", "--system", "Be brief.", *model))
    assert told["usage"]["prompt_tokens"] > plain["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["ask"], 2, "nothing to ask"),
        (["show", "nobody"], 1, "nobody"),
        (["ask", "break", "--model", "SCRIPT"], 1, "break"),
        (
            ["ask", "hi", "--conversation", "conv_01m832tcvmhv52hkq7t3gc0zwr", "--model", "scripted"],
            1,
            "conv_01m8",
        ),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_what_cannot_be_done_is_said_and_has_its_code(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    model = script(tmp_path)
    done = palaver(tmp_path, *(model if argument == "SCRIPT" else argument for argument in arguments))
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_an_over_long_question_is_refused_with_both_counts(tmp_path: Path) -> None:
    done = palaver(tmp_path, "ask", given="word " * 5000)
    assert done.returncode == 1
    assert "context length (2048 tokens)" in done.stderr
    assert done.stdout == ""


def test_what_nothing_has_continued_is_left_out_and_counted(tmp_path: Path) -> None:
    said(tmp_path, "ask", "a chore", "--model", "scripted")
    said(tmp_path, "ask", "hello", "--model", "scripted", "--conversation", "trip")
    short = palaver(tmp_path, "list")
    assert "trip" in short.stdout
    assert "a chore" not in short.stdout
    assert "1 request" in short.stderr
    assert "--all" in short.stderr
    whole = as_json(said(tmp_path, "list", "--all", "--json"))["data"]
    assert [each["title"] for each in whole] == ["hello", "a chore"]
    assert [each["is_task"] for each in whole] == [False, True]


def test_show_prints_the_oldest_first_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    said(tmp_path, "chat", "trip", "--model", "scripted", given="first\nsecond\n")
    shown = said(tmp_path, "show", "trip")
    assert shown.index("first") < shown.index("Reply 1") < shown.index("second") < shown.index("Reply 2")
    assert "scripted" in shown
    last = palaver(tmp_path, "show", "trip", "--limit", "2")
    assert "first" not in last.stdout
    assert "The last 2 of 4 messages" in last.stderr


def test_a_reply_that_was_cut_off_is_marked(tmp_path: Path) -> None:
    done = palaver(tmp_path, "ask", "break", "--model", script(tmp_path), "--conversation", "c")
    assert done.stdout == "it goes well\n"
    assert done.returncode == 1
    assert "cut off" in said(tmp_path, "show", "c")


def test_where_says_what_there_is(tmp_path: Path) -> None:
    nothing = as_json(said(tmp_path, "where", "--json"))
    assert nothing["store"] == str(tmp_path / "data" / "palaver.db")
    assert (nothing["store_bytes"], nothing["owner"], nothing["config_exists"]) == (None, None, False)
    assert not (tmp_path / "data").exists(), "asking makes nothing"
    assert "No conversations yet." in palaver(tmp_path, "list").stderr
    text = said(tmp_path, "where")
    assert "kB)" in text
    assert "owner     nobody" in text
    assert "palaver.db-kv (" in text
    assert str(tmp_path / "data") in text


def test_models_lists_them_and_marks_the_one_that_answers(tmp_path: Path) -> None:
    lines = said(tmp_path, "models", "--model", "scripted", "--alias", "gpt=pocket").splitlines()
    assert lines[0].split()[:2] == ["*", "scripted"]
    assert lines[1].split()[0] == "pocket"
    assert "also gpt" in lines[1]
    assert [model["id"] for model in as_json(said(tmp_path, "models", "--json"))] == ["pocket"]


def test_every_command_goes_through_the_running_server(tmp_path: Path) -> None:
    with serving(tmp_path, "--model", script(tmp_path), "--api-key", "a-key") as (process, address):
        assert said(tmp_path, "ask", "Hello", "--conversation", "trip").startswith("Reply 1 to: Hello")
        assert "trip" in said(tmp_path, "list")
        assert "Hello" in said(tmp_path, "show", "trip")
        owner = as_json(said(tmp_path, "where", "--json"))["owner"]
        assert owner == {"address": address, "process": process.pid}
        missing = palaver(tmp_path, "ask", "hi", "--model", "some/other.gguf")
        assert missing.returncode == 1
        assert address in missing.stderr
        assert "scripted" in missing.stderr
        assert missing.stderr.count("\n") == 1
    log = (tmp_path / "serve.log").read_text()
    assert log.count("/v1/chat/completions") == 1
    assert "a-key" not in log


def test_a_reader_that_leaves_is_no_error_to_speak_of(tmp_path: Path) -> None:
    said(tmp_path, "ask", "hi", "--model", script(tmp_path), "--conversation", "c")
    process = subprocess.Popen(
        (*PROGRAM, "show", "c"),
        env=settings(tmp_path),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert b"Traceback" not in errors


def test_what_is_not_kept_is_said(tmp_path: Path) -> None:
    done = palaver(tmp_path, "chat", "--model", "scripted", given="hi\nand?\n", PALAVER_RECORD="none")
    assert done.stderr.count("records nothing") == 1
    done = palaver(tmp_path, "ask", "hi", "--model", "scripted", "--conversation", "c", PALAVER_RECORD="none")
    assert "records nothing" in done.stderr
