"""Apps that take the Responses API: what they send, and what they need of a response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tests.recipes.apps import App, Body, check_error
from tests.server.event_rules import Event, events_in, heard

RESPONSES = "/v1/responses"
DELTA = "response.output_text.delta"


class Responded(msgspec.Struct, kw_only=True):
    """A response as an app has it: whole, or put together from its events."""

    status: int
    headers: Mapping[str, str]
    body: Body = {}
    events: list[Event] = []
    error: Body | None = None

    @property
    def id(self) -> str:
        id: str = self.body["id"]
        return id

    @property
    def conversation(self) -> str:
        return self.headers["palaver-conversation"]

    @property
    def output(self) -> list[Body]:
        """Its items, of which an app may take something away."""
        items: list[Body] = msgspec.json.decode(msgspec.json.encode(self.body["output"]))
        return items

    @property
    def calls(self) -> list[Body]:
        return [item for item in self.output if item["type"] == "function_call"]

    @property
    def text(self) -> str:
        if self.body:
            parts = [
                part for item in self.body["output"] if item["type"] == "message" for part in item["content"]
            ]
            return "".join(part["text"] for part in parts)
        return "".join(event["delta"] for event in self.events if event["type"] == DELTA)


class ResponsesApp(App):
    """An app at the door of responses."""

    async def respond(self, body: Body, *, stream: bool = False, **headers: str) -> Responded:
        """Post a body, with `stream` one that asks for events."""
        if stream:
            return await self.respond_in_events(body, leave_after=None, **headers)
        whole = await self.ask(body, RESPONSES, **headers)
        if whole.status != 200:
            return Responded(status=whole.status, headers=whole.headers, error=whole.body["error"])
        check_response(whole.body)
        return Responded(status=200, headers=whole.headers, body=whole.body)

    async def respond_in_events(
        self, body: Body, *, leave_after: int | None = None, **headers: str
    ) -> Responded:
        """Post a body that asks for events, and read them to their end; or close the connection after so many pieces of
        text."""
        async with self._post({**body, "stream": True}, RESPONSES, headers) as response:
            reply = Responded(status=response.status, headers=dict(response.headers))
            if response.status != 200:
                reply.error = msgspec.json.decode(await response.read())["error"]
                check_error(reply.error)
                return reply
            stream, pieces = b"", 0
            async for line in response.content:
                stream += line
                pieces += line.startswith(b"event: " + DELTA.encode())
                if pieces == leave_after and not line.rstrip():
                    response.close()
                    reply.events = events_in(stream)
                    return reply
        reply.events = events_in(stream)
        heard(reply.events)
        reply.body = reply.events[-1]["response"]
        check_response(reply.body)
        reply.error = reply.body["error"]
        return reply

    async def delete(self, path: str) -> None:
        async with self.door.http.delete(self.door.address + path, headers=self.headers) as response:
            assert response.status == 200, await response.text()

    async def post(self, path: str, body: Body) -> Any:
        """Post something else; it has to succeed."""
        whole = await self.ask(body, path)
        assert whole.status == 200, whole.body
        return whole.body


def check_response(body: Body) -> None:
    """What apps need of a response. The AI SDK checks it with a schema, the others with their SDK's types: each item
    has its id, each text its annotations, and what was spent is in the details, too."""
    assert (body["object"], isinstance(body["created_at"], int)) == ("response", True)
    assert isinstance(body["parallel_tool_calls"], bool)
    for item in body["output"]:
        assert item["id"]
        if item["type"] == "message":
            assert item["role"] == "assistant"
            assert all(isinstance(part["annotations"], list) for part in item["content"])
        elif item["type"] == "function_call":
            assert item["call_id"]
            assert isinstance(msgspec.json.decode(item["arguments"]), dict)
        else:
            assert (item["type"], isinstance(item["summary"], list)) == ("reasoning", True)
    if body["status"] in ("completed", "incomplete"):
        usage = body["usage"]
        assert usage["input_tokens"] + usage["output_tokens"] == usage["total_tokens"]
        assert isinstance(usage["input_tokens_details"]["cached_tokens"], int)
        assert isinstance(usage["output_tokens_details"]["reasoning_tokens"], int)
    if body["error"] is not None:
        assert isinstance(body["error"]["message"], str)


def flat(tool: Body, **more: Any) -> Body:
    """A chat completion's tool as responses have it."""
    return {"type": "function", **tool["function"], **more}


def output_of(call: Body, output: Any = "sunny") -> Body:
    """What the tool of a call answered."""
    return {"type": "function_call_output", "call_id": call["call_id"], "output": output}


def without(item: Body, *names: str) -> Body:
    """An item as apps send it back that keep less of it."""
    return {name: value for name, value in item.items() if name not in names}
