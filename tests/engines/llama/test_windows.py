"""Windows on a real worker: what of a prompt need not be computed again, the day it speaks of, what is marked."""

from __future__ import annotations

import calendar
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from palaver.chat import HEAD, Chat, ChatRequest, ChatSettings
from palaver.core.message import Message
from palaver.core.parameters import Parameters, Tool
from palaver.core.receipt import Receipt
from palaver.core.window_settings import WindowSettings
from palaver.engines.base import Model
from palaver.engines.llama import LlamaEngine
from palaver.engines.llama.asking import render
from palaver.engines.llama.counting import BETWEEN, message_tokens
from palaver.engines.llama.plan import BROKEN_UP, DATE_STRING
from palaver.live import LiveReply
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite import SqliteDatabase
from tests.chat.puppets import OneModel
from tests.engines.llama.conftest import MakeEngine, ModelOf
from tests.engines.llama.talk import options, window
from tests.engines.llama.templates import HERMES

DATED = (
    "{%- if not date_string is defined %}{%- set date_string = '26 Jul 2024' %}{%- endif %}"
    "Today is {{ date_string }}.\n"
    "{%- for message in messages %}{{ message.role }}: {{ message.content }}\n{%- endfor %}"
)
NEW_YEAR = calendar.timegm((2026, 1, 1, 12, 0, 0))
SIZE = 512


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    store = SqlStore(await SqliteDatabase.open(tmp_path / "palaver.db"))
    yield store
    await store.close()


async def say(chat: Chat, text: str, **more: object) -> tuple[Receipt, LiveReply]:
    asked = ChatRequest(
        owner="ada",
        model="puppet",
        messages=[Message("user", text)],
        door="test",
        conversation="c",
        parent=HEAD,
        parameters=Parameters(temperature=0.0, max_tokens=16),
        window=WindowSettings(size=SIZE),
    )
    live = await chat.say(msgspec.structs.replace(asked, **more))
    outcome = await live.ended()
    assert outcome.error is None, outcome.error
    assert live.receipt is not None
    return live.receipt, live


async def test_a_prompt_that_grows_is_not_computed_again(store: SqlStore, make_engine: MakeEngine) -> None:
    """80 turns fill the window several times over; but where an epoch begins, only what is new is prefilled."""
    engine = make_engine(slots=1)
    chat = Chat(store, OneModel(Model(name="puppet", served_as="pocket", engine=engine)), ChatSettings())
    epochs = prefilled = 0
    for number in range(80):
        receipt, live = await say(chat, f"My number is {number}, and I like the town of Bath.")
        outcome = live.outcome
        assert outcome is not None
        usage = outcome.usage
        assert usage is not None
        assert usage.cached_tokens is not None
        assert usage.prompt_tokens <= SIZE - receipt.reserved
        new = usage.prompt_tokens - usage.cached_tokens
        epochs += receipt.began
        if not receipt.began:
            assert new < 80, (
                "the question, the reply before it as far as it reads otherwise, and the template"
            )
        prefilled += new
    assert 4 < epochs < 20
    assert prefilled < 80 * 100
    await chat.close()


async def test_tools_are_in_the_count_of_a_window(
    store: SqlStore, make_engine: MakeEngine, model_of: ModelOf
) -> None:
    """What a template adds for tools is learnt from the prompt as a whole, so that no window is too long."""
    engine = make_engine(model_of(HERMES), context=1024, slots=1)
    chat = Chat(store, OneModel(Model(name="puppet", served_as="m", engine=engine)), ChatSettings())
    tool = Tool(name="look", description="Look around " * 20, parameters={"type": "object", "properties": {}})
    began = 0
    for number in range(40):
        receipt, _ = await say(
            chat, f"word {number} " * 8, tools=[tool], window=WindowSettings(size=900), model="puppet"
        )
        assert receipt.prompt_tokens is not None
        assert receipt.prompt_tokens <= 900 - receipt.reserved
        began += receipt.began
    assert began > 1
    await chat.close()


def shown_day(engine: LlamaEngine, began: int | None, **kwargs: str) -> object:
    prompt = msgspec.structs.replace(window("hi"), epoch_began=began)
    asked = msgspec.structs.replace(
        options(), parameters=Parameters(chat_template_kwargs=dict(kwargs) or None)
    )
    return engine._planner.prompt(prompt, asked).get("chat_template_kwargs")


async def test_the_day_is_that_on_which_the_epoch_began(make_engine: MakeEngine, model_of: ModelOf) -> None:
    engine = make_engine(model_of(DATED))
    day = time.strftime("%d %b %Y", time.localtime(NEW_YEAR))
    assert shown_day(engine, NEW_YEAR) == {DATE_STRING: day}
    assert shown_day(engine, NEW_YEAR, date_string="Doomsday") == {DATE_STRING: "Doomsday"}
    assert shown_day(engine, None) is None
    prompt = msgspec.structs.replace(window("hi"), epoch_began=NEW_YEAR)
    async with engine._worker() as worker:
        assert (await render(worker, engine._planner.prompt(prompt, options()))).startswith(
            f"Today is {day}."
        )


async def test_a_template_without_a_day_is_told_none(engine: LlamaEngine) -> None:
    assert shown_day(engine, NEW_YEAR) is None


async def test_broken_up_control_tokens_are_marked(store: SqlStore, engine: LlamaEngine) -> None:
    chat = Chat(store, OneModel(Model(name="puppet", served_as="pocket", engine=engine)), ChatSettings())
    _, live = await say(chat, "Say <|im_end|> to me.")
    record = await store.turn("ada", live.turn)
    assert record.receipt is not None
    assert record.receipt.warnings == [BROKEN_UP]
    assert record.warnings == []  # it is nothing that the client did wrong
    assert record.question is not None
    (step,) = (await store.path("ada", record.question))[-1:]
    assert step.message.text == "Say <|im_end|> to me."
    await chat.close()


async def test_many_messages_are_counted_with_few_questions(engine: LlamaEngine) -> None:
    texts = ["", "one", "two words", "\n", f"{BETWEEN} and -1, [-1]", "<|im_end|>", "é" * 40]
    messages = [Message("user", texts[i % len(texts)]) for i in range(1200)]
    async with engine._worker() as worker:
        counts = await message_tokens(messages, worker, engine._planner.escape)
        alone = [
            (await message_tokens([message], worker, engine._planner.escape))[0]
            for message in messages[: len(texts)]
        ]
    assert counts == [alone[i % len(texts)] for i in range(1200)]
    assert alone[0] == 0
    assert alone[5] > 1, "a control token in a text is none"
