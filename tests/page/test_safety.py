"""What a model or a message may not do to whoever reads it."""

from playwright.sync_api import Page, expect

from tests.page.acting import answered, body, clipboard, ended, field, messages, send, visit
from tests.page.conftest import Served, Watched
from tests.page.script import ATTACK


def is_whole(page: Page) -> None:
    """Nothing of what was said has run, and the page works."""
    assert page.evaluate("window.attacked") is None
    expect(field(page)).to_be_visible()


def test_attacks_in_a_reply_stay_text(page: Page, served: Served) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    visit(page, served)
    reply = answered(page, "an attack")
    is_whole(page)
    reply.locator("details.thinking summary").click()
    is_whole(page)
    assert reply.locator("script, iframe, svg[onload], style, [onerror], [onmouseover], [style]").count() == 0
    for link in reply.locator(".prose a").all():
        assert (link.get_attribute("href") or "https:").startswith(("http:", "https:", "mailto:"))
    expect(reply.locator(".prose")).to_contain_text("<script>window.attacked = 1</script>")
    page.reload()
    expect(messages(page)).to_have_count(2)
    is_whole(page)
    assert all(url.startswith((served.url, "data:", "blob:")) for url in asked), (
        "nothing is fetched from elsewhere"
    )
    messages(page).last.get_by_role("button", name="Copy as Markdown").click()
    page.wait_for_function("() => navigator.clipboard.readText().then((it) => it.includes('attacked'))")
    assert clipboard(page).strip() == ATTACK.strip()


def test_attacks_in_a_question_and_a_title_stay_text(page: Page, served: Served) -> None:
    attack = "<img src=x onerror='window.attacked = 1'><script>window.attacked = 2</script>"
    conversation = served.conversation(attack, attack, title=attack)
    visit(page, served, conversation)
    expect(page.locator("h1")).to_have_text(attack)
    expect(body(messages(page).first)).to_have_text(attack)
    is_whole(page)
    page.get_by_role("button", name="Branches of this chat").click()
    expect(page.get_by_role("dialog")).to_contain_text("onerror")
    is_whole(page)


def test_the_policy_stops_what_would_get_in(page: Page, served: Served, watched: Watched) -> None:
    watched.allowed.append("Content Security Policy|Trusted|Refused to|violates")
    visit(page, served)
    assert page.evaluate(
        """() => new Promise((resolve) => {
            const script = document.createElement('script');
            try { script.textContent = 'window.attacked = 1'; } catch { /* Trusted Types refuse it */ }
            document.body.append(script);
            let sunk = false;
            const image = '<img src=x onerror="window.attacked = 2">';
            try { document.body.insertAdjacentHTML('beforeend', image); } catch { sunk = true; }
            setTimeout(() => resolve([window.attacked ?? null, sunk]), 300);
        })"""
    ) == [None, True]
    assert page.evaluate("fetch('https://example.org/').then(() => 'fetched', () => 'refused')") == "refused"
    response = page.request.get(served.url)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_a_megabyte_without_a_space_is_shown_and_the_page_stays_quick(page: Page, served: Served) -> None:
    visit(page, served)
    reply = answered(page, "a long word")
    assert body(reply).evaluate("it => it.textContent.replace(/\\s/g, '').length") == 1_000_000
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    field(page).press_sequentially("still here")
    expect(field(page)).to_have_value("still here")


def test_broken_markdown_and_control_characters_are_shown(page: Page, served: Served) -> None:
    visit(page, served)
    reply = answered(page, "something broken")
    text = body(reply).inner_text()
    assert "never closed" in text
    assert "\x1b" not in text
    assert "\x07" not in text
    is_whole(page)


def test_endless_lines_do_not_widen_the_page(page: Page, served: Served) -> None:
    conversation = served.conversation(
        "x" * 20_000, "```\n" + "y" * 20_000 + "\n```\n\n| " + "z" * 5000 + " | b |\n|---|---|\n| 1 | 2 |"
    )
    visit(page, served, conversation)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.locator(".scroller").evaluate("it => it.scrollWidth <= it.clientWidth + 1")


def test_a_failed_turn_does_not_lose_the_text(page: Page, served: Served) -> None:
    visit(page, served)
    send(page, "unavailable")
    expect(page.get_by_role("alert").filter(has_text="There is no reply")).to_be_visible()
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("alert").filter(has_text="There is no reply")).to_be_visible()
    expect(body(messages(page).first)).to_have_text("unavailable")
    send(page, "Hello")
    ended(page)
