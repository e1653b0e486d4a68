"""Pictures, sound and files in messages: what an engine takes, how large, and from where."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from palaver.core.message import hash_of
from palaver.core.turn import Accepted, ContentDelta, Finish
from palaver.engines.base import SAMPLING
from palaver.server.app import ServerSettings
from tests.server.conftest import Door, HandEngine, opened

KINDS = ("image_url", "video_url", "audio_url", "input_audio", "file")
LIMIT = 1000
BYTES = base64.b64encode(b"\0" * 9).decode()
HASH = hash_of(b"\0" * 9)


def picture(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def data_url(size: int) -> str:
    return "data:image/png;base64," + base64.b64encode(b"\0" * size).decode()


def hand(*capabilities: str) -> HandEngine:
    engine = HandEngine(SAMPLING | frozenset(capabilities))
    engine.put(Accepted(), ContentDelta("x"), Finish("stop"))
    return engine


async def ask(door: Door, part: dict[str, Any]) -> tuple[int, Any]:
    content = [{"type": "text", "text": "What is this?"}, part]
    messages = [{"role": "user", "content": "Hello"}, {"role": "user", "content": content}]
    response, answer = await door.ask(model="test/hand", messages=messages)
    return response.status, answer


TAKEN: list[dict[str, Any]] = [
    picture(data_url(LIMIT)),
    picture("data:image/png;base64," + "\n".join(BYTES)),
    picture("data:image/svg+xml," + "%3C" * LIMIT),
    {"type": "image_url", "image_url": {"url": data_url(5), "detail": "low"}},
    {"type": "video_url", "video_url": {"url": data_url(5)}},
    {"type": "audio_url", "audio_url": {"url": data_url(5)}},
    {"type": "input_audio", "input_audio": {"data": BYTES, "format": "wav"}},
    {"type": "file", "file": {"file_data": data_url(5), "filename": "a.pdf"}},
    {"type": "file", "file": {"file_data": BYTES}},
]


@pytest.mark.parametrize("part", TAKEN, ids=lambda part: str(part)[:70])
async def test_what_an_engine_takes_reaches_it_as_it_is(tmp_path: Path, part: dict[str, Any]) -> None:
    settings = ServerSettings(max_attachment=LIMIT)
    async with opened(tmp_path, settings, hand=hand(*KINDS)) as door:
        status, answer = await ask(door, part)
        assert status == 200, answer
        (_, seen) = door.hand.windows[0].messages
        assert isinstance(seen.content, list)
        assert len(seen.content) == 2
    async with opened(tmp_path, settings, hand=hand(*(set(KINDS) - {part["type"]}))) as door:
        status, answer = await ask(door, part)
        assert (status, answer["error"]["code"]) == (400, "unsupported_parameter")
        assert answer["error"]["param"] == "messages[1].content[1]"
        assert part["type"] in answer["error"]["message"]


URL = "messages[1].content[1].image_url.url"
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (picture(data_url(LIMIT + 1)), URL, "1001 bytes"),
    (picture("data:image/png," + "%00" * (LIMIT + 1)), URL, "1001 bytes"),
    (picture("data:image/png;base64,A"), URL, "not valid base64"),
    (picture("data:image/png;base64,AAA*"), URL, "not valid base64"),
    (picture("data:image/png;base64,\u00e9\u00e9\u00e9\u00e9"), URL, "not valid base64"),
    (picture("data:image/png;base64,"), URL, "is empty"),
    (picture("data:image/png"), URL, "no comma"),
    (picture(f"data:image/png;blake2b,{HASH}"), URL, "send the bytes"),
    (picture(f"data:;blake2b,{HASH}"), URL, "send the bytes"),
    (picture(f"blake2b:{HASH}"), URL, "data: URL"),
    (picture(f"file-{HASH}"), URL, "data: URL"),
    (picture("file:///etc/passwd"), URL, "data: URL"),
    (picture("/etc/passwd"), URL, "data: URL"),
    (picture("ftp://example.org/a.png"), URL, "data: URL"),
    (picture("gopher://127.0.0.1:6379/_INFO"), URL, "data: URL"),
    (picture(""), URL, "data: URL"),
    (picture("http://"), URL, "data: URL"),
    (picture("http://[::1"), URL, "data: URL"),
    (picture("http://media.example@169.254.169.254/"), URL, "data: URL"),
    (picture("http://media.example\\@169.254.169.254/"), URL, "data: URL"),
    (picture("http://media.example/a b.png"), URL, "data: URL"),
    (picture("http://media.example/\na.png"), URL, "data: URL"),
    (picture("http://169.254.169.254/latest/meta-data"), URL, "fetches none from 169.254.169.254"),
    (picture("https://evil.media.example/a.png"), URL, "fetches none from evil.media.example"),
    (
        {"type": "video_url", "video_url": {"url": "https://example.org/a.mp4"}},
        "messages[1].content[1].video_url.url",
        "fetches none",
    ),
    (
        {"type": "audio_url", "audio_url": {"url": "https://example.org/a.wav"}},
        "messages[1].content[1].audio_url.url",
        "fetches none",
    ),
    (
        {"type": "input_audio", "input_audio": {"data": "?", "format": "wav"}},
        "messages[1].content[1].input_audio.data",
        "not valid base64",
    ),
    ({"type": "file", "file": {}}, "messages[1].content[1].file.file_data", "missing"),
    ({"type": "file", "file": {"file_id": "file-1"}}, "messages[1].content[1].file.file_id", "No file here"),
    ({"type": "file", "file": {"file_data": "?"}}, "messages[1].content[1].file.file_data", "base64"),
    (
        {"type": "file", "file": {"file_data": f"data:text/plain;blake2b,{HASH}"}},
        "messages[1].content[1].file.file_data",
        "send the bytes",
    ),
    (
        {"type": "file", "file": {"file_data": f"blake2b:{HASH}"}},
        "messages[1].content[1].file.file_data",
        "not valid base64",
    ),
    (
        {"type": "input_audio", "input_audio": {"data": f"blake2b:{HASH}", "format": "wav"}},
        "messages[1].content[1].input_audio.data",
        "not valid base64",
    ),
    (
        {"type": "video_url", "video_url": {"url": f"data:video/mp4;blake2b,{HASH}"}},
        "messages[1].content[1].video_url.url",
        "send the bytes",
    ),
    (
        {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;blake2b,{HASH}"}},
        "messages[1].content[1].audio_url.url",
        "send the bytes",
    ),
]


@pytest.mark.parametrize(("part", "param", "words"), REFUSED, ids=lambda value: str(value)[:70])
async def test_what_no_engine_gets(tmp_path: Path, part: dict[str, Any], param: str, words: str) -> None:
    settings = ServerSettings(max_attachment=LIMIT, media_hosts=("media.example",))
    async with opened(tmp_path, settings, hand=hand(*KINDS)) as door:
        status, answer = await ask(door, part)
        assert status == 400, answer
        assert answer["error"]["param"] == param
        assert words in answer["error"]["message"]
        assert door.hand.windows == []


@pytest.mark.parametrize(
    ("hosts", "capabilities"), [(("Media.example",), ()), (("*",), ()), ((), ("remote_media",))], ids=str
)
async def test_remote_addresses_where_they_are_allowed(
    tmp_path: Path, hosts: tuple[str, ...], capabilities: tuple[str, ...]
) -> None:
    settings = ServerSettings(media_hosts=hosts)
    async with opened(tmp_path, settings, hand=hand(*KINDS, *capabilities)) as door:
        status, answer = await ask(door, picture("https://media.EXAMPLE:8443/a.png?b=c"))
        assert status == 200, answer


async def test_a_server_that_fetches_knows_its_files_by_id(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=hand(*KINDS, "remote_media")) as door:
        status, answer = await ask(door, {"type": "file", "file": {"file_id": "file-1"}})
        assert status == 200, answer
        status, answer = await ask(door, picture("file:///etc/passwd"))
        assert status == 400, answer


async def test_a_refusal_is_text(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=hand()) as door:
        refusal = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
        messages = [{"role": "user", "content": "Hello"}, refusal, {"role": "user", "content": "Please"}]
        response, answer = await door.ask(model="test/hand", messages=messages)
        assert response.status == 200, answer
