"""What is said: histories of about so many tokens, and what a turn adds to them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from bench.turns import talk
from bench.turns.models import own_tokens
from bench.warm.home import OWNER, Home
from palaver.core.message import Message
from palaver.core.window import Window
from palaver.engines.base import Options

MOST = 100_000
_MODEL = "any"


def questions(count: int, seed: int) -> list[str]:
    return list(islice(talk.questions(seed), count))


async def own(home: Home, asked: Sequence[str]) -> list[int]:
    """How many tokens each question adds to a prompt, with what the template puts between two replies."""
    return await own_tokens(home.engine, _MODEL, asked)


async def history(home: Home, tokens: int, seed: int) -> list[Message]:
    """Questions and replies that make a prompt of at most so many tokens, and end in a question."""
    asked, replies = talk.questions(seed), talk.replies(seed)
    said = [Message("user", next(asked))]
    length = await _tokens(home, said)
    once = 2 * length - await _tokens(home, said * 2)  # what stands in a prompt once, however long it is
    for reply, question in islice(zip(replies, asked, strict=False), MOST):
        more = [Message("assistant", reply), Message("user", question)]
        length += await _tokens(home, more) - once
        if length > tokens:
            break
        said += more
    return said


async def system(home: Home, tokens: int, seed: int) -> Message:
    """A system prompt of at most so many tokens."""
    texts = talk.replies(seed)
    said = next(texts)
    for text in islice(texts, MOST):
        if await _tokens(home, [Message("system", f"{said} {text}")]) > tokens:
            break
        said = f"{said} {text}"
    return Message("system", said)


async def _tokens(home: Home, messages: Sequence[Message]) -> int:
    window = Window(owner=OWNER, conversation=None, turn="", messages=tuple(messages))
    return await home.engine.count(window, Options(model=_MODEL))
