"""Pictures of the page for the documentation: `.venv/bin/python -m tests.page.screenshots`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.house.files import ROOT
from tests.page.conftest import PHONE, WIDE, Served

FIGURES = ROOT / "docs" / "figures"
CHATS = (
    ("Sourdough in winter", "curl/8.5"),
    ("Trip to Lisbon in May", "OpenAI/Python 3.54.0"),
    ("Why the sky is blue", "Together/Python 3.1.1"),
    ("A poem about rye", "OpenAI/JS 7.57.0"),
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
    early = [
        f"{'What about' if n % 2 == 0 else 'It depends on'} the flour, and the water? " * 9 for n in range(24)
    ]
    conversation = served.conversation(*early, title="Rye bread for beginners")
    served.ask("POST", f"conversations/{conversation}/window", {"size": 1024, "reserve": 256})
    served.say(conversation, "think: which of these should I begin with?", reasoning={"enabled": True})
    served.say(conversation, "Give me the recipe as markdown")
    last = served.messages(conversation)[-1]
    served.say(
        conversation, "Give me the recipe as markdown, please", parent=served.messages(conversation)[-3]["id"]
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
    page.locator(".scroller").evaluate("(it) => { it.scrollTop -= 330; }")
    page.wait_for_timeout(300)
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
