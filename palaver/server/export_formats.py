"""A conversation as a file: Markdown, JSON, or a web page of its own. Each is written page by page, as bytes.

None of them fetches anything: pictures are in the web page, and scripts are in none.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib import resources
from typing import Any, Literal, Protocol

import msgspec

from palaver.core.message import ImagePart, Message
from palaver.server.conversation_shapes import ConversationDetail, MessageBody
from palaver.stores.base import Item

Format = Literal["markdown", "json", "html"]
ENDINGS: Mapping[Format, str] = {"markdown": ".md", "json": ".json", "html": ".html"}
MEDIA: Mapping[Format, str] = {
    "markdown": "text/markdown;charset=utf-8",
    "json": "application/json",
    "html": "text/html;charset=utf-8",
}
NAMES = {
    "user": "User",
    "assistant": "Assistant",
    "tool": "Result of a tool",
    "function": "Result of a tool",
    "system": "System",
    "developer": "System",
}

STYLE = """
:root { color-scheme: light dark }
body {
  font: 16px/1.6 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere;
}
header p, .facts, summary { color: light-dark(#66615a, #a8a196); font-size: 0.85rem }
article { margin: 1.6rem 0 } h2 { font-size: 0.9rem; margin: 0 0 0.2rem }
.user .said { padding: 0.6rem 1rem; border-radius: 0.8rem; background: light-dark(#f3f0ea, #23211e) }
.said, .plain, .thought { white-space: pre-wrap; overflow-wrap: anywhere }
pre, code { font-family: ui-monospace, monospace; font-size: 0.9em }
figure.code { margin: 0.8rem 0; padding: 0.8rem 1rem; overflow-x: auto; border: 1px solid #8886; border-radius: 8px }
figure.code pre { margin: 0 } img { max-width: 100%; max-height: 30rem; border-radius: 8px }
table { border-collapse: collapse } td, th { padding: 0.3rem 0.8rem; border-bottom: 1px solid #8886; text-align: left }
.align-right { text-align: right } .align-center { text-align: center }
blockquote { margin: 0; padding-left: 1rem; border-left: 3px solid #8886 }
"""


class Form(Protocol):
    """One format: what comes before the messages, pages of them, and what comes after."""

    def begin(self, detail: ConversationDetail) -> str: ...

    def page(self, items: Sequence[Item], bodies: Sequence[MessageBody]) -> str:
        """Some messages, one at least: as they are stored, and as the API shows them. Slow: not for the event loop."""
        ...

    def end(self) -> str: ...


class Json(Form):
    """All that is known: the conversation, and the messages of all branches in the order in which they came."""

    def __init__(self) -> None:
        self._between = ""

    def begin(self, detail: ConversationDetail) -> str:
        return f'{{"object":"conversation.export","conversation":{_json(detail)},"messages":['

    def page(self, items: Sequence[Item], bodies: Sequence[MessageBody]) -> str:
        text = self._between + ",".join(_json(body) for body in bodies)
        self._between = ","
        return text

    def end(self) -> str:
        return "]}\n"


class Markdown(Form):
    """The path to the head, to be read and edited."""

    def begin(self, detail: ConversationDetail) -> str:
        lines = [f"# {_line(detail.title or 'Untitled chat')}", "", f"*{_when(detail.created_at)}*", ""]
        for message in detail.instructions:
            lines += ["## System", "", message.text, ""]
        return "\n".join(lines)

    def page(self, items: Sequence[Item], bodies: Sequence[MessageBody]) -> str:
        return "".join(self._message(item) for item in items)

    def end(self) -> str:
        return ""

    def _message(self, item: Item) -> str:
        facts = " · ".join(filter(None, (_when(item.created_at // 1000), item.model)))
        lines = ["", f"## {NAMES[item.message.role]}", "", f"*{facts}*", ""]
        if item.deleted:
            return "\n".join([*lines, "*(deleted)*", ""])
        if thought := _thought(item.message):
            lines += [*(f"> {line}" for line in thought.splitlines()), ""]
        lines += [item.message.text, ""]
        lines += [f"*(attached: {name})*\n" for name in _attached(item.message)]
        for name, arguments in _calls(item.message):
            lines += [f"Calls `{name}`:", "", *(f"    {line}" for line in arguments.splitlines()), ""]
        return "\n".join(lines)


class Html(Form):
    """The path to the head as one file that looks as the page does, needs nothing else, and runs nothing."""

    def __init__(self) -> None:
        code = resources.files("palaver.web") / "static" / "code.css"
        self._style = STYLE + code.read_text()

    def begin(self, detail: ConversationDetail) -> str:
        title = escape(detail.title or "Untitled chat")
        digest = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
        policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        told = "".join(
            f'<article class="system"><h2>System</h2><div class="said">{escape(message.text)}</div></article>\n'
            for message in detail.instructions
        )
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
            f'<meta http-equiv="content-security-policy" content="{policy}">\n'
            f'<meta name="viewport" content="width=device-width"><meta name="referrer" content="no-referrer">\n'
            f"<title>{title}</title>\n<style>{self._style}</style></head>\n"
            f"<body><header><h1>{title}</h1><p>{_when(detail.created_at)}</p></header>\n{told}"
        )

    def page(self, items: Sequence[Item], bodies: Sequence[MessageBody]) -> str:
        return "".join(self._message(item) for item in items)

    def end(self) -> str:
        return "</body></html>\n"

    def _message(self, item: Item) -> str:
        from palaver.web.rendering import render  # noqa: PLC0415  # what renders takes time to load, and memory

        message = item.message
        facts = escape(" · ".join(filter(None, (_when(item.created_at // 1000), item.model))))
        parts = [f'<p class="facts">{facts}</p>']
        if item.deleted:
            parts.append("<p><em>This message was deleted.</em></p>")
        elif message.role == "assistant":
            if thought := _thought(message):
                parts.append(
                    f'<details><summary>Thoughts</summary><div class="thought">{escape(thought)}</div></details>'
                )
            parts.append(render(message.text))
        else:
            parts.append(f'<div class="said">{escape(message.text)}</div>')
        parts += [
            f'<p><img src="{escape(url)}" alt="A picture in this message"></p>' for url in _images(message)
        ]
        parts += [f'<p class="facts">Attached: {escape(name)}</p>' for name in _attached(message, other=True)]
        parts += [
            f'<details><summary>Calls {escape(name)}</summary><pre class="plain">{escape(arguments)}</pre></details>'
            for name, arguments in _calls(message)
        ]
        head = f'<article class="{message.role}" id="{escape(item.id)}"><h2>{NAMES[message.role]}</h2>'
        return head + "\n".join(parts) + "</article>\n"


FORMS: Mapping[Format, type[Json | Markdown | Html]] = {"json": Json, "markdown": Markdown, "html": Html}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _when(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _line(text: str) -> str:
    return " ".join(text.split())


def _thought(message: Message) -> str:
    return message.reasoning or message.reasoning_content or ""


def _calls(message: Message) -> list[tuple[str, str]]:
    made = [call.function for call in message.tool_calls or ()]
    if message.function_call is not None:
        made.append(message.function_call)
    return [(function.name, function.arguments) for function in made]


def _images(message: Message) -> list[str]:
    """The pictures that are here with their bytes."""
    if not isinstance(message.content, list):
        return []
    urls = [part.image_url.url for part in message.content if isinstance(part, ImagePart)]
    return [url for url in urls if url.startswith("data:image/")]


def _attached(message: Message, *, other: bool = False) -> list[str]:
    """What is attached, in words; with `other` only what no picture shows."""
    if not isinstance(message.content, list):
        return []
    names = []
    for part in message.content:
        kind: str = msgspec.to_builtins(part).get("type", "")
        if kind in ("text", "refusal") or (
            other and isinstance(part, ImagePart) and part.image_url.url.startswith("data:image/")
        ):
            continue
        file = getattr(part, "file", None)
        names.append(getattr(file, "filename", None) or {"image_url": "a picture"}.get(kind, kind))
    return names
