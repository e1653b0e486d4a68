"""axe-core finds nothing serious, in any state of the page, light and dark, wide and narrow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, Page, expect

from tests.conftest import require_program
from tests.page.acting import answered, field, messages, replies, send, tool, visit
from tests.page.conftest import PHONE, WIDE, Served, Watched
from tests.page.test_seen import windowed
from tests.page.test_settings import KEY

NODE = Path(__file__).parent / "node"
AXE = NODE / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    with FileLock(Path(sys.prefix) / "axe-install.lock"):  # of all who run tests here
        if not AXE.exists():
            subprocess.run([require_program("npm"), "ci", "--silent"], cwd=NODE, check=True, timeout=300)
    return AXE.read_text()


@pytest.fixture(params=["light-wide", "dark-wide", "light-phone", "dark-phone"])
def looked(request: pytest.FixtureRequest, chromium: Browser, watched: Watched) -> Iterator[Page]:
    """A page in each of its looks."""
    scheme, size = request.param.split("-")
    context = chromium.new_context(
        viewport=WIDE if size == "wide" else PHONE,
        color_scheme=scheme,
        reduced_motion="reduce",
        locale="en-GB",
    )
    context.on("page", watched.watch)
    yield context.new_page()
    context.close()
    assert not watched.unexpected


def check(page: Page, axe: str, where: str) -> None:
    """Fails for every finding that is serious or worse."""
    page.wait_for_timeout(250)  # what fades in has faded in
    page.evaluate(f"() => {{ {axe}\n }}")
    found: list[Any] = page.evaluate(
        "() => axe.run(document, { resultTypes: ['violations'] }).then((it) => it.violations)"
    )
    bad = [
        f"{where}: {each['id']} ({each['impact']}): {node['html'][:160]} {node['failureSummary'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
    assert not bad, "\n".join(bad)


def test_the_chat_in_all_its_states(looked: Page, served: Served, axe: str) -> None:
    page = looked
    visit(page, served)
    check(page, axe, "new chat")
    answered(page, "some markdown")
    answered(page, "think about it", 2)
    replies(page).first.get_by_role("button", name="Reply anew").click()
    expect(page.locator(".branches")).to_contain_text("2/2")
    check(page, axe, "a chat")
    send(page, "be slow")
    expect(page.locator(".message.live .block")).not_to_have_count(0)
    check(page, axe, "a reply that comes")
    page.keyboard.press("Escape")
    expect(page.locator(".message.live")).to_have_count(0)
    tool(page, "Branches of this chat").click()
    check(page, axe, "the map")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Instructions").click()
    check(page, axe, "instructions")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+f")
    check(page, axe, "find")
    page.keyboard.press("Escape")
    if tool(page, "Tokens of each turn").is_visible():  # a phone has no room for it
        tool(page, "Tokens of each turn").click()
        expect(page.locator(".tokens-table")).to_be_visible()
        check(page, axe, "tokens")
        page.keyboard.press("Escape")
    tool(page, "More about this chat").click()
    check(page, axe, "menu")
    page.keyboard.press("Escape")
    field(page).focus()
    page.keyboard.press("Control+/")
    check(page, axe, "shortcuts")


def test_what_the_model_saw_and_the_sidebar(looked: Page, served: Served, axe: str) -> None:
    page = looked
    conversation = windowed(served)
    visit(page, served, conversation)
    expect(page.locator(".window-line")).to_be_visible()
    check(page, axe, "a window")
    # Axe passes over what is scrolled out of sight.
    page.locator(".message.unseen").last.evaluate("(it) => it.scrollIntoView({ block: 'center' })")
    page.mouse.move(0, 0)
    expect(page.locator(".message.unseen").last).to_be_in_viewport()
    check(page, axe, "what the model did not see")
    page.locator(".message").last.evaluate("(it) => it.scrollIntoView({ block: 'end' })")
    messages(page).last.get_by_role("button", name="What the model saw").focus()
    expect(page.get_by_role("region", name="What the model saw")).to_be_visible()
    check(page, axe, "a receipt")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="Search chats").fill("words")
    expect(page.locator("mark").first).to_be_visible()
    check(page, axe, "the filter")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Settings").click()
    check(page, axe, "settings")


def test_signing_in(looked: Page, watched: Watched, tmp_path: Path, axe: str) -> None:
    watched.allowed.append("401")  # a browser says of every refusal that it was one
    page = looked
    closed = Served(tmp_path, "--api-key", KEY)
    try:
        page.goto(closed.url)
        dialog = page.get_by_role("dialog", name="Sign in")
        expect(dialog).to_be_visible()
        check(page, axe, "sign-in")
        dialog.get_by_label("API key").fill("another")
        dialog.get_by_label("API key").press("Enter")
        expect(dialog.get_by_role("alert")).not_to_be_empty()
        check(page, axe, "a key that is wrong")
    finally:
        closed.close()
