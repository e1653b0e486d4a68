"""The file of a model that a llama-server runs: found here, or not, and then nothing is known of its cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from palaver.engines.llama import remote_model
from palaver.engines.llama.architectures import MEDIA, WINDOW
from palaver.engines.llama.remote_file import UNREADABLE, UNSAID, file_of
from palaver.engines.pocket import POCKET
from tests.engines.llama.gguf_file import gguf
from tests.engines.llama.test_remote import KEY, Server

TEXT = {"vision": False, "video": False, "audio": False}
SILENT = (0, 0, 0)


async def why(path: str, modalities: Any, counts: tuple[int, int, int]) -> str:
    found, unkept = await file_of(path, modalities, counts)
    assert found is not None or unkept
    return unkept


async def test_a_file_that_is_here_says_it(tmp_path: Path) -> None:
    assert await why(str(POCKET), TEXT, SILENT) == ""
    windowed = gguf(tmp_path / "m.gguf", {"general.architecture": "gemma3"})
    assert await why(str(windowed), TEXT, SILENT) == WINDOW


@pytest.mark.parametrize("kind", ["vision", "video", "audio", "smell"])
async def test_a_server_that_reads_more_than_text(kind: str) -> None:
    assert await why(str(POCKET), TEXT | {kind: True}, SILENT) == MEDIA


@pytest.mark.parametrize("modalities", [None, [], "text", 0])
async def test_a_server_that_does_not_say_what_it_reads(modalities: Any) -> None:
    assert await why(str(POCKET), modalities, SILENT) == UNSAID


@pytest.mark.parametrize("path", ["", "m.gguf", "/nowhere/m.gguf", "C:\\models\\m.gguf", "/\0", "/"])
async def test_a_file_that_is_not_here(path: str) -> None:
    assert await why(path, TEXT, SILENT) == UNREADABLE


async def test_a_path_from_where_the_server_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(POCKET.parent)
    assert await why(POCKET.name, TEXT, SILENT) == UNREADABLE


async def test_another_model_at_the_same_place(tmp_path: Path) -> None:
    path = gguf(tmp_path / "m.gguf", {"llama.embedding_length": 64, "tokenizer.ggml.tokens": ["a", "b", "c"]})
    assert await why(str(path), TEXT, (3, 4096, 64)) == ""
    assert await why(str(path), TEXT, (3, 0, 0)) == ""
    for counts in ((4, 4096, 64), (3, 8192, 64), (3, 4096, 128)):
        assert await why(str(path), TEXT, counts) == UNREADABLE


async def test_a_running_server_says_enough() -> None:
    server = Server()
    try:
        await server.start()
        async with aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session:
            props = await remote_model.read_props(session, server.url)
            assert props.modalities == TEXT
            found = await remote_model.read_model(session, server.url, props)
            assert found.model.unkept == ""
            elsewhere = msgspec.structs.replace(props, model_path="/nowhere/m.gguf")
            found = await remote_model.read_model(session, server.url, elsewhere)
            assert found.model.unkept == UNREADABLE
    finally:
        await server.kill()
