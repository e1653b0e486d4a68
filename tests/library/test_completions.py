"""Stored replies by the library: lists of them, and one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from palaver import Palaver
from palaver.config import load
from palaver.core.errors import RequestError


@pytest.fixture
async def palaver(tmp_path: Path) -> AsyncIterator[Palaver]:
    async with Palaver.open(
        load({"data_dir": str(tmp_path), "model": "scripted"}, environment={})
    ) as palaver:
        yield palaver


async def said(palaver: Palaver, text: str, **more: Any) -> str:
    async with palaver.say([{"role": "user", "content": text}], **more) as reply:
        async for _ in reply:
            pass
        return reply.turn


async def test_stored_replies_are_listed_and_read(palaver: Palaver) -> None:
    ids = [await said(palaver, f"q{i}", metadata={"is odd": str(i % 2)}) for i in range(3)]
    page = await palaver.completions(limit=2)
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (ids[:2], True)
    page = await palaver.completions(after=page["last_id"])
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (ids[2:], False)
    odd = await palaver.completions(metadata={"is odd": "1"}, model="scripted", order="desc")
    assert [each["id"] for each in odd["data"]] == [ids[1]]
    assert await palaver.completion(ids[1]) == odd["data"][0]
    assert (await palaver.completions(metadata={"is odd": "1"}, model="other"))["data"] == []


async def test_what_is_not_there_or_not_asked_for_so(palaver: Palaver) -> None:
    with pytest.raises(RequestError) as caught:
        await palaver.completion("turn_01arz3ndektsv4rrffq69g5fav")
    assert caught.value.code == "turn_not_found"
    with pytest.raises(RequestError) as caught:
        await palaver.completions(limit=0)
    assert caught.value.param == "limit"
