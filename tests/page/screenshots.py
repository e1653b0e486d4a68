"""Pictures of the page for the documentation: `.venv/bin/python -m tests.page.screenshots`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from tests.house.files import ROOT
from tests.page.conftest import PHONE, Served

WIDE: ViewportSize = {"width": 1280, "height": 960}
FIGURES = ROOT / "docs" / "figures"
CHATS = (
    ("Sourdough in winter", "curl/8.5"),
    ("Trip to Lisbon in May", "OpenAI/Python 3.54.0"),
    ("Why the sky is blue", "Together/Python 3.1.1"),
    ("A poem about rye", "OpenAI/JS 7.57.0"),
)
EARLY = (
    "My loaf came out flat. What should I look at?",
    "Three things, in this order: whether the starter doubles within six hours, how warm the dough was while it "
    "rose, and how much water the flour took. Rye rises less than wheat, so a flat top alone says little.",
    "And how do I see that the starter is ready?",
    "It floats on water, smells of apples rather than of vinegar, and its top is about to fall.",
)


def filled(served: Served) -> str:
    """A server with some chats; the conversation to be shown."""
    for title, agent in CHATS:
        served.ask(
            "POST",
            "conversations",
            {"title": title, "items": [{"role": "user", "content": title}]},
            User_Agent=agent,
        )
    pinned = served.conversation("Shopping list", "Rye, salt.", title="Shopping list")
    served.ask("POST", f"conversations/{pinned}", {"pinned": True})
    conversation = served.conversation(*EARLY * 8, title="Rye bread for beginners")
    served.ask("POST", f"conversations/{conversation}/window", {"size": 512, "reserve": 256})
    served.say(conversation, "Which of these comes first?", reasoning={"enabled": True})
    served.say(conversation, "How much of each for one loaf?")
    last = served.messages(conversation)[-1]
    served.say(
        conversation,
        "How much flour for one loaf, and how much water?",
        parent=served.messages(conversation)[-3]["id"],
    )
    assert last["role"] == "assistant"
    return conversation


def shown(browser: Browser, address: str, scheme: str, size: str) -> Page:
    context = browser.new_context(
        viewport=WIDE if size == "wide" else PHONE,
        color_scheme="dark" if scheme == "dark" else "light",
        device_scale_factor=1 if size == "wide" else 1.5,
        locale="en-GB",
    )
    page = context.new_page()
    page.goto(address)
    page.locator(".message.assistant .does-info").last.wait_for()
    page.wait_for_timeout(800)
    page.locator("#composer-text").fill("And how long does it keep?")
    page.wait_for_timeout(900)
    page.locator(".window-line").wait_for()
    return page


def main() -> None:
    chromium = shutil.which("chromium")
    assert chromium, "chromium is not installed"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        served = Served(Path(folder))
        conversation = filled(served)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            for size in ("wide", "phone"):
                page = shown(browser, f"{served.url}/#/c/{conversation}", scheme, size)
                page.screenshot(path=FIGURES / f"page-{scheme}-{size}.png")
                page.context.close()
        browser.close()
        served.close()


if __name__ == "__main__":
    main()
