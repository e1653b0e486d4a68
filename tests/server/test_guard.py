"""The checks themselves, with every odd value."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from palaver.core.errors import Forbidden, NotAuthenticated
from palaver.server.app import ServerSettings
from palaver.server.auth import OWNER, Guard
from palaver.server.keyring import Keyring
from tests.stores.sqlite_files import opened

ALLOWING = ServerSettings(
    api_keys=("first-key",), allowed_hosts=("palaver.lan",), cors_origins=("https://app.example/",)
)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
async def keyring(tmp_path: Path) -> AsyncIterator[Keyring]:
    async with opened(tmp_path / "palaver.db") as store:
        yield Keyring(store)


async def test_a_private_server_takes_its_own_key_only(keyring: Keyring) -> None:
    guard = Guard(ServerSettings(require_key=True, local_key="local-secret"), keyring)
    assert (await guard.caller(Headers(bearer("local-secret")), "GET")).owner == OWNER
    for given in ({}, bearer("any"), bearer("")):
        with pytest.raises(NotAuthenticated):
            await guard.caller(Headers(given), "POST")
    with pytest.raises(NotAuthenticated):  # an empty key is no key
        await Guard(ServerSettings(require_key=True), keyring).caller(Headers(bearer("")), "GET")


def test_settings_do_not_show_their_keys() -> None:
    assert "first-key" not in repr(ALLOWING)
    assert "first-key" not in repr(ALLOWING.__rich_repr__())


HOSTS = [
    ("localhost", (), True),
    ("localhost:7400", (), True),
    ("LOCALHOST", (), True),
    ("127.0.0.1:1", (), True),
    ("[::1]:7400", (), True),
    ("[::1]", (), True),
    ("evil.example", (), False),
    ("localhost.evil.example", (), False),
    ("evil.example:80@localhost", (), False),
    ("localhost:80:evil.example", (), False),
    ("127.0.0.1.evil.example", (), False),
    ("192.168.1.7:7400", (), False),
    ("", (), False),
    ("palaver.lan", ("palaver.lan",), True),
    ("palaver.lan:7400", ("palaver.lan",), True),
    ("palaver.lan:7400", ("Palaver.LAN:7400",), True),
    ("palaver.lan:7401", ("palaver.lan:7400",), False),
    ("evil.example", ("palaver.lan",), False),
    ("192.168.1.7:7400", ("0.0.0.0",), True),
    ("[fe80::1]:7400", ("::",), True),
    ("evil.example", ("0.0.0.0",), False),
    ("[fd00::5]:7400", ("fd00::5",), True),
    ("anything.example", ("*",), True),
]


@pytest.mark.parametrize(("host", "allowed", "is_ours"), HOSTS)
async def test_the_host_must_be_ours(
    keyring: Keyring, host: str, allowed: tuple[str, ...], is_ours: bool
) -> None:
    guard = Guard(ServerSettings(allowed_hosts=allowed), keyring)
    if is_ours:
        guard.check_host(Headers({"host": host}))
    else:
        with pytest.raises(Forbidden):
            guard.check_host(Headers({"host": host}))


ORIGINS = [
    ("http://localhost:7400", "localhost:7400", True),
    ("http://127.0.0.1:7400", "localhost:7400", True),  # the same machine by its other name
    ("https://localhost:7400", "localhost:7400", True),
    ("http://localhost:3000", "localhost:7400", False),
    ("http://localhost", "localhost:7400", False),
    ("http://evil.example", "localhost:7400", False),
    ("http://evil.example:7400", "localhost:7400", False),
    ("http://localhost:7400.evil.example", "localhost:7400", False),
    ("file://localhost:7400", "localhost:7400", False),
    ("null", "localhost:7400", False),
    ("", "localhost:7400", False),
    ("http://[::1", "localhost:7400", False),
    ("https://app.example", "localhost:7400", True),
    ("https://APP.example/", "localhost:7400", True),
    ("https://app.example:444", "localhost:7400", False),
    ("http://app.example", "localhost:7400", False),
    ("http://palaver.lan:7400", "palaver.lan:7400", True),
]


@pytest.mark.parametrize(("origin", "host", "is_ours"), ORIGINS)
async def test_the_origin_must_be_ours_or_allowed(
    keyring: Keyring, origin: str, host: str, is_ours: bool
) -> None:
    guard, headers = Guard(ALLOWING, keyring), Headers({"origin": origin, "host": host})
    if is_ours:
        assert guard.allowed_origin(headers) == origin
    else:
        with pytest.raises(Forbidden):
            guard.allowed_origin(headers)


async def test_no_origin_and_every_origin(keyring: Keyring) -> None:
    assert Guard(ALLOWING, keyring).allowed_origin(Headers({"host": "localhost"})) is None
    guard = Guard(ServerSettings(cors_origins=("*",)), keyring)
    assert guard.allowed_origin(Headers({"origin": "http://any.example"})) == "http://any.example"
