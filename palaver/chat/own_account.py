"""What palaver asks a model on its own account, beside all turns: nothing is kept of it but what comes of it."""

from __future__ import annotations

import contextlib

import msgspec

from palaver.core.errors import EngineRefused, RequestError
from palaver.core.message import Message
from palaver.core.parameters import Parameters
from palaver.core.reply import replies
from palaver.core.turn import Delta, Finish, Usage
from palaver.core.window import Window
from palaver.engines.base import Model, Options

REFUSED = (400, 422)
"""What servers say of parameters and messages that a model does not take."""


class Answer(msgspec.Struct, frozen=True):
    """What a model said; not `is_whole` where it was cut off. `usage` is None where nobody counted."""

    text: str
    is_whole: bool
    usage: Usage | None = None


async def ask(
    model: Model, window: Window, instruction: str, question: str, most: int, *, idle: bool = True
) -> Answer:
    """What a model answers in at most so many tokens. `window` says whose it is, and has no messages: what is computed
    of it is none of a conversation's. Unless it is `idle` somebody waits for it.

    Raises what `Engine.generate` does.
    """
    thinking = False if "reasoning" in model.engine.capabilities else None
    careful = Parameters(max_tokens=most, temperature=0.0, reasoning=thinking)
    messages = (Message("system", instruction), Message("user", question))
    try:
        return await _answer(model, window, messages, careful, idle)
    except (EngineRefused, RequestError) as error:
        if isinstance(error, EngineRefused) and error.status not in REFUSED:
            raise
    # There are templates without instructions, and models that cannot but think, at a temperature of their own.
    simple = (Message("user", f"{instruction}\n\n{question}"),)
    return await _answer(model, window, simple, Parameters(max_tokens=most), idle)


async def _answer(
    model: Model, window: Window, messages: tuple[Message, ...], parameters: Parameters, idle: bool
) -> Answer:
    window = msgspec.structs.replace(window, messages=messages)
    options = Options(model=model.served_as, parameters=parameters.over(model.defaults), idle=idle)
    deltas: list[Delta] = []
    async with contextlib.aclosing(model.engine.generate(window, options)) as events:
        async for event in events:
            if isinstance(event, Finish):
                return Answer(replies(deltas)[0].content, event.reason == "stop", event.usage)
            if isinstance(event, Delta):
                deltas.append(event)
    return Answer("", is_whole=False)
