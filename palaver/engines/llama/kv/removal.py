"""Files removed apart from what anybody waits for: a large one takes a while."""

from __future__ import annotations

import asyncio
from pathlib import Path


class Removal:
    """The files that are to be removed, or could not be yet."""

    def __init__(self) -> None:
        self._doomed: set[Path] = set()

    def add(self, *files: Path) -> None:
        self._doomed.update(files)

    async def done(self) -> OSError | None:
        """Remove what is to be removed; why that is not all gone. That is tried again the next time."""
        failure = None
        for file in list(self._doomed):
            try:
                await asyncio.to_thread(file.unlink, missing_ok=True)
            except OSError as error:
                failure = error
            else:
                self._doomed.discard(file)
        return failure
