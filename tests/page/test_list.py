"""The list of chats as it lives: days, marks, menus by keyboard, deletion for good, other tabs and other apps."""

from __future__ import annotations

import json
import time
import urllib.error
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.page.acting import answered, conversation_of, field, messages, send, visit
from tests.page.conftest import WIDE, Served, Watched
from tests.page.test_sidebar import menu, row, show

DAY = 86_400
SOON = 3_000
"""Milliseconds in which the page does what it does by itself, before it next asks the server what is new."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    running = Served(tmp_path_factory.mktemp("lived"))
    yield running
    running.close()


def is_gone(served: Served, conversation: str, *, within: float) -> bool:
    """Whether the server forgets a conversation within so many seconds."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            served.ask("GET", f"conversations/{conversation}")
        except urllib.error.HTTPError as error:
            return error.code == 404
        time.sleep(0.2)
    return False


def test_an_empty_list_says_so_only_as_long_as_it_is_empty(page: Page, served: Served) -> None:
    """The first test of its server: there is no chat yet."""
    visit(page, served)
    nothing = page.get_by_text("No chats yet")
    expect(nothing).to_be_visible()
    send(page, "The very first")
    expect(row(page, "The very first")).to_be_visible()
    expect(nothing).to_be_hidden(timeout=SOON)
    menu(page, "The very first", "Archive")
    expect(nothing).to_be_visible(timeout=SOON)
    page.get_by_role("button", name="Undo").click()
    expect(row(page, "The very first")).to_be_visible()
    expect(nothing).to_be_hidden(timeout=SOON)
    show(page, "Archived")
    expect(page.get_by_text("Nothing archived")).to_be_visible()


def test_chats_stand_below_the_day_of_their_last_use(page: Page, served: Served) -> None:
    for age in (0, 1, 5, 900):
        served.conversation("Hello", "Hi", title=f"Of {age} days ago")

    def aged(route: Route) -> None:
        answer = route.fetch()
        told = answer.json()
        for each in told["data"]:
            if (each["title"] or "").startswith("Of "):
                each["updated_at"] -= int(each["title"].split()[1]) * DAY
        told["data"].sort(key=lambda each: -each["updated_at"])
        route.fulfill(response=answer, body=json.dumps(told))

    page.route("**/v1/conversations?*", aged)
    visit(page, served)
    expect(row(page, "Of 900 days ago")).to_be_visible()
    parts = page.locator("#sidebar .part")
    names = parts.locator("h3").all_inner_texts()
    assert names[:3] == ["Today", "Yesterday", "Previous 7 days"]
    assert names[3].split()[-1] == str(time.localtime(time.time() - 900 * DAY).tm_year)
    for place, age in enumerate((0, 1, 5, 900)):
        expect(parts.nth(place)).to_contain_text(f"Of {age} days ago")


def test_a_title_that_is_html_stays_text(page: Page, served: Served) -> None:
    title = "<img src=x onerror=window.attacked=1> <b>bold</b>"
    visit(page, served, served.conversation("Hello", "Hi", title=title))
    expect(row(page, title)).to_be_visible()
    expect(page.locator("h1")).to_have_text(title)
    menu(page, title, "Archive")
    expect(page.locator("#toasts")).to_contain_text("<b>bold</b>")
    assert page.locator("#sidebar .row b, #sidebar .row img, #toasts b, h1 b").count() == 0
    assert page.evaluate("window.attacked") is None


def test_a_deletion_is_for_good_once_its_time_is_over(page: Page, served: Served, watched: Watched) -> None:
    watched.allowed.append("404")  # it is gone when it is asked for

    def hasty(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=json.dumps({**answer.json(), "undo_seconds": 2}))

    page.route("**/v1/server", hasty)
    kept = served.conversation("Hello", "Hi", title="The other chat")
    conversation = served.conversation("Hello", "Hi", title="Gone for good")
    visit(page, served, kept)
    menu(page, "Gone for good", "Delete")
    expect(page.locator(".toast-left")).to_contain_text("1 s")
    expect(page.locator(".toast")).to_have_count(0)
    assert is_gone(served, conversation, within=20)
    page.goto(f"{served.url}/#/c/{conversation}")
    expect(page.get_by_text("It was deleted, or is somebody else's.")).to_be_visible()


def test_a_chat_is_deleted_and_had_back_by_keys_alone(page: Page, served: Served) -> None:
    first = served.conversation("Hello", "Hi", title="By keys, the 1st")
    time.sleep(1.1)  # lists are in order of seconds
    second = served.conversation("Hello", "Hi", title="By keys, the 2nd")
    visit(page, served)
    row(page, "By keys, the 2nd").locator(".row-link").focus()
    page.keyboard.press("Delete")
    expect(row(page, "By keys, the 2nd")).to_have_count(0)
    expect(row(page, "By keys, the 1st").locator(".row-link")).to_be_focused()
    assert served.ask("GET", f"conversations/{second}")["expires_at"] is not None
    page.keyboard.press("Control+z")
    expect(row(page, "By keys, the 2nd").locator(".row-link")).to_be_focused()
    assert served.ask("GET", f"conversations/{second}")["expires_at"] is None
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(messages(page)).to_have_count(2)
    assert conversation_of(page) == first


def test_the_menu_of_a_chat_by_keys(page: Page, served: Served) -> None:
    served.conversation("Hello", "Hi", title="With a menu")
    visit(page, served)
    button = row(page, "With a menu").get_by_role("button", name="Options for “With a menu”")
    row(page, "With a menu").locator(".row-link").focus()
    page.keyboard.press("Tab")
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    items = page.get_by_role("menu").get_by_role("menuitem")
    expect(items.first).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(items.last).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(items.first).to_be_focused()
    page.keyboard.press("a")
    expect(page.get_by_role("menuitem", name="Archive")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).to_have_count(0)
    expect(button).to_be_focused()
    expect(button).to_have_attribute("aria-expanded", "false")


def test_a_reply_in_another_chat_is_marked_until_it_was_seen(page: Page, served: Served) -> None:
    visit(page, served)
    send(page, "be quick and marked")
    expect(page.locator(".message.live .block")).not_to_have_count(0)
    page.get_by_role("button", name="New chat").click()
    mark = row(page, "be quick and marked").locator(".row-mark")
    expect(mark).to_contain_text("a reply is on its way")
    expect(mark).to_contain_text("new reply")
    page.reload()
    expect(mark).to_contain_text("new reply")
    row(page, "be quick and marked").locator(".row-link").click()
    expect(messages(page)).to_have_count(2)
    expect(mark).to_have_count(0)


def test_another_tab_follows_at_once(context: BrowserContext, page: Page, served: Served) -> None:
    conversation = served.conversation("Hello", "Hi", title="In two tabs")
    visit(page, served, conversation)
    other = context.new_page()
    visit(other, served, conversation)
    page.bring_to_front()
    menu(page, "In two tabs", "Rename")
    page.keyboard.press("Control+a")
    page.keyboard.type("In both tabs")
    page.keyboard.press("Enter")
    expect(row(other, "In both tabs")).to_be_visible(timeout=SOON)
    expect(other.locator("h1")).to_have_text("In both tabs", timeout=SOON)
    menu(page, "In both tabs", "Delete")
    expect(row(other, "In both tabs")).to_have_count(0, timeout=SOON)
    page.get_by_role("button", name="Undo").click()
    expect(row(other, "In both tabs")).to_be_visible(timeout=SOON)


def test_what_others_did_meanwhile_is_there_when_somebody_returns(
    chromium: Browser, page: Page, served: Served, watched: Watched
) -> None:
    titles = ("Used elsewhere", "Renamed elsewhere", "Deleted elsewhere")
    used, renamed, deleted = (served.conversation("Hello", "Hi", title=each) for each in titles)
    served.conversation("Hello", "Hi", title="The newest")
    visit(page, served)
    expect(page.locator("#sidebar .row").first).to_contain_text("The newest")
    context = chromium.new_context(viewport=WIDE)
    context.on("page", watched.watch)
    other = context.new_page()
    visit(other, served, used)
    answered(other, "Once more", 2)
    context.close()
    served.ask("POST", f"conversations/{renamed}", {"title": "Renamed indeed"})
    served.ask("DELETE", f"conversations/{deleted}")
    watched.allowed.append("404")
    page.evaluate("dispatchEvent(new Event('focus'))")
    expect(page.locator("#sidebar .row").first).to_contain_text("Used elsewhere")
    expect(row(page, "Used elsewhere")).to_have_count(1)
    expect(row(page, "Renamed indeed")).to_be_visible()
    expect(row(page, "Deleted elsewhere")).to_have_count(0)


def test_an_answer_that_fails_leaves_what_was(page: Page, served: Served, watched: Watched) -> None:
    watched.allowed.append("Failed to load resource")
    conversation = served.conversation("Hello", "Hi", title="Not to be changed")
    visit(page, served, conversation)
    page.route(f"**/v1/conversations/{conversation}", lambda route: route.fulfill(status=503, body="{}"))
    for item, told in (("Pin", "could not be pinned"), ("Delete", "could not be deleted")):
        menu(page, "Not to be changed", item)
        expect(page.locator("#toasts").get_by_text(told)).to_be_visible()
    expect(row(page, "Not to be changed")).to_be_visible()
    page.unroute(f"**/v1/conversations/{conversation}")
    page.locator(".toast").filter(has_text="pinned").get_by_role("button", name="Try again").click()
    expect(page.locator("#sidebar").get_by_role("heading", name="Pinned")).to_be_visible()
    expect(field(page)).to_be_visible()
