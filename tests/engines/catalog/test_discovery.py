"""Servers that run: told apart by their own words, quickly, and never this palaver."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from palaver.engines.catalog import discovery
from palaver.engines.catalog.discovery import find_servers, likely_addresses
from tests.engines.fake_upstream import fake_upstream

CLOSED = "http://127.0.0.1:9"
OLLAMA = {
    "object": "list",
    "data": [{"id": "llama3.2:3b", "object": "model", "created": 1, "owned_by": "library"}],
}
VLLM = {"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "vllm"}]}


@asynccontextmanager
async def answering(routes: dict[str, Any], delay: float = 0.0) -> AsyncIterator[str]:
    """A server that answers these paths with JSON, or text; its address."""

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(delay)
        body = routes.get(request.path)
        if isinstance(body, str):
            return web.Response(text=body)
        return web.Response(status=404) if body is None else web.json_response(body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
    finally:
        await runner.cleanup()


async def test_servers_are_told_apart() -> None:
    lm_studio = {"models": [{"type": "llm", "key": "a/b", "loaded_instances": []}]}
    unexpected = {"error": "Unexpected endpoint or method. (GET /api/version)"}
    async with (
        answering({"/v1/models": OLLAMA}) as ollama,
        answering(
            {"/v1/models": {"object": "list", "data": None}, "/api/version": {"version": "0.40.2"}}
        ) as empty,
        answering({"/v1/models": VLLM}) as vllm,
        answering(
            {"/v1/models": {"data": []}, "/api/version": unexpected, "/api/v1/models": lm_studio}
        ) as studio,
        answering({"/v1/models": "<html>hello</html>", "/": "a web page"}) as page,
    ):
        found = await find_servers([ollama, CLOSED, empty, vllm, studio, page])
    assert [(each.kind, each.url, each.models) for each in found] == [
        ("ollama", f"{ollama}/v1", 1),
        ("ollama", f"{empty}/v1", 0),
        ("vllm", f"{vllm}/v1", 1),
        ("lmstudio", f"{studio}/v1", 0),
    ]
    assert [each.called for each in found] == ["Ollama", "Ollama", "vLLM", "LM Studio"]


async def test_this_palaver_is_not_found() -> None:
    async with answering({"/v1/models": VLLM}) as address:
        port = address.rpartition(":")[2]
        assert await find_servers([address], own=[f"http://localhost:{port}"]) == []
        assert len(await find_servers([address, address], own=[CLOSED])) == 1


async def test_one_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "ANSWER_SECONDS", 0.2)
    async with answering({"/v1/models": VLLM}, delay=3600) as mute, answering({"/v1/models": VLLM}) as other:
        assert [each.url for each in await find_servers([mute, other])] == [f"{other}/v1"]


async def test_an_unknown_server_is_none() -> None:
    async with fake_upstream() as other:
        assert await find_servers([other.url]) == []


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:11500", "http://127.0.0.1:11500"),
        (":11500", "http://127.0.0.1:11500"),
        ("gpu-box:11500", "http://gpu-box:11500"),
        ("http://gpu-box", "http://gpu-box:80"),
        ("https://gpu-box/", "https://gpu-box:443"),
        ("[::1]:11434", "http://[::1]:11434"),
        ("not an address", "http://127.0.0.1:11434"),
    ],
)
def test_where_ollama_may_be(given: str, address: str) -> None:
    likely = likely_addresses({"OLLAMA_HOST": given})
    assert address in likely
    assert likely_addresses({})[1:] == likely[1:]
    assert {each.rpartition(":")[2] for each in likely_addresses({})} >= {"1234", "8080", "8000", "30000"}
