"""What turns begin with: the path that their windows are chosen of, stored or as it was sent."""

from __future__ import annotations

from functools import partial

from palaver.chat.request import ChatRequest
from palaver.core.calls import check_results
from palaver.core.errors import InvalidRequest
from palaver.core.message import RESULTS
from palaver.core.path import Step
from palaver.core.tree import History, apart
from palaver.running import Beginning
from palaver.stores.base import Prompt, Store


async def beginning(store: Store, owner: str, history: History, prompt: Prompt, *, exact: bool) -> Beginning:
    """What a turn begins with that has this prompt.

    Raises InvalidRequest for the result of a tool that answers no call; StoreError.
    """
    begins = Beginning(
        prompt.steps,
        sent=history.messages,
        sent_instructions=len(history.instructions),
        instructions=prompt.instructions,
        gap=prompt.gap,
        exact=exact,
        above=prompt.above,
        beside=prompt.beside,
        window=prompt.window,
        continues=prompt.continues,
        opening=prompt.opening,
        summaries=prompt.summaries,
        notes=prompt.notes,
        continued=prompt.continued,
        conversation=prompt.conversation,
        reach=partial(store.path, owner),
    )
    if exact:  # else all of the history came with the request, and was looked at there
        await _check(begins)
    return begins


def unstored_of(request: ChatRequest) -> Beginning:
    """What a turn begins with that is not stored: its messages, as they came."""
    instructions, kept = apart([*request.instructions, *request.messages])
    steps = [Step(depth, message) for depth, message in enumerate(kept)]
    return Beginning(
        steps, sent=kept, sent_instructions=len(instructions), instructions=instructions, is_sent=True
    )


async def unstored(request: ChatRequest) -> Beginning:
    """The same, for whoever waits for it as for a stored one."""
    return unstored_of(request)


async def _check(begins: Beginning) -> None:
    """Raises InvalidRequest where a result that was sent answers no call above it, however far up that is."""
    if not any(message.role in RESULTS for message in begins.sent):
        return
    try:
        _check_read(begins)
    except InvalidRequest:
        if begins.top == 0:
            raise
        await begins.reach(0)
        _check_read(begins)


def _check_read(begins: Beginning) -> None:
    opening = {step.depth for step in begins.opening}  # their places are empty, but they may have been sent
    messages = [step.message for step in begins.steps if not step.deleted or step.depth in opening]
    check_results(messages, len(messages) - len(begins.sent), begins.sent_instructions)
