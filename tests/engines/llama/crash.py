"""A palaver that is killed: starts an engine, says which process the worker is, and waits."""

import asyncio
import sys
from pathlib import Path

import structlog

from palaver.engines.llama import LlamaEngine, LlamaSettings

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


async def main() -> None:
    engine = LlamaEngine(LlamaSettings(Path(sys.argv[1]), "pocket"))
    await engine.start()
    print(engine.worker_pid, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
