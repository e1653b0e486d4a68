"""What clients that resend their history leave behind."""

from __future__ import annotations

import random
from typing import Any

import openai
import pytest
import together
from starlette.datastructures import Headers

from palaver.server.headers import header_text
from tests.server.conftest import Door

Messages = list[dict[str, Any]]


async def conversations(door: Door, **query: str) -> list[dict[str, Any]]:
    asked = "&".join(f"{k}={v}" for k, v in {"limit": "100", "include_tasks": "true", **query}.items())
    _, found = await door.get(f"/v1/conversations?{asked}")
    data: list[dict[str, Any]] = found["data"]
    return data


async def texts(door: Door, conversation: str) -> list[str]:
    """The conversation's messages, first to last."""
    _, page = await door.get(f"/v1/conversations/{conversation}/messages?limit=100&order=asc")
    assert not page["has_more"]
    return ["".join(part["text"] for part in item["content"]) for item in page["data"]]


async def talk(door: Door, turns: int, system: bool = False, keep: int = 1000) -> list[str]:
    """Say `turns` things, each with the last `keep` messages before it; what was said and answered."""
    history: Messages = []
    said: list[str] = []
    for i in range(turns):
        history.append({"role": "user", "content": f"Question {i}"})
        clock = [{"role": "system", "content": f"It is {i} o'clock."}] if system else []
        answer, _ = await door.say(clock + history[-keep:])
        history.append({"role": "assistant", "content": answer})
        said += [f"Question {i}", answer]
    return said


async def test_twenty_resends_are_one_conversation_of_forty_messages(door: Door) -> None:
    said = await talk(door, 20)
    (conversation,) = await conversations(door)
    assert conversation["messages"] == 40
    assert await texts(door, conversation["id"]) == said


async def test_a_clock_in_the_system_prompt_changes_nothing(door: Door) -> None:
    said = await talk(door, 20, system=True)
    (conversation,) = await conversations(door)
    assert await texts(door, conversation["id"]) == said
    assert "19 o'clock" in door.scripted.prompts[-1].messages[0].text


async def test_dropped_first_messages_change_nothing(door: Door) -> None:
    said = await talk(door, 20, keep=5)
    (conversation,) = await conversations(door)
    assert await texts(door, conversation["id"]) == said
    assert len(door.scripted.prompts[-1].messages) == 5


@pytest.mark.parametrize("sdk", [openai.AsyncOpenAI, together.AsyncTogether])
@pytest.mark.parametrize("form", ["model_dump", "message", "without_nulls"])
async def test_what_an_sdk_gives_back_is_what_was_said(door: Door, sdk: Any, form: str) -> None:
    async with sdk(base_url=door.address, api_key="any") as client:
        history: list[Any] = []
        for i in range(4):
            history.append({"role": "user", "content": [{"type": "text", "text": f"Question {i}"}]})
            answer = await client.chat.completions.create(model="scripted", messages=history)
            message = answer.choices[0].message
            if form == "message" and sdk is openai.AsyncOpenAI:
                history.append(message)
            else:
                history.append(message.model_dump(exclude_none=form == "without_nulls"))
    (conversation,) = await conversations(door)
    assert conversation["messages"] == 8


async def test_developer_and_system_are_the_same(door: Door) -> None:
    history: Messages = [{"role": "user", "content": "One"}]
    answer, first = await door.say([{"role": "developer", "content": "Be brief."}, *history])
    history += [{"role": "assistant", "content": answer}, {"role": "user", "content": "Two"}]
    _, second = await door.say([{"role": "system", "content": "Be brief."}, *history])
    assert first == second
    _, page = await door.get(f"/v1/conversations/{first}/messages")
    assert {item["role"] for item in page["data"]} == {"user", "assistant"}


async def test_fifty_end_users_behind_one_key_never_meet(door: Door) -> None:
    example = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    histories: dict[str, Messages] = {f"user-{i}": [*example] for i in range(50)}
    ids: dict[str, set[str]] = {user: set() for user in histories}
    order = [user for user in histories for _ in range(3)]
    random.Random(7).shuffle(order)
    for user in order:
        mine = histories[user]
        word = "Hello there" if len(mine) == 2 else f"I am {user}"
        mine.append({"role": "user", "content": word})
        answer, conversation = await door.say(mine, user=user, temperature=0)
        mine.append({"role": "assistant", "content": answer})
        ids[user].add(conversation)
    assert all(len(each) == 1 for each in ids.values())
    assert len(set.union(*ids.values())) == 50
    for user, (conversation,) in ids.items():
        assert not [
            text for text in await texts(door, conversation) if "I am " in text and user not in text.split()
        ]
        (listed,) = await conversations(door, user=user)
        assert (listed["id"], listed["user"]) == (conversation, user)


NAMES = [
    ({"user": "a", "safety_identifier": "b", "prompt_cache_key": "c"}, {"palaver-user": "d"}, "a"),
    ({"safety_identifier": "b", "prompt_cache_key": "c"}, {"palaver-user": "d"}, "b"),
    ({"prompt_cache_key": "c"}, {"palaver-user": "d", "X-OpenWebUI-User-Id": "e"}, "d"),
    ({"prompt_cache_key": "c"}, {"X-OpenWebUI-User-Id": "e"}, "e"),
    ({"prompt_cache_key": "c"}, {}, "c"),
    ({"user": "", "prompt_cache_key": "c"}, {"palaver-user": ""}, "c"),
    ({"user": ""}, {}, None),
    ({}, {"palaver-user": "Zoë"}, "Zoë"),
]


@pytest.mark.parametrize(("fields", "headers", "user"), NAMES)
async def test_which_end_user_counts(
    door: Door, fields: dict[str, str], headers: dict[str, str], user: str | None
) -> None:
    body = {"model": "scripted", "messages": [{"role": "user", "content": "x"}], **fields}
    response, _ = await door.post("/v1/chat/completions", body, headers)
    assert response.status == 200
    (conversation,) = await conversations(door)
    assert conversation["user"] == user


def test_a_header_may_be_utf_8_or_latin_1() -> None:
    for sent in ("Zoë".encode(), "Zoë".encode("latin-1")):
        assert header_text(Headers(raw=[(b"palaver-user", b" " + sent)]), "palaver-user") == "Zoë"


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"conversation": "trip"}, {}),
        ({"conversation": "trip"}, {"palaver-conversation": "other"}),
        ({}, {"palaver-conversation": "trip"}),
        ({}, {"palaver-conversation": "trip", "X-OpenWebUI-Chat-Id": "other"}),
        ({}, {"palaver-conversation": "none", "X-OpenWebUI-Chat-Id": "trip"}),
        ({}, {"X-OpenWebUI-Chat-Id": "trip"}),
    ],
)
async def test_a_conversation_can_be_named(
    door: Door, fields: dict[str, str], headers: dict[str, str]
) -> None:
    body = {"model": "scripted", "messages": [{"role": "user", "content": "x"}], **fields}
    response, _ = await door.post("/v1/chat/completions", body, headers)
    assert response.status == 200
    (conversation,) = await conversations(door)
    assert conversation["name"] == "trip"
    assert response.headers["palaver-conversation"] == conversation["id"]
    _, again = await door.say([{"role": "user", "content": "Something else"}], conversation="trip")
    assert again == conversation["id"]
    _, again = await door.say([{"role": "user", "content": "By id"}], conversation={"id": again})
    assert again == conversation["id"]


async def test_what_is_not_to_be_stored_is_not(door: Door) -> None:
    for more in ({"store": False}, {"store": False, "conversation": "secret"}):
        _, conversation = await door.say([{"role": "user", "content": "Psst"}], **more)
        assert conversation == "none"
    assert await conversations(door) == []


async def test_the_none_of_a_reply_may_come_back(door: Door) -> None:
    body = {"model": "scripted", "messages": [{"role": "user", "content": "x"}]}
    response, _ = await door.post("/v1/chat/completions", body, {"palaver-conversation": "none"})
    assert response.headers["palaver-conversation"].startswith("conv_")
    (conversation,) = await conversations(door)
    assert conversation["name"] is None


async def test_metadata_and_the_program_are_kept(door: Door) -> None:
    body = {"model": "scripted", "messages": [{"role": "user", "content": "x"}], "metadata": {"k": "v"}}
    response, _ = await door.post("/v1/chat/completions", body, {"user-agent": "Probe/1.0"})
    (conversation,) = await conversations(door)
    assert conversation["source"] == "Probe/1.0"
    turn = response.headers["palaver-turn"].replace("chatcmpl-", "turn_")
    record = await door.chat.store.turn("local", turn)
    assert record.metadata == {"k": "v"}
    assert record.door == "chat.completions"
