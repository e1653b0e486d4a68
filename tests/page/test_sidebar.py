"""The list of chats: groups, menus, deletion with time to undo, what apps left, the filter."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.page.acting import answered, body, conversation_of, field, messages, send, visit
from tests.page.conftest import Served, Watched


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of these tests alone: they count what is listed."""
    running = Served(tmp_path_factory.mktemp("listed"))
    for n in range(130):
        running.ask("POST", "conversations", {"title": f"Old chat {n:03}"})
    yield running
    running.close()


def row(page: Page, title: str) -> Locator:
    return page.locator("#sidebar .row").filter(has_text=title)


def menu(page: Page, title: str, item: str) -> None:
    """Choose from a chat's menu."""
    row(page, title).hover()
    row(page, title).get_by_role("button", name=re.compile("Options")).click()
    page.get_by_role("menuitem", name=item, exact=True).click()


def show(page: Page, view: str) -> None:
    page.locator(".view-switch").click()
    page.get_by_role("menuitemradio", name=re.compile(f"^{view}")).click()


def test_chats_are_grouped_and_more_come_as_it_is_scrolled(page: Page, served: Served) -> None:
    visit(page, served)
    expect(page.locator("#sidebar").get_by_role("heading", name="Today")).to_be_visible()
    expect(page.locator("#sidebar .row").first).to_be_visible()
    assert page.locator("#sidebar .row").count() < 130
    page.locator(".side-list").hover()
    for _ in range(40):
        page.mouse.wheel(0, 2000)
        page.wait_for_timeout(50)
    expect(row(page, "Old chat 000")).to_be_visible()


def test_a_new_chat_is_listed_and_marked_and_keeps_its_title(page: Page, served: Served) -> None:
    visit(page, served)
    answered(page, "A chat about rye")
    expect(row(page, "A chat about rye").locator("[aria-current]")).to_be_visible()
    menu(page, "A chat about rye", "Rename F2") if page.get_by_role(
        "menuitem", name="Rename F2"
    ).count() else None
    row(page, "A chat about rye").locator(".row-link").focus()
    page.keyboard.press("F2")
    page.keyboard.press("Control+A")
    page.keyboard.type("Bread of all kinds")
    page.keyboard.press("Enter")
    expect(row(page, "Bread of all kinds")).to_be_visible()
    expect(page.locator("h1")).to_have_text("Bread of all kinds")
    assert served.ask("GET", f"conversations/{conversation_of(page)}")["title"] == "Bread of all kinds"
    page.keyboard.press("F2")
    page.keyboard.type("not this")
    page.keyboard.press("Escape")
    expect(row(page, "Bread of all kinds")).to_be_visible()


def test_pinned_chats_stand_first_and_archived_ones_apart(page: Page, served: Served) -> None:
    served.conversation("Hello", "Hi", title="To be pinned")
    served.conversation("Hello", "Hi", title="To be archived")
    visit(page, served)
    menu(page, "To be pinned", "Pin")
    expect(page.locator("#sidebar").get_by_role("heading", name="Pinned")).to_be_visible()
    expect(page.locator("#sidebar .row").first).to_contain_text("To be pinned")
    menu(page, "To be archived", "Archive")
    expect(row(page, "To be archived")).to_have_count(0)
    page.reload()
    expect(page.locator("#sidebar .row").first).to_contain_text("To be pinned")
    show(page, "Archived")
    expect(row(page, "To be archived")).to_be_visible()
    menu(page, "To be archived", "Move back to chats")
    show(page, "Chats")
    expect(row(page, "To be archived")).to_be_visible()
    menu(page, "To be pinned", "Unpin")
    expect(page.locator("#sidebar").get_by_role("heading", name="Pinned")).to_have_count(0)


def test_a_deletion_says_how_long_it_can_be_undone(page: Page, served: Served) -> None:
    conversation = served.conversation("Hello", "Hi", title="To be deleted")
    visit(page, served, conversation)
    menu(page, "To be deleted", "Delete")
    expect(
        page.get_by_text(re.compile(r"“To be deleted” will be deleted for good in\s60\ss"))
    ).to_be_visible()
    expect(row(page, "To be deleted")).to_have_count(0)
    expect(messages(page)).to_have_count(0)
    assert 0 < served.ask("GET", f"conversations/{conversation}")["expires_at"] - time.time() <= 61
    page.get_by_role("button", name="Undo").click()
    expect(row(page, "To be deleted")).to_be_visible()
    expect(body(messages(page).first)).to_have_text("Hello")
    assert served.ask("GET", f"conversations/{conversation}")["expires_at"] is None


def test_temporary_chats_and_tasks_have_lists_of_their_own(page: Page, served: Served) -> None:
    visit(page, served)
    page.get_by_role("button", name="New temporary chat").click()
    expect(page.locator("h1")).to_have_text("Temporary chat")
    answered(page, "Between us")
    expect(row(page, "Between us")).to_have_count(0)
    served.ask(
        "POST",
        "chat/completions",
        {"model": "scripted", "messages": [{"role": "user", "content": "A task of an app"}]},
    )
    page.reload()
    expect(row(page, "Old chat").first).to_be_visible()
    expect(row(page, "A task of an app")).to_have_count(0)
    show(page, "Tasks")
    expect(row(page, "A task of an app")).to_be_visible()
    show(page, "Temporary")
    expect(row(page, "Between us")).to_be_visible()
    menu(page, "Between us", "Keep this chat")
    show(page, "Chats")
    expect(row(page, "Between us")).to_be_visible()


def test_it_says_which_app_a_chat_came_from(page: Page, served: Served) -> None:
    history = [{"role": "user", "content": "From an app"}]
    first = served.ask(
        "POST",
        "chat/completions",
        {"model": "scripted", "messages": history},
        User_Agent="OpenAI/Python 3.54.0",
    )
    history += [first["choices"][0]["message"], {"role": "user", "content": "Go on"}]
    served.ask(
        "POST",
        "chat/completions",
        {"model": "scripted", "messages": history},
        User_Agent="OpenAI/Python 3.54.0",
    )
    visit(page, served)
    expect(row(page, "From an app")).to_contain_text("OpenAI")
    answered(page, "From here")
    expect(row(page, "From here")).not_to_contain_text("palaver page")


def test_the_list_is_walked_with_the_keyboard(page: Page, served: Served) -> None:
    visit(page, served)
    first = page.locator("#sidebar .row-link").first
    first.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#sidebar .row-link").nth(1)).to_be_focused()
    page.keyboard.press("Shift+F10")
    expect(page.get_by_role("menu")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).to_have_count(0)
    page.locator("#sidebar .row-link").nth(1).focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => location.hash.startsWith('#/c/')")


def test_an_error_of_the_list_is_told_and_tried_again(page: Page, served: Served, watched: Watched) -> None:
    watched.allowed.append("Failed to load resource")
    page.route("**/v1/conversations?*", lambda route: route.fulfill(status=503, body="{}"))
    page.goto(served.url)
    expect(page.get_by_text("The list could not be loaded.")).to_be_visible()
    page.unroute("**/v1/conversations?*")
    page.locator(".list-error").get_by_role("button", name="Try again").click()
    expect(row(page, "Old chat").first).to_be_visible()


def test_the_filter_finds_titles_and_texts_and_opens_a_hit(page: Page, served: Served) -> None:
    texts = [
        f"Line {n}. " + ("The sourdough starter is fed twice." if n == 7 else "Nothing.") for n in range(60)
    ]
    conversation = served.conversation(*texts, title="<b>Baking</b> notes")
    visit(page, served)
    page.keyboard.press("Control+k")
    box = page.get_by_role("combobox", name="Search chats")
    expect(box).to_be_focused()
    box.fill("Bakin")
    expect(page.locator(".side-results").get_by_text("<b>Baking</b> notes").first).to_be_visible()
    box.fill("sourdough start")
    expect(page.locator(".side-results mark").first).to_contain_text(re.compile("sourdough", re.I))
    for key in ("ArrowDown", "ArrowDown", "Enter"):  # the chat, and the hit in it
        page.keyboard.press(key)
    page.wait_for_function("(id) => location.hash.startsWith(`#/c/${id}/m/`)", arg=conversation)
    expect(page.locator(".message.pointed")).to_contain_text("sourdough starter")


def test_a_late_answer_of_the_filter_is_dropped_and_errors_are_told(
    page: Page, served: Served, watched: Watched
) -> None:
    watched.allowed.append("Failed to load resource")
    served.conversation("The quick fox", title="Foxes")
    served.conversation("The lazy dog", title="Dogs")

    def late(route: Route) -> None:
        if "quick" in route.request.url:
            time.sleep(0.8)
        route.continue_()

    visit(page, served)
    page.route("**/v1/search?*", late)
    box = page.get_by_role("combobox", name="Search chats")
    box.fill("quick")
    page.wait_for_timeout(200)
    box.fill("lazy")
    expect(page.locator(".side-results")).to_contain_text("Dogs")
    page.wait_for_timeout(1000)
    expect(page.locator(".side-results")).not_to_contain_text("Foxes")
    box.fill("zzzznothing")
    expect(page.locator(".side-results")).to_contain_text(re.compile("nothing|no ", re.I))
    page.unroute("**/v1/search?*")
    page.route("**/v1/search?*", lambda route: route.fulfill(status=503, body="{}"))
    box.fill("something else")
    expect(page.locator(".side-results").get_by_role("alert")).to_be_visible()
    box.press("Escape")
    expect(box).to_have_value("")
    expect(row(page, "Dogs").first).to_be_visible()


def test_a_chat_is_saved_as_a_file(page: Page, served: Served) -> None:
    conversation = served.conversation("Hello", "**Hi**", title="To be saved")
    visit(page, served, conversation)
    for name, ending in (("Markdown", ".md"), ("JSON", ".json"), ("Web page", ".html")):
        page.get_by_role("button", name="More about this chat").click()
        with page.expect_download() as download:
            page.get_by_role("menuitem", name=re.compile(name)).click()
        assert download.value.suggested_filename == f"To be saved{ending}"


def test_the_first_chat_of_all_takes_the_place_of_nothing(
    page: Page, tmp_path_factory: pytest.TempPathFactory
) -> None:
    own = Served(tmp_path_factory.mktemp("empty"))
    try:
        visit(page, own)
        expect(page.get_by_text("No chats yet")).to_be_visible()
        send(page, "be quick")
        expect(row(page, "be quick")).to_be_visible()
        expect(page.get_by_text("No chats yet")).to_be_hidden()
        expect(field(page)).to_be_focused()
        page.goto("about:blank")
    finally:
        own.close()


def test_the_end_of_the_list_is_reached_at_once(page: Page, served: Served) -> None:
    visit(page, served)
    page.locator("#sidebar .row").first.wait_for()
    began = time.monotonic()
    to_end = (
        "() => { const list = document.querySelector('.side-list'); list.scrollTop = list.scrollHeight; }"
    )
    while page.locator(".list-foot").get_attribute("data-state") != "all":
        page.evaluate(to_end)  # faster than a frame, as with a scrollbar that is held at its end
        assert time.monotonic() - began < 10
    expect(row(page, "Old chat 000")).to_have_count(1)


def test_a_long_part_of_the_list_is_laid_out_in_pieces_and_walked_as_one(page: Page, served: Served) -> None:
    visit(page, served)
    links = page.locator("#sidebar .row-link")
    links.first.focus()
    while page.locator(".list-foot").get_attribute("data-state") != "all":
        page.keyboard.press("End")
        page.wait_for_timeout(50)
    lists = page.locator("#sidebar ul.rows")
    sizes = lists.evaluate_all("all => all.map((each) => each.childElementCount)")
    assert len(sizes) > 1
    assert max(sizes) <= 100
    links.nth(sizes[0] - 1).focus()
    page.keyboard.press("ArrowDown")
    expect(links.nth(sizes[0])).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(links.nth(sizes[0] - 1)).to_be_focused()
    page.keyboard.press("Home")
    expect(links.first).to_be_focused()
