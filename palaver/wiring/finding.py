"""What is on this machine already: files of models, and servers that run."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from palaver.config import WELL_KNOWN, Config
from palaver.engines.catalog.discovery import find_servers, likely_addresses
from palaver.engines.catalog.local import FoundFile, find_files

__all__ = ["FoundFile", "FoundServer", "find_files", "find_servers_of"]


class FoundServer(msgspec.Struct, frozen=True, kw_only=True):
    """A model server that runs: its kind, its base URL, how many models it lists.

    `upstream` is the name by which it is configured already, or None.
    """

    kind: str
    called: str
    url: str
    models: int
    upstream: str | None

    @property
    def root(self) -> str:
        """Its address as people know it."""
        return self.url.removesuffix("/v1")

    @property
    def advice(self) -> str:
        """What to do to have its models."""
        if self.upstream is not None:
            return f"it is the upstream {self.upstream}"
        return f"add --upstream {self.kind}" + (
            "" if WELL_KNOWN.get(self.kind) == self.url else f"={self.url}"
        )


async def find_servers_of(
    config: Config, own: str | None, environment: Mapping[str, str] = os.environ
) -> list[FoundServer]:
    """Model servers on this machine, which is not this palaver at `own`, nor the one that would be at its port."""
    places = {_place(url): name for name, url in config.upstream.items()}
    ours = [f"http://127.0.0.1:{config.port}", *([own] if own else [])]
    return [
        FoundServer(
            kind=each.kind,
            called=each.called,
            url=each.url,
            models=each.models,
            upstream=places.get(_place(each.url)),
        )
        for each in await find_servers(likely_addresses(environment), ours)
    ]


def _place(url: str) -> str:
    return url.partition("://")[2].partition("/")[0].replace("localhost:", "127.0.0.1:")
