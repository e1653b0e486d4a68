"""`bench.warm` counts what it says: its conversations are palaver's own, and its figures come out whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.warm import speech
from bench.warm.__main__ import main
from bench.warm.crowd import Crowd
from bench.warm.figures import Results
from bench.warm.fresh import Beside
from bench.warm.home import Asking, Said, opened
from bench.warm.others import Met, Others
from bench.warm.plan import QUICK, Plan, pocket
from bench.warm.restart import Lap, Restart, alike
from bench.warm.telling import told
from bench.warm.turns import Long, Turn
from palaver.core.message import Message

SOME = ["--quick", "--turns", "12", "--only", "restart", "turns", "crowd"]
LAP = Lap(
    prefilled=30, cold_prefilled=900, ttft=0.1, cold_ttft=0.8, reply=64, alike=64, verify=0.01, restore=0.02
)
RESTART = Restart(
    prompt=900, own=40, block=256, laps=[LAP], snapshots=1, bytes=2_000_000, save=0.01, write=0.02
)


def turn(prompt: int, prefilled: int, began: str | None = None, **more: Any) -> Turn:
    return Turn(
        prompt=prompt, prefilled=prefilled, own=20, began=began, **({"prepared": False, "ttft": 0.1} | more)
    )


def said(*pieces: str, completion: int) -> Said:
    return Said(
        turn="",
        conversation="",
        pieces=list(pieces),
        came=[0.1],
        prompt=1,
        cached=0,
        completion=completion,
        began=None,
        prepared=False,
        shown=(),
    )


LONG = Long(
    way="with pauses",
    turns=[
        turn(20, 20, "start", pause=0.1),
        turn(80, 20, pause=0.3),
        turn(140, 30, pause=0.2),
        turn(100, 20, "overflow", prepared=True, pause=0.1),
        turn(90, 90, "overflow"),
    ],
    ahead=100,
    window=0.5,
    beside={
        "the last": Beside(ttft=[0.1, 0.3, 0.2], fresh=[0.1, 0.1, 0.4], prefilled=60, fresh_prefilled=60)
    },
)


def test_figures_of_a_long_conversation() -> None:
    assert (LONG.own, LONG.exchange, LONG.prefilled) == (20, 60, 180)
    assert LONG.over_own == 1.8
    assert LONG.formula == 80
    assert LONG.over_formula == 280 / 400
    assert LONG.epochs == {"start": 1, "overflow": 1}
    assert LONG.prepared == 1
    assert LONG.pauses == [0.1, 0.3, 0.2, 0.1]
    assert LONG.beside["the last"].over_fresh == 2


def test_a_restart_holds_where_replies_are_alike_and_little_is_prefilled() -> None:
    assert RESTART.over_cold == pytest.approx(0.125)
    for lap, holds in (
        ({}, True),
        ({"prefilled": 296}, True),
        ({"prefilled": 297}, False),
        ({"alike": 63}, False),
    ):
        other = Lap(**({name: getattr(LAP, name) for name in LAP.__struct_fields__} | lap))
        found = Restart(
            **{name: getattr(RESTART, name) for name in RESTART.__struct_fields__ if name != "laps"},
            laps=[LAP, other],
        )
        results = Results(plan=Plan(), model="pocket", restart=found)
        assert results.holds is holds
        assert ("NOT" in told(results)) is not holds


def test_tokens_that_two_replies_begin_with() -> None:
    one = said("a", "b", "c", completion=4)  # a piece may be of more than one token
    assert alike(one, one) == 4
    assert alike(one, said("a", "x", "c", completion=4)) == 1
    assert alike(one, said("a", "b", completion=2)) == 2


def test_figures_of_crowds_and_others() -> None:
    crowd = Crowd(
        conversations=2,
        turns=2,
        system=0,
        slots=2,
        kept=True,
        prompts=1000,
        new=200,
        prefilled=250,
        ahead=0,
        saved=0,
        restored=0,
        seconds=1.0,
    )
    assert (crowd.over_new, crowd.reused, crowd.perfect) == (1.25, 0.75, 0.8)
    others = Others(
        tokens=1000,
        pieces=[Met(gap=gap, short=0.1, long=2.0) for gap in (0.1, 0.2, 0.9)],
        at_once=[Met(gap=0.4, short=1.0, long=1.0)],
        usual_gap=0.01,
        usual_short=0.05,
    )
    assert others.of(lambda met: met.gap, pieces=True) == 0.2
    assert others.over(lambda met: met.gap) == 2
    assert others.over(lambda met: met.long) == 0.5
    results = Results(plan=Plan(), model="pocket", turns=[LONG], crowd=[crowd], others=others)
    assert results.holds
    assert "at once over pieces" in told(results)


async def test_histories_and_system_prompts_are_as_long_as_they_should_be(tmp_path: Path) -> None:
    async with opened(tmp_path, pocket(), keeps=False) as home:
        messages = await speech.history(home, 300, 1)
        asked = Asking(name="a", messages=messages, tokens=1, at_head=False)
        assert messages[-1].role == "user"
        assert 200 < (await home.say(asked)).prompt <= 300
        system = await speech.system(home, 200, 1)
        asked = Asking(name="b", messages=[system, Message("user", "Hi.")], tokens=1)
        assert 100 < (await home.say(asked)).prompt < 220


async def test_a_quick_run_tells_all_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    assert await main([*SOME, "--json", str(figures)]) == 0
    text, found = capsys.readouterr().out, json.loads(figures.read_bytes())
    (lap,) = found["restart"]["laps"]
    assert lap["prefilled"] <= found["restart"]["own"]
    assert lap["cold_prefilled"] == found["restart"]["prompt"]
    assert found["restart"]["snapshots"] > 0
    pauses, at_once = found["turns"]
    assert [each["began"] for each in pauses["turns"]].count("overflow") > 1
    assert all(each["prepared"] for each in pauses["turns"] if each["began"] == "overflow")
    assert all(each["prefilled"] <= each["own"] for each in pauses["turns"])
    assert pauses["ahead"] > 0
    assert sum(each["prefilled"] for each in at_once["turns"]) > sum(
        each["prefilled"] for each in pauses["turns"]
    )
    assert [len(each["ttft"]) for each in pauses["beside"].values()] == [QUICK.last, *[QUICK.reopened] * 2]
    assert [(each["slots"], each["kept"]) for each in found["crowd"]] == [(2, True), (2, False)] * 2
    kept, none, *_ = found["crowd"]
    assert 0.7 * kept["new"] < kept["prefilled"] < none["prefilled"]  # less where it was prefilled ahead
    assert kept["restored"] > 0
    assert none["saved"] == none["restored"] == 0
    assert "after a restart" in text
    assert found["others"] is None


async def test_what_cannot_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--big", "--only", "turns"], ["--only", "restart", "--plot", "x.svg"]):
        with pytest.raises(SystemExit):
            await main(arguments)
    assert "--big is for restart and others" in capsys.readouterr().err


@pytest.mark.slow  # what it needs is not installed for `make check`
async def test_a_long_prompt_of_others_is_prefilled_in_pieces(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="the extra `bench` is not installed")
    figures = tmp_path / "figures.json"
    await main(["--quick", "--only", "others", "--json", str(figures)])
    others = json.loads(figures.read_bytes())["others"]
    assert len(others["pieces"]) == len(others["at_once"]) == QUICK.laps
    assert others["pieces"][0]["short"] < others["pieces"][0]["long"]


@pytest.mark.slow  # the same
async def test_a_drawing_is_small(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `bench` is not installed")
    await main([*SOME, "--plot", str(tmp_path / "warm.svg")])
    drawn = (tmp_path / "warm.svg").read_text()
    assert len(drawn) < 150_000
    assert "with pauses: " in drawn
    assert "<dc:date>" not in drawn
