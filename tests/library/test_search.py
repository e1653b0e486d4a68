"""Searching by the library."""

from __future__ import annotations

from pathlib import Path

import pytest

from palaver import Palaver
from palaver.config import load
from palaver.core.errors import InvalidRequest, RequestError


async def test_what_is_kept_is_found(tmp_path: Path) -> None:
    config = load({"data_dir": str(tmp_path), "model": "scripted"}, environment={})
    async with Palaver.open(config) as palaver:
        items = [{"role": "user", "content": f"bread {number}"} for number in range(3)]
        made = await palaver.create_conversation(items, name="bakery", title="Bread")
        page = await palaver.search("bread", limit=2)
        assert [hit["type"] for hit in page["data"]] == ["title", "message"]
        rest = await palaver.search("bread", after=page["last_id"])
        assert (len(rest["data"]), rest["has_more"]) == (2, False)
        assert len((await palaver.search("bread", in_="titles"))["data"]) == 1
        await palaver.set_head(made["id"], (await palaver.messages(made["id"]))["data"][-1]["id"])
        on_path = await palaver.search("bread", conversation="bakery", on_path=True)
        assert [hit["text"] for hit in on_path["data"]] == ["bread 0"]
        newest = await palaver.search("bread", sort="newest", in_="messages", role="user", include_tasks=True)
        assert [hit["text"] for hit in newest["data"]] == ["bread 2", "bread 1", "bread 0"]
        with pytest.raises(RequestError) as caught:
            await palaver.search("...")
        assert caught.value.param == "q"
        with pytest.raises(InvalidRequest, match="conversation"):
            await palaver.search("bread", on_path=True)
