"""What the tests of stores are written in: turns admitted and ended as `palaver.chat` does it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec

from palaver.core import ids
from palaver.core.epoch import Epoch, Reason
from palaver.core.message import Message, canonical
from palaver.core.path import Span
from palaver.core.receipt import Receipt
from palaver.core.reply import Reply
from palaver.core.tree import Instruction, read_history
from palaver.core.turn import ContentDelta, TurnState
from palaver.stores.base import Admission, Admitted, Conversation, Ending, Item, Prompt, Store


class Told(Admitted, frozen=True, kw_only=True):
    """An admitted turn with its prompt, where it runs; tombstones are left out."""

    messages: list[Message] = msgspec.field(default_factory=list)
    instructions: list[Instruction] = msgspec.field(default_factory=list)
    continues: Message | None = None


Tables = dict[str, list[dict[str, Any]]]
"""All that a store holds: rows by table, in the order of their sequence numbers."""


def user(text: str) -> Message:
    return Message("user", text)


def assistant(text: str) -> Message:
    return Message("assistant", text)


def system(text: str) -> Message:
    return Message("system", text)


def new_turn() -> str:
    return ids.TURN + ids.id_body(1, secrets.token_bytes(ids.RANDOM_BYTES))


def new_epoch(
    start: int = 0,
    gap: tuple[int, int] | None = None,
    *,
    model: str = "model",
    reason: Reason = "start",
    began: int = 1,
) -> Epoch:
    """An epoch whose windows show a path from this depth on, but for the gap."""
    id = ids.EPOCH + ids.id_body(began, secrets.token_bytes(ids.RANDOM_BYTES))
    return Epoch(id=id, model=model, reason=reason, span=Span(start, gap), began=began)


def receipt_in(epoch: Epoch, path: int, **more: Any) -> Receipt:
    """The receipt of a turn of an epoch, whose path has so many messages; `more` goes into it."""
    start, gap = min(epoch.span.start, path), epoch.span.gap
    seen = [(start, path)] if gap is None else [(start, gap[0]), (gap[1], path)]
    told = Receipt(
        model=epoch.model,
        mode="auto",
        epoch=epoch.id,
        reason=epoch.reason,
        began=True,
        path=path,
        seen=[run for run in seen if run[0] < run[1]],
    )
    return msgspec.structs.replace(told, **more)


class Talker:
    """An app that talks through a store. It has its own history, as every app of the stateless door does."""

    def __init__(
        self, store: Store, owner: str = "local", end_user: str | None = None, lease: str = "lease_1"
    ) -> None:
        self.store = store
        self.owner = owner
        self.end_user = end_user
        self.lease = lease
        self.history: list[Message] = []

    async def admit(self, messages: Sequence[Message], conversation: str | None = None, **more: Any) -> Told:
        """Admit a turn and read its prompt; `more` goes into the admission."""
        return await self.told(await self.put(messages, conversation, **more))

    async def put(
        self, messages: Sequence[Message], conversation: str | None = None, **more: Any
    ) -> Admitted:
        """Admit a turn."""
        return await self.store.admit(await self.admission(messages, conversation, **more))

    async def foresee(
        self, messages: Sequence[Message], conversation: str | None = None, **more: Any
    ) -> Prompt:
        """The prompt that a turn would have."""
        return await self.store.foresee(await self.admission(messages, conversation, **more))

    async def admission(
        self, messages: Sequence[Message], conversation: str | None = None, **more: Any
    ) -> Admission:
        """What is handed in to have a turn admitted."""
        root = await self.store.root_key(self.owner, self.end_user)
        admission = Admission(
            owner=self.owner,
            end_user=self.end_user,
            turn=new_turn(),
            lease=self.lease,
            door="chat.completions",
            requested_model="m",
            model="model",
            history=read_history(messages, root),
            conversation=conversation,
        )
        return msgspec.structs.replace(admission, **more)

    async def told(self, admitted: Admitted) -> Told:
        """What this turn answers, if it runs and is new."""
        told = Told(**msgspec.structs.asdict(admitted))
        if admitted.joined or admitted.state is not TurnState.RUNNING:
            return told
        prompt = await self.store.prompt(admitted.turn, self.lease)
        path = await self.store.path(self.owner, prompt.steps[-1].id) if prompt.steps else []
        span = Span.without(prompt.gap)
        messages = [step.message for step in path if span.holds(step.depth) and not step.deleted]
        continues = prompt.continues.message if prompt.continues else None
        return msgspec.structs.replace(
            told, messages=messages, instructions=prompt.instructions, continues=continues
        )

    async def begin(self, turn: Admitted) -> Told | None:
        """Begin a turn that waits; None where it is not its time."""
        if not await self.store.begin(turn.turn, self.lease):
            return None
        return await self.told(msgspec.structs.replace(turn, state=TurnState.RUNNING))

    async def end(
        self, turn: str, text: str = "", state: TurnState = TurnState.COMPLETED, **more: Any
    ) -> None:
        """End a turn with one reply; `more` goes into that, or into the ending."""
        of_reply = {name: more.pop(name) for name in Reply.__struct_fields__ if name in more}
        await self.end_all(turn, Reply(content=text, **of_reply), state=state, **more)

    async def end_all(
        self, turn: str, *replies: Reply | str, state: TurnState = TurnState.COMPLETED, **more: Any
    ) -> None:
        """End a turn with several replies; a text alone is one. `more` goes into the ending."""
        said = [Reply(content=reply) if isinstance(reply, str) else reply for reply in replies]
        await self.store.finish(Ending(turn=turn, lease=self.lease, state=state, replies=said, **more))

    async def ask(self, question: str, answer: str, conversation: str | None = None) -> Told:
        """Say something and be answered; the whole history goes along."""
        self.history.append(user(question))
        admitted = await self.admit(self.history, conversation)
        await self.end(admitted.turn, answer)
        self.history.append(assistant(answer))
        return admitted

    async def talk(self, *words: str, conversation: str | None = None) -> str:
        """Question, answer, question, answer …; the id of the conversation."""
        for question, answer in zip(words[::2], words[1::2], strict=True):
            admitted = await self.ask(question, answer, conversation)
        return admitted.conversation

    async def show(self, turn: str, epoch: Epoch, path: int, **more: Any) -> None:
        """Note what a running turn shows its model; `more` goes into the receipt."""
        await self.store.note_window(turn, self.lease, epoch, receipt_in(epoch, path, **more))

    async def say(
        self, question: str, answer: str, conversation: str | None = None, *, epoch: Epoch, **more: Any
    ) -> Told:
        """As `ask`, with a window of this epoch; `more` goes into the ending."""
        self.history.append(user(question))
        admitted = await self.admit(self.history, conversation)
        receipt = receipt_in(epoch, len(self.history))
        await self.end(admitted.turn, answer, epoch=epoch, receipt=receipt, **more)
        self.history.append(assistant(answer))
        return admitted

    async def log(self, turn: str, batch: int, *words: str) -> None:
        await self.store.log(turn, self.lease, batch, [ContentDelta(word) for word in words])

    async def conversation(self, id: str) -> Conversation:
        return await self.store.conversation(self.owner, id)

    async def conversations(self) -> list[Conversation]:
        return await self.store.conversations(self.owner, one_shots=True, limit=1000)

    async def path(self, conversation: str) -> list[Item]:
        """All messages on the head's path, first message first."""
        return await self.store.items(self.owner, conversation, limit=10_000, order="asc")

    async def texts(self, conversation: str) -> list[str]:
        return [item.message.text for item in await self.path(conversation)]


def forms(messages: Sequence[Message]) -> list[bytes]:
    return [canonical(message) for message in messages]
