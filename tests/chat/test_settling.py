"""What is done between turns: the next prompt prefilled ahead, the next epoch prepared before the window is full."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from palaver.chat import HEAD, Chat
from palaver.core.errors import EngineUnavailable
from palaver.core.message import Message
from palaver.core.parameters import Parameters
from palaver.core.turn import TurnState
from palaver.core.window import Window
from palaver.deletion import Deletion
from palaver.engines.base import Model, Options
from palaver.stores.sql import SqlStore
from tests.chat.asking import request, system, user
from tests.chat.puppets import OneModel, PuppetEngine
from tests.chat.settled import AUTO, SOON, App, WarmEngine


def texts(window: Window) -> list[str]:
    return [message.text for message in window.messages]


async def test_the_next_prompt_is_settled_with_the_reply_as_it_is_stored(app: App) -> None:
    live = await app.ask(window=AUTO)
    (window,) = app.engine.settled
    assert window.messages == (*app.engine.prompts[0].messages, live.replies()[0].message)
    assert (window.conversation, window.kept) == (live.conversation, True)
    await app.ask(window=AUTO)
    assert app.engine.prompts[1].messages[:2] == window.messages
    assert app.engine.prompts[1].epoch == window.epoch


async def test_a_turn_that_comes_stops_it_and_it_goes_on_after_that(app: App) -> None:
    app.engine.may_settle.clear()
    await app.ask(settle=False)
    async with asyncio.timeout(SOON):
        while not app.engine.settled:
            await asyncio.sleep(0.001)
    await app.ask(settle=False)
    assert app.engine.cancelled == 1
    app.engine.may_settle.set()
    await app.until_settled()
    assert len(texts(app.engine.settled[-1])) == 4


async def test_an_epoch_is_prepared_before_the_window_is_full_and_begun_by_the_next_turn(app: App) -> None:
    last = await app.until_low()
    ahead = app.engine.settled[-1]
    assert ahead.epoch != last.receipt.epoch  # type: ignore[union-attr]
    live = await app.ask()
    receipt = live.receipt
    assert receipt is not None
    assert (receipt.epoch, receipt.reason) == (ahead.epoch, "overflow")
    assert receipt.began
    assert receipt.prepared
    prompt = app.engine.prompts[-1]
    assert prompt.messages[:-1] == ahead.messages, "its prompt begins with what was prefilled"
    assert prompt.epoch_began == ahead.epoch_began
    after = (await app.ask()).receipt
    assert after is not None
    assert (after.epoch, after.began) == (ahead.epoch, False)


async def test_in_a_long_conversation_no_turn_begins_an_epoch_itself(app: App) -> None:
    receipts = [(await app.ask()).receipt for _ in range(60)]
    begun = [receipt for receipt in receipts[1:] if receipt is not None and receipt.began]
    assert len(begun) > 3
    assert all(receipt.prepared and receipt.reason == "overflow" for receipt in begun)
    record = await app.chat.store.epochs(
        "local", (await app.chat.store.conversation("local", "c")).id, limit=99
    )
    assert [each.epoch.id for each in record] == [
        *(receipt.epoch for receipt in reversed(begun)),
        receipts[0].epoch,  # type: ignore[union-attr]
    ]


async def test_what_is_not_ready_is_not_begun_and_the_turn_pays_itself(app: App) -> None:
    app.engine.answer = False
    receipts = [(await app.ask()).receipt for _ in range(30)]
    begun = [receipt for receipt in receipts[1:] if receipt is not None and receipt.began]
    assert begun
    assert not any(receipt.prepared for receipt in begun)


async def test_its_preparation_goes_on_with_the_same_messages_until_it_is_ready(app: App) -> None:
    app.engine.answer = False
    await app.until_low()
    first = app.engine.settled[-1]
    await app.ask()
    second = app.engine.settled[-1]
    assert (second.epoch, second.messages[: len(first.messages)]) == (first.epoch, first.messages)
    app.engine.answer = True
    await app.ask()
    receipt = (await app.ask()).receipt
    assert receipt is not None
    assert (receipt.epoch, receipt.prepared) == (first.epoch, True)


async def test_a_turn_elsewhere_goes_on_with_its_own_epoch(app: App) -> None:
    last = await app.until_low()
    ahead = app.engine.settled[-1]
    items = await app.chat.store.items("local", last.conversation or "", order="asc", limit=99)
    earlier = next(item.id for item in items if item.message.role == "assistant" and item.id != items[-1].id)
    beside = await app.ask(parent=earlier, settle=False)
    assert beside.receipt is not None
    assert beside.receipt.epoch != ahead.epoch
    again = await app.chat.say(request(parent=items[-2].id, parameters=Parameters(max_tokens=12)))
    await again.ended()
    assert again.receipt is not None
    assert again.receipt.epoch != ahead.epoch, "asked again: another reply, another turn"


async def test_another_model_or_other_instructions_do_not_begin_it(app: App) -> None:
    await app.until_low()
    ahead = app.engine.settled[-1]
    live = await app.chat.say(
        request(
            system("Be brief."),
            user("q"),
            conversation="c",
            parent=HEAD,
            parameters=Parameters(max_tokens=12),
        )
    )
    await live.ended()
    assert live.receipt is not None
    assert (live.receipt.reason, live.receipt.prepared) == ("instructions", False)
    assert live.receipt.epoch != ahead.epoch


async def test_what_was_deleted_meanwhile_is_not_shown(app: App) -> None:
    last = await app.until_low()
    ahead = app.engine.settled[-1]
    assert last.conversation is not None
    items = await app.chat.store.items("local", last.conversation, limit=99)
    gone = next(item for item in items if item.message.text == ahead.messages[0].text)
    await Deletion(app.chat).message("local", last.conversation, gone.id)
    live = await app.ask()
    assert gone.message.text not in texts(app.engine.prompts[-1])
    assert live.receipt is not None
    assert not live.receipt.prepared


async def test_strict_windows_are_settled_without_thoughts_and_never_prepared(app: App) -> None:
    history: list[Message] = []
    for number in range(5):
        history.append(user(f"number {number}"))
        live = await app.chat.say(request(*history, parameters=Parameters(max_tokens=12)))
        await live.ended()
        await app.until_settled()
        history.append(live.replies()[0].message)
        assert app.engine.settled[-1].messages == tuple(history)
    kept = [window.kept for window in app.engine.settled]
    assert kept == [False, True, True, True, True], "asked once it may be an app's chore"


@pytest.mark.parametrize("more", [{"store": False}, {"is_task": True}])
async def test_what_is_not_stored_or_a_task_is_never_kept(app: App, more: dict[str, Any]) -> None:
    history: list[Message] = []
    for number in range(3):
        history.append(user(f"number {number}"))
        live = await app.chat.say(request(*history, parameters=Parameters(max_tokens=12), **more))
        await live.ended()
        history.append(live.replies()[0].message)
        await app.until_settled()
    assert [prompt.kept for prompt in app.engine.prompts] == [False] * 3
    assert not any(window.kept for window in app.engine.settled)


async def test_a_reply_that_was_cut_off_is_not_settled(store: SqlStore) -> None:
    engine, settled = PuppetEngine(), 0
    engine.capabilities |= {"settle"}

    async def settle(window: Window, options: Options) -> bool:
        nonlocal settled
        settled += 1
        return True

    engine.settle = settle  # type: ignore[method-assign]
    chat = Chat(store, OneModel(Model(name="puppet", served_as="s", engine=engine)))
    live = await chat.say(request("stop me"))
    (await engine.play(0)).say("well")
    async with asyncio.timeout(SOON):
        while not live.events:
            await asyncio.sleep(0.001)
    await chat.cancel("local", live.turn)
    assert (await live.ended()).state is TurnState.CANCELLED
    whole = await chat.say(request("go on"))
    play = await engine.play(1)
    play.say("yes")
    play.finish()
    await whole.ended()
    async with asyncio.timeout(SOON):
        while not settled or chat.settling:
            await asyncio.sleep(0.001)
    assert settled == 1, "the other one is"
    await chat.close()


async def test_an_engine_that_fails_at_it_keeps_nobody_from_asking(app: App) -> None:
    app.engine.answer = EngineUnavailable("The model worker was killed.")
    for _ in range(30):
        await app.ask()


async def test_closing_stops_it(store: SqlStore) -> None:
    engine = WarmEngine()
    engine.may_settle.clear()
    chat = Chat(store, OneModel(Model(name="puppet", served_as="s", engine=engine)))
    await (await chat.say(request("hello"))).ended()
    async with asyncio.timeout(SOON):
        while not engine.settled:
            await asyncio.sleep(0.001)
        await chat.close()
    assert engine.cancelled == 1
