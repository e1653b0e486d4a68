"""What a door asks of `Chat`, and what `Chat` goes by."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from palaver.core.message import Message
from palaver.core.turn import Sampling
from palaver.stores.base import Attempt, Concurrency

HEAD = "head"
OnLeave = Literal["finish", "grace"]
Record = Literal["all", "asked", "none"]


class ChatSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What `Chat` goes by. Times are in seconds.

    `record` says what is stored: every turn, those that ask for it, none. `grace` is how long a turn whose
    reader left (with `on_leave` of ``grace``) holds its place against turns that wait. `readerless_turns` is
    how many turns of one owner may go on without a reader; `readerless_max_tokens` ends those that set no
    limit themselves. `max_open_turns` bounds the turns of this process.

    `concurrency` is what becomes of turns for the head of a conversation while another turn answers there,
    where a request does not say; `max_waiting` is how many may wait for one conversation, `max_wait` for how
    long. `keep_temporary` is how long temporary conversations are kept after their last turn.
    """

    record: Record = "all"
    grace: float = 60.0
    readerless_turns: int = 16
    readerless_max_tokens: int = 4096
    max_open_turns: int = 1000
    log_interval: float = 0.25
    concurrency: Concurrency = "queue"
    max_waiting: int = 8
    max_wait: float = 300.0
    keep_temporary: float = 24 * 3600.0


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to answer a history, from whichever door.

    `conversation` is an id or a name, or None to find it by content. `parent` is the id of the message that
    `messages` hang below, or ``head`` for that of the conversation; then they are new ones only, and without
    any, the message itself is answered again or, a reply that was cut off, continued. `concurrency` counts
    for ``head``. `temporary` has a conversation that this begins deleted some time after its last turn.

    `attempt` tells a request that is repeated from a new one. `truncate_reply` lowers `max_tokens` where prompt
    and reply together do not fit the context, instead of refusing. `reasoning` of False wants an answer
    without thinking. `extra` holds parameters that palaver does not know.
    """

    owner: str
    model: str
    messages: list[Message]
    door: str
    end_user: str | None = None
    conversation: str | None = None
    parent: str | None = None
    concurrency: Concurrency | None = None
    temporary: bool = False
    attempt: Attempt | None = None
    sampling: Sampling = Sampling()
    store: bool | None = None
    metadata: dict[str, str] | None = None
    source: str | None = None
    truncate_reply: bool = False
    reasoning: Literal[False] | None = None
    on_leave: OnLeave = "grace"
    extra: dict[str, Any] = {}
