"""Writing: keys, drafts, stop, retry, edit, continue, pictures."""

import base64

from playwright.sync_api import Page, expect

from tests.page.acting import answered, body, conversation_of, ended, field, messages, replies, send, visit
from tests.page.conftest import Served

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def drop(page: Page, target: str, kind: str, name: str, data: bytes, media: str) -> None:
    """Paste or drop a file."""
    page.evaluate(
        """([target, kind, name, data, media]) => {
            const bytes = Uint8Array.from(atob(data), (it) => it.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type: media }));
            const event = kind === 'paste'
                ? new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true, cancelable: true })
                : new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true });
            document.querySelector(target).dispatchEvent(event);
        }""",
        [target, kind, name, base64.b64encode(data).decode(), media],
    )


def paste(page: Page, text: str) -> None:
    page.evaluate(
        """(text) => {
            const transfer = new DataTransfer();
            transfer.setData('text/plain', text);
            const event = new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true, cancelable: true });
            if (document.querySelector('#composer-text').dispatchEvent(event)) throw new Error('not taken');
        }""",
        text,
    )


def test_enter_sends_and_shift_enter_is_a_new_line(page: Page, served: Served) -> None:
    visit(page, served)
    field(page).press_sequentially("one")
    field(page).press("Shift+Enter")
    field(page).press_sequentially("two")
    expect(field(page)).to_have_value("one\ntwo")
    field(page).press("Enter")
    ended(page)
    expect(body(messages(page).first)).to_have_text("one\ntwo")
    expect(field(page)).to_have_value("")
    expect(field(page)).to_be_focused()


def test_enter_that_ends_a_composition_does_not_send(page: Page, served: Served) -> None:
    visit(page, served)
    field(page).fill("にほん")
    page.evaluate(
        """() => document.querySelector('#composer-text').dispatchEvent(
            new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true, cancelable: true }))"""
    )
    page.wait_for_timeout(200)
    expect(messages(page)).to_have_count(0)
    expect(field(page)).to_have_value("にほん")


def test_a_draft_survives_a_reload_in_its_own_chat(page: Page, served: Served) -> None:
    first, second = served.conversation("First", "Yes"), served.conversation("Second", "Yes")
    visit(page, served, first)
    field(page).fill("for the first")
    page.wait_for_timeout(600)
    page.evaluate("(id) => { location.hash = `#/c/${id}` }", second)
    expect(body(messages(page).first)).to_have_text("Second")
    expect(field(page)).to_have_value("")
    field(page).fill("for the second")
    page.wait_for_timeout(600)
    page.reload()
    expect(field(page)).to_have_value("for the second")
    page.evaluate("(id) => { location.hash = `#/c/${id}` }", first)
    expect(field(page)).to_have_value("for the first")


def test_a_reply_is_stopped_and_continued(page: Page, served: Served) -> None:
    visit(page, served)
    send(page, "be slow")
    expect(replies(page).last.locator(".block")).not_to_have_count(0)
    page.get_by_role("button", name="Stop the reply").click()
    reply = ended(page)
    expect(reply.locator(".outcome")).to_have_text("Stopped.")
    said = body(reply).inner_text()
    assert said.startswith("word0")
    reply.get_by_role("button", name="Continue this reply").click()
    expect(page.get_by_role("button", name="Stop the reply")).to_be_visible()
    expect(page.locator(".message.live .prose")).to_contain_text(said[:20])
    page.keyboard.press("Escape")
    reply = ended(page)
    assert len(body(reply).inner_text()) >= len(said)
    expect(reply.locator(".branches")).to_contain_text("2/2")


def test_a_reply_is_made_anew_beside_the_first(page: Page, served: Served) -> None:
    visit(page, served)
    first = answered(page, "Hello").get_attribute("data-id")
    replies(page).last.get_by_role("button", name="Reply anew").click()
    expect(page.locator(".branches")).to_contain_text("2/2")
    reply = ended(page)
    assert reply.get_attribute("data-id") != first
    expect(messages(page)).to_have_count(2)
    reply.get_by_role("button", name="The branch before").click()
    expect(page.locator(f"#m-{first}")).to_be_visible()


def test_an_edit_is_a_branch_also_of_the_first_message(page: Page, served: Served) -> None:
    visit(page, served)
    answered(page, "First question")
    answered(page, "Second question", 2)
    messages(page).nth(2).get_by_role("button", name="Edit").click()
    expect(field(page)).to_have_value("Second question")
    send(page, "Second question, better")
    ended(page, 2)
    expect(body(messages(page).nth(2))).to_have_text("Second question, better")
    expect(messages(page).nth(2).locator(".branches")).to_contain_text("2/2")
    messages(page).nth(0).get_by_role("button", name="Edit").click()
    send(page, "Another first question")
    ended(page, 1)
    expect(messages(page).nth(0).locator(".branches")).to_contain_text("2/2")
    texts = [
        item["content"][0]["text"]
        for item in served.ask("GET", f"conversations/{conversation_of(page)}/tree")["data"]
    ]
    assert {"First question", "Second question", "Second question, better", "Another first question"} <= set(
        texts
    )


def test_an_edit_that_is_called_off_gives_the_draft_back(page: Page, served: Served) -> None:
    visit(page, served)
    answered(page, "A question")
    field(page).fill("a draft")
    messages(page).first.get_by_role("button", name="Edit").click()
    expect(field(page)).to_have_value("A question")
    field(page).press("Escape")
    expect(field(page)).to_have_value("a draft")
    expect(messages(page)).to_have_count(2)


def test_pictures_come_by_paste_and_drop(page: Page, served: Served) -> None:
    visit(page, served)
    drop(page, "#composer-text", "paste", "pasted.png", PIXEL, "image/png")
    drop(page, "#main", "drop", "dropped.png", PIXEL + b" ", "image/png")
    expect(page.locator(".tray li")).to_have_count(2)
    page.get_by_role("button", name="Remove dropped.png").click()
    expect(page.locator(".tray li")).to_have_count(1)
    answered(page, "What is this?")
    expect(page.locator(".message.user .media img")).to_have_count(1)
    assert (
        page.locator(".message.user .media img").evaluate("it => it.decode().then(() => it.naturalWidth)")
        == 1
    )
    stored = served.messages(conversation_of(page))[0]["content"]
    assert [part["type"] for part in stored] == ["input_text", "input_image"]
    page.reload()
    expect(page.locator(".message.user .media img")).to_have_count(1)


def test_a_model_that_takes_no_pictures_is_told(page: Page, served: Served) -> None:
    visit(page, served)
    page.locator("select.model").select_option("pocket")
    drop(page, "#composer-text", "paste", "pasted.png", PIXEL, "image/png")
    expect(page.get_by_text("pocket takes no pictures.")).to_be_visible()
    expect(page.locator(".tray li")).to_have_count(0)


def test_a_text_file_goes_with_the_message_and_other_files_are_told(page: Page, served: Served) -> None:
    visit(page, served)
    drop(page, "#main", "drop", "notes.md", b"# Notes\nrye", "text/markdown")
    drop(page, "#main", "drop", "program.bin", b"\x00\xff\xfe\x80", "application/octet-stream")
    expect(page.get_by_text("program.bin is neither a picture nor text.")).to_be_visible()
    answered(page, "Read this")
    assert served.messages(conversation_of(page))[0]["content"][0]["text"] == "Read this\n\n# Notes\nrye"


def test_a_paste_of_five_megabytes_is_kept_and_told(page: Page, served: Served) -> None:
    visit(page, served)
    paste(page, "five megabytes " * 350_000)
    expect(page.locator(".tray")).to_contain_text("5.3 MB")
    expect(page.get_by_text("stands beside the field")).to_be_visible()
    field(page).press_sequentially("still quick")
    page.wait_for_timeout(800)
    page.reload()
    expect(page.locator(".tray")).to_contain_text("5.3 MB")
    field(page).press("Enter")
    ended(page)
    expect(page.get_by_role("button", name="Show all")).to_be_visible()
    page.get_by_role("button", name="Show all").click()
    assert len(str(body(messages(page).first).evaluate("it => it.textContent.length"))) == 7


def test_instructions_hold_from_the_next_message_on(page: Page, served: Served) -> None:
    visit(page, served)
    page.get_by_role("button", name="Instructions").click()
    page.get_by_role("textbox", name="Instructions").fill("Answer in one word.")
    page.get_by_role("button", name="Save").click()
    answered(page, "Hello")
    detail = served.ask("GET", f"conversations/{conversation_of(page)}")
    assert [each["content"] for each in detail["instructions"]] == ["Answer in one word."]
    answered(page, "And again", 2)
    detail = served.ask("GET", f"conversations/{conversation_of(page)}")
    assert [each["content"] for each in detail["instructions"]] == ["Answer in one word."]
