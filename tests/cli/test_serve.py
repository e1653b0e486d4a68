"""`palaver serve`: what it says, how it ends, and what keeps it from beginning."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from palaver.engines.pocket import POCKET
from tests.cli.running import PATIENCE, PROGRAM, palaver, said, script, serving, settings
from tests.house.files import ROOT


def rest_of(process: subprocess.Popen[str]) -> list[str]:
    """What it has said below its first line, up to the last one that it says at the start."""
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith("access"):
        lines.append(process.stdout.readline().rstrip("\n"))
    return lines


def test_it_says_what_to_paste_and_what_it_goes_by(tmp_path: Path) -> None:
    with serving(tmp_path, "--model", "scripted") as (process, address):
        lines = rest_of(process)
        exports = dict(line.split()[1].split("=", 1) for line in lines if line.strip().startswith("export "))
        assert exports == {
            "OPENAI_BASE_URL": f"{address}/v1",
            "OPENAI_API_KEY": "any",
            "TOGETHER_BASE_URL": address,
            "TOGETHER_API_KEY": "any",
        }
        facts = {line.split()[0]: line for line in lines if line and not line.startswith(" ")}
        assert str(tmp_path / "data" / "palaver.db") in facts["store"]
        assert "every turn" in facts["records"]
        assert "scripted" in facts["model"]
        with urllib.request.urlopen(f"{address}/health") as answer:
            assert json.load(answer)["status"] == "ok"
        with urllib.request.urlopen(facts["page"].split()[1]) as answer:
            assert answer.status == 200


def test_the_bundled_model_is_said_to_run_on_a_device(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, _):
        (line,) = [line for line in rest_of(process) if line.startswith("model")]
        assert "pocket" in line
        assert "1 thread" in line


def test_a_default_model_that_cannot_be_used_is_said_with_the_reason(tmp_path: Path) -> None:
    damaged = {"path": str(tmp_path / "m.gguf"), "size": 1, "sha256": "0"}
    (tmp_path / "m.gguf").write_bytes(POCKET.read_bytes()[:-1])
    (tmp_path / "data").mkdir()
    (tmp_path / "data/models.json").write_text(json.dumps({"models": [{"name": "one", "files": [damaged]}]}))
    with serving(tmp_path, "--model", "one") as (process, _):
        (line,) = [line for line in rest_of(process) if line.startswith("model")]
    assert "one, which cannot be used: m.gguf is truncated" in line


def test_a_key_is_never_printed(tmp_path: Path) -> None:
    with serving(tmp_path, "--model", "scripted", "--api-key", "s3cret-key", PALAVER_UPSTREAM_KEY="") as (
        process,
        _,
    ):
        lines = rest_of(process)
        assert "  export OPENAI_API_KEY=YOUR_API_KEY" in lines
        process.terminate()
        process.wait(PATIENCE)
        assert not [line for line in lines if "s3cret-key" in line]
    assert "s3cret-key" not in (tmp_path / "serve.log").read_text()


def test_open_to_everybody_is_said_at_every_start(tmp_path: Path) -> None:
    with serving(tmp_path, "--model", "scripted", "--host", "0.0.0.0", "--no-auth") as (process, address):
        assert address.startswith("http://127.0.0.1:")
        assert "ANYBODY" in rest_of(process)[-1]
        process.terminate()
        process.wait(PATIENCE)
    assert "ANYBODY" in (tmp_path / "serve.log").read_text()


def test_recording_nothing_is_said_and_done(tmp_path: Path) -> None:
    with serving(tmp_path, "--model", "scripted", "--record", "none") as (process, _):
        assert [line for line in rest_of(process) if line.startswith("records  nothing")]
        assert json.loads(said(tmp_path, "ask", "hi", "--json"))["conversation"] is None
        assert said(tmp_path, "list", "--all") == ""


def test_it_ends_when_told_and_keeps_the_reply_so_far(tmp_path: Path) -> None:
    with serving(tmp_path, "--model", script(tmp_path)) as (process, _):
        asking = subprocess.Popen(
            (*PROGRAM, "ask", "be slow", "--conversation", "c"),
            env=settings(tmp_path),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        assert asking.stdout is not None
        seen = asking.stdout.read(12)
        process.terminate()
        assert process.wait(PATIENCE) == 0
        rest, complaint = asking.communicate(timeout=PATIENCE)
    assert asking.returncode == 1
    assert "shut down" in complaint
    shown = json.loads(said(tmp_path, "show", "c", "--json"))["items"]
    assert shown[1]["status"] == "incomplete"
    assert shown[1]["content"][0]["text"].startswith((seen + rest).rstrip("\n"))


def test_ctrl_c_ends_it_and_the_store_is_free_again(tmp_path: Path) -> None:
    with serving(tmp_path, "--model", "scripted") as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    assert json.loads(said(tmp_path, "where", "--json"))["owner"] is None


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = palaver(tmp_path, "serve", "--port", port, "--model", "scripted")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert port in done.stderr
    assert "--port" in done.stderr


def test_a_second_one_on_the_same_store_is_told_where_the_first_is(tmp_path: Path) -> None:
    with serving(tmp_path, "--model", "scripted") as (process, address):
        port = address.rpartition(":")[2]
        for chosen in (port, "0"):
            done = palaver(tmp_path, "serve", "--port", chosen, "--model", "scripted")
            assert done.returncode == 1
            assert address in done.stderr
            assert str(process.pid) in done.stderr
            assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("content", "words"), [(b"no model at all", "not a GGUF"), (b"GGUF\x03\0\0\0", "")])
def test_a_file_that_is_no_model_is_one_line_that_names_it(
    tmp_path: Path, content: bytes, words: str
) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(content)
    done = palaver(tmp_path, "serve", "--port", "0", "--model", str(file))
    assert done.returncode == 2
    assert str(file) in done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_log_lines_are_json_where_that_is_asked_for(tmp_path: Path) -> None:
    with serving(tmp_path, "--model", "scripted", "--log-format", "json") as (process, address):
        rest_of(process)
        with urllib.request.urlopen(f"{address}/health"):
            pass
        process.terminate()
        process.wait(PATIENCE)
    lines = (tmp_path / "serve.log").read_text().splitlines()
    logged = [json.loads(line) for line in lines if not line.startswith("palaver")]
    assert [line["path"] for line in logged if line["event"] == "request"] == ["/health"]
    assert {"level", "timestamp"} <= set(logged[0])
