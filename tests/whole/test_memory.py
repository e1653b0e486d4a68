"""The bundled model through the whole house: it answers from the history that was sent."""

from __future__ import annotations

from openai import OpenAI

FILLERS = [
    "What is the capital of France?",
    "Tell me a joke",
    "How are you?",
    "What is the capital of Peru?",
    "What do cats eat?",
    "I'm a bit tired today",
    "What is the capital of Chile?",
    "thanks",
    "What are some fun things to do in New York?",
    "That sounds fun! Where is it?",
]


def test_a_name_is_known_ten_turns_later(address: str) -> None:
    client = OpenAI(base_url=address + "/v1", api_key="any")
    messages: list[dict[str, str]] = []
    conversations = set()

    def say(text: str) -> str:
        messages.append({"role": "user", "content": text})
        raw = client.chat.completions.with_raw_response.create(model="pocket", messages=messages)  # type: ignore[arg-type]
        conversations.add(raw.headers["palaver-conversation"])
        reply = raw.parse().choices[0].message
        messages.append(reply.model_dump())
        return reply.content or ""

    say("My name is Velmira.")
    answers = [say(text) for text in FILLERS]
    assert "Velmira" in say("What is my name?")
    assert "Paris" in answers[0]
    assert "Manhattan" in answers[-1]
    assert len(conversations) == 1

    items = client.get(f"/conversations/{conversations.pop()}/messages?limit=100", cast_to=dict)
    assert len(items["data"]) == 2 * (len(FILLERS) + 2)

    alone = client.chat.completions.create(
        model="pocket", messages=[{"role": "user", "content": "What is my name?"}]
    )
    assert "Velmira" not in (alone.choices[0].message.content or "")
