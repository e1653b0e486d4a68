"""A model server to talk to, and an engine that does."""

from collections.abc import AsyncIterator

import pytest

pytest.register_assert_rewrite("tests.engines.contract")

from palaver.engines.upstream.engine import UpstreamEngine  # noqa: E402
from tests.engines.fake_upstream import KEY, FakeUpstream, fake_upstream  # noqa: E402


@pytest.fixture
async def server() -> AsyncIterator[FakeUpstream]:
    async with fake_upstream() as fake:
        yield fake


@pytest.fixture
async def upstream(server: FakeUpstream) -> AsyncIterator[UpstreamEngine]:
    engine = UpstreamEngine("house", server.url, KEY)
    yield engine
    await engine.close()
