"""`palaver cache`: what models hold of prompts, in words and as JSON, and how it is cleared."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from palaver.cli.cache import FEW, counts_of, lines_of
from palaver.engines.base import Held, KvCache
from tests.cli import running
from tests.cli.running import Terminals, palaver, said
from tests.holding import GIB, held, in_slot

SCRIPTED = {"PALAVER_MODEL": "scripted"}
NOW = 1_700_000_000.0


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the model holds, for whichever `palaver` runs."""
    path = tmp_path / "held.json"
    hold(path)
    monkeypatch.setattr(running, "PROGRAM", (sys.executable, "-m", "tests.cli.holding", str(path)))
    return path


def hold(file: Path, *each: Held, **more: Any) -> None:
    cache = KvCache(held=list(each), memory_quota=GIB, disk_quota=2 * GIB, **more)
    file.write_bytes(msgspec.json.encode(cache))


def left(file: Path) -> list[str | None]:
    return [each.conversation for each in msgspec.json.decode(file.read_bytes(), type=KvCache).held]


def begun(folder: Path, name: str) -> str:
    """The id of a new conversation of this name."""
    said(folder, "ask", f"Hello {name}", "--conversation", name, **SCRIPTED)
    return str(json.loads(said(folder, "show", name, "--json", **SCRIPTED))["id"])


def cache_of(*each: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A model's cache as the API says it."""
    rooms = {"memory": {"bytes": 0, "quota": 0}, "disk": {"bytes": 0, "quota": 0}}
    return {"model": "pocket", "kept": True, "held": list(each), **rooms, "counts": {}, **more}


def entry(**more: Any) -> dict[str, Any]:
    told = {"conversation": "conv_1", "where": "memory", "slot": None, "tokens": 1, "bytes": 900, "used": NOW}
    return told | more


def test_a_conversation_is_named_as_in_the_list(tmp_path: Path, file: Path) -> None:
    trip = begun(tmp_path, "trip")
    recently = time.time() - 200
    hold(
        file,
        held(conversation=trip, where="disk", tokens=1500, bytes=3_000_000, used=recently),
        in_slot(conversation=trip, slot=1, tokens=1600, used=recently + 60),
        held("ann", "conv_hers", used=recently),
        counts={"prefilled": 1200, "refused_model": 2},
    )
    assert said(tmp_path, "cache", **SCRIPTED).splitlines() == [
        "scripted  1 slot, 1 snapshot, about 3,100 tokens  0 bytes of 1.1 GB in memory  3.0 MB of 2.1 GB on disk",
        "  trip  slot 1  about 1,600 tokens          used 2 minutes ago  Hello trip",
        "  trip  disk    about 1,500 tokens  3.0 MB  used 3 minutes ago  Hello trip",
        "  tokens since it started:     1,200 prefilled",
        "  snapshots since it started:  2 refused (2 of another model)",
    ]
    everybodys = said(tmp_path, "cache", "--all-owners", **SCRIPTED)
    assert "  conv_hers  memory  about 100 tokens    1 kB    used 3 minutes ago  of ann\n" in everybodys
    assert "of local  Hello trip" in everybodys
    listed = json.loads(said(tmp_path, "cache", "--json", **SCRIPTED))
    assert listed["object"] == "list"
    assert [each["where"] for each in listed["data"][0]["held"]] == ["slot", "disk"]


def test_where_no_model_says_what_it_holds(tmp_path: Path, file: Path) -> None:
    file.write_text("null")
    done = palaver(tmp_path, "cache", **SCRIPTED)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "No model here says what it holds.\n"
    assert json.loads(said(tmp_path, "cache", "--json", **SCRIPTED)) == {"object": "list", "data": []}
    assert "nothing to clear" in palaver(tmp_path, "cache", "clear", **SCRIPTED).stderr


def test_many_are_listed_when_that_is_asked_for(tmp_path: Path, file: Path) -> None:
    hold(file, *(held(used=NOW + number) for number in range(FEW + 2)))
    done = palaver(tmp_path, "cache", **SCRIPTED)
    lines = done.stdout.splitlines()
    assert (len(lines), lines[-1]) == (FEW + 2, "  and 2 more")
    assert "--long" in done.stderr
    done = palaver(tmp_path, "cache", "--long", **SCRIPTED)
    assert (done.stdout.count("(not stored)"), done.stderr) == (FEW + 2, "")


def test_it_is_cleared(tmp_path: Path, file: Path) -> None:
    trip, other = begun(tmp_path, "trip"), begun(tmp_path, "other")
    hold(file, held(conversation=trip), held(conversation=trip, where="disk"), held(conversation=other))
    done = palaver(tmp_path, "cache", "clear", given="y\n", **SCRIPTED)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--yes" in done.stderr
    assert "Hello trip" in done.stderr, "what it is about is shown all the same"
    assert left(file) == [trip, trip, other]
    done = palaver(tmp_path, "cache", "clear", "--conversation", "trip", "--yes", **SCRIPTED)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "Cleared 2 prompts.\n")
    assert left(file) == [other]
    cleared = said(tmp_path, "cache", "clear", "--model", "scripted", "--yes", "--json", **SCRIPTED)
    assert json.loads(cleared) == {"object": "kv_cache.cleared", "cleared": 1}
    assert left(file) == []
    assert palaver(tmp_path, "cache", "clear", **SCRIPTED).stderr == "There is nothing to clear.\n"


def test_that_of_others_is_cleared_only_where_it_is_meant(tmp_path: Path, file: Path) -> None:
    hold(file, held("ann", "conv_hers"), held("local", None))
    said(tmp_path, "cache", "clear", "--yes", **SCRIPTED)
    assert left(file) == ["conv_hers"]
    assert "of ann" in palaver(tmp_path, "cache", "clear", "--all-owners", **SCRIPTED).stderr
    said(tmp_path, "cache", "clear", "--all-owners", "--yes", **SCRIPTED)
    assert left(file) == []


def test_it_asks_and_takes_no_for_an_answer(tmp_path: Path, file: Path, terminals: Terminals) -> None:
    hold(file, held())
    screen = terminals.open("cache", "clear", **SCRIPTED)
    assert "(not stored)" in screen.wait_for("Clear this? [y/N]:")
    screen.type("n")
    screen.wait_for("ended with 1")
    assert left(file) == [None]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--model", "nobody"], 1, "nobody"),
        (["--conversation", "nobody"], 1, "nobody"),
        (["--conversation", "trip", "--all-owners"], 2, "not both"),
    ],
)
def test_what_is_not_there_is_said(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    done = palaver(tmp_path, "cache", "clear", "--yes", *arguments, **SCRIPTED)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_why_no_snapshots_are_kept() -> None:
    unkept = {"kept": False, "reason": "its state cannot\nbe restored"}
    assert lines_of(cache_of(**unkept), {}, NOW) == [
        "pocket  nothing held  no snapshots because its state cannot be restored"
    ]


def test_what_others_named_does_not_steer_the_terminal() -> None:
    title = {"name": "a\x1b[2Jb", "id": "conv_1", "user": "u\x07", "title": "c\x9bd"}
    steering = cache_of(entry(owner="o\x07"), entry(conversation="conv_\x1b2"), model="m\x1b")
    assert lines_of(steering, {"conv_1": title}, NOW) == [
        "m  2 snapshots, about 2 tokens",
        "  conv_1  memory  about 1 token  900 bytes  used just now  of o  a[2Jb of u  cd",
        "  conv_2  memory  about 1 token  900 bytes  used just now",
    ]


def test_counts_in_words() -> None:
    counts = {"prefilled": 12_345, "reused": 60, "settled": 0, "saved": 3, "restored": 2, "evicted": 1}
    assert counts_of(
        counts | {"unsaved": 4, "refused_corrupt": 1, "refused_of_old": 2, "refused_age": 0}
    ) == [
        "  tokens since it started:     12,345 prefilled, 60 reused",
        "  snapshots since it started:  3 saved, 2 restored, 1 evicted, 4 not saved, "
        "3 refused (1 damaged, 2 of old)",
    ]
    assert counts_of({"settled": 7, "erased": 1}) == [
        "  tokens since it started:     7 prefilled while nobody waited",
        "  snapshots since it started:  1 erased",
    ]
    assert counts_of({}) == counts_of({"prefilled": 0}) == []
