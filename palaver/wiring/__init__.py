"""The only room that knows both settings and rooms: it puts one palaver together (`assembly`) and finds others.

Finding the owner of a store needs little; what answers needs a lot, and is imported by whoever becomes it.
"""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit

from palaver.config import Config
from palaver.core.errors import StoreOwned, StoreUnavailable
from palaver.stores.ownership import Owner
from palaver.stores.ownership import find_owner as find_owner_of

__all__ = ["Owner", "find_or_be", "find_owner"]

PATIENCE = 10.0
"""How long to wait for an owner that is just starting or stopping, in seconds."""


def find_owner(config: Config) -> Owner | None:
    """The process that owns the store and answers, or None."""
    return find_owner_of(config.store_path)


async def find_or_be(config: Config, stack: contextlib.AsyncExitStack) -> tuple[Owner, bool]:
    """The process that owns the store and answers; where there is none, this one until the stack is closed.

    Says whether it is this one. Raises StoreError and ConfigError.
    """
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        owner = find_owner(config)
        is_late = asyncio.get_running_loop().time() > deadline
        if owner is not None:
            # One that was killed goes bit by bit: it may hold the store for a moment after its connections broke.
            if is_late or await _is_reached(owner):
                return owner, False
        else:
            try:
                # All that answers is imported here: it takes half a second that a mere client need not wait.
                from palaver.wiring import assembly  # noqa: PLC0415

                running = await stack.enter_async_context(assembly.running(config, private=True))
                return running.owner, True
            except StoreOwned as error:
                # Another process was quicker, or is on its way out: look again until it says where it answers.
                if is_late:
                    raise StoreUnavailable(error.message) from error
        await asyncio.sleep(0.05)


async def _is_reached(owner: Owner) -> bool:
    """Whether something takes connections at the owner's address."""
    place = urlsplit(owner.address)
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(place.hostname, place.port)
    except OSError:  # a timeout is one
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
