"""The reply goes on: reloads, lost networks, other tabs, a server that is gone and comes back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.page.acting import answered, body, conversation_of, ended, field, messages, replies, send, visit
from tests.page.conftest import Served, Watched
from tests.page.script import SLOW

NETWORK = r"Failed to load resource|ERR_|net::"


@pytest.fixture
def own(tmp_path: Path, watched: Watched) -> Iterator[Served]:
    """A server that only this test has, to be killed."""
    running = Served(tmp_path)
    yield running
    watched.allowed.append("Failed to load resource")  # by a page that is closed only after this
    running.close()


def test_a_reload_goes_on_with_the_reply(page: Page, served: Served) -> None:
    visit(page, served)
    send(page, "be quick")
    expect(replies(page).last.locator(".block")).not_to_have_count(0)
    page.reload()
    expect(page.locator(".message.live .block")).not_to_have_count(0)
    expect(body(ended(page))).to_have_text(SLOW)
    expect(messages(page)).to_have_count(2)


def test_a_lost_network_is_told_and_the_reply_goes_on(
    page: Page, served: Served, context: BrowserContext, watched: Watched
) -> None:
    watched.allowed.append(NETWORK)
    visit(page, served)
    send(page, "be slow")
    expect(page.locator(".message.live .block")).not_to_have_count(0)
    # Cut what is open, too: going offline alone leaves a stream of loopback as it is.
    context.set_offline(True)
    page.evaluate("window.dispatchEvent(new Event('offline'))")
    page.route("**/follow*", lambda route: route.abort())
    page.wait_for_timeout(1500)
    page.unroute("**/follow*")
    context.set_offline(False)
    before = body(replies(page).last).inner_text()
    expect(body(replies(page).last)).not_to_have_text(before)
    page.get_by_role("button", name="Stop the reply").click()
    text = body(ended(page)).inner_text().split()
    assert text == [f"word{n}" for n in range(len(text))], "nothing missing, nothing twice"


def test_a_stream_that_breaks_is_taken_up_where_it_was(page: Page, served: Served, watched: Watched) -> None:
    watched.allowed.append(NETWORK)
    visit(page, served)
    # Every stream of this page is cut after a while, as bad proxies do.
    page.evaluate(
        """() => {
            const real = window.fetch;
            window.cuts = 0;
            window.fetch = async (url, options) => {
                const response = await real(url, options);
                if (!String(url).includes('/follow') || window.cuts >= 3) return response;
                const cut = new TransformStream({
                    start(controller) {
                        setTimeout(() => { window.cuts++; controller.error(new TypeError('cut')); }, 400);
                    },
                });
                response.body.pipeTo(cut.writable).catch(() => {});
                return new Response(cut.readable, response);
            };
        }"""
    )
    send(page, "be quick")
    expect(body(ended(page))).to_have_text(SLOW)
    assert page.evaluate("window.cuts") == 3


def test_a_second_tab_sees_the_same_reply_once(page: Page, served: Served, context: BrowserContext) -> None:
    visit(page, served)
    answered(page, "Hello")
    conversation = conversation_of(page)
    other = context.new_page()
    visit(other, served, conversation)
    send(page, "be quick")
    expect(other.locator(".message.live")).to_have_count(1)
    expect(body(ended(page, 2))).to_have_text(SLOW)
    expect(body(ended(other, 2))).to_have_text(SLOW)
    expect(messages(other)).to_have_count(4)
    answered(other, "From the other", 3)
    expect(messages(page)).to_have_count(6)


def test_a_server_that_dies_in_mid_reply_and_comes_back(page: Page, own: Served, watched: Watched) -> None:
    watched.allowed.append(NETWORK)
    visit(page, own)
    send(page, "be slow")
    expect(page.locator(".message.live .block")).not_to_have_count(0)
    page.wait_for_timeout(1200)
    own.kill()
    expect(page.locator(".message.live .status")).to_contain_text("Reconnecting")
    shown = body(replies(page).last).inner_text()
    own.start()
    reply = ended(page)
    expect(reply.locator(".outcome")).to_contain_text("Cut off")
    assert body(reply).inner_text().startswith(shown[:40])
    answered(page, "Are you back?", 2)


def test_what_cannot_be_sent_keeps_its_text_and_is_sent_once(
    page: Page, own: Served, watched: Watched
) -> None:
    watched.allowed.append(NETWORK)
    visit(page, own)
    answered(page, "Hello")
    conversation = conversation_of(page)
    own.kill()
    send(page, "Are you there?")
    expect(page.get_by_role("alert").filter(has_text="Not sent.")).to_be_visible()
    expect(body(messages(page).last)).to_have_text("Are you there?")
    own.start()
    page.reload()
    expect(body(messages(page).last)).to_have_text("Are you there?")
    page.get_by_role("button", name="Try again").click()
    ended(page, 2)
    texts = [item["content"][0]["text"] for item in own.messages(conversation)]
    assert texts.count("Are you there?") == 1


def test_an_answer_that_is_lost_does_not_make_a_second_turn(
    page: Page, served: Served, watched: Watched
) -> None:
    watched.allowed.append(NETWORK)
    visit(page, served)
    lost: list[object] = []

    def lose(route: object) -> None:
        if lost:
            route.continue_()  # type: ignore[attr-defined]
            return
        lost.append(route.fetch())  # type: ignore[attr-defined]
        route.abort()  # type: ignore[attr-defined]

    page.route("**/chat/completions", lose)
    send(page, "Only once")
    page.get_by_role("button", name="Try again").click()
    ended(page)
    conversation = conversation_of(page)
    assert len(served.ask("GET", f"conversations/{conversation}/tree")["data"]) == 2


def test_models_that_cannot_be_listed_are_told_and_had_again(
    page: Page, served: Served, watched: Watched
) -> None:
    watched.allowed.append(NETWORK)
    page.route("**/v1/models", lambda route: route.abort())
    page.goto(served.url)
    again = page.get_by_role("button", name="Models cannot be listed. Try again")
    expect(again).to_be_visible()
    field(page).fill("kept all the same")
    page.unroute("**/v1/models")
    again.click()
    expect(again).to_be_hidden()
    field(page).press("Enter")
    ended(page)
