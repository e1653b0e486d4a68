"""Searching a store that is written to, and writing to a store that is searched."""

from __future__ import annotations

import asyncio
import os
import platform
import sqlite3
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.search.figures import KINDS, AtSize, Plan, Results, Spread, spread
from bench.search.filling import OWNER, Filled, fill
from bench.search.words import QUESTION, REPLY, Talk
from palaver.core.message import Message
from palaver.core.searching import read_query
from palaver.finding import Finding
from palaver.stores.base import Scope, Store
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite import SqliteDatabase

PAGE = 20
INDEX = """
SELECT (SELECT sum(length(block)) FROM message_index_data),
       (SELECT sum(length(c0) + length(c1)) FROM message_index_content),
       (SELECT sum(length(body)) FROM messages), (SELECT count(*) FROM messages)
"""


async def measure(folder: Path, plan: Plan, told: Callable[[str], object] = lambda _: None) -> Results:
    """Fill one store to each size, and measure there."""
    path, talk, sizes = folder / "palaver.db", Talk(), []
    await (await SqliteDatabase.open(path)).close()
    for size in plan.sizes:
        told(f"filling to {size:,} messages …")
        begun = time.perf_counter()
        filled = await asyncio.to_thread(fill, path, size, talk)
        seconds = time.perf_counter() - begun
        told(f"searching in {size:,} messages …")
        sizes.append(await _at_size(path, plan, talk, filled, seconds))
    return Results(
        plan=plan,
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
        cores=os.cpu_count(),
        load=os.getloadavg(),
        sizes=sizes,
    )


async def _at_size(path: Path, plan: Plan, talk: Talk, filled: Filled, seconds: float) -> AtSize:
    store = SqlStore(await SqliteDatabase.open(path))
    try:
        writer = Writer(store, Talk(filled.messages), plan.rate)
        await writer.begin()
        alone = await writer.during(asyncio.sleep(plan.writing))
        searches: dict[str, Spread] = {}
        beside: list[float] = []
        for kind in KINDS:
            taken: list[float] = []
            beside += await writer.during(_searches(store, kind, plan.laps, talk, filled, taken))
            searches[kind] = spread(taken)
    finally:
        await store.close()
    with closing(sqlite3.connect(path)) as connection:
        terms, copy, text, count = connection.execute(INDEX).fetchone()
    return AtSize(
        messages=filled.messages,
        searches=searches,
        write=spread(alone),
        write_beside=spread(beside),
        text=text / count,
        terms=terms / count,
        copy=copy / count,
        filled=seconds,
    )


async def _searches(
    store: Store, kind: str, laps: int, talk: Talk, filled: Filled, taken: list[float]
) -> None:
    """Search as the doors do: the best of all that fits, then the excerpts of a page."""
    finding = Finding(store)
    for lap in range(laps + 1):
        text = talk.one_of(filled.texts)
        query = read_query(talk.phrase_of(text) if kind.startswith("phrase") else talk.words_of(text))
        conversation = talk.one_of(filled.conversations) if kind.endswith("conversation") else None
        begun = time.perf_counter()
        matches = await finding.find(OWNER, query, Scope(conversation=conversation))
        page = matches.found[:PAGE]
        await store.excerpts(OWNER, query, [match.message for match in page])
        await store.conversation_names(OWNER, [match.conversation for match in page])
        if lap:  # the first one reads the file
            taken.append(time.perf_counter() - begun)


class Writer:
    """Writes turns at an even rate: a question and its reply each, durably."""

    def __init__(self, store: Store, talk: Talk, rate: float) -> None:
        self._store = store
        self._talk = talk
        self._rate = rate
        self._conversation = ""

    async def begin(self) -> None:
        self._conversation = (await self._store.create_conversation(OWNER, [])).id

    async def during(self, work: Coroutine[Any, Any, None]) -> list[float]:
        """Write until `work` is done; the seconds that each turn took."""
        taken: list[float] = []
        task = asyncio.create_task(work)
        due = time.perf_counter()
        while not task.done():
            begun = time.perf_counter()
            await self._store.add_items(
                OWNER,
                self._conversation,
                [
                    Message("user", self._talk.text(QUESTION)),
                    Message("assistant", self._talk.text(REPLY)),
                ],
            )
            taken.append(time.perf_counter() - begun)
            due += 1 / self._rate
            await asyncio.wait([task], timeout=max(0.0, due - time.perf_counter()))
        await task
        return taken
