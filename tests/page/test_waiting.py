"""Waiting is explained, and stop works in each state."""

import threading

from playwright.sync_api import Page, expect

from tests.page.acting import body, ended, field, messages, replies, send, visit
from tests.page.conftest import Served


def status(page: Page) -> str:
    return "\n".join(page.locator(".message.live .status").all_inner_texts())


def test_reading_the_prompt_is_told_with_percent(page: Page, served: Served) -> None:
    visit(page, served)
    send(page, "read slowly")
    live = page.locator(".message.live .status")
    expect(live).to_contain_text("Reading the prompt")
    expect(live).to_contain_text("%")
    expect(live.get_by_role("progressbar")).to_be_visible()
    expect(body(ended(page))).to_have_text("I have read it.")


def test_loading_the_model_is_told_with_percent(page: Page, served: Served) -> None:
    visit(page, served)
    send(page, "load slowly")
    live = page.locator(".message.live .status")
    expect(live).to_contain_text("Loading scripted")
    expect(live).to_contain_text("%")
    expect(body(ended(page))).to_have_text("I am loaded.")


def test_tokens_a_second_are_told(page: Page, served: Served) -> None:
    visit(page, served)
    send(page, "be slow")
    expect(page.locator(".message.live .pace")).to_contain_text("tokens/s")
    page.get_by_role("button", name="Stop the reply").click()
    ended(page)


def test_a_second_question_is_queued_and_says_so(page: Page, served: Served) -> None:
    visit(page, served)
    send(page, "be quick")
    expect(page.locator(".message.live")).to_have_count(1)
    send(page, "Hello again")
    expect(page.locator(".message.live .status").last).to_contain_text("Queued")
    ended(page, 2)
    expect(body(messages(page).nth(2))).to_have_text("Hello again")
    assert body(messages(page).nth(1)).inner_text().endswith("word399")


def test_stop_works_while_it_reads_loads_and_waits(page: Page, served: Served) -> None:
    for text in ("read slowly", "load slowly"):
        visit(page, served)
        page.evaluate("location.hash = '#/new'")
        send(page, text)
        expect(page.locator(".message.live")).to_have_count(1)
        page.get_by_role("button", name="Stop the reply").click()
        expect(page.locator(".message.live")).to_have_count(0)
        expect(page.get_by_role("button", name="Stop the reply")).to_be_hidden()
        expect(page.get_by_text(text).first).to_be_visible()


def test_a_reply_that_breaks_off_says_so_and_can_be_had_again(page: Page, served: Served) -> None:
    visit(page, served)
    send(page, "break off")
    reply = ended(page)
    expect(reply.locator(".outcome")).to_contain_text("Cut off")
    expect(body(reply)).to_contain_text("It goes well")
    expect(reply.get_by_role("button", name="Reply anew")).to_be_attached()


def test_a_reply_that_never_began_keeps_its_question(page: Page, served: Served) -> None:
    visit(page, served)
    send(page, "unavailable")
    expect(page.get_by_role("alert").filter(has_text="There is no reply")).to_be_visible()
    expect(body(messages(page).first)).to_have_text("unavailable")
    page.get_by_role("button", name="Edit", exact=True).click()
    expect(field(page)).to_have_value("unavailable")
    send(page, "Hello instead")
    ended(page)


def test_another_app_in_the_same_chat_goes_first(page: Page, served: Served) -> None:
    conversation = served.conversation("Begin", "Begun")
    visit(page, served, conversation)
    asking = threading.Thread(target=served.say, args=(conversation, "be quick"))
    asking.start()
    page.wait_for_timeout(300)
    send(page, "After that")
    asking.join()
    ended(page, 3)
    assert [item["content"][0]["text"][:10] for item in served.messages(conversation)][2::2] == [
        "be quick",
        "After that",
    ]
    assert replies(page).count() == 3
