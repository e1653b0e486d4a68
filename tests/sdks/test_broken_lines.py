"""Connections break, the official SDKs send their requests again, and no question is asked or answered twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
from openai import OpenAI

from palaver.engines.scripted import ScriptedEngine
from tests.sdks.asking import LANGUAGES, SDKS, Got, Job, Language, Sdk, ask, question
from tests.sdks.cutting import Attempt, Cut, Line, cutting
from tests.sdks.house import Held, House, attempts_of, house, messages_with, turns_of
from tests.sdks.waiting import PATIENCE, within

# What breaks at the first request and at the second, by the name of the case.
CASES: dict[str, tuple[Cut, ...]] = {
    "nothing": (),
    "before": (Cut.BEFORE,),
    "forwarded": (Cut.FORWARDED,),
    "running": (Cut.RUNNING,),
    "answered": (Cut.ANSWERED,),
    "after": (Cut.AFTER,),
    "held up": (Cut.HELD_UP,),
    "in the body": (Cut.IN_BODY,),
    "twice": (Cut.FORWARDED, Cut.ANSWERED),
    "running then answered": (Cut.RUNNING, Cut.ANSWERED),
    "answered then in the body": (Cut.ANSWERED, Cut.IN_BODY),
}


class Case(msgspec.Struct, frozen=True):
    name: str
    sdk: Sdk
    language: Language
    stream: bool

    @property
    def cuts(self) -> tuple[Cut, ...]:
        return CASES[self.name]

    @property
    def model(self) -> str:
        return f"{self.sdk}-{self.language}-{'stream' if self.stream else 'plain'}-{self.name}".replace(
            " ", "-"
        )

    @property
    def text(self) -> str:
        return f"What came of {self.model}?"

    @property
    def requests(self) -> int:
        """How many the SDK sends."""
        return 1 + sum(cut is not Cut.AFTER for cut in self.cuts)


def cases() -> list[Case]:
    every = [
        Case(name, sdk, language, stream)
        for name in CASES
        for sdk in SDKS
        for language in LANGUAGES
        for stream in (False, True)
    ]
    # A stream has begun then, and the TypeScript SDKs have returned: those are tests of their own.
    return [
        case
        for case in every
        if Cut.IN_BODY not in case.cuts or (not case.stream and case.language == "python")
    ]


class Seen(msgspec.Struct):
    got: Got
    attempts: list[Attempt]
    generations: int
    held_up: bytes | None


class Experience(msgspec.Struct):
    folder: Path
    seen: dict[Case, Seen]


@pytest.fixture(scope="module")
def experience(tmp_path_factory: pytest.TempPathFactory, node: str) -> Experience:
    """All the cases at once, since SDKs wait for a second and more before they try again."""
    folder = tmp_path_factory.mktemp("broken")
    return Experience(folder, asyncio.run(_live_through(folder, node)))


async def _live_through(folder: Path, node: str) -> dict[Case, Seen]:
    every = cases()
    engines = {c.model: Held() if Cut.RUNNING in c.cuts else ScriptedEngine() for c in every}
    async with (
        house(folder, engines) as palaver,
        AsyncExitStack() as stack,
        asyncio.TaskGroup() as group,
    ):
        lines = [
            await stack.enter_async_context(
                cutting(palaver.address, case.cuts, engine.began if isinstance(engine, Held) else None)
            )
            for case, engine in zip(every, engines.values(), strict=True)
        ]
        for model, engine in engines.items():
            if isinstance(engine, Held):
                group.create_task(_release_when_repeated(palaver, model, engine))
        got = await _ask_all(every, lines, node)
        async with within(PATIENCE, "the answers to what was held up"):
            held_up = {
                c: await line.held_up for c, line in zip(every, lines, strict=True) if Cut.HELD_UP in c.cuts
            }
    return {
        case: Seen(found, line.attempts, len(engines[case.model].prompts), held_up.get(case))
        for case, found, line in zip(every, got, lines, strict=True)
    }


async def _release_when_repeated(palaver: House, model: str, engine: Held) -> None:
    await palaver.repeated(model)
    engine.released.set()


async def _ask_all(every: Sequence[Case], lines: Sequence[Line], node: str) -> list[Got]:
    jobs = [
        Job(sdk=c.sdk, address=line.address, model=c.model, messages=question(c.text), stream=c.stream)
        for c, line in zip(every, lines, strict=True)
    ]
    asked = {
        language: [job for case, job in zip(every, jobs, strict=True) if case.language == language]
        for language in LANGUAGES
    }
    answers = await asyncio.gather(*(ask(language, node, asked[language]) for language in LANGUAGES))
    found = dict(zip(LANGUAGES, map(iter, answers), strict=True))
    return [next(found[case.language]) for case in every]


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.model)
def test_one_question_one_answer(case: Case, experience: Experience) -> None:
    seen = experience.seen[case]
    assert seen.got.error is None
    assert [attempt.count for attempt in seen.attempts] == [str(i) for i in range(case.requests)]
    assert len({attempt.body for attempt in seen.attempts}) == 1
    (asked,) = messages_with(experience.folder, case.text)
    (turn,) = turns_of(experience.folder, case.model)
    assert (turn["state"], turn["question"], turn["parent"]) == ("completed", asked["seq"], asked["seq"])
    assert seen.generations == 1
    assert seen.got.id == seen.got.turn == turn["id"].replace("turn_", "chatcmpl-")
    assert seen.got.content == turn["content"] != ""
    if seen.held_up is not None:
        assert f"palaver-turn: {seen.got.id}".encode() in seen.held_up


@pytest.mark.parametrize("case", [c for c in cases() if c.name == "running"], ids=lambda case: case.model)
def test_a_repetition_joins_the_running_turn(case: Case, experience: Experience) -> None:
    attempts = attempts_of(experience.folder, case.model)
    assert [attempt["count"] for attempt in attempts] == [0, 1]
    assert len({attempt["turn"] for attempt in attempts}) == 1


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("sdk", SDKS)
async def test_cut_inside_a_stream(sdk: Sdk, language: Language, tmp_path: Path, node: str) -> None:
    """No SDK asks again then; the turn ends without its reader and is there by the id in the headers."""
    engine = Held("speaking")
    async with house(tmp_path, {"m": engine}) as palaver:
        async with cutting(palaver.address, [Cut.IN_STREAM]) as line:
            job = Job(sdk=sdk, address=line.address, model="m", messages=question("Cut me off"), stream=True)
            (got,) = await ask(language, node, [job])
        assert len(line.attempts) == 1
        engine.released.set()
        await palaver.ended("m")
        (turn,) = palaver.turns("m")
        assert turn["state"] == "completed"
        assert turn["content"].startswith(got.content)
        assert got.content != turn["content"] != ""
        assert got.error is not None
        assert got.turn is not None
        assert await retrieved(palaver.address, got.turn) == (got.turn, turn["content"], "completed")
        assert len(engine.prompts) == 1


async def retrieved(address: str, turn: str) -> tuple[str, str, str]:
    """The id, text and state of a stored reply, as the openai SDK gets it."""

    def retrieve() -> tuple[str, str, str]:
        with OpenAI(base_url=address + "/v1", api_key="any") as client:
            stored = client.chat.completions.retrieve(turn)
            return stored.id, stored.choices[0].message.content or "", stored.to_dict()["status"]  # type: ignore[return-value]

    return await asyncio.to_thread(retrieve)


@pytest.mark.parametrize("sdk", SDKS)
async def test_cut_inside_a_body_in_typescript(sdk: Sdk, tmp_path: Path, node: str) -> None:
    """These SDKs have returned by then and do not ask again. The app does, and says that it is the same."""
    async with house(tmp_path, {"m": ScriptedEngine()}) as palaver:
        async with cutting(palaver.address, [Cut.IN_BODY]) as line:
            job = Job(
                sdk=sdk,
                address=line.address,
                model="m",
                messages=question("Cut me off"),
                headers={"Idempotency-Key": "mine"},
            )
            (cut_off,) = await ask("typescript", node, [job])
            (got,) = await ask("typescript", node, [job])
        assert cut_off.error is not None
        assert got.error is None
        assert [attempt.count for attempt in line.attempts] == ["0", "0"]
        (turn,) = palaver.turns("m")
        assert cut_off.turn == got.turn == got.id
        assert got.content == turn["content"]
        assert await retrieved(palaver.address, got.id or "") == (got.id, turn["content"], "completed")
