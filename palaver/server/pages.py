"""The documentation, as a browser is shown it. No scripts, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from html import escape
from typing import Any

from starlette.responses import Response

from palaver.server.openapi import payload

STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #8888 }
code, pre { font-family: ui-monospace, monospace; font-size: 0.9em }
pre { padding: 0.8rem; overflow-x: auto; border: 1px solid #8888; border-radius: 4px }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: 0.3rem 0.8rem 0.3rem 0; border-top: 1px solid #8884 }
"""
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}


def html_page(title: str, body: str) -> Response:
    """A page under a policy that allows this module's style and nothing else. `body` is HTML."""
    return Response(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
        f"<body>{body}</body></html>\n",
        headers=HEADERS,
        media_type="text/html",
    )


def documentation(document: dict[str, Any]) -> Response:
    """An OpenAPI document for people."""
    return html_page("palaver: the API", "\n".join(_documentation(document)))


def _documentation(document: dict[str, Any]) -> Iterator[str]:
    info = document["info"]
    yield f"<h1>{escape(info['title'])} {escape(info['version'])}: the API</h1>"
    yield f'<p>{_prose(info["description"])} As <a href="openapi.json">OpenAPI</a>.</p>'
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
            yield f"<p><b>{_prose(operation['summary'])}.</b></p>"
            yield from (f"<p>{_prose(text)}</p>" for text in operation["description"].split("\n\n") if text)
            yield from _operation(operation)
    yield "<h2>Types</h2>"
    for name, schema in document["components"]["schemas"].items():
        yield f'<h3 id="{escape(name)}">{escape(name)}</h3>'
        yield from (f"<p>{_prose(text)}</p>" for text in schema.get("description", "").split("\n\n") if text)
        yield from _fields(schema)


def _operation(operation: dict[str, Any]) -> Iterator[str]:
    if operation["parameters"]:
        yield "<table>"
        for parameter in operation["parameters"]:
            where, what = parameter["in"], _prose(parameter.get("description", ""))
            yield _row(parameter["name"], f"{where}, {_type(parameter['schema'])}", what)
        yield "</table>"
    sent = operation.get("requestBody", {}).get("content", {})
    for kind, content in (*sent.items(), *operation["responses"]["200"]["content"].items()):
        schema = payload(content.get("schema", {}))
        if "$ref" in schema or "anyOf" in schema:
            what = "Body" if content in sent.values() else "Answer"
            yield f"<p>{what}: {_type(schema)} ({escape(kind)})</p>"


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    if "properties" not in schema:
        yield f"<p>{_type(schema)}</p>"
        return
    yield "<table>"
    required = schema.get("required", [])
    for name, field in schema["properties"].items():
        kind = _type(field) + (", required" if name in required else "")
        yield _row(name, kind, _prose(field.get("description", "")))
    yield "</table>"


def _row(name: str, kind: str, text: str) -> str:
    return f"<tr><td><code>{escape(name)}</code></td><td>{kind}</td><td>{text}</td></tr>"


BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "maxItems": "at most {}",
    "maxProperties": "at most {}",
}


def _type(schema: dict[str, Any]) -> str:
    """A schema in a few words of HTML."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(each))}</code>" for each in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    kind = escape(str(schema.get("type", "anything")))
    if kind == "array":
        kind = f"array of {_type(schema.get('items') or {})}"
    bounds = [text.format(schema[key]) for key, text in BOUNDS.items() if key in schema]
    return kind + (f" ({', '.join(bounds)})" if bounds else "")


def _prose(text: str) -> str:
    """Text with code in backticks, as HTML."""
    return re.sub(r"(`+)(.+?)\1", r"<code>\2</code>", escape(text), flags=re.DOTALL)
