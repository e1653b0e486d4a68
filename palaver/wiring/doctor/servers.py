"""Model servers: those that are configured, whether they answer, and others that run on this machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence

from palaver.config import Config
from palaver.core.errors import ConfigError, EngineRefused, PalaverError
from palaver.engines.llama import RemoteEngine, RemoteSettings
from palaver.engines.upstream import UpstreamEngine
from palaver.engines.upstream.models import ListedModel
from palaver.wiring.doctor.discretion import place
from palaver.wiring.doctor.findings import Finding, broken, note, ok
from palaver.wiring.finding import find_servers_of
from palaver.wiring.upstreams import key_variable, upstream_key, upstreams_of

ANSWER_SECONDS = 5.0
"""How long a server may take to say what it is and what it has."""
LLAMA_SERVER = "llama-server"


async def examine(
    config: Config, own: str | None, environment: Mapping[str, str] = os.environ
) -> list[Finding]:
    """Each server; all are asked at once. `own` is the address of the palaver that owns the store."""
    try:
        engines = upstreams_of(config, environment)
    except ConfigError as error:
        engines = []
        wrong = [broken("upstream", error.message, f"Change the setting `{error.setting}`.")]
    else:
        wrong = []
    asked = [_upstream(engine, config, environment) for engine in engines]
    if config.llama_server:
        asked.append(_llama_server(config, environment))
    found = await asyncio.gather(*asked)
    return [*wrong, *found, *await _others(config, own, environment)]


async def _upstream(engine: UpstreamEngine, config: Config, environment: Mapping[str, str]) -> Finding:
    where = f"{engine.name} at {place(config.upstream[engine.name])}"
    key = upstream_key(config, engine.name, environment)
    has_key = f"key {'set' if key else 'not set'}"
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            models = await engine.models()
            kind = await engine.kind()
            context = await _context(engine, models)
    except TimeoutError:
        return broken(
            "upstream", f"{where} did not answer within {ANSWER_SECONDS:g} seconds", "Is it running?"
        )
    except EngineRefused:  # in whose words there may be anything
        return broken(
            "upstream", f"{where} refuses to list its models ({has_key})", _about_key(engine.name, key)
        )
    except PalaverError as error:
        do = "Look whether it is running and its address is right."
        return broken("upstream", f"{where}: {error.message} ({has_key})", do)
    finally:
        await engine.close()
    count = f"{len(models)} model{'' if len(models) == 1 else 's'}"
    said = f"{where}: {kind}, {count}, {context}, {has_key}"
    return ok("upstream", said) if models else note("upstream", said, "Load a model there.")


async def _context(engine: UpstreamEngine, models: Sequence[ListedModel]) -> str:
    """The contexts that are known; where the list says none, the first model is asked about."""
    sizes = sorted({model.context_size for model in models if model.context_size})
    if not sizes and models:
        size = await engine.context_size(models[0].id)
        sizes = [size] if size else []
    if not sizes:
        return "context not known"
    return f"context {sizes[0]:,}" + (f" to {sizes[-1]:,}" if len(sizes) > 1 else "") + " tokens"


def _about_key(name: str, key: str | None) -> str:
    named = f"set {key_variable(name)}, or `upstream_key` in the configuration file"
    return f"Look whether its key is right: {named}." if key else f"It may need a key: {named}."


async def _llama_server(config: Config, environment: Mapping[str, str]) -> Finding:
    where = f"llama-server at {place(config.llama_server)}"
    key = environment.get(key_variable(LLAMA_SERVER)) or None
    try:
        engine = RemoteEngine(RemoteSettings(url=config.llama_server, key=key))
    except ConfigError as error:
        return broken("llama-server", error.message, "Change the setting `llama_server`.")
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            model = await engine.describe()
    except TimeoutError:
        return broken(
            "llama-server", f"{where} did not answer within {ANSWER_SECONDS:g} seconds", "Is it running?"
        )
    except PalaverError as error:
        do = "Start it, or look at its address and its key (LLAMA_SERVER_API_KEY)."
        return broken("llama-server", f"{where}: {error.message}", do)
    finally:
        await engine.close()
    return ok(
        "llama-server",
        f"{where}: {model.name}, build {model.build or 'not known'}, {model.slots} × {model.context:,} tokens of "
        f"context, key {'set' if key else 'not set'}",
    )


async def _others(config: Config, own: str | None, environment: Mapping[str, str]) -> list[Finding]:
    """Servers that run here and are not configured."""
    servers = await find_servers_of(config, own, environment)
    return [
        note(
            "found",
            f"{each.called} answers at {place(each.root)} with {each.models} models",
            f"To use it, {each.advice}.",
        )
        for each in servers
        if each.upstream is None
        and each.root.rstrip("/") != config.llama_server.rstrip("/").removesuffix("/v1")
    ]
