"""A model server for tests: a real one, over a socket, that needs no model and misbehaves on request.

A token is a word. The reply names the number of messages and repeats the last one; a context of `CONTEXT`
words is enforced, and refused in llama-server's words.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

CONTEXT = 400
KEY = "sk-the-key-of-the-tests"


class FakeUpstream:
    """`behaviour` is one of those named below; `requests` are the bodies it got, `headers` the last ones.

    `refusal_headers` go with what it refuses.
    """

    def __init__(self) -> None:
        self.behaviour = "normal"
        self.refusal_headers: dict[str, str] = {}
        self.requests: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.headers: dict[str, str] = {}
        self.arrived = asyncio.Event()
        self.running = 0
        self._changed = asyncio.Condition()
        self.connections: set[object] = set()
        self.models: Any = {"object": "list", "data": [{"id": "wordy", "max_model_len": CONTEXT}]}
        self.props: Any = None
        self.shown: Any = None
        self.url = ""

    async def models_route(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        if self.behaviour == "slow":
            await asyncio.sleep(3600)
        return _json(self.models)

    async def props_route(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        return _json(self.props)

    async def show_route(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        return _json(self.shown)

    async def chat_route(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        body = await request.json()
        self.requests.append(body)
        self.arrived.set()
        refused = self._refusal(body)
        if refused is not None:
            refused.headers.update(self.refusal_headers)
            return refused
        if self.behaviour == "slow":
            await asyncio.sleep(3600)
        if self.behaviour == "hang up":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        html = self.behaviour == "html"
        response = web.StreamResponse(headers={"Content-Type": "text/html" if html else "text/event-stream"})
        await response.prepare(request)
        await self._run(1)
        try:
            await self._stream(response, body)
        finally:
            await self._run(-1)
        return response

    async def runs(self, replies: int) -> None:
        """Wait until it works on so many replies."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.running == replies)

    async def _run(self, more: int) -> None:
        async with self._changed:
            self.running += more
            self._changed.notify_all()

    def _note(self, request: web.Request) -> None:
        self.asked.append(f"{request.method} {request.path}")
        self.headers = dict(request.headers)
        self.connections.add(request.transport)

    def _refusal(self, body: dict[str, Any]) -> web.StreamResponse | None:
        prompt = _prompt_tokens(body)
        if prompt > CONTEXT:
            message = f"request ({prompt} tokens) exceeds the available context size ({CONTEXT} tokens)"
            facts = {"n_prompt_tokens": prompt, "n_ctx": CONTEXT, "type": "exceed_context_size_error"}
            return _error(400, message, **facts)
        match self.behaviour:
            case "400":
                return _error(400, "temperature must be below 2")
            case "401":
                return _error(401, f"Incorrect API key provided: {KEY}")
            case "404":
                return _error(404, "model 'wordy' not found")
            case "429":
                return _error(429, "slow down")
            case "500":
                return _error(500, "out of memory")
            case "503":
                return web.Response(status=503, text="<html>Service Unavailable</html>")
            case "307":
                return web.Response(status=307, headers={"Location": "http://192.0.2.1/"})
            case "no stream_options" if "stream_options" in body:
                return _error(400, "Unrecognized request argument supplied: stream_options")
            case "no max_tokens" if "max_tokens" in body:
                return _error(
                    400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
                )
        return None

    async def _stream(self, response: web.StreamResponse, body: dict[str, Any]) -> None:
        if self.behaviour == "html":
            await response.write(b"<!doctype html>\n<title>Welcome</title>\n")
            return
        words, reason = _reply(body)
        for number, word in enumerate(words):
            if number == 2 and self.behaviour in ("stall", "break off", "error", "half"):
                await self._misbehave(response)
                return
            await response.write(_chunk({"delta": {"content": word}, "finish_reason": None}))
            await asyncio.sleep(0)
        await response.write(_chunk({"delta": {}, "finish_reason": reason}))
        if self.behaviour != "no usage" and "stream_options" in body:
            usage = {"prompt_tokens": _prompt_tokens(body), "completion_tokens": len(words)}
            await response.write(_line({"choices": [], "model": "wordy", "usage": usage}))
        await response.write(b"data: [DONE]\n\n")

    async def _misbehave(self, response: web.StreamResponse) -> None:
        match self.behaviour:
            case "stall":
                await asyncio.sleep(3600)
            case "break off":
                assert response._req is not None
                assert response._req.transport is not None
                response._req.transport.abort()
            case "error":
                await response.write(_line({"error": {"message": "the GPU fell off", "code": 500}}))


def _reply(body: dict[str, Any]) -> tuple[list[str], str]:
    messages = body["messages"]
    digest = sum(
        len(json.dumps(message)) * (i + 1) + sum(map(ord, json.dumps(message)))
        for i, message in enumerate(messages)
    )
    text = f"Message {len(messages)} of {digest} was: {messages[-1]['content']}"
    for stop in body.get("stop") or []:
        text = text.split(stop, 1)[0]
    words = [word if i == 0 else " " + word for i, word in enumerate(text.split(" "))]
    limit = body.get("max_tokens") or body.get("max_completion_tokens")
    return (words[:limit], "length") if limit is not None and limit < len(words) else (words, "stop")


def _prompt_tokens(body: dict[str, Any]) -> int:
    return sum(len(str(message["content"]).split()) for message in body["messages"])


def _chunk(choice: dict[str, Any]) -> bytes:
    return _line({"object": "chat.completion.chunk", "model": "wordy", "choices": [{"index": 0, **choice}]})


def _line(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _error(status: int, message: str, **facts: object) -> web.Response:
    return web.json_response({"error": {"message": message, **facts}}, status=status)


def _json(value: Any) -> web.Response:
    return web.Response(status=404) if value is None else web.json_response(value)


@asynccontextmanager
async def fake_upstream(port: int = 0) -> AsyncIterator[FakeUpstream]:
    """A running server; `url` is its base URL without a version."""
    fake = FakeUpstream()
    app = web.Application(client_max_size=1 << 24)
    app.router.add_get("/v1/models", fake.models_route)
    app.router.add_get("/props", fake.props_route)
    app.router.add_post("/api/show", fake.show_route)
    app.router.add_post("/v1/chat/completions", fake.chat_route)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    host, bound = runner.addresses[0][:2]
    fake.url = f"http://{host}:{bound}"
    try:
        yield fake
    finally:
        await runner.cleanup()
