"""A reply as it comes from the server, and what it has come to so far."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import aiohttp
import msgspec

from palaver.core.errors import EngineUnavailable, PalaverError


class Piece(msgspec.Struct, frozen=True):
    """A piece of a reply as it comes; one of the two texts is empty. `choice` says of which reply it is, from 0, where
    several were asked for (`n`)."""

    text: str = ""
    reasoning: str = ""
    choice: int = 0


class Choice(msgspec.Struct):
    """One of the replies to a question, as far as it has come.

    `tool_calls` are as the API has them: ``{"id", "type", "function": {"name", "arguments"}}``, the arguments JSON
    text. `logprobs` are OpenAI's entries, one a token, where they were asked for with ``logprobs=True``.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: list[dict[str, Any]] = []
    logprobs: list[dict[str, Any]] = []
    finish_reason: str | None = None

    @property
    def message(self) -> dict[str, Any]:
        """It as a message of a history, to be sent back."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.reasoning:
            message["reasoning"] = self.reasoning
        if self.tool_calls:
            message |= {"content": self.text or None, "tool_calls": self.tool_calls}
        return message


class Reply:
    """A reply that is being streamed. `finish_reason`, `usage`, `warnings`, `prompt` and `context` are known after the
    last piece.

    `turn` is the id (``chatcmpl-…``), `conversation` is None where the turn is not stored. `choices` are all replies
    that were asked for (`n`); what is said of the reply itself is the first one's. `prompt` is what the model saw,
    where it was asked for (`echo`), `context` the receipt of that (`context`): which messages it saw, which not, and
    why.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        conversation = response.headers.get("palaver-conversation")
        self.turn = response.headers.get("palaver-turn", "")
        self.conversation = None if conversation in (None, "none") else conversation
        self.model = ""
        self.choices = [Choice()]
        self.usage: Mapping[str, Any] | None = None
        self.warnings: list[str] = []
        self.prompt: str | None = None
        self.context: dict[str, Any] | None = None
        self._response = response

    @property
    def text(self) -> str:
        return self.choices[0].text

    @property
    def reasoning(self) -> str:
        """What the model thought before it answered."""
        return self.choices[0].reasoning

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The calls that the model asks for, as the API has them."""
        return self.choices[0].tool_calls

    @property
    def finish_reason(self) -> str | None:
        return self.choices[0].finish_reason

    @property
    def message(self) -> dict[str, Any]:
        """The reply as a message of a history, to be sent back."""
        return self.choices[0].message

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """The pieces of text and thinking. Raises PalaverError for an error in mid-reply."""
        try:
            async for line in self._response.content:
                if line.startswith(b"data: {"):
                    for piece in self._read(msgspec.json.decode(line[6:])):
                        yield piece
        except aiohttp.ClientError as error:
            raise EngineUnavailable("The connection to palaver broke in mid-reply.") from error
        if any(choice.finish_reason is None for choice in self.choices):
            raise EngineUnavailable("The connection to palaver ended in mid-reply.")

    def _read(self, chunk: dict[str, Any]) -> Iterator[Piece]:
        if "error" in chunk:
            raise PalaverError(chunk["error"].get("message"))
        self.model = chunk.get("model") or self.model
        self.usage = chunk.get("usage") or self.usage
        self.warnings += [warning["message"] for warning in chunk.get("warnings") or ()]
        self.context = chunk.get("context") or self.context
        if prompt := chunk.get("prompt"):
            self.prompt = "".join(part.get("text") or "" for part in prompt)
        for choice in chunk["choices"]:
            piece = self._add(choice)
            if piece.text or piece.reasoning:
                yield piece

    def _add(self, told: dict[str, Any]) -> Piece:
        """Add what a chunk tells of one choice to it; the piece of it that is text or thinking."""
        index = told["index"]
        while len(self.choices) <= index:
            self.choices.append(Choice())
        choice, delta = self.choices[index], told.get("delta") or {}
        piece = Piece(delta.get("content") or "", delta.get("reasoning") or "", index)
        choice.text += piece.text
        choice.reasoning += piece.reasoning
        choice.finish_reason = told.get("finish_reason") or choice.finish_reason
        for call in delta.get("tool_calls") or ():
            _add_call(choice.tool_calls, call)
        if isinstance(logprobs := told.get("logprobs"), dict):
            choice.logprobs += logprobs.get("content") or ()
        return piece


def _add_call(calls: list[dict[str, Any]], piece: dict[str, Any]) -> None:
    """Add a piece of a call: the first of each has its id and name, all of them text of its arguments."""
    function = piece.get("function") or {}
    arguments = function.get("arguments") or ""
    if piece["index"] < len(calls):
        calls[piece["index"]]["function"]["arguments"] += arguments
    else:
        described = {"name": function.get("name") or "", "arguments": arguments}
        calls.append({"id": piece.get("id") or "", "type": "function", "function": described})
