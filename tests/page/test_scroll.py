"""Scrolling: what follows, what stays, what is found."""

import datetime

import pytest
from playwright.sync_api import Page, expect

from tests.page.acting import answered, body, ended, messages, replies, scrolled, scroller, send, visit
from tests.page.conftest import Served


@pytest.fixture(scope="module")
def long(served: Served) -> str:
    """A conversation of 400 messages."""
    texts = [
        f"{'Question' if n % 2 == 0 else 'Reply'} number {n:03}. " + "And so on. " * (n % 7)
        for n in range(400)
    ]
    return served.conversation(*texts, title="A long one")


def follows(page: Page) -> None:
    """What comes is followed: the end is in sight as soon as the page has had time to go there."""
    page.wait_for_function(
        """() => {
            const it = document.querySelector('.scroller');
            return it.scrollHeight - it.clientHeight - it.scrollTop < 20;
        }"""
    )


def at_top(page: Page) -> str:
    """The words of the message at the top of the screen."""
    return str(
        scroller(page).evaluate(
            """it => [...it.querySelectorAll('.message')].find(
                (each) => each.getBoundingClientRect().bottom > it.getBoundingClientRect().top + 10)
                .querySelector('.said, .prose').textContent.slice(0, 20)"""
        )
    )


def test_a_long_chat_opens_at_its_end_and_loads_only_that(page: Page, served: Served, long: str) -> None:
    visit(page, served, long)
    expect(body(messages(page).last)).to_contain_text("Reply number 399")
    follows(page)
    assert messages(page).count() <= 120


def test_what_is_above_is_loaded_without_a_jump(page: Page, served: Served, long: str) -> None:
    visit(page, served, long)
    scroller(page).hover()
    seen = set()
    for _ in range(40):
        before = messages(page).count()
        page.mouse.wheel(0, -900)
        page.wait_for_timeout(60)
        seen.add(before)
        assert scrolled(page) > 10
    assert max(seen) > 80, "more was loaded"
    # However much is loaded, only so many messages stay in the page.
    assert messages(page).count() <= 280
    texts = messages(page).locator(".said, .prose").all_inner_texts()
    numbers = [int(text.split("number ")[1][:3]) for text in texts]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "none missing, none twice"


def test_loading_above_holds_what_is_read_in_its_place(page: Page, served: Served, long: str) -> None:
    visit(page, served, long)
    # While a page of older messages is on its way nothing that is seen may move.
    moved = scroller(page).evaluate(
        """async (it) => {
            const count = it.querySelectorAll('.message').length;
            it.dispatchEvent(new WheelEvent('wheel', { deltaY: -1 }));
            it.scrollTop = 900;
            const first = [...it.querySelectorAll('.message')].find((each) => each.getBoundingClientRect().bottom > 60);
            const before = first.getBoundingClientRect().top;
            for (let n = 0; n < 100 && it.querySelectorAll('.message').length === count; n++) {
                await new Promise((resolve) => setTimeout(resolve, 50));
            }
            await new Promise((resolve) => setTimeout(resolve, 100));
            return [first.getBoundingClientRect().top - before, it.querySelectorAll('.message').length - count];
        }"""
    )
    assert abs(moved[0]) <= 1
    assert moved[1] > 0


def test_it_opens_where_it_was_left(page: Page, served: Served, long: str) -> None:
    visit(page, served, long)
    scroller(page).hover()
    for _ in range(8):
        page.mouse.wheel(0, -700)
        page.wait_for_timeout(80)
    page.wait_for_timeout(700)
    was = at_top(page)
    page.reload()
    expect(messages(page).first).to_be_visible()
    page.wait_for_timeout(300)
    assert at_top(page) == was
    expect(page.get_by_role("button", name="To the end")).to_be_visible()
    page.get_by_role("button", name="To the end").click()
    expect(body(messages(page).last)).to_contain_text("Reply number 399")
    follows(page)


def test_one_tick_up_stops_following_and_new_text_is_told(page: Page, served: Served) -> None:
    visit(page, served)
    page.set_viewport_size({"width": 800, "height": 420})
    send(page, "stream it")
    page.wait_for_function("() => document.querySelectorAll('.message.live .block').length >= 7")
    follows(page)
    scroller(page).hover()
    page.mouse.wheel(0, -40)
    page.wait_for_timeout(600)  # wheels scroll smoothly
    top = scroller(page).evaluate("it => it.scrollTop")
    expect(page.get_by_role("button", name="New text below")).to_be_visible()
    ended(page)
    assert abs(scroller(page).evaluate("it => it.scrollTop") - top) <= 1
    page.locator(".jump").click()
    follows(page)
    expect(page.locator(".jump")).to_be_hidden()


def test_a_new_question_goes_to_the_top(page: Page, served: Served) -> None:
    conversation = served.conversation(*["Some words. " * 30] * 12)
    visit(page, served, conversation)
    send(page, "be slow")
    question = page.locator(".message.user").last
    expect(page.locator(".message.live")).to_have_count(1)
    page.wait_for_timeout(300)
    box, area = question.bounding_box(), scroller(page).bounding_box()
    assert box
    assert area
    assert 0 <= box["y"] - area["y"] < 60
    page.keyboard.press("Escape")
    ended(page, 7)


def test_a_link_opens_its_message_in_a_blink(page: Page, served: Served, long: str) -> None:
    target = served.ask("GET", f"conversations/{long}/messages?order=asc&limit=100")["data"][50]["id"]
    visit(page, served, long, target)
    shown = page.locator(f"#m-{target}")
    expect(shown).to_be_in_viewport()
    expect(body(shown)).to_contain_text("number 050")
    expect(shown).to_be_focused()
    scroller(page).hover()
    for _ in range(30):
        page.mouse.wheel(0, 900)
        page.wait_for_timeout(30)
    numbers = [
        int(t.split("number ")[1][:3]) for t in messages(page).locator(".said, .prose").all_inner_texts()
    ]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert numbers[-1] > 120


def test_find_goes_through_hits_that_are_not_loaded(page: Page, served: Served, long: str) -> None:
    visit(page, served, long)
    page.keyboard.press("Control+f")
    find = page.get_by_role("searchbox", name="Find in this chat")
    expect(find).to_be_focused()
    find.fill("reply numb")
    expect(page.locator(".find-count")).to_contain_text("1 of 200")
    expect(page.locator(".message.pointed")).to_contain_text("number 399")
    find.fill("number 029")
    expect(page.locator(".find-count")).to_contain_text("1 of 1")
    expect(page.locator(".message.pointed")).to_contain_text("number 029")
    find.fill("reply numb")
    expect(page.locator(".find-count")).to_contain_text("1 of 200")
    find.press("Shift+Enter")
    expect(page.locator(".message.pointed")).to_contain_text("number 001")
    find.press("Enter")
    expect(page.locator(".message.pointed")).to_contain_text("number 399")
    assert page.evaluate("CSS.highlights.get('found').size") > 0
    find.fill("nothing like that zzz")
    expect(page.locator(".find-count")).to_have_text("Nothing found")
    find.press("Escape")
    expect(find).to_be_hidden()


def test_a_day_is_gone_to(page: Page, served: Served, long: str) -> None:
    visit(page, served, long)
    page.keyboard.press("Control+f")
    page.get_by_label("Go to a day").fill(datetime.datetime.now().date().isoformat())
    expect(page.locator(".message.pointed")).to_contain_text("number 000")
    page.get_by_label("Go to a day").fill("2099-01-01")
    expect(page.locator(".find-count")).to_have_text("Nothing since then")


def test_switching_chats_shows_the_other_one_only(page: Page, served: Served, long: str) -> None:
    other = served.conversation("Quite another", "Yes")
    visit(page, served, long)
    page.evaluate("(id) => { location.hash = `#/c/${id}` }", other)
    expect(body(messages(page).first)).to_have_text("Quite another")
    expect(messages(page)).to_have_count(2)
    page.go_back()
    expect(body(messages(page).last)).to_contain_text("Reply number 399")
    answered(page, "Hello", replies(page).count() + 1)
