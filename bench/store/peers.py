"""Others that keep conversations in SQLite, through their public interfaces and as they set themselves up."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.store import talk
from bench.store.keeper import durability_of

INSTALL = f"{sys.executable} -m pip install -c constraints.txt -e '.[bench-store]'"


def _history(messages: int) -> list[dict[str, str]]:
    return [
        {"role": role, "content": text(number)}
        for number in range(messages // 2)
        for role, text in (("user", talk.question), ("assistant", talk.reply))
    ]


class _Peer:
    phases: Mapping[str, float] = {}

    def __init__(self, path: Path) -> None:
        self.path = path
        self._said = 1_000_000

    def prepare(self, conversation: str) -> None:
        self._said += 1


class AgentsSession(_Peer):
    """`SQLiteSession` of openai-agents: a row of JSON a message."""

    name = "openai-agents SQLiteSession"
    commits = 2

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._made: Any = import_module("agents").SQLiteSession
        self._sessions: dict[str, Any] = {}

    async def fill(self, messages: int) -> str:
        conversation = f"session_{len(self._sessions)}"
        self._sessions[conversation] = self._made(conversation, self.path)
        await self._sessions[conversation].add_items(_history(messages))
        return conversation

    async def append(self, conversation: str) -> None:
        session = self._sessions[conversation]
        await session.add_items([{"role": "user", "content": talk.question(self._said)}])
        await session.add_items([{"role": "assistant", "content": talk.reply(self._said)}])

    async def read(self, conversation: str, last: int | None = None) -> int:
        return len(await self._sessions[conversation].get_items(last))

    def durability(self) -> str:
        with contextlib.closing(sqlite3.connect(self.path)) as connection:  # it sets no level of its own
            return durability_of(connection)

    async def close(self) -> None:
        for session in self._sessions.values():
            session.close()


class GraphSaver(_Peer):
    """`SqliteSaver` of langgraph: a checkpoint with all messages at every step.

    A turn is two steps here, the question and the reply; messages are plain dicts. A graph takes a third step, and
    keeps what each node wrote as well.
    """

    name = "langgraph SqliteSaver"
    commits = 2

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._empty: Callable[[], dict[str, Any]] = import_module(
            "langgraph.checkpoint.base"
        ).empty_checkpoint
        saver: Any = import_module("langgraph.checkpoint.sqlite").SqliteSaver
        self._open = contextlib.ExitStack()
        self._saver = self._open.enter_context(saver.from_conn_string(str(path)))
        self._threads: dict[str, Any] = {}
        self._messages: dict[str, list[dict[str, str]]] = {}
        self._step = 0

    async def fill(self, messages: int) -> str:
        thread = f"thread_{len(self._threads)}"
        self._threads[thread] = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        self._messages[thread] = _history(messages)
        self._put(thread)
        return thread

    def _put(self, thread: str) -> None:
        self._step += 1
        versions: dict[str, Any] = {"messages": self._step}
        checkpoint = self._empty() | {
            "channel_values": {"messages": self._messages[thread]},
            "channel_versions": versions,
        }
        metadata = {"source": "loop", "step": self._step, "parents": {}}
        self._threads[thread] = self._saver.put(self._threads[thread], checkpoint, metadata, versions)

    async def append(self, conversation: str) -> None:
        messages = self._messages[conversation]
        messages.append({"role": "user", "content": talk.question(self._said)})
        self._put(conversation)
        messages.append({"role": "assistant", "content": talk.reply(self._said)})
        self._put(conversation)

    async def read(self, conversation: str, last: int | None = None) -> int:
        latest = {"configurable": {"thread_id": conversation, "checkpoint_ns": ""}}
        messages = self._saver.get_tuple(latest).checkpoint["channel_values"]["messages"]
        return len(messages[-last:] if last else messages)

    def durability(self) -> str:
        return durability_of(self._saver.conn)

    async def close(self) -> None:
        self._open.close()


class LlmLog(_Peer):
    """The log of `llm`: the reply and all messages before it, each under its hash, once the reply is complete."""

    name = "llm log"
    commits = 1

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        llm, logs = import_module("llm"), import_module("llm.logs")
        self._text: Any = import_module("llm.parts").TextPart
        self._message: Any = llm.Message
        self._conversation: Any = llm.Conversation
        self._model = _echo(llm)
        self._log = logs.LogStore(import_module("sqlite_utils").Database(path))
        self._histories: dict[str, list[Any]] = {}

    async def fill(self, messages: int) -> str:
        history = [self._said_by(each["role"], each["content"]) for each in _history(messages)]
        with self._log.db.atomic():  # without it, every message is a transaction of its own
            thread: str = self._log.create_thread("bench")
            self._log.append(thread, history)
        self._histories[thread] = history
        return thread

    def _said_by(self, role: str, text: str) -> Any:
        return self._message(role=role, parts=[self._text(text=text)])

    async def append(self, conversation: str) -> None:
        history = self._histories[conversation]
        history.append(self._said_by("user", talk.question(self._said)))
        self._model.reply = talk.reply(self._said)
        response = self._conversation(model=self._model, id=conversation).prompt(messages=history)
        history.append(self._said_by("assistant", response.text()))
        response.log_to_db(self._log.db)

    async def read(self, conversation: str, last: int | None = None) -> int:
        messages = self._log.thread_messages(conversation)
        return len(messages[-last:] if last else messages)

    def durability(self) -> str:
        return durability_of(self._log.db.conn)

    async def close(self) -> None:
        self._log.db.close()


def _echo(llm: Any) -> Any:
    """A model that says at once what it is told to say."""

    def execute(self: Any, *_: Any, **__: Any) -> Any:
        yield self.reply

    return type("Echo", (llm.Model,), {"model_id": "echo", "execute": execute})()


Peer = AgentsSession | GraphSaver | LlmLog
PEERS: dict[str, tuple[type[Peer], tuple[str, ...]]] = {
    "openai-agents": (AgentsSession, ("agents",)),
    "langgraph-checkpoint-sqlite": (GraphSaver, ("langgraph.checkpoint.sqlite",)),
    "llm": (LlmLog, ("llm", "llm.logs", "sqlite_utils")),
}


def find_peers() -> tuple[list[type[Peer]], list[str]]:
    """Those that are installed, and the packages that are not."""
    found, missing = [], []
    for package, (peer, modules) in PEERS.items():
        try:
            for module in modules:
                import_module(module)
        except ImportError:
            missing.append(package)
        else:
            found.append(peer)
    return found, missing
