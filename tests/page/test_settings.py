"""Settings, keys, sign-in, and where the page may be."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.page.acting import answered, conversation_of, ended, field, messages, send, visit
from tests.page.conftest import PHONE, Served, Watched

KEY = "a-key-of-these-tests"


@pytest.mark.parametrize(("chosen", "colour"), [("Dark", "rgb(27, 26, 24)"), ("Light", "rgb(254, 253, 251)")])
def test_a_theme_is_there_from_the_first_paint_on(
    page: Page, served: Served, chosen: str, colour: str
) -> None:
    visit(page, served)
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("radio", name=chosen).check(force=True)
    expect(page.locator("html")).to_have_attribute("data-theme", chosen.lower())
    # What the page looks like when it is first drawn, before any module has run.
    page.add_init_script(
        """requestAnimationFrame(() => {
            window.first = getComputedStyle(document.documentElement).backgroundColor;
        });"""
    )
    page.reload()
    page.wait_for_function("() => window.first")
    assert page.evaluate("window.first") == colour


def test_sending_with_control_enter(page: Page, served: Served) -> None:
    visit(page, served)
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("radio", name="Ctrl-Enter").check(force=True)
    page.keyboard.press("Escape")
    field(page).fill("one")
    field(page).press("Enter")
    expect(messages(page)).to_have_count(0)
    field(page).press("Control+Enter")
    ended(page)


def test_instructions_for_new_chats_go_with_the_first_message(page: Page, served: Served) -> None:
    visit(page, served)
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Instructions for new chats").fill("Be brief.")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Shift+O")
    page.reload()
    answered(page, "Hello")
    detail = served.ask("GET", f"conversations/{conversation_of(page)}")
    assert [each["content"] for each in detail["instructions"]] == ["Be brief."]


def test_it_says_how_to_connect_an_app_and_what_is_kept(page: Page, served: Served) -> None:
    visit(page, served)
    page.get_by_role("button", name="Settings").click()
    expect(page.get_by_text(f"OPENAI_BASE_URL={served.url}/v1")).to_be_visible()
    expect(page.get_by_text("Every chat is kept")).to_be_visible()


def test_keys_do_everything(page: Page, served: Served) -> None:
    visit(page, served, served.conversation("Hello", "Hi"))
    page.keyboard.press("Control+/")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+b")
    expect(page.locator("#sidebar .side-new")).not_to_be_in_viewport()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox", name="Search chats")).to_be_focused()
    page.keyboard.press("Control+Shift+O")
    expect(field(page)).to_be_focused()
    expect(messages(page)).to_have_count(0)
    page.go_back()
    expect(messages(page)).to_have_count(2)
    page.reload()
    expect(messages(page)).to_have_count(2)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the message field")).to_be_focused()


@pytest.fixture
def closed(tmp_path: Path, watched: Watched) -> Iterator[Served]:
    """A server that asks for a key."""
    running = Served(tmp_path, "--api-key", KEY)
    yield running
    watched.allowed.append("Failed to load resource")  # by a page that is closed only after this
    running.close()


def test_sign_in_with_an_api_key(
    page: Page, closed: Served, context: BrowserContext, watched: Watched
) -> None:
    watched.allowed.append("401")
    page.goto(closed.url)
    dialog = page.get_by_role("dialog", name="Sign in")
    dialog.get_by_label("API key").fill("wrong")
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog.get_by_role("alert")).to_contain_text("not known")
    dialog.get_by_label("API key").fill(KEY)
    dialog.get_by_label("API key").press("Enter")
    expect(dialog).to_be_hidden()
    answered(page, "Hello")
    (cookie,) = context.cookies(closed.url + "/v1/models")
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate("Object.values(localStorage).join()").find(KEY) < 0
    page.reload()
    expect(messages(page)).to_have_count(2)
    field(page).fill("a draft")
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Sign out").click()
    expect(dialog).to_be_visible()
    dialog.get_by_label("API key").fill(KEY)
    dialog.get_by_label("API key").press("Enter")
    expect(field(page)).to_have_value("a draft")


def test_a_link_to_a_chat_is_opened_once_somebody_has_signed_in(
    page: Page, closed: Served, watched: Watched
) -> None:
    watched.allowed.append("401")
    made = closed.ask(
        "POST",
        "conversations",
        {"items": [{"role": "user", "content": "Hello"}]},
        Authorization=f"Bearer {KEY}",
    )
    page.goto(f"{closed.url}/#/c/{made['id']}")
    page.get_by_role("dialog", name="Sign in").get_by_label("API key").fill(KEY)
    page.keyboard.press("Enter")
    expect(messages(page)).to_have_count(1)


def test_it_works_at_ui_too(page: Page, served: Served) -> None:
    page.goto(served.url + "/ui")
    expect(page).to_have_url(served.url + "/ui/#/new" if "#" in page.url else served.url + "/ui/")
    answered(page, "Hello")
    page.reload()
    expect(messages(page)).to_have_count(2)


class Proxy:
    """A small reverse proxy that has palaver below ``/chat/``."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()

    async def _start(self) -> None:
        self._http = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/chat/{rest:.*}", self._pass)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/chat"

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        url = f"{self._target}/{request.match_info['rest']}"
        if request.query_string:
            url += "?" + request.query_string
        async with self._http.request(
            request.method, url, headers=request.headers, data=await request.read(), allow_redirects=False
        ) as found:
            kept = {
                k: v
                for k, v in found.headers.items()
                if k.lower() not in ("content-length", "transfer-encoding")
            }
            answer = web.StreamResponse(status=found.status, headers=kept)
            await answer.prepare(request)
            async for piece in found.content.iter_any():
                await answer.write(piece)
            return answer

    def close(self) -> None:
        async def end() -> None:
            await self._http.close()
            await self._runner.cleanup()

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def test_it_works_below_a_path_behind_a_proxy(page: Page, served: Served) -> None:
    proxy = Proxy(served.url)
    try:
        page.goto(proxy.url + "/")
        answered(page, "some markdown")
        page.reload()
        expect(messages(page)).to_have_count(2)
        page.goto(proxy.url + "/ui/")
        expect(page.locator("#sidebar .row").first).to_be_visible()
        page.goto("about:blank")  # so that no stream holds the proxy
    finally:
        proxy.close()


def test_a_phone_has_all_of_it(chromium: Browser, served: Served, watched: Watched) -> None:
    context = chromium.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    context.on("page", watched.watch)
    page = context.new_page()
    visit(page, served, served.conversation("Hello", "Hi", title="On the way"))
    opener = page.locator("#opener")
    opener.click()
    expect(page.locator("#sidebar .side-new")).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(page.locator("#sidebar .side-new")).not_to_be_in_viewport()
    send(page, "some markdown")
    ended(page, 2)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    opener.click()
    page.locator("#sidebar .row-link").first.click()
    expect(page.locator("#sidebar .side-new")).not_to_be_in_viewport()
    expect(field(page)).to_be_in_viewport()
    context.close()
    assert not watched.unexpected
