"""Where the page is shown: on a phone, in two browsers, with keys alone, with what was chosen in the settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.acting import answered, body, conversation_of, ended, field, messages, send, visit
from tests.page.conftest import PHONE, WIDE, Served, Watched

DARK, LIGHT = "rgb(27, 26, 24)", "rgb(254, 253, 251)"


def background(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))


@pytest.fixture
def phone(chromium: Browser, watched: Watched) -> Iterator[Page]:
    context = chromium.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    context.on("page", watched.watch)
    yield context.new_page()
    context.close()
    assert not watched.unexpected


def test_the_drawer_of_a_phone(phone: Page, served: Served) -> None:
    visit(phone, served, served.conversation("Hello", "word " * 200, title="W" * 200))
    new = phone.locator("#sidebar .side-new")
    for end in ("scrim", "button", "new"):
        phone.locator("#opener").click()
        expect(new).to_be_in_viewport()
        assert phone.locator("#main").evaluate("it => it.inert")
        assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if end == "scrim":
            phone.touchscreen.tap(PHONE["width"] - 20, 400)
        elif end == "button":
            phone.get_by_role("button", name="Hide the sidebar").click()
            expect(phone.locator("#opener")).to_be_focused()
        else:
            new.click()
        expect(new).not_to_be_in_viewport()
        assert not phone.locator("#main").evaluate("it => it.inert")
    expect(messages(phone)).to_have_count(0)
    send(phone, "x" * 300)
    ended(phone)
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(field(phone)).to_be_in_viewport(ratio=1)


def test_a_phone_finds_and_opens_a_hit(phone: Page, served: Served) -> None:
    served.conversation("A plum pudding", "Yes", title="Pudding")
    visit(phone, served)
    phone.locator("#opener").click()
    phone.get_by_role("combobox", name="Search chats").fill("plum")
    phone.locator(".found-hit").click()
    expect(phone.locator("#sidebar .side-new")).not_to_be_in_viewport()
    expect(body(messages(phone).first)).to_have_text("A plum pudding")


def test_two_browsers_in_one_chat(chromium: Browser, page: Page, served: Served, watched: Watched) -> None:
    conversation = served.conversation("Hello", "Hi")
    visit(page, served, conversation)
    context = chromium.new_context(viewport=WIDE)
    context.on("page", watched.watch)
    other = context.new_page()
    visit(other, served, conversation)
    answered(other, "From the other", 2)
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(messages(page)).to_have_count(4)
    answered(page, "From the first", 3)
    other.evaluate("dispatchEvent(new Event('online'))")
    expect(messages(other)).to_have_count(6)
    context.close()
    assert len(served.messages(conversation)) == 6


def test_the_skip_link_leads_to_the_field_and_keeps_the_chat(page: Page, served: Served) -> None:
    conversation = served.conversation("Hello", "Hi")
    visit(page, served, conversation)
    page.get_by_role("link", name="Skip to the message field").focus()
    page.keyboard.press("Enter")
    expect(field(page)).to_be_focused()
    page.wait_for_timeout(200)
    expect(messages(page)).to_have_count(2)
    assert conversation_of(page) == conversation


def test_all_is_reached_with_tab(page: Page, served: Served) -> None:
    visit(page, served, served.conversation("Hello", "Hi"))
    expect(page.locator("#sidebar .row").first).to_be_visible()
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                """() => {
                    const it = document.activeElement;
                    const seen = it.checkVisibility({ visibilityProperty: true });
                    return [it.id || it.className.split(' ').at(-1), seen];
                }"""
            )
        )
        if reached[-1][0] == "composer-text":
            break
    assert all(seen for _, seen in reached), reached
    names = [name for name, _ in reached]
    wanted = ["skip", "brand", "side-toggle", "side-new", "side-temporary", "side-field", "view-switch"]
    wanted += ["row-link", "row-more", "side-settings", "side-keys", "composer-text"]
    assert [name for name in names if name in wanted] == wanted


def test_the_list_of_keys_comes_by_a_question_mark_but_not_in_a_field(page: Page, served: Served) -> None:
    visit(page, served)
    field(page).press("?")
    expect(field(page)).to_have_value("?")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.locator(".view-switch").focus()
    for shown in (1, 0, 1):
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_have_count(shown)
    page.keyboard.press("Control+k")  # means nothing below a dialog
    expect(page.get_by_role("combobox", name="Search chats")).not_to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".view-switch")).to_be_focused()


def test_the_theme_of_the_system_is_followed(page: Page, served: Served) -> None:
    page.emulate_media(color_scheme="dark")
    visit(page, served)
    assert background(page) == DARK
    page.emulate_media(color_scheme="light")
    assert background(page) == LIGHT
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("radio", name="Dark").check(force=True)
    assert background(page) == DARK
    page.add_init_script(
        """document.addEventListener('readystatechange', () => {
            window.first ??= document.documentElement.dataset.theme;
        })"""
    )
    page.reload()
    assert page.evaluate("window.first") == "dark"
    assert page.locator("script:not([src])").count() == 0
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("radio", name="System").check(force=True)
    assert background(page) == LIGHT


def test_the_model_for_new_chats(page: Page, served: Served) -> None:
    visit(page, served)
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Model for new chats").select_option("pocket")
    page.keyboard.press("Escape")
    page.reload()
    expect(page.locator("select.model")).to_have_value("pocket")
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Model for new chats").select_option("")
    page.keyboard.press("Escape")
    page.reload()
    expect(page.locator("select.model")).to_have_value("scripted")


def test_a_server_that_keeps_only_what_is_asked_keeps_the_chats_of_the_page(
    page: Page, tmp_path: Path
) -> None:
    asked = Served(tmp_path, "--record", "asked")
    try:
        visit(page, asked)
        page.get_by_role("button", name="Settings").click()
        expect(page.get_by_text("those of this page are")).to_be_visible()
        page.keyboard.press("Escape")
        answered(page, "Hello")
        page.reload()
        expect(messages(page)).to_have_count(2)
        page.goto("about:blank")
    finally:
        asked.close()
