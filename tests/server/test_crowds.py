"""Fifty clients speak in one conversation at the same moment: each policy keeps what it says."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import openai
import pytest

from palaver.chat import ChatSettings
from palaver.core.turn import ContentDelta, Finish, TurnState
from tests.server.conftest import Door, opened, until
from tests.stores.contract_sequences import consistent
from tests.stores.sqlite_files import tables
from tests.stores.talking import Tables

CLIENTS = 50
FIRST = "Who is here?"


@pytest.fixture
def settings() -> ChatSettings:
    return ChatSettings()


@pytest.fixture
async def door(tmp_path: Path, settings: ChatSettings) -> AsyncIterator[Door]:
    async with opened(tmp_path, chat_settings=settings) as door:
        yield door


async def say(door: Door, text: str, **more: Any) -> tuple[aiohttp.ClientResponse, Any]:
    """Say something at the head of the conversation `room`."""
    return await door.ask(text, **{"conversation": "room", "parent": "head", **more})


async def crowd(door: Door, **more: Any) -> list[tuple[aiohttp.ClientResponse, Any]]:
    """All clients at once."""
    return await asyncio.gather(*(say(door, f"I am {i}.", **more) for i in range(CLIENTS)))


@asynccontextmanager
async def held(door: Door) -> AsyncIterator[None]:
    """Inside, a turn is being answered at the head of `room`, and does not end."""
    asking = asyncio.create_task(say(door, "Hold on.", model="test/hand"))
    await door.hand.began.wait()
    yield
    assert not asking.done()
    door.hand.put(ContentDelta("held"), Finish("stop"))
    response, _ = await asking
    assert response.status == 200


def rows(folder: Path) -> Tables:
    """What is stored; all of it fits together."""
    found = tables(folder / "palaver.db")
    consistent(found)
    return found


def texts(found: Tables) -> dict[int, str]:
    return {row["seq"]: msgspec.json.decode(row["body"])["content"] for row in found["messages"]}


def path(found: Tables) -> list[str]:
    """What is said on the path to the only conversation's head."""
    (conversation,) = found["conversations"]
    parents, said = {row["seq"]: row["parent"] for row in found["messages"]}, texts(found)
    line, seq = [], conversation["head"]
    while seq is not None:
        line.append(said[seq])
        seq = parents[seq]
    return line[::-1]


def asked(found: Tables) -> list[str]:
    """The questions, in the order in which their turns were admitted."""
    said = texts(found)
    return [said[row["question"]] for row in found["turns"]]


def check_prompts_grow(door: Door) -> None:
    """Each turn's prompt begins with that of the turn before it: no prefix is ever computed twice."""
    prompts = [window.messages for window in door.scripted.prompts]
    for before, after in itertools.pairwise(prompts):
        assert after[: len(before)] == before
        assert len(after) == len(before) + 2


def check_refused(response: aiohttp.ClientResponse, body: Any) -> None:
    assert response.status == 409
    assert response.headers["retry-after"] == "1"
    assert (body["error"]["code"], body["error"]["param"]) == ("conversation_locked", "conversation")
    assert "palaver-turn" not in response.headers


class TestQueue:
    class TestWithRoom:
        @pytest.fixture
        def settings(self) -> ChatSettings:
            return ChatSettings(max_waiting=CLIENTS)

        async def test_all_at_once_are_one_line(self, door: Door, tmp_path: Path) -> None:
            answers = await crowd(door)
            assert {response.status for response, _ in answers} == {200}
            found = rows(tmp_path)
            line = path(found)
            assert len(line) == len(found["messages"]) == 2 * CLIENTS
            assert line[::2] == asked(found)
            assert sorted(line[::2]) == sorted(f"I am {i}." for i in range(CLIENTS))
            heard = {
                f"I am {i}.": body["choices"][0]["message"]["content"] for i, (_, body) in enumerate(answers)
            }
            assert [heard[question] for question in line[::2]] == line[1::2]
            assert len(door.scripted.prompts) == CLIENTS
            check_prompts_grow(door)

        async def test_one_after_the_other_are_answered_so(self, door: Door, tmp_path: Path) -> None:
            asking = []
            async with held(door):
                for i in range(CLIENTS):
                    asking.append(asyncio.create_task(say(door, f"I am {i}.")))
                    await until(lambda count=i + 2: len(rows(tmp_path)["turns"]) == count)  # type: ignore[misc]
                assert not any(task.done() for task in asking)
                states = [row["state"] for row in rows(tmp_path)["turns"]]
                assert states == [TurnState.RUNNING] + [TurnState.QUEUED] * CLIENTS
            assert {response.status for response, _ in await asyncio.gather(*asking)} == {200}
            found = rows(tmp_path)
            line = path(found)
            assert line[::2] == ["Hold on.", *(f"I am {i}." for i in range(CLIENTS))]
            assert len(found["messages"]) == len(line)
            check_prompts_grow(door)

        async def test_streams_wait_as_well(self, door: Door, tmp_path: Path) -> None:
            answers = await crowd(door, stream=True)
            assert {response.status for response, _ in answers} == {200}
            assert all(body.endswith("data: [DONE]\n\n") for _, body in answers)
            assert len(path(rows(tmp_path))) == 2 * CLIENTS

    async def test_the_surplus_is_told_to_come_again(self, door: Door, tmp_path: Path) -> None:
        limit = door.chat.settings.max_waiting
        async with held(door):
            asking = [asyncio.create_task(say(door, f"I am {i}.")) for i in range(CLIENTS)]
            await until(lambda: sum(task.done() for task in asking) == CLIENTS - limit)
        answers = await asyncio.gather(*asking)
        served = [body for response, body in answers if response.status == 200]
        for response, body in answers:
            if response.status != 200:
                check_refused(response, body)
        assert len(served) == limit
        found = rows(tmp_path)
        assert len(path(found)) == len(found["messages"]) == 2 * (limit + 1)
        assert len(found["turns"]) == limit + 1

    async def test_the_sdk_s_own_retries_bring_all_of_them_through(self, door: Door, tmp_path: Path) -> None:
        async with openai.AsyncOpenAI(
            base_url=door.address + "/v1", api_key="any", max_retries=CLIENTS
        ) as client:

            async def ask(i: int) -> str:
                answer = await client.chat.completions.create(
                    model="scripted",
                    messages=[{"role": "user", "content": f"I am {i}."}],
                    extra_body={"conversation": "room", "parent": "head"},
                )
                return answer.choices[0].message.content or ""

            heard = await asyncio.gather(*(ask(i) for i in range(CLIENTS)))
        found = rows(tmp_path)
        line = path(found)
        assert line[::2] == asked(found)
        assert dict(zip(line[::2], line[1::2], strict=True)) == {
            f"I am {i}.": text for i, text in enumerate(heard)
        }
        assert len(found["messages"]) == 2 * CLIENTS
        check_prompts_grow(door)


class TestBranch:
    async def test_all_are_answered_at_once(self, door: Door, tmp_path: Path) -> None:
        await say(door, FIRST)
        async with held(door):
            answers = await crowd(door, concurrency="branch")
            assert {response.status for response, _ in answers} == {200}
        found = rows(tmp_path)
        said, messages = texts(found), {row["seq"]: row for row in found["messages"]}
        (root,) = [row for row in found["messages"] if row["parent"] is None]
        (reply,) = [row for row in found["messages"] if row["parent"] == root["seq"]]
        beside = [row for row in found["messages"] if row["parent"] == reply["seq"]]
        assert sorted(said[row["seq"]] for row in beside) == sorted(
            ["Hold on.", *(f"I am {i}." for i in range(CLIENTS))]
        )
        answered = {
            said[messages[row["seq"]]["parent"]]: said[row["seq"]] for row in found["messages"] if row["turn"]
        }
        for i, (_, body) in enumerate(answers):
            assert answered[f"I am {i}."] == body["choices"][0]["message"]["content"]
        assert len(found["messages"]) == 2 + 2 * (CLIENTS + 1)
        for window in door.scripted.prompts[1:]:
            assert [message.text for message in window.messages][:2] == [FIRST, said[reply["seq"]]]
            assert len(window.messages) == 3


class TestReject:
    async def test_one_is_answered_and_nothing_is_kept_of_the_others(
        self, door: Door, tmp_path: Path
    ) -> None:
        async with held(door):
            await until(
                lambda: bool(rows(tmp_path)["epochs"])
            )  # what the held turn shows is noted while it runs
            before = rows(tmp_path)
            answers = await crowd(door, concurrency="reject")
            for response, body in answers:
                check_refused(response, body)
            assert rows(tmp_path) == before
        assert path(rows(tmp_path)) == ["Hold on.", "held"]

    async def test_of_all_at_once_one_is_answered(self, door: Door, tmp_path: Path) -> None:
        more = {"model": "test/hand", "concurrency": "reject"}
        asking = [asyncio.create_task(say(door, f"I am {i}.", **more)) for i in range(CLIENTS)]
        await until(lambda: sum(task.done() for task in asking) == CLIENTS - 1)
        door.hand.put(ContentDelta("Nobody else spoke."), Finish("stop"))
        answers = await asyncio.gather(*asking)
        for response, body in answers:
            if response.status != 200:
                check_refused(response, body)
        assert [response.status for response, _ in answers].count(200) == 1
        found = rows(tmp_path)
        assert (len(found["messages"]), len(found["turns"])) == (2, 1)


class TestExactParents:
    async def test_they_never_wait(self, door: Door, tmp_path: Path) -> None:
        _, first = await say(door, FIRST)
        reply = first["choices"][0]["message"]["content"]
        (question, answer) = rows(tmp_path)["messages"]
        history = [{"role": "user", "content": FIRST}, {"role": "assistant", "content": reply}]
        async with held(door):
            waits = asyncio.create_task(say(door, "I wait."))
            await until(lambda: len(rows(tmp_path)["turns"]) == 3)
            edits = [door.ask(f"edit {i}", parent=answer["id"]) for i in range(CLIENTS)]
            again = [door.ask(messages=[], parent=question["id"]) for _ in range(3)]
            resent = [
                door.ask(messages=[*history, {"role": "user", "content": f"resent {i}"}], conversation=named)
                for i, named in enumerate(["room", None, "room", None])
            ]
            answers = await asyncio.gather(*edits, *again, *resent)
            assert {response.status for response, _ in answers} == {200}
            assert not waits.done()
        response, _ = await waits
        assert response.status == 200
        found = rows(tmp_path)
        below = [row for row in found["messages"] if row["parent"] == answer["seq"]]
        assert len(below) == 1 + CLIENTS + 4 + ("I wait." in [texts(found)[row["seq"]] for row in below])
        assert len([row for row in found["messages"] if row["parent"] == question["seq"]]) == 1 + 3
