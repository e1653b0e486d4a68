"""The ways to choose what a model sees of a long conversation, and conversations held in each of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import msgspec

from bench.turns.models import Asked, Plan
from palaver.chat import HEAD, Chat, ChatRequest
from palaver.core.message import Message
from palaver.core.parameters import Parameters
from palaver.core.turn import TurnState
from palaver.core.window import Window
from palaver.core.window_settings import WindowSettings
from palaver.engines.base import Options
from palaver.engines.catalog import ModelCatalog, ModelSpec
from palaver.stores.sql import SqlStore
from palaver.stores.sqlite import SqliteDatabase

OWNER = "bench"
NAME = "long"
MOST_EPOCHS = 1 << 20


class Way(msgspec.Struct, frozen=True):
    """One way to choose windows.

    By the road `head` palaver chooses them, and the client sends its question for the head of a conversation.
    `resent`: the client sends its whole history. `unstored`: the same, and nothing is stored. `sliding`: the client
    chooses, and drops its oldest exchanges one by one until its prompt just fits.
    """

    name: str
    road: Literal["head", "resent", "unstored", "sliding"]
    keep: float = 0.5


class Turn(msgspec.Struct, frozen=True):
    """One turn, in tokens: its prompt, how much of that was prefilled, and how much of it is `own`, its question with
    what the template puts between two replies.

    `began` is why it began an epoch, None where it did not. `cut` says that the reply ended at its limit. `shown` is a
    hash of the prompt.
    """

    prompt: int
    prefilled: int
    own: int
    began: str | None
    cut: bool
    shown: bytes


class Played(msgspec.Struct, frozen=True):
    """A whole conversation. `epochs` are those on record by their reasons, each with how many there were."""

    way: Way
    turns: list[Turn]
    epochs: dict[str, int]
    seconds: float


class _Client:
    """Who asks, and what it knows of the conversation."""

    def __init__(self, way: Way, plan: Plan, asked: Asked) -> None:
        self._way = way
        self._plan = plan
        self._engine = asked.engine
        self._history: list[Message] = []

    async def request(self, question: str) -> ChatRequest:
        way, plan = self._way, self._plan
        window = WindowSettings(mode="auto", size=plan.size, keep=way.keep)
        if way.road == "sliding":
            window = WindowSettings(mode="strict", size=plan.size)
        self._history.append(Message("user", question))
        if way.road == "sliding":
            while await self._tokens() > plan.room:
                del self._history[:2]
        at_head = way.road == "head"
        return ChatRequest(
            owner=OWNER,
            model=plan.model,
            messages=self._history[-1:] if at_head else list(self._history),
            door="chat.completions",
            conversation=NAME if at_head else None,
            parent=HEAD if at_head else None,
            parameters=Parameters(temperature=0.0, max_tokens=plan.reply),
            store=False if way.road in ("unstored", "sliding") else None,
            window=window,
        )

    def heard(self, reply: str) -> None:
        self._history.append(Message("assistant", reply))

    async def _tokens(self) -> int:
        window = Window(owner=OWNER, conversation=None, turn="", messages=tuple(self._history))
        count = await self._engine.count(window, Options(model=self._plan.model))
        assert count is not None
        return count


async def play(
    way: Way, plan: Plan, asked: Asked, questions: Sequence[str], own: Sequence[int], folder: Path
) -> Played:
    """Ask all questions, each after the reply to the one before. `own` is how many tokens each adds."""
    begun = time.perf_counter()
    client = _Client(way, plan, asked)
    turns: list[Turn] = []
    before: Sequence[Message] = ()
    async with _chat(plan, asked, folder) as chat:
        for question, tokens in zip(questions, own, strict=True):
            request = await client.request(question)
            turn, reply = await _turn(chat, request, asked, before, tokens)
            turns.append(turn)
            client.heard(reply)
            before = (*asked.shown(), Message("assistant", reply))
        epochs = await _epochs(chat) if way.road in ("head", "resent") else {}
    assert not epochs or sum(epochs.values()) == sum(turn.began is not None for turn in turns)
    return Played(way, turns, epochs, time.perf_counter() - begun)


@asynccontextmanager
async def _chat(plan: Plan, asked: Asked, folder: Path) -> AsyncIterator[Chat]:
    """palaver, with this model and a store of its own."""
    store = SqlStore(await SqliteDatabase.open(folder / "palaver.db"))
    chat = Chat(store, ModelCatalog([ModelSpec(name=plan.model, engine=asked.engine)]))
    try:
        yield chat
    finally:
        await chat.close()
        await store.close()


async def _turn(
    chat: Chat, request: ChatRequest, asked: Asked, before: Sequence[Message], own: int
) -> tuple[Turn, str]:
    live = await chat.say(request)
    with live.reader():
        outcome = await live.ended()
    if outcome.state is not TurnState.COMPLETED or outcome.usage is None or live.receipt is None:
        raise SystemExit(f"A turn ended as {outcome.state}: {outcome.error}")
    turn = Turn(
        prompt=outcome.usage.prompt_tokens,
        prefilled=asked.prefilled(outcome.usage, before),
        own=own,
        began=live.receipt.reason if live.receipt.began else None,
        cut=outcome.finish_reason == "length",
        shown=_digest(asked.shown()),
    )
    return turn, live.replies()[0].content


def _digest(messages: Sequence[Message]) -> bytes:
    return blake2b(msgspec.json.encode([(m.role, m.text) for m in messages]), digest_size=16).digest()


async def _epochs(chat: Chat) -> dict[str, int]:
    """The epochs on record of the one conversation that there is."""
    (conversation,) = await chat.store.conversations(OWNER, one_shots=True)
    records = await chat.store.epochs(OWNER, conversation.id, limit=MOST_EPOCHS)
    return dict(Counter(record.epoch.reason for record in records))
