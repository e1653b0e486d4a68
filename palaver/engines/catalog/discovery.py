"""Which model servers run on this machine, at the addresses where they run by default."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence

import msgspec

from palaver.core.errors import ConfigError, PalaverError
from palaver.engines.upstream.asking import Answer, ask
from palaver.engines.upstream.http import UpstreamServer
from palaver.engines.upstream.kinds import QUESTIONS, Kind, kind_of_answer, kind_of_list
from palaver.engines.upstream.models import ListedModel, listed_models

CONNECT_SECONDS = 0.3
"""How long a connection may take; on this machine it takes none."""
ANSWER_SECONDS = 1.0
"""How long a server may take to say what it is."""
PORTS = {
    "ollama": (11434,),
    "lmstudio": (1234,),
    "llama-server": (8080, 9931),
    "vllm": (8000,),
    "sglang": (30000,),
}
NAMES = {
    "ollama": "Ollama",
    "lmstudio": "LM Studio",
    "llama-server": "llama-server",
    "vllm": "vLLM",
    "sglang": "SGLang",
}
"""What the kinds of server are called."""
HOST = re.compile(r"(?:(?P<scheme>https?)://)?(?P<host>[^:/\s]*|\[[^\]]+\])(?::(?P<port>\d{1,5}))?/?")


class FoundServer(msgspec.Struct, frozen=True):
    """A server that answers: its kind, its base URL, and how many models it lists."""

    kind: Kind
    url: str
    models: int

    @property
    def called(self) -> str:
        """Its kind, as people call it."""
        return NAMES.get(self.kind, self.kind)


def likely_addresses(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The root URLs where servers are looked for: default ports of this machine, and where OLLAMA_HOST says."""
    ollama = _ollama(environment.get("OLLAMA_HOST", "").strip())
    ports = [port for kind, some in PORTS.items() if not (ollama and kind == "ollama") for port in some]
    return [*([ollama] if ollama else []), *(f"http://127.0.0.1:{port}" for port in ports)]


async def find_servers(addresses: Sequence[str], own: Sequence[str] = ()) -> list[FoundServer]:
    """The servers among these root URLs, in their order. `own` are addresses of this palaver, which is none.

    Never raises: whatever does not answer as a model server does is none.
    """
    asked = [address for address in dict.fromkeys(addresses) if _place(address) not in map(_place, own)]
    found = await asyncio.gather(*(_look(address) for address in asked))
    return [server for server in found if server is not None]


async def _look(address: str) -> FoundServer | None:
    try:
        server = UpstreamServer("found", address, None, CONNECT_SECONDS)
    except ConfigError:
        return None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            deadline = asyncio.get_running_loop().time() + ANSWER_SECONDS
            listed = await ask(server, f"{server.api}/models", deadline)
            kind = await _kind(server, listed, deadline)
    except (PalaverError, TimeoutError):
        return None
    finally:
        await server.close()
    models: list[ListedModel] = listed_models(listed.body) or []
    return None if kind is None else FoundServer(kind, server.api, len(models))


async def _kind(server: UpstreamServer, listed: Answer, deadline: float) -> Kind | None:
    kind = kind_of_list(listed)
    for path in QUESTIONS:
        if kind is not None:
            break
        kind = kind_of_answer(path, await ask(server, server.root + path, deadline), listed)
    return kind


def _ollama(given: str) -> str | None:
    """The root URL by OLLAMA_HOST, which may lack a scheme, a host or a port; None where it says nothing of use."""
    parts = HOST.fullmatch(given)
    if not given or parts is None:
        return None
    host = parts["host"] if parts["host"] not in ("", "0.0.0.0", "[::]") else "127.0.0.1"
    port = parts["port"] or {"http": "80", "https": "443"}.get(parts["scheme"] or "", "11434")
    return f"{parts['scheme'] or 'http'}://{host}:{port}"


def _place(address: str) -> str:
    """Host and port of an address, in one spelling."""
    place = address.partition("://")[2].partition("/")[0]
    return place.replace("localhost:", "127.0.0.1:").replace("[::1]:", "127.0.0.1:")
