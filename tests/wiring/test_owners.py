"""Finding the owner of a store while one goes and another comes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from palaver import wiring
from palaver.config import Config
from palaver.stores.ownership import Ownership
from tests.sdks.waiting import PATIENCE, within


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "data").mkdir()
    return Config(data_dir=str(tmp_path / "data"), model="scripted")


@pytest.fixture
def dead() -> str:
    """An address where nothing answers any more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.asynccontextmanager
async def answering() -> AsyncIterator[str]:
    """An address that takes connections."""
    listener = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


def looked_for(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when an owner was looked for twice: the first one found was not taken."""
    looked: list[Config] = []
    twice = asyncio.Event()
    find_owner = wiring.find_owner

    def find(config: Config) -> wiring.Owner | None:
        looked.append(config)
        if len(looked) == 2:
            twice.set()
        return find_owner(config)

    monkeypatch.setattr(wiring, "find_owner", find)
    return twice


async def test_an_owner_that_answers_is_found(config: Config) -> None:
    async with answering() as address, contextlib.AsyncExitStack() as stack:
        owner = Ownership.take(config.store_path)
        owner.announce(address, "key", "m")
        found, own = await wiring.find_or_be(config, stack)
        owner.release()
    assert (found.address, found.key, found.model, own) == (address, "key", "m", False)


async def test_one_that_was_killed_holds_the_store_for_a_moment(
    config: Config, dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = looked_for(monkeypatch)
    killed = Ownership.take(config.store_path)
    killed.announce(dead, "key")
    async with contextlib.AsyncExitStack() as stack:
        finding = asyncio.create_task(wiring.find_or_be(config, stack))
        async with within(PATIENCE, "an owner to be looked for again"):
            await twice.wait()
        killed.release()
        found, own = await finding
        assert own
        assert found.address != dead


async def test_another_takes_its_place(config: Config, dead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = looked_for(monkeypatch)
    killed = Ownership.take(config.store_path)
    killed.announce(dead, "key")
    async with answering() as address, contextlib.AsyncExitStack() as stack:
        finding = asyncio.create_task(wiring.find_or_be(config, stack))
        async with within(PATIENCE, "an owner to be looked for again"):
            await twice.wait()
        killed.announce(address, "other")
        found, own = await finding
        killed.release()
    assert (found.address, found.key, own) == (address, "other", False)


async def test_one_that_never_answers_is_named_in_the_end(
    config: Config, dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "PATIENCE", 0.2)
    owner = Ownership.take(config.store_path)
    owner.announce(dead, "key")
    async with contextlib.AsyncExitStack() as stack:
        found, own = await wiring.find_or_be(config, stack)
    owner.release()
    assert (found.address, own) == (dead, False)
