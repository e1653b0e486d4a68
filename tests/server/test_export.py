"""One conversation as a file: Markdown, JSON, a web page."""

import base64
import html.parser
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from palaver.server.export import PAGE
from tests.server.conftest import Door, opened

PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\nnot much of a picture").decode()
ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>"
SCRIPT = json.dumps(
    {"reply": f"**Rye** bread.\n\n```python\nprint(1)\n```\n\n{ATTACK}", "reasoning": "Hm </div>."}
)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path, script=SCRIPT) as door:
        yield door


async def talk(door: Door, text: str = "What bread?", **more: Any) -> str:
    body = {"model": "scripted", "reasoning": {"enabled": True}, **more}
    sent = [{"role": "system", "content": "Be <brief>."}, {"role": "user", "content": text}]
    response, told = await door.post("/v1/chat/completions", {**body, "messages": sent})
    assert response.status == 200, told
    return response.headers["palaver-conversation"]


async def exported(door: Door, conversation: str, format: str) -> tuple[Any, str]:
    async with door.http.get(
        f"{door.address}/v1/conversations/{conversation}/export?format={format}"
    ) as response:
        assert response.status == 200
        return response.headers, await response.text()


async def test_markdown_has_the_path_to_be_read(door: Door) -> None:
    conversation = await talk(door)
    headers, text = await exported(door, conversation, "markdown")
    assert headers["content-type"].startswith("text/markdown")
    assert text.startswith("# What bread?\n")
    assert "## System\n\nBe <brief>.\n" in text
    assert text.index("## User") < text.index("What bread?\n", 20) < text.index("## Assistant")
    assert "> Hm </div>." in text
    assert "**Rye** bread.\n\n```python\nprint(1)\n```" in text


async def test_json_has_all_branches_and_what_belongs_to_them(door: Door) -> None:
    conversation = await talk(door)
    _, page = await door.get(f"/v1/conversations/{conversation}/messages?order=asc")
    again = {
        "model": "scripted",
        "conversation": conversation,
        "parent": page["data"][0]["id"],
        "messages": [],
    }
    assert (await door.post("/v1/chat/completions", again))[0].status == 200
    headers, text = await exported(door, conversation, "json")
    told = json.loads(text)
    assert headers["content-type"] == "application/json"
    assert told["conversation"]["id"] == conversation
    assert told["conversation"]["instructions"][0]["content"] == "Be <brief>."
    assert [message["parent"] for message in told["messages"]].count(page["data"][0]["id"]) == 2


class Reader(html.parser.HTMLParser):
    """Which tags with which attributes there are."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


async def test_the_web_page_needs_nothing_and_runs_nothing(door: Door) -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
    conversation = await talk(door, [{"type": "text", "text": f"Look: {ATTACK}"}, image])  # type: ignore[arg-type]
    headers, text = await exported(door, conversation, "html")
    assert "sandbox" in headers["content-security-policy"]
    reader = Reader()
    reader.feed(text)
    assert not {"script", "iframe", "link", "object", "base", "form"} & set(reader.tags)
    assert not [name for name, _ in reader.attributes if name.startswith("on") or name == "style"]
    sources = [value for name, value in reader.attributes if name == "src"]
    assert sources == [f"data:image/png;base64,{PICTURE}"]
    assert "<strong>Rye</strong>" in text
    assert "default-src 'none'" in text


@pytest.mark.parametrize("format", ["markdown", "json", "html"])
async def test_a_long_one_is_written_page_by_page(door: Door, format: str) -> None:
    made = (await door.post("/v1/conversations", {"title": "Long"}))[1]["id"]
    count = PAGE * 2 + 10
    for start in range(0, count, 20):
        items = [{"role": "user", "content": f"line {n:04}."} for n in range(start, min(start + 20, count))]
        assert (await door.post(f"/v1/conversations/{made}/items", {"items": items}))[0].status == 200
    _, text = await exported(door, made, format)
    places = [text.index(f"line {n:04}.") for n in range(count)]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("title", "ascii", "whole"),
    [
        ("Rye: 50/50?", 'filename="Rye 50 50.md"', "Rye%2050%2050.md"),
        ("../../etc/passwd", 'filename="etc passwd.md"', "etc%20passwd.md"),
        ("Brot für Ändi", 'filename="Brot fur Andi.md"', "Brot%20f%C3%BCr%20%C3%84ndi.md"),
        ("面包", 'filename="chat.md"', "%E9%9D%A2%E5%8C%85.md"),
        ('a"\r\nset-cookie: b', 'filename="a set-cookie b.md"', "a%20set-cookie%20b.md"),
    ],
)
async def test_the_file_is_named_by_the_title(door: Door, title: str, ascii: str, whole: str) -> None:
    made = (await door.post("/v1/conversations", {"title": title}))[1]["id"]
    headers, _ = await exported(door, made, "markdown")
    assert headers["content-disposition"] == f"attachment; {ascii}; filename*=UTF-8''{whole}"


async def test_an_empty_one_and_a_deleted_message_are_told(door: Door) -> None:
    made = (await door.post("/v1/conversations", {}))[1]["id"]
    _, text = await exported(door, made, "html")
    assert "Untitled chat" in text
    assert text.endswith("</body></html>\n")
    conversation = await talk(door)
    _, page = await door.get(f"/v1/conversations/{conversation}/messages?order=asc")
    async with door.http.delete(
        f"{door.address}/v1/conversations/{conversation}/items/{page['data'][0]['id']}"
    ) as response:
        assert response.status == 200
    _, text = await exported(door, conversation, "markdown")
    assert "*(deleted)*" in text
    assert "What bread?" not in text


async def test_what_is_no_format_or_not_there_is_said(door: Door) -> None:
    made = (await door.post("/v1/conversations", {}))[1]["id"]
    response, told = await door.get(f"/v1/conversations/{made}/export?format=pdf")
    assert (response.status, told["error"]["param"]) == (400, "format")
    response, _ = await door.get("/v1/conversations/conv_none/export")
    assert response.status == 404
