"""Reading: Markdown as it streams, selections, copies, thinking."""

import json
import re

from playwright.sync_api import Page, expect

from tests.page.acting import answered, body, clipboard, conversation_of, ended, field, replies, send, visit
from tests.page.conftest import Served
from tests.page.script import MARKDOWN


def test_markdown_is_shown_with_code_tables_and_mathematics(page: Page, served: Served) -> None:
    visit(page, served)
    reply = answered(page, "some markdown, please")
    shown = body(reply)
    expect(shown.get_by_role("heading", name="Rye bread")).to_be_visible()
    expect(shown.locator("strong")).to_have_text("dense")
    expect(shown.locator("td.align-right, th.align-right").first).to_be_visible()
    expect(shown.locator("figure.code[data-language=python] .k").first).to_have_text("def")
    expect(shown.locator("math").first).to_be_visible()
    expect(shown.locator("math[display=block]")).to_have_count(1)
    expect(shown.locator("li > ol > li")).to_have_count(2)
    link = shown.get_by_role("link", name="the recipe")
    assert link.get_attribute("rel") == "noopener noreferrer nofollow"
    keyword = shown.locator(".k").first.evaluate("it => getComputedStyle(it).color")
    assert keyword != shown.evaluate("it => getComputedStyle(it).color"), "code.css colours it"


def test_what_is_finished_does_not_move_or_change_while_more_comes(page: Page, served: Served) -> None:
    visit(page, served)
    send(page, "stream it")
    first = replies(page).last.locator(".block").first
    page.wait_for_function("() => document.querySelectorAll('.message.live .block').length >= 4")
    # The same element, at the same place, with the same HTML, from its finish to the end of the reply.
    page.evaluate(
        """() => {
            const blocks = [...document.querySelectorAll('.message.live .block')].slice(0, 3);
            const html = (it) => it.outerHTML.replace(/<button.*?<\\/button>/g, '');
            window.finished = blocks.map((it) => [it, html(it), it.offsetTop]);
        }"""
    )
    reply = ended(page)
    same = page.evaluate(
        """() => window.finished.map(([it, html, top]) =>
            [it.isConnected, it.outerHTML.replace(/<button.*?<\\/button>/g, '') === html, it.offsetTop - top])"""
    )
    assert same == [[True, True, 0]] * 3
    expect(first).to_be_attached()
    stored = served.ask("GET", f"conversations/{conversation_of(page)}/messages?include[]=html")["data"][0]
    starts = re.findall(r'class="block" data-start="(\d+)"', stored["html"])
    assert (
        reply.locator(".prose").evaluate("it => [...it.children].map((each) => each.dataset.start)") == starts
    )
    assert stored["content"][0]["text"] == MARKDOWN * 3


def test_a_selection_survives_streaming_and_copies_markdown(page: Page, served: Served) -> None:
    visit(page, served)
    send(page, "stream it")
    page.wait_for_function("() => document.querySelectorAll('.message.live .block').length >= 4")
    page.evaluate(
        """() => {
            const blocks = document.querySelectorAll('.message.live .block');
            const end = blocks[1].lastChild;
            getSelection().setBaseAndExtent(blocks[0].firstChild, 0, end, end.childNodes.length);
        }"""
    )
    before = page.evaluate("getSelection().toString()")
    ended(page)
    assert page.evaluate("getSelection().toString()") == before
    page.keyboard.press("Control+C")
    assert "# Rye bread" in clipboard(page)
    assert "**dense**" in clipboard(page)


def test_copying_gives_markdown_and_code_has_its_own_button(page: Page, served: Served) -> None:
    visit(page, served)
    reply = answered(page, "some markdown, please")
    reply.hover()
    reply.get_by_role("button", name="Copy as Markdown").click()
    page.wait_for_function("() => navigator.clipboard.readText().then((it) => it.length > 50)")
    assert clipboard(page) == MARKDOWN.rstrip("\n") or clipboard(page) == MARKDOWN
    code = reply.locator("figure.code")
    code.hover()
    code.get_by_role("button", name="Copy this code").click()
    page.wait_for_function("() => navigator.clipboard.readText().then((it) => it.startsWith('def'))")
    assert clipboard(page).splitlines()[0] == "def loaf(grams: int) -> str:"
    assert "Copy" not in clipboard(page)


def test_thinking_is_folded_with_how_long_it_took(page: Page, served: Served) -> None:
    visit(page, served)
    send(page, "think about it")
    summary = replies(page).last.locator("details.thinking summary")
    expect(summary).to_contain_text("Thinking")
    reply = ended(page)
    expect(reply.locator("details.thinking")).not_to_have_attribute("open", "")
    expect(summary).to_contain_text("Thought for")
    summary.click()
    expect(reply.locator(".thought")).to_contain_text("Let me see.")
    page.reload()
    expect(replies(page).last.locator("details.thinking summary")).to_contain_text("Thought for")


def test_calls_of_tools_and_their_results_are_shown(page: Page, served: Served) -> None:
    conversation = served.conversation("What time is it?")
    call = {
        "type": "function_call",
        "call_id": "c1",
        "name": "clock",
        "arguments": json.dumps({"zone": "UTC"}),
    }
    result = {"type": "function_call_output", "call_id": "c1", "output": "noon"}
    served.ask("POST", f"conversations/{conversation}/items", {"items": [call, result]})
    visit(page, served, conversation)
    expect(page.get_by_text("Calls clock")).to_be_visible()
    page.get_by_text("Result of a tool", exact=True).click()
    expect(page.get_by_text("noon")).to_be_visible()


def test_the_field_stays_usable_while_a_reply_comes(page: Page, served: Served) -> None:
    visit(page, served)
    send(page, "be quick")
    expect(replies(page).last.locator(".block")).not_to_have_count(0)
    field(page).press_sequentially("typed meanwhile", delay=10)
    expect(field(page)).to_have_value("typed meanwhile")
    ended(page)
    expect(field(page)).to_have_value("typed meanwhile")
