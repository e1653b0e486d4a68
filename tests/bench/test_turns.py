"""`bench.turns` counts what it says: its ways are palaver's own windows, and its figures come out whole."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest

from bench.turns import talk
from bench.turns.__main__ import WAYS, main, measure
from bench.turns.figures import by_formula
from bench.turns.models import Plan, Pocket, Scripted, own_tokens
from bench.turns.ways import Way, play
from palaver.core.message import Message
from palaver.core.turn import Usage

PLAN = Plan("scripted", turns=90, size=1024, reply=96, resent=40, seed=1)
TINY = ["--only", "scripted", "--scripted-turns", "24", "--scripted-size", "512", "--resent", "6"]


async def test_what_each_way_prefills(tmp_path: Path) -> None:
    found = (await measure(PLAN, tmp_path)).found
    half, most, least, sliding = found.costs
    assert [each.way for each in found.costs] == [way.name for way in WAYS]
    assert least.prefilled < half.prefilled < most.prefilled < sliding.prefilled
    assert sliding.prefilled > 4 * half.prefilled
    for each in (half, most, least):
        assert each.epochs["start"] == 1
        assert each.epochs["overflow"] > 2
        assert set(each.epochs) == {"start", "overflow"}
        assert each.over_formula is not None
        assert 0.4 < each.over_formula <= 1.1  # less, by turns before the first window was full
        assert (each.again, each.cut) == (0, 0)
    assert half.after_epoch is not None
    assert 0.4 < half.after_epoch <= 0.5
    assert sliding.formula is None
    assert sliding.epochs == {}
    assert all(units > each.prefilled for each in found.costs for units in each.units)


async def test_resending_shows_the_same_and_costs_the_same(tmp_path: Path) -> None:
    stored, unstored = (await measure(PLAN, tmp_path)).found.resent
    assert (stored.turns, stored.alike, stored.apart) == (PLAN.resent, PLAN.resent, None)
    assert stored.began == stored.began_at_head
    assert len(stored.began) > 2
    assert stored.prefilled == stored.prefilled_at_head
    assert len(unstored.began) == pytest.approx(len(unstored.began_at_head), abs=1)


async def test_the_worker_says_what_it_had_cached(tmp_path: Path) -> None:
    plan = Plan("pocket", turns=6, size=256, reply=12, resent=0, seed=1)
    questions = list(islice(talk.questions(plan.seed), plan.turns))
    model = Pocket(plan.slots)
    own = await own_tokens(model.engine, plan.model, questions)
    played = await play(Way("keep 50 %", "head"), plan, model, questions, own, tmp_path)
    first, *others = played.turns
    assert first.prefilled == first.prompt
    going_on = [turn for turn in others if turn.began is None]
    assert going_on
    # A reply may come out as other tokens when it is read again, and one that was cut lacks its last. Where there was a
    # moment, what comes before a question was read ahead.
    ahead = 5
    assert all(turn.own - ahead <= turn.prefilled <= turn.own + plan.reply for turn in going_on)
    assert sum(turn.own - ahead <= turn.prefilled <= turn.own for turn in going_on) > 0
    assert sum(played.epochs.values()) == 1 + sum(turn.began is not None for turn in others)


def test_a_perfect_cache_holds_the_last_prompt_and_its_reply(tmp_path: Path) -> None:
    model = Scripted(PLAN, tmp_path / "script.jsonl")
    usage = Usage(prompt_tokens=11, completion_tokens=1)
    first, reply, second = (
        Message("user", "one two"),
        Message("assistant", "three"),
        Message("user", "four five"),
    )
    shown = [first, reply, second, Message("assistant", "six")]
    model.shown = lambda: shown  # type: ignore[method-assign]
    assert model.prefilled(usage, ()) == 11
    assert model.prefilled(usage, (first, reply)) == 11 - 5
    assert model.prefilled(usage, (first, Message("assistant", "four"), second)) == 11 - 3
    assert model.prefilled(usage, (reply, second)) == 11


def test_talk_is_the_same_for_a_seed_and_never_long() -> None:
    some = list(islice(talk.questions(7), 50))
    assert some == list(islice(talk.questions(7), 50))
    assert some != list(islice(talk.questions(8), 50))
    assert {len(text.split()) > talk.QUESTION // 2 for text in some} == {True, False}
    assert max(len(text.split()) for text in some) < 60


def test_the_formula() -> None:
    assert by_formula(24, 60, 0.25) == 24 + 20


async def test_a_run_tells_all_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    await main([*TINY, "--json", str(figures)])
    told = capsys.readouterr().out
    (found,) = json.loads(figures.read_bytes())
    assert [each["way"] for each in found["costs"]] == [way.name for way in WAYS]
    assert all(way.name in told for way in WAYS)
    assert "a perfect one" in told


@pytest.mark.slow  # what it needs is not installed for `make check`
async def test_a_drawing_is_small_and_always_the_same(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `bench` is not installed")
    drawn = [tmp_path / name / "turns.svg" for name in ("one", "two")]
    await main([*TINY, "--plot", *map(str, drawn)])
    one, two = (path.read_text() for path in drawn)
    assert one == two
    assert len(one) < 150_000
    assert "sliding: " in one
    assert "<dc:date>" not in one
