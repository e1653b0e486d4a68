"""What a client is told of the server, and what it tells of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from palaver.chat import ChatSettings
from palaver.server.app import ServerSettings
from tests.server.conftest import Door, opened


async def test_what_holds_for_every_request(tmp_path: Path) -> None:
    settings = ServerSettings(
        version="1.2.3", default_model="scripted", retain_days=30.0, max_attachment=7, max_body_bytes=8192
    )
    async with opened(tmp_path, settings, ChatSettings(record="asked", keep_temporary=60.0)) as door:
        _, body = await door.get("/v1/server")
    assert body == {
        "object": "server",
        "version": "1.2.3",
        "record": "asked",
        "retain_days": 30.0,
        "default_model": "scripted",
        "max_attachment": 7,
        "max_body_bytes": 8192,
        "max_messages": 10_000,
        "temporary_seconds": 60,
        "undo_seconds": 60,
    }


async def test_what_is_without_an_end_is_null(door: Door) -> None:
    _, body = await door.get("/v1/server")
    assert (body["retain_days"], body["default_model"]) == (None, None)


AGENT = {"user-agent": "Mozilla/5.0 (X11)"}


@pytest.mark.parametrize(
    ("sent", "source"),
    [
        ("palaver page", "palaver page"),
        ("Schlüssel ✓", "Schlüssel ✓"),
        ("", "Mozilla/5.0 (X11)"),
        ("\u202e", "Mozilla/5.0 (X11)"),
        ("a\tb\u202ec", "abc"),
        ("x" * 600, "x" * 512),
    ],
)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "scripted", "messages": [{"role": "user", "content": "Hello"}]}),
        ("/v1/responses", {"model": "scripted", "input": "Hello"}),
        ("/v1/conversations", {}),
    ],
)
async def test_an_app_names_itself(door: Door, path: str, body: object, sent: str, source: str) -> None:
    response, answer = await door.post(path, body, {**AGENT, "palaver-source": sent})
    assert response.status == 200, answer
    _, listed = await door.get("/v1/conversations?include_tasks=true")
    assert [each["source"] for each in listed["data"]] == [source]
