"""How long messages are by themselves, counted by the worker: many of them with one question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from palaver.core.errors import EngineRefused
from palaver.core.message import Message, RefusalPart, TextPart
from palaver.engines.llama import asking
from palaver.engines.llama.tools import Escape
from palaver.engines.llama.workers import Worker

BETWEEN = -1
"""Stands between two texts: the number of no token. llama.cpp passes numbers among texts through as they are."""
AT_ONCE = 500
"""As many texts are in one question."""


def countable(message: Message, escape: Escape) -> str:
    """The text of a message that any template shows: what it says, and the names and arguments of its calls.

    Thinking is left out: templates leave that of earlier replies out, too.
    """
    if isinstance(message.content, str):
        texts = [message.content]
    else:
        parts = message.content or ()
        texts = [part.text for part in parts if isinstance(part, TextPart)]
        texts += [part.refusal for part in parts if isinstance(part, RefusalPart)]
    calls = [call.function for call in message.tool_calls or ()]
    if message.function_call is not None:
        calls.append(message.function_call)
    for call in calls:
        texts += [call.name, call.arguments]
    return escape("\n".join(texts)) if len(texts) > 1 else escape("".join(texts))


async def message_tokens(messages: Sequence[Message], worker: Worker, escape: Escape) -> list[int]:
    """How many tokens each message has. Raises what `asking.ask` does."""
    counts: list[int] = []
    for at in range(0, len(messages), AT_ONCE):
        counts += await _counted(
            [countable(message, escape) for message in messages[at : at + AT_ONCE]], worker
        )
    return counts


async def _counted(texts: Sequence[str], worker: Worker) -> list[int]:
    pieces: list[Any] = []
    for text in texts:
        pieces += (text, BETWEEN)
    counts, run = [], 0
    for token in await asking.tokenize(worker, pieces):
        if token == BETWEEN:
            counts.append(run)
            run = 0
        else:
            run += 1
    if len(counts) != len(texts):
        raise EngineRefused("The model server does not count texts one by one.", status=502)
    return counts
