"""docs/recipes/open-webui.md: the requests of Open WebUI 0.12 in their order, from its own server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.recipes.apps import App, Body, Streamed, Whole, hidden, kept, result, roles, said, tool, user
from tests.server.conftest import Door

HEADERS = {
    "accept": "*/*",
    "accept-encoding": "gzip, deflate, br",
    "authorization": "Bearer sk-any",
    "user-agent": "Python/3.11 aiohttp/3.14.5",
}
CHAT_ID = "3412344f-39bb-4115-b104-6749c5b8029f"
FORWARDED = {
    "X-OpenWebUI-Auth-Type": "jwt",
    "X-OpenWebUI-User-Name": "Zo%C3%AB",
    "X-OpenWebUI-User-Id": "3d0f4155-e5e6-4ab9-b2b9-37ae0ce32217",
    "X-OpenWebUI-User-Email": "zoe@example.com",
    "X-OpenWebUI-User-Role": "admin",
    "X-OpenWebUI-Chat-Id": CHAT_ID,
}
TOOLS = [
    tool("get_current_timestamp"),
    tool("calculate_timestamp", days_ago={"default": 0, "type": "integer"}),
    tool("search_chats", "query"),
    tool("write_note", "title", "content"),
]
TITLE = "### Task:\nMake a concise title of the chat.\n"
FOLLOW_UPS = "### Task:\nName useful messages that might come next.\n"
TAGS = "### Task:\nFind broad tags for the chat.\n"
SETTINGS = {
    "temperature": 0.3,
    "top_p": 0.9,
    "top_k": 5,
    "min_p": 0.1,
    "max_tokens": 50,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.1,
    "repeat_penalty": 1.1,
    "seed": 3,
    "stop": ["X"],
    "reasoning_effort": "low",
    "mirostat": 1,
    "num_ctx": 2048,
    "think": True,
    "keep_alive": "5m",
    "chat_template_kwargs": {"enable_thinking": False},
}


class OpenWebUI(App):
    """Open WebUI with one chat open. `history` is what the chat shows."""

    def __init__(self, door: Door, forwarded: bool = False) -> None:
        super().__init__(door, HEADERS | (FORWARDED if forwarded else {}))
        self.history: list[Body] = []

    async def chore(self, task: str, answered: str = "", **more: Any) -> Whole:
        shown = "".join(f"{each['role'].upper()}: {each['content']}\n" for each in self.history)
        text = f"{task}### Chat History:\n<chat_history>\n{shown}ASSISTANT: {answered}\n</chat_history>"
        whole = await self.ask({"model": "scripted", "messages": [user(text)], "stream": False, **more})
        assert whole.status == 200, whole.body
        return whole

    async def answer(self, **more: Any) -> Streamed:
        body = {"stream": True, "model": "scripted", "messages": self.history, "tools": TOOLS, **more}
        return await self.stream(body)

    async def turn(self, text: str, **more: Any) -> Streamed:
        """All that a message of the user sets off: on the first a title before it; tags and follow-ups after it."""
        is_first = not self.history
        self.history.append(user(text))
        if is_first:
            title = await self.chore(TITLE, max_tokens=1000)
            assert title.text == '{ "title": "A Greeting" }'
        reply = await self.answer(**more)
        while reply.calls:
            self.history += [said(reply, ""), result(reply, '{"current_iso":"2026-11-23T12:00:00+00:00"}')]
            reply = await self.answer(**more)
        self.history.append(said(reply))
        assert "follow_ups" in (await self.chore(FOLLOW_UPS, reply.text)).text
        if is_first:
            assert "tags" in (await self.chore(TAGS, reply.text)).text
        return reply


@pytest.fixture(params=[False, True], ids=["plain", "forwarded"])
def webui(door: Door, request: pytest.FixtureRequest) -> OpenWebUI:
    return OpenWebUI(door, forwarded=request.param)


@pytest.mark.parametrize("key", [{}, {"authorization": "Bearer sk-any"}], ids=["without_key", "with_key"])
async def test_the_connection_is_verified_and_models_are_listed(door: Door, key: dict[str, str]) -> None:
    headers = {name: value for name, value in HEADERS.items() if name != "authorization"}
    listed = await App(door, headers | key).get("/v1/models")
    assert [model["id"] for model in listed["data"]] == ["scripted", "test/hand"]
    assert not any(model.get("pipeline") for model in listed["data"])  # with it, `user` would be an object


async def test_three_turns_are_one_conversation_and_chores_are_hidden(door: Door, webui: OpenWebUI) -> None:
    one = await webui.turn("Hi there")
    two = await webui.turn("And now?")
    three = await webui.turn("what time is it?")
    assert one.conversation == two.conversation == three.conversation
    assert await kept(door) == [("Hi there", 8)]
    assert await roles(door, one.conversation) == [
        *["user", "assistant"] * 2,
        *["user", "assistant", "tool", "assistant"],
    ]
    assert three.text == "It is noon."


async def test_without_the_chats_id_each_chore_is_one_that_lists_leave_out(door: Door) -> None:
    await OpenWebUI(door).turn("Hi there")
    assert len(await hidden(door)) == 4  # and so is the chat, until its second turn
    assert await kept(door) == []


async def test_chores_of_a_named_chat_are_beside_it(door: Door) -> None:
    """The first of them comes before the chat's own first question, and names the chat as well."""
    webui = OpenWebUI(door, forwarded=True)
    reply = await webui.turn("Hi there")
    assert await kept(door) == [("Hi there", 2)]
    assert await hidden(door) == []
    assert await roles(door, reply.conversation) == ["user", "assistant"]
    _, found = await door.get(f"/v1/conversations/{CHAT_ID}?user={FORWARDED['X-OpenWebUI-User-Id']}")
    assert found["user"] == FORWARDED["X-OpenWebUI-User-Id"]
    _, tree = await door.get(f"/v1/conversations/{reply.conversation}/tree")
    assert len(tree["data"]) == 8, "whoever deletes the conversation deletes what its chores quote"
    assert reply.conversation == found["id"]


async def test_a_chore_whose_chat_never_comes_shows_nothing(door: Door) -> None:
    webui = OpenWebUI(door, forwarded=True)
    webui.history = [user("Hi there")]
    await webui.chore(TITLE, max_tokens=1000)
    assert await kept(door) == []


async def test_an_answer_is_made_again(door: Door, webui: OpenWebUI) -> None:
    await webui.turn("Hi there")
    first = await webui.turn("And now?", seed=1)
    webui.history.pop()
    again = await webui.answer(seed=2)
    assert again.text != first.text
    assert again.conversation == first.conversation
    assert await kept(door) == [("Hi there", 4)]


async def test_an_edited_question_is_a_branch(door: Door, webui: OpenWebUI) -> None:
    await webui.turn("Hi there")
    first = await webui.turn("And now?")
    webui.history = [*webui.history[:2], user("And then?")]
    assert (await webui.answer()).conversation == first.conversation
    assert await kept(door) == [("Hi there", 4)]


async def test_the_stop_button_closes_the_connection(door: Door, webui: OpenWebUI) -> None:
    """What was shown until then is sent back as the answer, and the chat goes on from there."""
    await webui.turn("Hi there")
    webui.history.append(user("tell a long story"))
    body = {"stream": True, "model": "scripted", "messages": webui.history, "tools": TOOLS}
    stopped = await webui.stream(body, leave_after=3)
    webui.history.append({"role": "assistant", "content": stopped.text})
    assert stopped.text == "Once upon a"
    assert (await webui.turn("Go on")).conversation == stopped.conversation
    assert await kept(door) == [("Hi there", 6)]


async def test_every_control_of_a_chat_may_be_set(door: Door, webui: OpenWebUI) -> None:
    """They come as they are, also those that only Ollama knows."""
    await webui.turn("Hi there", **SETTINGS)
    parameters = door.scripted.asked[1].parameters
    assert (parameters.temperature, parameters.top_k, parameters.min_p) == (0.3, 5, 0.1)
    assert parameters.reasoning_effort == "low"
    assert parameters.chat_template_kwargs == {"enable_thinking": False}


async def test_a_chat_without_streams_shows_itself_from_its_second_message_on(door: Door) -> None:
    """Its first one has the form of a chore."""
    webui = OpenWebUI(door, forwarded=True)
    first = await webui.ask({"model": "scripted", "messages": [user("Hi there")], "stream": False})
    assert await kept(door) == []
    history = [user("Hi there"), said(first), user("And now?")]
    second = await webui.ask({"model": "scripted", "messages": history, "stream": False})
    assert second.conversation == first.conversation
    assert [messages for _, messages in await kept(door)] == [4]


async def test_the_continue_button_of_the_provider_llama_cpp_is_refused(webui: OpenWebUI) -> None:
    webui.history = [user("Hi"), {"role": "assistant", "content": "Hel"}]
    refused = await webui.answer(continue_final_message=True, add_generation_prompt=False)
    assert refused.status == 400
    assert refused.error
    assert refused.error["param"] in ("continue_final_message", "add_generation_prompt")


async def test_errors_are_shown(webui: OpenWebUI) -> None:
    webui.history = [user("be away")]
    away = await webui.answer()
    assert (away.status, away.error and away.error["code"]) == (503, "engine_unavailable")
    webui.history = [user("break off")]
    broken = await webui.answer()
    assert broken.text == "It begins"
    assert broken.error
    assert "choices" not in broken.chunks[-1]


async def test_pictures_and_thinking(webui: OpenWebUI) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,eHg="}}
    webui.history = [{"role": "user", "content": [{"type": "text", "text": "think hard"}, picture]}]
    reply = await webui.answer(stream_options={"include_usage": True})
    assert (reply.reasoning, reply.text) == ("Let me see.", "Forty-two.")


@pytest.mark.parametrize("given", ["hello", ["hello", "again"]])
async def test_vectors_of_documents_are_numbers(webui: OpenWebUI, given: str | list[str]) -> None:
    whole = await webui.ask({"input": given, "model": "scripted"}, "/v1/embeddings")
    assert [each["index"] for each in whole.body["data"]] == list(range(len(given) if len(given) == 2 else 1))
    assert all(isinstance(number, float) for each in whole.body["data"] for number in each["embedding"])
