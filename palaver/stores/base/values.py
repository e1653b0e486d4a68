"""What goes into a store and comes out of it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from palaver.core.epoch import Above, Epoch
from palaver.core.message import Message
from palaver.core.parameters import Parameters, Tool
from palaver.core.path import Step
from palaver.core.recall import Note, Recall
from palaver.core.receipt import Receipt
from palaver.core.reply import Length, Reply
from palaver.core.summaries import Summary
from palaver.core.tree import History, Instruction
from palaver.core.turn import FinishReason, TokenLogprob, TurnState, Usage
from palaver.core.window_settings import WindowSettings

Concurrency = Literal["queue", "branch", "reject"]
"""What becomes of a turn for the head of a conversation while another turn answers there: it waits for that,
it branches off at the last message that was answered, or it is refused."""


TitledBy = Literal["words", "model", "user"]

Only = Literal["pinned", "archived", "tasks", "temporary"]
"""Conversations of one sort. Tasks are requests that nothing has continued; temporary are all that go at some time."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came in, so that one that a client repeats is answered once.

    `body` is a digest of everything that makes two requests the same: body, conversation, end user. `count` is
    how often the client has sent it before (``x-stainless-retry-count``).
    """

    route: str
    body: bytes
    count: int = 0
    idempotency_key: str | None = None


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """A turn to be admitted. `conversation` is an id (``conv_…``) or a name, or None to find it by content.

    Where it hangs: below the message whose id is `parent`; or, with `at_head`, below the head of its
    conversation, which it names, under the rules of `concurrency`, with at most `max_waiting` turns waiting;
    else where its history was left off. With `parent` or `at_head` the history holds new messages only, and
    may be empty: then the message it hangs below is answered (again), or an assistant's message continued.

    `passing` are instructions for this turn only, besides those of the history: they stand before them, and turns below
    do not take them over. `asked` is what of the request its door tells again with the reply; that there were such
    instructions it may keep there as ``instructions``, which goes with them when they are deleted.

    `is_task` says that an app asks this on its own account beside its conversation, such as for a title: it hangs
    there, and never is its head or names it. `temporary` is how long a conversation that this begins is kept
    after its last turn, in seconds. `replaces` is the id of a turn that the request repeats and that nobody works
    on: its question is answered anew. With `only_joins` no turn may begin, since too many are in the background.
    """

    owner: str
    end_user: str | None
    turn: str
    lease: str
    door: str
    requested_model: str
    model: str
    history: History
    parameters: Parameters = Parameters()
    tools: list[Tool] = []
    conversation: str | None = None
    parent: str | None = None
    at_head: bool = False
    concurrency: Concurrency = "queue"
    max_waiting: int = 8
    attempt: Attempt | None = None
    replaces: str | None = None
    only_joins: bool = False
    is_task: bool = False
    temporary: int | None = None
    metadata: dict[str, str] | None = None
    source: str | None = None
    passing: list[Instruction] = []
    asked: dict[str, Any] = {}


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided for a turn.

    With `joined`, the request repeats another: `turn`, `state` and `lease` are those of the turn that answers
    it, and there is nothing to begin. Else it runs, or is queued and begins in its time (`Store.begin`).
    """

    turn: str
    conversation: str
    state: TurnState = TurnState.RUNNING
    joined: bool = False
    lease: str | None = None


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """What a running turn answers, in the stored form.

    `steps` are the end of the path to its question, as far up as its window is likely to reach: to where the epoch
    `above` starts, or so many messages; `Windows.path` has the rest. `gap` is the depths (from, up to) of the path
    that the client left out of its history. `instructions` are those in force: the request's own, or else the last
    ones above. `opening` are the system and developer messages that the path begins with, also those in the gap: they
    are shown as instructions are, in every window that the gap is not left out of. `continues` is the reply that it
    goes on with. `beside` is another turn that answered the same, as if it were the turn above. `window` are the
    conversation's own settings. `summaries` are those of the path that windows may show, the last ones.
    `notes` are what was recalled on the path in the epoch `above`, `continued` what was
    for the reply that is gone on with. `conversation` is the id of the one that it is of,
    None for one that is yet to be made.
    """

    steps: list[Step]
    gap: tuple[int, int] | None = None
    instructions: list[Instruction] = []
    opening: list[Step] = []
    continues: Step | None = None
    above: Above | None = None
    beside: Above | None = None
    window: WindowSettings | None = None
    summaries: list[Summary] = []
    notes: list[Note] = []
    continued: list[Note] = []
    conversation: str | None = None


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """How much was deleted. A tombstone counts as a message. `quoted_in` are the conversations that had quoted
    something of it: their owners and ids."""

    conversations: int = 0
    messages: int = 0
    turns: int = 0
    quoted_in: frozenset[tuple[str, str]] = frozenset()


class Tried(msgspec.Struct, frozen=True):
    """A model that failed before its first token, so that another was asked; and the message of its error."""

    model: str
    error: str


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a turn ended. Of a reply without text and calls no message is written; the first of the others becomes
    the head.

    `model` is what answered, where that is not what was admitted; `served_as` the engine's own name of it.
    `tried` are the models that failed before it. `warnings` are what whoever asked should know although it went
    well. `first_token_at`, `first_text_at` (the first text that is no thinking) and `ended_at` are in milliseconds
    since 1970; without the last of them it ended when it is stored.
    `epoch` is what its window belongs to, and `receipt` says what that was; None where it came to no window.
    `recalls` are what the turn had recalled, in that order.
    """

    turn: str
    lease: str
    state: TurnState
    replies: list[Reply] = []
    usage: Usage | None = None
    error_code: str | None = None
    error_message: str | None = None
    model: str | None = None
    served_as: str | None = None
    tried: list[Tried] = []
    warnings: list[str] = []
    first_token_at: int | None = None
    first_text_at: int | None = None
    ended_at: int | None = None
    epoch: Epoch | None = None
    receipt: Receipt | None = None
    recalls: list[Recall] = []


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as lists show it. Times are milliseconds since 1970; `messages` counts its head's path."""

    id: str
    name: str | None
    title: str | None
    end_user: str | None
    source: str | None
    one_shot: bool
    head: str | None
    messages: int
    metadata: dict[str, str]
    created_at: int
    updated_at: int
    expires_at: int | None = None
    """When a temporary conversation goes; None for one that is kept."""
    window: WindowSettings | None = None
    """How its windows are chosen, where that was said."""
    titled_by: TitledBy | None = None
    """Who made its title: the first words of a question, a model, or the user; None where it has none."""
    pinned: bool = False
    archived: bool = False
    """Whether lists leave it out until they are asked for it."""


class EpochRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An epoch, how many turns it has, and the id of the first of them."""

    epoch: Epoch
    turns: int
    first_turn: str


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the tree. `turn` is the turn that generated it, None for what a client sent; `state`, `model`
    and `finish_reason` are that turn's. `deleted` marks a tombstone, whose message is empty."""

    id: str
    parent: str | None
    depth: int
    message: Message
    turn: str | None
    state: TurnState | None
    model: str | None
    created_at: int
    finish_reason: FinishReason | None = None
    deleted: bool = False


class OtherReply(msgspec.Struct, frozen=True, kw_only=True):
    """A further reply of a turn that was asked for several; `item` is None where nothing came of it, or it is
    deleted."""

    item: Item | None
    finish_reason: FinishReason | None
    deltas: list[Length]
    logprobs: list[TokenLogprob]


class TurnRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A turn as it is stored. `gap` is the depths (from, up to) of the path that the client left out. `reply` is the
    first reply, with its `finish_reason`, `deltas` and `logprobs`; `others` are the replies 1, 2, …
    `receipt` is None for one that came to no window. `inputs` is how many messages its request sent, but for
    instructions, and None where nobody knows; `asked` is what its door tells again of the request."""

    id: str
    conversation: str | None
    state: TurnState
    door: str
    requested_model: str
    model: str
    parameters: Parameters
    tools: list[Tool]
    metadata: dict[str, str]
    instructions: list[Instruction]
    question: str | None
    reply: Item | None
    gap: tuple[int, int] | None
    finish_reason: FinishReason | None
    usage: Usage | None
    error_code: str | None
    error_message: str | None
    deltas: list[Length]
    logprobs: list[TokenLogprob]
    others: list[OtherReply]
    served_as: str | None
    tried: list[Tried]
    warnings: list[str]
    receipt: Receipt | None
    created_at: int
    first_token_at: int | None
    ended_at: int | None
    inputs: int | None = None
    asked: dict[str, Any] = {}


Order = Literal["asc", "desc"]
