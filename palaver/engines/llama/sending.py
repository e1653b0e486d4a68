"""A plan as the worker gets it, shown and counted."""

from __future__ import annotations

from typing import Any

import msgspec

from palaver.core.thinking import OPEN
from palaver.engines.llama import asking
from palaver.engines.llama.plan import Plan
from palaver.engines.llama.workers import Worker


class Request(msgspec.Struct, frozen=True):
    """`prompt` is the text of the prompt, where that was asked for."""

    path: str
    fields: dict[str, Any]
    prompt: str | None = None


async def prepared(plan: Plan, worker: Worker, *, echo: bool) -> Request:
    """The request of a plan; with `echo` the text of its prompt, too. Raises what `asking.ask` does."""
    if plan.way == "chat":
        prompt = await asking.render(worker, plan.prompt) if echo else None
        return Request(asking.CHAT, plan.prompt | plan.fields, prompt=prompt)
    if plan.way == "rendered":
        prompt, begun = await _text(plan, worker)
        given: dict[str, Any] = {"prompt": prompt}
    else:
        begun, given = False, plan.prompt
        prompt = await _shown(plan.prompt["prompt"], worker) if echo else None
    grammar = plan.grammar(begun=begun)
    held = {"grammar": grammar.text} if grammar is not None else {}
    return Request(asking.TEXT, given | plan.fields | held, prompt if echo else None)


async def counted(plan: Plan, worker: Worker) -> int:
    """How many tokens the prompt has. Raises what `asking.ask` does."""
    if plan.way == "chat":
        return await asking.count(worker, plan.prompt)
    return await asking.count_text(worker, (await _text(plan, worker))[0])


async def _text(plan: Plan, worker: Worker) -> tuple[str, bool]:
    """The text of the prompt, and whether the template begins the model's thoughts. The tag is left to the model:
    only what it writes itself counts for a limit on thoughts."""
    text = await asking.render(worker, plan.prompt) + plan.tail
    begun = not plan.tail and text.rstrip().endswith(OPEN)
    return (text.rstrip().removesuffix(OPEN), True) if begun else (text, False)


async def _shown(prompt: str | list[Any], worker: Worker) -> str:
    """The text of what is gone on with: texts and the numbers of tokens in turn."""
    if isinstance(prompt, str):
        return prompt
    pieces = [
        piece if isinstance(piece, str) else await asking.detokenize(worker, [piece])
        for piece in (prompt if any(isinstance(piece, str) for piece in prompt) else ())
    ]
    return "".join(pieces) if pieces else await asking.detokenize(worker, prompt)
