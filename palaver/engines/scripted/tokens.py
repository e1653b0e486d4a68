"""The tokens of the scripted engine: how texts are cut and what things cost, by the rule of the package."""

from __future__ import annotations

import re
from collections.abc import Iterable

from palaver.core.message import Message, TextPart
from palaver.core.parameters import Tool

TOKEN = re.compile(r" [^ ]*|[^ ]+")


def text_tokens(text: str) -> int:
    """
    >>> text_tokens("three short words"), text_tokens(" one"), text_tokens("")
    (3, 1, 0)
    """
    return text.count(" ") + (1 if text and not text.startswith(" ") else 0)


def prompt_tokens(messages: Iterable[Message], tools: Iterable[Tool] = ()) -> int:
    """The length of a prompt."""
    return sum(map(_message_tokens, messages)) + sum(map(tool_tokens, tools))


def tool_tokens(tool: Tool) -> int:
    """
    >>> tool_tokens(Tool(name="look", description="Look around", parameters={"properties": {"at": {}}}))
    4
    """
    properties = (tool.parameters or {}).get("properties")
    return 1 + text_tokens(tool.description or "") + (len(properties) if isinstance(properties, dict) else 0)


def _message_tokens(message: Message) -> int:
    tokens = 1 + text_tokens(message.reasoning or message.reasoning_content or "")
    if isinstance(message.content, str):
        tokens += text_tokens(message.content)
    else:
        for part in message.content or ():
            tokens += text_tokens(part.text) if isinstance(part, TextPart) else 1
    for call in message.tool_calls or ():
        tokens += 1 + text_tokens(call.function.arguments)
    return tokens


def words_of(numbers: Iterable[int]) -> str:
    """The text that token numbers stand for.

    >>> words_of([7, 12])
    '#7 #12'
    """
    return " ".join(f"#{number}" for number in numbers)
