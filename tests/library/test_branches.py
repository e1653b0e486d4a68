"""The tree of a conversation through the library, with a store of its own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from palaver import Palaver
from palaver.config import load
from palaver.core.errors import RequestError
from palaver.library import Reply


@pytest.fixture
async def palaver(tmp_path: Path) -> AsyncIterator[Palaver]:
    script = tmp_path / "script.jsonl"
    script.write_text(
        '{"when": "break", "reply": "it goes well until", "fail": "break after 2 tokens"}\n{}\n'
    )
    config = load({"data_dir": str(tmp_path), "model": f"scripted:{script}"})
    async with Palaver.open(config) as palaver:
        yield palaver


async def heard(saying: contextlib.AbstractAsyncContextManager[Reply]) -> Reply:
    async with saying as reply:
        async for _ in reply:
            pass
    return reply


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


async def tree(palaver: Palaver) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await palaver.tree("trip", limit=100))["data"]
    return found


async def test_what_is_new_is_enough_with_a_parent(palaver: Palaver) -> None:
    await heard(palaver.say([user("one")], conversation="trip"))
    [question, reply] = await tree(palaver)
    below = await heard(palaver.say([user("two")], parent=reply["id"]))
    assert below.text.startswith("Reply 2 to: two")
    again = await heard(palaver.regenerate(question["id"]))
    assert again.text.startswith("Reply 1 to: one")
    items = await tree(palaver)
    places = {item["id"]: place for place, item in enumerate(items)}
    assert [places.get(item["parent"]) for item in items] == [None, 0, 1, 2, 0]
    assert [item["id"] for item in (await palaver.leaves("trip"))["data"]] == [items[4]["id"], items[3]["id"]]


async def test_at_the_head(palaver: Palaver) -> None:
    await heard(palaver.say([user("one")], conversation="trip"))
    reply = await heard(palaver.say([user("two")], parent="head", conversation="trip", concurrency="reject"))
    assert reply.text.startswith("Reply 2 to: two")


async def test_a_reply_that_was_cut_off_goes_on(palaver: Palaver) -> None:
    with pytest.raises(Exception, match="The script says"):
        await heard(palaver.say([user("break")], conversation="trip"))
    [question, cut] = await tree(palaver)
    assert cut["turn_state"] == "incomplete"
    with pytest.raises(Exception, match="The script says"):
        await heard(palaver.continue_(cut["id"]))
    [_, _, more] = await tree(palaver)
    assert more["parent"] == question["id"]
    assert more["content"][0]["text"].startswith(cut["content"][0]["text"])


async def test_the_head_can_be_moved_and_the_path_to_it_forked(palaver: Palaver) -> None:
    await heard(palaver.say([user("one")], conversation="trip"))
    [question, reply] = await tree(palaver)
    moved = await palaver.set_head("trip", question["id"])
    assert (moved["name"], moved["messages"]) == ("trip", 1)
    assert (await palaver.set_head("trip", question["id"], newest=True))["head"] == reply["id"]
    (segment,) = (await palaver.map("trip"))["segments"]
    assert (segment["first"], segment["last"], segment["text"]) == (question["id"], reply["id"], "one")
    await palaver.set_head("trip", question["id"])
    fork = await palaver.fork("trip", reply["id"], name="other")
    assert (fork["name"], fork["messages"]) == ("other", 2)
    assert (await palaver.fork("trip"))["messages"] == 1
    assert len((await palaver.messages("trip", to=reply["id"]))["data"]) == 2
    with pytest.raises(RequestError) as caught:
        await palaver.fork("trip", name="other")
    assert caught.value.param == "name"
    with pytest.raises(RequestError) as caught:
        await palaver.set_head("other", question["id"])
    assert caught.value.code == "message_not_found"


async def test_a_temporary_conversation(palaver: Palaver) -> None:
    await heard(palaver.say([user("one")], conversation="trip", temporary=True))
    assert (await palaver.conversation("trip"))["expires_at"] is not None
    assert (await palaver.conversations())["data"] == []
    assert len((await palaver.conversations(include_temporary=True))["data"]) == 1
