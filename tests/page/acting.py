"""What somebody does on the page, and what they see."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.page.conftest import PATIENCE, Served

expect.set_options(timeout=PATIENCE)


def visit(page: Page, served: Served, conversation: str | None = None, message: str | None = None) -> None:
    """Go to the page, at a conversation or a message of it, and wait until it is shown."""
    where = f"#/c/{conversation}" + (f"/m/{message}" if message else "") if conversation else ""
    page.goto(f"{served.url}/{where}")
    expect(page.locator("select.model option")).not_to_have_count(0)
    if conversation:
        expect(messages(page).first).to_be_visible()


def field(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message", exact=True)


def send(page: Page, text: str) -> None:
    """Write something and press Enter."""
    field(page).fill(text)
    field(page).press("Enter")


def messages(page: Page) -> Locator:
    return page.locator(".message")


def replies(page: Page) -> Locator:
    return page.locator(".message.assistant")


def answered(page: Page, text: str, count: int = 1) -> Locator:
    """Say something, and wait until the last of so many replies has ended. That reply."""
    send(page, text)
    return ended(page, count)


def ended(page: Page, count: int = 1) -> Locator:
    """The last of so many replies, once it has ended."""
    expect(replies(page)).to_have_count(count)
    last = replies(page).last
    expect(last.locator(".does-copy")).to_be_attached()
    expect(page.locator(".message.live")).to_have_count(0)
    return last


def body(message: Locator) -> Locator:
    return message.locator(".prose, .said").first


def scroller(page: Page) -> Locator:
    return page.locator(".scroller")


def scrolled(page: Page) -> float:
    """How far from the end the messages are scrolled, in pixels."""
    return float(scroller(page).evaluate("it => it.scrollHeight - it.clientHeight - it.scrollTop"))


def conversation_of(page: Page) -> str:
    """The id of the conversation that is shown."""
    page.wait_for_function("() => location.hash.startsWith('#/c/')")
    return str(page.evaluate("location.hash.split('/')[2]"))


def clipboard(page: Page) -> str:
    return str(page.evaluate("navigator.clipboard.readText()"))


def tool(page: Page, name: str) -> Locator:
    return page.locator(".tools").get_by_role("button", name=name)
