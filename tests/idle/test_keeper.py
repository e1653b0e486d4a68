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
