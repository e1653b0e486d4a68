"""What the scripted engine says: a reply as its line and the request want it, cut into the deltas it is told in."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from palaver.core.errors import InvalidRequest, UnsupportedParameter
from palaver.core.message import Message
from palaver.core.parameters import Format, NamedTool, Parameters, Tool
from palaver.core.turn import (
    ContentDelta,
    Delta,
    FinishReason,
    ReasoningDelta,
    TokenLogprob,
    ToolCallDelta,
    TopLogprob,
)
from palaver.engines.scripted.least import least
from palaver.engines.scripted.script import Line, ScriptedCall, question
from palaver.engines.scripted.tokens import TOKEN

FIRST_WORDS = 8
"""As many words of the question stand in a reply that no script gives."""
OTHER_TOKENS = (
    *(
        "the",
        "of",
        "and",
        "to",
        "a",
        "in",
        "is",
        "it",
        "you",
        "that",
        "he",
        "was",
        "for",
        "on",
        "are",
        "with",
    ),
    *("as", "I", "his", "they", "be"),
)
"""What might have stood in a token's place."""

_encode = msgspec.json.Encoder().encode


class Said(msgspec.Struct, frozen=True):
    """One reply, in deltas of a token each. `thought` says how many of them are thinking; `limit` cuts what is
    longer."""

    deltas: list[Delta]
    reason: FinishReason
    thought: int


def said(
    line: Line, prompt: Prompt, parameters: Parameters, choice: int, limit: int | None, begun: str = ""
) -> Said:
    """One choice of the reply. `limit` is in tokens; `begun` is what has been said of it before.

    Raises UnsupportedParameter and InvalidRequest for a form that it cannot have.
    """
    thinks = parameters.reasoning is not False and parameters.reasoning_effort != "none"
    thought = TOKEN.findall(line.reasoning) if thinks else []
    calls = _calls(line, prompt.tools, parameters)
    text, is_stopped = _until_stop(
        _text(line, prompt, parameters, choice, has_calls=bool(calls)).removeprefix(begun), parameters.stop
    )
    deltas: list[Delta] = [ReasoningDelta(token, choice) for token in thought]
    deltas += [
        ContentDelta(token, choice, _logprobs(token, i, parameters.logprobs))
        for i, token in enumerate(TOKEN.findall(text))
    ]
    if not is_stopped:
        for index, call in enumerate(calls):
            deltas += _pieces(call, index, choice, prompt.mark(parameters.seed, choice, index))
    reason: FinishReason = "tool_calls" if calls and not is_stopped else "stop"
    if limit is not None and len(deltas) > limit:
        deltas, reason = deltas[:limit], "length"
    return Said(deltas, reason, min(len(thought), len(deltas)))


class Prompt(msgspec.Struct, frozen=True):
    """What is answered. `gap` is the text after the reply, None where there is none; `is_text` says that the one
    message is a text to go on with."""

    messages: Sequence[Message]
    tools: Sequence[Tool] = ()
    gap: str | None = None
    is_text: bool = False

    def mark(self, seed: int | None, choice: int = 0, call: int | None = None) -> str:
        """A hash by which replies to any two prompts differ."""
        about: list[object] = [self.messages, seed]
        # Only what differs from a plain question is told, so that its reply stays what it always was.
        if self.gap is not None or choice or call is not None:
            about += [self.gap, choice, call]
        return blake2b(_encode(about), digest_size=4).hexdigest()


def default_reply(prompt: Prompt, parameters: Parameters, choice: int = 0) -> str:
    """The reply where no script gives one."""
    mark = prompt.mark(parameters.seed, choice)
    if prompt.is_text:
        return f" and so on [{mark}]"
    number = sum(message.role == "user" for message in prompt.messages)
    asked = " ".join(question(prompt.messages).split()[:FIRST_WORDS])
    return f"Reply {number} to: {asked} [{mark}]"


def _text(line: Line, prompt: Prompt, parameters: Parameters, choice: int, *, has_calls: bool) -> str:
    scripted = line.text(choice)
    if parameters.format is not None and parameters.format.type == "regex":
        return _matching(scripted, parameters.format)
    if scripted is not None:
        return scripted
    if has_calls:
        return ""
    plain = default_reply(prompt, parameters, choice)
    match parameters.format:
        case Format(type="json_schema", schema=schema):
            return _json(least(True if schema is None else schema, "response_format.json_schema.schema"))
        case Format(type="json_object"):
            return _json({"reply": plain})
    return plain


def _matching(scripted: str | None, form: Format) -> str:
    """Only a script says texts of a form that nobody but its author can make up."""
    try:
        fits = scripted is not None and re.fullmatch(form.pattern or "", scripted)
    except re.error as error:
        raise InvalidRequest(
            f"`response_format.pattern` is no regular expression: {error}.", param="response_format.pattern"
        ) from None
    if scripted is None or not fits:
        raise UnsupportedParameter(
            "The scripted engine has no reply in its script that matches this pattern.",
            param="response_format.pattern",
        )
    return scripted


def _calls(line: Line, tools: Sequence[Tool], parameters: Parameters) -> list[ScriptedCall]:
    choice = parameters.tool_choice
    if not tools or choice == "none":
        return []
    calls = line.tool_calls
    if isinstance(choice, NamedTool):
        calls = [call for call in calls if call.name == choice.name]
    if not calls and choice not in (None, "auto"):
        calls = [_made_up(tools, choice)]
    return calls[:1] if parameters.parallel_tool_calls is False else calls


def _made_up(tools: Sequence[Tool], choice: object) -> ScriptedCall:
    """The least call of the function that is named, or of the first."""
    name = choice.name if isinstance(choice, NamedTool) else tools[0].name
    for i, tool in enumerate(tools):
        if tool.name == name:
            arguments = least(tool.parameters or {"type": "object"}, f"tools[{i}].function.parameters")
            return ScriptedCall(name=name, arguments=arguments if isinstance(arguments, dict) else {})
    raise InvalidRequest(f"There is no tool {name!r} in `tools`.", param="tool_choice")


def _pieces(call: ScriptedCall, index: int, choice: int, mark: str) -> list[Delta]:
    """A call as it is told: its name first, then its arguments, a token at a time."""
    arguments = call.arguments if isinstance(call.arguments, str) else _json(call.arguments)
    return [
        ToolCallDelta(index, f"call_{mark}", call.name, choice=choice),
        *(ToolCallDelta(index, arguments=token, choice=choice) for token in TOKEN.findall(arguments)),
    ]


def _json(value: Any) -> str:
    """JSON with spaces, so that it has tokens."""
    return json.dumps(value, ensure_ascii=False)


def _until_stop(text: str, stops: list[str] | None) -> tuple[str, bool]:
    """A text up to the first of these stops, and whether there was one."""
    cuts = [text.index(stop) for stop in stops or () if stop and stop in text]
    return (text[: min(cuts)], True) if cuts else (text, False)


def _logprobs(token: str, place: int, most: int | None) -> list[TokenLogprob]:
    """Made up: the token has more than half of the probability, and each of the others half of what is left."""
    if most is None:
        return []
    drawn = blake2b(f"{place} {token}".encode(), digest_size=1).digest()[0]
    left = (drawn + 1) / 1024  # from 0.1 to 25 %
    space = " " if token.startswith(" ") else ""
    others = [space + other for other in OTHER_TOKENS if space + other != token]
    top = [_likely(token, 1 - left), *(_likely(o, left / 2**i) for i, o in enumerate(others[:19], 1))]
    return [
        TokenLogprob(token, top[0].logprob, top[0].bytes, top=top[:most]),
    ]


def _likely(token: str, probability: float) -> TopLogprob:
    return TopLogprob(token, math.log(probability), list(token.encode()))
