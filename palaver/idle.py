"""What happens between turns: recovery at start."""

from __future__ import annotations

import structlog

from palaver.chat import Chat

log = structlog.get_logger(__name__)


async def recover(chat: Chat) -> list[str]:
    """Close what a process that died left running, with the text it had. To be called before the first turn.

    Returns the ids of the turns. Raises StoreError.
    """
    turns = await chat.store.recover(chat.lease)
    if turns:
        log.info("closed turns that a former process left running", turns=len(turns))
    return turns
