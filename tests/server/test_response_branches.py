"""Where responses go on: below any turn, at the head of a conversation, or where a resent history was left off; on both
doors."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.conftest import Door
from tests.server.responding import (
    NOBODYS,
    ROUTE,
    by_hand,
    input_items,
    path_of,
    refused,
    respond,
    sent_again,
    shown,
    text_of,
)
from tests.server.test_deletion import delete

CHAT = "/v1/chat/completions"


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


async def chat(door: Door, messages: list[dict[str, Any]], **more: Any) -> tuple[str, str, str]:
    """A chat completion of the scripted model: its text, its id, its conversation."""
    answered, body = await door.post(CHAT, {"model": "scripted", "messages": messages, **more})
    assert answered.status == 200, body
    return body["choices"][0]["message"]["content"], body["id"], answered.headers["palaver-conversation"]


async def conversations(door: Door) -> int:
    return len(await door.chat.store.conversations("local", one_shots=True, limit=100))


class TestPrevious:
    async def test_each_turn_is_a_place_to_branch(self, door: Door) -> None:
        turns = [await respond(door, "0")]
        for i in range(1, 4):
            turns.append(await respond(door, str(i), previous_response_id=turns[-1]["id"]))
        conversation = turns[0]["conversation"]
        for place, turn in enumerate(turns):
            branch = await by_hand(door, "branch", previous_response_id=turn["id"])
            assert (branch["conversation"], branch["previous_response_id"]) == (conversation, turn["id"])
            path = [
                step
                for i in range(place + 1)
                for step in (("user", str(i)), ("assistant", text_of(turns[i])))
            ]
            assert shown(door.hand.windows[-1]) == [*path, ("user", "branch")]
        assert await conversations(door) == 1
        further = await by_hand(door, "further", previous_response_id=branch["id"])
        assert shown(door.hand.windows[-1])[-3:] == [
            ("user", "branch"),
            ("assistant", "Yes"),
            ("user", "further"),
        ]
        assert further["conversation"] == conversation

    @pytest.mark.parametrize("prefix", ["resp_", "turn_", "chatcmpl-"])
    async def test_any_form_of_a_turns_id_will_do(self, door: Door, prefix: str) -> None:
        first = await respond(door, "One")
        id = first["id"].replace("resp_", prefix)
        second = await respond(door, "Two", previous_response_id=id)
        assert (second["conversation"], second["previous_response_id"]) == (first["conversation"], id)

    async def test_two_at_once_below_one_do_not_wait(self, door: Door) -> None:
        first = await respond(door, "One")
        running = await respond(
            door, "Two", model="test/hand", previous_response_id=first["id"], background=True
        )
        other = await respond(door, "Three", previous_response_id=first["id"])
        assert (other["status"], other["conversation"]) == ("completed", first["conversation"])
        asked = {"model": "scripted", "input": "x", "previous_response_id": running["id"]}
        await refused(door, asked, "previous_response_id", "turn_running", 409)
        answered, _ = await door.post(ROUTE, asked)
        assert answered.headers["retry-after"] == "1"

    async def test_below_what_was_deleted(self, door: Door) -> None:
        first = await respond(door, "One")
        await respond(door, "Two", previous_response_id=first["id"])
        await delete(door, f"{ROUTE}/{first['id']}")
        for gone in (first["id"], f"resp_{NOBODYS}"):
            asked = {"model": "scripted", "input": "x", "previous_response_id": gone}
            said = await refused(door, asked, "previous_response_id", "previous_response_not_found")
            assert said == f"Previous response with id '{gone}' not found."

    async def test_below_one_of_several_replies(self, door: Door) -> None:
        answered, body = await door.post(CHAT, {"model": "scripted", "messages": [user("One")], "n": 3})
        first = body["choices"][0]["message"]["content"]
        await by_hand(door, "Two", previous_response_id=body["id"])
        assert shown(door.hand.windows[0]) == [("user", "One"), ("assistant", first), ("user", "Two")]
        assert answered.status == 200

    async def test_a_resent_history_needs_no_name(self, door: Door) -> None:
        first = await respond(door, "One")
        history = [user("One"), *sent_again(first["output"]), user("Two")]
        second = await respond(door, history)
        assert (second["conversation"], second["previous_response_id"]) == (first["conversation"], None)
        branch = await respond(door, [*history[:-1], user("Other")])
        assert branch["conversation"] == first["conversation"]
        texts = [item["content"][0]["text"] for item in await input_items(door, branch["id"])]
        assert texts == ["One", text_of(first), "Other"]
        assert await conversations(door) == 1


class TestBothDoors:
    async def test_a_conversation_begun_by_chat_completions(self, door: Door) -> None:
        said, id, conversation = await chat(door, [user("One")])
        second = await respond(door, "Two", previous_response_id=id)
        third = await respond(door, "Three", conversation=conversation)
        assert second["conversation"] == third["conversation"] == {"id": conversation}
        path = [("user", "One"), ("assistant", said), ("user", "Two"), ("assistant", text_of(second))]
        assert (await path_of(door, conversation))[:4] == path
        history = [{"role": role, "content": text} for role, text in await path_of(door, conversation)]
        _, _, again = await chat(door, [*history, user("Four")])
        assert again == conversation
        assert len(await path_of(door, conversation)) == 8

    @pytest.mark.parametrize("instructions", [None, "Be brief."])
    async def test_a_conversation_begun_by_responses(self, door: Door, instructions: str | None) -> None:
        first = await respond(door, "One", instructions=instructions)
        second = await respond(door, "Two", previous_response_id=first["id"], instructions=instructions)
        conversation = first["conversation"]["id"]
        history = [{"role": role, "content": text} for role, text in await path_of(door, conversation)]
        for opening in (
            [],
            [{"role": "system", "content": "Be brief."}],
            [{"role": "developer", "content": "x"}],
        ):
            _, id, again = await chat(door, [*opening, *history, user(f"Three {len(opening)}")])
            assert again == conversation
        below = await by_hand(door, "Four", previous_response_id=id)
        assert shown(door.hand.windows[0])[0] == ("developer", "x"), "a chat completion's own are taken over"
        assert below["conversation"] == second["conversation"]

    async def test_a_conversation_that_begins_with_a_developer(self, door: Door) -> None:
        """There it is a message of the path; a chat completion that sends it again takes it for an instruction, and
        all the same it must find the place."""
        opening = {"role": "developer", "content": "Be kind."}
        first = await respond(door, [opening, user("One")], conversation="room")
        conversation = first["conversation"]["id"]
        assert [role for role, _ in await path_of(door, conversation)] == ["developer", "user", "assistant"]
        history = [opening, user("One"), {"role": "assistant", "content": text_of(first)}, user("Two")]
        _, _, named = await chat(door, history, conversation="room")
        assert named == conversation
        _, _, found = await chat(door, [*history[:-1], user("Three")])
        assert found == conversation
        path = await path_of(door, conversation)
        assert [text for role, text in path if role == "user"][:1] == ["One"]

    async def test_a_loop_of_ten_goes_over_both_doors(self, door: Door) -> None:
        history: list[dict[str, Any]] = []
        previous = None
        for i in range(10):
            if i % 2:
                body = await respond(door, f"q{i}", previous_response_id=previous)
                said, previous = text_of(body), body["id"]
            else:
                said, previous, _ = await chat(door, [*history, user(f"q{i}")])
            history += [user(f"q{i}"), {"role": "assistant", "content": said}]
        assert await conversations(door) == 1
        found, _, conversation = await chat(door, [*history, user("last")])
        path = await path_of(door, conversation)
        assert path[:-2] == [(message["role"], message["content"]) for message in history]
        assert path[-1] == ("assistant", found)


class TestNamed:
    async def test_by_id_by_name_and_by_header(self, door: Door) -> None:
        first = await respond(door, "One", conversation="room")
        id = first["conversation"]["id"]
        assert id.startswith("conv_")
        for more in ({"conversation": id}, {"conversation": {"id": "room"}}, {"conversation": {"id": id}}):
            assert (await respond(door, "More", **more))["conversation"] == {"id": id}
        for header in ("room", id):
            body = await respond(door, "More", {"palaver-conversation": header})
            assert body["conversation"] == {"id": id}
        assert [role for role, _ in await path_of(door, id)] == ["user", "assistant"] * 6
        assert (await respond(door, "x", {"palaver-conversation": "none"}))["conversation"] != {"id": id}

    async def test_one_that_was_made_with_items(self, door: Door) -> None:
        items = [
            {"role": "developer", "content": "Be kind."},
            user("Earlier"),
            {"role": "assistant", "content": "Ah."},
        ]
        answered, made = await door.post("/v1/conversations", {"items": items})
        assert answered.status == 200, made
        body = await by_hand(door, "Now", conversation=made["id"])
        assert body["conversation"] == {"id": made["id"]}
        assert shown(door.hand.windows[0]) == [
            ("developer", "Be kind."),
            ("user", "Earlier"),
            ("assistant", "Ah."),
            ("user", "Now"),
        ]

    async def test_it_goes_on_at_the_head(self, door: Door) -> None:
        first = await respond(door, "One", conversation="room")
        await respond(door, "Two", conversation="room")
        branch = await respond(door, "Other", previous_response_id=first["id"])
        head = await by_hand(door, "Three", conversation="room")
        assert head["conversation"] == branch["conversation"]
        texts = [text for _, text in shown(door.hand.windows[0])]
        assert texts[-1] == "Three"
        assert "Other" in texts, "the branch that was said last is the head"

    async def test_ids_of_nothing(self, door: Door) -> None:
        asked = {"model": "scripted", "input": "x", "conversation": f"conv_{NOBODYS}"}
        await refused(door, asked, "conversation", "conversation_not_found", 404)
        for name in (".", ".."):
            await refused(door, {**asked, "conversation": {"id": name}}, "conversation.id")

    async def test_a_temporary_one(self, door: Door) -> None:
        body = await respond(door, "One", temporary=True)
        [kept] = await door.chat.store.conversations("local", one_shots=True, temporary=True)
        assert kept.id == body["conversation"]["id"]
        assert kept.expires_at is not None
