"""A browser that is signed in: a cookie that holds the API key, and what it may and may not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from palaver.server.app import ServerSettings
from tests.server.conftest import Door, opened

KEY = 'zweiter-schlüssel; "mit" allem'
KEYED = ServerSettings(api_keys=("first-key", KEY), local_key="local-secret", allowed_hosts=("palaver.lan",))
LOCAL = {"authorization": "Bearer local-secret"}
PAGE = {"palaver-page": "1"}
BODY = {"model": "scripted", "messages": [{"role": "user", "content": "Hello"}]}
SIGNED_OUT = {"object": "session", "needs_key": True, "signed_in": False, "owner": None, "scopes": []}


@pytest.fixture
async def keyed(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path, KEYED) as door:
        yield door


def set_cookie(response: aiohttp.ClientResponse) -> Morsel[str]:
    (header,) = response.headers.getall("set-cookie")
    return SimpleCookie(header)["palaver_session"]


async def signed_in(door: Door, key: str) -> dict[str, str]:
    """The header that a browser sends from then on."""
    door.http.cookie_jar.clear()
    response, body = await door.post("/v1/session", {"api_key": key})
    assert response.status == 200, body
    door.http.cookie_jar.clear()  # each test sends the cookie itself
    return {"cookie": f"palaver_session={set_cookie(response).value}"}


async def created(door: Door, **more: Any) -> Any:
    response, body = await door.post("/v1/keys", {"name": "k", "owner": "ann", **more}, LOCAL)
    assert response.status == 200, body
    return body


@pytest.mark.parametrize("key", ["first-key", KEY, "local-secret"])
async def test_with_the_cookie_the_page_may_do_what_the_key_may(keyed: Door, key: str) -> None:
    cookie = await signed_in(keyed, key)
    response, body = await keyed.get("/v1/session", cookie)
    assert body == {
        "object": "session",
        "needs_key": True,
        "signed_in": True,
        "owner": "local",
        "scopes": ["admin", "chat", "read", "write"],
    }
    response, _ = await keyed.get("/v1/conversations", cookie)
    assert response.status == 200
    response, _ = await keyed.post("/v1/chat/completions", BODY, {**cookie, **PAGE})
    assert response.status == 200


async def test_nobody_but_the_page_may_change_anything_with_the_cookie(keyed: Door) -> None:
    cookie = await signed_in(keyed, "first-key")
    for headers in (cookie, {**cookie, "palaver-page": "2"}):
        response, body = await keyed.post("/v1/chat/completions", BODY, headers)
        assert (response.status, body["error"]["code"]) == (403, "forbidden")
        async with keyed.http.delete(keyed.address + "/v1/conversations/x", headers=headers) as deleted:
            assert deleted.status == 403
    # Who sends the key itself is no page that was tricked.
    key = {"authorization": "Bearer first-key"}
    response, _ = await keyed.post("/v1/chat/completions", BODY, {**cookie, **key})
    assert response.status == 200


@pytest.mark.parametrize(
    "headers",
    [{"sec-fetch-site": "same-site"}, {"sec-fetch-site": "cross-site"}, {"origin": "http://app.example"}],
)
async def test_the_cookie_is_nothing_where_another_site_asks(tmp_path: Path, headers: dict[str, str]) -> None:
    settings = ServerSettings(api_keys=("first-key",), cors_origins=("http://app.example",))
    async with opened(tmp_path, settings) as door:
        cookie = await signed_in(door, "first-key")
        for each, status in (
            (headers, 401),
            ({"sec-fetch-site": "same-origin"}, 200),
            ({"sec-fetch-site": "none"}, 200),
        ):
            response, _ = await door.get("/v1/conversations", {**cookie, **each, **PAGE})
            assert response.status == status
            assert "access-control-allow-credentials" not in response.headers


async def test_another_site_is_not_told_that_it_may_send_cookies(tmp_path: Path) -> None:
    settings = ServerSettings(api_keys=("first-key",), cors_origins=("*",))
    async with opened(tmp_path, settings) as door:
        asked = {
            "origin": "http://app.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "palaver-page",
        }
        async with door.http.options(door.address + "/v1/session", headers=asked) as response:
            assert response.status == 204
            assert "access-control-allow-credentials" not in response.headers


async def test_a_key_in_the_header_goes_before_the_cookie(keyed: Door) -> None:
    cookie = await signed_in(keyed, "first-key")
    response, _ = await keyed.get("/v1/conversations", {**cookie, "authorization": "Bearer wrong"})
    assert response.status == 401
    # What a proxy asks for in the same header is none of ours.
    response, _ = await keyed.get("/v1/conversations", {**cookie, "authorization": "Basic eDp5"})
    assert response.status == 200
    key = await created(keyed)
    _, body = await keyed.get("/v1/session", {**cookie, "authorization": f"Bearer {key['key']}"})
    assert (body["owner"], body["signed_in"]) == ("ann", True)


async def test_a_wrong_key_signs_nobody_in(keyed: Door) -> None:
    for given in ("wrong", "first-ke", "pal_" + "x" * 43, "\u2028"):
        response, body = await keyed.post("/v1/session", {"api_key": given})
        assert (response.status, body["error"]["code"]) == (401, "invalid_api_key")
        assert "set-cookie" not in response.headers
        assert given not in body["error"]["message"]


@pytest.mark.parametrize("body", [{}, {"api_key": ""}, {"api_key": 1}, {"api_key": "x" * 513}])
async def test_a_bad_request_names_the_field(keyed: Door, body: dict[str, Any]) -> None:
    response, answer = await keyed.post("/v1/session", body)
    assert (response.status, answer["error"]["param"]) == (400, "api_key")


@pytest.mark.parametrize("value", ["", "x", "====", "%%%", "Zmlyc3Qta2V", "ä", "Zmlyc3Qta2V5LQ"])
async def test_a_cookie_that_is_none_of_ours_is_nobody(keyed: Door, value: str) -> None:
    cookie = {"cookie": f"palaver_session={value}; other=1"}
    response, _ = await keyed.get("/v1/conversations", cookie)
    assert response.status == 401
    response, body = await keyed.get("/v1/session", cookie)
    assert (response.status, body) == (200, SIGNED_OUT)
    assert "set-cookie" not in response.headers


async def test_the_session_ends_with_its_key(keyed: Door) -> None:
    key = await created(keyed, scopes=["chat", "read"])
    cookie = await signed_in(keyed, key["key"])
    _, body = await keyed.get("/v1/session", cookie)
    assert (body["owner"], body["scopes"]) == ("ann", ["chat", "read"])
    async with keyed.http.delete(f"{keyed.address}/v1/keys/{key['id']}", headers=LOCAL) as response:
        assert response.status == 200
    response, _ = await keyed.get("/v1/conversations", cookie)
    assert response.status == 401
    _, body = await keyed.get("/v1/session", cookie)
    assert body == SIGNED_OUT
    response, _ = await keyed.post("/v1/session", {"api_key": key["key"]})
    assert response.status == 401


async def test_a_restart_signs_nobody_out(tmp_path: Path) -> None:
    async with opened(tmp_path, KEYED) as door:
        key = await created(door)
        cookies = [await signed_in(door, each) for each in ("first-key", key["key"])]
    async with opened(tmp_path, KEYED) as door:
        for cookie in cookies:
            response, _ = await door.get("/v1/conversations", cookie)
            assert response.status == 200


async def test_the_cookie_goes_no_further_than_it_must(keyed: Door) -> None:
    for path in ("/v1/session", "/ui/v1/session"):
        response, _ = await keyed.post(path, {"api_key": "first-key"})
        cookie = set_cookie(response)
        assert (cookie["httponly"], cookie["samesite"], cookie["secure"]) == (True, "Strict", "")
        assert (cookie["path"], cookie["domain"]) == ("", "")
        assert int(cookie["max-age"]) == 30 * 24 * 3600
        assert response.headers["cache-control"] == "no-store"
        assert "first-key" not in str(response.headers)
    secure = {"origin": "https://palaver.lan", "host": "palaver.lan"}
    response, _ = await keyed.post("/v1/session", {"api_key": "first-key"}, secure)
    assert set_cookie(response)["secure"] is True


async def test_a_browser_sends_it_below_its_own_page_only(keyed: Door) -> None:
    """With a cookie jar that does as browsers do, at /ui/."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        at = keyed.address + "/ui/v1"
        async with browser.post(f"{at}/session", json={"api_key": "first-key"}) as response:
            assert response.status == 200
        for address, status in ((f"{at}/conversations", 200), (f"{keyed.address}/v1/conversations", 401)):
            async with browser.get(address) as response:
                assert response.status == status
        assert not browser.cookie_jar.filter_cookies(URL(f"{keyed.address}/ui/assets/main.js"))
        # Each time the page is opened it is kept for another 30 days.
        async with browser.get(f"{at}/session") as response:
            assert set_cookie(response)["max-age"] == str(30 * 24 * 3600)
        async with browser.delete(f"{at}/session", headers=PAGE) as response:
            assert await response.json() == SIGNED_OUT
        async with browser.get(f"{at}/conversations") as response:
            assert response.status == 401


async def test_where_no_key_is_needed_nobody_need_sign_in(tmp_path: Path) -> None:
    async with opened(tmp_path, ServerSettings(local_key="local-secret")) as door:
        _, body = await door.get("/v1/session")
        assert (body["needs_key"], body["signed_in"], body["owner"]) == (False, False, "local")
        response, _ = await door.post("/v1/session", {"api_key": "any"})
        assert response.status == 401
        # The first key closes the door, to the page too.
        await created(door)
        _, body = await door.get("/v1/session")
        assert body == SIGNED_OUT
