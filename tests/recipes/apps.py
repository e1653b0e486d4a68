"""Apps as palaver meets them: what they send, what they need of a reply, and when they leave.

An `App` sends an app's own headers and bodies over HTTP and reads the reply as strictly as the strictest of the apps
does: the rules are those of `check_chunk` and `check_whole`, each with who relies on it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import msgspec

from tests.server.conftest import Door

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
REASONS = {"stop", "length", "content_filter", "tool_calls", "function_call"}
Body = dict[str, Any]


class Streamed(msgspec.Struct, kw_only=True):
    """A reply as an app has put it together from its chunks, for the first choice."""

    status: int
    headers: Mapping[str, str]
    chunks: list[Body] = []
    text: str = ""
    reasoning: str = ""
    calls: list[Body] = []
    reason: str | None = None
    usage: Body | None = None
    error: Body | None = None
    done: bool = False

    @property
    def conversation(self) -> str:
        return self.headers["palaver-conversation"]

    def take(self, chunk: Body) -> None:
        """Add what a chunk brings."""
        check_chunk(chunk, self.calls)
        self.chunks.append(chunk)
        if "error" in chunk:
            self.error = chunk["error"]
            return
        self.usage = chunk.get("usage") or self.usage
        for choice in chunk["choices"]:
            delta = choice.get("delta", {"content": choice.get("text")})
            self.text += delta.get("content") or ""
            self.reasoning += delta.get("reasoning_content") or ""
            self.reason = choice["finish_reason"] or self.reason
            for call in delta.get("tool_calls") or ():
                self._take_call(call)

    def _take_call(self, call: Body) -> None:
        if call["index"] == len(self.calls):
            function = {"name": call["function"]["name"], "arguments": ""}
            self.calls.append({"id": call["id"], "type": "function", "function": function})
        self.calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]


class Whole(msgspec.Struct, kw_only=True):
    """A reply in one piece."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def message(self) -> Body:
        message: Body = self.body["choices"][0]["message"]
        return message

    @property
    def text(self) -> str:
        text: str = self.message["content"]
        return text

    @property
    def conversation(self) -> str:
        return self.headers["palaver-conversation"]


class App:
    """An app at a door. `headers` go with every request, `query` with every address."""

    def __init__(self, door: Door, headers: Mapping[str, str], query: str = "") -> None:
        self.door = door
        self.headers = {"content-type": "application/json", **headers}
        self.query = query

    async def ask(self, body: Body, path: str = CHAT, **headers: str) -> Whole:
        """Post a body that asks for no stream."""
        async with self._post(body, path, headers) as response:
            found = msgspec.json.decode(await response.read())
            whole = Whole(status=response.status, headers=dict(response.headers), body=found)
        if whole.status == 200 and path == CHAT:
            check_whole(whole.body)
        if whole.status != 200:
            check_error(whole.body["error"])
        return whole

    async def get(self, path: str) -> Any:
        """Look something up; it has to be there."""
        response, body = await self.door.get(path + self.query, self.headers)
        assert response.status == 200, body
        return body

    async def stream(
        self, body: Body, path: str = CHAT, *, leave_after: int | None = None, **headers: str
    ) -> Streamed:
        """Post a body that asks for a stream, and read it to its end; or close the connection after so many chunks."""
        async with self._post(body, path, headers) as response:
            reply = Streamed(status=response.status, headers=dict(response.headers))
            if response.status != 200:
                reply.error = msgspec.json.decode(await response.read())["error"]
                check_error(reply.error)
                return reply
            assert response.headers["content-type"].startswith("text/event-stream")
            async for data in _events(response):
                if data == b"[DONE]":
                    reply.done = True
                    continue
                assert not reply.done, "something follows [DONE]"
                reply.take(msgspec.json.decode(data))
                if leave_after is not None and len(reply.chunks) >= leave_after:
                    response.close()
                    return reply
        check_stream(reply)
        return reply

    def _post(self, body: Body, path: str, headers: Mapping[str, str]) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.door.http.post(
            self.door.address + path + self.query,
            data=msgspec.json.encode(body),
            headers={**self.headers, **named},
        )


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The data of each event. A comment is none; anything else would stop the line readers that some apps are."""
    async for line in response.content:
        line = line.rstrip(b"\r\n")
        assert not line or line.startswith((b"data: ", b":")), line
        if line.startswith(b"data: "):
            yield line.removeprefix(b"data: ")


def check_chunk(chunk: Body, calls: list[Body]) -> None:
    """What apps need of one chunk, after the `calls` that they know.

    The AI SDK checks each with a schema and drops the whole stream where one does not fit: `choices` or `error`, a
    role that is the assistant's, a number and a name for each call. Continue and LibreChat put calls together by
    `index`. `llm` takes three numbers out of `usage` and fails without one.
    """
    if "error" in chunk:
        check_error(chunk["error"])
        return
    assert isinstance(chunk["choices"], list)
    for choice in chunk["choices"]:
        assert isinstance(choice["index"], int)
        assert choice["finish_reason"] in {None, *REASONS}
        if "text" in choice:
            continue
        delta = choice["delta"]
        assert delta.get("role", "assistant") == "assistant"
        assert isinstance(delta.get("content", ""), str | None)
        for call in delta.get("tool_calls") or ():
            assert isinstance(call["index"], int)
            assert call.get("type", "function") == "function"
            assert isinstance(call["function"]["arguments"], str)
            if call["index"] >= len(calls):
                assert call["index"] == len(calls)
                assert call["id"]
                assert call["function"]["name"]
    if chunk.get("usage") is not None:
        check_usage(chunk["usage"])


def check_stream(reply: Streamed) -> None:
    """What apps need of a stream that they read to its end: an error, or why it ended and ``[DONE]``."""
    assert reply.done == (reply.error is None)
    if reply.error is None:
        assert reply.reason in REASONS  # the AI SDK takes a stream without one for broken
        assert reply.usage is not None  # unasked too: the Agents SDK counts nothing otherwise


def check_whole(body: Body) -> None:
    """What apps need of a reply in one piece. `llm` and LangChain look into `usage` without asking whether it is there;
    the AI SDK wants an `index` of each choice and the `type` of each call."""
    assert body["object"] == "chat.completion"
    assert body["choices"]
    for choice in body["choices"]:
        assert isinstance(choice["index"], int)
        assert choice["finish_reason"] in REASONS
        assert choice["message"]["role"] == "assistant"
        for call in choice["message"].get("tool_calls") or ():
            assert call["type"] == "function"
            assert call["id"]
            assert isinstance(msgspec.json.decode(call["function"]["arguments"]), dict)
    check_usage(body["usage"])


def check_usage(usage: Body) -> None:
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert isinstance(usage[name], int)


def check_error(error: Body) -> None:
    """All apps show `message`; the AI SDK's schema lets `type`, `param` and `code` be nothing but these."""
    assert error["message"]
    assert isinstance(error["message"], str)
    assert isinstance(error["type"], str)
    assert isinstance(error.get("param"), str | None)
    assert isinstance(error.get("code"), str | None)


def tool(name: str, *required: str, **more: Any) -> Body:
    """A tool whose arguments are texts. `more` goes into its schema."""
    properties = {each: {"type": "string"} for each in required}
    schema = {
        "type": "object",
        "properties": properties,
        **({"required": list(required)} if required else {}),
    }
    function = {"name": name, "description": f"Does {name}.", "parameters": schema | more}
    return {"type": "function", "function": function}


def user(text: str) -> Body:
    return {"role": "user", "content": text}


def said(reply: Streamed | Whole, content: str | None = "", **more: Any) -> Body:
    """A reply as an app sends it back. With calls its text is `content`: some apps say null there, some nothing."""
    calls = reply.calls if isinstance(reply, Streamed) else reply.message.get("tool_calls") or []
    if not calls:
        return {"role": "assistant", "content": reply.text}
    sent = [{key: call[key] for key in ("id", "type", "function")} for call in calls]
    return {"role": "assistant", "content": content, "tool_calls": sent, **more}


def result(reply: Streamed | Whole, content: str, **more: Any) -> Body:
    """What the tool of a reply's first call answered."""
    (call, *_) = said(reply)["tool_calls"]
    return {"role": "tool", "tool_call_id": call["id"], "content": content, **more}


async def kept(door: Door, **query: str) -> list[tuple[str, int]]:
    """What lists show: the title of each conversation and how many messages lead to its head, the oldest first."""
    return [(each["title"], each["messages"]) for each in await conversations(door, **query)]


async def hidden(door: Door) -> list[str]:
    """The titles of what lists leave out, because nothing continued it; the oldest first."""
    return [each["title"] for each in await conversations(door, include_tasks="true") if each["is_task"]]


async def conversations(door: Door, **query: str) -> list[Body]:
    asked = "&".join(f"{name}={value}" for name, value in {"limit": "100", **query}.items())
    _, found = await door.get(f"/v1/conversations?{asked}")
    assert not found["has_more"]
    return sorted(found["data"], key=lambda each: each["id"])


async def roles(door: Door, conversation: str) -> list[str]:
    """Who said what on the path to a conversation's head, first to last."""
    _, page = await door.get(f"/v1/conversations/{conversation}/messages?limit=100&order=asc")
    return [item["role"] if item["type"] == "message" else item["type"] for item in page["data"]]
