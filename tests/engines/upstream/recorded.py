"""What the servers really answer, in their own bodies, and a server over a socket that answers so.

From the sources of vLLM 0.33, SGLang 0.5.23 and llama.cpp b11549, Ollama's and LM Studio's documentation and public
issues, and captured answers of Together and OpenAI.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from palaver.engines.upstream.kinds import Kind


class Recorded(msgspec.Struct):
    """A server's answers, by method and path with its query. `unknown` is what it says to any other path."""

    answers: dict[str, tuple[int, Any]]
    unknown: tuple[int, Any]
    server: str = "uvicorn"


TOGETHER = Recorded(
    {
        "GET /v1/models": (
            200,
            [
                {
                    "id": "meta-llama/Llama-3.3-70B-Instruct-Turbo",
                    "object": "model",
                    "created": 1692896905,
                    "type": "chat",
                    "display_name": "Llama 3.3",
                    "organization": "Meta",
                    "link": "",
                    "license": "llama",
                    "context_length": 131072,
                    "pricing": {"hourly": 0, "input": 0.3, "output": 0.3, "base": 0, "finetune": 0},
                },
                {
                    "id": "BAAI/bge-large-en-v1.5",
                    "object": "model",
                    "created": 1,
                    "type": "embedding",
                    "context_length": 512,
                },
                {"id": "black-forest-labs/FLUX.1", "object": "model", "created": 1, "type": "image"},
            ],
        )
    },
    unknown=(404, {"error": {"message": "Not found", "type": "invalid_request_error"}}),
    server="cloudflare",
)
OPENAI = Recorded(
    {
        "GET /v1/models": (
            200,
            {
                "object": "list",
                "data": [
                    {"id": "gpt-4o", "object": "model", "created": 1715367049, "owned_by": "system"},
                    {
                        "id": "text-embedding-3-small",
                        "object": "model",
                        "created": 1,
                        "owned_by": "system",
                    },
                    {
                        "id": "whisper-1",
                        "object": "model",
                        "created": 1677532384,
                        "owned_by": "openai-internal",
                    },
                ],
            },
        )
    },
    unknown=(404, {"error": {"message": "Invalid URL (GET /x)", "type": "invalid_request_error"}}),
    server="cloudflare",
)
VLLM = Recorded(
    {
        "GET /v1/models": (
            200,
            {
                "object": "list",
                "data": [
                    {
                        "id": "m",
                        "object": "model",
                        "created": 1,
                        "owned_by": "vllm",
                        "root": "/models/m",
                        "parent": None,
                        "max_model_len": 4096,
                        "permission": [{"id": "modelperm-1", "object": "model_permission"}],
                    },
                    {
                        "id": "adapter",
                        "object": "model",
                        "created": 1,
                        "owned_by": "vllm",
                        "root": "/loras/a",
                        "parent": "m",
                        "max_model_len": None,
                    },
                ],
            },
        ),
        "GET /version": (200, {"version": "0.33.0"}),
    },
    unknown=(404, {"detail": "Not Found"}),
)
SGLANG = Recorded(
    {
        "GET /v1/models": (
            200,
            {
                "object": "list",
                "data": [
                    {
                        "id": "m",
                        "object": "model",
                        "created": 1,
                        "owned_by": "sglang",
                        "root": "m",
                        "parent": None,
                        "max_model_len": 32768,
                    }
                ],
            },
        ),
        "GET /api/tags": (
            200,
            {"models": [{"name": "m", "model": "m", "digest": "sha256:sglang000", "size": 0}]},
        ),
        "GET /model_info": (
            200,
            {"model_path": "m", "tokenizer_path": "m", "is_generation": True, "reasoning_parser": None},
        ),
        "GET /server_info": (
            200,
            {
                "model_path": "m",
                "max_total_num_tokens": 20000,
                "max_req_input_len": 19989,
                "version": "0.5.23",
            },
        ),
    },
    unknown=(404, {"detail": "Not Found"}),
)
LLAMA_MODEL = "/models/Qwen3-8B-Q4_K_M.gguf"
LLAMA_SERVER = Recorded(
    {
        "GET /v1/models": (
            200,
            {
                "models": [
                    {
                        "name": LLAMA_MODEL,
                        "model": LLAMA_MODEL,
                        "type": "model",
                        "capabilities": ["completion"],
                        "details": {"format": "gguf"},
                    }
                ],
                "object": "list",
                "data": [
                    {
                        "id": LLAMA_MODEL,
                        "aliases": [],
                        "object": "model",
                        "created": 1735142223,
                        "owned_by": "llamacpp",
                        "meta": {"vocab_type": 2, "n_ctx": 8192, "n_ctx_train": 131072},
                    }
                ],
            },
        ),
        "GET /props": (
            200,
            {
                "default_generation_settings": {"params": {}, "n_ctx": 4096},
                "total_slots": 2,
                "model_alias": LLAMA_MODEL,
                "model_path": LLAMA_MODEL,
                "build_info": "b11549-abc",
            },
        ),
    },
    unknown=(404, {"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}}),
    server="llama.cpp",
)
LLAMA_ROUTER = Recorded(
    {
        "GET /v1/models": (
            200,
            {
                "object": "list",
                "data": [
                    {
                        "id": "qwen",
                        "object": "model",
                        "owned_by": "llamacpp",
                        "status": {"value": "loaded"},
                    }
                ],
            },
        ),
        "GET /props": (
            200,
            {
                "role": "router",
                "model_path": "none",
                "default_generation_settings": {"params": {}, "n_ctx": 0},
            },
        ),
        "GET /props?model=qwen&autoload=false": (
            200,
            {"default_generation_settings": {"params": {}, "n_ctx": 2048}},
        ),
        "GET /props?model=asleep&autoload=false": (400, {"error": {"message": "model is not loaded"}}),
    },
    unknown=LLAMA_SERVER.unknown,
    server="llama.cpp",
)
OLLAMA = Recorded(
    {
        "GET /v1/models": (
            200,
            {
                "object": "list",
                "data": [
                    {
                        "id": "qwen3:8b",
                        "object": "model",
                        "created": 1775135625,
                        "owned_by": "library",
                    },
                    {
                        "id": "nomic-embed-text:latest",
                        "object": "model",
                        "created": 1,
                        "owned_by": "library",
                    },
                ],
            },
        ),
        "GET /api/version": (200, {"version": "0.40.2"}),
        "GET /api/tags": (200, {"models": [{"name": "qwen3:8b", "details": {"family": "qwen3"}}]}),
        "GET /api/ps": (
            200,
            {"models": [{"name": "qwen3:8b", "model": "qwen3:8b", "size": 1, "context_length": 16384}]},
        ),
        "POST /api/show": (
            200,
            {
                "modelfile": "",
                "parameters": "num_keep                       24",
                "template": "",
                "model_info": {"general.architecture": "llama", "llama.context_length": 8192},
                "capabilities": ["completion", "tools"],
            },
        ),
    },
    unknown=(404, "404 page not found"),
    server="",
)
LM_STUDIO = Recorded(
    {
        "GET /v1/models": (
            200,
            {
                "data": [
                    {"id": "qwen/qwen3.5-9b", "object": "model", "owned_by": "organization_owner"},
                    {
                        "id": "text-embedding-nomic-embed-text-v1.5",
                        "object": "model",
                        "owned_by": "organization_owner",
                    },
                ],
                "object": "list",
            },
        ),
        "GET /api/v1/models": (
            200,
            {
                "models": [
                    {
                        "type": "llm",
                        "key": "qwen/qwen3.5-9b",
                        "loaded_instances": [{"id": "qwen/qwen3.5-9b", "config": {"context_length": 4096}}],
                        "max_context_length": 262144,
                    },
                    {
                        "type": "llm",
                        "key": "asleep",
                        "loaded_instances": [],
                        "max_context_length": 131072,
                    },
                ]
            },
        ),
    },
    unknown=(200, {"error": "Unexpected endpoint or method. (GET /x)"}),
    server="",
)
OLD_LM_STUDIO = Recorded(
    {
        "GET /v1/models": LM_STUDIO.answers["GET /v1/models"],
        "GET /api/v0/models": (
            200,
            {
                "object": "list",
                "data": [
                    {
                        "id": "qwen/qwen3.5-9b",
                        "object": "model",
                        "type": "llm",
                        "compatibility_type": "gguf",
                        "state": "loaded",
                        "max_context_length": 262144,
                        "loaded_context_length": 8192,
                    },
                    {
                        "id": "asleep",
                        "type": "llm",
                        "compatibility_type": "gguf",
                        "state": "not-loaded",
                        "max_context_length": 131072,
                    },
                ],
            },
        ),
    },
    unknown=LM_STUDIO.unknown,
    server="",
)
RECORDED: dict[Kind, Recorded] = {
    "together": TOGETHER,
    "vllm": VLLM,
    "sglang": SGLANG,
    "llama-server": LLAMA_SERVER,
    "ollama": OLLAMA,
    "lmstudio": LM_STUDIO,
}
"""OpenAI's list says nothing that others do not say, too."""


class Playing:
    """A server that gives recorded answers; `recorded` may be changed. `asked` is what it was asked."""

    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded
        self.asked: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: dict[str, str] = {}
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.headers = dict(request.headers)
        asked = f"{request.method} {request.path_qs}"
        self.asked.append(asked)
        if request.can_read_body:
            self.bodies.append(await request.json())
        status, body = self.recorded.answers.get(asked, self.recorded.unknown)
        headers = {"Server": self.recorded.server}
        if isinstance(body, bytes):
            return web.Response(
                status=status, body=body, headers=headers | {"Content-Type": "text/event-stream"}
            )
        if isinstance(body, str):
            return web.Response(status=status, text=body, headers=headers)
        return web.json_response(body, status=status, headers=headers)


@asynccontextmanager
async def playing(recorded: Recorded) -> AsyncIterator[Playing]:
    """A running server; `url` is its base URL without a version."""
    player = Playing(recorded)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", player.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, bound = runner.addresses[0][:2]
    player.url = f"http://{host}:{bound}"
    try:
        yield player
    finally:
        await runner.cleanup()


def events(*values: Any, end: bytes = b"data: [DONE]\n\n") -> bytes:
    """A stream of these chunks."""
    return b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values) + end
