"""What goes on whoever leaves: then its end is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

_T = TypeVar("_T")


async def to_its_end(work: Coroutine[Any, Any, _T]) -> _T:
    """Do this, all of it: who is cancelled meanwhile hears of that when it is done. A worker goes on with what it was
    asked, and a thread with what it was given; until then nobody else may have the slot or the file."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # nobody hears of a failure any more
        raise
