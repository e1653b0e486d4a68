"""Two owners with keys of their own: nothing of one is there for the other, by any route or id.

The requests are made from the description of the API itself, so that a new route is tried as soon as it is
described: every id of hers stands once wherever a text may stand, and the answer must be the one that an id
gets which nobody has.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest

from palaver.core.turn import ContentDelta, Finish, Usage
from palaver.server.app import ServerSettings
from tests.server.conftest import Door, opened

LOCAL = {"authorization": "Bearer local-secret"}
SECRETS = ("canary-question", "canary-answer", "canary-running", "canary-system", "canary-summary")
NOBODYS = "01arz3ndektsv4rrffq69g5fav"
IDS = re.compile(r"(conv_|msg_|turn_|chatcmpl-|resp_|key_|epoch_|sum_)[0-9a-z]{26}")
MAY_NAME = ("conversation", "name", "palaver-conversation", "X-OpenWebUI-Chat-Id")
"""Fields and headers that give a new conversation its name, unless they have the form of its id."""
MUST_BE_THERE = (
    "conversation",
    "parent",
    "message",
    "palaver-conversation",
    "X-OpenWebUI-Chat-Id",
    "to",
    "after",
)
"""Those that name something that is there."""


ORDER = ("GET", "POST", "DELETE")
"""What reads comes first: later messages of the prober's own hold the words, and search quotes them. What deletes comes
last."""


class Owner:
    """An owner, by the key."""

    def __init__(self, door: Door, name: str, key: str) -> None:
        self.door = door
        self.name = name
        self.headers = {"authorization": f"Bearer {key}"}

    async def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        sent = None if body is None else msgspec.json.encode(body)
        given = {"content-type": "application/json", **self.headers, **(headers or {})}
        url = self.door.address + path
        async with self.door.http.request(method, url, data=sent, headers=given) as response:
            return response.status, await response.read(), dict(response.headers)

    async def ask(self, messages: list[dict[str, Any]], headers: Any = None, **more: Any) -> dict[str, str]:
        """Ask the scripted model; the reply's headers."""
        body = {"model": "scripted", "messages": messages, **more}
        status, answer, told = await self.send("POST", "/v1/chat/completions", body, headers)
        assert status == 200, answer
        return {**told, "content": msgspec.json.decode(answer)["choices"][0]["message"]["content"]}

    async def read(self, path: str) -> Any:
        status, answer, _ = await self.send("GET", path)
        assert status == 200, answer
        return msgspec.json.decode(answer)


async def made(door: Door, name: str) -> Owner:
    _, key = await door.post("/v1/keys", {"name": f"{name}'s", "owner": name}, LOCAL)
    return Owner(door, name, key["key"])


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path, ServerSettings(local_key="local-secret")) as door:
        yield door


@pytest.fixture
async def ann(door: Door) -> Owner:
    return await made(door, "ann")


@pytest.fixture
async def bob(door: Door) -> Owner:
    return await made(door, "bob")


def said(*texts: str) -> list[dict[str, Any]]:
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


class Hers:
    """What ann has, by every word that it can be asked for with; and how it looks to her."""

    def __init__(self, ann: Owner, conversation: str, running: str, names: list[str]) -> None:
        self.ann = ann
        self.conversation = conversation
        self.running = running
        self.names = names
        self.ids: list[str] = []

    @classmethod
    async def made(cls, ann: Owner) -> Hers:
        system = {"role": "system", "content": "canary-system"}
        first = await ann.ask([system, *said("canary-question one")], conversation="notes", user="eve")
        conversation = first["palaver-conversation"]
        plain = await ann.ask(said("canary-question of nobody else"), conversation="plans")
        body = {
            "model": "test/hand",
            "messages": said("canary-question one", first["content"], "canary-question two"),
            "conversation": conversation,
            "stream": True,
        }
        hers = cls(ann, conversation, "", ["notes", "plans", "eve", "ann"])
        hers.reading = asyncio.create_task(ann.send("POST", "/v1/chat/completions", body))
        await ann.door.hand.began.wait()
        ann.door.hand.put(ContentDelta("canary-running"))
        items = (await ann.read(f"/v1/conversations/{conversation}/messages"))["data"]
        hers.running = next(iter(ann.door.chat._running))
        turns = [items[-2]["turn"], hers.running]
        while (await ann.door.chat.store.turn("ann", hers.running)).receipt is None:
            await asyncio.sleep(0.002)
        epochs = (await ann.read(f"/v1/conversations/{conversation}/epochs"))["data"]
        _, keys = await ann.door.get("/v1/keys?owner=ann", LOCAL)
        bodies = [re.split("[_-]", turn)[1] for turn in turns]
        store, end = ann.door.chat.store, items[-2]["id"]
        living = len(await store.path("ann", end, attachments=False))
        summary = await store.add_summary(
            "ann", conversation, end, "canary-summary", model=None, living=living
        )
        assert summary is not None
        hers.ids = [
            conversation,
            summary.id,
            plain["palaver-conversation"],
            *(item["id"] for item in items),
            *(item["id"] for item in (await ann.read("/v1/conversations/plans/messages"))["data"]),
            *(form + body for body in bodies for form in ("turn_", "chatcmpl-", "resp_")),
            *(key["id"] for key in keys["data"]),
            *(epoch["id"] for epoch in epochs),
        ]
        return hers

    reading: asyncio.Task[tuple[int, bytes, dict[str, str]]]

    async def seen(self) -> list[Any]:
        """All that she sees."""
        found = [
            await self.ann.read(f"/v1/conversations/{each}{path}")
            for each in (self.conversation, "plans")
            for path in ("", "/messages?order=asc", "/tree", "/leaves", "/map", "/epochs", "/summaries")
        ]
        found.append(await self.ann.read("/v1/conversations?include_tasks=true&include_temporary=true"))
        found.append(
            await self.ann.read(
                f"/v1/conversations/{self.conversation}/messages?include=siblings&include=usage"
            )
        )
        done = next(id for id in self.ids if id.startswith("chatcmpl-"))
        paths = (done, f"{done}/receipt", f"{self.running}/receipt")
        return [*found, *[await self.ann.read(f"/v1/chat/completions/{path}") for path in paths]]


Probe = tuple[str, str, Any, dict[str, str]]
"""Method, path, body, headers of a request."""


def bodies(schema: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A body that is as small as can be, and the fields that take a text."""
    texts = [
        name
        for name, field in schema["properties"].items()
        if "string" in (field.get("type"), *(each.get("type") for each in field.get("anyOf", ())))
    ]
    smallest: dict[str, Any] = {
        "model": "scripted",
        "messages": said("hello"),
        "items": said("hello"),
        "metadata": {},
    }
    needed = [*schema.get("required", ()), *({"input"} & set(schema["properties"]))]
    return {name: smallest.get(name, "x") for name in needed}, texts


def asking(operation: dict[str, Any], given: dict[str, str] | None = None) -> str:
    """A query that is as small as can be, and what is `given`; nothing where that is nothing."""
    needed = {
        each["name"]: "x" for each in operation["parameters"] if each["in"] == "query" and each["required"]
    }
    query = needed | (given or {})
    return "?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else ""


def probes(document: dict[str, Any], words: list[str], own: list[str]) -> Iterator[tuple[Probe, bool]]:
    """Requests with each of these words wherever a text may stand, and whether it names what must be there.

    Where a path takes two words, `own` ones stand beside them too.
    """
    schemas = document["components"]["schemas"]
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if operation["security"] != [{}]
    ]
    for method, path, operation in sorted(operations, key=lambda each: ORDER.index(each[0])):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        body, fields = (
            bodies(schemas[content["schema"]["$ref"].rpartition("/")[2]]) if content else (None, [])
        )
        places = re.findall(r"{(\w+)}", path)
        for filled in product([*words, *own], repeat=len(places)):
            if places and not set(filled) & set(words):
                continue
            there = bool(
                set(places) - {"user", "owner"}
            )  # where those two are nobody, nothing is found of them
            named = path.format(**dict(zip(places, filled, strict=True)))
            yield (method, named + asking(operation), body, {}), there
        some = path.format(**dict.fromkeys(places, own[0])) if places else path
        for word in words:
            is_name = not IDS.fullmatch(word)
            for field in fields:
                if is_name or word.startswith("conv_") or field not in MAY_NAME:
                    sent = {**(body or {}), field: word}
                    yield (method, some + asking(operation), sent, {}), field in MUST_BE_THERE
            for each in operation["parameters"]:
                name = each["name"]
                if each["in"] == "query":
                    asked = asking(operation, {name: word})
                    yield (method, some + asked, body, {}), name in MUST_BE_THERE
                elif each["in"] == "header" and (is_name or word.startswith("conv_") or name not in MAY_NAME):
                    yield (method, some + asking(operation), body, {name: word}), name in MUST_BE_THERE


def nobodys(word: str) -> str:
    """A word of the same form that stands for nothing."""
    return IDS.sub(lambda match: match[1] + NOBODYS, word) if IDS.fullmatch(word) else f"{word}-of-nobody"


def replaced(probe: Probe, word: str, other: str) -> Probe:
    method, path, body, headers = probe
    text = msgspec.json.encode(body).decode().replace(f'"{word}"', f'"{other}"')
    parts = re.split("([/?=&])", path)
    new_path = "".join(other if part == word else part for part in parts)
    return (
        method,
        new_path,
        msgspec.json.decode(text),
        {name: other if value == word else value for name, value in headers.items()},
    )


def verdict(status: int, answer: bytes) -> tuple[int, Any, Any]:
    """What an answer says, without the words it quotes."""
    if status < 400:
        return status, None, None
    error = msgspec.json.decode(answer)["error"]
    return status, error["code"], error["param"]


async def test_whatever_is_asked_with_her_words_is_answered_as_if_nobody_had_them(
    door: Door, ann: Owner, bob: Owner
) -> None:
    hers = await Hers.made(ann)
    # Somebody's: what is nobody's is open to whomever a request names.
    mine = await bob.ask(said("of bob"), conversation="mine", user="his")
    items = (await bob.read("/v1/conversations/mine/messages?user=his"))["data"]
    own = [mine["palaver-conversation"], items[0]["id"]]
    _, document = await door.get("/openapi.json")
    before = await hers.seen()
    words = hers.ids + hers.names
    tried = 0
    for probe, must_be_there in probes(document, words, own):
        sent = {word for word in words if replaced(probe, word, "x") != probe}
        status, answer, told = await bob.send(*probe)
        blank = probe
        for word in sent:
            blank = replaced(blank, word, nobodys(word))
        assert verdict(status, answer) == verdict(*(await bob.send(*blank))[:2]), probe
        admin = status == 403 and b"`admin`" in answer
        if must_be_there and sent <= set(hers.ids) and not admin:
            assert 400 <= status < 500, (probe, answer)
        in_query = any(word in probe[1].partition("?")[2] for word in sent)
        if must_be_there and sent <= set(hers.ids) and not admin and not in_query:
            assert status == 404, (probe, answer)
        assert status < 500
        assert admin or status != 403
        shown = answer.decode() + "".join(told.values())
        for secret in (*SECRETS, *hers.ids):
            # An id that was sent may be told back, in another of its forms.
            assert secret not in shown or secret[-26:] in {word[-26:] for word in sent}, probe
        tried += 1
    assert tried > 300
    assert await hers.seen() == before
    # What she was being answered goes on to its end.
    assert not hers.reading.done()
    door.hand.put(ContentDelta(" canary-answer"), Finish("stop", Usage(1, 1)))
    status, answer, _ = await hers.reading
    assert (status, b"canary-running" in answer, b"canary-answer" in answer) == (200, True, True)


async def test_lists_hold_nothing_of_the_other(ann: Owner, bob: Owner) -> None:
    await ann.ask(said("canary-question"), user="eve", conversation="notes")
    await ann.ask(said("canary-question"))
    for query in ("", "?include_tasks=true", "?user=eve", "?name=notes", "?user=eve&name=notes"):
        found = await bob.read(f"/v1/conversations{query}")
        assert (found["data"], found["has_more"]) == ([], False)


@pytest.mark.parametrize("user", [None, "eve"])
async def test_the_same_words_never_tie(ann: Owner, bob: Owner, user: str | None) -> None:
    who = {"user": user} if user else {}
    first = await ann.ask(said("canary-question"), **who)
    history = said("canary-question", first["content"], "and on")
    hers = await ann.ask(history, **who)
    assert hers["palaver-conversation"] == first["palaver-conversation"]
    his = await bob.ask(history, **who)
    assert his["palaver-conversation"] != hers["palaver-conversation"]
    # A history that lost its beginning is not tied to hers either.
    cut = said("canary-question", first["content"], "and on", hers["content"], "more")[2:]
    assert (await bob.ask(cut, **who))["palaver-conversation"] != hers["palaver-conversation"]
    items = await ann.read(f"/v1/conversations/{hers['palaver-conversation']}/messages")
    assert len(items["data"]) == 4


@pytest.mark.parametrize(
    "headers",
    [
        {"x-stainless-retry-count": "1"},
        {"Idempotency-Key": "k"},
        {"Idempotency-Key": "k", "x-stainless-retry-count": "2"},
    ],
)
async def test_the_same_request_is_never_joined(ann: Owner, bob: Owner, headers: dict[str, str]) -> None:
    hers = await ann.ask(said("canary-question"), {**headers, "x-stainless-retry-count": "0"})
    assert (await ann.ask(said("canary-question"), headers))["palaver-turn"] == hers["palaver-turn"]
    his = await bob.ask(said("canary-question"), headers)
    assert his["palaver-turn"] != hers["palaver-turn"]
    assert his["palaver-conversation"] != hers["palaver-conversation"]


async def test_a_running_turn_is_not_joined_by_another(door: Door, ann: Owner, bob: Owner) -> None:
    body = {"model": "test/hand", "messages": said("canary-question"), "store": False}
    asking = [asyncio.create_task(ann.send("POST", "/v1/chat/completions", body))]
    await door.hand.began.wait()
    door.hand.began.clear()
    again = {"x-stainless-retry-count": "1"}
    asking.append(asyncio.create_task(bob.send("POST", "/v1/chat/completions", body, again)))
    await door.hand.began.wait()
    for _ in asking:
        door.hand.put(ContentDelta("x"), Finish("stop", Usage(1, 1)))
    answers = await asyncio.gather(*asking)
    assert len({told["palaver-turn"] for _, _, told in answers}) == 2
