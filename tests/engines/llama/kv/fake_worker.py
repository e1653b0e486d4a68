"""A worker without a model. Its slots hold tokens as llama.cpp's do; a token is a character's number."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, cast

import aiohttp
import msgspec

from palaver.engines.llama.workers import Use

TOKEN_BYTES = 4


class FakeWorker:
    """`saves` is the folder into which it writes slots, None where it takes none. Each request is `asked`, waits for
    its `gates` and then fails once for each of its `failures`: a status, or an exception."""

    def __init__(self, slots: int, saves: Path | None = None) -> None:
        self.saves = saves
        self.slots: list[list[int]] = [[] for _ in range(slots)]
        self.asked: list[str] = []
        self.done: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.failures: dict[str, list[int | Exception]] = {}
        self.changes: Callable[[Path], object] = lambda file: None
        """What becomes of a file that was just saved."""
        self.base = "http://worker"
        self.called = "The model worker"
        self.stall_timeout = 300.0
        self.session = cast(aiohttp.ClientSession, self)
        self._gone: str | None = None

    @property
    def alive(self) -> bool:
        return self._gone is None

    def give_up(self, reason: str) -> None:
        self._gone = self._gone or reason
        for gate in self.gates.values():
            gate.set()

    @property
    def closed(self) -> bool:
        """Whether its session is."""
        return not self.alive

    async def how_it_ended(self) -> str | None:
        return self._gone

    def die(self) -> None:
        self.give_up("was killed by SIGKILL")

    def holds(self, slot: int) -> str:
        return "".join(map(chr, self.slots[slot]))

    def read(self, file: Path) -> str:
        data = file.read_bytes()
        return "".join(map(chr, struct.unpack(f"<{len(data) // TOKEN_BYTES}I", data)))

    def post(self, url: str, data: bytes) -> AbstractAsyncContextManager[Answer]:
        if not self.alive:
            raise RuntimeError("Session is closed")
        return _Request(self, url.removeprefix(self.base), msgspec.json.decode(data))

    async def answer(self, path: str, fields: dict[str, Any]) -> tuple[int, Any]:
        path, _, query = path.partition("?action=")
        name = query or path
        self.asked.append(name)
        if name in self.gates:
            await self.gates[name].wait()
        if not self.alive:
            raise aiohttp.ServerDisconnectedError
        if self.failures.get(name):
            failure = self.failures[name].pop(0)
            if isinstance(failure, Exception):
                raise failure
            return failure, {"error": {"message": "refused"}}
        if query and self.saves is None:
            return 501, {"error": {"message": "This server does not support slots action."}}
        answer = self._answer(name, int(path.rpartition("/")[2]) if query else 0, fields)
        self.done.append(name)
        return answer

    def _answer(self, name: str, slot: int, fields: dict[str, Any]) -> tuple[int, Any]:
        match name:
            case "save":
                assert self.saves is not None
                file, tokens = self.saves / fields["filename"], self.slots[slot]
                file.write_bytes(struct.pack(f"<{len(tokens)}I", *tokens))
                told = {"n_saved": len(tokens), "n_written": file.stat().st_size}
                self.changes(file)
                return 200, told
            case "restore":
                assert self.saves is not None
                self.slots[slot] = list(map(ord, self.read(self.saves / fields["filename"])))
                return 200, {"n_restored": len(self.slots[slot])}
            case "erase":
                erased, self.slots[slot] = len(self.slots[slot]), []
                return 200, {"n_erased": erased}
            case "/tokenize":
                return 200, {"tokens": list(map(ord, fields["content"]))}
            case "/apply-template":
                said = "".join(f"<{each['role']}>{each['content']}" for each in fields["messages"])
                return 200, {"prompt": said + "<assistant>" * fields.get("add_generation_prompt", True)}
            case "/completion":
                cached, computed = self.compute(fields["id_slot"], fields["prompt"], fields["cache_prompt"])
                return 200, {"timings": {"cache_n": cached, "prompt_n": computed}}
        raise AssertionError(name)

    def compute(self, slot: int, prompt: list[int], reuse: bool = True) -> tuple[int, int]:
        """Have a slot hold this prompt; how much of it was there, and how much was not."""
        before, cached = self.slots[slot], 0
        while reuse and cached < min(len(before), len(prompt) - 1) and before[cached] == prompt[cached]:
            cached += 1
        self.slots[slot] = list(prompt)
        return cached, len(prompt) - cached


class Answer(msgspec.Struct):
    status: int
    body: bytes

    async def read(self) -> bytes:
        return self.body


class _Request(AbstractAsyncContextManager[Answer]):
    """Like a request to llama.cpp: the worker goes on with it, whoever leaves."""

    def __init__(self, worker: FakeWorker, path: str, fields: dict[str, Any]) -> None:
        self._asked = (worker, path, fields)

    async def __aenter__(self) -> Answer:
        worker, path, fields = self._asked
        working = asyncio.ensure_future(worker.answer(path, fields))
        working.add_done_callback(lambda done: done.cancelled() or done.exception())
        status, said = await asyncio.shield(working)
        return Answer(status, msgspec.json.encode(said))

    async def __aexit__(self, *_: object) -> None:
        pass


class FakeWorkers:
    """Gives out one worker at a time."""

    def __init__(self, worker: FakeWorker | None) -> None:
        self.worker = worker
        self.uses = 0
        self.renewed: list[object] = []
        self.next: FakeWorker | None = None
        """The one that is given out in place of the first."""

    @property
    def running(self) -> FakeWorker | None:
        return self.worker if self.worker is not None and self.worker.alive else None

    def renew(self, worker: object) -> None:
        self.renewed.append(worker)

    def use_running(self) -> Use | None:
        worker = self.running
        if worker is None or self.next is not None:
            return None
        self.uses += 1
        return Use(worker, self._released)

    async def use(self) -> Use:
        worker = self.next or self.worker
        assert worker is not None
        self.uses += 1
        return Use(worker, self._released)

    def _released(self, after: float) -> None:
        self.uses -= 1

    async def close(self) -> None:
        pass
