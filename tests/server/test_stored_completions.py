"""Stored chat completions: lists of them, notes kept with them, and what they were asked with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from palaver.core.turn import Accepted, ContentDelta, Finish, TurnState
from palaver.server.app import ServerSettings
from tests.server.conftest import Door, opened
from tests.server.test_deletion import delete

ROUTE = "/v1/chat/completions"
FOREIGN = "chatcmpl-01arz3ndektsv4rrffq69g5fav"


@pytest.fixture
async def sdk(door: Door) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=door.address + "/v1", api_key="any", _strict_response_validation=True
    ) as client:
        yield client


async def asked(door: Door, text: str, **more: Any) -> str:
    """The id of a reply to one question."""
    response, body = await door.ask(text, **more)
    assert response.status == 200, body
    id: str = body["id"]
    return id


async def listed(door: Door, query: str = "") -> list[str]:
    response, body = await door.get(f"{ROUTE}?{query}")
    assert response.status == 200, body
    assert body["object"] == "list"
    ids = [each["id"] for each in body["data"]]
    assert (body["first_id"], body["last_id"]) == ((ids[0], ids[-1]) if ids else ("", ""))
    return ids


async def refused(door: Door, path: str, param: str) -> None:
    response, body = await door.get(path)
    assert response.status == 400, body
    assert body["error"]["param"] == param


class TestLists:
    async def test_the_sdk_goes_through_all_of_them(self, door: Door, sdk: openai.AsyncOpenAI) -> None:
        ids = [await asked(door, f"q{i}", metadata={"i": str(i % 2)}) for i in range(5)]
        for limit in (1, 2, 5, 100):
            seen = [each async for each in sdk.chat.completions.list(limit=limit)]
            assert [each.id for each in seen] == ids
            back = [each.id async for each in sdk.chat.completions.list(limit=limit, order="desc")]
            assert back == ids[::-1]
        odd = [each async for each in sdk.chat.completions.list(metadata={"i": "1"}, limit=1)]
        assert [each.id for each in odd] == [ids[1], ids[3]]
        assert [each.to_dict()["metadata"] for each in odd] == [{"i": "1"}] * 2
        assert odd[0].choices[0].message.content
        assert [each.id async for each in sdk.chat.completions.list(after=ids[3])] == ids[4:]
        assert [each.id async for each in sdk.chat.completions.list(model="other")] == []

    async def test_all_that_is_kept_is_there(self, door: Door) -> None:
        kept = [await asked(door, "one"), await asked(door, "two", store=True)]
        await asked(door, "three", store=False)
        kept.append(await asked(door, "four", conversation="notes", stream=False))
        assert await listed(door) == kept

    async def test_by_model_as_it_was_asked_for_or_as_it_answered(self, door: Door) -> None:
        alias, own = await asked(door, "one", model="gpt"), await asked(door, "two")
        door.hand.put(Accepted(), ContentDelta("yes"), Finish("stop"))
        other = await asked(door, "three", model="test/hand")
        assert await listed(door, "model=scripted") == [alias, own]
        assert await listed(door, "model=gpt") == [alias]
        assert await listed(door, "model=test%2Fhand") == [other]

    async def test_by_several_notes_at_once_however_they_are_written(self, door: Door) -> None:
        one = await asked(door, "one", metadata={"a b": "1&2", "c]": "ü"})
        await asked(door, "two", metadata={"a b": "1&2"})
        written = "metadata%5Ba+b%5D=1%262&metadata[c]]=%C3%BC"
        assert await listed(door, written) == [one]
        assert len(await listed(door, "metadata[a%20b]=1%262")) == 2
        assert await listed(door, "metadata[a%20b]=1") == []

    async def test_what_is_not_whole(self, door: Door) -> None:
        door.hand.put(Accepted(), ContentDelta("some"))
        body = {
            "model": "test/hand",
            "messages": [{"role": "user", "content": "x"}],
            "stream": True,
        }
        async with door.http.post(door.address + ROUTE, json=body) as response:
            turn = response.headers["palaver-turn"]
            assert await listed(door) == []
            await door.post(f"{ROUTE}/{turn}/cancel", {})
        await door.until_ended(turn, TurnState.CANCELLED)
        _, page = await door.get(ROUTE)
        assert [each["status"] for each in page["data"]] == ["cancelled"]
        assert page["data"][0]["choices"][0]["message"]["content"] == "some"

    async def test_deleted_ones_are_not_there(self, door: Door, sdk: openai.AsyncOpenAI) -> None:
        ids = [await asked(door, f"q{i}") for i in range(3)]
        assert (await sdk.chat.completions.delete(ids[1])).deleted
        assert await listed(door) == [ids[0], ids[2]]
        for path in (f"{ROUTE}/{ids[1]}", f"{ROUTE}/{ids[1]}/messages"):
            assert (await door.get(path))[0].status == 404
        assert (await door.post(f"{ROUTE}/{ids[1]}", {"metadata": {}}))[0].status == 404
        await refused(door, f"{ROUTE}?after={ids[1]}", "after")

    @pytest.mark.parametrize(
        ("query", "param"),
        [
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit=x", "limit"),
            ("order=up", "order"),
            ("after=nothing", "after"),
            ("after=conv_01arz3ndektsv4rrffq69g5fav", "after"),
            (f"after={FOREIGN}", "after"),
            ("metadata=x", "metadata"),
            ("metadata[a=x", "metadata"),
            (f"metadata[a]={'x' * 513}", "metadata[...]"),
            ("&".join(f"metadata[{i}]=x" for i in range(17)), "metadata"),
        ],
    )
    async def test_bad_queries(self, door: Door, query: str, param: str) -> None:
        await asked(door, "one")
        response, body = await door.get(f"{ROUTE}?{query}")
        assert response.status == 400
        assert body["error"]["param"] in (param, param.removesuffix("[...]"))


class TestNotes:
    async def test_they_are_kept_shown_and_changed(self, door: Door, sdk: openai.AsyncOpenAI) -> None:
        id = await asked(door, "one", metadata={"a": "1"})
        assert (await sdk.chat.completions.retrieve(id)).to_dict()["metadata"] == {"a": "1"}
        changed = await sdk.chat.completions.update(id, metadata={"b": "2"})
        assert changed.to_dict()["metadata"] == {"b": "2"}
        assert changed == await sdk.chat.completions.retrieve(id)
        assert await listed(door, "metadata[b]=2") == [id]
        response, body = await door.post(f"{ROUTE}/{id.replace('chatcmpl-', 'turn_')}", {"metadata": {}})
        assert (response.status, body["metadata"], body["id"]) == (200, {}, id)
        await sdk.chat.completions.update(id, metadata={"c": "3"})
        assert (await sdk.chat.completions.update(id, metadata=None)).to_dict()["metadata"] == {}

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({}, "metadata"),
            ({"metadata": {"a": 1}}, "metadata"),
            ({"metadata": {"a": "x" * 513}}, "metadata"),
            ({"metadata": {"a" * 65: "x"}}, "metadata"),
            ({"metadata": {str(i): "" for i in range(17)}}, "metadata"),
            ({"metadata": "x"}, "metadata"),
            ([], None),
        ],
    )
    async def test_bad_bodies(self, door: Door, body: Any, param: str | None) -> None:
        id = await asked(door, "one", metadata={"a": "1"})
        response, refusal = await door.post(f"{ROUTE}/{id}", body)
        assert response.status == 400
        assert (refusal["error"]["param"] or "").partition("[")[0] == (param or "")
        assert (await door.get(f"{ROUTE}/{id}"))[1]["metadata"] == {"a": "1"}

    async def test_a_turn_that_runs_is_to_be_asked_for_again(self, door: Door) -> None:
        door.hand.put(Accepted(), ContentDelta("some"))
        body = {"model": "test/hand", "messages": [{"role": "user", "content": "x"}], "stream": True}
        async with door.http.post(door.address + ROUTE, json=body) as response:
            turn = response.headers["palaver-turn"]
            for refusal, _ in (
                await door.get(f"{ROUTE}/{turn}"),
                await door.get(f"{ROUTE}/{turn}/messages"),
                await door.post(f"{ROUTE}/{turn}", {"metadata": {}}),
            ):
                assert (refusal.status, "retry-after" in refusal.headers) == (409, True)
            door.hand.put(Finish("stop"))
            await response.read()

    @pytest.mark.parametrize("id", [FOREIGN, "nothing", "msg_01arz3ndektsv4rrffq69g5fav"])
    async def test_what_is_not_there(self, door: Door, id: str) -> None:
        for response, body in (
            await door.get(f"{ROUTE}/{id}"),
            await door.get(f"{ROUTE}/{id}/messages"),
            await door.post(f"{ROUTE}/{id}", {"metadata": {}}),
        ):
            assert (response.status, body["error"]["code"]) == (404, "turn_not_found")

    async def test_another_owners_are_not_there(self, tmp_path: Path) -> None:
        async with opened(tmp_path, ServerSettings(local_key="mine", require_key=True)) as door:
            mine = {"authorization": "Bearer mine"}
            asked = {"name": "b", "owner": "bob", "scopes": ["chat", "read", "write"]}
            _, made = await door.post("/v1/keys", asked, mine)
            theirs = {"authorization": f"Bearer {made['key']}"}
            body = {"model": "scripted", "messages": [{"role": "user", "content": "x"}]}
            _, reply = await door.post(ROUTE, body, mine)
            for response, _ in (
                await door.get(f"{ROUTE}/{reply['id']}", theirs),
                await door.get(f"{ROUTE}/{reply['id']}/messages", theirs),
                await door.post(f"{ROUTE}/{reply['id']}", {"metadata": {}}, theirs),
            ):
                assert response.status == 404
            assert (await delete(door, f"{ROUTE}/{reply['id']}", **theirs))[0] == 404
            assert (await door.get(ROUTE, theirs))[1]["data"] == []
            assert (await door.get(f"{ROUTE}?after={reply['id']}", theirs))[0].status == 400
            assert len((await door.get(ROUTE, mine))[1]["data"]) == 1
