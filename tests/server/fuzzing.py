"""A real door in a thread of its own, what is stored there, and requests that its description allows or forbids."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import requests
from schemathesis import Case

from palaver.chat import ChatSettings
from palaver.server.app import ServerSettings
from tests.server.conftest import KEY, opened

PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    "awAAAABJRU5ErkJggg=="
)
SCRIPT = '{"reply": null, "reasoning": "Let me see."}\n'
TOOL = {"name": "now", "description": "The time.", "parameters": {"type": "object", "properties": {}}}
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
OF_ID = {"chat": "completion", "responses": "response", "models": "model", "keys": "key"}
"""What `id` names, by the part of the path that says whose it is."""
AFTER = {
    "/v1/chat/completions": "completion",
    "/v1/chat/completions/{id}/messages": "asked",
    "/v1/conversations": "conversation",
    "/v1/conversations/{conversation}/items": "item",
    "/v1/conversations/{conversation}/messages": "message",
    "/v1/conversations/{conversation}/tree": "message",
    "/v1/conversations/{conversation}/leaves": "reply",
    "/v1/responses/{id}/input_items": "message",
    "/v1/search": "hit",
    "/v1/conversations/{conversation}/search": "hit",
}
"""What a list goes on after."""
NAMED = {
    "conversation": "conversation",
    "q": "words",
    "to": "reply",
    "model": "model",
    "parent": "message",
    "previous_response_id": "response",
    "message": "message",
}
"""What fields of queries and bodies name."""

TOGETHER = "Together/Python 3.1.1"
CALLING: dict[str, Any] = {"tools": [{"type": "function", "function": TOOL}], "tool_choice": "required"}
MORE: dict[str, list[dict[str, Any]]] = {
    "/v1/chat/completions": [
        {"stream": True},
        {"stream": True, "n": 2},
        {"logprobs": 2},
        {"logprobs": True, "top_logprobs": 2},
        {"context": True},
        {"echo": True},
        {"store": False},
        {"response_format": {"type": "json_object"}},
        CALLING,
        {"functions": [TOOL], "function_call": {"name": "now"}},
    ],
    "/v1/responses": [
        {"stream": True},
        {"background": True},
        {"context": True},
        {"store": False},
        {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
        {"text": {"format": {"type": "json_object"}}},
        {"instructions": "Be brief."},
        {"tools": [{"type": "function", **TOOL}], "tool_choice": {"type": "function", "name": "now"}},
    ],
    "/v1/completions": [{"stream": True}, {"logprobs": 2}, {"n": 2}, {"echo": True}],
}
"""What good bodies may hold besides, some of it at a time."""


@contextlib.contextmanager
def door(folder: Path) -> Iterator[str]:
    """The address of a door over a store in `folder`. Whoever asks needs `KEY`."""
    started, address = threading.Event(), ""
    loop, ended = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        nonlocal address
        settings = ServerSettings(version="1", api_keys=(KEY,))
        async with opened(folder, settings, ChatSettings(summary_model="scripted"), script=SCRIPT) as serving:
            address = serving.address
            started.set()
            await ended.wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(serve())
        finally:
            started.set()  # also where it did not get that far

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    try:
        yield address
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


def store_some(http: requests.Session, address: str) -> dict[str, str]:
    """Have something of each kind stored; its id by the kind."""

    def post(path: str, body: dict[str, Any]) -> tuple[Any, requests.Response]:
        answer = http.post(address + path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json(), answer

    picture = {"type": "image_url", "image_url": {"url": PNG}}
    question = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture]}
    body = {"model": "scripted", "messages": [question], "store": True, "metadata": {"by": "test"}}
    completion, answer = post("/v1/chat/completions", {**body, "user": "anna"})
    of_anna = answer.headers["palaver-conversation"]
    asked = {"model": "scripted", "input": HELLO, "tools": [{"type": "function", **TOOL}]}
    response, answer = post("/v1/responses", {**asked, "tool_choice": "required", "metadata": {"by": "test"}})
    conversation = answer.headers["palaver-conversation"]
    items = http.get(f"{address}/v1/conversations/{conversation}/items").json()["data"]
    messages = http.get(f"{address}/v1/conversations/{conversation}/messages").json()["data"]
    key, _ = post("/v1/keys", {"name": "guest", "owner": "guest"})
    seen = http.get(f"{address}/v1/chat/completions/{completion['id']}/messages").json()["data"]
    shown = http.get(f"{address}/v1/conversations/{of_anna}/items?user=anna").json()["data"]
    (file,) = [part["file_id"] for item in shown for part in item.get("content", ()) if "file_id" in part]
    summary, _ = post(f"/v1/conversations/{conversation}/summaries", {"to": messages[0]["id"]})
    hits = http.get(f"{address}/v1/search?q=hello&include_tasks=true").json()["data"]
    return {
        "words": "hello",
        "hit": hits[0]["id"],
        "model": "scripted",
        "user": "anna",
        "owner": "guest",
        "completion": completion["id"],
        "response": response["id"],
        "conversation": conversation,
        "item": items[0]["id"],
        "message": messages[-1]["id"],
        "reply": messages[0]["id"],
        "asked": seen[0]["id"],
        "file": file,
        "summary": summary["id"],
        "key": key["id"],
        "name": "main.js",
    }


def good_body(path: str, stored: dict[str, str]) -> dict[str, Any]:
    """A body that is answered with 200."""
    bodies: dict[str, dict[str, Any]] = {
        "/v1/chat/completions": {"model": "scripted", "messages": HELLO},
        "/v1/chat/completions/dry_run": {"model": "scripted", "messages": HELLO},
        "/v1/chat/completions/{id}": {"metadata": {"by": "test"}},
        "/v1/responses": {"model": "scripted", "input": "Hello"},
        "/v1/responses/input_tokens": {"model": "scripted", "input": "Hello"},
        "/v1/responses/compact": {"model": "scripted", "input": "Hello"},
        "/v1/completions": {"model": "scripted", "prompt": "Hello"},
        "/v1/embeddings": {"model": "scripted", "input": "Hello"},
        "/v1/conversations": {"items": HELLO},
        "/v1/conversations/{conversation}": {"title": "Hello"},
        "/v1/conversations/{conversation}/items": {"items": HELLO},
        "/v1/conversations/{conversation}/head": {"message": stored["message"]},
        "/v1/conversations/{conversation}/fork": {"message": stored["message"]},
        "/v1/conversations/{conversation}/window": {"mode": "auto"},
        "/v1/conversations/{conversation}/summaries": {"to": stored["reply"]},
        "/v1/conversations/{conversation}/summaries/{summary}": {"text": "Hello"},
        "/v1/retention": {"older_than_days": 1},
        "/v1/keys": {"name": "test"},
        "/v1/session": {"api_key": KEY},
    }
    return bodies[path]


def plant(case: Case[Any], stored: dict[str, str], random: Random, template: object = None) -> None:
    """Have a case name what there is, most of the time, and contradict itself less: so it gets beyond 404s and 400s.

    Of a body only what differs from `template` stays, or where there is none a few of its fields; the rest is as in a
    good body. What is forbidden stays, so that it is what the request is refused for.
    """
    for name in case.path_parameters:
        kind = OF_ID[case.path.split("/")[2]] if name == "id" else name
        if random.random() < 0.8:
            case.path_parameters[name] = stored[kind]
    is_allowed = case.meta is None or case.meta.generation.mode.is_positive
    if is_allowed:
        _plant_parameters(case, stored, random)
    if case.path in MORE or case.path == "/v1/models":
        case.headers["user-agent"] = random.choice(["", TOGETHER])
    if isinstance(case.body, dict):
        good = good_body(case.path, stored)
        for more in random.sample(MORE.get(case.path, []), random.randrange(3) if case.path in MORE else 0):
            good |= more
        if isinstance(template, dict):
            case.body = _differing(case.body, template, good, stored, random)
        elif is_allowed:
            some = random.sample([*case.body], min(len(case.body), random.randrange(4)))
            case.body = good | _naming({name: case.body[name] for name in some}, stored, random)
        else:
            case.body = _naming(case.body, stored, random)


def _plant_parameters(case: Case[Any], stored: dict[str, str], random: Random) -> None:
    for name in [*case.query]:
        if random.random() < 0.5:
            del case.query[name]
        elif name == "after" and case.path in AFTER:
            case.query[name] = stored[AFTER[case.path]]
        elif name in NAMED and random.random() < 0.5:
            case.query[name] = stored[NAMED[name]]
    for name in [*case.headers]:
        if random.random() < 0.8:
            del case.headers[name]


def _differing(
    body: dict[str, Any],
    template: dict[str, Any],
    good: dict[str, Any],
    stored: dict[str, str],
    random: Random,
) -> dict[str, Any]:
    own = {name: value for name, value in body.items() if name not in template or template[name] != value}
    missing = template.keys() - body.keys()
    return {name: good[name] for name in good if name not in missing} | _naming(own, stored, random)


def _naming(fields: dict[str, Any], stored: dict[str, str], random: Random) -> dict[str, Any]:
    return {
        name: stored[NAMED[name]]
        if name in NAMED and isinstance(value, str) and random.random() < 0.8
        else value
        for name, value in fields.items()
    }
