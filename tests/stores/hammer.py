"""A process that owns a store, to be killed. Run as `python -m tests.stores.hammer PATH WHAT`.

`own` announces itself and waits. `write` admits, logs and ends turns for ever. Each line on standard output
is JSON, written when the store has acknowledged what it tells.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from pathlib import Path

from palaver.core.errors import StoreOwned
from palaver.core.message import Message
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite import SqliteDatabase
from tests.stores.talking import Talker, assistant, user

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
        for batch in range(3):
            await talker.log(admitted.turn, batch, f"answer {i} ", f"part {batch} ")
            tell(turn=admitted.turn, said=f"answer {i} part {batch} ")
        text = "".join(f"answer {i} part {batch} " for batch in range(3))
        await talker.end(admitted.turn, text)
        tell(turn=admitted.turn, ended=text)
        history.append(assistant(text))


if __name__ == "__main__":
    asyncio.run({"own": own, "write": write}[sys.argv[2]](Path(sys.argv[1])))
