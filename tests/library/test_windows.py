"""What the model sees, through the library: receipts, dry runs, epochs, and how windows are chosen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from palaver import Palaver
from palaver.config import load
from palaver.core.errors import RequestError
from palaver.library import Reply
from tests.receipts import is_that_of

SIZE = 200


@pytest.fixture
async def palaver(tmp_path: Path) -> AsyncIterator[Palaver]:
    flags = {"data_dir": str(tmp_path), "model": "scripted", "window_size": str(SIZE)}
    async with Palaver.open(load(flags, environment={})) as palaver:
        yield palaver


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


async def heard(palaver: Palaver, messages: list[dict[str, Any]], **options: Any) -> Reply:
    async with palaver.say(messages, **options) as reply:
        assert reply.context is None
        async for _ in reply:
            pass
    return reply


async def counted_receipt(palaver: Palaver, turn: str) -> dict[str, Any]:
    """Of a turn that has ended, once its messages are counted."""
    async with asyncio.timeout(20):
        while True:
            receipt = await palaver.receipt(turn)
            if all(each["tokens"] is not None for each in receipt["messages"]):
                return receipt
            await asyncio.sleep(0.01)


async def full(palaver: Palaver) -> Reply:
    """The last reply of a conversation that is too long for the model."""
    await heard(palaver, [user("number 0 " + "word " * 20)], conversation="trip")
    for i in range(1, 9):
        text = f"number {i} " + "word " * 20
        reply = await heard(palaver, [user(text)], conversation="trip", parent="head")
    return reply


async def test_a_reply_brings_its_receipt_where_that_is_asked_for(palaver: Palaver) -> None:
    plain = await heard(palaver, [user("hello")])
    assert plain.context is None
    asked = await heard(palaver, [user("hello again")], context=True)
    assert asked.context is not None
    assert (asked.context["turn"], asked.context["window"]) == (asked.turn, "strict")
    receipt = await counted_receipt(palaver, asked.turn)
    assert is_that_of(asked.context, receipt)
    assert sum(each["tokens"] for each in receipt["messages"]) == receipt["prompt_tokens"]
    unkept = await heard(palaver, [user("hello")], context=True, store=False)
    assert unkept.context is not None
    assert (unkept.context["conversation"], len(unkept.context["messages"])) == (None, 1)


async def test_what_had_no_room_is_in_the_receipt_and_the_epochs_say_why(palaver: Palaver) -> None:
    reply = await full(palaver)
    receipt = await palaver.receipt(reply.turn)
    [left_out] = receipt["left_out"]
    assert (left_out["first"], left_out["why"], receipt["window"]) == (0, "window", "auto")
    assert receipt["messages"][0]["place"] == left_out["messages"]
    assert receipt["context_size"] == SIZE
    assert receipt["prompt_tokens"] + receipt["reserved"] <= SIZE
    epochs = (await palaver.epochs("trip"))["data"]
    assert [each["reason"] for each in epochs] == ["overflow"] * (len(epochs) - 1) + ["start"]
    assert epochs[0]["id"] == receipt["epoch"]["id"]
    assert sum(each["turns"] for each in epochs) == 9
    page = await palaver.epochs("trip", limit=1, after=epochs[0]["id"])
    assert [each["id"] for each in page["data"]] == [epochs[1]["id"]]


async def test_a_dry_run_says_what_the_next_turn_then_shows(palaver: Palaver) -> None:
    await full(palaver)
    before = await palaver.conversation("trip")
    foreseen = await palaver.foresee([user("and now?")], conversation="trip", parent="head")
    assert (foreseen["turn"], foreseen["messages"][-1]["id"]) == (None, None)
    assert await palaver.conversation("trip") == before
    reply = await heard(palaver, [user("and now?")], conversation="trip", parent="head", context=True)
    assert reply.context is not None
    for name in ("prompt_tokens", "left_out", "context_size", "reserved", "window", "path"):
        assert foreseen[name] == reply.context[name]


async def test_a_dry_run_takes_what_say_takes_and_refuses_what_that_would(palaver: Palaver) -> None:
    instructed = [{"role": "system", "content": "Be brief."}, user("hello")]
    foreseen = await palaver.foresee(instructed, model="scripted", store=False, max_tokens=7, window="auto")
    assert (foreseen["instructions"], foreseen["reserved"], foreseen["window"]) == (1, 7, "auto")
    long = [user("word " * 300)]
    for asking in (palaver.foresee(long), heard(palaver, long)):
        with pytest.raises(RequestError) as refused:
            await asking
        assert refused.value.code == "context_length_exceeded"
    with pytest.raises(RequestError) as refused:
        await palaver.foresee([user("hello")], stream=True)
    assert refused.value.param == "stream"


async def test_a_request_says_how_its_window_is_chosen(palaver: Palaver) -> None:
    history = [
        each
        for i in range(12)
        for each in (user(f"{i} " + "word " * 20), {"role": "assistant", "content": "Yes."})
    ]
    history.append(user("well?"))
    with pytest.raises(RequestError) as refused:
        await heard(palaver, history)
    assert refused.value.code == "context_length_exceeded"
    reply = await heard(palaver, history, window="auto", context=True)
    smaller = await heard(palaver, history, window={"mode": "auto", "size": 100}, context=True)
    assert reply.context is not None
    assert smaller.context is not None
    assert (reply.context["context_size"], smaller.context["context_size"]) == (SIZE, 100)
    assert smaller.context["left_out"][0]["last"] > reply.context["left_out"][0]["last"]


async def test_a_conversation_has_settings_of_its_own(palaver: Palaver) -> None:
    await heard(palaver, [user("hello")], conversation="trip")
    changed = await palaver.set_window("trip", size=120, keep=0.25, mode=None)
    assert changed["window"] == {"size": 120, "keep": 0.25}
    foreseen = await palaver.foresee([user("and?")], conversation="trip", parent="head")
    assert foreseen["context_size"] == 120
    assert (await palaver.set_window("trip"))["window"] is None
    with pytest.raises(RequestError) as refused:
        await palaver.set_window("trip", mode="wide")
    assert refused.value.param == "mode"


async def test_turns_that_there_are_not(palaver: Palaver) -> None:
    with pytest.raises(RequestError) as refused:
        await palaver.receipt("chatcmpl-01arz3ndektsv4rrffq69g5fav")
    assert refused.value.code == "turn_not_found"
