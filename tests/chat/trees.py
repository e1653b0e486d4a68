"""Conversations grown at random, each turn of them held against its receipt and the prompt its engine was given."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Literal

import msgspec

from palaver.chat import HEAD, Chat, ChatRequest, ChatSettings
from palaver.core.errors import ContextLengthExceeded, InvalidRequest, ModelNotFound, PalaverError
from palaver.core.message import Message
from palaver.core.parameters import Parameters, Tool
from palaver.core.receipt import Receipt
from palaver.core.turn import TurnState
from palaver.core.window import Window
from palaver.core.window_settings import Mode, Truncation, WindowSettings
from palaver.engines.base import KvCache, Model
from palaver.engines.scripted import ScriptedEngine
from palaver.engines.scripted.tokens import prompt_tokens
from palaver.stores.base import Item, TurnRecord
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite import SqliteDatabase

OWNER = "local"
LOOK = Tool(name="look", description="Look around", parameters={"properties": {"at": {"type": "string"}}})
SIZES = {"small": 120, "large": 400}


class Models:
    """A catalog of two scripted models, the second with a larger context."""

    def __init__(self) -> None:
        self.engines = {name: ScriptedEngine(context=size) for name, size in SIZES.items()}

    async def find(self, name: str) -> Model:
        if name not in self.engines:
            raise ModelNotFound
        return Model(name=name, served_as=name, engine=self.engines[name])

    async def models(self) -> list[Model]:
        return [await self.find(name) for name in self.engines]

    async def kv_caches(self) -> dict[str, KvCache]:
        return {}

    async def forget(
        self, owner: str | None = None, conversation: str | None = None, *, model: str | None = None
    ) -> int:
        return 0

    async def close(self) -> None:
        for engine in self.engines.values():
            await engine.close()


class Tree:
    """One conversation with an app of its own, which has a history, and knows nothing of windows."""

    def __init__(self, path: Path, seed: int) -> None:
        self._path = path
        self._random = random.Random(seed)
        self._prompts: dict[str, Window] = {}
        self._answered: dict[tuple[str | None, str], str] = {}
        self._history: list[Message] = []
        self._instructions = Message("system", "Be kind.")
        self._model = "small"
        self._conversation: str | None = None
        self.epochs: set[str] = set()
        self.refused = 0

    async def open(self) -> None:
        self._store = SqlStore(await SqliteDatabase.open(self._path))
        self._models = Models()
        self._chat = Chat(self._store, self._models, ChatSettings(window=WindowSettings(mode="auto")))

    async def close(self) -> None:
        await self._chat.close()
        await self._store.close()

    async def grow(self, turns: int) -> None:
        await self.open()
        try:
            for _ in range(turns):
                await self._once()
        finally:
            await self.close()

    async def _once(self) -> None:
        chance = self._random.random()
        if chance < 0.05:
            await self.close()
            await self.open()
        elif chance < 0.10:
            await self._delete()
        elif chance < 0.14:
            self._model = self._random.choice(list(SIZES))
        elif chance < 0.18:
            self._instructions = Message("system", self._words(1, 12))
        await self._ask(*self._random.choice([*[self._resent] * 5, *[self._below] * 3, self._again])())

    def _words(self, least: int, most: int) -> str:
        return " ".join(f"w{self._random.randrange(500)}" for _ in range(self._random.randint(least, most)))

    def _question(self) -> Message:
        return Message("user", self._words(1, 30))

    def _request(self, *messages: Message, **more: object) -> ChatRequest:
        tools = [LOOK] if self._random.random() < 0.3 else []
        choice: Literal["required"] | None = "required" if tools and self._random.random() < 0.5 else None
        asked = ChatRequest(
            owner=OWNER,
            model=self._model,
            messages=list(messages),
            door="test",
            parameters=Parameters(max_tokens=self._random.randint(1, 25), tool_choice=choice),
            tools=tools,
        )
        return msgspec.structs.replace(asked, **more)

    def _resent(self) -> tuple[ChatRequest, list[Message]]:
        """The whole history, perhaps edited, perhaps without its beginning, perhaps to be shown all."""
        history = list(self._history)
        if history and self._random.random() < 0.2:
            questions = [i for i, message in enumerate(history) if message.role == "user"]
            history = history[: self._random.choice(questions)]
        history = [*history, *self._results(history)]
        if not history or history[-1].role == "assistant":
            history.append(self._question())
        sent, chance = history, self._random.random()
        if chance < 0.15:
            starts = [i for i, message in enumerate(history[:-1]) if message.role == "user"]
            sent = history[self._random.choice([0, *starts[-3:]]) :]
        mode: Mode | None = "strict" if self._random.random() < 0.15 else None
        named = self._conversation if self._random.random() < 0.5 else None
        request = self._request(
            self._instructions, *sent, window=WindowSettings(mode=mode), conversation=named
        )
        return request, history

    def _below(self) -> tuple[ChatRequest, list[Message]]:
        """Only what is new."""
        if self._conversation is None or not self._history:
            return self._resent()
        new = self._results(self._history) or [self._question()]
        truncation: Truncation | None = "disabled" if self._random.random() < 0.1 else None
        window = WindowSettings(truncation=truncation)
        request = self._request(*new, conversation=self._conversation, parent=HEAD, window=window)
        return request, [*self._history, *new]

    def _again(self) -> tuple[ChatRequest, list[Message]]:
        """The last question once more."""
        if self._history[-1:] == [] or self._history[-1].role != "assistant":
            return self._resent()
        return self._request(self._instructions, *self._history[:-1]), self._history[:-1]

    @staticmethod
    def _results(history: list[Message]) -> list[Message]:
        """What the tools answered that the last message calls."""
        calls = history[-1].tool_calls if history else None
        return [Message("tool", f"seen by {call.id}", tool_call_id=call.id) for call in calls or ()]

    async def _ask(self, request: ChatRequest, history: list[Message]) -> None:
        engine = self._models.engines[request.model]
        try:
            live = await self._chat.say(request)
            outcome = await live.ended()
        except PalaverError:
            self.refused += 1
            return
        record = await self._store.turn(OWNER, live.turn)
        if outcome.state is not TurnState.COMPLETED:
            # Too long, or the result of a call that is deleted, or stands on another branch.
            assert isinstance(outcome.error, ContextLengthExceeded | InvalidRequest), outcome.error
            self.refused += 1
            return
        self._history = [*history, live.replies()[0].message]
        self._conversation = live.conversation
        prompt = engine.prompts[-1]
        assert prompt.turn == live.turn
        await self._check(record, prompt, SIZES[request.model])
        self._prompts[live.turn] = prompt

    async def _delete(self) -> None:
        if self._conversation is None:
            return
        items = await self._store.items(OWNER, self._conversation, limit=40)
        living = [item for item in items if not item.deleted]
        if len(living) > 2:
            await self._store.delete_message(OWNER, self._random.choice(living[1:]).id)

    async def _check(self, record: TurnRecord, prompt: Window, size: int) -> None:
        receipt = record.receipt
        assert receipt is not None
        assert record.question is not None
        assert record.conversation is not None
        self.epochs.add(receipt.epoch)
        path = await self._store.path(OWNER, record.question)
        seen = [step for step in path if receipt.saw(step.depth)]
        instructions = [each.message for each in record.instructions]
        assert list(prompt.messages[: len(instructions)]) == instructions
        told = list(prompt.messages[len(instructions) :])
        assert len(told) == len(seen)
        for step, message in zip(seen, told, strict=True):
            # What a client sends of a message that is deleted is shown where all is shown that was sent.
            assert step.message == message or (step.deleted and receipt.mode == "strict")
        assert receipt.prompt_tokens == prompt_tokens(prompt.messages, prompt.tools)
        _check_parts(receipt, len(path))
        if receipt.mode == "auto":
            assert receipt.prompt_tokens <= size - receipt.reserved
            assert told[0].role == "user" or receipt.saw(0)
        _check_calls(told)
        if not receipt.began:
            await self._check_grown(record, prompt)
        self._answered[record.question, receipt.epoch] = record.id

    async def _check_grown(self, record: TurnRecord, prompt: Window) -> None:
        """The prompt begins with that of the turn above, which is of the same epoch."""
        assert record.conversation is not None
        assert record.receipt is not None
        items = await self._store.items(OWNER, record.conversation, to=record.question, limit=1000)
        above = next(item for item in items if _has_epoch(item, self._prompts))
        assert above.turn is not None
        before = await self._store.turn(OWNER, above.turn)
        assert before.receipt is not None
        if before.receipt.epoch != record.receipt.epoch:
            # The same question was answered before, in an epoch that began with it.
            beside = self._answered[record.question, record.receipt.epoch]
            assert self._prompts[beside].messages == prompt.messages
            return
        shown = self._prompts[above.turn].messages
        assert prompt.messages[: len(shown)] == shown
        assert prompt.tools == self._prompts[above.turn].tools


def _has_epoch(item: Item, prompts: dict[str, Window]) -> bool:
    return item.turn is not None and item.turn in prompts


def _check_parts(receipt: Receipt, length: int) -> None:
    """Every message of the path was seen or left out, and none both."""
    assert receipt.path == length
    left_out = [(out.start, out.stop) for out in receipt.left_out]
    parts = sorted([*receipt.seen, *left_out])
    assert [depth for start, stop in parts for depth in range(start, stop)] == list(range(length))


def _check_calls(messages: list[Message]) -> None:
    calls: set[str] = set()
    for message in messages:
        calls |= {call.id for call in message.tool_calls or ()}
        assert message.role != "tool" or message.tool_call_id in calls
