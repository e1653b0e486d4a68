"""The official SDKs as their users have them: asked by a list of jobs, in Python and in TypeScript."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import msgspec
from openai import OpenAI
from together import Together

from tests.conftest import environment
from tests.sdks.conftest import NODE
from tests.sdks.waiting import LONG, within

Sdk = Literal["openai", "together"]
SDKS: tuple[Sdk, ...] = ("openai", "together")
Language = Literal["python", "typescript"]
LANGUAGES: tuple[Language, ...] = ("python", "typescript")
AT_ONCE = 64


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One call of an SDK. `address` is the server's base URL, without the version; `more` goes into the body."""

    sdk: Sdk
    address: str
    model: str
    messages: list[dict[str, Any]]
    stream: bool = False
    headers: dict[str, str] = {}
    more: dict[str, Any] = {}


class Got(msgspec.Struct, kw_only=True):
    """What came of it, as the app sees it. `turn` is the reply's header; `error` the class of what was raised."""

    id: str | None = None
    turn: str | None = None
    conversation: str | None = None
    content: str = ""
    reply: dict[str, Any] | None = None
    status: int | None = None
    error: str | None = None


def question(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def python_client(sdk: Sdk, address: str) -> Any:
    """As its users make it. Their types differ too much for one that fits both."""
    if sdk == "openai":
        return OpenAI(base_url=address + "/v1", api_key="any")
    return Together(base_url=address, api_key="any")


def ask_python(job: Job) -> Got:
    got = Got()
    with python_client(job.sdk, job.address) as client:
        try:
            raw = client.chat.completions.with_raw_response.create(
                model=job.model,
                messages=job.messages,
                stream=job.stream,
                extra_headers=job.headers,
                extra_body=job.more,
            )
            got.status = raw.status_code
            got.turn = raw.headers["palaver-turn"]
            got.conversation = raw.headers["palaver-conversation"]
            reply = raw.parse()
            if job.stream:
                for chunk in reply:
                    got.id = chunk.id
                    got.content += chunk.choices[0].delta.content or ""
            else:
                message = reply.choices[0].message
                got.id, got.content, got.reply = reply.id, message.content, message.model_dump()
        except Exception as error:  # whatever an app would be told
            got.error = type(error).__name__
            got.status = getattr(error, "status_code", got.status)
    return got


async def ask_typescript(node: str, jobs: Sequence[Job]) -> list[Got]:
    return msgspec.json.decode(await run_node(node, "asking.mjs", jobs), type=list[Got])


async def run_node(node: str, script: str, given: Any, patience: float = LONG) -> bytes:
    """Run a script of `tests/sdks/node` with this as JSON on its standard input; what it prints."""
    process = await asyncio.create_subprocess_exec(
        node,
        os.fspath(Path(NODE) / script),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    try:
        async with within(patience, f"node to run {script}"):
            said, errors = await process.communicate(msgspec.json.encode(given))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    return said


async def ask(language: Language, node: str, jobs: Sequence[Job]) -> list[Got]:
    """Do all the jobs at once, each with a client of its own."""
    if language == "typescript":
        return await ask_typescript(node, jobs)
    loop = asyncio.get_running_loop()
    threads = ThreadPoolExecutor(AT_ONCE)
    try:
        async with within(LONG, f"the Python SDKs to do {len(jobs)} jobs"):
            return await asyncio.gather(*(loop.run_in_executor(threads, ask_python, job) for job in jobs))
    finally:
        threads.shutdown(wait=False)  # for one that waits in vain does so for what this loop is to do
