"""What a reply waits for before anything of it comes."""

from __future__ import annotations

from typing import Literal

import msgspec

from palaver.core.turn import InLine, Prefilled, Progress


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """`queue`: turns before it in its conversation (`ahead`: how many of this process). `place`: the model's engine has
    no free place (`ahead`: how many turns go before it). `loading`: the model is being loaded (`progress`: how much of
    it is). `prompt`: the model is asked, or about to be, and has said nothing yet (`tokens`: how long the prompt is,
    `progress`: how much of it is read).

    `progress` is from 0 to 1. What is not known is None, and so is what says nothing here.
    """

    what: Literal["queue", "place", "loading", "prompt"]
    progress: float | None = None
    ahead: int | None = None
    tokens: int | None = None


PROMPT = Waiting(what="prompt")
"""All that is known where an engine tells nothing."""


def waiting_for(event: Progress) -> Waiting:
    """
    >>> waiting_for(Prefilled(30, 120)).progress, waiting_for(Prefilled()) == PROMPT, waiting_for(InLine(2)).ahead
    (0.25, True, 2)
    """
    match event:
        case InLine(ahead):
            return Waiting(what="place", ahead=ahead)
        case Prefilled(done, of) if of > 0:
            return Waiting(what="prompt", progress=min(1.0, max(0, done) / of), tokens=of)
    return PROMPT
