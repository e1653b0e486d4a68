"""What the model saw: greyed messages, receipts, the meter, tokens."""

from playwright.sync_api import Page, expect

from tests.page.acting import answered, conversation_of, field, messages, replies, tool, visit
from tests.page.conftest import Served


def windowed(served: Served) -> str:
    """A conversation that is longer than its window, and whose last turn left messages out."""
    conversation = served.conversation(*["Some words that take room. " * 12 for _ in range(40)])
    served.ask("POST", f"conversations/{conversation}/window", {"size": 1024, "reserve": 128})
    served.say(conversation, "What was that?")
    return conversation


def test_what_the_model_did_not_see_is_grey_under_one_line(page: Page, served: Served) -> None:
    conversation = windowed(served)
    visit(page, served, conversation)
    expect(page.locator(".window-line")).to_have_count(1)
    expect(page.locator(".window-line")).to_contain_text("The model no longer sees the")
    grey = page.locator(".message.unseen")
    receipt = served.ask("GET", f"chat/completions/{served.messages(conversation)[-1]['turn']}/receipt")
    left = sum(out["messages"] for out in receipt["left_out"])
    expect(grey).to_have_count(left - (42 - messages(page).count()))
    assert messages(page).last.evaluate("it => !it.classList.contains('unseen')")
    # The line stands between the last that is grey and the first that is not.
    assert page.evaluate(
        """() => { const at = document.querySelector('.window-line').closest('.message');
            return [at.classList.contains('unseen'), at.previousElementSibling.classList.contains('unseen')] }"""
    ) == [False, True]
    answered(page, "And now?", replies(page).count() + 1)
    expect(page.locator(".window-line")).to_have_count(1)


def test_it_is_grey_too_where_the_end_is_not_loaded(page: Page, served: Served) -> None:
    conversation = served.conversation(*[f"Some words that take room, number {n}. " * 9 for n in range(120)])
    served.ask("POST", f"conversations/{conversation}/window", {"size": 1024, "reserve": 128})
    served.say(conversation, "What was that?")
    visit(page, served, conversation, served.messages(conversation)[20]["id"])
    expect(page.locator(".message.unseen")).not_to_have_count(0)


def test_the_setting_takes_the_grey_away(page: Page, served: Served) -> None:
    visit(page, served, windowed(served))
    expect(page.locator(".message.unseen")).not_to_have_count(0)
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Show what the model saw").click()
    expect(page.locator(".message.unseen")).to_have_count(0)


def test_the_receipt_is_there_on_hover_and_by_keyboard(page: Page, served: Served) -> None:
    visit(page, served, windowed(served))
    last = messages(page).last
    last.hover()
    last.get_by_role("button", name="What the model saw").hover()
    card = page.get_by_role("region", name="What the model saw")
    expect(card).to_be_visible()
    expect(card).to_contain_text("for want of room")
    expect(card).to_contain_text("tokens")
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()
    last.get_by_role("button", name="Copy as Markdown").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    last.get_by_role("button", name="What the model saw").focus()
    expect(card).to_be_visible()


def test_the_meter_says_before_sending_how_full_the_context_would_be(page: Page, served: Served) -> None:
    conversation = windowed(served)
    visit(page, served, conversation)
    meter = page.get_by_role("button", name="How full the model's context is")
    expect(meter).to_be_visible()
    before = meter.inner_text()
    assert "/ 1.0k" in before
    field(page).fill("a much longer message " * 10)
    expect(meter).not_to_have_text(before)
    title = meter.get_attribute("title") or ""
    assert "The model would see" in title
    assert len(served.messages(conversation)) == 42, "nothing was sent"


def test_tokens_of_each_turn_are_drawn(page: Page, served: Served) -> None:
    visit(page, served)
    page.locator("select.model").select_option("pocket")
    answered(page, "My name is Ada.")
    answered(page, "What is my name?", 2)
    tool(page, "Tokens of each turn").click()
    dialog = page.get_by_role("dialog", name="Tokens of each turn")
    expect(dialog.locator("tbody tr")).to_have_count(2)
    expect(dialog.get_by_role("img").first).to_be_visible()
    reused = [int(each) for each in dialog.locator("tbody td:nth-child(3)").all_inner_texts()]
    usage = served.messages(conversation_of(page))
    assert len(usage) == 4
    assert reused[1] > 0, "the second prompt begins with the first"
    page.keyboard.press("Escape")


def test_a_model_that_does_not_say_what_it_reused(page: Page, served: Served) -> None:
    visit(page, served)
    answered(page, "One")
    tool(page, "Tokens of each turn").click()
    dialog = page.get_by_role("dialog", name="Tokens of each turn")
    expect(dialog.locator("tbody td").nth(1)).to_have_text("–")
    expect(dialog).to_contain_text("do not say what they reused")
