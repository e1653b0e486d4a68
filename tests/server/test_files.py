"""Attachments at the door: kept once, shown by their ids, fetched, and named instead of sent."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import openai
import pytest

from palaver.cli.resent import resent
from palaver.core.errors import InvalidRequest
from palaver.core.message import (
    FileData,
    FilePart,
    ImagePart,
    ImageUrl,
    Message,
    TextPart,
    canonical,
    hash_of,
)
from palaver.core.turn import Accepted, ContentDelta, Finish
from palaver.engines.base import SAMPLING
from palaver.server.app import ServerSettings
from palaver.server.files import MOST_NAMED, whole_messages, with_own_files
from palaver.server.input_items import read_items
from tests.server.conftest import Door, HandEngine, opened

KINDS = ("image_url", "video_url", "audio_url", "input_audio", "file")
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)
MOST = 10_000
LOCAL = {"authorization": "Bearer local-secret"}


def data_url(raw: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(raw).decode()}"


def picture(raw: bytes = PNG, media_type: str = "image/png") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url(raw, media_type), "detail": "low"}}


def file(**more: str) -> dict[str, Any]:
    return {"type": "file", "file": more}


def asked(*parts: dict[str, Any], text: str = "What is this?") -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text}, *parts]}


def hand(*capabilities: str) -> HandEngine:
    return HandEngine(SAMPLING | frozenset((*KINDS, *capabilities)))


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path, hand=hand()) as door:
        yield door


async def ask(door: Door, *messages: dict[str, Any], key: str | None = None, **more: Any) -> Any:
    door.hand.put(Accepted(), ContentDelta("A dot."), Finish("stop"))
    body = {"model": "test/hand", "messages": messages, **more}
    headers = {"authorization": f"Bearer {key}"} if key else None
    response, answer = await door.post("/v1/chat/completions", body, headers)
    assert response.status == 200, answer
    return response.headers["palaver-conversation"]


async def content(door: Door, id: str, **more: Any) -> tuple[aiohttp.ClientResponse, bytes]:
    async with door.http.get(f"{door.address}/v1/files/{id}/content", **more) as response:
        return response, await response.read()


def seen(door: Door) -> list[Message]:
    """What the engine was shown last."""
    return list(door.hand.windows[-1].messages)


async def parts(door: Door, conversation: str, query: str = "") -> list[dict[str, Any]]:
    """The first message of a conversation, as it is shown."""
    _, page = await door.get(f"/v1/conversations/{conversation}/items?order=asc{query}")
    found: list[dict[str, Any]] = page["data"][0]["content"]
    return found


async def test_the_engine_sees_the_picture_and_lists_its_id(door: Door) -> None:
    conversation = await ask(door, asked(picture()))
    expected = Message("user", [TextPart("What is this?"), ImagePart(ImageUrl(data_url(PNG), "low"))])
    assert seen(door) == [expected]
    answer = {"role": "assistant", "content": "A dot."}
    again = await ask(door, asked(picture()), answer, {"role": "user", "content": "Sure?"})
    assert again == conversation
    assert seen(door)[0] == expected
    id = f"file-{hash_of(PNG)}"
    shown = {"type": "input_image", "image_url": None, "file_id": id, "detail": "low"}
    assert (await parts(door, conversation))[1] == shown
    for path in ("messages?order=asc", "tree"):
        _, page = await door.get(f"/v1/conversations/{conversation}/{path}")
        assert page["data"][0]["content"][1] == shown


async def test_a_picture_is_shown_where_that_is_asked_for(door: Door) -> None:
    conversation = await ask(door, asked(picture(), file(file_data=data_url(b"text", "text/plain"))))
    include = "&include[]=message.input_image.image_url"
    _, page = await door.get(f"/v1/conversations/{conversation}/messages?order=asc{include}")
    for shown in (await parts(door, conversation, include), page["data"][0]["content"]):
        [_, image, text] = shown
        assert (image["image_url"], image["detail"]) == (data_url(PNG), "low")
        assert text == {"type": "input_file", "file_id": f"file-{hash_of(b'text')}"}
    response, answer = await door.post(
        "/v1/chat/completions/dry_run", {"model": "test/hand", "messages": resent(page["data"])}
    )
    assert response.status == 200, answer


SHOWN = [
    (
        file(file_data=data_url(b"%PDF", "application/pdf"), filename="a.pdf"),
        {"type": "input_file", "file_id": f"file-{hash_of(b'%PDF')}", "filename": "a.pdf"},
    ),
    (
        file(file_data=base64.b64encode(b"plain").decode()),
        {"type": "input_file", "file_id": f"file-{hash_of(b'plain')}"},
    ),
    (
        {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"RIFF").decode(), "format": "wav"}},
        {"type": "input_audio", "input_audio": {"data": f"file-{hash_of(b'RIFF')}", "format": "wav"}},
    ),
    (
        {"type": "video_url", "video_url": {"url": data_url(b"film", "video/mp4")}},
        {"type": "video_url", "video_url": {"url": f"file-{hash_of(b'film')}"}},
    ),
    (
        {"type": "audio_url", "audio_url": {"url": data_url(b"RIFF", "audio/wav")}},
        {"type": "audio_url", "audio_url": {"url": f"file-{hash_of(b'RIFF')}"}},
    ),
    (
        picture(b"a"),
        {"type": "input_image", "image_url": None, "file_id": f"file-{hash_of(b'a')}", "detail": "low"},
    ),
    (
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "auto"},
    ),
]


@pytest.mark.parametrize(("sent", "shown"), SHOWN, ids=lambda part: str(part)[:60])
async def test_how_parts_are_shown(tmp_path: Path, sent: dict[str, Any], shown: dict[str, Any]) -> None:
    async with opened(tmp_path, ServerSettings(media_hosts=("example.org",)), hand=hand()) as door:
        assert (await parts(door, await ask(door, asked(sent))))[1] == shown


async def test_what_a_file_is(door: Door) -> None:
    await ask(door, asked(picture(), file(file_data=data_url(b"%PDF", "application/pdf"), filename="a.pdf")))
    for raw, filename in ((PNG, f"file-{hash_of(PNG)}.png"), (b"%PDF", "a.pdf")):
        response, body = await door.get(f"/v1/files/file-{hash_of(raw)}")
        assert response.status == 200
        assert body.pop("created_at") > 1_700_000_000
        assert body == {
            "id": f"file-{hash_of(raw)}",
            "object": "file",
            "bytes": len(raw),
            "filename": filename,
            "purpose": "user_data",
            "status": "processed",
        }


SERVED = [
    (picture(PNG), PNG, "image/png"),
    (picture(b"gif", "image/gif"), b"gif", "image/gif"),
    (picture(b"<svg/>", "image/svg+xml"), b"<svg/>", "application/octet-stream"),
    (picture(b"<p>", "text/html"), b"<p>", "application/octet-stream"),
    (picture(b"x", "IMAGE/PNG"), b"x", "image/png"),
    (picture(b"y", "image/png\r\nset-cookie: a=b"), b"y", "application/octet-stream"),
    (picture(b"z", "audio/x\r\nset-cookie: a=b"), b"z", "application/octet-stream"),
    (picture(b"n", ""), b"n", "application/octet-stream"),
    (
        {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"RIFF").decode(), "format": "wav"}},
        b"RIFF",
        "audio/wav",
    ),
    (file(file_data=data_url(b"<h1>", "text/html"), filename="a.html"), b"<h1>", "application/octet-stream"),
]


@pytest.mark.parametrize(("part", "raw", "media_type"), SERVED, ids=lambda value: str(value)[:50])
async def test_bytes_are_a_download(door: Door, part: dict[str, Any], raw: bytes, media_type: str) -> None:
    await ask(door, asked(part))
    response, got = await content(door, f"file-{hash_of(raw)}")
    assert (response.status, got) == (200, raw)
    assert response.headers["content-type"] == media_type
    assert response.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in response.headers


async def test_a_name_is_not_trusted_either(door: Door) -> None:
    name = '../\N{SNOWMAN}"\r\nset-cookie: a=b' + "x" * 10_000
    await ask(door, asked(file(file_data=data_url(b"text", "text/plain"), filename=name)))
    response, _ = await content(door, f"file-{hash_of(b'text')}")
    told = response.headers["content-disposition"]
    assert told.startswith("attachment; filename*=UTF-8''..%2F%E2%98%83%22%0D%0Aset-cookie%3A")
    assert len(told) < 1000
    assert "set-cookie" not in response.headers


async def test_the_official_sdk_reads_it(door: Door) -> None:
    await ask(door, asked(picture()))
    id = f"file-{hash_of(PNG)}"
    client = openai.AsyncOpenAI(
        base_url=f"{door.address}/v1", api_key="any", _strict_response_validation=True
    )
    async with client:
        assert (await client.files.retrieve(id)).bytes == len(PNG)
        assert (await client.files.content(id)).content == PNG
        with pytest.raises(openai.NotFoundError):
            await client.files.content("file-1")


@pytest.mark.parametrize(
    "id", ["file-1", f"file-{hash_of(b'?')}", hash_of(PNG), f"file-{hash_of(PNG)}%20", "%00"]
)
async def test_what_is_not_there(door: Door, id: str) -> None:
    await ask(door, asked(picture()))
    for path in (f"/v1/files/{id}", f"/v1/files/{id}/content"):
        response, body = await door.get(path)
        assert (response.status, body["error"]["code"]) == (404, "file_not_found")


async def test_it_is_gone_with_its_message(door: Door) -> None:
    conversation = await ask(door, asked(picture()))
    async with door.http.delete(f"{door.address}/v1/conversations/{conversation}") as response:
        assert response.status == 200
    assert (await content(door, f"file-{hash_of(PNG)}"))[0].status == 404


async def test_another_owner_cannot_have_it(tmp_path: Path) -> None:
    async with opened(tmp_path, ServerSettings(local_key="local-secret"), hand=hand()) as door:
        keys = {}
        for owner in ("ann", "bob"):
            _, made = await door.post("/v1/keys", {"name": owner, "owner": owner}, LOCAL)
            keys[owner] = made["key"]
        await ask(door, asked(picture()), key=keys["ann"])
        id = f"file-{hash_of(PNG)}"
        for owner, status in (("ann", 200), ("bob", 404)):
            headers = {"authorization": f"Bearer {keys[owner]}"}
            assert (await content(door, id, headers=headers))[0].status == status
            response, _ = await door.get(f"/v1/files/{id}", headers)
            assert response.status == status
        body = {"model": "test/hand", "messages": [asked(file(file_id=id))]}
        response, answer = await door.post(
            "/v1/chat/completions", body, {"authorization": f"Bearer {keys['bob']}"}
        )
        assert (response.status, answer["error"]["code"]) == (400, "file_not_found")
        assert (await content(door, id))[0].status == 401
        _, writing = await door.post("/v1/keys", {"name": "w", "owner": "ann", "scopes": ["write"]}, LOCAL)
        headers = {"authorization": f"Bearer {writing['key']}"}
        assert (await content(door, id, headers=headers))[0].status == 403


async def test_a_file_that_is_named_is_read(door: Door) -> None:
    sent = file(file_data=data_url(b"%PDF", "application/pdf"), filename="a.pdf")
    first = await ask(door, asked(sent))
    answer = {"role": "assistant", "content": "A dot."}
    named = file(file_id=f"file-{hash_of(b'%PDF')}")
    assert await ask(door, asked(named), answer, {"role": "user", "content": "Sure?"}) == first
    expected = FilePart(FileData(data_url(b"%PDF", "application/pdf"), filename="a.pdf"))
    assert seen(door)[0].content == [TextPart("What is this?"), expected]
    await ask(door, asked(file(file_id=f"file-{hash_of(b'%PDF')}", filename="b.pdf")), store=False)
    assert seen(door)[0].content == [
        TextPart("What is this?"),
        FilePart(FileData(expected.file.file_data, filename="b.pdf")),
    ]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/chat/completions/dry_run"])
async def test_one_that_is_not_there_is_refused(door: Door, path: str) -> None:
    messages = [{"role": "user", "content": "hi"}, asked(file(file_id=f"file-{hash_of(b'?')}"))]
    response, answer = await door.post(path, {"model": "test/hand", "messages": messages})
    assert (response.status, answer["error"]["code"]) == (400, "file_not_found")
    assert answer["error"]["param"] == "messages[1].content[1].file.file_id"


async def test_a_model_whose_server_knows_files_is_told_the_others(tmp_path: Path) -> None:
    async with opened(tmp_path, hand=hand("remote_media")) as door:
        unknown = f"file-{hash_of(b'?')}"
        await ask(door, asked(file(file_id=unknown)))
        assert isinstance(content := seen(door)[0].content, list)
        assert content[1] == FilePart(FileData(file_id=unknown))


async def test_how_it_is_kept_shows_nowhere(door: Door) -> None:
    await ask(door, asked(*(part for part, _ in SHOWN[:-1])))
    [id] = [each.id for each in await door.chat.store.conversations("local", one_shots=True)]
    [_, reply] = await door.chat.store.items("local", id, order="asc")
    turn = str(reply.turn).replace("turn_", "chatcmpl-")
    listed = [f"conversations/{id}/{rest}" for rest in ("items", "messages", "tree", "leaves")]
    included = "?include[]=message.input_image.image_url"
    replies = [
        f"chat/completions/{turn}",
        f"chat/completions/{turn}/messages",
        f"responses/{turn}/input_items",
    ]
    for path in (*listed, listed[0] + included, listed[1] + included, *replies, replies[2] + included):
        async with door.http.get(f"{door.address}/v1/{path}") as response:
            assert response.status == 200
            assert b"blake2b" not in await response.read(), path
    _, page = await door.get(f"/v1/{replies[1]}")
    assert page["data"][0]["content_parts"][-1]["image_url"]["url"] == data_url(b"a")


async def test_all_that_is_shown_can_be_sent_back(door: Door) -> None:
    store = door.chat.store
    conversation = await ask(door, asked(*(part for part, _ in SHOWN[:-1])))
    [question] = seen(door)
    shown = {"type": "message", "role": "user", "content": await parts(door, conversation)}
    [sent_back] = read_items([msgspec.Raw(msgspec.json.encode(shown))], "input").messages()
    assert canonical(sent_back) != canonical(question)
    hello = Message("user", "Hello")
    assert await with_own_files(store, "local", [hello, sent_back], MOST) == [hello, question]
    [first] = await store.items("local", conversation, order="asc", limit=1)
    assert await whole_messages(store, "local", [hello, first.message]) == [hello, question]
    assert await whole_messages(store, "other", [first.message]) == [first.message]


async def test_a_picture_that_is_named_and_not_there(door: Door) -> None:
    unknown = Message("user", [ImagePart(ImageUrl(f"file-{hash_of(b'?')}"))])
    with pytest.raises(InvalidRequest) as raised:
        await with_own_files(door.chat.store, "local", [unknown], MOST)
    assert raised.value.param == "messages[0].content[0].image_url.url"
    assert await with_own_files(door.chat.store, "local", [unknown], MOST, only_files=True) == [unknown]


async def test_what_is_named_is_no_larger_than_a_body_may_be(door: Door) -> None:
    """Else a request of a few bytes would be one of gigabytes."""
    await ask(door, asked(picture(bytes(1000))))
    once = [Message("user", [FilePart(FileData(file_id=f"file-{hash_of(bytes(1000))}"))])]
    assert await with_own_files(door.chat.store, "local", once * 3, 3 * 1336)
    with pytest.raises(InvalidRequest, match="4008 bytes"):
        await with_own_files(door.chat.store, "local", once * 3, 3 * 1336 - 1)
    many = [Message("user", [FilePart(FileData(file_id=f"file-{i:032x}"))]) for i in range(MOST_NAMED + 1)]
    with pytest.raises(InvalidRequest, match="501 files"):
        await with_own_files(door.chat.store, "local", many, MOST)
