"""Names that nothing can have are refused before anything is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from palaver import Palaver
from palaver.config import load
from palaver.core.errors import RequestError

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def palaver(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Palaver]:
    folder: Path = tmp_path_factory.mktemp("store")
    async with Palaver.open(load({"data_dir": str(folder), "model": "scripted"})) as palaver:
        yield palaver


async def say(palaver: Palaver, name: str) -> None:
    async with palaver.say([{"role": "user", "content": "hi"}], conversation=name):
        pass


CALLS: list[tuple[str, Callable[[Palaver, str], Awaitable[Any]]]] = [
    ("conversation", Palaver.conversation),
    ("conversation", Palaver.items),
    ("conversation", Palaver.tree),
    ("conversation", Palaver.fork),
    ("conversation", Palaver.delete_conversation),
    ("conversation", say),
    ("message", lambda palaver, given: palaver.delete_item("trip", given)),
    ("name", lambda palaver, given: palaver.fork("trip", name=given)),
    ("name", Palaver.model_named),
    ("user", Palaver.delete_user),
    ("owner", Palaver.delete_owner),
    ("id", Palaver.revoke_api_key),
    ("turn", Palaver.cancel),
    ("turn", Palaver.receipt),
    ("turn", Palaver.completion),
    ("conversation", Palaver.epochs),
    ("conversation", Palaver.set_window),
    ("conversation", lambda palaver, given: palaver.foresee([], conversation=given)),
]


@pytest.mark.parametrize("given", ["", ".", ".."])
@pytest.mark.parametrize(("param", "call"), CALLS)
async def test_what_no_path_can_have(
    palaver: Palaver, param: str, call: Callable[[Palaver, str], Awaitable[Any]], given: str
) -> None:
    with pytest.raises(RequestError, match=f"`{param}` cannot be") as raised:
        await call(palaver, given)
    assert raised.value.param == param
