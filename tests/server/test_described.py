"""What the description of the API says of bodies, headers and streams that the types of the code say only in part."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.server.conftest import Door

SCHEMAS = "#/components/schemas/"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def document(shared_door: Door) -> dict[str, Any]:
    found: dict[str, Any] = (await shared_door.get("/openapi.json"))[1]
    return found


def body_of(document: dict[str, Any], path: str) -> dict[str, Any]:
    sent = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    found: dict[str, Any] = document["components"]["schemas"][sent["$ref"].removeprefix(SCHEMAS)]
    return found


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/responses", "input"),
        ("/v1/responses/compact", "input"),
        ("/v1/conversations", "items"),
        ("/v1/conversations/{conversation}/items", "items"),
    ],
)
def test_items_are_described(document: dict[str, Any], path: str, field: str) -> None:
    described = body_of(document, path)["properties"][field]
    lists = [each for each in described.get("anyOf", [described]) if each["type"] == "array"]
    assert [each["items"]["$ref"] for each in lists] == [SCHEMAS + "InputItem"]


def test_items_are_told_apart_by_their_type(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    kinds = {}
    for each in schemas["InputItem"]["anyOf"]:
        item = schemas[each["$ref"].removeprefix(SCHEMAS)]
        kind = item["properties"]["type"]
        kinds[kind.get("anyOf", [kind])[0]["const"]] = "type" in item["required"]
    assert kinds == {
        "message": False,
        "reasoning": True,
        "function_call": True,
        "function_call_output": True,
        "item_reference": False,
        "compaction": True,
    }


def test_tools_are_described(document: dict[str, Any]) -> None:
    tools = body_of(document, "/v1/responses")["properties"]["tools"]["anyOf"][0]
    assert tools["items"]["$ref"] == SCHEMAS + "ResponseTool"
    tool = document["components"]["schemas"]["ResponseTool"]
    assert tool["required"] == ["type", "name"]
    assert list(tool["properties"]) == ["type", "name", "description", "parameters", "strict"]


def test_a_conversation_may_be_made_of_nothing(document: dict[str, Any]) -> None:
    paths = document["paths"]
    assert not paths["/v1/conversations"]["post"]["requestBody"]["required"]
    assert paths["/v1/responses"]["post"]["requestBody"]["required"]


def test_words_in_headers_are_described(document: dict[str, Any]) -> None:
    headers = {
        each["name"]: each["schema"]
        for each in document["paths"]["/v1/chat/completions"]["post"]["parameters"]
        if each["in"] == "header"
    }
    assert headers["palaver-on-leave"]["enum"] == ["finish", "grace"]
    assert headers["palaver-user"] == {"type": "string"}


@pytest.mark.parametrize(
    ("path", "first", "done"),
    [
        ("/v1/chat/completions", "CompletionChunk", True),
        ("/v1/completions", "TextCompletion", True),
        ("/v1/responses", "ResponseEvent", False),
    ],
)
def test_streams_are_described(document: dict[str, Any], path: str, first: str, done: bool) -> None:
    content = document["paths"][path]["post"]["responses"]["200"]["content"]
    data = content["text/event-stream"]["schema"]["properties"]["data"]
    json, *rest = data["anyOf"] if done else [data]
    assert rest == ([{"const": "[DONE]"}] if done else [])
    assert json["contentSchema"]["anyOf"][0]["$ref"] == SCHEMAS + first


def test_all_that_bytes_may_be_is_described(document: dict[str, Any]) -> None:
    content = document["paths"]["/v1/files/{file}/content"]["get"]["responses"]["200"]["content"]
    assert {"image/png", "audio/*", "application/octet-stream"} <= content.keys()
