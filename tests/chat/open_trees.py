"""Conversations grown at random through both doors: made with an opening, asked with instructions for once, filled
beside turns, moved to other branches. Each turn is foretold, and held against its receipt and its prompt."""

from __future__ import annotations

from pathlib import Path

from palaver.chat import HEAD, ChatRequest
from palaver.core.errors import PalaverError
from palaver.core.message import Message, Role, canonical
from palaver.core.path import Step
from palaver.core.receipt import Receipt
from palaver.core.tree import Instruction
from palaver.core.turn import TurnState
from palaver.core.window import Window, composed
from palaver.core.window_settings import WindowSettings
from palaver.stores.base import TurnRecord
from tests.chat.trees import OWNER, SIZES, Tree

FIRST: tuple[Role, ...] = ("system", "developer")
PASSING = "Only now: "


class OpenTree(Tree):
    """A tree whose app goes on by naming messages as often as by resending them."""

    def __init__(self, path: Path, seed: int) -> None:
        super().__init__(path, seed)
        self.opened = self.passed = self.grown = 0

    async def open(self) -> None:
        await super().open()
        if self._conversation is None and self._random.random() < 0.8:
            items = [self._said(*FIRST) for _ in range(self._random.randint(0, 3))]
            items += [Message("assistant", "Welcome.")] * (self._random.random() < 0.2)
            self._conversation = (await self._store.create_conversation(OWNER, items)).id
            self._history = items

    def _said(self, *roles: Role) -> Message:
        return Message(self._random.choice(roles), self._words(1, 8))

    async def _once(self) -> None:
        chance = self._random.random()
        if self._conversation is not None and chance < 0.06:
            items = [self._said("user", "assistant", *FIRST) for _ in range(self._random.randint(1, 3))]
            await self._store.add_items(OWNER, self._conversation, items)
            await self._read()
        elif self._conversation is not None and chance < 0.10:
            tree = await self._store.tree(OWNER, self._conversation, limit=1000)
            # The result of a call that was never made stands there, too: its turn was refused.
            there = [item for item in tree if not item.deleted and item.message.role != "tool"]
            if there:
                await self._store.set_head(OWNER, self._conversation, self._random.choice(there).id)
                await self._read()
        await super()._once()

    async def _read(self) -> None:
        """The app reads the path, and takes it for its history."""
        assert self._conversation is not None
        items = await self._store.items(OWNER, self._conversation, order="asc", limit=1000)
        self._history = [item.message for item in items if not item.deleted]

    def _resent(self) -> tuple[ChatRequest, list[Message]]:
        is_asked = any(message.role == "user" for message in self._history)
        return super()._resent() if is_asked or self._conversation is None else self._below()

    def _below(self) -> tuple[ChatRequest, list[Message]]:
        if self._conversation is None:
            return super()._resent()
        new = self._results(self._history) or [self._question()]
        if new[0].role != "tool" and self._random.random() < 0.3:
            new.insert(0, self._said(*FIRST))
        passing = self._random.choice(["", "", PASSING + "A", PASSING + self._words(1, 4)])
        window = WindowSettings(truncation="disabled" if self._random.random() < 0.1 else None)
        request = self._request(
            *new,
            conversation=self._conversation,
            parent=HEAD,
            is_whole=True,
            instructions=[Message("system", passing)] if passing else [],
            window=window,
        )
        return request, [*self._history, *new]

    async def _ask(self, request: ChatRequest, history: list[Message]) -> None:
        foretold: Receipt | PalaverError
        try:
            foretold = (await self._chat.windows.foresee(request)).receipt
        except PalaverError as error:
            foretold = error
        live = await self._chat.say(request)
        outcome = await live.ended()
        if outcome.state is not TurnState.COMPLETED:
            assert type(outcome.error) is type(foretold)
            self.refused += 1
            return
        assert isinstance(foretold, Receipt), foretold
        self._history = [*history, live.replies()[0].message]
        self._conversation = live.conversation
        prompt = self._models.engines[request.model].prompts[-1]
        record = await self._store.turn(OWNER, live.turn)
        said = [each.message.text for each in record.instructions]
        passing = [message.text for message in request.instructions]
        assert [text for text in said if text.startswith(PASSING)] == passing
        assert said[: len(passing)] == passing
        self.passed += len(passing)
        if record.question is not None:
            await self._check(record, prompt, SIZES[request.model])
            assert _as_foretold(foretold) == _as_foretold(record.receipt)
        self._prompts[live.turn] = prompt

    async def _check(self, record: TurnRecord, prompt: Window, size: int) -> None:
        receipt = record.receipt
        assert receipt is not None
        assert record.question is not None
        self.epochs.add(receipt.epoch)
        path = await self._store.path(OWNER, record.question)
        opening = _opening(path, record, is_strict=receipt.mode == "strict")
        self.opened += len(opening)
        said = [canonical(step.message) for step in opening]
        told = [each for each in record.instructions if canonical(each.message) not in said]
        assert receipt.instructions == len(told)
        assert all(receipt.saw(step.depth) for step in opening)
        seen = [step for step in path if receipt.saw(step.depth) and step not in opening]
        shown = composed([*told, *(Instruction(0, step.message) for step in opening)], seen)
        if receipt.mode == "auto":
            assert prompt.messages == shown
            assert receipt.prompt_tokens is not None
            assert receipt.prompt_tokens <= size - receipt.reserved
        assert len(prompt.messages) == len(shown)
        if not receipt.began:
            self.grown += 1
            await self._check_grown(record, prompt)
        self._answered[record.question, receipt.epoch] = record.id


def _opening(path: list[Step], record: TurnRecord, *, is_strict: bool) -> list[Step]:
    """What is shown of the path's opening: all that is there, unless the client left it out and only that is shown."""
    found: list[Step] = []
    for step in path:
        if step.message.role not in FIRST:
            break
        left_out = is_strict and record.gap is not None and record.gap[0] <= step.depth < record.gap[1]
        if not step.deleted and not left_out:
            found.append(step)
    return found


def _as_foretold(receipt: Receipt | None) -> tuple[object, ...]:
    """What of a receipt was known before its turn."""
    assert receipt is not None
    reason = receipt.reason if receipt.began else None
    what = (receipt.seen, receipt.left_out, receipt.instructions, receipt.tools, receipt.mode, receipt.path)
    return (*what, receipt.began, reason, receipt.prompt_tokens)
