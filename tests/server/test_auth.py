"""Who may ask: keys, hosts, origins, content types."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest
import pytest_asyncio
import together

from palaver.server.app import ServerSettings
from tests.server.conftest import Door, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODY = {"model": "scripted", "messages": [{"role": "user", "content": "Hello"}]}
KEYED = ServerSettings(
    api_keys=("first-key", "zweiter-schlüssel"),
    local_key="local-secret",
    allowed_hosts=("palaver.lan",),
    cors_origins=("https://app.example/",),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keyed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    async with opened(tmp_path_factory.mktemp("keyed"), KEYED) as door:
        yield door


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("given", ["", "Bearer x", "Bearer", "Basic eDp5", "nonsense"])
async def test_without_keys_any_is_as_good_as_none(shared_door: Door, given: str) -> None:
    headers = {"authorization": given} if given else None
    response, _ = await shared_door.post("/v1/chat/completions", BODY, headers)
    assert response.status == 200


KEYS = [
    ("Bearer first-key", 200),
    ("bearer first-key", 200),
    ("Bearer  first-key ", 200),
    ("Bearer zweiter-schlüssel", 200),
    ("Bearer local-secret", 200),
    ("Bearer first-ke", 401),
    ("Bearer first-key2", 401),
    ("Bearer ", 401),
    ("Bearer", 401),
    ("first-key", 401),
    ("Basic first-key", 401),
    ("Bearer schlüssel", 401),
    ("", 401),
]


@pytest.mark.parametrize(("given", "status"), KEYS)
async def test_with_keys_one_of_them_must_come(keyed: Door, given: str, status: int) -> None:
    headers = {"authorization": given} if given else {}
    response, body = await keyed.post("/v1/chat/completions", BODY, headers)
    assert response.status == status
    if status == 401:
        assert body["error"]["code"] == "invalid_api_key"
        assert body["error"]["type"] == "invalid_request_error"
        assert body["id"] == response.headers["x-request-id"]
        assert response.headers["www-authenticate"] == "Bearer"
        assert "first-key" not in str(body)
    for path in ("/v1/models", "/v1/conversations", "/nothing/here"):
        response, _ = await keyed.get(path, headers)
        assert (response.status == 401) is (status == 401)
    for path in ("/health", "/v1/health", "/", "/docs", "/openapi.json"):
        response, _ = await keyed.get(path, headers)
        assert response.status == 200


async def test_sdks_raise_authentication_errors(keyed: Door) -> None:
    async with openai.AsyncOpenAI(base_url=keyed.address, api_key="wrong") as sdk:
        with pytest.raises(openai.AuthenticationError) as refused:
            await sdk.models.list()
        assert refused.value.code == "invalid_api_key"
    async with together.AsyncTogether(base_url=keyed.address, api_key="wrong") as other:
        with pytest.raises(together.AuthenticationError):
            await other.chat.completions.create(model="scripted", messages=[{"role": "user", "content": "x"}])
    async with openai.AsyncOpenAI(base_url=keyed.address, api_key="first-key") as sdk:
        assert (await sdk.models.list()).data


async def test_a_foreign_host_is_refused(keyed: Door) -> None:
    for host, status in (("palaver.lan:7400", 200), ("evil.example", 403)):
        response, body = await keyed.get("/v1/models", {"host": host, **bearer("first-key")})
        assert response.status == status
    assert body["error"]["code"] == "forbidden"
    assert "--allowed-host evil.example" in body["error"]["message"]


async def test_a_page_is_told_that_it_may_read(shared_door: Door, keyed: Door) -> None:
    host = {"host": "localhost:7400"}
    response, body = await shared_door.post(
        "/v1/chat/completions", BODY, {**host, "origin": "http://evil.example"}
    )
    assert (response.status, body["error"]["code"]) == (403, "forbidden")
    assert "access-control-allow-origin" not in response.headers
    ours = {**host, "origin": "http://localhost:7400"}
    response, _ = await shared_door.post("/v1/chat/completions", BODY, ours)
    assert response.status == 200
    assert response.headers["access-control-allow-origin"] == "http://localhost:7400"
    assert response.headers["vary"] == "origin"
    exposed = response.headers["access-control-expose-headers"]
    assert {"palaver-conversation", "palaver-turn", "x-request-id"} <= set(exposed.split(", "))
    # The error of a request without a key can be read by the page as well.
    response, _ = await keyed.post("/v1/chat/completions", BODY, {"origin": "https://app.example"})
    assert response.status == 401
    assert response.headers["access-control-allow-origin"] == "https://app.example"


async def test_a_browser_may_ask_first(keyed: Door) -> None:
    asked = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-os",
        "access-control-request-private-network": "true",
    }
    url = keyed.address + "/v1/chat/completions"
    async with keyed.http.options(url, headers={"origin": "https://app.example", **asked}) as response:
        assert response.status == 204
        assert response.headers["access-control-allow-origin"] == "https://app.example"
        assert "POST" in response.headers["access-control-allow-methods"]
        assert response.headers["access-control-allow-headers"] == asked["access-control-request-headers"]
        assert response.headers["access-control-allow-private-network"] == "true"
    async with keyed.http.options(url, headers={"origin": "https://evil.example", **asked}) as response:
        assert response.status == 403


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("text/plain", 403),
        ("application/x-www-form-urlencoded", 403),
        ("multipart/form-data; boundary=x", 403),
        ("application/jsonp", 403),
        ("", 403),
    ],
)
async def test_bodies_are_json(shared_door: Door, kind: str, status: int) -> None:
    response, body = await shared_door.post("/v1/chat/completions", BODY, {"content-type": kind})
    assert response.status == status
    if status == 403:
        assert "Content-Type: application/json" in body["error"]["message"]
