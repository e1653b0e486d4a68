"""What the events of a followed reply hold, for the description of the API: `telling` and `follow` make them."""

from __future__ import annotations

from typing import Literal

import msgspec

from palaver.core.turn import FinishReason, TurnState, Usage
from palaver.server.conversation_shapes import MessageTiming
from palaver.server.route import Events


class _Followed(msgspec.Struct, frozen=True, kw_only=True):
    n: int


class FollowedTurn(_Followed, frozen=True, kw_only=True):
    """What is followed. `question` is the message that is answered, null while the turn waits in its conversation;
    `message` is the id that the reply will have. Comes first, and again when a turn that waited has begun."""

    type: Literal["turn"]
    turn: str
    conversation: str
    question: str | None
    message: str
    model: str
    created_at: int


class FollowedWaiting(_Followed, frozen=True, kw_only=True):
    """What it waits for: turns before it in its conversation (``queue``), a free place of its model (``place``), its
    model to be loaded, its prompt to be read. `progress` is from 0 to 1; what is not known is null."""

    type: Literal["waiting"]
    waits_for: Literal["queue", "place", "loading", "prompt"] = msgspec.field(name="for")
    progress: float | None
    ahead: int | None
    tokens: int | None


class FollowedText(_Followed, frozen=True, kw_only=True):
    """More of the reply, or of the thinking before it, as it is."""

    type: Literal["text", "reasoning"]
    text: str


class FollowedCall(_Followed, frozen=True, kw_only=True):
    """A piece of a call of a function; its first one has the name."""

    type: Literal["call"]
    index: int
    name: str
    arguments: str


class FollowedBlock(_Followed, frozen=True, kw_only=True):
    """A block of the reply that is finished, as safe HTML."""

    type: Literal["block"]
    index: int
    html: str


class FollowedOpen(_Followed, frozen=True, kw_only=True):
    """The block in the making: what was told of it last, up to `keep` (UTF-16 code units), and then `html`."""

    type: Literal["open"]
    index: int
    keep: int
    html: str


class FinalBlock(msgspec.Struct, frozen=True):
    index: int
    html: str


class FollowedError(msgspec.Struct, frozen=True):
    message: str
    code: str | None


class FollowedEnd(_Followed, frozen=True, kw_only=True):
    """The end, once it is stored. `blocks` are those that were not finished before, or look different now."""

    type: Literal["end"]
    state: TurnState
    finish_reason: FinishReason | None
    error: FollowedError | None
    model: str
    usage: Usage | None
    timing: MessageTiming | None
    blocks: list[FinalBlock]


FOLLOW_EVENTS = Events(
    data=FollowedTurn
    | FollowedWaiting
    | FollowedText
    | FollowedCall
    | FollowedBlock
    | FollowedOpen
    | FollowedEnd
)
