"""The page in a real Chromium, over a real `palaver serve`."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    ViewportSize,
    sync_playwright,
)

from tests.cli.running import serving
from tests.conftest import require_program
from tests.page.script import SCRIPT

WIDE: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
PATIENCE = 30_000
"""Milliseconds to wait for something that is bound to happen; machines are shared."""


class Served:
    """A running server, as an app asks it beside the page."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        self._stack = ExitStack()
        self._port = "0"
        self.url = ""
        self.start()

    def start(self) -> None:
        """Run it; again at the same address where it was stopped."""
        script = self._folder / "script.jsonl"
        script.write_text("\n".join(map(json.dumps, SCRIPT)))
        options = ("--port", self._port, "--model", f"scripted:{script}", *self._options)
        self.process, url = self._stack.enter_context(serving(self._folder, *options))
        self.url = url.rstrip("/")
        self._port = self.url.rpartition(":")[2]

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()
        self._stack.close()

    def close(self) -> None:
        self._stack.close()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Ask the API; its answer as JSON."""
        data = None if body is None else json.dumps(body).encode()
        given = {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        request = urllib.request.Request(f"{self.url}/v1/{path}", data, given, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def conversation(self, *texts: str, title: str | None = None, **more: Any) -> str:
        """A conversation of these questions and replies in turn, as somebody made it; its id."""
        id: str = self.ask("POST", "conversations", {"title": title, **more})["id"]
        roles = ("user", "assistant")
        items = [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]
        for start in range(0, len(items), 20):
            self.ask("POST", f"conversations/{id}/items", {"items": items[start : start + 20]})
        return id

    def say(self, conversation: str, text: str, **more: Any) -> Any:
        """Have the model answer at the head of a conversation."""
        body = {"model": "scripted", "conversation": conversation, "parent": "head", **more}
        return self.ask("POST", "chat/completions", {**body, "messages": [{"role": "user", "content": text}]})

    def messages(self, conversation: str) -> list[Any]:
        """The path to the head, first message first; a hundred at most."""
        found: list[Any] = self.ask("GET", f"conversations/{conversation}/messages?order=asc&limit=100")[
            "data"
        ]
        return found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for the tests of one module. Not for longer: while Playwright's calls can be made an event loop runs in
    this thread, and no test with one of its own could."""
    program = require_program("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server for the tests of one module: each makes its own conversations."""
    running = Served(tmp_path_factory.mktemp("served"))
    yield running
    running.close()


class Watched:
    """What a page complained of. `allowed` are patterns of what a test expects."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.allowed: list[str] = []

    def watch(self, page: Page) -> None:
        page.set_default_timeout(PATIENCE)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.said.append(f"uncaught: {error}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.said.append(f"{message.type}: {message.text}")

    @property
    def unexpected(self) -> list[str]:
        return [each for each in self.said if not any(re.search(known, each) for known in self.allowed)]


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def context(chromium: Browser, watched: Watched) -> Iterator[BrowserContext]:
    """A browser that was never here before. A page that complains of anything unexpected fails its test: so no policy
    is violated, and nothing goes wrong unseen."""
    made = chromium.new_context(
        viewport=WIDE, locale="en-GB", permissions=["clipboard-read", "clipboard-write"]
    )
    made.on("page", watched.watch)
    yield made
    made.close()
    assert not watched.unexpected


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()
