"""`palaver serve`: answer apps, until it is told to end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading

from palaver.cli.options import SERVING, WHERE, takes
from palaver.config import Config
from palaver.core.errors import PalaverError, StoreOwned

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
    from palaver.wiring.finding import find_servers_of

    async with assembly.running(config) as running:
        finding = asyncio.ensure_future(find_servers_of(config, running.owner.address))
        starting = asyncio.ensure_future(assembly.start_engine(running))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            starting.cancel()  # told to end while a large model loads
            finding.cancel()
            return
        model = f"{running.owner.model}, {await starting}"
        keys = running.created_keys
        print("\n".join(ready_lines(config, running.owner.address, model, keys)), flush=True)
        if config.no_auth and not config.on_loopback and not config.api_key and keys is None:
            print(f"palaver: {OPEN_TO_ALL}", file=sys.stderr)
        for each in await finding:
            if not each.upstream:
                print(f"found    {each.called} at {each.root}: {each.advice}", flush=True)
        await _until_told(stop, running.serving)
        print("palaver is ending; Ctrl-C again ends it at once.", file=sys.stderr)


async def _until_told(stop: asyncio.Event, serving: asyncio.Task[None]) -> None:
    """Wait until it is to end. Raises PalaverError where the HTTP server has ended by itself before."""
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait((stopping, serving), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not stop.is_set():
        reason = "it was stopped" if serving.cancelled() else serving.exception() or "it does not say why"
        raise PalaverError(f"The HTTP server has ended by itself ({reason}).")


def ready_lines(config: Config, address: str, model: str, created_keys: int | None) -> list[str]:
    """What is said when it answers: first where, then lines to paste, then what it goes by.

    `created_keys` are those of the store that are accepted; None where there never was one.
    """
    key = "any" if created_keys is None and not config.api_key else "YOUR_API_KEY"
    return [
        f"palaver is ready at {address}",
        "",
        f"  export OPENAI_BASE_URL={address}/v1",
        f"  export OPENAI_API_KEY={key}",
        f"  export TOGETHER_BASE_URL={address}",
        f"  export TOGETHER_API_KEY={key}",
        "",
        f"page     {address}/",
        f"store    {config.store_path}",
        f"records  {RECORDED[config.record]} (record = {config.record})",
        f"model    {model}",
        f"access   {_access(config, created_keys)}",
    ]


def _access(config: Config, created_keys: int | None) -> str:
    configured = len(config.api_key)
    if created_keys is None and not configured:
        return "this machine only, any API key" if config.on_loopback else OPEN_TO_ALL
    if created_keys is None:
        return f"with one of {configured} API keys" if configured > 1 else "with the API key"
    among = (
        f"{configured} from the settings and {created_keys} created"
        if configured
        else f"{created_keys} created"
    )
    if configured + created_keys == 0:
        return "with a created API key, but none is valid (`palaver keys add NAME` makes one)"
    return f"with an API key: {among} (`palaver keys` lists those)"


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
