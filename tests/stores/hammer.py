"""A process that owns a store, to be killed. Run as `python -m tests.stores.hammer PATH WHAT`.

`own` announces itself and waits. `write` admits, logs and ends turns for ever. `share` does so at the head of one
conversation, where turns wait for each other; a third argument, JSON, has for each client the question that it
asked before and how often, or null. Each line on standard output is JSON, written when the store has acknowledged
what it tells; only of what it sends it tells before.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

from palaver.core.errors import StoreOwned
from palaver.core.message import Message
from palaver.core.turn import TurnState
from palaver.stores.base import Attempt
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite import SqliteDatabase
from tests.stores.talking import Talker, assistant, new_epoch, user

ADDRESS = "http://127.0.0.1:7400"
CLIENTS = 4


def tell(**what: object) -> None:
    print(json.dumps(what), flush=True)


async def own(path: Path) -> None:
    try:
        store = SqlStore(await SqliteDatabase.open(path))
    except StoreOwned as error:
        tell(refused=error.address, message=error.message)
        return
    await store.announce(ADDRESS, "key", "model")
    tell(owned=True)
    await asyncio.to_thread(sys.stdin.read)
    await store.close()


async def write(path: Path) -> None:
    store = SqlStore(await SqliteDatabase.open(path))
    await asyncio.gather(*(hammer(store, f"client {i} of {os.getpid()}") for i in range(CLIENTS)))


async def hammer(store: SqlStore, name: str) -> None:
    talker = Talker(store, end_user=name)
    history: list[Message] = []
    for i in itertools.count():
        history.append(user(f"question {i}"))
        admitted = await talker.admit(history)
        tell(turn=admitted.turn, asked=f"question {i}")
        epoch = new_epoch()
        await talker.show(admitted.turn, epoch, len(history))
        tell(turn=admitted.turn, shown=epoch.id)
        for batch in range(3):
            await talker.log(admitted.turn, batch, f"answer {i} ", f"part {batch} ")
            tell(turn=admitted.turn, said=f"answer {i} part {batch} ")
        text = "".join(f"answer {i} part {batch} " for batch in range(3))
        await talker.end(admitted.turn, text)
        tell(turn=admitted.turn, ended=text)
        history.append(assistant(text))


async def share(path: Path) -> None:
    lease = f"lease of {os.getpid()}"
    pending: list[list[Any] | None] = json.loads(sys.argv[3])
    store = SqlStore(await SqliteDatabase.open(path))
    for turn in await store.recover(lease):
        tell(closed=turn)
    talker = Talker(store, lease=lease)
    await asyncio.gather(*(share_one(talker, client, open) for client, open in enumerate(pending)))


async def share_one(talker: Talker, client: int, pending: list[Any] | None) -> None:
    """Ask, wait, be answered, for ever; first what was asked before, as its repetition."""
    for i in itertools.count():
        question, count = pending or (f"question {i} of client {client} of {os.getpid()}", 0)
        pending = None
        tell(client=client, sends=question, count=count)
        attempt = Attempt(route="hammer", body=question.encode(), count=count)
        admitted = await talker.admit([user(question)], "room", at_head=True, attempt=attempt, max_waiting=99)
        turn = admitted.turn
        if not admitted.joined:
            waits = admitted.state is TurnState.QUEUED
            while waits and not await talker.store.begin(turn, talker.lease):
                await asyncio.sleep(0.001)
            await talker.log(turn, 0, f"answer to {question}: ")
            await talker.log(turn, 1, "yes")
            await talker.end(turn, f"answer to {question}: yes")
        tell(client=client, answered=question, turn=turn, joined=admitted.joined)


if __name__ == "__main__":
    asyncio.run({"own": own, "write": write, "share": share}[sys.argv[2]](Path(sys.argv[1])))
