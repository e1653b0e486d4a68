"""Between turns: what has had its time is deleted, and nothing else; a store that fails is tried again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from palaver.chat import Chat
from palaver.core.errors import StoreFull
from palaver.engines.catalog import ModelCatalog
from palaver.idle import Keeper, keeping
from palaver.stores.base import Deleted, Store
from tests.stores.sqlite_files import opened
from tests.stores.talking import Talker, user

DAY = 24 * 60 * 60


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[Chat]:
    async with opened(tmp_path / "palaver.db") as store:
        chat = Chat(store, ModelCatalog(models=[], aliases={}, upstreams=[]))
        yield chat
        await chat.close()


async def ids(store: Store) -> set[str]:
    return {c.id for c in await store.conversations("local", one_shots=True, temporary=True, limit=100)}


async def temporary(store: Store, seconds: int) -> str:
    talker = Talker(store)
    admitted = await talker.admit([user(f"for {seconds} seconds")], temporary=seconds)
    await talker.end(admitted.turn, "hello")
    return admitted.conversation


def keeper(chat: Chat, retain: float = 0.0, *, later: float = 0.0) -> Keeper:
    """One whose clock is so many seconds fast."""
    return Keeper(chat, retain, clock=lambda: time.time() + later)


async def test_temporary_conversations_go_when_their_time_is_over(chat: Chat) -> None:
    kept = await Talker(chat.store).talk("hi", "hello")
    short, long = await temporary(chat.store, 60), await temporary(chat.store, 3600)
    for later, left in (
        (0, {kept, short, long}),
        (61, {kept, long}),
        (3601, {kept}),
        (100_000 * DAY, {kept}),
    ):
        await keeper(chat, later=later).look()
        assert await ids(chat.store) == left


async def test_a_conversation_that_is_deleted_in_a_while_goes_to_the_second(chat: Chat) -> None:
    kept, gone = [await Talker(chat.store).talk("hi", "hello", conversation=name) for name in "ab"]
    await chat.store.update_conversation("local", gone, expires_in=60)
    with capture_logs() as logs:
        await keeper(chat, later=59).glance()
        assert await ids(chat.store) == {kept, gone}
        await keeper(chat, later=61).glance()
        await keeper(chat, later=62).glance()
    assert await ids(chat.store) == {kept}
    assert [(entry["event"], entry["conversations"]) for entry in logs] == [
        ("deleted conversations whose time is over", 1)
    ]


async def test_a_turn_that_nobody_here_works_on_holds_it_up(chat: Chat) -> None:
    """Until that is closed."""
    talker = Talker(chat.store)
    running = await talker.admit([user("hi")])
    await chat.store.update_conversation("local", running.conversation, expires_in=60)
    await keeper(chat, later=61).glance()
    assert await ids(chat.store) == {running.conversation}
    await talker.end(running.turn, "hello")
    await keeper(chat, later=61).glance()
    assert await ids(chat.store) == set()


async def test_it_looks_often_for_what_goes_at_its_time(chat: Chat) -> None:
    gone = await Talker(chat.store).talk("hi", "hello")
    looking = asyncio.create_task(keeper(chat, later=61).run(first=0, often=0.005))
    await asyncio.sleep(0.05)
    await chat.store.update_conversation("local", gone, expires_in=60)
    while await ids(chat.store):
        await asyncio.sleep(0.002)
    looking.cancel()
    await asyncio.wait((looking,))


async def test_a_store_that_fails_is_let_alone_for_a_while(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = 0

    async def failing(store: Any) -> int | None:
        nonlocal looked
        looked += 1
        raise StoreFull

    monkeypatch.setattr(type(chat.store), "next_expiry", failing)
    with capture_logs() as logs:
        looking = asyncio.create_task(keeper(chat).run(first=0, often=0.001))
        while not looked:
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.05)
        looking.cancel()
        await asyncio.wait((looking,))
    assert (looked, len(logs)) == (1, 1)


async def test_what_is_older_than_is_kept_goes(chat: Chat) -> None:
    old = await Talker(chat.store).talk("hi", "hello")
    await keeper(chat, 2.5, later=2.5 * DAY - 60).look()
    assert await ids(chat.store) == {old}
    with capture_logs() as logs:
        await keeper(chat, 2.5, later=2.5 * DAY + 60).look()
    assert await ids(chat.store) == set()
    assert [(entry["event"], entry["conversations"]) for entry in logs] == [
        ("deleted conversations that are older than is kept", 1)
    ]


async def test_nothing_to_do_is_nothing_to_say(chat: Chat) -> None:
    await Talker(chat.store).talk("hi", "hello")
    with capture_logs() as logs:
        await keeper(chat, 1.0).look()
    assert logs == []


async def test_it_looks_again_and_again_also_when_the_store_fails(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, fourth = 0, asyncio.Event()
    real = type(chat.store).delete_expired

    async def failing(store: Any, now: int) -> Deleted:
        nonlocal looked
        looked += 1
        if looked < 3:
            raise StoreFull
        if looked > 3:
            fourth.set()
        return await real(store, now)

    monkeypatch.setattr(type(chat.store), "delete_expired", failing)
    gone = await temporary(chat.store, 60)
    with capture_logs() as logs:
        looking = asyncio.create_task(keeper(chat, later=61).run(first=0, every=0))
        await fourth.wait()
        looking.cancel()
        await asyncio.wait((looking,))
    assert gone not in await ids(chat.store)
    assert [entry["log_level"] for entry in logs] == ["warning", "warning", "info"]
    assert "disk" in logs[0]["error"]


async def test_it_ends_with_what_it_looks_after(chat: Chat) -> None:
    before = asyncio.all_tasks()
    async with keeping(chat, 1.0):
        assert asyncio.all_tasks() != before
    assert asyncio.all_tasks() == before
