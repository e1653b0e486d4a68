"""Responses through the official Python SDK, which checks each reply strictly, against a served palaver."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.sdks.stateful import CITIES, sdk, stateful

__all__ = ["sdk", "stateful"]

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "How it is outside.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
IMAGE = "data:image/png;base64,iVBORw0KGgo="


class Weather(BaseModel):
    city: str
    degrees: int


async def test_one_goes_on_from_another(sdk: openai.AsyncOpenAI) -> None:
    first = await sdk.responses.create(
        model="scripted",
        input="Hello",
        instructions="Be brief.",
        metadata={"topic": "demo"},
        temperature=0.5,
        top_p=0.9,
        max_output_tokens=100,
        safety_identifier="ada",
        truncation="auto",
    )
    assert first.output_text.startswith("Reply 1 to: Hello")
    assert (first.status, first.instructions, first.metadata) == ("completed", "Be brief.", {"topic": "demo"})
    assert (first.temperature, first.top_p, first.max_output_tokens) == (0.5, 0.9, 100)
    assert (first.safety_identifier, first.truncation) == ("ada", "auto")
    assert first.usage is not None
    assert first.usage.total_tokens == first.usage.input_tokens + first.usage.output_tokens
    assert await sdk.responses.retrieve(first.id) == first
    more = await sdk.responses.create(model="scripted", input="More", previous_response_id=first.id)
    assert more.output_text.startswith("Reply 2 to: More")
    assert (more.previous_response_id, more.conversation) == (first.id, first.conversation)
    assert more.instructions is None
    other = await sdk.responses.create(model="scripted", input="Or else", previous_response_id=first.id)
    assert other.output_text.startswith("Reply 2 to: Or else")
    assert other.conversation is not None
    head = await sdk.responses.create(model="scripted", input="On", conversation=other.conversation.id)
    assert (head.conversation, head.output_text.startswith("Reply 3 to: On")) == (other.conversation, True)


async def test_all_forms_of_input(sdk: openai.AsyncOpenAI) -> None:
    first = await sdk.responses.create(
        model="scripted",
        input=[
            {"role": "developer", "content": "Be kind."},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Look"}]},
            {"role": "assistant", "content": "I looked."},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Think of it"},
                    {"type": "input_image", "image_url": IMAGE, "detail": "auto"},
                    {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,QQ=="},
                ],
            },
        ],
        reasoning={"effort": "high"},
    )
    assert first.output_text == "Forty two."
    assert [item.type for item in first.output] == ["reasoning", "message"]
    asked: list[Any] = [item async for item in sdk.responses.input_items.list(first.id, order="asc")]
    assert [item.role for item in asked] == ["developer", "user", "assistant", "user"]
    assert [part.type for part in asked[3].content] == ["input_text", "input_image", "input_file"]
    sent: list[Any] = [item.model_dump(exclude_unset=True) for item in [*asked, *first.output]]
    again = await sdk.responses.create(
        model="scripted",
        input=[*sent, {"role": "user", "content": "And now?"}],
    )
    assert again.conversation == first.conversation
    assert again.output_text.startswith("Reply 3 to: And now?")
    reference: Any = {"type": "item_reference", "id": asked[1].id}
    third = await sdk.responses.create(
        model="scripted", input=[reference, {"role": "user", "content": "What was that?"}]
    )
    asked = [item async for item in sdk.responses.input_items.list(third.id, order="asc")]
    assert [item.content[0].text for item in asked] == ["Look", "What was that?"]


async def test_input_items_page_by_page(sdk: openai.AsyncOpenAI) -> None:
    items: list[Any] = [
        {"role": "assistant" if number % 2 else "user", "content": f"Number {number}"} for number in range(7)
    ]
    response = await sdk.responses.create(model="scripted", input=items)
    for limit in (1, 3, 100):
        pages = sdk.responses.input_items.list(response.id, limit=limit)
        found: list[Any] = [item async for item in pages]
        assert [item.content[0].text for item in found] == [f"Number {n}" for n in range(6, -1, -1)]
    page = await sdk.responses.input_items.list(response.id, limit=3, order="asc")
    assert [page.has_more, len(page.data)] == [True, 3]
    assert response.output[0].id not in {item.id for item in found}


async def test_text_of_a_form(sdk: openai.AsyncOpenAI) -> None:
    parsed = await sdk.responses.parse(model="scripted", input="Weather?", text_format=Weather)
    assert isinstance(parsed.output_parsed, Weather)
    assert parsed.text is not None
    assert parsed.text.format is not None
    assert parsed.text.format.type == "json_schema"
    async with sdk.responses.stream(model="scripted", input="Weather?", text_format=Weather) as stream:
        done = [event.parsed async for event in stream if event.type == "response.output_text.done"]
        final = await stream.get_final_response()
    assert done == [final.output_parsed]
    assert isinstance(final.output_parsed, Weather)
    loose = await sdk.responses.create(
        model="scripted", input="Weather?", text={"format": {"type": "json_object"}}
    )
    assert loose.output_text.startswith('{"reply"')


async def test_functions_in_parallel(sdk: openai.AsyncOpenAI) -> None:
    async with sdk.responses.stream(model="scripted", input="The weather?", tools=[WEATHER]) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    done = [event.arguments for event in events if event.type == "response.function_call_arguments.done"]
    assert done == [f'{{"city": "{city}"}}' for city in CITIES]
    calls: list[Any] = [item for item in final.output if item.type == "function_call"]
    assert [item.type for item in final.output] == ["message", "function_call", "function_call"]
    results: Any = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "Rain"} for call in calls
    ]
    answer = await sdk.responses.create(
        model="scripted", input=results, previous_response_id=final.id, tools=[WEATHER]
    )
    assert answer.output_text == "It rains in both."
    asked = [item async for item in sdk.responses.input_items.list(answer.id, order="asc")]
    assert [item.type for item in asked] == ["function_call_output"] * 2
    one = await sdk.responses.create(
        model="scripted", input="The weather?", tools=[WEATHER], parallel_tool_calls=False
    )
    assert [item.type for item in one.output] == ["message", "function_call"]


async def test_functions_of_pydantic(sdk: openai.AsyncOpenAI) -> None:
    tool: Any = openai.pydantic_function_tool(Weather)
    parsed = await sdk.responses.parse(
        model="scripted", input="Anything", tools=[tool], tool_choice="required"
    )
    (call,) = parsed.output
    assert call.type == "function_call"
    assert isinstance(call.parsed_arguments, Weather)


async def test_log_probabilities(sdk: openai.AsyncOpenAI) -> None:
    response = await sdk.responses.create(
        model="scripted", input="Think", include=["message.output_text.logprobs"], top_logprobs=2
    )
    content: Any = response.output[-1]
    assert [token.token for token in content.content[0].logprobs] == ["Forty", " two."]
    assert [len(token.top_logprobs) for token in content.content[0].logprobs] == [2, 2]
    assert response.top_logprobs == 2


async def test_counting_asks_nobody(sdk: openai.AsyncOpenAI) -> None:
    first = await sdk.responses.create(model="scripted", input="Hello")
    counted = await sdk.responses.input_tokens.count(
        model="scripted", input="More of it", previous_response_id=first.id
    )
    assert counted.object == "response.input_tokens"
    more = await sdk.responses.create(model="scripted", input="More of it", previous_response_id=first.id)
    assert more.usage is not None
    assert more.usage.input_tokens == counted.input_tokens


async def test_compacting(sdk: openai.AsyncOpenAI) -> None:
    first = await sdk.responses.create(model="scripted", input="Hello")
    # The user's messages, which the documentation puts first, are no members of the type that it has for the output.
    async with openai.AsyncOpenAI(base_url=sdk.base_url, api_key="any", max_retries=0) as loose:
        made: Any = await loose.responses.compact(
            model="scripted", previous_response_id=first.id, input="More"
        )
    assert (made.object, made.output[-1].type) == ("response.compaction", "compaction")
    assert [item.content[0].text for item in made.output[:-1]] == ["Hello", "More"]
    sent: list[Any] = [item.model_dump(exclude_unset=True, warnings=False) for item in made.output]
    after = await sdk.responses.create(
        model="scripted", input=[*sent, {"role": "user", "content": "What was it?"}]
    )
    assert after.output_text.startswith("Reply 3 to: What was it?")
    forged: Any = {"type": "compaction", "id": "cmp_x", "encrypted_content": "forged"}
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.responses.create(model="scripted", input=[forged, {"role": "user", "content": "And?"}])
    assert caught.value.param == "input[0].encrypted_content"


async def test_deleting(sdk: openai.AsyncOpenAI) -> None:
    response = await sdk.responses.create(model="scripted", input="Hello")
    await sdk.responses.delete(response.id)
    for look in (
        sdk.responses.retrieve(response.id),
        sdk.responses.cancel(response.id),
        sdk.responses.input_items.list(response.id),
    ):
        with pytest.raises(openai.NotFoundError):
            await look
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.responses.create(model="scripted", input="More", previous_response_id=response.id)
    assert (caught.value.code, caught.value.param) == ("previous_response_not_found", "previous_response_id")


async def test_what_is_wrong_is_named(sdk: openai.AsyncOpenAI) -> None:
    first = await sdk.responses.create(model="scripted", input="Hello", conversation="wrong")
    output: Any = {"type": "function_call_output", "call_id": "call_none", "output": "x"}
    both: Any = {"input": "x", "previous_response_id": first.id, "conversation": "wrong"}
    wrong: dict[str, dict[str, Any]] = {
        "conversation": both,
        "input": {},
        "input[0].call_id": {"input": [output], "previous_response_id": first.id},
        "max_output_tokens": {"input": "x", "max_output_tokens": 3},
        "tools[0].type": {"input": "x", "tools": [{"type": "web_search"}]},
        "include[0]": {"input": "x", "include": ["everything"]},
    }
    for param, fields in wrong.items():
        with pytest.raises(openai.BadRequestError) as caught:
            await sdk.responses.create(model="scripted", **fields)
        assert caught.value.param == param
    running = await sdk.responses.create(
        model="scripted", input="Go on for ever", background=True, conversation="wrong"
    )
    busy: Any = {"extra_body": {"concurrency": "reject"}}
    with pytest.raises(openai.ConflictError) as conflict:
        await sdk.responses.create(model="scripted", input="x", conversation="wrong", **busy)
    assert conflict.value.code == "conversation_locked"
    assert conflict.value.response.headers["retry-after"]
    await sdk.responses.cancel(running.id)


async def test_one_that_is_not_kept(sdk: openai.AsyncOpenAI) -> None:
    first = await sdk.responses.create(model="scripted", input="Hello")
    aside = await sdk.responses.create(
        model="scripted", input="By the way", previous_response_id=first.id, store=False
    )
    assert aside.output_text.startswith("Reply 2 to: By the way")
    assert aside.conversation is None
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(aside.id)
