"""The filter over the list: by keys, what it shows, and more of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.page.acting import messages, scroller, visit
from tests.page.conftest import Served, Watched

ATTACK = "<img src=x onerror=window.attacked=1>"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of these tests alone: they count what is found."""
    running = Served(tmp_path_factory.mktemp("filtered"))
    yield running
    running.close()


def box(page: Page) -> Locator:
    return page.get_by_role("combobox", name="Search chats")


def found(page: Page) -> Locator:
    return page.locator("#found [role=option]")


def test_what_was_found_is_text_with_marks(page: Page, served: Served) -> None:
    served.conversation(f"Of marzipan {ATTACK}", "Yes", title=f"Sweet {ATTACK}")
    visit(page, served)
    box(page).fill("marzipan")
    hit = page.locator(".found-hit")
    expect(hit.locator("mark")).to_have_text("marzipan")
    expect(hit).to_contain_text(f"Of marzipan {ATTACK}")
    expect(hit).to_contain_text("You ·")
    box(page).fill("sweet")
    expect(page.locator(".found-chat mark")).to_have_text("Sweet")
    expect(page.locator(".found-chat")).to_contain_text(ATTACK)
    assert page.locator(".side-results img").count() == 0
    assert page.evaluate("window.attacked") is None


def test_a_hit_is_gone_to_as_often_as_it_is_chosen(page: Page, served: Served) -> None:
    texts = [f"Line {n}. " + ("A kumquat tree." if n == 3 else "Nothing. " * 30) for n in range(60)]
    conversation = served.conversation(*texts, title="Fruit")
    visit(page, served, conversation)
    box(page).fill("kumquat")
    hit = page.locator(".found-hit")
    hit.click()
    pointed = messages(page).filter(has_text="kumquat")
    expect(pointed).to_be_in_viewport()
    scroller(page).evaluate("it => it.scrollTop = it.scrollHeight")
    expect(pointed).not_to_be_in_viewport()
    hit.click()
    expect(pointed).to_be_in_viewport()


def test_the_filter_by_keys(page: Page, served: Served) -> None:
    for name in ("Pear one", "Pear two", "Pear three"):
        served.conversation("Hello", "Hi", title=name)
    visit(page, served)
    first = page.locator("#sidebar .row-link").first
    expect(first).to_contain_text("Pear three")
    page.keyboard.press("Control+k")
    page.keyboard.press("ArrowDown")
    expect(first).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(box(page)).to_be_focused()
    page.keyboard.type("pear")
    expect(found(page)).to_have_count(3)
    expect(box(page)).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowUp")
    chosen = page.locator("[role=option][aria-selected=true]")
    expect(chosen).to_contain_text("Pear one")  # the last of them
    expect(box(page)).to_have_attribute("aria-activedescendant", str(chosen.get_attribute("id")))
    page.keyboard.press("Home")  # goes in the field
    expect(box(page)).to_be_focused()
    page.keyboard.press("Escape")
    expect(box(page)).to_have_value("")
    expect(box(page)).to_have_attribute("aria-expanded", "false")
    expect(first).to_be_visible()
    page.keyboard.type("pear two")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Pear two")
    page.get_by_role("button", name="Clear the search").click()
    expect(box(page)).to_be_focused()
    expect(first).to_be_visible()


def test_more_is_loaded_and_errors_are_tried_again(page: Page, served: Served, watched: Watched) -> None:
    watched.allowed.append("Failed to load resource")
    for n in range(45):
        items = [{"role": "user", "content": f"A fig, number {n}"}]
        served.ask("POST", "conversations", {"title": f"Fruit {n}", "items": items})
    visit(page, served)
    page.route("**/v1/search?*", lambda route: route.fulfill(status=503, body="{}"))
    box(page).fill("fig")
    results = page.locator(".side-results")
    expect(results.get_by_role("alert")).to_contain_text("The search did not work.")
    page.unroute("**/v1/search?*")
    results.get_by_role("button", name="Try again").click()
    expect(results.get_by_role("alert")).to_have_count(0)
    hits = page.locator(".found-hit")
    expect(hits).to_have_count(20)
    results.get_by_role("button", name="More results").click()
    expect(hits).to_have_count(40)
    results.get_by_role("button", name="More results").click()
    expect(hits).to_have_count(45)
    expect(results.get_by_role("button", name="More results")).to_have_count(0)
    assert len(set(hits.evaluate_all("all => all.map((each) => each.href)"))) == 45
