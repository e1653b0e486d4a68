"""Words sent through every path of a real server are nowhere in its files and its log once they are deleted.

Every canary is a word of its own, so that a failure names the path it came by. Each road to deletion is gone once:
before it, what was stored must be in the files; after it, no byte of the data directory and of the log may say it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.cli.running import said
from tests.whole.serving import rows, server

CANARY = re.compile(rb"canary-[a-z]+(?:-[a-z]+)*", re.IGNORECASE)
NAME, NAME_IN_HEADER = "canary-conversation!", "canary-header-conversation!"
USER, USER_IN_HEADER = "canary-user!", "canary-header-user!"
"""They end in something else than a letter, so that the bytes after them are told from theirs."""
KEPT_NAMES = {b"canary-conversation", b"canary-header-conversation", b"canary-user", b"canary-header-user"}
SCRIPT = [
    {"when": "take your pick", "replies": ["canary-first", "canary-second", "canary-third"]},
    {
        "when": "look",
        "reply": "",
        "tool_calls": [{"name": "canary-tool", "arguments": {"x": "canary-called"}}],
    },
    {"when": "be slow", "reply": " ".join(["canary-slow-reply"] * 5000), "delay": 0.02},
    {"reply": "canary-reply, that is what I say. " * 40, "reasoning": "canary-thinking"},
]
PATHS = """
system developer question part arguments result stop metadata title conversation user header-conversation header-user
idempotency-key reply thinking streamed regenerated temporary killed running queued queued-system
tool tool-description tool-schema called schema template first second third tried warning receipt
attachment filename
"""
STORED = {f"canary-{name}".encode() for name in PATHS.split()}
"""What must be found before anything is deleted: otherwise the test would look for what was never there."""
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "canary-tool",
            "description": "canary-tool-description",
            "parameters": {"type": "object", "properties": {"x": {"title": "canary-tool-schema"}}},
        },
    }
]
FORM = {
    "type": "json_schema",
    "json_schema": {"name": "form", "schema": {"type": "object", "title": "canary-schema"}},
}


def legible(folder: Path) -> set[bytes]:
    """Every canary in a file of the data directory."""
    return {
        word.lower()
        for path in (folder / "data").rglob("*")
        if path.is_file()
        for word in CANARY.findall(path.read_bytes())
    }


def logged(folder: Path) -> set[bytes]:
    return set(CANARY.findall((folder / "serve.log").read_bytes()))


class App:
    """What a client does to put canaries everywhere."""

    def __init__(self, folder: Path, http: aiohttp.ClientSession, address: str) -> None:
        self.folder = folder
        self.address = address
        self._http = http
        self._reading: list[aiohttp.ClientResponse] = []

    async def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        async with self._http.request(method, self.address + path, json=body, headers=headers) as response:
            assert response.status == 200, await response.text()
            found: dict[str, Any] = await response.json()
            return found

    async def say(self, *messages: dict[str, Any], headers: dict[str, str] | None = None, **more: Any) -> str:
        """Ask, and wait for the answer; its id."""
        body = {"model": "scripted", "messages": list(messages)} | more
        answer = await self.request("POST", "/v1/chat/completions", body, headers)
        return str(answer["id"])

    async def begin(self, *messages: dict[str, Any], **more: Any) -> None:
        """Ask for a stream that goes on for long, and read some of it, unless it has to wait."""
        body = {"model": "scripted", "messages": list(messages), "stream": True, **more}
        response = await self._http.post(self.address + "/v1/chat/completions", json=body)
        assert response.status == 200
        self._reading.append(response)

    async def until(self, query: str) -> None:
        """Wait until the store holds what a query looks for."""
        while not rows(self.folder, query):
            await asyncio.sleep(0.02)

    async def heard_the_end(self) -> None:
        """Every stream that was being read has ended."""
        for response in self._reading:
            await response.content.read()

    def close(self) -> None:
        """Leave what was being read, or is not there any more."""
        for response in self._reading:
            response.close()


def message(role: str, text: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": text, **more}


async def with_parameters(app: App) -> None:
    """What is asked for and told besides messages."""
    await app.say(message("user", "look"), tools=TOOLS, user=USER)
    await app.say(message("user", "canary-question"), response_format=FORM, user=USER)
    await app.say(message("user", "hi"), chat_template_kwargs={"x": "canary-template"}, user=USER)
    several = message("user", "take your pick")
    places: list[dict[str, Any]] = [{}, {"conversation": NAME}]
    for more in places:
        await app.say(several, n=3, logprobs=True, top_logprobs=2, user=USER, tools=TOOLS, **more)
    await app.say(several, message("assistant", "canary-third"), message("user", "go on"), user=USER)
    for column in ("turns.logprobs", "choices.logprobs"):
        table, _, name = column.partition(".")
        assert rows(app.folder, f"SELECT 1 FROM {table} WHERE {name} LIKE '%canary-%'"), column  # noqa: S608
    await app.say(message("user", "take your pick"), model="away/any", user=USER)
    assert rows(app.folder, "SELECT 1 FROM turns WHERE tried LIKE '%canary-tried%'")
    warn(app.folder, "canary-warning")


def warn(folder: Path, text: str) -> None:
    """Have the turns that answered with several replies say this, and their receipts: no engine here warns of
    anything."""
    with closing(sqlite3.connect(folder / "data" / "palaver.db", timeout=20)) as db, db:
        db.execute("PRAGMA secure_delete = ON")
        changed = db.execute(
            "UPDATE turns SET warnings = json_array(?), "
            "receipt = json_set(receipt, '$.warnings', json_array('canary-receipt')) "
            "WHERE seq IN (SELECT turn FROM choices)",
            (text,),
        )
        assert changed.rowcount == 2


@contextmanager
def away() -> Iterator[str]:
    """A model server that fails, and quotes what it was asked; its base URL."""

    class Failing(BaseHTTPRequestHandler):
        def _fail(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.dumps({"error": {"message": "I cannot say canary-tried"}}).encode()
            self.send_response(503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _fail

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: what this server says is no part of what is tested."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Failing) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_port}/v1"
        finally:
            serving.shutdown()
            thread.join()


async def first_day(app: App) -> None:
    """What apps send and get, up to the moment when the server is killed in mid-reply."""
    call = {
        "id": "1",
        "type": "function",
        "function": {"name": "f", "arguments": '{"x": "canary-arguments"}'},
    }
    await app.say(
        message("system", "canary-system"),
        message("developer", "canary-developer"),
        message("user", "canary-title and canary-question " * 200),
        message("assistant", "", tool_calls=[call]),
        message("tool", "canary-result", tool_call_id="1"),
        conversation=NAME,
        user=USER,
        metadata={"topic": "canary-metadata"},
        stop=["canary-stop"],
        headers={"Idempotency-Key": "canary-idempotency-key"},
    )
    file = {
        "file_data": base64.b64encode(b"canary-attachment " * 3000).decode(),
        "filename": "canary-filename.txt",
    }
    parts = [
        {"type": "text", "text": "canary-part"},
        {"type": "text", "text": " and more"},
        {"type": "file", "file": file},
    ]
    await app.say(
        {"role": "user", "content": parts},
        headers={"palaver-user": USER_IN_HEADER, "palaver-conversation": NAME_IN_HEADER},
    )
    await app.say(message("user", "canary-temporary"), temporary=True, user=USER)
    for _ in range(2):
        await app.say(message("user", "canary-regenerated"), user=USER, conversation=NAME)
    streamed = message("user", "canary-streamed")
    response = await app._http.post(
        app.address + "/v1/chat/completions",
        json={"model": "scripted", "messages": [streamed], "stream": True, "user": USER},
    )
    assert b"[DONE]" in await response.read()
    await with_parameters(app)
    await app.begin(message("user", "canary-killed, be slow"), user=USER)
    await app.until("SELECT 1 FROM turn_log")


async def second_day(app: App) -> None:
    """After the kill: one turn runs, and one waits for it."""
    named = {"conversation": NAME, "user": USER, "parent": "head"}
    await app.begin(message("user", "canary-running, be slow"), **named)
    await app.until("SELECT 1 FROM turn_log")
    waiting = asyncio.create_task(
        app.begin(
            message("system", "canary-queued-system"), message("user", "canary-queued, be slow"), **named
        )
    )
    await app.until("SELECT 1 FROM turns WHERE state = 'queued' AND input LIKE '%canary-queued%'")
    await waiting


async def by_conversations(app: App) -> None:
    for row in rows(app.folder, "SELECT id FROM conversations"):
        await app.request("DELETE", f"/v1/conversations/{row['id']}")


async def by_names(app: App) -> None:
    await app.request("DELETE", f"/v1/conversations/{NAME}?user={USER}")
    await app.request(
        "DELETE",
        f"/v1/conversations/{NAME_IN_HEADER}",
        headers={"palaver-user": USER_IN_HEADER},
    )
    await by_conversations(app)


async def by_branches(app: App) -> None:
    query = "SELECT c.id AS c, m.id AS m FROM messages m JOIN conversations c ON c.seq = m.conversation {}"
    while found := rows(app.folder, query.format("WHERE m.parent IS NULL LIMIT 1")):
        await app.request("DELETE", f"/v1/conversations/{found[0]['c']}/items/{found[0]['m']}?branch=true")


async def by_messages(app: App) -> None:
    """From the first on, so that nearly all of them are tombstones for a while."""
    query = (
        "SELECT c.id AS c, m.id AS m FROM messages m JOIN conversations c ON c.seq = m.conversation "
        "WHERE m.deleted_at IS NULL ORDER BY m.seq LIMIT 1"
    )
    while found := rows(app.folder, query):
        await app.request("DELETE", f"/v1/conversations/{found[0]['c']}/items/{found[0]['m']}")


async def by_replies(app: App) -> None:
    """The latest first: what was asked goes with its last reply."""
    while found := rows(app.folder, "SELECT id FROM turns ORDER BY seq DESC LIMIT 1"):
        id = found[0]["id"].replace("turn_", "chatcmpl-")
        await app.request("DELETE", f"/v1/chat/completions/{id}")


async def by_users(app: App) -> None:
    for user in (USER, USER_IN_HEADER):
        assert (await app.request("DELETE", f"/v1/users/{user}"))["conversations"]


async def by_owner(app: App) -> None:
    await app.request("DELETE", "/v1/owners/local")


async def by_age(app: App) -> None:
    """Where a turn runs nothing is too old: that is ended first."""
    for row in rows(app.folder, "SELECT id FROM turns WHERE state IN ('running', 'queued')"):
        await app.request("POST", f"/v1/chat/completions/{row['id']}/cancel", {})
    asked = {"older_than_days": 1e-9, "dry_run": False}
    assert (await app.request("POST", "/v1/retention", asked))["conversations"]


async def by_command(app: App) -> None:
    folder = app.folder
    await asyncio.to_thread(said, folder, "delete", "--user", USER, "--yes")
    await asyncio.to_thread(said, folder, "delete", "--everything-of", "local", "--yes")


@asynccontextmanager
async def client(folder: Path, address: str) -> AsyncIterator[App]:
    async with aiohttp.ClientSession() as http:
        app = App(folder, http, address)
        yield app
        app.close()


ROADS = [
    pytest.param(by_conversations, set(), id="conversations"),
    pytest.param(by_names, set(), id="names", marks=pytest.mark.slow),
    pytest.param(by_branches, KEPT_NAMES, id="branches", marks=pytest.mark.slow),
    pytest.param(by_messages, KEPT_NAMES, id="messages"),
    pytest.param(by_replies, KEPT_NAMES, id="replies"),
    pytest.param(by_users, set(), id="users"),
    pytest.param(by_owner, set(), id="owner"),
    pytest.param(by_age, set(), id="age", marks=pytest.mark.slow),
    pytest.param(by_command, set(), id="command"),
]
"""How everything is deleted, and what stays: an empty conversation keeps its name, and its end user's."""


@pytest.mark.parametrize(("road", "stays"), ROADS)
async def test_nothing_is_left_by_any_road(
    tmp_path: Path, road: Callable[[App], Awaitable[None]], stays: set[bytes]
) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text("\n".join(map(json.dumps, SCRIPT)))
    with away() as elsewhere:
        options = (
            "--upstream",
            f"away={elsewhere}",
            "--upstream-retries",
            "0",
            "--fallback",
            "away/any=scripted",
        )
        with server(tmp_path, f"scripted:{script}", *options) as (process, address):
            async with client(tmp_path, address) as app:
                await first_day(app)
                process.kill()
                process.wait(10)
    with server(tmp_path, f"scripted:{script}") as (_, address):
        async with client(tmp_path, address) as app:
            await second_day(app)
            assert legible(tmp_path) >= STORED
            await road(app)
            await app.heard_the_end()
            assert legible(tmp_path) <= stays
    assert legible(tmp_path) <= stays
    assert logged(tmp_path) == set()


async def test_nothing_is_left_with_the_bundled_model(tmp_path: Path) -> None:
    """What it says is its own choice, and it is said the name that is to be forgotten."""
    with server(tmp_path, "pocket") as (_, address):
        async with client(tmp_path, address) as app:
            history = [message("user", "Hello, my name is Canary-Wanda.")]
            for question in ("What is my name?", "What is the capital of France?"):
                body = {"model": "pocket", "messages": history, "user": USER}
                answer = await app.request("POST", "/v1/chat/completions", body)
                history += [answer["choices"][0]["message"], message("user", question)]
            (row,) = rows(tmp_path, "SELECT id FROM conversations")
            assert legible(tmp_path) >= {b"canary-wanda", b"canary-user"}
            words = [
                row["body"] for row in rows(tmp_path, "SELECT body FROM messages WHERE role = 'assistant'")
            ]
            assert len(words) == 2
            await app.request("DELETE", f"/v1/conversations/{row['id']}")
            data = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
            assert legible(tmp_path) == set()
            for said_by_model in (json.loads(word)["content"] for word in words):
                assert said_by_model.encode() not in data
    assert logged(tmp_path) == set()


def test_what_the_search_would_find(tmp_path: Path) -> None:
    """The search itself: in rows, in the journal, in whatever file there is."""
    (tmp_path / "data").mkdir()
    with closing(sqlite3.connect(tmp_path / "data" / "palaver.db")) as db, db:
        db.execute("CREATE TABLE t (x)")
        db.execute("INSERT INTO t VALUES ('xx Canary-One-Two! xx')")
    (tmp_path / "data" / "note").write_bytes(b"\0canary-three\0")
    assert legible(tmp_path) == {b"canary-one-two", b"canary-three"}
