"""What the input of a response becomes: messages, instructions for once, and what stays; and what the model sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from palaver.core.errors import EngineBroke
from palaver.core.turn import TurnState
from palaver.engines.base import SAMPLING
from tests.server.conftest import Door, HandEngine, opened
from tests.server.responding import (
    ROUTE,
    body_of,
    by_hand,
    found,
    input_items,
    path_of,
    refused,
    respond,
    says,
    sent_again,
    shown,
    text_of,
)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def developer(text: str) -> dict[str, Any]:
    return {"role": "developer", "content": text}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


class TestForms:
    @pytest.mark.parametrize(
        "input",
        [
            "Hi",
            [user("Hi")],
            [{"type": "message", "role": "user", "content": "Hi", "status": "completed", "id": "msg_1"}],
            [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
        ],
        ids=["text", "short", "message", "parts"],
    )
    async def test_a_question_in_any_form(self, door: Door, input: Any) -> None:
        body = await by_hand(door, input)
        assert shown(door.hand.windows[0]) == [("user", "Hi")]
        [item] = await input_items(door, body["id"])
        assert (item["type"], item["role"], item["status"]) == ("message", "user", "completed")
        assert item["content"] == [{"type": "input_text", "text": "Hi"}]

    async def test_several_parts_stay_apart(self, door: Door) -> None:
        parts = [{"type": "input_text", "text": "One"}, {"type": "input_text", "text": "Two"}]
        body = await respond(door, [{"role": "user", "content": parts}])
        [item] = await input_items(door, body["id"])
        assert item["content"] == parts

    async def test_several_messages_are_a_path(self, door: Door) -> None:
        items = [user("One"), {"role": "assistant", "content": "Said elsewhere"}, user("Two"), user("Three")]
        body = await by_hand(door, items)
        roles = ["user", "assistant", "user", "user", "assistant"]
        assert [role for role, _ in await path_of(door, body["conversation"]["id"])] == roles
        given = await input_items(door, body["id"])
        assert [item["content"][0]["text"] for item in given] == ["One", "Said elsewhere", "Two", "Three"]
        assert [item["content"][0]["type"] for item in given][:2] == ["input_text", "output_text"]

    async def test_items_that_are_named_are_shown_whole(self, door: Door) -> None:
        body = await respond(door, "One")
        [asked] = await input_items(door, body["id"])
        reference = {"type": "item_reference", "id": body["output"][0]["id"]}
        more = await by_hand(door, [{"id": asked["id"]}, reference, user("Two")])
        assert shown(door.hand.windows[0]) == [("user", "One"), ("assistant", text_of(body)), ("user", "Two")]
        assert more["conversation"] == body["conversation"]

    async def test_of_a_reply_that_still_runs(self, door: Door) -> None:
        """A client that left names what it heard before it is stored."""
        running = await respond(door, "One", model="test/hand", background=True)
        body = body_of([user("One"), {"id": running["id"].replace("resp_", "msg_")}, user("Two")])
        await refused(door, body, "input[1].id", "turn_running", 409)
        says(door, "Yes")
        while (await found(door, running["id"]))["status"] != "completed":
            pass
        assert (await respond(door, body["input"]))["conversation"] == running["conversation"]

    @pytest.mark.parametrize("input", [None, []])
    async def test_without_anything_new_what_was_cut_off_goes_on(self, tmp_path: Path, input: Any) -> None:
        async with opened(tmp_path, hand=HandEngine(SAMPLING | {"prefill"})) as door:
            says(door, "Once upon", reason="length")
            cut = await respond(door, "Tell", model="test/hand")
            says(door, " a time.")
            whole = await respond(door, input, model="test/hand", previous_response_id=cut["id"])
            assert text_of(whole) == "Once upon a time."
            assert shown(door.hand.windows[1]) == [("user", "Tell"), ("assistant", "Once upon")]
            assert await input_items(door, whole["id"]) == []
            asked = {"model": "scripted", "input": input, "previous_response_id": whole["id"]}
            assert "cut off" in await refused(door, asked, "input")
            assert await found(door, whole["id"]) == whole

    async def test_without_anything_new_what_has_no_answer_gets_one(self, door: Door) -> None:
        door.hand.put(EngineBroke())
        answered, _ = await door.post(ROUTE, {"model": "test/hand", "input": "One"})
        failed = answered.headers["palaver-turn"]
        body = await by_hand(door, None, previous_response_id=failed)
        assert (text_of(body), shown(door.hand.windows[1])) == ("Yes", [("user", "One")])


class TestInputItems:
    async def test_page_by_page(self, door: Door) -> None:
        body = await respond(door, [user(str(i)) for i in range(5)])
        ids = [item["id"] for item in await input_items(door, body["id"])]
        assert len(set(ids)) == 5
        assert [item["id"] for item in await input_items(door, body["id"], "")] == ids[::-1]
        seen: list[str] = []
        query = "order=asc&limit=2"
        while True:
            _, page = await door.get(f"{ROUTE}/{body['id']}/input_items?{query}")
            assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
            seen += [item["id"] for item in page["data"]]
            if not page["has_more"]:
                break
            query = f"order=asc&limit=2&after={page['last_id']}"
        assert seen == ids
        assert await input_items(door, body["id"], f"order=asc&after={ids[-1]}") == []

    async def test_only_what_it_was_sent_itself(self, door: Door) -> None:
        first = await respond(door, [user("One"), user("Two")])
        second = await respond(door, [user("Three"), user("Four")], previous_response_id=first["id"])
        texts = [item["content"][0]["text"] for item in await input_items(door, second["id"])]
        assert texts == ["Three", "Four"]

    @pytest.mark.parametrize(
        ("query", "param"),
        [
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("order=up", "order"),
            ("include[]=x", "include[0]"),
            ("after=msg_1", "after"),
            ("after={output}", "after"),
        ],
    )
    async def test_bad_queries(self, door: Door, query: str, param: str) -> None:
        body = await respond(door)
        query = query.format(output=body["output"][0]["id"])
        answered, error = await door.get(f"{ROUTE}/{body['id']}/input_items?{query}")
        assert (answered.status, error["error"]["param"]) == (400, param)

    async def test_of_one_that_waits(self, door: Door) -> None:
        first = await respond(door, "One", model="test/hand", conversation="room", background=True)
        waits = await respond(
            door,
            [developer("Be kind."), user("Two")],
            model="test/hand",
            conversation="room",
            background=True,
            instructions="Be brief.",
        )
        turn = waits["id"].replace("resp_", "turn_")
        assert (await door.chat.store.turn("local", turn)).state is TurnState.QUEUED
        given = await input_items(door, waits["id"])
        assert [(item["role"], item["content"][0]["text"]) for item in given] == [
            ("developer", "Be kind."),
            ("user", "Two"),
        ]
        queued = await found(door, waits["id"])
        assert (queued["status"], queued["instructions"], queued["output"]) == ("queued", "Be brief.", [])
        for response in (first, waits):
            await door.post(f"{ROUTE}/{response['id']}/cancel")
        after = await input_items(door, waits["id"])
        assert [item["content"] for item in after] == [item["content"] for item in given]
        assert {item["id"] for item in after}.isdisjoint({item["id"] for item in given})

    async def test_instructions_that_were_sent_as_items(self, door: Door) -> None:
        body = await respond(
            door, [system("Be kind."), developer("Be brief."), user("Hi")], instructions="Once."
        )
        given = await input_items(door, body["id"])
        assert [(item["role"], item["content"][0]["text"]) for item in given] == [
            ("system", "Be kind."),
            ("developer", "Be brief."),
            ("user", "Hi"),
        ]
        ids = [item["id"] for item in given]
        assert len(set(ids)) == 3
        assert [
            item["id"] for item in await input_items(door, body["id"], f"order=asc&after={ids[0]}")
        ] == ids[1:]
        again = await respond(door, [*sent_again(given), *sent_again(body["output"]), user("More")])
        assert again["conversation"] == body["conversation"]


class TestInstructions:
    async def test_they_are_for_one_response(self, door: Door) -> None:
        first = await by_hand(door, "One", instructions="Be kind.")
        second = await by_hand(door, "Two", previous_response_id=first["id"])
        third = await by_hand(door, "Three", previous_response_id=second["id"], instructions="Be brief.")
        path = [
            ("user", "One"),
            ("assistant", "Yes"),
            ("user", "Two"),
            ("assistant", "Yes"),
            ("user", "Three"),
        ]
        assert [shown(window) for window in door.hand.windows] == [
            [("system", "Be kind."), *path[:1]],
            path[:3],
            [("system", "Be brief."), *path],
        ]
        assert [(await found(door, each["id"]))["instructions"] for each in (first, second, third)] == [
            "Be kind.",
            None,
            "Be brief.",
        ]

    async def test_those_of_a_chat_completion_stay(self, door: Door) -> None:
        history = [system("Be kind."), user("One")]
        _, chat = await door.post("/v1/chat/completions", {"model": "scripted", "messages": history})
        said = chat["choices"][0]["message"]["content"]
        await by_hand(door, "Two", previous_response_id=chat["id"])
        await by_hand(door, "Two", previous_response_id=chat["id"], instructions="Be brief.")
        path = [("user", "One"), ("assistant", said), ("user", "Two")]
        assert shown(door.hand.windows[0]) == [("system", "Be kind."), *path]
        assert shown(door.hand.windows[1]) == [("system", "Be brief."), ("system", "Be kind."), *path]

    async def test_in_a_history_developers_speak_as_instructions(self, door: Door) -> None:
        """Many clients put the time of day there: it would begin a conversation each time."""
        first = await by_hand(door, [developer("It is noon."), user("One")], instructions="Be brief.")
        said = sent_again(first["output"])
        more = await by_hand(door, [developer("It is one."), user("One"), *said, user("Two")])
        assert more["conversation"] == first["conversation"]
        assert await path_of(door, first["conversation"]["id"]) == [
            ("user", "One"),
            ("assistant", "Yes"),
            ("user", "Two"),
            ("assistant", "Yes"),
        ]
        assert shown(door.hand.windows[0])[:2] == [("system", "Be brief."), ("developer", "It is noon.")]
        assert shown(door.hand.windows[1])[0] == ("developer", "It is one.")
        below = await by_hand(door, "Three", previous_response_id=more["id"])
        assert shown(door.hand.windows[2])[0] == ("developer", "It is one.")
        assert below["instructions"] is None

    async def test_in_a_conversation_developers_speak_where_they_do(self, door: Door) -> None:
        first = await by_hand(door, [developer("Be kind."), user("One")], conversation="room")
        await by_hand(door, [developer("Be brief."), user("Two")], conversation="room", instructions="Once.")
        path = [
            ("developer", "Be kind."),
            ("user", "One"),
            ("assistant", "Yes"),
            ("developer", "Be brief."),
            ("user", "Two"),
            ("assistant", "Yes"),
        ]
        assert await path_of(door, first["conversation"]["id"]) == path
        assert shown(door.hand.windows[1]) == [("system", "Once."), *path[:-1]]

    async def test_below_a_response_developers_speak_where_they_do(self, door: Door) -> None:
        first = await by_hand(door, "One")
        second = await by_hand(door, [developer("Be brief."), user("Two")], previous_response_id=first["id"])
        await by_hand(door, "Three", previous_response_id=second["id"])
        assert shown(door.hand.windows[2]) == [
            ("user", "One"),
            ("assistant", "Yes"),
            ("developer", "Be brief."),
            ("user", "Two"),
            ("assistant", "Yes"),
            ("user", "Three"),
        ]
