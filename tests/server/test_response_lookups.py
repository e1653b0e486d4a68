"""Responses that are looked up, heard again by the SDK, and deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest

from tests.server.conftest import Door
from tests.server.event_rules import heard
from tests.server.responding import (
    NOBODYS,
    ROUTE,
    by_hand,
    client_of,
    events_of,
    found,
    path_of,
    respond,
    text_of,
)
from tests.server.test_deletion import delete


@pytest.fixture
async def sdk(door: Door) -> AsyncIterator[openai.AsyncOpenAI]:
    async with client_of(door) as client:
        yield client


class TestLookingUp:
    async def test_by_any_form_of_a_turns_id(self, door: Door) -> None:
        body = await respond(door)
        for prefix in ("turn_", "chatcmpl-"):
            assert await found(door, body["id"].replace("resp_", prefix)) == body

    async def test_of_the_other_door(self, door: Door, sdk: openai.AsyncOpenAI) -> None:
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
        _, chat = await door.post("/v1/chat/completions", {"model": "scripted", "messages": messages})
        response = await sdk.responses.retrieve(chat["id"])
        assert response.output_text == chat["choices"][0]["message"]["content"]
        assert (response.status, response.instructions) == ("completed", None)
        assert heard(await events_of(door, response.id)).said == [response.output_text]
        items = [item.to_dict() async for item in sdk.responses.input_items.list(response.id, order="asc")]
        assert [item["role"] for item in items] == ["user"]
        other, shown = await door.get(f"/v1/chat/completions/{(await respond(door))['id']}")
        assert (other.status, shown["object"]) == (200, "chat.completion")

    @pytest.mark.parametrize("id", [f"resp_{NOBODYS}", "resp_1", f"msg_{NOBODYS}", "x"])
    async def test_what_is_not_there(self, door: Door, id: str) -> None:
        for suffix in ("", "?stream=true", "/input_items"):
            answered, error = await door.get(f"{ROUTE}/{id}{suffix}")
            assert (answered.status, error["error"]["code"]) == (404, "turn_not_found")
        assert (await door.post(f"{ROUTE}/{id}/cancel"))[0].status == 404
        assert (await delete(door, f"{ROUTE}/{id}"))[0] == 404

    @pytest.mark.parametrize(
        ("query", "param"),
        [
            ("stream=maybe", "stream"),
            ("starting_after=-1", "starting_after"),
            ("starting_after=x&stream=true", "starting_after"),
            ("include[]=all", "include[0]"),
        ],
    )
    async def test_queries_that_say_nothing(self, door: Door, query: str, param: str) -> None:
        body = await respond(door)
        answered, error = await door.get(f"{ROUTE}/{body['id']}?{query}")
        assert (answered.status, error["error"]["param"]) == (400, param)

    async def test_includes_are_taken(self, door: Door) -> None:
        body = await respond(door)
        query = "include[]=message.output_text.logprobs&include=reasoning.encrypted_content"
        assert (await door.get(f"{ROUTE}/{body['id']}?{query}"))[1] == body

    async def test_the_sdk_streams_what_is_stored(self, sdk: openai.AsyncOpenAI) -> None:
        async with sdk.responses.stream(model="scripted", input="Hi") as stream:
            whole = [event async for event in stream]
            final = await stream.get_final_response()
        async with sdk.responses.stream(response_id=final.id, starting_after=4) as again:
            assert [event.sequence_number async for event in again] == list(range(5, len(whole)))
            assert (await again.get_final_response()).output_text == final.output_text


class TestDeleting:
    async def test_a_response_goes_with_its_question(self, door: Door, sdk: openai.AsyncOpenAI) -> None:
        first = await respond(door, "One")
        second = await respond(door, "Two", previous_response_id=first["id"], metadata={"a": "b"})
        await sdk.responses.delete(second["id"])
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.retrieve(second["id"])
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.delete(second["id"])
        path = await path_of(door, first["conversation"]["id"])
        assert path == [("user", "One"), ("assistant", text_of(first))]

    async def test_its_shape(self, door: Door) -> None:
        body = await respond(door)
        status, told = await delete(door, f"{ROUTE}/{body['id']}")
        assert (status, told) == (200, {"id": body["id"], "object": "response", "deleted": True})

    async def test_what_others_go_on_from_leaves_an_empty_place(self, door: Door) -> None:
        first = await respond(door, "One", instructions="Secretly.")
        second = await respond(door, "Two", previous_response_id=first["id"])
        assert (await delete(door, f"{ROUTE}/{first['id']}"))[0] == 200
        for suffix in ("", "?stream=true"):
            answered, error = await door.get(f"{ROUTE}/{first['id']}{suffix}")
            assert (answered.status, error["error"]["code"]) == (404, "message_deleted")
        assert await found(door, second["id"]) == second
        third = await by_hand(door, "Three", previous_response_id=second["id"])
        texts = [text for _, text in [(m.role, m.text) for m in door.hand.windows[0].messages]]
        assert texts == ["One", "Two", text_of(second), "Three"]
        assert third["status"] == "completed"

    async def test_one_that_runs_is_stopped(self, door: Door) -> None:
        body = await respond(door, model="test/hand", background=True)
        await door.hand.began.wait()
        assert (await delete(door, f"{ROUTE}/{body['id']}"))[0] == 200
        assert (await door.get(f"{ROUTE}/{body['id']}"))[0].status == 404
        assert not door.chat._running
