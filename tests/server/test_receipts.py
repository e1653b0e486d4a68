"""What the model saw: receipts afterwards, in replies and beforehand; epochs, and how windows are chosen."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import openai
import pytest

from palaver.chat import ChatSettings
from palaver.chat.windows import Shown
from palaver.core.errors import EngineBroke, StoreUnavailable
from palaver.core.turn import Accepted, ContentDelta, Finish, TurnState, Usage
from palaver.core.window_settings import WindowSettings
from palaver.server.app import ServerSettings
from palaver.server.receipt_shapes import EpochRef, receipt_body
from palaver.stores.sqlite_upkeep import check
from tests.receipts import is_that_of
from tests.server.conftest import Door, HandEngine, opened, until
from tests.stores.sqlite_files import tables
from tests.stores.talking import new_epoch, receipt_in

LOCAL = {"authorization": "Bearer local-secret"}
NOBODYS = "01arz3ndektsv4rrffq69g5fav"
TOOL = {"type": "function", "function": {"name": "now", "description": "What time it is."}}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


class Talk:
    """A client that resends its history to the scripted model."""

    def __init__(self, door: Door, **more: Any) -> None:
        self.door = door
        self.more = more
        self.history: list[dict[str, Any]] = []
        self.turn = ""
        self.conversation = ""

    async def say(self, text: str, **more: Any) -> dict[str, Any]:
        """Say something; the whole answer."""
        body = {"model": "scripted", "messages": [*self.history, user(text)], **self.more, **more}
        response, answer = await self.door.post("/v1/chat/completions", body)
        assert response.status == 200, answer
        self.history += [user(text), assistant(answer["choices"][0]["message"]["content"])]
        self.turn = response.headers["palaver-turn"]
        self.conversation = response.headers["palaver-conversation"]
        found: dict[str, Any] = answer
        return found

    async def receipt(self) -> dict[str, Any]:
        """Of its last turn."""
        return await receipt_of(self.door, self.turn)

    async def items(self) -> list[dict[str, Any]]:
        _, page = await self.door.get(f"/v1/conversations/{self.conversation}/messages?order=asc&limit=100")
        data: list[dict[str, Any]] = page["data"]
        return data


async def all_is_counted(door: Door) -> None:
    """Wait until the turns have ended, and what they showed is counted."""
    await until(lambda: not (door.chat._running or door.chat.windows._counting_now))


async def receipt_of(door: Door, turn: str) -> dict[str, Any]:
    """Of a turn that has ended, once its messages are counted."""
    await all_is_counted(door)
    response, body = await door.get(f"/v1/chat/completions/{turn}/receipt")
    assert response.status == 200, body
    found: dict[str, Any] = body
    return found


async def delete(door: Door, path: str) -> None:
    async with door.http.delete(door.address + path) as response:
        assert response.status == 200, await response.text()


def places(receipt: dict[str, Any]) -> list[int]:
    return [message["place"] for message in receipt["messages"]]


def left_out(receipt: dict[str, Any]) -> list[tuple[int, int, str]]:
    return [(each["first"], each["last"], each["why"]) for each in receipt["left_out"]]


async def chunks(response: aiohttp.ClientResponse) -> list[Any]:
    """The data of a stream; its last is ``[DONE]``."""
    lines = (await response.text()).splitlines()
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert data[-1] == "[DONE]"
    return [json.loads(each) for each in data[:-1]]


class TestAfterwards:
    async def test_a_receipt_has_this_shape(self, door: Door) -> None:
        talk = Talk(door)
        talk.history = [system("Be brief."), system("Be kind.")]
        await talk.say("Hello", tools=[TOOL], tool_choice="none")
        receipt = await talk.receipt()
        epoch = receipt.pop("epoch")
        assert epoch.pop("id").startswith("epoch_")
        assert epoch == {"reason": "start", "began": True, "prepared": False}
        (item, _) = await talk.items()
        assert isinstance(receipt["messages"][0].pop("tokens"), int)
        assert isinstance(receipt.pop("prompt_tokens"), int)
        assert receipt == {
            "object": "receipt",
            "turn": talk.turn,
            "conversation": talk.conversation,
            "model": "scripted",
            "window": "strict",
            "context_size": None,
            "reserved": 0,
            "cached_tokens": None,
            "counted": "engine",
            "instructions": 2,
            "tools": 1,
            "path": 1,
            "summary": None,
            "summary_failed": None,
            "messages": [{"place": 0, "id": item["id"], "role": "user", "deleted": False}],
            "notes": [],
            "offers_recall": False,
            "left_out": [],
            "continues": False,
            "warnings": [],
        }

    async def test_it_names_the_messages_that_were_seen(self, door: Door) -> None:
        talk = Talk(door)
        for text in ("one", "two", "three"):
            answer = await talk.say(text)
        receipt = await talk.receipt()
        items = await talk.items()
        assert [(m["id"], m["role"], m["place"]) for m in receipt["messages"]] == [
            (item["id"], item["role"], place) for place, item in enumerate(items[:-1])
        ]
        assert (receipt["path"], receipt["prompt_tokens"]) == (5, answer["usage"]["prompt_tokens"])
        assert sum(m["tokens"] for m in receipt["messages"]) == receipt["prompt_tokens"]
        assert (receipt["epoch"]["reason"], receipt["epoch"]["began"]) == ("start", False)
        first = await receipt_of(door, items[1]["turn"])
        assert (first["epoch"]["id"], first["epoch"]["began"]) == (receipt["epoch"]["id"], True)

    @pytest.mark.parametrize("route", ["chat/completions", "responses"])
    @pytest.mark.parametrize("prefix", ["turn_", "chatcmpl-", "resp_"])
    async def test_any_form_of_the_id_will_do(self, door: Door, route: str, prefix: str) -> None:
        talk = Talk(door)
        await talk.say("Hello")
        receipt = await talk.receipt()
        response, body = await door.get(f"/v1/{route}/{prefix}{talk.turn[-26:]}/receipt")
        assert (response.status, body) == (200, receipt)

    @pytest.mark.parametrize("is_noted", [False, True])
    async def test_a_turn_that_runs_has_one_too(self, tmp_path: Path, is_noted: bool) -> None:
        """From the moment when its prompt is known, which is kept a little later."""
        settings = ChatSettings(log_interval=0.001 if is_noted else 1000)
        async with opened(tmp_path, chat_settings=settings) as door:
            asking = asyncio.create_task(door.ask(model="test/hand", max_tokens=100, window="auto"))
            await door.hand.began.wait()
            turn = next(iter(door.chat._running))
            while is_noted and (await door.chat.store.turn("local", turn)).receipt is None:
                await asyncio.sleep(0.002)
            assert ((await door.chat.store.turn("local", turn)).receipt is not None) is is_noted
            door.hand.put(Accepted(), ContentDelta("So"))
            _, receipt = await door.get(f"/v1/responses/{turn}/receipt")
            assert (receipt["model"], places(receipt), receipt["path"]) == ("test/hand", [0], 1)
            assert (receipt["context_size"], receipt["reserved"]) == (4096, 100)
            assert receipt["messages"][0]["tokens"] is None, "nobody can tell"
            assert receipt["cached_tokens"] is None
            usage = Usage(77, 1, cached_tokens=70)
            door.hand.put(Finish("stop", usage, warnings=["Not quite."]))
            await asking
            ended = await receipt_of(door, turn)
            changed = {
                "prompt_tokens": 77,
                "cached_tokens": 70,
                "counted": "engine",
                "warnings": ["Not quite."],
            }
            assert ended == receipt | changed

    def test_an_epoch_that_was_prepared_while_nobody_waited(self) -> None:
        receipt = receipt_in(new_epoch(reason="overflow"), 3, prepared=True)
        shown = Shown(receipt=receipt, turn=None, conversation=None, steps=[], tokens={})
        assert receipt_body(shown).epoch == EpochRef(
            id=receipt.epoch, reason="overflow", began=True, prepared=True
        )

    @pytest.mark.parametrize("route", ["chat/completions", "responses"])
    @pytest.mark.parametrize("id", [f"chatcmpl-{NOBODYS}", f"resp_{NOBODYS}", "chatcmpl-x", "turn", "%00"])
    async def test_of_a_turn_that_is_not_there(self, door: Door, route: str, id: str) -> None:
        response, body = await door.get(f"/v1/{route}/{id}/receipt")
        assert (response.status, body["error"]["code"]) == (404, "turn_not_found")

    async def test_of_what_was_not_stored(self, door: Door) -> None:
        talk = Talk(door, store=False)
        await talk.say("Hello")
        response, body = await door.get(f"/v1/chat/completions/{talk.turn}/receipt")
        assert (response.status, body["error"]["code"]) == (404, "turn_not_found")

    async def test_of_a_turn_that_came_to_no_window(self, door: Door) -> None:
        response, body = await door.ask("one two three", window={"size": 2})
        assert (response.status, body["error"]["code"]) == (400, "context_length_exceeded")
        turn = response.headers["palaver-turn"]
        response, body = await door.get(f"/v1/chat/completions/{turn}/receipt")
        assert (response.status, body["error"]["code"]) == (404, "no_receipt")

    async def test_of_another_owners_turn(self, tmp_path: Path) -> None:
        async with opened(tmp_path, ServerSettings(local_key="local-secret")) as door:
            keys = {}
            for owner in ("ann", "bob"):
                _, made = await door.post("/v1/keys", {"name": owner, "owner": owner}, LOCAL)
                keys[owner] = {"authorization": f"Bearer {made['key']}"}
            body = {"model": "scripted", "messages": [user("hers")]}
            response, _ = await door.post("/v1/chat/completions", body, keys["ann"])
            turn = response.headers["palaver-turn"]
            for route in ("chat/completions", "responses"):
                path = f"/v1/{route}/{turn}/receipt"
                assert (await door.get(path, keys["ann"]))[0].status == 200
                response, answer = await door.get(path, keys["bob"])
                assert (response.status, answer["error"]["code"]) == (404, "turn_not_found")
                assert (await door.get(path))[0].status == 401

    async def test_of_a_turn_that_was_deleted(self, door: Door) -> None:
        talk = Talk(door)
        await talk.say("Hello")
        await delete(door, f"/v1/chat/completions/{talk.turn}")
        response, body = await door.get(f"/v1/chat/completions/{talk.turn}/receipt")
        assert (response.status, body["error"]["code"]) == (404, "turn_not_found")

    @pytest.mark.parametrize("place", [0, 1, 2, 3, 4])
    async def test_what_was_seen_and_is_deleted_is_named_and_not_quoted(self, door: Door, place: int) -> None:
        talk = Talk(door)
        for text in ("canary one", "canary two", "canary three"):
            await talk.say(text)
        before = await talk.receipt()
        gone = (await talk.items())[place]["id"]
        await delete(door, f"/v1/conversations/{talk.conversation}/items/{gone}")
        after = await talk.receipt()
        expected = [
            message | ({"deleted": True, "tokens": None} if message["id"] == gone else {})
            for message in before["messages"]
        ]
        assert after == before | {"messages": expected}
        assert "canary" not in str(after)

    async def test_what_a_turn_could_not_see_is_told_with_the_reason(self, door: Door) -> None:
        talk = Talk(door)
        for text in ("one", "two", "three"):
            await talk.say(text)
        items = await talk.items()
        await delete(door, f"/v1/conversations/{talk.conversation}/items/{items[1]['id']}")
        answer = await door.post(
            "/v1/chat/completions",
            {"model": "scripted", "messages": [user("four")], "parent": items[-1]["id"]},
        )
        receipt = await receipt_of(door, answer[0].headers["palaver-turn"])
        assert (places(receipt), left_out(receipt)) == ([0, 2, 3, 4, 5, 6], [(1, 1, "deleted")])
        assert (receipt["epoch"]["reason"], receipt["epoch"]["began"]) == ("deletion", True)

    async def test_what_a_client_did_not_send(self, door: Door) -> None:
        talk = Talk(door)
        for text in ("one", "two", "three"):
            await talk.say(text)
        talk.history = talk.history[4:]
        await talk.say("four")
        receipt = await talk.receipt()
        assert (receipt["path"], places(receipt)) == (7, [4, 5, 6])
        assert left_out(receipt) == [(0, 3, "client")]
        assert receipt["left_out"][0]["messages"] == 4

    async def test_what_had_no_room(self, door: Door) -> None:
        talk = Talk(door, window={"mode": "auto", "size": 120, "reserve": 20, "keep": 0.5})
        for number in range(8):
            await talk.say(f"This is number {number}, and it says a bit more than what was said before it.")
        receipt = await talk.receipt()
        first = places(receipt)[0]
        assert 0 < first < 14
        assert left_out(receipt) == [(0, first - 1, "window")]
        assert (receipt["window"], receipt["context_size"], receipt["reserved"]) == ("auto", 120, 20)
        assert receipt["prompt_tokens"] <= 100


class TestInTheReply:
    async def test_it_comes_where_it_is_asked_for(self, door: Door) -> None:
        talk = Talk(door)
        for more in ({}, {"context": False}, {"context": None}):
            assert "context" not in await talk.say("Hello", **more)
        answer = await talk.say("Hello", context=True)
        assert is_that_of(answer["context"], await talk.receipt())
        assert answer["context"]["turn"] == answer["id"]

    @pytest.mark.parametrize("n", [1, 3])
    async def test_streamed_it_comes_with_the_last_chunk(self, door: Door, n: int) -> None:
        body = {"model": "scripted", "messages": [user("Hello")], "stream": True, "n": n}
        for context in (False, True):
            async with door.http.post(
                f"{door.address}/v1/chat/completions", json=body | {"context": context}
            ) as response:
                data = await chunks(response)
            turn = response.headers["palaver-turn"]
            with_one = [number for number, chunk in enumerate(data) if "context" in chunk]
            assert with_one == ([len(data) - 1] if context else [])
        assert is_that_of(data[-1]["context"], await receipt_of(door, turn))
        assert data[-1]["usage"]["prompt_tokens"] == data[-1]["context"]["prompt_tokens"]

    @pytest.mark.parametrize("stream", [False, True])
    async def test_without_being_stored(self, door: Door, stream: bool) -> None:
        messages = [system("Be brief."), user("one"), assistant("1"), user("two")]
        body = {"model": "scripted", "messages": messages, "store": False, "context": True, "stream": stream}
        async with door.http.post(f"{door.address}/v1/chat/completions", json=body) as response:
            answer = (await chunks(response))[-1] if stream else await response.json()
        context = answer["context"]
        assert (context["turn"], context["conversation"]) == (response.headers["palaver-turn"], None)
        assert (places(context), context["instructions"], context["path"]) == ([0, 1, 2], 1, 3)
        assert {message["id"] for message in context["messages"]} == {None}
        assert context["prompt_tokens"] == answer["usage"]["prompt_tokens"]
        assert await door.chat.store.conversations("local", one_shots=True) == []

    async def test_what_failed_has_an_error_and_nothing_else(self, door: Door) -> None:
        response, body = await door.ask("one two three", window={"size": 2}, context=True)
        assert response.status == 400
        assert set(body) == {"id", "error"}

    async def test_a_reply_that_is_told_again_has_it_again(self, door: Door) -> None:
        body = {"model": "scripted", "messages": [user("Hello")], "context": True}
        key = {"Idempotency-Key": "k"}
        _, first = await door.post("/v1/chat/completions", body, key)
        receipt = await receipt_of(door, first["id"])
        _, again = await door.post("/v1/chat/completions", body, key)
        assert again["context"] == receipt
        assert is_that_of(first["context"], receipt)

    async def test_it_changes_nothing_of_the_reply(self, door: Door) -> None:
        answers = [await Talk(door).say("Hello", context=context) for context in (False, True)]
        shown = [{name: answer[name] for name in ("choices", "usage", "model")} for answer in answers]
        assert shown[0] == shown[1]

    async def test_openais_sdk_takes_it(self, door: Door) -> None:
        async with openai.AsyncOpenAI(
            base_url=door.address + "/v1", api_key="any", _strict_response_validation=True
        ) as sdk:
            answer = await sdk.chat.completions.create(
                model="scripted",
                messages=[{"role": "user", "content": "Hello"}],
                extra_body={"context": True, "window": "auto"},
            )
        assert answer.model_extra is not None
        assert answer.model_extra["context"]["window"] == "auto"


async def asked_twice(door: Door, folder: Path, body: dict[str, Any]) -> tuple[Any, Any]:
    """What a dry run foretells, which changes nothing, and the receipt of the same request sent afterwards."""
    await all_is_counted(door)
    before = tables(folder / "palaver.db")
    response, foretold = await door.post("/v1/chat/completions/dry_run", body)
    assert response.status == 200, foretold
    assert "palaver-turn" not in response.headers
    assert tables(folder / "palaver.db") == before
    response, answer = await door.post("/v1/chat/completions", body)
    assert response.status == 200, answer
    return foretold, await receipt_of(door, response.headers["palaver-turn"])


def without_ids(foretold: dict[str, Any], told: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both, as far as they must be the same: before, nothing that is new has an id."""
    assert foretold["turn"] is foretold["conversation"] is None
    fresh = told["epoch"]["began"]
    shown = []
    for receipt in (foretold, told):
        epoch = receipt["epoch"] | ({"id": None} if fresh else {})
        kept = {message["id"] for message in foretold["messages"]}
        messages = [m | {"id": m["id"] if m["id"] in kept else None} for m in receipt["messages"]]
        changed = {"turn": None, "conversation": None, "epoch": epoch, "messages": messages}
        shown.append(receipt | changed)
    return shown[0], shown[1]


REQUESTS: list[dict[str, Any]] = [
    {"messages": "new"},
    {"messages": "new", "window": "auto"},
    {"messages": "more"},
    {"messages": "more", "window": "auto"},
    {"messages": "more", "window": {"mode": "auto", "size": 60, "reserve": 10}},
    {"messages": "more", "window": {"mode": "auto", "size": 60, "reserve": 10, "keep": 0.2}},
    {"messages": "more", "tools": [TOOL], "tool_choice": "none"},
    {"messages": "instructed"},
    {"messages": "instructed", "window": "auto", "max_tokens": 5},
    {"messages": "gap"},
    {"messages": "gap", "window": "auto"},
    {"messages": "edit", "window": "auto"},
    {"messages": "new", "conversation": "room"},
    {"messages": "new", "conversation": "a new one"},
    {"messages": "one", "conversation": "room", "parent": "head"},
    {"messages": "one", "conversation": "a new one", "parent": "head"},
    {
        "messages": "one",
        "conversation": "room",
        "parent": "head",
        "truncation": "disabled",
        "window": {"size": 999},
    },
    {"messages": "one", "parent": 1},
    {"messages": "one", "parent": 3},
    {"messages": "none", "parent": 2},
    {"messages": "more", "user": "somebody"},
    {"messages": "more", "n": 2, "stream": False},
]


class TestBeforehand:
    @pytest.mark.parametrize("settings", [None, {"mode": "auto", "size": 70, "reserve": 10}])
    @pytest.mark.parametrize("asked", REQUESTS, ids=str)
    async def test_what_is_foretold_is_what_comes(
        self, door: Door, tmp_path: Path, asked: dict[str, Any], settings: dict[str, Any] | None
    ) -> None:
        talk = Talk(door, conversation="room", window="auto")
        for number in range(4):
            await talk.say(f"This is number {number}: it says a little more than a word or two.")
        if settings is not None:
            await door.post("/v1/conversations/room/window", settings)
        history, items = talk.history, await talk.items()
        messages = {
            "new": [user("Something else.")],
            "more": [*history, user("And so on.")],
            "instructed": [system("Be brief."), *history, user("And so on.")],
            "gap": [*history[4:], user("And so on.")],
            "edit": [*history[:2], user("Something else.")],
            "one": [user("And so on.")],
            "none": [],
        }[asked["messages"]]
        body = {"model": "scripted", **asked, "messages": messages}
        if isinstance(place := asked.get("parent"), int):
            body["parent"] = items[place]["id"]
        foretold, told = await asked_twice(door, tmp_path, body)
        first, second = without_ids(foretold, told)
        assert first == second

    async def test_nothing_is_foretold_of_another_model_than_the_one_asked(self, door: Door) -> None:
        talk = Talk(door)
        await talk.say("Hello")
        body = {"messages": [*talk.history, user("more")], "max_tokens": 10}
        for model, reason in (("test/hand", "model"), ("gpt", "start")):
            _, foretold = await door.post("/v1/chat/completions/dry_run", {"model": model, **body})
            assert foretold["epoch"]["reason"] == reason
        assert door.hand.windows == []
        assert len(door.scripted.prompts) == 1

    async def test_without_being_stored(self, door: Door) -> None:
        talk = Talk(door, store=False)
        await talk.say("Hello")
        body = {"model": "scripted", "messages": [*talk.history, user("more")], "store": False}
        _, foretold = await door.post("/v1/chat/completions/dry_run", body)
        answer = await talk.say("more", context=True)
        for name in ("window", "prompt_tokens", "counted", "path", "left_out", "context_size"):
            assert foretold[name] == answer["context"][name], name
        assert places(foretold) == places(answer["context"])
        assert [message["role"] for message in foretold["messages"]] == ["user", "assistant", "user"]
        assert {message["id"] for message in foretold["messages"]} == {None}

    async def test_a_request_that_was_answered_is_foretold_as_a_new_one(self, door: Door) -> None:
        body, key = {"model": "scripted", "messages": [user("Hello")]}, {"Idempotency-Key": "k"}
        await door.post("/v1/chat/completions", body, key)
        for headers in (key, key | {"x-stainless-retry-count": "1"}):
            response, foretold = await door.post("/v1/chat/completions/dry_run", body, headers)
            assert (response.status, foretold["turn"]) == (200, None)
        response, _ = await door.post("/v1/chat/completions", body, key)
        assert len(door.scripted.prompts) == 1

    async def test_a_turn_that_would_wait_does_not(self, door: Door) -> None:
        talk = Talk(door, conversation="room")
        await talk.say("Hello")
        body = {"messages": [user("more")], "conversation": "room", "parent": "head"}
        asking = asyncio.create_task(door.post("/v1/chat/completions", {"model": "test/hand", **body}))
        await door.hand.began.wait()
        for policy in ("queue", "branch", "reject"):
            response, foretold = await door.post(
                "/v1/chat/completions/dry_run", {"model": "scripted", **body, "concurrency": policy}
            )
            assert (response.status, places(foretold)) == (200, [0, 1, 2])
        door.hand.put(ContentDelta("x"), Finish("stop"))
        await asking

    @pytest.mark.parametrize(
        ("more", "status", "code", "param"),
        [
            ({"window": {"size": 3}}, 400, "context_length_exceeded", "messages"),
            (
                {"window": {"size": 30, "mode": "auto"}, "messages": [user("word " * 31)]},
                400,
                "context_length_exceeded",
                "messages[0]",
            ),
            ({"window": {"size": 20}, "max_tokens": 18}, 400, "context_length_exceeded", "max_tokens"),
            ({"model": "gpt-99"}, 404, "model_not_available", "model"),
            ({"parent": f"msg_{NOBODYS}"}, 404, "message_not_found", "parent"),
            ({"conversation": f"conv_{NOBODYS}"}, 404, "conversation_not_found", "conversation"),
            ({"parent": "head"}, 400, None, "conversation"),
            ({"parent": "known", "conversation": "a new one"}, 404, "message_not_found", "parent"),
            ({"parent": "known", "user": "another"}, 404, "message_not_found", "parent"),
            ({"parent": "known", "messages": []}, 400, None, "parent"),
            ({"parent": "known", "store": False}, 400, None, "parent"),
            ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "c"}]}, 400, None, None),
            (
                {"messages": [{"role": "tool", "content": "x", "tool_call_id": "c"}], "parent": "known"},
                400,
                None,
                None,
            ),
            ({"model": "test/hand", "tools": [TOOL]}, 400, "unsupported_parameter", "tools"),
            ({"concurrency": "queue"}, 400, None, "concurrency"),
        ],
        ids=str,
    )
    async def test_what_would_be_refused_is_refused_in_the_same_words(
        self,
        door: Door,
        tmp_path: Path,
        more: dict[str, Any],
        status: int,
        code: str | None,
        param: str | None,
    ) -> None:
        talk = Talk(door)
        await talk.say("Hello", user="ann")
        body = {"model": "scripted", "messages": [user("one two three four")], **more}
        if body.get("parent") == "known":
            body["parent"] = (await talk.items())[-1]["id"]
        await all_is_counted(door)
        before = tables(tmp_path / "palaver.db")
        response, foretold = await door.post("/v1/chat/completions/dry_run", body)
        assert tables(tmp_path / "palaver.db") == before
        assert (response.status, foretold["error"]["code"]) == (status, code)
        assert param is None or foretold["error"]["param"] == param
        response, told = await door.post("/v1/chat/completions", body)
        assert (response.status, told["error"]) == (status, foretold["error"])

    @pytest.mark.parametrize(
        ("model", "more", "param"),
        [("test/hand", {}, "parent"), ("scripted", {"n": 2}, "n"), ("scripted", {}, None)],
    )
    async def test_a_reply_that_was_cut_off(
        self, door: Door, model: str, more: dict[str, Any], param: str | None
    ) -> None:
        door.hand.put(Accepted(), ContentDelta("So f"), EngineBroke())
        response, _ = await door.ask(model="test/hand")
        _, page = await door.get(
            f"/v1/conversations/{response.headers['palaver-conversation']}/messages?limit=1"
        )
        body = {"model": model, "messages": [], "parent": page["data"][0]["id"], **more}
        response, foretold = await door.post("/v1/chat/completions/dry_run", body)
        asked, told = await door.post("/v1/chat/completions", body)
        assert response.status == asked.status == (400 if param else 200)
        if param is not None:
            assert foretold["error"] == told["error"]
            assert foretold["error"]["param"] == param
        else:
            receipt = await receipt_of(door, told["id"])
            assert without_ids(foretold, receipt)[0] == without_ids(foretold, receipt)[1]
            assert (foretold["continues"], places(foretold), foretold["path"]) == (True, [0], 1)

    async def test_who_never_asked_is_not_known_afterwards(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as door:
            body = {"model": "scripted", "messages": [user("Hello")], "user": "ada", "conversation": "room"}
            response, _ = await door.post("/v1/chat/completions/dry_run", body)
            assert response.status == 200
            assert {name: rows for name, rows in tables(tmp_path / "palaver.db").items() if rows} == {}

    async def test_too_long_is_told_with_both_numbers(self, tmp_path: Path) -> None:
        async with opened(tmp_path, hand=HandEngine(context=30)) as door:
            body = {"model": "test/hand", "messages": [user("x" * 31)]}
            _, answer = await door.post("/v1/chat/completions/dry_run", body)
            assert "31 tokens" in answer["error"]["message"]
            assert "30 tokens" in answer["error"]["message"]

    async def test_it_needs_a_key_that_may_chat(self, tmp_path: Path) -> None:
        async with opened(tmp_path, ServerSettings(local_key="local-secret")) as door:
            body = {"model": "scripted", "messages": [user("Hello")]}
            for scopes, status in ((["read"], 403), (["chat"], 200)):
                _, made = await door.post("/v1/keys", {"name": "k", "scopes": scopes}, LOCAL)
                key = {"authorization": f"Bearer {made['key']}"}
                response, _ = await door.post("/v1/chat/completions/dry_run", body, key)
                assert response.status == status


class TestEpochs:
    async def test_they_come_the_latest_first_in_pages(self, door: Door) -> None:
        talk = Talk(door, conversation="room", window="auto")
        turns = []
        for number in range(5):
            instructions = [system(f"Be number {number}.")]
            kept = talk.history
            talk.history = [*instructions, *kept]
            await talk.say(f"{number}")
            talk.history = [*kept, *talk.history[-2:]]
            turns.append(talk.turn)
        found, after = [], ""
        while True:
            response, page = await door.get(f"/v1/conversations/room/epochs?limit=2{after}")
            assert response.status == 200, page
            assert len(page["data"]) <= 2
            found += page["data"]
            assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
            if not page["has_more"]:
                break
            after = f"&after={page['last_id']}"
        assert [epoch["first_turn"] for epoch in found] == turns[::-1]
        assert [epoch["reason"] for epoch in found] == ["instructions"] * 4 + ["start"]
        assert found[-1].pop("id").startswith("epoch_")
        assert isinstance(found[-1].pop("created_at"), int)
        assert found[-1] == {
            "object": "epoch",
            "model": "scripted",
            "reason": "start",
            "summary": None,
            "start": 0,
            "gap": None,
            "turns": 1,
            "first_turn": turns[0],
        }

    async def test_an_epoch_counts_its_turns(self, door: Door) -> None:
        talk = Talk(door)
        for text in ("one", "two", "three"):
            await talk.say(text)
        first = (await talk.items())[1]["turn"]
        _, page = await door.get(f"/v1/conversations/{talk.conversation}/epochs")
        assert [(each["turns"], each["first_turn"]) for each in page["data"]] == [(3, first)]
        assert page["data"][0]["id"] == (await talk.receipt())["epoch"]["id"]

    async def test_none_yet(self, door: Door) -> None:
        response, _ = await door.ask("one two three", window={"size": 2}, conversation="room")
        assert response.status == 400
        _, page = await door.get("/v1/conversations/room/epochs")
        assert page == {"object": "list", "data": [], "first_id": "", "last_id": "", "has_more": False}

    async def test_where_there_is_nothing(self, door: Door) -> None:
        talk = Talk(door, conversation="room", user="ada")
        await talk.say("Hello")
        response, body = await door.get(f"/v1/conversations/conv_{NOBODYS}/epochs")
        assert (response.status, body["error"]["code"]) == (404, "conversation_not_found")
        assert (await door.get("/v1/conversations/room/epochs"))[0].status == 404
        assert (await door.get("/v1/conversations/room/epochs?user=ada"))[0].status == 200
        assert (await door.get("/v1/conversations/room/epochs", {"palaver-user": "ada"}))[0].status == 200
        for query in (f"after=epoch_{NOBODYS}", "after=x", "limit=0", "limit=101"):
            response, body = await door.get(f"/v1/conversations/{talk.conversation}/epochs?{query}")
            assert (response.status, body["error"]["param"]) == (400, query.partition("=")[0])


ALL = {
    "mode": "auto",
    "truncation": "auto",
    "size": 4096,
    "keep": 0.25,
    "reserve": 99,
    "context_length_exceeded_behavior": "truncate",
}


class TestSettings:
    @pytest.mark.parametrize(
        "asked", [ALL, {"mode": "strict"}, {"keep": 0.7}, {**ALL, "size": None}], ids=str
    )
    async def test_a_conversation_says_how_its_windows_are_chosen(
        self, door: Door, asked: dict[str, Any]
    ) -> None:
        talk = Talk(door, conversation="room")
        await talk.say("Hello")
        kept = {name: value for name, value in asked.items() if value is not None}
        response, changed = await door.post("/v1/conversations/room/window", asked)
        assert (response.status, changed["id"], changed["window"]) == (200, talk.conversation, kept)
        for ref in ("room", talk.conversation):
            _, found = await door.get(f"/v1/conversations/{ref}")
            assert found["window"] == kept
        _, page = await door.get("/v1/conversations")
        assert [each["window"] for each in page["data"]] == [kept]
        for nothing in ({}, {"mode": None}):
            await door.post("/v1/conversations/room/window", asked)
            response, changed = await door.post("/v1/conversations/room/window", nothing)
            assert (response.status, changed["window"]) == (200, None)
            assert (await door.get("/v1/conversations/room"))[1]["window"] is None

    async def test_it_is_that_of_an_end_user(self, door: Door) -> None:
        for name in ("ada", "bob"):
            await Talk(door, conversation="room", user=name).say("Hello")
        response, _ = await door.post("/v1/conversations/room/window", ALL)
        assert response.status == 404
        await door.post("/v1/conversations/room/window?user=ada", ALL)
        for name, expected in (("ada", ALL), ("bob", None)):
            _, found = await door.get("/v1/conversations/room", {"palaver-user": name})
            assert found["window"] == expected

    @pytest.mark.parametrize(
        ("body", "param", "words"),
        [
            ({"mode": "all"}, "mode", "must be one of strict, auto; not 'all'"),
            ({"mode": 5}, "mode", "must be a string or null, not an integer"),
            ({"truncation": "strict"}, "truncation", "must be one of auto, disabled; not 'strict'"),
            ({"size": 0}, "size", "must be an integer >= 1"),
            ({"keep": 0.99}, "keep", "must be a number <= 0.95"),
            ({"reserve": "much"}, "reserve", "must be an integer or null, not a string"),
            (
                {"context_length_exceeded_behavior": "cut"},
                "context_length_exceeded_behavior",
                "must be one of error, truncate",
            ),
            ({"window": "auto"}, None, "unknown field `window`"),
            ([], None, "must be an object"),
            (None, None, "must be an object"),
            ("auto", None, "must be an object"),
        ],
        ids=str,
    )
    async def test_what_cannot_be_said(self, door: Door, body: Any, param: str | None, words: str) -> None:
        await Talk(door, conversation="room").say("Hello")
        response, answer = await door.post("/v1/conversations/room/window", body)
        assert (response.status, answer["error"]["param"]) == (400, param)
        assert words in answer["error"]["message"]
        assert (await door.get("/v1/conversations/room"))[1]["window"] is None

    async def test_of_a_conversation_that_is_not_there(self, door: Door) -> None:
        for ref in (f"conv_{NOBODYS}", "room"):
            response, body = await door.post(f"/v1/conversations/{ref}/window", ALL)
            assert (response.status, body["error"]["code"]) == (404, "conversation_not_found")

    async def test_who_is_nearer_to_the_request_goes_first(self, tmp_path: Path) -> None:
        """Request, conversation, API key, server: what one does not say is left to the next."""
        settings = ChatSettings(window=WindowSettings(mode="auto", size=1000, reserve=10))
        async with opened(tmp_path, ServerSettings(local_key="local-secret"), settings) as door:
            _, made = await door.post(
                "/v1/keys", {"name": "k", "window": {"size": 900, "reserve": 20}}, LOCAL
            )
            _, other = await door.post("/v1/keys", {"name": "k"}, LOCAL)
            key, plain = ({"authorization": f"Bearer {each['key']}"} for each in (made, other))

            async def seen(headers: dict[str, str], **more: Any) -> tuple[str, int, int]:
                body = {"model": "scripted", "messages": [user("Hello")], "context": True, **more}
                response, answer = await door.post("/v1/chat/completions", body, headers)
                assert response.status == 200, answer
                context = answer["context"]
                _, foretold = await door.post("/v1/chat/completions/dry_run", body, headers)
                for name in ("window", "context_size", "reserved"):
                    assert foretold[name] == context[name]
                return context["window"], context["context_size"], context["reserved"]

            assert await seen(plain) == ("auto", 1000, 10)
            assert await seen(key) == ("auto", 900, 20)
            assert await seen(key, conversation="room") == ("auto", 900, 20)
            await door.post("/v1/conversations/room/window", {"mode": "strict", "reserve": 30}, key)
            assert await seen(key, conversation="room") == ("strict", 900, 0)
            assert await seen(plain, conversation="room") == ("strict", 1000, 0)
            assert await seen(key, conversation="room", window={"reserve": 40}) == ("strict", 900, 0)
            assert await seen(key, conversation="room", window="auto") == ("auto", 900, 30)
            assert await seen(plain, conversation="room", window="auto") == ("auto", 1000, 30)
            both = {"mode": "auto", "reserve": 40}
            assert await seen(key, conversation="room", window=both) == ("auto", 900, 40)
            assert await seen(key, conversation="room", truncation="auto") == ("auto", 900, 30)
            assert await seen(key, window="strict", store=False) == ("strict", 900, 0)

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            ({}, "strict"),
            ({"window": "strict"}, "strict"),
            ({"window": "auto"}, "auto"),
            ({"window": {"mode": "auto"}}, "auto"),
            ({"window": {}}, "strict"),
            ({"window": None, "truncation": None}, "strict"),
            ({"truncation": "auto"}, "auto"),
            ({"truncation": "disabled"}, "strict"),
            ({"window": "auto", "truncation": "auto"}, "auto"),
            ({"window": "strict", "truncation": "disabled"}, "strict"),
        ],
        ids=str,
    )
    async def test_how_a_resent_history_is_shown(
        self, door: Door, asked: dict[str, Any], expected: str
    ) -> None:
        answer = await Talk(door).say("Hello", context=True, **asked)
        assert answer["context"]["window"] == expected

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            ({}, "auto"),
            ({"window": "strict"}, "strict"),
            ({"truncation": "disabled"}, "strict"),
            ({"truncation": "auto"}, "auto"),
        ],
        ids=str,
    )
    async def test_how_a_turn_below_a_message_is_shown(
        self, door: Door, asked: dict[str, Any], expected: str
    ) -> None:
        talk = Talk(door)
        await talk.say("Hello")
        parent = (await talk.items())[-1]["id"]
        body = {"model": "scripted", "messages": [user("more")], "parent": parent, "context": True, **asked}
        _, answer = await door.post("/v1/chat/completions", body)
        assert answer["context"]["window"] == expected

    async def test_what_is_kept_can_be_said(self, door: Door) -> None:
        """A smaller share leaves more out when there is no more room."""
        starts = []
        for keep in (0.05, 0.9):
            talk = Talk(door, window={"mode": "auto", "size": 200, "reserve": 10, "keep": keep})
            while (
                not (await talk.say("Some words are said, and then some more.", user=f"{keep}"))["id"]
                or (await talk.receipt())["epoch"]["reason"] != "overflow"
            ):
                assert len(talk.history) < 100
            receipt = await talk.receipt()
            starts.append(receipt["path"] - places(receipt)[0])
        assert starts[0] < starts[1]


class TestKeys:
    @pytest.fixture
    def settings(self) -> ServerSettings:
        return ServerSettings(local_key="local-secret")

    async def test_a_key_says_how_windows_are_chosen_for_it(
        self, tmp_path: Path, settings: ServerSettings
    ) -> None:
        async with opened(tmp_path, settings) as door:
            made = []
            for window in (ALL, None, {}):
                response, key = await door.post("/v1/keys", {"name": "k", "window": window}, LOCAL)
                assert (response.status, key["window"]) == (200, window)
                made.append(key)
            _, without = await door.post("/v1/keys", {"name": "k"}, LOCAL)
            assert without["window"] is None
            _, listed = await door.get("/v1/keys", LOCAL)
            assert [key["window"] for key in listed["data"]] == [ALL, None, {}, None]
            async with door.http.delete(f"{door.address}/v1/keys/{made[0]['id']}", headers=LOCAL) as response:
                assert (await response.json())["window"] == ALL

    @pytest.mark.parametrize(
        ("window", "param", "words"),
        [
            ("auto", "window", "must be an object or null, not a string"),
            ({"mode": "all"}, "window.mode", "must be one of strict, auto; not 'all'"),
            ({"truncation": "x"}, "window.truncation", "must be one of auto, disabled"),
            ({"keep": 0}, "window.keep", "must be a number >= 0.05"),
            ({"hold": 1}, "window", "unknown field `hold`"),
        ],
        ids=str,
    )
    async def test_a_key_that_cannot_be_is_not_made(
        self, tmp_path: Path, settings: ServerSettings, window: Any, param: str, words: str
    ) -> None:
        async with opened(tmp_path, settings) as door:
            response, body = await door.post("/v1/keys", {"name": "k", "window": window}, LOCAL)
            assert (response.status, body["error"]["param"]) == (400, param)
            assert words in body["error"]["message"]
            assert await door.chat.store.api_keys() == []


async def test_what_is_kept_of_windows_quotes_nothing_and_is_as_it_must_be(
    door: Door, tmp_path: Path
) -> None:
    talk = Talk(door, conversation="canary", user="canary", window={"mode": "auto", "size": 90, "reserve": 9})
    tools = [{"type": "function", "function": {"name": "canary", "description": "A canary."}}]
    for number in range(8):
        kept = talk.history
        talk.history = [system(f"Be canary {number % 3}."), *kept]
        await talk.say(f"canary {number}, and some more words about that", tools=tools, tool_choice="none")
        talk.history = [*kept, *talk.history[-2:]]
    await talk.receipt()
    found = tables(tmp_path / "palaver.db")
    receipts = [row["receipt"] for row in found["turns"]]
    assert len(receipts) == 8
    assert len(found["epochs"]) > 2
    assert len(found["message_counts"]) >= 8
    assert "canary" not in repr([receipts, found["epochs"], found["tokenizers"]])
    assert check(tmp_path / "palaver.db").findings == []


async def test_the_settings_that_were_chosen_are_stored_as_they_were(door: Door) -> None:
    """And nothing that nobody said."""
    talk = Talk(door, conversation="room")
    await talk.say("Hello")
    await door.post("/v1/conversations/room/window", {"mode": "auto"})
    found = await door.chat.store.conversation("local", "room")
    assert found.window == WindowSettings(mode="auto")
    assert msgspec.json.encode(found.window) == b'{"mode":"auto"}'


async def test_a_receipt_that_cannot_be_read_costs_no_reply(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply is whole and stored: who asked for its context gets it without."""

    async def broken(*args: object) -> None:
        raise StoreUnavailable("not now")

    monkeypatch.setattr(door.chat.windows, "receipt", broken)
    answer = await Talk(door).say("Hello", context=True)
    assert "context" not in answer
    await door.until_ended(answer["id"], TurnState.COMPLETED)
