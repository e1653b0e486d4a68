"""Windows in the course of a conversation: grown at their end, begun anew, refused with a clear word."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from palaver.chat import HEAD, Chat, ChatRequest, ChatSettings
from palaver.core.errors import ContextLengthExceeded, EngineUnavailable
from palaver.core.message import Message
from palaver.core.parameters import Parameters, Sampling, Tool
from palaver.core.receipt import LeftOut, Receipt
from palaver.core.turn import TurnState, Usage
from palaver.core.window import Window
from palaver.core.window_settings import WindowSettings
from palaver.engines.base import KvCache, Model, Options
from palaver.engines.scripted import ScriptedEngine
from palaver.engines.scripted.tokens import prompt_tokens
from palaver.live import LiveReply, Outcome
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite import SqliteDatabase
from tests.chat.asking import assistant, heard, request, system, user
from tests.chat.puppets import OneModel, PuppetEngine

AUTO = WindowSettings(mode="auto")
SIZE = 200


class App:
    """An app that resends its whole history, as apps do, and one that says only what is new."""

    def __init__(self, chat: Chat, engine: ScriptedEngine) -> None:
        self.chat = chat
        self.engine = engine
        self.history: list[Message] = []
        self.said = 0

    def question(self, words: int = 8) -> Message:
        self.said += 1
        return user(" ".join(f"q{self.said}" for _ in range(words)))

    async def ask(self, *messages: Message, **more: Any) -> tuple[LiveReply, Outcome]:
        live = await self.chat.say(request(*messages, **{"parameters": Parameters(max_tokens=12), **more}))
        return live, await live.ended()

    async def resend(self, words: int = 8, **more: Any) -> LiveReply:
        self.history.append(self.question(words))
        live, outcome = await self.ask(*self.history, **more)
        assert outcome.error is None, outcome.error
        self.history.append(live.replies()[0].message)
        return live

    async def go_on(self, words: int = 8, **more: Any) -> LiveReply:
        live, outcome = await self.ask(self.question(words), conversation="c", parent=HEAD, **more)
        assert outcome.error is None, outcome.error
        return live

    @property
    def prompt(self) -> Window:
        return self.engine.prompts[-1]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    store = SqlStore(await SqliteDatabase.open(tmp_path / "palaver.db"))
    yield store
    await store.close()


@pytest.fixture
async def app(store: SqlStore) -> AsyncIterator[App]:
    engine = ScriptedEngine(context=SIZE)
    chat = Chat(store, OneModel(Model(name="puppet", served_as="s", engine=engine)), ChatSettings())
    yield App(chat, engine)
    await chat.close()


def receipt_of(live: LiveReply) -> Receipt:
    assert live.receipt is not None
    return live.receipt


async def test_of_120_items_the_newest_is_seen(app: App, store: SqlStore) -> None:
    """OGX reads the first page of a conversation's items and shows the model those."""
    for _ in range(60):
        live = await app.go_on()
    assert live.conversation is not None
    assert (await store.conversation("local", live.conversation)).messages == 120
    assert app.prompt.messages[-1] == user(" ".join(["q60"] * 8))
    assert receipt_of(live).seen[-1][1] == receipt_of(live).path == 119


@pytest.mark.parametrize("door", ["resent", "head", "unstored"])
async def test_a_thousand_turns(app: App, door: str) -> None:
    """At flat cost: each prompt begins with the one before, but where a new epoch begins."""
    prefilled = epochs = 0
    before: tuple[Message, ...] = ()
    for _ in range(1000):
        if door == "head":
            live = await app.go_on()
        else:
            live = await app.resend(window=AUTO, store=False if door == "unstored" else None)
        messages = app.prompt.messages
        same = messages[: len(before)] == before
        epochs += not same
        prefilled += prompt_tokens(messages[len(before) :] if same else messages)
        before = messages
    receipt = receipt_of(live)
    assert receipt.left_out == [LeftOut(0, receipt.seen[0][0], "window")]
    assert receipt.seen == [(receipt.seen[0][0], 1999)]
    exchange = 9 + 13
    assert prefilled / 1000 < 9 + 1.3 * exchange  # u + m·X/(1−X) for a half
    assert epochs < 1000 / (SIZE / 2 / exchange) * 1.5
    text = (await app.chat.store.turn("local", live.turn)).receipt if door != "unstored" else receipt
    assert text == receipt


async def test_strict_is_what_it_sent_and_too_much_is_refused_with_both_numbers(app: App) -> None:
    for _ in range(8):
        await app.resend()
        assert list(app.prompt.messages) == app.history[:-1]
    live, outcome = await app.ask(*app.history, app.question(60))
    assert isinstance(outcome.error, ContextLengthExceeded)
    assert (outcome.error.param, outcome.error.context_size) == ("messages", SIZE)
    assert str(SIZE) in outcome.error.message
    assert str(outcome.error.prompt_tokens) in outcome.error.message
    app.history.append(app.question(20))
    live, outcome = await app.ask(*app.history, window=AUTO)
    assert outcome.error is None
    assert receipt_of(live).left_out


async def test_below_a_stored_message_truncation_can_be_disabled(app: App) -> None:
    for _ in range(12):
        await app.go_on()
    disabled = WindowSettings(truncation="disabled")
    _, outcome = await app.ask(app.question(), conversation="c", parent=HEAD, window=disabled)
    assert isinstance(outcome.error, ContextLengthExceeded)
    assert receipt_of(await app.go_on()).left_out


async def test_what_a_client_left_out_is_shown_as_far_as_there_is_room(app: App) -> None:
    """A client's own sliding window: it drops its beginning, and the prompt stays alike."""
    for _ in range(4):
        await app.resend(window=AUTO)
    whole = list(app.history)
    app.history = app.history[4:]
    await app.resend(window=AUTO)
    assert list(app.prompt.messages) == [*whole, app.history[-2]]
    app.history = app.history[2:]
    live = await app.resend()  # strict: nothing but what it sent
    assert list(app.prompt.messages) == app.history[:-1]
    assert receipt_of(live).reason == "user"
    assert [out.why for out in receipt_of(live).left_out] == ["client"]
    live = await app.resend(window=AUTO)
    assert (receipt_of(live).reason, receipt_of(live).left_out) == ("user", [])


async def test_the_message_that_is_too_long_is_named(app: App) -> None:
    await app.resend(window=AUTO)
    _, outcome = await app.ask(system("Be kind."), *app.history, app.question(SIZE), window=AUTO)
    error = outcome.error
    assert isinstance(error, ContextLengthExceeded)
    assert error.param == "messages[3]"
    assert "`messages[3]` has 20" in error.message
    assert error.prompt_tokens > SIZE
    await app.resend(window=AUTO)  # nothing is lost, and it goes on


async def test_instructions_that_are_too_long_are_named(app: App) -> None:
    _, outcome = await app.ask(system("kind " * SIZE), app.question(), window=AUTO)
    assert isinstance(outcome.error, ContextLengthExceeded)
    assert "instructions and tools" in outcome.error.message


async def test_tools_that_are_too_long_are_named(app: App) -> None:
    tool = Tool(name="look", description="around " * SIZE)
    _, outcome = await app.ask(app.question(), tools=[tool], window=AUTO)
    assert isinstance(outcome.error, ContextLengthExceeded)
    assert "instructions and tools" in outcome.error.message


@pytest.mark.parametrize("most", [SIZE, SIZE - 4, 10 * SIZE])
async def test_a_reply_that_leaves_no_room_for_a_prompt(app: App, most: int) -> None:
    asked = {"window": AUTO, "parameters": Parameters(max_tokens=most)}
    _, outcome = await app.ask(app.question(), **asked)
    assert isinstance(outcome.error, ContextLengthExceeded)
    assert outcome.error.param == "max_tokens"
    assert str(most) in outcome.error.message
    asked["window"] = WindowSettings(mode="auto", context_length_exceeded_behavior="truncate")
    _, outcome = await app.ask(app.question(), **asked)
    assert outcome.error is None
    given = app.engine.asked[-1].parameters.max_tokens
    assert given == SIZE - prompt_tokens(app.prompt.messages)


async def test_a_size_of_nonsense_is_refused_with_both_numbers(app: App) -> None:
    _, outcome = await app.ask(app.question(), window=WindowSettings(mode="auto", size=1))
    assert isinstance(outcome.error, ContextLengthExceeded)
    assert outcome.error.context_size == 1


async def test_room_is_kept_for_the_reply(app: App) -> None:
    window = WindowSettings(mode="auto", reserve=120)
    for _ in range(12):
        live = await app.resend(window=window, parameters=Parameters())
        assert prompt_tokens(app.prompt.messages) <= SIZE - 120
    assert receipt_of(live).reserved == 120


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"messages": [system("Be brief.")]}, "instructions"),
        ({"tools": [Tool(name="look")]}, "tools"),
    ],
)
async def test_what_begins_an_epoch(app: App, change: dict[str, Any], reason: str) -> None:
    first = await app.go_on()
    again = await app.go_on()
    assert receipt_of(again).epoch == receipt_of(first).epoch
    assert not receipt_of(again).began
    sent = [*change.pop("messages", []), app.question()]
    live, outcome = await app.ask(*sent, conversation="c", parent=HEAD, **change)
    assert outcome.error is None
    assert (receipt_of(live).reason, receipt_of(live).began) == (reason, True)


async def test_a_deleted_message_begins_an_epoch(app: App, store: SqlStore) -> None:
    for _ in range(3):
        live = await app.go_on()
    assert live.conversation is not None
    items = await store.items("local", live.conversation, limit=100)
    await store.delete_message("local", items[-1].id)
    live = await app.go_on()
    receipt = receipt_of(live)
    assert (receipt.reason, receipt.began) == ("deletion", True)
    assert receipt.left_out == [LeftOut(0, 2, "window")]  # it starts at a question
    assert app.prompt.messages[0].role == "user"
    assert not receipt_of(await app.go_on()).began


class Two:
    """A catalog of a model with a large context and one with a small one."""

    def __init__(self, **more: Any) -> None:
        self.large = ScriptedEngine(context=400)
        self.small = ScriptedEngine(context=100)
        self._more = more

    async def find(self, name: str) -> Model:
        engine = self.small if name == "small" else self.large
        return Model(name=name, served_as=name, engine=engine, **self._more)

    async def models(self) -> list[Model]:
        return []

    async def kv_caches(self) -> dict[str, KvCache]:
        return {}

    async def forget(
        self, owner: str | None = None, conversation: str | None = None, *, model: str | None = None
    ) -> int:
        return 0

    async def close(self) -> None:
        await self.small.close()
        await self.large.close()


async def test_a_switch_to_a_smaller_window_and_back(store: SqlStore) -> None:
    two = Two()
    chat = Chat(store, two, ChatSettings())
    app = App(chat, two.large)
    for _ in range(10):
        await app.go_on(model="large")
    live = await app.go_on(model="small")
    assert (receipt_of(live).reason, receipt_of(live).model) == ("model", "small")
    assert receipt_of(live).left_out
    assert prompt_tokens(two.small.prompts[-1].messages) <= 100 - 12
    assert not receipt_of(await app.go_on(model="small")).began
    live = await app.go_on(model="large")
    assert receipt_of(live).reason == "model"
    assert receipt_of(live).left_out == []  # there is room for all of it again
    assert live.conversation is not None
    reasons = [each.epoch.reason for each in await store.epochs("local", live.conversation)]
    assert reasons == ["model", "model", "start"]
    await chat.close()


async def test_a_fallback_has_a_window_of_its_own(store: SqlStore) -> None:
    engine = PuppetEngine(size=400)
    small = ScriptedEngine(context=100)
    other = Model(name="small", served_as="small", engine=small)
    catalog = OneModel(Model(name="puppet", served_as="p", engine=engine, fallbacks=(other,)))
    chat = Chat(store, catalog, ChatSettings(log_interval=0.005))
    history = [user("a " * 30), assistant("b " * 30), user("c " * 30)]
    live = await chat.say(request(*history, window=AUTO, parameters=Parameters(max_tokens=8)))
    (await engine.play()).fail(EngineUnavailable("gone"))
    assert (await live.ended()).error is None
    record = await store.turn("local", live.turn)
    assert record.receipt is not None
    assert (record.receipt.model, record.receipt.context_size) == ("small", 100)
    assert len(small.prompts[-1].messages) == 1
    assert live.conversation is not None
    (epoch,) = await store.epochs("local", live.conversation)
    assert epoch.epoch.model == "small"
    await chat.close()


@pytest.mark.parametrize(
    ("levels", "keep"),
    [
        ({"request": 0.9, "conversation": 0.8, "key": 0.7, "model": 0.6, "server": 0.55}, 0.9),
        ({"conversation": 0.8, "key": 0.7, "model": 0.6, "server": 0.55}, 0.8),
        ({"key": 0.7, "model": 0.6, "server": 0.55}, 0.7),
        ({"model": 0.6, "server": 0.55}, 0.6),
        ({"server": 0.55}, 0.55),
        ({}, 0.5),
    ],
)
async def test_who_may_say_how_much_is_kept(store: SqlStore, levels: dict[str, float], keep: float) -> None:
    def said(level: str) -> WindowSettings:
        return WindowSettings(keep=levels.get(level))

    engine = ScriptedEngine(context=1000)
    model = Model(name="puppet", served_as="s", engine=engine, window=said("model"))
    chat = Chat(store, OneModel(model), ChatSettings(window=said("server")))
    app = App(chat, engine)
    live = await app.go_on(words=50)
    assert live.conversation is not None
    await store.set_window("local", live.conversation, said("conversation"))
    for _ in range(120):
        live = await app.go_on(words=4, window=said("request"), key_window=said("key"))
        if receipt_of(live).began:
            break
    assert receipt_of(live).reason == "overflow"
    room = 1000 - 12
    assert keep * room - 40 < prompt_tokens(app.prompt.messages) <= keep * room + 10
    await chat.close()


class Blind(PuppetEngine):
    """An upstream: it cannot count, and refuses what is too long in its own time."""

    def __init__(self, size: int | None, real: int) -> None:
        super().__init__(size)
        self.capabilities = self.capabilities - {"count"}
        self.can_count = False
        self.real = real
        self.refused: list[Window] = []
        self.answered: list[Window] = []

    def measure(self, window: Window) -> int:
        return sum(2 * len(message.text.split()) + 4 for message in window.messages)

    async def generate(self, window: Window, options: Options) -> Any:
        tokens = self.measure(window)
        if tokens > self.real:
            self.refused.append(window)
            raise ContextLengthExceeded(prompt_tokens=tokens, context_size=self.real)
        self.answered.append(window)
        async for event in ScriptedEngine().generate(window, options):
            if hasattr(event, "usage"):
                event = msgspec.structs.replace(event, usage=Usage(tokens, 10))
            yield event


async def blind(store: SqlStore, size: int | None, real: int, **more: Any) -> tuple[Chat, Blind]:
    engine = Blind(size, real)
    model = Model(name="puppet", served_as="p", engine=engine, defaults=Sampling(max_tokens=10), **more)
    return Chat(store, OneModel(model), ChatSettings(window=AUTO)), engine


async def talk(chat: Chat, turns: int) -> list[Receipt]:
    """An app that resends its history; the receipts of its turns."""
    history: list[Message] = [system("Be kind.")]
    receipts = []
    for number in range(turns):
        history.append(user(f"number {number} " * 6))
        live = await chat.say(request(*history))
        outcome = await live.ended()
        assert outcome.error is None, (number, outcome.error)
        history.append(assistant(await heard(live)))
        receipts.append(receipt_of(live))
    return receipts


async def test_where_nobody_counts_estimates_are_corrected_by_usage(store: SqlStore) -> None:
    """This upstream counts twice what is estimated: that is learnt from its first replies, not from refusals."""
    chat, engine = await blind(store, 400, 400)
    receipts = await talk(chat, 60)
    assert len(engine.refused) <= 1
    assert max(engine.measure(window) for window in engine.answered) <= 400 - 10
    assert sum(receipt.began for receipt in receipts) < 20
    assert receipts[-1].counted == "engine"
    assert receipts[-1].prompt_tokens == engine.measure(engine.answered[-1])
    await chat.close()


async def test_a_context_that_nobody_knows_is_learnt_from_the_refusal(store: SqlStore) -> None:
    chat, engine = await blind(store, None, 300)
    receipts = await talk(chat, 30)
    assert receipts[-1].left_out
    assert receipts[-1].context_size == 300
    assert all(len(window.messages) > 1 for window in engine.answered)
    assert len(engine.refused) <= 2, "and it is remembered"
    await chat.close()


async def test_what_is_refused_a_second_time_is_told(store: SqlStore) -> None:
    chat, _ = await blind(store, None, 3)
    live = await chat.say(request(user("a b c d e f")))
    outcome = await live.ended()
    assert outcome.state is TurnState.FAILED
    assert isinstance(outcome.error, ContextLengthExceeded)
    assert outcome.error.context_size == 3
    await chat.close()


async def test_an_upstream_that_does_not_tell_its_context_is_asked_all_the_same(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat, engine = await blind(store, None, 10_000)

    async def gone(model: str) -> int | None:
        raise EngineUnavailable("It does not say.")

    monkeypatch.setattr(engine, "context_size", gone)
    receipts = await talk(chat, 3)
    assert receipts[-1].context_size is None
    await chat.close()


async def test_what_may_be_too_long_by_itself_is_for_the_server_to_refuse(store: SqlStore) -> None:
    chat, engine = await blind(store, 100, 400)
    live = await chat.say(request(user("word " * 80)))
    assert (await live.ended()).error is None, "it was estimated at more than it has"
    live = await chat.say(request(user("word " * 250)))
    assert isinstance((await live.ended()).error, ContextLengthExceeded)
    assert len(engine.refused) == 0, "this one is hopeless"
    await chat.close()


async def test_what_is_asked_again_stays_in_its_epoch(app: App, store: SqlStore) -> None:
    for _ in range(40):
        live = await app.resend(window=AUTO)
        if receipt_of(live).began and receipt_of(live).reason == "overflow":
            break
    again, outcome = await app.ask(*app.history[:-1], window=AUTO)
    assert outcome.error is None
    assert receipt_of(again).epoch == receipt_of(live).epoch
    assert (receipt_of(again).seen, receipt_of(again).began) == (receipt_of(live).seen, False)
    assert live.conversation is not None
    assert (await store.epochs("local", live.conversation))[0].turns == 2


async def test_a_size_can_be_set_where_nobody_knows_it(store: SqlStore) -> None:
    chat, engine = await blind(store, None, 10_000, window=WindowSettings(size=200))
    receipts = await talk(chat, 40)
    assert receipts[-1].left_out
    assert max(engine.measure(window) for window in engine.answered) <= 200
    assert engine.refused == []
    await chat.close()


async def test_it_goes_on_after_a_restart_as_if_nothing_had_been(tmp_path: Path) -> None:
    """The same path gives the same prompt, byte for byte."""
    prompts = []
    for pause in (None, 17):
        store = SqlStore(await SqliteDatabase.open(tmp_path / f"{pause}.db"))
        engine = ScriptedEngine(context=SIZE)
        chat = Chat(store, OneModel(Model(name="puppet", served_as="s", engine=engine)), ChatSettings())
        app = App(chat, engine)
        seen = []
        for number in range(40):
            if number == pause:
                await chat.close()
                await store.close()
                store = SqlStore(await SqliteDatabase.open(tmp_path / f"{pause}.db"))
                app.engine = ScriptedEngine(context=SIZE)
                model = Model(name="puppet", served_as="s", engine=app.engine)
                app.chat = chat = Chat(store, OneModel(model), ChatSettings())
            await app.go_on()
            seen.append(msgspec.json.encode(app.prompt.messages))
        prompts.append(seen)
        await chat.close()
        await store.close()
    assert prompts[0] == prompts[1]


async def test_both_doors_show_the_same(app: App) -> None:
    """A conversation that is resent, and gone on with below its head."""
    for _ in range(20):
        live = await app.resend(window=AUTO)
    live, outcome = await app.ask(app.question(), conversation=live.conversation, parent=HEAD)
    assert outcome.error is None
    assert not receipt_of(live).began or receipt_of(live).reason == "overflow"


async def test_a_dry_run_is_what_is_shown_then(app: App, store: SqlStore) -> None:
    for _ in range(25):
        await app.resend(window=AUTO)
    asked: ChatRequest = request(
        *app.history, app.question(), window=AUTO, parameters=Parameters(max_tokens=12)
    )
    foreseen = (await app.chat.windows.foresee(asked)).receipt
    live = await app.chat.say(asked)
    await live.ended()
    told = receipt_of(live)
    assert msgspec.structs.replace(foreseen, epoch=told.epoch) == told
