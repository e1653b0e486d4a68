"""What a door asks of `Chat`, and what `Chat` goes by."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from palaver.core.errors import InvalidRequest
from palaver.core.message import Message
from palaver.core.parameters import Parameters, Tool
from palaver.core.tree import History, Instruction, read_history
from palaver.core.window import Window
from palaver.core.window_settings import WindowSettings
from palaver.engines.base import Model
from palaver.running import Asked
from palaver.stores.base import Admission, Attempt, Concurrency

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
    `window` is how windows are chosen where nothing nearer to the request says.

    With `titles` of ``model`` conversations get a title in idle time: from `title_model`, or else from the model that
    answered last there, unless what it is asked may cost money. Summaries are asked of `summary_model` or, likewise, of
    the model that answers. `embedding_model` makes vectors of messages; without one search goes by words alone.
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
    window: WindowSettings = WindowSettings()
    titles: Literal["model", "words"] = "words"
    title_model: str | None = None
    summary_model: str | None = None
    embedding_model: str | None = None


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to answer a history, from whichever door.

    `conversation` is an id or a name, or None to find it by content. `parent` is the id of the message that
    `messages` hang below, or ``head`` for that of the conversation; then they are new ones only, and without
    any, the message itself is answered again or, a reply that was cut off, continued. `concurrency` counts
    for ``head``. `is_task` says that an app asks on its own account beside a conversation, such as for a title.
    `temporary` has a conversation that this begins deleted some time after its last turn.

    `instructions` are for this turn only, before all others. With `is_whole` all `messages` are of the path; else
    system and developer messages that come first are instructions. `asked` is what the door tells again with the
    reply. With `logs_first` readers hear only what is logged, so that they can go on from there whatever happens.

    `background` has it go on without a reader from the start.

    `compacted` is the id of a summary that a new epoch is to begin with, unless the one above shows it.

    `attempt` tells a request that is repeated from a new one. `window` is how the request itself has its window
    chosen, `key_window` what its API key says of that. `extra` holds parameters that palaver does not know.
    """

    owner: str
    model: str
    messages: list[Message]
    door: str
    instructions: list[Message] = []
    is_whole: bool = False
    asked: dict[str, Any] = {}
    logs_first: bool = False
    background: bool = False
    end_user: str | None = None
    conversation: str | None = None
    parent: str | None = None
    concurrency: Concurrency | None = None
    is_task: bool = False
    temporary: bool = False
    attempt: Attempt | None = None
    parameters: Parameters = Parameters()
    tools: list[Tool] = []
    store: bool | None = None
    metadata: dict[str, str] | None = None
    source: str | None = None
    window: WindowSettings = WindowSettings()
    key_window: WindowSettings | None = None
    compacted: str = ""
    on_leave: OnLeave = "grace"
    extra: dict[str, Any] = {}


def history_of(request: ChatRequest, root: bytes) -> History:
    """A request's messages, keyed from this root."""
    return read_history(request.messages, root, goes_on=request.parent is not None, whole=request.is_whole)


def admission_of(
    request: ChatRequest, model: Model, history: History, settings: ChatSettings, *, turn: str, lease: str
) -> Admission:
    """What the store is asked for a request that is stored: under these ids of its turn and of whoever works on it."""
    at_head = request.parent == HEAD
    return Admission(
        owner=request.owner,
        end_user=request.end_user,
        turn=turn,
        lease=lease,
        door=request.door,
        requested_model=request.model,
        model=model.name,
        history=history,
        parameters=request.parameters.over(model.defaults),
        tools=request.tools,
        conversation=request.conversation,
        parent=None if at_head else request.parent,
        at_head=at_head,
        concurrency=request.concurrency or settings.concurrency,
        max_waiting=settings.max_waiting,
        is_task=request.is_task,
        temporary=int(settings.keep_temporary) if request.temporary else None,
        attempt=request.attempt,
        metadata=request.metadata,
        source=request.source,
        passing=[Instruction(0, message) for message in request.instructions],
        asked=request.asked,
    )


def asked_of(request: ChatRequest, conversation: str | None, turn: str, settings: WindowSettings) -> Asked:
    """What a model is asked for a request, before its window is chosen. `settings` are the server's."""
    may_keep = conversation is not None and not request.is_task
    named = request.conversation is not None or request.parent is not None
    return Asked(
        window=Window(
            owner=request.owner,
            conversation=conversation,
            turn=turn,
            messages=(),
            tools=tuple(request.tools),
            kept=may_keep and named,
        ),
        parameters=request.parameters,
        extra=request.extra,
        asks=request.window,
        inner=request.key_window or WindowSettings(),
        outer=settings,
        may_keep=may_keep,
        logs_first=request.logs_first,
        compacted=request.compacted,
    )


def is_stored(request: ChatRequest, record: Record) -> bool:
    """Whether a turn is kept where so much is recorded. Raises InvalidRequest for what contradicts itself."""
    if request.store is True and record == "none":
        if request.background:
            raise InvalidRequest(
                "This server records nothing, so that nothing can be in the background.", param="background"
            )
        raise InvalidRequest("This server records nothing, so `store` cannot be true.", param="store")
    if request.store is False or record == "none":
        if request.parent is not None and request.store is not False:
            raise InvalidRequest(
                "This server records nothing, so that nothing can go on from what is stored.", param="parent"
            )
        if request.parent is not None:
            raise InvalidRequest(
                "What hangs below a stored message is stored: leave `store` out.", param="parent"
            )
        return False
    named = request.conversation is not None or request.parent is not None
    return record == "all" or request.store is True or named
