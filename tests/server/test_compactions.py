"""Compactions: one item that stands for a conversation up to some place, sealed for its owner."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import openai
import pytest

from palaver.chat import ChatSettings
from palaver.server.app import ServerSettings
from tests.server.conftest import Door, opened
from tests.server.responding import (
    NOBODYS,
    ROUTE,
    body_of,
    by_hand,
    path_of,
    refused,
    respond,
    sent_again,
    shown,
    text_of,
)
from tests.server.test_deletion import delete

COMPACT = f"{ROUTE}/compact"


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


async def compacted(door: Door, **asked: Any) -> list[dict[str, Any]]:
    """The output of a compaction."""
    answered, body = await door.post(COMPACT, {"model": "scripted", **asked})
    assert (answered.status, body.get("object")) == (200, "response.compaction"), body
    output: list[dict[str, Any]] = body["output"]
    return output


async def talked(door: Door, *questions: str) -> dict[str, Any]:
    """The last response of a conversation with these questions."""
    body: dict[str, Any] = {}
    for question in questions:
        body = await respond(door, question, **({"previous_response_id": body["id"]} if body else {}))
    return body


async def test_its_shape(door: Door) -> None:
    last = await talked(door, "One", "Two")
    answered, body = await door.post(COMPACT, {"model": "scripted", "previous_response_id": last["id"]})
    assert answered.status == 200
    assert (body["id"][:5], body["object"], body["usage"]["total_tokens"]) == (
        "resp_",
        "response.compaction",
        0,
    )
    *said, seal = body["output"]
    assert [(item["role"], item["content"][0]["text"]) for item in said] == [("user", "One"), ("user", "Two")]
    assert (seal["type"], seal["kind"], seal["id"][:4]) == ("compaction", "extract", "cmp_")
    assert "One" not in str(base64.urlsafe_b64decode(seal["encrypted_content"]))


async def test_what_comes_after_it_goes_on_there(door: Door) -> None:
    last = await talked(door, "One", "Two")
    output = await compacted(door, previous_response_id=last["id"])
    path = await path_of(door, last["conversation"]["id"])
    body = await by_hand(door, [*sent_again(output), user("Three")])
    assert body["conversation"] == last["conversation"]
    assert shown(door.hand.windows[0]) == [*path, ("user", "Three")]
    seal = output[-1]
    more = await by_hand(door, [seal, user("Four"), user("Five")])
    assert shown(door.hand.windows[1]) == [*path, ("user", "Four"), ("user", "Five")]
    assert more["conversation"] == last["conversation"]


async def test_of_items_that_nobody_stored_yet(door: Door) -> None:
    said = [user("One"), {"role": "assistant", "content": "Ah."}, user("Two")]
    output = await compacted(door, input=said, instructions="Shorten it.")
    assert [item.get("role") for item in output] == ["user", "user", None]
    await by_hand(door, [*output, user("Three")])
    assert [text for _, text in shown(door.hand.windows[0])] == ["One", "Ah.", "Two", "Three"]
    output = await compacted(door, input="Alone")
    await by_hand(door, [*output, user("More")])
    assert [text for _, text in shown(door.hand.windows[1])] == ["Alone", "More"]


async def test_of_a_response_and_more(door: Door) -> None:
    last = await talked(door, "One")
    for _ in range(2):
        output = await compacted(door, previous_response_id=last["id"], input=[user("Two")])
        assert len(await path_of(door, last["conversation"]["id"])) == 2, "nobody has gone on there yet"
    assert len(await door.chat.store.tree("local", last["conversation"]["id"])) == 3
    body = await by_hand(door, [*output, user("Three")])
    assert [role for role, _ in shown(door.hand.windows[0])] == ["user", "assistant", "user", "user"]
    assert body["conversation"] == last["conversation"]


async def test_one_upon_another(door: Door) -> None:
    """As a client does that compacts what it sends each time that grows too long."""
    items: list[dict[str, Any]] = [user("q0")]
    for i in range(1, 4):
        body = await by_hand(door, items, f"a{i}")
        items = [*await compacted(door, input=[*items, *sent_again(body["output"])]), user(f"q{i}")]
    await by_hand(door, items)
    path = ["q0", "a1", "q1", "a2", "q2", "a3", "q3"]
    assert [text for _, text in shown(door.hand.windows[-1])] == path
    only = await compacted(door, input=items[:-1])
    await by_hand(door, [*only, user("End")])
    assert [text for _, text in shown(door.hand.windows[-1])] == [*path[:-1], "End"]


async def test_what_is_not_stored_can_go_on_there(door: Door) -> None:
    last = await talked(door, "One")
    output = await compacted(door, previous_response_id=last["id"])
    body = await by_hand(door, [*output, user("Two")], store=False)
    assert [text for _, text in shown(door.hand.windows[0])] == ["One", text_of(last), "Two"]
    assert (body["store"], len(await path_of(door, last["conversation"]["id"]))) == (False, 2)


async def test_an_sdk_does_it(door: Door) -> None:
    async with openai.AsyncOpenAI(base_url=door.address + "/v1", api_key="any") as sdk:
        last = await talked(door, "One")
        made = await sdk.responses.compact(model="scripted", previous_response_id=last["id"])
        sent: Any = [
            *(
                {"type": "compaction", "encrypted_content": item.encrypted_content}
                for item in made.output
                if item.type == "compaction"
            ),
            user("Two"),
        ]
        response = await sdk.responses.create(model="scripted", input=sent)
        assert response.conversation is not None
        assert response.conversation.id == last["conversation"]["id"]


class TestSeals:
    async def seal(self, door: Door) -> str:
        last = await talked(door, "One")
        sealed: str = (await compacted(door, previous_response_id=last["id"]))[-1]["encrypted_content"]
        return sealed

    @pytest.mark.parametrize("change", ["first", "middle", "last", "short", "other", "empty", "text"])
    async def test_one_that_was_changed(self, door: Door, change: str) -> None:
        raw = bytearray(base64.urlsafe_b64decode(await self.seal(door)))
        if change in ("first", "middle", "last"):
            raw[{"first": 0, "middle": len(raw) // 2, "last": -3}[change]] ^= 1
        sealed = {
            "short": base64.urlsafe_b64encode(raw[:8]).decode(),
            "other": base64.urlsafe_b64encode(raw[:16] + b'{"message":"msg_1","conversation":"c"}').decode(),
            "empty": "",
            "text": "nothing at all",
        }.get(change, base64.urlsafe_b64encode(raw).decode())
        items = [user("x"), {"type": "compaction", "encrypted_content": sealed}, user("y")]
        await refused(door, body_of(items), "input[1].encrypted_content")

    async def test_another_owners(self, tmp_path: Path) -> None:
        async with opened(tmp_path, ServerSettings(local_key="mine", require_key=True)) as door:
            mine = {"authorization": "Bearer mine"}
            _, made = await door.post("/v1/keys", {"name": "b", "owner": "bob"}, mine)
            theirs = {"authorization": f"Bearer {made['key']}"}
            body = await respond(door, "A secret", mine)
            asked = {"model": "scripted", "previous_response_id": body["id"]}
            _, sealed = await door.post(COMPACT, asked, mine)
            items = [sealed["output"][-1], user("x")]
            await refused(door, body_of(items), "input[0].encrypted_content", headers=theirs)
            answered, error = await door.post(COMPACT, asked, theirs)
            assert (answered.status, error["error"]["code"]) == (400, "previous_response_not_found")
            assert (await respond(door, items, mine))["conversation"] == body["conversation"]

    async def test_another_end_users(self, door: Door) -> None:
        ann = await respond(door, "A secret", user="ann")
        asked = {"model": "scripted", "previous_response_id": ann["id"]}
        sealed = await compacted(door, previous_response_id=ann["id"], user="ann")
        items = [sealed[-1], user("x")]
        for store in (None, False):
            bodies = (
                body_of(items, user="bob", store=store),
                body_of("x", previous_response_id=ann["id"], user="bob", store=store),
            )
            await refused(door, bodies[0], "input[0].encrypted_content")
            await refused(door, bodies[1], "previous_response_id", "previous_response_not_found")
        answered, error = await door.post(COMPACT, {**asked, "user": "bob"})
        assert (answered.status, error["error"]["code"]) == (400, "previous_response_not_found")
        assert (await respond(door, items, user="ann"))["conversation"] == ann["conversation"]

    async def test_what_was_deleted(self, door: Door) -> None:
        last = await talked(door, "One", "Two")
        seal = (await compacted(door, previous_response_id=last["id"]))[-1]
        await delete(door, f"/v1/conversations/{last['conversation']['id']}")
        await refused(door, body_of([seal, user("x")]), "input[0].encrypted_content")
        last = await talked(door, "One", "Two")
        seal = (await compacted(door, previous_response_id=last["id"]))[-1]
        await respond(door, "Three", previous_response_id=last["id"])
        await delete(door, f"{ROUTE}/{last['id']}")
        await refused(door, body_of([seal, user("x")]), "input[0].encrypted_content")


@pytest.mark.parametrize(
    ("asked", "param", "code"),
    [
        ({}, "input", None),
        ({"input": []}, "input", None),
        ({"input": None}, "input", None),
        ({"input": 5}, "input", None),
        ({"input": [{"role": "user"}]}, "input[0].content", None),
        ({"input": [{"type": "item_reference", "id": f"msg_{NOBODYS}"}]}, "input[0].id", None),
        ({"previous_response_id": f"resp_{NOBODYS}"}, "previous_response_id", "previous_response_not_found"),
        ({"previous_response_id": "x"}, "previous_response_id", "previous_response_not_found"),
        ({"input": [user("x")] * 4}, "input", None),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input[0].encrypted_content", None),
    ],
)
async def test_what_cannot_be_compacted(tmp_path: Path, asked: Any, param: str, code: str | None) -> None:
    async with opened(tmp_path, ServerSettings(max_messages=3)) as door:
        answered, error = await door.post(COMPACT, {"model": "scripted", **asked})
        assert answered.status == 400, error
        assert (error["error"]["param"], error["error"]["code"]) == (param, code)
        assert await door.chat.store.conversations("local", one_shots=True) == []


async def test_what_contradicts_itself(door: Door) -> None:
    last = await talked(door, "One")
    seal = (await compacted(door, previous_response_id=last["id"]))[-1]
    await refused(door, body_of([seal]), "input")
    await refused(door, body_of([seal, user("x")], previous_response_id=last["id"]), "input")
    await refused(door, body_of([seal, user("x")], conversation="room"), "input")
    asked = {"model": "scripted", "input": [seal], "previous_response_id": last["id"]}
    answered, error = await door.post(COMPACT, asked)
    assert (answered.status, error["error"]["param"]) == (400, "input")
    answered, error = await door.post(COMPACT, {"model": "no-such", "input": "x"})
    assert (answered.status, error["error"]["code"]) == (404, "model_not_available")


async def test_below_what_runs(door: Door) -> None:
    body = await respond(door, "x", model="test/hand", background=True)
    answered, error = await door.post(COMPACT, {"model": "scripted", "previous_response_id": body["id"]})
    assert (answered.status, error["error"]["code"]) == (409, "turn_running")


async def test_where_nothing_is_recorded(tmp_path: Path) -> None:
    async with opened(tmp_path, chat_settings=ChatSettings(record="none")) as door:
        answered, error = await door.post(COMPACT, {"model": "scripted", "input": "x"})
        assert (answered.status, error["error"]["param"]) == (400, "input")
