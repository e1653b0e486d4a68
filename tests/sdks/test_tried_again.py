"""The official SDKs ask again after a failure or a crash: the question stays one, and is answered once more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from palaver.engines.scripted import ScriptedEngine
from tests.sdks.asking import LANGUAGES, SDKS, Job, Language, Sdk, ask, question
from tests.sdks.cutting import Cut, Line, cutting
from tests.sdks.house import house, messages_with, turns_of
from tests.sdks.waiting import PATIENCE, until, within
from tests.whole.serving import rows, server
from tests.whole.test_many_kills import check_whole


@pytest.mark.parametrize("fail", ["unavailable", "break after 2 tokens"])
async def test_what_failed_is_tried_again(fail: str, tmp_path: Path, node: str) -> None:
    """The question stays one; what was said of the first reply is kept beside the second."""
    script = tmp_path / "script.jsonl"
    script.write_text(f'{{"reply": "It was good", "fail": "{fail}"}}\n{{"reply": "Well again"}}\n')
    models = {
        f"{sdk}-{language}-{stream}": (sdk, language, stream)
        for sdk in SDKS
        for language in LANGUAGES
        for stream in (False, True)
        # A stream that breaks has begun.
        if fail == "unavailable" or not stream
    }
    async with house(tmp_path, {model: ScriptedEngine(script) for model in models}) as palaver:
        jobs = {
            model: Job(
                sdk=sdk,
                address=palaver.address,
                model=model,
                messages=question(f"How is {model}?"),
                stream=stream,
            )
            for model, (sdk, _, stream) in models.items()
        }
        answers = await asyncio.gather(
            *(ask(language, node, [jobs[model]]) for model, (_, language, _) in models.items())
        )
        for model, (got,) in zip(models, answers, strict=True):
            assert (got.error, got.content) == (None, "Well again"), model
            first, second = palaver.turns(model)
            (asked,) = messages_with(tmp_path, f"How is {model}?")
            assert first["question"] == second["question"] == asked["seq"]
            assert second["parent"] == asked["seq"]
            assert second["state"] == "completed"
            assert got.id == got.turn == second["id"].replace("turn_", "chatcmpl-")
            if fail == "unavailable":
                assert (first["state"], first["reply"]) == ("failed", None)
            else:
                assert (first["state"], first["content"]) == ("incomplete", "It was")
                assert first["parent"] == asked["seq"]


async def test_killed_between_two_tries(tmp_path: Path, node: str) -> None:
    """The server is killed in mid-reply and started again while the SDKs wait to ask again."""
    script = tmp_path / "stalling.jsonl"
    script.write_text('{"reply": "Half of this is lost", "fail": "stall after 3 tokens"}\n')
    clients: list[tuple[Sdk, Language]] = [(sdk, language) for sdk in SDKS for language in LANGUAGES]
    async with AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(cutting(None)) for _ in clients]
        jobs = [
            Job(
                sdk=sdk,
                address=line.address,
                model="scripted",
                messages=question(f"From {sdk} {language}"),
                more={"user": sdk + language},
            )
            for (sdk, language), line in zip(clients, lines, strict=True)
        ]
        with server(tmp_path, f"scripted:{script}") as (process, address):
            lead_to(lines, address)
            asking = [
                asyncio.create_task(ask(language, node, [job]))
                for (_, language), job in zip(clients, jobs, strict=True)
            ]
            await until(
                lambda: len(rows(tmp_path, "SELECT * FROM turn_log")) >= len(clients),
                "a log of each running reply",
            )
            lead_to(lines, None)
            process.kill()
            process.wait(PATIENCE)
        with server(tmp_path, "scripted") as (_, address):
            lead_to(lines, address)
            answers = [got for (got,) in await asyncio.gather(*asking)]
            follow_up = [
                msgspec.structs.replace(
                    job, address=address, messages=[*job.messages, got.reply, *question("And then?")]
                )
                for job, got in zip(jobs, answers, strict=True)
            ]
            further = await ask("python", node, follow_up)
        assert [[attempt.count for attempt in line.attempts] for line in lines] == [["0", "1"]] * len(lines)
    for job, got, next_got in zip(jobs, answers, further, strict=True):
        (asked,) = messages_with(tmp_path, job.messages[0]["content"])
        first, second, third = [
            turn for turn in turns_of(tmp_path, "scripted") if turn["conversation"] == asked["conversation"]
        ]
        assert (first["state"], first["content"]) == ("incomplete", "Half of this")
        assert (second["state"], second["content"]) == ("completed", got.content)
        assert first["question"] == second["question"] == first["parent"] == second["parent"] == asked["seq"]
        assert got.id == got.turn == second["id"].replace("turn_", "chatcmpl-")
        assert got.conversation == next_got.conversation
        assert third["content"] == next_got.content
    assert len(rows(tmp_path, "SELECT * FROM conversations")) == len(clients)
    check_whole(tmp_path)


async def test_answered_before_the_server_was_killed(tmp_path: Path, node: str) -> None:
    """A reply that was stored but never heard is what the next server answers with."""
    script = tmp_path / "once.jsonl"
    script.write_text('{"reply": "Said before the end"}\n')
    clients: list[tuple[Sdk, Language]] = [(sdk, language) for sdk in SDKS for language in LANGUAGES]
    async with AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(cutting(None, [Cut.ANSWERED])) for _ in clients]
        jobs = [
            Job(sdk=sdk, address=line.address, model="scripted", messages=question("Now"), stream=stream)
            for (sdk, _), line, stream in zip(clients, lines, (False, True, True, False), strict=True)
        ]
        with server(tmp_path, f"scripted:{script}") as (process, address):
            lead_to(lines, address)
            asking = [
                asyncio.create_task(ask(language, node, [job]))
                for (_, language), job in zip(clients, jobs, strict=True)
            ]
            await asyncio.gather(*(stop_when_answered(line) for line in lines))
            process.kill()
            process.wait(PATIENCE)
        with server(tmp_path, "scripted") as (_, address):
            lead_to(lines, address)
            answers = [got for (got,) in await asyncio.gather(*asking)]
        assert [[attempt.count for attempt in line.attempts] for line in lines] == [["0", "1"]] * len(lines)
    assert [got.content for got in answers] == ["Said before the end"] * len(clients)
    turns = turns_of(tmp_path, "scripted")
    assert {got.id for got in answers} == {turn["id"].replace("turn_", "chatcmpl-") for turn in turns}
    assert len(turns) == len(messages_with(tmp_path, "Now")) == len(clients)


async def stop_when_answered(line: Line) -> None:
    async with within(PATIENCE, "an answer that is not passed on"):
        await line.answered.wait()
    line.lead_to(None)


def lead_to(lines: Sequence[Line], address: str | None) -> None:
    for line in lines:
        line.lead_to(address)
