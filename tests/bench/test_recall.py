"""`bench.recall` asks for what is there: its set is the same each time, and holds the answers to its questions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from bench.recall.__main__ import main
from bench.recall.dialogues import QUICK, WAYS, Plan, dialogues
from bench.recall.facts import KINDS
from bench.recall.measuring import BLENDS, BY_MEANING, STEPS, SWEEPS, measure

FEW = Plan(dialogues=4)


class Letters:
    """Means nothing: how many letters texts share."""

    async def vectors(self, texts: Sequence[str]) -> list[list[float]]:
        return [[text.lower().count(letter) / len(text) for letter in "etaoinshr"] for text in texts]

    async def near(self, question: str, vectors: Sequence[Sequence[float]]) -> list[float]:
        (asked,) = await self.vectors([question])
        return [sum(a * b for a, b in zip(asked, vector, strict=True)) for vector in vectors]


def test_a_set_follows_from_its_seed() -> None:
    assert dialogues(FEW) == dialogues(FEW)
    assert dialogues(FEW) == dialogues(msgspec.structs.replace(FEW, dialogues=6))[:4]
    assert dialogues(FEW) != dialogues(msgspec.structs.replace(FEW, seed=2))


def test_the_evidence_is_there_and_nowhere_else() -> None:
    for dialogue in dialogues(FEW):
        assert FEW.least <= len(dialogue.lines) <= FEW.most + 4
        assert len(dialogue.questions) == FEW.facts
        for question in dialogue.questions:
            (place,) = question.evidence
            line = dialogue.lines[place]
            assert question.value.lower() in line.text.lower()
            assert question.value.lower() not in question.text.lower()
            assert line.role == ("assistant" if question.way == "advised" else "user")
            told = [
                at for at, each in enumerate(dialogue.lines) if question.value.lower() in each.text.lower()
            ]
            assert set(told) <= {place, place + 1}  # a reply may repeat it


def test_user_and_assistant_take_turns_and_all_say_something() -> None:
    for dialogue in dialogues(FEW):
        assert dialogue.lines[0].role == "user"
        assert all(before.role != after.role for before, after in pairwise(dialogue.lines))
        assert all(line.text and "{" not in line.text for line in dialogue.lines)


def test_facts_are_told_in_every_way() -> None:
    ways = {question.way for dialogue in dialogues(FEW) for question in dialogue.questions}
    assert ways == {*WAYS, "advised"}
    assert all(any(" of {who}" not in tell for tell in kind.tells) for kind in KINDS)


async def test_a_quick_run_tells_all_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    await main(["--quick", "--json", str(figures)])
    told, found = capsys.readouterr().out, json.loads(figures.read_bytes())
    assert [each["step"]["name"] for each in found["steps"]] == [step.name for step in STEPS]
    assert len(found["sweeps"]) == len(SWEEPS)
    assert found["questions"] == QUICK.dialogues * QUICK.facts
    assert all(0 <= each["at_3"] <= each["at_10"] <= 100 for each in found["steps"])
    assert all(step.name in told for step in STEPS + SWEEPS)
    assert "vectors" not in told


async def test_vectors_are_measured_where_there_are_any(tmp_path: Path) -> None:
    found = await measure(QUICK, tmp_path, Letters())
    assert [each.step for each in found.steps] == [*STEPS, *BY_MEANING]
    assert [each.step for each in found.blends] == list(BLENDS)


async def test_each_step_finds_more(tmp_path: Path) -> None:
    found = await measure(msgspec.structs.replace(FEW, dialogues=20), tmp_path)
    plain, telling, by_role, near = (figure.at_10 for figure in found.steps)
    assert plain < telling < by_role
    assert near > 1.2 * plain
    assert found.steps[-1].rank < found.steps[-2].rank < found.steps[0].rank
