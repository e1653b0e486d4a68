"""How a model's template writes calls: learned from a worker that runs it, once for each worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from palaver.core.errors import EngineRefused
from palaver.engines.llama import asking
from palaver.engines.llama.calls import MARK, PROBE, CallForm, call_form
from palaver.engines.llama.workers import Worker

QUESTION = {"role": "user", "content": "x"}
TEXT = {"role": "assistant", "content": "#~#"}
"""Begins with nothing that a call may begin with."""
TOOL = {
    "type": "function",
    "function": {
        "name": PROBE,
        "description": "x",
        "parameters": {"type": "object", "properties": {MARK: {"type": "integer"}}},
    },
}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {"id": "call00000", "type": "function", "function": {"name": PROBE, "arguments": f'{{"{MARK}": 1}}'}}
    ],
}


class ToolLore(msgspec.Struct, frozen=True):
    """`shown` says whether the model is shown its tools at all; `form` is how it is to write calls, None where a
    reply cannot be begun with one."""

    shown: bool = True
    form: CallForm | None = None


class Lore:
    """`special` are the tokens that are never text, with their numbers."""

    def __init__(self, special: Mapping[str, int]) -> None:
        self._special = special
        self._worker: Worker | None = None
        self._tools = ToolLore()

    async def tools(self, worker: Worker) -> ToolLore:
        """Raises EngineUnavailable, EngineTimeout."""
        if self._worker is not worker:
            self._tools = await self._learn(worker)
            self._worker = worker
        return self._tools

    async def _learn(self, worker: Worker) -> ToolLore:
        async def rendered(*messages: dict[str, Any]) -> str:
            asked = {"messages": messages, "tools": [TOOL], "add_generation_prompt": False}
            return await asking.render(worker, asked)

        try:
            without = await rendered(QUESTION)
            if PROBE not in without:
                return ToolLore(shown=False)
            said, called = await rendered(QUESTION, TEXT), await rendered(QUESTION, CALL)
        except EngineRefused:
            return ToolLore()  # the template cannot show a call like this one
        return ToolLore(form=call_form(without, said, called, self._special))
