"""A model server for tests: a real one, over a socket, that needs no model and misbehaves on request.

A token is a word. The reply names the number of messages and repeats the last one; a context of `CONTEXT`
words is enforced, and refused in llama-server's words. What a request asks for besides (several replies, a call, a
form, log probabilities, going on with a reply) it does as vLLM does, and it says it is one where `models` say so.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Any

from aiohttp import web

CONTEXT = 400
KEY = "sk-the-key-of-the-tests"
AS_VLLM: dict[str, Any] = {
    "object": "list",
    "data": [{"id": "wordy", "object": "model", "owned_by": "vllm", "max_model_len": CONTEXT}],
}


class FakeUpstream:
    """`behaviour` is one of those named below; `next_behaviours` come before it, one for each request.

    `requests` are the bodies it got, `bodies` those of chats and texts as they were sent, `headers` the last ones.
    `refusal_headers` go with what it refuses. `usage` and `model` are what it tells of a reply in place of the truth,
    `timings` what it tells besides, as llama-server does.
    """

    def __init__(self) -> None:
        self.behaviour = "normal"
        self.next_behaviours: list[str] = []
        self.refusal_headers: dict[str, str] = {}
        self.requests: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.asked: list[str] = []
        self.headers: dict[str, str] = {}
        self.arrived = asyncio.Event()
        self.running = 0
        self._changed = asyncio.Condition()
        self.connections: set[object] = set()
        self.models: Any = {"object": "list", "data": [{"id": "wordy", "max_model_len": CONTEXT}]}
        self.props: Any = None
        self.shown: Any = None
        self.vectors: Any = None
        self.usage: Any = None
        self.timings: Any = None
        self.model = "wordy"
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

    async def embeddings_route(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        body = await request.json()
        self.requests.append(body)
        refused = self._refusal(self._next(), body)
        if refused is not None:
            return refused
        if self.vectors is not None:
            return _json(self.vectors)
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        data = [
            {"object": "embedding", "index": i, "embedding": _vector(text, body.get("dimensions", 8))}
            for i, text in enumerate(texts)
        ]
        counted = sum(len(str(text).split()) for text in texts)
        usage = {"prompt_tokens": counted, "total_tokens": counted}
        return _json({"object": "list", "data": data, "model": "wordy", "usage": usage})

    async def chat_route(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        self.bodies.append(await request.read())
        body = json.loads(self.bodies[-1])
        self.requests.append(body)
        self.arrived.set()
        behaviour = self._next()
        refused = self._refusal(behaviour, body)
        if refused is not None:
            refused.headers.update(self.refusal_headers)
            return refused
        if behaviour == "slow":
            await asyncio.sleep(3600)
        if behaviour == "hang up":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        html = behaviour == "html"
        response = web.StreamResponse(headers={"Content-Type": "text/html" if html else "text/event-stream"})
        await response.prepare(request)
        await self._run(1)
        try:
            await self._stream(response, body, behaviour)
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

    def _next(self) -> str:
        return self.next_behaviours.pop(0) if self.next_behaviours else self.behaviour

    def _note(self, request: web.Request) -> None:
        self.asked.append(f"{request.method} {request.path}")
        self.headers = dict(request.headers)
        self.connections.add(request.transport)

    def _refusal(self, behaviour: str, body: dict[str, Any]) -> web.StreamResponse | None:
        prompt = _prompt_tokens(body)
        if prompt > CONTEXT and behaviour != "cut":
            message = f"request ({prompt} tokens) exceeds the available context size ({CONTEXT} tokens)"
            facts = {"n_prompt_tokens": prompt, "n_ctx": CONTEXT, "type": "exceed_context_size_error"}
            return _error(400, message, **facts)
        match behaviour:
            case "400":
                return _error(400, "temperature must be below 2")
            case "401":
                return _error(401, f"Incorrect API key provided: {KEY}")
            case "404":
                return _error(404, "model 'wordy' not found")
            case "no route":
                return web.json_response({"detail": "Not Found"}, status=404)
            case "429":
                return _error(429, "slow down")
            case "quota":
                return _error(429, "You exceeded your current quota.", code="insufficient_quota")
            case "500":
                return _error(500, "out of memory")
            case "501":
                return _error(501, "This server does not support embeddings. Start it with `--embeddings`")
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

    async def _stream(self, response: web.StreamResponse, body: dict[str, Any], behaviour: str) -> None:
        if behaviour == "html":
            await response.write(b"<!doctype html>\n<title>Welcome</title>\n")
            return
        if behaviour in ("busy", "error first"):
            code = 503 if behaviour == "busy" else 400
            await response.write(_line({"error": {"object": "error", "message": "full", "code": code}}))
            await response.write(b"data: [DONE]\n\n")
            return
        replies = [_reply(body) for _ in range(body.get("n", 1))]
        for choice, (pieces, reason) in enumerate(replies):
            for number, piece in enumerate(pieces):
                if number == 2 and behaviour in ("stall", "break off", "error", "half"):
                    await self._misbehave(response, behaviour)
                    return
                await response.write(self._chunk(choice, piece, None))
                await asyncio.sleep(0)
            await response.write(self._chunk(choice, {} if "messages" in body else {"text": ""}, reason))
        if behaviour != "no usage" and "stream_options" in body:
            usage = self.usage or {
                "prompt_tokens": min(_prompt_tokens(body), CONTEXT),
                "completion_tokens": sum(len(pieces) for pieces, _ in replies),
            }
            last: dict[str, Any] = {"choices": [], "model": self.model, "usage": usage}
            await response.write(_line(last | ({"timings": self.timings} if self.timings else {})))
        await response.write(b"data: [DONE]\n\n")

    def _chunk(self, index: int, piece: dict[str, Any], reason: str | None) -> bytes:
        fields: dict[str, Any] = {"index": index, "finish_reason": reason}
        fields |= piece if "text" in piece else {"delta": {k: v for k, v in piece.items() if k != "logprobs"}}
        if "logprobs" in piece:
            fields["logprobs"] = piece["logprobs"]
        return _line({"object": "chat.completion.chunk", "model": self.model, "choices": [fields]})

    async def _misbehave(self, response: web.StreamResponse, behaviour: str) -> None:
        match behaviour:
            case "stall":
                await asyncio.sleep(3600)
            case "break off":
                assert response._req is not None
                assert response._req.transport is not None
                response._req.transport.abort()
            case "error":
                message = f"the GPU fell off, with {KEY}"
                await response.write(_line({"error": {"message": message, "code": 500}}))


def _reply(body: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """The pieces of a reply, a token each, and why it ends."""
    if body.get("tool_choice") not in (None, "auto", "none"):
        return _call(body), "tool_calls"
    text = _text(body)
    for stop in body.get("stop") or []:
        text = text.split(stop, 1)[0]
    words = [word if i == 0 else " " + word for i, word in enumerate(text.split(" "))]
    if body.get("continue_final_message"):
        left = "".join(words).removeprefix(body["messages"][-1]["content"])
        words = [" " + word for word in left.split(" ") if word]
    limit = body.get("max_tokens") or body.get("max_completion_tokens")
    kept = words if limit is None else words[:limit]
    pieces = [_piece(body, word) for word in kept]
    return pieces, "length" if len(kept) < len(words) else "stop"


def _text(body: dict[str, Any]) -> str:
    if "messages" not in body:
        return f"And so it went on: {body['prompt']}"
    form = body.get("response_format")
    if form is not None:
        return json.dumps(_instance(form.get("json_schema", {}).get("schema", {"type": "object"})))
    messages = body["messages"][:-1] if body.get("continue_final_message") else body["messages"]
    digest = sum(
        len(json.dumps(message)) * (i + 1) + sum(map(ord, json.dumps(message)))
        for i, message in enumerate(messages)
    )
    return f"Message {len(messages)} of {digest} was: {messages[-1]['content']}"


def _piece(body: dict[str, Any], word: str) -> dict[str, Any]:
    if "messages" not in body:
        return {"text": word}
    if not body.get("logprobs"):
        return {"content": word}
    others = [{"token": f"{word}{i}", "logprob": -1.0 - i} for i in range(body["top_logprobs"])]
    told = {"token": word, "logprob": -0.5, "bytes": list(word.encode()), "top_logprobs": others}
    return {"content": word, "logprobs": {"content": [told]}}


def _call(body: dict[str, Any]) -> list[dict[str, Any]]:
    """A call in pieces, of the tool that was named or the first."""
    choice = body["tool_choice"]
    named = choice["function"]["name"] if isinstance(choice, dict) else body["tools"][0]["function"]["name"]
    tool = next(t["function"] for t in body["tools"] if t["function"]["name"] == named)
    arguments = json.dumps(_instance(tool.get("parameters", {})))
    first = {"id": "call_1", "type": "function", "function": {"name": named, "arguments": ""}}
    halves = (arguments[:3], arguments[3:])
    return [{"tool_calls": [{"index": 0, **first}]}] + [
        {"tool_calls": [{"index": 0, "function": {"arguments": half}}]} for half in halves
    ]


def _instance(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: each.get("enum", ["x"])[0] for name, each in schema.get("properties", {}).items()}


def _vector(text: object, dimensions: int) -> list[float]:
    return [byte / 255 for byte in blake2b(str(text).encode(), digest_size=dimensions).digest()]


def _prompt_tokens(body: dict[str, Any]) -> int:
    if "messages" not in body:
        return len(str(body.get("prompt", "")).split())
    return sum(len(str(message.get("content")).split()) for message in body["messages"])


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
    app.router.add_post("/v1/completions", fake.chat_route)
    app.router.add_post("/v1/embeddings", fake.embeddings_route)
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
