"""What holds for every request: addresses, errors, the description of the API, the log."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from palaver.chat import ChatSettings
from palaver.core import errors
from palaver.core.message import Message
from palaver.core.turn import Accepted, ContentDelta, Finish
from palaver.core.window import Window
from palaver.engines.base import Options
from palaver.engines.upstream.engine import UpstreamEngine
from palaver.server.app import ServerSettings
from palaver.server.completions import HEADERS
from palaver.server.errors import TABLE, error_response, is_foreseen
from palaver.server.parameters import ONLY, WITHOUT_EFFECT
from tests.engines.fake_upstream import fake_upstream
from tests.server.conftest import Door, opened, until


@pytest.mark.parametrize("prefix", ["", "/v1", "/v1/v1", "/v1/v1/v1", "//v1", "/v1//", "//"])
@pytest.mark.parametrize("suffix", ["", "/", "//"])
async def test_every_form_of_an_address(door: Door, prefix: str, suffix: str) -> None:
    body = {"model": "scripted", "messages": [{"role": "user", "content": "x"}]}
    response, answer = await door.post(f"{prefix}/chat/completions{suffix}", body)
    assert response.status == 200, answer
    response, _ = await door.get(f"{prefix}/models{suffix}")
    assert response.status == 200


@pytest.mark.parametrize(
    "path", ["/v1/nothing", "/v2/models", "/chat", "/v1/chat/completions/a/b/c", "/favicon.ico"]
)
async def test_an_address_that_is_none(door: Door, path: str) -> None:
    response, body = await door.get(path)
    assert response.status == 404
    assert body["error"]["code"] == "not_found"
    assert body["error"]["type"] == "invalid_request_error"
    assert path in body["error"]["message"]
    assert body["id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/completions", "POST"),
        ("DELETE", "/v1/chat/completions", "POST"),
        ("PUT", "/v1/models", "GET"),
        ("POST", "/health", "GET"),
        ("OPTIONS", "/v1/models", "GET"),
    ],
)
async def test_a_method_that_is_none(door: Door, method: str, path: str, allowed: str) -> None:
    async with door.http.request(method, door.address + path) as response:
        body = await response.json()
    assert response.status == 405
    assert body["error"]["code"] == "method_not_allowed"
    assert allowed in response.headers["allow"]
    assert method in body["error"]["message"]


async def test_head_is_get_without_the_body(door: Door) -> None:
    async with door.http.head(door.address + "/health") as response:
        assert response.status == 200
        assert await response.read() == b""


async def test_health(door: Door) -> None:
    response, body = await door.get("/health")
    assert (response.status, body) == (200, {"status": "ok", "version": "1.2.3"})


def all_errors() -> list[type[errors.PalaverError]]:
    found, todo = [], [errors.PalaverError]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo += kind.__subclasses__()
    return sorted(found, key=lambda kind: kind.__name__)


STATUSES = {
    "AttachmentNotFound": 404,
    "ApiKeyNotFound": 404,
    "BodyTooLarge": 413,
    "ConfigError": 500,
    "ContextLengthExceeded": 400,
    "ConversationBusy": 409,
    "TurnCancelled": 409,
    "ConversationNotFound": 404,
    "EngineBroke": 502,
    "EngineError": 502,
    "EngineRefused": 400,
    "EngineTimeout": 504,
    "EngineUnavailable": 503,
    "Forbidden": 403,
    "HubError": 500,
    "InvalidRequest": 400,
    "LeaseLost": 503,
    "MessageNotFound": 404,
    "ModelNotFound": 404,
    "NotAuthenticated": 401,
    "NotFound": 404,
    "PalaverError": 500,
    "RateLimited": 429,
    "RequestError": 400,
    "ScopeMissing": 403,
    "StoreCorrupt": 500,
    "StoreError": 500,
    "StoreFull": 507,
    "StoreOwned": 503,
    "StoreRefused": 500,
    "StoreTooNew": 500,
    "StoreUnavailable": 503,
    "SummaryNotFound": 404,
    "TooManyRequests": 429,
    "TurnNotFound": 404,
    "TurnRunning": 409,
    "UnsupportedParameter": 400,
}


ARGUMENTS: dict[type[errors.PalaverError], dict[str, Any]] = {
    errors.ContextLengthExceeded: {"prompt_tokens": 2, "context_size": 1},
    errors.RateLimited: {"retry_after": 11.2},
}


@pytest.mark.parametrize("kind", [kind for kind in all_errors() if kind.__module__ == "palaver.core.errors"])
def test_every_error_has_a_status(kind: type[errors.PalaverError]) -> None:
    error = kind(**ARGUMENTS.get(kind, {}))
    response = error_response(error, "req_1")
    assert response.status_code == STATUSES[kind.__name__]
    assert is_foreseen(error)
    is_final = kind is errors.TurnCancelled  # SDKs repeat after a 409, unless they are told not to
    assert response.headers.get("x-should-retry") == ("false" if is_final else None)
    told_when = response.status_code in (409, 429, 503) and not is_final
    assert ("retry-after" in response.headers) is told_when
    assert ("x-ratelimit-reset" in response.headers) is (response.status_code == 429)


def test_a_refusal_keeps_the_status_it_came_with() -> None:
    for status in (400, 404, 422, 502):
        response = error_response(errors.EngineRefused("No.", status=status), "req_1")
        assert response.status_code == status
    response = error_response(errors.EngineRefused("Slow down.", status=429), "req_1")
    assert (response.status_code, response.headers["retry-after"]) == (429, "2")
    response = error_response(errors.EngineRefused("No.", status=422, retry_after=9), "req_1")
    assert "retry-after" not in response.headers


def test_a_refusal_keeps_the_field_it_named() -> None:
    response = error_response(errors.EngineRefused("No.", param="tools[0]"), "req_1")
    assert json.loads(bytes(response.body))["error"]["param"] == "tools[0]"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("behaviour", ["429", "503"])
async def test_when_an_upstream_says_to_come_again_is_passed_on(
    tmp_path: Path, behaviour: str, stream: bool
) -> None:
    async with fake_upstream() as upstream, opened(tmp_path) as door:
        upstream.behaviour, upstream.refusal_headers = behaviour, {"Retry-After": "41"}
        engine = UpstreamEngine("house", upstream.url)
        events = engine.generate(
            Window(owner="local", conversation=None, turn="turn_x", messages=(Message("user", "hi"),)),
            Options(model="wordy"),
        )
        with pytest.raises(errors.EngineError) as refused:
            await anext(events)
        await engine.close()
        door.hand.put(refused.value)
        response, _ = await door.ask(model="test/hand", stream=stream)
        assert (response.status, response.headers["retry-after"]) == (int(behaviour), "41")
        assert response.headers.get("x-ratelimit-reset") == ("41" if behaviour == "429" else None)


def test_what_nobody_foresaw_is_told_to_nobody() -> None:
    response = error_response(KeyError("secret"), "req_1")
    assert response.status_code == 500
    assert b"secret" not in bytes(response.body)
    assert not is_foreseen(KeyError())
    assert KeyError not in TABLE


async def test_too_many_turns(tmp_path: Path) -> None:
    async with opened(tmp_path, chat_settings=ChatSettings(max_open_turns=1)) as door:
        door.hand.put(Accepted(), ContentDelta("x"))
        first = asyncio.create_task(door.ask(model="test/hand"))
        await door.hand.began.wait()
        response, body = await door.ask()
        assert response.status == 429
        assert (body["error"]["type"], body["error"]["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        assert response.headers["retry-after"] == response.headers["x-ratelimit-reset"] == "1"
        door.hand.put(Finish("stop"))
        assert (await first)[0].status == 200


async def test_a_request_that_breaks_is_one_request(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: object, *args: object, **more: object) -> None:
        raise ZeroDivisionError("private detail")

    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(type(door.chat.store), "conversations", broken)
        response, body = await door.get("/v1/conversations")
    assert response.status == 500
    assert body["error"]["code"] == "internal_error"
    assert "private detail" not in str(body)
    assert [entry["log_level"] for entry in logs if entry.get("exc_info")] == ["error"]
    response, _ = await door.get("/v1/conversations")
    assert response.status == 200


async def test_the_log_has_no_keys_and_no_words(tmp_path: Path) -> None:
    settings = ServerSettings(api_keys=("the-api-key",))
    async with opened(tmp_path, settings) as door:
        with capture_logs() as logs:
            body = {"model": "scripted", "messages": [{"role": "user", "content": "private words"}]}
            response, _ = await door.post(
                "/v1/chat/completions", body, {"authorization": "Bearer the-api-key"}
            )
            await door.post("/v1/chat/completions", body, {"authorization": "Bearer the-wrong-key"})
            await door.get("/v1/conversations?user=ada", {"authorization": "Bearer the-api-key"})
    done = [entry for entry in logs if entry["event"] == "request"]
    assert [(entry["method"], entry["path"], entry["status"]) for entry in done] == [
        ("POST", "/v1/chat/completions", 200),
        ("POST", "/v1/chat/completions", 401),
        ("GET", "/v1/conversations", 200),
    ]
    assert done[0]["turn"] == response.headers["palaver-turn"]
    assert done[0]["request"] == response.headers["x-request-id"]
    assert done[0]["ms"] >= 0
    for word in ("the-api-key", "the-wrong-key", "private", "Reply"):
        assert word not in str(logs)


async def test_the_log_has_nothing_that_a_client_names(door: Door) -> None:
    named = {name: f"canary-{name}" for name in HEADERS if "retry-count" not in name}
    with capture_logs() as logs:
        for model in ("canary", "canary/model", "test/canary", "scripted"):
            body = {
                "model": model,
                "messages": [{"role": "user", "content": "canary"}],
                "user": "canary",
                "conversation": "canary",
                "metadata": {"canary": "canary"},
                "canary": "canary",
            }
            more = named | {"origin": "https://canary", "x-canary": "canary", "user-agent": "canary"}
            for headers in ({}, named, more):
                await door.post("/v1/chat/completions?canary=canary", body, headers)
        await door.get("/v1/conversations?canary=canary&user=canary&limit=canary")
        await door.post("/v1/chat/completions", data=b'{"canary": canary', headers=named)
    assert len([entry for entry in logs if entry["event"] == "request"]) == 14
    assert "canary" not in str(logs)


async def test_a_client_that_left_is_in_the_log_as_such(door: Door) -> None:
    with capture_logs() as logs:
        asking = asyncio.create_task(door.ask(model="test/hand"))
        await door.hand.began.wait()
        asking.cancel()
        await until(lambda: [entry for entry in logs if entry["event"] == "request"])
    assert logs[-1]["status"] == 499
    assert logs[-1]["turn"].startswith("chatcmpl-")


def refs(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*map(refs, value.values()))
    return set().union(*map(refs, value)) if isinstance(value, list) else set()


async def test_the_description_is_whole(door: Door) -> None:
    response, document = await door.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == "1.2.3"
    assert {(method, path) for path, methods in document["paths"].items() for method in methods} == {
        ("post", "/v1/chat/completions"),
        ("get", "/v1/search"),
        ("get", "/v1/conversations/{conversation}/search"),
        ("get", "/v1/conversations/{conversation}/summaries"),
        ("post", "/v1/conversations/{conversation}/summaries"),
        ("get", "/v1/conversations/{conversation}/summaries/{summary}"),
        ("post", "/v1/conversations/{conversation}/summaries/{summary}"),
        ("delete", "/v1/conversations/{conversation}/summaries/{summary}"),
        ("get", "/v1/chat/completions"),
        ("get", "/v1/chat/completions/{id}"),
        ("post", "/v1/chat/completions/{id}"),
        ("get", "/v1/chat/completions/{id}/messages"),
        ("post", "/v1/chat/completions/{id}/cancel"),
        ("post", "/v1/chat/completions/dry_run"),
        ("get", "/v1/chat/completions/{id}/receipt"),
        ("post", "/v1/responses"),
        ("post", "/v1/responses/compact"),
        ("post", "/v1/responses/input_tokens"),
        ("get", "/v1/responses/{id}"),
        ("delete", "/v1/responses/{id}"),
        ("post", "/v1/responses/{id}/cancel"),
        ("get", "/v1/responses/{id}/input_items"),
        ("get", "/v1/responses/{id}/receipt"),
        ("get", "/v1/responses/{id}/follow"),
        ("get", "/v1/chat/completions/{id}/follow"),
        ("post", "/v1/completions"),
        ("post", "/v1/embeddings"),
        ("get", "/v1/models"),
        ("get", "/v1/models/{id}"),
        ("get", "/v1/conversations"),
        ("get", "/v1/conversations/{conversation}"),
        ("post", "/v1/conversations"),
        ("post", "/v1/conversations/{conversation}"),
        ("get", "/v1/conversations/{conversation}/messages"),
        ("get", "/v1/conversations/{conversation}/items"),
        ("post", "/v1/conversations/{conversation}/items"),
        ("get", "/v1/conversations/{conversation}/items/{item}"),
        ("get", "/v1/conversations/{conversation}/tree"),
        ("get", "/v1/conversations/{conversation}/leaves"),
        ("get", "/v1/conversations/{conversation}/map"),
        ("get", "/v1/conversations/{conversation}/export"),
        ("post", "/v1/conversations/{conversation}/head"),
        ("post", "/v1/conversations/{conversation}/fork"),
        ("get", "/v1/conversations/{conversation}/epochs"),
        ("post", "/v1/conversations/{conversation}/window"),
        ("delete", "/v1/chat/completions/{id}"),
        ("delete", "/v1/conversations/{conversation}"),
        ("delete", "/v1/conversations/{conversation}/items/{item}"),
        ("delete", "/v1/users/{user}"),
        ("delete", "/v1/owners/{owner}"),
        ("post", "/v1/retention"),
        ("get", "/v1/files/{file}"),
        ("get", "/v1/files/{file}/content"),
        ("get", "/v1/cache"),
        ("delete", "/v1/cache"),
        ("get", "/v1/keys"),
        ("post", "/v1/keys"),
        ("delete", "/v1/keys/{id}"),
        ("get", "/v1/session"),
        ("post", "/v1/session"),
        ("delete", "/v1/session"),
        ("get", "/v1/server"),
        ("get", "/health"),
        ("get", "/"),
        ("get", "/ui"),
        ("get", "/assets/{name}"),
        ("get", "/docs"),
        ("get", "/openapi.json"),
    }
    schemas = document["components"]["schemas"]
    assert {ref.rpartition("/")[2] for ref in refs(document)} <= set(schemas)
    request = schemas["CompletionRequest"]
    assert request["required"] == ["model", "messages"]
    assert all(field["description"] for field in request["properties"].values())
    create = document["paths"]["/v1/chat/completions"]["post"]
    for name in (*ONLY, *WITHOUT_EFFECT):
        assert f"`{name}`" in create["description"]
    assert "text/event-stream" in create["responses"]["200"]["content"]
    assert "``" not in str(schemas)
    assert not [each for each in schemas.values() if "\n " in each.get("description", "")]
    named = [each["operationId"] for methods in document["paths"].values() for each in methods.values()]
    assert len(set(named)) == len(named)
    settings = schemas["WindowSettings"]["properties"]
    assert all(field["description"] for field in settings.values())
    items = document["paths"]["/v1/conversations/{conversation}/items"]["get"]["parameters"]
    assert [(each["name"], each["in"]) for each in items] == [
        ("conversation", "path"),
        ("after", "query"),
        ("limit", "query"),
        ("order", "query"),
        ("include", "query"),
        ("user", "query"),
        ("to", "query"),
        ("palaver-user", "header"),
    ]


async def test_the_documentation_needs_nothing_from_elsewhere(door: Door) -> None:
    response, page = await door.get("/docs")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=.?(?:https?:)?//", page)
    assert not re.search(r"\son\w+=", page)


async def test_the_documentation_says_what_one_needs(door: Door) -> None:
    _, docs = await door.get("/docs")
    for word in (
        "POST /v1/chat/completions",
        "palaver-on-leave",
        "repetition_penalty",
        "ErrorDetail",
        "at most 2",
    ):
        assert word in docs
