"""`palaver serve`: answer apps, until it is told to end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading

from palaver.cli.options import SERVING, WHERE, takes
from palaver.config import Config
from palaver.core.errors import StoreOwned

PATIENCE = 1.0
"""How long to wait for a store that another process holds, in seconds: `palaver list` is soon done."""
OPEN_TO_ALL = "ANYBODY who reaches this machine can read and write every conversation (no_auth)"
RECORDED = {
    "all": "every turn",
    "asked": "turns that ask for it (`store` or `conversation` in the request)",
    "none": "nothing",
}


@takes(*SERVING, *WHERE)
def serve(config: Config) -> None:
    """Answer apps over HTTP.

    It speaks OpenAI's and Together's chat API, and keeps every conversation. Says "palaver is ready at …" on
    standard output when it is. Ctrl-C ends it and keeps what was said so far; the next ends it at once.
    """
    from palaver.cli.link import run

    run(_serve(config), config, quiet=False)


async def _serve(config: Config) -> None:
    stop = _told_to_end()
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            await _run(config, stop)
            return
        except StoreOwned:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.05)


async def _run(config: Config, stop: asyncio.Event) -> None:
    from palaver.wiring import assembly

    async with assembly.running(config) as running:
        starting = asyncio.ensure_future(assembly.start_engine(running))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            starting.cancel()  # told to end while a large model loads
            return
        model = f"{running.owner.model}, {await starting}"
        print("\n".join(ready_lines(config, running.owner.address, model)), flush=True)
        if config.no_auth and not config.on_loopback and not config.api_key:
            print(f"palaver: {OPEN_TO_ALL}", file=sys.stderr)
        await stop.wait()
        print("palaver is ending; Ctrl-C again ends it at once.", file=sys.stderr)


def ready_lines(config: Config, address: str, model: str) -> list[str]:
    """What is said when it answers: first where, then lines to paste, then what it goes by."""
    key = "YOUR_API_KEY" if config.api_key else "any"
    return [
        f"palaver is ready at {address}",
        "",
        f"  export OPENAI_BASE_URL={address}/v1",
        f"  export OPENAI_API_KEY={key}",
        f"  export TOGETHER_BASE_URL={address}",
        f"  export TOGETHER_API_KEY={key}",
        "",
        f"page     {address}/docs",
        f"store    {config.store_path}",
        f"records  {RECORDED[config.record]} (record = {config.record})",
        f"model    {model}",
        f"access   {_access(config)}",
    ]


def _access(config: Config) -> str:
    if config.api_key:
        return (
            f"with one of {len(config.api_key)} API keys" if len(config.api_key) > 1 else "with the API key"
        )
    return "this machine only, any API key" if config.on_loopback else OPEN_TO_ALL


def _told_to_end() -> asyncio.Event:
    """Set by SIGINT and SIGTERM; the second of them ends the process, whatever it is doing."""
    stop, loop, told = asyncio.Event(), asyncio.get_running_loop(), threading.Event()

    def heard(number: int, _: object) -> None:
        if told.is_set():
            os._exit(128 + number)
        told.set()
        loop.call_soon_threadsafe(stop.set)

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, heard)
    return stop
