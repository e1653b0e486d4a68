"""`palaver check`, `backup` and `restore`, beside a running server and without one."""

from __future__ import annotations

import json
import re
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

from tests.cli.running import Terminals, palaver, said, script, serving


def ask(folder: Path, text: str) -> None:
    said(folder, "ask", text, "--model", "scripted", "--conversation", "trip")


def messages(folder: Path) -> int:
    rows: dict[str, int] = json.loads(said(folder, "check", "--json"))["rows"]
    return rows["messages"]


def kept_beside(folder: Path) -> list[Path]:
    return sorted((folder / "data").glob("palaver.db.before-restore-*"))


def test_a_sound_store(tmp_path: Path) -> None:
    ask(tmp_path, "hi")
    done = palaver(tmp_path, "check")
    assert (done.returncode, done.stdout) == (0, "")
    assert "2 messages" in done.stderr
    assert "nothing is wrong" in done.stderr
    report = json.loads(said(tmp_path, "check", "--json"))
    assert set(report) == {"store", "version", "newest", "rows", "problems", "findings"}
    assert (report["problems"], report["findings"]) == (0, [])


def test_what_is_found_is_printed_and_the_exit_code_tells(tmp_path: Path) -> None:
    ask(tmp_path, "hi")
    with closing(sqlite3.connect(tmp_path / "data" / "palaver.db")) as store, store:
        store.execute("UPDATE messages SET key = x'00' WHERE depth = 1")
        [[id]] = store.execute("SELECT id FROM messages WHERE depth = 1").fetchall()
    done = palaver(tmp_path, "check")
    assert done.returncode == 1
    assert done.stdout.startswith(f"message {id}: its key is not")
    assert done.stderr.endswith("; 1 problem\n")
    done = palaver(tmp_path, "check", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["findings"][0]["id"] == id


def test_there_and_back(tmp_path: Path) -> None:
    ask(tmp_path, "hi")
    done = palaver(tmp_path, "backup")
    made = Path(done.stdout.strip())
    assert made.parent == tmp_path / "data" / "backups"
    assert re.fullmatch(r"palaver-\d{4}-\d\d-\d\d-\d{6}\.db", made.name)
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert "2 messages" in done.stderr
    ask(tmp_path, "since then")
    assert messages(tmp_path) == 4
    done = palaver(tmp_path, "restore", str(made), "--yes")
    assert done.returncode == 0
    [kept] = kept_beside(tmp_path)
    assert str(kept) in done.stderr
    assert messages(tmp_path) == 2
    said(tmp_path, "restore", str(kept), "--yes")
    assert messages(tmp_path) == 4
    said(tmp_path, "check", "--store", f"sqlite:///{made}")


def test_beside_a_running_server(tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    with serving(tmp_path, "--model", script(tmp_path)) as (process, address):
        ask_running = ("ask", "hi", "--conversation", "trip")
        said(tmp_path, *ask_running)
        assert messages(tmp_path) == 2
        made = json.loads(said(tmp_path, "backup", str(target), "--json"))
        assert (made["file"], made["rows"]["messages"]) == (str(target), 2)
        said(tmp_path, *ask_running)
        done = palaver(tmp_path, "restore", str(target), "--yes")
        assert done.returncode == 1
        assert address in done.stderr
        assert str(process.pid) in done.stderr
        assert messages(tmp_path) == 4
        said(tmp_path, *ask_running)
    assert said(tmp_path, "check") == ""
    said(tmp_path, "restore", str(target), "--yes")
    assert messages(tmp_path) == 2


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    ask(tmp_path, "hi")
    target = tmp_path / "backup.db"
    target.write_text("a letter")
    done = palaver(tmp_path, "backup", str(target))
    assert done.returncode == 1
    assert "is there already" in done.stderr
    assert target.read_text() == "a letter"
    said(tmp_path, "backup", str(target), "--force")
    done = palaver(tmp_path, "restore", str(target))
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert kept_beside(tmp_path) == []


def test_a_backup_in_which_something_is_wrong(tmp_path: Path) -> None:
    ask(tmp_path, "hi")
    made = said(tmp_path, "backup").strip()
    with closing(sqlite3.connect(made)) as store, store:
        store.execute("UPDATE messages SET key = x'00' WHERE depth = 1")
    done = palaver(tmp_path, "restore", made, "--yes")
    assert done.returncode == 1
    assert "its key is not" in done.stderr
    assert kept_beside(tmp_path) == []
    said(tmp_path, "restore", made, "--yes", "--force")
    assert palaver(tmp_path, "check").returncode == 1


def test_a_journal_without_its_store_is_told(tmp_path: Path) -> None:
    ask(tmp_path, "hi")
    made = said(tmp_path, "backup").strip()
    store = tmp_path / "data" / "palaver.db"
    store.unlink()
    store.with_name("palaver.db-wal").write_bytes(b"what was said last")
    done = palaver(tmp_path, "restore", made)
    assert done.returncode == 0
    [kept] = kept_beside(tmp_path)
    assert kept.read_bytes() == b"what was said last"
    assert f"the journal that was there without its store is {kept}" in done.stderr


def test_a_person_is_asked(tmp_path: Path, terminals: Terminals) -> None:
    ask(tmp_path, "hi")
    made = said(tmp_path, "backup").strip()
    screen = terminals.open("restore", made)
    screen.wait_for("[y/N]")
    screen.type("n")
    screen.wait_for("ended with 1")
    assert kept_beside(tmp_path) == []
    screen = terminals.open("restore", made)
    screen.wait_for("[y/N]")
    screen.type("y")
    screen.wait_for("ended with 0")
    assert len(kept_beside(tmp_path)) == 1


def test_where_there_is_no_store(tmp_path: Path) -> None:
    for command in ("check", "backup"):
        done = palaver(tmp_path, command)
        assert done.returncode == 1
        assert "There is no store at" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists(), "asking makes nothing"
    done = palaver(tmp_path, "restore", str(tmp_path / "nothing.db"))
    assert done.returncode == 1
    assert "There is no file" in done.stderr
