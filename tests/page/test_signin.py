"""A server that asks for a key: signing in, keys that are revoked, signing out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.page.acting import answered, ended, messages, send
from tests.page.conftest import Served, Watched
from tests.page.test_settings import KEY, Proxy


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    running = Served(tmp_path_factory.mktemp("closed"), "--api-key", KEY)
    yield running
    running.close()


@pytest.fixture(autouse=True)
def refused(watched: Watched) -> None:
    """A browser says of every refusal that it was one."""
    watched.allowed.append("401")


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog", name="Sign in")


def sign_in(page: Page, key: str = KEY) -> None:
    dialog(page).get_by_label("API key").fill(key)
    dialog(page).get_by_label("API key").press("Enter")
    expect(dialog(page)).to_have_count(0)


def asked(served: Served, method: str, path: str, body: Any = None) -> Any:
    return served.ask(method, path, body, Authorization=f"Bearer {KEY}")


def test_a_key_that_is_revoked_leads_to_signing_in_and_costs_no_text(page: Page, served: Served) -> None:
    made = asked(served, "POST", "keys", {"name": "for a while"})
    page.goto(served.url)
    sign_in(page, made["key"])
    answered(page, "Hello")
    asked(served, "DELETE", f"keys/{made['id']}")
    send(page, "What must not be lost")
    expect(dialog(page)).to_be_visible()
    dialog(page).get_by_label("API key").fill(made["key"])
    dialog(page).get_by_label("API key").press("Enter")
    expect(dialog(page).get_by_role("alert")).to_contain_text("no longer valid")
    sign_in(page)
    expect(messages(page).last).to_contain_text("Not sent.")
    messages(page).last.get_by_role("button", name="Try again").click()
    ended(page, 2)
    expect(messages(page)).to_have_count(4)


def test_the_dialog_stays_until_somebody_has_signed_in(page: Page, served: Served) -> None:
    page.goto(served.url)
    expect(dialog(page).get_by_label("API key")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("Escape")
    expect(dialog(page)).to_be_visible()
    dialog(page).get_by_role("button", name="Sign in").click()
    expect(dialog(page).get_by_role("alert")).to_have_text("Enter your API key.")
    expect(dialog(page).get_by_label("API key")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("dialog")).to_have_count(1)
    sign_in(page)
    expect(page.locator("select.model option")).not_to_have_count(0)


def test_who_signs_out_leaves_no_chat_to_be_seen(page: Page, served: Served) -> None:
    page.goto(served.url)
    sign_in(page)
    answered(page, "A private matter")
    expect(page.locator("#sidebar .row").filter(has_text="A private matter")).to_be_visible()
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Sign out").click()
    expect(dialog(page)).to_be_visible()
    expect(page.get_by_text("A private matter")).to_have_count(0)
    assert "private" not in page.title()
    sign_in(page)
    expect(messages(page)).to_have_count(2)


def test_somebody_else_who_signs_in_sees_only_their_own(page: Page, served: Served, watched: Watched) -> None:
    watched.allowed.append("404")  # the chat that is in the address is not theirs
    other = asked(served, "POST", "keys", {"name": "theirs", "owner": "somebody"})
    page.goto(served.url)
    sign_in(page)
    answered(page, "Not for others")
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, other["key"])
    expect(page.get_by_text("No chats yet")).to_be_visible()
    expect(page.get_by_text("It was deleted, or is somebody else's.")).to_be_visible()
    expect(page.get_by_text("Not for others")).to_have_count(0)


def test_the_cookie_reaches_no_further_than_palaver_behind_a_proxy(
    page: Page, context: BrowserContext, served: Served
) -> None:
    proxy = Proxy(served.url)
    try:
        page.goto(proxy.url + "/")
        sign_in(page)
        answered(page, "Below a path")
        page.reload()
        expect(messages(page)).to_have_count(2)
        (cookie,) = context.cookies()
        assert cookie["path"] == "/chat/v1"
        page.goto(proxy.url + "/ui/")
        sign_in(page)  # another page below another path: its cookie is its own
        expect(page.locator("#sidebar .row").first).to_be_visible()
        assert sorted(each["path"] for each in context.cookies()) == ["/chat/ui/v1", "/chat/v1"]
        page.goto("about:blank")  # so that no stream holds the proxy
    finally:
        proxy.close()
