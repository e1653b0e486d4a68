"""Branches at the message, and the map of all."""

from playwright.sync_api import Page, expect

from tests.page.acting import body, messages, scroller, tool, visit
from tests.page.conftest import Served, Watched


def branched(served: Served) -> tuple[str, list[str]]:
    """A conversation whose third message has two edits; the ids of the three branches' ends."""
    conversation = served.conversation("Begin", "Begun", "First way", "First reply " * 200)
    begun = served.messages(conversation)[1]["id"]
    ends = [served.messages(conversation)[-1]["id"]]
    for text in ("Second way", "Third way"):
        served.say(conversation, text, parent=begun)
        ends.append(served.messages(conversation)[-1]["id"])
    return conversation, ends


def test_branches_are_walked_at_the_message_and_it_stays_in_its_place(page: Page, served: Served) -> None:
    conversation, _ = branched(served)
    visit(page, served, conversation)
    at = messages(page).nth(2)
    expect(at.locator(".branches")).to_contain_text("3/3")
    top = at.evaluate("it => it.getBoundingClientRect().top")
    at.get_by_role("button", name="The branch before").click()
    expect(body(messages(page).nth(2))).to_have_text("Second way")
    page.get_by_role("button", name="The branch before").click()
    expect(body(messages(page).nth(2))).to_have_text("First way")
    expect(messages(page).nth(2).locator(".branches")).to_contain_text("1/3")
    assert abs(messages(page).nth(2).evaluate("it => it.getBoundingClientRect().top") - top) <= 2
    expect(body(messages(page).nth(3))).to_contain_text("First reply")
    # The keyboard stays where it was, so that the next press goes on.
    page.keyboard.press("Tab")
    page.get_by_role("button", name="The next branch").click()
    expect(page.get_by_role("button", name="The next branch")).to_be_focused()
    expect(body(messages(page).nth(2))).to_have_text("Second way")
    assert served.messages(conversation)[2]["content"][0]["text"] == "Second way"


def test_the_map_shows_all_branches_and_goes_to_one(page: Page, served: Served) -> None:
    conversation, _ = branched(served)
    visit(page, served, conversation)
    tool(page, "Branches of this chat").click()
    dialog = page.get_by_role("dialog", name="Branches of this chat")
    expect(dialog.locator(".map-line")).to_have_count(4)
    expect(dialog.locator(".on-path")).to_have_count(2)
    dialog.get_by_role("button", name="First way").click()
    expect(dialog).to_be_hidden()
    expect(body(messages(page).nth(2))).to_have_text("First way")


def test_a_link_to_another_branch_shows_that_branch(page: Page, served: Served, watched: Watched) -> None:
    watched.allowed.append("400")  # so it is found out that it is on another
    conversation, ends = branched(served)
    visit(page, served, conversation, ends[0])
    expect(page.locator(f"#m-{ends[0]}")).to_be_in_viewport()
    expect(page.get_by_text("on another branch")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(body(messages(page).nth(2))).to_have_text("Third way")


def test_a_chat_of_many_edits_has_a_map_at_once(page: Page, served: Served) -> None:
    conversation = served.conversation("Begin", "Begun")
    for n in range(30):
        served.say(
            conversation, f"Step {n}", parent=served.messages(conversation)[-1]["id"] if n % 3 else "head"
        )
    visit(page, served, conversation)
    scroller(page).hover()
    tool(page, "Branches of this chat").click()
    expect(
        page.get_by_role("dialog", name="Branches of this chat").locator(".map-line").first
    ).to_be_visible()
