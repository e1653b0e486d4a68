"""The description of the API: OpenAPI 3.1, made from the operations and the types they decode and encode."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from palaver.server.errors import TABLE, ErrorBody
from palaver.server.route import Operation

SCHEMAS = "#/components/schemas/"
VARIABLE = re.compile(r"{(\w+)(?::\w+)?}")
UNVERSIONED = ("/", "/health", "/docs", "/openapi.json")
"""Paths that stand outside ``/v1``. Any number of ``/v1`` may come before a path, before these too."""


def openapi(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The whole document."""
    types = {kind for each in operations for kind in (each.query, each.body, each.reply) if kind is not None}
    _, schemas = msgspec.json.schema_components(
        sorted(types | {ErrorBody}, key=lambda kind: kind.__name__), ref_template=SCHEMAS + "{name}"
    )
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
        described["requestBody"] = {"required": True, "content": content}
    return described


def _description(operation: Operation) -> str:
    if operation.is_open:
        return operation.description
    return f"{operation.description}\n\nAn API key needs the scope `{operation.scope}`.".strip()


def _path_parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    for name in VARIABLE.findall(operation.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query_parameters(operation: Operation, schemas: dict[str, Any]) -> Iterable[dict[str, Any]]:
    if operation.query is None:
        return
    for name, schema in schemas[operation.query.__name__]["properties"].items():
        rest = {key: value for key, value in schema.items() if key != "description"}
        yield {"name": name, "in": "query", "description": schema.get("description", ""), "schema": rest}


def _headers(operation: Operation) -> Iterable[dict[str, Any]]:
    for name, description in operation.headers.items():
        yield {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}


def _answer(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if operation.reply is not None:
        content[operation.media_type] = {"schema": _ref(operation.reply)}
    elif operation.media_type:
        content[operation.media_type] = {}
    if operation.streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    return {"description": operation.summary, "content": content}


def _error() -> dict[str, Any]:
    statuses = ", ".join(str(status) for status in sorted({meaning.status for meaning in TABLE.values()}))
    return {
        "description": f"An error ({statuses}). `code` says which.",
        "content": {"application/json": {"schema": _ref(ErrorBody)}},
    }


def _ref(kind: type) -> dict[str, str]:
    return {"$ref": SCHEMAS + kind.__name__}
