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
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

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
STREAM = " ".join(f"word{n}" for n in range(4000))
PAINTED = """
() => new Promise((resolve) => {
    const look = () => {
        const last = [...document.querySelectorAll('.message')].at(-1);
        if (!last || !last.querySelector('.does-copy')) return requestAnimationFrame(look);
        return requestAnimationFrame(() => setTimeout(() => resolve(performance.now()), 0));
    };
    look();
})
"""
KEYS = """
(count) => new Promise((resolve) => {
    const field = document.querySelector('#composer-text'), times = [];
    let longest = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) longest = Math.max(longest, entry.duration);
    }).observe({ type: 'longtask' });
    field.focus();
    const press = () => {
        if (times.length >= count) return resolve({ times, longest });
        const began = performance.now();
        document.execCommand('insertText', false, 'a');
        requestAnimationFrame(() => {
            const channel = new MessageChannel();
            channel.port1.onmessage = () => { times.push(performance.now() - began); setTimeout(press, 40); };
            channel.port2.postMessage(null);
        });
    };
    press();
})
"""


@contextmanager
def served(folder: Path, delay: float) -> Iterator[str]:
    script = folder / "script.jsonl"
    lines = [{"when": "stream", "reply": STREAM, "delay": delay}, {"reply": None}]
    script.write_text("\n".join(map(json.dumps, lines)))
    with serving(folder, "--model", f"scripted:{script}") as (_, url):
        yield url.rstrip("/")


def ask(url: str, body: Any) -> Any:
    sent = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(sent, timeout=60) as response:
        return json.load(response)


def conversation(url: str, count: int) -> str:
    """One of so many messages."""
    id: str = ask(f"{url}/v1/conversations", {"title": f"{count} messages"})["id"]
    texts = [REPLY if n % 2 else QUESTION.format(n=n) for n in range(count)]
    items = [{"role": "assistant" if n % 2 else "user", "content": text} for n, text in enumerate(texts)]
    for start in range(0, count, 20):
        ask(f"{url}/v1/conversations/{id}/items", {"items": items[start : start + 20]})
    return id


def visited(browser: Browser, address: str) -> tuple[float, float, dict[str, float], Page]:
    """First paint and newest message painted, in ms since the navigation began; memory then."""
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.goto(address)
    painted = float(page.evaluate(PAINTED))
    first = float(
        page.evaluate(
            "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? performance.now()"
        )
    )
    return first, painted, memory(page), page


def memory(page: Page) -> dict[str, float]:
    """The heap of scripts in MB and the nodes of the document, after a collection."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    found = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    return {"heap": found["JSHeapUsedSize"] / 1e6, "nodes": found["Nodes"]}


def back(page: Page, messages: int) -> None:
    """Scroll back past so many messages, as somebody does who looks for something."""
    page.locator(".scroller").hover()
    for _ in range(messages // 3):
        page.mouse.wheel(0, -1200)
        page.wait_for_timeout(20)


def lengths(browser: Browser, url: str, counts: list[int], laps: int) -> list[list[str]]:
    rows, base = [], 0.0
    for count in counts:
        id = conversation(url, count)
        firsts, paints, after = [], [], dict[str, float]()
        for _ in range(laps):
            first, painted, after, page = visited(browser, f"{url}/#/c/{id}")
            firsts.append(first)
            paints.append(painted)
            page.context.close()
        page = visited(browser, f"{url}/#/c/{id}")[3]
        back(page, min(count, 500))
        scrolled = memory(page)
        page.context.close()
        median = statistics.median(paints)
        base = base or median
        rows.append(
            [
                f"{count:,}",
                f"{statistics.median(firsts):.0f}",
                f"{median:.0f}",
                f"{median / base:.2f}",
                f"{after['heap']:.1f}, {after['nodes']:,.0f}",
                f"{scrolled['heap']:.1f}, {scrolled['nodes']:,.0f}",
            ]
        )
    return rows


def keys(browser: Browser, url: str, count: int) -> list[list[str]]:
    """What a key takes to be seen, in ms, without and with a reply that streams."""
    rows = []
    for name, streams in (("nothing streams", False), ("200 tokens a second stream in", True)):
        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.goto(f"{url}/#/c/{conversation(url, 100)}")
        page.evaluate(PAINTED)
        if streams:
            page.fill("#composer-text", "stream it")
            page.keyboard.press("Enter")
            page.locator(".message.live .block").first.wait_for()
        found = page.evaluate(KEYS, count)
        times = sorted(found["times"])
        p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
        rows.append([name, f"{statistics.median(times):.1f}", f"{p99:.1f}", f"{found['longest']:.0f}"])
        page.context.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--messages", type=int, nargs="+", default=[100, 1_000, 10_000], help="lengths of the chats"
    )
    parser.add_argument("--laps", type=int, default=7, help="visits of each")
    parser.add_argument("--keys", type=int, default=200, help="keys that are pressed")
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is not installed: on Debian, apt install chromium.")
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        served(Path(folder), 0.005) as url,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        heads = [
            "messages",
            "first paint, ms",
            "newest message, ms",
            "over the first",
            "heap MB, nodes",
            "back 500",
        ]
        print(table("Chats of any length", heads, lengths(browser, url, options.messages, options.laps)))
        heads = ["a key until it is painted, ms", "median", "p99", "longest task"]
        print()
        print(table("Writing", heads, keys(browser, url, options.keys)))
        browser.close()


if __name__ == "__main__":
    main()
