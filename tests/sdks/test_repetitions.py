"""Which turn a repeated request gets: its own, by what the SDKs say of it, and by what the app says."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from palaver.engines.scripted import ScriptedEngine
from tests.sdks.asking import LANGUAGES, SDKS, Job, Language, Sdk, ask, question
from tests.sdks.cutting import Cut, cutting
from tests.sdks.house import Held, house, messages_with
from tests.whole.serving import rows


@pytest.mark.parametrize("begun", [False, True], ids=["first", "later"])
@pytest.mark.parametrize("cut", [Cut.RUNNING, Cut.ANSWERED])
async def test_two_clients_ask_the_same_at_once(cut: Cut, begun: bool, tmp_path: Path, node: str) -> None:
    """Both lose their lines, twice, and come again: each gets a reply of its own.

    A first question begins two conversations; in a conversation that both know, it is the same message.
    """
    engine = Held() if cut is Cut.RUNNING else ScriptedEngine()
    async with (
        house(tmp_path, {"m": engine, "begin": ScriptedEngine()}) as palaver,
        AsyncExitStack() as stack,
    ):
        messages = question("Same")
        if begun:
            begin = Job(sdk="openai", address=palaver.address, model="begin", messages=question("Begin"))
            (first,) = await ask("python", node, [begin])
            assert first.reply is not None
            messages = [*begin.messages, first.reply, *messages]
        began = engine.began if isinstance(engine, Held) else None
        lines = [
            await stack.enter_async_context(cutting(palaver.address, [cut, cut], began)) for _ in range(2)
        ]
        jobs = [Job(sdk="openai", address=line.address, model="m", messages=messages) for line in lines]
        asking = asyncio.create_task(ask("python", node, jobs))
        if isinstance(engine, Held):
            await palaver.repeated("m", 4)
            engine.released.set()
        one, other = await asking
        assert [len(line.attempts) for line in lines] == [3, 3]
        turns = palaver.turns("m")
        assert one.error is other.error is None
        assert {one.id, other.id} == {turn["id"].replace("turn_", "chatcmpl-") for turn in turns}
        assert len(turns) == len(engine.prompts) == len({turn["reply"] for turn in turns}) == 2
        assert [turn["state"] for turn in turns] == ["completed"] * 2
        own = 1 if begun else 2
        assert len(messages_with(tmp_path, "Same")) == len({one.conversation, other.conversation}) == own
        assert {turn["parent"] for turn in turns} == {row["seq"] for row in messages_with(tmp_path, "Same")}


@pytest.mark.parametrize("sdk", SDKS)
async def test_idempotency_keys(sdk: Sdk, tmp_path: Path, node: str) -> None:
    """Calls with one key are one turn, whether a line broke or not; with another question they are refused."""
    async with house(tmp_path, {"m": ScriptedEngine()}) as palaver:
        async with cutting(palaver.address, [Cut.ANSWERED]) as line:
            job = Job(
                sdk=sdk,
                address=line.address,
                model="m",
                messages=question("Once"),
                headers={"Idempotency-Key": "k-1"},
            )
            got = [(await ask("python", node, [job]))[0] for _ in range(3)]
            other = msgspec.structs.replace(job, messages=question("Another"))
            (refused,) = await ask("python", node, [other])
            (fresh,) = await ask(
                "python", node, [msgspec.structs.replace(job, headers={"Idempotency-Key": "k-2"})]
            )
        assert [attempt.count for attempt in line.attempts] == ["0", "1", "0", "0", "0", "0"]
        assert [each.error for each in got] == [None] * 3
        assert len({each.id for each in got}) == len({each.content for each in got}) == 1
        assert (refused.error, refused.status) == ("BadRequestError", 400)
        assert fresh.id not in {None, got[0].id}
        assert len(palaver.engines["m"].prompts) == len(palaver.turns("m")) == 2


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("sdk", SDKS)
async def test_not_stored(sdk: Sdk, language: Language, tmp_path: Path, node: str) -> None:
    """What is not stored is joined while it runs; once it has ended, only asking anew can answer it."""
    held, ended = Held(), ScriptedEngine()
    async with house(tmp_path, {"held": held, "ended": ended}) as palaver, AsyncExitStack() as stack:
        lines = {
            "held": await stack.enter_async_context(cutting(palaver.address, [Cut.RUNNING], held.began)),
            "ended": await stack.enter_async_context(cutting(palaver.address, [Cut.ANSWERED])),
        }
        jobs = [
            Job(
                sdk=sdk,
                address=line.address,
                model=model,
                messages=question("Forget this"),
                stream=True,
                more={"store": False},
            )
            for model, line in lines.items()
        ]
        asking = asyncio.create_task(ask(language, node, jobs))
        await palaver.read_again(held)
        held.released.set()
        of_held, of_ended = await asking
        assert [[attempt.count for attempt in line.attempts] for line in lines.values()] == [["0", "1"]] * 2
        assert of_held.error is of_ended.error is None
        assert of_held.content == of_ended.content != ""
        assert (len(held.prompts), len(ended.prompts)) == (1, 2)
        assert of_held.conversation == of_ended.conversation == "none"
    assert not rows(tmp_path, "SELECT * FROM turns")
    assert not rows(tmp_path, "SELECT * FROM messages")
    assert not rows(tmp_path, "SELECT * FROM attempts")
