"""Runs one palaver for a benchmark and prints where it answers, and where its worker does, as a line of JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import aiohttp

from palaver.cli import logs
from palaver.config import load
from palaver.engines.llama import LlamaEngine
from palaver.wiring import assembly


async def main(flags: dict[str, Any]) -> None:
    config = load(flags, environment={})
    logs.configure(config)
    async with assembly.running(config) as running:
        told: dict[str, Any] = {"address": running.owner.address}
        engine = (await running.chat.catalog.find(running.owner.model)).engine
        if isinstance(engine, LlamaEngine):
            await engine.start()
            worker = engine._supervisor.running
            assert worker is not None
            connector = worker.session.connector
            assert isinstance(connector, aiohttp.UnixConnector)
            told |= {"socket": connector.path, "headers": dict(worker.session.headers), "worker": worker.pid}
        print(json.dumps(told), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
