"""What settles goes on after chores and turns that come to nothing, and never for what is being deleted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from palaver.chat import HEAD, Chat
from palaver.core.errors import EngineRefused
from palaver.core.parameters import Parameters
from palaver.core.turn import Usage
from palaver.core.window_settings import WindowSettings
from palaver.deletion import Deletion
from palaver.engines.base import Model
from palaver.idle import Keeper
from palaver.stores.sql import SqlStore
from tests.chat.asking import request, user
from tests.chat.puppets import OneModel, PuppetEngine
from tests.chat.settled import SOON, App


async def until_settling(app: App, times: int = 1) -> None:
    async with asyncio.timeout(SOON):
        while len(app.engine.settled) < times:
            await asyncio.sleep(0.001)


async def test_a_chore_beside_the_conversation_stops_nothing(app: App) -> None:
    app.engine.may_settle.clear()
    live = await app.ask(settle=False)
    await until_settling(app)
    chore = await app.chat.say(request(user("a title?"), conversation=live.conversation, is_task=True))
    await chore.ended()
    assert app.engine.cancelled == 0
    app.engine.may_settle.set()
    await app.until_settled()
    assert len(app.engine.settled) == 1


async def test_after_a_turn_that_was_cancelled_it_goes_on_as_it_was_left(store: SqlStore) -> None:
    engine = PuppetEngine()
    engine.capabilities |= {"settle"}
    settled: list[int] = []
    may_settle = asyncio.Event()

    async def settle(window: Any, options: Any) -> bool:
        settled.append(len(window.messages))
        await may_settle.wait()
        return True

    engine.settle = settle  # type: ignore[method-assign]
    chat = Chat(store, OneModel(Model(name="puppet", served_as="s", engine=engine)))
    asked = {"conversation": "c", "parent": HEAD, "parameters": Parameters(max_tokens=12)}
    first = await chat.say(request("hello", **asked))
    play = await engine.play(0)
    play.say("hi")
    play.finish(usage=Usage(1, 1))
    await first.ended()
    second = await chat.say(request("and?", **asked))
    (await engine.play(1)).say("well")
    async with asyncio.timeout(SOON):
        while not second.events:
            await asyncio.sleep(0.001)
    await chat.cancel("local", second.turn)
    await second.ended()
    may_settle.set()
    async with asyncio.timeout(SOON):
        while chat._settling._tasks or not settled:
            await asyncio.sleep(0.001)
    assert settled[-1] == 2, "the window with the first reply"
    await chat.close()


async def test_a_turn_that_is_deleted_is_not_settled_any_more(app: App) -> None:
    app.engine.may_settle.clear()
    live = await app.ask(settle=False)
    await until_settling(app)
    await Deletion(app.chat).turn("local", live.turn)
    assert app.engine.cancelled == 1
    assert app.chat.settling == set()


async def test_a_window_that_got_more_room_goes_on_as_it_is(app: App) -> None:
    await app.until_low()
    live = await app.ask(window=WindowSettings(mode="auto"))
    assert live.receipt is not None
    assert live.receipt.prepared
    await app.until_low()
    app.engine._context = 100_000
    live = await app.ask()
    assert live.receipt is not None
    assert (live.receipt.began, live.receipt.prepared) == (False, False)


async def test_only_the_first_turn_that_shows_a_prepared_epoch_began_it(app: App) -> None:
    last = await app.until_low()
    assert last.conversation is not None
    head = (await app.chat.store.items("local", last.conversation, limit=1))[0].id
    foreseen = await app.chat.windows.foresee(request(user("q"), parent=head))
    assert (foreseen.receipt.began, foreseen.receipt.prepared) == (True, True), "and a dry run begins nothing"
    receipts = [(await app.ask(parent=head, settle=False)).receipt for _ in range(2)]
    assert [(r.began, r.prepared) for r in receipts if r is not None] == [(True, True), (False, False)]
    assert len({r.epoch for r in receipts if r is not None}) == 1


async def test_what_cannot_be_erased_keeps_nothing_from_being_deleted(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = await app.ask()
    calls = 0

    async def forget(*_: Any, **__: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise EngineRefused("Snapshots could not be erased.", status=500)
        return 0

    monkeypatch.setattr(app.chat.catalog, "forget", forget)
    await Deletion(app.chat).conversation("local", live.conversation or "")
    assert calls == 2
    assert await app.chat.store.conversations("local") == []


async def test_nor_the_keeper_from_looking_again(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    app.engine.may_settle.clear()
    live = await app.ask(settle=False)
    await until_settling(app)
    await app.chat.store.delete_conversation("local", live.conversation or "")

    async def forget(*_: Any, **__: Any) -> int:
        raise EngineRefused("Snapshots could not be erased.", status=500)

    monkeypatch.setattr(app.chat.catalog, "forget", forget)
    await Keeper(app.chat).look()
    assert app.chat.settling == set(), "what is gone is not settled"
