"""The chat page on chats of any length: time to paint, memory, and how a key feels while a reply streams.

A real `palaver serve` without a model, and the Chromium that is installed, without a window. Times are medians of
several visits, each in a browser that was never there before; what counts is their ratio.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from bench.tables import table
from tests.cli.running import serving

REPLY = """\
Here is what **matters**, in short: `rye` needs *time*.

- A first point, with some words that make it a line or two of text on most screens.
- A second one, $E = mc^2$.

```python
def loaf(grams: int) -> str:
    return f"{grams} g"
```

And a closing sentence that says nothing new, as closing sentences do.
"""
QUESTION = "What should I know about bread number {n}, and why does it take so long to rise?"
STREAM = REPLY * 80
WIDE: ViewportSize = {"width": 1280, "height": 800}
BACK = 500
"""How many messages are scrolled back through."""
WATCH = """
(() => {
    const look = () => {
        const place = document.getElementById('m-WANTED')?.getBoundingClientRect();
        if (!place || !place.height || place.bottom < 0 || place.top > innerHeight) return requestAnimationFrame(look);
        const channel = new MessageChannel();  // what comes after the frame has been painted
        channel.port1.onmessage = () => { window.painted = performance.now(); };
        return channel.port2.postMessage(null);
    };
    requestAnimationFrame(look);
})();
"""
"""Notes when a message stands on the screen, from before the page's own scripts run."""
LISTEN = """
() => {
    window.keys = [];
    window.longest = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration);
    }).observe({ type: 'longtask' });
    document.addEventListener('keydown', ({ timeStamp }) => requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = () => window.keys.push(performance.now() - timeStamp);
        channel.port2.postMessage(null);
    }), true);
}
"""
"""Times each key from its event, waiting in the queue included, until the frame after it is painted."""
TOP = """
() => {
    const top = document.querySelector('.scroller').getBoundingClientRect().top;
    const it = [...document.querySelectorAll('.message')].find((it) => it.getBoundingClientRect().bottom > top + 1);
    return it.dataset.id;
}
"""
WORDS = "() => document.querySelector('.message.live')?.textContent.split(/\\s+/).length ?? null"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A server whose model says about 200 tokens a second, its own work included, where it is asked to stream; its
    address."""
    script = folder / "script.jsonl"
    lines = [{"when": "stream", "reply": STREAM, "delay": 1 / 240}, {"reply": None}]
    script.write_text("\n".join(map(json.dumps, lines)))
    with serving(folder, "--model", f"scripted:{script}") as (_, url):
        yield url.rstrip("/")


def ask(url: str, body: Any) -> Any:
    sent = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(sent, timeout=60) as response:
        return json.load(response)


def conversation(url: str, count: int) -> tuple[str, list[str]]:
    """One of so many messages; its id and theirs."""
    id: str = ask(f"{url}/v1/conversations", {"title": f"{count} messages"})["id"]
    texts = [REPLY if n % 2 else QUESTION.format(n=n) for n in range(count)]
    items = [{"role": "assistant" if n % 2 else "user", "content": text} for n, text in enumerate(texts)]
    messages: list[str] = []
    for start in range(0, count, 20):
        added = ask(f"{url}/v1/conversations/{id}/items", {"items": items[start : start + 20]})
        messages += [each["id"] for each in added["data"]]
    return id, messages


@contextmanager
def visiting(browser: Browser, address: str, message: str) -> Iterator[Page]:
    """A page in a browser that was never there before, once this message stands on the screen."""
    context = browser.new_context(viewport=WIDE)
    context.add_init_script(WATCH.replace("WANTED", message))
    page = context.new_page()
    page.goto(address)
    page.wait_for_function("() => window.painted")
    yield page
    context.close()


def times(page: Page) -> tuple[float, float]:
    """First paint, and the message on the screen, in ms since the navigation began."""
    first = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
    return float(page.evaluate(first)), float(page.evaluate("() => window.painted"))


def memory(page: Page) -> str:
    """The heap of scripts in MB and the nodes of the document, after a collection."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    found = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    return f"{found['JSHeapUsedSize'] / 1e6:.1f}, {found['Nodes']:,.0f}"


def back(page: Page, messages: list[str]) -> None:
    """Scroll back through 500 messages, as far as there are so many, as somebody does who looks for something."""
    page.locator(".scroller").hover()
    until = time.monotonic() + 60
    while messages.index(page.evaluate(TOP)) > max(0, len(messages) - BACK):
        if time.monotonic() > until:
            raise SystemExit("The page does not scroll back.")
        page.mouse.wheel(0, -1200)
        page.wait_for_timeout(20)


class Chat:
    """One chat, and what was measured on it: first paint, its newest message and a linked one on the screen, in ms; its
    memory when it was opened, and scrolled back."""

    def __init__(self, url: str, count: int) -> None:
        id, self.messages = conversation(url, count)
        self.address = f"{url}/#/c/{id}"
        self.middle = self.messages[count // 2]
        self.found: list[tuple[float, float, float]] = []
        self.opened = self.scrolled = ""

    def visit(self, browser: Browser) -> None:
        with visiting(browser, self.address, self.messages[-1]) as page:
            first, newest = times(page)
        with visiting(browser, f"{self.address}/m/{self.middle}", self.middle) as page:
            self.found.append((first, newest, times(page)[1]))

    def weigh(self, browser: Browser) -> None:
        with visiting(browser, self.address, self.messages[-1]) as page:
            self.opened = memory(page)
            back(page, self.messages)
            self.scrolled = memory(page)


def lengths(browser: Browser, url: str, counts: list[int], laps: int) -> list[list[str]]:
    chats = [Chat(url, count) for count in counts]
    Chat(url, 20).visit(browser)  # the first visit of all reads the page's files
    for _ in range(laps):  # in turn, so that whatever else this machine does falls on all alike
        for chat in chats:
            chat.visit(browser)
    rows, base = [], list[float]()
    for chat in chats:
        chat.weigh(browser)
        first, *painted = (statistics.median(each) for each in zip(*chat.found, strict=True))
        base = base or painted
        shown = [f"{each:.0f}, {each / of:.2f}" for each, of in zip(painted, base, strict=True)]
        rows.append([f"{len(chat.messages):,}", f"{first:.0f}", *shown, chat.opened, chat.scrolled])
    return rows


def keys(browser: Browser, url: str, count: int) -> list[list[str]]:
    """What a key takes to be seen, in ms, without and with a reply that streams."""
    rows = []
    for streams in (False, True):
        id, messages = conversation(url, 100)
        with visiting(browser, f"{url}/#/c/{id}", messages[-1]) as page:
            page.focus("#composer-text")
            if streams:
                page.fill("#composer-text", "stream it")
                page.keyboard.press("Enter")
                page.locator(".message.live .block").nth(1).wait_for()
            page.evaluate(LISTEN)
            before, began = page.evaluate(WORDS), time.monotonic()
            for _ in range(count):
                page.keyboard.press("a")
                page.wait_for_timeout(30)
            after, took = page.evaluate(WORDS), time.monotonic() - began
            if streams and after is None:
                raise SystemExit("The reply ended before the keys did: ask for fewer keys.")
            name = f"{(after - before) / took:.0f} words a second stream in" if streams else "nothing streams"
            rows.append([name, *written(page, count)])
    return rows


def written(page: Page, count: int) -> list[str]:
    page.wait_for_function("(count) => window.keys.length >= count", arg=count)
    found = sorted(page.evaluate("() => window.keys"))
    longest = page.evaluate("() => window.longest")
    p99 = found[min(len(found) - 1, int(len(found) * 0.99))]
    return [f"{statistics.median(found):.1f}", f"{p99:.1f}", f"{longest:.0f}" if longest else "none"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--messages", type=int, nargs="+", default=[100, 1_000, 10_000], help="lengths of the chats"
    )
    parser.add_argument("--laps", type=int, default=7, help="visits of each")
    parser.add_argument("--keys", type=int, default=200, help="keys that are pressed")
    options = parser.parse_args(arguments)
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is not installed: on Debian, apt install chromium.")
    with (
        tempfile.TemporaryDirectory(prefix="palaver-bench-") as folder,
        sync_playwright() as playwright,
        served(Path(folder)) as url,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        chats = (
            "messages",
            "first paint, ms",
            "newest message, ms, ratio",
            "link into the middle, ms, ratio",
            "heap MB, nodes",
            f"{BACK} messages back",
        )
        print(table("Chats of any length", chats, lengths(browser, url, options.messages, options.laps)))
        writing = ("a key until it is painted, ms", "median", "p99", "longest task over 50")
        print("\n" + table("Writing", writing, keys(browser, url, options.keys)))
        browser.close()


if __name__ == "__main__":
    main()
