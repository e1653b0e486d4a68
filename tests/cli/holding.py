"""`palaver`, where the scripted model holds what a file says, and no other one tells: `-m tests.cli.holding FILE …`."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from palaver.cli.main import main
from palaver.engines.base import KvCache
from palaver.engines.llama import LlamaEngine
from palaver.engines.scripted import ScriptedEngine
from tests.holding import Holds


class Filed(Holds):
    """Holds what is in a file, which then says what is left."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.cache = msgspec.json.decode(path.read_bytes(), type=KvCache | None)
        self.forgotten = []

    async def forget(self, owner: str | None = None, conversation: str | None = None) -> int:
        erased = await super().forget(owner, conversation)
        self._path.write_bytes(msgspec.json.encode(self.cache))
        return erased


if __name__ == "__main__":
    for engine, holds in ((ScriptedEngine, Filed(Path(sys.argv.pop(1)))), (LlamaEngine, Holds())):
        for name in ("kv_cache", "forget"):
            verb = getattr(holds, name)
            setattr(engine, name, lambda self, *given, verb=verb: verb(*given))
    main()
