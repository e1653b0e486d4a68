"""Windows of what is seldom said: long runs of calls, skewed lengths, nothing stored, thoughts, failures."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest

from palaver.chat import HEAD, Chat, ChatSettings
from palaver.core.errors import ContextLengthExceeded, EngineUnavailable, UnsupportedParameter
from palaver.core.message import FunctionCall, ImagePart, ImageUrl, Message, TextPart, ToolCall
from palaver.core.parameters import Parameters, Sampling, Tool
from palaver.core.turn import EngineEvent, TurnState
from palaver.core.window import Window
from palaver.core.window_settings import WindowSettings
from palaver.engines.base import Model, Options
from palaver.engines.scripted import ScriptedEngine
from palaver.engines.scripted.tokens import prompt_tokens
from palaver.stores.sql import SqlStore
from tests.chat.asking import assistant, request, system, user
from tests.chat.puppets import OneModel, PuppetEngine, WatchedStore
from tests.chat.test_windows import AUTO, SIZE, App, Blind, app, receipt_of, store

__all__ = ["app", "store"]

TWELVE = Parameters(max_tokens=12)


def run(rounds: int) -> list[Message]:
    """Calls and their results."""
    calls = [ToolCall(FunctionCall("look"), f"c{i}") for i in range(rounds)]
    return [
        m
        for call in calls
        for m in (Message("assistant", tool_calls=[call]), Message("tool", "r", tool_call_id=call.id))
    ]


@pytest.mark.parametrize("more", [0, 1])
async def test_the_question_of_a_run_of_calls_is_shown_however_far_up_it_is(app: App, more: int) -> None:
    """Further than is read of a path at first."""
    history = [user("hi"), assistant("hello"), user("THE QUESTION"), *run(400)]
    history += [system("Be quick.")] * more
    live, outcome = await app.ask(*history, window=AUTO)
    assert outcome.error is None
    shown = app.prompt.messages
    assert shown[0] == user("THE QUESTION")
    calls = {call.id for message in shown for call in message.tool_calls or ()}
    results = {message.tool_call_id for message in shown if message.role == "tool"}
    assert calls == results != set()
    assert receipt_of(live).left_out


async def test_each_of_several_instructions_counts_for_itself(app: App) -> None:
    long, short = system("kind " * 60), Message("developer", "brief")
    for first, second in ((short, long), (long, short)):
        app.history = []
        for number in range(30):
            app.history.append(app.question())
            live, outcome = await app.ask(first, second, *app.history, window=AUTO)
            assert outcome.error is None, (number, outcome.error)
            app.history.append(live.replies()[0].message)


class Wordy(ScriptedEngine):
    """Its template puts much around tools, or little; messages by themselves tell nothing of that."""

    def __init__(self, context: int, a_tool: int) -> None:
        super().__init__(context=context)
        self.a_tool = a_tool

    async def count(self, window: Window, options: Options) -> int | None:
        return prompt_tokens(window.messages) + self.a_tool * len(window.tools)

    def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        return super().generate(msgspec.structs.replace(window, tools=()), options)


async def test_what_fits_is_answered_whatever_was_estimated(store: SqlStore) -> None:
    """Thirty tools are estimated at far more than they are."""
    engine = Wordy(context=400, a_tool=5)
    chat = Chat(store, OneModel(Model(name="puppet", served_as="s", engine=engine)), ChatSettings())
    tools = [Tool(name=f"look_{i}", description="look around, look up, look down " * 3) for i in range(30)]
    asked = request(user("word " * 180), tools=tools, window=AUTO, parameters=TWELVE)
    for stored in (None, False):
        live = await chat.say(msgspec.structs.replace(asked, store=stored))
        assert (await live.ended()).error is None
    await chat.close()


@pytest.mark.parametrize(
    ("window", "most"), [(AUTO, SIZE), (WindowSettings(mode="auto", size=1), None), (AUTO, 10 * SIZE)]
)
async def test_no_room_at_all_where_nothing_is_stored(
    app: App, window: WindowSettings, most: int | None
) -> None:
    _, outcome = await app.ask(
        app.question(), store=False, window=window, parameters=Parameters(max_tokens=most)
    )
    assert isinstance(outcome.error, ContextLengthExceeded)


async def test_a_reserve_that_nobody_asked_for_gives_way(app: App) -> None:
    """What `strict` answers, `auto` does too."""
    question = user("word " * (SIZE - 12))
    for window in (WindowSettings(mode="strict"), AUTO, WindowSettings(mode="auto", reserve=10 * SIZE)):
        live, outcome = await app.ask(question, window=window, parameters=Parameters())
        assert outcome.error is None
        receipt = receipt_of(live)
        assert receipt.prompt_tokens is not None
        assert receipt.reserved <= SIZE - receipt.prompt_tokens
    truncate = WindowSettings(mode="auto", context_length_exceeded_behavior="truncate")
    _, outcome = await app.ask(question, window=truncate, parameters=Parameters(max_tokens=50))
    assert outcome.error is None


class Skewed(Blind):
    """An upstream for which a long word is many tokens, as base64 is."""

    def measure(self, window: Window) -> int:
        return sum(len(message.text) // 3 + 4 for message in window.messages)


@pytest.mark.parametrize("stored", [None, False])
async def test_refusals_are_learnt_from(store: SqlStore, stored: bool | None) -> None:
    engine = Skewed(None, 4000)
    chat = Chat(store, OneModel(Model(name="puppet", served_as="p", engine=engine)), ChatSettings())
    for seed in range(8):
        history: list[Message] = []
        for number in range(6):
            history += [user("x" * (3000 if (number + seed) % 3 else 30) + f" {seed} " + "y " * 200)]
            live = await chat.say(request(*history, window=AUTO, parameters=TWELVE, store=stored))
            outcome = await live.ended()
            assert outcome.error is None, (seed, number, outcome.error)
            history.append(assistant(live.replies()[0].content))
    assert all(window.messages[-1].role == "user" for window in engine.answered)
    await chat.close()


def thought_shown(app: App) -> str | None:
    return app.prompt.messages[1].reasoning


async def test_thoughts_that_a_client_sent_otherwise_begin_an_epoch(app: App) -> None:
    thought = Message("assistant", "yes", reasoning="hm")
    live, _ = await app.ask(user("a"), thought, user("b"), conversation="c")
    history = [user("a"), assistant("yes"), user("b"), live.replies()[0].message, user("d")]
    live, _ = await app.ask(*history, conversation="c")
    assert thought_shown(app) is None
    history += [live.replies()[0].message, user("e")]
    live, outcome = await app.ask(*history, window=AUTO, conversation="c")
    assert outcome.error is None
    assert thought_shown(app) == "hm"
    assert receipt_of(live).reason == "user"


async def test_what_is_not_stored_is_as_steady_as_what_is(app: App) -> None:
    """Whatever reply each request asks for, as long as it is no longer than what is kept free anyway."""
    breaks = 0
    before: tuple[Message, ...] = ()
    history: list[Message] = []
    for number in range(150):
        history.append(app.question(4))
        live, outcome = await app.ask(
            *history, window=AUTO, store=False, parameters=Parameters(max_tokens=2 + number % 20)
        )
        assert outcome.error is None
        history.append(live.replies()[0].message)
        messages = app.prompt.messages
        breaks += messages[: len(before)] != before
        before = messages
    assert breaks < 150 / 5


async def test_turns_that_fail_count_nothing(store: SqlStore) -> None:
    engine = PuppetEngine(size=100)
    asked: list[int] = []

    async def counts(messages: Any, options: Options) -> list[int]:
        asked.append(len(messages))
        return [1] * len(messages)

    engine.counts = counts  # type: ignore[method-assign]
    chat = Chat(store, OneModel(Model(name="puppet", served_as="p", engine=engine)), ChatSettings())
    live = await chat.say(request("a"))
    (await engine.play()).fail(EngineUnavailable("gone"))
    await live.ended()
    assert live.conversation is not None
    assert await store.epochs("local", live.conversation) == []
    record = await store.turn("local", live.turn)
    assert record.receipt is not None
    live = await chat.say(request("b"))
    (await engine.play(1)).say("x")
    await chat.cancel("local", live.turn)
    assert (await live.ended()).state is TurnState.CANCELLED
    await chat.close()
    assert asked == []


async def test_where_all_fail_the_receipt_is_that_of_the_failure_told(store: SqlStore) -> None:
    first, second = PuppetEngine(size=100), PuppetEngine(size=100)
    second.capabilities = second.capabilities - {"image_url"}
    other = Model(name="other", served_as="o", engine=second)
    catalog = OneModel(Model(name="puppet", served_as="p", engine=first, fallbacks=(other,)))
    chat = Chat(store, catalog, ChatSettings())
    live = await chat.say(request("a", window=AUTO))
    (await first.play()).fail(EngineUnavailable("gone"))
    (await second.play()).fail(UnsupportedParameter("not that", param="seed"))
    outcome = await live.ended()
    assert isinstance(outcome.error, EngineUnavailable)
    record = await store.turn("local", live.turn)
    assert record.receipt is not None
    assert (record.model, record.receipt.model) == ("puppet", "puppet")
    await chat.close()


async def test_a_dry_run_writes_nothing(store: SqlStore) -> None:
    engine = ScriptedEngine(context=SIZE)
    chat = Chat(store, OneModel(Model(name="puppet", served_as="s", engine=engine)), ChatSettings())
    history = [m for i in range(40) for m in (user(f"a {i} b"), assistant(f"c {i} d"))]
    asked = request(*history, user("x"), window=AUTO, end_user="eve", parameters=TWELVE)
    shown = await chat.windows.foresee(asked)
    assert shown.receipt.left_out
    assert engine.prompts == []
    assert await store._database.read(lambda s: s.one("owner", name="local")) is None
    await chat.close()


async def test_a_dry_run_refuses_what_would_be_refused(store: SqlStore) -> None:
    engine = PuppetEngine(size=100)
    chat = Chat(store, OneModel(Model(name="puppet", served_as="p", engine=engine)), ChatSettings())
    live = await chat.say(request("a", conversation="c"))
    play = await engine.play()
    play.say("b")
    play.finish("length")
    await live.ended()
    assert live.conversation is not None
    (reply, *_) = await store.items("local", live.conversation)
    with pytest.raises(UnsupportedParameter):
        await chat.windows.foresee(request(parent=reply.id, conversation=live.conversation))
    await chat.close()


async def test_reading_up_a_long_path_reads_each_message_once(store: WatchedStore, app: App) -> None:
    history = [m for i in range(3000) for m in (user(f"a {i}"), assistant(f"b {i}"))]
    await app.ask(*history, user("x"), conversation="c", window=AUTO)
    read: list[int] = []
    path = store.path

    async def watched(owner: str, message: str, since: int = 0, *, attachments: bool = True) -> Any:
        steps = await path(owner, message, since, attachments=attachments)
        read.append(len(steps))
        return steps

    store.path = watched  # type: ignore[method-assign]
    other = Model(name="puppet-2", served_as="s", engine=ScriptedEngine(context=4000))
    app.chat.catalog.model = other  # type: ignore[attr-defined]
    live, outcome = await app.ask(app.question(), conversation="c", parent=HEAD, model="puppet-2")
    assert outcome.error is None
    assert receipt_of(live).reason == "model"
    assert sum(read) < 2 * 6003


class Hidden(ScriptedEngine):
    """Shows thoughts after the last question, of which messages by themselves tell nothing."""

    async def count(self, window: Window, options: Options) -> int | None:
        thoughts = sum(40 for message in window.messages[-30:] if message.role == "assistant")
        return prompt_tokens(window.messages) + thoughts

    def generate(self, window: Window, options: Options) -> AsyncGenerator[EngineEvent, None]:
        return ScriptedEngine().generate(window, options)


@pytest.mark.parametrize("stored", [None, False])
@pytest.mark.parametrize("keep", [0.5, 0.75, 0.95])
async def test_what_is_longer_than_it_seems_is_answered_all_the_same(
    store: SqlStore, stored: bool | None, keep: float
) -> None:
    engine = Hidden(context=1000)
    chat = Chat(store, OneModel(Model(name="puppet", served_as="s", engine=engine)), ChatSettings())
    window = WindowSettings(mode="auto", keep=keep)
    for rounds in range(1, 120, 7):
        history = [user("a " * 200), assistant("b " * 200), user(f"go {rounds}"), *run(rounds)]
        live = await chat.say(request(*history, window=window, parameters=TWELVE, store=stored))
        assert (await live.ended()).error is None, rounds
    await chat.close()


async def test_a_run_of_calls_that_is_not_stored_is_steady_too(app: App) -> None:
    """Its window has a gap behind the question, which stays where it is until there is no more room."""
    breaks, before = 0, tuple[Message, ...]()
    for rounds in range(1, 150):
        _, outcome = await app.ask(user("go"), *run(rounds), window=AUTO, store=False)
        assert outcome.error is None
        messages = app.prompt.messages
        assert messages[0] == user("go")
        breaks += messages[: len(before)] != before
        before = messages
    assert breaks < 20


async def test_pictures_are_not_refused_by_an_estimate(store: SqlStore) -> None:
    class Light(Blind):
        def measure(self, window: Window) -> int:
            return 85 * sum(len(m.content) for m in window.messages if isinstance(m.content, list))

    engine = Light(4000, 4000)
    chat = Chat(store, OneModel(Model(name="puppet", served_as="p", engine=engine)), ChatSettings())
    picture = ImagePart(ImageUrl("data:image/png;base64,AAAA"))
    question = Message("user", [TextPart("What is this?"), *[picture] * 16])
    live = await chat.say(request(question, window=AUTO, parameters=TWELVE))
    assert (await live.ended()).error is None
    await chat.close()


async def test_a_question_is_not_judged_by_the_messages_before_it(store: SqlStore) -> None:
    """They are heavier than they seem; it is not."""

    class Heavy(Blind):
        def measure(self, window: Window) -> int:
            return sum(
                len(m.text.split()) * (4 if m.text.startswith("heavy") else 1) + 4 for m in window.messages
            )

    engine = Heavy(1000, 1000)
    chat = Chat(store, OneModel(Model(name="puppet", served_as="p", engine=engine)), ChatSettings())
    history = [m for _ in range(3) for m in (user("heavy " * 80), assistant("heavy " * 80))]
    for stored in (None, False):
        asked = request(*history, user("word " * 500), window=AUTO, parameters=TWELVE, store=stored)
        live = await chat.say(asked)
        assert (await live.ended()).error is None
    await chat.close()


async def test_an_estimate_leaves_the_reply_its_room(store: SqlStore) -> None:
    engine = Blind(1000, 10_000)
    model = Model(name="puppet", served_as="p", engine=engine, defaults=Sampling(max_tokens=300))
    chat = Chat(store, OneModel(model), ChatSettings())
    live = await chat.say(request(user("x" * 5700), window=AUTO))
    assert (await live.ended()).error is None
    receipt = receipt_of(live)
    assert receipt.reserved >= 0
    (replies,) = (reply for reply in live.replies())
    assert replies.finish_reason == "stop"
    await chat.close()


async def test_a_fallback_that_comes_to_no_window_has_no_receipt(store: SqlStore) -> None:
    first, second = PuppetEngine(size=100), PuppetEngine(size=100)

    async def gone(model: str) -> int | None:
        raise EngineUnavailable("It is not there.")

    second.context_size = gone  # type: ignore[method-assign]
    other = Model(name="other", served_as="o", engine=second)
    catalog = OneModel(Model(name="puppet", served_as="p", engine=first, fallbacks=(other,)))
    chat = Chat(store, catalog, ChatSettings())
    live = await chat.say(request("a", window=AUTO))
    (await first.play()).fail(EngineUnavailable("gone"))
    await live.ended()
    record = await store.turn("local", live.turn)
    assert (record.model, record.receipt) == ("other", None)
    await chat.close()
