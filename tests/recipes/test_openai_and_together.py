"""docs/recipes/openai-sdk.md and together-sdk.md: the real SDKs in Python, and what openai-node sends.

`tests/sdks` has the whole API with both, in both languages; here is what their recipes say.
"""

from __future__ import annotations

from typing import Any

import openai
import pytest
import together

from tests.recipes.apps import App, hidden, kept
from tests.server.conftest import Door

NODE = {"authorization": "Bearer any", "user-agent": "OpenAI/JS 6.49.0", "x-stainless-lang": "js"}


def user(text: str) -> Any:
    """A message, for which each SDK has a type of its own."""
    return {"role": "user", "content": text}


@pytest.fixture
def client(door: Door, monkeypatch: pytest.MonkeyPatch) -> openai.AsyncOpenAI:
    """As the environment has it."""
    monkeypatch.setenv("OPENAI_BASE_URL", door.address + "/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    return openai.AsyncOpenAI(max_retries=0)


async def test_openai_by_its_environment(door: Door, client: openai.AsyncOpenAI) -> None:
    async with client:
        history: list[Any] = []
        for i in range(3):
            history.append(user(f"Question {i}"))
            reply = await client.chat.completions.create(model="scripted", messages=history)
            history.append(reply.choices[0].message)
        async with client.chat.completions.stream(
            model="scripted", messages=[*history, user("Last")]
        ) as stream:
            final = await stream.get_final_completion()
        assert final.usage
    assert await kept(door) == [("Question 0", 8)]


async def test_openai_names_a_conversation_and_a_user(door: Door, client: openai.AsyncOpenAI) -> None:
    async with client:
        made = await client.chat.completions.with_raw_response.create(
            model="scripted", messages=[user("Hi")], user="ann", extra_body={"conversation": "trip"}
        )
        assert made.headers["palaver-conversation"].startswith("conv_")
        await client.chat.completions.create(
            model="scripted",
            messages=[user("Again")],
            user="ann",
            extra_body={"conversation": "trip", "parent": "head"},
        )
    assert await kept(door, name="trip", user="ann") == [("Hi", 4)]


async def test_openai_looks_up_models_with_a_slash(client: openai.AsyncOpenAI) -> None:
    async with client:
        names = [model.id async for model in client.models.list()]
        assert [(await client.models.retrieve(name)).id for name in names] == ["scripted", "test/hand"]


async def test_openai_vectors(client: openai.AsyncOpenAI) -> None:
    async with client:
        plain = await client.embeddings.create(model="scripted", input="Hi")
        asked = await client.embeddings.create(model="scripted", input="Hi", encoding_format="float")
        assert plain.data[0].embedding == pytest.approx(asked.data[0].embedding)


async def test_openai_goes_on_by_responses(door: Door, client: openai.AsyncOpenAI) -> None:
    """Where chat completions were left off, by a name, by an id, or by a history."""
    async with client:
        await client.chat.completions.create(
            model="scripted", messages=[user("Hi")], user="ann", extra_body={"conversation": "trip"}
        )
        more = await client.responses.create(model="scripted", input="Two", user="ann", conversation="trip")
        last = await client.responses.create(model="scripted", input="Three", previous_response_id=more.id)
        history = await client.conversations.items.list(
            last.conversation.id if last.conversation else "", order="asc"
        )
        again: list[Any] = [item.model_dump(exclude_none=True) for item in history.data]
        await client.responses.create(model="scripted", input=[*again, user("Four")], user="ann")
    assert await kept(door, name="trip", user="ann") == [("Hi", 8)]


async def test_openai_node_decodes_vectors_without_a_look(door: Door) -> None:
    """It asks for base64 by itself; from a list of numbers versions before 7 make zeros."""
    body = {"model": "scripted", "input": "Hi", "encoding_format": "base64"}
    (found,) = (await App(door, NODE).ask(body, "/v1/embeddings")).body["data"]
    assert isinstance(found["embedding"], str)


@pytest.mark.parametrize("suffix", ["", "/v1"], ids=["as_documented", "with_v1"])
async def test_together(door: Door, suffix: str) -> None:
    """Its base URL has no ``/v1``; with one it posts to ``/v1/v1/…``, which is answered as well."""
    async with together.AsyncTogether(base_url=door.address + suffix, api_key="any", max_retries=0) as client:
        history: list[Any] = []
        for i in range(2):
            history.append(user(f"Question {i}"))
            reply = await client.chat.completions.create(
                model="scripted", messages=history, top_k=4, min_p=0.1, repetition_penalty=1.1
            )
            message = reply.choices[0].message
            assert message
            history.append(message.model_dump(exclude_none=True))
        vectors = await client.embeddings.create(model="scripted", input="Hi")
        text = await client.completions.create(model="scripted", prompt="Once")
    assert vectors.data[0].embedding
    assert text.choices[0].text
    assert await kept(door) == [("Question 0", 4)]


async def test_together_2_lists_models_as_a_bare_array(door: Door) -> None:
    """3.x asks for a project's models instead, which are none of ours."""
    listed = await App(door, {"user-agent": "Together/Python 2.42.0"}).get("/v1/models")
    assert [each["id"] for each in listed] == ["scripted", "test/hand"]
    async with together.AsyncTogether(base_url=door.address, api_key="any", max_retries=0) as client:
        with pytest.raises((together.NotFoundError, ValueError)):
            await client.models.list()
    assert await hidden(door) == []
