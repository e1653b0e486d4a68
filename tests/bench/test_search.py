"""`bench.search` measures what it says: its store is one that palaver keeps, and its figures come out whole."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bench.search.__main__ import main
from bench.search.figures import KINDS, QUICK
from bench.search.filling import OWNER, fill
from bench.search.words import MIDDLE, VOCABULARY, Talk, vocabulary
from palaver.core.searching import STOP_WORDS, read_query
from palaver.stores.base import Scope
from palaver.stores.sqlite_upkeep import check
from tests.stores.sqlite_files import opened


async def test_what_is_filled_is_indexed_and_found(tmp_path: Path) -> None:
    path, talk = tmp_path / "palaver.db", Talk()
    async with opened(path):
        pass
    fill(path, 60, talk)
    filled = fill(path, 150, talk)
    async with opened(path) as store:
        for text in filled.texts[:20]:
            for query in (talk.words_of(text), talk.phrase_of(text)):
                matches = await store.search(OWNER, read_query(query), Scope())
                found = await store.messages(OWNER, [match.message for match in matches.found])
                assert text in {item.message.text for item in found}
        assert len(await store.conversations(OWNER, limit=100)) > 1
    report = check(path)
    assert (report.rows["messages"], report.rows["message_index"]) == (150, 150)
    assert not [finding for finding in report.findings if "index" in finding.what]


def test_words_are_drawn_as_people_draw_them() -> None:
    words = vocabulary()
    assert len(words) == len(set(words)) == VOCABULARY
    assert STOP_WORDS.isdisjoint(words[slice(*MIDDLE)])
    talk = Talk()
    said = talk.text(1000).split()
    assert said.count(words[0]) > said.count(words[9])
    asked = {word for _ in range(50) for word in talk.words_of(talk.text(100)).split()}
    assert asked.isdisjoint(words[: MIDDLE[0] - 1])


async def test_a_quick_run_tells_all_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    await main(["--quick", "--folder", str(tmp_path), "--json", str(figures)])
    told, found = capsys.readouterr().out, json.loads(figures.read_bytes())
    assert [each["messages"] for each in found["sizes"]] == list(QUICK.sizes)
    for each in found["sizes"]:
        assert {kind: times["times"] for kind, times in each["searches"].items()} == dict.fromkeys(
            KINDS, QUICK.laps
        )
        assert 0 < each["text"] < each["terms"] + each["copy"]
    assert all(kind in told for kind in KINDS)
    assert os.listdir(tmp_path) == [figures.name]
