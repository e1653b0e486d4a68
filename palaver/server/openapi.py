"""The description of the API: OpenAPI 3.1, made from the operations and the types they decode and encode."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from itertools import chain
from types import UnionType
from typing import Any, get_args

import msgspec

from palaver.server.errors import TABLE, ErrorBody
from palaver.server.headers import RETRY_DIGITS
from palaver.server.item_schemas import SCHEMAS, SENT, item_schemas
from palaver.server.route import Events, Operation

VARIABLE = re.compile(r"{(\w+)(?::\w+)?}")
UNVERSIONED = ("/", "/ui", "/assets/{name}", "/health", "/docs", "/openapi.json")
"""Paths that stand outside ``/v1``. Any number of ``/v1`` may come before a path, before these too."""
HEADERS = {
    "palaver-on-leave": {"type": "string", "enum": ["finish", "grace"]},
    "x-stainless-retry-count": {"type": "string", "pattern": f"^[0-9]{{0,{RETRY_DIGITS}}}$"},
}
"""What may stand in a header, where that is not any text."""


def openapi(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The whole document."""
    types = {ErrorBody, *SENT, *chain.from_iterable(map(_types, operations))}
    _, schemas = msgspec.json.schema_components(
        sorted(types, key=lambda kind: kind.__name__), ref_template=SCHEMAS + "{name}"
    )
    schemas |= item_schemas(schemas)
    for schema in schemas.values():
        if "description" in schema:  # a docstring, which is indented and has code in two backticks
            schema["description"] = inspect.cleandoc(schema["description"]).replace("``", "`")
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(shown_path(operation), {})[operation.method.lower()] = _operation(operation, schemas)
    for query in (each.query for each in operations if each.query is not None):
        schemas.pop(query.__name__, None)  # its fields are listed as parameters
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "palaver",
            "version": version or "0",
            "description": "The chat API of Together and OpenAI, with every conversation kept.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _types(operation: Operation) -> Iterable[type]:
    streamed = operation.streams.data if operation.streams else None
    for asked in (operation.query, operation.body, operation.reply, streamed):
        if asked is not None:
            yield from get_args(asked) or (asked,)


def shown_path(operation: Operation) -> str:
    """The path as clients write it."""
    path = VARIABLE.sub(r"{\1}", operation.path)
    return path if path in UNVERSIONED else "/v1" + path


def _operation(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": "_".join(re.findall(r"\w+", f"{operation.method.lower()} {operation.path}")),
        "summary": operation.summary,
        "description": _description(operation),
        "security": [{}] if operation.is_open else [{}, {"key": [operation.scope]}],
        "parameters": [
            *_path_parameters(operation),
            *_query_parameters(operation, schemas),
            *_headers(operation),
        ],
        "responses": {"200": _answer(operation), "default": _error()},
    }
    if operation.body is not None:
        content = {"application/json": {"schema": _ref(operation.body)}}
        described["requestBody"] = {"required": operation.needs_body, "content": content}
    return described


def _description(operation: Operation) -> str:
    if operation.is_open:
        return operation.description
    return f"{operation.description}\n\nAn API key needs the scope `{operation.scope}`.".strip()


def _path_parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    for name in VARIABLE.findall(operation.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _query_parameters(operation: Operation, schemas: dict[str, Any]) -> Iterable[dict[str, Any]]:
    if operation.query is None:
        return
    fields = schemas[operation.query.__name__]
    for name, schema in fields["properties"].items():
        rest = {key: value for key, value in schema.items() if key != "description"}
        # `metadata[key]=value`
        form = {"style": "deepObject", "explode": True} if rest.get("type") == "object" else {}
        yield {
            "name": name,
            "in": "query",
            "required": name in fields.get("required", ()),
            "description": schema.get("description", ""),
            **form,
            "schema": rest,
        }


def _headers(operation: Operation) -> Iterable[dict[str, Any]]:
    for name, description in operation.headers.items():
        schema = HEADERS.get(name, {"type": "string"})
        yield {"name": name, "in": "header", "description": description, "schema": schema}


def _answer(operation: Operation) -> dict[str, Any]:
    kinds = (operation.media_type,) if isinstance(operation.media_type, str) else operation.media_type
    schema = {} if operation.reply is None else {"schema": _ref(operation.reply)}
    content: dict[str, Any] = dict.fromkeys(kinds, schema)
    if operation.streams:
        content["text/event-stream"] = {"schema": _event(operation.streams)}
    return {"description": operation.summary, "content": content}


def _event(events: Events) -> dict[str, Any]:
    """One event of a stream: before OpenAPI 3.2 there are no words for the whole of it."""
    json = {"contentMediaType": "application/json", "contentSchema": _ref(events.data)}
    data = (
        {"type": "string", "anyOf": [json, {"const": "[DONE]"}]}
        if events.done
        else {"type": "string", **json}
    )
    return {
        "type": "object",
        "description": "Each event of the stream.",
        "properties": {"event": {"type": "string"}, "data": data},
        "required": ["data"],
    }


def payload(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of what an answer holds: of a stream, of what its events tell."""
    data = schema.get("properties", {}).get("data", {})
    told: Iterable[dict[str, Any]] = (
        each["contentSchema"] for each in (data, *data.get("anyOf", ())) if "contentSchema" in each
    )
    return next(iter(told), schema)


def _error() -> dict[str, Any]:
    statuses = ", ".join(str(status) for status in sorted({meaning.status for meaning in TABLE.values()}))
    return {
        "description": f"An error ({statuses}). `code` says which.",
        "content": {"application/json": {"schema": _ref(ErrorBody)}},
    }


def _ref(kind: type | UnionType) -> dict[str, Any]:
    if isinstance(kind, UnionType):
        return {"anyOf": [_ref(each) for each in get_args(kind)]}
    return {"$ref": SCHEMAS + kind.__name__}
